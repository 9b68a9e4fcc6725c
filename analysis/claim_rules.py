"""Setting a claim against an analysis: supported, contradicted or undecided.

"Not significant" is never agreement and never contradiction: each needs evidence of its own. With θ a true difference in
points, all tests at α:

plateau
    Every κ = 0 scorer has abs(θ) ≤ δ; against the pooled plateau, any two of them have. *Supported* when each line or pair
    is EQUIVALENT or IDENTICAL (intersection-union, no correction). *Contradicted* when one is shown beyond ±δ: twice the
    smaller one-sided minimal-effect p, Bonferroni over lines. Where the frame knows no κ, ``plateau@S`` speaks of the
    scorers named magnitude, power and log, and the paper's claim stays undecided. It needs every seed of the run.
kappa
    κ(S) = k. *Supported* when κ(S) = k is claimed, *contradicted* when k is not in a non-empty set of values not rejected.
    Both carry Holm over the values of S already.
escape
    θ > δ. *Supported* by the verdict ESCAPES (adjusted in its family). *Contradicted* when θ < δ is shown, by a one-sided t
    of the scorer's own line, or by an identity of masks; either needs every seed of the run.
size
    abs(θ − points) ≤ δ and θ of the claimed sign, where for a class θ is its largest true difference. *Supported* when the
    simultaneous interval lies inside points ± δ and on the claimed side of 0, *contradicted* when it does not meet
    points ± δ. Where δ ≥ abs(points) the margin would take no effect for the claimed one, so nothing is supported. For a
    class the interval is (largest lower limit, largest upper limit), which holds because all limits hold at once; no mean
    of a selected best is given.
below
    θ < 0 against `than`, for every scorer named. *Supported* when each is shown below (intersection-union),
    *contradicted* when one is shown above, Bonferroni over scorers, or has the same masks.

A claim about several sparsities is supported when it is at each of them, and contradicted when it is at one, with
Bonferroni over them (kappa aside). Where δ lies below the noise floor, where rows are missing or degenerate, where an
identity of masks is not at every seed of the run, and where the reference of the analysis is not on the plateau the claim
speaks of, it stays undecided and the reason is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from sics_analysis.claim_text import Claim
from sics_analysis.contrasts import MIN_SEEDS, Contrast
from sics_analysis.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.lines import Line
from sics_analysis.outcome import Analysis
from sics_analysis.plateau import plateau_claim
from sics_analysis.results import Interval, Verdict, p_text, signed
from sics_analysis.table import PLATEAU
from sics_analysis.tails import p_above, p_below

RANK_MONOTONE = ("magnitude", "power", "log")  # what these names mean where no column kappa says it


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
    if claim.kind in ("plateau", "kappa", "size", "escape") or claim.than == "reference":
        off = _off_plateau(analysis)
        if off is not None:
            return off
    if analysis.below_noise(sparsity):
        return f"δ = {analysis.delta:g} lies below the noise floor of {analysis.noise_floor[round(sparsity, 9)]:g} points"
    return None


def _off_plateau(analysis: Analysis) -> str | None:
    """Why differences to the reference of the analysis are none to the plateau; None where they are."""
    reference = analysis.reference
    claim = "the claim is about the plateau, and"
    if analysis.has_kappa:
        on_it = _pools(analysis) or analysis.kappa[reference] == 0
        return None if on_it else f"{claim} reference {reference!r} is not rank-monotone"
    if reference in (*RANK_MONOTONE, PLATEAU):
        return None
    return f"{claim} reference {reference!r} is not rank-monotone by its name, nor by a column kappa"


def _pools(analysis: Analysis) -> bool:
    """Whether the reference pools the κ = 0 scorers, and is no scorer that happens to have its name."""
    return analysis.reference == PLATEAU and PLATEAU not in analysis.kappa


def _plateau(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    by_name = not analysis.has_kappa
    if by_name and not claim.named_by_user:
        return Finding(sparsity, Status.UNDECIDED, "the rows carry no column kappa that says which scorers are rank-monotone")
    members = [name for name in analysis.scorers if (name in RANK_MONOTONE if by_name else analysis.kappa[name] == 0)]
    if len(members) < 2:
        kind = f"scorer named {', '.join(RANK_MONOTONE)}" if by_name else "κ = 0 scorer"
        why = ", and no column kappa says which others are rank-monotone" if by_name else ""
        found = ", ".join(members) or "none"
        return Finding(sparsity, Status.UNDECIDED, f"it takes a second {kind}, the rows have {found}{why}")
    lines = _plateau_lines(analysis, members, sparsity)
    n = min(line.n for line in lines)
    names = ", ".join(line.name if not _pools(analysis) else f"{line.name} − {line.reference}" for line in lines)
    few = next(filter(None, (_incomplete(line.contrast, analysis) for line in lines)), None)
    if few is not None:
        return Finding(sparsity, Status.UNDECIDED, few, n)
    joint = plateau_claim(lines, pairwise=_pools(analysis))
    interval = joint.largest
    if joint.holds:
        how = "identical masks" if joint.verdict is Verdict.IDENTICAL else f"within ±{analysis.delta:g}, {p_text(joint.p)}"
        named = ", taken as rank-monotone by name" if by_name else ""
        return Finding(sparsity, Status.SUPPORTED, f"{names}{named}: {how} ({_seeds(n)})", n, joint.p, None, interval)
    beyond = [(_two_sided(line.contrast, analysis.delta), line) for line in lines]
    tested = [(p, line) for p, line in beyond if p is not None]
    if tested:
        smallest, line = min(tested, key=lambda pair: pair[0])
        p = min(1.0, smallest * len(lines) * len(claim.sparsities))
        if p <= analysis.alpha:
            text = f"{line.name} lies beyond ±{analysis.delta:g} points of {line.reference}, corrected {p_text(p)} ({_seeds(n)})"
            return Finding(sparsity, Status.CONTRADICTED, text, n, p, None, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{joint.reason} ({_seeds(n)})", n, None, None, interval)


def _plateau_lines(analysis: Analysis, members: Sequence[str], sparsity: float) -> list[EquivalenceResult]:
    """Equivalence of each rank-monotone scorer with the reference, or of every pair where the reference pools them."""
    if not _pools(analysis):
        others = [name for name in members if name != analysis.reference]
        pairs = [(name, analysis.reference) for name in others]
    else:
        pairs = [(name, other) for other, name in combinations(members, 2)]
    contrasts = [analysis.contrast(name, other, sparsity) for name, other in pairs]
    return [equivalence_test(contrast, analysis.delta, alpha=analysis.alpha) for contrast in contrasts]


def _incomplete(contrast: Contrast, analysis: Analysis) -> str | None:
    """Why a contrast stands for fewer seeds than the run has, or for too few; None where it has them all."""
    if contrast.n < MIN_SEEDS:
        return f"{contrast.name} has {_seeds(contrast.n)} with {contrast.reference}, it takes {MIN_SEEDS}"
    if contrast.n < len(analysis.seeds):
        return f"{contrast.name} has {contrast.n} of the {len(analysis.seeds)} seeds of the run with {contrast.reference}"
    return None


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
    contrast, interval, adjusted = _tested(analysis, line)
    numbers, n, estimate = _numbers(contrast, interval), contrast.n, contrast.mean
    if line.verdict is Verdict.ESCAPES:
        text = f"{numbers}, above +{analysis.delta:g}, adjusted {p_text(adjusted)}"
        return Finding(sparsity, Status.SUPPORTED, text, n, adjusted, estimate, interval)
    p = p_below(contrast, analysis.delta)
    p = None if p is None else min(1.0, p * len(claim.sparsities))
    below = p is not None and p <= analysis.alpha
    identical = line.verdict is Verdict.IDENTICAL
    few = _incomplete(contrast, analysis) if identical or below else None
    if few is not None:
        return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {few}", n, None, estimate, interval)
    if identical:
        text = f"same masks as {analysis.reference} at every seed ({_seeds(n)})"
        return Finding(sparsity, Status.CONTRADICTED, text, n, None, 0.0, interval)
    if below:
        text = f"{numbers}, shown below +{analysis.delta:g}, {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, n, p, estimate, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {line.reason}", n, None, estimate, interval)


def _tested(analysis: Analysis, line: Line) -> tuple[Contrast, Interval | None, float | None]:
    """The differences, interval and adjusted escape p behind a line, all from one test: its family's, or its own."""
    if line.in_family:
        for member in analysis.family(line.sparsity).escape.lines:
            if member.name == line.scorer and not member.degenerate:
                return member.contrast, member.simultaneous, member.p_adjusted
    return line.contrast, line.confidence_interval(1 - analysis.alpha), line.p_escape_adjusted


def _size(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    assert claim.points is not None
    members = _subjects(claim, analysis)
    lines = [_line(analysis, name, sparsity) for name in members]
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
    what = f"largest κ = {claim.kappa} difference in {interval} ({_seeds(n)})" if single is None else _numbers(single, interval)
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
    contrast, interval, _ = _tested(analysis, line)
    if line.verdict is Verdict.IDENTICAL:
        complete = _incomplete(contrast, analysis) is None
        return contrast, Interval(0.0, 0.0, 1 - analysis.alpha, "identity") if complete else None
    return contrast, None if line.contrast.is_degenerate else interval


def _below(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
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
    numbers = "; ".join(f"{c.name} {_numbers(c, c.t_interval(1 - analysis.alpha))}" for c in contrasts) + f" against {other}"
    same = [c.name for c in contrasts if c.is_identical and _incomplete(c, analysis) is None]
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
        text = f"{numbers}; {name} is shown above, corrected {p_text(p)}"
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
