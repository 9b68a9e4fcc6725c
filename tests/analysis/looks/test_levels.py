import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis import crossing_probabilities, nominal_levels
from sics_analysis.looks.levels import critical_value

FORTY = (5, 8, 12, 18, 27, 40)
TWENTY = (5, 8, 12, 20)
LEVELS = [
    (FORTY, 1, 0.05, [0.006250, 0.005018, 0.006952, 0.010902, 0.017394, 0.027213]),
    (FORTY, 2, 0.05, [0.006250, 0.004739, 0.006533, 0.010234, 0.016298, 0.025413]),
    (FORTY, 3, 0.05, [0.006250, 0.004603, 0.006333, 0.009912, 0.015762, 0.024522]),
    (FORTY, 5, 0.05, [0.006250, 0.004457, 0.006120, 0.009566, 0.015179, 0.023547]),
    (FORTY, 8, 0.05, [0.006250, 0.004344, 0.005955, 0.009297, 0.014722, 0.022774]),
    (FORTY, 1, 0.025, [0.003125, 0.002363, 0.003252, 0.005083, 0.008069, 0.012526]),
    (TWENTY, 1, 0.05, [0.01250, 0.01079, 0.01510, 0.02871]),
    (TWENTY, 5, 0.05, [0.01250, 0.009375, 0.01296, 0.02519]),
]
CRITICAL = [
    (FORTY, 0.05, [4.3147, 3.4968, 2.9213, 2.5250, 2.2274, 1.9831]),
    (FORTY, 0.025, [5.2611, 4.0739, 3.3477, 2.8905, 2.5730, 2.3304]),
    (TWENTY, 0.05, [3.4954, 2.9446, 2.4870, 2.0227]),
]


@pytest.mark.parametrize(("looks", "family", "alpha", "golden"), LEVELS)
def test_levels_are_those_of_the_table(looks, family, alpha, golden):
    found = nominal_levels(looks, looks[-1], alpha, family)
    assert found == pytest.approx(golden, rel=2e-4, abs=6e-7 if looks == FORTY else 6e-6)


@pytest.mark.parametrize(("looks", "alpha", "golden"), CRITICAL)
def test_critical_values_are_those_of_the_table(looks, alpha, golden):
    levels = nominal_levels(looks, looks[-1], alpha)
    assert [critical_value(n, level) for n, level in zip(looks, levels, strict=True)] == pytest.approx(golden, abs=6e-5)


def test_a_line_with_failed_seeds_spends_by_its_own_and_the_last_planned_look_spends_the_rest():
    golden = [0.006250, 0.004079, 0.007702, 0.011024, 0.016242, 0.028567]
    assert nominal_levels((5, 7, 12, 18, 26, 38), 40) == pytest.approx(golden, abs=1e-6)


def test_before_the_last_planned_look_nothing_more_than_its_share_is_spent():
    assert nominal_levels((5, 8, 12), 40, complete=False) == nominal_levels(FORTY, 40)[:3]
    assert nominal_levels((5, 8, 12), 40)[2] > nominal_levels((5, 8, 12), 40, complete=False)[2]


@pytest.mark.parametrize("family", [1, 2, 8])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3])
def test_one_look_is_the_fixed_design(alpha, family):
    assert nominal_levels((5,), 5, alpha, family) == pytest.approx([alpha], rel=1e-12)


#: Looks that rise by one seed and by many, few seeds and many.
ANY_LOOKS = st.lists(st.integers(1, 30), min_size=1, max_size=5).map(lambda steps: tuple(int(n) for n in 2 + np.cumsum(steps)))


@settings(max_examples=25, deadline=None)
@given(ANY_LOOKS.filter(lambda looks: looks[0] > 2), st.sampled_from([1e-6, 0.01, 0.05, 0.4]))
def test_the_chances_of_a_first_crossing_are_what_is_spent(looks, alpha):
    chances = crossing_probabilities(looks, nominal_levels(looks, looks[-1], alpha))
    spent = np.diff([0.0, *(alpha * n / looks[-1] for n in looks)])
    assert chances == pytest.approx(spent.tolist(), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(ANY_LOOKS.filter(lambda looks: looks[0] > 2), st.integers(1, 12))
def test_levels_grow_with_alpha(looks, family):
    levels = [nominal_levels(looks, looks[-1], alpha, family) for alpha in (0.001, 0.02, 0.05, 0.2, 0.45)]
    assert (np.diff(levels, axis=0) > 0).all()


def simulated(looks, levels, shift, draws=60_000):
    """Shares of Normal paths that cross for the first time at each look."""
    rng = np.random.default_rng(7)
    d = rng.standard_normal((draws, looks[-1])) + shift
    crossed, shares = np.zeros(draws, dtype=bool), []
    for n, level in zip(looks, levels, strict=True):
        part = d[:, :n]
        t = part.mean(axis=1) / (part.std(axis=1, ddof=1) / np.sqrt(n))
        now = (stats.t.sf(t, n - 1) <= level) & ~crossed
        shares.append(now.mean())
        crossed |= now
    return shares


@pytest.mark.parametrize("looks", [FORTY, (3, 4, 6, 7), (5, 6, 30)])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_simulated_paths_cross_as_often_as_computed(looks, shift):
    levels = nominal_levels(looks, looks[-1], 0.2)
    exact = np.array(crossing_probabilities(looks, levels, shift))
    errors = np.sqrt(exact * (1 - exact) / 60_000)
    assert (np.abs(np.array(simulated(looks, levels, shift)) - exact) < 4 * errors).all()


@pytest.mark.parametrize(
    ("shift", "power", "expected", "by_look"),
    [
        (0.25, 0.4010, 35.26, None),
        (0.5, 0.8928, 25.80, [0.0415, 0.0514, 0.1101, 0.2051, 0.2703, 0.2146]),
        (1.0, 1.0000, 12.13, None),
    ],
)
def test_power_and_expected_seeds_of_an_escape(shift, power, expected, by_look):
    chances = np.array(crossing_probabilities(FORTY, nominal_levels(FORTY, 40), shift))
    assert chances.sum() == pytest.approx(power, abs=6e-5)
    assert chances @ FORTY + 40 * (1 - chances.sum()) == pytest.approx(expected, abs=6e-3)
    if by_look:
        assert chances == pytest.approx(by_look, abs=6e-5)


@pytest.mark.parametrize("shift", [-3.0, -0.5, 0.2, 2.0, 10.0])
def test_the_power_of_one_look_is_that_of_the_noncentral_t(shift):
    level = nominal_levels((8,), 8)[0]
    assert crossing_probabilities((8,), [level], shift)[0] == pytest.approx(
        stats.nct.sf(critical_value(8, level), 7, shift * np.sqrt(8)), rel=1e-6, abs=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((5, 4), 10), "looks"),
        (((), 10), "looks"),
        (((2, 5), 10), "looks"),
        (((5, 12), 10), "n_max"),
        (((5, 8), 8, 0.5), "alpha"),
        (((5, 8), 8, 0.05, 0), "family"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(ValueError, match=f"Expected `{said}`"):
        nominal_levels(*arguments)
