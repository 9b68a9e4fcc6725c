"""Who leaves the plateau: rotation max-T over a family of scorers, step-down, with its two cross-checks.

A family is fixed before the run; columns without spread leave before the rotation, and those whose differences are all equal
have an exact p, with Holm over the family. The rotation needs columns that share their seeds. Where scorers miss
different seeds, Holm on each line's own t takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from sics_analysis.families.family import RAGGED, ROTATION, UNPAIRED, Direction, one_sided, why_degenerate
from sics_analysis.families.family import SIGN as SIGN
from sics_analysis.families.family import FamilyLine as FamilyLine
from sics_analysis.families.family import FamilyResult as FamilyResult
from sics_analysis.families.multiplicity import holm
from sics_analysis.families.rotation import (
    MaxAbs,
    Projection,
    StepDown,
    rotation_directions,
    sign_directions,
    sorted_rows,
    step_down_p,
)
from sics_analysis.families.sequential import sequential_family
from sics_analysis.one_scorer.signflip import DRAWS, sign_flip_test
from sics_analysis.one_scorer.student import p_above
from sics_analysis.results import MAX_MARGIN, Interval, Seed, check_alpha, check_delta, is_number, is_whole, plural
from sics_analysis.rows.contrasts import MANY_SEEDS, MIN_SEEDS, Contrast, FloatArray, check_names
from sics_analysis.rows.looked import LookedContrast

_CLEAR = 5.0  # Monte Carlo standard errors from alpha at which no further draw could move a verdict
JOINT = "rotation max-|T|"


def max_t_family(
    contrasts: Sequence[Contrast],
    margin: float = 0.0,
    *,
    direction: Direction = "above",
    alpha: float = 0.05,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> FamilyResult:
    """Test which scorers of a family lie beyond a margin ≥ 0 (points, one-sided), with family-wise error control.

    All are against one reference, each on its own complete seeds. The identity counts among the `draws` rotations.

    Each column's null distribution is exactly t with n − 1 degrees of freedom whatever the other columns' means:
    u·y/|y| of a fixed y is a coordinate of a uniform direction. What far-off columns can distort is the dependence
    alone. A column far below the margin points along −1 and so looks strongly correlated with others like it; a
    maximum over more columns is never smaller, so it cannot lower the p of a column at the margin, and its own
    statistic is far from any critical value. Joint sign flips have no such bound, which is why they are a
    cross-check: flipping all signs turns that column into the largest statistic of all.

    For true nulls at the margin the step-down is exact given Y'Y (conservative beside other columns). Nulls a little
    below the margin are outside that proof, as their sample dependence is off; simulated at 5 and 10 seeds they lose
    much more by their lower statistics than that gives back, and the family-wise error falls below alpha. The
    adjusted p is never below the exact t p, and is that p for a family of one, where drawing would only add noise.

    The critical value of the intervals comes from the columns centred at their own means, so that it does not move
    with them. This plugs the sample correlations in; simulated at 5 seeds with 6 to 11 columns (`docs/calibration.md`) all
    intervals hold at once in 94 to 96 % of runs where 95 % is claimed.

    **Ragged seeds.** A family restricted to the seeds common to it would let one scorer's failed runs choose the seeds
    of another's test: a scorer at the margin, tested on the five of its ten seeds where it does best because its neighbour
    failed on the rest, passes a nominal 5 % in 69 % of runs, and a scorer that shares no seed with the others
    silences them all. So every line keeps its own seeds. When they differ, the p-values are Holm's on the one-sided t
    and the intervals Bonferroni's: each line's t is exact on its own seeds, and Holm and Bonferroni need nothing of how
    the lines depend on one another. So the family-wise error holds for any pattern of missing seeds, and however the
    failures of one scorer go with the values of another, as long as a scorer's own failures have nothing to do with its
    own differences; no test survives a scorer that fails where it would do badly. A line below three seeds leaves the
    family. `bench/calibration.py` simulates both patterns. The joint sign-flip cross-check is then left out.

    **Constant columns, and two adjacent counts.** A column whose differences are all equal has no t. Its p is the exact one
    (`exact_p`), adjusted by Holm over the one-sided p of the whole family, constant columns included. The others are rotated
    without it. A column whose differences take two values, one test example apart, is rotated with the others, but its p is the
    larger of t's and the exact one, and its adjusted p not below Holm's on these. `bench/calibration.py` simulates both.

    **Many seeds.** Beyond 100 the rotations are drawn in the few dimensions that the columns span, which is the same
    distribution, a tenth of the draws is made first and is enough where every p lies five Monte Carlo standard errors from
    alpha, and the sign-flip cross-checks are left out: they agree with t there. Up to 100 seeds nothing is cut.

    **Several looks.** Contrasts under a plan of looks (`LookedContrast`) are tested at each look by `sequential_family`.

    The rows are sorted by value before they are rotated, so that no renaming of seeds moves a p.

    Langsrud (2005), Rotation tests, Statistics and Computing 15, 53–60. Holm (1979), A simple sequentially rejective
    multiple test procedure.

    >>> from sics_analysis.rows.contrasts import differences
    >>> family = [
    ...     differences([1.9, 2.1, 2.6, 1.7, 2.2], name="chaos"),
    ...     differences([0.1, -0.2, 0.3, 0.0, 0.2], name="bump"),
    ...     differences([-36.0, -33.0, -39.0, -35.0, -36.0], name="fake"),
    ... ]
    >>> max_t_family(family, 0.5, rng=np.random.default_rng(0)).rejected
    ('chaos',)
    """
    check_alpha(alpha)
    if not is_number(margin) or not 0 <= margin <= MAX_MARGIN:
        raise ValueError(f"Expected `margin` of at least 0 accuracy points, got {margin!r}")
    if direction not in ("above", "below"):
        raise ValueError(f"Expected `direction` above or below, got {direction!r}")
    if not is_whole(draws) or draws < 1:
        raise ValueError(f"Expected `draws` as a whole number of at least 1, got {draws!r}")
    check_names(contrasts)
    family = tuple(contrasts)
    looked = [c for c in family if isinstance(c, LookedContrast)]
    if looked:
        if len(looked) < len(family):
            raise ValueError("Expected all contrasts of a family under one plan of looks, got some without")
        return sequential_family(looked, float(margin), direction=direction, alpha=alpha, rng=rng, draws=int(draws))
    active = [c for c in family if not c.is_degenerate]
    unpaired = any(not c.paired for c in active)
    ragged = unpaired or len({c.seeds for c in active}) > 1
    tested: dict[str, FamilyLine] = {}
    critical: float | None = None
    made = int(draws)
    if active:
        sign = SIGN[direction]
        numbers = _test_ragged(active, margin, sign, alpha) if ragged else _test(active, margin, sign, alpha, rng, draws)
        critical = None if ragged else float(numbers.critical[0])
        made = numbers.made or made
        tested = {c.name: _tested_line(c, numbers, j, margin, direction, alpha) for j, c in enumerate(active)}
    equal = {c.name: (p, adjusted) for c, p, adjusted in constants_adjusted(family, active, margin, SIGN[direction])}
    lines = tuple(tested.get(c.name) or _degenerate_line(c, margin, direction, equal.get(c.name)) for c in family)
    held = active or family
    common = set[Seed]().union(*(c.seeds for c in held[:1])).intersection(*({*c.seeds} for c in held[1:]))
    seeds = tuple(seed for seed in held[0].seeds if seed in common) if held else ()
    n = len(seeds)
    return FamilyResult(
        lines,
        float(margin),
        direction,
        alpha,
        seeds,
        made,
        critical,
        max(0.5**n, 0.0 if 2**n <= draws else 1 / draws) if MIN_SEEDS <= n <= MANY_SEEDS and not ragged else None,
        UNPAIRED if unpaired else RAGGED if ragged else ROTATION,
    )


def escape_test(
    contrasts: Sequence[Contrast],
    delta: float,
    *,
    alpha: float = 0.05,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> FamilyResult:
    """Which scorers lie above +delta (a minimal effect, not merely above zero); see `max_t_family`."""
    check_delta(delta)
    return max_t_family(contrasts, delta, direction="above", alpha=alpha, rng=rng, draws=draws)


def degrade_test(
    contrasts: Sequence[Contrast],
    delta: float,
    *,
    alpha: float = 0.05,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> FamilyResult:
    """Which scorers lie below −delta: `escape_test` mirrored, a family of its own."""
    check_delta(delta)
    return max_t_family(contrasts, delta, direction="below", alpha=alpha, rng=rng, draws=draws)


def superiority_test(
    contrasts: Sequence[Contrast], *, alpha: float = 0.05, rng: np.random.Generator, draws: int = DRAWS
) -> FamilyResult:
    """Which scorers lie above zero: plain superiority, reported beside the escape; see `max_t_family`."""
    return max_t_family(contrasts, 0.0, direction="above", alpha=alpha, rng=rng, draws=draws)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Arrays over the tested columns of a family."""

    t: FloatArray
    p: FloatArray
    adjusted: FloatArray
    joint: FloatArray | None
    holm: tuple[float | None, ...]
    critical: FloatArray
    interval: str
    made: int = 0  # draws, where they are fewer than asked for
    ragged: bool = False


def exact_beside(
    active: Sequence[Contrast], margin: float, sign: int, p: FloatArray, adjusted: FloatArray
) -> tuple[FloatArray, FloatArray, tuple[float | None, ...]]:
    """The t p and the adjusted p of every column, raised by the exact test on two adjacent counts; and Holm on all."""
    coarse = np.array([c.is_adjacent for c in active])
    if not coarse.any():
        return p, adjusted, holm(p.tolist())
    own = np.array([_own_p(c, margin, sign) for c in active])
    corrected = holm(own.tolist())
    return own, np.where(coarse, np.maximum(adjusted, np.array(corrected, dtype=np.float64)), adjusted), corrected


def _own_p(c: Contrast, margin: float, sign: int) -> float:
    """One-sided p of a column that has a test."""
    p = p_above(c if sign > 0 else c.mirrored(), margin)
    assert p is not None
    return p


def _test_ragged(active: list[Contrast], margin: float, sign: int, alpha: float) -> _Numbers:
    """Holm on t and Bonferroni-t intervals, for columns on different seeds."""
    t, p = one_sided(active, margin, sign)
    p, _, corrected = exact_beside(active, margin, sign, p, p)
    df = np.array([c.df for c in active])
    critical = np.asarray(special.stdtrit(df, 1 - alpha / (2 * len(active))), dtype=np.float64)
    own = "t" if all(c.paired for c in active) else "Welch t"
    interval = f"Bonferroni {own}" if len(active) > 1 else "Welch t"  # one paired column is never ragged
    return _Numbers(t, p, np.array(corrected, dtype=np.float64), None, corrected, critical, interval, ragged=True)


def _test(
    active: list[Contrast],
    margin: float,
    sign: int,
    alpha: float,
    rng: np.random.Generator,
    draws: int,
) -> _Numbers:
    n, m = active[0].n, len(active)
    if n > MANY_SEEDS and m > 1:
        return _test_many(active, margin, sign, alpha, rng, draws)
    # Sorted before the first sum, so that not even its rounding knows how the seeds are labelled.
    columns = sorted_rows(sign * np.column_stack([c.values for c in active]) - margin)
    t, p = one_sided(active, margin, sign)
    length = np.sqrt((columns**2).sum(axis=0))
    # The same ties as in the sign-flip test of a single column: sums over flipped seeds within n tolerances.
    slack = 2 * math.sqrt(n) * np.array([c.tolerance for c in active]) / length
    exact = n < 60 and 2**n <= draws
    signs = sign_directions(n) if exact else sign_directions(n, draws=draws, rng=rng)
    joint = step_down_p(columns, signs, slack=slack) if n <= MANY_SEEDS else None
    single = float(special.stdtrit(n - 1, 1 - alpha / 2))
    if m == 1:
        p, adjusted, corrected = exact_beside(active, margin, sign, p, p)
        return _Numbers(t, p, adjusted, joint, corrected, np.full(1, single), "student-t")
    counts, largest = StepDown(columns), MaxAbs(columns - columns.mean(axis=0))
    for chunk in rotation_directions(n, draws, rng):
        counts.add(chunk)
        largest.add(chunk)
    p, adjusted, corrected = exact_beside(active, margin, sign, p, not_below(counts.adjusted(), p, t))
    # A family's critical value is never below that of one column; drawing could leave it a hair short. A quantile beyond
    # the draws is not known from them, and Bonferroni's, which is never too small, takes its place.
    known = alpha * draws >= 1
    joint_t = largest.quantile(1 - alpha) if known else float(special.stdtrit(n - 1, 1 - alpha / (2 * m)))
    critical = np.full(m, max(joint_t, single))
    return _Numbers(t, p, adjusted, joint, corrected, critical, JOINT)


def _test_many(active: list[Contrast], margin: float, sign: int, alpha: float, rng: np.random.Generator, draws: int) -> _Numbers:
    """The same rotations for many seeds, in the dimensions of the columns, and no sign flips.

    A tenth of the draws is enough where every p they give lies five of its Monte Carlo standard errors or more from alpha.
    """
    n, m = active[0].n, len(active)
    t, p = one_sided(active, margin, sign)
    columns = sorted_rows(sign * np.column_stack([c.values for c in active]) - margin)
    space = Projection(columns)
    counts, largest = StepDown(space.columns, observed=space.observed), MaxAbs(space.centred, n)
    adjusted, made = p, 0
    for part in in_two(draws):
        for chunk in space.directions(part, rng, identity=made == 0):
            counts.add(chunk)
            largest.add(chunk)
        made += part
        adjusted = not_below(counts.adjusted(), p, t)
        if clear_of(alpha, adjusted, made):
            break
    single = float(special.stdtrit(n - 1, 1 - alpha / 2))
    joint_t = largest.quantile(1 - alpha) if alpha * made >= 1 else float(special.stdtrit(n - 1, 1 - alpha / (2 * m)))
    critical = np.full(m, max(joint_t, single))
    p, adjusted, corrected = exact_beside(active, margin, sign, p, adjusted)
    return _Numbers(t, p, adjusted, None, corrected, critical, JOINT, made)


def in_two(draws: int) -> tuple[int, ...]:
    """A tenth of the draws, and the others, which are made only where that leaves a p near alpha.

    >>> in_two(1_000), in_two(1)
    ((100, 900), (1,))
    """
    first = max(draws // 10, 1)
    return (first, draws - first) if draws > first else (first,)


def clear_of(alpha: float, adjusted: FloatArray, made: int) -> bool:
    """Whether so many draws leave every p so far from alpha that no further ones could move a verdict."""
    return bool((np.abs(adjusted - alpha) >= _CLEAR * math.sqrt(alpha * (1 - alpha) / made)).all())


def not_below(adjusted: FloatArray, p: FloatArray, t: FloatArray) -> FloatArray:
    """Adjusted p held at or above the exact t p, and monotone in the step-down order."""
    order = np.argsort(-t, kind="stable")
    result = np.empty_like(p)
    result[order] = np.maximum.accumulate(np.maximum(adjusted, p)[order])
    return result


def _tested_line(c: Contrast, numbers: _Numbers, j: int, margin: float, direction: Direction, alpha: float) -> FamilyLine:
    mean, se = c.spread
    half = float(numbers.critical[j]) * se
    above = direction == "above"
    flip: float | None = None
    if c.paired and c.n <= MANY_SEEDS:
        flip = sign_flip_test(c, margin=margin if above else -margin, alternative="greater" if above else "less").p
    bound = f"{'+' if above else '−'}{margin:g}" if margin else "0"
    how = f", {RAGGED if c.paired else UNPAIRED}" if numbers.ragged else ""
    return FamilyLine(
        c,
        float(numbers.t[j]),
        float(numbers.p[j]),
        float(numbers.adjusted[j]),
        numbers.holm[j],
        flip,
        None if numbers.joint is None else float(numbers.joint[j]),
        Interval(mean - half, mean + half, 1 - alpha, numbers.interval),
        False,
        f"tested {direction} {bound} among {plural(len(numbers.p), 'scorer')}{how}",
    )


def constants_adjusted(
    family: Sequence[Contrast], active: Sequence[Contrast], margin: float, sign: int
) -> list[tuple[Contrast, float, float]]:
    """The columns of equal differences with their exact p, alone and with Holm over them and the `active` columns."""
    constant = [c for c in family if c.has_test and c.is_constant]
    if not constant:
        return []
    own = [_own_p(c, margin, sign) for c in constant]
    adjusted = holm([*own, *(_own_p(c, margin, sign) for c in active)])
    return [(c, p, corrected or p) for c, p, corrected in zip(constant, own, adjusted, strict=False)]


def _degenerate_line(c: Contrast, margin: float, direction: Direction, equal: tuple[float, float] | None) -> FamilyLine:
    p, adjusted = equal or (None, None)
    return FamilyLine(c, None, p, adjusted, adjusted, p, None, None, True, why_degenerate(c))
