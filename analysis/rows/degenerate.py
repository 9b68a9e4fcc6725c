"""The degenerate path of rules 7 and 18: what is said of data that no t test fits, decided before any of them is called."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from numpy.typing import ArrayLike

from sics_analysis.results import Verdict, check_delta, p_text, signed
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast, as_contrast

TINY = math.ulp(0.0)


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
        Exact sign-flip p that a constant difference is above −δ, and that it is below +δ; None for other kinds.
    p_signflip
        2⁻ⁿ, the p of everything that a constant difference shows; None for other kinds.
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


def constant_p(c: Contrast, margin: float) -> float:
    """Exact sign-flip p that equal differences lie above a margin, in points.

    2⁻ⁿ where every one of them does: of all patterns of signs only the observed one reaches its sum. Otherwise 1: a constant
    at the margin, or one that is known to within one test example and may be there, shows nothing.

    >>> from sics_analysis.rows.contrasts import differences
    >>> constant_p(differences([2.0] * 5), 0.5), constant_p(differences([0.5] * 5), 0.5)
    (0.03125, 1.0)
    """
    return smallest_p(c.n) if min(c.differences) - margin > c.tolerance else 1.0


def classify(data: Contrast | ArrayLike, delta: float, alpha: float = 0.05) -> Degenerate | None:
    """The degenerate path, to be taken before any t test; None when one fits.

    Same masks come first (an identity needs no seeds), then too few seeds, then equal differences. Equality is exact
    for integer counts, at 1e-9 of the scale for fractions and at 2.5e-7 where all of them are of single precision; where the
    number of test examples is known, differences that are closer than one example are equal too.
    One hash beside accuracies that differ by more than that, and than the noise floor, is no identity: whatever was
    hashed was not the mask, and nothing is concluded.

    A constant difference is neither infinite evidence nor none: its exact sign-flip p, 2⁻ⁿ, decides. So it takes five seeds at
    α = 0.05 for anything to be shown. Whether a constant beyond ±δ escapes or degrades is decided in its family.

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
    if not c.is_constant:
        return None
    if not c.paired:
        return Degenerate(DegenerateKind.CONSTANT, Verdict.INCONCLUSIVE, "degenerate: neither side has a spread")
    return _constant(c, delta, alpha)


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
    p, lower, upper = smallest_p(c.n), constant_p(c, -delta), constant_p(c.mirrored(), -delta)
    zero = max(abs(d) for d in c.differences) <= c.tolerance
    kind = DegenerateKind.ALL_ZERO if zero else DegenerateKind.CONSTANT
    found = Verdict.of_halves(lower, upper, alpha)
    if p > alpha:
        why = f"; too few seeds for a constant difference: n = {c.n}, 2^−{c.n} > α"
    elif found is Verdict.EQUIVALENT:
        why = f"{'' if zero else f', inside ±{delta:g}'}; exact sign-flip {p_text(p)}"
    else:
        above = c.mean is not None and c.mean > 0
        margin = f"{'+' if above else '−'}{delta:g}"
        beyond = constant_p(c if above else c.mirrored(), delta) < 1
        why = f", {'beyond' if beyond else 'on the margin'} {margin}; exact sign-flip {p_text(p)}"
    return Degenerate(kind, found, f"{constant_text(c)}{why}", lower, upper, p)
