"""Rank correlations of a score with the magnitude, exact also for millions of units."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


def midranks(values: Floats) -> Floats:
    """0-based ranks, equal values sharing the mean of theirs; shape (n,).

    >>> midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist()
    [2.5, 0.0, 2.5, 1.0]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count + 1) / 2)[place])


def spearman(one: Floats, two: Floats) -> float:
    """Spearman's ρ with midranks for ties; 0.0 where one of them is constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
    1.0
    """
    a, b = midranks(one), midranks(two)
    a, b = a - a.mean(), b - b.mean()
    # No products of BLAS: its threads cost more than they give here.
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return round(float((a * b).sum()) / size, 12) if size else 0.0


def inversions(values: Ints) -> int:
    """How many pairs stand in the wrong order, equal ones being in order; ``values`` not negative, shape (n,).

    Two values are told apart by the highest bit in which they differ: one stable sort and one cumulative sum a bit count all.

    >>> inversions(np.array([2, 0, 1, 1]))
    3
    """
    total = 0
    for bit in range(int(values.max(initial=0)).bit_length()):
        family = values >> (bit + 1)
        order = np.argsort(family, kind="stable")
        high = (values[order] >> bit) & 1
        family = family[order]
        before = np.cumsum(high) - high
        start = np.flatnonzero(np.concatenate([[True], family[1:] != family[:-1]]))
        sizes = np.diff(np.concatenate([start, [values.size]]))
        within = before - np.repeat(before[start], sizes)
        total += int(within[high == 0].sum())
    return total


def kendall(one: Floats, two: Floats) -> float:
    """Kendall's τ-b, exact, O(n·log² n); 0.0 where one of them is constant.

    >>> round(kendall(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])), 6)
    0.666667
    """
    n = one.size
    _, a = np.unique(one, return_inverse=True)
    _, b = np.unique(two, return_inverse=True)
    order = np.lexsort((b, a))  # among equal values of one, two is in order: such a pair is no inversion
    wrong = inversions(b[order].astype(np.int64))
    pairs = n * (n - 1) // 2
    tied_a, tied_b, tied_both = _tied(a), _tied(b), _tied(a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b)
    right = pairs - tied_a - tied_b + tied_both - wrong
    size = (pairs - tied_a) ** 0.5 * (pairs - tied_b) ** 0.5
    return (right - wrong) / size if size else 0.0


def _tied(labels: Ints) -> int:
    _, counts = np.unique(labels, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())
