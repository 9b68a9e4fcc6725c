"""Random rotations of a family of columns, reduced to random directions, and the step-down max-T they give.

Rotating an (n, m) matrix Y by a Haar orthogonal R and taking t of every column needs only u = Rᵀ1/√n, a uniform
direction on the sphere shared by all columns: the mean part of the rotated column j is u·y_j and its length stays
|y_j|, so t*_j = √(n−1)·c/√(1−c²) with the cosine c = u·y_j/|y_j|. That is increasing in c, and the observed t has
u = 1/√n; so cosines are compared, and no rotation is ever formed. Sign flips are the directions s/√n with s = ±1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sics_analysis.rows.contrasts import FloatArray

CHUNK = 8192  # directions at a time: bounds the memory at any number of draws
_ONE_THREAD = 2**18  # multiplications up to which OpenBLAS takes one thread
_NARROW = 32  # directions
_ROUNDING = 1e-12  # cosines closer than this are one


def rotation_directions(n: int, draws: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Uniform directions on the sphere of n dimensions in chunks of unit rows, the identity 1/√n first.

    They are drawn in a fixed order whatever the columns: one state of `rng` gives one set of directions.

    >>> (chunk,) = rotation_directions(4, 3, np.random.default_rng(0))
    >>> chunk.shape, chunk[0].tolist()
    ((3, 4), [0.5, 0.5, 0.5, 0.5])
    """
    _check_draws(draws)
    for start in range(0, draws, CHUNK):
        normal = rng.standard_normal((min(CHUNK, draws - start), n))
        normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None]
        if start == 0:
            normal[0] = 1 / math.sqrt(n)
        yield normal


def sign_directions(n: int, *, draws: int | None = None, rng: np.random.Generator | None = None) -> Iterator[FloatArray]:
    """Sign vectors over √n, the identity first: all 2ⁿ of them, or `draws` random ones.

    >>> sum(len(chunk) for chunk in sign_directions(5))
    32
    """
    if draws is None:
        bits = np.arange(n, dtype=np.int64)
        for start in range(0, 2**n, CHUNK):
            pattern = np.arange(start, min(start + CHUNK, 2**n), dtype=np.int64)
            yield _unit_signs((pattern[:, None] >> bits) & 1)
        return
    _check_draws(draws)
    if rng is None:
        raise ValueError("Expected `rng` with `draws`, got None")
    for start in range(0, draws, CHUNK):
        flips = rng.integers(0, 2, size=(min(CHUNK, draws - start), n))
        if start == 0:
            flips[0] = 0
        yield _unit_signs(flips)


class StepDown:
    """Counts one-sided step-down max-T over directions that arrive in chunks; see `step_down_p`."""

    def __init__(self, columns: ArrayLike, slack: FloatArray | None = None, observed: FloatArray | None = None) -> None:
        if observed is None:
            unit = unit_columns(sorted_rows(columns))
            observed = unit.sum(axis=0) / math.sqrt(unit.shape[0])
        else:  # coordinates of `Projection`, in which 1/√n is no longer a row of equal numbers
            unit = unit_columns(columns)
        # Lowest statistic first, so that a running maximum is over what the step-down still holds.
        self._order = np.argsort(-observed, kind="stable")[::-1]
        self._ranked = np.ascontiguousarray(unit[:, self._order].T)
        close = _ROUNDING if slack is None else np.maximum(slack, _ROUNDING)
        self._bar = (observed - close)[self._order]
        self._hits = np.zeros(len(self._order), dtype=np.int64)
        self._total = 0

    def add(self, directions: FloatArray) -> None:
        """Count a chunk of directions, shape (k, n)."""
        largest = _cosines(self._ranked, directions)
        self._hits[0] += np.count_nonzero(largest[0] >= self._bar[0])
        for i in range(1, len(largest)):  # row by row, ten times as fast as numpy's accumulate
            row = np.maximum(largest[i - 1], largest[i], out=largest[i])
            self._hits[i] += np.count_nonzero(row >= self._bar[i])
        self._total += len(directions)

    def adjusted(self) -> FloatArray:
        """Adjusted p of every column, in the order given, shape (m,)."""
        result = np.empty(len(self._order))
        result[self._order[::-1]] = np.maximum.accumulate(self._hits[::-1] / self._total)
        return result


class MaxAbs:
    """Collects the largest |t| over columns, one value a direction."""

    def __init__(self, columns: ArrayLike, n: int | None = None) -> None:
        rows = sorted_rows(columns) if n is None else columns
        self._ranked = np.ascontiguousarray(unit_columns(rows).T)
        self._n = self._ranked.shape[1] if n is None else n
        self._largest: list[FloatArray] = []

    def add(self, directions: FloatArray) -> None:
        """Collect a chunk of directions, shape (k, n)."""
        cosines = _cosines(self._ranked, directions)
        self._largest.append(np.abs(cosines, out=cosines).max(axis=0))

    def quantile(self, level: float) -> float:
        """The t value that the largest |t| exceeds with probability at most 1 − level."""
        largest = np.concatenate(self._largest)
        cosine = min(float(np.quantile(largest, level, method="higher")), 1 - _ROUNDING)
        return math.sqrt(self._n - 1) * cosine / math.sqrt((1 - cosine) * (1 + cosine))


class Projection:
    """Rotations of many rows by the few dimensions that the columns and 1 span.

    A cosine u·y/|y| needs u only where the columns are. In an orthonormal basis of their k dimensions that is the first k
    of n coordinates of a uniform direction: k Normal numbers over the root of their squares plus a chi-square of n − k. The draws
    have the same distribution as those of `rotation_directions`, at a cost that does not grow with n.
    """

    def __init__(self, columns: FloatArray) -> None:
        self.n = len(columns)
        unit = np.column_stack([np.full(self.n, 1 / math.sqrt(self.n)), unit_columns(columns)])
        # Any vectors with the inner products of the columns will do: those of the root of their matrix.
        values, vectors = np.linalg.eigh(unit.T @ unit)
        parts = (np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)[-self.n :]  # columns beyond n add no dimension
        self._k = len(parts)
        self.identity = parts[:, 0] / math.sqrt(float(parts[:, 0] @ parts[:, 0]))
        self.columns: FloatArray = parts[:, 1:]
        self.observed: FloatArray = self.identity @ self.columns
        self.centred: FloatArray = self.columns - np.outer(self.identity, self.observed)

    def directions(self, draws: int, rng: np.random.Generator, *, identity: bool = True) -> Iterator[FloatArray]:
        """Directions in chunks, the identity first where it is wanted."""
        _check_draws(draws)
        for start in range(0, draws, CHUNK):
            normal = rng.standard_normal((min(CHUNK, draws - start), self._k))
            rest = rng.chisquare(self.n - self._k, len(normal)) if self.n > self._k else 0.0
            normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal) + rest)[:, None]
            if start == 0 and identity:
                normal[0] = self.identity
            yield normal


def step_down_p(columns: ArrayLike, directions: Iterable[FloatArray], *, slack: FloatArray | None = None) -> FloatArray:
    """One-sided step-down max-T adjusted p of every column against a mean of at most zero.

    Columns are differences minus the margin, shape (n, m), each with spread; cosines within `slack` (m,) count as ties, in
    favour of the null (Westfall and Young 1993, algorithm 2.8; Langsrud 2005).

    >>> step_down_p([[1.0], [2.0], [3.0]], sign_directions(3)).tolist()
    [0.125]
    """
    counts = StepDown(columns, slack)
    for chunk in directions:
        counts.add(chunk)
    return counts.adjusted()


def sorted_rows(columns: ArrayLike) -> FloatArray:
    """Rows in the order of their values, by the last column first.

    Directions are drawn without a look at the rows, so any fixed order is as good as another; this one does not know
    how the seeds are labelled, and no renaming of seeds moves a p.

    >>> sorted_rows([[3.0], [1.0], [2.0]]).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    matrix = np.asarray(columns, dtype=np.float64)
    return matrix[np.lexsort(matrix.T)] if matrix.ndim == 2 and matrix.size else matrix


def unit_columns(columns: ArrayLike) -> FloatArray:
    """Columns scaled to length 1."""
    matrix = np.asarray(columns, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"Expected `columns` of shape (seeds, scorers), got {matrix.shape}")
    length = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    if not (length > 0).all():
        raise ValueError("Expected columns with spread, got one that is all zero")
    return np.asarray(matrix / length, dtype=np.float64)


def _cosines(ranked: FloatArray, directions: FloatArray) -> FloatArray:
    """ranked @ directions.T, in parts so small that the library of matrix products starts no threads: they would wait for
    each other longer than they compute. Of many columns the parts would be too narrow, and threads help.
    """
    step = _ONE_THREAD // max(ranked.size, 1)
    if not _NARROW <= step < len(directions):
        return np.asarray(ranked @ directions.T, dtype=np.float64)
    found = np.empty((len(ranked), len(directions)))
    for start in range(0, len(directions), step):
        np.matmul(ranked, directions[start : start + step].T, out=found[:, start : start + step])
    return found


def _unit_signs(flips: NDArray[np.int64]) -> FloatArray:
    length = 1 / math.sqrt(flips.shape[1])
    return np.array([length, -length]).take(flips)


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"Expected `draws` of at least 1, got {draws!r}")
