"""The answer to whether complexity adds anything to information."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.answer import LIMIT, SAME, Answer, Tone
from sics_analysis.report.document import ReportDocument
from sics_analysis.report.document_lines import AttributionInfo
from sics_analysis.report.document_rows import SettingsInfo
from sics_analysis.report.summary import escaping
from sics_analysis.report.text import interval, listed, plural
from sics_analysis.results import Verdict


def attribution_answer(document: ReportDocument) -> Answer:
    """Say what complexity adds to information, and for those that escape by their joint intervals alone."""
    question = "Is it complexity, beyond information?"
    lines = [line for line in document.attribution if line.complexity is not None]
    if not lines:
        text = (
            "Not available: it takes the control information, which sees the same saliency without any complexity, beside "
            "scorers of κ ≥ 1 and another reference."
        )
        return Answer("attribution", question, "open", "Not tested", text)
    delta = document.settings.delta
    better = [line for line in lines if line.verdict is Verdict.ESCAPES]
    same = [line for line in lines if line.verdict in SAME]
    worse = [line for line in lines if line.verdict is Verdict.DEGRADES]
    open_ = len(lines) - len(better) - len(same) - len(worse)
    parts = [
        f"Against information, a control with the same saliency and no complexity, {plural(len(lines), 'comparison')}: "
        f"complexity is shown to add more than {delta:g} points in {len(better)}, to add less than {delta:g} and cost less than "
        f"{delta:g} in {len(same)}, to cost more than {delta:g} in {len(worse)}; {open_} undecided."
    ]
    wanted = _matching(document, lines)
    shown = wanted[:LIMIT]
    if shown:
        split = "; ".join(_split(line, document.settings) for line in shown)
        level = f"{100 * (1 - document.settings.alpha):g} %"
        more = f"; {len(wanted) - len(shown)} more in the table" if len(wanted) > len(shown) else ""
        what = f"what complexity adds to information (simultaneous {level} intervals)"
        parts.append(f"Of those that escape, {what}: {split}{more}.")
    if better:
        parts.append(f"Complexity adds: {listed([f'{x.scorer} at S = {x.sparsity:g}' for x in better], LIMIT)}.")
    some = [line for line in lines if line.verdict is Verdict.INCONCLUSIVE and _superior(line, document.settings)]
    decided = len(same) + len(worse)
    tone: Tone = "yes" if better else "open" if some or open_ else "no"
    if better:
        short = "In part" if decided else f"Yes{', where decided' if open_ else ''}"
    elif some:
        short = f"Some above 0, none shown above {delta:g}"
    elif open_:  # what is undecided may be the very scorers that escape
        short = f"Not shown; no in {decided} of {len(lines)}" if decided else "Undecided"
    else:
        short = "No"
    return Answer("attribution", question, tone, short, " ".join(parts))


def _matching(document: ReportDocument, lines: Sequence[AttributionInfo]) -> list[AttributionInfo]:
    found = {(line.scorer, line.sparsity) for line in escaping(document)}
    return [line for line in lines if (line.scorer, line.sparsity) in found]


def _split(line: AttributionInfo, settings: SettingsInfo) -> str:
    """The joint interval alone: the line was selected for a large gain, of which this is a part."""
    return f"{line.scorer} at S = {line.sparsity:g} {interval(line.simultaneous)}, {_conclusion(line, settings)}"


def _conclusion(line: AttributionInfo, settings: SettingsInfo) -> str:
    if line.verdict is Verdict.INCONCLUSIVE:
        return f"shown above 0 but not above {settings.delta:g}" if _superior(line, settings) else "not settled"
    words = {Verdict.ESCAPES: f"shown above {settings.delta:g}", Verdict.DEGRADES: "a shown cost"}
    return words.get(line.verdict, f"shown to lie within ±{settings.delta:g}")


def _superior(line: AttributionInfo, settings: SettingsInfo) -> bool:
    return line.p_superior_adjusted is not None and line.p_superior_adjusted <= settings.alpha
