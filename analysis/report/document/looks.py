"""Parts of a report of a run whose seeds are looked at more than once: what its looks showed, and what looking costs."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.looks.outcome import Looks


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a run goes on for, such as "escape:chaos@0.7", and whether that is decided."""

    target: str
    settled: bool
    text: str


@dataclass(frozen=True, slots=True)
class LookChance:
    """One planned look: what is spent by then, and the chance of a verdict by then beside that of a fixed number of seeds.

    `level` is the nominal one-sided level of a single line. A chance is None where no line has a spread to plan with.
    """

    n: int
    spent: float
    level: float
    equivalence: float | None
    escape: float | None
    fixed_equivalence: float | None
    fixed_escape: float | None


@dataclass(frozen=True, slots=True)
class LooksInfo(Looks):
    """The looks of a run, with means and intervals as their reader has them.

    Attributes
    ----------
    targets
        Empty where nobody said what is to be decided.
    sd, effect, family
        What the chances are for: the median sd (points) of the lines, a true escape of `effect` points among so many lines, and
        a true difference of 0.
    chances
        One a planned look.
    """

    targets: tuple[TargetInfo, ...]
    sd: float | None
    effect: float
    family: int
    chances: tuple[LookChance, ...]

    @property
    def decided(self) -> bool:
        """Whether all that was asked for is decided."""
        return bool(self.targets) and all(target.settled for target in self.targets)

    @property
    def over(self) -> bool:
        """Whether no look is to come: all that was asked for is decided, or the last one was made."""
        return self.decided or self.next_look is None

    @property
    def level(self) -> float | None:
        """The nominal level of a single line at the last look that was made; None before the first."""
        return self.chances[self.made - 1].level if self.made else None
