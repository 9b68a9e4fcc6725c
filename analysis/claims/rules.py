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
    θ > δ. *Supported* by the verdict ESCAPES (adjusted in its family). *Contradicted* when θ < δ is shown, by the one-sided test
    of the scorer's own line, or by an identity of masks; either needs every seed of the run.
noninferior, nonsuperior
    θ > −δ, and θ < δ. *Supported* when the scorer's own line shows it at α, unadjusted (as the verdicts NONINFERIOR and
    EQUIVALENT, and beside ESCAPES), or by an identity of masks. *Contradicted* when θ < −δ, or θ > δ, is shown by a one-sided
    test of the same line, Bonferroni over the sparsities of the claim. Either needs every seed of the run. It is about whatever
    the reference is.
size
    abs(θ − points) ≤ δ and θ of the claimed sign, where for a class θ is its largest true difference. *Supported* when the
    simultaneous interval lies inside points ± δ and on the claimed side of 0, *contradicted* when it does not meet
    points ± δ. Where δ ≥ abs(points) the margin would take no effect for the claimed one, so nothing is supported. For a
    class the interval is (largest lower limit, largest upper limit), which holds because all limits hold at once; no mean
    of a selected best is given. A size in percent is a ratio, θ = r·Π with Π the true accuracy of the reference in this run:
    the same on the differences less r times the reference's accuracy, seed by seed, against 0 ± δ. Where the text leaves both
    open the claim is *supported* under the reading whose size it has, and *contradicted* only where it is under both. Two sizes
    further apart than 2δ cannot both be had, and each is missed on one side with α/2 at most, so together they err in α.
noninferior, nonsuperior with `than`
    The same against another scorer.
escape with `than`
    That complexity pays: θ > δ against the control of `than`, which had the same search, and against the reference. *Supported*
    as the split of searched scorers shows it, adjusted over both lines of all readings of the paper's fusion with this budget.
    *Contradicted* when θ < δ against the control is shown, as an escape is.
larger
    (A − B) − (C − D) > 0, formed seed by seed. *Supported* by the one-sided test, *contradicted* when it is shown below 0,
    Bonferroni over the sparsities.
overfit
    The gap, what a searched scorer gains over the reference on held-out examples less what it gains on test examples, lies above
    0, or above that of another scorer or at another sparsity. Tested as `larger`.
below
    θ < 0 against `than`, for every scorer named. *Supported* when each is shown below (intersection-union),
    *contradicted* when one is shown above, Bonferroni over scorers, or has the same masks.

A claim about several sparsities is supported when it is at each of them, and contradicted when it is at one, with
Bonferroni over them (kappa aside). Equal differences are tested exactly in place of t, those of two adjacent counts beside
it. Where a scorer that it needs is not in the run it is not tested. Where δ lies below the noise floor, where rows are missing
or too few to test, where an identity of masks is not at every seed of the run, and where the reference of the analysis is not on
the plateau the claim speaks of (or pools κ = 0 scorers that are shown to share none), it stays undecided and the reason is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sics_analysis.claims.findings import (
    NOT_TESTED,
    RANK_MONOTONE,
    Finding,
    evidence,
    incomplete,
    lacks_seeds,
    line_of,
    numbers_of,
    off_plateau,
    pools,
    seeds_text,
    subject,
    subjects,
)
from sics_analysis.claims.gains import complexity_finding, lacks_held_out, larger_finding, overfit_finding
from sics_analysis.claims.sizes import size_finding
from sics_analysis.claims.statement import Claim
from sics_analysis.families.plateau import plateau_claim
from sics_analysis.one_scorer.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.results import Status, Verdict, p_text
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.table import PLATEAU
from sics_analysis.study.outcome import Analysis


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
        reach = lacks_seeds(contrast, analysis)
        return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {few}", n, None, estimate, interval, (), reach)
    if identical:
        text = f"same masks as {analysis.reference} at every seed"
        return Finding(sparsity, Status.CONTRADICTED, text, n, None, 0.0, interval)
    if below:
        text = f"{numbers}, shown below +{analysis.delta:g}, {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, n, p, estimate, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {line.reason}", n, None, estimate, interval)


def bound_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ > −δ (noninferior) or θ < δ (nonsuperior) for one scorer, against the reference or another one."""
    delta, lower, level = analysis.delta, claim.kind == "noninferior", 1 - 2 * analysis.alpha
    if claim.than is None:
        line = line_of(analysis, claim.scorer, sparsity)
        if line is None:
            return Finding(sparsity, Status.UNDECIDED, f"{claim.scorer} has no line at this sparsity")
        contrast, half, verdict, interval = line.contrast, line.equivalence, line.verdict, line.confidence_interval(level)
        against, left = "", f": {line.reason}"
    else:
        assert claim.scorer is not None
        contrast = analysis.contrast(claim.scorer, claim.than, sparsity)
        half = equivalence_test(contrast, delta, alpha=analysis.alpha)
        verdict, interval = half.verdict, contrast.t_interval(level)
        against, left = f" against {claim.than}", ", neither side shown"
    numbers, n, estimate = f"{numbers_of(contrast, interval)}{against}", contrast.n, contrast.mean
    few = incomplete(contrast, analysis)
    if few is not None:
        reach = lacks_seeds(contrast, analysis)
        return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {few}", n, None, estimate, interval, (), reach)
    if verdict is Verdict.IDENTICAL:
        text = f"same masks as {claim.than or analysis.reference} at every seed"
        return Finding(sparsity, Status.SUPPORTED, text, n, None, 0.0, interval)
    shown = half.p_lower if lower else half.p_upper
    other = p_below(contrast, -delta) if lower else p_above(contrast, delta)
    if shown is not None and shown <= analysis.alpha:
        bound = f"above −{delta:g}" if lower else f"below +{delta:g}"
        text = f"{numbers}, shown {bound}, unadjusted {p_text(shown)}"
        return Finding(sparsity, Status.SUPPORTED, text, n, shown, estimate, interval)
    p = None if other is None else min(1.0, other * len(claim.sparsities))
    if p is not None and p <= analysis.alpha:
        text = f"{numbers}, shown {f'below −{delta:g}' if lower else f'above +{delta:g}'}, {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, n, p, estimate, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}{left}", n, None, estimate, interval)


def below_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ < 0 against another scorer, for every scorer named."""
    other = analysis.reference if claim.than == "reference" or claim.than is None else claim.than
    members = subjects(claim, analysis)
    contrasts = [analysis.contrast(name, other, sparsity) for name in members]
    unmeasured = [c.name for c in contrasts if c.n == 0] if other != PLATEAU else []
    if not contrasts or unmeasured:
        return Finding(sparsity, Status.UNDECIDED, f"no seed has both {' and '.join([*unmeasured, other]) or subject(claim)}")
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


def find(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """Set a claim against an analysis at one sparsity."""
    undecided = _why_not(claim, analysis, sparsity)
    if undecided is not None:
        return Finding(sparsity, Status.UNDECIDED, undecided, out_of_reach=True)
    rule = {
        "plateau": _plateau,
        "kappa": _kappa,
        "escape": escape_finding if claim.than is None else complexity_finding,
        "noninferior": bound_finding,
        "nonsuperior": bound_finding,
        "size": size_finding,
        "below": below_finding,
        "larger": larger_finding,
        "overfit": overfit_finding,
    }[claim.kind]
    return rule(claim, analysis, round(sparsity, 9))


def not_tested(claim: Claim, analysis: Analysis) -> str:
    """What a claim needs that these rows do not have, by name; empty where they have it all."""
    lacking = [name for name in claim.scorers if name not in analysis.scorers and name != PLATEAU]
    if claim.kind in ("size", "below") and analysis.has_kappa and not subjects(claim, analysis):
        lacking.append(subject(claim))
    if not lacking and claim.kind == "overfit":
        held_out = lacks_held_out(claim, analysis)
        lacking = [] if held_out is None else [held_out]
    if claim.pools and analysis.pool not in claim.pools:
        lacking.append(f"a run of pool {' or '.join(claim.pools)}")
    return ", ".join(lacking)


def _why_not(claim: Claim, analysis: Analysis, sparsity: float) -> str | None:
    """Why nothing can be said at this sparsity, whatever the kind."""
    taken = (sparsity,) if claim.than_sparsity is None else (sparsity, claim.than_sparsity)
    if any(round(S, 9) not in analysis.sparsities for S in taken):
        return "not measured in this run"
    needs = not_tested(claim, analysis)
    if needs:
        return f"{NOT_TESTED}{needs}"
    if claim.kind in ("larger", "overfit") and not analysis.metric.paired:
        return f"{NOT_TESTED}paired seeds"
    if claim.kind in ("plateau", "kappa", "size", "escape") or claim.than == "reference":
        off = off_plateau(analysis)
        if off is not None:
            return off
        if claim.kind != "plateau" and pools(analysis):
            pooled = _plateau(Claim("", "plateau", "", "", claim.sparsities), analysis, round(sparsity, 9))
            if pooled.status is Status.CONTRADICTED:
                return f"the pooled κ = 0 scorers share no plateau: {pooled.text}"
    if analysis.below_noise(sparsity):
        return f"δ = {analysis.delta:g} lies below the noise floor of {analysis.noise_floor[round(sparsity, 9)]:g} points"
    return None


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
    names = ", ".join(line.name if not pools(analysis) else f"{line.name} − {line.reference}" for line in lines)
    few = next(filter(None, (incomplete(line.contrast, analysis) for line in lines)), None)
    if few is not None:
        reach = any(lacks_seeds(line.contrast, analysis) for line in lines)
        return Finding(sparsity, Status.UNDECIDED, few, n, out_of_reach=reach)
    joint = plateau_claim(lines, pairwise=pools(analysis))
    interval = joint.largest
    if joint.holds:
        how = "identical masks" if joint.verdict is Verdict.IDENTICAL else f"within ±{analysis.delta:g}, {p_text(joint.p)}"
        named = ", taken as rank-monotone by name" if by_name else ""
        return Finding(sparsity, Status.SUPPORTED, f"{names}{named}: {how}", n, joint.p, None, interval)
    beyond = [(_two_sided(line.contrast, analysis.delta), line) for line in lines]
    tested = [(p, line) for p, line in beyond if p is not None]
    if tested:
        smallest, line = min(tested, key=lambda pair: pair[0])
        p = min(1.0, smallest * len(lines) * len(claim.sparsities))
        if p <= analysis.alpha:
            text = f"{line.name} lies beyond ±{analysis.delta:g} points of {line.reference}, corrected {p_text(p)}"
            return Finding(sparsity, Status.CONTRADICTED, text, n, p, None, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{joint.reason}", n, None, None, interval)


def _plateau_lines(analysis: Analysis, members: Sequence[str], sparsity: float) -> list[EquivalenceResult]:
    """Equivalence of each rank-monotone scorer with the reference, or of every pair where the reference pools them."""
    if not pools(analysis):
        others = [name for name in members if name != analysis.reference]
        pairs = [(name, analysis.reference) for name in others]
    else:
        pairs = [(name, other) for other, name in combinations(members, 2)]
    contrasts = [analysis.contrast(name, other, sparsity) for name, other in pairs]
    return [equivalence_test(contrast, analysis.delta, alpha=analysis.alpha) for contrast in contrasts]


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
        text = f"κ = {point.kappa} is claimed, Holm-adjusted {p_text(point.p_claim_adjusted)}"
        return Finding(sparsity, Status.SUPPORTED, text, point.n, point.p_claim_adjusted)
    left = " or ".join(filter(None, (", ".join(map(str, point.not_rejected[:-1])), *map(str, point.not_rejected[-1:]))))
    p = point.p_values[claim.kappa]
    if point.not_rejected and claim.kappa not in point.not_rejected:
        text = f"κ = {claim.kappa} is rejected, {p_text(p)} at level {point.level:.3g}, which leaves {left}"
        return Finding(sparsity, Status.CONTRADICTED, text, point.n, p)
    why = f"the data leave κ = {left}" if left else "all three values are rejected"
    return Finding(sparsity, Status.UNDECIDED, why, point.n)
