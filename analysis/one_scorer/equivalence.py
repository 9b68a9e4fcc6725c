"""Equivalence at ±δ: the paired t-TOST, and the exact sign-flip TOST beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sics_analysis.one_scorer.signflip import EXACT_LIMIT, sign_flip_test, subset_means
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.results import Interval, Row, Verdict, check_alpha, check_delta, columns, limits, p_text, plural, signed
from sics_analysis.rows.contrasts import MANY_SEEDS, Contrast, FloatArray, OfContrast, as_contrast
from sics_analysis.rows.degenerate import classify, coarse_text, exact_bound, exact_p
from sics_analysis.rows.looked import LookedContrast


@dataclass(frozen=True, slots=True)
class EquivalenceResult(OfContrast):
    """Paired TOST of a scorer against a reference at ±delta (Schuirmann 1987).

    Parameters
    ----------
    contrast
        The paired differences.
    delta, alpha
        Margin in points and the level of each one-sided test.
    t_lower, t_upper
        t statistics against −delta and +delta.
    p_lower, p_upper, p
        One-sided p that the difference is above −delta, that it is below +delta, and the larger of the two: Student t, or
        the exact p where all differences are equal, and the larger of both on two adjacent counts. None below three seeds, and
        where all masks have one hash.
    p_signflip, p_signflip_min
        The sign-flip TOST and the smallest p it can reach with n seeds.
    verdict
        IDENTICAL, EQUIVALENT, NONINFERIOR, NONSUPERIOR or INCONCLUSIVE. Whether a line escapes or degrades is decided within
        its family.
    reason
        Why, in words.
    degenerate
        Whether no t test fits, so that the verdict comes from an identity, from the exact sign-flip or from nothing.
    """

    delta: float
    alpha: float
    t_lower: float | None
    t_upper: float | None
    p_lower: float | None
    p_upper: float | None
    p: float | None
    p_signflip: float | None
    p_signflip_min: float | None
    verdict: Verdict
    reason: str
    degenerate: bool

    def confidence_interval(self, level: float = 0.90) -> Interval | None:
        """Student-t interval; the one at level 1 − 2·alpha lies inside ±delta exactly when t finds the line equivalent."""
        return self.contrast.t_interval(level)

    def smallest_delta(self) -> float | None:
        """Smallest margin that would have passed the t-TOST: ``|mean| + t(1−α, n−1)·se``, in points.

        For equal differences every margin above their size passes, and that size is returned; where test examples are known,
        the exact margin for these and for two adjacent counts, if it is larger. None below three seeds.
        """
        c, interval = self.contrast, self.contrast.t_interval(1 - 2 * self.alpha)
        if interval is None:
            return None
        exact = c.has_test and (c.is_constant or c.is_adjacent)
        sides = (exact_bound(side, c.level(self.alpha)) for side in ((c, c.mirrored()) if exact else ()))
        return max(abs(interval.low), abs(interval.high), *(-bound for bound in sides if bound is not None))

    def smallest_delta_signflip(self, rng: np.random.Generator | None = None) -> float | None:
        """Margin above which the sign-flip TOST passes, in points: exact up to 20 seeds.

        The p against +δ is (1 + number of seed subsets whose mean difference is at least δ)/2ⁿ, so the bound is the
        ⌊α·2ⁿ⌋-th largest subset mean. The test passes at every margin strictly above it. Beyond 20 seeds a sample
        of subsets stands for all of them, the one the test drew when both use one `rng` state.

        Returns
        -------
        float or None
            None where no margin passes: at α = 0.05 that is fewer than five seeds.
        """
        c = self.contrast
        if c.n == 0:
            return None
        means, total = subset_means(c, rng=rng)
        # Flipping nothing always counts against the line; so many subsets may count beside it.
        allowed = math.floor(self.alpha * total * (1 + 1e-12)) - (total - len(means))
        if not 0 <= allowed < len(means):
            return None
        last = len(means) - 1 - allowed
        return max(float(np.partition(means, last)[last]), -float(np.partition(means, allowed)[allowed]), 0.0)

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        where = "" if self.sparsity is None else f" at S = {self.sparsity:g}"
        head = f"{self.name} against {self.reference}{where}"
        if self.verdict is Verdict.IDENTICAL:
            return f"{head}: {self.reason} (n = {plural(self.n, 'seed')}), an identity that needs no test."
        if self.mean is None:
            return f"{head}: no complete seed."
        interval = self.confidence_interval(1 - 2 * self.alpha)
        numbers = f"{head}: difference {signed(self.mean)} points"
        if self.degenerate or interval is None:
            return f"{numbers} (n = {plural(self.n, 'seed')}), {self.verdict}: {self.reason}."
        kind = "exact" if self.n <= EXACT_LIMIT else "sampled"
        flip = "" if self.p_signflip is None else f", {kind} sign-flip {p_text(self.p_signflip)}"
        return (
            f"{numbers}, {interval}, margin ±{self.delta:g}; paired t-TOST {p_text(self.p)}{flip} "
            f"(n = {plural(self.n, 'seed')}): {self.verdict}, {self.reason}."
        )

    def to_row(self) -> Row:
        """The numbers as one table row, with the smallest passing margin."""
        numbers = "delta p_lower p_upper p_equivalence=p p_equivalence_signflip=p_signflip p_min_attainable=p_signflip_min"
        return {
            **columns(self, "scorer=name reference sparsity n difference=mean sd"),
            **limits("ci90", self.confidence_interval(0.90)),
            **limits("ci95", self.confidence_interval(0.95)),
            **columns(self, numbers),
            "smallest_delta": self.smallest_delta(),
            "smallest_delta_signflip": self.smallest_delta_signflip(),
            **columns(self, "verdict reason"),
        }


def t_tail_p(mean: ArrayLike, se: ArrayLike, df: ArrayLike, delta: float) -> tuple[FloatArray, FloatArray]:
    """p that the difference is above −delta and p that it is below +delta, for arrays of means and standard errors > 0.

    >>> lower, upper = t_tail_p(-1.58, 0.38896, 9, 0.5)
    >>> round(float(lower), 4), round(float(upper), 6)
    (0.9892, 0.000232)
    """
    m, s, f = np.asarray(mean, float), np.asarray(se, float), np.asarray(df, float)
    # stdtr(-t) and not 1 - stdtr(t): small p keep their digits.
    return (
        np.asarray(special.stdtr(f, -(m + delta) / s), dtype=np.float64),
        np.asarray(special.stdtr(f, (m - delta) / s), dtype=np.float64),
    )


def equivalence_test(
    data: Contrast | ArrayLike,
    delta: float,
    *,
    alpha: float = 0.05,
    rng: np.random.Generator | None = None,
) -> EquivalenceResult:
    """Test whether the mean difference lies within ±delta.

    Parameters
    ----------
    data
        A contrast, or differences in accuracy points of shape (n,).
    delta
        Margin in points, fixed before the run.
    alpha
        Level of each one-sided test; the line is equivalent exactly when the 1 − 2·alpha interval is inside ±delta.
    rng
        For the sign-flip TOST beyond 20 seeds; a fixed seed by default.

    Raises
    ------
    ValueError
        If `delta` is not positive and finite, or `alpha` is outside (0, 0.5).

    Notes
    -----
    EQUIVALENT is both halves of the TOST at alpha, NONINFERIOR the lower and NONSUPERIOR the upper alone; no half is adjusted
    for anything. Degenerate data take a path of their own before any t test (`classify`): the exact sign-flip decides where all
    differences are equal. Beside a t-TOST the sign-flip TOST never decides; beyond 100 seeds, where it agrees with t, it is left
    out.

    References
    ----------
    Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach.

    Examples
    --------
    >>> result = equivalence_test([0.1, -0.2, 0.3, 0.0, 0.15], delta=0.5)
    >>> result.verdict, round(result.p, 7), result.p_signflip
    (<Verdict.EQUIVALENT: 'EQUIVALENT'>, 0.0033109, 0.03125)
    >>> round(result.smallest_delta(), 3), result.smallest_delta_signflip()
    (0.247, 0.3)
    """
    check_delta(delta)
    check_alpha(alpha)
    found = t_tost(as_contrast(data), delta, alpha)
    if found.degenerate or not found.contrast.paired or found.n > MANY_SEEDS or not found.contrast.fixed:
        return found
    flips = (
        sign_flip_test(found.contrast, margin=-delta, alternative="greater", rng=rng),
        sign_flip_test(found.contrast, margin=delta, alternative="less", rng=rng),
    )
    p = max(flip.p for flip in flips if flip.p is not None)
    return replace(found, p_signflip=p, p_signflip_min=max(flip.p_min for flip in flips if flip.p_min is not None))


def t_tost(c: Contrast, delta: float, alpha: float) -> EquivalenceResult:
    """The t-TOST alone, or the degenerate path: the sign-flip test beside it decides nothing, and its 2ⁿ sums take their time."""
    known = classify(c, delta, alpha)
    if known is not None:
        p = None if known.p_lower is None or known.p_upper is None else max(known.p_lower, known.p_upper)
        ps = (known.p_lower, known.p_upper, p, p, known.p_signflip)
        return EquivalenceResult(c, delta, alpha, None, None, *ps, known.verdict, known.reason, True)
    mean, se = c.spread
    if c.fixed:
        lower, upper = (float(p) for p in t_tail_p(mean, se, c.df, delta))
        if c.is_adjacent:
            lower, upper = max(lower, exact_p(c, -delta)), max(upper, exact_p(c.mirrored(), -delta))
    else:
        lower, upper = (1.0 if p is None else p for p in (p_above(c, -delta), p_below(c, delta)))
    verdict = Verdict.of_halves(lower, upper, alpha)
    reason, t = _reason(c, delta, alpha, verdict, lower, upper), ((mean + delta) / se, (mean - delta) / se)
    return EquivalenceResult(c, delta, alpha, *t, lower, upper, max(lower, upper), None, None, verdict, reason, False)


def _reason(c: Contrast, delta: float, alpha: float, verdict: Verdict, lower: float, upper: float) -> str:
    if c.is_adjacent:
        return f"{coarse_text(c)}: {p_text(lower)} above −{delta:g}, {p_text(upper)} below +{delta:g}"
    level = f"{100 * (1 - 2 * alpha):g} % interval"
    interval = c.t_interval(1 - 2 * alpha)
    assert interval is not None  # a tested line has one
    if verdict is Verdict.EQUIVALENT:
        if isinstance(c, LookedContrast) and not interval.inside(delta):
            low, high = _first_look(c, -delta, alpha), _first_look(c.mirrored(), -delta, alpha)
            return f"shown above −{delta:g} at look {low} and below +{delta:g} at look {high}"
        return f"{level} inside ±{delta:g}"
    if verdict is Verdict.INCONCLUSIVE:
        return f"{level} crosses both −{delta:g} and +{delta:g}"
    if verdict is Verdict.NONINFERIOR:
        where = f"{'above' if interval.low > delta else 'crosses'} +{delta:g}"
        return f"{level} {where}; not worse by {delta:g}, unadjusted {p_text(lower)}"
    where = f"{'below' if interval.high < -delta else 'crosses'} −{delta:g}"
    return f"{level} {where}; not better by {delta:g}, unadjusted {p_text(upper)}"


def _first_look(c: Contrast, margin: float, alpha: float) -> int | None:
    """At which look the mean was first shown above a margin."""
    assert isinstance(c, LookedContrast)
    found = c.repeated_by_look(lambda fixed: p_above(fixed, margin))
    return next((look.number for look, p in found if p <= alpha), None)
