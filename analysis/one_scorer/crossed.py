"""New seeds and new test images at once: the variance components of the seeds × examples table of differences.

Images are crossed with seeds: every network of a run sees the same test set. So a mean difference moves with the draw of
the seeds, with the draw of the images, and with what belongs to neither. A two-way analysis of variance tells them apart from
three sums of the table, and the table itself is never held: its rows come one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sics_analysis.results import Interval, Row, VarianceSplit, check_level, columns, limits, plural, signed
from sics_analysis.rows.contrasts import MIN_SEEDS, POINTS

_Numbers: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class VarianceComponents:
    """Two-way analysis of variance of a seeds × examples table of differences; accuracy points, mean squares in points².

    Of another metric that is the mean of one number an example, in its unit.

    Attributes
    ----------
    n_seeds, n_images
        I and J, the shape of the table.
    mean
        The mean difference.
    ms_seeds, ms_images, ms_rest
        MS_s, MS_t and MS_e: between the rows, between the columns, and what neither explains. None for one seed or one image,
        which have none.
    """

    n_seeds: int
    n_images: int
    mean: float
    ms_seeds: float | None
    ms_images: float | None
    ms_rest: float | None

    @property
    def variance(self) -> float | None:
        """Variance of the mean over new seeds and new images: max(MS_s + MS_t − MS_e, MS_s, MS_t)/(I·J)."""
        if self.ms_seeds is None or self.ms_images is None or self.ms_rest is None:
            return None
        both = self.ms_seeds + self.ms_images - self.ms_rest
        return max(both, self.ms_seeds, self.ms_images) / (self.n_seeds * self.n_images)

    @property
    def se(self) -> float | None:
        """Standard error of the mean for new seeds and new images."""
        return None if self.variance is None else math.sqrt(self.variance)

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Mean ± t with I − 1 degrees of freedom times `se`; None below three seeds or two images.

        Never narrower than the Student-t interval over the seeds, whose variance is MS_s/(I·J).
        """
        check_level(level)
        if self.se is None or self.n_seeds < MIN_SEEDS:
            return None
        if self.se == 0.0:
            return Interval(self.mean, self.mean, level, "degenerate")
        reach = float(special.stdtrit(self.n_seeds - 1, 0.5 + level / 2)) * self.se
        return Interval(self.mean - reach, self.mean + reach, level, "variance components")

    def split(self, level: float = 0.95) -> VarianceSplit | None:
        """Share out the variance of the mean between seeds and images; None where there is none.

        The seeds' part MS_s/(I·J) is that of the seeds on these images, which falls as 1/I; the images' part is the rest, which
        more seeds do not lessen. The sd between seeds comes with a chi-square interval of I − 1 degrees of freedom.
        """
        check_level(level)
        if self.variance is None or self.ms_seeds is None or self.n_seeds < MIN_SEEDS or self.variance == 0.0:
            return None
        part = self.ms_seeds / (self.n_seeds * self.n_images)
        sd = math.sqrt(self.ms_seeds / self.n_images)
        low, high = sd_factors(self.n_seeds - 1, level)
        return VarianceSplit(self.n_seeds, self.n_images, part, self.variance - part, sd, low * sd, high * sd)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        head = f"{plural(self.n_seeds, 'seed')} × {plural(self.n_images, 'image')}: difference {signed(self.mean)} points"
        split, interval = self.split(), self.confidence_interval()
        if split is None or interval is None:
            return f"{head}{'' if interval is None else f', {interval}'}; there is no variance to share out."
        share = f"{100 * split.image_share:.0f} %"
        return (
            f"{head}, for new seeds and new images {interval}; {share} of its variance is due to the images, "
            f"the rest to the seeds (sd {split.sd:.2f}, 95 % CI {split.sd_low:.2f} to {split.sd_high:.2f})."
        )

    def to_row(self) -> Row:
        """Return the numbers as one row."""
        found = columns(self, "n_seeds n_images difference=mean ms_seeds ms_images ms_rest se")
        return found | limits("ci95", self.confidence_interval())


def sd_factors(df: int, level: float = 0.95) -> tuple[float, float]:
    """By what an sd of so many degrees of freedom is multiplied for its chi-square interval.

    >>> low, high = sd_factors(4)
    >>> round(low, 2), round(high, 2)
    (0.6, 2.87)
    """
    tail = (1 - level) / 2
    return math.sqrt(df / float(special.chdtri(df, tail))), math.sqrt(df / float(special.chdtri(df, 1 - tail)))


def variance_components(differences: Iterable[ArrayLike], *, pooled: int = 1, scale: float = POINTS) -> VarianceComponents:
    """Analyse the table of differences of one scorer: rows are seeds, columns test images.

    Parameters
    ----------
    differences : iterable of array_like, each of shape (n_images,)
        A row a seed: correctness of A minus correctness of the reference, −1, 0 or 1, of which every sum is exact; or the
        difference of two numbers an example, as float. A table of shape (n_seeds, n_images) is one, and so is a generator that
        holds a row at a time.
    pooled : int
        Divisor of the entries, for a reference that is the mean of `pooled` scorers: pass
        ``pooled * correct_a - sum(correct_reference)``, so that every sum is a whole number and exact.
    scale : float
        Units of a difference of 1: 100 points in an accuracy.

    Raises
    ------
    ValueError
        If there is no row, a row is empty or no row of finite numbers, or rows differ in length or are partly whole numbers.

    References
    ----------
    Searle, Casella and McCulloch (1992), *Variance Components*, chapter 4. `bench/calibration.py` simulates its coverage.

    Examples
    --------
    >>> found = variance_components([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]])
    >>> round(found.mean, 2), round(found.ms_seeds), round(found.ms_rest)
    (58.33, 833, 4167)
    >>> nats = variance_components([[0.5, 1.0], [1.5, 1.0]], scale=1)
    >>> nats.mean, nats.ms_seeds, nats.ms_images, nats.ms_rest
    (1.0, 0.25, 0.0, 0.25)
    """
    if pooled < 1:
        raise ValueError(f"Expected `pooled` of at least 1, got {pooled!r}")
    rows = map(_row, differences)
    first = next(rows, None)
    if first is None:
        raise ValueError("Expected at least one row of `differences`, got none")
    found = _of_whole if first.dtype.kind == "i" else _of_floats
    return found(_alike(first, rows), scale, pooled)


def _alike(first: _Numbers, rows: Iterable[_Numbers]) -> Iterator[_Numbers]:
    """The rows, of one length and kind."""
    yield first
    for row in rows:
        if row.size != first.size:
            raise ValueError(f"Expected rows of `differences` of one length, got {first.size} and {row.size}")
        if row.dtype != first.dtype:
            raise ValueError("Expected `differences` as whole numbers in all rows, or as floats in all, got both")
        yield row


def _of_whole(rows: Iterable[_Numbers], scale: float, pooled: int) -> VarianceComponents:
    sums: list[int] = []
    square, across = 0, np.zeros(0, dtype=np.int64)
    for row in rows:
        across = across + row if sums else row
        sums.append(int(row.sum(dtype=np.int64)))
        square += int(np.dot(row, row))
    # Whole numbers, and Python's have no largest: what is zero is zero, and no sum of squares is negative.
    n, m, total = len(sums), across.size, sum(sums)
    of_seeds, of_images = n * sum(value * value for value in sums), m * sum(value * value for value in across.tolist())
    rest = n * m * square - of_seeds - of_images + total * total
    unit = (scale / pooled) ** 2 / (n * m)
    return VarianceComponents(
        n,
        m,
        scale * total / (n * m * pooled),
        unit * (of_seeds - total * total) / (n - 1) if n > 1 else None,
        unit * (of_images - total * total) / (m - 1) if m > 1 else None,
        unit * rest / ((n - 1) * (m - 1)) if n > 1 and m > 1 else None,
    )


def _of_floats(rows: Iterable[_Numbers], scale: float, pooled: int) -> VarianceComponents:
    """The same of floats: deviations are summed, not squares, so that little is lost to rounding."""
    means: list[float] = []
    columns_mean = columns_square = np.zeros(0)
    for row in rows:
        n = len(means) + 1
        step = row - columns_mean if means else row.astype(np.float64)
        columns_mean = columns_mean + step / n if means else step
        # Welford's update: what a column's squared deviations from its mean grow by.
        columns_square = columns_square + step * (row - columns_mean) if means else np.zeros(row.size)
        means.append(float(row.mean()))
    n, m, unit = len(means), columns_mean.size, (scale / pooled) ** 2
    mean = math.fsum(means) / n
    of_seeds = m * math.fsum((value - mean) ** 2 for value in means)
    of_images = n * float(np.square(columns_mean - columns_mean.mean()).sum())
    rest = max(float(columns_square.sum()) - of_seeds, 0.0)
    return VarianceComponents(
        n,
        m,
        scale / pooled * mean,
        unit * of_seeds / (n - 1) if n > 1 else None,
        unit * of_images / (m - 1) if m > 1 else None,
        unit * rest / ((n - 1) * (m - 1)) if n > 1 and m > 1 else None,
    )


def _row(entry: ArrayLike) -> _Numbers:
    row = np.asarray(entry)
    if row.ndim != 1 or not row.size or row.dtype.kind not in "iubf" or not np.isfinite(row).all():
        raise ValueError(
            f"Expected rows of whole numbers, or of finite floats, in `differences`, got shape {row.shape} of {row.dtype}"
        )
    return row.astype(np.float64 if row.dtype.kind == "f" else np.int64)
