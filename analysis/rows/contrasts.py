"""Paired differences of two scorers at one sparsity.

The seed is the unit. A contrast keeps the seeds complete in both arms. Seeds are sorted, so the order of the input rows
reaches no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sics_analysis.results import POINTS as POINTS
from sics_analysis.results import Interval, check_level
from sics_analysis.results import Seed as Seed
from sics_analysis.rows.arms import Arm, complete_seeds, plain_seed

FloatArray: TypeAlias = NDArray[np.float64]

RELATIVE_TOLERANCE = 1e-9  # of the scale, when accuracies come as fractions
# Two fractions in single precision are each off by up to 2⁻²⁵, so two of their differences by up to 1.2e-7.
SINGLE_TOLERANCE = 2.5e-7
_ROUNDED = 1e-6  # test examples by which rounding may move a difference
MIN_SEEDS = 3
#: Beyond so many seeds Student t, rotations and resamples agree to the digits that are shown. The cross-checks by sign flips are
#: then left out, and other draws cut: they decide nothing, and a table of a thousand seeds would take minutes for them.
MANY_SEEDS = 100

T = TypeVar("T")


class _Once(Generic[T]):
    """A property of a contrast that is computed when it is first asked for."""

    def __init__(self, compute: Callable[[Contrast], T]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, contrast: Contrast | None, owner: type | None = None) -> T:
        if contrast is None:
            return cast(T, self)  # asked of the class, by what reads docstrings
        known = contrast._known
        if self._name not in known:
            known[self._name] = self._compute(contrast)
        return cast(T, known[self._name])


@dataclass(frozen=True, slots=True)
class Contrast:
    """Paired differences of a scorer against a reference, one a seed, in accuracy points.

    Parameters
    ----------
    name, reference
        The scorer A and what it is compared with, B.
    seeds
        The complete seeds, sorted.
    differences
        Accuracy of A minus accuracy of B in points, one a seed.
    sparsity
        S of both arms, None outside an experiment.
    same_mask
        Per seed whether both masks have one hash; None where a hash is unknown.
    exact
        Whether the differences come from integer counts, so that equal differences are equal bit for bit.
    single
        Whether the differences come from fractions that are all numbers of single precision.
    noise_floor
        Points by which a repeated evaluation of one mask differs; 0 where unknown.
    resolution
        Points by which a difference moves with one test example; 0 where their number is unknown.
    size
        Of the values themselves in the unit of the differences, which rounding is relative to: 100 points for accuracies.
    """

    name: str
    reference: str
    seeds: tuple[Seed, ...]
    differences: tuple[float, ...]
    sparsity: float | None = None
    same_mask: tuple[bool | None, ...] | None = None
    exact: bool = False
    single: bool = False
    noise_floor: float = 0.0
    resolution: float = 0.0
    size: float = POINTS
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.differences)

    @_Once
    def values(self) -> FloatArray:
        """The differences as an array of shape (n,), not to be written to."""
        found = np.array(self.differences, dtype=np.float64)
        found.setflags(write=False)
        return found

    @property
    def ranked(self) -> FloatArray:
        """The differences in an order that knows no label of a seed, and is mirrored with the arms: to draw from."""
        up = np.sort(self.values)
        down = up[::-1]
        return up if up.tolist() <= (-down).tolist() else down

    @_Once
    def counted_flips(self) -> dict[tuple[float, str], int]:
        """Counts of sign flips that were made for many contrasts together, by margin and side (`count_together`)."""
        return {}

    @_Once
    def mean(self) -> float | None:
        """Mean difference in points; None without seeds. Correctly rounded, so free of the order of seeds."""
        if self.n == 0:
            return None
        if max(self.differences) - min(self.differences) <= self.tolerance:
            return self.differences[0]
        return math.fsum(self.differences) / self.n

    @_Once
    def sd(self) -> float | None:
        """Standard deviation of the differences (ddof 1) in points; None below two seeds."""
        if self.n < 2:
            return None
        if self.is_constant:
            return 0.0
        mean = math.fsum(self.differences) / self.n
        return math.sqrt(math.fsum((d - mean) ** 2 for d in self.differences) / (self.n - 1))

    @_Once
    def se(self) -> float | None:
        """Standard error of the mean difference in points; None below two seeds."""
        return None if self.sd is None else self.sd / math.sqrt(self.n)

    @property
    def df(self) -> float:
        """Degrees of freedom of the standard error."""
        return self.n - 1

    @property
    def paired(self) -> bool:
        """Whether there is a difference at each seed."""
        return True

    @property
    def fixed(self) -> bool:
        """Whether the number of seeds was fixed beforehand, so that nobody looks at them twice."""
        return True

    @property
    def method(self) -> str:
        """How an interval of the mean is made."""
        return "student-t"

    def level(self, alpha: float) -> float:
        """What a one-sided p of these seeds is compared with where the error is to be alpha."""
        return alpha

    def repeated(self, p: float) -> float:
        """The smallest alpha at which this p of these seeds rejects."""
        return p

    def _reach(self, level: float) -> float | None:
        """Half the width of an interval in standard errors; None where nothing may be concluded yet."""
        return float(special.stdtrit(self.df, 0.5 + level / 2))

    @property
    def spread(self) -> tuple[float, float]:
        """Mean and standard error of a contrast that is not degenerate, so that it has both."""
        mean, se = self.mean, self.se
        assert mean is not None
        assert se is not None
        return mean, se

    @_Once
    def tolerance(self) -> float:
        """How far apart two differences may be, in points, and still count as equal.

        Rounding alone for integer counts, 1e-9 of the scale for fractions, 2.5e-7 for fractions in single precision.
        """
        scale = max(self.size, max(self.differences, default=0.0), -min(self.differences, default=0.0))
        if self.exact:
            return scale * 8 * float(np.finfo(np.float64).eps)
        return scale * (SINGLE_TOLERANCE if self.single else RELATIVE_TOLERANCE)

    @_Once
    def same_hash(self) -> bool:
        """Whether both scorers have one mask hash at every seed, whatever their accuracies."""
        return self.n > 0 and self.same_mask is not None and all(same is True for same in self.same_mask)

    @property
    def is_identical(self) -> bool:
        """Whether both scorers chose the same mask at every seed, with accuracies equal but for the noise floor."""
        return self.same_hash and not self.hash_conflict

    @property
    def hash_conflict(self) -> bool:
        """Whether one hash at every seed stands beside accuracies that differ: a hash, then, that is no identity."""
        if not self.same_hash:
            return False
        return max(abs(d) for d in self.differences) > max(self.tolerance, self.noise_floor)

    @_Once
    def is_constant(self) -> bool:
        """Whether all differences are equal, zero or not: as numbers, or to within less than one test example."""
        if self.n == 0:
            return False
        spread = max(self.differences) - min(self.differences)
        # A spread of one whole example is a spread, whatever rounding makes of it.
        return spread <= self.tolerance or spread < self.resolution * (1 - _ROUNDED)

    @_Once
    def is_adjacent(self) -> bool:
        """Whether the differences take two values, one test example apart: no t fits two values, and an exact test does."""
        return (
            self.resolution > 0
            and self.takes_two_values
            and max(self.differences) - min(self.differences) < 1.5 * self.resolution
        )

    @_Once
    def takes_two_values(self) -> bool:
        """Whether the differences of three seeds and more are two numbers and no others."""
        if self.n < MIN_SEEDS or self.is_constant:
            return False
        low, high, close = min(self.differences), max(self.differences), max(self.tolerance, self.resolution * _ROUNDED)
        return all(min(d - low, high - d) <= close for d in self.differences)

    @property
    def has_test(self) -> bool:
        """Whether a test fits: the t, or the exact sign-flip of equal differences. Not one hash, nor fewer than three seeds."""
        return not self.same_hash and self.n >= MIN_SEEDS

    @property
    def is_degenerate(self) -> bool:
        """Whether no t statistic is given: masks of one hash, fewer than three seeds, or equal differences."""
        return not self.has_test or self.is_constant

    def t_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of the mean difference, shape-free of warnings.

        Returns
        -------
        Interval or None
            None below three seeds; the single point, method "degenerate", where all differences are equal.
        """
        check_level(level)
        mean, se = self.mean, self.se
        if self.n < MIN_SEEDS or mean is None or se is None:
            return None
        reach = 0.0 if self.is_constant and self.fixed else self._reach(level)
        if reach is None:
            return None
        if self.is_constant:
            return Interval(mean, mean, level, "degenerate")
        half = reach * se
        return Interval(mean - half, mean + half, level, self.method)

    def restrict(self, seeds: Iterable[Seed]) -> Contrast:
        """The same contrast on some of its seeds."""
        wanted = set(seeds)
        keep = [i for i, seed in enumerate(self.seeds) if seed in wanted]
        if len(keep) == self.n:
            return self
        return replace(
            self,
            seeds=tuple(self.seeds[i] for i in keep),
            differences=tuple(self.differences[i] for i in keep),
            same_mask=None if self.same_mask is None else tuple(self.same_mask[i] for i in keep),
        )

    def mirrored(self) -> Contrast:
        """The reference against the scorer: every difference with the other sign."""
        return replace(
            self,
            name=self.reference,
            reference=self.name,
            differences=tuple(-d if d else 0.0 for d in self.differences),
        )


@dataclass(frozen=True, slots=True)
class OfContrast:
    """What is said of one contrast, and what the contrast itself says."""

    contrast: Contrast

    @property
    def name(self) -> str:
        """The scorer."""
        return self.contrast.name

    @property
    def reference(self) -> str:
        """What it is compared with."""
        return self.contrast.reference

    @property
    def sparsity(self) -> float | None:
        """S of both."""
        return self.contrast.sparsity

    @property
    def n(self) -> int:
        """Number of seeds."""
        return self.contrast.n

    @property
    def mean(self) -> float | None:
        """Mean difference in points."""
        return self.contrast.mean

    @property
    def sd(self) -> float | None:
        """Standard deviation of the differences in points."""
        return self.contrast.sd

    @property
    def se(self) -> float | None:
        """Standard error of the mean difference in points."""
        return self.contrast.se


def contrast(arm: Arm, reference: Arm, *, sparsity: float | None = None, noise_floor: float = 0.0) -> Contrast:
    """Pair two arms on the seeds complete in both.

    Parameters
    ----------
    arm, reference
        A and B. With counts in both, differences are exact: 100·(c_A·n_B − c_B·n_A)/(n_A·n_B), divided once.
    noise_floor
        Points by which a repeated evaluation of one mask differs, where known.

    Raises
    ------
    ValueError
        If the two arms were evaluated on different numbers of test examples at one seed.

    Examples
    --------
    >>> a = Arm.from_counts("chaos", [0, 1, 2], [552, 540, 549], 600)
    >>> b = Arm.from_counts("magnitude", [0, 1, 3], [549, 543, 550], 600)
    >>> contrast(a, b, sparsity=0.7).differences
    (0.5, -0.5)
    """
    if arm.seeds == reference.seeds:
        seeds, pairs = arm.seeds, [*zip(range(len(arm.seeds)), range(len(arm.seeds)), strict=True)]
    else:
        at_b = {seed: i for i, seed in enumerate(reference.seeds)}
        pairs = [(i, at_b[seed]) for i, seed in enumerate(arm.seeds) if seed in at_b]
        seeds = tuple(arm.seeds[i] for i, _ in pairs)
    exact = arm.correct is not None and reference.correct is not None
    if arm.seeds == reference.seeds and arm.total is None and reference.total is None:
        apart = arm.scale * (np.array(arm.accuracy, dtype=np.float64) - np.array(reference.accuracy, dtype=np.float64))
        found = tuple(apart.tolist())  # the same digits as one by one, for tables of many seeds
    else:
        found = tuple(_difference(arm, i, reference, j, seed, exact) for (i, j), seed in zip(pairs, seeds, strict=True))
    return Contrast(
        arm.name,
        reference.name,
        seeds,
        found,
        sparsity,
        _same_masks(arm, reference, pairs),
        exact,
        not exact and arm.single and reference.single,
        noise_floor,
        _resolution(arm, reference, pairs),
        _size(arm, reference),
    )


def differences(
    values: ArrayLike,
    *,
    name: str = "A",
    reference: str = "B",
    seeds: Sequence[Seed] | None = None,
    sparsity: float | None = None,
    examples: int | None = None,
) -> Contrast:
    """A contrast from ready-made differences in accuracy points.

    Parameters
    ----------
    values
        Shape (n,), finite.
    seeds
        Their labels, by default 0 … n−1.
    examples
        Test examples behind every accuracy, where known: differences that are closer than one of them count as equal.

    Raises
    ------
    ValueError
        If the values are not one finite row, the seeds repeat or differ in number, or there is no test example.

    Examples
    --------
    >>> differences([0.1, -0.2, 0.3], seeds=[2, 0, 1]).differences
    (-0.2, 0.3, 0.1)
    """
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError(f"Expected differences as one row of finite numbers, got shape {row.shape}")
    if examples is not None and examples < 1:
        raise ValueError(f"Expected `examples` as a whole number of at least 1, got {examples!r}")
    labels: Sequence[Seed] = range(len(row)) if seeds is None else seeds
    order = complete_seeds(name, labels, row.tolist())
    return Contrast(
        name,
        reference,
        tuple(plain_seed(labels[i]) for i in order),
        tuple(float(row[i]) for i in order),
        sparsity,
        resolution=0.0 if examples is None else POINTS / examples,
    )


def as_contrast(data: Contrast | ArrayLike) -> Contrast:
    """The contrast itself, or one made from differences in points."""
    return data if isinstance(data, Contrast) else differences(data)


def check_names(contrasts: Sequence[Contrast]) -> None:
    """Refuse a family in which a scorer comes twice."""
    names = [c.name for c in contrasts]
    if len(set(names)) < len(names):
        raise ValueError(f"Expected one contrast a scorer in a family, got {', '.join(names)}")


def _difference(a: Arm, i: int, b: Arm, j: int, seed: Seed, exact: bool) -> float:
    if a.total is not None and b.total is not None:
        n_a, n_b = a.total[i], b.total[j]
        if n_a * b.pooled != n_b * a.pooled:
            raise ValueError(
                f"Expected one test set at seed {seed!r}, got {n_a} examples for {a.name!r} and {n_b} for {b.name!r}"
            )
        if exact and a.correct is not None and b.correct is not None:
            return a.scale * (a.correct[i] * n_b - b.correct[j] * n_a) / (n_a * n_b)
    return a.scale * (a.accuracy[i] - b.accuracy[j])


def _size(a: Arm, b: Arm) -> float:
    """The largest value of two arms in the unit of differences; 100 points where they are fractions."""
    return POINTS if a.scale == POINTS else max((abs(value) * a.scale for value in (*a.accuracy, *b.accuracy)), default=0.0)


def _resolution(a: Arm, b: Arm, pairs: list[tuple[int, int]]) -> float:
    """By how many units a difference moves with one test example of the larger pool; 0 where its number is unknown."""
    if a.total is None or b.total is None:
        return 0.0
    return max((a.scale / max(a.total[i], b.total[j]) for i, j in pairs), default=0.0)


def _same_masks(a: Arm, b: Arm, pairs: list[tuple[int, int]]) -> tuple[bool | None, ...] | None:
    if a.mask_hash is None or b.mask_hash is None:
        return None
    hashes = ((a.mask_hash[i], b.mask_hash[j]) for i, j in pairs)
    return tuple(None if x is None or y is None else x == y for x, y in hashes)
