"""The degenerate path of rules 7 and 18: what is said of data that no t test fits, decided before any of them is called.

And the exact p of such data, which differences on two adjacent counts need beside their t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sics_analysis.results import Verdict, check_delta, p_text, plural, signed
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast, as_contrast
from sics_analysis.rows.unpaired import UnpairedContrast

TINY = math.ulp(0.0)
ADJACENT = "differences of two adjacent counts, so the larger of t's and the exact p"
_NUISANCE = 201  # chances of one side at which the exact p of two sides is taken


class DegenerateKind(StrEnum):
    """Why a contrast has no t test."""

    IDENTICAL_MASKS = "identical masks"
    HASH_CONFLICT = "same mask hash but different accuracies"
    TOO_FEW_SEEDS = "too few seeds"
    ALL_ZERO = "all differences zero"
    CONSTANT = "all differences equal"


@dataclass(frozen=True, slots=True)
class Degenerate:
    """What is said of data that no t test fits.

    Parameters
    ----------
    p_lower, p_upper
        Exact p that a constant difference is above −δ, and that it is below +δ (`exact_p`); None for other kinds.
    p_signflip
        2⁻ⁿ, the smallest p of anything that a constant difference shows; None for other kinds.
    """

    kind: DegenerateKind
    verdict: Verdict
    reason: str
    p_lower: float | None = None
    p_upper: float | None = None
    p_signflip: float | None = None


def smallest_p(n: int) -> float:
    """The smallest p of an exact one-sided sign-flip test of n seeds, 2⁻ⁿ; beyond 1074 seeds still no zero."""
    return 0.5**n or TINY


def exact_p(c: Contrast, margin: float) -> float:
    """Exact p that the mean difference lies above a margin, of equal differences or of two values one test example apart.

    The larger of two. The sign-flip p of the seeds above the margin, 2⁻ᵏ: 1 for a constant at the margin, or one that is known
    to within one test example and may be there. And, where test examples are known, the binomial p of two adjacent counts:
    under a mean at the margin each seed has the higher of them with a chance q that the margin fixes, so that k of n seeds have
    it by P(Bin(n, q) ≥ k). A constant is the higher one, k = n: qⁿ, which counts where the margin is closer than one example.

    `tests/analysis/rows/test_adjacent.py` enumerates the error of every use: at most α for any q. A drop by several
    examples that n seeds are not likely to meet is beyond any test of n seeds.

    Of two samples without pairs it is the largest of that of each side which is constant or on two adjacent counts, the mean of
    the other being taken for true, as its error is in Welch's p beside it. Where both are, neither error is Welch's, and the p of
    the difference of two binomials is added: at the margin, and at the chances that make it largest (Chan 1998).

    >>> from sics_analysis.rows.contrasts import differences
    >>> exact_p(differences([2.0] * 5), 0.5), exact_p(differences([0.5] * 5), 0.5)
    (0.03125, 1.0)
    >>> round(exact_p(differences([0.6] * 5, examples=200), 0.5), 5)  # the next lower count is 0.1: q = 0.8
    0.32768
    """
    if isinstance(c, UnpairedContrast):
        return max([*(exact_p(side, margin + shift) for side, shift in c.coarse), _both_coarse(c, margin)])
    top, high = _higher(c)
    above = c.n if min(c.differences) - margin > c.tolerance else high if top - margin > c.tolerance else 0
    if not c.resolution:
        return smallest_p(above)
    q = min(max(1 - (top - margin) / c.resolution, 0.0), 1.0)
    return max(smallest_p(above), float(special.bdtrc(high - 1, c.n, q)))


def exact_bound(c: Contrast, level: float) -> float | None:
    """The margin below which `exact_p` is at most this level; None where it is below no margin.

    >>> from sics_analysis.rows.contrasts import differences
    >>> round(exact_bound(differences([0.6] * 5, examples=200), 0.05), 4), exact_bound(differences([0.6] * 4), 0.05)
    (0.3746, None)
    """
    if isinstance(c, UnpairedContrast):
        return _unpaired_bound(c, level)
    if smallest_p(c.n) > level:
        return None
    top, high = _higher(c)
    if smallest_p(high) > level:
        return min(c.differences)
    return top - c.resolution * (1 - float(special.betaincinv(high, c.n - high + 1, level)))


def _unpaired_bound(c: UnpairedContrast, level: float) -> float | None:
    """The same of two samples; where both are coarse the p of both has no closed form, and the margin is searched."""
    own = [None if (bound := exact_bound(side, level)) is None else bound - shift for side, shift in c.coarse]
    low = min((bound for bound in own if bound is not None), default=None)
    if low is None or None in own or _both_coarse(c, low) <= level:
        return None if None in own else low
    high, low = low, low - sum(c.resolutions)  # no mean of two adjacent counts is further down, so that the p is 0 there
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _both_coarse(c, middle) <= level else (low, middle)
    return low


def _both_coarse(c: UnpairedContrast, margin: float) -> float:
    """Exact p of "above a margin" of two sides that are each constant or on two adjacent counts; 0 where one is not."""
    sides = [side for side, _ in c.coarse]
    if len(sides) < 2 or not all(side.resolution for side in sides):
        return 0.0
    (one, two), ((top, high), (top_2, high_2)) = sides, map(_higher, sides)
    a, b = one.resolution, two.resolution
    # What chances of the higher counts have to add up to: q·a + q'·b where the means differ by the margin.
    sought = margin - (top - a) - (top_2 - b)
    if sought <= 0 or sought >= a + b:
        return float(sought > 0)
    q = np.linspace(max(0.0, (sought - b) / a), min(1.0, sought / a), _NUISANCE)[:, None]
    counts = np.arange(one.n + 1)
    enough = np.ceil((a * (high - counts) / one.n + b * high_2 / two.n) * two.n / b - 1e-9)
    others = np.where(
        enough > two.n, 0.0, special.bdtrc(np.clip(enough - 1, -1, two.n), two.n, np.clip((sought - q * a) / b, 0, 1))
    )
    own = special.binom(one.n, counts) * q**counts * (1 - q) ** (one.n - counts)
    return min(1.0, float((own * others).sum(axis=1).max()))


def coarse_text(c: Contrast) -> str:
    """Why the exact p stands beside t's, in words."""
    if not isinstance(c, UnpairedContrast):
        return ADJACENT
    found = [
        f"{plural(side.n, 'seed')} {'of one value' if side.is_constant else 'on two adjacent counts'}" for side, _ in c.coarse
    ]
    return f"{' against '.join(found)}, so the larger of Welch's and the exact p"


def _higher(c: Contrast) -> tuple[float, int]:
    """The higher of two adjacent counts and the seeds that have it; of a constant its lowest value, which all have."""
    if not c.is_adjacent:
        return min(c.differences), c.n
    top = max(c.differences)
    return top, sum(top - d < c.resolution / 2 for d in c.differences)


def classify(data: Contrast | ArrayLike, delta: float, alpha: float = 0.05) -> Degenerate | None:
    """The degenerate path, to be taken before any t test; None when one fits.

    Same masks come first (an identity needs no seeds), then too few seeds, then equal differences. Equality is exact
    for integer counts, at 1e-9 of the scale for fractions and at 2.5e-7 where all of them are of single precision; where the
    number of test examples is known, differences that are closer than one example are equal too.
    One hash beside accuracies that differ by more than that, and than the noise floor, is no identity: whatever was
    hashed was not the mask, and nothing is concluded.

    A constant difference is neither infinite evidence nor none: its exact p decides, 2⁻ⁿ or more (`exact_p`). So it takes five
    seeds at α = 0.05 for anything to be shown. Whether a constant beyond ±δ escapes or degrades is decided in its family. Of
    seeds that are looked at more than once the p are the repeated ones of the last look.

    Parameters
    ----------
    data
        A contrast, or differences in points.
    delta
        Margin in points.
    alpha
        Level of each one-sided test.

    Examples
    --------
    >>> classify([0.2] * 5, delta=0.5).verdict
    <Verdict.EQUIVALENT: 'EQUIVALENT'>
    >>> classify([0.2, 0.2, 0.2], delta=0.5).reason
    'degenerate: all differences +0.20 points; too few seeds for a constant difference: n = 3, 2^−3 > α'
    >>> classify([0.7] * 5, delta=0.5).p_signflip
    0.03125
    >>> classify([0.1, 0.0, 0.0], delta=0.5) is None
    True
    """
    check_delta(delta)
    c = as_contrast(data)
    if c.same_hash:
        largest = max(abs(d) for d in c.differences)
        if c.hash_conflict:
            text = f"same mask hash but different accuracies: by up to {largest:.3g} points"
            return Degenerate(DegenerateKind.HASH_CONFLICT, Verdict.INCONCLUSIVE, text)
        noise = "" if largest <= c.tolerance else f"; accuracies still differ by up to {largest:.2f} points"
        return Degenerate(DegenerateKind.IDENTICAL_MASKS, Verdict.IDENTICAL, f"same mask at every seed{noise}")
    if c.n < MIN_SEEDS:
        return Degenerate(DegenerateKind.TOO_FEW_SEEDS, Verdict.INCONCLUSIVE, f"too few seeds: {c.n}, needs {MIN_SEEDS}")
    if not c.has_test and not c.fixed:
        return Degenerate(DegenerateKind.TOO_FEW_SEEDS, Verdict.INCONCLUSIVE, f"no look yet: {plural(c.n, 'seed')}")
    if not c.is_constant:
        return None
    if not c.paired:
        return _neither_spreads(c, delta, alpha)
    return _constant(c, delta, alpha)


def _neither_spreads(c: Contrast, delta: float, alpha: float) -> Degenerate:
    """Two constant sides: no infinite evidence, nor none; the exact p of both decides, 2⁻ⁿ of the smaller side at least."""
    lower, upper = exact_p(c, -delta), exact_p(c.mirrored(), -delta)
    reason = f"degenerate: neither side has a spread; exact {p_text(lower)} above −{delta:g}, {p_text(upper)} below +{delta:g}"
    return Degenerate(DegenerateKind.CONSTANT, Verdict.of_halves(lower, upper, alpha), reason, lower, upper, smallest_p(c.n))


def constant_text(c: Contrast) -> str:
    """Equal differences, in words.

    >>> from sics_analysis.rows.contrasts import differences
    >>> constant_text(differences([2.0, 2.0, 1.99], examples=600))
    'degenerate: all differences +2.00 points, to within one test example'
    """
    if max(abs(d) for d in c.differences) <= c.tolerance:
        return "degenerate: all differences zero"
    near = "" if max(c.differences) - min(c.differences) <= c.tolerance else ", to within one test example"
    return f"degenerate: all differences {signed(c.mean or 0.0)} points{near}"


def _constant(c: Contrast, delta: float, alpha: float) -> Degenerate:
    p, lower, upper = smallest_p(c.n), exact_p(c, -delta), exact_p(c.mirrored(), -delta)
    level = c.level(alpha)
    zero = max(abs(d) for d in c.differences) <= c.tolerance
    kind = DegenerateKind.ALL_ZERO if zero else DegenerateKind.CONSTANT
    found = Verdict.of_halves(lower, upper, level)
    above = c.mean is not None and c.mean > 0
    beyond, margin = exact_p(c if above else c.mirrored(), delta), f"{'+' if above else '−'}{delta:g}"
    # Closer to the margin than one example, its p is larger than that of its signs alone, on whichever side it lies.
    close = next((near for near in (upper if above else lower, beyond) if p < near < 1), None)
    test = f"exact sign-flip {p_text(p)}" if close is None else f"exact {p_text(close)}, within one test example of {margin}"
    if p > level:
        bound = "α" if c.fixed else f"{level:.2g}, the level of this look"
        why = f"; too few seeds for a constant difference: n = {c.n}, 2^−{c.n} > {bound}"
    elif found is Verdict.EQUIVALENT:
        why = f"{'' if zero else f', inside ±{delta:g}'}; {test}"
    else:
        side = "beyond" if beyond < 1 else "on the margin" if close is None else "inside"
        why = f", {side} {margin}; {test}"
    return Degenerate(kind, found, f"{constant_text(c)}{why}", c.repeated(lower), c.repeated(upper), c.repeated(p))
