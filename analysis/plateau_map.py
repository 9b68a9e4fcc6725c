"""The plateau map: where each scorer stands by mask and by accuracy, in one or several runs, and what of it the pool did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sics_analysis.results import Row, Verdict, signed

#: What a verdict against magnitude of the same run says of a scorer's place.
STANDING = {
    Verdict.IDENTICAL: "plateau",
    Verdict.EQUIVALENT: "plateau",
    Verdict.ESCAPES: "above",
    Verdict.DEGRADES: "below",
    Verdict.INCONCLUSIVE: "undecided",
}


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One scorer at one S in one run; differences in accuracy points.

    Attributes
    ----------
    run
        The run's label: its pool, and what else tells it from the others.
    overlap
        Mean Jaccard overlap of the kept units with those of magnitude in the same run; None where not stored.
    feature
        Mean difference to magnitude in the same run, and its `verdict` there: what the scorer does once the pool is chosen.
    total
        Mean difference to magnitude in the first run, at the seeds that pruned the same dense network; None without any.
    """

    run: str
    scorer: str
    kappa: int | None
    role: str
    sparsity: float
    overlap: float | None
    feature: float | None
    verdict: Verdict
    n: int
    total: float | None

    @property
    def standing(self) -> str:
        """ "plateau", "above", "below" or "undecided"."""
        return STANDING[self.verdict]

    def to_row(self) -> Row:
        """Return one flat row."""
        return {
            "run": self.run, "scorer": self.scorer, "kappa": self.kappa, "role": self.role, "sparsity": self.sparsity,
            "overlap": self.overlap, "feature": self.feature, "verdict": str(self.verdict), "standing": self.standing,
            "n": self.n, "total": self.total,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PoolMove:
    """Magnitude in one run against magnitude in the first: what the pool alone does at one S.

    `mean` is in accuracy points; None, with the reason, where the two runs have no dense network in common.
    """

    run: str
    sparsity: float
    mean: float | None
    verdict: Verdict | None
    n: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PlateauMap:
    """Points and pool moves of one or several runs; the first run is what the others' pools are measured against."""

    runs: tuple[str, ...]
    delta: float
    points: tuple[MapPoint, ...]
    moves: tuple[PoolMove, ...]

    @property
    def sparsities(self) -> tuple[float, ...]:
        """The values of S, ascending."""
        return tuple(sorted({point.sparsity for point in self.points}))

    def at(self, sparsity: float) -> tuple[MapPoint, ...]:
        """The points at one S."""
        return tuple(point for point in self.points if point.sparsity == sparsity)

    def move(self, run: str, sparsity: float) -> PoolMove | None:
        """What one run's pool does at one S; None for the first run."""
        return next((move for move in self.moves if (move.run, move.sparsity) == (run, sparsity)), None)

    def describe(self, sparsity: float) -> list[str]:
        """Sentences: who is the plateau, who left it, and what the pool did."""
        said = []
        for run in self.runs:
            here = [point for point in self.at(sparsity) if point.run == run]
            if not here:
                continue
            same = _names(p for p in here if p.verdict is Verdict.IDENTICAL)
            equal = _names(p for p in here if p.verdict is Verdict.EQUIVALENT)
            parts = [f"the plateau by mask: {same}", f"by accuracy: {equal}"]
            parts += [f"{word}: {_names(p for p in here if p.standing == key)}" for key, word in _LEFT]
            move = self.move(run, sparsity)
            pool = ""
            if move is not None:
                pool = f" The pool alone: {pool_text(move, self.runs[0])}."
                # A mean above δ shows nothing: only where the pool itself is shown to escape do its plateau's gains count.
                gained = [p for p in here if p.total is not None and p.total > self.delta and p.standing == "plateau"]
                if gained and move.verdict is Verdict.ESCAPES:
                    pool += f" On its plateau, and above {self.runs[0]} by the pool and not by a feature: {_names(gained)}."
            said.append(f"{run}: " + "; ".join(parts) + "." + pool)
        return said


_LEFT = (("above", "left it upwards"), ("below", "left it downwards"), ("undecided", "undecided"))


def pool_text(move: PoolMove, first: str) -> str:
    """What a pool does to magnitude, in words.

    Examples
    --------
    >>> pool_text(PoolMove("layer", 0.8, -3.2, Verdict.DEGRADES, 5), "global")
    'magnitude −3.20 points against global over 5 seeds (DEGRADES)'
    """
    if move.mean is None:
        return f"not known ({move.reason})"
    return f"magnitude {signed(move.mean)} points against {first} over {move.n} seeds ({move.verdict})"


def _names(points: Iterable[MapPoint]) -> str:
    return ", ".join(point.scorer for point in points) or "none"
