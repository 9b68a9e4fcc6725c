"""The headline, what an answer is, and the longer ones: whether complexity adds to information, and how sure it all is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sics_analysis.looks.outcome import SETTLED
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.document.rows import SettingsInfo
from sics_analysis.report.document.searched import SplitInfo
from sics_analysis.report.words.phrases import (
    decimals,
    far_sentence,
    gathered,
    interval,
    listed,
    percent,
    seeds_needed,
    sign_flip_note,
    sparsity_list,
)
from sics_analysis.report.words.said import checked_headline
from sics_analysis.results import Verdict, plural

MIN_SEEDS = 3  # as in sics_analysis.rows.contrasts, which a kept report does not load
SHOWN = 3  # names in the headline before they are counted
CONTROL = "information"  # as in sics_analysis.families.attribution, which a kept report does not load


@checked_headline
def headline(document: ReportDocument) -> str:
    """The report in one sentence: who escapes over the whole run, and whether that takes more than a saliency.

    Never a scorer's own mean: those that escape were selected for being large. Nor a scorer that escapes within its S alone: over
    many S somebody always does. Where the control `information` escapes as well, what complexity adds decides what is said.
    """
    if document.how_far:
        return far_sentence(document)
    found, alone = over_run(document)
    target = target_name(document)
    if document.looks is not None and not document.looks.made:
        looks = document.looks
        return f"{looks.run} of {plural(looks.plan.looks[0], 'seed')} of the first look are there: nothing is tested before it."
    if not document.lines or all(not line.n for line in document.lines):
        return f"No seed has both a scorer and {document.settings.reference}: nothing can be said."
    if not found:
        return f"{_nobody(document, target)}{' over the whole run' if alone else ''}{_counted(document)}."
    saliency = f"{_saliency(document, found)}{_faded(document, found)}"
    names = list(dict.fromkeys(line.scorer for line in found))
    where = sorted({line.sparsity for line in found})
    if len(names) > SHOWN:
        some = f"{sparsity_list(where)}{', not each at every S' if len(grouped(found)) > 1 else ''}"
        many = plural(sum(s.in_family for s in document.compared), "scorer")
        return f"{len(names)} of {many} escape {target}, at {some}{on_these(found)}{saliency}."
    first, *rest = grouped(found)
    verb = "escapes" if len(first[0]) == 1 else "escape"
    others = "".join(f"; {listed(who)} at {sparsity_list(at)}" for who, at in rest)
    return f"{listed(first[0])} {verb} {target}, at {sparsity_list(first[1])}{others}{on_these(found)}{saliency}."


def _faded(document: ReportDocument, found: Sequence[LineInfo]) -> str:
    """What later seeds have taken from a verdict that is kept; empty otherwise."""
    lines = faded(document, found)
    if not lines:
        return ""
    return f"; by all seeds since, no interval beyond δ any more: {placed(lines)}"


def on_these(lines: Sequence[LineInfo]) -> str:
    """That a claim is about these test images, where the variance over new images is mostly theirs; empty otherwise."""
    images = {line.split.n_images for line in lines if line.split is not None and line.split.images_dominate}
    return f", on these {max(images)} test images" if images else ""


def _nobody(document: ReportDocument, target: str) -> str:
    most = max(line.n for line in document.lines)
    if most < MIN_SEEDS:
        return f"{plural(most, 'seed')} a line: too few to show who escapes {target}"
    if not document.has_kappa:
        return f"No scorer is shown to lie above {target}"
    family = [scorer.name for scorer in document.compared if scorer.in_family]
    if not family:
        return f"No scorer of κ ≥ 1 is there to escape {target}{_searched(document)}"
    who = f"{family[0]}, the one scorer of κ ≥ 1, is not" if len(family) == 1 else f"None of {len(family)} scorers is"
    return f"{who} shown to escape {target}"


def _searched(document: ReportDocument) -> str:
    """What searched scorers show where they are all there is; empty without a matched control."""
    rows = [] if document.searched is None else [row for row in document.searched.splits if row.verdict is not None]
    if not rows:
        return ""
    shown = [row for row in rows if pays_over_run(row, document)]
    what = f"complexity is shown to pay in {len(shown)} of {plural(len(rows), 'comparison')} with a control of the same search"
    return f"; {what}"


def _counted(document: ReportDocument) -> str:
    """What the lines of the family show instead, each by itself; empty where that is nothing."""
    lines = [line for line in document.lines if line.in_family and line.n]
    shown = counted(lines)
    if not lines or all(line.verdict is Verdict.INCONCLUSIVE for line in lines):
        return ""
    each = "" if len(lines) == 1 else ", each by itself"
    return f"; {plural(len(lines), 'line')} at δ = {document.settings.delta:g}{each}: {shown}"


def pays_over_run(row: SplitInfo, document: ReportDocument) -> bool:
    """Whether complexity is shown to pay more than δ there, over all S of the run, and more than shuffled features do."""
    p = row.p_pays_delta_run
    return row.pays_delta and row.shown and p is not None and p <= document.settings.alpha


def counted(lines: Sequence[LineInfo], *, family: bool = True) -> str:
    """How many lines show what, in few words that hold whether less or more is better.

    >>> counted([])
    ''
    """
    parts = []
    for verdicts, word in _COUNTED:
        count = sum(line.verdict in verdicts for line in lines)
        own = f"{word} within its S alone" if family and verdicts == (Verdict.ESCAPES,) else word
        parts += [f"{count} {own}"] if count else []
    return listed(parts)


_COUNTED = (
    ((Verdict.ESCAPES,), "better"),
    ((Verdict.EQUIVALENT, Verdict.IDENTICAL), "equivalent"),
    ((Verdict.NONINFERIOR,), "not worse"),
    ((Verdict.NONSUPERIOR,), "not better"),
    ((Verdict.DEGRADES,), "worse"),
    ((Verdict.INCONCLUSIVE,), "undecided"),
)


def _saliency(document: ReportDocument, found: Sequence[LineInfo]) -> str:
    """Whether what escapes takes more than a saliency: the control `information` sees the same one, and has no complexity."""
    level = {line.sparsity for line in document.lines if line.scorer == CONTROL and line.verdict is Verdict.ESCAPES}
    there = {(line.scorer, line.sparsity) for line in found if line.sparsity in level}
    rows = [row for row in document.attribution if (row.scorer, row.sparsity) in there]
    if not rows:
        return ""
    where = sorted({row.sparsity for row in rows})
    at = "" if len(where) == len({line.sparsity for line in found}) else f" at {sparsity_list(where)}"
    adding = [row for row in rows if row.verdict is Verdict.ESCAPES or superior(row, document.settings)]
    head = f"; so does {CONTROL}{at} by a test of its own, a control with the same saliency and no complexity: a saliency helps"
    within = ", within that S alone" if len(document.sparsities) > 1 else ""
    if not adding:
        return f"{head}, that complexity does is not shown"
    if len(adding) == len(rows):
        who = "each of them is" if len(rows) > 1 else f"{adding[0].scorer} is"
    elif len(adding) > SHOWN:
        who = f"{len(adding)} of these {len(rows)} lines are"
    else:
        who = f"only {placed(adding)} {'is' if len(adding) == 1 else 'are'}"
    return f"{head}, and {who} shown to add to it{within}"


def grouped(lines: Sequence[LineInfo]) -> list[tuple[list[str], tuple[float, ...]]]:
    """The scorers of these lines by the sparsities they stand at, so that nobody is said to be where another is."""
    where = gathered((line.scorer, line.sparsity) for line in lines)
    groups = gathered((tuple(sorted(values)), name) for name, values in where.items())
    return [(names, at) for at, names in groups.items()]


def escaping(document: ReportDocument) -> tuple[LineInfo, ...]:
    """The lines of the escape family that are shown above +δ."""
    return tuple(line for line in document.lines if line.in_family and line.verdict is Verdict.ESCAPES)


def over_run(document: ReportDocument) -> tuple[tuple[LineInfo, ...], tuple[LineInfo, ...]]:
    """The lines that escape over the whole run, and those that do within their S alone.

    A report kept before the first was asked for says only the second, unless it has one S.
    """
    several = len(document.sparsities) > 1
    held: list[LineInfo] = []
    alone: list[LineInfo] = []
    for line in escaping(document):
        p = line.p_escape_adjusted_run
        holds = not several if p is None else p <= document.settings.alpha
        (held if holds else alone).append(line)
    return tuple(held), tuple(alone)


def degrading(document: ReportDocument) -> tuple[tuple[LineInfo, ...], tuple[LineInfo, ...]]:
    """The lines of the family that are shown below −δ over the whole run, and those that are within their S alone."""
    down = [line for line in document.lines if line.in_family and line.verdict is Verdict.DEGRADES]
    alone = [line for line in down if (line.p_degrade_adjusted_run or 0.0) > document.settings.alpha]
    return tuple(line for line in down if line not in alone), tuple(alone)


def faded(document: ReportDocument, lines: Sequence[LineInfo]) -> tuple[LineInfo, ...]:
    """The lines kept from an earlier look as above δ or below −δ, whose interval by all seeds since does not lie beyond it."""
    info = document.looks
    if info is None:
        return ()
    before = {(line.scorer, line.sparsity) for line in info.lines if line.decided is not None and line.decided < info.made}
    kept = []
    for line in lines:
        found = document.metric.turned_interval(line.simultaneous)
        if found is not None and (line.scorer, line.sparsity) in before:
            near = -found.high if line.verdict is Verdict.DEGRADES else found.low
            kept += [line] if near <= document.settings.delta else []
    return tuple(kept)


def what_is_open(document: ReportDocument) -> str:
    """All that has no verdict, half of one, or one that does not hold over the whole run; empty where nothing is left."""
    open_, total = undecided(document)
    half = sum(line.verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR) for line in document.lines)
    alone = len(over_run(document)[1]) + len(degrading(document)[1])
    counts = [
        (open_, f"{_is(open_)} undecided"),
        (half, f"{_is(half)} shown on one side alone"),
        (alone, "holds within its S alone" if alone == 1 else "hold within their S alone"),
    ]
    shown = [(count, word) for count, word in counts if count]
    of = f" of {plural(total, 'line')}"
    parts = [f"{count}{'' if i else of} {word}" for i, (count, word) in enumerate(shown)]
    rows = [row for row in document.attribution if row.complexity is not None]
    left = sum(row.verdict not in SETTLED for row in rows)
    parts += [f"what complexity adds is open in {left} of {plural(len(rows), 'comparison')}"] if left else []
    splits = () if document.searched is None else document.searched.splits
    tested = [row for row in splits if row.verdict is not None]
    left = sum(not pays_over_run(row, document) and row.verdict not in (*SAME, Verdict.DEGRADES) for row in tested)
    parts += [f"whether complexity pays is open in {left} of {plural(len(tested), 'comparison')} of searches"] if left else []
    unclaimed = [point.sparsity for point in document.spectrum.points if point.kappa is None and point.p_values is not None]
    parts += [f"κ is undetermined at {sparsity_list(unclaimed)}"] if unclaimed else []
    return listed(parts)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def undecided(document: ReportDocument) -> tuple[int, int]:
    """How many lines have no verdict, and how many lines with seeds there are."""
    lines = [line for line in document.lines if line.n]
    return sum(line.verdict is Verdict.INCONCLUSIVE for line in lines), len(lines)


def target_name(document: ReportDocument) -> str:
    """What is to be escaped: the plateau where the reference sits on it, else the reference by name."""
    reference = document.settings.reference
    info = next((scorer for scorer in document.scorers if scorer.name == reference), None)
    if info is None:
        return f"the {reference} network" if document.how_far else "the plateau"
    return f"the {reference} plateau" if info.kappa == 0 else reference


Tone: TypeAlias = Literal["yes", "no", "open"]
TONE_GLYPHS: dict[Tone, str] = {"yes": "✓", "no": "✗", "open": "?"}
SAME = (Verdict.EQUIVALENT, Verdict.IDENTICAL)
_MAY_ADD = (Verdict.INCONCLUSIVE, Verdict.NONINFERIOR)  # what is not shown to add less than δ
LIMIT = 6  # names in a sentence before they are counted


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, its answer in a few words, and the sentences behind it."""

    id: str
    question: str
    tone: Tone
    short: str
    text: str


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


def placed(lines: Sequence[LineInfo | AttributionInfo]) -> str:
    """Scorers with the S they stand at, in a sentence."""
    return listed([f"{line.scorer} at S = {line.sparsity:g}" for line in lines], LIMIT)


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


def certainty_answer(document: ReportDocument) -> Answer:
    """Say how many lines are open, what so many seeds can show, and what the escapes hang on."""
    question = "How sure are we?"
    settings, power = document.settings, document.power
    open_, total = undecided(document)
    counts = sorted({line.n for line in document.lines}) or [0]
    n = plural(counts[-1], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    which = f"{open_} of {plural(total, 'line')} {'is' if total == 1 else 'are'} undecided"
    over = "" if document.looks is None else " over all looks together"
    parts = [f"{n} a line; {which} at δ = {settings.delta:g} points, α = {settings.alpha:g}{over}."]
    if power.points:
        here = next((point for point in power.points if point.n == power.here), None)
        if here is not None and power.sd is not None:
            found, same = percent(here.escape, 0), percent(here.equivalence, 0)
            needed = f"{seeds_needed(power.needed_escape)} and {seeds_needed(power.needed_equivalence)}"
            effect = f"{power.effect:g} point{'s' * (power.effect != 1)}"
            parts.append(
                f"Where differences spread by sd = {decimals(power.sd)} points, the median here, "
                f"{plural(power.here, 'seed')} find a true escape of {effect} with a chance of {found} "
                f"and show a true equality with {same}; {needed} reach 80 %."
            )
    if document.looks is not None:
        parts += [note for note in [sign_flip_note(document)] if note]
    elif counts[-1] and document.metric.paired:  # there is no sign to flip between seeds that are no pairs
        parts.append(f"The smallest p an exact sign-flip test can give is {0.5 ** counts[-1]:.3g}.")
    parts += _robust(document)
    told = () if document.looks is None else document.looks.stamps()  # where a plan stands is no fault of it
    blamed = [stamp for stamp in settings.stamps if stamp not in told]
    if blamed:
        parts.append(f"Stamped: {'; '.join(blamed)}.")
    noisy = [info.sparsity for info in document.sparsities if info.below_noise]
    if noisy:
        parts.append(f"δ lies below the noise floor at {sparsity_list(noisy)}: nothing is concluded there.")
    halves = sum(line.verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR) for line in document.lines)
    tone: Tone = "open" if open_ or halves or not total or blamed or noisy else "yes"
    sided = f", {halves} shown on one side alone" if halves else ""
    short = f"{open_} of {total} undecided{sided}" if total else "Nothing was tested"
    return Answer("certainty", question, tone, short, " ".join(parts))


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
        good = sum((turned := document.metric.turned_interval(limits)) is not None and turned.low > 0 for limits in crossed)
        parts.append(f"For new seeds and new test images {good} of {len(crossed)} escapes keep an interval above 0.")
    bound = [line for line in found if line.split is not None and line.split.images_dominate]
    if bound:
        parts.append(
            f"In {len(bound)} of {len(found)} escapes most of that variance is due to the test images, which more seeds do not "
            f"lessen: the verdict speaks of new seeds{on_these(bound).replace(',', '')}."
        )
    tests = [row for row in document.mcnemar if (row.scorer, row.sparsity) in keys]
    if tests:
        wins = sum(row.p <= document.settings.alpha and document.metric.turned(row.difference) > 0 for row in tests)
        parts.append(
            f"Network by network (exact McNemar, each about two networks only) the escaping scorer wins {wins} of {len(tests)}."
        )
    return parts
