"""`sics-run prune`: one checkpoint in, a pruned one and a report out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sics_cli.base.errors import ConfigError, RefusedSettingError, near_file
from sics_cli.base.user_code import is_file
from sics_cli.commands.options import (
    CHANCE_OPTION,
    CLASSES_OPTION,
    COUNT,
    FRACTION,
    SEED,
    STANDARDISE_OPTION,
    Word,
    named_as_options,
)
from sics_cli.settings.config import DEVICES, PATTERNS, POOLS, SALIENCIES, UNITS, WEIGHT_POOLS
from sics_cli.settings.images import ModelConfig, read_classes

if TYPE_CHECKING:
    from sics_cli.pruning.images import CalibrationImages
    from sics_cli.pruning.prune_file import Outputs, Pruned
    from sics_plugin import PruningReport

#: As in the preset of the main job.
BATCHES, BATCH_SIZE = 40, 64
#: Of digits' validation part, and most folders have as many to spare.
HELD_OUT = 150
#: Options that say how calibration images are read, and mean nothing without --data.
_OF_DATA = ("data_dir", "download", "image_size", "batches", "batch_size", "standardise", "classes", "allow_chance")
#: Settings of a file, as errors call them, and what they are here.
_OPTIONS = {
    "model.name = ": "--model ",
    "model.name:": "--model:",
    "[model]": "--model",
    "data.name = ": "--data ",
    "data.image_size = ": "--image-size ",
    "data.image_size": "--image-size",
    "unknown option model.": "unknown --model-option ",
}
_FILE = click.Path(path_type=Path)


def model_options(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """Read NAME=VALUE, once a name: a value is a number, true, false, or text.

    >>> model_options(None, None, ("num_classes=10", "global_pool=avg", "class_token=false"))
    (('num_classes', 10), ('global_pool', 'avg'), ('class_token', False))
    """
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value or name in found:
            raise click.BadParameter(f"{text!r} is not accepted: give NAME=VALUE, such as num_classes=10, once a name")
        found[name] = _value(value)
    return tuple(found.items())


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def min_keep(ctx: click.Context, param: click.Parameter, value: str | None) -> float | int:
    """Read a fraction of a layer, or with no point in it, a number of its units."""
    if value is None:
        return 0
    if re.fullmatch(r"\d{1,9}", value):
        return int(value)
    try:
        number = float(value)
        if not 0 <= number <= 1:
            raise ValueError
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not accepted: give a fraction from 0.0 to 1.0, or a whole number of units"
        ) from None
    return number


@click.command()
@click.argument("weights", type=_FILE)
@click.option(
    "--model",
    "architecture",
    required=True,
    metavar="NAME",
    help="Its architecture: timm:NAME, torchvision:NAME, vit, or your own FILE.py:FUNCTION or MODULE:CLASS.",
)
@click.option(
    "--model-option",
    "options",
    multiple=True,
    callback=model_options,
    metavar="NAME=VALUE",
    help="For its constructor; repeatable.",
)
@click.option("--sparsity", required=True, type=FRACTION, metavar="S", help="Fraction of units removed, above 0 and below 1.")
@click.option("--scorer", default="adaptive", metavar="NAME|MODULE:CLASS", help="What ranks them.  [default: adaptive]")
@click.option("--unit", type=Word(UNITS), default="weight", help="What is removed.  [default: weight]")
@click.option(
    "--pool",
    type=Word([pool for pool in POOLS if pool != "native"]),
    help="What is ranked against each other.  [default: global]",
)
@click.option(
    "--min-keep", callback=min_keep, metavar="F|N", help="Fraction or number of its units every layer keeps.  [default: 0]"
)
@click.option(
    "--data", metavar="NAME|imagefolder:PATH", help="Calibration images: digits, cifar10, cifar100, fashion-mnist, or your own."
)
@click.option("--saliency", type=Word(SALIENCIES), help="Signal.  [default: gradient with --data, else neighbourhood]")
@click.option(
    "--from-report", type=_FILE, metavar="FILE.json", help="adaptive chooses by what this report of your own runs claims."
)
@click.option("--table", type=Word(["hypothesis", "measured"]), help="adaptive chooses by this table.  [default: hypothesis]")
@click.option(
    "--trials",
    is_flag=True,
    help="adaptive tries scorers and pools, and takes what does best on the images of --data.",
)
@click.option("--calibrate", type=COUNT, metavar="BUDGET", help="adaptive chooses by so many evaluations on held-out images.")
@click.option("--held-out", type=COUNT, metavar="N", help=f"Images for that, none of the batches'.  [default: {HELD_OUT}]")
@click.option("--batches", type=COUNT, metavar="N", help=f"Calibration batches.  [default: {BATCHES}]")
@click.option("--batch-size", type=COUNT, metavar="N", help=f"Images in each.  [default: {BATCH_SIZE}]")
@click.option("--image-size", type=COUNT, metavar="PIXELS", help="Scale images of a folder to squares of this size.")
@STANDARDISE_OPTION
@CLASSES_OPTION
@CHANCE_OPTION
@click.option("--data-dir", type=_FILE, metavar="DIR", help="Where torchvision's files are.  [default: the user's cache]")
@click.option("--download", is_flag=True, default=None, help="Let torchvision fetch them there when they are missing.")
@click.option("--seed", type=SEED, metavar="K", default=0, help="Picks calibration images and random scores.  [default: 0]")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:I]", help="Where it runs.  [default: auto]")
@click.option("--shrink", is_flag=True, help="Cut removed channels or heads out of the tensors.")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE", help="Pruned weights, safetensors.")
@click.option("--report", type=_FILE, metavar="FILE.json", help="What was done, layer by layer.")
@click.option("--masks", type=_FILE, metavar="FILE", help="Masks, safetensors, for sics_plugin.load_masks.")
def prune(weights: Path, architecture: str, options: Any, **asked: Any) -> None:
    """Prune WEIGHTS (safetensors, or a state dict of torch.save) and write them with zeros where weights went.

    No file of weights can run code (a FILE.py is your own). Without --data the scorer sees the weights alone, which is about as
    good as magnitude: the gain needs --data, some thousand images of the kind the network was trained on. What is written loads
    into the same architecture; with --shrink into a smaller one, which sics_plugin.load_shrunk(MODEL, FILE) builds, MODEL being
    of the dense architecture.
    """
    from sics_cli.console import progress_bars
    from sics_cli.pruning.prune_file import Outputs, check_outputs, prune_file
    from sics_cli.pruning.request import PruneRequest
    from sics_cli.tasks.networks.models import check_model

    model = ModelConfig(architecture, options)
    with named_as_options(_OPTIONS):
        check_model(model)
    _check(asked)
    outputs = Outputs(asked["output"], asked["report"], asked["masks"])
    check_outputs(
        {"--output": outputs.weights, "--report": outputs.report, "--masks": outputs.masks},
        {"WEIGHTS": weights, "--from-report": asked["from_report"], "--classes": asked["classes"], "--model": _file_of(model)},
    )
    if not weights.is_file():
        raise ConfigError(f"WEIGHTS {weights}: there is no such file{near_file(weights)}")
    say = progress_bars.LineReporter().note
    names = (
        "scorer",
        "sparsity",
        "unit",
        "pool",
        "min_keep",
        "saliency",
        "seed",
        "device",
        "shrink",
        "from_report",
        "table",
        "trials",
        "allow_chance",
    )
    chosen = {name: asked[name] for name in names}
    request = PruneRequest(weights=weights, model=model, budget=asked["calibrate"], **chosen)
    with named_as_options(_OPTIONS):
        images = _images(asked, model, say) if asked["data"] is not None else None
        done = prune_file(request, outputs, images, say)
    _print(done, outputs)


def _file_of(model: ModelConfig) -> Path | None:
    """The file that a network of the user's own comes from."""
    place = model.name.rpartition(":")[0]
    return Path(place) if is_file(place) else None


def _check(asked: dict[str, Any]) -> None:
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", asked["device"]) is None:
        raise RefusedSettingError("device", asked["device"], DEVICES).typed()
    pool, only = asked["pool"], PATTERNS.get(asked["pool"])
    if only is not None and abs(asked["sparsity"] - only) > 1e-9:
        raise ConfigError(f"--sparsity {asked['sparsity']:g}: is not accepted: give {only:g}, which pool {pool} is")
    if pool in WEIGHT_POOLS and asked["unit"] != "weight":
        raise ConfigError(f"--unit {asked['unit']}: is not accepted: give weight, with pool {pool}")
    if asked["shrink"] and asked["unit"] == "weight":
        raise ConfigError("--shrink: single weights leave no tensor smaller; give --unit channel or --unit head")
    if asked["held_out"] is not None and asked["calibrate"] is None:
        raise ConfigError("--held-out: says on how many images --calibrate chooses; give --calibrate, or leave it out")
    idle = [name for name in _OF_DATA if asked["data"] is None and asked[name] not in (None, False)]
    if idle:
        raise ConfigError(f"--{idle[0].replace('_', '-')}: says how --data is read; give --data, or leave it out")


def _images(asked: dict[str, Any], model: ModelConfig, say: Any) -> CalibrationImages:
    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.tasks.images.datasets import DataAccess
    from sics_cli.tasks.networks.models import known_standardise

    folder = asked["data_dir"]
    request = ImageRequest(
        name=asked["data"],
        access=DataAccess(folder and folder.expanduser().absolute(), bool(asked["download"])),
        image_size=asked["image_size"],
        batches=asked["batches"] or BATCHES,
        batch_size=asked["batch_size"] or BATCH_SIZE,
        standardise=asked["standardise"],
        seed=asked["seed"],
        held_out=(asked["held_out"] or HELD_OUT) if asked["calibrate"] is not None else 0,
        classes=None if asked["classes"] is None else read_classes(asked["classes"]),
    )
    return CalibrationImages(request, say, known=known_standardise(model))


def _print(done: Pruned, outputs: Outputs) -> None:
    from sics_cli.tasks.images.standardise import in_words

    print(done.report)
    if (tried := _tried(done.report)) is not None:
        print(f"  {tried}")
    if done.facts["calibration"] is not None:
        met = done.facts["calibration"]
        print(
            f"  calibrated on {met['images']} images of {met['data']}, standardised by {in_words(met['standardise'])}; "
            f"the dense network gets {met['correct']} of {met['checked']} of them right"
        )
    flags = set(done.report.flags)
    for note in done.notes:
        if note not in flags:
            print(f"  note: {note}")
    print(f"  {outputs.weights}: {done.bytes_after:,} bytes, {done.bytes_before:,} before")
    if done.facts["shrunk"] is not None:
        print(f"  load it: sics_plugin.load_shrunk(MODEL, {str(outputs.weights)!r}), MODEL the dense architecture")
    for path in (outputs.report, outputs.masks):
        if path is not None:
            print(f"  {path}")


def _tried(report: PruningReport) -> str | None:
    """Every trial on the calibration images with what it was judged by, the best first; None where there were none, or others."""
    trials = () if report.choice is None else report.choice.trials
    if not trials or trials[0].pool is None:
        return None
    told = ", ".join(f"{one.scorer}/{one.pool} {-one.score:.4g}" for one in trials)
    return f"tried, less is better: {told}"
