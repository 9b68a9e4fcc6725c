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


def holm_over_groups(groups: Sequence[Sequence[float]]) -> list[float]:
    """Holm over groups of p-values that are adjusted within each already: family-wise error over all of them, in their order.

    At a level α every p of a group is rejected at α/k, where k counts the groups that still hold a p which is not. (A group may
    leave that count only when all of it is rejected: Holm on the smallest p of every group would let one true effect in each
    buy the full level for all the others.) Goeman and Solari (2010), The sequential rejection principle.

    >>> holm_over_groups([[0.01, 0.02], [0.03], [0.9]])
    [0.03, 0.06, 0.06, 0.9]
    """
    order = sorted((i for i, group in enumerate(groups) if group), key=lambda i: max(groups[i]))
    left, opened = len(order), [0.0]  # the level from which on so many groups are rejected whole
    for done, i in enumerate(order):
        opened.append(max(opened[-1], (left - done) * max(groups[i])))
    rank = {i: place for place, i in enumerate(order)}
    return [
        min(1.0, min(max(opened[done], (left - done) * p) for done in range(rank[i] + 1)))
        for i, group in enumerate(groups)
        for p in group
    ]


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
