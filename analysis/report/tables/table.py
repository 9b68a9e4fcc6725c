"""A table of plain cells, and how its rows are grouped by S; user text stands in it as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.words.phrases import GLYPHS, NONE
from sics_analysis.results import Verdict


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether its cells are aligned right."""

    heading: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """One table.

    Attributes
    ----------
    id
        A word of letters.
    title, note
        What it shows, and how to read its columns.
    rows
        Cells of text, as many a row as `columns`.
    breaks
        Rows before which a new group (an S) begins.
    absent
        Why there are no rows.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    breaks: frozenset[int] = frozenset()
    absent: str = ""


def verdict_text(verdict: Verdict) -> str:
    """The verdict with its glyph."""
    return f"{GLYPHS[verdict]} {verdict}"


def matrix(
    found: dict[tuple[float, str], dict[object, str]], seeds: Sequence[object]
) -> tuple[tuple[tuple[str, ...], ...], frozenset[int]]:
    """Rows of a table with a column a seed, and where a new S begins."""
    keys = list(found)
    rows = tuple((f"{S:g}", name, *(found[S, name].get(seed, NONE) for seed in seeds)) for S, name in keys)
    return rows, frozenset(i for i in range(1, len(keys)) if keys[i][0] != keys[i - 1][0])


def by_sparsity(
    lines: Sequence[LineInfo], cells_of: Callable[[LineInfo], tuple[str, ...]]
) -> tuple[tuple[tuple[str, ...], ...], frozenset[int]]:
    """Rows of a table with a row a line, and where a new S begins."""
    rows = tuple((f"{line.sparsity:g}", *cells_of(line)) for line in lines)
    return rows, frozenset(i for i in range(1, len(lines)) if lines[i].sparsity != lines[i - 1].sparsity)
