"""α·φ(z) of a unit from its magnitude bin and saliency, on an accelerator, as tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sics_plugin import device_pieces
from sics_plugin.cells import SALIENCY_CELLS, STEPS
from sics_plugin.device_bins import MagnitudeBins
from sics_plugin.device_pieces import pieces
from sics_plugin.pieces import stretches
from sics_plugin.stream import Part
from sics_plugin.threads import in_threads

#: Lower bits of a saliency's code, over which its cell is interpolated.
SALIENCY_SHIFT = 15


@dataclass(eq=False)
class SaliencyTable:
    """α·φ(z) by magnitude bin and saliency cell; counts at first."""

    cells: Tensor  # by upper bits: the first cell, times 2¹⁶, and how many there are
    entries: Tensor = field(init=False)
    by_step: Tensor = field(init=False)

    @classmethod
    def of(cls, parts: Sequence[Part], bins: MagnitudeBins, coarse: Tensor, device: torch.device) -> SaliencyTable:
        """Count the units of a pool, whose saliencies are counted by their upper bits."""
        # Cells evened out over the pool: piecewise linear between the upper bits, and monotone.
        total = coarse.cumsum(0)
        end = total * (SALIENCY_CELLS - 1) // max(1, bins.n)
        start = torch.cat([end.new_zeros(1), end[:-1]])
        table = cls(((start << 16) | (end - start)).int())
        if not table._count(parts, bins, torch.int16) and not table._count(parts, bins, torch.int32):
            raise OverflowError(f"Expected fewer than 2**32 equal saliencies in a bin of {bins.n} units")
        return table

    def _count(self, parts: Sequence[Part], bins: MagnitudeBins, dtype: torch.dtype) -> bool:
        """Count units in entries of a type, read as unsigned; False where one overflowed, as the total shows."""
        device = bins.cells.device
        self.entries = torch.zeros(bins.count * SALIENCY_CELLS, dtype=dtype, device=device)
        one, lock, found = torch.ones(device_pieces.PIECE, dtype=dtype, device=device), Lock(), stretches(parts)

        def step(i: int, begin: int, end: int) -> None:
            tally = bins.tally(i, begin)
            for piece in pieces(parts, i, begin, end, device, saliency=True):
                assert piece.saliency is not None
                bin_of, _ = bins.locate(piece.code, tally)
                place = self.place(bin_of, piece.saliency)
                with lock:  # whole numbers: the order of additions does not matter
                    self.entries.scatter_add_(0, place, one[: len(place)])

        in_threads(step, found)
        if device.type == "cpu":
            return int(self.entries.numpy().view(np.uint16 if dtype == torch.int16 else np.uint32).sum(dtype=np.int64)) == bins.n
        return int(torch.stack([self._row(b).sum() for b in range(bins.count)]).sum()) == bins.n

    def _row(self, b: int) -> Tensor:
        row = self.entries[b * SALIENCY_CELLS : (b + 1) * SALIENCY_CELLS]
        return row.long() & (0xFFFF if row.dtype == torch.int16 else 0xFFFFFFFF)

    def place(self, bin_of: Tensor, saliency: Tensor) -> Tensor:
        """Index of the unit's entry, int64."""
        code = sortable(saliency)
        found = self.cells.index_select(0, upper_bits(code))
        within = code.bitwise_and_((1 << SALIENCY_SHIFT) - 1).mul_(found & 0xFFFF).bitwise_right_shift_(SALIENCY_SHIFT)
        return within.add_(found.bitwise_right_shift_(16)).add_(bin_of, alpha=SALIENCY_CELLS).long()

    def become_scores(self, scaled: Callable[[Tensor], Tensor]) -> None:
        """Turn counts into steps of the midrank z of every cell, in the same memory; ``scaled`` gives α·φ of a z."""
        for b in range(len(self.entries) // SALIENCY_CELLS):
            counts = self._row(b).double()
            z = (counts.cumsum(0) - counts / 2) / counts.sum().clamp(min=1)
            row = self.entries[b * SALIENCY_CELLS : (b + 1) * SALIENCY_CELLS]
            row.copy_((z * STEPS).long().clamp(max=STEPS - 1) - STEPS // 2)
        z = (torch.arange(STEPS, dtype=torch.float64, device=self.entries.device) + 0.5) / STEPS
        self.by_step = scaled(z).float()

    def scores(self, bin_of: Tensor, saliency: Tensor) -> Tensor:
        """α·φ(z) of units, float32."""
        step = self.entries.index_select(0, self.place(bin_of, saliency)).int()
        return self.by_step.index_select(0, step.add_(STEPS // 2))


def sortable(saliency: Tensor) -> Tensor:
    """Floats as int32 in the same order; −0 is 0."""
    bits = (saliency + 0.0).view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def upper_bits(code: Tensor) -> Tensor:
    """By which saliencies are counted first: what is above :data:`SALIENCY_SHIFT` bits of their code, from 0."""
    return (code >> SALIENCY_SHIFT) + (1 << (31 - SALIENCY_SHIFT))
