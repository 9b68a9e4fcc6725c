"""The closing tables of `replicate`: accuracy beside the verdicts of a report, at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo, KappaInfo
from sics_analysis.report.layouts.terminal_tables import claims_in_short, fold, hanging, marked, plain_table
from sics_analysis.report.words import phrases as say
from sics_analysis.report.words.phrases import NONE, interval, number, p_short, plain, undecided_reasons
from sics_cli.console.tables import kappa_text
from sics_cli.results.summary import Block


def wrapped(console: Console, text: str, first: int = 0, rest: int = 0) -> str:
    """Text broken between words at the console's width, at most 100, with these indents."""
    return say.wrapped(text, min(console.width, 100), first, rest)


def print_block(console: Console, block: Block, document: ReportDocument) -> None:
    """Print accuracy and verdict of every scorer at one S: the closing table of `replicate`."""
    level = f"{100 * (1 - 2 * document.settings.alpha):g} % interval"
    right = [(heading, "right") for heading in ("mean %", "sd", "diff.", level, "p up")]
    table = plain_table("scorer", "κ", *right, "verdict", gap=1)
    shown = [scored.scorer + (" †" if scored.flags else "") for scored in block.lines]
    fold(table, 0, shown)
    lines = {line.scorer: line for line in document.lines_at(round(block.sparsity, 9))}
    for scored, name in zip(block.lines, shown, strict=True):
        line = lines.get(scored.scorer)
        sd = scored.accuracy.sd
        table.add_row(
            Text(plain(name)),
            kappa_text(scored.kappa, scored.role),
            f"{scored.accuracy.mean:.2f}",
            NONE if sd is None else f"{sd:.2f}",
            number(None if line is None else line.mean),
            interval(None if line is None else line.ci_equivalence),
            p_short(None if line is None else line.p_escape_adjusted),
            Text("reference", style="dim") if line is None else marked(str(line.verdict)),
        )
    console.print(table)
    counts = {line.n for line in lines.values()}
    if len(counts) > 1:
        seeds = "; ".join(f"{n}: {', '.join(plain(x.scorer) for x in lines.values() if x.n == n)}" for n in sorted(counts))
        console.print(hanging(console, f"seeds n = {seeds}", 2), soft_wrap=True)
    for reason, names in undecided_reasons(lines.values()).items():
        console.print(hanging(console, f"undecided, {reason}: {', '.join(map(plain, names))}", 2), soft_wrap=True)


def print_conclusions(console: Console, document: ReportDocument) -> None:
    """Print κ(S) and the scorecard of the paper's claims in a few lines."""
    console.print()
    if document.spectrum.points:
        points = [f"S = {p.sparsity:g}: {_kappa_left(p)}" for p in document.spectrum.points]
        console.print(hanging(console, f"κ(S)  {'; '.join(points)}", 0), soft_wrap=True)
    else:
        console.print(hanging(console, f"κ(S) not available: {document.spectrum.reason}", 0), soft_wrap=True)
    console.print(Text("the paper's claims on these rows"))
    print_claims_in_short(console, document.claims)


def print_claims_in_short(console: Console, claims: Sequence[ClaimInfo]) -> None:
    """Print one line per status, with the claims of that status."""
    for line in claims_in_short(console, claims):
        console.print(line, soft_wrap=True)


def _kappa_left(point: KappaInfo) -> str:
    if point.kappa is not None:
        return f"{point.kappa} claimed"
    if point.p_values is None:
        return f"not available, {point.reason}"
    left = " or ".join(map(str, point.not_rejected))
    return f"undetermined, {left or 'all values rejected'}"
