"""How far a run is and how long it will take; told as bars on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from sics_cli.store.inbox import Progress


@dataclass(frozen=True, slots=True)
class State:
    """What to show: fraction done, cells left, seconds left (None while unknown), each busy seed's phase, a queue's jobs.

    `look` says for which look of a run that looks all this is; "" where there are none.
    """

    fraction: float
    cells_left: int
    seconds_left: float | None
    phases: Mapping[int, str]
    fractions: Mapping[int, float]
    jobs: str = ""
    look: str = ""


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
    """Turns what workers say into fractions and a time left; `workers` tasks run at a time.

    `seeds` is the work of each, in example passes: what is left beyond that which tasks at work already have said (`begun`).
    """

    def __init__(self, seeds: Mapping[int, float], workers: int, begun: Mapping[tuple[int, int], Progress] | None = None) -> None:
        self._totals = {seed: max(work, 1e-9) for seed, work in seeds.items()}
        self._ended = dict.fromkeys(seeds, 0.0)
        self._said: dict[tuple[int, int], float] = {}
        self._before = {task: said.work for task, said in (begun or {}).items()}
        self._done = dict.fromkeys(seeds, 0.0)
        self._phases: dict[int, str] = {}
        self._workers = workers
        self._worker_seconds = 0.0
        self._last: float | None = None

    def end(self, seed: int, part: int, work: float) -> None:
        """Count a task as done."""
        self._said.pop((seed, part), None)
        self._ended[seed] += work

    def again(self, seed: int) -> None:
        """Count what a seed's workers said as done: they went, and those that go on where they were begin to count anew."""
        for task in [task for task in self._said.keys() | self._before.keys() if task[0] == seed]:
            self._ended[seed] += self._said.pop(task, 0.0)
            self._before.pop(task, None)

    def finish(self, seed: int) -> None:
        """Count a seed as done."""
        self._done[seed] = self._totals[seed]
        self._phases.pop(seed, None)

    def update(self, said: Mapping[tuple[int, int], Progress], running: Set[tuple[int, int]], busy: int | None = None) -> None:
        """Take in what workers said last; `running` are the tasks (seed, part) that have not ended, at `busy` workers, if not
        at one each."""
        self._phases = {}
        for task in sorted(running & set(said)):
            self._said[task] = max(said[task].work - self._before.get(task, 0.0), self._said.get(task, 0.0))
            self._phases[task[0]] = said[task].phase
        for seed, total in self._totals.items():
            now = self._ended[seed] + sum(work for (owner, _), work in self._said.items() if owner == seed)
            self._done[seed] = min(max(now, self._done[seed]), total)
        moment = time.monotonic()
        if self._last is not None:
            self._worker_seconds += (moment - self._last) * (len(running) if busy is None else busy)
        self._last = moment

    def state(self, cells_left: int, workers: int | None = None) -> State:
        """What to show now; `workers` if there are not always as many as at first."""
        done, total = sum(self._done.values()), sum(self._totals.values())
        remaining = {seed: self._totals[seed] - self._done[seed] for seed in self._totals}
        seconds = None
        if done > 0.01 * total and self._worker_seconds > 0:
            seconds = time_left(list(remaining.values()), workers or self._workers) * self._worker_seconds / done
        fractions = {seed: self._done[seed] / self._totals[seed] for seed in self._phases}
        return State(done / total, cells_left, seconds, dict(self._phases), fractions)


def time_left(remaining: list[float], workers: int) -> float:
    """Time until all is done when work is shared out evenly, but no seed faster than by one worker.

    >>> time_left([4.0, 1.0, 5.0], workers=2), time_left([4.0, 1.0], workers=2)
    (5.0, 4.0)
    """
    return max(sum(remaining) / workers, max(remaining))
