"""Norms of the input features of every layer over calibration batches (Wanda, Sun et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.network.targets import plain_name
from sics_plugin.saliency.batches import NO_BATCHES, Batch, moved


def input_norms(model: nn.Module, batches: Iterable[Batch]) -> tuple[dict[str, Tensor], int]:
    """L2 norm per sample of every input feature of every ``nn.Linear`` and ``nn.Conv2d`` that ran; and how many samples.

    By weight name; float32 of shape (in_features,) or (in_channels, kh, kw).
    """
    squares: dict[str, Tensor] = {}

    def hook_for(path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            squares[path] = squares.get(path, 0) + _input_squares(module, args[0] if args else kwargs["input"])

        return hook

    layers = {plain_name(path): m for path, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    handles = [m.register_forward_pre_hook(hook_for(path), with_kwargs=True) for path, m in layers.items()]
    count = samples = 0
    try:
        with torch.no_grad():
            for given in moved(batches, model):
                given.through(model)
                count, samples = count + 1, samples + given.size
    finally:
        for handle in handles:
            handle.remove()
    if count == 0:
        raise ValueError(NO_BATCHES)
    values = {}
    for path, total in squares.items():
        norm = (total / samples).sqrt().float()
        if not bool(torch.isfinite(norm).all()):
            raise ValueError(f"the input of {path} is NaN or infinite on the calibration batches")
        values[f"{path}.weight" if path else "weight"] = norm
    return values, samples


def expand_to_weight(norm: Tensor, module: nn.Module, weight: Tensor, name: str = "the weight") -> Tensor:
    """The input norm each weight reads, in the weight's shape.

    >>> layer = nn.Linear(3, 2)
    >>> expand_to_weight(torch.tensor([1.0, 2.0, 3.0]), layer, layer.weight).tolist()
    [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    """
    reads = (module.in_channels, *module.kernel_size) if isinstance(module, nn.Conv2d) else weight.shape[1:]
    if norm.shape != torch.Size(reads):
        raise ValueError(
            f"{name} reads inputs of shape {tuple(reads)}, its activation saliency has {tuple(norm.shape)}: another model"
        )
    if isinstance(module, nn.Conv2d):
        grouped = norm.view(module.groups, *weight.shape[1:])
        return grouped.repeat_interleave(weight.shape[0] // module.groups, dim=0)
    return norm.expand_as(weight)


def _input_squares(module: nn.Module, inputs: Tensor) -> Tensor:
    """Sum over samples and positions of the squared input that each weight of one output reads, float64."""
    x = inputs.detach().double()
    if not isinstance(module, nn.Conv2d):
        return x.reshape(-1, x.shape[-1]).square().sum(0)
    return unfolded(module, x).square().sum((0, 2)).view(module.in_channels, *module.kernel_size)


def unfolded(module: nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution reads at every position: shape (samples, in_channels · kernel, positions)."""
    padding: Any = module.padding
    if module.padding_mode != "zeros" or isinstance(padding, str):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x, padding = nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=mode), 0
    return nn.functional.unfold(x, module.kernel_size, module.dilation, padding, module.stride)
