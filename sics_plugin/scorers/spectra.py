"""Lyapunov spectra of two chaotic maps, as tables a feature can look up.

A spectrum is the Lyapunov exponent λ of a one-parameter map over its parameter range, laid out over z in [0, 1]. Raw spectra keep
the periodic windows (complexity κ = 2), smoothed ones do not (κ = 1). Sums along a chaotic orbit differ between platforms
in the last digits and then everywhere, so the tables are shipped, checked against a digest, and only *regenerated* by

    python -m sics_plugin.scorers.spectra --write PATH

which a test compares with the shipped file.

References
----------
May, R. M. (1976). Simple mathematical models with very complicated dynamics. Nature 261.
Hilborn, R. C. (2000). Chaos and Nonlinear Dynamics, 2nd ed., on the Gauss ("mouse") map.
Li & Li (2026). Selection Plateau and a Sparsity-Dependent Hierarchy of Pruning Features. arXiv:2605.09345.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
from functools import lru_cache
from importlib import resources

import numpy as np
import torch
from torch import Tensor

GRID = 4096
BURN_IN = 500
STEPS = 1000
FLOOR = 1e-12
CLIP = (-2.0, math.log(2.0))
SMOOTHING_SIGMA = 0.05
WIGGLE_AMPLITUDE = 0.5
WIGGLE_CYCLES = 40

#: Rows of the shipped table, in order: λ of the logistic map for r = 3.5 + 0.5z, raw with all its periodic windows and smoothed;
#: smoothed λ of the Gauss map for β = −1 + 2z; the smoothed logistic one with 40 cycles of a sine on top, standardised again.
ROWS = ("logistic", "logistic_smooth", "mouse_smooth", "wiggle")

#: sha256 of the shipped table's values (little-endian float64, C order); part of every cell key that used a table.
TABLES_SHA256 = "6327751ad7a318638b6f8267e574eb2f4fd097605b6a3457fe1309d9e49594ab"


def lyapunov_logistic(r: Tensor, x0: float = 0.4) -> Tensor:
    """Lyapunov exponent of x → r·x·(1−x) from x0 in (0, 1) for 0 ≤ r ≤ 4, in nats a step, clipped to [−2, ln 2]; shape (n,).

    At r = 4 it is ln 2; at r = 3.2 the orbit has period two and it is negative.

    >>> lam = lyapunov_logistic(torch.tensor([3.2, 4.0], dtype=torch.float64))
    >>> bool(lam[0] < 0), round(float(lam[1]), 2)
    (True, 0.69)
    """
    x = torch.full_like(r, x0)
    total = torch.zeros_like(r)
    for step in range(BURN_IN + STEPS):
        if step >= BURN_IN:
            total += (r * (1 - 2 * x)).abs().clamp_min(FLOOR).log()
        x = r * x * (1 - x)
    return (total / STEPS).clamp(*CLIP)


def lyapunov_mouse(beta: Tensor, x0: float = 0.1, width: float = 6.2) -> Tensor:
    """Lyapunov exponent of the Gauss ("mouse") map x → exp(−width·x²) + β, β usually in [−1, 1]; clipped as the logistic one.

    >>> lyapunov_mouse(torch.tensor([1.0], dtype=torch.float64)).item() < 0    # a stable fixed point
    True
    """
    x = torch.full_like(beta, x0)
    total = torch.zeros_like(beta)
    for step in range(BURN_IN + STEPS):
        bell = torch.exp(-width * x * x)
        if step >= BURN_IN:
            total += (2 * width * x * bell).abs().clamp_min(FLOOR).log()
        x = bell + beta
    return (total / STEPS).clamp(*CLIP)


def smooth(values: Tensor, sigma: float = SMOOTHING_SIGMA) -> Tensor:
    """Gaussian smoothing over a grid on [0, 1], cut at 3σ, edge values replicated.

    >>> smooth(torch.ones(100, dtype=torch.float64)).std().item() < 1e-12
    True
    """
    step = 1.0 / (values.numel() - 1)
    radius = round(3 * sigma / step)
    offsets = torch.arange(-radius, radius + 1, dtype=values.dtype) * step
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    padded = torch.cat([values[:1].expand(radius), values, values[-1:].expand(radius)])
    return torch.nn.functional.conv1d(padded[None, None], kernel[None, None])[0, 0]


def standardise(values: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 (ddof 0) over the grid.

    >>> standardise(torch.tensor([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    return (values - values.mean()) / values.std(correction=0)


def _oriented(spectrum: Tensor, z: Tensor) -> Tensor:
    """Standardised, with the sign that correlates positively with z."""
    spectrum = standardise(spectrum)
    return -spectrum if (spectrum * (z - z.mean())).sum() < 0 else spectrum


def compute_tables() -> Tensor:
    """All spectra from their definitions, shape (len(ROWS), GRID), float64. Takes about a second."""
    z = torch.linspace(0, 1, GRID, dtype=torch.float64)
    logistic = lyapunov_logistic(3.5 + 0.5 * z)
    mouse = lyapunov_mouse(-1 + 2 * z)
    logistic_smooth = _oriented(smooth(logistic), z)
    wiggle = standardise(logistic_smooth + WIGGLE_AMPLITUDE * torch.sin(2 * math.pi * WIGGLE_CYCLES * z))
    return torch.stack([_oriented(logistic, z), logistic_smooth, _oriented(smooth(mouse), z), wiggle])


def table_digest(table: np.ndarray) -> str:
    """The sha256 of the table's values, whatever container they came in."""
    return hashlib.sha256(np.ascontiguousarray(table, dtype="<f8").tobytes()).hexdigest()


@lru_cache(maxsize=1)
def _shipped() -> Tensor:
    raw = resources.files("sics_plugin").joinpath("tables/spectra.npy").read_bytes()
    table = np.load(io.BytesIO(raw), allow_pickle=False)
    if (found := table_digest(table)) != TABLES_SHA256:
        raise RuntimeError(
            f"sics_plugin/tables/spectra.npy is not the table this version was released with: expected sha256 "
            f"{TABLES_SHA256[:12]}…, got {found[:12]}…; reinstall the package"
        )
    return torch.from_numpy(table.astype(np.float64))


def lookup(name: str, z: Tensor) -> Tensor:
    """The spectrum of that name (one of ``ROWS``) at entry ⌊(GRID−1)·z⌋: same shape and device as ``z`` in [0, 1], float64.

    >>> lookup("logistic_smooth", torch.tensor([0.0, 1.0])).shape
    torch.Size([2])
    """
    return _shipped()[ROWS.index(name)].to(z.device)[(z * (GRID - 1)).long()]


def main(argv: list[str] | None = None) -> None:
    """Recompute the tables; print their digest and how far they are from the shipped ones."""
    parser = argparse.ArgumentParser(prog="python -m sics_plugin.scorers.spectra", description=main.__doc__)
    parser.add_argument("--write", metavar="PATH", help="write the recomputed tables there (.npy)")
    args = parser.parse_args(argv)
    tables = compute_tables().numpy()
    print(f"sha256 {table_digest(tables)}")
    if args.write:
        with open(args.write, "wb") as handle:  # noqa: PTH123  (np.save appends .npy to a bare path)
            np.save(handle, tables.astype("<f8"))
    else:
        for name, here, shipped in zip(ROWS, tables, _shipped().numpy(), strict=True):
            print(f"{name:16s} correlation with the shipped row {np.corrcoef(here, shipped)[0, 1]:.6f}")


if __name__ == "__main__":
    main()
