"""The answers a reader came for, in plain words: is there a plateau, who escapes, where, why, and how sure is that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sics_analysis.report.document import AttributionInfo, LineInfo, ReportDocument, SettingsInfo
from sics_analysis.report.text import NONE, interval, listed, p_value, plural, sparsity_list
from sics_analysis.results import Verdict

Tone: TypeAlias = Literal["yes", "no", "open"]
TONE_GLYPHS: dict[Tone, str] = {"yes": "✓", "no": "✗", "open": "?"}
_SAME = (Verdict.EQUIVALENT, Verdict.IDENTICAL)
_LIMIT = 6  # names in a sentence before they are counted
_NAMED = 3  # names in the headline before they are counted


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, its answer in a few words, and the sentences behind it."""

    id: str
    question: str
    tone: Tone
    short: str
    text: str


def headline(document: ReportDocument) -> str:
    """The report in one sentence.

    Never a scorer's own mean: those that escape were selected for being large.
    """
    found = escaping(document)
    target = target_name(document)
    if not document.lines or all(not line.n for line in document.lines):
        return f"No seed has both a scorer and {document.settings.reference}: nothing can be said."
    if not found:
        tried = sum(scorer.in_family for scorer in document.compared)
        if not document.has_kappa:
            return f"No scorer is shown to lie above {target}."
        if not tried:
            return f"No scorer of κ ≥ 1 is there to escape {target}."
        return f"None of {plural(tried, 'scorer')} is shown to escape {target}."
    names = list(dict.fromkeys(line.scorer for line in found))
    where = sorted({line.sparsity for line in found})
    if len(names) > _NAMED:
        some = f"{sparsity_list(where)}{', not each at every S' if len(_groups(found)) > 1 else ''}"
        return f"{len(names)} of {sum(s.in_family for s in document.compared)} scorers escape {target}, at {some}."
    first, *rest = _groups(found)
    verb = "escapes" if len(first[0]) == 1 else "escape"
    others = "".join(f"; {listed(who)} at {sparsity_list(at)}" for who, at in rest)
    return f"{listed(first[0])} {verb} {target}, at {sparsity_list(first[1])}{others}."


def _groups(lines: Sequence[LineInfo]) -> list[tuple[list[str], tuple[float, ...]]]:
    """The scorers of these lines by the sparsities they stand at, so that nobody is said to be where another is."""
    where: dict[str, list[float]] = {}
    for line in lines:
        where.setdefault(line.scorer, []).append(line.sparsity)
    groups: dict[tuple[float, ...], list[str]] = {}
    for name, values in where.items():
        groups.setdefault(tuple(sorted(values)), []).append(name)
    return [(names, at) for at, names in groups.items()]


def answers(document: ReportDocument) -> tuple[Answer, ...]:
    """Answer every question of the report, in its order."""
    return (
        _plateau(document),
        _escape(document),
        _attribution(document),
        _kappa(document),
        _certainty(document),
        _paper(document),
    )


def escaping(document: ReportDocument) -> tuple[LineInfo, ...]:
    """The lines of the escape family that are shown above +δ."""
    return tuple(line for line in document.lines if line.in_family and line.verdict is Verdict.ESCAPES)


def undecided(document: ReportDocument) -> tuple[int, int]:
    """How many lines have no verdict, and how many lines with seeds there are."""
    lines = [line for line in document.lines if line.n]
    return sum(line.verdict is Verdict.INCONCLUSIVE for line in lines), len(lines)


def target_name(document: ReportDocument) -> str:
    """What is to be escaped: the plateau where the reference sits on it, else the reference by name."""
    reference = document.settings.reference
    info = next((scorer for scorer in document.scorers if scorer.name == reference), None)
    if info is None:
        return "the plateau"
    return f"the {reference} plateau" if info.kappa == 0 else reference


def _plateau(document: ReportDocument) -> Answer:
    question = "Is there a plateau?"
    claims = document.plateaus
    if not claims:
        why = (
            "the rows hold no second scorer of κ = 0 to compare"
            if document.has_kappa
            else "the rows do not say which scorers are rank-monotone (a column kappa would)"
        )
        return Answer("plateau", question, "open", "Not tested", f"Not tested: {why}.")
    shown = [claim for claim in claims if claim.holds]
    names = listed(claims[0].scorers, _LIMIT)
    margin = f"±{document.settings.delta:g} points"
    parts = []
    same = [claim for claim in shown if claim.verdict is Verdict.IDENTICAL]
    if same:
        verb = "makes" if len(claims[0].scorers) == 1 else "make"
        parts.append(
            f"At {sparsity_list(c.sparsity for c in same)} {names} {verb} the very mask of {claims[0].reference} at every seed: "
            "an identity that was measured by mask hash, and no evidence about accuracy."
        )
    close = [claim for claim in shown if claim.verdict is not Verdict.IDENTICAL]
    if close:
        largest = max(claim.p or 0.0 for claim in close)
        parts.append(
            f"At {sparsity_list(c.sparsity for c in close)} every rank-monotone scorer ({names}) lies within {margin} of "
            f"{claims[0].reference}, jointly (intersection-union p at most {p_value(largest)})."
        )
    open_ = [claim for claim in claims if not claim.holds]
    parts += [f"At S = {claim.sparsity:g} it is {claim.reason}." for claim in open_]
    tone: Tone = "yes" if not open_ else "open"
    short = (
        "Yes, by identity"
        if len(same) == len(claims)
        else "Yes"
        if not open_
        else "Not shown"
        if not shown
        else f"Yes at {sparsity_list(c.sparsity for c in shown)}; not shown elsewhere"
    )
    return Answer("plateau", question, tone, short, " ".join(parts))


def _escape(document: ReportDocument) -> Answer:
    target, delta = target_name(document), document.settings.delta
    question = f"Who escapes {target}, by how much, at which sparsity?"
    found = escaping(document)
    parts = []
    for sparsity in sorted({line.sparsity for line in found}):
        here = [f"{line.scorer} by {interval(line.simultaneous)}" for line in found if line.sparsity == sparsity]
        parts.append(f"At S = {sparsity:g}: {listed(here)} points.")
    if found:
        level = f"{100 * (1 - document.settings.alpha):g} %"
        parts.append(
            f"These are simultaneous {level} intervals; each scorer is shown above +{delta:g} by a one-sided test adjusted in "
            "the family of its S, so a two-sided interval may begin a little lower."
        )
    family = [line for line in document.lines if line.in_family and line.n]
    open_ = sum(line.verdict is Verdict.INCONCLUSIVE for line in family)
    if not found:
        parts.append(f"No scorer of the family is shown more than {delta:g} points above {document.settings.reference} at any S.")
    if open_:
        parts.append(f"{open_} of {len(family)} lines of the family are undecided, which is not agreement.")
    others = [line for line in document.lines if not line.in_family and line.verdict is Verdict.ESCAPES]
    if others:
        names = listed([f"{line.scorer} at S = {line.sparsity:g}" for line in others], _LIMIT)
        parts.append(f"Outside the family, each tested on its own: {names}.")
    down = [line for line in document.lines if line.in_family and line.verdict is Verdict.DEGRADES]
    if down:
        parts.append(f"Shown below −{delta:g}: {listed([f'{x.scorer} at S = {x.sparsity:g}' for x in down], _LIMIT)}.")
    groups = _groups(found)
    short = "; ".join(f"{listed(who, 4)}, {sparsity_list(at)}" for who, at in groups) or "Nobody is shown to"
    if len(groups) > _NAMED:
        count = plural(len({line.scorer for line in found}), "scorer")
        short = f"{count}, some at {sparsity_list(sorted({line.sparsity for line in found}))}"
    return Answer("escape", question, "yes" if found else "open", short, " ".join(parts))


def _attribution(document: ReportDocument) -> Answer:
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
    same = [line for line in lines if line.verdict in _SAME]
    worse = [line for line in lines if line.verdict is Verdict.DEGRADES]
    open_ = len(lines) - len(better) - len(same) - len(worse)
    parts = [
        f"Against information, a control with the same saliency and no complexity, {plural(len(lines), 'comparison')}: "
        f"{len(better)} show complexity adding more than {delta:g} points, {len(same)} show that information alone explains the "
        f"score to within {delta:g}, {len(worse)} show complexity costing more than {delta:g}, {open_} are undecided."
    ]
    wanted = _matching(document, lines)
    shown = wanted[:_LIMIT]
    if shown:
        split = "; ".join(_split(line, document.settings) for line in shown)
        level = f"{100 * (1 - document.settings.alpha):g} %"
        more = f"; {len(wanted) - len(shown)} more in the table" if len(wanted) > len(shown) else ""
        what = f"what complexity adds to information (simultaneous {level} intervals)"
        parts.append(f"Of those that escape, {what}: {split}{more}.")
    if better:
        parts.append(f"Complexity adds: {listed([f'{x.scorer} at S = {x.sparsity:g}' for x in better], _LIMIT)}.")
    some = [line for line in lines if line.verdict is Verdict.INCONCLUSIVE and _superior(line, document.settings)]
    decided = len(same) + len(worse)
    tone: Tone = "yes" if better else "open" if some or open_ else "no"
    if better:
        short = "In part" if decided else f"Yes{', where decided' if open_ else ''}"
    elif some:
        short = f"Above 0, not shown above {delta:g}"
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


def _kappa(document: ReportDocument) -> Answer:
    question = "Which complexity does each sparsity need, κ(S)?"
    spectrum = document.spectrum
    if not spectrum.points:
        return Answer("kappa", question, "open", "Not available", f"Not available: {spectrum.reason}.")
    claimed = [point for point in spectrum.points if point.kappa is not None]
    parts = []
    for point in spectrum.points:
        if point.kappa is not None:
            agrees = "as the paper has it" if point.kappa == point.paper else f"where the paper has {point.paper}"
            parts.append(f"κ({point.sparsity:g}) = {point.kappa} is claimed, {agrees}.")
    by_set: dict[tuple[int, ...], list[float]] = {}
    for point in spectrum.points:
        if point.kappa is None and point.p_values is not None:
            by_set.setdefault(point.not_rejected, []).append(point.sparsity)
    for left, where in by_set.items():
        values = listed([str(value) for value in left]).replace(" and ", " or ") or "no value, which no truth explains"
        parts.append(f"At {sparsity_list(where)} the data leave {values}.")
    parts += [
        f"At S = {point.sparsity:g} it is not available: {point.reason}." for point in spectrum.points if point.p_values is None
    ]
    parts.append(spectrum.trend_sentence)
    short = ", ".join(f"κ({point.sparsity:g}) = {point.kappa}" for point in claimed) or "Undetermined"
    return Answer("kappa", question, "yes" if claimed else "open", short, " ".join(parts))


def _certainty(document: ReportDocument) -> Answer:
    question = "How sure are we?"
    settings, power = document.settings, document.power
    open_, total = undecided(document)
    counts = sorted({line.n for line in document.lines}) or [0]
    n = plural(counts[-1], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    parts = [f"{n} a line; {open_} of {total} lines are undecided at δ = {settings.delta:g} points, α = {settings.alpha:g}."]
    if power.points:
        here = next((point for point in power.points if point.n == power.here), None)
        if here is not None and power.sd is not None:
            found, same = _chance(here.escape), _chance(here.equivalence)
            needed = f"{_needed(power.needed_escape)} and {_needed(power.needed_equivalence)}"
            effect = f"{power.effect:g} point{'s' * (power.effect != 1)}"
            parts.append(
                f"Where differences spread by sd = {power.sd:.2f} points, the median here, {plural(power.here, 'seed')} find a "
                f"true escape of {effect} with a chance of {found} and show a true equality with {same}; {needed} reach 80 %."
            )
    if counts[-1]:
        parts.append(f"The smallest p an exact sign-flip test can give is {0.5 ** counts[-1]:.3g}.")
    parts += _robust(document)
    if settings.stamps:
        parts.append(f"Stamped: {'; '.join(settings.stamps)}.")
    noisy = [info.sparsity for info in document.sparsities if info.below_noise]
    if noisy:
        parts.append(f"δ lies below the noise floor at {sparsity_list(noisy)}: nothing is concluded there.")
    tone: Tone = "open" if open_ or settings.stamps or noisy else "yes"
    return Answer("certainty", question, tone, f"{open_} of {total} undecided", " ".join(parts))


def _chance(power: float) -> str:
    return f"{100 * power:.0f} %"


def _needed(seeds: int | None) -> str:
    return "more seeds than can be planned" if seeds is None else plural(seeds, "seed")


def _robust(document: ReportDocument) -> list[str]:
    """What other margins, new test images and the single networks make of the escapes."""
    found = escaping(document)
    if not found:
        return []
    parts = []
    keys = {(line.scorer, line.sparsity) for line in found}
    held: dict[float, int] = {}
    for entry in document.deltas:
        if (entry.scorer, entry.sparsity) in keys and entry.delta != document.settings.delta:
            held[entry.delta] = held.get(entry.delta, 0) + (entry.verdict is Verdict.ESCAPES)
    above = [delta for delta in held if delta > document.settings.delta]
    lasting = [delta for delta in above if held[delta] == len(found)]
    if above:
        first = f"At δ = {min(above):g} {held[min(above)]} of {len(found)} escapes remain."
        parts.append(f"The escapes stand up to δ = {max(lasting):g}." if lasting else first)
    crossed = [line.crossed for line in found if line.crossed is not None]
    if crossed:
        good = sum(limits.low > 0 for limits in crossed)
        parts.append(
            f"For new seeds and new test images (crossed bootstrap) {good} of {len(crossed)} escapes keep an interval above 0."
        )
    tests = [row for row in document.mcnemar if (row.scorer, row.sparsity) in keys]
    if tests:
        wins = sum(row.p <= document.settings.alpha and row.difference > 0 for row in tests)
        parts.append(
            f"Network by network (exact McNemar, each about two networks only) the escaping scorer wins {wins} of {len(tests)}."
        )
    return parts


def _paper(document: ReportDocument) -> Answer:
    question = "What of the paper's claims?"
    count = {word: [c.id for c in document.claims if c.status == word] for word in ("supported", "contradicted", "undecided")}
    parts = [f"{_capital(word)}: {listed(ids)}." for word, ids in count.items() if ids]
    numbers = [f"{len(ids)} {word}" for word, ids in count.items() if ids]
    tones: dict[str, Tone] = {"supported": "yes", "contradicted": "no"}
    only = [word for word, ids in count.items() if ids]
    tone = tones.get(only[0], "open") if len(only) == 1 else "open"
    return Answer("paper", question, tone, ", ".join(numbers) or NONE, " ".join(parts))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
