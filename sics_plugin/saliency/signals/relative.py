"""Signals that the weights of one layer alone decide: LAMP's local normalisation, and relative importance.

Pure functions of one weight tensor and of which of its entries are still there; float64, zero where an entry is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sics_plugin.network.layouts import CONVOLUTIONS, TRANSPOSED
from sics_plugin.network.targets import Target


def lamp(weight: Tensor, present: Tensor | None = None) -> Tensor:
    """w² over the sum of all squares of the layer that are not smaller (Lee et al. 2021): the shape of ``weight``.

    The largest weight of every layer has 1, so that no layer vanishes from a global pool. Equal magnitudes are ordered by
    position, as everywhere here.

    >>> lamp(torch.tensor([1.0, -2.0, 2.0, 0.0])).tolist()
    [0.1111111111111111, 0.5, 1.0, 0.0]
    """
    squares = _magnitude(weight, present).reshape(-1)
    largest = float(squares.max()) if squares.numel() else 0.0
    squares = (squares / largest if largest else squares).square()
    order = torch.argsort(squares, stable=True)
    ascending = squares[order]
    not_smaller = ascending.flip(0).cumsum(0).flip(0)
    result = torch.zeros_like(squares)
    result[order] = torch.where(ascending > 0, ascending / not_smaller, ascending)
    return result.view(weight.shape)


def relative_importance(weight: Tensor, present: Tensor | None = None) -> Tensor:
    """RI = m / (sum over its row) + m / (sum over its column) (Zhang et al. 2024): the shape of ``weight``.

    A row is all that one output reads; a column is what all outputs have for one input, for a convolution one input channel at
    one place of the kernel.

    >>> relative_importance(torch.tensor([[1.0, -3.0], [1.0, 0.0]])).tolist()
    [[0.75, 1.75], [1.5, 0.0]]
    """
    if weight.dim() < 2:
        raise ValueError(f"Expected a weight with rows and columns, got shape {tuple(weight.shape)}")
    magnitude = _magnitude(weight, present).reshape(weight.shape[0], -1)
    rows, columns = magnitude.sum(1, keepdim=True), magnitude.sum(0, keepdim=True)
    share = magnitude / torch.where(rows > 0, rows, 1.0) + magnitude / torch.where(columns > 0, columns, 1.0)
    return share.view(weight.shape)


def of_target(signal: Callable[[Tensor, Tensor | None], Tensor], target: Target) -> Tensor:
    """A signal of a target's weight, its rows and columns where the layer has them.

    What a layer keeps in one tensor although each part has inputs of its own (groups, experts, query, key and value) is taken
    apart.
    """
    parameter = target.parameter
    present = None if target.shared_mask is None else target.present()
    layout = target.layout
    if signal is lamp or parameter.dim() < 2:
        return signal(parameter, present)
    module = target.module
    parts = getattr(module, "groups", 1) if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)) else 1
    parts = parameter.shape[0] if layout.order.startswith("e") else 3 if target.name == "in_proj_weight" else parts
    weights = layout.rows(parameter.detach()).chunk(parts)
    masks = [None] * parts if present is None else layout.rows(present).chunk(parts)
    rows = torch.cat([signal(w, m) for w, m in zip(weights, masks, strict=True)])
    return layout.back(rows, parameter.shape)


def _magnitude(weight: Tensor, present: Tensor | None) -> Tensor:
    magnitude = weight.detach().double().abs()
    return magnitude if present is None else magnitude * present.to(magnitude.device)
