import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis import nominal_levels, repeated_interval, repeated_p, sequential_p

FORTY = (5, 8, 12, 18, 27, 40)
PATTERN = np.array([((7 * i) % 11) - 5 for i in range(40)], dtype=float)


def at(d, look):
    """Mean, standard error and df of a look, with the looks so far."""
    n = FORTY[look - 1]
    return d[:n].mean(), d[:n].std(ddof=1) / np.sqrt(n), n - 1, {"looks": FORTY[:look], "n_max": 40, "complete": look == 6}


def tost(d, look, delta=0.5):
    mean, se, df, plan = at(d, look)
    return max(stats.t.sf((mean + delta) / se, df), stats.t.cdf((mean - delta) / se, df)), plan


def test_the_equivalent_case():
    d = 0.1 * PATTERN
    p, plan = tost(d, 1)
    assert (p, repeated_p(p, **plan)) == pytest.approx((0.02442, 0.1954), abs=6e-5)
    mean, se, _, plan = at(d, 2)
    interval = repeated_interval(mean, se, level=0.90, **plan)
    assert (interval.low, interval.high) == pytest.approx((-0.4020, 0.4520), abs=6e-5)
    assert repeated_p(tost(d, 2)[0], **plan) == pytest.approx(0.0311, abs=6e-5)


def test_the_escaping_case():
    d = 1 + 0.2 * PATTERN
    for look, p, repeated in ((3, 0.03106, 0.1878), (4, 0.00220, 0.0115)):
        mean, se, df, plan = at(d, look)
        found = stats.t.sf((mean - 0.5) / se, df)
        assert (found, repeated_p(found, **plan)) == pytest.approx((p, repeated), abs=6e-5)
    interval = repeated_interval(mean, se, level=0.95, **plan)
    assert (interval.low, interval.high) == pytest.approx((0.5622, 1.4823), abs=6e-5)


def test_the_open_case():
    d = 0.4 + 0.2 * PATTERN
    p, plan = tost(d, 6)
    assert repeated_p(p, **plan) == pytest.approx(0.2651, abs=6e-5)
    mean, se, _, plan = at(d, 6)
    interval = repeated_interval(mean, se, level=0.90, **plan)
    assert (interval.low, interval.high) == pytest.approx((0.2057, 0.6143), abs=6e-5)


@settings(max_examples=30, deadline=None)
@given(st.floats(-8.5, -0.4), st.integers(1, 6), st.sampled_from([1, 3, 8]))
def test_the_repeated_p_of_a_level_is_its_alpha(exponent, look, family):
    alpha, plan = 10**exponent, {"looks": FORTY[:look], "n_max": 40, "complete": look == 6}
    level = nominal_levels(alpha=alpha, family=family, **plan)[-1]
    assert repeated_p(level, family=family, **plan) == pytest.approx(alpha, rel=5e-4)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 6))
def test_repeated_p_grow_with_p_and_lie_above_it(p, q, look):
    plan = {"looks": FORTY[:look], "n_max": 40, "complete": look == 6}
    small, large = (repeated_p(x, **plan) for x in sorted((p, q)))
    assert min(p, q) <= small * (1 + 1e-3)
    assert small <= large <= 1


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, 1), st.floats(0.01, 1), st.integers(1, 6))
def test_both_sides_at_the_level_are_an_interval_inside_the_margins(mean, sd, look):
    n = FORTY[look - 1]
    se, plan = sd / np.sqrt(n), {"looks": FORTY[:look], "n_max": 40, "complete": look == 6}
    p = max(stats.t.sf((mean + 0.5) / se, n - 1), stats.t.cdf((mean - 0.5) / se, n - 1))
    assert repeated_interval(mean, se, **plan).inside(0.5) == (p <= nominal_levels(alpha=0.05, **plan)[-1])


@pytest.mark.parametrize("p", [0.0, 1e-8, 0.0123, 0.7, 1.0])
def test_one_look_repeats_nothing(p):
    assert repeated_p(p, (5,), 5) == p


def test_sequential_p_are_the_smallest_so_far():
    assert sequential_p([0.4, 0.1, 0.3, 0.02]) == (0.4, 0.1, 0.1, 0.02)


def test_intervals_of_all_looks_hold_together():
    """At 90 %: the chance that the interval of some look misses is at most 10 %, and nearly that."""
    d = np.random.default_rng(3).standard_normal((20_000, 40))
    missed = np.zeros(len(d), dtype=bool)
    for k, n in enumerate(FORTY, 1):
        unit = repeated_interval(0.0, 1.0, FORTY[:k], 40, complete=k == 6).high
        missed |= np.abs(d[:, :n].mean(axis=1)) > unit * d[:, :n].std(axis=1, ddof=1) / np.sqrt(n)
    assert missed.mean() == pytest.approx(0.0993, abs=4 * np.sqrt(0.09 / 20_000))


def test_a_p_outside_zero_and_one_is_refused():
    with pytest.raises(ValueError, match="p-value"):
        repeated_p(float("nan"), (5,), 40)
