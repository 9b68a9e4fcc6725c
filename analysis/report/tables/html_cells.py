"""Cells, columns and tables of the page, and the verdict grid at its top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.words.phrases import (
    GLYPHS,
    NONE,
    STATUS_GLYPHS,
    kappa_text,
    number,
    percent,
    reference_accuracy,
    reference_kappa,
)
from sics_analysis.results import Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes
    ----------
    sort
        What the column is sorted by; None sorts last.
    word
        A verdict or status, shown with its glyph and colour.
    glyph
        The glyph of `word`.
    title
        Text shown while a pointer rests on it; never the only place where it is said.
    head
        Whether it names its row.
    """

    text: str
    sort: float | str | None = None
    word: str = ""
    glyph: str = ""
    title: str = ""
    head: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; `number` columns are aligned right, `wide` ones hold sentences, `hint` says what they hold."""

    text: str
    number: bool = False
    hint: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page; `empty` says why it has no rows."""

    id: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = ""


def verdict_cell(verdict: Verdict, text: str | None = None, sort: float | str | None = None, title: str = "") -> Cell:
    """A verdict with its glyph; `text` in place of the word."""
    word = str(verdict)
    return Cell(word.lower() if text is None else text, word.lower() if sort is None else sort, word, GLYPHS[word], title)


def status_cell(status: str) -> Cell:
    """The status of a claim with its glyph."""
    return Cell(status, status, status, STATUS_GLYPHS[status])


def num(value: float | None, show: Callable[[float | None], str] = number) -> Cell:
    """A number, sorted by its value."""
    return Cell(show(value), value)


def named(name: str) -> Cell:
    """The name of a scorer, at the head of its row."""
    return Cell(name, name, head=True)


def sparsity(value: float) -> Cell:
    """A sparsity."""
    return Cell(f"{value:g}", value)


def grid_rows(document: ReportDocument) -> Sequence[tuple[str, str, bool, tuple[Cell, ...]]]:
    """The verdict grid: name, κ or role, whether it is the reference, and a cell for each S."""
    lines = {(line.scorer, line.sparsity): line for line in document.lines}
    reference = document.settings.reference
    found: list[tuple[str, str, bool, tuple[Cell, ...]]] = []
    if not any(scorer.name == reference for scorer in document.scorers):  # the pooled plateau
        found.append((reference, reference_kappa(document), True, _base(document)))
    for scorer in sorted(document.scorers, key=lambda scorer: scorer.name != reference):
        own = scorer.name == reference
        if own:
            found.append((scorer.name, kappa_text(scorer), own, _base(document)))
            continue
        cells = []
        for info in document.sparsities:
            line = lines.get((scorer.name, info.sparsity))
            if line is None or not line.n:
                cells.append(Cell(NONE))
            else:
                cells.append(verdict_cell(line.verdict, number(line.mean), line.mean, line.sentence))
        found.append((scorer.name, kappa_text(scorer), own, tuple(cells)))
    return found


def _base(document: ReportDocument) -> tuple[Cell, ...]:
    """The accuracy of the reference at every S."""
    return tuple(num(reference_accuracy(document, info.sparsity), percent) for info in document.sparsities)
