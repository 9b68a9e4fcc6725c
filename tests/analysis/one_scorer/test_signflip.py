import itertools
import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sics_analysis.one_scorer.signflip import Alternative, sign_flip_test, subset_means, subset_sums
from sics_analysis.rows.contrasts import differences

pytestmark = pytest.mark.filterwarnings("error")

MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
ALTERNATIVES = get_args(Alternative)
whole = st.lists(st.integers(-40, 40), min_size=1, max_size=9)


def by_hand(values: list[int], margin: Fraction, alternative: str) -> int:
    """Count sign patterns in exact arithmetic."""
    shifted = [value - margin for value in values]
    observed = sum(shifted)
    sums = [sum(s * x for s, x in zip(signs, shifted, strict=True)) for signs in itertools.product((1, -1), repeat=len(values))]
    if alternative == "greater":
        return sum(total >= observed for total in sums)
    if alternative == "less":
        return sum(total <= observed for total in sums)
    return sum(abs(total) >= abs(observed) for total in sums)


def test_worked_example_d_darwins_maize() -> None:
    one, two = sign_flip_test(MAIZE), sign_flip_test(MAIZE, alternative="two-sided")
    assert (one.count, one.total, one.exact) == (863, 32768, True)
    assert two.p == 0.05267333984375


def test_worked_example_b_sleep_two_sided() -> None:
    g1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2])
    g2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    result = sign_flip_test(g1 - g2, alternative="two-sided")
    assert (result.count, result.total) == (4, 1024)


def test_worked_example_k_resolution() -> None:
    five, six = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert sign_flip_test(five, alternative="two-sided").p == sign_flip_test(five, alternative="two-sided").p_min == 2 / 32
    assert sign_flip_test(five).p == sign_flip_test(five).p_min == 1 / 32
    assert sign_flip_test(six, alternative="two-sided").p == 1 / 32


@given(whole, st.integers(-20, 20), st.sampled_from(ALTERNATIVES))
def test_counts_are_those_of_exact_arithmetic(values: list[int], tenths: int, alternative: Alternative) -> None:
    # Tenths are not binary fractions: the ties are there in exact arithmetic and not in floats.
    result = sign_flip_test([value / 10 for value in values], margin=tenths / 10, alternative=alternative)
    assert result.count == by_hand(values, Fraction(tenths), alternative)
    assert result.total == 2 ** len(values)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=12), st.floats(-5, 5), st.sampled_from(ALTERNATIVES))
def test_p_times_two_to_the_n_is_whole_and_at_least_one(values: list[float], margin: float, alternative: Alternative) -> None:
    result = sign_flip_test(values, margin=margin, alternative=alternative)
    assert result.p is not None
    assert result.p_min is not None
    patterns = result.p * 2 ** len(values)
    assert patterns == int(patterns) >= 1
    assert result.p >= min(1.0, result.p_min) or math.isclose(result.p, result.p_min)


@given(whole)
def test_mirroring_the_data_mirrors_the_test(values: list[int]) -> None:
    mirrored = [-value for value in values]
    assert sign_flip_test(values, margin=2.5).count == sign_flip_test(mirrored, margin=-2.5, alternative="less").count


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_agrees_with_scipy(seed: int, alternative: Alternative) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.4, 1, 8), rng.normal(0, 1, 8)
    theirs = stats.permutation_test(
        (x, y),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative=alternative,
        vectorized=True,
    )
    assert sign_flip_test(x - y, alternative=alternative).p == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_sampling_estimates_the_exact_p(alternative: Alternative) -> None:
    d = np.random.default_rng(5).normal(0.2, 1, 14)
    exact = sign_flip_test(d, alternative=alternative)
    drawn = sign_flip_test(d, alternative=alternative, exact_limit=5, rng=np.random.default_rng(0), draws=20_000)
    assert exact.p is not None
    assert drawn.p is not None
    assert not drawn.exact
    assert abs(drawn.p - exact.p) < 4 * math.sqrt(exact.p * (1 - exact.p) / 20_000) + 1 / 20_000


def test_sampling_counts_the_data_as_observed() -> None:
    d = np.linspace(1, 2, 40)
    result = sign_flip_test(d, draws=500, rng=np.random.default_rng(0))
    assert (result.count, result.total, result.p_min) == (1, 500, 1 / 500)


def test_sampling_without_a_generator_repeats_itself() -> None:
    d = np.random.default_rng(2).normal(0.3, 1, 30)
    assert sign_flip_test(d, draws=5000) == sign_flip_test(d, draws=5000)


def test_subsets_of_three() -> None:
    sums, sizes = subset_sums(np.array([1.0, 2.0, 4.0]))
    assert sums.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert sizes.tolist() == [0, 1, 1, 2, 1, 2, 2, 3]


def test_sampled_subset_means_leave_out_the_empty_subset() -> None:
    c = differences(np.arange(1.0, 26.0))
    means, total = subset_means(c, draws=2000, rng=np.random.default_rng(0))
    assert total == 2000
    assert len(means) == 1999
    assert means.min() >= 1.0
    assert means.mean() == pytest.approx(13.0, abs=0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"alternative": "up"}, "`alternative`"), ({"margin": math.nan}, "`margin`"), ({"draws": 0}, "`draws`")],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sign_flip_test([1.0, 2.0], **options)  # type: ignore[arg-type]
