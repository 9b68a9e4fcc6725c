"""Claims that set gains against each other: over a control with the same search, of two steps, held out and on test examples."""

from __future__ import annotations

from sics_analysis.claims.findings import Finding, incomplete, lacks_seeds, numbers_of
from sics_analysis.claims.statement import Claim
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.results import Status, Verdict, p_text, signed
from sics_analysis.rows.combined import combined_contrast, less
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.study.outcome import Analysis


def complexity_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """θ > δ against the control with the same search, and against the reference: what the analysis says of this split."""
    assert claim.scorer is not None
    assert claim.than is not None
    delta, gains = analysis.delta, () if analysis.searched is None else analysis.searched.gains
    split = next((gain for gain in gains if gain.scorer == claim.scorer and gain.sparsity == sparsity), None)
    if split is None or split.line is None:
        n = analysis.contrast(claim.scorer, claim.than, sparsity).n
        text = (
            f"the run splits no gain of {claim.scorer} over {analysis.reference} at this sparsity"
            if split is None
            else f"{claim.than} is no matched control: {'; '.join(split.unmatched)}"
        )
        return Finding(sparsity, Status.UNDECIDED, text, n, out_of_reach=True)
    own, adjusted = split.line.complexity, split.p_pays_delta if split.pays_delta else None
    interval = own.t_interval(1 - analysis.alpha)
    numbers = f"{numbers_of(own, interval)} against {claim.than}"
    if adjusted is not None and adjusted <= analysis.alpha:
        text = f"{numbers}, above +{delta:g}, and so it is against {analysis.reference}, adjusted {p_text(adjusted)}"
        text += "; shuffled features by the same search are not shown to do less" if split.above_noise is False else ""
        return Finding(sparsity, Status.SUPPORTED, text, own.n, adjusted, own.mean, interval)
    if split.line.verdict is Verdict.ESCAPES:
        text = f"{numbers}, above +{delta:g}, which is not shown against {analysis.reference}"
        return Finding(sparsity, Status.UNDECIDED, text, own.n, None, own.mean, interval)
    few = incomplete(own, analysis)
    if few is not None:
        reach = lacks_seeds(own, analysis)
        return Finding(sparsity, Status.UNDECIDED, f"{numbers}: {few}", own.n, None, own.mean, interval, (), reach)
    if own.is_identical:
        text = f"same masks as {claim.than} at every seed"
        return Finding(sparsity, Status.CONTRADICTED, text, own.n, None, 0.0, interval)
    p = _corrected(p_below(own, delta), claim)
    if p is not None and p <= analysis.alpha:
        text = f"{numbers}, shown below +{delta:g}, {p_text(p)}"
        return Finding(sparsity, Status.CONTRADICTED, text, own.n, p, own.mean, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}, neither side shown", own.n, None, own.mean, interval)


def larger_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """(A − B) − (C − D) > 0, formed at every seed that has all four."""
    assert claim.gain is not None
    assert claim.than_gain is not None
    table = analysis.table
    (a, b), (c, d) = claim.gain, claim.than_gain
    weights: dict[str, float] = {}
    for name, weight in ((a, 1.0), (b, -1.0), (c, -1.0), (d, 1.0)):
        weights[name] = weights.get(name, 0.0) + weight
    terms = [(weight, table.arm(name, sparsity)) for name, weight in weights.items()]
    found = combined_contrast(table, terms, name=a, reference=b, sparsity=sparsity)
    gains = [table.contrast(one, other, sparsity).restrict(found.seeds) for one, other in ((a, b), (c, d))]
    means = [f"{one.name} {signed(one.mean or 0.0)} over {one.reference}" for one in gains]
    return _sign_finding(claim, found, analysis, sparsity, f"{means[0]}, {means[1]}, apart by ")


def overfit_finding(claim: Claim, analysis: Analysis, sparsity: float) -> Finding:
    """A gap above 0, or above that of another scorer or at another S: the gain held out less the gain on test examples."""
    assert claim.scorer is not None
    places = [(claim.scorer, sparsity)]
    if claim.than is not None or claim.than_sparsity is not None:
        places.append((claim.than or claim.scorer, sparsity if claim.than_sparsity is None else round(claim.than_sparsity, 9)))
    gaps = [gap for gap in (_gap(analysis, *place) for place in places) if gap is not None]
    assert len(gaps) == len(places)  # `not_tested` asks for them
    found = gaps[0] if len(gaps) == 1 else less(analysis.table, *gaps)
    against = "".join(f" less that of {name} at S = {S:g}" for name, S in places[1:])
    return _sign_finding(claim, found, analysis, sparsity, f"gap of {claim.scorer}{against}: ")


def _sign_finding(claim: Claim, found: Contrast, analysis: Analysis, sparsity: float, head: str) -> Finding:
    """Supported where the mean is shown above 0, contradicted where it is shown below."""
    interval = found.t_interval(1 - analysis.alpha)
    numbers = f"{head}{numbers_of(found, interval)}"
    above, below = p_above(found, 0.0), _corrected(p_below(found, 0.0), claim)
    if above is not None and above <= analysis.alpha:
        return Finding(sparsity, Status.SUPPORTED, f"{numbers}, {p_text(above)}", found.n, above, found.mean, interval)
    if below is not None and below <= analysis.alpha:
        text = f"{numbers}, shown below 0, {p_text(below)}"
        return Finding(sparsity, Status.CONTRADICTED, text, found.n, below, found.mean, interval)
    return Finding(sparsity, Status.UNDECIDED, f"{numbers}, neither above nor below 0", found.n, None, found.mean, interval)


def _corrected(p: float | None, claim: Claim) -> float | None:
    """A p that could contradict at any sparsity of the claim: Bonferroni over them."""
    return None if p is None else min(1.0, p * len(claim.sparsities))


def _gap(analysis: Analysis, scorer: str, sparsity: float) -> Contrast | None:
    """The over-fitting gap that the analysis of searched scorers has."""
    points = () if analysis.searched is None else analysis.searched.points
    return next((point.gap for point in points if point.scorer == scorer and point.sparsity == sparsity), None)


def lacks_held_out(claim: Claim, analysis: Analysis) -> str | None:
    """What a gap needs that these rows do not have; None where they have it."""
    places = [(name, round(S, 9)) for name in claim.scorers for S in claim.places if round(S, 9) in analysis.sparsities]
    if all(_gap(analysis, *place) is not None for place in places):
        return None
    return f"values of {claim.scorer} and of {analysis.reference} on held-out examples (held_out, held_out_reference)"
