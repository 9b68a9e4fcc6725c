"""When a run is looked at: the plan of a group-sequential design, fixed before the first seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from sics_analysis.results import Seed, check_alpha, is_number, is_whole

LINEAR: Final = "linear"
FIRST: Final = 5  # seeds of the first look
MIN_LOOK: Final = 3  # seeds below which no line has a test
GROWTH = 1.5  # of the seeds from look to look
CLOSE = 1.25  # a look is left out where the maximum has fewer than so many times its seeds


def planned_looks(n_max: int, first: int = FIRST) -> tuple[int, ...]:
    """Numbers of seeds at which to look: each half as many again as the one before, without one close to the maximum.

    Raises
    ------
    ValueError
        If `n_max` or `first` is no whole number of at least 3.

    Examples
    --------
    >>> planned_looks(40), planned_looks(20), planned_looks(10)
    ((5, 8, 12, 18, 27, 40), (5, 8, 12, 20), (5, 8, 10))
    """
    for name, value in (("n_max", n_max), ("first", first)):
        if not is_whole(value) or value < MIN_LOOK:
            raise ValueError(f"Expected `{name}` as a whole number of at least {MIN_LOOK} seeds, got {value!r}")
    looks = [min(first, n_max)]
    while looks[-1] < n_max:
        looks.append(min(n_max, math.ceil(GROWTH * looks[-1])))
    if len(looks) > 1 and n_max < CLOSE * looks[-2]:
        del looks[-2]
    return tuple(looks)


@dataclass(frozen=True, slots=True)
class LookPlan:
    """A plan that may look, decide and go on, with its error rates held over all looks together.

    Parameters
    ----------
    n_max
        Seeds at which the run ends whatever they show.
    looks
        Numbers of seeds at which every line is tested, increasing, the last one `n_max`; by `planned_looks` where empty.
    alpha
        Error of a test over all looks.
    spending
        How alpha is spent: "linear", alpha·n/n_max up to n seeds.
    futility
        A line whose chance of any verdict at `n_max` falls below this is called hopeless; it stops nothing.
    seeds
        The seeds in the order in which they are run, `n_max` of them; where empty, those of a table in their own order.

    Raises
    ------
    ValueError
        In one line, for a plan that cannot be.

    References
    ----------
    Jennison and Turnbull (1991), Exact calculations for sequential t, χ² and F tests. Lan and DeMets (1983), Discrete sequential
    boundaries for clinical trials.

    Examples
    --------
    >>> plan = LookPlan(20)
    >>> plan.looks, round(plan.spent(8), 3)
    ((5, 8, 12, 20), 0.02)
    >>> LookPlan.from_dict(plan.to_dict()) == plan
    True
    """

    n_max: int
    looks: tuple[int, ...] = ()
    alpha: float = 0.05
    spending: str = LINEAR
    futility: float = 0.05
    seeds: tuple[Seed, ...] = ()

    def __post_init__(self) -> None:
        default = planned_looks(self.n_max)  # refuses the maximum
        object.__setattr__(self, "looks", tuple(self.looks) or default)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        check_looks(self.looks)
        if self.looks[-1] != self.n_max:
            raise ValueError(f"Expected the last of `looks` to be `n_max`, {self.n_max}, got {self.looks[-1]}")
        check_alpha(self.alpha)
        if self.spending != LINEAR:
            raise ValueError(f"Expected `spending` to be {LINEAR!r}, got {self.spending!r}")
        if not is_number(self.futility) or not 0 <= self.futility < 1:
            raise ValueError(f"Expected `futility` in [0, 1), got {self.futility!r}")
        if self.seeds and (len(self.seeds) != self.n_max or len(set(self.seeds)) != self.n_max):
            raise ValueError(f"Expected `seeds` as {self.n_max} different seeds, as many as `n_max`, got {len(set(self.seeds))}")

    def spent(self, n: int) -> float:
        """How much of alpha is spent once n seeds were looked at."""
        return self.alpha * min(1.0, n / self.n_max)

    def made(self, n: int) -> int:
        """How many looks n complete seeds allow."""
        return sum(look <= n for look in self.looks)

    def next_look(self, n: int) -> int | None:
        """The seeds of the next look after n seeds; None after the last."""
        return next((look for look in self.looks if look > n), None)

    def describe(self) -> str:
        """One sentence a reader can quote."""
        looks = ", ".join(map(str, self.looks))
        return f"Looks at {looks} seeds, α = {self.alpha:g} over all of them together, spent in proportion to the seeds."

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data; `from_dict` reads it."""
        return {
            "n_max": self.n_max,
            "looks": list(self.looks),
            "alpha": self.alpha,
            "spending": self.spending,
            "futility": self.futility,
            "seeds": list(self.seeds),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LookPlan:
        """Read what `to_dict` wrote; a ValueError of one line names what is missing or unknown."""
        known = {"n_max", "looks", "alpha", "spending", "futility", "seeds"}
        if set(data) != known:
            wrong = ", ".join(sorted(known ^ set(data)))
            raise ValueError(f"Expected the fields {', '.join(sorted(known))} in a plan of looks, got others or too few: {wrong}")
        return cls(**{**data, "looks": tuple(data["looks"]), "seeds": tuple(data["seeds"])})


def check_looks(looks: Sequence[int]) -> None:
    """Refuse looks that are no increasing whole numbers of at least three seeds."""
    fine = all(is_whole(n) and n >= MIN_LOOK for n in looks) and all(a < b for a, b in pairwise(looks))
    if not looks or not fine:
        raise ValueError(f"Expected `looks` as increasing whole numbers of at least {MIN_LOOK} seeds, got {list(looks)}")
