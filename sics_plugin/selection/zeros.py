"""Which weights are zero, whether or not a mask says so."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sics_plugin.selection.parts import Part
from sics_plugin.selection.threads import over

_PIECE = 1 << 17
_WIDE = (torch.float32, torch.float64)


def is_zero(values: Tensor) -> Tensor:
    """True where a number is 0.0 or -0.0, of the same shape; for every floating point type.

    >>> is_zero(torch.tensor([0.0, -0.0, 1e-45]).to(torch.float32)).tolist()
    [True, True, False]
    """
    values = values.detach()
    # Numbers of eight bits have no comparison: they are zero when all bits but the sign are.
    return values == 0 if values.element_size() > 1 else (values.view(torch.uint8) & 0x7F) == 0


def count_zeros(values: Tensor, kept: Tensor | None = None) -> int | Tensor:
    """How many entries of a tensor are kept, by a bool tensor with as many (None: all are), and zero.

    On an accelerator the count stays there, a tensor of shape ().

    >>> count_zeros(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([True, False, True]))
    1
    """
    values = values.detach()
    on_cpu = values.device.type == "cpu" and (kept is None or kept.device.type == "cpu")
    if not (on_cpu and values.is_contiguous() and values.dtype in _WIDE):
        zero = is_zero(values).reshape(-1)
        found = torch.count_nonzero(zero if kept is None else zero & kept.reshape(-1).to(zero.device))
        return int(found) if found.device.type == "cpu" else found
    numbers, stays = values.numpy().reshape(-1), None if kept is None else kept.reshape(-1).numpy()
    counted: list[int] = []

    def step(_: int, begin: int, end: int) -> None:
        zero = np.empty(min(_PIECE, end - begin), np.bool_)
        for start in range(begin, end, _PIECE):
            piece = np.equal(numbers[start : min(end, start + _PIECE)], 0, out=zero[: min(_PIECE, end - start)])
            if piece.any():
                counted.append(int(np.count_nonzero(piece if stays is None else piece & stays[start : start + len(piece)])))

    over(Part(values), step)
    return sum(counted)
