"""Sorting once for several scorers: results of :func:`~sics_plugin.percentile.ranks` and ``coordinate``, kept while asked for.

All scorers built on ρ and z sort the same magnitudes and the same saliency. Inside :class:`SharedRanks` the first of them sorts,
and the others are given a copy, after the arguments were compared value by value: what comes out is what would have been
computed, whatever changed in between.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Self

import torch
from torch import Tensor

_current: ContextVar[SharedRanks | None] = ContextVar("_current", default=None)


class SharedRanks:
    """Keeps ranks and coordinates between scorers while entered; may be entered any number of times.

    Parameters
    ----------
    limit : int
        How many results are kept, the latest asked for; each takes 8 bytes a unit, and as much for what it was computed from.

    Raises
    ------
    ValueError
        A limit below 1.

    Notes
    -----
    Masks are the same bits as without it. It concerns the thread (or task) that entered it.

    Examples
    --------
    >>> from sics_plugin import Saliency, compute_masks
    >>> model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    >>> with SharedRanks() as shared:
    ...     hashes = [compute_masks(model, name, amount=0.7)[1].mask_hash for name in ("bump", "chaos", "wiggle")]
    >>> shared.computed, shared.reused    # the ranks and the coordinate; each again for two scorers
    (2, 4)
    >>> hashes[1] == compute_masks(model, "chaos", amount=0.7)[1].mask_hash
    True
    """

    def __init__(self, limit: int = 256) -> None:
        if limit < 1:
            raise ValueError(f"Expected `limit` to be at least 1, got {limit!r}")
        self.limit = limit
        self.computed = self.reused = 0
        self._kept: OrderedDict[int, tuple[object, tuple[Tensor, ...], Tensor]] = OrderedDict()
        self._number = 0
        self._tokens: list[Token[SharedRanks | None]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _current.reset(self._tokens.pop())

    def result(self, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """The function's result, a tensor of the caller's own."""
        kind = function, *((a.shape, a.dtype, a.device) for a in arguments)
        for number, (other, values, found) in self._kept.items():
            if other == kind and all(map(torch.equal, values, arguments)):
                self._kept.move_to_end(number)
                self.reused += 1
                return found.clone()
        found = function(*arguments)
        self._number += 1
        self._kept[self._number] = kind, tuple(a.clone() for a in arguments), found.clone()
        self.computed += 1
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        return found


def shared(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """What the function gives, from the :class:`SharedRanks` in force if there is one."""
    keeper = _current.get()
    return function(*arguments) if keeper is None else keeper.result(function, *arguments)
