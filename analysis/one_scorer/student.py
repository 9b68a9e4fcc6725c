"""One-sided t tests of a single contrast, with no answer where the data are degenerate."""

from __future__ import annotations

from scipy import special

from sics_analysis.rows.contrasts import Contrast


def p_above(contrast: Contrast, margin: float) -> float | None:
    """One-sided t p of "mean difference above margin"; None on degenerate data.

    >>> from sics_analysis.rows.contrasts import differences
    >>> round(p_above(differences([1.0, 2.0, 3.0]), 0.0), 6)
    0.03709
    >>> p_above(differences([1.0, 1.0, 1.0]), 0.0) is None
    True
    """
    mean, se = contrast.mean, contrast.se
    if contrast.is_degenerate or mean is None or not se:
        return None
    return float(special.stdtr(contrast.df, -(mean - margin) / se))


def p_below(contrast: Contrast, margin: float) -> float | None:
    """One-sided t p of "mean difference below margin"; None on degenerate data."""
    return p_above(contrast.mirrored(), -margin)
