import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from sics_analysis.one_scorer.equivalence import EquivalenceResult, equivalence_test, t_tail_p
from sics_analysis.one_scorer.signflip import sign_flip_test
from sics_analysis.results import Result, Verdict
from sics_analysis.rows.contrasts import Contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

X1 = [2.84, 2.51, 2.41, 2.95, 3.14, 3.79, 4.14, 3.85, 3.02, 3.45, 5.37, 3.81, 4.19, 3.16, 3.84]
Y1 = [2.60, 2.82, 2.18, 3.46, 4.01, 3.04, 3.47, 4.06, 2.91, 3.59, 4.51, 3.16, 3.86, 3.31, 3.02]
X2 = [4.00, 3.26, 4.14, 3.42, 3.25, 4.34, 4.97, 4.31, 3.11, 3.41, 5.02, 4.21, 4.59, 5.30, 4.32]
Y2 = [3.76, 3.66, 3.65, 3.60, 3.48, 2.87, 3.24, 3.92, 3.99, 4.21, 4.21, 3.31, 3.61, 2.97, 2.73]
G1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2]
G2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SMALL = [0.1, -0.2, 0.3, 0.0, 0.15]

samples = st.lists(st.floats(-3, 3), min_size=3, max_size=10)


def usable(values: list[float]) -> Contrast:
    c = differences(values)
    assume(not c.is_degenerate and (c.sd or 0) > 1e-4)
    return c


def minus(a: list[float], b: list[float]) -> np.ndarray:
    return np.array(a) - np.array(b)


def test_worked_example_a_equivalent() -> None:
    result = equivalence_test(minus(X1, Y1), 0.6)
    assert result.mean == pytest.approx(0.1646666667, abs=1e-10)
    assert result.se == pytest.approx(0.1357514068, abs=1e-10)
    assert result.n == 15
    assert result.t_lower == pytest.approx(5.6328452, abs=1e-7)
    assert result.t_upper == pytest.approx(-3.2068422, abs=1e-7)
    assert result.p_lower == pytest.approx(3.088128e-5, rel=1e-6)
    assert result.p == result.p_upper == pytest.approx(0.003166881489265175, rel=1e-12)
    interval = result.confidence_interval()
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((-0.0744336621, 0.4037669954), abs=1e-10)
    assert result.verdict is Verdict.EQUIVALENT


def test_worked_example_a_not_equivalent() -> None:
    result = equivalence_test(minus(X2, Y2), 0.6)
    assert result.mean == pytest.approx(0.5626666667, abs=1e-10)
    assert result.se == pytest.approx(0.2478276411, abs=1e-10)
    assert result.p == pytest.approx(0.4412034046017588, rel=1e-12)
    interval = result.confidence_interval(0.90)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.1261653305, 0.9991680028), abs=1e-10)
    # The lower half of the TOST alone: t = (0.5626667 + 0.6)/0.2478276 = 4.691 with 14 degrees of freedom.
    assert result.t_lower == pytest.approx(4.691432, abs=1e-6)
    assert result.p_lower == pytest.approx(float(stats.t.sf(4.6914323, 14)), rel=1e-6)
    assert result.p_upper == result.p
    assert result.verdict is Verdict.NONINFERIOR
    assert result.reason == "90 % interval crosses +0.6; not worse by 0.6, unadjusted p = 0.000173"


def test_worked_example_b_sleep() -> None:
    result = equivalence_test(minus(G1, G2), 0.5)
    assert result.mean == pytest.approx(-1.58, abs=1e-12)
    assert result.se == pytest.approx(0.3890, abs=5e-5)
    assert result.t_lower == pytest.approx(-2.7766, abs=5e-5)
    assert result.p_lower == pytest.approx(0.9892408, abs=5e-8)
    assert result.t_upper == pytest.approx(-5.3476, abs=5e-5)
    assert result.p_upper == pytest.approx(2.31903e-4, rel=5e-6)
    interval = result.confidence_interval()
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((-2.2930053, -0.8669947), abs=5e-8)
    assert result.verdict is Verdict.NONSUPERIOR
    assert result.reason == "90 % interval below −0.5; not better by 0.5, unadjusted p = 0.000232"
    _, upper = t_tail_p(result.mean, result.se, 9, 0.0)
    assert 2 * float(upper) == pytest.approx(0.00283289, abs=5e-9)


def test_worked_example_c_small_paired() -> None:
    result = equivalence_test(minus([4, 7, 8, 6, 3, 2], [6, 8, 7, 10, 11, 9]), 0.5)
    assert result.p == pytest.approx(0.9548544, abs=5e-8)
    assert result.n - 1 == 5
    # The upper half: mean −3.5, sd 3.5071, so t = −4/1.4318 = −2.79372 with 5 degrees of freedom.
    assert result.p_lower == result.p
    assert result.t_upper == pytest.approx(-2.7937212, abs=1e-6)
    assert result.p_upper == pytest.approx(0.0191381, abs=5e-8)
    assert result.verdict is Verdict.NONSUPERIOR


def test_worked_example_i_both_tests_are_shown() -> None:
    wide, narrow = equivalence_test(SMALL, 0.5), equivalence_test(SMALL, 0.25)
    assert wide.p == pytest.approx(0.0033109, abs=5e-8)
    assert wide.p_signflip == 1 / 32
    assert narrow.p == pytest.approx(0.0480691, abs=5e-8)
    assert narrow.p_signflip == 2 / 32
    assert narrow.verdict is Verdict.EQUIVALENT
    # A little narrower and only the lower half is left: t = .31/.0830662 = 3.73196, and −.17/.0830662 = −2.04656.
    half = equivalence_test(SMALL, 0.24)
    assert (half.t_lower, half.t_upper) == pytest.approx((3.7319614, -2.0465595), abs=1e-6)
    assert (half.p_lower, half.p_upper) == pytest.approx((0.0101311, 0.0550599), abs=5e-8)
    assert half.verdict is Verdict.NONINFERIOR
    assert "p = 0.0481" in narrow.describe()
    assert "sign-flip p = 0.0625" in narrow.describe()


@given(samples, st.floats(0.05, 3), st.floats(0.01, 0.2))
def test_tost_agrees_with_its_interval(values: list[float], delta: float, alpha: float) -> None:
    result = equivalence_test(usable(values), delta, alpha=alpha)
    assert result.p is not None
    assume(abs(result.p - alpha) > 1e-9)
    interval = result.confidence_interval(1 - 2 * alpha)
    assert interval is not None
    assert (result.verdict is Verdict.EQUIVALENT) == interval.inside(delta) == (result.p <= alpha)


@given(samples, st.floats(0.05, 3), st.floats(0.01, 0.2))
def test_equivalent_is_both_halves_and_a_half_is_a_bound_of_the_interval(values: list[float], delta: float, alpha: float) -> None:
    result = equivalence_test(usable(values), delta, alpha=alpha)
    assert result.p_lower is not None
    assert result.p_upper is not None
    assume(min(abs(result.p_lower - alpha), abs(result.p_upper - alpha)) > 1e-9)
    interval = result.confidence_interval(1 - 2 * alpha)
    assert interval is not None
    not_worse, not_better = result.p_lower <= alpha, result.p_upper <= alpha
    assert (not_worse, not_better) == (interval.low > -delta, interval.high < delta)
    expected = {
        (True, True): Verdict.EQUIVALENT,
        (True, False): Verdict.NONINFERIOR,
        (False, True): Verdict.NONSUPERIOR,
        (False, False): Verdict.INCONCLUSIVE,
    }
    assert result.verdict is expected[not_worse, not_better]
    assert ("crosses both" in result.reason) is (result.verdict is Verdict.INCONCLUSIVE)


@given(samples, st.floats(0.05, 3))
def test_the_smallest_delta_is_where_the_verdict_turns(values: list[float], delta: float) -> None:
    c = usable(values)
    smallest = equivalence_test(c, delta).smallest_delta()
    assert smallest is not None
    assert equivalence_test(c, smallest * (1 + 1e-9)).verdict is Verdict.EQUIVALENT
    assert equivalence_test(c, smallest * (1 - 1e-9)).verdict is not Verdict.EQUIVALENT


@given(st.lists(st.integers(-30, 30), min_size=3, max_size=10), st.floats(0.02, 0.2))
def test_the_smallest_delta_of_the_sign_flip_is_where_it_turns(values: list[int], alpha: float) -> None:
    c = differences(np.array(values) / 10)
    assume(not c.is_degenerate)
    smallest = equivalence_test(c, 1.0, alpha=alpha).smallest_delta_signflip()

    def p_at(delta: float) -> float:
        p = equivalence_test(c, delta, alpha=alpha).p_signflip
        assert p is not None
        return p

    if smallest is None:
        assert p_at(1000.0) > alpha
    else:
        assert p_at(smallest + 1e-5) <= alpha
        assert smallest < 2e-5 or p_at(smallest - 1e-5) > alpha


def test_the_sign_flip_bound_is_exact_at_five_seeds_and_absent_at_four() -> None:
    assert equivalence_test(SMALL, 0.5).smallest_delta_signflip() == 0.3
    assert equivalence_test(SMALL[:4], 0.5).smallest_delta_signflip() is None


def test_the_sampled_sign_flip_bound_is_where_the_sampled_test_turns() -> None:
    c = differences(np.random.default_rng(1).normal(0.1, 0.5, 26))
    smallest = equivalence_test(c, 0.5).smallest_delta_signflip()
    assert smallest is not None
    for delta, passes in ((smallest + 1e-4, True), (smallest - 1e-4, False)):
        p = equivalence_test(c, delta).p_signflip
        assert p is not None
        assert (p <= 0.05) is passes


@given(samples, st.floats(0.05, 3))
def test_swapping_the_arms_mirrors_the_result(values: list[float], delta: float) -> None:
    c = usable(values)
    ours, theirs = equivalence_test(c, delta), equivalence_test(c.mirrored(), delta)
    assert (ours.p_lower, ours.p_upper, ours.p_signflip) == (theirs.p_upper, theirs.p_lower, theirs.p_signflip)
    mirror = {Verdict.NONINFERIOR: Verdict.NONSUPERIOR, Verdict.NONSUPERIOR: Verdict.NONINFERIOR}
    assert theirs.verdict is mirror.get(ours.verdict, ours.verdict)
    assert ours.smallest_delta() == theirs.smallest_delta()


@given(samples, st.randoms())
def test_the_order_of_seeds_changes_nothing(values: list[float], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(values)))
    random.shuffle(order)
    straight = equivalence_test(differences(values), 0.5)
    assert equivalence_test(differences([values[i] for i in order], seeds=order), 0.5) == straight


@given(samples, st.floats(0.05, 2), st.floats(1.01, 2))
def test_a_wider_margin_never_raises_p(values: list[float], delta: float, factor: float) -> None:
    c = usable(values)
    narrow, wide = equivalence_test(c, delta), equivalence_test(c, delta * factor)
    assert narrow.p is not None
    assert wide.p is not None
    assert wide.p <= narrow.p
    assert (wide.p_signflip or 1) <= (narrow.p_signflip or 1)


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, delta = int(rng.integers(3, 40)), float(rng.uniform(0.1, 2))
    x, y = rng.normal(0.2, 1, n), rng.normal(0, 1, n)
    theirs = ttost_paired(x, y, -delta, delta)
    ours = equivalence_test(x - y, delta)
    assert ours.p == pytest.approx(theirs[0], rel=1e-9)
    assert (ours.t_lower, ours.p_lower) == pytest.approx(theirs[1][:2], rel=1e-9)
    assert (ours.t_upper, ours.p_upper) == pytest.approx(theirs[2][:2], rel=1e-9)
    interval = ours.confidence_interval(0.95)
    assert interval is not None
    reference = stats.ttest_1samp(x - y, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_the_sign_flip_tost_is_the_larger_of_its_two_tests() -> None:
    d = np.random.default_rng(3).normal(0.1, 0.4, 9)
    lower = sign_flip_test(d, margin=-0.3)
    upper = sign_flip_test(d, margin=0.3, alternative="less")
    result = equivalence_test(d, 0.3)
    assert result.p_signflip == max(lower.p or 0, upper.p or 0)
    assert result.p_signflip_min == 1 / 512


def test_array_form_keeps_the_digits_of_small_p() -> None:
    lower, upper = t_tail_p([0.0, 0.0], [1e-3, 1e-6], [4, 30], 0.5)
    assert lower.shape == (2,)
    assert (lower > 0).all()
    np.testing.assert_allclose(lower, stats.t.sf([500.0, 500_000.0], [4, 30]), rtol=1e-8)
    np.testing.assert_allclose(upper, lower)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.9, 2.1, 2.6, 1.7, 2.2], "90 % interval above +0.5; not worse by 0.5, unadjusted p = 3.4e-05"),
        ([-3.0, 2.0, 4.0, -1.0, 0.0], "90 % interval crosses both −0.5 and +0.5"),
        ([-0.5, -0.4, -0.7, -0.2, -0.4], "90 % interval crosses −0.5; not better by 0.5, unadjusted p = 0.000159"),
    ],
)
def test_the_reason_says_where_the_interval_lies(values: list[float], reason: str) -> None:
    assert equivalence_test(values, 0.5).reason == reason


def test_result_follows_the_protocol_and_its_row_is_plain() -> None:
    result = equivalence_test(differences(SMALL, name="log", reference="magnitude", sparsity=0.7), 0.5)
    assert isinstance(result, Result)
    assert isinstance(result, EquivalenceResult)
    row = result.to_row()
    assert row["scorer"] == "log"
    assert row["verdict"] == "EQUIVALENT"
    assert row["smallest_delta_signflip"] == 0.3
    assert all(value is None or type(value) in (str, int, float, bool) for value in row.values())
    assert all(not isinstance(value, float) or math.isfinite(value) for value in row.values())
    assert result.describe() == (
        "log against magnitude at S = 0.7: difference +0.07 points, 90 % CI [−0.11, +0.25], margin ±0.5; "
        "paired t-TOST p = 0.00331, exact sign-flip p = 0.0312 (n = 5 seeds): EQUIVALENT, 90 % interval inside ±0.5."
    )


@pytest.mark.parametrize(("delta", "alpha", "word"), [(0.0, 0.05, "delta"), (0.5, 0.5, "alpha"), (math.nan, 0.05, "delta")])
def test_bad_options_are_named(delta: float, alpha: float, word: str) -> None:
    with pytest.raises(ValueError, match=f"Expected `{word}`"):
        equivalence_test(SMALL, delta, alpha=alpha)
