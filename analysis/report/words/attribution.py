"""Whether it is complexity or the saliency: what explains those that escape, said once for headline, sentence and answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.document.rows import SettingsInfo
from sics_analysis.report.words.phrases import interval, listed, sparsity_list
from sics_analysis.report.words.reasons import LIMIT, SAME, SHOWN, Answer, Tone, escaping, grouped, over_run, placed
from sics_analysis.report.words.searched import pays_sentence
from sics_analysis.results import Verdict, plural

CONTROL = "information"  # as in sics_analysis.families.attribution, which a kept report does not load
#: What shows that a scorer is not above its control by δ, and what leaves that open.
_NO_MORE = (*SAME, Verdict.NONSUPERIOR, Verdict.DEGRADES)
_MAY_ADD = (Verdict.INCONCLUSIVE, Verdict.NONINFERIOR)
#: What explains it → how the headline goes on, for those alike that a sentence below it begins with.
_HEADLINES = {
    "Complexity, beyond the saliency": "complexity adds to what the saliency gives",
    "Complexity, in part": "complexity explains it in part",
    "Not settled": "whether complexity or the saliency explains it is not settled",
    "Mostly the saliency": "mostly the saliency explains it",
    "Little of it complexity": "complexity explains little of it",
    "The saliency, not complexity": "the saliency explains it, not complexity",
    "Not complexity": "complexity does not explain it",
}
_SORT = "of the same saliency and without complexity"
_OF_CONTROL = f"the control {CONTROL}, {_SORT},"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What explains those that escape over the whole run: a sentence, and how the headline goes on ("" where nothing is said)."""

    sentence: str
    headline: str = ""


def explanation(document: ReportDocument) -> Explanation:
    """Say what the control with the same saliency leaves to complexity, for the headline and for the sentence below it."""
    rows = [row for row in document.attribution if row.complexity is not None]
    if document.how_far:
        return Explanation(_explained_far(document, rows))
    held, _ = over_run(document)
    keys = [(line.scorer, line.sparsity) for line in held]
    rows = [row for row in rows if (row.scorer, row.sparsity) in keys] if held else rows
    there = {(row.scorer, row.sparsity) for row in rows}
    lacking = [line for line in held if (line.scorer, line.sparsity) not in there]
    searched = pays_sentence(document)
    if not rows:
        said = "" if searched and not held else _not_asked(document, lacking)
        return Explanation(" ".join(part for part in (said, searched) if part))
    short = "" if lacking else _short(document, rows, any_held=bool(held))
    said = _outcome(document, rows, lacking, any_held=bool(held))
    sentence = " ".join(part for part in (f"{short}." if short else "", said, searched) if part)
    return Explanation(sentence, _HEADLINES.get(short, ""))


def _short(document: ReportDocument, rows: Sequence[AttributionInfo], *, any_held: bool) -> str:
    """The short answer, of lines that all have their control."""
    if not any_held:
        return "Nothing to explain over the whole run" if len(document.sparsities) > 1 else "Nothing to explain"
    more = sum(row.verdict is Verdict.ESCAPES for row in rows)
    if more:
        return "Complexity, beyond the saliency" if more == len(rows) else "Complexity, in part"
    if any(row.verdict not in _NO_MORE for row in rows):
        return "Not settled"
    alone = all(_control(document, row.sparsity) is Verdict.ESCAPES for row in rows)  # whether it escapes wherever they do
    if any(superior(row, document.settings) for row in rows):
        return "Mostly the saliency" if alone else "Little of it complexity"
    return "The saliency, not complexity" if alone else "Not complexity"


def _not_asked(document: ReportDocument, lacking: Sequence[LineInfo]) -> str:
    """What it would have taken to ask."""
    if document.settings.reference == CONTROL:
        return f"Not asked: the control {CONTROL} is itself the reference."
    if lacking and document.has_kappa:
        where = "; ".join(f"{listed(who, LIMIT)} at {sparsity_list(at)}" for who, at in grouped(lacking))
        return f"Not asked of {where}: no control {CONTROL}, {_SORT}, is there."
    why = "" if document.has_kappa else ", and a column kappa"
    return f"Not asked: it takes the control {CONTROL}, with the same saliency and no complexity, beside scorers of κ ≥ 1{why}."


def _explained_far(document: ReportDocument, rows: Sequence[AttributionInfo]) -> str:
    """How far the control can be pruned by itself, and what complexity adds to it where the scorers reach."""
    reached = {found.scorer: found.reached for found in document.how_far}
    rows = [row for row in rows if row.sparsity == reached.get(row.scorer)]
    if not rows:
        return _not_asked(document, ())
    what = _what(document, rows, len(rows))
    if CONTROL not in reached:
        return f"Beyond {_OF_CONTROL} as far as each scorer reaches, complexity {what}."
    far = reached[CONTROL]
    itself = f"shown {'at no S' if far is None else f'to S = {far:g}'}"
    return f"The control {CONTROL}, {_SORT}, is itself {itself}. Beyond it, as far as each scorer reaches, complexity {what}."


def _outcome(document: ReportDocument, rows: Sequence[AttributionInfo], lacking: Sequence[LineInfo], *, any_held: bool) -> str:
    """What the control has by itself, and what complexity is shown to add to it, line by line of these."""
    there = sorted({row.sparsity for row in rows})
    own = [S for S in there if any_held and _control(document, S) is Verdict.ESCAPES]
    short = [S for S in there if _control(document, S) is Verdict.DEGRADES]
    what = _what(document, rows, len(rows) + len(lacking))
    if lacking:
        has = "has" if len(lacking) == 1 else "have"
        what += f"; {len(lacking)} {has} no such control, at {sparsity_list(sorted({line.sparsity for line in lacking}))}"
    reference = document.settings.reference
    sides = [(own, f"above {reference}"), (short, f"below {reference}")]
    at = [f"{side}{f' at {sparsity_list(S)}' if len(document.sparsities) > 1 else ''}" for S, side in sides if S]
    if not at:
        return f"Beyond {_OF_CONTROL} complexity {what}."
    return f"T{_OF_CONTROL[1:]} is itself shown {listed(at)}, by a test of its own. Beyond it complexity {what}."


def _what(document: ReportDocument, rows: Sequence[AttributionInfo], total: int) -> str:
    """What complexity is shown to add to the control, or to cost, in how many of all lines."""
    delta = document.settings.delta
    within = ", adjusted within an S" if len(document.sparsities) > 1 else ""
    more = [row for row in rows if row.verdict is Verdict.ESCAPES]
    costs = [row for row in rows if row.verdict is Verdict.DEGRADES]
    less = [row for row in rows if row.verdict in _NO_MORE and row.verdict is not Verdict.DEGRADES]
    some = [row for row in less if superior(row, document.settings)]
    rest = [row for row in rows if row.verdict is not Verdict.ESCAPES and row.verdict not in _NO_MORE]
    above = [row for row in rest if superior(row, document.settings)]
    no_less = [row for row in rest if row.verdict is Verdict.NONINFERIOR and row not in above]
    parts = [
        (more, f"to add more than {delta:g} points", within),
        (some, f"to add more than 0 and less than {delta:g} points", within),
        (above, "to add more than 0 points", f"{within}, where {delta:g} is open"),
        ([row for row in less if row not in some], f"to add less than {delta:g} points", ""),
        (no_less, f"to cost less than {delta:g} points", ""),
        (costs, f"to cost more than {delta:g} points", ""),
    ]
    shown = [part for part in parts if part[0]]
    if not shown:
        return "is not shown to add or to lack anything"
    of = [f" of {plural(total, 'line')}", *[""] * len(shown)]  # said once
    said = [
        f"{what}{f' in {len(found)}{of[i]}{_named(found, rows)}' if total > 1 else ''}{how}"
        for i, (found, what, how) in enumerate(shown)
    ]
    none = len(rest) - len(above) - len(no_less)
    return f"is shown {'; '.join([*said, *([f'nothing is shown in {none}'] if none else [])])}"


def _named(found: Sequence[AttributionInfo], rows: Sequence[AttributionInfo]) -> str:
    """Who these are among the lines, where they are few and not all; with their S where the lines stand at several."""
    if len(found) == len(rows) or len(found) > SHOWN:
        return ""
    one = len({row.sparsity for row in rows}) == 1
    return f" ({listed([row.scorer for row in found]) if one else placed(found)})"


def _control(document: ReportDocument, S: float) -> Verdict | None:
    """What the control shows against the reference, by a test of its own."""
    line = document.line(CONTROL, S)
    return None if line is None else line.verdict


# -- the longer answer -----------------------------------------------------------------------------------------------------------


def attribution_answer(document: ReportDocument) -> Answer:
    """Say what complexity adds to information, and for those that escape by their joint intervals alone."""
    question = "Is it complexity, beyond information?"
    lines = [line for line in document.attribution if line.complexity is not None]
    if not lines:
        text = (
            "Not available: it takes the control information, which has the same saliency and no complexity, beside "
            "scorers of κ ≥ 1 and another reference."
        )
        return Answer("attribution", question, "open", "Not tested", text)
    delta = document.settings.delta
    better = [line for line in lines if line.verdict is Verdict.ESCAPES]
    same = [line for line in lines if line.verdict in SAME]
    worse = [line for line in lines if line.verdict is Verdict.DEGRADES]
    no_more = [line for line in lines if line.verdict is Verdict.NONSUPERIOR]
    no_less = [line for line in lines if line.verdict is Verdict.NONINFERIOR]
    open_ = sum(line.verdict is Verdict.INCONCLUSIVE for line in lines)
    parts = [
        f"Against information, a control with the same saliency and no complexity, {plural(len(lines), 'comparison')}: "
        f"complexity is shown to add more than {delta:g} points in {len(better)}, to add less than {delta:g} and cost less than "
        f"{delta:g} in {len(same)}, only to add less than {delta:g} in {len(no_more)}, only to cost less than {delta:g} in "
        f"{len(no_less)}, to cost more than {delta:g} in {len(worse)}; {open_} undecided."
    ]
    found = {(line.scorer, line.sparsity) for line in escaping(document)}
    wanted = [line for line in lines if (line.scorer, line.sparsity) in found]
    shown = wanted[:LIMIT]
    if shown:
        # The joint interval alone: the line was selected for a large gain, of which this is a part.
        said = ((line, interval(line.simultaneous), _conclusion(line, document.settings)) for line in shown)
        split = "; ".join(f"{line.scorer} at S = {line.sparsity:g} {limits}, {conclusion}" for line, limits, conclusion in said)
        level = f"{100 * (1 - document.settings.alpha):g} %"
        more = f"; {len(wanted) - len(shown)} more in the table" if len(wanted) > len(shown) else ""
        what = f"what complexity adds to information (simultaneous {level} intervals)"
        parts.append(f"Of those that escape, {what}: {split}{more}.")
    if better:
        parts.append(f"Complexity adds: {placed(better)}.")
    open_ += len(no_less)  # whether complexity adds δ is open there
    some = [line for line in lines if line.verdict in _MAY_ADD and superior(line, document.settings)]
    decided = len(same) + len(worse) + len(no_more)
    tone: Tone = "yes" if better else "fact" if some or (open_ and decided) else "open" if open_ else "no"
    if better:
        short = "In part" if decided else f"Yes{', where decided' if open_ else ''}"
    elif some:
        short = f"Some above 0, none shown above {delta:g}"
    elif open_:  # what is undecided may be the very scorers that escape
        short = f"Not shown; no in {decided} of {len(lines)}" if decided else "Undecided"
    else:
        short = "No"
    return Answer("attribution", question, tone, short, " ".join(parts))


def _conclusion(line: AttributionInfo, settings: SettingsInfo) -> str:
    if line.verdict in _MAY_ADD and superior(line, settings):
        return f"shown above 0 but not above {settings.delta:g}"
    words = {
        Verdict.ESCAPES: f"shown above {settings.delta:g}",
        Verdict.DEGRADES: "a shown cost",
        Verdict.NONINFERIOR: f"shown to cost less than {settings.delta:g}",
        Verdict.NONSUPERIOR: f"shown to add less than {settings.delta:g}",
        Verdict.INCONCLUSIVE: "not settled",
    }
    return words.get(line.verdict, f"shown to lie within ±{settings.delta:g}")


def superior(line: AttributionInfo, settings: SettingsInfo) -> bool:
    """Whether complexity is shown to add more than 0; below the noise floor nothing is."""
    return (
        "noise floor" not in line.reason and line.p_superior_adjusted is not None and line.p_superior_adjusted <= settings.alpha
    )
