"""Equivalence by the bootstrap: the studentized interval, inverted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sics_analysis.one_scorer.bootstrap import N_RESAMPLES, Bootstrap, bootstrap_mean
from sics_analysis.results import Interval, Row, Verdict, check_alpha, check_delta, columns, limits, p_text, plural, signed
from sics_analysis.rows.contrasts import Contrast, as_contrast
from sics_analysis.rows.degenerate import classify


@dataclass(frozen=True, slots=True)
class BootstrapEquivalence:
    """TOST at ±delta by the studentized bootstrap; accuracy points. p-values are None on degenerate data."""

    n: int
    mean: float | None
    delta: float
    alpha: float
    p_lower: float | None
    p_upper: float | None
    p: float | None
    interval: Interval | None
    verdict: Verdict
    reason: str
    exact: bool
    n_resamples: int

    def confidence_interval(self, level: float = 0.90) -> Interval | None:
        """Return the 1 − 2α interval that the test inverts; only that level is kept."""
        if self.interval is not None and not math.isclose(level, self.interval.level):
            raise ValueError(f"Expected `level` {self.interval.level:g}, the one this test inverts, got {level!r}")
        return self.interval

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        how = f"all {self.n_resamples} resamples" if self.exact else f"{self.n_resamples} resamples"
        tail = f" ({self.reason})" if self.reason else ""
        mean = "none" if self.mean is None else signed(self.mean)
        return (
            f"Bootstrap TOST at ±{self.delta:g} points over {plural(self.n, 'seed')}: difference {mean}, "
            f"{p_text(self.p)}, {how}: {self.verdict}{tail}."
        )

    def to_row(self) -> Row:
        """Return the numbers as one row."""
        numbers = columns(self, "n difference=mean delta p_lower p_upper p")
        return numbers | limits("", self.interval) | columns(self, "verdict reason")


def bootstrap_tost(
    contrast: Contrast | ArrayLike,
    delta: float,
    *,
    alpha: float = 0.05,
    rng: np.random.Generator | None = None,
    n_resamples: int = N_RESAMPLES,
    resampled: Bootstrap | None = None,
) -> BootstrapEquivalence:
    """Equivalence at ±delta by inverting the bootstrap-t interval.

    With `resampled`, the `bootstrap_mean` of the same contrast, nothing is drawn, so that test and interval always agree.

    ``p_upper`` is the share of resamples whose t is at or below (mean − delta)/se, ``p_lower`` the share at
    or above (mean + delta)/se; drawn resamples count the sample itself. Equivalent exactly when the 1 − 2α
    studentized interval lies strictly inside ±delta. Degenerate data take the verdict of `classify` and have no p.

    >>> result = bootstrap_tost([0.1, -0.2, 0.3, 0.0, 0.15], 0.5)
    >>> str(result.verdict), result.p < 0.05
    ('EQUIVALENT', True)
    """
    check_delta(delta)
    check_alpha(alpha)
    line = as_contrast(contrast)
    degenerate = classify(line, delta, alpha)
    if resampled is not None and resampled.values != line.differences:
        raise ValueError(f"Expected `resampled` of these {line.n} differences, got one of {resampled.n} others")
    result = resampled or bootstrap_mean(line, rng=rng, n_resamples=n_resamples)
    mean, se = line.mean, line.se
    if degenerate is not None or result.studentized is None or result.weights is None or mean is None or not se:
        verdict = Verdict.INCONCLUSIVE if degenerate is None else degenerate.verdict
        reason = (result.reason or "") if degenerate is None else degenerate.reason
        interval = result.confidence_interval(1 - 2 * alpha)
        return BootstrapEquivalence(line.n, mean, delta, alpha, None, None, None, interval, verdict, reason, False, 0)
    t, weights = result.studentized, result.weights
    extra = 0 if result.exact else 1
    total = int(weights.sum()) + extra
    p_upper = (int(weights[t <= (mean - delta) / se].sum()) + extra) / total
    p_lower = (int(weights[t >= (mean + delta) / se].sum()) + extra) / total
    p = max(p_lower, p_upper)
    verdict = Verdict.of_halves(p_lower, p_upper, alpha)
    interval = result.confidence_interval(1 - 2 * alpha)
    reason = "" if p <= alpha else f"the {100 * (1 - 2 * alpha):g} % interval reaches outside ±{delta:g}"
    return BootstrapEquivalence(
        line.n,
        mean,
        delta,
        alpha,
        p_lower,
        p_upper,
        p,
        interval,
        verdict,
        reason,
        result.exact,
        result.n_resamples,
    )
