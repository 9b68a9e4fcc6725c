"""Planning a run: how many seeds a test needs, and the smallest p-value a design can reach.

Behind `sics-run plan`. Imports `scipy.special` and nothing slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from sics_analysis.looks.design import LookPlan
from sics_analysis.planning.looks import LooksPower, looks_power
from sics_analysis.planning.power import Design, PowerResult, Test, check_design, escape_power, tost_power
from sics_analysis.results import MAX_MARGIN, Computed, Row, columns, is_whole, plural
from sics_analysis.rows.contrasts import MIN_SEEDS

MAX_SEEDS = 100_000
ROTATION_DRAWS = 100_000


@dataclass(frozen=True, slots=True)
class SeedsNeeded(Computed):
    """Fewest seeds that reach a target power; ``n`` is None where no number up to 100 000 does."""

    test: Test
    target: float
    n: int | None
    power: float | None
    difference: float
    sd: float
    delta: float
    alpha: float
    family: int

    def describe(self) -> str:
        """Return one sentence a plan can quote."""
        if self.n is None:
            return (
                f"No number of seeds reaches {100 * self.target:g} % power for {self.test} at a true "
                f"difference of {self.difference:+g} points and delta {self.delta:g}."
            )
        assert self.power is not None
        return (
            f"{plural(self.n, 'seed')} reach {100 * self.power:.1f} % power for {self.test} "
            f"(target {100 * self.target:g} %) at a true difference "
            f"of {self.difference:+g} points, sd {self.sd:g}, delta {self.delta:g}, alpha {self.alpha:g}."
        )

    def to_row(self) -> Row:
        """Return the fields as a flat dictionary."""
        return asdict(self)


def fewest(power: Callable[[int], float], target: float) -> int | None:
    """The fewest seeds, of 3 to 100 000, whose power reaches the target; None where none does."""
    high = MIN_SEEDS
    while power(high) < target:
        if high >= MAX_SEEDS:
            return None
        high = min(2 * high, MAX_SEEDS)
    low = MIN_SEEDS
    while low < high:  # power grows with n for every difference that has any limit power of 1
        middle = (low + high) // 2
        if power(middle) >= target:
            high = middle
        else:
            low = middle + 1
    return high


def seeds_needed(
    test: Test,
    difference: float,
    sd: float,
    delta: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    family: int = 1,
    design: Design = "paired",
) -> SeedsNeeded:
    """Fewest seeds (at least 3; per group if two-sample) with at least the wanted power.

    Parameters
    ----------
    test : {"equivalence", "escape", "superiority"}
        Superiority tests against 0 and ignores `delta`; `family` concerns escape and superiority.

    Examples
    --------
    >>> [seeds_needed("equivalence", 0, 1, delta).n for delta in (0.5, 0.75, 1, 1.5, 2)]
    [36, 17, 11, 6, 4]
    >>> seeds_needed("escape", 0.4, 1, 0.5).n is None
    True
    """
    if not (math.isfinite(difference) and abs(difference) <= MAX_MARGIN):
        raise ValueError(f"`difference` must be a finite number of accuracy points, got {difference!r}")
    if not 0 < power < 1:
        raise ValueError(f"`power` must lie in (0, 1), got {power!r}")
    if test not in ("equivalence", "escape", "superiority"):
        raise ValueError(f"`test` must be 'equivalence', 'escape' or 'superiority', got {test!r}")
    margin = 0.0 if test == "superiority" else delta
    check_design(sd, margin, alpha, MIN_SEEDS, design, family)

    def at(n: int) -> float:
        if test == "equivalence":
            return tost_power(difference, sd, margin, n, alpha=alpha, design=design).power
        return escape_power(difference, sd, margin, n, alpha=alpha, family=family, design=design).power

    reachable = abs(difference) < margin if test == "equivalence" else difference > margin
    n = fewest(at, power) if reachable else None
    reached = None if n is None else at(n)
    return SeedsNeeded(test, power, n, reached, difference, sd, margin, alpha, family if test != "equivalence" else 1)


@dataclass(frozen=True, slots=True)
class Resolution(Computed):
    """Smallest p-values a design of n paired seeds can reach, whatever the data."""

    n: int
    sign_flip_one_sided: Fraction
    sign_flip_two_sided: Fraction
    rotation: Fraction

    def describe(self) -> str:
        """Return one sentence a plan can quote."""
        return (
            f"With {plural(self.n, 'seed')} the exact sign-flip test reaches p = {_fraction(self.sign_flip_one_sided)} one-sided "
            f"and {_fraction(self.sign_flip_two_sided)} two-sided at best; the rotation test {float(self.rotation):g}."
        )

    def to_row(self) -> Row:
        """Return the fields as a flat dictionary of numbers."""
        return {
            "n": self.n,
            "sign_flip_one_sided": float(self.sign_flip_one_sided),
            "sign_flip_two_sided": float(self.sign_flip_two_sided),
            "rotation": float(self.rotation),
        }


def _fraction(p: Fraction) -> str:
    """A fraction in full while it is short, its power of two beyond."""
    return str(p) if p.denominator < 10**7 else f"2^-{p.denominator.bit_length() - 1}"


def resolution(n: int, draws: int = ROTATION_DRAWS) -> Resolution:
    """Smallest attainable p of the sign-flip tests (2⁻ⁿ, 2¹⁻ⁿ) and of a rotation test with `draws` draws.

    The identity is one of the draws, so the rotation p is never below 1/draws.

    Examples
    --------
    >>> str(resolution(5).sign_flip_one_sided), str(resolution(5).sign_flip_two_sided)
    ('1/32', '1/16')
    """
    if not is_whole(n) or not 1 <= n <= MAX_SEEDS:
        raise ValueError(f"`n` must be a whole number of 1 to {MAX_SEEDS} seeds, got {n!r}")
    if not is_whole(draws) or draws < 1:
        raise ValueError(f"`draws` must be a whole number of at least 1, got {draws!r}")
    n = int(n)
    return Resolution(n, Fraction(1, 2**n), Fraction(min(2, 2**n), 2**n), Fraction(1, int(draws)))


@dataclass(frozen=True, slots=True)
class Plan(Computed):
    """What a number of seeds can show: powers, seeds needed and resolution, with the whole power curve."""

    equivalence: PowerResult
    escape: PowerResult
    equivalence_seeds: SeedsNeeded
    escape_seeds: SeedsNeeded
    resolution: Resolution
    curve: tuple[tuple[int, float, float], ...]
    looks: tuple[LooksPower, LooksPower] | None = None  # of equivalence and escape, under a plan of looks

    def describe(self) -> str:
        """Return the plan as a few sentences."""
        parts = (self.equivalence, self.equivalence_seeds, self.escape, self.escape_seeds, self.resolution, *(self.looks or ()))
        return " ".join(part.describe() for part in parts)

    def to_row(self) -> Row:
        """Return the plan in one row; `to_dict` has the curve."""
        return {
            **columns(self.equivalence, "n sd delta alpha"),
            "family": self.escape.family,
            "equivalence_power": self.equivalence.power,
            "equivalence_seeds": self.equivalence_seeds.n,
            "escape_power": self.escape.power,
            "escape_seeds": self.escape_seeds.n,
            "p_min_one_sided": float(self.resolution.sign_flip_one_sided),
            "p_min_two_sided": float(self.resolution.sign_flip_two_sided),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, ready for JSON; ``curve`` has a row per number of seeds."""
        looks = {} if self.looks is None else {"looks": [one.to_row() | {"looks": one.to_rows()} for one in self.looks]}
        return {
            "equivalence": self.equivalence.to_row(),
            "escape": self.escape.to_row(),
            "equivalence_seeds": self.equivalence_seeds.to_row(),
            "escape_seeds": self.escape_seeds.to_row(),
            "resolution": self.resolution.to_row(),
            "curve": [{"n": n, "equivalence": equivalence, "escape": escape} for n, equivalence, escape in self.curve],
            **looks,
        }


def plan(
    n: int,
    sd: float,
    *,
    delta: float = 0.5,
    alpha: float = 0.05,
    escape_difference: float | None = None,
    plateau_difference: float = 0.0,
    family: int = 5,
    power: float = 0.8,
    max_n: int = 40,
    max_seeds: int | None = None,
) -> Plan:
    """Plan a run of `n` seeds.

    Parameters
    ----------
    n : int
        Planned seeds.
    sd : float
        Standard deviation of the paired differences between seeds, accuracy points, from a pilot.
    escape_difference : float, optional
        True difference an escape should be found at; default ``2 * delta``.
    plateau_difference : float
        True difference at which equivalence should be found.
    family : int
        Size of the escape family (5: the κ ≥ 1 scorers of the default run).
    max_n : int
        Last n of the curve, which starts at 3.
    max_seeds : int, optional
        Also what a plan of looks up to so many seeds shows by which look, beside fixed designs.

    Examples
    --------
    >>> run = plan(5, 0.4)
    >>> round(run.equivalence.power, 3), run.equivalence_seeds.n, run.escape_seeds.n
    (0.527, 8, 10)
    """
    effect = 2 * delta if escape_difference is None else escape_difference
    smallest = resolution(n)
    points = range(MIN_SEEDS, max(max_n, n) + 1)
    looks = None
    if max_seeds is not None:
        design = LookPlan(max_seeds, alpha=alpha)
        looks = (
            looks_power("equivalence", design, plateau_difference, sd, delta),
            looks_power("escape", design, effect, sd, delta, family=family),
        )
    return Plan(
        equivalence=tost_power(plateau_difference, sd, delta, n, alpha=alpha),
        escape=escape_power(effect, sd, delta, n, alpha=alpha, family=family),
        equivalence_seeds=seeds_needed("equivalence", plateau_difference, sd, delta, power=power, alpha=alpha),
        escape_seeds=seeds_needed("escape", effect, sd, delta, power=power, alpha=alpha, family=family),
        resolution=smallest,
        curve=tuple(
            (
                size,
                tost_power(plateau_difference, sd, delta, size, alpha=alpha).power,
                escape_power(effect, sd, delta, size, alpha=alpha, family=family).power,
            )
            for size in points
        ),
        looks=looks,
    )
