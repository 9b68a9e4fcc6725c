import numpy as np
import pytest

from sics_analysis.one_scorer.crossed import crossed_bootstrap

pytestmark = pytest.mark.filterwarnings("error")


def tables(count: int, n_seeds: int, n_images: int, seed: int = 0) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.integers(-1, 2, size=(n_seeds, n_images)) for key in range(count)}


def test_a_draw_is_the_mean_over_resampled_seeds_and_images() -> None:
    data = tables(3, 4, 50)
    result = crossed_bootstrap(data, rng=np.random.default_rng(5), n_resamples=30)
    # Redo the same draws by building every resampled data set.
    rng = np.random.default_rng(5)
    seeds = rng.integers(0, 4, size=(30, 4), dtype=np.int32)
    images = rng.integers(0, 50, size=(30, 50), dtype=np.int32)
    for r in range(30):
        for key, table in data.items():
            expected = 100 * table[np.ix_(seeds[r], images[r])].mean()
            assert result.distribution[r, key] == pytest.approx(expected, abs=1e-9)


def test_observed_means_and_pairing() -> None:
    data = tables(2, 5, 200)
    both = {**data, 2: data[0] + 0, 3: data[0] - data[1]}
    result = crossed_bootstrap(both, rng=np.random.default_rng(1), n_resamples=200)
    assert result.means == pytest.approx([100 * table.mean() for table in both.values()])
    np.testing.assert_array_equal(result.distribution[:, 0], result.distribution[:, 2])
    # Paired draws: a difference of contrasts is the contrast of differences, draw by draw.
    np.testing.assert_allclose(result.distribution[:, 0] - result.distribution[:, 1], result.distribution[:, 3], atol=1e-9)


def test_standard_error_follows_owens_formula() -> None:
    n, images = 6, 400
    table = tables(1, n, images, seed=3)[0] + (np.arange(images) % 3 == 0)
    result = crossed_bootstrap({"a": table}, rng=np.random.default_rng(2), n_resamples=20_000)
    # Variance of the mean under independent multinomial counts, in closed form.
    centred = table - table.mean()
    row, column, cell = (centred.mean(axis=1) ** 2).mean() / n, (centred.mean(axis=0) ** 2).mean() / images, (centred**2).mean()
    inner = cell / (n * images)
    exact = row * (1 - 1 / images) + column * (1 - 1 / n) + inner
    assert result.distribution.std() ** 2 == pytest.approx(1e4 * exact, rel=0.04)
    assert result.se("a") == pytest.approx(result.distribution.std(ddof=1) * np.sqrt(n / (n - 1)))


def test_a_pooled_reference_is_divided_once() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 2, (5, 300)), rng.integers(0, 2, (3, 5, 300))
    whole = crossed_bootstrap({"a": 3 * ours - theirs.sum(axis=0)}, rng=np.random.default_rng(1), pooled=3)
    assert whole.means[0] == pytest.approx(100 * (ours.mean() - theirs.mean()))
    parts = crossed_bootstrap({k: ours - theirs[k] for k in range(3)}, rng=np.random.default_rng(1))
    np.testing.assert_allclose(whole.distribution[:, 0], parts.distribution.mean(axis=1), atol=1e-9)


def test_sums_stay_exact_where_single_precision_would_not() -> None:
    table = np.full((3, 100), 1 << 18)
    table[0] += np.arange(100) % 7
    result = crossed_bootstrap({"a": table}, rng=np.random.default_rng(0), n_resamples=20)
    rng = np.random.default_rng(0)
    seeds, images = (rng.integers(0, n, size=(20, n), dtype=np.int32) for n in (3, 100))
    for r in range(20):
        total = int(table[np.ix_(seeds[r], images[r])].sum())
        assert round(result.distribution[r, 0] * 3) == total


def test_intervals() -> None:
    data = tables(2, 5, 300)
    result = crossed_bootstrap(data, rng=np.random.default_rng(1))
    t, percentile = result.confidence_interval(0), result.confidence_interval(0, method="percentile")
    assert t is not None
    assert percentile is not None
    assert (t.low + t.high) / 2 == pytest.approx(result.means[0])
    assert t.width > percentile.width  # five seeds: t has 4 degrees of freedom
    assert {"low", "high", "difference"} <= set(result.to_rows()[0])
    assert "5 seeds and 300 images" in result.describe()
    same = crossed_bootstrap(data, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(result.distribution, same.distribution)


def test_degenerate_tables() -> None:
    data = {"zero": np.zeros((4, 30), dtype=int), "one": np.ones((4, 30), dtype=int)}
    result = crossed_bootstrap(data, rng=np.random.default_rng(0))
    for key, value in (("zero", 0.0), ("one", 100.0)):
        interval = result.confidence_interval(key)
        assert interval is not None
        assert interval.low == interval.high == value
        assert interval.method == "degenerate"
    few = crossed_bootstrap({"a": np.zeros((2, 30), dtype=int)}, rng=np.random.default_rng(0))
    assert few.confidence_interval("a") is None
    assert few.to_rows()[0]["low"] is None
    assert few.to_row() == {"contrasts": 1, "n_seeds": 2, "n_images": 30, "n_resamples": few.distribution.shape[0]}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({}, {}, "at least one contrast"),
        ({"a": np.zeros((3, 4)), "b": np.zeros((3, 5))}, {}, "one shape"),
        ({"a": np.zeros(4)}, {}, "one shape"),
        ({"a": np.zeros((0, 4))}, {}, "one shape"),
        ({"a": np.zeros((3, 4))}, {"n_resamples": 1}, "`n_resamples`"),
    ],
)
def test_bad_input_is_named(data: dict[str, np.ndarray], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crossed_bootstrap(data, rng=np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_bad_method_is_named() -> None:
    result = crossed_bootstrap(tables(1, 3, 10), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="`method`"):
        result.confidence_interval(0, method="bca")  # type: ignore[arg-type]
