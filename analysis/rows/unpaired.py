"""Differences of two scorers whose seeds are no pairs: the same tests in Welch's form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sics_analysis.results import Seed
from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast, FloatArray


@dataclass(frozen=True, slots=True)
class UnpairedContrast(Contrast):
    """Two independent samples of seeds, in the place of differences by seed.

    There are no differences, so no sign can be flipped and nothing is resampled. What remains is the difference of two means,
    its standard error √(s²_A/n_A + s²_B/n_B) and Welch–Satterthwaite degrees of freedom.

    A side that is constant, or on two adjacent counts, hands Welch a variance of next to nothing, and the other side alone then
    decides what is shown. So where one is (`coarse`) the exact p stands beside Welch's and the larger counts (`exact_p`).

    Parameters
    ----------
    own, other
        The values of A and B in the unit of the difference, one a seed.
    resolutions
        By how much a value of A, and of B, moves with one test example; 0 where their number is unknown.

    References
    ----------
    Welch (1947), The generalization of "Student's" problem when several different population variances are involved.

    Examples
    --------
    >>> a, b = Arm.from_fractions("a", [0, 1, 2], [.92, .94, .96]), Arm.from_fractions("b", [5, 6, 7], [.9, .9, .93])
    >>> c = unpaired_contrast(a, b)
    >>> round(c.mean, 6), round(c.se, 6), round(c.df, 4)
    (3.0, 1.527525, 3.92)
    """

    own: tuple[float, ...] = ()
    other: tuple[float, ...] = ()
    resolutions: tuple[float, float] = (0.0, 0.0)

    @property
    def n(self) -> int:
        """Seeds of the smaller side."""
        return min(len(self.own), len(self.other))

    @property
    def values(self) -> FloatArray:
        """None: there is no difference by seed."""
        raise ValueError(f"Expected pairs of seeds for this test, got {self.name!r} and {self.reference!r} unpaired")

    @property
    def mean(self) -> float | None:
        """Difference of the two means; None where a side is empty."""
        if not self.n:
            return None
        return math.fsum(self.own) / len(self.own) - math.fsum(self.other) / len(self.other)

    @property
    def sd(self) -> float | None:
        """Spread that a pair of independent seeds would have, √(s²_A + s²_B); None below two seeds a side."""
        if self.n < 2:
            return None
        return math.sqrt(_variance(self.own) + _variance(self.other))

    @property
    def se(self) -> float | None:
        """Welch's standard error; None below two seeds a side."""
        if self.n < 2:
            return None
        return math.sqrt(_variance(self.own) / len(self.own) + _variance(self.other) / len(self.other))

    @property
    def df(self) -> float:
        """Welch–Satterthwaite degrees of freedom."""
        a, b = _variance(self.own) / len(self.own), _variance(self.other) / len(self.other)
        return (a + b) ** 2 / (a**2 / (len(self.own) - 1) + b**2 / (len(self.other) - 1))

    @property
    def paired(self) -> bool:
        """No."""
        return False

    @property
    def method(self) -> str:
        """How an interval of the difference is made."""
        return "Welch t"

    @property
    def is_constant(self) -> bool:
        """Whether neither side has a spread."""
        return self.n > 0 and all(side.is_constant for side in self._sides)

    @property
    def coarse(self) -> tuple[tuple[Contrast, float], ...]:
        """Each side that is constant or on two adjacent counts, and what the mean of the other adds to a margin for it.

        Both are turned so that more of them is more of the difference: A − B lies above m where A lies above m + B, and −B above
        m − A.
        """
        own, other = self._sides
        turned = ((own, other.mean), (other.mirrored(), own.mean and -own.mean))
        return tuple((side, shift or 0.0) for side, shift in turned if side.is_constant or side.is_adjacent)

    @property
    def is_adjacent(self) -> bool:
        """Whether Welch's t alone does not fit, as a side is constant or on two adjacent counts."""
        return self.has_test and not self.is_constant and bool(self.coarse)

    @property
    def _sides(self) -> tuple[Contrast, Contrast]:
        own, other = (
            Contrast(self.name, self.reference, (), side, size=self.size, resolution=one)
            for side, one in zip((self.own, self.other), self.resolutions, strict=True)
        )
        return own, other

    @property
    def has_test(self) -> bool:
        """Whether a test fits: three seeds on each side."""
        return self.n >= MIN_SEEDS

    def restrict(self, seeds: Iterable[Seed]) -> Contrast:
        """The same: there is no seed to choose."""
        return self

    def mirrored(self) -> Contrast:
        """The reference against the scorer."""
        return replace(
            self, name=self.reference, reference=self.name, own=self.other, other=self.own, resolutions=self.resolutions[::-1]
        )


def unpaired_contrast(arm: Arm, reference: Arm, *, sparsity: float | None = None, noise_floor: float = 0.0) -> UnpairedContrast:
    """Set two arms against each other as independent samples, each with all its seeds."""
    sides = tuple(tuple(side.scale * value for value in side.accuracy) for side in (arm, reference))
    size = (
        max([100.0, *map(abs, sides[0]), *map(abs, sides[1])])
        if arm.scale == reference.scale == 100
        else max((abs(value) for side in sides for value in side), default=0.0)
    )
    own, other = (side.scale / max(side.total) if side.total else 0.0 for side in (arm, reference))
    return UnpairedContrast(
        arm.name, reference.name, (), (), sparsity, noise_floor=noise_floor, size=size, own=sides[0], other=sides[1],
        resolutions=(own, other),
    )  # fmt: skip


def _variance(values: tuple[float, ...]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
