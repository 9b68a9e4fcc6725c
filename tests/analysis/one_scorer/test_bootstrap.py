import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from sics_analysis.one_scorer.bootstrap import METHODS, Method, bootstrap_mean, coverage_caveat
from sics_analysis.one_scorer.bootstrap_tost import bootstrap_tost
from sics_analysis.results import Result, Verdict
from sics_analysis.rows.contrasts import contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

EXAMPLE_G = [10, 12, 12.5, 12.5, 13.9, 15, 21, 22, 23, 34, 50, 81, 89, 121, 134, 213]
EXAMPLE_J = [1.2, 0.9, 1.5, 0.7, 1.1]
rows = st.lists(st.floats(-3, 3), min_size=3, max_size=7)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("method", "low", "high"), [("basic", 23.77, 79.12), ("percentile", 28.86, 84.21), ("bca", 32.31, 91.43)]
)
def test_example_g_matches_r_boot(method: Method, low: float, high: float) -> None:
    result = bootstrap_mean(EXAMPLE_G, rng=rng(1), n_resamples=1_000_000)
    interval = result.confidence_interval(0.95, method)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=0.005)


def test_example_j_is_exact() -> None:
    result = bootstrap_mean(EXAMPLE_J)
    assert result.exact
    assert result.n_resamples == 5**5
    assert result.se == pytest.approx(0.1213260071, abs=1e-10)
    assert result.se == pytest.approx(np.std(EXAMPLE_J) / math.sqrt(5), rel=1e-12)
    interval = result.confidence_interval(0.95, "percentile")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.86, 1.32))
    t = differences(EXAMPLE_J).t_interval(0.95)
    assert t is not None
    assert (t.low, t.high) == pytest.approx((0.7033847, 1.4566153), abs=1e-7)


@pytest.mark.parametrize("values", [[0.3, -0.1, 0.7], [0.5, 0.5, -0.2, 0.1], EXAMPLE_J])
def test_enumeration_is_brute_force_over_all_resamples(values: list[float]) -> None:
    n = len(values)
    every = Counter(tuple(sorted(pick)) for pick in itertools.product(range(n), repeat=n))
    result = bootstrap_mean(values)
    assert result.means is not None
    assert result.weights is not None
    assert int(result.weights.sum()) == n**n
    assert sorted(result.weights) == sorted(every.values())
    brute = np.array([np.mean([values[i] for i in pick]) for pick in itertools.product(range(n), repeat=n)])
    expanded = np.sort(np.repeat(result.means, result.weights))
    np.testing.assert_allclose(expanded, np.sort(brute), atol=1e-12)
    interval = result.confidence_interval(0.9, "percentile")
    assert interval is not None
    low, high = np.quantile(brute, [0.05, 0.95], method="inverted_cdf")
    assert (interval.low, interval.high) == pytest.approx((low, high))


@pytest.mark.parametrize("n", [8, 12, 30])
@pytest.mark.parametrize(("method", "theirs"), [("percentile", "percentile"), ("basic", "basic"), ("bca", "BCa")])
def test_draws_agree_with_scipy(n: int, method: Method, theirs: str) -> None:
    values = rng(n).gamma(2.0, 1.0, n) - 1.5
    interval = bootstrap_mean(values, rng=rng(1), n_resamples=160_000).confidence_interval(0.9, method)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=160_000, confidence_level=0.9, method=theirs, rng=rng(2)
    ).confidence_interval
    assert interval is not None
    scale = float(np.std(values)) / math.sqrt(n)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.05 * scale)


@pytest.mark.parametrize("n", [5, 6, 7])
@pytest.mark.parametrize(("method", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
def test_enumeration_agrees_with_scipy_draws(n: int, method: Method, theirs: str) -> None:
    values = rng(n).normal(0.3, 1.0, n)
    interval = bootstrap_mean(values).confidence_interval(0.9, method)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=60_000, confidence_level=0.9, method=theirs, rng=rng(2)
    ).confidence_interval
    assert interval is not None
    scale = float(np.std(values)) / math.sqrt(n)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.12 * scale)


@pytest.mark.parametrize(("draws", "rank"), [(1_999, 50), (1_000, 25)])
def test_studentized_interval_is_the_textbook_formula(draws: int, rank: int) -> None:
    values = differences(rng(5).normal(0.2, 1.0, 12)).ranked  # draws fall on values in this order, whatever the seeds' labels
    result = bootstrap_mean(values, rng=rng(7), n_resamples=draws)
    picked = values[rng(7).integers(0, 12, size=(draws, 12))]
    t = (picked.mean(axis=1) - values.mean()) / (picked.std(axis=1, ddof=1) / math.sqrt(12))
    ordered = np.sort(t)
    se = values.std(ddof=1) / math.sqrt(12)
    # The ⌊α(R + 1)⌋-th smallest and largest (Davison & Hinkley 1997).
    low, high = values.mean() - ordered[-rank] * se, values.mean() - ordered[rank - 1] * se
    interval = result.confidence_interval(0.95, "studentized")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)


def test_ties_that_leave_a_studentized_limit_infinite_give_none() -> None:
    result = bootstrap_mean([0.0, 0.0, 0.0, 0.0, 1.0])
    assert result.confidence_interval(0.95, "studentized") is None
    assert result.confidence_interval(0.95, "percentile") is not None
    assert "unbounded" in result.describe()
    assert result.to_row()["studentized_low"] is None


@given(rows)
def test_intervals_hold_the_mean_of_their_kind_and_nest(values: list[float]) -> None:
    result = bootstrap_mean(values)
    for method in ("percentile", "basic"):
        wide, narrow = result.confidence_interval(0.95, method), result.confidence_interval(0.8, method)
        assert wide is not None
        assert narrow is not None
        assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(rows, st.floats(-5, 5), st.randoms())
def test_shifting_shifts_and_permuting_changes_nothing(values: list[float], shift: float, random: object) -> None:
    assume(not differences(values).is_degenerate)
    result = bootstrap_mean(values)
    moved = bootstrap_mean([value + shift for value in values])
    permuted = list(values)
    random.shuffle(permuted)  # type: ignore[attr-defined]
    shuffled = bootstrap_mean(permuted)
    first = result.confidence_interval(0.9, "percentile")
    assert first is not None
    for other, offset in ((moved, shift), (shuffled, 0.0)):
        interval = other.confidence_interval(0.9, "percentile")
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx((first.low + offset, first.high + offset), abs=1e-9)


@given(st.lists(st.integers(-30, 30), min_size=3, max_size=7), st.sampled_from([0.05, 0.25, 0.5, 1.0, 2.5]))
def test_tost_agrees_with_its_interval(counts: list[int], delta: float) -> None:
    values = [count / 6 for count in counts]
    assume(not differences(values).is_degenerate)
    result = bootstrap_tost(values, delta)
    assert result.p is not None
    assert 0 < result.p <= 1
    assert result.p * len(values) ** len(values) == pytest.approx(round(result.p * len(values) ** len(values)))
    # At equality of t and limit both count against the line; rounding may then put the limit on either side.
    interval = result.interval
    if interval is not None and min(abs(abs(interval.low) - delta), abs(abs(interval.high) - delta)) > 1e-9:
        assert (result.verdict is Verdict.EQUIVALENT) == interval.inside(delta)


def test_drawn_tost_agrees_with_its_interval() -> None:
    for seed in range(40):
        values = rng(seed).normal(0.1, 0.5, 9)
        result = bootstrap_tost(values, 0.4, rng=rng(seed), n_resamples=999)
        assert result.interval is not None
        assert (result.verdict is Verdict.EQUIVALENT) == result.interval.inside(0.4)
        assert result.p is not None
        assert result.p >= 1 / 1000


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.0, 0.0, 0.0, 0.0], Verdict.INCONCLUSIVE),
        ([0.0, 0.0, 0.0, 0.0, 0.0], Verdict.EQUIVALENT),
        ([0.2, 0.2, 0.2, 0.2, 0.2], Verdict.EQUIVALENT),
        ([0.5, 0.5, 0.5, 0.5, 0.5], Verdict.NONINFERIOR),
        ([-0.9, -0.9, -0.9, -0.9, -0.9], Verdict.NONSUPERIOR),
        ([0.1, 0.2], Verdict.INCONCLUSIVE),
        ([0.1], Verdict.INCONCLUSIVE),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_degenerate_rows_have_no_p_and_no_distribution(values: list[float], verdict: Verdict) -> None:
    tested = bootstrap_tost(values, 0.5)
    assert tested.verdict is verdict
    assert tested.p is None
    assert tested.p_lower is None
    assert tested.describe()
    result = bootstrap_mean(values)
    assert result.means is None
    assert result.reason
    assert result.describe()
    for method in METHODS:
        interval = result.confidence_interval(0.95, method)
        if len(values) < 3:
            assert interval is None
        else:
            assert interval is not None
            assert interval.method == "degenerate"
            assert interval.low == interval.high == values[0]
    assert all(value is None or value == value for value in result.to_row().values())


def test_identical_masks_have_no_bootstrap_test() -> None:
    from sics_analysis.rows.arms import Arm

    arm = Arm.from_counts("power", [0, 1, 2], [5, 6, 7], 10, ["a", "b", "c"])
    result = bootstrap_tost(contrast(arm, Arm.from_counts("magnitude", [0, 1, 2], [5, 6, 7], 10, ["a", "b", "c"])), 0.5)
    assert result.verdict is Verdict.IDENTICAL
    assert result.p is None


def test_some_identical_seeds_take_the_normal_path() -> None:
    result = bootstrap_tost([0.0, 0.0, 0.1, -0.2, 0.05], 0.5)
    assert result.p is not None
    assert result.verdict is Verdict.EQUIVALENT


def test_same_generator_same_result_and_results_follow_the_protocol() -> None:
    values = rng(3).normal(0, 1, 12)
    first = bootstrap_mean(values, rng=rng(4)).to_row()
    assert first == bootstrap_mean(values, rng=rng(4)).to_row()
    assert isinstance(bootstrap_mean(EXAMPLE_J), Result)
    assert isinstance(bootstrap_tost(EXAMPLE_J, 0.5), Result)


def test_tost_on_given_resamples_draws_none_and_refuses_those_of_other_data() -> None:
    values = np.random.default_rng(2).normal(0.1, 0.3, 12)
    known = bootstrap_mean(values, rng=rng(3), n_resamples=499)
    assert bootstrap_tost(values, 0.5, resampled=known) == bootstrap_tost(values, 0.5, rng=rng(3), n_resamples=499)
    with pytest.raises(ValueError, match="`resampled` of these 12 differences, got one of 5 others"):
        bootstrap_tost(values, 0.5, resampled=bootstrap_mean(EXAMPLE_J))


def test_caveat_names_skewed_and_sparse_differences_at_every_n_and_the_coverage_at_few_seeds_only() -> None:
    for n in (1, 3, 5, 9, 10, 20, 1_000):
        text = coverage_caveat(n)
        assert "family-wise error of the escape is 23 to 33 %" in text
        assert "very sparse differences" in text
        assert ("83.6 %" in text) == (n < 10)
    assert "With 1 seed the" in coverage_caveat(1)
    assert coverage_caveat(5) in bootstrap_mean(EXAMPLE_J).describe()
    assert coverage_caveat(12) in bootstrap_mean(np.arange(12.0), rng=rng(1)).describe()


def test_caveat_quotes_the_calibration() -> None:
    """The rates in the sentence are those of the simulated table, to the whole percent."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "calibration-cells.md").read_text(encoding="utf-8")

    def rates(section: str, row: str) -> list[float]:
        table = page.split(f"## {section}")[1].split("\n## ")[0]
        line = next(line for line in table.splitlines() if line.startswith(row))
        return [float(cell.split("±")[0]) for cell in line.split("|")[3:-1]]

    error = rates("Family-wise error", "| skewed left | rotation max-T, any false |")
    assert f"{min(error):.0f} to {max(error):.0f} % at 5 to 20 seeds" in coverage_caveat(20)
    many = rates("Families of 8 to 11", "| skewed left, 11 scorers | ESCAPES, any false |")
    assert f"and {min(many):.0f} to {max(many):.0f} % in one of 11" in coverage_caveat(20)
    alone = rates("Type I error of a single line", "| skewed right | t-TOST |")[2:]  # from 5 seeds on
    assert f"EQUIVALENT in a single line reaches {max(alone):.0f} %" in coverage_caveat(20)
    covers = rates("Coverage of 95", "| skewed left | Student t 95 % |") + rates(
        "Coverage of 95", "| skewed right | Student t 95 % |"
    )
    assert f"Student t covers {min(covers):.0f} to {max(covers):.0f} %" in coverage_caveat(20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_mean(np.arange(9.0)), "`rng`"),
        (lambda: bootstrap_mean([1.0, 2.0, 3.0], n_resamples=0), "`n_resamples`"),
        (lambda: bootstrap_mean([1.0, 2.0, 3.0], exact_limit=12), "`exact_limit`"),
        (lambda: bootstrap_mean([1.0, 2.0, 3.0]).confidence_interval(1.0), "`level`"),
        (lambda: bootstrap_mean([1.0, 2.0, 3.0]).confidence_interval(0.9, "magic"), "`method`"),  # type: ignore[arg-type]
        (lambda: bootstrap_tost([1.0, 2.0, 3.0], -1.0), "`delta`"),
        (lambda: bootstrap_tost([1.0, 2.0, 3.0], 1.0, alpha=0.7), "`alpha`"),
        (lambda: bootstrap_tost(EXAMPLE_J, 1.0).confidence_interval(0.5), "`level`"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
