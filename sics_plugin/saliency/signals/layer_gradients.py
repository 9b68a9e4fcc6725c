"""Gradients of single samples in the weight or bias of one layer, from what it read and the gradient of what it gave.

For a ``Linear`` that is Σ over positions of g·xᵀ: one small matrix product a sample, read while it is still in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: Entries of per-sample gradients that are held at a time: what fits into a cache. No result depends on it but by rounding.
HELD_OF_A_LAYER = 1 << 18
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
LAYERS = (nn.Linear, nn.Conv2d, *_NORMS)
_FORWARDS = (nn.Linear.forward, nn.Conv2d.forward)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Gradients of one parameter, of all samples of a batch: ``scale`` times the chunks.

    The chunks are near 1, so that a float32 square is neither zero nor infinite.
    """

    index: int  # which parameter
    scale: float
    chunks: Iterator[Tensor]  # (samples, *parameter), together a row a sample, or none where all are zero; may be overwritten


def largest(x: Tensor) -> float:
    """The largest absolute value; 0 of none."""
    low, high = torch.aminmax(x.detach()) if x.numel() else (torch.zeros(()), torch.zeros(()))
    return float(torch.maximum(-low, high))


def rounded(scale: float) -> float:
    """A power of two nearby, which takes nothing from what it divides, within float32."""
    return float(2.0 ** min(126, max(-126, math.frexp(scale)[1])))


def is_known(module: nn.Module) -> bool:
    """Whether a layer is of a kind whose gradients are known from what it reads and gives.

    A linear layer or convolution with a ``forward`` of its own is not: it may clip what it gives, which two samples need not
    show, or pad what it reads. Norms of timm have one that does the same as torch's, or what two samples tell.
    """
    return isinstance(module, _NORMS) or (isinstance(module, LAYERS) and type(module).forward in _FORWARDS)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a parameter is: a layer's ``weight`` or ``bias``, times a mask where torch pruned it.

    "broadcast": no layer's, but one row that all samples share, as position embeddings are; it is given as one row a sample,
    whose gradient is the sample's.
    """

    module: nn.Module
    role: str
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """What a layer read and the gradient of what it gave, samples first; ``gradient`` None: the loss does not depend on it."""

    place: Place
    inputs: Tensor
    gradient: Tensor | None

    def rows(self, index: int) -> Rows:
        """What each sample's gradient is, for the parameter of this index."""
        if self.gradient is None:
            return Rows(index, 1.0, iter(()))
        scale = largest(self.gradient)
        if self.place.role == "weight" and not isinstance(self.place.module, _NORMS):
            scale *= largest(self.inputs)
        return Rows(index, rounded(scale), self.chunks(rounded(scale)) if scale else iter(()))

    def chunks(self, scale: float) -> Iterator[Tensor]:
        """The gradients over ``scale``, a few samples at a time."""
        assert self.gradient is not None
        gradient = self.gradient / scale
        size = max(1, HELD_OF_A_LAYER // max(1, self._entries()))
        for x, g in zip(self.inputs.split(size), gradient.split(size), strict=True):
            rows = _ROWS[self.place.role](self.place.module, x, g)
            yield rows if self.place.mask is None else rows * self.place.mask

    def _entries(self) -> int:
        """The largest tensor that one sample takes."""
        module: Any = self.place.module
        if self.place.role != "weight" or isinstance(module, _NORMS):
            return self.inputs[:1].numel()
        reads = 0
        if isinstance(module, nn.Conv2d):
            assert self.gradient is not None
            reads = self.gradient[0, 0].numel() * int(module.weight[0].numel()) * int(module.groups)
        return max(int(module.weight.numel()), reads)


def unfolded(module: nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution reads at every position: shape (samples, in_channels · kernel, positions)."""
    padding: Any = module.padding
    if module.padding_mode != "zeros" or isinstance(padding, str):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x, padding = nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=mode), 0
    return nn.functional.unfold(x, module.kernel_size, module.dilation, padding, module.stride)


def _weight_rows(module: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """Per-sample gradients of a layer's weight, shape (samples, *weight)."""
    if isinstance(module, nn.Linear):
        return g.transpose(1, 2) @ x
    if isinstance(module, nn.Conv2d):
        columns = unfolded(module, x).unflatten(1, (module.groups, -1))
        found = g.flatten(2).unflatten(1, (module.groups, -1)) @ columns.transpose(2, 3)
        return found.reshape(len(x), *module.weight.shape)  # type: ignore[no-any-return]
    if isinstance(module, nn.LayerNorm):
        return (g * nn.functional.layer_norm(x, module.normalized_shape, eps=module.eps)).sum(1)
    if isinstance(module, nn.GroupNorm):
        plain = nn.functional.group_norm(x, module.num_groups, eps=module.eps)
    else:
        norm: Any = module
        plain = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, eps=norm.eps)
    return (g * plain).flatten(2).sum(2)


def _bias_rows(module: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    return g.sum(1) if isinstance(module, nn.Linear | nn.LayerNorm) else g.flatten(2).sum(2)


def _broadcast_rows(module: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    return g.unsqueeze(1)


_ROWS = {"weight": _weight_rows, "bias": _bias_rows, "broadcast": _broadcast_rows}


def samples_first(module: nn.Module, x: Tensor, samples: int) -> Tensor | None:
    """As (samples, positions, features), or (samples, channels, positions …) for what has channels; None where it cannot be."""
    if not samples or not x.dim() or x.shape[0] % samples:
        return None
    x = x.detach()
    x = x if x.dtype == torch.float64 else x.float()
    if isinstance(module, nn.Linear):
        return x.reshape(samples, -1, x.shape[-1])
    if isinstance(module, nn.LayerNorm):
        return x.reshape(samples, -1, *module.normalized_shape)
    if x.shape[0] != samples or x.dim() < 2:
        return None
    return x.unsqueeze(-1) if x.dim() == 2 else x
