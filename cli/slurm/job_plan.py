"""From cells to jobs of a queue: what `replicate` submits, and what `--dry-run` and the documentation say of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from sics_cli.experiment.cells import Cell, by_seed
from sics_cli.experiment.cost import Cost, epochs_kept, estimate
from sics_cli.experiment.recipe import Recipe
from sics_cli.slurm.executor import SlurmCluster
from sics_cli.slurm.ledger import JobPart
from sics_cli.store.store import Store

#: Seconds from a job's start to its first number: Python, torch, data.
START_SECONDS = 15.0


def minutes_for(seconds: Collection[float | None], minutes: float, workers: int | None) -> float:
    """The length to give jobs of these seeds: at most `minutes`, and such that each of `workers` gets as many jobs as the others.

    Eleven jobs of ten minutes keep eight workers for twenty, five of them idle for half of it; sixteen shorter ones do not.

    >>> [round(minutes_for([60.0] * seeds, 10, 4), 2) for seeds in (8, 800, 44)], minutes_for([60.0] * 8, 10, None)
    ([2.25, 9.25, 6.25], 10)
    """
    longest = max((value or 0.0 for value in seconds), default=0.0)
    if workers is None or longest == 0:
        return minutes
    fitting = max(1, int((60 * minutes - START_SECONDS) // longest))
    rounds = -(-len(seconds) // (workers * fitting))
    share = -(-len(seconds) // (workers * rounds))
    return min(minutes, (START_SECONDS + share * longest) / 60 + 1e-6)  # the sum of equal costs may round up


def group(seconds: Mapping[int, float | None], minutes: float, alone: Set[int] = frozenset()) -> list[tuple[int, ...]]:
    """Put seeds together, in order, into jobs that are not expected to take longer than so many minutes, if of several seeds.

    A seed whose seconds are not known, or that is to be `alone`, gets a job of its own.

    >>> group({0: 60.0, 1: 60.0, 2: 60.0, 3: 900.0, 4: None}, minutes=3)
    [(0, 1), (2,), (3,), (4,)]
    """
    jobs: list[list[int]] = []
    room = 0.0
    for seed, cost in seconds.items():
        if cost is None or seed in alone or not jobs or cost > room:
            jobs.append([seed])
            room = 0.0 if cost is None or seed in alone else 60 * minutes - START_SECONDS - cost
        else:
            jobs[-1].append(seed)
            room -= cost
    return [tuple(seeds) for seeds in jobs]


def parts_of(
    cells: Sequence[Cell],
    cost: Cost | None,
    minutes: float,
    trained: Callable[[int], float],
    workers: int | None = None,
    alone: Set[int] = frozenset(),
) -> list[JobPart]:
    """Group cells into jobs of so many minutes, shorter if `workers` that are to run at a time would otherwise not all have one.

    All cells of a seed share its dense checkpoint and saliency, so they stay in one job; short seeds share a job, but those that
    are to be `alone`. A seed takes `cost` (None: not known, a job each), less the fraction of its training that is done.
    """
    seeds = by_seed(cells)
    seconds = {seed: cost.of_cells(mine, trained(seed)) if cost else None for seed, mine in seeds.items()}
    parts = []
    for together in group(seconds, minutes_for(seconds.values(), minutes, workers), alone):
        keys = tuple(cell.key for seed in together for cell in seeds[seed])
        expected = [seconds[seed] for seed in together]
        known = [value for value in expected if value is not None]
        parts.append(JobPart(together, keys, START_SECONDS + sum(known) if len(known) == len(expected) else None))
    return parts


def run_parts(
    recipe: Recipe,
    folder: Path,
    store: Store | None,
    cells: Sequence[Cell],
    cluster: SlurmCluster,
    alone: Set[int] = frozenset(),
) -> list[JobPart]:
    """Group a run's cells, at the cost that its store tells."""
    epochs, cost = max(1, recipe.task.epochs), cost_of(recipe, store)

    def trained(seed: int) -> float:
        return epochs_kept(recipe, folder, seed) / epochs

    return parts_of(cells, cost, cluster.options.job_minutes, trained, cluster.at_once, alone)


def cost_of(recipe: Recipe, store: Store | None) -> Cost | None:
    """What a seed takes, measured if the store holds a seed already."""
    return estimate(recipe) if store is None else estimate(recipe, store.checkpoints(), store.cells())


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long jobs take on so many workers: the cost model seeds × minutes / workers, and what it leaves out.

    `ideal` is all work divided by the workers; `expected` counts that a job is not cut, so that the last ones end late.
    Both in seconds.
    """

    workers: int
    ideal: float
    expected: float


def forecast(seconds: Sequence[float], workers: int) -> Forecast:
    """Hand jobs out in order, each to the worker that is free first.

    >>> forecast([60.0] * 5, 2)
    Forecast(workers=2, ideal=150.0, expected=180.0)
    """
    free = [0.0] * max(1, workers)
    for job in seconds:
        first = free.index(min(free))
        free[first] += job
    return Forecast(workers, sum(seconds) / len(free), max(free))
