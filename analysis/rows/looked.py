"""Paired differences that are looked at more than once: their p and intervals hold over all looks together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

from sics_analysis.looks.design import LookPlan
from sics_analysis.looks.levels import critical_value, level_of_last
from sics_analysis.looks.repeated import METHOD, repeated_p_of
from sics_analysis.results import Seed
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a contrast.

    Parameters
    ----------
    number
        Which planned look it is, from 1 on.
    contrast
        The differences of its seeds, as those of a fixed design.
    counts
        The seeds of this look of the contrast and of those before it. A look without a new seed is none.
    complete
        Whether it is the last planned one.
    """

    number: int
    contrast: Contrast
    counts: tuple[int, ...]
    n_max: int
    complete: bool

    def level(self, alpha: float, family: int = 1) -> float:
        """Nominal level of this look where all looks together err at `alpha`."""
        return level_of_last(self.counts, self.n_max, alpha, family, self.complete)

    def repeated(self, p: float, family: int = 1) -> float:
        """The smallest overall alpha at which this p rejects at this look."""
        return repeated_p_of(p, self.counts, self.n_max, family, self.complete)


@dataclass(frozen=True, slots=True)
class LookedContrast(Contrast):
    """The differences of the seeds up to the last of several looks.

    Wherever a test or an interval of a fixed design is asked for, this one gives the sequential p and the repeated interval:
    whoever compares them with alpha, or with a margin, errs no more often than without the looks. One planned look is the fixed
    design.

    Parameters
    ----------
    plan
        When is looked.
    order
        The seeds in the order in which they are run.
    made
        How many of the planned looks are made; none before the first.

    Examples
    --------
    >>> from sics_analysis.rows.contrasts import differences
    >>> d = differences([0.1 * ((7 * i) % 11 - 5) for i in range(8)])
    >>> looked = looked_contrast(d, LookPlan(40), range(40), 2)
    >>> print(looked.t_interval(0.90), [look.counts for look in looked.looks])
    90 % CI [−0.40, +0.45] [(5,), (5, 8)]
    """

    plan: LookPlan | None = None
    order: tuple[Seed, ...] = ()
    made: int = 0

    @property
    def looks(self) -> tuple[Look, ...]:
        """The looks at which this contrast could be tested: with a seed more than before, three at least."""
        known = self._known
        if "looks" not in known:
            known["looks"] = tuple(self._looks())
        found: tuple[Look, ...] = known["looks"]
        return found

    def _looks(self) -> Iterator[Look]:
        assert self.plan is not None  # `looked_contrast` gives it
        place = {seed: i for i, seed in enumerate(self.order)}
        plain = as_fixed(self)
        counts: tuple[int, ...] = ()
        for number, seeds in enumerate(self.plan.looks[: self.made], 1):
            own = plain.restrict(seed for seed in self.seeds if place[seed] < seeds)
            if own.n < MIN_SEEDS or (counts and own.n <= counts[-1]):
                continue
            counts = (*counts, own.n)
            yield Look(number, own, counts, self.plan.n_max, number == len(self.plan.looks))

    @property
    def place(self) -> str:
        """The last look made, in words."""
        assert self.plan is not None
        return f"at look {self.made} of {len(self.plan.looks)}, n = {self.n}" if self.made else "before the first look"

    @property
    def has_test(self) -> bool:
        """Whether a look was made at which a test fits."""
        return not self.same_hash and bool(self.looks)

    def up_to(self, look: int) -> LookedContrast:
        """The same contrast as it was after so many of the planned looks."""
        assert self.plan is not None
        first = set(self.order[: self.plan.looks[look - 1]])
        found = self.restrict(seed for seed in self.seeds if seed in first)
        assert isinstance(found, LookedContrast)
        return replace(found, made=min(look, self.made))

    def level(self, alpha: float) -> float:
        """One-sided nominal level of the last look, alpha being that of all looks together."""
        return self.looks[-1].level(alpha) if self.looks else 0.0

    def repeated(self, p: float) -> float:
        """The smallest overall alpha at which this p rejects at the last look."""
        return self.looks[-1].repeated(p) if self.looks else 1.0

    def sequential(self, test: Callable[[Contrast], float | None]) -> float | None:
        """The smallest repeated p of the looks so far, a valid p wherever the run stops; None before the first.

        What equal differences show is said anew at each look, so that it counts at the last one alone.
        """
        return min((p for _, p in self.repeated_by_look(test)), default=None)

    def repeated_by_look(self, test: Callable[[Contrast], float | None]) -> list[tuple[Look, float]]:
        """The looks that count and the repeated p of this test at each."""
        found = []
        for look in self.looks:
            if look.contrast.is_constant and look is not self.looks[-1]:
                continue
            p = test(look.contrast)
            if p is not None:
                found.append((look, look.repeated(p)))
        return found

    @property
    def fixed(self) -> bool:
        """No."""
        return False

    def _reach(self, level: float) -> float | None:
        if not self.looks:
            return None
        return critical_value(self.n, self.looks[-1].level((1 - level) / 2))

    @property
    def method(self) -> str:
        """How the interval is made."""
        return METHOD


def looked_contrast(contrast: Contrast, plan: LookPlan, order: tuple[Seed, ...] | range, made: int) -> Contrast:
    """A contrast under a plan of looks; the contrast itself where a single look is planned, which is the fixed design.

    Raises
    ------
    ValueError
        If the contrast is unpaired, or has a seed that `order` does not.
    """
    if not contrast.paired:
        raise ValueError("Expected paired seeds with a plan of looks: its levels are those of one row of differences")
    strange = sorted(str(seed) for seed in set(contrast.seeds) - set(order))
    if strange:
        raise ValueError(f"Expected the seeds of {contrast.name!r} among those of the plan, got {', '.join(strange)}")
    if len(plan.looks) == 1 and made == 1:
        return contrast
    own = {field.name: getattr(contrast, field.name) for field in fields(contrast) if field.init}
    return LookedContrast(**own, plan=plan, order=tuple(order), made=made)


def as_fixed(contrast: Contrast) -> Contrast:
    """The differences of a contrast as those of a fixed design."""
    return Contrast(**{field.name: getattr(contrast, field.name) for field in fields(Contrast) if field.init})
