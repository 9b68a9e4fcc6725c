"""Per-example correctness, eight examples a byte, the result it comes to, and whether that is more than chance."""

from __future__ import annotations

import math

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


def result_of(correct: int | None, n: int | None, value: float | None) -> float:
    """What was measured: the metric's value, or the share of right answers; a ValueError where neither is there.

    >>> result_of(3, 4, None), result_of(None, None, 1.5)
    (0.75, 1.5)
    """
    if value is not None:
        return value
    if correct is None or not n:
        raise ValueError("neither a value nor right answers were measured")
    return correct / n


def binomial_tail(least: int, n: int, p: float) -> float:
    """P(X ≥ least) for X binomial of n draws at 0 < p < 1; scipy's, which takes a second to import, agrees to 1e-9.

    >>> round(binomial_tail(2, 3, 0.5), 12)
    0.5
    """
    log_p, log_q, whole = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_p + (n - k) * log_q) for k in range(least, n + 1)
    )


def no_better_than_chance(correct: int, n: int, classes: int) -> bool:
    """Whether so many right of `n` is what guessing among `classes` gives, or hardly more.

    Not shown to be above 1/classes (one-sided binomial test, level 0.05) and not halfway to all right; or within half of it, or
    within a twentieth of the way to all right.

    >>> [no_better_than_chance(correct, 128, 10) for correct in (0, 19, 24)], no_better_than_chance(2, 2, 3)
    ([True, True, False], False)
    """
    share, chance = correct / n, 1 / classes
    if share <= min(1.5 * chance, chance + 0.05 * (1 - chance)):
        return True
    return share <= (1 + chance) / 2 and binomial_tail(correct, n, chance) > 0.05
