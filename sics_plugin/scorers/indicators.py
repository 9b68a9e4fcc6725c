"""Indicators of logistic-map orbits as features, and controls of other shapes. They run where they are asked for by name.

A public review of the paper's full text (Li & Li 2026, arXiv:2605.09345) says that its feature classes combine four to six
indicators of logistic-map orbits (peak, variance, range …), smoothed or raw, and names as controls a sine, Weierstrass's
function, random splines and powers of the magnitude. How z or ρ becomes r, how long the orbits are, and how they are smoothed it
does not say. *Our reading* is that of ``chaos``: r = 3.5 + 0.5z, x₀ = 0.4, 500 steps left out, the indicator over 1000, smoothing
by a Gaussian of σ = 0.05 in z, turned to rise with z, standardised.

κ is what the meter of complexity measures (docs/fusion.md). The peak of an orbit is r/4 wherever the orbit passes close to ½,
which it does outside narrow windows: it is monotone in r. As a function of ρ it is therefore the plateau; as a function of z it
is ``information`` in other words. So is the range, raw and smoothed, and the smoothed variance. Of the raw ones only the mean is
κ = 2, and barely: 3.1 to 5.1 % of it lies above 10 cycles on three networks, where 3 % make a feature raw and ``chaos`` has 13 to
16 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from sics_plugin.scorers import spectra
from sics_plugin.scorers.coordinate import percentile, ranks
from sics_plugin.scorers.registry import get_scorer, register_scorer
from sics_plugin.scorers.sics import CoordinateScorer, PoolScale, RankScorer, ScaledMagnitudeScorer
from sics_plugin.scorers.units import Units

WEIERSTRASS = (0.5, 7, 5)
SPLINE_PIECES = 9


class OrbitScorer(CoordinateScorer):
    """φ read off the orbits of the logistic map at r = 3.5 + 0.5z: the row of the shipped table that has the scorer's name."""

    on_request = True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return spectra.lookup(self.name, z)

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:  # noqa: D102
        return {**super().fingerprint(saliency_kind), "tables": spectra.ORBITS_SHA256}


@register_scorer
class OrbitPeak(OrbitScorer):
    """Largest value of the orbit; monotone in z, like ``information``. A control: it is r/4 but in narrow windows."""

    name, role, summary = "orbit_peak", "control", "ρ + α·peak of the orbit, r = 3.5+0.5z"


@register_scorer
class OrbitVariance(OrbitScorer):
    """Variance of the orbit; κ = 1: 1.5 to 2 % of it lies above 10 cycles."""

    name, kappa, summary = "orbit_variance", 1, "ρ + α·variance of the orbit, r = 3.5+0.5z"


@register_scorer
class OrbitRange(OrbitScorer):
    """Largest less smallest value of the orbit; monotone in z, like ``information``. A control."""

    name, role, summary = "orbit_range", "control", "ρ + α·range of the orbit, r = 3.5+0.5z"


@register_scorer
class OrbitMean(OrbitScorer):
    """Mean of the orbit, turned to rise with z; κ = 2, barely: 3 to 5 % of it lies above 10 cycles."""

    name, kappa, summary = "orbit_mean", 2, "ρ + α·mean of the orbit, r = 3.5+0.5z"


@register_scorer
class SmoothOrbitPeak(OrbitScorer):
    """``orbit_peak`` smoothed; monotone in z, like ``information``. A control."""

    name, role, summary = "smooth_orbit_peak", "control", "ρ + α·peak of the orbit, smoothed"


@register_scorer
class SmoothOrbitVariance(OrbitScorer):
    """``orbit_variance`` smoothed; monotone in z but for 0.2 % of it, like ``information``. A control."""

    name, role, summary = "smooth_orbit_variance", "control", "ρ + α·variance of the orbit, smoothed"


@register_scorer
class SmoothOrbitRange(OrbitScorer):
    """``orbit_range`` smoothed; monotone in z, like ``information``. A control."""

    name, role, summary = "smooth_orbit_range", "control", "ρ + α·range of the orbit, smoothed"


@register_scorer
class SmoothOrbitMean(OrbitScorer):
    """``orbit_mean`` smoothed; κ = 1: 1.7 % of it is not monotone in z."""

    name, kappa, summary = "smooth_orbit_mean", 1, "ρ + α·mean of the orbit, smoothed"


# --- controls that the paper is said to name; constants are ours --------------------------------------------------------
@register_scorer
class Sine(CoordinateScorer):
    """One cycle of a sine of z, standardised; κ = 1: non-monotone without chaos. The number of cycles is our reading."""

    name, kappa, summary, on_request = "sine", 1, "ρ + α·√2·sin(2πz)", True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return math.sqrt(2) * torch.sin(2 * math.pi * z.double())


@register_scorer
class Weierstrass(CoordinateScorer):
    """Weierstrass's function of z, standardised; κ = 2: rough without chaos.

    −Σ aᵏ·cos(bᵏπz), k = 0 … 4, which rises with z; a = ½ and b = 7 are our reading. Its mean over (0, 1) is 0, its variance
    Σ a²ᵏ/2.
    """

    name, kappa, summary, on_request = "weierstrass", 2, "ρ − α·Σ 2⁻ᵏ·cos(7ᵏπz), standardised", True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        a, b, terms = WEIERSTRASS
        total = torch.zeros_like(z, dtype=torch.float64)
        for k in range(terms):
            total -= a**k * torch.cos(b**k * math.pi * z.double())
        return total / math.sqrt(sum(a ** (2 * k) for k in range(terms)) / 2)


@lru_cache(maxsize=64)
def random_spline(seed: int) -> Tensor:
    """A cubic B-spline of nine pieces with uniform random coefficients over the grid of z; oriented and standardised.

    >>> curve = random_spline(0)
    >>> curve.shape, round(float(curve.std(correction=0)), 6)
    (torch.Size([4096]), 1.0)
    """
    coefficients = torch.rand(SPLINE_PIECES + 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = torch.linspace(0, 1, spectra.GRID, dtype=torch.float64)
    piece = (z * SPLINE_PIECES).long().clamp(max=SPLINE_PIECES - 1)
    u = z * SPLINE_PIECES - piece
    basis = (1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3
    return spectra.oriented(sum(b * coefficients[piece + i] for i, b in enumerate(basis)) / 6, z)  # type: ignore[arg-type]


@register_scorer
@dataclass(frozen=True)
class Spline(CoordinateScorer):
    """A random cubic spline of z from ``curve``, a seed; κ = 1: any smooth non-monotone shape. Nine pieces are our reading."""

    name, kappa, summary, on_request = "spline", 1, "ρ + α·random spline of z", True
    curve: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.curve, bool) or not isinstance(self.curve, int) or self.curve < 0:
            raise ValueError(f"Expected `curve` to be a seed, a whole number from 0 on, got {self.curve!r}")

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return spectra.at(random_spline(self.curve), z)


@register_scorer
@dataclass(frozen=True)
class MagnitudePower(ScaledMagnitudeScorer):
    """s = mᵖ, p the ``exponent``; κ = 0: every positive power of the magnitude is the plateau."""

    name, kappa, summary, on_request = "magnitude_power", 0, "mᵖ, p = ½ unless told", True
    needs_scale: ClassVar[bool] = True
    exponent: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.exponent < float("inf"):
            raise ValueError(f"Expected `exponent` to be finite and above 0, got {self.exponent!r}")

    def at(self, magnitude: Tensor, scale: PoolScale) -> Tensor:  # noqa: D102
        return (magnitude / scale.largest if scale.largest else magnitude) ** self.exponent


@register_scorer
@dataclass(frozen=True)
class RankIndicator(RankScorer):
    """An indicator of the magnitude rank ρ in the place of z, which the paper's text allows as well: magnitude alone. A control.

    ``of`` is any class built on z. Where its slope is less than that of ρ, its mask is magnitude's: ``orbit_peak`` always is.
    """

    name, role, summary, on_request = "rank_indicator", "control", "ρ + α·φ(ρ), φ the variance of the orbit unless told", True
    of: str = "orbit_variance"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not issubclass(get_scorer(self.of), CoordinateScorer):
            raise ValueError(f"Expected `of` to be a scorer built on z, got {self.of!r}")

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        rho = percentile(ranks(units.magnitude))
        indicator = get_scorer(self.of)()
        assert isinstance(indicator, CoordinateScorer)
        return rho + self.strength(units.saliency_kind) * indicator.feature(rho, sparsity)

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:  # noqa: D102
        return {**super().fingerprint(saliency_kind), "tables": get_scorer(self.of)().fingerprint()["tables"]}
