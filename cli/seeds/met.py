"""Whether a network meets in one place what it is fed in another, by digests of the examples."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

#: Examples of which a digest is taken, at most: enough to show one set in another.
_EXAMPLES = 20_000
#: So few examples may be in two sets by chance.
_HANDFUL = 5
#: Numbers of a tensor that say how rich it is.
_LOOKED_AT = 100_000


@dataclass(frozen=True, slots=True)
class Share:
    """How many different examples two sets have in common, and how many each has."""

    both: int
    one: int
    other: int

    @property
    def is_whole(self) -> bool:
        """Whether one set lies in the other, and is more than a handful."""
        return self.both > _HANDFUL and self.both == min(self.one, self.other)


class Met:
    """Digests of the examples, which are rows of a tensor, in all that was added.

    >>> one, two = Met(), Met()
    >>> one.add((torch.eye(3), torch.arange(3)))
    >>> two.add({"x": torch.eye(3)[1:]})
    >>> len(one.digests), len(one.digests & two.digests)
    (3, 2)
    """

    def __init__(self) -> None:
        self.digests: set[bytes] = set()

    def add(self, value: Any) -> None:
        """Add a batch, or the arguments of a network."""
        richest = _richest(value) if len(self.digests) < _EXAMPLES else None
        if richest is None:
            return
        plain = richest.detach().cpu().contiguous()
        for row in plain.reshape(len(plain), -1):
            if bool((row == row[0]).all()):
                continue  # blank, which proves nothing
            self.digests.add(hashlib.blake2b(row.view(torch.uint8).numpy().tobytes(), digest_size=8).digest())

    @property
    def digest(self) -> str | None:
        """Of all of them, whatever their order; None where there are none."""
        return hashlib.blake2b(b"".join(sorted(self.digests)), digest_size=16).hexdigest() if self.digests else None

    def met_again(self, other: Met) -> Share:
        """How many of these were added to the other too."""
        return Share(len(self.digests & other.digests), len(self.digests), len(other.digests))

    @contextlib.contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Add what `network` is fed in the block."""

        def see(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            self.add((*arguments, *named.values()))

        hook = network.register_forward_pre_hook(see, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()


def _richest(value: Any) -> torch.Tensor | None:
    """Of the tensors in a batch the one of the most different numbers: images rather than classes, tokens rather than a mask."""
    found = [one for one in _tensors(value) if one.dim() > 1 and one.numel() and not one.is_meta]
    return max(found, key=lambda one: len(one.detach().reshape(-1)[:_LOOKED_AT].unique()), default=None)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield from [value] if value.layout is torch.strided else []
    elif isinstance(value, Mapping | tuple | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)
