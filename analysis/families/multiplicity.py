"""Holm and Benjamini–Hochberg for lists in which some tests do not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def holm(p: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's step-down adjusted p-values: family-wise error under any dependence.

    Parameters
    ----------
    p
        Raw p-values; None marks a line without a test. It keeps its place and does not count as a test.

    Raises
    ------
    ValueError
        If a p-value is nan or outside [0, 1].

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.

    Examples
    --------
    >>> holm([0.01, None, 0.04])
    (0.02, None, 0.04)
    """
    return _adjust(p, "holm")


def benjamini_hochberg(p: Sequence[float | None]) -> tuple[float | None, ...]:
    """Benjamini–Hochberg adjusted p-values: false discovery rate; None as in `holm`.

    References
    ----------
    Benjamini and Hochberg (1995), Controlling the false discovery rate.

    Examples
    --------
    >>> benjamini_hochberg([0.01, None, 0.04])
    (0.02, None, 0.04)
    """
    return _adjust(p, "fdr_bh")


def _adjust(p: Sequence[float | None], method: Literal["holm", "fdr_bh"]) -> tuple[float | None, ...]:
    for value in p:
        if value is not None and not 0.0 <= value <= 1.0:  # a nan fails this comparison too
            raise ValueError(f"Expected p-values in [0, 1] or None, got {value!r}")
    defined = [i for i, value in enumerate(p) if value is not None]
    # statsmodels' multipletests gives the same numbers (a test compares them) and forces a garbage collection on every
    # call, which takes longer than all the rest of a family.
    raw = np.array([p[i] for i in defined], dtype=np.float64)
    order, m = np.argsort(raw, kind="stable"), len(raw)
    ranked = raw[order]
    if method == "holm":
        corrected = np.maximum.accumulate(ranked * np.arange(m, 0, -1))
    else:
        corrected = np.minimum.accumulate((ranked * m / np.arange(1, m + 1))[::-1])[::-1]
    adjusted: list[float | None] = [None] * len(p)
    for rank, value in zip(order, np.minimum(corrected, 1.0), strict=True):
        adjusted[defined[rank]] = float(value)
    return tuple(adjusted)
