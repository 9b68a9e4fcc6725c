"""Parts of a report about one scorer: against the reference, against `information`, network by network."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.report.document.rows import Seed
from sics_analysis.results import Interval, Verdict


@dataclass(frozen=True, slots=True)
class LineInfo:
    """A scorer against the reference at one S, in accuracy points.

    Attributes
    ----------
    seeds, differences
        The complete seeds and the difference at each.
    ci90, ci95
        Student t. `ci_equivalence` has level 1 − 2α and is the one that decides equivalence.
    simultaneous
        Holds jointly with the others of the family of this S; None outside it.
    crossed
        For new seeds and new test images; None without per-example results.
    bca, studentized
        Bootstrap intervals at 95 %.
    p_equivalence, p_equivalence_holm, p_equivalence_signflip, p_equivalence_bootstrap
        Paired t-TOST (decides), Holm over the lines of this S, exact sign-flip and studentized bootstrap beside it.
    p_superior
        One-sided t of "above 0", for this line alone.
    p_escape, p_escape_adjusted, p_escape_holm, p_escape_signflip_joint
        Above +δ: alone, adjusted in the family (decides), Holm on t, exact joint sign-flip.
    p_degrade_adjusted
        Below −δ, adjusted.
    p_min_attainable
        Smallest p an exact sign-flip test of n seeds can give.
    smallest_delta
        Smallest margin at which this line would have been equivalent.
    g_z, g_z_ci
        Hedges' standardised effect and its 95 % interval.
    verdict, reason, sentence
        The verdict, why, and one sentence to quote.
    """

    scorer: str
    kappa: int | None
    in_family: bool
    sparsity: float
    n: int
    seeds: tuple[Seed, ...]
    differences: tuple[float, ...]
    mean: float | None
    sd: float | None
    ci90: Interval | None
    ci95: Interval | None
    ci_equivalence: Interval | None
    simultaneous: Interval | None
    crossed: Interval | None
    bca: Interval | None
    studentized: Interval | None
    p_equivalence: float | None
    p_equivalence_holm: float | None
    p_equivalence_signflip: float | None
    p_equivalence_bootstrap: float | None
    p_superior: float | None
    p_escape: float | None
    p_escape_adjusted: float | None
    p_escape_holm: float | None
    p_escape_signflip_joint: float | None
    p_degrade_adjusted: float | None
    p_min_attainable: float | None
    smallest_delta: float | None
    g_z: float | None
    g_z_ci: Interval | None
    degenerate: bool
    verdict: Verdict
    reason: str
    sentence: str


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
class WinnerInfo:
    """The best of the escape family at S with its simultaneous interval; its own mean is withheld (winner's curse)."""

    scorer: str
    sparsity: float
    n: int
    family: int
    interval: Interval
    sentence: str


@dataclass(frozen=True, slots=True)
class McNemarInfo:
    """Exact McNemar at one seed: a statement about those two networks only; difference and ci95 in points."""

    scorer: str
    sparsity: float
    seed: Seed
    only_scorer: int
    only_reference: int
    total: int
    difference: float
    ci95: Interval | None
    p: float
