"""Power of the exact test of equal differences and of two adjacent counts, which no t fits: every outcome is enumerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sics_analysis.planning.plan import MAX_SEEDS
from sics_analysis.results import Verdict
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast
from sics_analysis.rows.degenerate import TINY

_SCANNED = 200  # a power of counts rises in teeth, so that the first n is looked for one by one as far as anybody would go


@dataclass(frozen=True, slots=True)
class TwoValues:
    """Differences that are `low`, or `step` more with a chance of `chance`, in points: with chance 0 all are equal.

    `resolution` is one test example, 0 where unknown; `tolerance` is what rounding may do.
    """

    low: float
    step: float
    chance: float
    resolution: float
    tolerance: float

    @classmethod
    def of(cls, c: Contrast, planned: float) -> TwoValues | None:
        """What a line points to that is constant or on two adjacent counts, its mean the planned one as far as these reach.

        >>> from sics_analysis.rows.contrasts import differences
        >>> TwoValues.of(differences([0.5, 1.0, 0.5, 1.0], examples=200), 0.75).chance
        0.5
        """
        if not c.paired or not c.has_test or not (c.is_constant or c.is_adjacent):
            return None
        low = min(c.differences)
        if not c.is_adjacent:
            return cls(low, 0.0, 0.0, c.resolution, c.tolerance)
        chance = min(max((planned - low) / c.resolution, 0.0), 1.0)
        return cls(low, c.resolution, chance, c.resolution, c.tolerance)

    @property
    def mean(self) -> float:
        """The true mean difference."""
        return self.low + self.chance * self.step

    def mirrored(self) -> TwoValues:
        """The reference against the scorer."""
        return TwoValues(-self.low - self.step, self.step, 1 - self.chance, self.resolution, self.tolerance)

    def p_above(self, n: int, margin: float) -> NDArray[np.float64]:
        """The p of "above the margin" where 0 … n of n seeds have the higher value, as `p_above` of a contrast gives it."""
        high = np.arange(n + 1)
        if not self.step:
            high = np.array([n])
        least = np.where(high == n, self.low + self.step, self.low)
        top = np.where(high == 0, self.low, self.low + self.step)
        holders = np.where(high == 0, n, high)  # a constant is its own higher value
        above = np.where(least - margin > self.tolerance, n, np.where(top - margin > self.tolerance, holders, 0))
        p = np.maximum(0.5**above, TINY)
        if self.resolution:
            q = np.clip(1 - (top - margin) / self.resolution, 0.0, 1.0)
            p = np.maximum(p, special.bdtrc(holders - 1, n, q))
        varied = (high > 0) & (high < n)
        if varied.any():
            k = high[varied]
            se = self.step * np.sqrt(k * (n - k) / (n * (n - 1.0)) / n)
            p[varied] = np.maximum(p[varied], special.stdtr(n - 1, -(self.low + self.step * k / n - margin) / se))
        return np.asarray(p, dtype=np.float64)

    def power(self, n: int, verdict: Verdict, delta: float, alpha: float, family: int = 1) -> float:
        """The chance that n seeds show a verdict; a family has Holm's first level."""
        low, high = self.p_above(n, -delta) <= alpha, self.mirrored().p_above(n, -delta)[::-1] <= alpha
        shown = {
            Verdict.EQUIVALENT: low & high,
            Verdict.NONINFERIOR: low,
            Verdict.NONSUPERIOR: high,
            Verdict.ESCAPES: self.p_above(n, delta) <= alpha / family,
            Verdict.DEGRADES: self.mirrored().p_above(n, delta)[::-1] <= alpha / family,
        }[verdict]
        if not self.step:
            return float(shown[0])
        count = np.arange(n + 1)
        chances = special.bdtr(count, n, self.chance) - np.where(count > 0, special.bdtr(count - 1, n, self.chance), 0.0)
        return float(np.sum(chances[shown]))

    def seeds(self, verdict: Verdict, delta: float, alpha: float, target: float, family: int = 1) -> int | None:
        """The fewest seeds with that chance of a verdict, beyond 200 to within a tenth; None where 100 000 have it not.

        >>> line = TwoValues(0.2, 0.0, 0.0, 0.0, 1e-9)
        >>> line.seeds(Verdict.EQUIVALENT, 0.5, 0.05, 0.8), line.seeds(Verdict.EQUIVALENT, 0.2, 0.05, 0.8)
        (5, None)
        """
        n = MIN_SEEDS
        while n <= MAX_SEEDS:
            if self.power(n, verdict, delta, alpha, family) >= target:
                return n
            n += 1 if n < _SCANNED else n // 10
        return None
