"""Beyond 100 seeds: the same distribution of rotations at less cost, and nothing that is cut decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.families.max_t import escape_test, max_t_family
from sics_analysis.families.rotation import MaxAbs, Projection, StepDown, rotation_directions, step_down_p
from sics_analysis.one_scorer.bootstrap import bootstrap_mean, bootstrap_together
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.rows.contrasts import MANY_SEEDS, Contrast, differences

N = MANY_SEEDS + 20


def family(n: int, means: list[float], seed: int = 0) -> list[Contrast]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.6, n)
    return [differences(mean + shared + rng.normal(0, 0.8, n), name=str(i)) for i, mean in enumerate(means)]


@given(st.integers(0, 1_000), st.integers(1, 5))
def test_the_projection_keeps_every_cosine(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.normal(0.3, 1, (N, m))
    columns[:, -1] = columns[:, 0]  # one scorer twice: no basis of m columns
    space = Projection(columns)
    unit = columns / np.sqrt((columns**2).sum(axis=0))
    np.testing.assert_allclose(space.columns.T @ space.columns, unit.T @ unit, atol=1e-10)
    np.testing.assert_allclose(space.observed, unit.sum(axis=0) / np.sqrt(N), atol=1e-10)
    (chunk,) = space.directions(50, rng)
    np.testing.assert_allclose(chunk[0] @ space.columns, space.observed, atol=1e-10)


def test_projected_rotations_give_the_p_and_the_critical_value_of_whole_ones() -> None:
    columns = np.column_stack([c.values for c in family(N, [0.0, 0.05, 0.12, 0.2])])
    whole, largest = StepDown(columns), MaxAbs(columns - columns.mean(axis=0))
    for chunk in rotation_directions(N, 40_000, np.random.default_rng(1)):
        whole.add(chunk)
        largest.add(chunk)
    space = Projection(columns)
    less, other = StepDown(space.columns, observed=space.observed), MaxAbs(space.centred, N)
    for chunk in space.directions(40_000, np.random.default_rng(2)):
        less.add(chunk)
        other.add(chunk)
    # Two estimates from 40 000 draws each: four standard errors of their difference are 1.4 %.
    np.testing.assert_allclose(less.adjusted(), whole.adjusted(), atol=0.014)
    assert other.quantile(0.95) == pytest.approx(largest.quantile(0.95), abs=0.03)


def test_a_tenth_of_the_draws_is_enough_where_nothing_is_near_alpha() -> None:
    clear = escape_test(family(N, [2.0, 0.0]), 0.5, rng=np.random.default_rng(0), draws=20_000)
    assert (clear.draws, clear.rejected) == (2_000, ("0",))
    close = family(N, [0.0, 0.0])
    t_at_alpha = differences(0.5 + (close[0].values - close[0].values.mean()) + 1.9 * (close[0].se or 0.0), name="0")
    near = escape_test([t_at_alpha, close[1]], 0.5, rng=np.random.default_rng(0), draws=20_000)
    assert near.draws == 20_000
    assert near.p_signflip_min is None
    assert near["0"].p_signflip is None
    assert near["0"].p_signflip_joint is None
    assert "miss different seeds" not in near["0"].reason


def test_up_to_a_hundred_seeds_nothing_is_cut() -> None:
    few = family(MANY_SEEDS, [2.0, 0.0])
    found = max_t_family(few, 0.5, rng=np.random.default_rng(0), draws=2_000)
    assert found.draws == 2_000
    assert found["0"].p_signflip is not None
    assert found["0"].p_signflip_joint is not None
    assert equivalence_test(few[1], 0.5).p_signflip is not None
    many = equivalence_test(family(N, [0.0])[0], 0.5)
    assert many.p_signflip is None
    assert many.p is not None


def test_resamples_together_are_those_of_a_line_alone() -> None:
    lines = [*family(N, [0.0, 1.0]), differences([0.5] * N, name="flat")]
    first, second, flat = bootstrap_together(lines, 4_000, np.random.default_rng(0))
    for line, found in zip(lines, (first, second), strict=False):
        alone = bootstrap_mean(line, rng=np.random.default_rng(1), n_resamples=4_000)
        assert found.mean == alone.mean
        assert found.se == pytest.approx(alone.se, rel=0.06)
        ours, theirs = found.confidence_interval(), alone.confidence_interval()
        assert ours is not None
        assert theirs is not None
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert flat.reason == "constant differences"


def test_more_columns_than_seeds_span_no_more_dimensions() -> None:
    columns = np.random.default_rng(5).normal(0.1, 1, (12, 30))
    space = Projection(columns)
    counts = StepDown(space.columns, observed=space.observed)
    for chunk in space.directions(40_000, np.random.default_rng(6)):
        counts.add(chunk)
    exact = step_down_p(columns, rotation_directions(12, 40_000, np.random.default_rng(7)))
    assert np.abs(counts.adjusted() - exact).max() < 0.015
