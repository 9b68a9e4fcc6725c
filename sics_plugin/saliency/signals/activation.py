"""Norms of the input features of every layer over calibration batches (Wanda, Sun et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.network.layouts import kind_of_weight
from sics_plugin.network.names import joined, listed, plain_modules
from sics_plugin.network.targets import NEVER_CALLED, all_targets
from sics_plugin.saliency.batches import NO_BATCHES, Batch, Given, moved, over
from sics_plugin.saliency.signals.input_squares import input_squares, observed
from sics_plugin.saliency.unchanged import requiring_grad
from sics_plugin.warn import warn_caller


def input_norms(model: nn.Module, batches: Iterable[Batch]) -> tuple[dict[str, Tensor], int]:
    """L2 norm per sample of every input feature of every layer that ran; and how many samples.

    By weight name; float32 in the shape that :func:`observed` says. Zero, with a warning, for a layer that no batch reached;
    none, with a warning, for a weight whose inputs are not seen.
    """
    squares: dict[str, Tensor] = {}
    counting = True

    def hook_for(path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            for name, found in input_squares(module, args, kwargs).items() if counting else ():
                full = joined(path, name)
                squares[full] = squares[full] + found if full in squares else found

        return hook

    layers = {path: m for path, m in plain_modules(model) if observed(m) and not isinstance(m, NEVER_CALLED)}
    handles = [m.register_forward_pre_hook(hook_for(path), with_kwargs=True) for path, m in layers.items()]
    count = samples = 0
    elsewhere: set[str] = set()
    try:
        with torch.no_grad():
            for given in moved(batches, model):
                given.through(model)
                count, samples = count + 1, samples + given.size
                if count == 1 and (uncalled := _weights(layers, squares)):
                    counting = False
                    elsewhere = _read_without_a_call(model, given, uncalled)
                    counting = True
    finally:
        for handle in handles:
            handle.remove()
    if count == 0:
        raise ValueError(NO_BATCHES)
    if layers and not squares:
        raise ValueError(
            "no layer was called on the calibration batches, so no inputs were seen: collect before torch.compile, if the "
            "model is compiled"
        )
    unseen = {**{name: p for name, p in _weights(layers, squares).items() if name in elsewhere}, **_unobserved(model)}
    if unseen:
        warn_caller(
            f"no input norm of {listed(unseen)}: what these weights read cannot be seen from outside their module; leave them "
            "out (params=) where a scorer needs one"
        )
    values = {}
    for name, total in squares.items():
        norm = (total / samples).sqrt().float()
        if not bool(torch.isfinite(norm).all()):
            path = name.removesuffix(".weight") if name != "weight" else ""
            raise ValueError(f"the input of {path} is NaN or infinite on the calibration batches")
        values[name] = norm
    never = {name: p for name, p in _weights(layers, squares).items() if name not in elsewhere}
    if never:
        warn_caller(f"no calibration batch reached {listed(never)}: what they read counts as zero")
    for path, module in layers.items():
        for name, shape in observed(module).items():
            if (full := joined(path, name)) in never:
                values[full] = torch.zeros(shape, device=never[full].device)
    return values, samples


def _weights(layers: dict[str, nn.Module], seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of these layers that nothing was seen of yet."""
    found = {}
    for path, module in layers.items():
        for name in observed(module):
            full = joined(path, name)
            if full not in seen:
                found[full] = module._parameters.get(f"{name}_orig", module._parameters.get(name))
    return {name: p for name, p in found.items() if p is not None}


def _read_without_a_call(model: nn.Module, given: Given, weights: dict[str, Tensor]) -> set[str]:
    """Those of the weights that the output depends on although nobody called their layer: one pass more, where there are some."""
    try:
        with torch.enable_grad(), requiring_grad(list(weights.values())):
            found = [x for x in _floats(given.through(model)) if x.requires_grad]
            if not found:
                return set()
            total = torch.stack([x.double().sum() for x in found]).sum()
            gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    except (RuntimeError, TypeError):
        return set()
    return {name for name, g in zip(weights, gradients, strict=True) if g is not None}


def _floats(output: Any) -> list[Tensor]:
    found: list[Tensor] = []
    values = output if isinstance(output, Tensor | tuple | list | dict) else vars(output) if hasattr(output, "__dict__") else ()
    over(values, lambda x: found.append(x) if isinstance(x, Tensor) and x.is_floating_point() else None)
    return found


def _unobserved(model: nn.Module) -> dict[str, Tensor]:
    """Matrix weights of kinds that are pruned whose inputs no hook sees: experts kept as one parameter, an LSTM's projection."""
    unseen: dict[str, Tensor] = {}
    for target, parameter in all_targets(model):
        name, module = target.name, target.module
        if name not in observed(module) and kind_of_weight(module, name, parameter.dim()) is not None:
            unseen[target.path] = parameter
    return unseen
