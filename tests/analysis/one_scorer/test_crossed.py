import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from sics_analysis.one_scorer.crossed import sd_factors, variance_components
from sics_analysis.rows.contrasts import differences

pytestmark = pytest.mark.filterwarnings("error")

#: 3 seeds × 4 images: rows add to 2, 2, 3, columns to 2, 2, 2, 1, squares to 7.
SMALL = [[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]]
#: The images decide: rows add to 2, 1, 1, columns to 3, 2, 0, −1, squares to 6.
LEANING = [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, -1]]
tables = arrays.arrays(np.int8, st.tuples(st.integers(3, 6), st.integers(2, 9)), elements=st.integers(-1, 1))


def test_a_table_worked_by_hand() -> None:
    found = variance_components(SMALL)
    # SS_s = (3·17 − 49)/12 = 1/6, SS_t = (4·13 − 49)/12 = 1/4, SS = (12·7 − 49)/12 = 35/12, so SS_e = 5/2.
    assert (found.n_seeds, found.n_images) == (3, 4)
    assert found.mean == pytest.approx(700 / 12)
    assert found.ms_seeds == pytest.approx(1e4 / 12)
    assert found.ms_images == pytest.approx(1e4 / 12)
    assert found.ms_rest == pytest.approx(1e4 * 5 / 12)
    # MS_s + MS_t − MS_e is negative: the variance is MS_s/12, and t with 2 degrees of freedom is 4.302653.
    interval = found.confidence_interval()
    assert found.se == pytest.approx(100 / 12)
    assert interval is not None
    assert interval.high - found.mean == pytest.approx(4.302653 * 100 / 12, rel=1e-6)
    split = found.split()
    assert split is not None
    assert (split.images, split.images_dominate) == (0.0, False)
    assert split.sd == pytest.approx(100 * np.std([0.5, 0.5, 0.75], ddof=1))


def test_images_that_dominate() -> None:
    # SS_s = (3·6 − 16)/12 = 1/6, SS_t = (4·14 − 16)/12 = 10/3, SS = (12·6 − 16)/12 = 14/3, SS_e = 7/6.
    found = variance_components(LEANING)
    assert found.ms_seeds == pytest.approx(1e4 / 12)
    assert found.ms_images == pytest.approx(1e4 * 10 / 9)
    assert found.ms_rest == pytest.approx(1e4 * 7 / 36)
    assert found.variance == pytest.approx(1e4 * (10 / 9) / 12), "MS_s lies below MS_e, so MS_t alone is the largest"
    split = found.split()
    assert split is not None
    assert split.images_dominate
    assert split.image_share == pytest.approx(1 - (1 / 12) / (10 / 9))
    assert "92 % of its variance is due to the images" in found.describe()


@given(tables)
def test_mean_squares_are_those_of_the_libraries(table: np.ndarray) -> None:
    anova = pytest.importorskip("statsmodels.stats.anova")
    ols = pytest.importorskip("statsmodels.formula.api").ols
    n, m = table.shape
    frame = pd.DataFrame({"d": 100.0 * table.ravel(), "s": np.repeat(np.arange(n), m), "t": np.tile(np.arange(m), n)})
    if np.ptp(frame["d"]) == 0:
        return
    rows = anova.anova_lm(ols("d ~ C(s) + C(t)", frame).fit())
    found = variance_components(table)
    theirs = rows["mean_sq"][["C(s)", "C(t)", "Residual"]].to_numpy()
    np.testing.assert_allclose([found.ms_seeds, found.ms_images, found.ms_rest], theirs, rtol=1e-7, atol=1e-6)


@given(tables)
def test_never_narrower_than_the_seeds_alone_and_wider_where_the_images_vary(table: np.ndarray) -> None:
    found = variance_components(table)
    ours, seeds = found.confidence_interval(), differences(100 * table.mean(axis=1)).t_interval()
    assert ours is not None
    assert seeds is not None
    assert ours.width >= seeds.width - 1e-9
    assert found.ms_images is not None
    assert found.ms_rest is not None
    if found.ms_images > found.ms_rest + 1e-9:
        assert ours.width > seeds.width


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_images_moves_nothing(table: np.ndarray, random: object) -> None:
    rng = np.random.default_rng(random.randrange(100))  # type: ignore[attr-defined]
    assert variance_components(rng.permutation(rng.permutation(table), axis=1)) == variance_components(table)


def test_a_pooled_reference_is_divided_once() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 2, (5, 300)), rng.integers(0, 2, (3, 5, 300))
    whole = variance_components(3 * ours - theirs.sum(axis=0), pooled=3)
    parts = ours - theirs.mean(axis=0)
    assert whole.mean == pytest.approx(100 * parts.mean())
    assert whole.ms_seeds == pytest.approx(1e4 * 300 * parts.mean(axis=1).var(ddof=1))
    assert whole.ms_images == pytest.approx(1e4 * 5 * parts.mean(axis=0).var(ddof=1))


def test_rows_may_come_one_at_a_time() -> None:
    assert variance_components(np.array(row, dtype=np.int8) for row in SMALL) == variance_components(SMALL)


def test_the_interval_of_an_sd_is_chi_square() -> None:
    low, high = sd_factors(4)
    assert (low, high) == pytest.approx((0.5991, 2.8736), abs=1e-4)
    assert sd_factors(9, 0.9) == pytest.approx((np.sqrt(9 / stats.chi2.ppf(0.95, 9)), np.sqrt(9 / stats.chi2.ppf(0.05, 9))))


def test_where_nothing_varies_or_little_is_known() -> None:
    zero = variance_components(np.zeros((4, 20), dtype=int))
    interval = zero.confidence_interval()
    assert interval is not None
    assert (interval.low, interval.high, interval.method) == (0.0, 0.0, "degenerate")
    assert zero.split() is None
    assert variance_components(SMALL[:2]).confidence_interval() is None, "two seeds"
    one = variance_components([[1], [0], [1]])
    assert (one.ms_images, one.confidence_interval(), one.split()) == (None, None, None), "one image"
    assert variance_components(SMALL[:1]).ms_seeds is None


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "at least one row"),
        ([[1, 0], [1]], "of one length, got 2 and 1"),
        ([[0.5, float("nan")]], "whole numbers"),
        ([[]], "whole"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(rows: list[list[float]], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        variance_components(rows)
    with pytest.raises(ValueError, match="`pooled`"):
        variance_components(SMALL, pooled=0)
