"""The tables of a report for a terminal, at 80 columns; every name is shown literally, whatever it contains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo, SpectrumInfo
from sics_analysis.report.document.lines import AttributionInfo
from sics_analysis.report.words.phrases import (
    GLYPHS,
    NONE,
    STATUS_GLYPHS,
    interval,
    number,
    p_short,
    percent,
    plain,
    reference_accuracy,
    undecided_reasons,
    wrapped,
)
from sics_analysis.results import Verdict

STYLES = {
    "ESCAPES": "bold green",
    "DEGRADES": "red",
    "EQUIVALENT": "cyan",
    "IDENTICAL": "dim",
    "INCONCLUSIVE": "yellow",
    "supported": "bold green",
    "contradicted": "red",
    "undecided": "yellow",
}
NAME_WIDTH = 12
WIDEST = 100  # columns of running text
_GRID_COLUMNS = 6


def plain_table(*columns: str | tuple[str, str], gap: int = 2) -> Table:
    """A table with a rule below its heading; a column is a heading, or (heading, "right")."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
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


def hanging(console: Console, text: str, indent: int, style: str = "") -> Text:
    """A paragraph whose further lines are indented by two more."""
    return Text(wrapped(text, min(console.width, WIDEST), indent, indent + 2), style=style)


def print_overview(console: Console, document: ReportDocument) -> None:
    """Print a row per scorer and a column per S: the glyph of the verdict and the difference."""
    reference = document.settings.reference
    sparsities = [info.sparsity for info in document.sparsities]
    lines = {(line.scorer, line.sparsity): line for line in document.lines}
    kappa = {scorer.name: NONE if scorer.kappa is None else str(scorer.kappa) for scorer in document.scorers}
    for start in range(0, len(sparsities), _GRID_COLUMNS):
        chunk = sparsities[start : start + _GRID_COLUMNS]
        table = plain_table("scorer", "κ", *((f"S = {S:g}", "right") for S in chunk))
        fold(table, 0, [*kappa, f"{reference} (reference)"], 22)
        if start:
            console.print()
        base = [percent(reference_accuracy(document, S)) for S in chunk]
        table.add_row(Text(f"{plain(reference)} (reference)"), kappa.get(reference, "0"), *base)
        for scorer in document.compared:
            cells = []
            for S in chunk:
                line = lines.get((scorer.name, S))
                cells.append(Text(NONE) if line is None or not line.n else marked(str(line.verdict), f"{number(line.mean):>6}"))
            table.add_row(Text(plain(scorer.name)), kappa[scorer.name], *cells)
        console.print(table)
    legend = Text("  ")
    for word in GLYPHS:
        legend.append_text(marked(word)).append("   ")
    console.print(Text.assemble(legend[:-3]))


def print_lines(console: Console, document: ReportDocument, sparsity: float) -> None:
    """Print every scorer at one S with its tests, then why the undecided are undecided."""
    lines = document.lines_at(sparsity)
    level = f"{100 * (1 - 2 * document.settings.alpha):g} % interval"
    right = [(heading, "right") for heading in ("n", "diff.", level, "p =", "p up", "p dn")]
    table = plain_table("scorer", "κ", *right, "verdict", gap=1)
    fold(table, 0, [line.scorer for line in lines], 16)
    for line in lines:
        table.add_row(
            Text(plain(line.scorer)),
            NONE if line.kappa is None else str(line.kappa),
            str(line.n),
            number(line.mean),
            interval(line.ci_equivalence),
            p_short(line.p_equivalence),
            p_short(line.p_escape_adjusted),
            p_short(line.p_degrade_adjusted),
            marked(str(line.verdict)),
        )
    console.print(table)
    for reason, names in undecided_reasons(lines).items():
        console.print(hanging(console, f"undecided, {reason}: {', '.join(map(plain, names))}", 2), soft_wrap=True)


def print_examples(console: Console, document: ReportDocument, sparsity: float) -> None:
    """Print what per-example results add at one S: intervals for new images, and McNemar network by network."""
    crossed = [line for line in document.lines_at(sparsity) if line.crossed is not None and line.verdict is not Verdict.IDENTICAL]
    if crossed:
        above = [plain(line.scorer) for line in crossed if line.crossed is not None and line.crossed.low > 0]
        below = [plain(line.scorer) for line in crossed if line.crossed is not None and line.crossed.high < 0]
        sides = f"above 0 {', '.join(above) or 'none'}; below 0 {', '.join(below) or 'none'}"
        text = f"new seeds and new images (crossed bootstrap): {sides}"
        console.print(hanging(console, text, 2), soft_wrap=True)
    won: dict[str, list[int]] = {}
    for row in document.mcnemar:
        if row.sparsity == sparsity:
            entry = won.setdefault(row.scorer, [0, 0, 0])
            entry[0] += row.p <= document.settings.alpha and row.difference > 0
            entry[1] += row.p <= document.settings.alpha and row.difference < 0
            entry[2] += 1
    told = [f"{plain(name)} {wins}:{losses} of {n}" for name, (wins, losses, n) in won.items() if wins or losses]
    if told:
        text = f"McNemar, networks won:lost against {plain(document.settings.reference)}: {', '.join(told)}"
        console.print(hanging(console, text, 2), soft_wrap=True)


def print_spectrum(console: Console, spectrum: SpectrumInfo) -> None:
    """Print κ(S): the claim, the values not rejected and the p of each."""
    right = [(heading, "right") for heading in ("p κ=0", "p κ=1", "p κ=2", "level")]
    table = plain_table("S", ("n", "right"), "κ(S)", "paper", "not rejected", *right)
    for point in spectrum.points:
        open_ = point.kappa is None
        claimed = Text("undetermined" if open_ else f"{point.kappa} claimed", style="yellow" if open_ else "bold green")
        values = (None, None, None) if point.p_values is None else point.p_values
        left = "{" + ", ".join(map(str, point.not_rejected)) + "}"
        table.add_row(
            f"{point.sparsity:g}", str(point.n), claimed, str(point.paper), left, *map(p_short, values), f"{point.level:.3g}"
        )
    console.print(table)
    for point in spectrum.points:
        if point.p_values is None:
            console.print(hanging(console, point.sentence, 2), soft_wrap=True)
    console.print(hanging(console, spectrum.trend_sentence, 2), soft_wrap=True)


def print_attribution(console: Console, lines: Sequence[AttributionInfo]) -> None:
    """Print what each κ ≥ 1 scorer gains over the reference, and how much of it `information` gains too."""
    right = [(heading, "right") for heading in ("gain", "info.", "complexity", "its 95 % CI", "p > 0")]
    table = plain_table("S", "scorer", *right, "verdict", gap=1)
    fold(table, 1, [line.scorer for line in lines])
    last = None
    for line in lines:
        table.add_row(
            "" if line.sparsity == last else f"{line.sparsity:g}",
            Text(plain(line.scorer)),
            number(line.gain),
            number(line.information),
            number(line.complexity),
            interval(line.ci95),
            p_short(line.p_superior_adjusted),
            marked(str(line.verdict)),
        )
        last = line.sparsity
    console.print(table)


def print_scorecard(console: Console, claims: Sequence[ClaimInfo]) -> None:
    """Print a row per claim: claimed, measured, status."""
    right = [(heading, "right") for heading in ("S", "ours", "interval")]
    table = plain_table("claim", "claimed", *right, "status", gap=1)
    fold(table, 0, [claim.id for claim in claims], 24)
    fold(table, 1, [word for claim in claims for word in claim.claimed.split()])
    for claim in claims:
        table.add_row(
            Text(plain(claim.id)),
            Text(plain(claim.claimed)),
            f"{claim.sparsity:g}",
            number(claim.estimate),
            interval(claim.interval),
            marked(claim.status),
        )
    console.print(table)


def claims_in_short(console: Console, claims: Sequence[ClaimInfo]) -> list[Text]:
    """One line per status, with the claims of that status."""
    found = []
    for word in STATUS_GLYPHS:
        names = [plain(claim.id) for claim in claims if claim.status == word]
        if names:
            head = marked(word)
            body = wrapped(", ".join(names), min(console.width, WIDEST), 17, 17)[len(head) + 2 :]
            found.append(Text("  ").append_text(head).append(body))
    return found
