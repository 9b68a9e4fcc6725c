"""How much work a run is, in passes of one example through the network: what the time left is told by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Self

from sics_cli.experiment.cells import Cell
from sics_cli.experiment.recipe import Recipe
from sics_cli.settings.config import Experiment, ModelConfig
from sics_cli.store.rows import CellRow, CheckpointRow
from sics_cli.store.run_folder import checkpoint_path, half_trained_path, kept_epochs

#: A forward and backward pass costs about three forward passes.
BACKWARD = 3
#: Making a mask costs about as much as half an evaluation (measured on digits; smaller beside larger networks).
MASKING = 1.5
#: What a peer's own signal costs beside a forward and backward pass over the calibration batches (`python bench/signals.py`; on
#: digits, and but for the order of the small ones also on a ResNet of 5 M weights). What is not here costs nothing to speak of.
SIGNALS = {
    "gradient": 1.0,
    "snip": 1.0,
    "taylor": 1.0,
    "activation": 0.4,
    "relative_activation": 0.4,
    "fisher": 2.0,
    "sensitivity": 2.0,
    "grasp": 4.7,
}
#: SynFlow's hundred rounds, whatever the calibration: in passes, most of it sorting as many scores as a pass has weights.
SYNFLOW = 19_000.0
#: What timm's VisionTransformer does unless told otherwise.
_VIT = {"img_size": 224, "patch_size": 16, "in_chans": 3, "embed_dim": 768, "depth": 12, "mlp_ratio": 4.0}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one seed's parts take, in passes of one example; or in seconds on one worker, and `source` says how that is known.

    `signals` are the saliencies that scorers may collect for themselves, by kind: not the run's own, which each seed has already.
    """

    training: float
    saliency: float
    cell: float
    source: str = ""
    signals: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Passes that an experiment needs; a seed costs training + saliency + signals + cells · cell."""
        calibration = BACKWARD * experiment.calibration.batches * experiment.calibration.batch_size
        signals = {kind: times * calibration for kind, times in SIGNALS.items()} | {"synflow": SYNFLOW}
        signals.pop(experiment.saliency, None)
        return cls(
            training=0.0 if experiment.checkpoint else BACKWARD * experiment.data.train * experiment.training.epochs,
            saliency=0.0 if experiment.saliency == "neighbourhood" else calibration,
            cell=MASKING * experiment.data.test,
            signals=signals,
        )

    def collecting(self, kinds: Iterable[str]) -> float:
        """What all these kinds of signal take, each once a seed."""
        return sum(self.signals.get(kind, 0.0) for kind in kinds)

    def total(self, cells: int, trained: float = 0.0, signals: Iterable[str] = ()) -> float:
        """A seed with so many cells to go that ask for these signals; a fraction `trained` of its training is done."""
        return self.training * (1 - trained) + (self.saliency + self.collecting(signals) + self.cell * cells if cells else 0.0)


def signals_of(cells: Iterable[Cell]) -> frozenset[str]:
    """Kinds of saliency that the scorers of these cells collect for themselves."""
    return frozenset(cell.scorer.signal for cell in cells if cell.scorer is not None and cell.scorer.signal is not None)


def multiply_adds(model: ModelConfig) -> int | None:
    """Multiplications of one example's way through a vision transformer, or None for another network.

    Attention itself, a small part for few tokens, is not counted.

    >>> multiply_adds(ModelConfig("vit", (("img_size", 8), ("patch_size", 2), ("in_chans", 1), ("embed_dim", 64), ("depth", 4))))
    3149824
    """
    if model.name != "vit":
        return None
    options = {**_VIT, **dict(model.options)}
    try:
        tokens = (_whole(options["img_size"]) // _whole(options["patch_size"])) ** 2
        dim, depth = _whole(options["embed_dim"]), _whole(options["depth"])
        hidden = int(dim * float(options["mlp_ratio"]))
        entry = _whole(options["in_chans"]) * _whole(options["patch_size"]) ** 2 * dim
    except (TypeError, ValueError):
        return None
    return tokens * (depth * (4 * dim * dim + 2 * dim * hidden) + entry)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is not a count")
    return value


#: Arithmetic a worker gets through where nothing was measured yet, in floating-point operations a second: one core, one GPU.
#: Small networks stay below it, large ones above: a guess that is right within a factor of a few.
GUESSED_RATES = {"cpu": 4e10, "cuda": 4e12}
#: A GPU is not faster than this, however small the network: seconds to launch what a training step and a cell consist of.
LAUNCHED = {"cpu": (0.0, 0.0), "cuda": (0.01, 0.1)}


def estimate(
    experiment: Experiment, device_class: str, checkpoints: Sequence[CheckpointRow] = (), cells: Sequence[CellRow] = ()
) -> Cost | None:
    """Cost of a seed: from the rows of this run's store where there are any, else guessed from the network's size, else None."""
    work = Cost.of(experiment)
    pruned = [row.wall_seconds for row in cells if row.mask_hash is not None]
    if checkpoints and (work.training or pruned):
        training = mean(row.wall_seconds for row in checkpoints)
        pace = training / work.training if work.training else mean(pruned) / work.cell  # a network that is given is not trained
        cell = mean(pruned) if pruned else pace * work.cell
        source = f"measured on {len(checkpoints)} seed{'s' * (len(checkpoints) > 1)}"
        return Cost(training, pace * work.saliency, cell, source, {kind: pace * passes for kind, passes in work.signals.items()})
    operations = multiply_adds(experiment.model)
    if operations is None:
        return None
    pace = 2 * operations / GUESSED_RATES[device_class]
    step, cell = LAUNCHED[device_class]
    collecting = step * experiment.calibration.batches
    training = step * experiment.training.epochs * -(-experiment.data.train // experiment.training.batch_size)
    return Cost(
        max(pace * work.training, training),
        max(pace * work.saliency, collecting),
        max(pace * work.cell, cell),
        "guessed from the network's size",
        {kind: max(pace * passes, collecting) for kind, passes in work.signals.items()},
    )


def epochs_kept(recipe: Recipe, folder: Path, seed: int) -> int:
    """Epochs of a seed's training that are on disk; all of them only with a checkpoint."""
    epochs = recipe.experiment.training.epochs
    place = folder, seed, recipe.dense_key(seed)
    whole = recipe.start is not None and recipe.start.is_whole
    return epochs if whole or checkpoint_path(*place).exists() else min(kept_epochs(half_trained_path(*place)), epochs - 1)
