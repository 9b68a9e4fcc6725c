"""What a family of scorers tested together hands back: a line a scorer, and the family around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy import special

from sics_analysis.results import Computed, Interval, Row, Seed, at_level, columns, limits, p_text, plural, signed
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast, FloatArray, OfContrast
from sics_analysis.rows.degenerate import constant_text

Direction: TypeAlias = Literal["above", "below"]
SIGN: dict[Direction, int] = {"above": 1, "below": -1}

Method: TypeAlias = Literal[
    "rotation max-T",
    "Holm on t, ragged seeds",
    "Holm on Welch's t, unpaired",
    "rotation max-T at several looks",
    "Holm on each line's own levels, ragged seeds",
]

ROTATION: Final = "rotation max-T"
RAGGED: Final = "Holm on t, ragged seeds"
UNPAIRED: Final = "Holm on Welch's t, unpaired"
ROTATION_LOOKS: Final = "rotation max-T at several looks"
RAGGED_LOOKS: Final = "Holm on each line's own levels, ragged seeds"


@dataclass(frozen=True, slots=True)
class FamilyLook:
    """One look at one line of a family.

    Attributes
    ----------
    look
        Which of the planned looks, from 1 on.
    p, level, repeated
        The p of this look among the lines still in the family, the nominal level it is compared with, and the overall alpha at
        which it rejects; None where the line had no new seed.
    p_adjusted
        The adjusted p over all looks so far: the line is shown where it is at most alpha.
    left
        Lines that count: those not yet shown, and this one.
    """

    look: int
    p: float | None
    level: float | None
    repeated: float | None
    p_adjusted: float | None
    left: int


@dataclass(frozen=True, slots=True)
class FamilyLine(OfContrast):
    """One scorer's line in a family.

    Parameters
    ----------
    contrast
        Its differences on its own complete seeds.
    t, p
        One-sided t statistic against the margin and its exact p, unadjusted; for equal differences, and where larger for two
        adjacent counts, the p of `exact_p`.
    p_adjusted
        The p that decides: rotation max-T, step-down; Holm on t where the scorers of the family miss different seeds, and
        Holm on the exact p for equal differences; for two adjacent counts not below Holm's.
    p_holm
        Cross-check: Holm on the one-sided t of the family.
    p_signflip, p_signflip_joint
        Cross-checks without Normality: sign-flip of this column, and of the family jointly (max-T, step-down; None
        where the scorers miss different seeds).
    simultaneous
        Difference ± c·se, level 1 − alpha: c common to the family, or Bonferroni's t where the scorers miss different
        seeds.
    degenerate
        Whether the column left the family before the rotation; every p is then None, but those of equal differences.
    """

    t: float | None
    p: float | None
    p_adjusted: float | None
    p_holm: float | None
    p_signflip: float | None
    p_signflip_joint: float | None
    simultaneous: Interval | None
    degenerate: bool
    reason: str
    looks: tuple[FamilyLook, ...] = ()  # where the seeds are looked at more than once

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """The simultaneous interval; None at another level than the family's 1 − alpha."""
        return at_level(self.simultaneous, level)

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        if self.mean is None:
            return f"{self.name} against {self.reference}: no complete seed."
        head = f"{self.name} against {self.reference}: difference {signed(self.mean)} points"
        if self.degenerate:
            test = "not tested" if self.p is None else f"exact {p_text(self.p)}, adjusted {p_text(self.p_adjusted)}"
            return f"{head} (n = {plural(self.n, 'seed')}), {test}: {self.reason}."
        return (
            f"{head}, simultaneous {self.simultaneous}, {self.reason}: adjusted {p_text(self.p_adjusted)} "
            f"(unadjusted {p_text(self.p)}, Holm {p_text(self.p_holm)}, "
            f"joint sign-flip {p_text(self.p_signflip_joint)}; n = {plural(self.n, 'seed')})."
        )

    def to_row(self) -> Row:
        """The numbers as one table row."""
        numbers = "scorer=name reference sparsity n difference=mean t p p_adjusted p_holm p_signflip p_signflip_joint"
        return columns(self, numbers) | limits("simultaneous", self.simultaneous) | {"reason": self.reason}


@dataclass(frozen=True, slots=True)
class FamilyResult(Computed):
    """A family tested together, above +margin or below −margin.

    Parameters
    ----------
    lines
        One a scorer, in the order given, degenerate ones included.
    seeds
        Complete in every scorer of the family, degenerate ones aside.
    critical
        c of the simultaneous intervals, None without a tested column and where every line has its own.
    p_signflip_min
        Smallest p the joint sign-flip cross-check can reach; None without it.
    method
        How the p-values are adjusted. The rotation needs the scorers to share their seeds; where they do not, Holm on
        each line's own t is valid whatever seeds another scorer misses (`max_t_family` says under what condition).
    """

    lines: tuple[FamilyLine, ...]
    margin: float
    direction: Direction
    alpha: float
    seeds: tuple[Seed, ...]
    draws: int
    critical: float | None
    p_signflip_min: float | None
    method: Method = ROTATION

    @property
    def n(self) -> int:
        """Seeds common to the family; a line has its own number."""
        return len(self.seeds)

    @property
    def tested(self) -> tuple[str, ...]:
        """Scorers whose columns were tested by their t."""
        return tuple(line.name for line in self.lines if not line.degenerate)

    @property
    def rejected(self) -> tuple[str, ...]:
        """Scorers shown beyond the margin, family-wise at alpha."""
        return tuple(line.name for line in self.lines if line.p_adjusted is not None and line.p_adjusted <= self.alpha)

    def get(self, name: str) -> FamilyLine | None:
        """A scorer's line; None where it is not of the family."""
        return next((line for line in self.lines if line.name == name), None)

    def adjusted(self, name: str) -> float | None:
        """A scorer's adjusted p; None where it was not tested."""
        line = self.get(name)
        return None if line is None else line.p_adjusted

    def __getitem__(self, name: str) -> FamilyLine:
        line = self.get(name)
        if line is not None:
            return line
        raise KeyError(f"Expected one of {', '.join(line.name for line in self.lines)}, got {name!r}")

    def note(self, name: str) -> str:
        """What a reader of this line's adjusted p must know; empty where it needs nothing.

        The seeds the scorers do not share, or that p lies within three Monte Carlo standard errors of alpha, so that
        other random rotations could decide otherwise.
        """
        line = self.get(name)
        if line is None or line.p_adjusted is None or line.degenerate:
            return ""
        if self.method == ROTATION_LOOKS:
            return self._near_alpha(line)
        if self.method != ROTATION:
            return self.method
        error = 3 * math.sqrt(self.alpha * (1 - self.alpha) / self.draws)
        # An adjusted p that equals the exact t p owes nothing to the draws.
        if line.p_adjusted == line.p or abs(line.p_adjusted - self.alpha) >= error:
            return ""
        return f"within the Monte Carlo error of α, ±{error:.2g} at {plural(self.draws, 'draw')}"

    def _near_alpha(self, line: FamilyLine) -> str:
        """The same at the last look, whose level is a fraction of alpha."""
        last = line.looks[-1] if line.looks else None
        if last is None or last.p is None or not last.level or last.p == line.p:
            return ""
        error = 3 * math.sqrt(last.level * (1 - last.level) / self.draws)
        if abs(last.p - last.level) >= error:
            return ""
        return (
            f"within the Monte Carlo error of this look's level, {last.level:.2g} ± {error:.1g} at {plural(self.draws, 'draw')}"
        )

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        judged = [line for line in self.lines if line.p_adjusted is not None]
        if not judged:
            return f"No scorer of {len(self.lines)} could be tested (n = {plural(self.n, 'seed')})."
        sign = "+" if self.direction == "above" else "−"
        bound = f"{self.direction} {sign}{self.margin:g} points" if self.margin else f"{self.direction} 0 points"
        found = ", ".join(self.rejected) or "none"
        if not self.tested:
            return (
                f"Shown {bound} among {plural(len(judged), 'scorer')} of equal differences, exact p with Holm at family-wise "
                f"α = {self.alpha:g} (n = {plural(self.n, 'seed')}): {found}."
            )
        if self.method == ROTATION_LOOKS:
            return (
                f"Shown {bound} among {plural(len(judged), 'scorer')}, rotation max-T at several looks, step-down, at "
                f"family-wise "
                f"α = {self.alpha:g} over all of them (n = {plural(self.n, 'seed')}, {plural(self.draws, 'draw')} a "
                f"look): {found}."
            )
        if self.method != ROTATION:
            why = "that miss different seeds" if self.method in (RAGGED, RAGGED_LOOKS) else "whose seeds are no pairs"
            return (
                f"Shown {bound} among {plural(len(self.tested), 'scorer')} {why}, Holm on each line's own t at "
                f"family-wise α = {self.alpha:g} ({plural(self.n, 'seed')} in common): {found}."
            )
        return (
            f"Shown {bound} among {plural(len(judged), 'scorer')}, rotation max-T step-down at family-wise "
            f"α = {self.alpha:g} (n = {plural(self.n, 'seed')}, {plural(self.draws, 'draw')}): {found}."
        )

    def to_row(self) -> Row:
        """The family as one table row."""
        return {
            **columns(self, "margin direction alpha n"),
            "tested": ", ".join(self.tested),
            "rejected": ", ".join(self.rejected),
            **columns(self, "method draws critical p_min_attainable=p_signflip_min"),
        }

    def to_rows(self) -> list[Row]:
        """One table row a scorer."""
        facts = columns(self, "margin direction p_min_attainable=p_signflip_min method")
        return [line.to_row() | facts for line in self.lines]


def one_sided(active: Sequence[Contrast], margin: float, sign: int) -> tuple[FloatArray, FloatArray]:
    """t of sign·mean beyond the margin, and its exact one-sided p, of every column on its own seeds."""
    mean, se = np.array([c.spread for c in active]).T
    t = (sign * mean - margin) / se
    return t, np.asarray(special.stdtr(np.array([c.df for c in active]), -t), dtype=np.float64)


def why_degenerate(c: Contrast) -> str:
    """Why a column has no t, in words."""
    if c.hash_conflict:
        return "same mask hash but different accuracies"
    if c.is_identical:
        return "same mask at every seed"
    if c.n < MIN_SEEDS:
        return f"too few seeds: {c.n}, needs {MIN_SEEDS}"
    if not c.paired:
        return "degenerate: neither side has a spread"
    return constant_text(c) if c.has_test or c.fixed else f"no look yet: {plural(c.n, 'seed')}"
