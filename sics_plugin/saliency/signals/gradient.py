"""The root mean square of batch gradients, per weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from sics_plugin.network.targets import dense_parameters
from sics_plugin.saliency.batches import NO_BATCHES, Batch
from sics_plugin.saliency.objective import Objective, batch_losses
from sics_plugin.saliency.unchanged import requiring_grad


def gradient_rms(model: nn.Module, batches: Iterable[Batch], loss: Objective) -> tuple[dict[str, Tensor], int]:
    """Root of the mean over batches of the squared batch gradient of every floating point parameter by name; how many samples.

    float32 in the parameter's shape, zero where the loss does not depend on it.
    """
    parameters = {name: p for name, p in dense_parameters(model) if p.is_floating_point()}
    samples = 0

    def gradients() -> Iterator[dict[str, Tensor]]:
        nonlocal samples
        for value, size in batch_losses(model, batches, loss):
            found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            samples += size
            yield {name: grad for name, grad in zip(parameters, found, strict=True) if grad is not None}

    with torch.enable_grad(), requiring_grad(list(parameters.values())):
        return rms_of(parameters, gradients()), samples


def rms_of(parameters: Mapping[str, Tensor], gradients: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Root of the mean of squares of gradients by name, float32 in the shapes of `parameters`; zero where there were none.

    Every item may be overwritten once the next one is asked for.
    """
    norms = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    count = 0
    for found in gradients:
        for name, grad in found.items():
            # Never squared: below 1e-19 a float32 square is zero, above 1e19 infinite.
            torch.hypot(norms[name], grad.float(), out=norms[name])
        count += 1
    if count == 0:
        raise ValueError(NO_BATCHES)
    for name, norm in norms.items():
        if not bool(torch.isfinite(norm).all()):
            raise ValueError(f"the gradient of {name} is NaN or infinite: use float32 or bfloat16 weights, or check the loss")
    return {name: norm / count**0.5 for name, norm in norms.items()}
