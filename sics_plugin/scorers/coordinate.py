"""Where a unit stands in its pool: the percentile ρ of its magnitude, and the coordinate z of its saliency.

``z`` is the percentile of the saliency *among units of similar magnitude*, so it carries what the saliency says beyond
magnitude. All results are float64 or int64 on the device of the input, and the same on every device.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Self

import torch
from torch import Tensor

_current: ContextVar[SharedRanks | None] = ContextVar("_current", default=None)


class SharedRanks:
    """Keeps ranks and coordinates between scorers while entered; may be entered any number of times.

    Parameters
    ----------
    limit : int
        How many results are kept, the latest asked for; each takes 8 bytes a unit, and as much for what it was computed from.

    Raises
    ------
    ValueError
        A limit below 1.

    Notes
    -----
    Masks are the same bits as without it. It concerns the thread (or task) that entered it.

    Examples
    --------
    >>> from sics_plugin import Saliency, compute_masks
    >>> model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    >>> with SharedRanks() as shared:
    ...     hashes = [compute_masks(model, name, amount=0.7)[1].mask_hash for name in ("bump", "chaos", "wiggle")]
    >>> shared.computed, shared.reused    # the ranks and the coordinate; each again for two scorers
    (2, 4)
    >>> hashes[1] == compute_masks(model, "chaos", amount=0.7)[1].mask_hash
    True
    """

    def __init__(self, limit: int = 256) -> None:
        if limit < 1:
            raise ValueError(f"Expected `limit` to be at least 1, got {limit!r}")
        self.limit = limit
        self.computed = self.reused = 0
        self._kept: OrderedDict[int, tuple[object, tuple[Tensor, ...], Tensor]] = OrderedDict()
        self._number = 0
        self._tokens: list[Token[SharedRanks | None]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _current.reset(self._tokens.pop())

    def result(self, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """The function's result, a tensor of the caller's own."""
        kind = function, *((a.shape, a.dtype, a.device) for a in arguments)
        for number, (other, values, found) in self._kept.items():
            if other == kind and all(map(torch.equal, values, arguments)):
                self._kept.move_to_end(number)
                self.reused += 1
                return found.clone()
        found = function(*arguments)
        self._number += 1
        self._kept[self._number] = kind, tuple(a.clone() for a in arguments), found.clone()
        self.computed += 1
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        return found


def keeper_in_force() -> SharedRanks | None:
    """The :class:`SharedRanks` that was entered last, if any."""
    return _current.get()


def shared(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """What the function gives, from the :class:`SharedRanks` in force if there is one."""
    keeper = _current.get()
    return function(*arguments) if keeper is None else keeper.result(function, *arguments)


MAX_BINS = 256
UNITS_PER_BIN = 256
NEIGHBOURHOOD = 65


def ranks(magnitude: Tensor) -> Tensor:
    """0-based rank of every unit by magnitude, equal magnitudes by position; shape (n,), int64.

    >>> ranks(torch.tensor([0.3, 0.1, 0.3, 0.2])).tolist()
    [2, 0, 3, 1]
    """
    return shared(_ranks, magnitude)


def _ranks(magnitude: Tensor) -> Tensor:
    order = torch.argsort(magnitude, stable=True)
    result = torch.empty_like(order)
    result[order] = torch.arange(order.numel(), device=order.device)
    return result


def percentile(rank: Tensor) -> Tensor:
    """ρ = (rank + 0.5)/n, strictly between 0 and 1; shape (n,), float64.

    >>> percentile(torch.tensor([2, 0, 3, 1])).tolist()
    [0.625, 0.125, 0.875, 0.375]
    """
    return (rank.double() + 0.5) / rank.numel()


def bin_count(n: int) -> int:
    """Magnitude bins for n units.

    >>> bin_count(100), bin_count(1000), bin_count(10**6)
    (1, 3, 256)
    """
    return max(1, min(MAX_BINS, n // UNITS_PER_BIN))


def is_resolved(n: int) -> bool:
    """Whether n units are enough for z to be close to independent of ρ: two full bins.

    In a single bin z is the percentile of the saliency among all units, which follows ρ as far as the saliency does.
    """
    return n >= 2 * UNITS_PER_BIN


def coordinate(saliency: Tensor, rank: Tensor) -> Tensor:
    """Coordinate z: the percentile of a finite saliency inside the unit's magnitude bin, by its rank; shape (n,), float64.

    The bin of a unit is ⌊rank·B/n⌋; z = (midrank of the saliency inside the bin + 0.5)/bin size. Equal saliencies of one bin get
    equal z.

    >>> coordinate(torch.tensor([5.0, 1.0, 5.0, 9.0]), torch.tensor([0, 1, 2, 3])).tolist()
    [0.5, 0.125, 0.5, 0.875]
    """
    return shared(_coordinate, saliency, rank)


def _coordinate(saliency: Tensor, rank: Tensor) -> Tensor:
    n = saliency.numel()
    bins = bin_count(n)
    # Sorting by two keys: by saliency first, then stably by bin.
    by_saliency = torch.argsort(saliency, stable=True)
    unit_bin = rank[by_saliency] * bins // n
    by_bin = torch.argsort(unit_bin, stable=True)
    order, unit_bin, ordered = by_saliency[by_bin], unit_bin[by_bin], saliency[by_saliency[by_bin]]

    new_run = torch.ones(n, dtype=torch.bool, device=saliency.device)
    new_run[1:] = (ordered[1:] != ordered[:-1]) | (unit_bin[1:] != unit_bin[:-1])
    start = new_run.nonzero().squeeze(1)
    end = torch.cat([start[1:], torch.full_like(start[:1], n)]) - 1
    midrank = ((start + end).double() / 2)[new_run.cumsum(0) - 1]

    edges = (torch.arange(bins + 1, device=saliency.device) * n + bins - 1) // bins  # first rank of every bin
    first, size = edges[unit_bin], (edges[1:] - edges[:-1])[unit_bin]
    z = torch.empty(n, dtype=torch.float64, device=saliency.device)
    z[order] = (midrank - first + 0.5) / size
    return z


def neighbourhood(magnitude: Tensor) -> Tensor:
    """Mean magnitude over the 65 consecutive units around and including each one, fewer at the ends; shape (n,), float64.

    Built from shifted additions in a fixed order, so that every device gives the same bits.

    >>> neighbourhood(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [2.0, 2.0, 2.0]
    """
    n, radius = magnitude.numel(), NEIGHBOURHOOD // 2
    # total[i] is the sum of the padded values i … i+width−1; the width doubles up to 64, then one more value is added.
    padded = torch.nn.functional.pad(magnitude.double(), (radius, radius))
    total, width = padded, 1
    while 2 * width <= NEIGHBOURHOOD:
        total = total[: total.numel() - width] + total[width:]
        width *= 2
    total = total[:n] + padded[NEIGHBOURHOOD - 1 : NEIGHBOURHOOD - 1 + n]
    position = torch.arange(n, device=magnitude.device)
    count = (position + radius).clamp(max=n - 1) - (position - radius).clamp(min=0) + 1
    return total / count
