"""What a curve over z is like: how much of it is monotone, and how much lies above 10 cycles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Frequencies up to this many cycles over z in (0, 1) are smooth (design §2 and §3).
CYCLES = 10
#: A cubic beside the cycles, so that a smooth curve whose ends differ does not pass for a jump.
_DEGREE = 3


@lru_cache(maxsize=8)
def _smooth_basis(bins: int) -> Floats:
    """Orthonormal columns, shape (bins, 1 + 3 + 20): a cubic and sines and cosines of 1 to 10 cycles."""
    z = (np.arange(bins) + 0.5) / bins
    waves = [wave(2 * np.pi * k * z) for k in range(1, CYCLES + 1) for wave in (np.sin, np.cos)]
    basis: Floats = np.linalg.qr(np.stack([*(z**d for d in range(_DEGREE + 1)), *waves], axis=1))[0]
    return basis


def above_ten_cycles(curves: Floats) -> Floats:
    """What is left of each curve, shape (..., bins), after the best sum of 10 cycles and a cubic is taken out.

    >>> z = (np.arange(256) + 0.5) / 256
    >>> for cycles in (8, 12):
    ...     wave = np.sin(2 * np.pi * cycles * z)
    ...     print(round(float(np.var(above_ten_cycles(wave)) / np.var(wave)), 2))
    0.0
    0.77
    """
    basis = _smooth_basis(curves.shape[-1])
    return np.asarray(curves - (curves @ basis) @ basis.T)


def isotonic(curves: Floats) -> Floats:
    """The least-squares non-decreasing fit to each curve, shape (..., bins): neighbours in the wrong order are pooled.

    >>> isotonic(np.array([1.0, 3.0, 2.0, 4.0])).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    total = np.concatenate([np.zeros((*curves.shape[:-1], 1)), np.cumsum(curves, axis=-1)], axis=-1)
    fit = np.empty(curves.shape)
    for at in np.ndindex(curves.shape[:-1]):
        sums: list[float] = total[at].tolist()
        begins: list[int] = []
        means: list[float] = []
        for end in range(1, len(sums)):
            begin, mean = end - 1, sums[end] - sums[end - 1]
            while means and means[-1] >= mean:
                means.pop()
                begin = begins.pop()
                mean = (sums[end] - sums[begin]) / (end - begin)
            means.append(mean)
            begins.append(begin)
        fit[at] = np.repeat(means, np.diff([*begins, len(sums) - 1]))
    return fit


def not_monotone(curves: Floats, direction: Floats) -> Floats:
    """What the best monotone curve leaves of each, shape (..., bins); ``direction`` of shape (...) is +1 or −1.

    >>> not_monotone(np.array([1.0, 3.0, 2.0]), np.array(1.0)).tolist()
    [0.0, 0.5, -0.5]
    """
    turned = curves * direction[..., None]
    return np.asarray((turned - isotonic(turned)) * direction[..., None])


def coarser(curves: Floats, bins: int) -> Floats:
    """Neighbouring bins averaged until there are at most ``bins`` of them (a power of two of both)."""
    factor = max(1, curves.shape[-1] // bins)
    return np.asarray(curves.reshape(*curves.shape[:-1], -1, factor).mean(axis=-1))
