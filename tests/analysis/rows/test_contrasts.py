import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import check_names, contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

counts = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)), min_size=1, max_size=8)


def test_pairs_use_the_seeds_complete_in_both() -> None:
    a = Arm.from_counts("chaos", [3, 1, 2, 5], [550, 540, None, 1], 600)
    b = Arm.from_counts("magnitude", [1, 2, 3], [543, 550, 547], 600)
    pair = contrast(a, b, sparsity=0.7)
    assert pair.seeds == (1, 3)
    assert pair.differences == (-0.5, 0.5)
    assert (pair.name, pair.reference, pair.sparsity, pair.exact) == ("chaos", "magnitude", 0.7, True)


@given(counts, st.integers(0, 400))
def test_a_constant_added_to_both_arms_changes_nothing(rows: list[tuple[int, int]], constant: int) -> None:
    def pair(shift: int):  # type: ignore[no-untyped-def]
        seeds = range(len(rows))
        a = Arm.from_counts("a", seeds, [x + shift for x, _ in rows], 1000)
        return contrast(a, Arm.from_counts("b", seeds, [y + shift for _, y in rows], 1000))

    assert pair(0) == pair(constant)


@given(counts, st.randoms())
def test_the_order_of_rows_changes_nothing(rows: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(rows)))
    random.shuffle(order)

    def pair(order: list[int]):  # type: ignore[no-untyped-def]
        a = Arm.from_counts("a", order, [rows[i][0] for i in order], 600)
        return contrast(a, Arm.from_counts("b", order, [rows[i][1] for i in order], 600))

    shuffled, straight = pair(order), pair(sorted(order))
    assert shuffled == straight
    assert (shuffled.mean, shuffled.sd) == (straight.mean, straight.sd)


@given(counts)
def test_counts_decide_zero_and_constancy_exactly(rows: list[tuple[int, int]]) -> None:
    seeds = range(len(rows))
    pair = contrast(
        Arm.from_counts("a", seeds, [x for x, _ in rows], 600), Arm.from_counts("b", seeds, [y for _, y in rows], 600)
    )
    assert pair.is_constant == (len({x - y for x, y in rows}) == 1)
    assert [d == 0 for d in pair.differences] == [x == y for x, y in rows]


def test_one_example_in_ten_million_is_a_difference_in_counts_but_rounding_in_fractions() -> None:
    total = 10**10
    exact = contrast(Arm.from_counts("a", [0, 1, 2], [6, 5, 5], total), Arm.from_counts("b", [0, 1, 2], [5, 5, 5], total))
    assert not exact.is_constant
    a = Arm.from_fractions("a", [0, 1, 2], [0.3 + 1e-10, 0.1 + 0.2, 0.3])
    assert contrast(a, Arm.from_fractions("b", [0, 1, 2], [0.3] * 3)).is_constant


@pytest.mark.parametrize("correct", [2, 3, 4, 6])
def test_equal_differences_of_single_precision_fractions_are_equal(correct: int) -> None:
    base = [541, 547, 552, 539, 544]
    single = [[float(np.float32(c + more) / np.float32(600)) for c in base] for more in (0, correct)]
    rough = contrast(Arm.from_fractions("a", range(5), single[1]), Arm.from_fractions("b", range(5), single[0]))
    assert rough.single
    assert rough.tolerance == pytest.approx(2.5e-5)
    assert rough.is_constant
    double = [[(c + more) / 600 for c in base] for more in (0, correct)]
    fine = contrast(Arm.from_fractions("a", range(5), double[1]), Arm.from_fractions("b", range(5), double[0]))
    assert not fine.single
    assert fine.tolerance == pytest.approx(1e-7)
    mixed = contrast(Arm.from_fractions("a", range(5), single[1]), Arm.from_fractions("b", range(5), double[0]))
    assert not mixed.single


def test_one_example_of_a_million_stays_a_difference_in_single_precision() -> None:
    values = [float(np.float32(c / 10**6)) for c in (900_000, 900_001, 900_000)]
    reference = Arm.from_fractions("b", range(3), [float(np.float32(0.9))] * 3)
    assert not contrast(Arm.from_fractions("a", range(3), values), reference).is_constant


def test_different_test_sets_are_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match="one test set at seed 0, got 600 examples for 'a' and 500 for 'b'"):
        contrast(Arm.from_counts("a", [0], [5], 600), Arm.from_counts("b", [0], [5], 500))


def test_hashes_are_compared_seed_by_seed() -> None:
    a = Arm.from_fractions("a", [0, 1, 2], [0.5] * 3, mask_hash=["x", "y", None])
    b = Arm.from_fractions("b", [0, 1, 2], [0.5] * 3, mask_hash=["x", "z", None])
    assert contrast(a, b).same_mask == (True, False, None)
    assert not contrast(a, b).is_identical
    assert contrast(a, b).restrict([0]).is_identical
    assert contrast(a, Arm.from_fractions("c", [0], [0.5])).same_mask is None


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=12))
def test_moments_are_those_of_numpy(values: list[float]) -> None:
    c = differences(values)
    if not c.is_constant:
        assert c.mean == pytest.approx(np.mean(values), abs=1e-12)
        assert c.sd == pytest.approx(np.std(values, ddof=1), rel=1e-9)
        assert c.se == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), rel=1e-9)


def test_no_seed_and_one_seed_have_no_spread() -> None:
    assert differences([]).mean is None
    assert differences([1.0]).sd is None
    assert differences([1.0, 2.0]).t_interval() is None


def test_a_constant_has_a_single_point_for_an_interval() -> None:
    interval = differences([0.1 + 0.2, 0.3, 0.3]).t_interval(0.9)
    assert interval is not None
    assert interval.low == interval.high == pytest.approx(0.3)
    assert interval.method == "degenerate"


def test_mirroring_twice_is_nothing() -> None:
    c = differences([1.0, 0.0, -2.0], name="a", reference="b")
    assert c.mirrored().differences == (-1.0, 0.0, 2.0)
    assert c.mirrored().mirrored() == c


def test_a_family_has_one_line_a_scorer() -> None:
    a = differences([1, 2, 3], name="a")
    check_names([a, differences([1, 2, 3], name="b")])
    with pytest.raises(ValueError, match="one contrast a scorer"):
        check_names([a, a])


@pytest.mark.parametrize("values", [[1.0, np.nan], [[1.0], [2.0]], [np.inf, 1.0]])
def test_differences_must_be_one_finite_row(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one row of finite numbers"):
        differences(values)
