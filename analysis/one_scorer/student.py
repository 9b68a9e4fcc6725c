"""One-sided tests of a single contrast: Student t, or the exact sign-flip where all its differences are equal (rule 18)."""

from __future__ import annotations

from scipy import special

from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.degenerate import constant_p


def p_above(contrast: Contrast, margin: float) -> float | None:
    """One-sided p of "mean difference above margin"; None below three seeds, and where all masks have one hash.

    >>> from sics_analysis.rows.contrasts import differences
    >>> round(p_above(differences([1.0, 2.0, 3.0]), 0.0), 6)
    0.03709
    >>> p_above(differences([1.0, 1.0, 1.0]), 0.0), p_above(differences([1.0, 2.0]), 0.0)
    (0.125, None)
    """
    if not contrast.has_test:
        return None
    if contrast.is_constant:
        return constant_p(contrast, margin)
    mean, se = contrast.spread
    return float(special.stdtr(contrast.df, -(mean - margin) / se))


def p_below(contrast: Contrast, margin: float) -> float | None:
    """One-sided p of "mean difference below margin"; None as in `p_above`."""
    return p_above(contrast.mirrored(), -margin)
