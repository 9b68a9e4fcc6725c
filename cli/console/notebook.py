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

    def __init__(self, display: Any, as_html: Any) -> None:
        self._display, self._html, self._handle = display, as_html, None
        self._lines: list[str] = []
        self._state: State | None = None

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
        """Put bar and lines in place of what was shown before."""
        parts = []
        if self._state is not None:
            state = self._state
            seeds = ", ".join(f"seed {seed} {phase}" for seed, phase in sorted(state.phases.items())[:SEEDS_SHOWN])
            said = "; ".join(part for part in (to_go(state), left(state), seeds) if part)
            parts.append(f'<progress value="{state.fraction:.4f}" max="1"></progress> {state.fraction:.0%} {html.escape(said)}')
        parts += [html.escape(line) for line in self._lines]
        shown = self._html("<br>".join(parts))
        if self._handle is None:
            self._handle = self._display(shown, display_id=True)
        else:
            self._handle.update(shown)


def notebook_reporter() -> NotebookReporter:
    """The reporter of the notebook that this runs in."""
    shown = import_module("IPython.display")  # where there is a notebook it is there; nothing else needs it
    return NotebookReporter(shown.display, shown.HTML)
