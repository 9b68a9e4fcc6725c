"""What a user says of a table: its columns, its metric, the unit of that and of the margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sics_analysis.results import Metric
from sics_analysis.rows.reading.names import TableError

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
        The margin in the unit said, to tell what it is in the metric's own (`margin_of`).
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

    def in_unit_of(self, metric: Metric, value: float) -> float:
        """A difference in the unit said, in the unit that all differences are in: .005 of a fraction is 0.5 points."""
        return round(100 * value, 12) if self.share == "fraction" and metric.is_accuracy else value

    def margin_of(self, metric: Metric) -> float | None:
        """The margin in the unit that all differences are in."""
        return None if self.delta is None else self.in_unit_of(metric, self.delta)

    def told_margin(self, metric: Metric) -> list[str]:
        """How the margin was read, where a unit was said for it."""
        if self.share is None or self.delta is None or not metric.is_accuracy:
            return []
        word = {"points": "points", "percent": "percent", "fraction": "the fraction"}[self.share]
        return [f"δ = {self.delta:g} is in {word}: {self.in_unit_of(metric, self.delta):g} points"]

    def refuse_other(self, metric: Metric, whose: str) -> None:
        """Refuse a unit or direction other than that of a metric that is known; a share has three units.

        Raises
        ------
        TableError
            In one line, with what there is instead; `whose` metric it is ends the sentence.
        """
        if self.lower_is_better not in (None, metric.lower_is_better):
            option = "--lower-is-better" if self.lower_is_better else "--higher-is-better"
            better = "less" if metric.lower_is_better else "more"
            raise TableError(f"{option}: {better} {metric.name} is better, by {whose}: leave the option out")
        if self.unit is None or self.unit.strip() in (metric.unit, metric.short) or (self.share and metric.is_accuracy):
            return
        others = "give points, percent or fraction" if metric.is_accuracy else "leave the option out"
        raise TableError(f"--unit {self.unit}: {metric.name} is in {metric.short}, by {whose}: {others}")


NOTHING = Asked({})
