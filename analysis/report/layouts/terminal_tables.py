"""The tables of a report for a terminal, at 80 columns; every name is shown literally, whatever it contains."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column as TableColumn
from rich.table import Table
from rich.text import Text

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo
from sics_analysis.report.tables.by_scorer import lines_at
from sics_analysis.report.tables.joint import overview
from sics_analysis.report.tables.table import Column, ReportTable, TableCell
from sics_analysis.report.words.phrases import GLYPHS, MEANING, STATUS_GLYPHS, p_short, plain, undecided_reasons, wrapped
from sics_analysis.report.words.said import in_words
from sics_analysis.results import Status, Verdict

STYLES = {
    "ESCAPES": "bold green",
    "DEGRADES": "red",
    "EQUIVALENT": "cyan",
    "IDENTICAL": "dim",
    "NONINFERIOR": "green",
    "NONSUPERIOR": "magenta",
    "INCONCLUSIVE": "yellow",
    "supported": "bold green",
    "contradicted": "red",
    "undecided": "yellow",
}
NAME_WIDTH = 12
WIDEST = 100  # columns of running text
_PROSE = 20  # columns that a column of words takes at least


class BlockTable(Table):
    """A table that a console too narrow for it shows in blocks, one below the other: nothing is cut.

    Each block begins with the first `kept` columns and has as many of the others as fit; no column is in two blocks.
    """

    def __init__(self, gap: int, kept: int) -> None:
        super().__init__(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
        self.gap, self.kept = gap, kept

    def fits(self, width: int) -> bool:
        """Whether all columns have their room beside each other."""
        return self._taken(range(len(self.columns))) <= width

    def blocks(self, width: int) -> list[BlockTable]:
        """The table in as few blocks as `width` allows, with about as many columns in each."""
        found = self._filled(width, len(self.columns))
        evened = next(parts for most in range(1, len(self.columns) + 1) if len(parts := self._filled(width, most)) <= len(found))
        return [self._of_columns([*range(self.kept), *part]) for part in evened]

    def _filled(self, width: int, most: int) -> list[list[int]]:
        """The columns that are not kept, in order, in parts of at most `most` that fit."""
        parts: list[list[int]] = []
        for place in range(self.kept, len(self.columns)):
            grown = [*(parts[-1] if parts else ()), place]
            if parts and len(grown) <= most and self._taken([*range(self.kept), *grown]) <= width:
                parts[-1] = grown
            else:
                parts.append([place])
        return parts

    def _taken(self, places: Sequence[int]) -> int:
        return sum(_room(self.columns[i]) for i in places) + self.gap * (len(places) - 1)

    def _of_columns(self, places: Sequence[int]) -> BlockTable:
        chosen = [self.columns[i] for i in places]
        block = BlockTable(self.gap, len(places))
        for one in chosen:
            block.add_column(
                one.header, justify=one.justify, no_wrap=one.no_wrap, overflow=one.overflow, min_width=one.min_width,
                max_width=one.max_width,
            )  # fmt: skip
        for row in zip(*(one.cells for one in chosen), strict=True):
            block.add_row(*row)
        return block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it, in blocks where it is too wide."""
        if len(self.columns) <= self.kept + 1 or self.fits(options.max_width):
            yield from super().__rich_console__(console, options)
            return
        for i, block in enumerate(self.blocks(options.max_width)):
            if i:
                yield Text()
            yield block


def _room(column: TableColumn) -> int:
    """What a column needs, so that nothing in it is cut: its longest line, or where its words may be broken, its least width."""
    longest = max((cell_len(line) for cell in (column.header, *column.cells) for line in str(cell).splitlines()), default=0)
    return longest if column.no_wrap else min(longest, column.min_width or _PROSE)


def plain_table(*columns: str | tuple[str, str], gap: int = 2, kept: int = 1) -> BlockTable:
    """A table with a rule below its heading; a column is a heading, or (heading, "right").

    Where it is too wide for a console it is shown in blocks, of which each begins with the first `kept` columns.
    """
    table = BlockTable(gap, kept)
    for column in columns:
        heading, justify = (column, "left") if isinstance(column, str) else column
        table.add_column(heading, justify="right" if justify == "right" else "left", no_wrap=True)
    return table


def marked(word: str, text: str | None = None) -> Text:
    """A verdict or status with its glyph and colour; `text` in place of the word."""
    glyph = (GLYPHS | STATUS_GLYPHS)[word]
    return Text(f"{glyph} {word if text is None else text}".rstrip(), style=STYLES[word])


def fold(table: Table, column: int, names: Iterable[str], width: int = NAME_WIDTH) -> None:
    """Let a column of names fold, and only names longer than `width`."""
    chosen = table.columns[column]
    chosen.no_wrap, chosen.overflow = False, "fold"
    chosen.min_width = chosen.max_width = min(width, max((len(plain(name)) for name in names), default=width))
    chosen.max_width = chosen.min_width = max(chosen.min_width, len(str(chosen.header)))


def folded_at_words(name: str, width: int = NAME_WIDTH) -> str:
    """A name in lines of at most `width`, broken behind an underscore, a slash or a space where there is one.

    Further lines are indented: none of them reads as a row of its own.

    >>> print(folded_at_words("fusion_smooth_orbit_200", 16))
    fusion_smooth_
     orbit_200
    >>> print(folded_at_words("unbrokenunbroken", 10))
    unbrokenun
     broken
    """
    lines = [""]
    for part in re.split(r"(?<=[_/ ])", name):
        if lines[-1].strip() and cell_len((lines[-1] + part).rstrip()) > width:
            lines.append(" ")
        whole = (lines[-1] + part).rstrip() if cell_len(lines[-1] + part) > width else lines[-1] + part
        first = (chop_cells(whole, width) or [""])[0]
        lines[-1] = first
        if first != whole:  # one word longer than a line
            lines += [f" {piece}" for piece in chop_cells(whole[len(first) :], width - 1)]
    return "\n".join(lines)


def paragraph(console: Console, text: str, first: int | str = 0, rest: int = 0, style: str = "", label_style: str = "") -> None:
    """Print text in lines as wide as the console, at most 100 columns, broken between words; `first` is an indent, or a label.

    All running text of a terminal goes this way, but a command (`command_line`).
    """
    found = Text(wrapped(text, min(console.width, WIDEST), first, rest), style=style)
    if isinstance(first, str) and label_style:
        found.stylize(label_style, 0, len(first))
    console.print(found, soft_wrap=True)


def command_line(console: Console, command: str, first: int | str = 2) -> None:
    """Print a command in one line however long it is, to be copied, behind an indent or a label."""
    console.print(Text(f"{' ' * first if isinstance(first, int) else first}{plain(command)}"), soft_wrap=True)


def print_table(console: Console, table: ReportTable, folded: Mapping[str, int], gap: int = 1) -> None:
    """Print a table with its narrow columns; a column of `folded`, named by its heading, folds there if it must."""
    shown = table.narrow()
    whole = _laid_out(shown, {}, gap)
    console.print(whole if whole.fits(console.width) else _laid_out(shown, folded, gap))


def _laid_out(shown: ReportTable, folded: Mapping[str, int], gap: int) -> BlockTable:
    left = [column.left or i == 0 for i, column in enumerate(shown.columns)]
    headings = [_NARROWER.get(column.short, column.short) for column in shown.columns]
    head = next((i for i, cell in enumerate(shown.rows[0]) if cell.head), 0) if shown.rows else 0  # S may stand before the name
    columns = [h if at_left else (h, "right") for h, at_left in zip(headings, left, strict=True)]
    found = plain_table(*columns, gap=gap, kept=head + 1)
    for place, heading in enumerate(headings):
        if heading in folded:
            fold(found, place, [row[place].plain for row in shown.rows], folded[heading])
    for i, row in enumerate(shown.rows):
        cells = [_cell(cell, column, folded.get(h)) for cell, column, h in zip(row, shown.columns, headings, strict=True)]
        if shown.breaks and i and i not in shown.breaks:
            cells[0] = Text("")
        found.add_row(*cells)
    return found


_NARROWER = {"information": "info.", "p": "p =", "p down": "p dn"}


def _cell(cell: TableCell, column: Column[Any], width: int | None) -> Text:
    if column.p:
        return Text(p_short(cell.sort if isinstance(cell.sort, float) else None))
    text = plain(cell.plain) if column.left or not cell.glyph else f"{cell.glyph} {cell.text:>6}"
    return Text(text if width is None else folded_at_words(text, width), style=STYLES.get(cell.word, ""))


def print_overview(console: Console, document: ReportDocument) -> None:
    """Print a row per scorer and a column per S: the glyph of the verdict and the difference."""
    print_table(console, overview(document), {"scorer": 22 if document.searched is None else 23}, gap=2)
    for words in ([word for word in GLYPHS if word not in MEANING], list(MEANING)):
        _print_legend(console, [marked(word, f"{word}, {MEANING[word]}" if word in MEANING else None) for word in words])


def _print_legend(console: Console, items: Sequence[Text]) -> None:
    """Print items beside each other as far as there is room, none broken from its glyph."""
    line = Text("  ")
    for item in items:
        if line.plain.strip() and line.cell_len + item.cell_len > console.width:
            console.print(Text.assemble(line[:-3]))
            line = Text("  ")
        line.append_text(item).append("   ")
    console.print(Text.assemble(line[:-3]))


def print_lines(console: Console, document: ReportDocument, sparsity: float) -> None:
    """Print every scorer at one S with its tests, then why the undecided are undecided."""
    print_table(console, lines_at(document, sparsity), {"scorer": 16})
    for reason, names in undecided_reasons(document.lines_at(sparsity)).items():
        paragraph(console, f"undecided, {reason}: {', '.join(map(plain, names))}", 2, 4)


def print_examples(console: Console, document: ReportDocument, sparsity: float) -> None:
    """Print what per-example results add at one S: intervals for new images, and McNemar network by network."""
    crossed = [line for line in document.lines_at(sparsity) if line.crossed is not None and line.verdict is not Verdict.IDENTICAL]
    if crossed:
        above = [plain(line.scorer) for line in crossed if line.crossed is not None and line.crossed.low > 0]
        below = [plain(line.scorer) for line in crossed if line.crossed is not None and line.crossed.high < 0]
        sides = f"above 0 {', '.join(above) or 'none'}; below 0 {', '.join(below) or 'none'}"
        text = f"{in_words(document, 'new seeds and new images')}: {sides}"
        paragraph(console, text, 2, 4)
    won: dict[str, list[int]] = {}
    for row in document.mcnemar:
        if row.sparsity == sparsity:
            entry = won.setdefault(row.scorer, [0, 0, 0])
            gain = document.metric.turned(row.difference)
            entry[0] += row.p <= document.settings.alpha and gain > 0
            entry[1] += row.p <= document.settings.alpha and gain < 0
            entry[2] += 1
    told = [f"{plain(name)} {wins}:{losses} of {n}" for name, (wins, losses, n) in won.items() if wins or losses]
    if told:
        text = f"McNemar, networks won:lost against {plain(document.settings.reference)}: {', '.join(told)}"
        paragraph(console, text, 2, 4)


def _under(claim: ClaimInfo) -> str:
    """Under which reading a claim with two is supported, where it is under one."""
    names = [reading.name for reading in claim.readings if reading.status == claim.status]
    return f" (in {names[0]})" if claim.status is Status.SUPPORTED and len(names) < len(claim.readings) else ""


def claims_in_short(console: Console, claims: Sequence[ClaimInfo]) -> list[Text]:
    """One line per status, with the claims of that status."""
    found = []
    for word in STATUS_GLYPHS:
        names = [f"{plain(claim.id)}{_under(claim)}" for claim in claims if claim.status == word]
        if names:
            head = marked(word)
            body = wrapped(", ".join(names), min(console.width, WIDEST), 17, 17)[len(head) + 2 :]
            found.append(Text("  ").append_text(head).append(body))
    return found
