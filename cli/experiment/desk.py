"""What the loop for a queue needs of the driver that holds the store, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from sics_cli.experiment.inbox import Inbox
from sics_cli.experiment.ledger import Part
from sics_cli.experiment.planning import Cell
from sics_cli.experiment.progress import Reporter
from sics_cli.experiment.worker import SeedJob


@dataclass(frozen=True, slots=True)
class Desk:
    """A driver, as a `Campaign` sees it.

    `todo` are the cells still to be had by key; `take_in` moves results into the store and out of it. `parts` groups cells into
    jobs, some seeds alone; `make_jobs` describes the work of seeds; `progress` says how many epochs of a seed are kept,
    `remaining` how much work it is, `stored` which keys the store holds.
    """

    folder: Path
    device: str
    inbox: Inbox
    todo: dict[str, Cell]
    take_in: Callable[[], None]
    parts: Callable[[Sequence[Cell], Set[int]], list[Part]]
    make_jobs: Callable[[Sequence[Cell]], Mapping[int, SeedJob]]
    progress: Callable[[int], int]
    remaining: Callable[[int], float]
    stored: Callable[[], set[str]]
    seed_done: Callable[[int], None]
    reporter: Reporter
