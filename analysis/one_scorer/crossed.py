"""Crossed (pigeonhole) bootstrap: new seeds and new test images at once.

Images are crossed with seeds: every network of a run sees the same test set. Seeds and images are resampled
independently (Owen 2007), all scorers with the same draw, so every comparison stays paired. No resampled
data set is ever built: a draw is a pair of count vectors u (seeds) and v (images), and the mean of a
contrast with difference matrix D is uᵀDv/(nN), so all contrasts of a run cost one matrix product for a
block of draws.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sics_analysis.results import Interval, Row, check_level, columns, limits, signed

Key = TypeVar("Key", bound=Hashable)
CrossedMethod: TypeAlias = Literal["student-t", "percentile"]

N_RESAMPLES = 1_999
_BLOCK = 200  # draws per matrix product
_CACHED = 1 << 18  # counts tallied at a time: random increments are fast only while they stay in cache


@dataclass(frozen=True, slots=True, eq=False)
class CrossedBootstrap(Generic[Key]):
    """Distribution of every contrast's mean under resampled seeds and images; accuracy points.

    Attributes
    ----------
    keys
        Names of the contrasts, in the order given.
    n_seeds, n_images
        Size of the crossed design.
    means
        Observed mean differences, shape (n_contrasts,).
    distribution
        Resampled mean differences, shape (n_resamples, n_contrasts).
    """

    keys: tuple[Key, ...]
    n_seeds: int
    n_images: int
    means: NDArray[np.float64]
    distribution: NDArray[np.float64]

    def se(self, key: Key) -> float:
        """Standard error for new seeds and new images, with n/(n − 1) for the seeds' share of the variance.

        It errs towards caution: the factor is slightly too large for the images, and noise that belongs to neither seeds nor
        images counts up to three times in a crossed bootstrap (Owen 2007), so that the interval is up to √3 too wide.
        """
        column = self.distribution[:, self.keys.index(key)]
        return float(column.std(ddof=1)) * math.sqrt(self.n_seeds / (self.n_seeds - 1))

    def confidence_interval(self, key: Key, level: float = 0.95, method: CrossedMethod = "student-t") -> Interval | None:
        """Interval of one contrast; None below three seeds.

        Parameters
        ----------
        method : {"student-t", "percentile"}
            Mean ± t with n_seeds − 1 degrees of freedom times `se`, or the percentiles of the distribution,
            which are too narrow at few seeds. Differences that no draw changes give their point, method
            "degenerate".
        """
        check_level(level)
        if method not in ("student-t", "percentile"):
            raise ValueError(f"Expected `method` 'student-t' or 'percentile', got {method!r}")
        if self.n_seeds < 3:
            return None
        index = self.keys.index(key)
        mean, column = float(self.means[index]), self.distribution[:, index]
        if np.ptp(column) == 0.0:
            return Interval(mean, mean, level, "degenerate")
        if method == "student-t":
            reach = float(special.stdtrit(self.n_seeds - 1, 0.5 + level / 2)) * self.se(key)
            return Interval(mean - reach, mean + reach, level, "crossed student-t")
        low, high = np.quantile(column, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(low), float(high), level, "crossed percentile")

    def describe(self) -> str:
        """Return one sentence on what was resampled, with the caveat for few seeds."""
        sentence = (
            f"Crossed bootstrap of {len(self.keys)} contrasts: {self.n_seeds} seeds and {self.n_images} "
            f"images resampled independently, {self.distribution.shape[0]} draws, scorers paired."
        )
        if self.n_seeds >= 10:
            return sentence
        return f"{sentence} At so few seeds its percentiles are too narrow; its Student-t form errs towards caution."

    def to_row(self) -> Row:
        """Return what was resampled as one row."""
        return {"contrasts": len(self.keys), **columns(self, "n_seeds n_images"), "n_resamples": len(self.distribution)}

    def to_rows(self) -> list[Row]:
        """Return one row per contrast with the 95 % interval for new seeds and new images."""
        rows: list[Row] = []
        for key, mean in zip(self.keys, map(float, self.means), strict=True):
            interval = self.confidence_interval(key)
            row: Row = {"contrast": str(key), **columns(self, "n_seeds n_images"), "difference": mean}
            rows.append(row | limits("", interval) | {"text": f"{signed(mean)} {interval or ''}".strip()})
        return rows


def crossed_bootstrap(
    differences: Mapping[Key, ArrayLike],
    *,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
    pooled: int = 1,
) -> CrossedBootstrap[Key]:
    """Resample seeds and images independently, all contrasts with the same draws.

    Parameters
    ----------
    differences : mapping of name to array_like of int, shape (n_seeds, n_images)
        Correctness of A minus correctness of the reference for each seed and test image: −1, 0 or 1. All of
        one shape.
    rng : numpy.random.Generator
        The draws; the same state gives the same result, bit for bit.
    n_resamples : int
        Number of draws.
    pooled : int
        Divisor of the entries, for a reference that is the mean of `pooled` scorers: pass
        ``pooled * correct_a - sum(correct_reference)``, which keeps every product a whole number and so
        exact.

    Raises
    ------
    ValueError
        If there are no contrasts, or their shapes differ or are not (n_seeds >= 1, n_images >= 1).

    References
    ----------
    A. B. Owen (2007), "The pigeonhole bootstrap", Annals of Applied Statistics 1(2).

    Examples
    --------
    >>> better = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 0, 1]])
    >>> result = crossed_bootstrap({"chaos": better, "copy": 0 * better}, rng=np.random.default_rng(0))
    >>> float(result.means[0]), str(result.confidence_interval("copy"))
    (50.0, '95 % CI [0.00, 0.00]')
    """
    if not differences:
        raise ValueError("Expected at least one contrast in `differences`, got none")
    if n_resamples < 2:
        raise ValueError(f"Expected `n_resamples` of at least 2, got {n_resamples!r}")
    arrays = [np.asarray(value) for value in differences.values()]
    shape = arrays[0].shape
    if len(shape) != 2 or 0 in shape or any(array.shape != shape for array in arrays):
        shapes = sorted({array.shape for array in arrays})
        raise ValueError(f"Expected `differences` of one shape (n_seeds, n_images), got {shapes}")
    n_seeds, n_images = shape
    stacked = np.concatenate(arrays)  # (contrasts · seeds, images)
    # The counts of a draw sum to n_images, so no sum exceeds n_images · largest entry: below 2²⁴ float32 is
    # exact.
    dtype: type[np.floating[Any]] = np.float32 if n_images * int(np.abs(stacked).max()) < 1 << 24 else np.float64
    table: NDArray[np.floating[Any]] = np.ascontiguousarray(stacked.T, dtype=dtype)
    distribution = np.empty((n_resamples, len(arrays)))
    for start in range(0, n_resamples, _BLOCK):
        rows = min(_BLOCK, n_resamples - start)
        seeds, images = _counts(n_seeds, rows, rng, np.float64), _counts(n_images, rows, rng, dtype)
        per_seed = (images @ table).astype(np.float64).reshape(rows, len(arrays), n_seeds)
        distribution[start : start + rows] = np.einsum("rcs,rs->rc", per_seed, seeds)
    scale = 100.0 / (n_seeds * n_images * pooled)
    means = stacked.reshape(len(arrays), -1).sum(axis=1, dtype=np.int64) * scale
    return CrossedBootstrap(tuple(differences), n_seeds, n_images, means, distribution * scale)


def _counts(n: int, rows: int, rng: np.random.Generator, dtype: type[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Multinomial counts of n draws from n items, shape (rows, n)."""
    counts = np.empty((rows, n), dtype=dtype)
    step = max(1, _CACHED // n)
    for start in range(0, rows, step):
        some = min(step, rows - start)
        drawn = rng.integers(0, n, size=(some, n), dtype=np.int32) + np.arange(some, dtype=np.int64)[:, None] * n
        counts[start : start + some] = np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)
    return counts
