"""A score taken apart: what magnitude says, what the coordinate z says beyond it, and what neither says.

Everything is a mean over cells of units, kept apart for small groups of units that were dealt at random. Half of the groups
against the other half gives energies without the noise of the cells in them, and groups drawn with replacement the bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sics_plugin.complexity.curves import Floats, above_ten_cycles, coarser, isotonic, not_monotone

Ints = NDArray[np.int64]

#: Groups of units, half of them on either side of every product.
GROUPS = 64
#: Bins of z and strata of ρ at most, and the units a cell has on average at least.
Z_BINS, STRATA, UNITS_PER_CELL = 256, 16, 16
#: Bins of ρ for the part of magnitude, and bins of z for the isotonic fits (their cost grows with the square).
RHO_BINS, ISOTONIC_BINS = 128, 128
#: A departure, or a part of one, below this share is as good as none.
NEGLIGIBLE = 1e-4
#: Share of the departure that z must say before the form of what it says is looked at: noise has no form.
TOLD = 0.05
#: Units in a bin within which the score is brought to a straight line in ρ.
_LINE_UNITS, _LINE_BINS = 64, 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """Energies of a score's percentile, in units of its own variance."""

    bent: float  # of what magnitude alone says, what no increasing function can follow: Var(a − isotonic(a)), a(ρ) = E[u | ρ]
    saliency: float  # what z says within strata of ρ
    unexplained: float  # the rest: a function of neither, or finer than the cells
    not_monotone: float | None  # share of ``saliency`` that no monotone curve in z can follow; None where z says next to nothing
    above_ten_cycles: float | None  # share of it above 10 cycles

    @property
    def departure(self) -> float:
        """All that takes the score away from an increasing function of magnitude."""
        return self.bent + self.saliency + self.unexplained


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Sums of a score's percentile by group of units: ``curve`` over (stratum of ρ, bin of z), ``trend`` over bins of ρ."""

    curve_sum: Floats  # (2, groups / 2, strata, z bins)
    curve_count: Floats
    trend_sum: Floats  # (2, groups / 2, ρ bins)
    trend_count: Floats
    square: Floats  # (2, groups / 2): of the residual
    count: Floats
    variance: float

    def shape(self, weight: Floats) -> Shape:
        """Energies with group g of half h counted ``weight[h, g]`` times; weights of shape (2, groups / 2)."""
        means, count = _means(self.curve_sum, self.curve_count, weight)
        share = count.sum(axis=0) / max(count.sum(), 1.0)
        centred = means - (share * means).sum(axis=-1, keepdims=True) / np.maximum(share.sum(axis=-1, keepdims=True), 1e-300)
        saliency = float((share * centred[0] * centred[1]).sum())
        trend, _ = _means(self.trend_sum, self.trend_count, weight)
        residual = float((weight * self.square).sum() / max((weight * self.count).sum(), 1.0))
        known, bent_trend = max(saliency, 0.0), max(_energy(trend - isotonic(trend)), 0.0)
        parts = np.array([bent_trend, known, max(residual - known, 0.0)]) / (self.variance or 1.0)
        if parts.sum() < NEGLIGIBLE:  # rounding, and what a straight line leaves of a curve in ρ
            parts *= 0
        told = parts[1] > TOLD * parts.sum()
        form = _form(_filled(means, count)) if told else (None, None)
        return Shape(float(parts[0]), float(parts[1]), float(parts[2]), *form)

    @property
    def covered(self) -> float:
        """Share of the cells that hold units of both halves: equal saliencies leave bins of z empty."""
        return float((self.curve_count.sum(axis=1) > 0).all(axis=0).mean())


def _form(curves: Floats) -> tuple[float, float]:
    """Shares of the curves over z, shape (2, strata, z bins), that are not monotone and that lie above 10 cycles."""
    curves = curves - curves.mean(axis=-1, keepdims=True)
    z = np.linspace(-1, 1, curves.shape[-1])
    direction = np.where((curves.sum(axis=0) @ z) < 0, -1.0, 1.0)
    left = np.stack([not_monotone(half, direction) for half in coarser(curves, ISOTONIC_BINS)])
    whole = _energy(curves)
    return _share(_energy(left), whole), _share(_energy(above_ten_cycles(curves)), whole)


def _filled(curves: Floats, count: Floats) -> Floats:
    """The curves with straight lines across bins without units: where there is no z, there is no wiggle either."""
    filled = curves.copy()
    place = np.arange(curves.shape[-1])
    for at in np.argwhere((count == 0).any(axis=-1)):
        row, there = filled[tuple(at)], count[tuple(at)] > 0
        if there.any():
            row[:] = np.interp(place, place[there], row[there])
    return filled


def _means(total: Floats, count: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted means of the cells of either half, 0 where there are no units, and their counts; shape (2, ...)."""
    shape = total.shape[2:]
    sums = weight[:, None, :] @ total.reshape(*total.shape[:2], -1)  # one product for each half
    counts = weight[:, None, :] @ count.reshape(*count.shape[:2], -1)
    means = sums / np.maximum(counts, 1)
    return means.reshape(2, *shape), counts.reshape(2, *shape)


def _energy(halves: Floats) -> float:
    """Mean square without the noise, which the two halves do not share."""
    return float((halves[0] * halves[1]).mean())


def _share(part: float, whole: float) -> float:
    return float(np.clip(part / whole, 0.0, 1.0)) if whole > 0 else 0.0


def residual_of(u: Floats, rank: Ints) -> Floats:
    """``u`` less its straight line in ρ within fine bins of ρ, scaled for the degrees of freedom that took; shape (n,)."""
    n = u.size
    bins = max(1, min(_LINE_BINS, n // _LINE_UNITS))
    place = rank * bins // n
    x = rank.astype(np.float64)
    count = np.bincount(place, minlength=bins)
    mean_x = np.bincount(place, x, bins) / count
    mean_u = np.bincount(place, u, bins) / count
    dx, du = x - mean_x[place], u - mean_u[place]
    slope = np.bincount(place, dx * du, bins) / np.maximum(np.bincount(place, dx * dx, bins), 1e-300)
    return np.asarray((du - slope[place] * dx) * np.sqrt(n / max(n - 2 * bins, 1)))


def z_bins(n: int) -> int:
    """Bins of z for n units: 256, fewer where there are fewer than 16 units for each."""
    bins = Z_BINS
    while bins > 32 and n < UNITS_PER_CELL * bins:
        bins //= 2
    return bins


def cells_of(rank: Ints, z: Floats, bins: int, units: int = UNITS_PER_CELL, most: int = STRATA) -> tuple[Ints, int]:
    """The cell (stratum of ρ, bin of z) of every unit, and how many strata: ``most``, or as have ``units`` in a cell."""
    strata = int(np.clip(rank.size // (bins * units), 1, most))
    return (rank * strata // rank.size) * bins + np.minimum((z * bins).astype(np.int64), bins - 1), strata


def lay_out(u: Floats, rank: Ints, z: Floats, rng: np.random.Generator) -> Cells:
    """The percentile of a score, sorted into cells by rank and coordinate z; ``rng`` deals the units into groups."""
    n = u.size
    bins = z_bins(n)
    cell, strata = cells_of(rank, z, bins)
    # Dealt along the cells, so that every one has units of both halves.
    order = np.lexsort((rng.random(n), cell))
    group = np.empty(n, dtype=np.int64)
    group[order] = (np.arange(n) + rng.integers(GROUPS)) % GROUPS
    half = (2, GROUPS // 2)
    group = (group % 2) * half[1] + group // 2

    def sums(label: Ints, size: int, values: Floats | None) -> Floats:
        found = np.bincount(group * size + label, values, GROUPS * size)
        return found.reshape(*half, size).astype(np.float64)

    residual = residual_of(u, rank)
    cells, trend = strata * bins, max(1, min(RHO_BINS, n // 8))
    by_rho = rank * trend // n
    return Cells(
        sums(cell, cells, residual).reshape(*half, strata, bins),
        sums(cell, cells, None).reshape(*half, strata, bins),
        sums(by_rho, trend, u),
        sums(by_rho, trend, None),
        sums(np.zeros_like(rank), 1, residual**2)[..., 0],
        sums(np.zeros_like(rank), 1, None)[..., 0],
        float(u.var()),
    )


def draws(number: int, rng: np.random.Generator) -> Floats:
    """Bootstrap weights: how often each group is drawn, within its half; shape (number, 2, groups / 2)."""
    half = GROUPS // 2
    return rng.multinomial(half, np.full(half, 1 / half), size=(number, 2)).astype(np.float64)
