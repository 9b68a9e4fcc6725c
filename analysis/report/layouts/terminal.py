"""The report as text for a terminal: first the answers, then the numbers behind them, then what a reader must know."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo
from sics_analysis.report.layouts import terminal_tables as show
from sics_analysis.report.tables import by_scorer, joint, looks, plans, searched
from sics_analysis.report.tables.table import ReportTable
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.conclusion import conclusion_of
from sics_analysis.report.words.headline import headline
from sics_analysis.report.words.phrases import PAPER, decimals, identity_line, interval, margin_line, plain, wrapped
from sics_analysis.report.words.plans import to_close
from sics_analysis.report.words.reasons import TONE_GLYPHS
from sics_analysis.report.words.said import checks_title, in_digits, in_words, largest_alone
from sics_analysis.report.words.searched import conclusions
from sics_analysis.results import Level

WIDTH = 80
_NARROWEST = 40  # below it the widest number of a table has no room beside a name
_TONES = {"yes": "bold green", "no": "red", "open": "yellow", "fact": ""}


def terminal() -> Console:
    """Console on stdout, as wide as the terminal is, or 80 columns where there is none."""
    console = Console(highlight=False)
    return Console(highlight=False, width=max(console.width, _NARROWEST))


def render_terminal(document: ReportDocument) -> str:
    """The report as plain text of 80 columns."""
    out = io.StringIO()
    print_report(Console(file=out, width=WIDTH, highlight=False, color_system=None, force_terminal=False), document)
    return out.getvalue()


@in_digits
@largest_alone
def print_report(console: Console, document: ReportDocument) -> None:
    """Print every part."""
    _print_head(console, document)
    _print_checks(console, document)
    _print_answers(console, document)
    _heading(console, "In short", in_words(document, f"difference to {document.settings.reference} in accuracy points"))
    show.print_overview(console, document)
    if document.gates:
        _print_gates(console, document)
    if document.how_far:
        _heading(console, "How far can I prune?", "not worse than the dense network by δ, from the lowest S up")
        _table(console, plans.how_far(document).narrow(), {"scorer": 16})
    for info in document.sparsities:
        _print_sparsity(console, document, info.sparsity, info.noise_floor)
    _print_key(console, document)
    if document.has_kappa:
        _print_kappa(console, document)
    if document.searched is not None:
        _print_searched(console, document)
    _print_next(console, document)
    if document.claims:
        _print_claims(console, document)
    if document.deviations:
        _print_deviations(console, document)
    _heading(console, "Notes")
    for number, note in enumerate(document.notes, start=1):
        show.paragraph(console, f"{number}. {note}", 1, 4)
    console.print()
    print_conclusion(console, document)


def print_conclusion(console: Console, document: ReportDocument) -> None:
    """The three sentences at the end; a command stands in a line of its own, to be copied."""
    found = conclusion_of(document)
    for word, sentence in found.sentences:
        command = found.command if sentence is found.left else ""
        show.paragraph(console, sentence.removesuffix(command), f"{word}: ", 2, label_style="bold")
        if command:
            show.command_line(console, command)


def _print_kappa(console: Console, document: ReportDocument) -> None:
    _heading(console, "κ(S)", "complexity needed to leave the plateau; claimed when one value is left")
    _table(console, joint.spectrum(document), {"κ(S)": 20}, gap=2)
    missing = [point.sentence for point in document.spectrum.points if point.p_values is None]
    for sentence in [*missing, document.spectrum.trend_sentence] if document.spectrum.points else ():
        show.paragraph(console, sentence, 2, 4)
    _heading(console, "Attribution", "gain = information (same saliency, no complexity) + complexity")
    columns = ("S", "scorer", "gain", "information", "complexity", "its 95 % CI", "p > 0", "verdict")
    _table(console, by_scorer.attribution(document).narrow(*columns), {"scorer": show.NAME_WIDTH})


def _print_searched(console: Console, document: ReportDocument) -> None:
    _heading(console, "Searched scorers", "gain = search + information + complexity, all by the same search")
    for text in conclusions(document):
        show.paragraph(console, text, 2, 4)
    narrow = {"split": searched.NARROW, "beside": searched.NARROW_BESIDE, "pools": searched.NARROW_POOLS}
    brief = {"curve": searched.curve, "gap": searched.gap}
    for table in searched.tables(document):
        _heading(console, table.title)
        shown = brief[table.id](document, True) if table.id in brief else table
        _table(console, shown.narrow(*narrow.get(table.id, ())), {"scorer": 20, "against": 20, "features": 21})


def _print_next(console: Console, document: ReportDocument) -> None:
    if document.looks is not None:
        _print_looks(console, document)
        return
    _heading(console, "What to do next", "seeds that settle a line with a chance of 80 %")
    found, first = plans.next_steps(document), to_close(document)
    if found.rows and first:
        _text(console, in_words(document, first))
    _table(console, found.narrow(*plans.NARROW), {"scorer": show.NAME_WIDTH})


def _print_looks(console: Console, document: ReportDocument) -> None:
    _heading(console, "Looks", "RCI: an interval that holds at all looks together")
    _table(console, looks.looks(document).narrow(*looks.NARROW), {"scorer": show.NAME_WIDTH})
    _heading(console, "What looking costs", "by then, beside as many seeds fixed beforehand and tested once")
    found = looks.price(document)
    _table(console, found, {})
    _text(console, found.caption)


def _print_claims(console: Console, document: ReportDocument) -> None:
    _heading(console, "The paper's claims", f"{PAPER}, on these rows")
    _print_scorecard(console, document.claims)
    console.print()
    for claim in document.claims:
        _print_claim(console, claim)


def _print_deviations(console: Console, document: ReportDocument) -> None:
    _heading(console, "Deviations", "what is not as planned")
    for deviation in document.deviations:
        where = [plain(deviation.scorer)] if deviation.scorer else []
        where += [f"S = {deviation.sparsity:g}"] if deviation.sparsity is not None and not document.one_pool else []
        where += [f"seed {deviation.seed}"] if deviation.seed is not None else []
        at = f" ({', '.join(where)})" if where else ""
        show.paragraph(console, f"{deviation.kind}{at}: {deviation.text}", 2, 4)


def _print_checks(console: Console, document: ReportDocument) -> None:
    if not document.checks:
        return
    _heading(console, checks_title(document))
    for check in document.checks:
        style = "bold yellow" if check.level is Level.OPEN else ""
        show.paragraph(console, f"{check.level}, {check.kind}: {check.text}", 2, 4, style)


def _width(console: Console) -> int:
    return min(console.width, show.WIDEST)


def _print_head(console: Console, document: ReportDocument) -> None:
    show.paragraph(console, f"SICS report: {document.source.title}", style="bold")
    show.paragraph(console, identity_line(document))
    show.paragraph(console, margin_line(document))
    for stamp in document.settings.stamps:
        show.paragraph(console, f"STAMPED: {stamp}", 0, 2, "bold yellow")


def _print_answers(console: Console, document: ReportDocument) -> None:
    console.print()
    show.paragraph(console, headline(document), style="bold")
    for answer in answers(document):
        head = Text(wrapped(answer.question, _width(console), f"{TONE_GLYPHS[answer.tone] or ' '} ", 2))
        head.stylize(_TONES[answer.tone], 0, 1)
        short = plain(answer.short)
        if len(head) + 2 + len(short) > _width(console):
            console.print(head, soft_wrap=True)
            head = Text("")
        first, *rest = wrapped(short, _width(console) - len(head), 2, 2).splitlines() or [""]
        console.print(head.append(first, style="bold default"), soft_wrap=True)
        for line in rest:
            console.print(Text(line, style="bold"), soft_wrap=True)
        if answer.id != "paper":  # the scorecard below says which
            show.paragraph(console, answer.text, 2, 2)


def _print_sparsity(console: Console, document: ReportDocument, sparsity: float, floor: float | None) -> None:
    noise = "noise floor not measured" if floor is None else f"noise floor {decimals(floor)} {document.metric.short}"
    _heading(console, "All rows" if document.one_pool else f"S = {sparsity:g}", noise)
    show.print_lines(console, document, sparsity)
    for plateau in document.plateaus:
        if plateau.sparsity == sparsity and not plateau.holds:
            show.paragraph(console, f"plateau: {plateau.sentence}", 2, 4)
    for winner in document.winners:
        if winner.sparsity == sparsity:
            level = f"{100 * winner.interval.level:g} %"
            text = f"best of {winner.family}: {plain(winner.scorer)}, simultaneous {level} CI {interval(winner.interval)}"
            show.paragraph(console, text, 2, 4)
    show.print_examples(console, document, sparsity)


def _print_key(console: Console, document: ReportDocument) -> None:
    console.print()
    settings = document.settings
    level = f"{100 * (1 - 2 * settings.alpha):g} %"
    metric, seeds = document.metric, "at the same seed" if document.metric.paired else "unpaired"
    kind = "paired t-TOST" if metric.paired else "TOST in Welch's form"
    exactly = f"p ≤ {settings.alpha:g} exactly when the {level} interval lies inside"
    if document.looks is not None:
        exactly = f"sequential, p ≤ {settings.alpha:g} once the repeated {level} interval lay inside at a look"
    key = f"diff.: {metric.short} above {settings.reference} {seeds}. " + in_words(
        document,
        f"p =: equivalence within ±{settings.delta:g} ({kind}; {exactly}). p up, p dn: above +{settings.delta:g}, below "
        f"−{settings.delta:g}, adjusted in the family of this S, unadjusted for a scorer outside it. NONINFERIOR, NONSUPERIOR: "
        "one half of the equivalence test alone, unadjusted as EQUIVALENT is. "
        "The best is given by its interval alone: its mean was selected for being large.",
    )
    show.paragraph(console, key, 2, 2, "dim")


def _table(console: Console, table: ReportTable, folded: Mapping[str, int], gap: int = 1) -> None:
    if table.rows:
        show.print_table(console, table, folded, gap)
    else:
        _text(console, table.absent)


def _print_scorecard(console: Console, claims: Sequence[ClaimInfo]) -> None:
    columns = ("claim", "claimed", "S", "ours", "interval", "status")
    _table(console, joint.scorecard(claims).narrow(*columns), {"claim": 24, "claimed": show.NAME_WIDTH, "status": 16})


def _print_claim(console: Console, claim: ClaimInfo) -> None:
    mark = show.marked(claim.status, plain(claim.id))
    console.print(Text("  ").append_text(mark), soft_wrap=True)
    _text(console, claim.paragraph, 4)


def _print_gates(console: Console, document: ReportDocument) -> None:
    _heading(console, "Gates", "--fail-on: anything but supported fails, and so does an open data check")
    _print_scorecard(console, document.gates)
    for gate in document.gates:
        if gate.id not in {claim.id for claim in document.claims}:
            _text(console, gate.paragraph)
    tripped = document.tripped
    _text(console, f"{len(tripped)} of {len(document.gates)} tripped:" if tripped else "None tripped.")
    for gate in tripped:
        show.paragraph(console, f"{gate.id}: {document.why_tripped(gate)}", 4, 6)


def _heading(console: Console, title: str, remark: str = "") -> None:
    console.print()
    line = Text(wrapped(f"{title}  {remark}".rstrip(), _width(console), 0, 2), style="dim" if remark else "bold")
    line.stylize("bold not dim", 0, len(title))
    console.print(line, soft_wrap=True)


def _text(console: Console, text: str, indent: int = 2) -> None:
    show.paragraph(console, text, indent, indent)
