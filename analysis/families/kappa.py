"""κ(S): which complexity a scorer needs at sparsity S to leave the plateau, as a claim with an error rate.

With M₁ and M₂ the largest true difference to the reference among the κ = 1 and the κ = 2 scorers, κ(S) = 0 means
max(M₁, M₂) ≤ δ, κ(S) = 1 means M₁ > δ and κ(S) = 2 means M₁ ≤ δ < M₂. Exactly one of them is true. Each is tested, and
κ(S) = k is claimed only when k alone is not rejected. A false claim needs the true one to be rejected, so its
probability at one S is at most the level of a test; Holm's steps divide α over the values of S.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sics_analysis.families.max_t import escape_test
from sics_analysis.one_scorer.student import p_below
from sics_analysis.results import Row, check_alpha, check_delta, columns, p_text, plural
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast


def kappa_p_values(
    p_family_escapes: float, p_kappa1_escapes: float, p_kappa1_below: float, p_kappa2_below: float
) -> tuple[float, float, float]:
    """p of κ(S) = 0, 1 and 2 from the four tests of rule 8.

    The escape p are the smallest adjusted ones over all κ ≥ 1 scorers (against max(M₁, M₂) ≤ δ) and within the κ = 1 scorers
    (against M₁ ≤ δ); the others the largest p of "difference < δ" over a κ (against M > δ, intersection-union). κ(S) = 2 is
    false as soon as M₁ > δ or M₂ ≤ δ; testing both doubles the smaller p.

    >>> kappa_p_values(0.001, 0.6, 0.01, 0.99)
    (0.001, 0.01, 1.0)
    """
    return p_family_escapes, p_kappa1_below, min(1.0, 2 * min(p_kappa1_escapes, p_kappa2_below))


@dataclass(frozen=True, slots=True)
class KappaDecision:
    """Outcome of Holm's steps at one S: the set left, the level, the adjusted p of the claim."""

    not_rejected: tuple[int, ...]
    level: float
    p_claim: float
    p_claim_adjusted: float

    @property
    def kappa(self) -> int | None:
        """The claim: the one value left, or None."""
        return self.not_rejected[0] if len(self.not_rejected) == 1 else None


def decide(p_values: Sequence[tuple[float, float, float]], alpha: float) -> tuple[KappaDecision, ...]:
    """Claim κ(S) at each S that could be tested, with Holm over the values of S.

    The p of a claim is the second smallest of the three. The S with the smallest is judged first at α/m; each claim made
    leaves α/(m − 1), … for the rest, and at the first S without a claim the level stays. An S whose three values are
    all rejected claims nothing. Holm's proof takes the set of false candidates as fixed, while here the data choose
    the candidate; the excess is of second order in α and the rate is simulated in `bench/calibration.py`.

    >>> [d.kappa for d in decide([(0.9, 0.001, 0.002), (0.001, 0.02, 0.8)], alpha=0.05)]
    [0, 2]
    """
    second = [sorted(p)[1] for p in p_values]
    order = sorted(range(len(p_values)), key=lambda i: second[i])
    left, stopped, running = len(order), False, 0.0
    found: dict[int, KappaDecision] = {}
    for i in order:
        level = alpha / left
        running = max(running, min(1.0, left * second[i]))
        kept = tuple(k for k, p in enumerate(p_values[i]) if p > level)
        stopped = stopped or second[i] > level
        found[i] = KappaDecision(kept, level, second[i], running)
        if not stopped and len(kept) == 1:
            left -= 1
    return tuple(found[i] for i in range(len(p_values)))


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
        return columns(self, "p_violated p_shown trend")


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


@dataclass(frozen=True, slots=True)
class KappaPoint:
    """The claim at one sparsity."""

    sparsity: float
    n: int
    kappa: int | None  # None when undetermined
    not_rejected: tuple[int, ...]  # at `level`; all three where nothing could be tested
    p_values: tuple[float, float, float] | None  # of κ(S) = 0, 1, 2; None where they could not be tested
    p_claim: float | None  # second smallest of the three, the level at which a claim appears
    p_claim_adjusted: float | None  # with Holm over the values of S
    level: float  # α after Holm's division at this S
    reason: str

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        if self.p_values is None:
            return f"κ({self.sparsity:g}) is not available: {self.reason}."
        p = ", ".join(f"κ = {k}: {p_text(value)}" for k, value in enumerate(self.p_values))
        if self.kappa is None:
            return f"κ({self.sparsity:g}) is undetermined over {plural(self.n, 'seed')}: {self.reason} ({p})."
        return (
            f"κ({self.sparsity:g}) = {self.kappa} is claimed over {plural(self.n, 'seed')}, Holm-adjusted "
            f"{p_text(self.p_claim_adjusted)} ({p})."
        )

    def to_row(self) -> Row:
        """Return the claim as one row."""
        return {
            **columns(self, "sparsity n kappa"),
            "not_rejected": ",".join(map(str, self.not_rejected)),
            **{f"p_kappa_{k}": None if self.p_values is None else self.p_values[k] for k in range(3)},
            **columns(self, "p_claim p_claim_adjusted reason"),
        }


@dataclass(frozen=True, slots=True)
class Spectrum:
    """κ(S) over the values of S, and whether it grows with S (tested, never imposed)."""

    points: tuple[KappaPoint, ...]
    monotonicity: Monotonicity
    delta: float
    alpha: float

    def __getitem__(self, sparsity: float) -> KappaPoint:
        for point in self.points:
            if point.sparsity == sparsity:
                return point
        known = ", ".join(f"{point.sparsity:g}" for point in self.points)
        raise KeyError(f"Expected a sparsity among {known}, got {sparsity!r}")

    def describe(self) -> str:
        """Return the claims and the monotonicity test as sentences."""
        return " ".join([*(point.describe() for point in self.points), self.monotonicity.describe()])

    def to_row(self) -> Row:
        """Return all values of S as one row; an undetermined κ(S) is a question mark."""
        row: Row = {
            "sparsities": ", ".join(f"{point.sparsity:g}" for point in self.points),
            "kappa": ", ".join("?" if point.kappa is None else str(point.kappa) for point in self.points),
            "n": min((point.n for point in self.points), default=0),
        }
        return row | columns(self, "delta alpha") | self.monotonicity.to_row()

    def to_rows(self) -> list[Row]:
        """Return one row per sparsity."""
        return [point.to_row() for point in self.points]


def kappa_spectrum(
    families: Mapping[float, Mapping[int, Sequence[Contrast]]],
    delta: float,
    *,
    alpha: float = 0.05,
    rng: np.random.Generator,
    draws: int = 100_000,
) -> Spectrum:
    """Claim κ(S) for every S.

    Parameters
    ----------
    families
        For each S, the contrasts of the κ = 1 scorers under 1 and of the κ = 2 scorers under 2, all against one
        reference. Controls and baselines have no κ and have no place here.
    delta, alpha
        Margin in points, and the chance of any false claim over all S.
    rng, draws
        For the rotation tests.

    Notes
    -----
    Every column keeps its own complete seeds. Equal differences have the exact p. Other degenerate columns leave
    before any test; one that has too few of the seeds, or one hash beside accuracies that differ, cannot be shown to lie below
    δ, so it keeps "every scorer of this κ is below δ" from being shown.

    Examples
    --------
    >>> from sics_analysis.rows.contrasts import differences
    >>> flat = [0.05, -0.08, 0.02, 0.06, -0.04]
    >>> family = {
    ...     1: [differences(flat, name="bump")],
    ...     2: [differences([2.1, 1.8, 2.4, 2.0, 1.9], name="chaos")],
    ... }
    >>> found = kappa_spectrum({0.8: family}, 0.5, rng=np.random.default_rng(0), draws=2_000)
    >>> found[0.8].kappa
    2
    """
    check_delta(delta)
    check_alpha(alpha)
    points: dict[float, tuple[int, tuple[float, float, float] | str]] = {}
    for sparsity in sorted(families):
        points[sparsity] = _test_point(families[sparsity], delta, alpha, rng, draws)
    testable = {S: p for S, (_, p) in points.items() if not isinstance(p, str)}
    decisions = dict(zip(testable, decide(list(testable.values()), alpha), strict=True))
    found = []
    for sparsity, (n, p) in points.items():
        if isinstance(p, str):
            found.append(KappaPoint(sparsity, n, None, (0, 1, 2), None, None, None, alpha, p))
            continue
        decision = decisions[sparsity]
        found.append(
            KappaPoint(
                sparsity,
                n,
                decision.kappa,
                decision.not_rejected,
                p,
                decision.p_claim,
                decision.p_claim_adjusted,
                decision.level,
                _reason(decision),
            )
        )
    return Spectrum(tuple(found), monotonicity_test(testable, alpha), delta, alpha)


def _reason(decision: KappaDecision) -> str:
    if decision.kappa is not None:
        return ""
    if not decision.not_rejected:
        return "all three values are rejected, which no truth explains"
    return f"the data leave κ in {{{', '.join(map(str, decision.not_rejected))}}}"


def _test_point(
    family: Mapping[int, Sequence[Contrast]],
    delta: float,
    alpha: float,
    rng: np.random.Generator,
    draws: int,
) -> tuple[int, tuple[float, float, float] | str]:
    """Number of seeds and the p of κ(S) = 0, 1, 2 at one S, or why there are none."""
    unknown = sorted(set(family) - {1, 2})
    if unknown:
        raise ValueError(f"Expected κ of 1 or 2 in `families`, got {unknown}")
    run = len({seed for group in family.values() for c in group for seed in c.seeds})
    columns: dict[int, list[Contrast]] = {}
    above: dict[int, bool] = {}
    for kappa in (1, 2):
        scorers = family.get(kappa, ())
        columns[kappa] = [c for c in scorers if c.has_test]
        above[kappa] = any(not (c.is_identical and c.n == run >= MIN_SEEDS) for c in scorers if not c.has_test)
    for kappa in (1, 2):
        seeds = [c.n for c in family.get(kappa, ())]
        n = max(seeds, default=0)
        if not seeds:
            return run, f"it needs scorers of κ = 1 and of κ = 2, and there is none of κ = {kappa}"
        if not columns[kappa]:
            if n >= MIN_SEEDS and not any(c.fixed or c.level(alpha) for c in family[kappa]):
                return n, f"no look yet: {plural(n, 'seed')}"
            return n, f"too few seeds: {n}" if n < MIN_SEEDS else f"every scorer of κ = {kappa} is degenerate"
    both = columns[1] + columns[2]
    p_any = escape_test(both, delta, alpha=alpha, rng=rng, draws=draws)
    p_smooth = escape_test(columns[1], delta, alpha=alpha, rng=rng, draws=draws)
    below = {k: 1.0 if above[k] else max(p_below(c, delta) or 0.0 for c in columns[k]) for k in (1, 2)}
    smallest = [min(line.p_adjusted for line in result.lines if line.p_adjusted is not None) for result in (p_any, p_smooth)]
    return min(c.n for c in both), kappa_p_values(smallest[0], smallest[1], below[1], below[2])
