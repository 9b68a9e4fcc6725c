"""The report as text for a terminal: first who escapes, then why, then the claims, then what a reader must know."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from sics_cli import verdict_tables as show
from sics_cli.printable import plain
from sics_cli.report_document import Report

if TYPE_CHECKING:
    from sics_analysis.outcome import Analysis

WIDTH = 80


def terminal() -> Console:
    """Console on stdout, never narrower than the tables."""
    console = Console(highlight=False)
    return Console(highlight=False, width=max(console.width, WIDTH))


def to_text(report: Report) -> str:
    """The report as plain text of 80 columns."""
    out = io.StringIO()
    print_report(Console(file=out, width=WIDTH, highlight=False, color_system=None, force_terminal=False), report)
    return out.getvalue()


def print_report(console: Console, report: Report) -> None:
    """Print every part."""
    analysis = report.analysis
    _print_head(console, report)
    _heading(console, "In short", f"difference to {analysis.reference} in accuracy points")
    show.print_overview(console, analysis)
    _print_tally(console, analysis)
    if report.gates:
        _print_gates(console, report)
    for sparsity in analysis.sparsities:
        _print_sparsity(console, analysis, sparsity)
    _print_key(console, analysis)
    _heading(console, "κ(S)", "complexity needed to leave the plateau; claimed when one value is left")
    if analysis.spectrum is None:
        _text(console, f"Not available: {analysis.spectrum_reason}.")
    else:
        show.print_spectrum(console, analysis.spectrum)
    _heading(console, "Attribution", "gain = information (same saliency, no complexity) + complexity")
    if analysis.attribution:
        show.print_attribution(console, analysis.attribution, analysis.reference)
    else:
        _text(console, "Not available: it needs the scorer information beside scorers of κ ≥ 1, with another reference.")
    _heading(console, "The paper's claims", "arXiv 2605.09345, on these rows")
    show.print_scorecard(console, report.claims)
    for claim in report.claims:
        console.print()
        console.print(Text("  ").append_text(show.marked(str(claim.status), plain(claim.claim.id))))
        _text(console, claim.paragraph)
    _heading(console, "Notes")
    for number, note in enumerate(report.notes, start=1):
        console.print(Text(show.wrapped(console, f"{number}. {note}", 1, 4)), soft_wrap=True)


def _print_head(console: Console, report: Report) -> None:
    analysis, source, settings = report.analysis, report.source, report.settings
    console.print(Text(show.wrapped(console, f"SICS report: {source.title}"), style="bold"), soft_wrap=True)
    what = [f"{'run' if source.kind == 'run' else 'sha256'} {source.identity[:16]}", f"{len(analysis.seeds)} seeds"]
    what += [f"unit {analysis.unit}"] if analysis.unit else []
    what += [f"pool {analysis.pool}"] if analysis.pool else []
    fixed = "not as planned"
    if source.planned is None or settings == source.planned:
        fixed = f"fixed: {source.fixed}"
    console.print(Text(show.wrapped(console, ", ".join(what))), soft_wrap=True)
    margin = f"δ = {settings.delta:g} points, α = {settings.alpha:g}, reference {settings.reference}; {fixed}"
    console.print(Text(show.wrapped(console, margin)), soft_wrap=True)
    for stamp in report.stamps:
        console.print(Text(f"STAMPED: {stamp}", style="bold yellow"))


def _print_tally(console: Console, analysis: Analysis) -> None:
    lines = [line for line in analysis.lines if line.n]
    undecided = [line for line in lines if str(line.verdict) == "INCONCLUSIVE"]
    if undecided:
        _text(
            console,
            f"{len(undecided)} of {len(lines)} lines are undecided, which is not agreement: they may lie on the plateau or off "
            "it. `sics-run plan --from` the same rows says how many seeds would tell.",
        )


def _print_sparsity(console: Console, analysis: Analysis, sparsity: float) -> None:
    floor = analysis.noise_floor.get(sparsity)
    noise = "noise floor not measured" if floor is None else f"noise floor {floor:.2f} points"
    _heading(console, f"S = {sparsity:g}", noise)
    show.print_lines(console, analysis, sparsity)
    plateau = _plateau(analysis, sparsity)
    if plateau is not None:
        console.print(Text(show.wrapped(console, f"plateau: {plateau}", 2, 4)), soft_wrap=True)
    for winner in analysis.winners:
        if winner.sparsity == sparsity:
            console.print(Text(show.wrapped(console, winner.describe(), 2, 4)), soft_wrap=True)


def _plateau(analysis: Analysis, sparsity: float) -> str | None:
    """The joint claim that every κ = 0 scorer sits on the plateau, in a sentence."""
    claim = analysis.plateau(sparsity)
    return None if claim is None or analysis.below_noise(sparsity) else claim.describe()


def _print_key(console: Console, analysis: Analysis) -> None:
    console.print()
    level = f"{100 * (1 - 2 * analysis.alpha):g} %"
    key = (
        f"diff.: points above {analysis.reference} at the same seed. p =: equivalence within ±{analysis.delta:g} (paired t-TOST; "
        f"p ≤ {analysis.alpha:g} exactly when the {level} interval lies inside). p up, p dn: above +{analysis.delta:g}, below "
        f"−{analysis.delta:g}, adjusted in the family of this S. min: smallest p an exact sign-flip test of n seeds can give."
    )
    console.print(Text(show.wrapped(console, key, 2, 2), style="dim"), soft_wrap=True)


def _print_gates(console: Console, report: Report) -> None:
    _heading(console, "Gates", "--fail-on: anything but supported fails")
    show.print_scorecard(console, report.gates)
    for gate in report.gates:
        if gate.claim.named_by_user:
            _text(console, gate.paragraph)
    outcome = f"{len(report.tripped)} of {len(report.gates)} tripped." if report.tripped else "None tripped."
    _text(console, outcome)


def _heading(console: Console, title: str, remark: str = "") -> None:
    console.print()
    line = Text(title, style="bold")
    if remark:
        line.append(f"  {plain(remark)}", style="not bold dim")
    console.print(line, soft_wrap=True)


def _text(console: Console, text: str) -> None:
    console.print(Text(show.wrapped(console, text, 2, 2)), soft_wrap=True)
