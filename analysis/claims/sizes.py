"""A size that is claimed: in points, in percent of the reference's own accuracy, or as either where the text leaves both open.

The second is a claim of a ratio, θ = r·Π, with Π the true accuracy of the reference in this run at that S and not the paper's.
It is tested on the differences less r times the reference's accuracy, formed seed by seed: their mean is θ − r·Π, what is unsure
of Π is in their spread, and the paired t is exact for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sics_analysis.claims.findings import (
    Finding,
    Reading,
    evidence,
    incomplete,
    line_of,
    numbers_of,
    subject,
    subjects,
)
from sics_analysis.claims.statement import Claim
from sics_analysis.families.max_t import superiority_test
from sics_analysis.results import Interval, Status, Verdict, signed
from sics_analysis.rows.combined import less_a_share
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.study.outcome import Analysis, Line

#: Random numbers of the intervals of a share; those of an analysis have their own streams.
_SHARES = 20
POINTS, PERCENT = "points", "percent"


@dataclass(frozen=True, slots=True)
class _Told:
    """One reading set against the run: what it comes to, in words that follow the numbers."""

    reading: Reading
    text: str
    out_of_reach: bool = False


def size_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ within δ of the claimed size, for a scorer or the best of a class, under each reading that the claim has."""
    members = subjects(claim, analysis)
    lines = [line_of(analysis, name, sparsity) for name in members]
    known = [line for line in lines if line is not None]
    if not known or len(known) < len(lines):
        return Finding(sparsity, Status.UNDECIDED, f"{subject(claim)} has no line at this sparsity")
    parts = [_size_part(line, analysis) for line in known]
    n = min(contrast.n for contrast, _ in parts)
    interval = _largest([interval for _, interval in parts], analysis)
    if interval is None:
        without = ", ".join(contrast.name for contrast, interval in parts if interval is None)
        return Finding(sparsity, Status.UNDECIDED, f"no interval for {without}: too few, missing or degenerate seeds", n)
    single = parts[0][0] if claim.scorer is not None else None
    estimate = None if single is None else single.mean
    what = f"largest κ = {claim.kappa} difference in {interval}" if single is None else numbers_of(single, interval)
    told = [] if claim.points is None else [_in_points(claim.points, interval, analysis)]
    if claim.percent is not None:
        told.append(_in_percent(claim.percent, interval, known, analysis, sparsity))
    status = _together([one.reading.status for one in told])
    reach = all(one.out_of_reach for one in told if one.reading.status is Status.UNDECIDED) and status is Status.UNDECIDED
    if len(told) == 1:
        return Finding(sparsity, status, f"{what}{told[0].text}", n, None, estimate, interval, (), reach)
    text = "; ".join(f"in {one.reading.name} {one.reading.status}: {one.text.lstrip(',; ')}" for one in told)
    return Finding(sparsity, status, f"{what}; {text}", n, None, estimate, interval, tuple(one.reading for one in told), reach)


def _together(statuses: Sequence[Status]) -> Status:
    """Supported under a reading is supported, and says which; contradicted is what no reading saves."""
    if Status.SUPPORTED in statuses:
        return Status.SUPPORTED
    return Status.CONTRADICTED if set(statuses) == {Status.CONTRADICTED} else Status.UNDECIDED


def _in_points(points: float, interval: Interval, analysis: Analysis) -> _Told:
    """The difference against the size in points."""
    delta = analysis.delta
    target = f"{size_text(points)} ± {delta:g}"
    side = _outside(interval, points - delta, points + delta)
    if side:
        return _Told(Reading(POINTS, Status.CONTRADICTED, points), f", wholly {side} the claimed {target}")
    inside = points - delta <= interval.low and interval.high <= points + delta
    if points and delta >= abs(points):
        text = f"; δ = {delta:g} cannot tell the claimed {size_text(points)} from 0"
        return _Told(Reading(POINTS, Status.UNDECIDED, points), text, out_of_reach=inside)
    if inside and _on_side(interval, points):
        return _Told(Reading(POINTS, Status.SUPPORTED, points), f", inside the claimed {target}")
    text = f", inside the claimed {target}, but it does not exclude 0" if inside else ""
    return _Told(Reading(POINTS, Status.UNDECIDED, points), text or f", neither inside nor outside the claimed {target}")


def _in_percent(percent: float, interval: Interval, lines: Sequence[Line], analysis: Analysis, sparsity: float) -> _Told:
    """The difference less that share of the reference's accuracy against 0; `interval` is that of the difference itself."""
    delta, reference = analysis.delta, analysis.reference
    if not analysis.metric.paired or analysis.metric.lower_is_better:
        text = "; a share of the reference takes paired seeds and a metric of which more is better"
        return _Told(Reading(PERCENT, Status.UNDECIDED, 0.0), text, out_of_reach=True)
    arms = [analysis.table.opponent(line.scorer, reference, sparsity) for line in lines]
    values = [arm.scale * value for arm in arms for value in arm.accuracy]
    points = percent / 100 * sum(values) / len(values)
    target = f"against {size_text(percent)} % of {reference}'s own accuracy, here {signed(points)}"
    found = _largest(_shares(percent / 100, lines, analysis, sparsity), analysis)
    if found is None:
        return _Told(Reading(PERCENT, Status.UNDECIDED, points), f", {target}; no interval for a difference less that share")
    less = f"{target}, less which it lies in [{signed(found.low)}, {signed(found.high)}]"
    side = _outside(found, -delta, delta)
    if side:
        return _Told(Reading(PERCENT, Status.CONTRADICTED, points), f", {less}, wholly {side} 0 ± {delta:g}")
    inside = -delta <= found.low and found.high <= delta
    if percent and delta >= abs(points):
        text = f", {less}; δ = {delta:g} cannot tell that from 0"
        return _Told(Reading(PERCENT, Status.UNDECIDED, points), text, out_of_reach=inside)
    if inside and _on_side(interval, percent):
        return _Told(Reading(PERCENT, Status.SUPPORTED, points), f", {less}, inside 0 ± {delta:g}")
    text = "inside" if inside else "neither inside nor outside"
    but = ", but the difference does not exclude 0" if inside else ""
    return _Told(Reading(PERCENT, Status.UNDECIDED, points), f", {less}, {text} 0 ± {delta:g}{but}")


def _shares(share: float, lines: Sequence[Line], analysis: Analysis, sparsity: float) -> list[Interval | None]:
    """Intervals of the differences less a share: those of the escape family hold together, as those of the differences do."""
    table, reference, alpha = analysis.table, analysis.reference, analysis.alpha
    family = [less_a_share(table, name, reference, share, sparsity) for name in analysis.family(sparsity).members]
    rng = np.random.default_rng([analysis.seed, _SHARES, round(sparsity * 10**9)])
    joint = (
        superiority_test(family, alpha=alpha, rng=rng, draws=analysis.draws) if any(line.in_family for line in lines) else None
    )
    found = []
    for line in lines:
        member = joint.get(line.scorer) if joint is not None and line.in_family else None
        if member is not None:
            found.append(_unless_degenerate(member.contrast, member.simultaneous))
        else:
            own = less_a_share(table, line.scorer, reference, share, sparsity)
            found.append(_unless_degenerate(own, own.t_interval(1 - alpha)))
        if line.contrast.same_hash and incomplete(line.contrast, analysis) is not None:
            found[-1] = None
    return found


def _unless_degenerate(contrast: Contrast, interval: Interval | None) -> Interval | None:
    return None if contrast.is_degenerate or contrast.is_adjacent else interval


def _size_part(line: Line, analysis: Analysis) -> tuple[Contrast, Interval | None]:
    """Differences and an interval that holds jointly within the family; the point 0 for identical masks, None if unknown."""
    contrast, interval, _ = evidence(analysis, line)
    if line.verdict is Verdict.IDENTICAL:
        complete = incomplete(contrast, analysis) is None
        return contrast, Interval(0.0, 0.0, 1 - analysis.alpha, "identity") if complete else None
    return contrast, _unless_degenerate(line.contrast, interval)


def _largest(intervals: Sequence[Interval | None], analysis: Analysis) -> Interval | None:
    """The interval of the largest of several true values, which holds because all of theirs do; None where one is unknown."""
    held = [interval for interval in intervals if interval is not None]
    if len(held) < len(intervals):
        return None
    return Interval(max(i.low for i in held), max(i.high for i in held), 1 - analysis.alpha, held[0].method)


def size_text(size: float) -> str:
    """A size with its sign, and as many decimals as it is stated with.

    >>> size_text(6.6), size_text(-0.47)
    ('+6.6', '−0.47')
    """
    return signed(size, 1 if round(size, 1) == size else 2)


def _outside(interval: Interval, low: float, high: float) -> str:
    return "below" if interval.high < low else "above" if interval.low > high else ""


def _on_side(interval: Interval, size: float) -> bool:
    """Whether an interval excludes 0 on the side of a size; a size of 0 has none."""
    return not size or (interval.low > 0 if size > 0 else interval.high < 0)
