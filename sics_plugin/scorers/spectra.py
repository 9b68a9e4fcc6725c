"""Lyapunov spectra of two chaotic maps, and indicators of one map's orbits, as tables a feature can look up.

A spectrum is the Lyapunov exponent λ of a one-parameter map over its parameter range, laid out over z in [0, 1]. Raw spectra keep
the periodic windows (complexity κ = 2), smoothed ones do not (κ = 1). Sums along a chaotic orbit differ between platforms
in the last digits and then everywhere, so the tables are shipped, checked against a digest, and only *regenerated* by

    python -m sics_plugin.scorers.spectra [--table orbits] --write PATH

which a test compares with the shipped file. The indicators lie in a table of their own, so that the digest of the spectra, which
enters stored keys, stays what it was.

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

#: What is read off an orbit of the logistic map: its largest value, its variance, largest less smallest value, and its mean.
INDICATORS = ("peak", "variance", "range", "mean")
#: Rows of the table of orbits: every indicator raw, then every one smoothed, for r = 3.5 + 0.5z.
ORBIT_ROWS = (*(f"orbit_{name}" for name in INDICATORS), *(f"smooth_orbit_{name}" for name in INDICATORS))
#: sha256 of that table's values, as above.
ORBITS_SHA256 = "9e9e7a57c072b31127e0de629d03f3ca23fab69888308ef264e3cc91d2b99e4d"


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


def orbit_indicators(r: Tensor, x0: float = 0.4) -> dict[str, Tensor]:
    """Peak, variance (ddof 0), range and mean of the orbits x → r·x·(1−x) from x0, each of shape (n,); steps as for λ.

    At r = 3.2 the orbit has period two: 0.5130 and 0.7995.

    >>> found = orbit_indicators(torch.tensor([3.2], dtype=torch.float64))
    >>> [round(float(found[name]), 3) for name in ("peak", "range", "mean")]
    [0.799, 0.286, 0.656]
    """
    x = torch.full_like(r, x0)
    high, low = torch.zeros_like(r), torch.ones_like(r)
    total, squares = torch.zeros_like(r), torch.zeros_like(r)
    for step in range(BURN_IN + STEPS):
        x = r * x * (1 - x)
        if step >= BURN_IN:
            high, low = torch.maximum(high, x), torch.minimum(low, x)
            total += x - 0.5
            squares += (x - 0.5) ** 2
    mean = total / STEPS
    return {"peak": high, "variance": squares / STEPS - mean**2, "range": high - low, "mean": mean + 0.5}


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


def oriented(spectrum: Tensor, z: Tensor) -> Tensor:
    """Standardised, with the sign that correlates positively with z."""
    spectrum = standardise(spectrum)
    return -spectrum if (spectrum * (z - z.mean())).sum() < 0 else spectrum


def compute_tables() -> Tensor:
    """All spectra from their definitions, shape (len(ROWS), GRID), float64. Takes about a second."""
    z = torch.linspace(0, 1, GRID, dtype=torch.float64)
    logistic = lyapunov_logistic(3.5 + 0.5 * z)
    mouse = lyapunov_mouse(-1 + 2 * z)
    logistic_smooth = oriented(smooth(logistic), z)
    wiggle = standardise(logistic_smooth + WIGGLE_AMPLITUDE * torch.sin(2 * math.pi * WIGGLE_CYCLES * z))
    return torch.stack([oriented(logistic, z), logistic_smooth, oriented(smooth(mouse), z), wiggle])


def compute_orbits() -> Tensor:
    """The table of orbits from its definition, shape (len(ORBIT_ROWS), GRID), float64; oriented and standardised."""
    z = torch.linspace(0, 1, GRID, dtype=torch.float64)
    found = orbit_indicators(3.5 + 0.5 * z)
    raw = [found[name] for name in INDICATORS]
    return torch.stack([oriented(row, z) for row in (*raw, *map(smooth, raw))])


def table_digest(table: np.ndarray) -> str:
    """The sha256 of the table's values, whatever container they came in."""
    return hashlib.sha256(np.ascontiguousarray(table, dtype="<f8").tobytes()).hexdigest()


#: The shipped tables: their file, digest, rows, and how they are computed.
TABLES = {
    "spectra": ("spectra.npy", TABLES_SHA256, ROWS, compute_tables),
    "orbits": ("orbits.npy", ORBITS_SHA256, ORBIT_ROWS, compute_orbits),
}


@lru_cache(maxsize=2)
def _shipped(table: str) -> Tensor:
    file, digest, _, _ = TABLES[table]
    values = np.load(io.BytesIO(resources.files("sics_plugin").joinpath("tables", file).read_bytes()), allow_pickle=False)
    if (found := table_digest(values)) != digest:
        raise RuntimeError(
            f"sics_plugin/tables/{file} is not the table this version was released with: expected sha256 "
            f"{digest[:12]}…, got {found[:12]}…; reinstall the package"
        )
    return torch.from_numpy(values.astype(np.float64))


@lru_cache(maxsize=16)
def _there(table: str, device: torch.device) -> Tensor:
    """A table on a device, brought there once."""
    return _shipped(table).to(device)


def lookup(name: str, z: Tensor) -> Tensor:
    """The row of that name (one of ``ROWS`` or ``ORBIT_ROWS``) at entry ⌊(GRID−1)·z⌋: as ``z`` in [0, 1] in shape, float64.

    >>> lookup("logistic_smooth", torch.tensor([0.0, 1.0])).shape
    torch.Size([2])
    """
    table, rows = ("spectra", ROWS) if name in ROWS else ("orbits", ORBIT_ROWS)
    return at(_there(table, z.device)[rows.index(name)], z)


def at(values: Tensor, z: Tensor) -> Tensor:
    """Values over the grid at entry ⌊(GRID−1)·z⌋, on the device of ``z``."""
    return values.to(z.device)[(z * (GRID - 1)).long()]


def main(argv: list[str] | None = None) -> None:
    """Recompute a table; print its digest and how far it is from the shipped one."""
    parser = argparse.ArgumentParser(prog="python -m sics_plugin.scorers.spectra", description=main.__doc__)
    parser.add_argument("--table", choices=tuple(TABLES), default="spectra", help="which one  [default: spectra]")
    parser.add_argument("--write", metavar="PATH", help="write the recomputed table there (.npy)")
    args = parser.parse_args(argv)
    _, _, rows, compute = TABLES[args.table]
    values = compute().numpy()
    print(f"sha256 {table_digest(values)}")
    if args.write:
        with open(args.write, "wb") as handle:  # noqa: PTH123  (np.save appends .npy to a bare path)
            np.save(handle, values.astype("<f8"))
    else:
        for name, here, shipped in zip(rows, values, _shipped(args.table).numpy(), strict=True):
            print(f"{name:22s} correlation with the shipped row {np.corrcoef(here, shipped)[0, 1]:.6f}")


if __name__ == "__main__":
    main()
