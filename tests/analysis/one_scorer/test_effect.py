import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from sics_analysis.one_scorer import effect
from sics_analysis.one_scorer.effect import hedges_g, noncentrality_interval
from sics_analysis.results import Result
from sics_analysis.rows.contrasts import differences

pytestmark = pytest.mark.filterwarnings("error")

SLEEP = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2]) - np.array(
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
)


def test_worked_example_b() -> None:
    result = hedges_g(SLEEP)
    assert result.g_z == pytest.approx(-1.174, abs=5e-4)
    assert result.d_z == pytest.approx(-4.062 / math.sqrt(10), abs=5e-4)
    assert isinstance(result, Result)
    assert result.describe().startswith("A against B: Hedges g_z = −1.17, 95 % CI [")


@pytest.mark.parametrize("df", [2, 4, 9, 49])
@pytest.mark.parametrize("t", [0.0, 0.1, -2.0, 5.0, 9.9, 25.0, 35.0])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_limits_put_the_observed_t_at_its_quantiles(df: int, t: float, level: float) -> None:
    low, high = noncentrality_interval(t, df, level)
    assert stats.nct.cdf(t, df, low) == pytest.approx((1 + level) / 2, abs=1e-8)
    assert stats.nct.cdf(t, df, high) == pytest.approx((1 - level) / 2, abs=1e-8)


@pytest.mark.parametrize("df", [2, 9])
def test_both_ways_to_the_distribution_agree_where_they_meet(df: int, monkeypatch: pytest.MonkeyPatch) -> None:
    over_s = noncentrality_interval(25.0, df, 0.95)
    monkeypatch.setattr(effect, "_LARGE_T", 1.0)
    assert noncentrality_interval(25.0, df, 0.95) == pytest.approx(over_s, abs=1e-6)


@pytest.mark.parametrize("t", [1e3, 1e8])
def test_huge_t_scales_with_the_chi_distribution(t: float) -> None:
    low, high = noncentrality_interval(t, 4, 0.95)
    assert low / t == pytest.approx(math.sqrt(stats.chi2.ppf(0.025, 4) / 4), rel=1e-4)
    assert high / t == pytest.approx(math.sqrt(stats.chi2.ppf(0.975, 4) / 4), rel=1e-4)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=12))
def test_interval_excludes_zero_exactly_when_the_t_test_rejects(values: list[float]) -> None:
    c = differences(values)
    assume(not c.is_degenerate and (c.sd or 0) > 1e-3)
    p = stats.ttest_1samp(values, 0).pvalue
    assume(abs(p - 0.05) > 1e-6)
    result = hedges_g(c)
    interval = result.confidence_interval(0.95)
    assert interval is not None
    assert result.g_z is not None
    assert (0.0 not in interval) == (p < 0.05)
    assert result.g_z in interval
    mirrored = hedges_g(c.mirrored()).confidence_interval(0.95)
    assert mirrored is not None
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))


def test_coverage_of_the_true_effect() -> None:
    rng = np.random.default_rng(11)
    true, n, runs = 0.8, 5, 400
    hits = 0
    for _ in range(runs):
        interval = hedges_g(rng.normal(true, 1, n)).confidence_interval(0.95)
        assert interval is not None
        hits += true in interval  # the population effect itself, not J times it
    assert abs(hits / runs - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs)


def test_g_is_unbiased_where_d_is_not() -> None:
    rows = np.random.default_rng(4).normal(0.5, 1, (4000, 5))
    d = rows.mean(axis=1) / rows.std(axis=1, ddof=1)
    correction = hedges_g(rows[0]).correction
    assert correction is not None
    error = 4 * d.std() / math.sqrt(len(d))
    assert abs(correction * d.mean() - 0.5) < error
    assert d.mean() - 0.5 > error
