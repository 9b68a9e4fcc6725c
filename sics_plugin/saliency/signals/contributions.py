"""What each weight contributes to the loss, from calibration batches: w·g in the forms that published scorers use.

``w·g`` is minus the first-order change of the loss when the weight goes. For a unit of several weights, going together, it is
the sum over them; where a scorer then squares or takes the absolute value before it averages, the sums have to be taken batch
by batch, which is what :class:`Reading` is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from sics_plugin.channels.groups import BoundGroup, ChannelGroup, bind_groups
from sics_plugin.network.targets import dense_parameters
from sics_plugin.saliency.batches import NO_BATCHES, Batch
from sics_plugin.saliency.objective import Objective, batch_losses
from sics_plugin.saliency.signals.per_sample import per_sample
from sics_plugin.saliency.unchanged import requiring_grad
from sics_plugin.selection.fetch import all_finite

Collected = tuple[dict[str, Tensor], int]


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
    return {name: norm / count**0.5 for name, norm in _finite(norms).items()}


def mean_contribution(model: nn.Module, batches: Iterable[Batch], loss: Objective) -> Collected:
    """w·g with g the gradient of the mean loss over all batches, signed; every parameter's shape, float32 or wider."""
    readings = readings_of(model, None)
    with _collecting(readings):
        gradients, samples = _mean_gradient(model, list(batches), loss, readings)
    return _named(readings, [_product(r.parameter, g) for r, g in zip(readings, gradients, strict=True)]), samples


def gradient_flow(model: nn.Module, batches: Iterable[Batch], loss: Objective) -> Collected:
    """w·(H g), g and H the gradient and Hessian of the mean loss over all batches, in all parameters.

    The squared norm of the gradient changes by −2·w·(H g), to first order, when the weight goes. Two passes over the batches.
    """
    held = list(batches)
    readings = readings_of(model, None)
    parameters = [r.parameter for r in readings]
    with _collecting(readings):
        gradients, samples = _mean_gradient(model, held, loss, readings)
        totals = [torch.zeros_like(g) for g in gradients]
        for value, _ in batch_losses(model, held, loss):
            own = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
            flow = sum((g.to(o.dtype) * o).sum().to(value.device) for g, o in zip(gradients, own, strict=True) if o is not None)
            if not isinstance(flow, Tensor) or not flow.requires_grad:  # the loss is linear in what it depends on
                continue
            curved = torch.autograd.grad(flow, parameters, allow_unused=True)
            for total, c in zip(totals, curved, strict=True):
                if c is not None:
                    total += c
    return _named(
        readings, [_product(r.parameter, total) / len(held) for r, total in zip(readings, totals, strict=True)]
    ), samples


def rms_over_batches(
    model: nn.Module, batches: Iterable[Batch], loss: Objective, groups: Sequence[ChannelGroup] | None = None
) -> Collected:
    """Root of the mean over batches of (w·g)², g the gradient of one batch; of (Σ w·g)² for the units of ``groups``."""
    readings = readings_of(model, groups)
    parameters = [r.parameter for r in readings]
    totals = _zeros(readings)
    sizes = []
    with _collecting(readings):
        for value, size in batch_losses(model, batches, loss):
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            for r, g, total in zip(readings, gradients, totals, strict=True):
                if g is not None:
                    total += r.of(_product(r.parameter, g).double()).square()
            sizes.append(size)
    return _named(readings, [(total / len(sizes)).sqrt() for total in totals]), sum(sizes)


def rms_over_samples(model: nn.Module, batches: Iterable[Batch], loss: Objective) -> Collected:
    """Root of the mean over samples of (w·g)², g the gradient of one sample's own loss."""
    readings = readings_of(model, None)
    totals, samples = _over_samples(model, batches, loss, readings, _add_squares, 2)
    squares = [total * r.parameter.detach().double().square() for r, total in zip(readings, totals, strict=True)]
    return _named(readings, [(square / samples).sqrt() for square in squares]), samples


def mean_absolute_over_samples(
    model: nn.Module, batches: Iterable[Batch], loss: Objective, groups: Sequence[ChannelGroup] | None = None
) -> Collected:
    """Mean over samples of abs(w·g), g the gradient of one sample's own loss; of abs(Σ w·g) for the units of ``groups``."""
    readings = readings_of(model, groups)
    totals, samples = _over_samples(model, batches, loss, readings, _add_absolutes, 1)
    for i, r in enumerate(readings):
        if r.group is None:
            totals[i] = totals[i] * r.parameter.detach().double().abs()
    return _named(readings, [total / samples for total in totals]), samples


def _over_samples(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Objective,
    readings: Sequence[Reading],
    add: Callable[[Reading, Tensor, Tensor], None],
    power: int,
) -> tuple[list[Tensor], int]:
    """Sums over samples of what ``add`` makes of their gradients, float64; it is homogeneous of degree ``power`` in them."""
    samples = 0
    with _collecting(readings):
        totals = _zeros(readings)
        for size, found in per_sample(model, batches, loss, [r.parameter for r in readings]):
            samples += size
            for rows in found:
                # In float32 within a batch, where the chunks are still in the cache; in float64 between them.
                part = torch.zeros_like(totals[rows.index], dtype=_wide(readings[rows.index].parameter))
                for chunk in rows.chunks:
                    add(readings[rows.index], part, chunk)
                totals[rows.index] += part.double() * rows.scale**power
    if samples == 0:
        raise ValueError(NO_BATCHES)
    return totals, samples


def _add_squares(reading: Reading, total: Tensor, gradients: Tensor) -> None:
    if len(gradients) == 1:
        total.addcmul_(gradients[0], gradients[0])
    else:
        total.add_(gradients.square_().sum(0))


def _add_absolutes(reading: Reading, total: Tensor, gradients: Tensor) -> None:
    read = gradients
    if reading.group is not None:
        read = vmap(reading.of)(gradients * reading.parameter.detach().to(gradients.dtype))
    total.add_(read.abs_().sum(0) if len(read) > 1 else read[0].abs_())


def _mean_gradient(
    model: nn.Module, batches: Sequence[Batch], loss: Objective, readings: Sequence[Reading]
) -> tuple[list[Tensor], int]:
    parameters = [r.parameter for r in readings]
    totals = [torch.zeros_like(p, dtype=_wide(p)) for p in parameters]
    samples = 0
    for value, size in batch_losses(model, batches, loss):
        for total, g in zip(totals, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
            if g is not None:
                total += g
        samples += size
    return [total / len(batches) for total in totals], samples


@contextmanager
def _collecting(readings: Sequence[Reading]) -> Iterator[None]:
    """Gradients on, attention in the form that has second derivatives."""
    with (
        torch.enable_grad(),
        requiring_grad([r.parameter for r in readings]),
        sdpa_kernel(SDPBackend.MATH),
    ):
        yield


def _wide(p: Tensor) -> torch.dtype:
    return torch.float64 if p.dtype == torch.float64 else torch.float32


def _product(parameter: Tensor, gradient: Tensor) -> Tensor:
    return parameter.detach().to(_wide(parameter)) * gradient.detach().to(_wide(parameter))


def _zeros(readings: Sequence[Reading]) -> list[Tensor]:
    return [torch.zeros_like(r.of(r.parameter.detach()), dtype=torch.float64) for r in readings]


def _named(readings: Sequence[Reading], values: Sequence[Tensor]) -> dict[str, Tensor]:
    return _finite({r.name: value.to(_wide(r.parameter)) for r, value in zip(readings, values, strict=True)})


def _finite(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, refused where something is not finite; all are asked at once."""
    for name, finite in zip(values, all_finite(list(values.values())), strict=True):
        if not finite:
            raise ValueError(f"the gradient of {name} is NaN or infinite: use float32 or bfloat16 weights, or check the loss")
    return values
