"""The features φ: pure functions of the coordinate z (and the sparsity S), one a class, each with its complexity κ.

Every φ has mean 0 and variance 1 for z uniform on (0, 1), so that one strength α means the same for all of them.
``z`` may have any shape; the result has the same shape, in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sics_plugin.scorers import spectra

BUMP_WIDTH = 0.15


def _normal_integral(centre: float, sigma: float) -> float:
    """∫₀¹ exp(−(z−centre)²/(2σ²)) dz."""
    scale = sigma * math.sqrt(2)
    return sigma * math.sqrt(math.pi / 2) * (math.erf((1 - centre) / scale) + math.erf(centre / scale))


def bump(z: Tensor, sparsity: float, width: float = BUMP_WIDTH) -> Tensor:
    """Handcrafted Gaussian exp(−(z−S)²/(2·width²)), centred at the selection threshold. κ = 1.

    Standardised by its exact mean and variance over (0, 1).

    Examples
    --------
    >>> z = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    >>> phi = bump(z, sparsity=0.7)
    >>> round(abs(phi.mean().item()), 6), round(phi.std(correction=0).item(), 6), round(z[phi.argmax()].item(), 2)
    (0.0, 1.0, 0.7)
    """
    mean = _normal_integral(sparsity, width)
    variance = _normal_integral(sparsity, width / math.sqrt(2)) - mean**2
    bell = torch.exp(-((z.double() - sparsity) ** 2) / (2 * width**2))
    return (bell - mean) / math.sqrt(variance)


def smooth_chaos(z: Tensor, sparsity: float) -> Tensor:
    """Smoothed Lyapunov spectrum of the logistic map. κ = 1."""
    return spectra.logistic_spectrum(smooth=True).lookup(z)


def smooth_mouse(z: Tensor, sparsity: float) -> Tensor:
    """Smoothed Lyapunov spectrum of the Gauss map. κ = 1."""
    return spectra.mouse_spectrum().lookup(z)


def raw_chaos(z: Tensor, sparsity: float) -> Tensor:
    """Raw Lyapunov spectrum of the logistic map, periodic windows and all. κ = 2."""
    return spectra.logistic_spectrum(smooth=False).lookup(z)


def wiggle(z: Tensor, sparsity: float) -> Tensor:
    """``smooth_chaos`` + 0.5·sin(2π·40z), standardised again. κ = 2."""
    return spectra.wiggle_spectrum().lookup(z)


def information(z: Tensor, sparsity: float) -> Tensor:
    """The coordinate itself, √12·(z − ½): monotone in the saliency, so it has no κ. A control.

    Examples
    --------
    >>> information(torch.tensor([0.0, 0.5, 1.0]), sparsity=0.7).tolist()
    [-1.7320508075688772, 0.0, 1.7320508075688772]
    """
    return math.sqrt(12) * (z.double() - 0.5)
