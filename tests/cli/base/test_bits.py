import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.base.bits import count_bits, pack_bits, unpack_bits


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_round_trip_and_count(hits: list[bool]) -> None:
    packed = pack_bits(np.array(hits))
    assert len(packed) == (len(hits) + 7) // 8
    assert unpack_bits(packed, len(hits)).tolist() == hits
    assert count_bits(packed) == sum(hits)


def test_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="9 examples need 2 bytes, got 1"):
        unpack_bits(b"\x00", 9)
