"""Whether what neither magnitude nor saliency explains goes with a unit's layer, row, column or place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sics_plugin.complexity.curves import Floats
from sics_plugin.complexity.decomposition import Ints, cells_of, z_bins
from sics_plugin.network.targets import Target

#: Consecutive units that count as one place.
_PLACE = 64


def labels_of(targets: Sequence[Target]) -> dict[str, Ints]:
    """Layer, row (along the first dimension) and column (along the second) of every unit still there, each its own number."""
    labels: dict[str, list[torch.Tensor]] = {"layer": [], "row": [], "column": []}
    row_base = column_base = 0
    for i, target in enumerate(targets):
        shape = target.parameter.shape
        index = torch.arange(target.parameter.numel()).view(shape)
        inner = index[0].numel() if len(shape) > 1 else 1
        second = shape[1] if len(shape) > 1 else 1
        row = index // inner
        column = (index % inner) // (inner // second)
        mask = target.shared_mask
        for name, label in (("layer", torch.full(shape, i)), ("row", row + row_base), ("column", column + column_base)):
            labels[name].append(label.reshape(-1) if mask is None else label.reshape(-1)[(mask != 0).reshape(-1).cpu()])
        row_base, column_base = row_base + shape[0], column_base + second
    return {name: torch.cat(found).numpy() for name, found in labels.items()}


def largest_share(
    residual: Floats, rank: Ints, z: Floats, labels: Mapping[str, Ints], rng: np.random.Generator
) -> tuple[float, str]:
    """The largest share that one labelling explains of a residual without its curves over z; and which.

    Two halves of the units are dealt at random within each label: a product of their means has no noise in it.

    >>> rng = np.random.default_rng(0)
    >>> n = 8192
    >>> rows = rng.integers(128, size=n)
    >>> residual = rng.normal(size=n) + rng.normal(size=128)[rows]
    >>> share, name = largest_share(residual, rng.permutation(n), rng.random(n), {"row": rows}, rng)
    >>> name, bool(0.4 < share < 0.6)
    ('row', True)
    """
    n = residual.size
    cell, _ = cells_of(rank, z, z_bins(n))
    left = residual - (np.bincount(cell, residual) / np.maximum(np.bincount(cell), 1))[cell]
    variance = float(left @ left) / n
    if variance <= 1e-12:
        return 0.0, ""
    shares = {name: _share(left, label, rng) / variance for name, label in labels.items()}
    shares["place"] = _share(left, np.arange(n) // _PLACE, rng) / variance
    best = max(shares, key=lambda name: shares[name])
    return max(0.0, min(1.0, shares[best])), best


def _share(values: Floats, label: Ints, rng: np.random.Generator) -> float:
    """Mean square of the labels' means, without noise."""
    order = np.lexsort((rng.random(values.size), label))
    half = np.empty(values.size, dtype=np.int64)
    half[order] = np.arange(values.size) % 2
    size = int(label.max()) + 1
    key = label * 2 + half
    count = np.bincount(key, minlength=2 * size).reshape(size, 2)
    mean = np.bincount(key, values, 2 * size).reshape(size, 2) / np.maximum(count, 1)
    return float((count.sum(axis=1) * mean[:, 0] * mean[:, 1]).sum()) / values.size
