"""The three sentences that a report ends with: what is shown, what explains it, and what is open."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import Conclusion
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.document.searched import SplitInfo
from sics_analysis.report.words.looks import until_command
from sics_analysis.report.words.phrases import (
    MOST_SEEDS,
    far_sentence,
    interval,
    listed,
    sparsity_list,
)
from sics_analysis.report.words.plans import USUAL, seeds_plan, unplanned
from sics_analysis.report.words.reasons import (
    CONTROL,
    LIMIT,
    MIN_SEEDS,
    SAME,
    SHOWN,
    counted,
    degrading,
    faded,
    grouped,
    on_these,
    over_run,
    pays_over_run,
    superior,
    what_is_open,
)
from sics_analysis.report.words.said import in_digits, in_words
from sics_analysis.report.words.searched import searched_answer
from sics_analysis.results import Interval, Verdict, plural

#: What shows that a scorer is not above its control by δ.
_NO_MORE = (*SAME, Verdict.NONSUPERIOR, Verdict.DEGRADES)


def conclusion_of(document: ReportDocument) -> Conclusion:
    """The sentences that a document has; made anew for a report that was kept before there were any."""
    return document.conclusion or conclude(document)


@in_digits
def conclude(document: ReportDocument) -> Conclusion:
    """Say what holds over the whole run, what the control with the same saliency leaves of it, and what would settle the rest.

    No sentence is firmer than the data checks: while one is open, it is said before what rests on the rows.
    """
    document = document.largest
    shown, explained, (left, command) = _shown(document), _explained(document), _left(document)
    if document.open_checks:
        checks = f"While {plural(len(document.open_checks), 'data check')} {_is(len(document.open_checks))} open, not settled: "
        shown, explained = f"{checks}{shown}", f"{checks}{explained}"
    words = (in_words(document, text) for text in (shown, explained, left))
    shown, explained, left = words
    return Conclusion(shown, explained, f"{left}: {command}" if command else f"{left}.", command)


def deciding(document: ReportDocument) -> float | None:
    """The S that one picture is to show: the largest at which the headline's claim stands, else where a claim came nearest.

    None without any sparsity.
    """
    document = document.largest
    if document.how_far:
        reached = [found.reached for found in document.how_far if found.reached is not None]
        return max(reached) if reached else min(step.sparsity for found in document.how_far for step in found.steps)
    held, alone = over_run(document)
    if held or alone:
        return max(line.sparsity for line in held or alone)
    tested = [(line.p_escape_adjusted, -line.sparsity) for line in document.lines if line.in_family]
    if all(p is None for p, _ in tested):  # the headline is then of what was searched
        splits = _splits(document)
        paying = [row.sparsity for row in splits if pays_over_run(row, document)] or [row.sparsity for row in splits if row.shown]
        if paying:
            return max(paying)
        tested = [(row.p_pays_delta, -row.sparsity) for row in splits]
    near = min(((p, S) for p, S in tested if p is not None), default=None)
    return -near[1] if near else max((info.sparsity for info in document.sparsities), default=None)


def correction(document: ReportDocument) -> str:
    """Over what the errors behind the headline are held, in few words."""
    alpha, document = f"α = {document.settings.alpha:g}", document.largest
    looks = "" if document.looks is None else f", and over {plural(len(document.looks.plan.looks), 'look')}"
    if document.how_far:
        return f"{alpha} held over {plural(document.how_far[0].family, 'scorer')} and every S"
    family = [line for line in document.lines if line.in_family and line.n]
    splits = _splits(document)
    if not family and not splits:
        return "No family to be adjusted over"
    names = plural(len({row.scorer for row in family or splits}), "scorer" if family else "searched reading")
    count = len(document.sparsities)
    run_wide = [line.p_escape_adjusted_run for line in family] or [row.p_pays_delta_run for row in splits]
    if count > 1 and all(p is None for p in run_wide):
        return f"{alpha} held within each S alone{looks}"
    run = f"the whole run, {names} at {count} S" if count > 1 else names
    return f"{alpha} held over {run}{looks}"


def _splits(document: ReportDocument) -> list[SplitInfo]:
    """The readings that were tested against a control of the same search."""
    return [] if document.searched is None else [row for row in document.searched.splits if row.verdict is not None]


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


# -- what is shown -------------------------------------------------------------------------------------------------------------


def _shown(document: ReportDocument) -> str:
    if document.how_far:
        return far_sentence(document)
    reference, delta = document.settings.reference, document.settings.delta
    looks = document.looks
    if looks is not None and not looks.made:
        first = plural(looks.plan.looks[0], "seed")
        return f"Nothing yet: {looks.run} of {first} of the first look are there, and nothing is tested before it."
    most = max((line.n for line in document.lines), default=0)
    if not most:
        return f"Nothing: no seed has both a scorer and {reference}."
    if most < MIN_SEEDS:
        return f"Nothing: {plural(most, 'seed')} a line, and the least that can be tested is three."
    held, alone = over_run(document)
    run = " over the whole run" if len(document.sparsities) > 1 else ""
    within = f"; within its S alone: {_placed(alone)}" if alone else ""
    if held:
        return f"{'Over the whole run ' if run else ''}{_above(document, held)}{within}{_below(document)}."
    family = [line for line in document.lines if line.in_family and line.n]
    if not family:
        what = "of κ ≥ 1 is there to be tested" if document.has_kappa else "is there to be tested"
        return f"No scorer {what} beside {reference}{_of_searched_lines(document)}."
    by_itself = "it" if len(family) == 1 else f"each of {plural(len(family), 'line')}"
    return (
        f"No scorer{' of κ ≥ 1' if document.has_kappa else ''} is shown above {reference} by more than {delta:g} points{run}"
        f"{within}; {by_itself} by itself: {counted(family)}."
    )


def _above(document: ReportDocument, held: Sequence[LineInfo]) -> str:
    """Who lies above the reference; apart, what a look has shown and later seeds do not bear out."""
    reference, delta = document.settings.reference, document.settings.delta
    kept = faded(document, held)
    firm = [line for line in held if line not in kept]
    parts = []
    if firm:
        verb = "lies" if len({line.scorer for line in firm}) == 1 else "lie"
        limits = _hull(document, firm)
        limits = f" ({limits})" if limits else ""
        parts.append(f"{_placed(firm)} {verb} more than {delta:g} points above {reference}{on_these(firm)}{limits}")
    if kept:
        verb = "was" if len({line.scorer for line in kept}) == 1 else "were"
        since = f"by {_which_looks(document, kept)} (over all {plural(max(line.n for line in kept), 'seed')} since: "
        limits = _hull(document, kept)
        parts.append(f"{_placed(kept)} {verb} shown more than {delta:g} points above {reference} {since}{limits})")
    return "; ".join(parts)


def _which_looks(document: ReportDocument, lines: Sequence[LineInfo]) -> str:
    info, keys = document.looks, {(line.scorer, line.sparsity) for line in lines}
    assert info is not None
    found = [line.deciding for line in info.lines if (line.scorer, line.sparsity) in keys]
    looks = sorted({(look.look, look.n) for look in found if look is not None})
    of = f" of {len(info.plan.looks)}"
    if len(looks) == 1:
        return f"look {looks[0][0]}{of}, n = {looks[0][1]}"
    return f"looks {listed([f'{look} (n = {n})' for look, n in looks])}{of}"


def _below(document: ReportDocument) -> str:
    """Who is shown below the reference, beside those above it."""
    head = f"; worse by more than {document.settings.delta:g}"
    parts = []
    for found, where in zip(degrading(document), ("", " within its S alone"), strict=True):
        kept = faded(document, found)  # by a look that the seeds since do not bear out
        for lines, by in (
            ([line for line in found if line not in kept], ""),
            (kept, " by an earlier look, no longer by all seeds"),
        ):
            many = len(grouped(lines)) > SHOWN
            parts += [f"{head}{where}{by}: {plural(len(lines), 'line') if many else _placed(lines)}"] if lines else []
    return "".join(parts)


def _of_searched_lines(document: ReportDocument) -> str:
    """What searched scorers show against the reference, each by itself; empty without any."""
    names = set() if document.searched is None else {point.scorer for point in document.searched.points}
    lines = [line for line in document.lines if line.scorer in names and line.n]
    if not lines:
        return ""
    each = "" if len(lines) == 1 else ", each by itself"
    return f"; of {plural(len(lines), 'searched line')} at δ = {document.settings.delta:g}{each}: {counted(lines, family=False)}"


def _placed(lines: Sequence[LineInfo]) -> str:
    """Scorers with the S that they stand at, those of the same S together."""
    return "; ".join(f"{listed(who, LIMIT)} at {sparsity_list(at)}" for who, at in grouped(lines))


def _hull(document: ReportDocument, lines: Sequence[LineInfo]) -> str:
    """Between which limits the intervals lie, and of what they hold jointly; of those that were selected, no mean is given."""
    found = [line for line in lines if line.simultaneous is not None]
    limits = [line.simultaneous for line in found if line.simultaneous is not None]
    if not limits:
        return ""
    hull = Interval(min(one.low for one in limits), max(one.high for one in limits), limits[0].level, limits[0].method)
    level = f"simultaneous {'repeated ' if document.looks else ''}{100 * (1 - document.settings.alpha):g} % interval"
    within = (
        "" if len(document.sparsities) == 1 else " within its S" if len({x.sparsity for x in found}) == 1 else " within each S"
    )
    some = "" if len(found) == len(lines) else f" of {len(found)} of {plural(len(lines), 'line')}, the others without a spread"
    return f"{level}{'' if len(found) == 1 else 's'}{within}{some}: {'' if len(found) == 1 else 'all in '}{interval(hull)}"


# -- what explains it ----------------------------------------------------------------------------------------------------------


def _explained(document: ReportDocument) -> str:
    rows = [row for row in document.attribution if row.complexity is not None]
    if document.how_far:
        return _explained_far(document, rows)
    held, _ = over_run(document)
    keys = [(line.scorer, line.sparsity) for line in held]
    if held:
        rows = [row for row in rows if (row.scorer, row.sparsity) in keys]
    there = {(row.scorer, row.sparsity) for row in rows}
    lacking = [line for line in held if (line.scorer, line.sparsity) not in there]
    searched = "" if held and not lacking else _of_searches(document)
    if rows:
        return f"{_outcome(document, rows, lacking, any_held=bool(held))}{f'; {searched}' if searched else ''}."
    if searched and not held:
        return f"{searched[:1].upper()}{searched[1:]}."
    return f"{_not_asked(document, lacking)}{f'; {searched}' if searched else ''}."


def _not_asked(document: ReportDocument, lacking: Sequence[LineInfo]) -> str:
    """What it would have taken to ask."""
    if document.settings.reference == CONTROL:
        return f"Not asked: the control {CONTROL} is itself the reference"
    if lacking and document.has_kappa:
        return f"Not asked of {_placed(lacking)}: no control {CONTROL}, {_SORT}, is there"
    why = "" if document.has_kappa else ", and a column kappa"
    return f"Not asked: it takes the control {CONTROL}, with the same saliency and no complexity, beside scorers of κ ≥ 1{why}"


def _of_searches(document: ReportDocument) -> str:
    """Whether complexity pays in searched scorers; empty without any."""
    if document.searched is None or not document.searched.points:
        return ""
    answer = searched_answer(document)
    if answer.short == "Not tested":
        return f"of searched scorers nothing is tested: {answer.text.removeprefix('Not tested: ').rstrip('.')}"
    return f"whether complexity pays in searched scorers, given the same search: {answer.short[:1].lower()}{answer.short[1:]}"


def _explained_far(document: ReportDocument, rows: Sequence[AttributionInfo]) -> str:
    """How far the control can be pruned by itself, and what complexity adds to it where the scorers reach."""
    reached = {found.scorer: found.reached for found in document.how_far}
    rows = [row for row in rows if row.sparsity == reached.get(row.scorer)]
    if not rows:
        return f"{_not_asked(document, ())}."
    what = _what(document, rows, len(rows))
    if CONTROL not in reached:
        return f"Beyond {_OF_CONTROL} as far as each scorer reaches, complexity {what}."
    far = reached[CONTROL]
    itself = f"shown {'at no S' if far is None else f'to S = {far:g}'}"
    return f"The control {CONTROL}, {_SORT}, is itself {itself}; beyond it, as far as each scorer reaches, complexity {what}."


_SORT = "of the same saliency and without complexity"
_OF_CONTROL = f"the control {CONTROL}, {_SORT},"


def _outcome(document: ReportDocument, rows: Sequence[AttributionInfo], lacking: Sequence[LineInfo], *, any_held: bool) -> str:
    """What the control has by itself, and what complexity is shown to add to it, line by line of these."""
    there = sorted({row.sparsity for row in rows})
    own = [S for S in there if any_held and _control(document, S) is Verdict.ESCAPES]
    short = [S for S in there if _control(document, S) is Verdict.DEGRADES]
    what = _what(document, rows, len(rows) + len(lacking))
    if lacking:
        has = "has" if len(lacking) == 1 else "have"
        what += f"; {len(lacking)} {has} no such control, at {sparsity_list(sorted({line.sparsity for line in lacking}))}"
    head = "" if lacking else _head(document, rows, alone=own == there, any_held=any_held)
    reference = document.settings.reference
    sides = [(own, f"above {reference}"), (short, f"below {reference}")]
    at = [f"{side}{f' at {sparsity_list(S)}' if len(document.sparsities) > 1 else ''}" for S, side in sides if S]
    text = f"beyond {_OF_CONTROL} complexity {what}"
    if at:
        text = f"{_OF_CONTROL} is itself shown {listed(at)}, by a test of its own, and beyond it complexity {what}"
    return f"{head}: {text}" if head else f"{text[:1].upper()}{text[1:]}"


def _head(document: ReportDocument, rows: Sequence[AttributionInfo], *, alone: bool, any_held: bool) -> str:
    """The short answer, of lines that all have their control; `alone` where that escapes at each of their S."""
    more = sum(row.verdict is Verdict.ESCAPES for row in rows)
    if not any_held:
        return "Nothing to explain over the whole run" if len(document.sparsities) > 1 else "Nothing to explain"
    if more:
        return "Complexity, beyond the saliency" if more == len(rows) else "Complexity, in part"
    if any(row.verdict not in _NO_MORE for row in rows):
        return "Not settled"
    if any(superior(row, document.settings) for row in rows):
        return "Mostly the saliency" if alone else "Little of it complexity"
    return "The saliency, not complexity" if alone else "Not complexity"


def _what(document: ReportDocument, rows: Sequence[AttributionInfo], total: int) -> str:
    """What complexity is shown to add to the control, or to cost, in how many of all lines."""
    delta = document.settings.delta
    within = ", adjusted within an S" if len(document.sparsities) > 1 else ""
    more = sum(row.verdict is Verdict.ESCAPES for row in rows)
    costs = sum(row.verdict is Verdict.DEGRADES for row in rows)
    less = [row for row in rows if row.verdict in _NO_MORE and row.verdict is not Verdict.DEGRADES]
    some = sum(superior(row, document.settings) for row in less)
    rest = [row for row in rows if row.verdict is not Verdict.ESCAPES and row.verdict not in _NO_MORE]
    above = sum(superior(row, document.settings) for row in rest)
    parts = [
        (more, f"to add more than {delta:g} points", within),
        (some, f"to add more than 0 and less than {delta:g} points", within),
        (len(less) - some, f"to add less than {delta:g} points", ""),
        (above, "to add more than 0 points", f"{within}, where {delta:g} is open"),
        (costs, f"to cost more than {delta:g} points", ""),
    ]
    shown = [part for part in parts if part[0]]
    if not shown:
        return "is not shown to add or to lack anything"
    of = [f" of {plural(total, 'line')}", *[""] * len(shown)]  # said once
    said = [f"{what}{f' in {count}{of[i]}' if total > 1 else ''}{how}" for i, (count, what, how) in enumerate(shown)]
    none = len(rest) - above
    return f"is shown {'; '.join([*said, *([f'nothing is shown in {none}'] if none else [])])}"


def _control(document: ReportDocument, S: float) -> Verdict | None:
    """What the control shows against the reference, by a test of its own."""
    line = document.line(CONTROL, S)
    return None if line is None else line.verdict


# -- what is open --------------------------------------------------------------------------------------------------------------


def _left(document: ReportDocument) -> tuple[str, str]:
    """What is open, and the command that would settle it; no full stop."""
    if document.open_checks:
        first, *more = document.open_checks
        others = f" (and {len(more)} more)" if more else ""
        return f"First the rows: {first.kind}, {first.text.rstrip('.')}{others}", ""
    most = max((line.n for line in document.lines), default=0)
    if document.looks is not None:
        return _left_looked(document)
    if most < MIN_SEEDS:
        return _with("Everything: a test takes three seeds a line", document, f"--seeds {USUAL}")
    open_ = _open(document)
    if not open_:
        return _NOTHING, ""
    if not document.metric.paired:
        return f"{open_}; seeds are planned for pairs only, and these are unpaired", ""
    plan = seeds_plan(document)
    why, seeds = unplanned(document)
    if plan is None and seeds is not None:
        return _with(f"{open_}; {why}", document, f"--seeds {seeds}")
    if plan is None:
        return f"{open_}; {why}", ""
    if plan.target is None:
        return f"{open_}; no number of seeds up to {MOST_SEEDS} settles a line, as they lie too near δ for their spread", ""
    count = plural(len(plan.steps), f"{'undecided' if plan.kind == 'open' else 'one-sided'} line")
    each = ", each" if plan.settled > 1 else ""
    how = f"{open_}; {plural(plan.target, 'seed')} would settle {plan.settled} of {count}{each} with a chance of 80 %"
    stamped = ", stamped as added after a look" if document.source.command else ""
    return _with(f"{how}{stamped}", document, f"--seeds {plan.target}")


def _open(document: ReportDocument) -> str:
    text = what_is_open(document)
    return f"{text[:1].upper()}{text[1:]}"


_NOTHING = "Nothing that more seeds could settle"


def _with(text: str, document: ReportDocument, options: str) -> tuple[str, str]:
    """With the command of a run; a table has none."""
    command = document.source.command
    return (text, f"{command} {options}") if command else (text, "")


def _left_looked(document: ReportDocument) -> tuple[str, str]:
    """The same of a run that is looked at: the next look, or fresh seeds."""
    info, open_ = document.looks, _open(document)
    assert info is not None
    targets = [target.target for target in info.targets if not target.settled]
    if info.decided or info.next_look is None:
        left = f"{plural(len(targets), 'target')} {'are' if len(targets) > 1 else 'is'} open, " if targets and open_ else ""
        asked = "all that was asked is decided" if info.decided else f"{left}all of α is spent"
        if not open_ and not targets:
            return _NOTHING, ""
        how = f"{open_ or plural(len(targets), 'target')}; {asked}, so it takes fresh seeds"
        return how, until_command(document, fresh=True)
    look = f"look {info.made + 1} of {len(info.plan.looks)}, at {info.next_look} seeds, comes next"
    how = f"{open_}; {look}" if open_ and info.made else look[:1].upper() + look[1:]
    return how, until_command(document)
