"""Setting a claim against an analysis: supported, contradicted or undecided.

"Not significant" is never agreement and never contradiction: each needs evidence of its own. With θ a true difference in
points, all tests at α:

plateau
    Every κ = 0 scorer has abs(θ) ≤ δ. *Supported* when each line is EQUIVALENT or IDENTICAL (intersection-union, no
    correction). *Contradicted* when some line is shown beyond ±δ: twice the smaller one-sided minimal-effect p, Bonferroni
    over lines. Where the frame knows no κ, ``plateau@S`` means every scorer of it, and the paper's claim stays undecided.
kappa
    κ(S) = k. *Supported* when κ(S) = k is claimed, *contradicted* when k is not in a non-empty set of values not rejected.
    Both carry Holm over the values of S already.
escape
    θ > δ. *Supported* by the verdict ESCAPES (adjusted in its family). *Contradicted* when θ < δ is shown, by a one-sided t
    of the scorer's own line, or by an identity of masks.
size
    abs(θ − points) ≤ δ, where for a class θ is its largest true difference. *Supported* when the simultaneous interval
    lies inside points ± δ, *contradicted* when the two do not meet. For a class the interval is (largest lower limit,
    largest upper limit), which holds because all limits hold at once; no mean of a selected best is given.
below
    θ < 0 against `than`, for every scorer named. *Supported* when each is shown below (intersection-union),
    *contradicted* when one is shown above, Bonferroni over scorers, or has the same masks.

A claim about several sparsities is supported when it is at each of them, and contradicted when it is at one, with
Bonferroni over them (kappa aside). Where δ lies below the noise floor, where rows are missing or degenerate, and where the
reference of the analysis is not the plateau the claim speaks of, it stays undecided and the reason is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sics_analysis.claim_text import Claim
from sics_analysis.contrasts import Contrast
from sics_analysis.lines import Line
from sics_analysis.outcome import Analysis
from sics_analysis.plateau import plateau_claim
from sics_analysis.results import Interval, Verdict, p_text, signed
from sics_analysis.table import PLATEAU
from sics_analysis.tails import p_above, p_below

_ON_PLATEAU = (Verdict.IDENTICAL, Verdict.EQUIVALENT)


class Status(StrEnum):
    """What a run says of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the run says of a claim at one sparsity.

    Attributes
    ----------
    p
        p of the evidence behind `status`, corrected; None when undecided and where an identity needs no test.
    text
        The numbers, as part of a sentence.
    """

    sparsity: float
    status: Status
    text: str
    n: int = 0
    p: float | None = None
    estimate: float | None = None
    interval: Interval | None = None


def find(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """Set a claim against an analysis at one sparsity."""
    undecided = _why_not(claim, analysis, sparsity)
    if undecided is not None:
        return Finding(sparsity, Status.UNDECIDED, undecided)
    rule = {"plateau": _plateau, "kappa": _kappa, "escape": _escape, "size": _size, "below": _below}[claim.kind]
    return rule(claim, analysis, round(sparsity, 9))


def _why_not(claim: Claim, analysis: Analysis, sparsity: float) -> str | None:
    """Why nothing can be said at this sparsity, whatever the kind."""
    if round(sparsity, 9) not in analysis.sparsities:
        return "not measured in this run"
    against_plateau = claim.kind in ("plateau", "kappa", "size") or claim.than == "reference"
    on_plateau = analysis.reference == PLATEAU or analysis.kappa[analysis.reference] == 0 or not analysis.has_kappa
    if against_plateau and not on_plateau:
        return f"the claim is about the plateau, and the reference {analysis.reference} of this analysis is not on it"
    if analysis.below_noise(sparsity):
        return f"δ = {analysis.delta:g} lies below the noise floor of {analysis.noise_floor[round(sparsity, 9)]:g} points"
    return None


def _plateau(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    everyone = not analysis.has_kappa and claim.named_by_user
    lines = [line for line in analysis.lines if line.sparsity == sparsity and (line.kappa == 0 or everyone)]
    if not analysis.has_kappa and not everyone:
        return Finding(sparsity, Status.UNDECIDED, "the rows carry no column kappa that says which scorers are rank-monotone")
    if not lines:
        return Finding(sparsity, Status.UNDECIDED, f"there is no κ = 0 scorer beside the reference {analysis.reference}")
    joint = plateau_claim([line.equivalence for line in lines])
    names = ", ".join(line.scorer for line in lines)
    n, interval = joint.n, joint.largest
    if all(line.verdict in _ON_PLATEAU for line in lines):
        how = "identical masks" if joint.verdict is Verdict.IDENTICAL else f"within ±{analysis.delta:g}, {p_text(joint.p)}"
        return Finding(sparsity, Status.SUPPORTED, f"{names}: {how} ({_seeds(n)})", n, joint.p, None, interval)
    beyond = [(_two_sided(line.contrast, analysis.delta), line.scorer) for line in lines]
    known = [(p, name) for p, name in beyond if p is not None]
    if known:
        p, name = min(known)
        p = min(1.0, p * len(lines) * len(claim.sparsities))
        if p <= analysis.alpha:
            text = f"{name} lies beyond ±{analysis.delta:g} points, corrected {p_text(p)} ({_seeds(n)})"
            return Finding(sparsity, Status.CONTRADICTED, text, n, p, None, interval)
    return Finding(
        sparsity, Status.UNDECIDED, f"not shown for {', '.join(joint.failing) or names} ({_seeds(n)})", n, None, None, interval
    )


def _two_sided(contrast: Contrast, delta: float) -> float | None:
    above, below = p_above(contrast, delta), p_below(contrast, -delta)
    return None if above is None or below is None else min(1.0, 2 * min(above, below))


def _kappa(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    if analysis.spectrum is None:
        return Finding(sparsity, Status.UNDECIDED, f"κ(S) is not available: {analysis.spectrum_reason}")
    point = analysis.spectrum[sparsity]
    if point.p_values is None or claim.kappa is None:
        return Finding(sparsity, Status.UNDECIDED, f"κ(S) is not available: {point.reason}", point.n)
    if point.kappa == claim.kappa:
        text = f"κ = {point.kappa} is claimed, Holm-adjusted {p_text(point.p_claim_adjusted)} ({_seeds(point.n)})"
        return Finding(sparsity, Status.SUPPORTED, text, point.n, point.p_claim_adjusted)
    left = ", ".join(map(str, point.not_rejected))
    p = point.p_values[claim.kappa]
    if point.not_rejected and claim.kappa not in point.not_rejected:
        text = f"κ = {claim.kappa} is rejected, {p_text(p)} at level {point.level:.3g}; the data leave {left} ({_seeds(point.n)})"
        return Finding(sparsity, Status.CONTRADICTED, text, point.n, p)
    why = f"the data leave κ in {{{left}}}" if left else "all three values are rejected"
    return Finding(sparsity, Status.UNDECIDED, f"{why} ({_seeds(point.n)})", point.n)


def _escape(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    line = _line(analysis, claim.scorer, sparsity)
    if line is None:
        return Finding(sparsity, Status.UNDECIDED, f"{claim.scorer} has no line at this sparsity")
    interval = line.simultaneous or line.confidence_interval(1 - analysis.alpha)
    numbers = _numbers(line.contrast, interval)
    if line.verdict is Verdict.ESCAPES:
        text = f"{numbers}, above +{analysis.delta:g}, adjusted {p_text(line.p_escape_adjusted)}"
        return Finding(sparsity, Status.SUPPORTED, text, line.n, line.p_escape_adjusted, line.contrast.mean, interval)
    if line.verdict is Verdict.IDENTICAL:
        text = f"same masks as {analysis.reference} at every seed"
        return Finding(sparsity, Status.CONTRADICTED, text, line.n, None, 0.0, interval)
    p = p_below(line.contrast, analysis.delta)
    p = None if p is None else min(1.0, p * len(claim.sparsities))
    if p is not None and p <= analysis.alpha:
        text = f"{numbers}, shown below +{analysis.delta:g}, {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, line.n, p, line.contrast.mean, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {line.reason}", line.n, None, line.contrast.mean, interval)


def _size(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    assert claim.points is not None
    members = _subjects(claim, analysis)
    lines = [_line(analysis, name, sparsity) for name in members]
    known = [line for line in lines if line is not None]
    if not known or len(known) < len(lines):
        return Finding(sparsity, Status.UNDECIDED, f"{_subject(claim)} has no line at this sparsity")
    intervals = [_size_interval(line, analysis.alpha) for line in known]
    held = [interval for interval in intervals if interval is not None]
    n = min(line.n for line in known)
    if len(held) < len(intervals):
        without = ", ".join(line.scorer for line, i in zip(known, intervals, strict=True) if i is None)
        return Finding(sparsity, Status.UNDECIDED, f"no interval for {without}: too few or degenerate seeds", n)
    interval = Interval(max(i.low for i in held), max(i.high for i in held), 1 - analysis.alpha, held[0].method)
    single = claim.scorer is not None
    estimate = known[0].contrast.mean if single else None
    what = (
        _numbers(known[0].contrast, interval) if single else f"largest κ = {claim.kappa} difference in {interval} ({_seeds(n)})"
    )
    low, high = claim.points - analysis.delta, claim.points + analysis.delta
    target = f"{signed(claim.points, 1)} ± {analysis.delta:g}"
    if low <= interval.low and interval.high <= high:
        return Finding(sparsity, Status.SUPPORTED, f"{what}, inside the claimed {target}", n, None, estimate, interval)
    if interval.high < low or interval.low > high:
        side = "below" if interval.high < low else "above"
        return Finding(sparsity, Status.CONTRADICTED, f"{what}, wholly {side} the claimed {target}", n, None, estimate, interval)
    return Finding(
        sparsity, Status.UNDECIDED, f"{what}, neither inside nor outside the claimed {target}", n, None, estimate, interval
    )


def _size_interval(line: Line, alpha: float) -> Interval | None:
    """Interval that holds jointly within the family; the point 0 for identical masks; None where nothing is known."""
    if line.verdict is Verdict.IDENTICAL:
        return Interval(0.0, 0.0, 1 - alpha, "identity")
    if line.contrast.is_degenerate:
        return None
    return line.simultaneous if line.in_family else line.confidence_interval(1 - alpha)


def _below(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    other = analysis.reference if claim.than == "reference" or claim.than is None else claim.than
    members = _subjects(claim, analysis)
    contrasts = [analysis.contrast(name, other, sparsity) for name in members]
    unmeasured = [c.name for c in contrasts if c.n == 0] if other != PLATEAU else []
    if not contrasts or unmeasured:
        return Finding(sparsity, Status.UNDECIDED, f"no seed has both {' and '.join([*unmeasured, other]) or _subject(claim)}")
    n = min(c.n for c in contrasts)
    worst = max(contrasts, key=lambda c: c.mean or 0.0)
    interval = worst.t_interval(1 - analysis.alpha) if len(contrasts) == 1 else None
    estimate = worst.mean if len(contrasts) == 1 else None
    numbers = "; ".join(f"{c.name} {_numbers(c, c.t_interval(1 - analysis.alpha))}" for c in contrasts) + f" against {other}"
    same = [c.name for c in contrasts if c.is_identical]
    if same:
        return Finding(sparsity, Status.CONTRADICTED, f"{', '.join(same)}: same masks as {other}", n, None, estimate, interval)
    below = [p_below(c, 0.0) for c in contrasts]
    shown = [p for p in below if p is not None]
    if len(shown) == len(below) and max(shown) <= analysis.alpha:
        return Finding(sparsity, Status.SUPPORTED, f"{numbers}, {p_text(max(shown))}", n, max(shown), estimate, interval)
    above = [p for c in contrasts if (p := p_above(c, 0.0)) is not None]
    p = min(1.0, min(above, default=1.0) * len(contrasts) * len(claim.sparsities))
    if p <= analysis.alpha:
        text = f"{numbers}; {worst.name} is shown above, corrected {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, n, p, estimate, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}, neither shown below nor above", n, None, estimate, interval)


def _subjects(claim: Claim, analysis: Analysis) -> Sequence[str]:
    if claim.scorer is not None:
        return (claim.scorer,)
    return [name for name in analysis.scorers if analysis.kappa[name] == claim.kappa and name != analysis.reference]


def _subject(claim: Claim) -> str:
    return claim.scorer if claim.scorer is not None else f"a κ = {claim.kappa} scorer"


def _line(analysis: Analysis, scorer: str | None, sparsity: float) -> Line | None:
    try:
        return analysis.line(scorer or "", sparsity)
    except KeyError:
        return None


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"


def _numbers(contrast: Contrast, interval: Interval | None) -> str:
    if contrast.mean is None:
        return "no complete seed"
    shown = "" if interval is None else f", {interval}"
    return f"{signed(contrast.mean)} points{shown} ({_seeds(contrast.n)})"
