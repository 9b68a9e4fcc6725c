"""What is computed for many lines or values at once is what one at a time gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sics_analysis.families.rotation import StepDown, rotation_directions, sign_directions, unit_columns
from sics_analysis.one_scorer.bootstrap import bootstrap_together
from sics_analysis.one_scorer.signflip import DRAW_SEED, Alternative, count_together, sign_flip_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.rows.contrasts import Contrast, differences

SIDES: tuple[tuple[float, Alternative], ...] = (
    (0.5, "greater"),
    (-0.5, "less"),
    (0.0, "greater"),
    (-0.5, "greater"),
    (0.5, "less"),
)


def _lines(n: int, count: int = 4) -> list[Contrast]:
    """Differences on a grid of .01 points, with ties at the margins."""
    rng = np.random.default_rng(n)
    return [differences(rng.normal(0.1 * j, 1, n).round(2), name=f"s{j}") for j in range(count)]


@pytest.mark.parametrize("n", [21, 60, 100])
def test_sign_flips_of_many_lines_are_those_of_each(n: int) -> None:
    lines = _lines(n)
    count_together(lines, SIDES)
    for line in lines:
        for margin, side in SIDES:
            drawn = np.random.default_rng(DRAW_SEED)
            alone = sign_flip_test(replace(line), margin=margin, alternative=side, rng=drawn)
            assert sign_flip_test(line, margin=margin, alternative=side) == alone
            assert sign_flip_test(replace(line), margin=margin, alternative=side) == alone


def test_flips_that_are_enumerated_or_left_out_are_not_counted_together() -> None:
    lines = [*_lines(20), *_lines(101)]
    count_together(lines, SIDES)
    assert not any(line.counted_flips for line in lines)


def test_the_closed_form_of_bca_is_that_of_scipy() -> None:
    lines = [differences(np.random.default_rng(j).exponential(1.0, 150) - 0.3, name=f"s{j}") for j in range(4)]
    for line, made in zip(lines, bootstrap_together(lines, 999, np.random.default_rng(1)), strict=True):
        known = type("Known", (), {"bootstrap_distribution": made.means})
        whole = stats.bootstrap(
            (np.sort(line.values),), np.mean, n_resamples=0, bootstrap_result=known, confidence_level=0.9, method="BCa"
        ).confidence_interval
        found = made.confidence_interval(0.9, "bca")
        assert found is not None
        np.testing.assert_allclose((found.low, found.high), (whole.low, whole.high), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("values", [[0.3, -0.1, 0.7, 0.2], [1.0, 1.0, 1.0], [0.1, 0.2], [2.5, -3.75, 0.125, 9.0, 1e-7]])
def test_p_below_is_p_above_of_the_mirrored_differences(values: list[float]) -> None:
    line = differences(values)
    for margin in (-0.5, 0.0, 0.3):
        assert p_below(line, margin) == p_above(line.mirrored(), -margin)


def test_the_running_maximum_of_the_step_down_is_that_of_numpy() -> None:
    columns = np.column_stack([line.values for line in _lines(12, 5)]) - 0.2
    (directions,) = rotation_directions(12, 500, np.random.default_rng(3))
    counts = StepDown(columns)
    counts.add(directions)
    rows = columns[np.lexsort(columns.T)]
    unit = unit_columns(rows)
    observed = unit.sum(axis=0) / np.sqrt(12)
    order = np.argsort(-observed, kind="stable")[::-1]
    largest = np.maximum.accumulate(unit[:, order].T @ directions.T, axis=0)
    hits = (largest >= (observed[order] - 1e-12)[:, None]).sum(axis=1) / 500
    expected = np.empty(5)
    expected[order[::-1]] = np.maximum.accumulate(hits[::-1])
    assert counts.adjusted().tolist() == expected.tolist()


def test_sign_directions_have_the_digits_of_their_quotient() -> None:
    (signs,) = sign_directions(7)
    assert set(np.unique(signs)) == {1.0 / np.sqrt(7), -1.0 / np.sqrt(7)}
