"""The best of several scorers, without the winner's curse.

The best of nine scorers that are all on the plateau averages +0.20 points at five seeds when the differences' sd is
0.3. So a selected scorer is never reported by its own mean: either by its simultaneous interval, which holds for
whichever scorer the data pick, or by fresh seeds that took no part in the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sics_analysis.families.family import FamilyResult
from sics_analysis.results import Interval, Row, Seed, Winner, columns, limits, plural, signed
from sics_analysis.rows.contrasts import Contrast


def best_of(family: FamilyResult) -> Winner | None:
    """Return the best scorer of a tested family by its simultaneous interval; None when no column could be tested."""
    lines = [line for line in family.lines if line.simultaneous is not None and line.mean is not None]
    if not lines:
        return None
    best = max(lines, key=lambda line: (line.mean or 0.0, line.name))
    assert best.simultaneous is not None
    where = "" if best.sparsity is None else f" at S = {best.sparsity:g}"
    sentence = (
        f"Best of {plural(len(lines), 'scorer')}{where}: {best.name}, simultaneous {best.simultaneous} over "
        f"{plural(best.n, 'seed')}. "
        "Its own mean is not given: it was selected for being large."
    )
    return Winner(best.name, best.sparsity, best.n, len(lines), best.simultaneous, sentence)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A scorer selected on one set of seeds and estimated on fresh ones; accuracy points."""

    scorer: str
    sparsity: float | None
    n_selection: int
    candidates: int
    contrast: Contrast

    @property
    def mean(self) -> float | None:
        """Mean difference on the fresh seeds only."""
        return self.contrast.mean

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval on the fresh seeds; no adjustment is needed, since they chose nothing."""
        return self.contrast.t_interval(level)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        interval = self.confidence_interval()
        mean = "no estimate" if self.mean is None else f"{signed(self.mean)} points"
        shown = "" if interval is None else f", {interval}"
        return (
            f"{self.scorer}, the best of {self.candidates} on {plural(self.n_selection, 'seed')}, gives {mean}{shown} on "
            f"{self.contrast.n} fresh seeds."
        )

    def to_row(self) -> Row:
        """Return the estimate as one row."""
        numbers = columns(self, "scorer sparsity n_selection n=contrast.n difference=mean")
        return numbers | limits("ci95", self.confidence_interval())


def confirm_best(contrasts: Sequence[Contrast], confirm_seeds: Iterable[Seed]) -> Confirmed:
    """Select the scorer with the largest mean on the other seeds and estimate it on `confirm_seeds`.

    Parameters
    ----------
    contrasts
        The candidates at one sparsity, each against the same reference.
    confirm_seeds
        Seeds kept out of the selection.

    Raises
    ------
    ValueError
        If no candidate has a seed outside `confirm_seeds`.

    Examples
    --------
    >>> from sics_analysis.rows.contrasts import differences
    >>> lucky = differences([2.0, 2.1, 1.9, 0.1, 0.0, -0.1], name="lucky")
    >>> steady = differences([1.0, 1.1, 0.9, 1.0, 1.1, 0.9], name="steady")
    >>> result = confirm_best([lucky, steady], confirm_seeds=[3, 4, 5])
    >>> result.scorer, round(result.mean, 9)
    ('lucky', 0.0)
    """
    fresh = set(confirm_seeds)
    chosen = [(c, c.restrict(seed for seed in c.seeds if seed not in fresh)) for c in contrasts]
    usable = [(c, old) for c, old in chosen if old.mean is not None]
    if not usable:
        raise ValueError("Expected seeds outside `confirm_seeds` to select on, got none")
    best, selection = max(usable, key=lambda pair: (pair[1].mean or 0.0, pair[0].name))
    return Confirmed(best.name, best.sparsity, selection.n, len(usable), best.restrict(fresh))
