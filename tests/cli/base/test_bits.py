import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sics_cli.base.bits import binomial_tail, count_bits, no_better_than_chance, pack_bits, unpack_bits


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_round_trip_and_count(hits: list[bool]) -> None:
    packed = pack_bits(np.array(hits))
    assert len(packed) == (len(hits) + 7) // 8
    assert unpack_bits(packed, len(hits)).tolist() == hits
    assert count_bits(packed) == sum(hits)


def test_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="9 examples need 2 bytes, got 1"):
        unpack_bits(b"\x00", 9)


@given(st.integers(1, 600), st.integers(2, 1000), st.data())
def test_chance_ends_somewhere_below_all_right(n: int, classes: int, data: st.DataObject) -> None:
    """More right is never more like chance; all right never is, and what guessing gives on average always."""
    correct = data.draw(st.integers(0, n - 1))
    assert no_better_than_chance(correct, n, classes) >= no_better_than_chance(correct + 1, n, classes)
    assert not no_better_than_chance(n, n, classes)
    assert no_better_than_chance(n // classes, n, classes)


@given(st.integers(1, 600), st.integers(2, 1000), st.data())
def test_the_binomial_tail_is_scipys(n: int, classes: int, data: st.DataObject) -> None:
    least = data.draw(st.integers(0, n))
    assert binomial_tail(least, n, 1 / classes) == pytest.approx(binom.sf(least - 1, n, 1 / classes), rel=1e-9, abs=1e-12)


def test_chance_by_hand() -> None:
    """Of 24 images and three classes P(X ≥ 12) = 0.068 and P(X ≥ 13) = 0.028; of many, half as many again as guessing."""
    assert [no_better_than_chance(correct, 24, 3) for correct in (11, 12, 13)] == [True, True, False]
    assert [no_better_than_chance(correct, 10_000, 10) for correct in (1_450, 1_451)] == [True, False]
    assert [no_better_than_chance(correct, 10_000, 2) for correct in (5_250, 5_251)] == [True, False], "not three quarters"
    assert [no_better_than_chance(correct, 10_000, 1000) for correct in (15, 16)] == [True, False]
