"""Two samples of which one is constant or on two adjacent counts: the exact p beside Welch's, by hand, enumerated, simulated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sics_analysis.families.max_t import escape_test
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.results import Verdict
from sics_analysis.rows.degenerate import exact_bound, exact_p
from sics_analysis.rows.unpaired import UnpairedContrast

ALPHA = 0.05


def samples(own: list[float], other: list[float], one: float = 0.1, two: float = 0.1) -> UnpairedContrast:
    return UnpairedContrast("x", "B", (), (), 0.5, own=tuple(own), other=tuple(other), resolutions=(one, two))


def welch(c: UnpairedContrast, margin: float) -> float:
    return float(stats.t.sf((c.spread[0] - margin) / c.spread[1], c.df))


def test_three_equal_gains_are_not_infinite_evidence() -> None:
    """Three seeds at +3.00 against 39 at 0 and one at .10: Welch's p is next to 0, three equal seeds show 2⁻³ and no less."""
    c = samples([3.0] * 3, [0.0] * 39 + [0.1])
    assert welch(c, 0.5) < 1e-60
    assert p_above(c, 0.5) == 0.125
    assert p_below(c.mirrored(), -0.5) == 0.125
    line = equivalence_test(c, 0.5)
    assert (line.verdict, line.p_lower) == (Verdict.INCONCLUSIVE, 0.125)
    assert line.reason.startswith("3 seeds of one value against 40 seeds on two adjacent counts, so the larger of Welch's and")
    assert escape_test([c], 0.5, rng=np.random.default_rng(0)).adjusted("x") == 0.125


def test_the_exact_p_of_one_side_by_hand() -> None:
    """A has .5 twice and .4 three times, B a mean of 0 and a spread: above .35 each seed has the higher count by q = ½ or less,
    P(Bin(5, ½ …)) of the margin .45; above .35 all five lie, 2⁻⁵."""
    c = samples([0.5, 0.5, 0.4, 0.4, 0.4], [-0.3, -0.1, 0.0, 0.1, 0.3])
    # q = 1 − (.5 − .45)/.1 = ½: two of five or more, 1 − 6/32.
    assert exact_p(c, 0.45) == pytest.approx(1 - 6 / 32)
    # Below the lower count no chance of a higher one makes the mean: only the five signs.
    assert exact_p(c, 0.35) == 0.5**5
    assert p_above(c, 0.35) == pytest.approx(max(welch(c, 0.35), 0.5**5))
    assert exact_p(samples([0.5, 0.5, 0.4, 0.4, 0.4], [0.7, 0.9, 1.0, 1.1, 1.3]), -0.55) == pytest.approx(1 - 6 / 32)


def test_a_spread_on_both_sides_is_welch_alone() -> None:
    c = samples([0.5, 0.3, 0.1, 0.4], [-0.3, -0.1, 0.0, 0.2])
    assert not c.is_adjacent
    assert exact_p(c, 0.0) == 0.0
    assert p_above(c, 0.1) == pytest.approx(welch(c, 0.1))


def test_a_spread_below_one_example_is_a_constant() -> None:
    """One value moved by less than a test example turns no constant into evidence."""
    assert p_above(samples([2.0, 2.0, 2.01], [0.0, 0.3, -0.2]), 0.5) == pytest.approx(0.125)
    assert not samples([2.0, 2.0, 2.01], [0.0, 0.3, -0.2], 0.0).coarse


def test_two_constant_sides_are_judged_by_their_seeds() -> None:
    found = {n: equivalence_test(samples([0.0] * n, [0.0] * 40), 0.5).verdict for n in (3, 5)}
    assert found == {3: Verdict.INCONCLUSIVE, 5: Verdict.EQUIVALENT}
    five = samples([3.0] * 5, [0.0] * 40)
    assert escape_test([five], 0.5, rng=np.random.default_rng(0)).adjusted("x") == 0.5**5
    # At the margin nothing is shown, whatever the seeds.
    assert p_above(samples([0.5] * 40, [0.0] * 40), 0.5) == 1.0


def test_sides_and_signs_are_mirrored() -> None:
    for c in (samples([0.4, 0.5, 0.5, 0.4], [0.1, 0.0, 0.0, 0.0, 0.0], 0.1, 0.1), samples([0.2] * 6, [0.0, 0.4, 0.1], 0.2)):
        for margin in (-0.3, 0.0, 0.2, 0.45):
            assert p_above(c, margin) == pytest.approx(p_below(c.mirrored(), -margin))
            turned = replace(c, own=tuple(-x for x in c.own), other=tuple(-x for x in c.other))
            assert p_above(c, margin) == pytest.approx(p_below(turned, -margin))


@pytest.mark.parametrize(
    "c",
    [
        samples([0.5] * 6, [0.0, 0.3, 0.1]),
        samples([0.5, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.1] * 4 + [0.0] * 8),
        samples([0.0, 0.3, 0.1], [0.1] * 5 + [0.0] * 3),
    ],
)
def test_the_bound_is_where_the_exact_p_passes(c: UnpairedContrast) -> None:
    bound = exact_bound(c, ALPHA)
    assert bound is not None
    assert exact_p(c, bound - 1e-6) <= ALPHA < exact_p(c, bound + 1e-6)
    assert exact_bound(samples([0.5] * 4, [0.0, 0.3, 0.1]), ALPHA) is None


def test_the_smallest_margin_passes() -> None:
    c = samples([0.5, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.1] * 4 + [0.0] * 8)
    smallest = equivalence_test(c, 0.5).smallest_delta()
    assert smallest is not None
    assert equivalence_test(c, smallest + 1e-6).verdict is Verdict.EQUIVALENT
    assert equivalence_test(c, smallest - 1e-6).verdict is not Verdict.EQUIVALENT


@pytest.mark.parametrize(("one", "two"), [(3, 5), (5, 5), (8, 8)])
def test_two_coarse_sides_keep_their_level(one: int, two: int) -> None:
    """Every outcome of two binomials, the true difference being the margin."""
    for start in (0.0, 0.6):  # what the two grids are apart by
        for q, r in ((0.6, 0.3), (0.7, 0.3), (0.2, 0.9), (0.5, 0.5)):
            margin, above, below = q - start - r, 0.0, 0.0
            for i in range(one + 1):
                for j in range(two + 1):
                    chance = float(stats.binom.pmf(i, one, q) * stats.binom.pmf(j, two, r))
                    own = [1.0] * i + [0.0] * (one - i)
                    c = samples(own, [1.0 + start] * j + [start] * (two - j), 1.0, 1.0)
                    above += chance * ((p_above(c, margin) or 0.0) <= ALPHA)
                    below += chance * ((p_below(c, margin) or 0.0) <= ALPHA)
            assert max(above, below) <= ALPHA, (start, q, r)


@pytest.mark.parametrize(
    ("one", "two", "examples", "lowest", "q"), [(3, 40, 360, 1, 0.8), (5, 40, 360, 1, 0.8), (3, 40, 900, 4, 0.5)]
)
def test_rare_counts_of_a_large_run_show_nothing_false(one: int, two: int, examples: int, lowest: int, q: float) -> None:
    """True difference within δ. Welch alone finds more than δ in 10 to 40 % of such draws."""
    rng, example, alone, found, draws = np.random.default_rng(3), 100 / examples, 0, 0, 300
    for _ in range(draws):
        own = ((lowest + (rng.random(one) < q)) * example).tolist()
        c = samples(own, ((rng.random(two) < 0.05) * example).tolist(), example, example)
        if c.is_constant:
            continue
        alone += welch(c, 0.5) <= ALPHA
        found += (p_above(c, 0.5) or 0.0) <= ALPHA
    assert alone > 0.09 * draws
    assert found <= (ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / draws)) * draws


@pytest.mark.slow
@pytest.mark.parametrize("one", [5, 8, 12])
@pytest.mark.parametrize("spread", [0.02, 0.3, 1.0])
def test_one_coarse_side_beside_a_normal_one(one: int, spread: float) -> None:
    """At the margin, whatever the spread of the other side: the exact p takes its mean for true, Welch's has its error."""
    rng, draws = np.random.default_rng(7), 1_500
    for q in (0.1, 0.5, 0.9):
        wrong = 0
        for _ in range(draws):
            own = (rng.random(one) < q).astype(float).tolist()
            wrong += (p_above(samples(own, (q + spread * rng.standard_normal(8)).tolist(), 1.0, 1e-9), 0.0) or 0.0) <= ALPHA
        assert wrong <= (ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / draws)) * draws, q
