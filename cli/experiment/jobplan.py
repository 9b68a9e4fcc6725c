"""From cells to jobs of a queue: what `replicate` submits, and what `--dry-run` and the documentation say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from sics_cli.experiment.grouping import START_SECONDS, Cost, estimate, group, minutes_for
from sics_cli.experiment.headers import kept_epochs
from sics_cli.experiment.layout import checkpoint_path, half_trained_path
from sics_cli.experiment.ledger import Part
from sics_cli.experiment.planning import Cell
from sics_cli.experiment.session import Session
from sics_cli.experiment.slurm_cluster import SlurmCluster
from sics_cli.experiment.store import Store
from sics_cli.experiment.work import signals_of


def by_seed(cells: Sequence[Cell]) -> dict[int, tuple[Cell, ...]]:
    """Cells of each seed, in the order of the first."""
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.seed, []).append(cell)
    return {seed: tuple(mine) for seed, mine in found.items()}


def parts_of(
    cells: Sequence[Cell],
    cost: Cost | None,
    minutes: float,
    trained: Callable[[int], float],
    workers: int | None = None,
    alone: Set[int] = frozenset(),
) -> list[Part]:
    """Group cells into jobs.

    All cells of a seed share its dense checkpoint and saliency, so they stay in one job; short seeds share a job.

    Parameters
    ----------
    cells : sequence of Cell
    cost : Cost or None
        What a seed takes; None where that is not known, which gives each seed a job.
    minutes : float
        The length of a job of several seeds.
    trained : callable(int) -> float
        Fraction of a seed's training that is done.
    workers : int, optional
        Jobs that are to run at a time: they are made shorter if so many would otherwise not come together.
    alone : set of int
        Seeds that share a job with no other.
    """
    seeds = by_seed(cells)
    seconds = {seed: cost.seconds(len(mine), trained(seed), signals_of(mine)) if cost else None for seed, mine in seeds.items()}
    parts = []
    for together in group(seconds, minutes_for(seconds.values(), minutes, workers), alone):
        keys = tuple(cell.key for seed in together for cell in seeds[seed])
        expected = [seconds[seed] for seed in together]
        known = [value for value in expected if value is not None]
        parts.append(Part(together, keys, START_SECONDS + sum(known) if len(known) == len(expected) else None))
    return parts


def session_parts(
    session: Session, store: Store | None, cells: Sequence[Cell], cluster: SlurmCluster, alone: Set[int] = frozenset()
) -> list[Part]:
    """Group a session's cells, at the cost that its store tells."""
    epochs, minutes = session.experiment.training.epochs, cluster.options.job_minutes
    cost = session_cost(session, store)
    return parts_of(cells, cost, minutes, lambda seed: epochs_kept(session, seed) / epochs, cluster.at_once, alone)


def session_cost(session: Session, store: Store | None) -> Cost | None:
    """What a seed takes, measured if the store holds a seed already."""
    device_class = session.recipe.environment.device_class
    if store is None:
        return estimate(session.experiment, device_class)
    return estimate(session.experiment, device_class, store.checkpoints(), store.cells())


def epochs_kept(session: Session, seed: int) -> int:
    """Epochs of a seed's training that are on disk; all of them only with a checkpoint."""
    epochs = session.experiment.training.epochs
    place = session.folder, seed, session.recipe.dense_key(seed)
    whole = session.recipe.start is not None and session.recipe.start.is_whole
    return epochs if whole or checkpoint_path(*place).exists() else min(kept_epochs(half_trained_path(*place)), epochs - 1)


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

    Examples
    --------
    >>> forecast([60.0] * 5, 2)
    Forecast(workers=2, ideal=150.0, expected=180.0)
    """
    free = [0.0] * max(1, workers)
    for job in seconds:
        first = free.index(min(free))
        free[first] += job
    return Forecast(workers, sum(seconds) / len(free), max(free))
