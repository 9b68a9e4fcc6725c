"""Verdicts as tables for a terminal, at 80 columns; every name is shown literally, whatever it contains."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sics_cli.printable import plain
from sics_cli.tables import NONE, kappa_text, plain_table

if TYPE_CHECKING:
    from sics_analysis.attribution import AttributionLine
    from sics_analysis.claims import ClaimResult
    from sics_analysis.lines import Line
    from sics_analysis.outcome import Analysis
    from sics_analysis.results import Interval
    from sics_analysis.spectrum import KappaPoint, Spectrum
    from sics_cli.experiment.summary import Block

#: word → (glyph, style)
GLYPHS = {
    "ESCAPES": ("▲", "bold green"),
    "DEGRADES": ("▼", "red"),
    "EQUIVALENT": ("=", "cyan"),
    "IDENTICAL": ("≡", "dim"),
    "INCONCLUSIVE": ("?", "yellow"),
}
STATUS = {
    "supported": ("✓", "bold green"),
    "contradicted": ("✗", "red"),
    "undecided": ("?", "yellow"),
}
NAME_WIDTH = 12
_GRID_COLUMNS = 6


def marked(word: str, text: str | None = None) -> Text:
    """A verdict or status with its glyph and colour; `text` in place of the word."""
    glyph, style = (GLYPHS | STATUS)[word]
    return Text(f"{glyph} {word if text is None else text}".rstrip(), style=style)


def number(value: float | None) -> str:
    """A difference in points with its sign."""
    from sics_analysis.results import signed

    return NONE if value is None else signed(value)


def interval(value: Interval | None) -> str:
    """Both limits in points."""
    return NONE if value is None else f"[{number(value.low)}, {number(value.high)}]"


def p_short(p: float | None) -> str:
    """A p-value in five characters; never zero.

    Examples
    --------
    >>> p_short(0.03508), p_short(0.00001), p_short(0.99996), p_short(1.0), p_short(None)
    ('.035', '<.001', '>.999', '1', '–')
    """
    if p is None:
        return NONE
    if p < 0.001:
        return "<.001"
    if p == 1.0:
        return "1"
    return ">.999" if p > 0.999 else f"{p:.3f}"[1:]


def fold(table: Table, column: int, names: Iterable[str], width: int = NAME_WIDTH) -> None:
    """Let a column of names fold, and only names longer than `width`."""
    chosen = table.columns[column]
    chosen.no_wrap, chosen.overflow = False, "fold"
    chosen.min_width = chosen.max_width = min(width, max((len(plain(name)) for name in names), default=width))
    chosen.max_width = chosen.min_width = max(chosen.min_width, len(str(chosen.header)))


def print_overview(console: Console, analysis: Analysis) -> None:
    """Print a row per scorer and a column per S: the glyph of the verdict and the difference."""
    sparsities = analysis.sparsities
    for start in range(0, len(sparsities), _GRID_COLUMNS):
        chunk = sparsities[start : start + _GRID_COLUMNS]
        table = plain_table("scorer", "κ", *((f"S = {S:g}", "right") for S in chunk))
        fold(table, 0, [*analysis.scorers, f"{analysis.reference} (reference)"], 22)
        if start:
            console.print()
        reference = [_reference_accuracy(analysis, S) for S in chunk]
        table.add_row(Text(f"{plain(analysis.reference)} (reference)"), _kappa(analysis, analysis.reference), *reference)
        for name in analysis.scorers:
            if name != analysis.reference:
                table.add_row(Text(plain(name)), _kappa(analysis, name), *(_grid_cell(analysis, name, S) for S in chunk))
        console.print(table)
    legend = Text("  ")
    for word in GLYPHS:
        legend.append_text(marked(word)).append("   ")
    console.print(legend)


def _kappa(analysis: Analysis, name: str) -> str:
    kappa = analysis.kappa.get(name)
    return NONE if kappa is None else str(kappa)


def _reference_accuracy(analysis: Analysis, sparsity: float) -> str:
    accuracy = analysis.table.arm(analysis.reference, sparsity).accuracy
    return NONE if not len(accuracy) else f"{100 * sum(accuracy) / len(accuracy):.2f} %"


def _grid_cell(analysis: Analysis, name: str, sparsity: float) -> Text:
    line = analysis.line(name, sparsity)
    return Text(NONE) if not line.n else marked(str(line.verdict), f"{number(line.contrast.mean):>6}")


def print_lines(console: Console, analysis: Analysis, sparsity: float) -> None:
    """Print every scorer at one S with its tests, then why the undecided are undecided."""
    lines = [line for line in analysis.lines if line.sparsity == sparsity]
    right = [(heading, "right") for heading in ("n", "diff.", "90 % interval", "p =", "p up", "p dn", "min")]
    table = plain_table("scorer", "κ", *right, "verdict", gap=1)
    fold(table, 0, [line.scorer for line in lines])
    for line in lines:
        table.add_row(
            Text(plain(line.scorer)),
            _kappa(analysis, line.scorer),
            str(line.n),
            number(line.contrast.mean),
            interval(line.confidence_interval(0.90)),
            p_short(line.equivalence.p),
            p_short(line.p_escape_adjusted),
            p_short(line.p_degrade_adjusted),
            p_short(line.p_min_attainable),
            marked(str(line.verdict)),
        )
    console.print(table)
    for reason, names in undecided_reasons(lines).items():
        console.print(_hanging(console, f"undecided, {reason}: {', '.join(names)}", 2), soft_wrap=True)


def undecided_reasons(lines: Iterable[Line]) -> dict[str, list[str]]:
    """The scorers without a verdict, by the reason why."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if str(line.verdict) == "INCONCLUSIVE":
            found.setdefault(line.reason, []).append(plain(line.scorer))
    return found


def _hanging(console: Console, text: str, indent: int, style: str = "") -> Text:
    return Text(wrapped(console, text, indent, indent + 2), style=style)


def wrapped(console: Console, text: str, first: int = 0, rest: int = 0) -> str:
    """Text broken between words at the console's width, at most 100, with these indents."""
    import textwrap

    # Numbers stay with their signs and units: textwrap breaks at plain spaces only.
    tied = re.sub(r" (?==|≤|%|points)|(?<=[=≤]) |(?<=%) (?=CI|interval)", "\u00a0", plain(text))
    filled = textwrap.fill(
        tied, min(console.width, 100), initial_indent=" " * first, subsequent_indent=" " * rest, break_on_hyphens=False
    )
    return filled.replace("\u00a0", " ")


def print_block(console: Console, block: Block, analysis: Analysis) -> None:
    """Print accuracy and verdict of every scorer at one S: the closing table of `replicate`."""
    right = [(heading, "right") for heading in ("mean %", "sd", "diff.", "90 % interval", "p up")]
    table = plain_table("scorer", "κ", *right, "verdict", gap=1)
    shown = [scored.scorer + (" †" if scored.flags else "") for scored in block.lines]
    fold(table, 0, shown)
    lines = {line.scorer: line for line in analysis.lines if line.sparsity == round(block.sparsity, 9)}
    for scored, name in zip(block.lines, shown, strict=True):
        line = lines.get(scored.scorer)
        sd = scored.accuracy.sd
        table.add_row(
            Text(plain(name)),
            kappa_text(scored.kappa, scored.role),
            f"{scored.accuracy.mean:.2f}",
            NONE if sd is None else f"{sd:.2f}",
            number(None if line is None else line.contrast.mean),
            interval(None if line is None else line.confidence_interval(0.90)),
            p_short(None if line is None else line.p_escape_adjusted),
            Text("reference", style="dim") if line is None else marked(str(line.verdict)),
        )
    console.print(table)
    counts = {line.n for line in lines.values()}
    if len(counts) > 1:
        seeds = "; ".join(f"{n}: {', '.join(plain(x.scorer) for x in lines.values() if x.n == n)}" for n in sorted(counts))
        console.print(_hanging(console, f"seeds n = {seeds}", 2), soft_wrap=True)
    for reason, names in undecided_reasons(lines.values()).items():
        console.print(_hanging(console, f"undecided, {reason}: {', '.join(names)}", 2), soft_wrap=True)


def print_conclusions(console: Console, analysis: Analysis, claims: Sequence[ClaimResult]) -> None:
    """Print κ(S) and the scorecard of the paper's claims in a few lines."""
    console.print()
    if analysis.spectrum is None:
        console.print(_hanging(console, f"κ(S) not available: {analysis.spectrum_reason}", 0), soft_wrap=True)
    else:
        points = [f"S = {p.sparsity:g}: {_kappa_left(p)}" for p in analysis.spectrum.points]
        console.print(_hanging(console, f"κ(S)  {'; '.join(points)}", 0), soft_wrap=True)
    console.print(Text("the paper's claims on these rows"))
    for line in claims_in_short(console, claims):
        console.print(line, soft_wrap=True)


def _kappa_left(point: KappaPoint) -> str:
    if point.kappa is not None:
        return f"{point.kappa} claimed"
    if point.p_values is None:
        return f"not available, {point.reason}"
    left = " or ".join(map(str, point.not_rejected))
    return f"undetermined, {left or 'all values rejected'}"


def print_spectrum(console: Console, spectrum: Spectrum) -> None:
    """Print κ(S): the claim, the values not rejected and the p of each."""
    table = plain_table("S", ("n", "right"), "κ(S)", "not rejected", ("p κ=0", "right"), ("p κ=1", "right"), ("p κ=2", "right"))
    table.add_column("level", justify="right", no_wrap=True)
    for point in spectrum.points:
        open_ = point.kappa is None
        claimed = Text("undetermined" if open_ else f"{point.kappa} claimed", style="yellow" if open_ else "bold green")
        values = (None, None, None) if point.p_values is None else point.p_values
        left = "{" + ", ".join(map(str, point.not_rejected)) + "}"
        table.add_row(f"{point.sparsity:g}", str(point.n), claimed, left, *map(p_short, values), f"{point.level:.3g}")
    console.print(table)
    for point in spectrum.points:
        if point.p_values is None:
            console.print(_hanging(console, point.describe(), 2), soft_wrap=True)
    console.print(_hanging(console, spectrum.monotonicity.describe(), 2), soft_wrap=True)


def print_attribution(console: Console, lines: Sequence[AttributionLine], reference: str) -> None:
    """Print what each κ ≥ 1 scorer gains over the reference, and how much of it `information` gains too."""
    right = [(heading, "right") for heading in ("gain", "info.", "complexity", "its 95 % CI", "p > 0")]
    table = plain_table("S", "scorer", *right, "verdict", gap=1)
    fold(table, 1, [line.scorer for line in lines])
    last = None
    for line in lines:
        table.add_row(
            "" if line.sparsity == last else f"{line.sparsity:g}",
            Text(plain(line.scorer)),
            number(line.gain.mean),
            number(line.information.mean),
            number(line.complexity.mean),
            interval(line.confidence_interval()),
            p_short(line.p_superior_adjusted),
            marked(str(line.verdict)),
        )
        last = line.sparsity
    console.print(table)


def print_scorecard(console: Console, claims: Sequence[ClaimResult]) -> None:
    """Print a row per claim: claimed, measured, status."""
    right = [(heading, "right") for heading in ("S", "ours", "interval")]
    table = plain_table("claim", "claimed", *right, "status", gap=1)
    fold(table, 0, [claim.claim.id for claim in claims], 24)
    fold(table, 1, [word for claim in claims for word in claim.claimed.split()])
    for claim in claims:
        table.add_row(
            Text(plain(claim.claim.id)),
            Text(plain(claim.claimed)),
            f"{claim.decisive.sparsity:g}",
            number(claim.estimate),
            interval(claim.interval),
            marked(str(claim.status)),
        )
    console.print(table)


def claims_in_short(console: Console, claims: Sequence[ClaimResult]) -> list[Text]:
    """One line per status, with the claims of that status."""
    found = []
    for word in STATUS:
        names = [plain(claim.claim.id) for claim in claims if str(claim.status) == word]
        if names:
            head = marked(word)
            body = wrapped(console, ", ".join(names), 17, 17)[len(head) + 2 :]
            found.append(Text("  ").append_text(head).append(body))
    return found
