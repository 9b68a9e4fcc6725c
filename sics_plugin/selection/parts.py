"""Walking over the units of a pool in pieces that fit a processor's cache; tensors are never concatenated.

Magnitudes are compared as *codes*: the bits of a non-negative IEEE number, read as an integer, are in the order of the numbers.
A unit that an earlier prune took has the code ``ABSENT``, below every other, so that "lowest first" meets it first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

#: Units one thread takes at a time. No result depends on it.
SPAN = 5 << 18
ABSENT = -1


@dataclass(frozen=True)
class Part:
    """One tensor of a pool: weights, or scores that stand for them, of any shape; never written.

    ``mask``, of the same shape, is zero where an earlier prune took the unit. ``saliency`` gives that of the units still there, a
    vector in their order, when it is needed.
    """

    values: Tensor
    mask: Tensor | None = None
    saliency: Callable[[], Tensor] | None = None

    @property
    def numel(self) -> int:
        """Units, those that are gone included."""
        return self.values.numel()

    @cached_property
    def present(self) -> int:
        """Units still there."""
        return self.numel if self.mask is None else int(torch.count_nonzero(self.mask))

    def flat(self) -> Tensor:
        """The values as a vector: a view of contiguous ones, a copy of others."""
        return self.values.detach().as_subclass(Tensor).reshape(-1)

    def gone(self) -> Tensor | None:
        """True where an earlier prune took the unit, a vector on the values' device; None where nothing is gone."""
        return None if self.mask is None else (self.mask.detach().reshape(-1) == 0).to(self.values.device)


def code_type(parts: Sequence[Part]) -> torch.dtype:
    """int64 (the bits of float64) where the pool holds a float64 tensor, else int32 (those of float32)."""
    return torch.int64 if any(p.values.dtype == torch.float64 for p in parts) else torch.int32


def infinity(dtype: torch.dtype) -> int:
    """The code of infinity: those of finite numbers are below, those of NaN above."""
    return 0x7F800000 if dtype == torch.int32 else 0x7FF0000000000000


def codes_of(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Codes of a vector: the bits of its magnitudes in float32 (or float64), as integers of ``dtype``; on any device.

    >>> codes_of(torch.tensor([-1.0, 0.5, -0.0]), torch.int32).tolist()
    [1065353216, 1056964608, 0]
    """
    number = torch.float32 if dtype == torch.int32 else torch.float64
    return values.to(number).view(dtype) & torch.iinfo(dtype).max


def magnitude_of_code(code: Tensor) -> Tensor:
    """The magnitudes again, float32 or float64.

    >>> magnitude_of_code(torch.tensor([1065353216], dtype=torch.int32)).item()
    1.0
    """
    return code.view(torch.float32 if code.dtype == torch.int32 else torch.float64)


def device_chunks(part: Part, dtype: torch.dtype, size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first position, codes) of every piece of a part, on its own device."""
    flat, gone = part.flat(), part.gone()
    for start in range(0, flat.numel(), size):
        code = codes_of(flat[start : start + size], dtype)
        if gone is not None:
            code.masked_fill_(gone[start : start + size], ABSENT)
        yield start, code


def spans(parts: Sequence[Part], size: int | None = None) -> list[tuple[int, int, int]]:
    """(part, first position, end) of the stretches that threads take, in order.

    A copy that flattening needs is made once; what is less than half a stretch is not worth a second thread.
    """
    size = size or SPAN
    found = []
    for i, part in enumerate(parts):
        step = size if part.numel >= 2 * size else -(-part.numel // 16) * 8 if part.numel >= size // 2 else part.numel
        step = max(1, step if part.values.is_contiguous() and part.mask is None else part.numel)
        found += [(i, start, min(part.numel, start + step)) for start in range(0, part.numel, step)]
    return found


def on_cpu(parts: Sequence[Part]) -> bool:
    """Whether every tensor of the pool is in the machine's own memory."""
    return all(p.values.device.type == "cpu" for p in parts)


def count_kept(mask: Tensor) -> int:
    """How many entries of a mask are not zero; on the CPU without waking torch's threads.

    >>> count_kept(torch.tensor([True, False]))
    1
    """
    plain = mask.device.type == "cpu" and mask.dtype in (torch.bool, torch.float32, torch.float64)
    return int(np.count_nonzero(mask.numpy()) if plain else torch.count_nonzero(mask))


def check_parts(parts: Sequence[Part]) -> None:
    """Refuse what has no order: integers, tensors without data, an empty pool. NaN and infinities are met while streaming."""
    for p in parts:
        if not p.values.is_floating_point():
            raise TypeError(f"Expected a floating point tensor to prune, got {p.values.dtype}")
        if p.values.is_meta:
            raise ValueError("Expected parameters with values to prune, got one on the meta device: load its weights first")
    if not any(p.present for p in parts):
        raise ValueError("Expected at least one unit to rank, got none: the tensor is empty or already pruned away")


def infinite(parts: Sequence[Part], dtype: torch.dtype) -> ValueError:
    """The error for a pool in which something is not finite, with the count."""
    found = sum(int((code >= infinity(dtype)).sum()) for p in parts for _, code in device_chunks(p, dtype, SPAN))
    total = sum(p.present for p in parts)
    return ValueError(f"Expected finite values to prune, got {found} NaN or infinite of {total}")
