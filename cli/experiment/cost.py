"""How much work a run is, in passes of one example through the network: what the time left is told by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Self

from sics_cli.experiment.cells import Cell
from sics_cli.experiment.recipe import Recipe
from sics_cli.store.rows import CellRow, CheckpointRow
from sics_cli.store.run_folder import checkpoint_path, half_trained_path, kept_epochs

#: Making a mask costs about as much as half an evaluation (measured on digits; smaller beside larger networks).
MASKING = 1.5
#: And so does a point of a search beside its evaluation on the held-out examples (`python bench/fusion.py`).
SEARCHING = 1.5
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


@dataclass(frozen=True, slots=True)
class Cost:
    """What one seed's parts take, in passes of one example; or in seconds on one worker, and `source` says how that is known.

    `signals` are the saliencies that scorers may collect for themselves, by kind: not the run's own, which each seed has already.
    `point` is one evaluation of a search.
    """

    training: float
    saliency: float
    cell: float
    source: str = ""
    signals: Mapping[str, float] = field(default_factory=dict)
    point: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Passes that an experiment needs; a seed costs training + saliency + signals + cells · cell + points · point."""
        passes = recipe.task.passes
        signals = {kind: times * passes.calibration for kind, times in SIGNALS.items()} | {"synflow": SYNFLOW}
        signals.pop(recipe.experiment.saliency, None)
        return cls(
            training=passes.training,
            saliency=passes.calibration if recipe.calibrated else 0.0,
            cell=MASKING * passes.evaluation,
            signals=signals,
            point=SEARCHING * passes.held_out,
        )

    def collecting(self, kinds: Iterable[str]) -> float:
        """What all these kinds of signal take, each once a seed."""
        return sum(self.signals.get(kind, 0.0) for kind in kinds)

    def total(self, cells: int, trained: float = 0.0, signals: Iterable[str] = (), points: int = 0) -> float:
        """A seed with so many cells to go that ask for these signals and points; a fraction `trained` of its training is done."""
        pruning = self.saliency + self.collecting(signals) + self.cell * cells + self.point * points
        return self.training * (1 - trained) + (pruning if cells else 0.0)

    def of_cells(self, cells: Sequence[Cell], trained: float = 0.0) -> float:
        """The same of these cells of a seed."""
        return self.total(len(cells), trained, signals_of(cells), points_of(cells))


def signals_of(cells: Iterable[Cell]) -> frozenset[str]:
    """Kinds of saliency that the scorers of these cells collect for themselves."""
    return frozenset(cell.scorer.signal for cell in cells if cell.scorer is not None and cell.scorer.signal is not None)


def points_of(cells: Iterable[Cell]) -> int:
    """Evaluations that the searches of these cells make: one search serves every budget of its seed, sparsity and features."""
    most: dict[tuple[int, float, str], int] = {}
    for cell in cells:
        if cell.scorer is not None and (asked := cell.scorer.searched) is not None:
            place = cell.seed, cell.sparsity, asked.features
            most[place] = max(most.get(place, 0), asked.points)
    return sum(most.values())


def estimate(recipe: Recipe, checkpoints: Sequence[CheckpointRow] = (), cells: Sequence[CellRow] = ()) -> Cost | None:
    """Cost of a seed: from the rows of this run's store where there are any, else guessed from the network's size, else None."""
    work = Cost.of(recipe)
    pruned = [row.wall_seconds for row in cells if row.mask_hash is not None and row.search is None]
    if checkpoints and (work.training or pruned):
        training = mean(row.wall_seconds for row in checkpoints)
        pace = training / work.training if work.training else mean(pruned) / work.cell  # a network that is given is not trained
        cell = mean(pruned) if pruned else pace * work.cell
        source = f"measured on {len(checkpoints)} seed{'s' * (len(checkpoints) > 1)}"
        signals = {kind: pace * passes for kind, passes in work.signals.items()}
        return Cost(training, pace * work.saliency, cell, source, signals, _measured_point(cells, cell) or pace * work.point)
    guess = recipe.task.pace(recipe.environment.device_class)
    if guess is None:
        return None
    return Cost(
        max(guess.seconds * work.training, guess.training),
        max(guess.seconds * work.saliency, guess.collecting),
        max(guess.seconds * work.cell, guess.cell),
        "guessed from the network's size",
        {kind: max(guess.seconds * passes, guess.collecting) for kind, passes in work.signals.items()},
        max(guess.seconds * work.point, guess.cell),
    )


def _measured_point(rows: Sequence[CellRow], cell: float) -> float | None:
    """Seconds of one evaluation of a search: what its rows took beside a cell each; None where nothing says it."""
    seconds, most = 0.0, dict[tuple[Any, ...], int]()
    for row in rows:
        if row.search is not None:
            place = row.seed, row.sparsity, *row.search["features"]
            seconds += row.wall_seconds - cell
            most[place] = max(most.get(place, 0), row.search["budget"])
    return max(0.0, seconds) / sum(most.values()) if most else None


def epochs_kept(recipe: Recipe, folder: Path, seed: int) -> int:
    """Epochs of a seed's training that are on disk; all of them only with a checkpoint."""
    epochs = recipe.task.epochs
    place = folder, seed, recipe.dense_key(seed)
    if epochs == 0 or checkpoint_path(*place).exists():
        return epochs
    return min(kept_epochs(half_trained_path(*place)), epochs - 1)
