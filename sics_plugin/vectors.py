"""A saliency vector that remembers what kind of saliency it is."""

from __future__ import annotations

import torch
from torch import Tensor


class SaliencyVector(Tensor):
    """A plain tensor of shape (n,) with a ``kind``; results of operations on it are plain tensors again.

    The kind matters where a scorer refuses any other (``gradient``) and to the default strength α.

    Examples
    --------
    >>> v = SaliencyVector(torch.ones(3), kind="gradient")
    >>> v.kind, type(v * 2).__name__
    ('gradient', 'Tensor')
    """

    kind: str
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: Tensor, kind: str) -> SaliencyVector:  # noqa: D102
        vector = values.detach().as_subclass(cls)
        vector.kind = kind
        return vector

    def __init__(self, values: Tensor, kind: str) -> None:
        super().__init__()

    def __deepcopy__(self, memo: dict[int, object]) -> SaliencyVector:
        return SaliencyVector(self.as_subclass(Tensor).clone(), kind=self.kind)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"SaliencyVector(n={self.numel()}, kind={self.kind!r})"
