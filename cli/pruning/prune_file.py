"""One checkpoint in, one pruned checkpoint out: what `sics-run prune` does."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_analysis.results import plural
from sics_cli.base.bits import no_better_than_chance
from sics_cli.base.errors import ConfigError, MismatchError, SicsError
from sics_cli.base.files import atomic_path, write_atomically, written_for
from sics_cli.base.hashing import canonical_json
from sics_cli.base.versions import full_version
from sics_cli.pruning.request import ADAPTIVE, PruneRequest, asked_scorer, check_adaptive, notes_on, saliency_kind
from sics_cli.settings.images import IMAGE_FOLDER, ModelConfig
from sics_cli.tasks.images.datasets import outputs_of
from sics_cli.tasks.images.standardise import in_words
from sics_cli.tasks.networks.models import GIVE_CLASSES, model_code, model_name
from sics_cli.tasks.networks.start import by_name
from sics_cli.tasks.networks.weights_file import load_weights, read_weights, weights_digest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sics_cli.pruning.images import CalibrationImages
    from sics_plugin import PruningReport, Saliency, Scorer

#: Of what a pruned file says of itself.
SCHEMA = 1
#: So many batches tell whether the network knows the images.
_CHECKED_BATCHES = 8
#: On so many images the smaller network is compared with the masked one before it is written.
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where things go; None: nowhere."""

    weights: Path
    report: Path | None
    masks: Path | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was done: `facts` go into the file, `notes` are for whoever reads the result."""

    report: PruningReport
    facts: dict[str, Any]
    notes: tuple[str, ...]
    bytes_before: int
    bytes_after: int


def prune_file(request: PruneRequest, outputs: Outputs, images: CalibrationImages | None, say: Callable[[str], None]) -> Pruned:
    """Read, prune and write; nothing is written before everything is known."""
    from sics_plugin import finalize, shrink

    source = weights_digest(request.weights, "WEIGHTS")
    scorer = asked_scorer(request)
    check_adaptive(request, scorer, images is not None)
    kind = saliency_kind(request, scorer, images is not None)
    state = read_weights(request.weights, "WEIGHTS")
    model = _built(request, state)
    notes = list(notes_on(scorer, images is not None))
    with _told(notes):
        calibrated, saliency = (None, None) if images is None else _calibrate(model, images, kind, request, say, notes)
        if request.trials:
            say(f"trying masks of several scorers and pools on the {images.count if images else 0} images")
        if request.budget is not None:
            say(
                f"choosing by at most {plural(request.budget, 'evaluation')} on "
                f"{images.request.held_out if images else 0} held-out images"
            )
        report = _prune(model, scorer, request, saliency, images, notes)
    notes += (*report.flags, *report.zeros_note)
    facts: dict[str, Any] = {
        "source_sha256": source,
        "model": {"name": model_name(request.model), "options": dict(request.model.options), **_code(request.model)},
        "requested": {"scorer": request.scorer, "sparsity": request.sparsity, "min_keep": request.min_keep, "seed": request.seed},
        "calibration": calibrated,
        "versions": {name: full_version(name) for name in ("sics", "torch", "timm")},
        "report": {name: value for name, value in report.to_dict().items() if name not in ("layers", "parameters")},
        "shrunk": None,
    }
    smaller = model
    if request.shrink:
        from sics_plugin.channels.rebuild import removed_units

        unit: Any = request.unit
        facts["shrunk"] = {"unit": unit, "removed": removed_units(model, unit)}
        example = None if images is None else next(images.batches(say=False))[0][:_SHOWN]
        smaller = _explained("--shrink", lambda: shrink(model, example=example))
    if outputs.masks is not None:
        write_masks("--masks", outputs.masks, model)
    size = write_state("--output", outputs.weights, smaller if request.shrink else finalize(model), state, facts)
    if outputs.report is not None:
        _write_report(outputs.report, report, facts, notes)
    return Pruned(report, facts, tuple(notes), request.weights.stat().st_size, size)


def _code(model: ModelConfig) -> dict[str, Any]:
    """What of a user's own code made the network, for whoever has to build it again."""
    return {"code": code} if (code := model_code(model)) else {}


def _built(request: PruneRequest, state: Mapping[str, Tensor]) -> nn.Module:
    import torch

    from sics_cli.runs.devices import usable_gpus
    from sics_cli.tasks.networks.models import build_model

    model = build_model(request.model, 0)
    gpus = usable_gpus(request.device, lambda: tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))
    try:
        load_weights(model, state, f"WEIGHTS {request.weights}")
    except ConfigError as error:
        hint = " (--model-option num_classes=N and the like say how the network differs from the architecture's default)"
        raise ConfigError(f"{error}{hint if 'shapes differ' in str(error) else ''}") from None
    return model.to(f"cuda:{gpus[0]}" if gpus else "cpu").eval()


def _calibrate(
    model: nn.Module, images: CalibrationImages, kind: str, request: PruneRequest, say: Callable[[str], None], notes: list[str]
) -> tuple[dict[str, Any], Saliency]:
    """The saliency, and how the dense network did on some of the images: a check of preprocessing and labels."""
    from sics_plugin import Saliency

    name, standardise = images.request.name, images.standardise
    checked = correct = 0
    for number, (outputs, labels) in enumerate(_outputs(model, images)):
        if number == 0:
            _check_classes(outputs.shape[-1], images)
        checked, correct = checked + len(labels), correct + int((outputs.argmax(-1).cpu() == labels).sum())
    if no_better_than_chance(correct, checked, len(images.facts.classes)):
        said = (
            f"the dense network gets {correct} of {checked} calibration images right, no better than chance: are --standardise "
            f"({standardise}), --image-size and the order of the classes ({'--classes' if images.config.classes else 'by name'}) "
            "those it was trained with?"
        )
        if not request.allow_chance:
            raise MismatchError(f"--data {name}: {said} --allow-chance goes on all the same")
        notes.append(f"{said} A saliency on the wrong images says little")
    if standardise == "data" and images.request.standardise is None and images.pixels:
        notes.append(
            f"images are standardised by {in_words('data')}, since nothing says what the network was trained with (--standardise)"
        )
    if name.startswith(IMAGE_FOLDER) and images.config.classes is None:
        notes.append(by_name(images.facts))
    say(f"{kind} saliency on {plural(images.count, 'image')} of {name}")
    any_kind: Any = kind
    saliency = _explained(f"--data {name}", lambda: Saliency(model, images.batches(), kind=any_kind, unit=request.unit))
    facts = {"data": name, "images": images.count, "standardise": standardise, "checked": checked, "correct": correct}
    return facts, saliency


def _check_classes(outputs: int, images: CalibrationImages) -> None:
    """Refuse a network of other classes than the images': which output is which could only be guessed."""
    if outputs == (wanted := outputs_of(images.config, images.facts)):
        return
    if images.config.classes is not None:
        raise ConfigError(f"--classes: names {wanted} classes, the network has {outputs} outputs")
    raise ConfigError(f"--data {images.request.name}: has {wanted} classes, the network {outputs} outputs: {GIVE_CLASSES}")


def _outputs(model: nn.Module, images: CalibrationImages) -> Iterator[tuple[Tensor, Tensor]]:
    import torch

    device = next(model.parameters()).device
    what = f"--data {images.request.name}: images of {'×'.join(map(str, images.shape))}"
    for number, (pixels, labels) in enumerate(images.batches(say=False)):
        if number == _CHECKED_BATCHES:
            return
        with torch.inference_mode():
            outputs: Tensor = _explained(what, partial(model, pixels.to(device)))
        yield outputs, labels


def _prune(
    model: nn.Module,
    scorer: Scorer,
    request: PruneRequest,
    saliency: Saliency | None,
    images: CalibrationImages | None,
    notes: list[str],
) -> PruningReport:
    from sics_plugin import Calibration, Trials, held_out_loss, prune_channels, prune_model

    unit: Any = request.unit
    options: dict[str, Any] = {"saliency": saliency, "pool": request.ranked_in, "min_keep": request.min_keep}
    method: str | Scorer = scorer
    if images is not None and (request.trials or request.budget is not None):
        method, budget = ADAPTIVE, request.budget
        evaluate = None if budget is None else held_out_loss(list(images.held_out()))
        if request.trials and saliency is not None:
            by = {} if budget is None else {"held_out": evaluate, "budget": budget}
            how = Trials(images.batches(), collected={saliency.kind: saliency}, **by)  # type: ignore[arg-type]
            options = {"min_keep": request.min_keep, "calibrate": how}
        elif evaluate is not None and budget is not None:
            options["calibrate"] = Calibration(evaluate, budget)
    report: PruningReport
    if unit == "weight":
        what = model if "calibrate" in options else _fitting(model, request.ranked_in, notes)  # held-out scores need the model
        report = _explained("--unit weight", lambda: prune_model(what, method, amount=request.sparsity, **options))
    else:
        report = _explained(f"--unit {unit}", lambda: prune_channels(model, method, request.sparsity, unit=unit, **options))
    return report


def _fitting(model: nn.Module, pool: str, notes: list[str]) -> nn.Module | list[tuple[nn.Module, str]]:
    """The model, or what of it an N:M pool can hold; a first convolution of three channels stays dense."""
    from sics_plugin import prunable_parameters
    from sics_plugin.network.prunable import divisible

    _, _, group = pool.partition(":")
    if not group:
        return model
    fit, other = divisible(prunable_parameters(model), int(group))
    if not fit or not other:
        return model
    names = {id(module): name for name, module in model.named_modules()}
    left = ", ".join(f"{names[id(module)]}.{name}" for module, name in other)
    notes.append(f"left dense, since {group} does not divide the inputs of its rows: {left}")
    return fit


def _explained(what: str, work: Callable[[], Any]) -> Any:
    """What `work` gives; what it refuses, in a line that begins with what the user can change."""
    try:
        return work()
    except SicsError:
        raise
    except (ValueError, TypeError, RuntimeError, AssertionError, IndexError) as error:
        lines = str(error).strip().split("\n")
        reason = (
            lines[0]
            .replace("`min_keep`", "--min-keep")
            .replace("`amount`", "--sparsity")
            .partition("; for others pass `groups=`")[0]
        )
        raise ConfigError(f"{what}: {reason or type(error).__name__}") from None


@contextmanager
def _told(notes: list[str]) -> Iterator[None]:
    """Warnings as notes, once each; what a report carries as a flag is not said twice."""
    from sics_plugin import CoordinateUnresolvedWarning, VanishedLayerWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    flags = (CoordinateUnresolvedWarning, VanishedLayerWarning)
    texts = [
        " ".join(str(w.message).split())
        for w in caught
        if issubclass(w.category, UserWarning) and not issubclass(w.category, flags)
    ]
    notes += dict.fromkeys(texts)


def _write_report(path: Path, report: PruningReport, facts: Mapping[str, Any], notes: list[str]) -> None:
    document = {"kind": "sics-pruning-report", "schema": 1, **facts, "report": report.to_dict(), "notes": notes}
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with written_for("--report", path):
        write_atomically(path.resolve(), text.encode())


def check_outputs(outputs: Mapping[str, Path | None], sources: Mapping[str, Path | None]) -> None:
    """Refuse, before any work, places that cannot be written or hold what is read; keys are the options' names."""
    read = {name: path.resolve() for name, path in sources.items() if path is not None}
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if str(path) == "-" or (path.exists() and not path.is_file()):
            raise ConfigError(f"{option} {path}: is no file to write; give a file")
        if not place.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {place.parent}")
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise ConfigError(f"{option} {path}: the folder {place.parent} cannot be written")
        for name, source in read.items():
            if place == source or (path.exists() and source.exists() and path.samefile(source)):
                raise ConfigError(f"{option} {path}: is the file of {name}; give another")
        if place in taken:
            raise ConfigError(f"{option} {path}: is the file of {taken[place]} as well; give another")
        taken[place] = option


def write_state(option: str, path: Path, model: nn.Module, like: Mapping[str, Tensor], facts: Mapping[str, Any]) -> int:
    """Write the model's state dict with `facts` as metadata; every tensor in the type it has in `like`. Return its bytes.

    If it cannot be written, what was there is still there.
    """
    from safetensors.torch import save_file

    from sics_plugin.channels.rebuild import METADATA_KEY

    # A copy each: safetensors takes no two names for one memory, as tied weights have.
    state = {
        name: tensor.detach().cpu().to(like[name].dtype, copy=True).contiguous() for name, tensor in model.state_dict().items()
    }
    with written_for(option, path), atomic_path(path.resolve()) as partial:
        # One entry: safetensors writes several in an order that changes from call to call.
        save_file(state, partial, metadata={METADATA_KEY: canonical_json({"schema": SCHEMA, **facts})})
        _readable(partial)
    return path.stat().st_size


def write_masks(option: str, path: Path, model: nn.Module) -> None:
    """Write the masks on a model, for `sics_plugin.load_masks`."""
    from sics_plugin import export_masks

    with written_for(option, path), atomic_path(path.resolve()) as partial:
        export_masks(model, partial)
        _readable(partial)


def _readable(path: Path) -> None:
    """Give a file the permissions of any other that the user makes; safetensors leaves it to its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
