"""The digest of what a task handed over, whatever it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch


class Digested:
    """Batches on their way, and the digest of those that have passed; `whole` once all have.

    >>> one, two = Digested([(torch.ones(2), 1)]), Digested(iter([(torch.ones(2), 1)]))
    >>> list(one) and list(two) and one.digest == two.digest and one.whole
    True
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        if isinstance(batches, torch.Tensor | np.ndarray | Mapping | str) or not isinstance(batches, Iterable):
            raise TypeError(
                f"calibration gave {type(batches).__name__}: expected an iterable of (input, target) pairs, or of mappings of "
                "the network's arguments"
            )
        self._batches, self._state, self.whole = batches, hashlib.sha256(), False

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            _put(self._state, batch)
            yield batch
        self.whole = True

    @property
    def digest(self) -> str:
        """Sha256 of all that has passed."""
        return self._state.hexdigest()


def _put(state: Any, value: Any) -> None:
    """Add a value: tensors and arrays by type, shape and bytes, collections by their items, other things by what they hold."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu()
        plain = (plain.to_dense() if plain.layout is not torch.strided else plain).contiguous()
        state.update(repr((str(plain.dtype), tuple(plain.shape))).encode())
        state.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    elif isinstance(value, np.ndarray):
        state.update(repr((str(value.dtype), value.shape)).encode())
        state.update(np.ascontiguousarray(value).tobytes() if value.dtype.kind != "O" else repr(value.tolist()).encode())
    elif isinstance(value, str | bytes | int | float | complex | bool | None):
        state.update(repr(value).encode())
    elif isinstance(value, Mapping):
        _put_all(state, type(value).__name__, [part for pair in value.items() for part in pair])
    elif isinstance(value, list | tuple):
        _put_all(state, type(value).__name__, value)
    elif isinstance(value, set | frozenset):
        _put_all(state, type(value).__name__, sorted(value, key=repr))
    elif is_dataclass(value) and not isinstance(value, type):
        _put_all(state, type(value).__name__, [getattr(value, field.name) for field in fields(value)])
    elif callable(getattr(value, "to_dict", None)):
        _put(state, value.to_dict())
    else:
        _put_all(state, type(value).__name__, sorted(vars(value).items()) if hasattr(value, "__dict__") else [])


def _put_all(state: Any, kind: str, items: Iterable[Any]) -> None:
    parts = list(items)
    state.update(f"{kind}[{len(parts)}]".encode())
    for part in parts:
        _put(state, part)
