"""The `sics-run replicate` that gives the recipe and the plan of a run again, from what its store keeps."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sics_cli.base import user_code
from sics_cli.experiment import searched
from sics_cli.experiment.scorers import ScorerInfo, choose
from sics_cli.settings.config import ALPHA, DELTA, OWN_DEFAULTS, REFERENCE
from sics_cli.settings.images import IMAGE_FOLDER, PATHS, TrainingConfig
from sics_cli.settings.presets import DEFAULT_PRESET, PRESETS
from sics_cli.store.rows import PlanRow
from sics_cli.tasks.networks.models import VIT

#: What stands for a path that no store keeps.
CONFIG, FOLDER, FILE = "FILE.toml", f"{IMAGE_FOLDER}PATH", "FILE"
_FOLDER_KEY = IMAGE_FOLDER.rstrip(":")
#: Words of --scorers whose names a store keeps the facts of.
_WORDS = ("all", "sics", "peers")
_SIZES = ("train", "validation", "test")
#: Options of a network that are filled in from the images.
_FILLED = ("img_size", "in_chans", "num_classes")


def replicate_command(
    recipe: Mapping[str, Any],
    plan: PlanRow | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    first_seed: int = 0,
    folder: Path | None = None,
) -> str:
    """The command that goes on with a run, without a number of seeds: each option that is not the default of those before it.

    What no store keeps stands as a placeholder: the path of an image folder, files of weights or classes, and the file of
    settings that no option sets. Empty where every seed is a file that was given, as no number of seeds makes more of them, and
    where the task was handed over by Python, which no command can name.

    Parameters
    ----------
    recipe, plan, facts
        What the store keeps: its recipe, its last plan, and what it was told of scorers.
    first_seed
        Where the run's seeds begin.
    folder
        The run's own folder; None where the command is to begin another, as of a run that ships with the package.

    Examples
    --------
    >>> replicate_command({"task": {"name": "my task.py:Mine"}, "unit": "head"})
    "sics-run replicate --task 'my task.py:Mine' --unit head"
    """
    name = str(recipe.get("task", {}).get("name", ""))
    if recipe.get("start", {}).get("kind") == "checkpoints" or name.startswith("notebook:"):
        return ""
    words = _of_task(recipe["task"]) if "task" in recipe else _of_images(recipe)
    usual = {"unit": "weight", "pool": "global", "saliency": "gradient"}
    given = {"unit": recipe.get("unit"), "pool": recipe.get("pool"), "saliency": recipe.get("saliency", {}).get("kind")}
    words += [word for name, value in given.items() if value not in (None, usual[name]) for word in (f"--{name}", value)]
    words += [] if plan is None else _of_plan(recipe, plan, facts or {})
    words += ["--first-seed", str(first_seed)] if first_seed else []
    words += ["--out", _near(folder)] if folder is not None else []
    return shlex.join(["sics-run", "replicate", *words])


# -- what is trained and measured ------------------------------------------------------------------------------------------------


def _of_task(task: Mapping[str, Any]) -> list[str]:
    """A task of the user's own; its options are in a file."""
    return ["--task", task["name"], *(["--config", CONFIG] if task.get("options") else [])]


def _of_images(recipe: Mapping[str, Any]) -> list[str]:
    """A preset and what differs from it, or a file of settings where no options say it."""
    start = recipe.get("start", {}).get("kind")
    found = (words for name in PRESETS if (words := _over(name, recipe)) is not None)
    words = next(found, ["--config", CONFIG])
    data = recipe.get("data", {})
    standardise, usual = data.get("standardise", "data"), "data" if start is None or _network(recipe)[0] == VIT else None
    words += ["--checkpoint", FILE] if start == "checkpoint" else ["--pretrained"] if start else []
    words += ["--classes", FILE] if "classes" in data else []
    return words + (["--standardise", standardise] if standardise != usual else [])


def _over(name: str, recipe: Mapping[str, Any]) -> list[str] | None:
    """The options that make the data, network and training of a recipe out of a preset; None where none do."""
    preset, data = PRESETS[name], recipe.get("data", {})
    calibration = recipe.get("saliency", {}).get("calibration")
    if calibration not in (None, preset["calibration"]) or not _trained_as(preset, recipe) or "image_size" in data:
        return None
    network, options = _network(recipe)
    same = network == preset["model"]["name"]
    wanted = {key: value for key, value in preset["model"].items() if key != "name"} if same else {}
    further = set(options) - set(wanted)
    if not wanted.items() <= options.items() or not further <= set(_FILLED):
        return None
    model = [] if same else ["--model", network]
    of_preset = [] if name == DEFAULT_PRESET else ["--preset", name]
    source = FOLDER if data.get("name") == _FOLDER_KEY else str(data.get("name"))
    if data.get("split_seed", 0) != preset["data"]["split_seed"]:
        return None
    sized_alike = all(data.get(size) == preset["data"][size] for size in _SIZES)
    if source == preset["data"]["name"]:
        return [*of_preset, *model] if sized_alike else None
    if sized_alike:  # a preset that is named keeps its sizes
        return ["--preset", name, "--data", source, *model]
    return ["--data", source, *model] if name == DEFAULT_PRESET and _all_there_is(data) else None


def _network(recipe: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the network, and its options."""
    options = dict(recipe.get("model", {}))
    return str(options.pop("name", "")), options


def _trained_as(preset: Mapping[str, Any], recipe: Mapping[str, Any]) -> bool:
    """Whether a network was trained as a preset has it; one that was given whole was trained by nobody here."""
    if recipe.get("start", {}).get("kind") == "checkpoint":
        return True
    known = {field.name for field in dataclasses.fields(TrainingConfig)}
    stored = {key: value for key, value in recipe.get("training", {}).items() if key in known}
    if stored.get("path") not in PATHS:  # a way of computing that is there no more
        stored.pop("path", None)
    wanted = asdict(TrainingConfig(**preset["training"]))
    defaults = {field.name: field.default for field in dataclasses.fields(TrainingConfig)}
    return all(stored.get(key, defaults[key]) == value for key, value in wanted.items())


def _all_there_is(data: Mapping[str, Any]) -> bool:
    """Whether the sizes may be those of a source that nobody asked to cut (`sics_cli.tasks.images.datasets.sized`)."""
    return bool(data.get("validation") == max(1, (data.get("train", 0) + data.get("validation", 0)) // 10))


# -- what was planned ------------------------------------------------------------------------------------------------------------


def _of_plan(recipe: Mapping[str, Any], plan: PlanRow, facts: Mapping[str, Any]) -> list[str]:
    """Scorers, sparsities, margin, level and reference."""
    words: list[str] = []
    if names := _of_scorers(recipe, plan, facts):
        words += ["--scorers", ",".join(names)]
    if tuple(plan.sparsities) != OWN_DEFAULTS["sparsities"]:
        words += ["--sparsities", ",".join(map(repr, plan.sparsities))]
    usual = recipe["task"]["metric"]["delta"] if "task" in recipe else DELTA
    words += ["--delta", _number(plan.delta)] if plan.delta != usual else []
    words += ["--alpha", _number(plan.alpha)] if plan.alpha != ALPHA else []
    return words + (["--reference", plan.reference] if plan.reference != REFERENCE else [])


def _of_scorers(recipe: Mapping[str, Any], plan: PlanRow, facts: Mapping[str, Any]) -> list[str]:
    """Words that stand for several of the plan's scorers, and the names of the others; nothing where they run by default.

    The reference is added to every run.
    """
    infos = [_info(told) for told in facts.get("infos", ())]
    left = {name: None for name in plan.scorers if name != plan.reference}
    found: list[str] = []
    for word in _WORDS if any(info.name == plan.reference for info in infos) else ():
        members = set(_stood_for(word, infos, recipe, plan)) - {plan.reference}
        if members & left.keys() and members <= set(plan.scorers):
            found.append(word)
            left = {name: None for name in left if name not in members}
    searches = searched.of_word()
    if set(searches) <= set(plan.scorers):
        found.append(searched.SEARCHED)
        left = {name: None for name in left if name not in searches}
    specs = {info.name: info.spec for info in infos}
    found += [_near_code(specs.get(name, name)) for name in left]
    return [] if found == ["sics"] else found or [plan.reference]


def _stood_for(word: str, infos: Sequence[ScorerInfo], recipe: Mapping[str, Any], plan: PlanRow) -> Iterable[str]:
    chosen, _ = choose(infos, [word], recipe["saliency"]["kind"], plan.reference, recipe["unit"], recipe["pool"])
    return (info.name for info in chosen)


def _info(told: Mapping[str, Any]) -> ScorerInfo:
    known = {field.name for field in dataclasses.fields(ScorerInfo)}
    return ScorerInfo(**{name: value for name, value in told.items() if name in known})


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


# -- where it lies ---------------------------------------------------------------------------------------------------------------


def _near(path: Path) -> str:
    """A path from the working folder where it lies below it; else DIR stands for its place, since a report knows no paths."""
    there, here = path.absolute(), Path.cwd()
    return os.fspath(there.relative_to(here) if there.is_relative_to(here) and there != here else Path("DIR", there.name))


def _near_code(spec: str) -> str:
    place, _, name = spec.rpartition(":")
    return f"{_near(Path(place))}:{name}" if user_code.is_file(place) else spec
