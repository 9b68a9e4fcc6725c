"""The main job on networks that are none of timm's: code of one's own, torchvision's, and checkpoints of both."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sics_cli.base.bits import no_better_than_chance
from sics_cli.commands.replicate import build_experiment
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.settings.config import Experiment, experiment_from_mapping, merged
from sics_cli.settings.images import STANDARDISE, ModelConfig
from sics_cli.settings.presets import DIGITS
from sics_cli.store.store import Store
from sics_cli.tasks.networks.models import GIVE_CLASSES

NETWORK = """\
from collections import OrderedDict
from torch import nn
from help_of_my_run import ACTIVATION

def build(width=12, classes=10):
    layers = OrderedDict(flat=nn.Flatten(), inner=nn.Linear(64, width), act=ACTIVATION(), outer=nn.Linear(width, classes))
    return nn.Sequential(layers)
"""
CONFIG = """\
name = "own"
seeds = 2
sparsities = [0.5]
scorers = ["magnitude", "chaos"]
[model]
name = "my_net.py:build"
[training]
epochs = 4
[calibration]
batches = 2
batch_size = 32
"""
RUN = ["replicate", "--config", "own.toml", "--no-report", "--workers", "1"]
#: Colours: three classes, each with more of one channel.
PHOTOS = """\
sparsities = [0.5]
seeds = 1
scorers = ["magnitude"]
[model]
name = "colours.py:build"
[calibration]
batches = 2
batch_size = 8
"""
#: Right on every photo if its outputs are in the order of the names, and the images are standardised by ImageNet's numbers.
COLOURS = """\
import torch
from torch import nn

class Colours(nn.Module):
    def __init__(self, order="bgr"):
        super().__init__()
        self.mix, self.out = nn.Linear(3, 3, bias=False), nn.Linear(3, len(order), bias=False)
        self.mix.weight.data = torch.eye(3)
        places = {"r": 0, "g": 1, "b": 2}
        self.out.weight.data = torch.stack([torch.eye(3)[places[x]] if x in places else torch.full((3,), -9.0) for x in order])
        self.mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        self.scale = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def forward(self, x):
        return self.out(self.mix((x * self.scale + self.mean).mean(dim=(2, 3))))

def build(order="bgr"):
    return Colours(order)
"""


def write(folder: Path) -> None:
    (folder / "own.toml").write_text(CONFIG)
    (folder / "my_net.py").write_text(NETWORK)
    (folder / "help_of_my_run.py").write_text("from torch.nn import ReLU as ACTIVATION\n")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, make_cli: Any) -> Any:
    """A finished run of a network of one's own, by a driver and a worker of their own. Read it, do not change it."""
    made = make_cli(tmp_path_factory.mktemp("own"))
    write(made.folder)
    done = made(*RUN)
    assert done.returncode == 0, done.stderr
    (made.folder / "stdout").write_text(done.stdout)
    (run,) = (made.folder / "runs").iterdir()
    made.run = run
    return made


@pytest.fixture
def mine(cli: Any) -> Any:
    write(cli.folder)
    return cli


def dense_of(store: Path) -> list[Any]:
    with Store.open(store, read_only=True) as opened:
        return [row for row in opened.cells() if row.scorer == "dense"]


def last(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


def test_a_network_of_ones_own_runs_to_the_end_and_is_shown(own: Any) -> None:
    assert own.run.name.startswith("own-gradient-")
    rows = dense_of(own.store)
    assert len(rows) == 2
    assert not any(no_better_than_chance(row.correct, row.n, 10) for row in rows), "it has learnt something"
    assert rows[0].checkpoint_hash != rows[1].checkpoint_hash
    again = own.here(*RUN)
    assert "0 of them computed now" in again.stdout
    status = own.here("status", str(own.run))
    assert "my_net.py:build (" in " ".join(status.stdout.split())
    report = own.here("report", str(own.run), "--format", "md")
    assert "my_net.py:build on digits" in report.stdout
    export = own("export", str(own.run))
    assert export.returncode == 0
    for text in (status.stdout, report.stdout, export.stdout):
        assert str(own.folder / "my_net.py") not in text
    assert all(len(path.name) < 60 for path in own.run.rglob("*"))


def test_an_edited_helper_is_another_run(mine: Any, own: Any) -> None:
    mine.folder.joinpath("runs").mkdir()
    (mine.folder / "runs" / own.run.name).symlink_to(own.run)
    assert "0 of them computed now" in mine.here(*RUN).stdout, "moved, it is the same network"
    (mine.folder / "help_of_my_run.py").write_text("from torch.nn import Tanh as ACTIVATION\n")
    refused = mine.here(*RUN, "--out", f"runs/{own.run.name}")
    assert refused.returncode == 2
    assert "holds a run of another recipe (model_code.helpers_sha256.help_of_my_run.py " in last(refused)
    edited = mine.here(*RUN)
    assert edited.returncode == 0, edited.stderr
    (run,) = (path for path in (mine.folder / "runs").iterdir() if path.name != own.run.name)
    assert {row.cell_key for row in dense_of(run / "run.sqlite")}.isdisjoint(row.cell_key for row in dense_of(own.store))


@pytest.mark.parametrize("form", ["as it is", "wrapped"])
def test_its_checkpoint_is_pruned_as_it_was_trained(mine: Any, own: Any, form: str) -> None:
    (path,) = (own.run / "checkpoints").glob("seed-0-*")
    if form == "wrapped":
        state = {f"module.model.{name}": value for name, value in load_file(path).items()}
        path = mine.folder / "epoch.pt"
        torch.save({"epoch": 3, "net_weights": state, "optimizer": {"lr": 0.1}}, path)
    done = mine.here(*RUN, "--checkpoint", str(path), "--out", "run")
    assert done.returncode == 0, done.stderr
    (first, _) = dense_of(own.store)
    assert {row.bits for row in dense_of(mine.store)} == {first.bits}


def permuted(mine: Any, own: Any, extra: int = 0) -> Path:
    """The network with its outputs the other way round, and `extra` ones that never win; its names in their order."""
    (path,) = (own.run / "checkpoints").glob("seed-0-*")
    state = load_file(path)
    state["outer.weight"] = torch.cat([state["outer.weight"].flip(0), torch.zeros(extra, 12)])
    state["outer.bias"] = torch.cat([state["outer.bias"].flip(0), torch.full((extra,), -99.0)])
    torch.save(state, mine.folder / "flipped.pt")
    (mine.folder / "names.txt").write_text("\n".join([*map(str, reversed(range(10))), *(f"more {i}" for i in range(extra))]))
    (mine.folder / "own.toml").write_text(CONFIG.replace(':build"', f':build"\nclasses = {10 + extra}'))
    return mine.folder / "flipped.pt"


@pytest.mark.parametrize("extra", [0, 3])
def test_names_in_the_networks_order_put_its_outputs_right(mine: Any, own: Any, extra: int) -> None:
    command = [*RUN, "--checkpoint", str(permuted(mine, own, extra)), "--out", "run"]
    done = mine.here(*command, "--classes", "names.txt")
    assert done.returncode == 0, done.stderr
    assert {row.bits for row in dense_of(mine.store)} == {dense_of(own.store)[0].bits}
    (mine.folder / "in_file.toml").write_text((mine.folder / "own.toml").read_text() + '[data]\nclasses = "names.txt"\n')
    again = mine.here(*(word.replace("own.toml", "in_file.toml") for word in command))
    assert "0 of them computed now" in again.stdout
    mine.run.rename(mine.folder / "kept")
    refused = mine.here(*command)
    assert not mine.run.exists()
    if extra:
        assert refused.returncode == 2
        assert last(refused).endswith(f"my_net.py:build' has 13 outputs for 10 classes of digits: {GIVE_CLASSES}")
    else:
        assert refused.returncode == 1
        assert "flipped.pt: gets " in last(refused)
        assert " of 128 training images right, no better than chance: " in last(refused)
        assert "the order of the classes (by name; --classes FILE)" in last(refused)
        dry = mine.here(*command, "--dry-run")
        assert dry.returncode == 1
        assert mine.here(*command, "--allow-chance").returncode == 0


NET = "model.name = '{here}/my_net.py:build'"
BAD: list[tuple[list[str], int, str]] = [
    (["--classes", "nosuch.txt"], 2, "--classes nosuch.txt: cannot be read (No such file or directory)"),
    (
        ["--classes", "one.txt"],
        2,
        "--classes one.txt: names 1 classes: give the network's, one a line, in the order of its outputs",
    ),
    (["--classes", "twice.txt"], 2, "--classes twice.txt: names 'a' twice"),
    (
        ["--classes", "letters.txt"],
        2,
        "--classes: does not name '0', '1', '2' and 7 more, of the classes of digits: give the names of its classes among those "
        "of the network, one a line, in the order of the network's outputs",
    ),
    (["--standardise", "timm"], 2, "--standardise timm: is for images of pixels, not for digits; give data"),
    (
        ["--standardise", "imagnet"],
        2,
        f"Invalid value for '--standardise': 'imagnet' is not accepted (did you mean imagenet?): give {STANDARDISE}",
    ),
    (["--config", "nine.toml"], 2, f"{NET} has 9 outputs for 10 classes of digits: {GIVE_CLASSES}"),
    (
        ["--config", "wide.toml"],
        2,
        f"{NET}: unknown option model.depth: build takes width, classes",
    ),
    (["--config", "gone.toml"], 2, "model.name = '{here}/gone.py:build': there is no file {here}/gone.py"),
    (["--config", "resnet.toml"], 2, "model.name = 'torchvision:resnet18' does not take images of 1×8×8: "),
    (
        ["--config", "tuple.toml"],
        2,
        "model.name: the forward pass of Twice gives tuple: have it give the logits, a tensor (images, classes), or an object "
        "with .logits",
    ),
    (
        ["--pretrained"],
        2,
        "--pretrained: timm has the weights of its own networks, not of model.name = 'my_net.py:build': give a file of weights "
        "with --checkpoint",
    ),
    (["--unit", "head"], 2, f"--unit head: {NET} as set cannot be pruned so: "),
    (
        ["--checkpoint", "other.pt"],
        2,
        "--checkpoint {here}/other.pt: does not fit the model: it lacks inner.bias, inner.weight, outer.bias and 1 more; the "
        "model has no bias, weight",
    ),
]


@pytest.mark.parametrize(("more", "code", "line"), BAD, ids=[" ".join(more) for more, *_ in BAD])
def test_what_cannot_be_run_is_one_line_and_leaves_nothing(mine: Any, more: list[str], code: int, line: str) -> None:
    folder = mine.folder
    (folder / "one.txt").write_text("a\n\n")
    (folder / "twice.txt").write_text("a\nb\na\n")
    (folder / "letters.txt").write_text("\n".join("abcdefghij"))
    (folder / "twice.py").write_text(
        "from torch import nn\nclass Twice(nn.Linear):\n    def forward(self, x):\n        return x, x\n"
        "def build():\n    return Twice(64, 10)\n"
    )
    for name, model in (
        ("nine", 'name = "my_net.py:build"\nclasses = 9'),
        ("wide", 'name = "my_net.py:build"\ndepth = 3'),
        ("gone", 'name = "gone.py:build"'),
        ("resnet", 'name = "torchvision:resnet18"'),
        ("tuple", 'name = "twice.py:build"'),
    ):
        (folder / f"{name}.toml").write_text(CONFIG.replace('name = "my_net.py:build"', model))
    torch.save(torch.nn.Linear(3, 2).state_dict(), folder / "other.pt")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = mine.here(*RUN, "--out", "run", *more)
    assert done.returncode == code, done.stderr
    said = line.replace("{here}", str(folder))
    assert last(done) == f"sics-run: {said}" if not said.endswith(": ") else last(done).startswith(f"sics-run: {said}")
    assert done.stdout == ""
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_job_of_a_queue_loads_it_wherever_it_stands(mine: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What Slurm starts: a fresh process in another folder, told by a file alone."""
    from sics_cli.experiment.cells import plan_cells
    from sics_cli.experiment.scorers import describe_scorers
    from sics_cli.seeds.job import SeedJob
    from sics_cli.slurm.job import JobFile
    from sics_cli.store.inbox import Inbox

    spec = str(mine.folder / "my_net.py") + ":build"
    settings = merged(DIGITS, {"model": {"name": spec}, "training": {"epochs": 1}, "calibration": {"batches": 1}})
    settings["model"] = {"name": spec}
    experiment: Experiment = experiment_from_mapping({**settings, "seeds": 1, "sparsities": [0.5]})
    environment = Environment("cpu", "2.15", "1.0")
    recipe = Recipe(experiment, environment)
    infos = [info for info in describe_scorers((), "gradient") if info.name == "magnitude"]
    cells = plan_cells(recipe, infos)
    job = SeedJob(mine.run, experiment, environment, 0, cells, (), True, {}, recipe.run_id, recipe.task)
    mine.run.mkdir()
    Inbox(mine.run, recipe.run_id).prepare()
    JobFile("cpu", (job,)).write(mine.folder / "job.pkl")
    code = "import sys, pathlib; from sics_cli.slurm.job import run_part; print(run_part(pathlib.Path(sys.argv[1])))"
    elsewhere = tmp_path_factory.mktemp("node")
    done = subprocess.run(
        [sys.executable, "-c", code, str(mine.folder / "job.pkl")],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "JobResult(seeds=(0,), fatal=None)" in done.stdout, done.stderr
    assert Inbox(mine.run, recipe.run_id).keys() >= {cell.key for cell in cells}
    assert not any(isinstance(row, str) for row in Inbox(mine.run, recipe.run_id).posted({cell.key for cell in cells}).values())


# -- a folder of photos -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(photos_of: Callable[[int], Path]) -> Path:
    return photos_of(8)


def colours(cli: Any, photos: Path, order: str = "bgr", toml: str = PHOTOS) -> list[str]:
    (cli.folder / "colours.py").write_text(COLOURS)
    (cli.folder / "photos.toml").write_text(
        toml.replace(':build"', f':build"\norder = "{order}"') + f'[data]\nname = "imagefolder:{photos}"\n'
    )
    scope: dict[str, Any] = {}
    exec(COLOURS, scope)
    torch.save(scope["build"](order).state_dict(), cli.folder / "colours.pt")
    return ["replicate", "--config", "photos.toml", "--checkpoint", "colours.pt", "--out", "run", "--no-report", "--workers", "1"]


def test_a_folder_named_in_a_file_has_the_sizes_it_has_and_they_are_said(cli: Any, photos: Path) -> None:
    done = cli.here(*colours(cli, photos), "--standardise", "imagenet")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "sizes left open are those of imagefolder: 44 train, 4 validation, 12 test" in said
    assert "classes are numbered by name, 'blue' is output 0 and 'red' output 2 (--classes: others)" in said
    (row,) = dense_of(cli.store)
    assert (row.correct, row.n) == (12, 12)
    shown = " ".join(done.stdout.split())
    assert "imagefolder (44 train, 4 validation, 12 test, 3×8×8, standardised by ImageNet's numbers)" in shown
    assert "standardised by ImageNet's numbers" in " ".join(cli.here("status", "run").stdout.split())
    partly = (cli.folder / "photos.toml").read_text() + "test = 5\nvalidation = 7\n"
    (cli.folder / "photos.toml").write_text(partly)
    command = ["replicate", "--config", "photos.toml", "--checkpoint", "colours.pt", "--dry-run", "--standardise", "imagenet"]
    shown = " ".join(cli.here(*command).stdout.split())
    assert "imagefolder (48 train, 7 validation, 5 test" in shown


def test_the_same_network_reads_the_same_however_its_numbers_are_given(cli: Any, photos: Path) -> None:
    command = colours(cli, photos)
    losses = []
    for place, word in enumerate(("imagenet", "timm:resnet10t", ".485,.456,.406/.229,.224,.225", "data")):
        done = cli.here(*command[:-5], "--out", f"run{place}", "--no-report", "--standardise", word)
        assert done.returncode == 0, done.stderr
        losses.append(dense_of(cli.folder / f"run{place}" / "run.sqlite")[0].loss)
    assert losses[0] == losses[1] == losses[2] != losses[3]
    unsaid = cli.here(*command[:-5], "--out", "run3", "--no-report")
    assert "images are standardised by their own mean and deviation, since nothing says what" in " ".join(unsaid.stderr.split())
    assert "0 of them computed now" in unsaid.stdout, "the key of earlier runs"


def test_fewer_classes_than_outputs_need_their_names(cli: Any, photos: Path) -> None:
    command = [*colours(cli, photos, "grxb"), "--standardise", "imagenet"]
    refused = cli.here(*command)
    assert refused.returncode == 2
    assert last(refused).endswith(f"' has 4 outputs for 3 classes of imagefolder: {GIVE_CLASSES}")
    assert not cli.run.exists()
    (cli.folder / "names.txt").write_text("green\nred\nviolet\nblue\n")
    done = cli.here(*command, "--classes", "names.txt")
    assert done.returncode == 0, done.stderr
    (row,) = dense_of(cli.store)
    assert row.correct == row.n
    assert "classes are numbered by name" not in done.stderr
    (cli.folder / "short.txt").write_text("green\nred\nblue\n")
    short = cli.here(*command, "--classes", "short.txt", "--out", "other")
    assert "has 4 outputs for 3 names in --classes: give --classes FILE" in last(short)


def test_a_preset_gives_its_sizes_to_its_own_data_alone() -> None:
    kept = build_experiment("cifar10-vit-micro", None, {}, data={"name": "imagefolder:x"}).images.data
    assert (kept.train, kept.validation, kept.test) == (25_000, 5_000, 4_000), "as documented: the preset on other images"
    unasked = build_experiment(None, None, {}, data={"name": "imagefolder:x"}).images.data
    assert (unasked.train, unasked.validation, unasked.test) == (0, 0, 0), "digits' sizes are nothing to a folder"
    digits = build_experiment(None, None, {}, data={"name": "digits"}).images.data
    assert (digits.train, digits.validation, digits.test) == (700, 197, 900)


@pytest.mark.parametrize("data", ['name = "imagefolder:x"', 'name = "fashion-mnist"\ntrain = 9'])
def test_a_file_that_names_other_data_does_not_inherit_sizes(tmp_path: Path, data: str) -> None:
    from sics_cli.commands.replicate import build_experiment

    (tmp_path / "a.toml").write_text(f"[data]\n{data}\n")
    found = build_experiment("cifar10-vit-micro", tmp_path / "a.toml", {}).images.data
    assert (found.train, found.validation, found.test) == (9 * ("train" in data), 0, 0)


def test_torchvisions_networks_are_pruned_by_channels(cli: Any, photos: Path) -> None:
    from sics_cli.tasks.networks.models import build_model

    model = ModelConfig("torchvision:resnet18", (("num_classes", 3),))
    torch.save(build_model(model, 0).state_dict(), cli.folder / "resnet.pt")
    toml = PHOTOS.replace("colours.py:build", "torchvision:resnet18").replace("batches = 2", "batches = 1")
    (cli.folder / "photos.toml").write_text(toml + f'[data]\nname = "imagefolder:{photos}"\n')
    command = ["replicate", "--config", "photos.toml", "--checkpoint", "resnet.pt", "--unit", "channel", "--out", "run"]
    done = cli.here(*command, "--no-report", "--workers", "1", "--allow-chance")
    assert done.returncode == 0, done.stderr
    assert "images are standardised by ImageNet's numbers" in " ".join(done.stderr.split())
    with Store.open(cli.store, read_only=True) as store:
        (row,) = (row for row in store.cells() if row.scorer == "magnitude")
    assert [name for name, *_ in row.layers] == [f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert "torchvision:resnet18 (torchvision " in " ".join(cli.here("status", "run").stdout.split())


@pytest.mark.parametrize(
    ("preset", "data", "model", "name"),
    [
        (None, None, None, "digits"),
        (None, "digits", None, "digits"),
        ("digits", None, None, "digits"),
        ("cifar10-vit-micro", None, None, "cifar10-vit-micro"),
        ("cifar10-vit-micro", "cifar10", None, "cifar10-vit-micro"),
        ("digits", "cifar10", None, "digits-on-cifar10"),
        ("cifar10-vit-micro", "imagefolder:my photos/cats", None, "cifar10-vit-micro-on-cats"),
        (None, "cifar10", None, "cifar10-vit"),
        (None, None, "timm:resnet10t", "digits-resnet10t"),
        (None, "imagefolder:my photos", "torchvision:resnet18", "my-photos-resnet18"),
        (None, "imagefolder:/data/photos.tar.gz", "nets.py:build", "photos-build"),
    ],
)
def test_a_run_is_named_by_what_is_in_it(preset: str | None, data: str | None, model: str | None, name: str) -> None:
    assert build_experiment(preset, None, {}, model=model, data={"name": data}).name == name


def test_the_name_is_in_no_key() -> None:
    environment = Environment("cpu", "2.9", "1.0")
    for model in (None, "timm:resnet10t"):
        made = build_experiment(None, None, {}, model=model)
        before, after = (Recipe(replace(made, name=name), environment) for name in ("digits", made.name))
        assert before.run_id == after.run_id
        assert before.dense_cell_key(0) == after.dense_cell_key(0)


def test_the_folder_of_a_run_of_ones_own_network(make_cli: type[Any], tmp_path: Path) -> None:
    """Named by its data and its network where no preset is asked for."""
    mine = make_cli(tmp_path)
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(\n"
        "        nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)\n    )\n"
    )
    options = ("--seeds", "1", "--scorers", "magnitude", "--sparsities", ".5", "--no-report")
    done = mine.here("replicate", "--model", "nets.py:build", *options)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("digits-build-gradient-")
