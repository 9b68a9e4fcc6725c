"""A table as every format lays it out: columns, and cells with the few facts a format needs; user text is as it came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import pairwise
from typing import Any, Generic, TypeVar

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.words.phrases import GLYPHS, NONE, STATUS_GLYPHS, interval, number, p_value
from sics_analysis.report.words.said import FLAG, in_words
from sics_analysis.results import ONE_POOL, Interval, Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell of text."""

    text: str
    sort: float | str | None = None  # what a column is sorted by on the page; None sorts last
    word: str = ""  # a verdict, status or outcome, which gives the colour
    glyph: str = ""  # stands before the text: nothing is told by colour alone
    title: str = ""  # shown while a pointer rests on it; never the only place where it is said
    head: bool = False  # names its row
    link: str = ""  # an anchor on the page
    short: str = ""  # in place of `text` beside the page, where columns are narrow

    @property
    def plain(self) -> str:
        """The text where there is no page, with its glyph."""
        return self.short or f"{self.glyph} {self.text}".lstrip()


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A heading, and the cell of a row's item below it."""

    heading: str  # on the page; "" where it is not shown there
    short: str  # the heading beside the page, where columns are narrow; "" where only the page has room for the column
    cell: Callable[[T], TableCell]
    hint: str = ""  # what it holds: below the heading, or after the table
    left: bool = False  # words, and no numbers
    wide: bool = False  # sentences
    p: bool = False  # p-values, whose number is the cell's `sort`


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table; `absent` says why it has no rows."""

    id: str  # a word of letters
    title: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[TableCell, ...], ...]
    absent: str = ""
    on_page: str = ""  # the caption goes on there, where cells read otherwise than beside it
    beside: str = ""

    @property
    def breaks(self) -> frozenset[int]:
        """The rows before which a new S begins, where an S has several."""
        values = [row[0].sort for row in self.rows] if self.columns[0].heading == "S" else []
        found = frozenset(i for i, (before, after) in enumerate(pairwise(values), start=1) if before != after)
        return found if len(found) < len(values) - 1 else frozenset()

    @property
    def note(self) -> str:
        """The caption, and what the short headings mean."""
        key = "; ".join(f"{column.short}: {column.hint}" for column in self.columns if column.short and column.hint)
        return " ".join(part for part in (self.caption, self.beside, f"{key}." if key else "") if part)

    def wide(self) -> ReportTable:
        """The columns that the page shows."""
        return self._chosen(i for i, column in enumerate(self.columns) if column.heading)

    def narrow(self, *headings: str) -> ReportTable:
        """The columns that have a short heading, or those of these short headings."""
        return self._chosen(i for i, c in enumerate(self.columns) if (c.short in headings if headings else c.short))

    def across(self, kept: int, count: int) -> list[ReportTable]:
        """The table in parts: its first `kept` columns, with at most `count` of the others in each."""
        starts = range(kept, max(len(self.columns), kept + 1), count)
        return [self._chosen([*range(kept), *range(start, min(start + count, len(self.columns)))]) for start in starts]

    def _chosen(self, places: Iterable[int]) -> ReportTable:
        chosen = list(places)
        rows = tuple(tuple(row[i] for i in chosen) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in chosen), rows=rows)


def table(id: str, title: str, caption: str, columns: Sequence[Column[T]], items: Iterable[T], absent: str = "") -> ReportTable:
    """A table with a row an item."""
    rows = tuple(tuple(column.cell(item) for column in columns) for item in items)
    return ReportTable(id, title, caption, tuple(columns), rows, absent)


Maker = TypeVar("Maker", bound=Callable[..., ReportTable])


def of_document(make: Maker) -> Maker:
    """Let a table speak of its document's metric, and show no column of sparsities where the rows have none."""

    @wraps(make)
    def said(document: ReportDocument, *args: Any) -> ReportTable:
        found: ReportTable = make(document, *args)
        if document.one_pool:
            found = found._chosen(i for i, column in enumerate(found.columns) if column.heading != "S")
            found = replace(found, columns=tuple(_pooled(column) for column in found.columns))
        words: dict[str, Any] = {
            name: in_words(document, getattr(found, name)) for name in ("title", "caption", "absent", "on_page", "beside")
        }
        return replace(found, columns=tuple(_said(document, column) for column in found.columns), **words)

    return said  # type: ignore[return-value]


def _said(document: ReportDocument, column: Column[Any]) -> Column[Any]:
    words: dict[str, Any] = {name: in_words(document, getattr(column, name)) for name in ("heading", "short", "hint")}
    return replace(column, **words)


def _pooled(column: Column[Any]) -> Column[Any]:
    return replace(column, heading="Difference", short="difference") if column.heading == f"S = {ONE_POOL:g}" else column


def num(value: float | None, show: Callable[[float | None], str] = number) -> TableCell:
    """A number, sorted by its value."""
    return TableCell(show(value), value)


def count(value: int) -> TableCell:
    """A whole number."""
    return TableCell(str(value), value)


def named(name: str) -> TableCell:
    """The name of a scorer, at the head of its row."""
    return TableCell(name, name, head=True)


def sparsity(value: float | None) -> TableCell:
    """A sparsity."""
    return TableCell(NONE if value is None else f"{value:g}", value)


def limits(value: Interval | None, sort: float | None = None) -> TableCell:
    """An interval, sorted by the estimate it belongs to, else by its lower limit."""
    return TableCell(interval(value), None if value is None else value.low if sort is None else sort)


def verdict(value: Verdict, sentence: str, flagged: bool = False) -> TableCell:
    """A verdict, with the sentence to quote, and a flag where an open data check touches it."""
    return TableCell(str(value), value.lower(), str(value), f"{GLYPHS[value]}{FLAG if flagged else ''}", sentence)


def status(value: str) -> TableCell:
    """The status of a claim."""
    return TableCell(value, value, value, STATUS_GLYPHS[value])


def p_column(heading: str, short: str, p: Callable[[T], float | None], hint: str = "") -> Column[T]:
    """A column of p-values."""
    return Column(heading, short, lambda item: num(p(item), p_value), hint, p=True)
