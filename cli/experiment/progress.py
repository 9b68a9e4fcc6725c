"""How far a run is and how long it will take; told as bars on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from sics_cli.experiment.inbox import Progress


@dataclass(frozen=True, slots=True)
class SeedWork:
    """Work of one seed's job; `skipped` of it is already there (a cached checkpoint)."""

    total: float
    skipped: float


@dataclass(frozen=True, slots=True)
class State:
    """What to show: fraction done, cells left, seconds left (None while unknown), and each busy seed's phase."""

    fraction: float
    cells_left: int
    seconds_left: float | None
    phases: Mapping[int, str]
    fractions: Mapping[int, float]


class Reporter(Protocol):
    """Shows progress between entering and leaving."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End; nothing moving stays on the terminal."""

    def note(self, text: str) -> None:
        """Print one lasting line."""

    def show(self, state: State) -> None:
        """Show how far the run is."""


class Tracker:
    """Turns what workers say into fractions and a time left.

    Parameters
    ----------
    seeds : mapping of seed to SeedWork
    workers : int
        How many jobs run at a time.
    """

    def __init__(self, seeds: Mapping[int, SeedWork], workers: int) -> None:
        self._totals = {seed: max(work.total - work.skipped, 1e-9) for seed, work in seeds.items()}
        self._skipped = {seed: work.skipped for seed, work in seeds.items()}
        self._done = dict.fromkeys(seeds, 0.0)
        self._phases: dict[int, str] = {}
        self._workers = workers
        self._worker_seconds = 0.0
        self._last: float | None = None

    def finish(self, seed: int) -> None:
        """Count a seed as done."""
        self._done[seed] = self._totals[seed]
        self._phases.pop(seed, None)

    def update(self, said: Mapping[int, Progress], pending: Set[int]) -> None:
        """Take in what workers said last; `pending` are the seeds not finished."""
        self._phases = {}
        for seed in pending & set(said):
            done = said[seed].work - self._skipped[seed]
            self._done[seed] = min(max(done, self._done[seed]), self._totals[seed])
            self._phases[seed] = said[seed].phase
        moment = time.monotonic()
        if self._last is not None:
            self._worker_seconds += (moment - self._last) * len(self._phases)
        self._last = moment

    def state(self, cells_left: int) -> State:
        """What to show now."""
        done, total = sum(self._done.values()), sum(self._totals.values())
        remaining = {seed: self._totals[seed] - self._done[seed] for seed in self._totals}
        seconds = None
        if done > 0.01 * total and self._worker_seconds > 0:
            running = [remaining[seed] for seed in self._phases]
            queued = [left for seed, left in remaining.items() if left > 0 and seed not in self._phases]
            seconds = makespan(running, queued, self._workers) * self._worker_seconds / done
        fractions = {seed: self._done[seed] / self._totals[seed] for seed in self._phases}
        return State(done / total, cells_left, seconds, dict(self._phases), fractions)


def makespan(running: list[float], queued: list[float], workers: int) -> float:
    """Time until all is done when each free worker takes the next queued job.

    Examples
    --------
    >>> makespan([4.0, 1.0], [5.0, 2.0], workers=2)
    6.0
    """
    ends = sorted(running) + [0.0] * max(0, workers - len(running))
    heapq.heapify(ends)
    for job in queued:
        heapq.heappush(ends, heapq.heappop(ends) + job)
    return max(ends)
