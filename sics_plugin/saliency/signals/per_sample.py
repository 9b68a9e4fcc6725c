"""Gradients of single samples: layer by layer where that is possible, by ``torch.func`` elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from sics_plugin.saliency.batches import Batch, Given, moved
from sics_plugin.saliency.objective import Objective, check_finite, logits_of, outputs, scalar
from sics_plugin.saliency.signals.layer_gradients import Place, Reads, Rows, is_known, largest, rounded, samples_first
from sics_plugin.saliency.unchanged import standing_in
from sics_plugin.warn import warn_caller


class ByLayer:
    """One pass over a batch, which leaves behind what each layer read and the gradient of what it gave."""

    def __init__(self, model: nn.Module, loss: Objective, parameters: Sequence[nn.Parameter]) -> None:
        self.model, self.loss, self.parameters = model, loss, parameters
        self.places = _places(model, parameters)
        self._tried = False
        #: How many rows a sample had where a place was trusted: of rows that are picked, as many may be any sample's.
        self._folds: dict[int, float] = {}

    def take(self, given: Given) -> dict[int, Reads]:
        """What was found, by parameter; those that are missing are to be taken the general way."""
        if given.whole:  # its loss is one of the batch
            self.places = {}
        if self.places and not self._tried:
            if given.size < 2:  # one sample alone does not tell whether samples meet
                return {}
            self._tried = True
            self._trust(given)
        values: list[Tensor] = []

        def total(output: Tensor) -> Tensor:
            values.append(_losses(self.loss, output, given))
            return values[0].sum()

        found = self._pass(given, total) if self.places else {}
        if found:
            check_finite(values[0].detach(), given.number)
        return found

    def _pass(
        self, given: Given, total: Callable[[Tensor], Tensor], values: Mapping[int, Tensor] | None = None
    ) -> dict[int, Reads]:
        """``values`` stand for some of the parameters."""
        calls: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Tensor:
            calls.setdefault(module, []).append((args[0] if args else kwargs["input"], output))
            copy: Tensor = output.clone()  # what comes after may change it in place
            return copy

        shared = {}
        for i in [i for i, place in self.places.items() if place.role == "broadcast"]:
            row = (values or {}).get(i, self.parameters[i]).detach()
            shared[i] = row.expand(given.size, *row.shape[1:]).requires_grad_()
        try:
            with ExitStack() as hooks:
                for module in {place.module for place in self.places.values() if place.role != "broadcast"}:
                    hooks.callback(module.register_forward_hook(hook, prepend=True, with_kwargs=True).remove)
                output: Any = self._output(given, {**(values or {}), **shared})
                if not isinstance(output, Tensor) or not output.dim() or len(output) != given.size:
                    raise TypeError("no tensor of one row a sample")
                value = total(output)
            reached = [*(made[0][1] for made in calls.values() if len(made) == 1), *shared.values()]
            gradients = torch.autograd.grad(value, reached, allow_unused=True)
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError):
            if shared:  # some are no rows after all
                self.places = {i: place for i, place in self.places.items() if i not in shared}
                return self._pass(given, total, values)
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
                read = samples_first(place.module, made[0][0], given.size)
                gave = None if gradient is None else samples_first(place.module, gradient, given.size)
                if read is None or (gradient is not None and gave is None):
                    continue
                fold = made[0][0].shape[0] / given.size
                if self._folds.setdefault(index, fold) == fold:
                    found[index] = Reads(place, read, gave)
        return found

    def _output(self, given: Given, values: Mapping[int, Tensor]) -> Any:
        """The logits, with other values for the parameters at some indices."""
        with standing_in(self.model, [self.parameters[i] for i in values], list(values.values())):
            return logits_of(given.through(self.model))

    def _trust(self, given: Given) -> None:
        """Keep the places whose gradients of the first and the last sample are what these samples have when each is alone.

        By a fixed sum of the outputs instead of the loss: of samples that are classified well the loss leaves little but
        rounding. And with other values where a parameter is zero, as the last norm of a residual block is at first: it would hide
        the block.
        """
        zero = {i: _pattern(p) for i, p in enumerate(self.parameters) if p.is_floating_point() and not largest(p)}
        outputs: list[Tensor] = []

        def probe(output: Tensor) -> Tensor:
            outputs.append(output.detach())
            return (output * _pattern(output[0])).sum()

        found = self._pass(given, probe, zero)
        told: set[int] = set()
        batch = outputs[-1:]
        for at in {0, given.size - 1} if found else ():
            own = [zero.get(i, p) for i, p in enumerate(self.parameters)]
            value = probe(self._output(given.part(at, at + 1), zero))
            if not _close(batch[0][at], outputs[-1][0]):
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


def _losses(loss: Objective, output: Tensor, given: Given) -> Tensor:
    """Every sample's own loss, shape (samples,)."""
    rows = replace(given, args=(), kwargs={})

    def of_one(row: Tensor, *targets: Tensor) -> Tensor:
        target = rows.having([t.unsqueeze(0) for t in targets], 1).targets
        return scalar(loss.value(row.unsqueeze(0), target))

    try:
        values: Tensor = vmap(of_one)(output, *rows.rows())
        return values
    except (RuntimeError, ValueError, NotImplementedError):
        return torch.stack([of_one(*one) for one in zip(output, *rows.rows(), strict=True)])


#: Entries of per-sample gradients that are held at a time the general way. No result depends on it but by rounding.
HELD = 1 << 24
#: Samples of one pass: what the layers read and gave is held for all of them.
TOGETHER = 64


def per_sample(
    model: nn.Module, batches: Iterable[Batch], loss: Objective, parameters: Sequence[nn.Parameter]
) -> Iterator[tuple[int, Iterator[Rows]]]:
    """Gradients of each sample's own loss in each of ``parameters``, with the number of samples, for every batch or part of one.

    The model is in eval mode and its parameters require gradients. What the loss does not depend on has zeros.
    """
    by_layer, general = ByLayer(model, loss, parameters), _General(model, loss, parameters)
    for given in moved(batches, model):
        given.check_splits()
        if given.number == 1 and _reads_parameters(model, loss, given.part(0, TOGETHER)):
            by_layer.places, general.together = {}, False
        loss.check_labels(given)
        for part in given.parts(TOGETHER):
            found = by_layer.take(part)
            left = [i for i in range(len(parameters)) if i not in found]
            layers = (reads.rows(index) for index, reads in found.items())
            yield part.size, chain(layers, general.rows(left, part))


def _reads_parameters(model: nn.Module, loss: Objective, given: Given) -> bool:
    """Whether a loss has gradients in the model's parameters by itself, as weight decay has."""
    with torch.no_grad():
        output = outputs(model, given)
    loss.see(output, given)
    _compare_alone(model, given, logits_of(output))
    value = None if given.whole else loss.value(logits_of(output), given.target)
    return bool(getattr(value, "requires_grad", False))


def _compare_alone(model: nn.Module, given: Given, together: Any) -> None:
    """Say so where a sample gives other outputs alone than among others: then its own gradient is of something else."""
    if given.size < 2 or not isinstance(together, Tensor) or not together.dim() or len(together) != given.size:
        return
    with torch.no_grad():
        try:
            alone = logits_of(outputs(model, given.part(0, 1)))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
            return  # shows again where gradients are taken
    if isinstance(alone, Tensor) and alone.shape == together[:1].shape and not _close(together[:1], alone):
        warn_caller(
            f"the first sample of batch {given.number} gives other outputs alone than among the {given.size}: samples see each "
            "other, outputs are random, or a tensor that is no row a sample was split, such as a mask over as many positions; "
            "gradients are of every sample alone"
        )


class _General:
    """Gradients of single samples by ``torch.func``, and one sample after another where that cannot be."""

    def __init__(self, model: nn.Module, loss: Objective, parameters: Sequence[nn.Parameter]) -> None:
        self.model, self.loss, self.parameters = model, loss, parameters
        self.together = True

    def rows(self, indices: Sequence[int], given: Given) -> Iterator[Rows]:
        """Of the parameters at these indices; several :class:`Rows` of one index stand for samples one after another."""
        if not indices:
            return
        own = [self.parameters[i] for i in indices]
        size = max(1, HELD // max(1, sum(p.numel() for p in own)))
        for part in given.parts(size):
            found = self._together(part, own) if self.together else None
            if found is None:
                found = self._one_by_one(part, own)
            gradients, values = found
            check_finite(values, given.number)
            for index, g in zip(indices, gradients, strict=True):
                g = g.detach() if g.dtype == torch.float64 else g.detach().float()
                most = largest(g)
                yield Rows(index, rounded(most), iter((g / rounded(most),) if most else ()))

    def _together(self, given: Given, own: Sequence[nn.Parameter]) -> tuple[Sequence[Tensor], Tensor] | None:
        """None where not every operation can be batched; whatever else is wrong shows again one by one."""

        def of_one(values: tuple[Tensor, ...], rows: list[Tensor]) -> Tensor:
            one = given.having([row.unsqueeze(0) for row in rows], 1)
            with standing_in(self.model, own, values):
                return self.loss(one.through(self.model), one)

        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*batching rule.*")  # slower, and nothing else
                several = vmap(grad_and_value(of_one), in_dims=(None, 0))
                return several(tuple(p.detach() for p in own), given.rows())
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
            self.together = False
            return None

    def _one_by_one(self, given: Given, own: Sequence[nn.Parameter]) -> tuple[list[Tensor], Tensor]:
        rows, values = [], []
        for one in given.parts(1):
            value = self.loss(one.through(self.model), one)
            own_gradients = torch.autograd.grad(value, list(own), allow_unused=True)
            rows.append([torch.zeros_like(p) if g is None else g for p, g in zip(own, own_gradients, strict=True)])
            values.append(value.detach())
        return [torch.stack(of_samples) for of_samples in zip(*rows, strict=True)], torch.stack(values)
