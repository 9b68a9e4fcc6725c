"""The families of all sparsities as one: valid, never more than what holds within an S, and the same where there is one S."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.families.max_t import degrade_test, escape_test, max_t_family
from sics_analysis.families.multiplicity import holm, holm_over_groups
from sics_analysis.families.run_wide import HOLM, JOINT, ONE, run_wide
from sics_analysis.rows.contrasts import Contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

DELTA, DRAWS = 0.5, 4_000
SPARSITIES = (0.5, 0.6, 0.7, 0.8)


def columns(n: int = 6, shift: float = 0.0, seed: int = 0) -> dict[float, list[Contrast]]:
    rng = np.random.default_rng(seed)
    return {
        S: [
            differences(shift * (S == 0.8) + rng.normal(0.3, 0.4, n), name=name, reference="magnitude", sparsity=S)
            for name in ("bump", "chaos")
        ]
        for S in SPARSITIES
    }


def families_of(found: dict[float, list[Contrast]]) -> list:  # type: ignore[type-arg]
    return [escape_test(own, DELTA, rng=np.random.default_rng(1), draws=DRAWS) for own in found.values()]


def test_all_columns_of_a_run_are_rotated_together_where_their_seeds_are_common() -> None:
    found = columns(shift=1.5)
    families = families_of(found)
    whole = run_wide(families, rng=np.random.default_rng(2), draws=DRAWS)
    assert whole.method == JOINT
    # The same as one family of eight scorers that have names of their own.
    renamed = [differences(c.values, name=f"{c.name} {S}") for S, own in found.items() for c in own]
    one = max_t_family(renamed, DELTA, rng=np.random.default_rng(2), draws=DRAWS)
    for S, own in found.items():
        for c in own:
            p = whole.get(c.name, S)
            assert p is not None
            assert p == pytest.approx(one[f"{c.name} {S}"].p_adjusted, abs=0.02)
            assert p >= (families[SPARSITIES.index(S)].adjusted(c.name) or 0.0)
    assert whole.get("chaos", 0.9) is None


def test_seeds_that_differ_between_sparsities_take_holm_over_them() -> None:
    found = columns(shift=1.5)
    found[0.5] = [c.restrict(range(5)) for c in found[0.5]]
    families = families_of(found)
    whole = run_wide(families, rng=np.random.default_rng(2), draws=DRAWS)
    assert whole.method == HOLM
    p = [[line.p_adjusted or 0.0 for line in family.lines] for family in families]
    assert list(whole.adjusted.values()) == holm_over_groups(p)
    ragged = columns(shift=1.5)
    ragged[0.6][0] = ragged[0.6][0].restrict(range(4))
    assert run_wide(families_of(ragged), rng=np.random.default_rng(2), draws=DRAWS).method == HOLM


def test_one_sparsity_adds_nothing() -> None:
    (family,) = families_of({0.7: columns()[0.7]})
    empty = escape_test([differences([1.0, 2.0], name="few", sparsity=0.8)], DELTA, rng=np.random.default_rng(0), draws=10)
    whole = run_wide([family, empty], rng=np.random.default_rng(2), draws=DRAWS)
    assert whole.method == ONE
    assert whole.get("chaos", 0.7) == family.adjusted("chaos")
    assert whole.get("few", 0.8) is None
    assert run_wide([], rng=np.random.default_rng(0)).adjusted == {}


def test_below_is_above_of_the_mirrored_run() -> None:
    found = columns(shift=1.5)
    mirrored = [[differences(-c.values, name=c.name, sparsity=S) for c in own] for S, own in found.items()]
    above = run_wide(families_of(found), rng=np.random.default_rng(2), draws=DRAWS)
    below = [degrade_test(own, DELTA, rng=np.random.default_rng(1), draws=DRAWS) for own in mirrored]
    assert run_wide(below, rng=np.random.default_rng(2), draws=DRAWS).adjusted == pytest.approx(above.adjusted)


def test_constants_have_holm_over_the_whole_run() -> None:
    """Ten seeds: 2⁻¹⁰ a column; one constant among eight columns is multiplied by what is left to test."""
    found = columns(n=10)
    found[0.8][0] = differences([2.0] * 10, name="bump", reference="magnitude", sparsity=0.8)
    whole = run_wide(families_of(found), rng=np.random.default_rng(2), draws=DRAWS)
    assert whole.method == JOINT
    assert whole.get("bump", 0.8) == 8 * 2**-10
    only = {S: [differences([2.0] * 10, name="a", sparsity=S)] for S in SPARSITIES}
    assert set(run_wide(families_of(only), rng=np.random.default_rng(2), draws=DRAWS).adjusted.values()) == {4 * 2**-10}


groups = st.lists(st.lists(st.floats(1e-6, 1), max_size=4), max_size=5)


@given(groups)
def test_holm_over_groups_lies_between_no_correction_and_bonferroni(p: list[list[float]]) -> None:
    found = holm_over_groups(p)
    flat = [value for group in p for value in group]
    count = sum(map(bool, p))
    assert len(found) == len(flat)
    for value, adjusted in zip(flat, found, strict=True):
        assert value <= adjusted <= min(1.0, count * value) + 1e-12


@given(st.lists(st.floats(1e-6, 1), max_size=6))
def test_groups_of_one_are_holm(p: list[float]) -> None:
    assert holm_over_groups([[value] for value in p]) == pytest.approx(holm(p))


def test_a_true_effect_in_a_group_does_not_buy_the_full_level_for_the_others() -> None:
    """Two S with a tiny p each: Holm on the smallest p of an S alone would test what is left in both at α."""
    assert holm_over_groups([[1e-9, 0.03], [1e-9, 0.03]]) == [2e-9, 0.06, 2e-9, 0.06]
    assert holm_over_groups([[1e-9, 0.02], [1e-9, 0.03]]) == [2e-9, 0.04, 2e-9, 0.04]


def test_beyond_a_hundred_seeds_all_draws_are_made_where_a_p_is_near_alpha() -> None:
    def adjusted(shift: float) -> float:
        values = np.random.default_rng(3).normal(0, 1, (101, 6))
        values = DELTA + (values - values.mean(0)) / values.std(0, ddof=1)
        values[:, 0] += shift / np.sqrt(101)
        found = {
            S: [differences(values[:, 2 * i + j], name="ab"[j], sparsity=S) for j in (0, 1)]
            for i, S in enumerate((0.5, 0.6, 0.7))
        }
        families = [escape_test(own, DELTA, rng=np.random.default_rng(1), draws=10_000) for own in found.values()]
        p = run_wide(families, rng=np.random.default_rng(2), draws=10_000).get("a", 0.5)
        assert p is not None
        return p

    near, clear = adjusted(2.43), adjusted(1.0)
    assert abs(near - 0.05) < 0.01
    assert round(near * 10_000) % 10 != 0, "a tenth of the draws has thousandths alone"
    assert near * 10_000 == pytest.approx(round(near * 10_000))
    assert abs(clear - 0.05) > 0.1
