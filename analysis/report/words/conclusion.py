"""The three sentences that a report ends with: what is shown, what explains it, and what is open."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import Conclusion
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.words.looks import until_command
from sics_analysis.report.words.phrases import (
    MOST_SEEDS,
    far_sentence,
    interval,
    listed,
    plural,
    sparsity_list,
)
from sics_analysis.report.words.plans import seeds_plan
from sics_analysis.report.words.reasons import (
    CONTROL,
    LIMIT,
    MIN_SEEDS,
    SAME,
    counted,
    grouped,
    on_these,
    over_run,
    superior,
    undecided,
)
from sics_analysis.report.words.said import in_digits, in_words
from sics_analysis.report.words.searched import searched_answer
from sics_analysis.results import Interval, Verdict

#: What shows that a scorer is not above its control by δ.
_NO_MORE = (*SAME, Verdict.NONSUPERIOR, Verdict.DEGRADES)
_USUAL = 5  # seeds that a run has where nobody says how many


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
    tested = [line for line in document.lines if line.in_family and line.p_escape_adjusted is not None]
    near = min(tested, key=lambda line: (line.p_escape_adjusted, -line.sparsity), default=None)
    return near.sparsity if near else max((info.sparsity for info in document.sparsities), default=None)


def correction(document: ReportDocument) -> str:
    """Over what the errors behind the headline are held, in few words."""
    alpha, document = f"α = {document.settings.alpha:g}", document.largest
    looks = "" if document.looks is None else f", and over {plural(len(document.looks.plan.looks), 'look')}"
    if document.how_far:
        return f"{alpha} held over {plural(document.how_far[0].family, 'scorer')} and every S"
    count = len(document.sparsities)
    family = [line for line in document.lines if line.in_family and line.n]
    if not family:
        return "No family to be adjusted over"
    names = plural(len({line.scorer for line in family}), "scorer")
    if count > 1 and all(line.p_escape_adjusted_run is None for line in family):
        return f"{alpha} held within each S alone{looks}"
    run = f"the whole run, {names} at {count} S" if count > 1 else names
    return f"{alpha} held over {run}{looks}"


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
    within = f"; within one S alone: {_placed(alone)}" if alone else ""
    if held:
        level = f"{'repeated ' if looks else ''}{100 * (1 - document.settings.alpha):g} %"
        verb = "lies" if len({line.scorer for line in held}) == 1 else "lie"
        return (
            f"{'Over the whole run ' if run else ''}{_placed(held)} {verb} more than {delta:g} points above "
            f"{reference}{on_these(held)}{_hull(held, level)}{within}."
        )
    family = [line for line in document.lines if line.in_family and line.n]
    if not family:
        what = "of κ ≥ 1 is there to be tested" if document.has_kappa else "is there to be tested"
        return f"Nothing of a family: no scorer {what} beside {reference}."
    by_itself = "it" if len(family) == 1 else f"each of {len(family)} lines"
    return (
        f"No scorer{' of κ ≥ 1' if document.has_kappa else ''} is shown above {reference} by more than {delta:g} points{run}"
        f"{within}; {by_itself} by itself: {counted(family)}."
    )


def _placed(lines: Sequence[LineInfo]) -> str:
    """Scorers with the S that they stand at, those of the same S together."""
    return "; ".join(f"{listed(who, LIMIT)} at {sparsity_list(at)}" for who, at in grouped(lines))


def _hull(lines: Sequence[LineInfo], level: str) -> str:
    """Between which limits the joint intervals lie: of those that were selected, no mean is given."""
    found = [line.simultaneous for line in lines if line.simultaneous is not None]
    if not found:
        return ""
    hull = Interval(min(one.low for one in found), max(one.high for one in found), found[0].level, found[0].method)
    whose = f"simultaneous {level} interval is" if len(found) == 1 else f"simultaneous {level} intervals lie in"
    return f" ({'its' if len(found) == 1 else 'their'} {whose} {interval(hull)})"


# -- what explains it ----------------------------------------------------------------------------------------------------------


def _explained(document: ReportDocument) -> str:
    held, _ = over_run(document)
    rows = [row for row in document.attribution if row.complexity is not None]
    searched = document.searched is not None and bool(document.searched.points)
    if held:
        keys = {(line.scorer, line.sparsity) for line in held}
        rows = [row for row in rows if (row.scorer, row.sparsity) in keys]
    if not rows and searched:
        answer = searched_answer(document)
        if answer.short == "Not tested":
            return answer.text
        short = answer.short
        return f"Whether complexity pays, given the same search: {short[:1].lower()}{short[1:]}."
    if not rows:
        why = "" if document.has_kappa else ", and a column kappa"
        return f"Not asked: it takes the control {CONTROL}, with the same saliency and no shape, beside scorers of κ ≥ 1{why}."
    return f"{_outcome(document, rows, any_held=bool(held))}."


def _outcome(document: ReportDocument, rows: Sequence[AttributionInfo], *, any_held: bool) -> str:
    """What the control has by itself, and what shape is shown to add to it, line by line of these."""
    delta = document.settings.delta
    more = [row for row in rows if row.verdict is Verdict.ESCAPES]
    less = [row for row in rows if row.verdict in _NO_MORE]
    costs = sum(row.verdict is Verdict.DEGRADES for row in rows)
    rest = [row for row in rows if row not in more and row not in less]
    above = sum(superior(row, document.settings) for row in rest)
    there = sorted({row.sparsity for row in rows})
    own = [S for S in there if any_held and _control_escapes(document, S)]
    within = ", adjusted within an S" if len(document.sparsities) > 1 else ""
    many = len(rows) > 1

    def part(amount: str, count: int, more: str = "") -> list[str]:
        return [f"{amount}{f' in {count} of {len(rows)} lines' if many else ''}{more}"] if count else []

    worse = f" ({f'in {costs} ' if many else ''}it costs more)" if costs else ""
    counts = part(f"more than {delta:g} points", len(more), within)
    counts += part(f"less than {delta:g} points", len(less), worse)
    counts += part("more than 0 points", above, f"{within}, where {delta:g} is open")
    what = f"is shown to add {'; '.join(counts)}" if counts else "is not shown to add or to lack anything"
    none = f"; nothing is shown of {len(rest) - above}" if counts and len(rest) > above else ""
    if not any_held:
        head = "Nothing to explain over the whole run" if len(document.sparsities) > 1 else "Nothing to explain"
    elif len(less) == len(rows):
        head = "The saliency, not its shape" if own == there else "Not its shape"
    elif len(more) == len(rows):
        head = "Shape, beyond the saliency"
    else:
        head = "Shape, in part" if more else "Not settled"
    control = f"the control {CONTROL}, of the same saliency and without a shape,"
    if not own:
        return f"{head}: beyond {control} shape {what}{none}"
    at = f" at {sparsity_list(own)}" if len(document.sparsities) > 1 else ""
    alone = f"is itself shown above {document.settings.reference}{at}, by a test of its own"
    return f"{head}: {control} {alone}, and beyond it shape {what}{none}"


def _control_escapes(document: ReportDocument, S: float) -> bool:
    line = document.line(CONTROL, S)
    return line is not None and line.verdict is Verdict.ESCAPES


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
        return _with("Everything: a test takes three seeds a line", document, f"--seeds {_USUAL}")
    open_ = _open_lines(document)
    if not document.metric.paired:
        return (f"{open_}; seeds are planned for pairs only, and these are unpaired" if open_ else _NOTHING), ""
    plan = seeds_plan(document)
    if plan is None:
        return (f"{open_}, without a spread between seeds to plan with" if open_ else _NOTHING), ""
    if plan.target is None:
        return f"{open_}; no number of seeds up to {MOST_SEEDS} settles any, as they lie too near δ for their spread", ""
    count = plural(len(plan.steps), f"{'undecided' if plan.kind == 'open' else 'one-sided'} line")
    how = f"{open_}; {plan.target} seeds would settle {plan.settled} of {count} with a chance of 80 %"
    stamped = ", stamped as added after a look" if document.source.command else ""
    return _with(f"{how}{stamped}", document, f"--seeds {plan.target}")


_NOTHING = "Nothing that more seeds could settle"


def _with(text: str, document: ReportDocument, options: str) -> tuple[str, str]:
    """With the command of a run; a table has none."""
    command = document.source.command
    return (f"{text}, with this run's other options", f"{command} {options}") if command else (text, "")


def _open_lines(document: ReportDocument) -> str:
    """How many lines have no verdict or only half of one, and where κ(S) is open; empty where nothing is."""
    open_, total = undecided(document)
    half = sum(line.verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR) for line in document.lines)
    parts = [f"{open_} of {plural(total, 'line')} {_is(open_)} undecided"] if open_ else []
    of = "" if open_ else f" of {plural(total, 'line')}"
    parts += [f"{half}{of} {_is(half)} shown on one side alone"] if half else []
    unclaimed = [point.sparsity for point in document.spectrum.points if point.kappa is None and point.p_values is not None]
    parts += [f"κ is undetermined at {sparsity_list(unclaimed)}"] if unclaimed else []
    return listed(parts)


def _left_looked(document: ReportDocument) -> tuple[str, str]:
    """The same of a run that is looked at: the next look, or fresh seeds."""
    info, open_ = document.looks, _open_lines(document)
    assert info is not None
    targets = [target.target for target in info.targets if not target.settled]
    if info.decided or info.next_look is None:
        asked = "all that was asked is decided" if info.decided else "all of α is spent"
        if not open_ and not targets:
            return _NOTHING, ""
        command = until_command(document, fresh=True)
        how = f"{open_ or plural(len(targets), 'target')}; {asked}, so that it takes a plan on fresh seeds"
        return (f"{how}, with this run's other options" if command else how), command
    look = f"look {info.made + 1} of {len(info.plan.looks)}, at {info.next_look} seeds, comes next"
    command = until_command(document)
    how = f"{open_}; {look}" if open_ and info.made else look[:1].upper() + look[1:]
    return (f"{how}, with this run's other options" if command else how), command
