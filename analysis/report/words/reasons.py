"""Who escapes and what is open, as every sentence counts it; what an answer is, and the one about how sure it all is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sics_analysis.looks.outcome import SETTLED
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.document.searched import SplitInfo
from sics_analysis.report.words.phrases import (
    decimals,
    gathered,
    listed,
    percent,
    seeds_needed,
    sign_flip_note,
    sparsity_list,
)
from sics_analysis.results import Verdict, plural

MIN_SEEDS = 3  # as in sics_analysis.rows.contrasts, which a kept report does not load
SHOWN = 3  # names in the headline before they are counted


def on_these(lines: Sequence[LineInfo]) -> str:
    """That a claim is about these test images, where the variance over new images is mostly theirs; empty otherwise."""
    images = {line.split.n_images for line in lines if line.split is not None and line.split.images_dominate}
    return f", on these {max(images)} test images" if images else ""


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


#: What an answer is: yes, no, open, or a fact, such as a count or a plan, which has no glyph.
Tone: TypeAlias = Literal["yes", "no", "open", "fact"]
TONE_GLYPHS: dict[Tone, str] = {"yes": "✓", "no": "✗", "open": "?", "fact": ""}
SAME = (Verdict.EQUIVALENT, Verdict.IDENTICAL)
LIMIT = 6  # names in a sentence before they are counted


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, its answer in a few words, and the sentences behind it."""

    id: str
    question: str
    tone: Tone
    short: str
    text: str


def placed(lines: Sequence[LineInfo | AttributionInfo]) -> str:
    """Scorers with the S they stand at, in a sentence."""
    return listed([f"{line.scorer} at S = {line.sparsity:g}" for line in lines], LIMIT)


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
    tone: Tone = "open" if not total else "fact" if open_ or halves or blamed or noisy else "yes"
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
