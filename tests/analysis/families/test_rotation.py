import math

import numpy as np
import pytest
from scipy import special, stats

from sics_analysis.families.rotation import (
    CHUNK,
    MaxAbs,
    rotation_directions,
    sign_directions,
    sorted_rows,
    step_down_p,
    unit_columns,
)

pytestmark = pytest.mark.filterwarnings("error")


def t_of(columns: np.ndarray) -> np.ndarray:
    return math.sqrt(len(columns)) * columns.mean(axis=0) / columns.std(axis=0, ddof=1)


def westfall_young(statistics: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Algorithm 2.8 of Westfall and Young, written out: (m,) observed, (draws, m) resampled."""
    order = np.argsort(-statistics)
    raw = [np.mean(drawn[:, order[k:]].max(axis=1) >= statistics[order[k]] - 1e-9) for k in range(len(order))]
    adjusted = np.empty(len(order))
    for k, j in enumerate(order):
        adjusted[j] = max(raw[: k + 1])
    return adjusted


@pytest.mark.parametrize("n", [3, 5, 9])
def test_a_direction_does_to_t_what_the_whole_rotation_does(n: int) -> None:
    rng = np.random.default_rng(n)
    columns = rng.normal(0.3, 1, (n, 4)) + np.array([0, 5, -20, 0])
    for rotation in stats.ortho_group.rvs(n, size=20, random_state=rng):
        direction = rotation.T @ np.full(n, 1 / math.sqrt(n))
        cosine = direction @ unit_columns(columns)
        np.testing.assert_allclose(t_of(rotation @ columns), math.sqrt(n - 1) * cosine / np.sqrt(1 - cosine**2), rtol=1e-8)


def test_rotating_the_whole_matrix_gives_the_same_p() -> None:
    rng = np.random.default_rng(8)
    columns = rng.normal(0.4, 1, (6, 5)) + np.array([0, 0.5, 1, -10, 0.2])
    drawn = np.array([t_of(r @ columns) for r in stats.ortho_group.rvs(6, size=4000, random_state=rng)])
    whole = westfall_young(t_of(columns), drawn)
    reduced = step_down_p(columns, rotation_directions(6, 40_000, np.random.default_rng(1)))
    assert np.abs(whole - reduced).max() < 4 * math.sqrt(0.25 / 4000)


def test_the_counting_is_that_of_westfall_and_young() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        columns = rng.normal(0.5, 1, (5, 6))
        directions = list(rotation_directions(5, 300, rng))
        cosine = directions[0] @ unit_columns(sorted_rows(columns))
        drawn = math.sqrt(4) * cosine / np.sqrt(1 - cosine**2)
        np.testing.assert_array_equal(step_down_p(columns, directions), westfall_young(t_of(columns), drawn))


def test_the_order_of_the_rows_moves_no_p_and_no_critical_value() -> None:
    rng = np.random.default_rng(5)
    columns = rng.normal(0.5, 1, (8, 4))
    directions = list(rotation_directions(8, 500, rng))
    for _ in range(5):
        shuffled = columns[rng.permutation(8)]
        np.testing.assert_array_equal(step_down_p(shuffled, directions), step_down_p(columns, directions))
        ours, theirs = MaxAbs(shuffled), MaxAbs(columns)
        for chunk in directions:
            ours.add(chunk)
            theirs.add(chunk)
        assert ours.quantile(0.95) == theirs.quantile(0.95)


def test_exact_sign_flips_of_the_family_by_hand() -> None:
    columns = np.random.default_rng(4).normal(0.6, 1, (5, 3))
    flips = [np.array([1 - 2 * (k >> i & 1) for i in range(5)]) for k in range(32)]
    drawn = np.array([t_of(flip[:, None] * columns) for flip in flips])
    np.testing.assert_array_equal(step_down_p(columns, sign_directions(5)), westfall_young(t_of(columns), drawn))


@pytest.mark.parametrize("mean", [0.0, 1.0, -4.0])
def test_a_single_column_has_the_t_distribution_wherever_its_mean_is(mean: float) -> None:
    column = np.random.default_rng(6).normal(mean, 1, (5, 1))
    (chunk,) = rotation_directions(5, 8000, np.random.default_rng(7))
    cosine = (chunk[1:] @ unit_columns(column))[:, 0]
    assert stats.kstest(2 * cosine / np.sqrt(1 - cosine**2), stats.t(4).cdf).pvalue > 1e-3


def test_directions_are_unit_uniform_and_start_with_the_identity() -> None:
    chunks = list(rotation_directions(7, 2 * CHUNK + 5, np.random.default_rng(0)))
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 5]
    directions = np.vstack(chunks)
    np.testing.assert_allclose((directions**2).sum(axis=1), 1)
    np.testing.assert_allclose(directions[0], 1 / math.sqrt(7))
    np.testing.assert_allclose(directions[1:].T @ directions[1:] / len(directions), np.eye(7) / 7, atol=0.01)


def test_sign_directions_are_all_of_them_once_or_a_sample() -> None:
    all_signs = np.vstack(list(sign_directions(6)))
    assert len({tuple(row) for row in np.sign(all_signs)}) == 64
    assert (all_signs[0] > 0).all()
    drawn = np.vstack(list(sign_directions(30, draws=100, rng=np.random.default_rng(0))))
    assert drawn.shape == (100, 30)
    assert (drawn[0] > 0).all()
    np.testing.assert_allclose(np.abs(drawn), 1 / math.sqrt(30))
    assert sum(len(chunk) for chunk in sign_directions(15)) == 2**15


def test_the_quantile_of_one_column_is_that_of_t() -> None:
    collected = MaxAbs(np.random.default_rng(1).normal(size=(6, 1)))
    for chunk in rotation_directions(6, 50_000, np.random.default_rng(2)):
        collected.add(chunk)
    assert collected.quantile(0.95) == pytest.approx(special.stdtrit(5, 0.975), rel=0.02)


def test_bad_input_is_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="`draws` of at least 1, got 0"):
        next(rotation_directions(5, 0, rng))
    with pytest.raises(ValueError, match="`rng` with `draws`"):
        next(sign_directions(5, draws=10))
    with pytest.raises(ValueError, match="shape \\(seeds, scorers\\), got \\(3,\\)"):
        step_down_p([1.0, 2.0, 3.0], sign_directions(3))
    with pytest.raises(ValueError, match="all zero"):
        step_down_p(np.zeros((3, 1)), sign_directions(3))
