"""The claims about differences: escape, size and below. `sics_analysis.claim_rules` says what each tests."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.claim_findings import Finding, evidence, incomplete, line_of, numbers_of, seeds_text
from sics_analysis.claim_text import Claim
from sics_analysis.contrasts import Contrast
from sics_analysis.lines import Line
from sics_analysis.outcome import Analysis
from sics_analysis.results import Interval, Status, Verdict, p_text, signed
from sics_analysis.table import PLATEAU
from sics_analysis.tails import p_above, p_below


def escape_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ > δ for one scorer."""
    line = line_of(analysis, claim.scorer, sparsity)
    if line is None:
        return Finding(sparsity, Status.UNDECIDED, f"{claim.scorer} has no line at this sparsity")
    contrast, interval, adjusted = evidence(analysis, line)
    numbers, n, estimate = numbers_of(contrast, interval), contrast.n, contrast.mean
    if line.verdict is Verdict.ESCAPES:
        text = f"{numbers}, above +{analysis.delta:g}, adjusted {p_text(adjusted)}"
        return Finding(sparsity, Status.SUPPORTED, text, n, adjusted, estimate, interval)
    p = p_below(contrast, analysis.delta)
    p = None if p is None else min(1.0, p * len(claim.sparsities))
    below = p is not None and p <= analysis.alpha
    identical = line.verdict is Verdict.IDENTICAL
    few = incomplete(contrast, analysis) if identical or below else None
    if few is not None:
        return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {few}", n, None, estimate, interval)
    if identical:
        text = f"same masks as {analysis.reference} at every seed"
        return Finding(sparsity, Status.CONTRADICTED, text, n, None, 0.0, interval)
    if below:
        text = f"{numbers}, shown below +{analysis.delta:g}, {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, n, p, estimate, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {line.reason}", n, None, estimate, interval)


def size_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ within δ of the claimed size, for a scorer or the best of a class."""
    assert claim.points is not None
    members = _subjects(claim, analysis)
    lines = [line_of(analysis, name, sparsity) for name in members]
    known = [line for line in lines if line is not None]
    if not known or len(known) < len(lines):
        return Finding(sparsity, Status.UNDECIDED, f"{_subject(claim)} has no line at this sparsity")
    parts = [_size_part(line, analysis) for line in known]
    held = [interval for _, interval in parts if interval is not None]
    n = min(contrast.n for contrast, _ in parts)
    if len(held) < len(parts):
        without = ", ".join(contrast.name for contrast, interval in parts if interval is None)
        return Finding(sparsity, Status.UNDECIDED, f"no interval for {without}: too few, missing or degenerate seeds", n)
    interval = Interval(max(i.low for i in held), max(i.high for i in held), 1 - analysis.alpha, held[0].method)
    single = parts[0][0] if claim.scorer is not None else None
    estimate = None if single is None else single.mean
    what = f"largest κ = {claim.kappa} difference in {interval}" if single is None else numbers_of(single, interval)
    low, high = claim.points - analysis.delta, claim.points + analysis.delta
    target = f"{signed(claim.points, 1)} ± {analysis.delta:g}"
    status, text = Status.UNDECIDED, f"{what}, neither inside nor outside the claimed {target}"
    if interval.high < low or interval.low > high:
        side = "below" if interval.high < low else "above"
        status, text = Status.CONTRADICTED, f"{what}, wholly {side} the claimed {target}"
    elif claim.points and analysis.delta >= abs(claim.points):
        text = f"{what}; δ = {analysis.delta:g} cannot tell the claimed {signed(claim.points, 1)} from 0"
    elif low <= interval.low and interval.high <= high:
        if claim.points and not (interval.low > 0 if claim.points > 0 else interval.high < 0):
            text = f"{what}, inside the claimed {target}, but it does not exclude 0"
        else:
            status, text = Status.SUPPORTED, f"{what}, inside the claimed {target}"
    return Finding(sparsity, status, text, n, None, estimate, interval)


def _size_part(line: Line, analysis: Analysis) -> tuple[Contrast, Interval | None]:
    """Differences and an interval that holds jointly within the family; the point 0 for identical masks, None if unknown."""
    contrast, interval, _ = evidence(analysis, line)
    if line.verdict is Verdict.IDENTICAL:
        complete = incomplete(contrast, analysis) is None
        return contrast, Interval(0.0, 0.0, 1 - analysis.alpha, "identity") if complete else None
    return contrast, None if line.contrast.is_degenerate else interval


def below_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ < 0 against another scorer, for every scorer named."""
    other = analysis.reference if claim.than == "reference" or claim.than is None else claim.than
    members = _subjects(claim, analysis)
    contrasts = [analysis.contrast(name, other, sparsity) for name in members]
    unmeasured = [c.name for c in contrasts if c.n == 0] if other != PLATEAU else []
    if not contrasts or unmeasured:
        return Finding(sparsity, Status.UNDECIDED, f"no seed has both {' and '.join([*unmeasured, other]) or _subject(claim)}")
    n = min(c.n for c in contrasts)
    single = contrasts[0] if len(contrasts) == 1 else None
    interval = None if single is None else single.t_interval(1 - analysis.alpha)
    estimate = None if single is None else single.mean
    own = {c.name: f" in {seeds_text(c.n)}" if len({other.n for other in contrasts}) > 1 else "" for c in contrasts}
    parts = (f"{c.name} {numbers_of(c, c.t_interval(1 - analysis.alpha))}{own[c.name]}" for c in contrasts)
    numbers = f"{', '.join(parts)} against {other}"
    same = [c.name for c in contrasts if c.is_identical and incomplete(c, analysis) is None]
    if same:
        return Finding(sparsity, Status.CONTRADICTED, f"{', '.join(same)}: same masks as {other}", n, None, estimate, interval)
    below = [None if c.is_identical else p_below(c, 0.0) for c in contrasts]
    shown = [p for p in below if p is not None]
    if len(shown) == len(below) and max(shown) <= analysis.alpha:
        return Finding(sparsity, Status.SUPPORTED, f"{numbers}, {p_text(max(shown))}", n, max(shown), estimate, interval)
    above = [(p, c.name) for c in contrasts if (p := p_above(c, 0.0)) is not None]
    smallest, name = min(above, default=(1.0, ""))
    p = min(1.0, smallest * len(contrasts) * len(claim.sparsities))
    if p <= analysis.alpha:
        text = (
            f"{numbers}, of which {name} is shown above, corrected {p_text(p)}"
            if single is None
            else f"{numbers}, shown above, {p_text(p)}"
        )
        return Finding(sparsity, Status.CONTRADICTED, text, n, p, estimate, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}, neither shown below nor above", n, None, estimate, interval)


def _subjects(claim: Claim, analysis: Analysis) -> Sequence[str]:
    if claim.scorer is not None:
        return (claim.scorer,)
    return [name for name in analysis.scorers if analysis.kappa[name] == claim.kappa and name != analysis.reference]


def _subject(claim: Claim) -> str:
    return claim.scorer if claim.scorer is not None else f"a κ = {claim.kappa} scorer"
