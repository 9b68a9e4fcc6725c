"""The degenerate path of rule 7: what is said of data that no test fits, decided before any test is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from numpy.typing import ArrayLike

from sics_analysis.results import Verdict, check_delta, signed
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast, as_contrast


class DegenerateKind(StrEnum):
    """Why a contrast has no test (rule 7)."""

    IDENTICAL_MASKS = "identical masks"
    HASH_CONFLICT = "same mask hash but different accuracies"
    TOO_FEW_SEEDS = "too few seeds"
    ALL_ZERO = "all differences zero"
    CONSTANT = "all differences equal"


@dataclass(frozen=True, slots=True)
class Degenerate:
    """What rule 7 says of data that no test fits.

    Parameters
    ----------
    p_signflip
        Exact one-sided sign-flip p of the constant beyond ±δ, 2⁻ⁿ; None in every other row of the table.
    """

    kind: DegenerateKind
    verdict: Verdict
    reason: str
    p_signflip: float | None = None


def classify(data: Contrast | ArrayLike, delta: float, alpha: float = 0.05) -> Degenerate | None:
    """The degenerate path of rule 7, to be taken before any test; None when a test fits.

    Same masks come first (an identity needs no seeds), then too few seeds, then equal differences. Equality is exact
    for integer counts, at 1e-9 of the scale for fractions and at 2.5e-7 where all of them are of single precision.
    One hash beside accuracies that differ by more than that, and than the noise floor, is no identity: whatever was
    hashed was not the mask, and nothing is concluded.

    Parameters
    ----------
    data
        A contrast, or differences in points.
    delta
        Margin in points.
    alpha
        Level of the run. Equal differences at so few seeds that 2⁻ⁿ > alpha keep their verdict, and the reason says
        that they are weak evidence: no sign-flip test of so few seeds could reject anything.

    Examples
    --------
    >>> classify([0.2, 0.2, 0.2], delta=0.5).verdict
    <Verdict.EQUIVALENT: 'EQUIVALENT'>
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


def _constant(c: Contrast, delta: float, alpha: float) -> Degenerate:
    value = c.differences[0]
    gap = abs(value) - delta
    weak = f"; weak evidence: n = {c.n}, 2^−{c.n} > α" if 0.5**c.n > alpha else ""
    if max(abs(d) for d in c.differences) <= c.tolerance:
        return Degenerate(DegenerateKind.ALL_ZERO, Verdict.EQUIVALENT, f"degenerate: all differences zero{weak}")
    text = f"degenerate: all differences {signed(value)} points"
    if abs(gap) <= c.tolerance:
        return Degenerate(DegenerateKind.CONSTANT, Verdict.INCONCLUSIVE, f"{text}, on the margin")
    if gap < 0:
        return Degenerate(DegenerateKind.CONSTANT, Verdict.EQUIVALENT, f"{text}, inside ±{delta:g}{weak}")
    # Only the observed signs reach the observed sum of d ∓ δ: one arrangement of 2ⁿ.
    p = 0.5**c.n
    return Degenerate(DegenerateKind.CONSTANT, Verdict.INCONCLUSIVE, f"{text}, beyond ±{delta:g}; exact sign-flip p = {p:.3g}", p)
