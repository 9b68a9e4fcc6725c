"""Running calibration batches through a model and summing what a saliency needs: gradients or input norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.targets import dense_parameters, plain_name

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]
NO_BATCHES = "Expected at least one batch of (input, target) in `batches`, got none"


def gradient_rms(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> tuple[dict[str, Tensor], int]:
    """Root of the mean over batches of the squared batch gradient, for every floating point parameter.

    Returns
    -------
    values : dict of str to Tensor
        Parameter name → float32 tensor in its shape. Zero where the loss does not depend on it.
    samples : int
    """
    parameters = {name: p for name, p in dense_parameters(model) if p.is_floating_point()}
    samples = 0

    def gradients() -> Iterator[dict[str, Tensor]]:
        nonlocal samples
        for number, (inputs, targets) in enumerate(moved(batches, model), start=1):
            value = checked_loss(loss(model(inputs), targets), number)
            found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            samples += batch_size(targets)
            yield {name: grad for name, grad in zip(parameters, found, strict=True) if grad is not None}

    with evaluating(model), torch.enable_grad(), requiring_grad(list(parameters.values())):
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


def checked_loss(value: Any, batch: int) -> Tensor:
    """The loss of a batch, refused where it is no scalar or not finite."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise TypeError("Expected `loss(output, target)` to return a scalar tensor (reduction='mean' or 'sum')")
    if not bool(torch.isfinite(value)):
        raise ValueError(f"Expected a finite loss on the calibration batches, got {value.item()} on batch {batch}")
    return value


def input_norms(model: nn.Module, batches: Iterable[Batch]) -> tuple[dict[str, Tensor], int]:
    """L2 norm per sample of every input feature of every ``nn.Linear`` and ``nn.Conv2d`` that ran.

    Returns
    -------
    values : dict of str to Tensor
        Weight name → float32, (in_features,) or (in_channels, kh, kw).
    samples : int
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
        with evaluating(model), torch.no_grad():
            for inputs, targets in moved(batches, model):
                model(inputs)
                count, samples = count + 1, samples + batch_size(targets)
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

    Examples
    --------
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


def batch_size(targets: Any) -> int:
    """How many samples a batch of targets stands for."""
    if isinstance(targets, Tensor):
        return targets.shape[0] if targets.dim() else 1
    return len(targets) if isinstance(targets, Sequence) else 1


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
