import math

import numpy as np
import pytest

from sics_analysis.rows.arms import Arm, pool_arms
from sics_analysis.rows.contrasts import contrast


def test_incomplete_seeds_are_dropped_and_the_rest_sorted() -> None:
    arm = Arm.from_fractions("chaos", [10, 2, 7], [0.5, None, 0.25])
    assert arm.seeds == (7, 10)
    assert arm.accuracy == (0.25, 0.5)
    assert Arm.from_counts("chaos", [3, 1], [math.nan, 7.0], 10).seeds == (1,)


def test_seeds_sort_as_numbers_and_text_after_them() -> None:
    assert Arm.from_fractions("a", ["b", 10, 9, "a"], [0.1, 0.2, 0.3, 0.4]).seeds == (9, 10, "a", "b")


def test_numpy_counts_become_plain_integers() -> None:
    arm = Arm.from_counts("a", list(np.array([1, 0])), list(np.array([3, 4])), np.int64(10))  # type: ignore[arg-type]
    assert arm.correct == (4, 3)
    assert all(type(value) is int for value in (*arm.seeds, *arm.correct, *(arm.total or ())))


@pytest.mark.parametrize("accuracy", [1.0001, -0.1, 93.0])
def test_an_accuracy_that_is_no_fraction_is_refused(accuracy: float) -> None:
    with pytest.raises(ValueError, match="accuracy of 'a' as a fraction in \\[0, 1\\], got"):
        Arm.from_fractions("a", [0], [accuracy])


@pytest.mark.parametrize(("correct", "total"), [(11, 10), (-1, 10), (0, 0)])
def test_a_count_outside_its_total_is_refused(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="0 <= correct <= total"):
        Arm.from_counts("a", [0], [correct], total)


def test_a_count_that_is_not_whole_is_refused() -> None:
    with pytest.raises(ValueError, match=r"whole number, got 1\.5"):
        Arm.from_counts("a", [0], [1.5], 10)  # type: ignore[list-item]


def test_a_repeated_seed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="every seed of 'a' once, got seed 4 again"):
        Arm.from_fractions("a", [4, 5, 4], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("arguments", [([0, 1], [5], 10, None), ([0], [5], [10, 10], None), ([0], [5], 10, ["x", "y"])])
def test_lengths_must_agree(arguments: tuple[list[int], list[int], int, list[str] | None]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        Arm.from_counts("a", *arguments)


def test_empty_hashes_are_unknown() -> None:
    arm = Arm.from_fractions("a", [0, 1, 2], [0.1, 0.2, 0.3], mask_hash=["h", "", None])
    assert arm.mask_hash == ("h", None, None)


def test_pooled_counts_give_the_exact_mean() -> None:
    arms = [Arm.from_counts(name, [0, 1, 2], counts, 600) for name, counts in (("m", [1, 2, 3]), ("p", [4, 5, 7]))]
    pool = pool_arms(arms)
    assert pool.correct == (5, 7, 10)
    assert pool.total == (1200, 1200, 1200)
    member = Arm.from_counts("x", [0, 1, 2], [3, 4, 6], 600)
    assert contrast(member, pool).differences == (100 / 1200, 100 / 1200, 200 / 1200)


def test_pooled_fractions_are_averaged_on_common_seeds() -> None:
    pool = pool_arms([Arm.from_fractions("m", [0, 1], [0.5, 0.25]), Arm.from_counts("p", [1, 2], [5, 6], 10)])
    assert pool.seeds == (1,)
    assert pool.accuracy == (0.375,)
    assert pool.correct is None


def test_pool_refuses_nothing_and_mixed_test_sets() -> None:
    with pytest.raises(ValueError, match="at least one arm"):
        pool_arms([])
    with pytest.raises(ValueError, match="one test set"):
        pool_arms([Arm.from_counts("m", [0], [5], 10), Arm.from_counts("p", [0], [5], 20)])


def test_a_pool_of_one_mask_is_that_mask() -> None:
    def arm(name: str, hashes: list[str | None] | None) -> Arm:
        return Arm.from_counts(name, [0, 1, 2], [5, 6, 7], 10, hashes)

    same = pool_arms([arm("m", ["a", "b", "c"]), arm("p", ["a", "b", "c"])])
    assert same.mask_hash == ("a", "b", "c")
    assert contrast(arm("log", ["a", "b", "c"]), same).is_identical
    apart = pool_arms([arm("m", ["a", "b", "c"]), arm("p", ["a", "x", None])])
    assert apart.mask_hash == ("a", None, None)
    assert not contrast(arm("log", ["a", "b", "c"]), apart).same_hash
    assert pool_arms([arm("m", ["a", "b", "c"]), arm("p", None)]).mask_hash == (None, None, None)
    fractions = [Arm.from_fractions(name, [0], [0.5], ["a"]) for name in ("m", "p")]
    assert pool_arms(fractions).mask_hash == ("a",)
