"""How much work a run is, in passes of one example through the network: what the time left is told by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Self

from sics_analysis.results import plural
from sics_cli.base.cards import Card
from sics_cli.experiment.cells import Cell
from sics_cli.experiment.recipe import Recipe
from sics_cli.store.rows import CellRow, CheckpointRow
from sics_cli.store.run_folder import checkpoint_path, half_trained_path, kept_epochs
from sics_cli.tasks.networks.size import BACKWARD
from sics_cli.tasks.recipe import MASKING, SYNFLOW, stacks_of

#: A point of a search beside its evaluation on the held-out examples (`python bench/fusion.py`).
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
#: Processes that share a card by default at most. Nobody has measured how many pay.
MOST_A_CARD = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What one seed's parts take, in passes of one example; or in seconds on one worker, and `source` says how that is known.

    `signals` are the saliencies that scorers may collect for themselves, by kind: not the run's own, which each seed has already.
    `point` is one evaluation of a search, `trial` one mask that is tried on the calibration batches. Where seeds are trained in
    stacks `training` is a seed's share of one, empty places among the run's seeds counted, and `beside` the rest of it, in which
    its worker trains others.
    """

    training: float
    saliency: float
    cell: float
    source: str = ""
    signals: Mapping[str, float] = field(default_factory=dict)
    point: float = 0.0
    beside: float = 0.0
    trial: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Passes that an experiment needs; a seed costs training + saliency + signals, and its cells, points and trials."""
        passes = recipe.task.passes
        signals = {kind: times * passes.calibration for kind, times in SIGNALS.items()} | {"synflow": SYNFLOW}
        signals.pop(recipe.experiment.saliency, None)
        return cls(
            training=passes.training,
            saliency=passes.calibration if recipe.calibrated else 0.0,
            cell=MASKING * passes.evaluation,
            signals=signals,
            point=SEARCHING * passes.held_out,
            trial=trial_of(MASKING * passes.evaluation, passes.calibration),
        )

    @classmethod
    def relative(cls, recipe: Recipe) -> Self:
        """What the parts take beside each other: in guessed seconds, or in passes where nothing can be guessed."""
        return _guessed(recipe, 1) or cls.of(recipe)  # type: ignore[return-value]

    def collecting(self, kinds: Iterable[str]) -> float:
        """What all these kinds of signal take, each once a seed."""
        return sum(self.signals.get(kind, 0.0) for kind in kinds)

    def total(self, cells: int, trained: float = 0.0, signals: Iterable[str] = (), points: int = 0, trials: int = 0) -> float:
        """A seed with so many cells to go, these signals, points and trials; a fraction `trained` of its training is done."""
        pruning = self.saliency + self.collecting(signals) + self.cell * cells + self.point * points + self.trial * trials
        return self.training * (1 - trained) + (pruning if cells else 0.0)

    def of_cells(self, cells: Sequence[Cell], trained: float = 0.0) -> float:
        """The same of these cells of a seed."""
        return self.total(len(cells), trained, signals_of(cells), points_of(cells), trials_of(cells))


def signals_of(cells: Iterable[Cell]) -> frozenset[str]:
    """Kinds of saliency that the scorers of these cells collect for themselves."""
    return frozenset(
        kind for cell in cells if cell.scorer is not None for kind in (cell.scorer.signal, *cell.signals) if kind is not None
    )


def trials_of(cells: Iterable[Cell]) -> int:
    """Masks that these cells try on the calibration batches."""
    return sum(cell.trials for cell in cells)


def trial_of(cell: float, collecting: float) -> float:
    """What one of them takes: a mask, of a cell's mask and evaluation, and two forward halves of a collection of gradients."""
    return (1 - 1 / MASKING) * cell + 2 * collecting / BACKWARD


def points_of(cells: Iterable[Cell]) -> int:
    """Evaluations that the searches of these cells make: one search serves every budget of its seed, sparsity and features."""
    most: dict[tuple[int, float, str], int] = {}
    for cell in cells:
        if cell.scorer is not None and (asked := cell.scorer.searched) is not None:
            place = cell.seed, cell.sparsity, asked.features
            most[place] = max(most.get(place, 0), asked.points)
    return sum(most.values())


def estimate(
    recipe: Recipe, checkpoints: Sequence[CheckpointRow] = (), cells: Sequence[CellRow] = (), at_once: int = 1
) -> Cost | None:
    """Cost of a seed: from the rows of this run's store where there are any, else guessed from the network's size, else None.

    A run has one kind of device and one precision: its rows are of these. `at_once` seeds are to share a card.
    """
    guess = _guessed(recipe, at_once)
    work = guess or Cost.of(recipe)
    pruned = [row.wall_seconds for row in cells if row.mask_hash is not None and row.search is None]
    if not checkpoints or not (work.training or pruned):
        return guess
    training = mean(row.wall_seconds for row in checkpoints)  # of a stack each seed's share
    stored, width = [row.seed for row in checkpoints], recipe.task.width
    stack = training * len(stored) / stacks_of(stored, width)
    training = stack / _in_a_stack(recipe)
    slower = training / work.training if work.training else mean(pruned) / work.cell  # a network that is given is not trained
    cell = mean(pruned) if pruned else slower * work.cell
    return Cost(
        training,
        slower * work.saliency,
        cell,
        f"measured on {plural(len(checkpoints), 'seed')}" + ("" if pruned else ", masks in proportion"),
        {kind: slower * seconds for kind, seconds in work.signals.items()},
        _measured_point(cells, cell) or slower * work.point,
        beside=stack - training,
        trial=_measured_trial(cells, cell) or slower * work.trial,
    )


def _in_a_stack(recipe: Recipe) -> float:
    """How many of the run's seeds are trained as one, on average."""
    seeds = recipe.experiment.seeds
    return len(seeds) / stacks_of(seeds, recipe.task.width)


def _guessed(recipe: Recipe, at_once: int) -> Cost | None:
    """The same before anything was measured; None where nothing can be guessed."""
    asked = recipe.environment
    guess, work = recipe.task.pace(asked.device_class, asked.gpu, at_once), Cost.of(recipe)
    if guess is None:
        return None
    training = guess.training / _in_a_stack(recipe)
    return Cost(
        training,
        guess.collecting if recipe.calibrated else 0.0,
        guess.cell,
        guess.source,
        {kind: SIGNALS[kind] * guess.collecting if kind in SIGNALS else guess.synflow for kind in work.signals},
        guess.point,
        beside=guess.training - training,
        trial=trial_of(guess.cell, guess.collecting),
    )


def workers_a_card(recipe: Recipe, cards: Sequence[Card], cores: int) -> int:
    """How many seeds to compute on each of these cards at a time, in processes of their own, where nobody says it.

    A small network waits for its launches, which another process makes use of: as many as make the card a tenth busier each, as
    fit into its memory and have a core each, and no more than `MOST_A_CARD`. One where the card lets in one process alone.
    """
    memory = recipe.task.memory
    if not cards or memory is None or any(card.exclusive for card in cards):
        return 1
    most = min(MOST_A_CARD, cores // len(cards), *(seeds_that_fit(memory, card) for card in cards))
    count = 1
    while count < most and (count + 1) / _busy(recipe, count + 1) > 1.1 * count / _busy(recipe, count):
        count += 1
    return count


def seeds_that_fit(memory: int, card: Card) -> int:
    """How many seeds of so many bytes fit on a card; one where its memory is not known."""
    return max(1, int(card.memory // memory))


def _busy(recipe: Recipe, at_once: int) -> float:
    """What a seed is expected to take for the most part, where so many share a card."""
    cost = _guessed(recipe, at_once)
    assert cost is not None, "what has a size in memory can be guessed"
    return cost.training or cost.cell


def _measured_point(rows: Sequence[CellRow], cell: float) -> float | None:
    """Seconds of one evaluation of a search: what its rows took beside a cell each; None where nothing says it."""
    seconds, most = 0.0, dict[tuple[Any, ...], int]()
    for row in rows:
        if row.search is not None and "budget" in row.search:
            place = row.seed, row.sparsity, *row.search["features"]
            seconds += row.wall_seconds - cell
            most[place] = max(most.get(place, 0), row.search["budget"])
    return max(0.0, seconds) / sum(most.values()) if most else None


def _measured_trial(rows: Sequence[CellRow], cell: float) -> float | None:
    """Seconds of one trial on the calibration batches, by the same; None where nothing says it."""
    tried = [(row.wall_seconds - cell, row.search["tried"]) for row in rows if row.search is not None and "tried" in row.search]
    return max(0.0, sum(seconds for seconds, _ in tried)) / sum(many for _, many in tried) if tried else None


def epochs_kept(recipe: Recipe, folder: Path, seed: int) -> int:
    """Epochs of a seed's training that are on disk; all of them only with a checkpoint."""
    epochs = recipe.task.epochs
    place = folder, seed, recipe.dense_key(seed)
    if epochs == 0 or checkpoint_path(*place).exists():
        return epochs
    return min(kept_epochs(half_trained_path(*place)), epochs - 1)
