"""Bootstrap of a paired mean: percentile, BCa, studentized and basic intervals.

With up to seven seeds nothing is drawn: the distinct resamples are the compositions of n into n parts (126 at
n = 5, 1 716 at n = 7), each with its multinomial weight out of nⁿ, so the bootstrap distribution is known exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from types import SimpleNamespace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sics_analysis.results import Interval, Row, check_level, columns, limits, plural, signed
from sics_analysis.rows.contrasts import MANY_SEEDS, MIN_SEEDS, Contrast, as_contrast

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["percentile", "bca", "studentized", "basic"]
METHODS: tuple[Method, ...] = ("percentile", "bca", "studentized", "basic")

SMALL_N = 10  # below it the bootstrap intervals themselves are too narrow
EXACT_LIMIT = 7
N_RESAMPLES = 9_999  # so that α(R + 1) is a whole rank at every usual level
_CHUNK = 1 << 20  # array entries drawn at a time


def coverage_caveat(n: int) -> str:
    """Say where the tests and intervals of n seeds miss their level: few seeds, skewed and very sparse differences.

    The rates are those of `docs/calibration.md`, which simulates 5, 8, 10 and 20 seeds.

    Examples
    --------
    >>> coverage_caveat(5)[:42]
    'With 5 seeds the percentile, basic and BCa'
    >>> coverage_caveat(20)[:46]
    'Skewed differences hurt every method at any n:'
    """
    skewed = (
        "Skewed differences hurt every method at any n: with exponential differences the family-wise error of the escape is "
        "23 to 33 % at 5 to 20 seeds in a family of 6 scorers and 30 to 42 % in one of 11, that of EQUIVALENT in a single line "
        "reaches 16 %, where 5 % is claimed, and Student t covers 88 to 92 % where 95 % is; very sparse differences, few of them "
        "distinct, stray from their level too, up or down."
    )
    if n >= SMALL_N:
        return skewed
    return (
        f"With {n} seed{'' if n == 1 else 's'} the percentile, basic and BCa bootstrap intervals are too narrow: on Normal "
        "differences they cover about 83.6 % where 95 % is claimed at 5 seeds and 90 % at 8 (bootstrap-t 94.9 %, Student t "
        f"95.0 %, the primary interval here). {skewed}"
    )


@lru_cache(maxsize=8)
def _distinct(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct resamples of n items as indices, shape (C(2n−1, n), n), and how many of the nⁿ resamples each is."""
    rows = list(combinations_with_replacement(range(n), n))[::-1]
    weights = [math.factorial(n) // math.prod(map(math.factorial, Counter(row).values())) for row in rows]
    return np.array(rows, dtype=np.int64), np.array(weights, dtype=np.int64)


def _resamples(values: Floats, exact: bool, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield chunks of resamples, shape (rows, n)."""
    n = values.size
    if exact:
        yield values[_distinct(n)[0]]
        return
    rows = max(1, _CHUNK // n)
    for start in range(0, n_resamples, rows):
        yield values[rng.integers(0, n, size=(min(rows, n_resamples - start), n))]


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """Bootstrap distribution of a mean difference, exact or drawn; accuracy points.

    Attributes
    ----------
    n, mean
        Seeds and mean difference.
    n_resamples
        Resamples behind the distribution: nⁿ when `exact`, the number drawn otherwise.
    means, studentized, weights
        Distinct resample means, their t statistics (±inf where a resample is constant) and multiplicities,
        shape (resamples,); None where there is no distribution (fewer than three seeds, constant
        differences).
    reason
        Why there is none.
    """

    values: tuple[float, ...]
    mean: float | None
    n_resamples: int
    exact: bool
    means: Floats | None
    studentized: Floats | None
    weights: NDArray[np.int64] | None
    reason: str | None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def se(self) -> float | None:
        """Bootstrap standard error (exactly sd with ddof 0 over √n, when exact); None below three seeds."""
        if self.means is None or self.weights is None:
            return None if self.n < MIN_SEEDS else 0.0
        centre = np.average(self.means, weights=self.weights)
        return float(np.sqrt(np.average((self.means - centre) ** 2, weights=self.weights)))

    def _tails(self, statistic: Floats, alpha: float) -> tuple[float, float]:
        """Lower and upper limit of the statistic that leave at most α outside, by ranks.

        The ranks are those of the p-values of `bootstrap_tost`, so that an interval and its test always
        agree: drawn resamples count the sample itself, (1 + #)/(R + 1) (Davison & Hinkley 1997, eq. 4.11).
        """
        assert self.weights is not None
        order = np.argsort(statistic, kind="stable")
        ordered, weights = statistic[order], self.weights[order]
        total = int(weights.sum())
        rank = alpha * total if self.exact else max(alpha * (total + 1) - 1, 0.0)
        rank += 1e-9 * max(rank, 1.0)  # 0.05·(9 999 + 1) must count as 500 whatever its rounding
        low = ordered[np.searchsorted(np.cumsum(weights), math.floor(rank), side="right")]
        high = ordered[::-1][np.searchsorted(np.cumsum(weights[::-1]), math.floor(rank), side="right")]
        return float(low), float(high)

    def confidence_interval(self, level: float = 0.95, method: Method = "studentized") -> Interval | None:
        """Interval of the mean difference.

        Parameters
        ----------
        level : float
            Nominal coverage.
        method : {"percentile", "bca", "studentized", "basic"}
            BCa is `scipy.stats.bootstrap`'s, on this distribution; studentized is the bootstrap-t.

        Returns
        -------
        Interval or None
            None below three seeds, and for a studentized limit that is infinite because too many resamples
            are constant (ties). Constant differences give their single point, method "degenerate".
        """
        check_level(level)
        if method not in METHODS:
            raise ValueError(f"Expected `method` among {', '.join(METHODS)}, got {method!r}")
        if self.mean is None or self.n < MIN_SEEDS:
            return None
        if self.means is None or self.studentized is None:
            return Interval(self.mean, self.mean, level, "degenerate")
        alpha = (1 - level) / 2
        if method == "bca":
            low, high = self._bca(level)
        elif method == "studentized":
            t_low, t_high = self._tails(self.studentized, alpha)
            se = float(np.std(np.sort(self.values), ddof=1)) / math.sqrt(self.n)
            low, high = self.mean - t_high * se, self.mean - t_low * se
        else:
            low, high = self._tails(self.means, alpha)
            if method == "basic":
                low, high = 2 * self.mean - high, 2 * self.mean - low
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        return Interval(low, high, level, method)

    def _bca(self, level: float) -> tuple[float, float]:
        if self.n > MANY_SEEDS:
            return self._bca_of_means(level)
        from scipy import stats  # slow to import, and only this method needs it

        assert self.means is not None
        assert self.weights is not None
        every = np.repeat(self.means, self.weights) if self.exact else self.means
        known = SimpleNamespace(bootstrap_distribution=every)  # the one field scipy reads, so nothing is redrawn
        with np.errstate(all="ignore"):
            interval = stats.bootstrap(
                (np.sort(self.values),),
                np.mean,
                n_resamples=0,
                bootstrap_result=known,
                confidence_level=level,
                method="BCa",
            ).confidence_interval
        return float(interval.low), float(interval.high)

    def _bca_of_means(self, level: float) -> tuple[float, float]:
        """The same limits from the closed form of the jackknife of a mean, where scipy makes an n × n matrix of resamples."""
        assert self.means is not None
        values = np.sort(self.values)
        centre = values.mean()
        percentile = (np.count_nonzero(self.means < centre) + np.count_nonzero(self.means <= centre)) / (2 * len(self.means))
        apart = values - centre  # n − 1 times what the mean loses with each value
        skew, tail = float((apart**3).sum() / (6 * (apart**2).sum() ** 1.5)), float(special.ndtri((1 - level) / 2))
        z0 = float(special.ndtri(percentile))
        with np.errstate(all="ignore"):
            shares = [special.ndtr(z0 + (z0 + z) / (1 - skew * (z0 + z))) for z in (tail, -tail)]
        low, high = np.full(2, np.nan) if np.isnan(shares).any() else np.quantile(self.means, shares)
        return float(low), float(high)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        interval = self.confidence_interval()
        how = f"all {self.n_resamples} resamples enumerated" if self.exact else f"{self.n_resamples} resamples"
        if self.reason is not None:
            mean = "" if self.mean is None else f"Mean difference {signed(self.mean)} points over "
            return f"{mean}{plural(self.n, 'seed')}; no bootstrap: {self.reason}."
        shown = "unbounded (too many tied differences)" if interval is None else str(interval)
        assert self.mean is not None
        mean = f"Mean difference {signed(self.mean)} points over {plural(self.n, 'seed')}"
        return f"{mean}, studentized bootstrap {shown} ({how}). {coverage_caveat(self.n)}"

    def to_row(self) -> Row:
        """Return the estimate, its standard error and the four 95 % intervals as one row."""
        row = columns(self, "n difference=mean se exact n_resamples")
        for method in METHODS:
            row |= limits(method, self.confidence_interval(0.95, method))
        return row


def bootstrap_mean(
    contrast: Contrast | ArrayLike,
    *,
    rng: np.random.Generator | None = None,
    n_resamples: int = N_RESAMPLES,
    exact_limit: int = EXACT_LIMIT,
) -> Bootstrap:
    """Bootstrap the mean of paired differences.

    Parameters
    ----------
    contrast : Contrast or array_like, shape (n_seeds,)
        Differences in accuracy points.
    rng : numpy.random.Generator, optional
        Needed above `exact_limit` seeds; ignored below, where every resample is enumerated.
    n_resamples : int
        Resamples drawn above `exact_limit` seeds.
    exact_limit : int
        Largest n that is enumerated; at most 10 (92 378 distinct resamples).

    Examples
    --------
    >>> result = bootstrap_mean([1.2, 0.9, 1.5, 0.7, 1.1])
    >>> result.exact, result.n_resamples, round(result.se, 10)
    (True, 3125, 0.1213260071)
    >>> print(result.confidence_interval(0.95, "percentile"))
    95 % CI [+0.86, +1.32]
    """
    if n_resamples < 1:
        raise ValueError(f"Expected `n_resamples` of at least 1, got {n_resamples!r}")
    if not 0 <= exact_limit <= 10:
        raise ValueError(f"Expected `exact_limit` in 0..10, got {exact_limit!r}")
    line = as_contrast(contrast)
    if not line.paired:
        return Bootstrap((), line.mean, 0, False, None, None, None, "unpaired seeds")
    values = line.ranked  # no renaming of seeds moves a drawn number
    centre = line.mean
    reason = "too few seeds" if line.n < MIN_SEEDS else "constant differences" if line.is_constant else None
    if reason is not None or centre is None:
        return Bootstrap(line.differences, centre, 0, False, None, None, None, reason)
    exact = line.n <= exact_limit
    if not exact and rng is None:
        raise ValueError(f"Expected `rng` for {line.n} seeds: only up to {exact_limit} are enumerated without draws")
    means, studentized = [], []
    for chunk in _resamples(values, exact, n_resamples, rng or np.random.default_rng(0)):
        mean = chunk.mean(axis=1)
        se = chunk.std(axis=1, ddof=1) / math.sqrt(line.n)
        se[np.ptp(chunk, axis=1) <= line.tolerance] = 0.0
        shift = np.where(np.abs(mean - centre) <= line.tolerance, 0.0, mean - centre)
        t = np.copysign(np.inf, shift)
        np.divide(shift, se, out=t, where=se > 0)
        t[shift == 0.0] = 0.0
        means.append(mean)
        studentized.append(t)
    weights = _distinct(line.n)[1] if exact else np.ones(n_resamples, dtype=np.int64)
    total = line.n**line.n if exact else n_resamples
    drawn = np.concatenate(means), np.concatenate(studentized)
    return Bootstrap(line.differences, centre, total, exact, *drawn, weights, None)


def bootstrap_together(lines: Sequence[Contrast], n_resamples: int, rng: np.random.Generator) -> list[Bootstrap]:
    """The bootstrap of many lines of as many seeds each, with the same draws: their moments are one matrix product."""
    tested = [line for line in lines if not line.is_constant]
    n = lines[0].n
    counts = np.zeros((n_resamples, n))
    for row in counts:
        row += np.bincount(rng.integers(0, n, n), minlength=n)
    values = np.column_stack([line.ranked for line in tested]) if tested else np.zeros((n, 0))
    centres = values.mean(axis=0)
    apart = values - centres
    first, second = counts @ apart / n, counts @ apart**2 / n
    made = {}
    for line, shift, square, centre in zip(tested, first.T, second.T, centres, strict=True):
        shift = np.where(np.abs(shift) <= line.tolerance, 0.0, shift)
        se = np.sqrt(np.maximum(square - shift**2, 0.0) / (n - 1))
        t = np.copysign(np.inf, shift)
        np.divide(shift, se, out=t, where=se > 0)
        t[shift == 0.0] = 0.0
        weights = np.ones(n_resamples, dtype=np.int64)
        made[line.name] = Bootstrap(line.differences, line.mean, n_resamples, False, centre + shift, t, weights, None)
    still = {line.name: bootstrap_mean(line) for line in lines if line.is_constant}
    return [(made | still)[line.name] for line in lines]
