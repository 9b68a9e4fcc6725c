"""Where output goes: results to stdout, progress and log lines to stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from sics_analysis.results import plural
from sics_cli.seeds.progress import Reporter, State

#: Seconds between progress lines where there is no terminal; in a run of hours they become rarer, up to the longest.
LINE_SECONDS = 10.0
LONGEST_LINE_SECONDS = 600.0
#: No more seeds than this are shown one by one: a cluster computes hundreds at a time.
SEEDS_SHOWN = 8


def results() -> Console:
    """Console for results, on stdout."""
    return Console(highlight=False, soft_wrap=False)


def log() -> Console:
    """Console for everything else, on stderr."""
    return Console(stderr=True, highlight=False)


def reporter() -> Reporter:
    """Bars if stderr is a terminal, plain lines otherwise."""
    console = log()
    return BarReporter(console) if console.is_terminal and not console.is_dumb_terminal else LineReporter()


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss.

    >>> clock(75.4), clock(3601)
    ('1:15', '1:00:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def to_go(state: State) -> str:
    """How many cells are left, until the end or the next look, and what the queue does."""
    jobs = f", {state.jobs}" if state.jobs else ""
    until = f" until {state.look}" if state.look else ""
    return f"{plural(state.cells_left, 'cell')} to go{until}{jobs}"


def left(state: State) -> str:
    """How long that takes."""
    return "" if state.seconds_left is None else f"about {clock(state.seconds_left)} left"


class LineReporter:
    """Plain lines on stderr, each with the time since the start: for pipes and log files."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._next = LINE_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def note(self, text: str) -> None:
        """Print a line."""
        print(f"{clock(time.monotonic() - self._begun):>5}  {text}", file=sys.stderr, flush=True)

    def show(self, state: State) -> None:
        """Print a line every few seconds."""
        elapsed = time.monotonic() - self._begun
        if elapsed < self._next:
            return
        self._next = elapsed + min(max(LINE_SECONDS, elapsed / 60), LONGEST_LINE_SECONDS)
        seeds = ", ".join(f"seed {seed} {phase}" for seed, phase in sorted(state.phases.items())[:SEEDS_SHOWN])
        if len(state.phases) > SEEDS_SHOWN:
            seeds += f", and {len(state.phases) - SEEDS_SHOWN} more"
        parts = [f"{100 * state.fraction:3.0f} %", to_go(state), left(state), seeds]
        self.note("  ".join(part for part in parts if part))


class BarReporter:
    """A bar for the run and one for each busy seed, with the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self._total: TaskID | None = None
        self._seeds: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False)

    def show(self, state: State) -> None:
        """Move the bars."""
        if self._total is None:
            self._total = self._progress.add_task("all", total=1.0, detail="")
        detail = f"{to_go(state)}  {left(state)}"
        self._progress.update(self._total, completed=state.fraction, detail=detail)
        shown = set(sorted(state.phases)[:SEEDS_SHOWN])
        for seed in sorted(shown - set(self._seeds)):
            self._seeds[seed] = self._progress.add_task(f"seed {seed}", total=1.0, detail="")
        for seed in set(self._seeds) - shown:
            self._progress.remove_task(self._seeds.pop(seed))
        for seed, task in self._seeds.items():
            self._progress.update(task, completed=state.fractions[seed], detail=state.phases[seed])
