"""Parts of a report about one scorer: against the reference (`LineInfo`), against `information`, network by network."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.results import Interval, LineRow, Seed, Verdict


@dataclass(frozen=True, slots=True)
class LineInfo(LineRow):
    """A scorer against the reference at one S, with the intervals at 95 % that only a report shows."""

    bca: Interval | None
    studentized: Interval | None
    g_z_ci: Interval | None


@dataclass(frozen=True, slots=True)
class AttributionInfo:
    """What a κ ≥ 1 scorer gains (mean points), split into what `information` gains and what complexity adds."""

    scorer: str
    kappa: int
    sparsity: float
    n: int
    gain: float | None
    information: float | None
    complexity: float | None
    ci95: Interval | None
    simultaneous: Interval | None
    p_superior_adjusted: float | None
    p_escape_adjusted: float | None
    p_equivalence: float | None
    verdict: Verdict
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class McNemarInfo:
    """Exact McNemar at one seed: a statement about those two networks only; difference and ci95 as its reader has them."""

    scorer: str
    sparsity: float
    seed: Seed
    only_scorer: int
    only_reference: int
    total: int
    difference: float
    ci95: Interval | None
    p: float
