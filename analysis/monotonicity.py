"""Does κ(S) grow with S? A test on the joint confidence set of κ at all sparsities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sics_analysis.results import Row, p_text


class Trend(StrEnum):
    """What the data say of κ growing with S."""

    SHOWN = "shown"  # every path the data leave is nondecreasing
    VIOLATED = "violated"  # none is
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Monotonicity:
    """Test of "κ(S) never falls as S grows".

    Attributes
    ----------
    p_violated
        p of the null that κ is nondecreasing; small means it falls somewhere.
    p_shown
        p of the null that κ falls somewhere; small means it is shown to be nondecreasing.
    """

    sparsities: tuple[float, ...]
    p_violated: float | None
    p_shown: float | None
    trend: Trend

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        if self.p_violated is None or self.p_shown is None:
            return "Whether κ grows with S cannot be tested: it needs κ at two sparsities."
        text = {
            Trend.SHOWN: "κ(S) is shown never to fall as S grows",
            Trend.VIOLATED: "κ(S) is shown to fall somewhere as S grows",
            Trend.UNDECIDED: "Whether κ(S) grows with S is undecided",
        }[self.trend]
        return f"{text} (against never falling {p_text(self.p_violated)}, against falling somewhere {p_text(self.p_shown)})."

    def to_row(self) -> Row:
        """Return the test as one row."""
        return {"p_violated": self.p_violated, "p_shown": self.p_shown, "trend": str(self.trend)}


def monotonicity_test(p_values: Mapping[float, tuple[float, float, float]], alpha: float = 0.05) -> Monotonicity:
    """Test whether κ(S) is nondecreasing.

    Parameters
    ----------
    p_values
        For each S the p of κ(S) = 0, 1, 2.

    Notes
    -----
    A path assigns a κ to every S. Bonferroni rejects a path at m·min over S of its p, m the number of sparsities. Each of
    the two nulls is a union of paths, so its p is the largest p of a path in it (intersection-union); no order is
    imposed on anything.

    Examples
    --------
    >>> result = monotonicity_test({0.5: (0.9, 0.001, 0.001), 0.8: (0.001, 0.002, 0.7)})
    >>> str(result.trend), result.p_shown
    ('shown', 0.002)
    """
    sparsities = tuple(sorted(p_values))
    rows = [p_values[S] for S in sparsities]
    m = len(rows)
    if m < 2:
        return Monotonicity(sparsities, None, None, Trend.UNDECIDED)
    # Best nondecreasing path ending at κ ≤ k: widest-path recursion, since a path is as good as its smallest p.
    best = [max(rows[0][: k + 1]) for k in range(3)]
    for row in rows[1:]:
        ending = [min(best[k], row[k]) for k in range(3)]
        best = [max(ending[: k + 1]) for k in range(3)]
    p_violated = min(1.0, m * best[2])
    # A path that falls somewhere falls between two neighbours, and every other S is free to take its largest p.
    largest = [max(row) for row in rows]
    falls = []
    for i in range(m - 1):
        others = min((largest[j] for j in range(m) if j not in (i, i + 1)), default=1.0)
        falls += [min(rows[i][a], rows[i + 1][b], others) for a in range(3) for b in range(a)]
    p_shown = min(1.0, m * max(falls))
    trend = Trend.VIOLATED if p_violated <= alpha < p_shown else Trend.SHOWN if p_shown <= alpha < p_violated else Trend.UNDECIDED
    return Monotonicity(sparsities, p_violated, p_shown, trend)
