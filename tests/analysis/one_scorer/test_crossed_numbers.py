"""Variance components of numbers, one an example: the same analysis as of right and wrong, in floats."""

import numpy as np
import pytest

from sics_analysis.one_scorer.crossed import VarianceComponents, variance_components

PARTS = ("mean", "ms_seeds", "ms_images", "ms_rest")


def parts(found: VarianceComponents) -> list[float]:
    return [getattr(found, name) for name in PARTS]


def test_whole_numbers_as_floats_give_what_their_exact_sums_give() -> None:
    rng = np.random.default_rng(3)
    whole = rng.integers(-1, 2, (5, 60))
    exact, floats = variance_components(whole), variance_components(whole.astype(float))
    assert parts(floats) == pytest.approx(parts(exact), rel=1e-12)
    assert floats.confidence_interval() is not None
    pooled = variance_components(3 * whole.astype(float), pooled=3)
    assert parts(pooled) == pytest.approx(parts(exact), rel=1e-12)


def test_a_table_by_hand_in_its_own_unit() -> None:
    """Rows [1, 3], [2, 6], [6, 6]: grand mean 4; rows 2, 4, 6; columns 3, 5; residuals ±0, ±1, ±1."""
    found = variance_components([[1.0, 3.0], [2.0, 6.0], [6.0, 6.0]], scale=1)
    assert parts(found) == pytest.approx([4, 2 * (4 + 0 + 4) / 2, 3 * (1 + 1) / 1, (0 + 0 + 1 + 1 + 1 + 1) / 2])
    assert found.se == pytest.approx((max(8 + 6 - 2, 8, 6) / 6) ** 0.5)
    assert variance_components([[1.0, 3.0], [2.0, 6.0], [6.0, 6.0]]).mean == pytest.approx(400), "points of a share"


def test_a_turned_table_is_mirrored() -> None:
    table = np.random.default_rng(0).normal(0.2, 1, (4, 30))
    up, down = variance_components(table, scale=1), variance_components(-table, scale=1)
    assert parts(down) == pytest.approx([-parts(up)[0], *parts(up)[1:]])


def test_little_is_lost_beside_a_large_number() -> None:
    table = np.random.default_rng(1).normal(0, 1, (4, 50))
    near, far = variance_components(table, scale=1), variance_components(table + 2.0**30, scale=1)
    assert parts(far)[1:] == pytest.approx(parts(near)[1:], rel=1e-5)


def test_rows_of_two_kinds_are_no_table() -> None:
    with pytest.raises(ValueError, match="whole numbers in all rows, or as floats in all"):
        variance_components([np.array([1, 0]), np.array([0.5, 0.5])])
