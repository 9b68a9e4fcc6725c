"""The three sentences that a report ends with: what is shown, what explains it, and what is open."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import Conclusion
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.document.searched import SplitInfo
from sics_analysis.report.words.attribution import explanation
from sics_analysis.report.words.looks import until_command
from sics_analysis.report.words.phrases import (
    MOST_SEEDS,
    far_sentence,
    interval,
    listed,
    number,
    sparsity_list,
)
from sics_analysis.report.words.plans import USUAL, seeds_plan, unplanned
from sics_analysis.report.words.reasons import (
    LIMIT,
    MIN_SEEDS,
    SHOWN,
    counted,
    degrading,
    faded,
    grouped,
    on_these,
    over_run,
    pays_over_run,
    what_is_open,
)
from sics_analysis.report.words.said import in_digits, in_words
from sics_analysis.results import Interval, Verdict, plural


def conclusion_of(document: ReportDocument) -> Conclusion:
    """The sentences that a document has; made anew for a report that was kept before there were any."""
    return document.conclusion or conclude(document)


@in_digits
def conclude(document: ReportDocument) -> Conclusion:
    """Say what holds over the whole run, what the control with the same saliency leaves of it, and what would settle the rest.

    No sentence is firmer than the data checks: while one is open, it is said before what rests on the rows.
    """
    document = document.largest
    shown, explained, (left, command) = _shown(document), explanation(document).sentence, _left(document)
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
    sentences: list[str] = []
    family = [line for line in document.lines if line.in_family and line.n]
    if held:
        sentences.append(f"{'Over the whole run ' if run else ''}{_above(document, held)}.")
        sentences += [f"Within {_its(alone)} S alone, so {'does' if _one(alone) else 'do'} {_placed(alone)}."] if alone else []
        sentences += _below(document)
    elif family:
        who = f"No scorer{' of κ ≥ 1' if document.has_kappa else ''}"
        sentences.append(f"{who} is shown above {reference} by more than {delta:g} points{run}.")
        sentences += [f"Within {_its(alone)} S alone, {_placed(alone)} {'is' if _one(alone) else 'are'}."] if alone else []
        sentences.append(_one_by_one(document, family))
    else:
        what = "of κ ≥ 1 is there to be tested" if document.has_kappa else "is there to be tested"
        sentences += [f"No scorer {what} beside {reference}.", *_of_searched_lines(document)]
    return " ".join([*sentences, *_best(document)])


def _one(lines: Sequence[LineInfo]) -> bool:
    return len({line.scorer for line in lines}) == 1


def _its(lines: Sequence[LineInfo]) -> str:
    return "its" if len({line.sparsity for line in lines}) == 1 else "each"


def _one_by_one(document: ReportDocument, lines: Sequence[LineInfo], kind: str = "", *, family: bool = True) -> str:
    """How many of these lines show what, each by itself."""
    at, shown = f"at δ = {document.settings.delta:g}", counted(lines, family=family)
    if len(lines) == 1:
        return f"By itself, the one {kind}line is {shown.removeprefix('1 ')} {at}."
    return f"One by one, {plural(len(lines), f'{kind}line')} come out {at} as {shown}."


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


def _below(document: ReportDocument) -> list[str]:
    """Who is shown below the reference, beside those above it, a sentence each for how firm that is."""
    parts = []
    for found, alone in zip(degrading(document), (False, True), strict=True):
        kept = faded(document, found)  # by a look that the seeds since do not bear out
        for lines, by in (
            ([line for line in found if line not in kept], ""),
            (kept, ", by an earlier look and no longer by all seeds"),
        ):
            if lines:
                many = len(grouped(lines)) > SHOWN
                who = plural(len(lines), "line") if many else _placed(lines)
                within = f"Within {_its(lines)} S alone, worse" if alone else "Worse"
                verb = "is" if (len(lines) == 1 if many else _one(lines)) else "are"
                parts.append(f"{within} by more than {document.settings.delta:g} points {verb} {who}{by}.")
    return parts


def _of_searched_lines(document: ReportDocument) -> list[str]:
    """What searched scorers show against the reference, each by itself; empty without any."""
    names = set() if document.searched is None else {point.scorer for point in document.searched.points}
    lines = [line for line in document.lines if line.scorer in names and line.n]
    return [_one_by_one(document, lines, "searched ", family=False)] if lines else []


def _best(document: ReportDocument) -> list[str]:
    """What does best in practice where scorers were searched or ranked in another pool, and the best search; empty otherwise.

    Neither is of the family, so that each stands on a test of its own.
    """
    S = deciding(document)
    if document.searched is None or S is None:
        return []
    kinds = {point.scorer: point.kind for point in document.searched.points}

    def order(line: LineInfo) -> tuple[float, bool]:
        return document.metric.turned(line.mean or 0.0), kinds.get(line.scorer) == "fusion"

    better = sorted(
        (line for line in document.lines_at(S) if line.verdict is Verdict.ESCAPES and line.mean is not None), key=order
    )
    if not better:
        return [f"In practice nothing is shown better at S = {S:g}, no search and no other pool."]
    best, searches = better[-1], [line for line in better if line.scorer in kinds]
    said = f"In practice the best at S = {S:g} is {_with_mean(best)}"
    if best.scorer in kinds:
        said += ", a search"
    elif searches:
        said += f", and the best search {_with_mean(searches[-1])}"
    elif kinds:
        said += ", and no search is shown better"
    return [f"{said}: picked by the mean, so a little flattered."]


def _with_mean(line: LineInfo) -> str:
    return f"{line.scorer} ({number(line.mean)} {interval(line.ci95)})"


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
        left = f"{plural(len(targets), 'target')} {'are' if len(targets) > 1 else 'is'} open and " if targets and open_ else ""
        asked = "all that was asked is decided" if info.decided else f"{left}all of α is spent"
        if not open_ and not targets:
            return _NOTHING, ""
        how = f"{open_ or plural(len(targets), 'target')}; {asked}, so it takes fresh seeds"
        return how, until_command(document, fresh=True)
    look = f"look {info.made + 1} of {len(info.plan.looks)}, at {info.next_look} seeds, comes next"
    how = f"{open_}; {look}" if open_ and info.made else look[:1].upper() + look[1:]
    return how, until_command(document)
