"""Calibration batches: checked, moved to the model's device, run through it in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]
NO_BATCHES = "Expected at least one batch of (input, target) in `batches`, got none"


def scalar(value: Any) -> Tensor:
    """A loss without dimensions; refused where it is none."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise TypeError("Expected `loss(output, target)` to return a scalar tensor (reduction='mean' or 'sum')")
    return value.reshape(())


def check_finite(values: Tensor, batch: int) -> None:
    """Refuse losses that are not finite."""
    if not bool(torch.isfinite(values).all()):
        worst = values[~torch.isfinite(values)][0].item()
        raise ValueError(f"Expected a finite loss on the calibration batches, got {worst} on batch {batch}")


def moved(batches: Iterable[Batch], model: nn.Module) -> Iterator[Batch]:
    """The batches, checked to be pairs, on the model's device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for batch in batches:
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise TypeError(f"Expected every batch to be an (input, target) pair, got {type(batch).__name__}")
        inputs, targets = (x.to(device) if isinstance(x, Tensor) else x for x in batch)
        yield inputs, targets


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def requiring_grad(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Frozen parameters get a gradient inside; their flag is back afterwards."""
    flags = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p, flag in zip(parameters, flags, strict=True):
            p.requires_grad_(flag)


def batch_losses(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Iterator[tuple[Tensor, int]]:
    """The checked loss of every batch, with its graph, and its number of samples; refused where there is no batch."""
    count = 0
    for count, (inputs, targets) in enumerate(moved(batches, model), 1):
        value = scalar(loss(model(inputs), targets))
        check_finite(value, count)
        yield value, batch_size(targets)
    if count == 0:
        raise ValueError(NO_BATCHES)


def batch_size(targets: Any) -> int:
    """How many samples a batch of targets stands for."""
    if isinstance(targets, Tensor):
        return targets.shape[0] if targets.dim() else 1
    return len(targets) if isinstance(targets, Sequence) else 1
