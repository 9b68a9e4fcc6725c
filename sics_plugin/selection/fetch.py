"""What lies on an accelerator, brought over together: the host waits once, not once a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sics_plugin.selection.parts import count_kept

#: Bytes that are gathered on a device before they are fetched.
GATHERED = 1 << 26


def numbers(scalars: Sequence[Tensor]) -> list[float]:
    """The values of tensors of shape (), as float64.

    >>> numbers([torch.tensor(1), torch.tensor(0.5)])
    [1.0, 0.5]
    """
    found = [0.0] * len(scalars)
    for places in _by_device(scalars):
        there = torch.stack([scalars[i].detach().double() for i in places]).tolist()
        for i, value in zip(places, there, strict=True):
            found[i] = value
    return found


def sum_of(found: Sequence[int | Tensor]) -> int:
    """The sum of counts, some of which may lie on a device as tensors of shape ().

    >>> sum_of([2, torch.tensor(3)])
    5
    """
    there = [one for one in found if isinstance(one, Tensor)]
    return sum(one for one in found if not isinstance(one, Tensor)) + sum(int(value) for value in numbers(there))


def counts(masks: Sequence[Tensor]) -> list[int]:
    """How many entries of each are not zero.

    >>> counts([torch.tensor([True, False]), torch.zeros(3)])
    [1, 0]
    """
    found = [0] * len(masks)
    for places in _by_device(masks):
        if masks[places[0]].device.type == "cpu":
            own = [count_kept(masks[i]) for i in places]
        else:
            own = torch.stack([torch.count_nonzero(masks[i]) for i in places]).tolist()
        for i, count in zip(places, own, strict=True):
            found[i] = count
    return found


def all_finite(tensors: Sequence[Tensor]) -> list[bool]:
    """Of each, whether all of it is finite.

    >>> all_finite([torch.ones(2), torch.tensor([torch.inf])])
    [True, False]
    """
    return [bool(value) for value in numbers([torch.isfinite(t).all() for t in tensors])]


def packed_bits(mask: Tensor) -> np.ndarray:
    """A mask as bits, first unit in the highest, zeros at the end; shape (⌈n/8⌉,), uint8."""
    return next(bits_of([mask]))


def bits_of(masks: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """Of each mask what :func:`packed_bits` gives; an eighth of it is brought over."""
    for flats in _gathered(mask.detach() if mask.dtype == torch.bool else mask.detach() != 0 for mask in masks):
        if flats[0].device.type == "cpu":
            yield from (np.packbits(flat.numpy()) for flat in flats)
            continue
        whole = [torch.nn.functional.pad(flat, (0, -flat.numel() % 8)) if flat.numel() % 8 else flat for flat in flats]
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=flats[0].device)
        packed = (torch.cat(whole).view(torch.uint8).view(-1, 8) << shifts).sum(1, dtype=torch.uint8)
        yield from _parts(packed.cpu().numpy(), [flat.numel() // 8 for flat in whole])


def bytes_of(tensors: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """The bytes of each, a vector of uint8, in order.

    >>> [one.tolist() for one in bytes_of([torch.tensor([1, 2], dtype=torch.uint8), torch.tensor(True)])]
    [[1, 2], [1]]
    """
    for flats in _gathered(tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in tensors):
        if flats[0].device.type == "cpu":
            yield from (flat.numpy() for flat in flats)
        else:
            yield from _parts(torch.cat(flats).cpu().numpy(), [flat.numel() for flat in flats])


def _gathered(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of vectors on one device, as long as may be fetched at once."""
    run: list[Tensor] = []
    size = 0
    for tensor in tensors:
        flat = tensor.reshape(-1)
        if run and (size + flat.numel() > GATHERED or flat.device != run[0].device):
            yield run
            run, size = [], 0
        run.append(flat)
        size += flat.numel()
    if run:
        yield run


def _parts(together: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    return np.split(together, np.cumsum(sizes)[:-1])


def _by_device(tensors: Sequence[Tensor]) -> list[list[int]]:
    places: dict[torch.device, list[int]] = {}
    for i, tensor in enumerate(tensors):
        places.setdefault(tensor.device, []).append(i)
    return list(places.values())
