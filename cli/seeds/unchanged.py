"""Whether a network is left as it was by code that is only to look at it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

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

    def looks() -> tuple[list[tuple[int, int]], Checksum]:
        if not whole:
            return [], Checksum.of(value for value in network.state_dict().values() if isinstance(value, Tensor))
        tensors = [*network.parameters(), *network.buffers()]
        counts = [(id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
        return counts, Checksum.of(tensors)

    before = looks()
    yield
    if looks() != before:
        raise ResultError(
            f"the network changed while {when} leave weights and buffers as they are (is a batch norm in training mode?)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Checksum:
    """Equal where all bytes of some tensors are: CRC-32 of what is in the machine's own memory, sums of what lies on a device.

    The sums stay there until two are compared, which waits for the device once.

    >>> Checksum.of([torch.tensor([1.0, 2.0])]) == Checksum.of([torch.tensor([2.0, 1.0])])
    False
    """

    here: int
    there: tuple[Tensor, ...]

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> Self:
        """Look at every byte, in this order; tensors without memory count for nothing."""
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
        devices = dict.fromkeys(one.device for one in sums)
        return cls(found, tuple(torch.stack([one for one in sums if one.device == device]) for device in devices))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Checksum) or self.here != other.here or len(self.there) != len(other.there):
            return False
        pairs = zip(self.there, other.there, strict=True)
        return all(one.device == two.device and torch.equal(one, two) for one, two in pairs)


def _summed(parts: list[Tensor]) -> Tensor:
    """The bytes as 64-bit numbers, each times an odd one of its place, added up modulo 2⁶⁴; shape ()."""
    together = torch.cat(parts)
    numbers = torch.nn.functional.pad(together, (0, -together.numel() % 8)).view(torch.int64)
    places = torch.arange(1, 2 * numbers.numel(), 2, device=numbers.device)
    return (numbers * places).sum()
