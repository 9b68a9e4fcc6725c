"""From the searched scorers of an analysis to what its report says of them."""

from __future__ import annotations

from collections.abc import Iterable

from sics_analysis.families.searched import BudgetPoint, PoolGain, SearchedBeside, SearchedGain
from sics_analysis.report.document.searched import (
    BesideInfo,
    PartInfo,
    PointInfo,
    PoolInfo,
    SearchedInfo,
    SplitInfo,
    WeightsInfo,
)
from sics_analysis.results import Interval, Metric
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.study.outcome import Analysis


def searched_info(analysis: Analysis) -> SearchedInfo | None:
    """What a report says of the searched scorers of a run, better up; None where there are none."""
    study = analysis.searched
    if study is None:
        return None
    sparsities = sorted({point.sparsity for point in study.points})
    gaps = (study.over_fitting(S) for S in sparsities)
    return SearchedInfo(
        splits=tuple(map(_split, study.gains)),
        beside=tuple(map(_beside, study.beside)),
        points=tuple(_point(point, analysis) for point in study.points),
        pools=tuple(map(_pool, study.pools)),
        weights=tuple(_weights(analysis)),
        smaller=tuple(name for name in study.smaller if name != analysis.reference),
        over_fitting=tuple(filter(None, gaps)),
        remarks=study.remarks,
        reason=study.reason,
    )


def _part(contrast: Contrast) -> PartInfo:
    return PartInfo(contrast.mean, contrast.t_interval())


def _known(contrast: Contrast | None) -> PartInfo | None:
    return None if contrast is None else _part(contrast)


def _split(gain: SearchedGain) -> SplitInfo:
    line = gain.line
    return SplitInfo(
        scorer=gain.scorer,
        features=gain.name.features,
        budget=gain.name.budget,
        sparsity=gain.sparsity,
        n=gain.n,
        gain=_part(gain.gain),
        search=_known(gain.search),
        information=_known(gain.information),
        control=None if line is None else line.control,
        complexity=None if line is None else _part(line.complexity),
        simultaneous=None if line is None else line.simultaneous,
        p_superior_adjusted=None if line is None else line.p_superior_adjusted,
        p_escape_adjusted=None if line is None else line.p_escape_adjusted,
        p_pays=gain.p_pays,
        p_pays_delta=gain.p_pays_delta,
        p_pays_delta_run=gain.p_pays_delta_run,
        p_equivalence=None if line is None else line.equivalence.p,
        verdict=None if line is None else line.verdict,
        pays=gain.pays,
        pays_delta=gain.pays_delta,
        reason="; ".join(gain.unmatched) if line is None else line.reason,
        conclusion=gain.conclusion(),
        sentence=gain.describe(),
        noise=_known(gain.noise),
        above_noise=gain.above_noise,
    )


def _beside(found: SearchedBeside) -> BesideInfo:
    line = found.line
    return BesideInfo(
        scorer=line.scorer,
        control=line.control,
        question=found.question,
        budget=found.name.budget,
        sparsity=line.sparsity,
        n=line.n,
        difference=_part(line.complexity),
        simultaneous=line.simultaneous,
        p_superior_adjusted=line.p_superior_adjusted,
        p_escape_adjusted=line.p_escape_adjusted,
        p_equivalence=line.equivalence.p,
        verdict=line.verdict,
        reason=line.reason,
        sentence=found.describe(),
        conclusion=found.conclusion(),
        kind=found.name.kind,
    )


def _point(point: BudgetPoint, analysis: Analysis) -> PointInfo:
    tested = point.largest and point.gap is not None
    found = "over-fits" if point.over_fits(analysis.alpha) else "within" if point.is_small else "open"
    return PointInfo(
        scorer=point.scorer,
        kind=point.name.kind,
        features=point.name.features,
        budget=point.name.budget,
        largest=point.largest,
        sparsity=point.sparsity,
        n=point.gain.n,
        gain=_part(point.gain),
        gap=_known(point.gap),
        gap_loss=None if point.gap_loss is None else _of_loss(_part(point.gap_loss), analysis.metric),
        p_gap=point.p_gap,
        p_gap_holm=point.p_gap_holm,
        found=found if tested else "",
    )


def _of_loss(part: PartInfo, metric: Metric) -> PartInfo:
    """A difference of losses, of which less is better whatever the metric: `as_read` turns it with all others, or none."""
    if metric.lower_is_better:
        return part
    found = part.ci95
    interval = None if found is None else Interval(-found.high, -found.low, found.level, found.method)
    return PartInfo(None if part.mean is None else -part.mean, interval)


def _pool(found: PoolGain) -> PoolInfo:
    return PoolInfo(
        scorer=found.scorer,
        pool=found.pool,
        own=found.own,
        sparsity=found.sparsity,
        n=found.contrast.n,
        difference=_part(found.contrast),
        p_equivalence=found.equivalence.p,
        verdict=found.decision.verdict,
        reason=found.decision.reason,
        sentence=found.describe(),
    )


def _weights(analysis: Analysis) -> Iterable[WeightsInfo]:
    """The weights found with the largest budgets, by S, then in the order of the scorers."""
    searches = analysis.table.searches
    for S in analysis.sparsities:
        for name in analysis.scorers:
            if name in searches.smaller:
                continue
            for seed in analysis.seeds:
                cell = searches.cells.get((name, S), {}).get(seed)
                if cell is not None and cell.weights:
                    yield WeightsInfo(name, S, seed, cell.weights)
