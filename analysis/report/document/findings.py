"""From the results of an analysis to the parts of a report, one function a part."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from sics_analysis.claims.scorecard import ClaimResult
from sics_analysis.families.attribution import AttributionLine
from sics_analysis.planning.plan import plan
from sics_analysis.report.document.joint import ClaimFinding, ClaimInfo, KappaInfo, PlateauInfo, PowerInfo, PowerPoint
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.study.outcome import Analysis, Families, Line

_MAX_CURVE = 40


def paper_kappa(sparsity: float) -> int:
    """κ(S) as the paper states it: 0 below S = 0.65, 1 to 0.75, 2 above.

    Examples
    --------
    >>> [paper_kappa(S) for S in (0.5, 0.7, 0.8)]
    [0, 1, 2]
    """
    return 0 if sparsity < 0.65 else 1 if sparsity <= 0.75 else 2


def line_info(line: Line, family: Families) -> LineInfo:
    """A scorer against the reference, with its tests in the family of its S."""
    escape = next((found for found in family.escape.lines if found.name == line.scorer), None)
    equivalence = line.equivalence
    return LineInfo(
        scorer=line.scorer,
        kappa=line.kappa,
        in_family=line.in_family,
        sparsity=line.sparsity,
        n=line.n,
        seeds=line.contrast.seeds,
        differences=line.contrast.differences,
        mean=line.contrast.mean,
        sd=line.contrast.sd,
        ci90=line.confidence_interval(0.90),
        ci95=line.confidence_interval(0.95),
        ci_equivalence=line.confidence_interval(1 - 2 * equivalence.alpha),
        simultaneous=line.simultaneous,
        crossed=line.crossed,
        bca=line.bootstrap.confidence_interval(0.95, "bca"),
        studentized=line.bootstrap.confidence_interval(0.95, "studentized"),
        p_equivalence=equivalence.p,
        p_equivalence_holm=line.p_equivalence_holm,
        p_equivalence_signflip=equivalence.p_signflip,
        p_equivalence_bootstrap=line.p_bootstrap,
        p_superior=line.p_superior,
        p_escape=line.p_escape,
        p_escape_adjusted=line.p_escape_adjusted,
        p_escape_holm=None if escape is None else escape.p_holm,
        p_escape_signflip_joint=None if escape is None else escape.p_signflip_joint,
        p_degrade_adjusted=line.p_degrade_adjusted,
        p_min_attainable=line.p_min_attainable,
        smallest_delta=equivalence.smallest_delta(),
        g_z=line.effect.g_z,
        g_z_ci=line.effect.confidence_interval(0.95),
        degenerate=equivalence.degenerate,
        verdict=line.verdict,
        reason=line.reason,
        sentence=line.describe(),
    )


def plateau_infos(analysis: Analysis) -> tuple[PlateauInfo, ...]:
    """The joint claims that the κ = 0 scorers sit on one plateau."""
    return tuple(
        PlateauInfo(
            float(claim.sparsity or 0.0), claim.lines, claim.failing, claim.reference, claim.n, claim.p, claim.p_signflip,
            claim.largest, claim.holds, claim.verdict, claim.reason, claim.describe(),
        )
        for claim in analysis.plateaus
    )  # fmt: skip


def kappa_infos(analysis: Analysis) -> tuple[KappaInfo, ...]:
    """κ(S) at every S, beside the step of the paper; nothing where it is not available."""
    return tuple(
        KappaInfo(
            point.sparsity, point.n, point.kappa, point.not_rejected, point.p_values, point.p_claim_adjusted, point.level,
            paper_kappa(point.sparsity), point.reason, point.describe(),
        )
        for point in (analysis.spectrum.points if analysis.spectrum else ())
    )  # fmt: skip


def attribution_info(line: AttributionLine) -> AttributionInfo:
    """What a scorer gains, split into information and complexity."""
    return AttributionInfo(
        line.scorer, line.kappa, line.sparsity, line.n, line.gain.mean, line.information.mean, line.complexity.mean,
        line.confidence_interval(), line.simultaneous, line.p_superior_adjusted, line.p_escape_adjusted, line.equivalence.p,
        line.verdict, line.reason, line.describe(),
    )  # fmt: skip


def claim_info(found: ClaimResult, *, gate: bool = False) -> ClaimInfo:
    """A claim with what the rows say of it."""
    claim = found.claim
    return ClaimInfo(
        id=claim.id,
        kind=claim.kind,
        statement=claim.statement,
        where=claim.where,
        reading=claim.reading,
        claimed=found.claimed,
        points=claim.points,
        status=found.status,
        sparsity=found.decisive.sparsity,
        estimate=found.estimate,
        interval=found.interval,
        p=found.p,
        n=found.n,
        findings=tuple(ClaimFinding(f.sparsity, f.status, f.text) for f in found.findings),
        paragraph=found.paragraph,
        gate=gate,
    )


def power_info(analysis: Analysis, lines: Sequence[LineInfo]) -> PowerInfo:
    """The power of so many seeds when differences spread as here: the median sd over the lines of the family."""
    here = max((line.n for line in lines), default=0)
    family = max((len(found.escape.tested) for found in analysis.families), default=0) or 1
    spread = [line.sd for line in lines if line.in_family and not line.degenerate and line.sd]
    spread = spread or [line.sd for line in lines if not line.degenerate and line.sd]
    effect = 2 * analysis.delta
    if not spread:
        return PowerInfo(None, effect, family, here, None, None, (), "no line has a spread between seeds to plan with")
    sd = statistics.median(spread)
    made = plan(max(here, 3), sd, delta=analysis.delta, alpha=analysis.alpha, family=family, max_n=_MAX_CURVE)
    points = tuple(PowerPoint(n, equivalence, escape) for n, equivalence, escape in made.curve)
    return PowerInfo(sd, effect, family, here, made.equivalence_seeds.n, made.escape_seeds.n, points, "")
