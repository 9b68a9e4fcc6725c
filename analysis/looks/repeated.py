"""p-values and intervals that stay valid however often a run is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.polynomial import Chebyshev

from sics_analysis.looks.levels import FloatArray, boundary, check_spending, critical_value, nominal_levels
from sics_analysis.results import Interval, check_level

_LEAST, _MOST = 1e-9, 0.4999  # overall alphas between which the table stands
_NODES = 13
_STEPS = 4001
METHOD = "repeated student-t"


def repeated_p(p: float, looks: Sequence[int], n_max: int, family: int = 1, *, complete: bool = True) -> float:
    """The repeated p-value of a look: the smallest overall alpha whose level at this look is at least p.

    Parameters
    ----------
    p
        One-sided p at the last of `looks`; of a family the adjusted one, where `family` lines are tested together.
    looks, n_max, family, complete
        As in `nominal_levels`, `looks` being those made so far.

    Returns
    -------
    float
        To four digits and more. Above one half it is 1, below 1e-9 it is that: both are on the safe side.

    References
    ----------
    Jennison and Turnbull (1989), Interim analyses: the repeated confidence interval approach, JRSS B 51, 305–361.

    Examples
    --------
    >>> round(repeated_p(0.02442, (5,), 40, complete=False), 4)  # the first look spends an eighth
    0.1954
    >>> level = nominal_levels((5, 8, 12, 20), 20)[-1]
    >>> round(repeated_p(level, (5, 8, 12, 20), 20), 4)
    0.05
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"Expected a p-value in [0, 1], got {p!r}")
    check_spending(looks, n_max, _LEAST, family)
    return repeated_p_of(p, tuple(int(n) for n in looks), int(n_max), int(family), complete)


def repeated_p_of(p: float, looks: tuple[int, ...], n_max: int, family: int, complete: bool) -> float:
    """`repeated_p` of arguments that are known to be fine."""
    if len(looks) == 1:
        return min(1.0, p if complete else p * n_max / looks[0])
    alphas, levels = _table(looks, n_max, family, complete)
    if p <= 0.0 or math.log(p) <= levels[0]:
        return _LEAST
    if math.log(p) > levels[-1]:
        return 1.0
    return math.exp(float(np.interp(math.log(p), levels, alphas)))


@lru_cache(maxsize=1024)
def _table(looks: tuple[int, ...], n_max: int, family: int, complete: bool) -> tuple[FloatArray, FloatArray]:
    """log alpha and log level at the last look, close together: a polynomial through the levels at a few alphas."""
    low, high = math.log(_LEAST), math.log(_MOST)
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    levels = boundary(looks, n_max, tuple(np.exp(nodes).tolist()), family, complete).level
    fitted = Chebyshev.fit(nodes, np.log(levels), _NODES - 1, domain=[low, high])
    alphas = np.linspace(low, high, _STEPS)
    return alphas, np.maximum.accumulate(fitted(alphas))


def sequential_p(repeated: Sequence[float]) -> tuple[float, ...]:
    """Sequential p-values of the looks: the smallest repeated p so far, a valid p wherever the run stops.

    >>> sequential_p([0.2, 0.03, 0.05])
    (0.2, 0.03, 0.03)
    """
    return tuple(accumulate(repeated, min))


def repeated_interval(
    mean: float, se: float, looks: Sequence[int], n_max: int, level: float = 0.90, *, complete: bool = True
) -> Interval:
    """The repeated confidence interval at the last of these looks: those of all looks hold together at `level`.

    Mean ± c·se with c the t of the one-sided nominal level at alpha = (1 − level)/2. The one at 90 % lies inside ±delta exactly
    when both one-sided p are at most the nominal level at alpha = .05.

    Examples
    --------
    >>> print(repeated_interval(0.025, 0.1221, (5, 8), 40, complete=False))
    90 % CI [−0.40, +0.45]
    """
    check_level(level)
    nominal = nominal_levels(looks, n_max, (1 - level) / 2, complete=complete)[-1]
    reach = critical_value(looks[-1], nominal) * se
    return Interval(mean - reach, mean + reach, level, METHOD)
