"""Per-example correctness, eight examples a byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_bits(hits: NDArray[np.bool_]) -> bytes:
    """Pack booleans of shape (n,), first example in the highest bit of the first byte, zeros after the last.

    >>> pack_bits(np.array([True, False, True]))
    b'\\xa0'
    """
    return np.packbits(np.asarray(hits, dtype=np.bool_)).tobytes()


def unpack_bits(packed: bytes, n: int) -> NDArray[np.bool_]:
    """Unpack to booleans of shape (n,), the inverse of `pack_bits`; other than ceil(n/8) bytes are a ValueError.

    >>> unpack_bits(b'\\xa0', 3)
    array([ True, False,  True])
    """
    if len(packed) != (n + 7) // 8:
        raise ValueError(f"{n} examples need {(n + 7) // 8} bytes, got {len(packed)}")
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=n).astype(np.bool_)


def count_bits(packed: bytes) -> int:
    """How many bits are set."""
    return int.from_bytes(packed).bit_count()
