"""The sign-flip (one-sample permutation) test: exact for small n, p·2ⁿ a whole number of at least 1.

Under the null the differences are symmetric about the margin, so every pattern of signs of d − margin is equally
likely. Flipping the seeds in F changes the sum by −2·Σ_F (d − margin): a flipped sum is at least as large as the
observed one exactly when the mean of d over F is at most the margin. The count is therefore one (nothing flipped)
plus the number of subsets whose mean lies on the far side, and both the p-value at any margin and the smallest
passing margin read off the same subset means.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sics_analysis.results import Computed, Row, columns, p_text
from sics_analysis.rows.contrasts import MANY_SEEDS, Contrast, FloatArray, as_contrast

Alternative: TypeAlias = Literal["greater", "less", "two-sided"]

EXACT_LIMIT = 20  # seeds up to which all 2ⁿ patterns are counted
DRAWS = 100_000
_BLOCK = 1 << 20  # numbers drawn at a time
DRAW_SEED = 20_260_509  # of the draws beyond EXACT_LIMIT when the caller brings no generator


@dataclass(frozen=True, slots=True)
class SignFlipResult(Computed):
    """Sign-flip test of a mean difference against a margin.

    Parameters
    ----------
    n
        Seeds. With n = 0 nothing is tested and `p` is None.
    margin, alternative
        The null is mean ≤ margin ("greater"), ≥ margin ("less") or = margin ("two-sided"), in points.
    count, total
        Sign patterns at least as extreme as the observed one, and all patterns; the observed one is among both.
    p, p_min
        ``count / total`` and the smallest value it could have taken.
    exact
        Whether all 2ⁿ patterns were counted, and not a sample of them.
    """

    n: int
    mean: float | None
    margin: float
    alternative: Alternative
    count: int
    total: int
    p: float | None
    p_min: float | None
    exact: bool

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        if self.p is None or self.mean is None:
            return "Sign-flip test: no seeds."
        how = f"{self.count}/{self.total}, {'exact' if self.exact else 'sampled'}"
        return (
            f"Sign-flip test of mean difference {self.mean:+.2f} against {self.margin:+g} points, {self.alternative}, "
            f"n = {self.n}: {p_text(self.p)} ({how}; smallest attainable {self.p_min:.3g})."
        )

    def to_row(self) -> Row:
        """The numbers as one table row."""
        return columns(self, "n difference=mean margin alternative count total p p_min_attainable=p_min exact")


def sign_flip_test(
    data: Contrast | ArrayLike,
    *,
    margin: float = 0.0,
    alternative: Alternative = "greater",
    rng: np.random.Generator | None = None,
    draws: int = DRAWS,
    exact_limit: int = EXACT_LIMIT,
) -> SignFlipResult:
    """Test the mean difference against a margin by flipping signs.

    Parameters
    ----------
    data
        A contrast, or differences in accuracy points of shape (n,).
    margin
        Subtracted from every difference, in points.
    alternative
        "greater", "less" or "two-sided".
    rng
        Used only above `exact_limit`; by default a generator with a fixed seed, so that a report repeats itself.
    draws
        Patterns counted above `exact_limit`, the observed one included.
    exact_limit
        Most seeds for which all 2ⁿ patterns are counted. Counting splits the seeds in halves and matches them, so
        20 seeds cost two tables of 1 024 sums.

    Raises
    ------
    ValueError
        If `alternative` is unknown, `margin` is not finite or `draws` is below 1.

    Notes
    -----
    Sums equal within rounding count as ties, in favour of the null.

    References
    ----------
    Fisher, *The Design of Experiments* (1935), on Darwin's maize; Hartigan (1969) on subset means.

    Examples
    --------
    >>> maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    >>> result = sign_flip_test(maize)
    >>> result.count, result.total
    (863, 32768)
    >>> sign_flip_test(maize, alternative="two-sided").p
    0.05267333984375
    """
    if alternative not in ("greater", "less", "two-sided"):
        raise ValueError(f"Expected `alternative` greater, less or two-sided, got {alternative!r}")
    if not math.isfinite(margin):
        raise ValueError(f"Expected a finite `margin` in accuracy points, got {margin!r}")
    if draws < 1:
        raise ValueError(f"Expected `draws` of at least 1, got {draws!r}")
    c = as_contrast(data)
    if c.n == 0 or not c.paired:
        return SignFlipResult(0, None, margin, alternative, 0, 0, None, None, True)
    shifted = c.ranked - margin  # the draws fall on values, not on labels: no renaming of seeds moves a p
    if alternative == "less":
        shifted = -shifted
    slack = tie_slack(c)
    exact = c.n <= exact_limit
    if exact:
        count, total = _count_exact(shifted, slack, alternative), 2**c.n
    else:
        known = c.counted_flips.get((margin, alternative)) if rng is None and draws == DRAWS else None
        count, total = _count_drawn(shifted, slack, alternative, rng, draws) if known is None else known, draws
    # One pattern of 2ⁿ one-sided; its mirror image joins it when both sides count.
    floor = (2 if alternative == "two-sided" else 1) / 2**c.n
    p_min = floor if exact else max(floor, 1 / draws)
    return SignFlipResult(c.n, c.mean, margin, alternative, count, total, count / total, p_min, exact)


def count_together(contrasts: Sequence[Contrast], sides: Sequence[tuple[float, Alternative]]) -> None:
    """Count the drawn flips of many contrasts of more than `EXACT_LIMIT` seeds, one-sided and at several margins, at once.

    `sign_flip_test` without a generator finds its count there: it draws the same patterns for any contrast of as many seeds, so
    that the sums of all are one matrix product, and a margin m moves the sum over a subset of k seeds by k·m.

    >>> from sics_analysis.rows.contrasts import differences
    >>> alone, together = (differences(np.arange(21.0) - 8) for _ in range(2))
    >>> count_together([together], [(0.5, "greater")])
    >>> sign_flip_test(together, margin=0.5).count == sign_flip_test(alone, margin=0.5).count
    True
    """
    for n in sorted({c.n for c in contrasts if c.paired and EXACT_LIMIT < c.n <= MANY_SEEDS}):
        own = [c for c in contrasts if c.paired and c.n == n]
        columns = np.column_stack([c.ranked for c in own])
        slack = np.array([tie_slack(c) for c in own])
        counts = np.zeros((len(sides), len(own)), dtype=np.int64)
        for flips in _blocks(n, DRAWS, None):
            sums, sizes = flips @ columns, flips.sum(axis=1)[:, None]
            for i, (margin, alternative) in enumerate(sides):
                shifted = sums - margin * sizes
                hits = shifted <= slack if alternative == "greater" else shifted >= -slack
                counts[i] += np.count_nonzero(hits, axis=0)
        for c, column in zip(own, counts.T.tolist(), strict=True):
            c.counted_flips.update(zip(sides, column, strict=True))


def tie_slack(c: Contrast) -> float:
    """By how much two sums over seeds may differ, in points, and still be a tie."""
    return c.n * c.tolerance


def subset_sums(values: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Sum and size of every subset of a few numbers, shapes (2ⁿ,); the empty subset comes first.

    >>> sums, sizes = subset_sums(np.array([1.0, 10.0]))
    >>> sums.tolist(), sizes.tolist()
    ([0.0, 1.0, 10.0, 11.0], [0, 1, 1, 2])
    """
    sums, sizes = np.zeros(1), np.zeros(1, dtype=np.int64)
    for value in values:
        sums = np.concatenate([sums, sums + value])
        sizes = np.concatenate([sizes, sizes + 1])
    return sums, sizes


def subset_means(c: Contrast, *, rng: np.random.Generator | None = None, draws: int = DRAWS) -> tuple[FloatArray, int]:
    """Mean of d over the non-empty subsets of seeds that a test counts, and how many it counts with the empty one.

    That is 2ⁿ up to `EXACT_LIMIT` seeds, and a sample of `draws` subsets beyond.

    >>> from sics_analysis.rows.contrasts import differences
    >>> means, total = subset_means(differences([1.0, 3.0]))
    >>> means.tolist(), total
    ([1.0, 3.0, 2.0], 4)
    """
    if c.n <= EXACT_LIMIT:
        sums, sizes = subset_sums(c.values)
        return sums[1:] / sizes[1:], len(sums)
    sums_drawn, sizes_drawn = _draw_sums(c.ranked, draws, rng)
    kept = sizes_drawn > 0
    return sums_drawn[kept] / sizes_drawn[kept], draws


def _count_exact(shifted: FloatArray, slack: float, alternative: Alternative) -> int:
    total = float(shifted.sum())
    one_sided = _subsets_at_most(shifted if total >= 0 or alternative != "two-sided" else -shifted, slack)
    if alternative != "two-sided":
        return one_sided
    # Flipping everything maps one tail onto the other; they overlap only where the observed sum is zero.
    return int(2 ** len(shifted)) if abs(total) <= slack else min(2 * one_sided, int(2 ** len(shifted)))


def _subsets_at_most(shifted: FloatArray, slack: float) -> int:
    """Number of subsets with a sum of at most zero, the empty one included, by meeting in the middle."""
    half = len(shifted) // 2
    left, right = subset_sums(shifted[:half])[0], np.sort(subset_sums(shifted[half:])[0])
    return int(np.searchsorted(right, slack - left, side="right").sum())


def _count_drawn(shifted: FloatArray, slack: float, alternative: Alternative, rng: np.random.Generator | None, draws: int) -> int:
    flipped, _ = _draw_sums(shifted, draws, rng)
    if alternative == "two-sided":
        total = float(shifted.sum())
        hits = np.abs(total - 2 * flipped) >= abs(total) - 2 * slack
    else:
        hits = flipped <= slack
    return int(hits.sum())


def _draw_sums(values: FloatArray, draws: int, rng: np.random.Generator | None) -> tuple[FloatArray, FloatArray]:
    """Sum and size of random subsets, the empty one (the data as observed) first; drawn in blocks to bound the memory."""
    sums, sizes, done = np.empty(draws), np.empty(draws), 0
    for flips in _blocks(len(values), draws, rng):
        rows = slice(done, done + len(flips))
        sums[rows], sizes[rows] = flips @ values, flips.sum(axis=1)
        done = rows.stop
    return sums, sizes


def _blocks(n: int, draws: int, rng: np.random.Generator | None) -> Iterator[FloatArray]:
    """Random subsets as rows of 0 and 1, the empty one first; those without a generator are the same each time, and kept."""
    drawn = _kept(n, draws) if rng is None and n <= MANY_SEEDS else _drawn(n, draws, rng)
    return (flips.astype(np.float64) for flips in drawn)


@lru_cache(maxsize=1)
def _kept(n: int, draws: int) -> tuple[NDArray[np.int8], ...]:
    """The subsets without a generator: 10 MB at `DRAWS` of 100 seeds."""
    return tuple(_drawn(n, draws, None))


def _drawn(n: int, draws: int, rng: np.random.Generator | None) -> Iterator[NDArray[np.int8]]:
    generator = np.random.default_rng(DRAW_SEED) if rng is None else rng
    rows = max(1, _BLOCK // max(1, n))
    for start in range(0, draws, rows):
        flips = generator.integers(0, 2, size=(min(rows, draws - start), n), dtype=np.int8)
        if start == 0:
            flips[0] = 0
        yield flips
