"""Gradients of single samples: layer by layer where that is possible, by ``torch.func`` elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from sics_plugin.saliency.batches import Batch, Loss, check_finite, moved, scalar
from sics_plugin.saliency.layer_gradients import Place, Reads, Rows, is_known, largest, rounded, samples_first


class ByLayer:
    """One pass over a batch, which leaves behind what each layer read and the gradient of what it gave."""

    def __init__(self, model: nn.Module, loss: Loss, parameters: Sequence[nn.Parameter]) -> None:
        self.model, self.loss, self.parameters = model, loss, parameters
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.places = _places(model, parameters)
        self._tried = False
        #: How many rows a sample had where a place was trusted: of rows that are picked, as many may be any sample's.
        self._folds: dict[int, float] = {}

    def take(self, inputs: Tensor, targets: Tensor, number: int) -> dict[int, Reads]:
        """What was found, by parameter; those that are missing are to be taken the general way."""
        if self.places and not self._tried:
            if len(inputs) < 2:  # one sample alone does not tell whether samples meet
                return {}
            self._tried = True
            self._trust(inputs)
        values: list[Tensor] = []

        def total(output: Tensor) -> Tensor:
            values.append(_losses(self.loss, output, targets))
            return values[0].sum()

        found = self._pass(inputs, total) if self.places else {}
        if found:
            check_finite(values[0].detach(), number)
        return found

    def _pass(
        self, inputs: Tensor, total: Callable[[Tensor], Tensor], values: Mapping[str, Tensor] | None = None
    ) -> dict[int, Reads]:
        """``values`` stand for some of the parameters."""
        calls: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Tensor:
            calls.setdefault(module, []).append((args[0] if args else kwargs["input"], output))
            copy: Tensor = output.clone()  # what comes after may change it in place
            return copy

        shared = {}
        for i in [i for i, place in self.places.items() if place.role == "broadcast"]:
            row = (values or {}).get(self.names[id(self.parameters[i])], self.parameters[i]).detach()
            shared[i] = row.expand(len(inputs), *row.shape[1:]).requires_grad_()
        try:
            with ExitStack() as hooks:
                for module in {place.module for place in self.places.values() if place.role != "broadcast"}:
                    hooks.callback(module.register_forward_hook(hook, prepend=True, with_kwargs=True).remove)
                given = {**(values or {}), **{self.names[id(self.parameters[i])]: row for i, row in shared.items()}}
                output: Any = functional_call(self.model, given, (inputs,)) if given else self.model(inputs)
                if not isinstance(output, Tensor) or not output.dim() or len(output) != len(inputs):
                    raise TypeError("no tensor of one row a sample")
                value = total(output)
            reached = [*(made[0][1] for made in calls.values() if len(made) == 1), *shared.values()]
            gradients = torch.autograd.grad(value, reached, allow_unused=True)
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError):
            if shared:  # some are no rows after all
                self.places = {i: place for i, place in self.places.items() if i not in shared}
                return self._pass(inputs, total, values)
            self.places = {}  # whatever is wrong shows again the general way
            return {}
        gradient_of = {id(tensor): gradient for tensor, gradient in zip(reached, gradients, strict=True)}
        found = {}
        for index, place in self.places.items():
            if place.role == "broadcast":
                gradient = gradient_of[id(shared[index])]
                found[index] = Reads(place, shared[index].detach(), gradient)
            elif len(made := calls.get(place.module, [])) == 1:
                gradient = gradient_of[id(made[0][1])]
                read = samples_first(place.module, made[0][0], len(inputs))
                gave = None if gradient is None else samples_first(place.module, gradient, len(inputs))
                if read is None or (gradient is not None and gave is None):
                    continue
                fold = made[0][0].shape[0] / len(inputs)
                if self._folds.setdefault(index, fold) == fold:
                    found[index] = Reads(place, read, gave)
        return found

    def _trust(self, inputs: Tensor) -> None:
        """Keep the places whose gradients of the first and the last sample are what these samples have when each is alone.

        By a fixed sum of the outputs instead of the loss: of samples that are classified well the loss leaves little but
        rounding. And with other values where a parameter is zero, as the last norm of a residual block is at first: it would hide
        the block.
        """
        zero = {name: _pattern(p) for name, p in self.model.named_parameters() if p.is_floating_point() and not largest(p)}
        outputs: list[Tensor] = []

        def probe(output: Tensor) -> Tensor:
            outputs.append(output.detach())
            return (output * _pattern(output[0])).sum()

        found = self._pass(inputs, probe, zero)
        batch = outputs[-1] if found else inputs
        told: set[int] = set()
        for at in {0, len(inputs) - 1} if found else ():
            own = [zero.get(self.names[id(p)], p) for p in self.parameters]
            value = probe(functional_call(self.model, zero, (inputs[at : at + 1],)))
            if not _close(batch[at], outputs[-1][0]):
                found = {}  # samples see each other
                break
            alone = torch.autograd.grad(value, own, allow_unused=True)
            for index in list(found):
                agrees = _agrees(found[index], at, alone[index])
                if agrees is False:
                    del found[index]
                elif agrees:
                    told.add(index)
        self.places = {index: place for index, place in self.places.items() if index in found and index in told}


def _pattern(like: Tensor) -> Tensor:
    """Numbers between −1 and 1 without a rule that a layer could follow."""
    places = torch.arange(1, like.numel() + 1, dtype=torch.float64, device=like.device)
    return places.cos().view(like.shape).to(like.dtype).requires_grad_(like.requires_grad)


def _agrees(reads: Reads, at: int, alone: Tensor | None) -> bool | None:
    """Whether one sample's gradient is what it is alone; None where both are zero, which tells nothing."""
    if alone is None or reads.gradient is None:
        return alone is None and reads.gradient is None
    one = Reads(reads.place, reads.inputs[at : at + 1], reads.gradient[at : at + 1]).rows(0)
    try:
        row = next((chunk[0].double() * one.scale for chunk in one.chunks), torch.zeros_like(alone, dtype=torch.float64))
    except (RuntimeError, ValueError):  # a layer that does something else with what it reads, such as padding it by itself
        return False
    if row.shape != alone.shape:
        return False
    return _close(alone, row) if largest(row) or largest(alone) else None


def _close(one: Tensor, other: Tensor) -> bool:
    """Up to rounding of the first one's type."""
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * max(largest(one), largest(other))
    return bool(largest(one.double() - other.double()) <= tolerance)


def _places(model: nn.Module, parameters: Sequence[nn.Parameter]) -> dict[int, Place]:
    """Which of the parameters are a weight or bias of one layer of a known kind, and of no other module."""
    holders: dict[int, list[Place | None]] = {id(p): [] for p in parameters}
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(p) not in holders:
                continue
            role = name.removesuffix("_orig")
            known = is_known(module) and role in ("weight", "bias")
            mask = getattr(module, f"{role}_mask", None) if name != role else None
            holders[id(p)].append(Place(module, role, mask) if known else None)
    found = {}
    for index, p in enumerate(parameters):
        held = holders[id(p)]
        if len(held) == 1 and held[0] is not None:
            found[index] = held[0]
        elif len(held) == 1 and p.dim() > 1 and p.shape[0] == 1:
            found[index] = Place(model, "broadcast")
    return found


def _losses(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """Every sample's own loss, shape (samples,)."""

    def of_one(row: Tensor, target: Tensor) -> Tensor:
        return scalar(loss(row.unsqueeze(0), target.unsqueeze(0)))

    try:
        values: Tensor = vmap(of_one)(output, targets)
        return values
    except (RuntimeError, ValueError, NotImplementedError):
        return torch.stack([of_one(row, target) for row, target in zip(output, targets, strict=True)])


#: Entries of per-sample gradients that are held at a time the general way. No result depends on it but by rounding.
HELD = 1 << 24
#: Samples of one pass: what the layers read and gave is held for all of them.
TOGETHER = 64


def per_sample(
    model: nn.Module, batches: Iterable[Batch], loss: Loss, parameters: Sequence[nn.Parameter]
) -> Iterator[tuple[int, Iterator[Rows]]]:
    """Gradients of each sample's own loss in each of ``parameters``, with the number of samples, for every batch or part of one.

    The model is in eval mode and its parameters require gradients. What the loss does not depend on has zeros.
    """
    by_layer, general = ByLayer(model, loss, parameters), _General(model, loss, parameters)
    for number, (inputs, targets) in enumerate(moved(batches, model), 1):
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor) and targets.dim()):
            raise TypeError("Expected tensors of several samples as inputs and targets: gradients are taken sample by sample")
        if number == 1 and _reads_parameters(model, loss, inputs[:1], targets[:1]):
            by_layer.places, general.together = {}, False
        for x, y in zip(inputs.split(TOGETHER), targets.split(TOGETHER), strict=True):
            found = by_layer.take(x, y, number)
            left = [i for i in range(len(parameters)) if i not in found]
            layers = (reads.rows(index) for index, reads in found.items())
            yield len(y), chain(layers, general.rows(left, x, y, number))


def _reads_parameters(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> bool:
    """Whether a loss has gradients in the model's parameters by itself, as weight decay has."""
    with torch.no_grad():
        output = model(x)
    return bool(getattr(loss(output, y), "requires_grad", False))


class _General:
    """Gradients of single samples by ``torch.func``, and one sample after another where that cannot be."""

    def __init__(self, model: nn.Module, loss: Loss, parameters: Sequence[nn.Parameter]) -> None:
        self.model, self.loss, self.parameters = model, loss, parameters
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.together = True

    def rows(self, indices: Sequence[int], inputs: Tensor, targets: Tensor, number: int) -> Iterator[Rows]:
        """Of the parameters at these indices; several :class:`Rows` of one index stand for samples one after another."""
        if not indices:
            return
        own = [self.parameters[i] for i in indices]
        size = max(1, HELD // max(1, sum(p.numel() for p in own)))
        names = [self.names[id(p)] for p in own]
        detached = {name: p.detach() for name, p in zip(names, own, strict=True)}

        def of_one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return scalar(self.loss(functional_call(self.model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0)))

        several = vmap(grad_and_value(of_one), in_dims=(None, 0, 0))
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            found = None
            if self.together:
                try:
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", message=".*batching rule.*")  # slower, and nothing else
                        by_name, values = several(detached, x, y)
                        found = [by_name[name] for name in names], values
                except (RuntimeError, ValueError, NotImplementedError):
                    self.together = False  # not every operation can be batched; whatever else is wrong shows again below
            if found is None:
                found = self._one_by_one(x, y, own)
            gradients, values = found
            check_finite(values, number)
            for index, g in zip(indices, gradients, strict=True):
                g = g.detach() if g.dtype == torch.float64 else g.detach().float()
                most = largest(g)
                yield Rows(index, rounded(most), iter((g / rounded(most),) if most else ()))

    def _one_by_one(self, x: Tensor, y: Tensor, own: Sequence[nn.Parameter]) -> tuple[list[Tensor], Tensor]:
        rows, values = [], []
        for inputs, target in zip(x.split(1), y.split(1), strict=True):
            value = scalar(self.loss(self.model(inputs), target))
            own_gradients = torch.autograd.grad(value, list(own), allow_unused=True)
            rows.append([torch.zeros_like(p) if g is None else g for p, g in zip(own, own_gradients, strict=True)])
            values.append(value.detach())
        return [torch.stack(of_samples) for of_samples in zip(*rows, strict=True)], torch.stack(values)
