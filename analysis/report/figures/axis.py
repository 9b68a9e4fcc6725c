"""Which part of an axis is shown: everything but what lies so far off that it would hide the rest."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document import ReportDocument


def window(rows: Sequence[Sequence[float]], delta: float) -> tuple[float, float]:
    """Limits of an axis of differences: ±1.5 δ and every row but those far off.

    A row further out than three times the median row, and than 6 δ, would press all others together: it is left
    outside, for an arrow with its number.

    Examples
    --------
    >>> low, high = window([[0.1, 0.3], [-0.2, 0.4], [1.1], [-37.0, -36.0]], 0.5)
    >>> round(low, 2), round(high, 2)
    (-0.86, 1.21)
    """
    reach = sorted(max(map(abs, row)) for row in rows if row)
    low, high = -1.5 * delta, 1.5 * delta
    if reach:
        limit = max(6 * delta, 3 * reach[(len(reach) - 1) // 2])
        for row in rows:
            if row and max(map(abs, row)) <= limit:
                low, high = min(low, *row), max(high, *row)
    pad = 0.06 * (high - low)
    return low - pad, high + pad


def sparsities(document: ReportDocument) -> list[float]:
    """The values of S, ascending."""
    return [info.sparsity for info in document.sparsities]
