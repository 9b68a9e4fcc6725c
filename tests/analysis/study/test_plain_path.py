"""What is computed for many lines or values at once is what one at a time gives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sics_analysis.families.rotation import StepDown, _cosines, rotation_directions, sign_directions, unit_columns
from sics_analysis.one_scorer import effect
from sics_analysis.one_scorer.bootstrap import bootstrap_together
from sics_analysis.one_scorer.signflip import DRAW_SEED, Alternative, count_together, sign_flip_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.report.document.codec import encode
from sics_analysis.report.document.rows import Cell, CellColumns, Cells, accuracies
from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import Contrast, differences
from sics_analysis.rows.table import read_table

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


def test_products_in_parts_are_those_in_one() -> None:
    rng = np.random.default_rng(0)
    ranked, chunk = rng.normal(size=(50, 51)), rng.normal(size=(1_000, 51))
    np.testing.assert_allclose(_cosines(ranked, chunk), ranked @ chunk.T, rtol=0, atol=1e-13)
    np.testing.assert_allclose(_cosines(ranked[:1], chunk), ranked[:1] @ chunk.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("t", [0.0, 3.0, -31.0, 75.0])
@pytest.mark.parametrize("df", [5, 120, 999])
def test_intervals_of_a_noncentrality_are_those_of_the_slow_way(monkeypatch: pytest.MonkeyPatch, t: float, df: int) -> None:
    fast = effect.noncentrality_interval(t, df, 0.95)
    monkeypatch.setattr(effect, "_WIDE", 0.0)
    monkeypatch.setattr(effect, "_NEARLY_NORMAL", math.inf)
    assert fast == pytest.approx(effect.noncentrality_interval(t, df, 0.95), rel=1e-11, abs=1e-11)


def test_arms_cut_from_columns_are_those_made_one_by_one() -> None:
    rng = np.random.default_rng(0)
    places = [(seed, name, S) for seed in ("10", "b", "9", "a") for name in ("mine", "magnitude") for S in (0.5, 0.7)]
    rows = pd.DataFrame(places, columns=["seed", "scorer", "sparsity"])
    rows["accuracy"] = rng.integers(0, 100, len(rows)) / 100
    rows.loc[3, "accuracy"] = np.nan
    rows["mask_hash"] = [f"h{i % 3}" if i % 5 else None for i in range(len(rows))]
    rows = rows.sample(frac=1, random_state=0)
    arms = read_table(rows).arms
    for (name, S), arm in arms.items():
        own = rows[(rows["scorer"] == name) & (rows["sparsity"] == S)]
        seeds = [int(seed) if seed.isdigit() else seed for seed in own["seed"]]
        assert arm == Arm.from_fractions(name, seeds, own["accuracy"].tolist(), own["mask_hash"].tolist())
    assert arms["mine", 0.5].seeds == (9, 10, "a", "b")
    assert {len(arm.seeds) for arm in arms.values()} == {3, 4}
    rows["n"] = 100
    rows["correct"] = (rows["accuracy"] * 100).round()
    assert {arm.correct is not None for arm in read_table(rows).arms.values()} == {True}


def test_columns_of_cells_are_the_cells() -> None:
    columns = CellColumns("mine", 0.5, (0, 1), (0.9, 0.8), (90, 80), (100, 100), ("h", None), (None, 0.25))
    cells = Cells((columns, CellColumns("magnitude", 0.5, (0, 2), (0.7, 0.6))))
    plain = (
        Cell(0, "mine", 0.5, 0.9, 90, 100, "h", None),
        Cell(1, "mine", 0.5, 0.8, 80, 100, None, 0.25),
        Cell(0, "magnitude", 0.5, 0.7),
        Cell(2, "magnitude", 0.5, 0.6),
    )
    assert cells == plain
    assert plain == cells
    assert (len(cells), cells[-1], cells[1:3], hash(cells)) == (4, plain[-1], plain[1:3], hash(plain))
    assert encode(cells) == encode(plain)
    for names in (("mine",), ("mine", "magnitude"), ()):
        assert accuracies(cells, names, 0.5) == accuracies(plain, names, 0.5)
    assert accuracies(cells, ("mine",), 0.7) == ()
