"""The definitions of design §3 a second time, in plain Python and numpy, written from the page and not from the package.

Slow loops on purpose: nothing here is shared with what it checks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

GRID = 4096


def ranks(magnitude: Sequence[float]) -> list[int]:
    """0-based rank by magnitude, ties by position."""
    order = sorted(range(len(magnitude)), key=lambda i: (magnitude[i], i))
    result = [0] * len(magnitude)
    for position, unit in enumerate(order):
        result[unit] = position
    return result


def percentile(magnitude: Sequence[float]) -> np.ndarray:
    """ρ = (rank + 0.5)/n."""
    n = len(magnitude)
    return np.array([(r + 0.5) / n for r in ranks(magnitude)])


def coordinate(saliency: Sequence[float], magnitude: Sequence[float]) -> np.ndarray:
    """z = (midrank of c inside the bin + 0.5)/bin size, bin = ⌊rank·B/n⌋, B = max(1, min(256, n // 256))."""
    n = len(magnitude)
    rank = ranks(magnitude)
    bins = max(1, min(256, n // 256))
    members: dict[int, list[int]] = {}
    for unit in range(n):
        members.setdefault(rank[unit] * bins // n, []).append(unit)
    z = np.empty(n)
    for units in members.values():
        values = np.array([saliency[u] for u in units])
        for unit in units:
            below = int((values < saliency[unit]).sum())
            equal = int((values == saliency[unit]).sum())
            z[unit] = (below + (equal - 1) / 2 + 0.5) / len(units)
    return z


def neighbourhood(magnitude: Sequence[float]) -> np.ndarray:
    """Mean magnitude of the 65 consecutive units around and including this one, fewer at the ends."""
    n = len(magnitude)
    return np.array([math.fsum(magnitude[max(0, i - 32) : i + 33]) / len(magnitude[max(0, i - 32) : i + 33]) for i in range(n)])


def lyapunov_logistic(r: float) -> float:
    """500 steps burn-in, mean of log max(|f′|, 1e-12) over 1000, x₀ = 0.4, clipped to [−2, ln 2]."""
    x, total = 0.4, 0.0
    for step in range(1500):
        if step >= 500:
            total += math.log(max(abs(r * (1 - 2 * x)), 1e-12))
        x = r * x * (1 - x)
    return min(max(total / 1000, -2.0), math.log(2))


def lyapunov_mouse(beta: float) -> float:
    """The same for x → exp(−6.2x²) + β, x₀ = 0.1."""
    x, total = 0.1, 0.0
    for step in range(1500):
        if step >= 500:
            total += math.log(max(abs(-12.4 * x * math.exp(-6.2 * x * x)), 1e-12))
        x = math.exp(-6.2 * x * x) + beta
    return min(max(total / 1000, -2.0), math.log(2))


def smoothed(row: np.ndarray) -> np.ndarray:
    """Gaussian of σ = 0.05 in z, cut at 3σ, edge value replicated."""
    step = 1 / (GRID - 1)
    radius = round(0.15 / step)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) * step / 0.05) ** 2)
    return np.convolve(np.pad(row, radius, mode="edge"), kernel / kernel.sum(), mode="valid")


def standardised(row: np.ndarray) -> np.ndarray:
    return (row - row.mean()) / row.std()


def shipped_tables() -> dict[str, np.ndarray]:
    """The file itself, read without the package's loader."""
    import sics_plugin

    rows = np.load(Path(sics_plugin.__file__).parent / "tables" / "spectra.npy")
    return dict(zip(("chaos", "smooth_chaos", "smooth_mouse", "wiggle"), rows, strict=True))


def bump(z: np.ndarray, centre: float) -> np.ndarray:
    """exp(−(z−S)²/(2·0.15²)) standardised over z uniform on (0, 1), by a fine midpoint rule."""
    grid = (np.arange(400_000) + 0.5) / 400_000
    curve = np.exp(-((grid - centre) ** 2) / (2 * 0.15**2))
    return (np.exp(-((z - centre) ** 2) / (2 * 0.15**2)) - curve.mean()) / curve.std()


def feature(name: str, z: np.ndarray, sparsity: float) -> np.ndarray:
    if name == "bump":
        return bump(z, sparsity)
    if name == "information":
        return (z - 0.5) / math.sqrt(1 / 12)
    return shipped_tables()[name][np.floor(4095 * z).astype(int)]


def scores(
    name: str,
    magnitude: Sequence[float],
    saliency: Sequence[float] | None,
    sparsity: float,
    alpha: float | None = None,
) -> np.ndarray:
    """s of every class that does not draw random numbers; a supplied saliency means α = 0.15, none 0.05."""
    m = [float(v) for v in magnitude]
    if name == "adaptive":
        name = "magnitude" if saliency is None or sparsity < 0.65 else "smooth_chaos" if sparsity <= 0.75 else "chaos"
    if name == "magnitude":
        return np.array(m)
    if name == "power":
        return np.array([v * v for v in m])
    if name == "log":
        sigma = math.sqrt(math.fsum(v * v for v in m) / len(m))
        return np.array(m if sigma == 0 else [math.log1p(v / sigma) for v in m])
    if name == "gradient":
        assert saliency is not None
        return np.array([a * float(b) for a, b in zip(m, saliency, strict=True)])
    if alpha is None:
        alpha = 0.05 if saliency is None else 0.15
    rho = percentile(m)
    if name == "fake":
        return rho + alpha * bump(rho, sparsity)
    c = neighbourhood(m) if saliency is None else [float(v) for v in saliency]
    return rho + alpha * feature(name, coordinate(c, m), sparsity)


def removed(score: Sequence[float], magnitude: Sequence[float], k: int) -> set[int]:
    """The k lowest scores; ties by lower magnitude, then the earlier position."""
    return set(sorted(range(len(score)), key=lambda i: (score[i], magnitude[i], i))[:k])


def keep(
    name: str,
    magnitude: Sequence[float],
    amount: float | int,
    saliency: Sequence[float] | None = None,
    *,
    sparsity: float | None = None,
    alpha: float | None = None,
) -> np.ndarray:
    """The mask (True = kept) of a whole method on one vector."""
    n = len(magnitude)
    k = amount if isinstance(amount, int) else round(amount * n)
    score = scores(name, magnitude, saliency, k / n if sparsity is None else sparsity, alpha)
    gone = removed(list(score), list(magnitude), k)
    return np.array([i not in gone for i in range(n)])
