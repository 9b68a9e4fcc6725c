"""What each weight contributes to the loss, from calibration batches: w·g in the forms that published scorers use.

``w·g`` is minus the first-order change of the loss when the weight goes. For a unit of several weights, going together, it is
the sum over them; where a scorer then squares or takes the absolute value before it averages, the sums have to be taken batch
by batch, which is what :class:`Reading` is for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from sics_plugin.channel_groups import BoundGroup, ChannelGroup, bind_groups
from sics_plugin.collect import NO_BATCHES, Batch, Loss, batch_size, checked_loss, evaluating, moved, requiring_grad
from sics_plugin.masks import pruned_targets
from sics_plugin.targets import dense_parameters

Collected = tuple[dict[str, Tensor], int]
#: Entries of per-sample gradients that are held at a time. No result depends on it but by rounding.
HELD = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A parameter, and what is read off a tensor of its shape: itself, or the sum over each unit of a group."""

    name: str
    parameter: nn.Parameter
    group: BoundGroup | None = None

    def of(self, products: Tensor) -> Tensor:
        """The tensor, or one sum a unit, shape (size,)."""
        if self.group is None:
            return products
        return self.group.group.producer.rows(products, self.group.group.size).sum(1)


def readings_of(model: nn.Module, groups: Sequence[ChannelGroup] | None) -> list[Reading]:
    """Every floating point parameter under its own name, or the incoming weights of every group under the group's."""
    if groups is not None:
        bound = bind_groups(model, groups)
        return [Reading(b.group.name, b.targets[0].parameter, b) for b in bound]
    return [Reading(name, p) for name, p in dense_parameters(model) if p.is_floating_point()]


def mean_contribution(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Collected:
    """w·g with g the gradient of the mean loss over all batches, signed; every parameter's shape, float32 or wider."""
    readings = readings_of(model, None)
    with _collecting(model, readings):
        gradients, samples = _mean_gradient(model, list(batches), loss, readings)
    return {r.name: _checked(r.name, _product(r.parameter, g)) for r, g in zip(readings, gradients, strict=True)}, samples


def gradient_flow(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Collected:
    """w·(H g), g and H the gradient and Hessian of the mean loss over all batches, in all parameters.

    The squared norm of the gradient changes by −2·w·(H g), to first order, when the weight goes. Two passes over the batches.
    """
    held = list(batches)
    readings = readings_of(model, None)
    parameters = [r.parameter for r in readings]
    with _collecting(model, readings):
        gradients, samples = _mean_gradient(model, held, loss, readings)
        totals = [torch.zeros_like(g) for g in gradients]
        for number, (inputs, targets) in enumerate(moved(held, model), 1):
            value = checked_loss(loss(model(inputs), targets), number)
            own = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
            flow = sum((g.to(o.dtype) * o).sum().to(value.device) for g, o in zip(gradients, own, strict=True) if o is not None)
            if not isinstance(flow, Tensor) or not flow.requires_grad:  # the loss is linear in what it depends on
                continue
            curved = torch.autograd.grad(flow, parameters, allow_unused=True)
            for total, c in zip(totals, curved, strict=True):
                if c is not None:
                    total += c
    products = {r.name: _product(r.parameter, total) / len(held) for r, total in zip(readings, totals, strict=True)}
    return {name: _checked(name, product) for name, product in products.items()}, samples


def rms_over_batches(
    model: nn.Module, batches: Iterable[Batch], loss: Loss, groups: Sequence[ChannelGroup] | None = None
) -> Collected:
    """Root of the mean over batches of (w·g)², g the gradient of one batch; of (Σ w·g)² for the units of ``groups``."""
    readings = readings_of(model, groups)
    parameters = [r.parameter for r in readings]
    totals: list[Tensor | float] = [0.0] * len(readings)
    count = samples = 0
    with _collecting(model, readings):
        for inputs, targets in moved(batches, model):
            value = checked_loss(loss(model(inputs), targets), count + 1)
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            for i, (r, g) in enumerate(zip(readings, gradients, strict=True)):
                g = torch.zeros_like(r.parameter) if g is None else g
                totals[i] = totals[i] + r.of(_product(r.parameter, g).double()).square()
            count, samples = count + 1, samples + batch_size(targets)
    if count == 0:
        raise ValueError(NO_BATCHES)
    return _named(readings, totals, lambda total: (total / count).sqrt()), samples


def rms_over_samples(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Collected:
    """Root of the mean over samples of (w·g)², g the gradient of one sample's own loss."""
    return _over_samples(model, batches, loss, None, lambda x: x.square().sum(0), Tensor.sqrt)


def mean_absolute_over_samples(
    model: nn.Module, batches: Iterable[Batch], loss: Loss, groups: Sequence[ChannelGroup] | None = None
) -> Collected:
    """Mean over samples of abs(w·g), g the gradient of one sample's own loss; of abs(Σ w·g) for the units of ``groups``."""
    return _over_samples(model, batches, loss, groups, lambda x: x.abs().sum(0), lambda x: x)


# --- steps ---------------------------------------------------------------------------------------------------------------


def _over_samples(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Loss,
    groups: Sequence[ChannelGroup] | None,
    add: Callable[[Tensor], Tensor],
    finish: Callable[[Tensor], Tensor],
) -> Collected:
    readings = readings_of(model, groups)
    totals: list[Tensor | float] = [0.0] * len(readings)
    samples = 0
    with _collecting(model, readings):
        for gradients in _per_sample(model, batches, loss, readings):
            for i, (r, g) in enumerate(zip(readings, gradients, strict=True)):
                products = g.double() * r.parameter.detach().double()
                read = products if r.group is None else vmap(r.of)(products)
                totals[i] = totals[i] + add(read)
            samples += len(gradients[0])
    if samples == 0:
        raise ValueError(NO_BATCHES)
    return _named(readings, totals, lambda total: finish(total / samples)), samples


def _per_sample(model: nn.Module, batches: Iterable[Batch], loss: Loss, readings: Sequence[Reading]) -> Iterator[list[Tensor]]:
    """Gradients of several samples at a time, each of shape (samples, *parameter)."""
    names = {id(p): name for name, p in model.named_parameters()}
    own = {names[id(r.parameter)]: r.parameter.detach() for r in readings}
    size = max(1, HELD // max(1, sum(p.numel() for p in own.values())))

    def of_one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        value = loss(functional_call(model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise TypeError("Expected `loss(output, target)` to return a scalar tensor (reduction='mean' or 'sum')")
        return value.reshape(())

    of_several = vmap(grad_and_value(of_one), in_dims=(None, 0, 0))
    together = True
    for number, (inputs, targets) in enumerate(moved(batches, model), 1):
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor) and targets.dim()):
            raise TypeError("Expected tensors of several samples as inputs and targets: gradients are taken sample by sample")
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            found = None
            if together:
                try:
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", message=".*batching rule.*")  # slower, and nothing else
                        found = of_several(own, x, y)
                except (RuntimeError, ValueError, NotImplementedError):
                    together = False  # not every operation can be batched; whatever else is wrong shows again below
            if found is None:
                found = _one_by_one(model, loss, x, y, readings, names)
            gradients, values = found
            if not bool(torch.isfinite(values).all()):
                worst = values[~torch.isfinite(values)][0].item()
                raise ValueError(f"Expected a finite loss on the calibration batches, got {worst} on batch {number}")
            yield [gradients[names[id(r.parameter)]] for r in readings]


def _one_by_one(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, readings: Sequence[Reading], names: dict[int, str]
) -> tuple[dict[str, Tensor], Tensor]:
    parameters = [r.parameter for r in readings]
    rows, values = [], []
    for inputs, target in zip(x.split(1), y.split(1), strict=True):
        value = loss(model(inputs), target)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise TypeError("Expected `loss(output, target)` to return a scalar tensor (reduction='mean' or 'sum')")
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        rows.append([torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)])
        values.append(value.detach().reshape(()))
    gradients = {names[id(p)]: torch.stack(own) for p, own in zip(parameters, zip(*rows, strict=True), strict=True)}
    return gradients, torch.stack(values)


def _mean_gradient(
    model: nn.Module, batches: Sequence[Batch], loss: Loss, readings: Sequence[Reading]
) -> tuple[list[Tensor], int]:
    if not batches:
        raise ValueError(NO_BATCHES)
    parameters = [r.parameter for r in readings]
    totals = [torch.zeros_like(p, dtype=_wide(p)) for p in parameters]
    samples = 0
    for number, (inputs, targets) in enumerate(moved(batches, model), 1):
        value = checked_loss(loss(model(inputs), targets), number)
        for total, g in zip(totals, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
            if g is not None:
                total += g
        samples += batch_size(targets)
    return [total / len(batches) for total in totals], samples


@contextmanager
def _collecting(model: nn.Module, readings: Sequence[Reading]) -> Iterator[None]:
    """Eval mode, gradients on, attention in the form that has second derivatives; everything as before afterwards."""
    with (
        weights_kept(model),
        evaluating(model),
        torch.enable_grad(),
        requiring_grad([r.parameter for r in readings]),
        sdpa_kernel(SDPBackend.MATH),
    ):
        yield


@contextmanager
def weights_kept(model: nn.Module) -> Iterator[None]:
    """The ``weight`` that torch's pruning hook sets at every forward pass is what it was afterwards: no graph stays behind."""
    live: list[tuple[nn.Module, str, Any]] = [(t.module, t.name, getattr(t.module, t.name)) for t in pruned_targets(model)]
    try:
        yield
    finally:
        for module, name, weight in live:
            setattr(module, name, weight)


def _wide(p: Tensor) -> torch.dtype:
    return torch.float64 if p.dtype == torch.float64 else torch.float32


def _product(parameter: Tensor, gradient: Tensor) -> Tensor:
    return parameter.detach().to(_wide(parameter)) * gradient.detach().to(_wide(parameter))


def _named(
    readings: Sequence[Reading], totals: Sequence[Tensor | float], finish: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    found = {}
    for reading, total in zip(readings, totals, strict=True):
        assert isinstance(total, Tensor)
        found[reading.name] = _checked(reading.name, finish(total).to(_wide(reading.parameter)))
    return found


def _checked(name: str, values: Tensor) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"the gradient of {name} is NaN or infinite: use float32 or bfloat16 weights, or check the loss")
    return values
