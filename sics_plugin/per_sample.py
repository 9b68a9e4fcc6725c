"""Gradients of single samples: layer by layer where that is possible, by ``torch.func`` elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from sics_plugin.collect import Batch, Loss, moved
from sics_plugin.layer_rows import Reads, Rows, largest, rounded
from sics_plugin.per_layer import ByLayer, check_finite, scalar

#: Entries of per-sample gradients that are held at a time the general way. No result depends on it but by rounding.
HELD = 1 << 24
#: Samples of one pass: what the layers read and gave is held for all of them.
TOGETHER = 64


def per_sample(
    model: nn.Module, batches: Iterable[Batch], loss: Loss, parameters: Sequence[nn.Parameter]
) -> Iterator[tuple[int, Iterator[Rows]]]:
    """Gradients of each sample's own loss in each of ``parameters``, with the number of samples, for every batch or part of one.

    The model is in eval mode and its parameters require gradients. What the loss does not depend on has zeros.

    Raises
    ------
    TypeError
        Inputs or targets that cannot be told apart by sample, or a loss that is no scalar.
    ValueError
        A loss that is not finite.
    """
    by_layer, general = ByLayer(model, loss, parameters), _General(model, loss, parameters)
    for number, (inputs, targets) in enumerate(moved(batches, model), 1):
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor) and targets.dim()):
            raise TypeError("Expected tensors of several samples as inputs and targets: gradients are taken sample by sample")
        if number == 1 and _reads_parameters(model, loss, inputs[:1], targets[:1]):
            by_layer.places, general.together = {}, False
        for x, y in zip(inputs.split(TOGETHER), targets.split(TOGETHER), strict=True):
            yield len(y), _both(by_layer.take(x, y, number), general, x, y, number)


def _both(found: dict[int, Reads], general: _General, inputs: Tensor, targets: Tensor, number: int) -> Iterator[Rows]:
    for index, reads in found.items():
        yield reads.rows(index)
    yield from general.rows([i for i in range(len(general.parameters)) if i not in found], inputs, targets, number)


def _reads_parameters(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> bool:
    """Whether a loss has gradients in the model's parameters by itself, as weight decay has."""
    with torch.no_grad():
        output = model(x)
    return bool(getattr(loss(output, y), "requires_grad", False))


# --- the general way -----------------------------------------------------------------------------------------------------


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
        several = self._several(own)
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            found = None
            if self.together:
                try:
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", message=".*batching rule.*")  # slower, and nothing else
                        found = several(x, y)
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

    def _several(self, own: Sequence[nn.Parameter]) -> Callable[[Tensor, Tensor], tuple[list[Tensor], Tensor]]:
        names = [self.names[id(p)] for p in own]
        detached = {name: p.detach() for name, p in zip(names, own, strict=True)}

        def of_one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return scalar(self.loss(functional_call(self.model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0)))

        of_several = vmap(grad_and_value(of_one), in_dims=(None, 0, 0))

        def several(x: Tensor, y: Tensor) -> tuple[list[Tensor], Tensor]:
            gradients, values = of_several(detached, x, y)
            return [gradients[name] for name in names], values

        return several

    def _one_by_one(self, x: Tensor, y: Tensor, own: Sequence[nn.Parameter]) -> tuple[list[Tensor], Tensor]:
        rows, values = [], []
        for inputs, target in zip(x.split(1), y.split(1), strict=True):
            value = scalar(self.loss(self.model(inputs), target))
            own_gradients = torch.autograd.grad(value, list(own), allow_unused=True)
            rows.append([torch.zeros_like(p) if g is None else g for p, g in zip(own, own_gradients, strict=True)])
            values.append(value.detach())
        return [torch.stack(of_samples) for of_samples in zip(*rows, strict=True)], torch.stack(values)
