"""Whether a network is left as it was by code that is only to look at it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from sics_cli.tasks.results import ResultError

#: Bytes that are summed up on a device at a time.
_SUMMED = 1 << 26


@contextlib.contextmanager
def left_as_it_was(network: nn.Module, when: str, *, whole: bool = True) -> Iterator[None]:
    """Refuse, at the end of the block, a network whose tensors were written to in it; `when` says what was done in it.

    Writes through `.data` count as none for torch, so the bytes are compared too. With `whole`, buffers that no state holds,
    such as caches, count as well.

    >>> layer = nn.Linear(2, 1)
    >>> with left_as_it_was(layer, "it was looked at: look() must"):
    ...     layer.weight.data.mul_(2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    sics_cli.tasks.results.ResultError: the network changed while it was looked at: look() must leave weights and buffers as ...
    """

    def looks() -> object:
        if not whole:
            return checksum(value for value in network.state_dict().values() if isinstance(value, Tensor))
        tensors = [*network.parameters(), *network.buffers()]
        counts = [(id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
        return counts, checksum(tensors)

    before = looks()
    yield
    if looks() != before:
        raise ResultError(
            f"the network changed while {when} leave weights and buffers as they are (is a batch norm in training mode?)"
        )


def checksum(tensors: Iterable[Tensor]) -> int:
    """A number that is another where a byte of any of them is: CRC-32 of what is in the machine's own memory.

    What lies on a device is summed up there, and not brought over.

    >>> checksum([torch.tensor([1.0, 2.0])]) == checksum([torch.tensor([2.0, 1.0])])
    False
    """
    found, waiting, size = 0, list[Tensor](), 0
    sums: list[Tensor] = []
    for tensor in tensors:
        plain = tensor.detach()
        if plain.is_meta:
            continue
        flat = (plain.to_dense() if plain.layout is not torch.strided else plain).reshape(-1).view(torch.uint8)
        if flat.device.type == "cpu":
            found = zlib.crc32(flat.numpy().data, found)
            continue
        if waiting and (size + flat.numel() > _SUMMED or flat.device != waiting[0].device):
            sums.append(_summed(waiting))
            waiting, size = [], 0
        waiting.append(flat)
        size += flat.numel()
    sums += [_summed(waiting)] if waiting else []
    for device in dict.fromkeys(one.device for one in sums):
        there = torch.stack([one for one in sums if one.device == device]).tolist()
        found = zlib.crc32(repr(there).encode(), found)
    return found


def _summed(parts: list[Tensor]) -> Tensor:
    """The bytes as 64-bit numbers, each times an odd one of its place, added up modulo 2⁶⁴; shape ()."""
    together = torch.cat(parts)
    numbers = torch.nn.functional.pad(together, (0, -together.numel() % 8)).view(torch.int64)
    places = torch.arange(1, 2 * numbers.numel(), 2, device=numbers.device)
    return (numbers * places).sum()
