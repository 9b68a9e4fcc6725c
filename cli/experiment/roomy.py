"""Memory for buffers that are used again at every step: few large pages instead of thousands of small ones.

A training step of the compact form walks through some 20 MB: more pages of 4 KiB than a core remembers the places of.
"""

from __future__ import annotations

import math
import mmap

import torch

#: Size of a large page on x86 and most ARM systems; elsewhere it only wastes a little.
_PAGE = 2 << 20
_REGION = 8 * _PAGE
_LINE = 64


class Room:
    """Hands out tensors from large regions, each aligned to a cache line; a region is freed with the last of its tensors.

    Examples
    --------
    >>> room = Room()
    >>> one, two = room.zeros(3, 5), room.zeros(2, dtype=torch.float64)
    >>> one.shape, two.tolist(), (two.data_ptr() - one.data_ptr()) % 64
    (torch.Size([3, 5]), [0.0, 0.0], 0)
    """

    def __init__(self) -> None:
        self._region = torch.empty(0, dtype=torch.uint8)

    def zeros(self, *size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A tensor of this size, contiguous, all zeros."""
        count = math.prod(size) * dtype.itemsize
        needed = -(-count // _LINE) * _LINE
        if needed > len(self._region):
            self._region = _mapped(max(_REGION, -(-needed // _PAGE) * _PAGE))
        taken, self._region = self._region[:count], self._region[needed:]
        return taken.view(dtype).view(size)


def _mapped(size: int) -> torch.Tensor:
    """Fresh memory of `size` bytes beginning at a large page, which the system is asked to use for it."""
    try:
        region = mmap.mmap(-1, size + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory has small pages
        region.madvise(mmap.MADV_HUGEPAGE)
    except (AttributeError, OSError):  # a system without large pages, or without the question
        region = mmap.mmap(-1, size + _PAGE)
    whole = torch.frombuffer(region, dtype=torch.uint8)
    return whole[-whole.data_ptr() % _PAGE :][:size]
