"""Nominal levels of the t-test at every look, exact for Normal differences, without simulation.

Under the null the t statistics of the looks are a Markov chain that knows neither mean nor sd: given t over N seeds, the
direction of the centred differences is uniform, which gives the law of t over the first n of them. What is carried from look to
look is the chance that nothing was crossed before, given the t of now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sics_analysis.looks.design import check_looks
from sics_analysis.results import is_number, is_whole

FloatArray = NDArray[np.float64]

_GRID = 100  # intervals on which the chance of no crossing is kept
_SPLIT = 14  # nodes over how the sum of squares divides between the earlier and the later seeds
_TURN = 20  # nodes over the angle between the two means
_EDGE = 9.0  # standard deviations of that angle beyond which nothing is left
_LEGENDRE = special.roots_legendre(_TURN)
_PANELS = special.roots_legendre(48)
_TINY = 1e-300
_SOLVED = 1e-12  # radians


@dataclass(frozen=True, slots=True)
class _Survival:
    """P(no look crossed before | angle at this look), for several boundaries at once.

    The angle of the differences to the line on which they are all equal is θ = arccot(t/√(n − 1)): 0 for t = ∞, π for −∞. Below
    `start` (a,) an earlier look must have been crossed; above it `values` (a, grid) stand at even steps of the root of the
    angle's way to π, in which the chance is smooth. None stands for 1: there is no earlier look.
    """

    start: FloatArray
    values: FloatArray | None

    def at(self, angle: FloatArray) -> FloatArray:
        """The chance at angles (a, ...), by polynomials through six points each."""
        if self.values is None:
            return np.ones_like(angle)
        start = self.start.reshape(-1, *[1] * (angle.ndim - 1))
        place = _GRID * np.sqrt(np.clip((angle - start) / (np.pi - start), 0.0, 1.0))
        first = np.clip(np.floor(place).astype(np.int64) - 2, 0, _GRID - 5)
        along, total = place - first, np.zeros_like(angle)
        for j in range(6):
            weight = np.ones_like(along)
            for other in range(6):
                if other != j:
                    weight *= (along - other) / (j - other)
            found = np.take_along_axis(self.values, (first + j).reshape(len(self.values), -1), axis=1)
            total += weight * found.reshape(angle.shape)
        return np.clip(total, 0.0, 1.0)

    def grid(self) -> FloatArray:
        """The angles at which `values` stand, shape (a, grid)."""
        along = np.linspace(0.0, 1.0, _GRID + 1) ** 2
        return self.start[:, None] + (np.pi - self.start[:, None]) * along


def _after(before: _Survival, crossed: FloatArray, n: int, later: int) -> _Survival:
    """The chance one look further: n seeds become `later`, and angles below `crossed` (a,) at n are a crossing.

    With unit vectors for the mean of all seeds and for the difference of the two parts' means, the sum over the first n is
    √(n/N)·cos θ + √(m/N)·sin θ·cos φ, and their sum of squares b·(sin θ·sin φ)², with φ of density ∝ sin^{N−3} and b of
    Beta((n − 1)/2, (m − 1)/2). For each b what survives is one interval of φ.
    """
    m = later - n
    cut = np.maximum(crossed, before.start)  # whichever leaves nothing
    slope = np.cos(cut) / np.sin(cut)
    start = np.arctan(np.sqrt(n / later / (m / later + slope**2)))
    made = _Survival(start, None)
    angle = made.grid()[..., None]
    A, D = math.sqrt(n / later) * np.cos(angle), math.sqrt(m / later) * np.sin(angle)
    # Unlike `cut`, this is where the indicator ends; between the two the chance itself is zero.
    E = (np.cos(crossed) / np.sin(crossed))[:, None, None] * np.sin(angle)
    b, share = _splits(n, m, np.where(A > D, (A**2 - D**2) / np.maximum(E**2, _TINY), 0.0))
    E = np.sqrt(b) * E
    length, turn = np.hypot(E, D), np.arctan2(D, E)
    half_gap = np.arcsin(np.clip(A / np.maximum(length, _TINY), -1.0, 1.0))
    edge = min(math.pi / 2, _EDGE / math.sqrt(max(later - 3, 1)))
    low = np.clip(turn + half_gap, math.pi / 2 - edge, math.pi / 2 + edge)
    high = np.clip(turn + math.pi - half_gap, math.pi / 2 - edge, math.pi / 2 + edge)
    half = np.where(length > A, np.maximum(high - low, 0.0) / 2, 0.0)
    nodes, weights = _LEGENDRE
    phi = ((high + low) / 2)[..., None] + half[..., None] * nodes
    density = np.sin(phi) ** (later - 3) * _sine_power(later - 3)
    sine = np.sin(angle)[..., None]
    earlier = np.arctan2(np.sqrt(b)[..., None] * sine * np.sin(phi), A[..., None] + D[..., None] * np.cos(phi))
    inner = ((before.at(earlier) * density) @ weights) * half
    return _Survival(start, np.asarray((inner * share).sum(axis=-1), dtype=np.float64))


def _splits(n: int, m: int, least: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights over b, the earlier seeds' share of the sum of squares, where what survives begins at `least`.

    There it begins as a root does, which the weights of the Jacobi rule take in.
    """
    if m == 1:
        return np.ones_like(least), np.ones_like(least)
    p, q = (n - 3) / 2, (m - 3) / 2
    whole, w_whole = special.roots_jacobi(_SPLIT, q, p)
    part, w_part = special.roots_jacobi(_SPLIT, q, 0.5)
    whole, part = (1 + whole) / 2, (1 + part) / 2
    ratio = math.exp(float(special.betaln(q + 1, 1.5)) - float(special.betaln(q + 1, p + 1)))
    least, cut = np.minimum(least, 1.0), least > 0
    b = np.where(cut, least + (1 - least) * part, whole)
    share = np.where(
        cut, (1 - least) ** (q + 1) * (w_part / w_part.sum() * ratio) / np.sqrt(part) * b**p, w_whole / w_whole.sum()
    )
    return b, share


def _sine_power(power: int) -> float:
    """What makes sin^power a density on (0, π)."""
    return math.exp(math.lgamma(power / 2 + 1) - math.lgamma((power + 1) / 2)) / math.sqrt(math.pi)


def _crossing(survival: _Survival, crossed: FloatArray, n: int, shift: float = 0.0) -> FloatArray:
    """P(first crossing at this look) where angles below `crossed` (a,) cross; `shift` is the true mean over the margin, in sd."""
    nodes, weights = _PANELS
    along, weight = (1 + nodes) / 2, weights / 2
    way = np.sqrt(np.maximum(crossed - survival.start, 0.0))[:, None]
    angle = survival.start[:, None] + (way * along) ** 2
    return np.asarray((_density(angle, n, shift) * survival.at(angle) * along) @ weight * 2 * way[:, 0] ** 2, dtype=np.float64)


def _density(angle: FloatArray, n: int, shift: float) -> FloatArray:
    """Density of the angle of n Normal differences with sd 1 and this mean: that of a noncentral t."""
    if shift == 0.0:
        return np.asarray(np.sin(angle) ** (n - 2) * _sine_power(n - 2), dtype=np.float64)
    pull = shift * math.sqrt(n) * np.cos(angle)[..., None]
    mode = (pull + np.sqrt(pull**2 + 4 * (n - 1))) / 2
    width = 9 / np.sqrt(1 + (n - 1) / mode**2)
    nodes, weights = special.roots_legendre(64)
    low = np.maximum(mode - width, 0.0)
    half = (mode + width - low) / 2
    length = low + half * (1 + nodes)
    logs = (n - 1) * np.log(length) - length**2 / 2 + pull * length - shift**2 * n / 2
    constant = math.log(2) * (1 - n / 2) - math.lgamma((n - 1) / 2) - 0.5 * math.log(math.pi)
    return np.asarray(np.sin(angle) ** (n - 2) * ((np.exp(logs + constant) @ weights) * half[..., 0]), dtype=np.float64)


def _angle_of(level: FloatArray, n: int) -> FloatArray:
    """The angle below which t has this one-sided level."""
    return np.asarray(np.arctan2(math.sqrt(n - 1), -special.stdtrit(n - 1, level)), dtype=np.float64)


def _level_of(angle: FloatArray, n: int) -> FloatArray:
    return np.asarray(special.stdtr(n - 1, -math.sqrt(n - 1) / np.tan(angle)), dtype=np.float64)


def _crossed_by(survival: _Survival, n: int, chance: FloatArray) -> FloatArray:
    """The angle below which the first crossing has this chance: Newton's steps on its logarithm, halving where one goes astray."""
    # At a right angle t is 0, and no level of a test is larger than .5.
    low, high = survival.start, np.full(len(chance), math.pi / 2)
    angle = (low + high) / 2
    for _ in range(60):
        found = _crossing(survival, angle, n)
        low, high = np.where(found > chance, low, angle), np.where(found > chance, angle, high)
        slope = _density(angle, n, 0.0) * survival.at(angle[:, None])[:, 0] / np.maximum(found, _TINY)
        step = angle - np.log(np.maximum(found, _TINY) / chance) / np.maximum(slope, _TINY)
        new = np.where((step > low) & (step < high), step, (low + high) / 2)
        done = np.abs(new - angle).max() < _SOLVED
        angle = new
        if done:
            break
    return angle


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where one look stands, for several alphas at once: what is carried to the next, and the level; each of shape (alphas,)."""

    survival: _Survival
    crossed: FloatArray
    spent: FloatArray
    level: FloatArray


@lru_cache(maxsize=4096)
def boundary(looks: tuple[int, ...], n_max: int, alphas: tuple[float, ...], family: int, complete: bool) -> Boundary:
    """The last of these looks, from the ones before it; `nominal_levels` says what the arguments are."""
    n = looks[-1]
    share = 1.0 if complete else min(1.0, n / n_max)
    spent = np.asarray(-np.expm1(np.log1p(-np.array(alphas) * share) / family), dtype=np.float64)
    if len(looks) == 1:
        return Boundary(_Survival(np.zeros(len(spent)), None), _angle_of(spent, n), spent, np.array(alphas) * share)
    before = boundary(looks[:-1], n_max, alphas, family, False)
    survival = _after(before.survival, before.crossed, looks[-2], n)
    crossed = _crossed_by(survival, n, spent - before.spent)
    return Boundary(survival, crossed, spent, np.asarray(-np.expm1(family * np.log1p(-_level_of(crossed, n))), dtype=np.float64))


def nominal_levels(
    looks: Sequence[int], n_max: int, alpha: float = 0.05, family: int = 1, *, complete: bool = True
) -> tuple[float, ...]:
    """Level of the one-sided p at every look, so that all looks together err at alpha.

    Parameters
    ----------
    looks
        Numbers of seeds, increasing. A line with failed seeds has its own.
    n_max
        Seeds of the plan: up to n of them alpha·n/n_max is spent.
    alpha
        One-sided error over all looks, below .5.
    family
        Lines tested together, whose adjusted p is compared: the level l = 1 − (1 − l₁)^m where l₁ spends
        1 − (1 − alpha·n/n_max)^{1/m} on a single line.
    complete
        Whether the last of `looks` is the last planned one; it then spends what is left.

    Returns
    -------
    tuple of float, one a look
        Exact for Normal differences to five digits and more, for a single line. For a family the rotation test's error at
        these levels is simulated in `bench/calibration.py`.

    Raises
    ------
    ValueError
        In one line, for looks, n_max, alpha or a family that cannot be.

    References
    ----------
    Jennison and Turnbull (1991), Exact calculations for sequential t, χ² and F tests, Biometrika 78, 133–141.

    Examples
    --------
    >>> [round(level, 6) for level in nominal_levels((5, 8, 12, 20), 20)]
    [0.0125, 0.010785, 0.015098, 0.028706]
    >>> [round(level, 6) for level in nominal_levels((5,), 5, family=3)]
    [0.05]
    """
    check_spending(looks, n_max, alpha, family)
    counts = tuple(int(n) for n in looks)
    prefixes = (counts[:k] for k in range(1, len(counts) + 1))
    return tuple(level_of_last(made, int(n_max), float(alpha), int(family), complete and made == counts) for made in prefixes)


def check_spending(looks: Sequence[int], n_max: int, alpha: float, family: int) -> None:
    """Refuse what no plan of looks can have, in one line."""
    check_looks(looks)
    if not is_whole(n_max) or n_max < looks[-1]:
        raise ValueError(f"Expected `n_max` as a whole number of at least the last look, {looks[-1]}, got {n_max!r}")
    if not is_number(alpha) or not 0.0 < alpha < 0.5:
        raise ValueError(f"Expected `alpha` in (0, 0.5), got {alpha!r}")
    if not is_whole(family) or family < 1:
        raise ValueError(f"Expected `family` as a whole number of at least 1 line, got {family!r}")


@lru_cache(maxsize=65536)
def level_of_last(looks: tuple[int, ...], n_max: int, alpha: float, family: int, complete: bool) -> float:
    """The last of `nominal_levels`, of arguments that are known to be fine."""
    return float(boundary(looks, n_max, (alpha,), family, complete).level[0])


def critical_value(n: int, level: float) -> float:
    """t of n − 1 degrees of freedom with this one-sided level.

    >>> round(critical_value(5, 0.00625), 4)
    4.3147
    """
    return -float(special.stdtrit(n - 1, level))


def crossing_probabilities(looks: Sequence[int], levels: Sequence[float], shift: float = 0.0) -> tuple[float, ...]:
    """Chance that a one-sided t-test at these levels rejects for the first time at each look, exact for Normal differences.

    Parameters
    ----------
    looks, levels
        Seeds and one-sided level of each look.
    shift
        True distance of the mean from the margin in standard deviations of a difference; at 0 the chances add up to the error.

    Examples
    --------
    >>> levels = nominal_levels((5, 8, 12, 20), 20)
    >>> round(sum(crossing_probabilities((5, 8, 12, 20), levels)), 5)
    0.05
    >>> [round(p, 3) for p in crossing_probabilities((5, 8, 12, 20), levels, 1.0)]
    [0.256, 0.28, 0.303, 0.152]
    """
    check_looks(looks)
    survival, found = _Survival(np.zeros(1), None), []
    crossed = np.zeros(1)
    for k, (n, level) in enumerate(zip(looks, levels, strict=True)):
        if k:
            survival = _after(survival, crossed, looks[k - 1], n)
        crossed = _angle_of(np.array([level]), n)
        found.append(float(_crossing(survival, crossed, n, shift)[0]))
    return tuple(found)
