"""The plateau map: where each scorer stands by mask and by accuracy, in one or several runs, and what of it the pool did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sics_analysis.families.multiplicity import holm
from sics_analysis.results import ACCURACY, Metric, Row, Verdict, columns, plural, signed

#: What a verdict against magnitude of the same run says of a scorer's place.
STANDING = {
    Verdict.IDENTICAL: "plateau",
    Verdict.EQUIVALENT: "plateau",
    Verdict.ESCAPES: "above",
    Verdict.DEGRADES: "below",
    Verdict.NONINFERIOR: "not below",
    Verdict.NONSUPERIOR: "not above",
    Verdict.INCONCLUSIVE: "undecided",
}


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One scorer at one S in one run; differences in the metric's unit and better upwards, as in a `PoolMove`."""

    run: str  # its pool, and what else tells it from the others
    scorer: str
    kappa: int | None
    role: str
    sparsity: float
    overlap: float | None  # mean Jaccard of the kept units with magnitude's in the same run; None where not stored
    feature: float | None  # mean difference to magnitude in the same run: what the scorer does once the pool is chosen
    verdict: Verdict  # on `feature`
    n: int
    total: float | None  # to magnitude in the first run, at the seeds that pruned the same dense network; None without any
    p_above: float | None = None  # one-sided, feature above +δ, adjusted for nothing; None where nothing was tested
    p_below: float | None = None

    @property
    def standing(self) -> str:
        """ "plateau", "above", "below", "not below", "not above" or "undecided"."""
        return STANDING[self.verdict]

    def to_row(self) -> Row:
        """Return one flat row."""
        return columns(self, "run scorer kappa role sparsity overlap feature verdict standing n total p_above p_below")


@dataclass(frozen=True, slots=True)
class PoolMove:
    """Magnitude in one run against magnitude in the first: what the pool alone does at one S.

    `mean` is in the metric's unit; None, with the reason, where the two runs have no dense network in common. `p_above` and
    `p_below` are as in `MapPoint`.
    """

    run: str
    sparsity: float
    mean: float | None
    verdict: Verdict | None
    n: int
    reason: str = ""
    p_above: float | None = None
    p_below: float | None = None


@dataclass(frozen=True, slots=True)
class Overall:
    """What stands when all that a map tests is one family: Holm over `tests` lines, one direction at a time.

    `above` and `below` name those that are ESCAPES or DEGRADES in their own run and stay so here.
    """

    tests: int
    above: tuple[str, ...]
    below: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlateauMap:
    """Points and pool moves of one or several runs; the first run is what the others' pools are measured against."""

    runs: tuple[str, ...]
    delta: float
    points: tuple[MapPoint, ...]
    moves: tuple[PoolMove, ...]
    alpha: float = 0.05
    metric: Metric = ACCURACY

    def read(self, difference: float | None) -> float | None:
        """A difference in the metric's own direction."""
        return None if difference is None else self.metric.turned(difference)

    def overall(self) -> Overall:
        """Holm over every line of every run at every S, and every pool's move; level `alpha` for each direction."""
        named: list[tuple[str, MapPoint | PoolMove]] = [
            (f"{p.scorer} at {p.sparsity:g}{self._where(p.run)}", p) for p in self.points
        ]
        named += [(f"the pool alone at {m.sparsity:g}{self._where(m.run)}", m) for m in self.moves]
        stands: list[tuple[str, ...]] = []
        for verdict, name in ((Verdict.ESCAPES, "p_above"), (Verdict.DEGRADES, "p_below")):
            adjusted = holm([getattr(one, name) for _, one in named])
            stands.append(
                tuple(
                    text
                    for (text, one), p in zip(named, adjusted, strict=True)
                    if p is not None and p <= self.alpha and one.verdict is verdict
                )
            )
        return Overall(sum(one.p_above is not None for _, one in named), *stands)

    def _where(self, run: str) -> str:
        return f" ({run})" if len(self.runs) > 1 else ""

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
            parts = [f"the plateau by mask: {same}", f"by {self.metric.name}: {equal}"]
            left = _LEFT_FOR if self.metric.lower_is_better else _LEFT
            named = {key: _names(p for p in here if p.standing == key) for key, _ in left}
            parts += [f"{word}: {named[key]}" for key, word in left if key not in _HALVES or named[key] != _NOBODY]
            move = self.move(run, sparsity)
            pool = ""
            if move is not None:
                pool = f" The pool alone: {pool_text(move, self.runs[0], self.metric)}."
                # A mean above δ shows nothing: only where the pool itself is shown to escape do its plateau's gains count.
                gained = [p for p in here if p.total is not None and p.total > self.delta and p.standing == "plateau"]
                if gained and move.verdict is Verdict.ESCAPES:
                    side = "better than" if self.metric.lower_is_better else "above"
                    pool += f" On its plateau, and {side} {self.runs[0]} by the pool and not by a feature: {_names(gained)}."
            said.append(f"{run}: " + "; ".join(parts) + "." + pool)
        return said


_LEFT = (
    ("above", "left it upwards"),
    ("below", "left it downwards"),
    ("not below", "not below it by δ"),
    ("not above", "not above it by δ"),
    ("undecided", "undecided"),
)
#: The same where less is better, so that up is down.
_LEFT_FOR = (
    ("above", "left it for the better"),
    ("below", "left it for the worse"),
    ("not below", "not worse than it by δ"),
    ("not above", "not better than it by δ"),
    ("undecided", "undecided"),
)
_HALVES = ("not below", "not above")  # said only of somebody
_NOBODY = "none"


def pool_text(move: PoolMove, first: str, metric: Metric = ACCURACY) -> str:
    """What a pool does to magnitude, in words.

    >>> pool_text(PoolMove("layer", 0.8, -3.2, Verdict.DEGRADES, 5), "global")
    'magnitude −3.20 points against global over 5 seeds (DEGRADES)'
    """
    if move.mean is None:
        return f"not known ({move.reason})"
    return (
        f"magnitude {signed(metric.turned(move.mean))} {metric.short} against {first} over {plural(move.n, 'seed')} "
        f"({move.verdict})"
    )


def _names(points: Iterable[MapPoint]) -> str:
    return ", ".join(point.scorer for point in points) or _NOBODY
