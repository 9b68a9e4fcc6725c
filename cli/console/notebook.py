"""Progress in a notebook: one bar that moves in place, lines below it."""

from __future__ import annotations

import html
import sys
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from sics_cli.console.progress_bars import SEEDS_SHOWN, left, to_go
from sics_cli.seeds.progress import State


def in_notebook() -> bool:
    """Whether this is a kernel of Jupyter, which shows HTML; asked without importing it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookReporter:
    """A bar for the run, and what busy seeds do; `display` is IPython's."""

    def __init__(self, display: Any) -> None:
        self._display, self._handle = display, None
        self._lines: list[str] = []
        self._state: State | None = None
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._state = None
        self._show()

    def note(self, text: str) -> None:
        """Add a line."""
        self._lines.append(text)
        self._show()

    def show(self, state: State) -> None:
        """Move the bar."""
        self._state = state
        self._show()

    def _show(self) -> None:
        """Put bar and lines in place of what was shown before; as text too, for what shows no HTML."""
        bar, parts = "", []
        if self._state is not None:
            state = self._state
            seeds = ", ".join(f"seed {seed} {phase}" for seed, phase in sorted(state.phases.items())[:SEEDS_SHOWN])
            parts = ["; ".join(part for part in (f"{100 * state.fraction:.0f} %", to_go(state), left(state), seeds) if part)]
            bar = f'<progress value="{state.fraction:.4f}" max="1"></progress> '
        parts += self._lines
        text = "\n".join(parts)
        shown = {"text/html": bar + "<br>".join(map(html.escape, parts)), "text/plain": text}
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        elif text != self._shown:
            self._handle.update(shown, raw=True)
        self._shown = text


def notebook_reporter() -> NotebookReporter:
    """The reporter of the notebook that this runs in."""
    return NotebookReporter(import_module("IPython.display").display)  # it is there in a notebook; nothing else needs it
