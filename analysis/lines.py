"""One line of the analysis: a scorer at a sparsity against the reference, with everything said about it."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.bootstrap import Bootstrap
from sics_analysis.contrasts import Contrast
from sics_analysis.effect import EffectSize
from sics_analysis.equivalence import EquivalenceResult
from sics_analysis.results import Interval, Row, Verdict, p_text, signed


@dataclass(frozen=True, slots=True)
class Line:
    """A scorer against the reference at one sparsity; accuracy points.

    Attributes
    ----------
    in_family
        Whether the line belongs to the escape family of its S; otherwise it is tested on its own, as a family of one,
        and its adjusted p-values are its raw ones.
    equivalence
        The paired TOST with its sign-flip cross-check.
    p_superior, p_escape
        One-sided t of "above 0" and "above +δ", for this line alone.
    p_escape_adjusted, p_degrade_adjusted
        Adjusted within the families of this S (`sics_analysis.escape.max_t_family`).
    p_equivalence_holm
        TOST p with Holm over the lines of this S.
    p_min_attainable
        The smallest p an exact sign-flip test of this many seeds can give.
    simultaneous
        Interval that holds jointly with those of the family; None outside it.
    bootstrap, p_bootstrap
        Percentile, BCa, studentized and basic intervals, and p of the equivalence test by the studentized bootstrap.
    crossed
        Interval for new seeds and new test images; None without per-example results.
    """

    contrast: Contrast
    kappa: int | None
    in_family: bool
    equivalence: EquivalenceResult
    effect: EffectSize
    p_superior: float | None
    p_escape: float | None
    p_escape_adjusted: float | None
    p_degrade_adjusted: float | None
    p_equivalence_holm: float | None
    p_min_attainable: float | None
    simultaneous: Interval | None
    bootstrap: Bootstrap
    p_bootstrap: float | None
    crossed: Interval | None
    verdict: Verdict
    reason: str

    @property
    def scorer(self) -> str:
        """The scorer."""
        return self.contrast.name

    @property
    def sparsity(self) -> float:
        """The sparsity S."""
        assert self.contrast.sparsity is not None
        return self.contrast.sparsity

    @property
    def n(self) -> int:
        """Number of complete seeds of this contrast."""
        return self.contrast.n

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of the difference; None below three seeds."""
        return self.contrast.t_interval(level)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        head = f"{self.scorer} against {self.contrast.reference} at S = {self.sparsity:g}"
        mean, interval = self.contrast.mean, self.confidence_interval(0.90)
        if mean is None:
            return f"{head}: {self.verdict}, {self.reason}."
        shown = "" if interval is None else f", {interval}"
        tests = ""
        if self.p_escape_adjusted is not None:
            kind = "adjusted" if self.in_family else "unadjusted, a line of its own"
            tests = (
                f"; equivalence {p_text(self.equivalence.p)}, escape {p_text(self.p_escape_adjusted)} and "
                f"degradation {p_text(self.p_degrade_adjusted)} {kind}"
            )
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{head}: {signed(mean)} points over {self.n} seeds{shown}, δ = {self.equivalence.delta:g}{tests}: "
            f"{self.verdict}{why}."
        )

    def to_row(self) -> Row:
        """Return the columns of `Analysis.to_frame` as one row; what is undefined is None."""
        ci90, ci95 = self.confidence_interval(0.90), self.confidence_interval(0.95)
        return {
            "scorer": self.scorer,
            "sparsity": self.sparsity,
            "n": self.n,
            "difference": self.contrast.mean,
            "ci90_low": None if ci90 is None else ci90.low,
            "ci90_high": None if ci90 is None else ci90.high,
            "ci95_low": None if ci95 is None else ci95.low,
            "ci95_high": None if ci95 is None else ci95.high,
            "p_equivalence": self.equivalence.p,
            "p_equivalence_holm": self.p_equivalence_holm,
            "p_superior": self.p_superior,
            "p_escape": self.p_escape,
            "p_escape_adjusted": self.p_escape_adjusted,
            "p_degrade_adjusted": self.p_degrade_adjusted,
            "p_min_attainable": self.p_min_attainable,
            "verdict": str(self.verdict),
            "reason": self.reason,
        }
