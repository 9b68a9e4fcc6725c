"""Counts of correct examples, where a table has accuracies and how many examples there are."""

from __future__ import annotations

import numpy as np
import pandas as pd


def whole_counts(accuracy: pd.Series, n: pd.Series) -> pd.Series | None:
    """The counts behind accuracies, where they are whole to 1e-6 and not for being rounded in print; None elsewhere.

    Of 10 000 examples every accuracy of three decimals is a whole count, and seldom the right one: with d decimals n is at most
    10^d.

    >>> whole_counts(pd.Series([0.901, 0.897]), pd.Series([1000, 1000])).tolist()
    [901, 897]
    >>> whole_counts(pd.Series([0.901, 0.897]), pd.Series([10_000, 10_000])) is None
    True
    """
    values, total = accuracy.to_numpy(dtype=np.float64), pd.to_numeric(n, errors="coerce").to_numpy(dtype=np.float64)
    known = ~np.isnan(values)
    counts = values * total
    if not known.any() or not (np.abs(counts - np.round(counts)) <= 1e-6)[known].all():
        return None
    decimals = next((d for d in range(13) if (np.abs(values[known] - values[known].round(d)) < 1e-12).all()), 13)
    if (total[known] > 10**decimals).any():
        return None
    return pd.Series(
        [int(c) if there else None for c, there in zip(np.round(counts), known, strict=True)], accuracy.index, object
    )
