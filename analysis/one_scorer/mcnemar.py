"""Exact McNemar test of two networks on one test set: a statement about those two networks only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sics_analysis.results import Interval, Row, Seed, check_level, columns, p_text, plural
from sics_analysis.rows.contrasts import POINTS

SCOPE = "these two networks only"


@dataclass(frozen=True, slots=True)
class McNemarResult:
    """Exact McNemar test at one seed.

    Parameters
    ----------
    both, only_a, only_b, neither
        Test examples that both networks, only A, only B, or neither classify correctly.
    statistic
        The smaller of the two discordant counts.
    p
        Two-sided exact binomial p; 1 where no example tells the networks apart.
    seed, name, reference
        What was compared.
    scale
        Units of a difference in a share of 1: 100 points in an accuracy.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    statistic: int
    p: float
    seed: Seed | None = None
    name: str = "A"
    reference: str = "B"
    scale: float = POINTS

    @property
    def total(self) -> int:
        """Number of test examples."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of A minus accuracy of B in points."""
        return self.scale * (self.only_a - self.only_b) / self.total

    @property
    def discordance(self) -> float:
        """Fraction of examples on which exactly one of the two is right."""
        return (self.only_a + self.only_b) / self.total

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Interval of the difference in points over new examples for these two networks.

        Given the discordant examples, only_a is binomial: the Clopper–Pearson interval of its share, carried over to
        the difference. It agrees with the exact p at 0. None where no example is discordant.
        """
        check_level(level)
        discordant = self.only_a + self.only_b
        if discordant == 0:
            return None
        # Clopper and Pearson's limits are quantiles of beta distributions; `binomtest` finds them by a search, far slower.
        tail = (1 - level) / 2
        low = float(special.betaincinv(self.only_a, self.only_b + 1, tail)) if self.only_a else 0.0
        high = float(special.betaincinv(self.only_a + 1, self.only_b, 1 - tail)) if self.only_b else 1.0
        scale = self.scale * discordant / self.total
        return Interval(scale * (2 * low - 1), scale * (2 * high - 1), level, "conditional exact")

    def describe(self) -> str:
        """One sentence a reviewer can quote, with its scope."""
        where = "" if self.seed is None else f" at seed {self.seed}"
        return (
            f"{self.name} against {self.reference}{where}: {plural(self.only_a, 'example')} only {self.name} gets right, "
            f"{self.only_b} only {self.reference}; exact McNemar {p_text(self.p)} ({SCOPE})."
        )

    def to_row(self) -> Row:
        """The numbers as one table row."""
        numbers = columns(self, "scorer=name reference seed both only_a only_b neither difference statistic p")
        return numbers | {"scope": SCOPE}


def mcnemar_exact(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    seed: Seed | None = None,
    name: str = "A",
    reference: str = "B",
) -> McNemarResult:
    """McNemar's exact test from two rows of right and wrong answers.

    Parameters
    ----------
    correct_a, correct_b
        Booleans (or 0 and 1) of shape (n_examples,), in one order of examples.

    Raises
    ------
    ValueError
        If the shapes differ, are not one row, are empty, or hold anything but truth values.

    References
    ----------
    McNemar (1947); the exact form is a binomial test on the discordant pairs.

    Examples
    --------
    >>> mcnemar_exact([True, True, False, True], [True, False, False, False]).p
    0.5
    """
    a, b = _truths("correct_a", correct_a), _truths("correct_b", correct_b)
    if a.shape != b.shape:
        raise ValueError(f"Expected answers to the same examples, got {a.size} and {b.size}")
    return mcnemar_table(
        int((a & b).sum()),
        int((a & ~b).sum()),
        int((~a & b).sum()),
        int((~a & ~b).sum()),
        seed=seed,
        name=name,
        reference=reference,
    )


def mcnemar_table(
    both: int,
    only_a: int,
    only_b: int,
    neither: int,
    *,
    seed: Seed | None = None,
    name: str = "A",
    reference: str = "B",
) -> McNemarResult:
    """McNemar's exact test from the four counts.

    >>> result = mcnemar_table(101, 70, 59, 33)
    >>> result.statistic, round(result.p, 7)
    (59, 0.3786877)
    """
    counts = (both, only_a, only_b, neither)
    if min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f"Expected four counts of examples, not all zero, got {counts}")
    smaller, larger = sorted((only_a, only_b))
    # Twice the smaller tail of a symmetric binomial, as an incomplete beta function; `binomtest` searches for the other tail.
    p = 1.0 if larger - smaller <= 1 else 2 * float(special.betainc(larger, smaller + 1, 0.5))
    return McNemarResult(both, only_a, only_b, neither, smaller, min(p, 1.0), seed, name, reference)


def _truths(option: str, values: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    array = np.asarray(values)
    truths = array.astype(np.bool_)
    if array.ndim != 1 or array.size == 0 or not np.array_equal(truths, array):
        raise ValueError(f"Expected `{option}` as one row of truth values, got {array.dtype} of shape {array.shape}")
    return truths
