"""What a user says of a table: its columns, its metric, the unit of that and of the margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: How `unit` says that the metric is a share, whose differences are points, by every word for it.
SHARES: Mapping[str, str] = {
    **dict.fromkeys(("points", "point", "accuracy points", "percentage points", "pp"), "points"),
    **dict.fromkeys(("percent", "%", "percentage", "per cent"), "percent"),
    **dict.fromkeys(("fraction", "fractions", "share", "proportion"), "fraction"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says of a table.

    Attributes
    ----------
    columns
        Role → column, or the columns of a table that has one for each scorer or seed.
    metric, repeats
        A column, and columns to average over.
    delta
        The margin in the unit said, to tell what it is in the metric's own (`margin`).
    sparsity_step
        Achieved sparsities are rounded to multiples of it.
    """

    columns: Mapping[str, str | tuple[str, ...]]
    metric: str | None = None
    lower_is_better: bool | None = None
    unit: str | None = None
    repeats: tuple[str, ...] = ()
    where: Mapping[str, str] | None = None
    delta: float | None = None
    sparsity_step: float | None = None

    @property
    def share(self) -> str | None:
        """How the metric, which is a share, is said to be written: points (either way), percent or fraction; None if not said."""
        return None if self.unit is None else SHARES.get(self.unit.strip().lower())

    @property
    def margin(self) -> float | None:
        """The margin in the unit that all differences are in: a fraction's is .005 where its points' is 0.5."""
        return None if self.delta is None else round(100 * self.delta, 12) if self.share == "fraction" else self.delta

    @property
    def told_margin(self) -> list[str]:
        """How the margin was read, where a unit was said for it."""
        if self.share is None or self.delta is None or self.margin is None:
            return []
        word = {"points": "points", "percent": "percent", "fraction": "the fraction"}[self.share]
        return [f"δ = {self.delta:g} is in {word}: {self.margin:g} points"]


NOTHING = Asked({})
