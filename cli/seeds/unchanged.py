"""Whether a network is left as it was by code that is only to look at it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from sics_cli.tasks.results import ResultError

#: Bytes that are gathered on a device before they are fetched.
_FETCHED = 1 << 26


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
    """CRC-32 of the bytes of all, in order.

    >>> checksum([torch.tensor([1.0, 2.0])]) == checksum([torch.tensor([2.0, 1.0])])
    False
    """
    found, waiting, size = 0, list[Tensor](), 0
    for tensor in tensors:
        plain = tensor.detach()
        if plain.is_meta:
            continue
        flat = (plain.to_dense() if plain.layout is not torch.strided else plain).reshape(-1).view(torch.uint8)
        if flat.device.type == "cpu":
            found = zlib.crc32(flat.numpy().data, found)
            continue
        waiting.append(flat)
        size += flat.numel()
        if size > _FETCHED:
            found, waiting, size = _fetched(waiting, found), [], 0
    return _fetched(waiting, found)


def _fetched(parts: list[Tensor], found: int) -> int:
    """Go on with what lies on other devices, fetched together."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for part in parts:
        by_device.setdefault(part.device, []).append(part)
    for mine in by_device.values():
        found = zlib.crc32(torch.cat(mine).cpu().numpy().data, found)
    return found
