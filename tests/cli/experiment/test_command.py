"""The command that goes on with a run: parsed again, it is the same recipe and the same plan."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sics_cli.commands.replicate import build_experiment
from sics_cli.commands.replicate import replicate as command
from sics_cli.experiment.cells import make_plan
from sics_cli.experiment.command import replicate_command
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import choose, describe_scorers
from sics_cli.results.source import read_run
from sics_cli.settings.images import ImageConfig
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import sized
from sics_cli.tasks.networks.models import fitted
from sics_cli.tasks.networks.start import standardised

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"
CPU = Environment("cpu", "2.15", "1.0")
DIGITS = ImageFacts((1797, 1, 8, 8), tuple("0123456789"), None, "digits")
CIFAR = ImageFacts((60_000, 3, 32, 32), tuple("0123456789"), 50_000, "cifar")
PHOTOS = ImageFacts((300, 3, 32, 32), ("a", "b"), None, "photos")


def parsed(words: list[str], facts: ImageFacts) -> tuple[Recipe, Any, dict[str, Any]]:
    """The recipe, the plan and the facts of scorers that a command comes to, with the facts of the data told."""
    given = command.make_context("replicate", list(words)).params
    data = {name: given.pop(option) for name, option in (("name", "data"), ("standardise", "standardise"))}
    names = ("seeds", "until", "max_seeds", "first_seed", "scorers", "sparsities", "unit", "pool", "saliency")
    options = {name: given[name] for name in (*names, "delta", "alpha", "reference", "pretrained")}
    made = build_experiment(given["preset"], given["config"], options, model=given["model"], data=data)
    assert isinstance(made.task, ImageConfig)
    config = replace(made.task, data=sized(made.task.data, facts))
    made = replace(made, task=standardised(fitted(config, facts), facts))
    infos = describe_scorers(made.scorers or (), made.saliency)
    chosen, _ = choose(infos, made.scorers, made.saliency, made.reference, made.unit, made.pool)
    recipe = Recipe(made, CPU, ImageRecipe(made.images, facts))
    return recipe, make_plan(made, chosen, ""), {"infos": [asdict(info) for info in infos]}


ASKED = (
    ("", DIGITS, ""),
    ("--unit channel", DIGITS, "--unit channel"),
    ("--unit head --saliency activation --scorers smooth_chaos,chaos", DIGITS, None),
    ("--pool layer --scorers all --alpha .01 --delta .25", DIGITS, None),
    ("--pool 2:4 --sparsities .5", DIGITS, "--pool 2:4 --sparsities 0.5"),
    (
        "--scorers sics,wanda,magnitude/layer --reference random",
        DIGITS,
        "--scorers sics,wanda,magnitude/layer --reference random",
    ),
    ("--scorers sics,peers,fusion_orbit_10", DIGITS, "--scorers sics,peers,fusion_orbit_10"),
    ("--scorers sics,searched,adaptive_orbit_9", DIGITS, "--scorers sics,searched,adaptive_orbit_9"),
    ("--scorers magnitude", DIGITS, "--scorers magnitude"),
    ("--first-seed 40", DIGITS, "--first-seed 40"),
    ("--preset digits --data cifar10 --model timm:vit_tiny_patch16_224", CIFAR, None),
    ("--preset cifar10-vit-micro", CIFAR, "--preset cifar10-vit-micro"),
    ("--preset cifar10-vit-small-100 --unit head", CIFAR, "--preset cifar10-vit-small-100 --unit head"),
    ("--preset cifar10-vit-micro --data imagefolder:PATH", CIFAR, None),
    ("--preset cifar10-vit-micro --data cifar100 --model torchvision:resnet18", CIFAR, None),
    ("--data imagefolder:PATH --model timm:resnet18", PHOTOS, "--data imagefolder:PATH --model timm:resnet18"),
    ("--data imagefolder:PATH --model timm:resnet18 --standardise imagenet", PHOTOS, None),
)


@pytest.mark.parametrize(("asked", "facts", "said"), ASKED)
def test_the_command_is_the_run_again(asked: str, facts: ImageFacts, said: str | None) -> None:
    recipe, plan, told = parsed([*asked.split(), "--seeds", "5"], facts)
    first = int(asked.partition("--first-seed ")[2] or 0)
    text = replicate_command(recipe.described, plan, told, first_seed=first)
    words = shlex.split(text)
    assert words[:2] == ["sics-run", "replicate"]
    again, planned, _ = parsed([*words[2:], "--seeds", "5"], facts)
    assert again.content == recipe.content, text
    assert planned == plan, text
    if said is not None:
        assert text == f"sics-run replicate {said}".rstrip()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"epochs": 3}}, "--config FILE.toml"),
        ({"model": {"depth": 3}}, "--config FILE.toml"),
        ({"data": {"train": 100}}, "--config FILE.toml"),
        ({"data": {"image_size": 8}}, "--config FILE.toml"),
        ({"saliency": {"calibration": {"batches": 1, "batch_size": 64}}}, "--config FILE.toml"),
        ({"start": {"kind": "checkpoint"}, "training": {"epochs": 0}}, "--checkpoint FILE"),
        ({"start": {"kind": "pretrained"}, "data": {"classes": "digest"}}, "--pretrained --classes FILE"),
        ({"training": {"path": "one that is there no more"}}, ""),
    ],
)
def test_what_no_store_keeps_is_a_placeholder(changes: dict[str, dict[str, Any]], said: str) -> None:
    recipe, plan, told = parsed(["--seeds", "5"], DIGITS)
    content = {name: dict(value) if isinstance(value, dict) else value for name, value in recipe.described.items()}
    for name, value in changes.items():
        content[name] = {**content.get(name, {}), **value}
    assert replicate_command(content, plan, told) == f"sics-run replicate {said}".rstrip()


def test_seeds_that_are_files_have_no_command() -> None:
    assert replicate_command({"start": {"kind": "checkpoints"}}) == ""


def test_options_of_a_task_are_in_a_file_and_paths_are_quoted(tmp_path: Path) -> None:
    told = replicate_command({"task": {"name": "a b.py:Mine", "options": {"width": 3}}}, folder=tmp_path / "my runs")
    assert told == "sics-run replicate --task 'a b.py:Mine' --config FILE.toml --out 'DIR/my runs'"


def test_a_folder_below_the_working_one_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert replicate_command({"task": {"name": "x:Y"}}, folder=tmp_path / "runs" / "a").endswith("--out runs/a")


RUNS = (
    ("Good", "--scorers smooth_chaos,information --sparsities .7"),
    ("Good", "--scorers mine.py:Mine --sparsities .5,.9 --unit channel --first-seed 3"),
    ("Good", "--scorers sics --sparsities .5 --pool layer --saliency activation --reference random --delta 2"),
    ("HoldsOut", "--scorers fusion_orbit_2,smooth_chaos --sparsities .5"),
)
MINE = """
from sics_plugin import CoordinateScorer, register_scorer

@register_scorer
class Mine(CoordinateScorer):
    "My own."
    name, kappa, summary = "mine", 0, "z"

    def feature(self, z, sparsity):
        return z
"""


@pytest.mark.parametrize(("task", "asked"), RUNS)
def test_in_its_folder_the_old_cells_are_there(
    task: str, asked: str, cli: Any, cells_in: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TASKS, cli.folder / "tasks.py")
    (cli.folder / "mine.py").write_text(MINE)
    done = cli.here("replicate", "--task", f"tasks.py:{task}", *asked.split(), "--seeds", "2", "--no-report")
    assert done.returncode == 0, done.stderr
    (run,) = (cli.folder / "runs").iterdir()
    monkeypatch.chdir(cli.folder)
    text = read_run(run).origin.source.command
    assert text.endswith(f"--out runs/{run.name}")
    words = shlex.split(text)[1:]
    same, more = (cli.here(*words, "--seeds", n, "--dry-run") for n in ("2", "3"))
    asked_for, there = (int(word) for word in _counts(same.stdout))
    assert asked_for == there >= cells_in(run / "run.sqlite"), (text, same.stdout, same.stderr)
    assert _counts(more.stdout) == [str(asked_for * 3 // 2), str(there)], (text, more.stdout)


def _counts(shown: str) -> list[str]:
    (line,) = (line for line in shown.splitlines() if line.endswith("to compute") and " cells, " in line)
    return [part.split()[0] for part in line.split(", ")[:2]]
