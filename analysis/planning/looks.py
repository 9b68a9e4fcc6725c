"""Before a run under a plan of looks: what it will have decided by which look, and the seeds it takes, beside fixed designs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sics_analysis.looks.design import LookPlan
from sics_analysis.looks.levels import critical_value, crossing_probabilities, nominal_levels
from sics_analysis.planning.power import check_design, escape_power, tost_power
from sics_analysis.results import Computed, Row, plural

SIMULATED = 50_000  # runs, where a chance has no exact form
_PART = 5_000  # of them at a time, which bounds the memory
_ROOT = 20_261_129  # of their random numbers: the same plan has the same chances
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LooksPower(Computed):
    """Chance of a verdict by each look of a plan, and the seeds it takes on average.

    Attributes
    ----------
    by_look
        Chance that the verdict is given at this look for the first time.
    expected
        Mean number of seeds until the verdict, the maximum where it is not reached.
    fixed
        Chance of the same verdict with a fixed design of each look's seeds.
    exact
        Whether the chances are exact for Normal differences, or of 50 000 simulated runs.
    """

    test: Literal["equivalence", "escape"]
    looks: tuple[int, ...]
    difference: float
    sd: float
    delta: float
    alpha: float
    family: int
    by_look: tuple[float, ...]
    expected: float
    fixed: tuple[float, ...]
    exact: bool

    @property
    def power(self) -> float:
        """Chance of the verdict by the last look."""
        return min(sum(self.by_look), 1.0)

    @property
    def reached(self) -> tuple[float, ...]:
        """Chance of the verdict up to each look."""
        return tuple(np.minimum(np.cumsum(self.by_look), 1.0).tolist())

    def describe(self) -> str:
        """Return one sentence a plan can quote."""
        what = "EQUIVALENT" if self.test == "equivalence" else "ESCAPES"
        looks, first = ", ".join(map(str, self.looks)), self.looks[0]
        return (
            f"A plan of looks at {looks} seeds says {what} with a chance of {100 * self.power:.1f} %, after {self.expected:.1f} "
            f"seeds on average, if the true difference is {self.difference:+g} points and its sd between seeds {self.sd:g}; its "
            f"first look does so with {100 * self.by_look[0]:.1f} %, a fixed design of {plural(first, 'seed')} with "
            f"{100 * self.fixed[0]:.1f} %."
        )

    def to_row(self) -> Row:
        """Return the numbers as a flat dictionary; `to_rows` has the looks."""
        row = asdict(self)
        for name in ("looks", "by_look", "fixed"):
            del row[name]
        return row | {"n_max": self.looks[-1], "power": self.power}

    def to_rows(self) -> list[Row]:
        """Return one row a look."""
        numbers = zip(self.looks, self.by_look, self.reached, self.fixed, strict=True)
        return [{"n": n, "first": first, "reached": reached, "fixed": fixed} for n, first, reached, fixed in numbers]


def looks_power(
    test: Literal["equivalence", "escape"], plan: LookPlan, difference: float, sd: float, delta: float, *, family: int = 1
) -> LooksPower:
    """Chance that a plan of looks gives a verdict, by look.

    Parameters
    ----------
    test
        "escape" is exact, at each line's own levels for alpha over the family (Holm's first step, a lower bound for the
        rotation); "equivalence" is of 50 000 simulated runs, with a standard error of .22 percent points at most.
    difference, sd, delta
        True difference, its standard deviation between seeds, and the margin, in points.

    Raises
    ------
    ValueError
        In one line, for a test, design or family that cannot be.

    Examples
    --------
    >>> found = looks_power("escape", LookPlan(40), 1.0, 1.0, 0.5)
    >>> round(found.power, 4), round(found.expected, 2)
    (0.8928, 25.8)
    """
    if test not in ("equivalence", "escape"):
        raise ValueError(f"`test` must be 'equivalence' or 'escape', got {test!r}")
    check_design(sd, delta, plan.alpha, plan.n_max, "paired", family)
    looks, alpha = plan.looks, plan.alpha
    if test == "escape":
        chances = crossing_probabilities(looks, nominal_levels(looks, plan.n_max, alpha / family), (difference - delta) / sd)
        fixed = tuple(escape_power(difference, sd, delta, n, alpha=alpha, family=family).power for n in looks)
    else:
        family = 1
        lower, upper = (_first(plan, side * difference / sd + delta / sd, 1, side) for side in (1, -1))
        chances = _shares(np.maximum(lower, upper), len(looks))
        fixed = tuple(tost_power(difference, sd, delta, n, alpha=alpha).power for n in looks)
    expected = float(np.dot(chances, looks)) + (1 - sum(chances)) * looks[-1]
    return LooksPower(test, looks, difference, sd, delta, alpha, family, chances, expected, fixed, test == "escape")


def _first(plan: LookPlan, shift: float, family: int, side: int) -> NDArray[np.int64]:
    """For each simulated run the first look at which a one-sided t-test rejects, counted from 0; as many as looks for none.

    The mean lies `shift` sd beyond the margin; `side` −1 mirrors the noise, so that both halves of a TOST share their runs.
    """
    means, spreads = _noise(plan.n_max, plan.looks)
    found = np.full(SIMULATED, len(plan.looks))
    levels = nominal_levels(plan.looks, plan.n_max, plan.alpha / family)
    for k in reversed(range(len(plan.looks))):
        n = plan.looks[k]
        found[math.sqrt(n) * (side * means[k] + shift) >= critical_value(n, levels[k]) * spreads[k]] = k
    return found


@lru_cache(maxsize=4)
def _noise(n_max: int, looks: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of standard Normal differences up to each look, shapes (looks, runs)."""
    rng, means, spreads = np.random.default_rng([_ROOT, n_max]), [], []
    for _ in range(0, SIMULATED, _PART):
        noise = rng.standard_normal((_PART, n_max))
        means.append(np.stack([noise[:, :n].mean(axis=1) for n in looks]))
        spreads.append(np.stack([noise[:, :n].std(axis=1, ddof=1) for n in looks]))
    return np.concatenate(means, axis=1), np.concatenate(spreads, axis=1)


def _shares(first: NDArray[np.int64], looks: int) -> tuple[float, ...]:
    return tuple((np.bincount(first, minlength=looks + 1)[:looks] / len(first)).tolist())


@dataclass(frozen=True, slots=True)
class SharePlan(Computed):
    """Which share of lines is settled by each look, and by fixed designs of as many seeds.

    Attributes
    ----------
    looked, fixed
        Expected share of the lines that are EQUIVALENT, ESCAPES or DEGRADES up to each look of the plan, and in a fixed design
        of so many seeds.
    target
        Share to be settled.
    seeds_looked, seeds_fixed
        Seeds of the first look that is expected to reach the target, and of the smallest fixed design that does; None where
        none up to the maximum does.
    advice
        "looks" or "fixed", and `why`.
    """

    looks: tuple[int, ...]
    lines: int
    target: float
    looked: tuple[float, ...]
    fixed: tuple[float, ...]
    seeds_looked: int | None
    seeds_fixed: int | None
    advice: Literal["looks", "fixed"]
    why: str

    def describe(self) -> str:
        """Return the advice as a sentence."""
        return f"{'A plan of looks' if self.advice == 'looks' else 'A fixed design'} is advised: {self.why}."

    def to_row(self) -> Row:
        """Return the advice as one row; `to_rows` has the looks."""
        return {
            "n_max": self.looks[-1],
            "lines": self.lines,
            "target": self.target,
            "seeds_looked": self.seeds_looked,
            "seeds_fixed": self.seeds_fixed,
            "advice": self.advice,
            "why": self.why,
        }

    def to_rows(self) -> list[Row]:
        """Return one row a look."""
        return [{"n": n, "looked": a, "fixed": b} for n, a, b in zip(self.looks, self.looked, self.fixed, strict=True)]


def share_plan(lines: Sequence[tuple[float, float, int]], plan: LookPlan, delta: float, *, target: float = 0.8) -> SharePlan:
    """What share of lines a plan of looks settles by which look, beside fixed designs, and which of the two is advised.

    Parameters
    ----------
    lines
        True difference, sd between seeds and size of the family of each, in points; those of a run come from
        `sics_analysis.planning.outlook.planned_lines`.
    target
        Share of the lines to be settled.

    Notes
    -----
    At its seeds a fixed design always settles more than a look, whose level is a fraction of alpha. So where a fixed design of
    few seeds, no more than two looks' worth, reaches the target it is advised. Otherwise the seeds it takes are known only as
    well as the differences planned with, and a plan of looks, which needs not know them, is.

    Examples
    --------
    >>> easy = share_plan([(0.0, 0.2, 1), (2.0, 0.3, 2)], LookPlan(40), 0.5)
    >>> easy.advice, easy.seeds_fixed
    ('fixed', 5)
    >>> share_plan([(0.1, 0.8, 1), (1.0, 0.9, 2)], LookPlan(40), 0.5).advice
    'looks'
    """
    if not lines:
        raise ValueError("Expected at least one line with a spread between seeds to plan with, got none")
    if not 0 < target <= 1:
        raise ValueError(f"Expected `target` as a share in (0, 1], got {target!r}")
    looked = np.mean([_settled(plan, *line, delta) for line in lines], axis=0)

    def fixed(n: int) -> float:
        return sum(_settled_fixed(n, *line, delta, plan.alpha) for line in lines) / len(lines)

    beside = tuple(fixed(n) for n in plan.looks)
    seeds_looked = next((n for n, share in zip(plan.looks, looked, strict=True) if share >= target), None)
    seeds_fixed = next((n for n in range(min(5, plan.n_max), plan.n_max + 1) if fixed(n) >= target), None)
    few = plan.looks[min(1, len(plan.looks) - 1)]
    share = f"{100 * target:g} % of the {plural(len(lines), 'line')}"
    if seeds_fixed is not None and seeds_fixed <= few:
        advice: Literal["looks", "fixed"] = "fixed"
        why = f"{seeds_fixed} seeds are expected to settle {share}, and a plan of looks pays for looking: {_at(seeds_looked)}"
    elif seeds_fixed is None:
        advice = "looks"
        why = (
            f"not even {plan.n_max} seeds are expected to settle {share}, so that nobody knows beforehand what is reached: looks "
            f"stop at what is ({100 * looked[-1]:.0f} % by the last)"
        )
    else:
        advice = "looks"
        why = (
            f"a fixed design takes {seeds_fixed} seeds for {share} if the lines are as planned, and cannot be mended if they are "
            f"not; looks stop when it is so: {_at(seeds_looked)}"
        )
    return SharePlan(plan.looks, len(lines), target, tuple(looked.tolist()), beside, seeds_looked, seeds_fixed, advice, why)


def _settled_fixed(n: int, difference: float, sd: float, family: int, delta: float, alpha: float) -> float:
    """The same for a fixed design of n seeds, exactly: no two of the three can be."""
    beyond = (escape_power(side * difference, sd, delta, n, alpha=alpha, family=family).power for side in (1, -1))
    return tost_power(difference, sd, delta, n, alpha=alpha).power + sum(beyond)


def _at(seeds: int | None) -> str:
    return "with looks no number up to the maximum is expected to" if seeds is None else f"with looks it is expected at {seeds}"


def _settled(plan: LookPlan, difference: float, sd: float, family: int, delta: float) -> FloatArray:
    """Chance that a line is EQUIVALENT, ESCAPES or DEGRADES up to each look."""
    theta, margin = difference / sd, delta / sd
    equivalent = np.maximum(_first(plan, theta + margin, 1, 1), _first(plan, margin - theta, 1, -1))
    beyond = np.minimum(_first(plan, theta - margin, family, 1), _first(plan, -theta - margin, family, -1))
    return np.cumsum(_shares(np.minimum(equivalent, beyond), len(plan.looks)))
