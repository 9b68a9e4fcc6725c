"""Sums of several values of one seed, worked by hand, and the error of a paired test on them."""

import numpy as np
import pandas as pd
import pytest

from sics_analysis import LookPlan
from sics_analysis.one_scorer.student import p_above
from sics_analysis.rows.arms import Arm
from sics_analysis.rows.combined import combined_contrast, less, less_a_share
from sics_analysis.rows.contrasts import contrast, differences
from sics_analysis.rows.looked import LookedContrast
from sics_analysis.rows.table import Table, read_table
from sics_analysis.study.analyse import analyse

TEST = {"magnitude": [0.60, 0.62, 0.61], "fusion_orbit_50": [0.64, 0.65, 0.66]}
HELD = {"fusion_orbit_50": ([0.70, 0.71, 0.69], [0.62, 0.63, 0.62])}


def frame(test=TEST, held=HELD, S=0.7):
    rows = []
    for name, values in test.items():
        of, reference = held.get(name, ([None] * len(values),) * 2)
        rows += [(i, name, S, a, of[i], reference[i]) for i, a in enumerate(values)]
    return pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "held_out", "held_out_reference"])


def rounded(found):
    return [round(value, 9) for value in found.differences]


def test_a_difference_less_a_share_of_the_reference_is_formed_seed_by_seed():
    table = read_table(frame())
    found = less_a_share(table, "fusion_orbit_50", "magnitude", 0.05, 0.7)
    # 4.0 − .05·60, 3.0 − .05·62, 5.0 − .05·61
    assert rounded(found) == [1.0, -0.1, 1.95]
    assert (found.name, found.reference, found.sparsity, found.exact) == ("fusion_orbit_50", "magnitude", 0.7, False)
    plain = less_a_share(table, "fusion_orbit_50", "magnitude", 0.0, 0.7)
    assert rounded(plain) == rounded(contrast(table.arm("fusion_orbit_50", 0.7), table.arm("magnitude", 0.7)))


def test_a_share_of_the_pooled_plateau_is_of_the_others():
    rows = frame({**TEST, "power": [0.60, 0.60, 0.60], "log": [0.62, 0.62, 0.62]}, {})
    rows["kappa"] = rows["scorer"].map({"magnitude": 0, "power": 0, "log": 0})
    table = read_table(rows)
    # log against the mean of magnitude and power: .60, .61, .605
    assert rounded(less_a_share(table, "log", "plateau", 0.1, 0.7)) == [-4.0, -5.1, -4.55]


def test_one_gain_less_another_is_formed_at_the_seeds_of_both():
    table = read_table(frame())
    one = differences([4.0, 3.0, 5.0], name="a", sparsity=0.7)
    other = differences([1.0, 1.5, 9.0], name="b", sparsity=0.7, seeds=[0, 1, 7])
    found = less(table, one, other)
    assert (found.seeds, rounded(found), found.name, found.reference) == ((0, 1), [3.0, 1.5], "a", "b")


def test_no_example_apart_is_no_spread():
    """A reference that moves gives a share that moves; differences that do not are still no sample with a spread."""
    n = 400
    rows = frame({"magnitude": [0.60, 0.61, 0.62], "chaos": [0.65, 0.66, 0.67]}, {}).assign(n=n)
    rows["correct"] = (rows["accuracy"] * n).round().astype(int)
    table = read_table(rows)
    assert less_a_share(table, "chaos", "magnitude", 0.05, 0.7).is_constant  # spread .1, an example is .25
    assert not less_a_share(table, "chaos", "magnitude", 0.2, 0.7).is_constant


def test_under_a_plan_of_looks_a_sum_is_looked_at_as_a_difference_is():
    rng = np.random.default_rng(0)
    values = {"magnitude": 0.6 + 0.01 * rng.normal(size=8), "chaos": 0.65 + 0.01 * rng.normal(size=8)}
    rows = frame({name: row.tolist() for name, row in values.items()}, {})
    result = analyse(rows, looks=LookPlan(20, seeds=tuple(range(20))), draws=500)
    found = less_a_share(result.table, "chaos", "magnitude", 0.01, 0.7)
    assert isinstance(found, LookedContrast)
    assert [look.counts for look in found.looks] == [(5,), (5, 8)]


def table_of(**values):
    arms = {(name, 0.7): Arm.from_values(name, range(len(row)), list(row), 100.0) for name, row in values.items()}
    return Table(arms, dict.fromkeys(values), False, tuple(range(5)), (0.7,), None, None)


@pytest.mark.parametrize("spread", [0.0, 3.0, 6.0])
def test_a_test_of_a_share_keeps_its_level_however_far_the_reference_spreads(spread):
    """θ is exactly a fifth of the plateau, whose estimate spreads as the reference does: in the numbers, not beside them."""
    rng, n, share, plateau, draws = np.random.default_rng(1), 5, 0.2, 60.0, 3_000
    reference = plateau + spread * rng.normal(size=(draws, n))
    scorer = reference + share * plateau + 0.3 * rng.normal(size=(draws, n))
    contrasts = [
        less_a_share(table_of(magnitude=ref / 100, chaos=own / 100), "chaos", "magnitude", share, 0.7)
        for own, ref in zip(scorer, reference, strict=True)
    ]
    rate = np.mean([p_above(found, 0.0) <= 0.05 for found in contrasts])
    assert abs(rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / draws)
    # With the plateau taken as known from the same seeds, the spread of its mean is nobody's.
    known = [differences(own - ref - share * ref.mean()) for own, ref in zip(scorer, reference, strict=True)]
    assert bool(np.mean([p_above(found, 0.0) <= 0.05 for found in known]) > 0.1) is bool(spread)


def test_a_sum_has_its_weights():
    table = read_table(frame({"a": [0.9, 0.8], "b": [0.5, 0.5], "c": [0.3, 0.1]}, {}))
    terms = [(2.0, table.arm("a", 0.7)), (-1.0, table.arm("b", 0.7)), (-1.0, table.arm("c", 0.7))]
    found = combined_contrast(table, terms, name="a", reference="b", sparsity=0.7)
    assert rounded(found) == [100.0, 100.0]
