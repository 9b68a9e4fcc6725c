"""All scorers of the project: one short class each, registered by name.

What a scorer is and how to add one is in :mod:`sics_plugin.scorers.registry`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sics_plugin.scorers import spectra
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.coordinate import coordinate, is_resolved, percentile, ranks
from sics_plugin.scorers.registry import register_scorer
from sics_plugin.scorers.units import Units

BUMP_WIDTH = 0.15
ALPHA_SUPPLIED = 0.15
ALPHA_DEFAULT = 0.05
COORDINATE_UNRESOLVED = "coordinate unresolved"


# --- κ = 0: strictly increasing functions of the magnitude ----------------------------------------------------------
class MagnitudeScorer(Scorer):
    """s = f(m) with f strictly increasing, evaluated in float64. Subclasses override :meth:`transform`."""

    kappa = 0

    @abstractmethod
    def transform(self, magnitude: Tensor) -> Tensor:
        """A strictly increasing f, float64 in and out, shape (n,)."""

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        return self.transform(units.magnitude.double())


@dataclass(frozen=True, slots=True)
class PoolScale:
    """The largest magnitude of a pool, and the root mean square of all of them relative to it (0 when all are zero)."""

    largest: float
    relative_rms: float


class ScaledMagnitudeScorer(MagnitudeScorer):
    """s = f(m; scale): its scores can be had for any of a pool's units without the others. Subclasses override :meth:`at`."""

    needs_scale: ClassVar[bool] = True

    @abstractmethod
    def at(self, magnitude: Tensor, scale: PoolScale) -> Tensor:
        """f of float64 magnitudes from a pool of that scale."""

    def transform(self, magnitude: Tensor) -> Tensor:  # noqa: D102
        largest = float(magnitude.max())
        # Scaled by the largest one first: squares of denormals would vanish.
        rms = float((magnitude / largest).square().mean().sqrt()) if largest and self.needs_scale else 0.0
        return self.at(magnitude, PoolScale(largest, rms))


@register_scorer
class Magnitude(ScaledMagnitudeScorer):
    """s = m. κ = 0, the plateau itself."""

    name, summary, needs_scale = "magnitude", "m", False

    def at(self, magnitude: Tensor, scale: PoolScale) -> Tensor:  # noqa: D102
        return magnitude


@register_scorer
class Power(ScaledMagnitudeScorer):
    """s = m². κ = 0."""

    name, summary = "power", "m²"

    def at(self, magnitude: Tensor, scale: PoolScale) -> Tensor:  # noqa: D102
        # float64 weights may be too large to square
        return (magnitude / scale.largest if scale.largest > 1e150 else magnitude) ** 2


@register_scorer
class Log(ScaledMagnitudeScorer):
    """s = log(1 + m/σ), σ the root mean square of m. κ = 0. When all are zero, s = m."""

    name, summary = "log", "log(1 + m/σ), σ = RMS of m"

    def at(self, magnitude: Tensor, scale: PoolScale) -> Tensor:  # noqa: D102
        if scale.largest == 0:
            return magnitude
        return torch.log1p((magnitude / scale.largest) / scale.relative_rms)


# --- scores built on the percentile ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class RankScorer(Scorer):
    """s = ρ + α·φ. ``alpha`` None means 0.15 with a supplied saliency and 0.05 without one."""

    ranked = True
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < float("inf"):
            raise ValueError(f"Expected `alpha` to be finite and not negative, got {self.alpha!r}")

    def strength(self, saliency_kind: str | None) -> float:
        """The α in force for a kind of saliency."""
        if self.alpha is not None:
            return float(self.alpha)
        return ALPHA_DEFAULT if saliency_kind in (None, "neighbourhood") else ALPHA_SUPPLIED

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:  # noqa: D102
        facts = super().fingerprint(saliency_kind)
        facts["parameters"]["alpha"] = self.strength(saliency_kind)
        return facts


class CoordinateScorer(RankScorer):
    """s = ρ + α·φ(z; S), z the percentile of the saliency among units of similar magnitude. Override :meth:`feature`."""

    @abstractmethod
    def feature(self, z: Tensor, sparsity: float) -> Tensor:
        """φ with mean 0 and variance 1 for z uniform on (0, 1); ``z`` float64 of shape (n,)."""

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        rank = ranks(units.magnitude)
        z = coordinate(units.coordinate_saliency(), rank)
        return percentile(rank) + self.strength(units.saliency_kind) * self.feature(z, sparsity)

    def flags(self, n: int) -> tuple[str, ...]:  # noqa: D102
        return () if is_resolved(n) else (COORDINATE_UNRESOLVED,)


def _normal_integral(centre: float, sigma: float) -> float:
    """∫₀¹ exp(−(z−centre)²/(2σ²)) dz."""
    scale = sigma * math.sqrt(2)
    return sigma * math.sqrt(math.pi / 2) * (math.erf((1 - centre) / scale) + math.erf(centre / scale))


def bump(z: Tensor, sparsity: float) -> Tensor:
    """Gaussian exp(−(z−S)²/(2·0.15²)), centred at the selection threshold, standardised by its mean and variance over (0, 1).

    >>> z = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    >>> phi = bump(z, sparsity=0.7)
    >>> round(abs(phi.mean().item()), 6), round(phi.std(correction=0).item(), 6), round(z[phi.argmax()].item(), 2)
    (0.0, 1.0, 0.7)
    """
    mean = _normal_integral(sparsity, BUMP_WIDTH)
    variance = _normal_integral(sparsity, BUMP_WIDTH / math.sqrt(2)) - mean**2
    bell = torch.exp(-((z.double() - sparsity) ** 2) / (2 * BUMP_WIDTH**2))
    return (bell - mean) / math.sqrt(variance)


@register_scorer
class Bump(CoordinateScorer):
    """Handcrafted Gaussian of z, centred at the selection threshold S; κ = 1."""

    name, kappa, summary = "bump", 1, "ρ + α·exp(−(z−S)²/(2·0.15²))"

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return bump(z, sparsity)


@register_scorer
class SmoothChaos(CoordinateScorer):
    """Smoothed Lyapunov spectrum of the logistic map; κ = 1 (Li & Li 2026, smoothed features)."""

    name, kappa, summary, spectra = "smooth_chaos", 1, "ρ + α·λ(r) smoothed, r = 3.5+0.5z, logistic map", True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return spectra.lookup("logistic_smooth", z)


@register_scorer
class SmoothMouse(CoordinateScorer):
    """Smoothed Lyapunov spectrum of the Gauss (mouse) map; κ = 1."""

    name, kappa, summary, spectra = "smooth_mouse", 1, "ρ + α·λ(β) smoothed, β = −1+2z, Gauss map", True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return spectra.lookup("mouse_smooth", z)


@register_scorer
class Chaos(CoordinateScorer):
    """Raw Lyapunov spectrum of the logistic map, periodic windows and all; κ = 2."""

    name, kappa, summary, spectra = "chaos", 2, "ρ + α·λ(r) raw, r = 3.5+0.5z, logistic map", True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return spectra.lookup("logistic", z)


@register_scorer
class Wiggle(CoordinateScorer):
    """``smooth_chaos`` with 40 cycles of a sine on top; κ = 2."""

    name, kappa, summary, spectra = "wiggle", 2, "ρ + α·(smooth_chaos + 0.5·sin(2π·40z))", True

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return spectra.lookup("wiggle", z)


# --- controls and baselines -----------------------------------------------------------------------------------------
@register_scorer
class Fake(RankScorer):
    """``bump`` evaluated at ρ instead of z: non-monotone, but a function of magnitude alone. A control.

    Non-monotone at the α = 0.15 of a supplied saliency. At the default α = 0.05 the slope of ρ outweighs the bump, and its mask
    is the magnitude mask.
    """

    name, role, summary = "fake", "control", "ρ + α·exp(−(ρ−S)²/(2·0.15²))"

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        rho = percentile(ranks(units.magnitude))
        return rho + self.strength(units.saliency_kind) * bump(rho, sparsity)


@register_scorer
class Information(CoordinateScorer):
    """φ = z: the same saliency, monotone in it. What a feature gains over this is due to its shape. A control."""

    name, role, summary = "information", "control", "ρ + α·√12·(z−½)"

    def feature(self, z: Tensor, sparsity: float) -> Tensor:  # noqa: D102
        return math.sqrt(12) * (z.double() - 0.5)


@register_scorer
class Gradient(Scorer):
    """s = m·c with c the gradient RMS. A baseline; needs gradient saliency and refuses others."""

    name, role, summary, requires = "gradient", "baseline", "m·c, c = gradient RMS", "gradient"

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        if units.saliency is None or units.saliency_kind != "gradient":
            got = "none" if units.saliency is None else f"{units.saliency_kind!r}"
            raise ValueError(
                f"scorer 'gradient' needs gradient saliency, got {got}: pass "
                "saliency=Saliency(model, batches, loss).vector(params), or "
                "SaliencyVector(tensor, kind='gradient') around a gradient RMS of your own"
            )
        return units.magnitude.double() * units.saliency.double()


@register_scorer
@dataclass(frozen=True)
class Random(Scorer):
    """Uniform random scores from ``seed``: the floor. A baseline. Drawn on the CPU, so the same on every device."""

    name, role, summary = "random", "baseline", "uniform, seeded"
    seed: int = 0

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        generator = torch.Generator().manual_seed(self.seed)
        draws = torch.rand(units.magnitude.numel(), generator=generator, dtype=torch.float64)
        return draws.to(units.magnitude.device)
