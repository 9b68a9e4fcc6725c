"""The number that gradients are taken of, a loss of the model's output or the model's own; and whether it says anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.saliency.batches import NO_BATCHES, Batch, Given, Loss, moved
from sics_plugin.selection.fetch import numbers
from sics_plugin.warn import warn_caller

ZERO = "saliency zero everywhere"
CONSTANT = "saliency constant"
AT_ROUNDING = "saliency at rounding level"
IGNORED = -100  # torch's label of what does not count
#: How many times the spacing of floating point numbers a gradient may be, beside that of another target, to be rounding; of
#: numbers of 16 bits, sixteen times their spacing would be an eighth of them.
ROUNDING = 16
ROUNDING_OF_16_BITS = 1


def logits_of(output: Any) -> Any:
    """A model's output, or its ``logits`` where it has such, as an attribute or by name."""
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return found if isinstance(found, Tensor) and not isinstance(output, Tensor) else output


def loss_of(output: Any) -> Any:
    """What a model says its loss is; None where it says nothing."""
    return output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)


class Objective:
    """A loss, and what it takes of the output and the batch; with what was seen of the batches.

    Of an (input, target) batch it is ``loss(output, target)``, the output's ``logits`` instead of an output that has them; of a
    mapping ``loss(output, batch)``. Without a loss: cross-entropy, and of a mapping the ``loss`` in the model's output.
    """

    def __init__(self, loss: Loss | None = None) -> None:
        if loss is not None and not callable(loss):
            raise TypeError(f"Expected `loss` to be a function of the output and the target, got {loss!r:.60}")
        self.loss = None if _is_plain(loss) else loss
        self.classes: int | None = None
        #: Whether the loss had gradients beyond rounding in the outputs of all batches so far; None where that cannot be said.
        self.at_rounding: bool | None = None

    def __call__(self, output: Any, given: Given) -> Tensor:
        """The loss of a batch, a scalar."""
        if given.whole and self.loss is None:
            own = loss_of(output)
            if own is None:
                raise TypeError(
                    f"Expected the model to return its `loss` for a batch that is a mapping, got {type(output).__name__} without "
                    "one: put the labels into the batch, give `loss=`, a function of the output and the batch, or give "
                    "(inputs, target) batches"
                )
            return scalar(own)
        if given.whole:
            return scalar(self.value(output, given.target))
        return scalar(self.value(logits_of(output), given.target))

    def value(self, output: Any, target: Any) -> Tensor:
        """The loss of an output that is there already."""
        return cross_entropy(output, target) if self.loss is None else self.loss(output, target)

    def see(self, output: Any, given: Given) -> None:
        """Look at a batch's output before its loss is taken: labels that are none are refused."""
        logits = logits_of(output)
        if given.whole or not isinstance(logits, Tensor):
            return
        if self._takes_labels and isinstance(given.target, Tensor) and logits.dim() and not given.target.is_floating_point():
            self.classes = logits.shape[-1 if logits.dim() == 1 or _by_position(logits, given.target) else 1]
        self.check_labels(given)
        if self.at_rounding is not False or given.number == 1:
            found = _at_rounding(self, logits, given.target)
            self.at_rounding = found if given.number == 1 or found is None else bool(self.at_rounding and found)

    @property
    def _takes_labels(self) -> bool:
        return self.loss in (None, nn.functional.nll_loss) or isinstance(self.loss, nn.CrossEntropyLoss | nn.NLLLoss)

    def check_labels(self, given: Given) -> None:
        """Refuse labels that the outputs seen so far have no place for: on a GPU they would be the end of the process."""
        target = given.targets
        if self.classes is None or not isinstance(target, Tensor) or target.is_floating_point():
            return
        labels = target[target != getattr(self.loss, "ignore_index", IGNORED)]
        if not labels.numel():
            warn_caller(f"every label of batch {given.number} is ignored ({IGNORED}): it says nothing")
            return
        low, high = (int(x) for x in labels.aminmax())
        if low < 0 or high >= self.classes:
            raise ValueError(
                f"Expected labels in [0, {self.classes}) on batch {given.number}, got {low if low < 0 else high}: the model has "
                f"{self.classes} outputs"
            )


def _is_plain(loss: Loss | None) -> bool:
    """Whether a loss is torch's cross-entropy without options, the default by another name."""
    if type(loss) is nn.CrossEntropyLoss:
        plain = loss.weight is None and loss.label_smoothing == 0
        return plain and (loss.reduction, loss.ignore_index) == ("mean", IGNORED)
    return loss is nn.functional.cross_entropy


def cross_entropy(output: Any, target: Any) -> Tensor:
    """Cross-entropy as torch's, and of (samples, positions, classes) with labels (samples, positions): the mean over all labels.

    Labels belong to the position that they stand at: nothing is shifted. What is ignored does not count; where all is, it is
    zero.
    """
    if not isinstance(output, Tensor) or not isinstance(target, Tensor):
        raise TypeError(
            f"Expected a tensor (or an object with `logits`) from the model and a tensor as target for cross-entropy, got "
            f"{type(output).__name__} and {type(target).__name__}: give `loss=`"
        )
    if target.is_floating_point():
        return nn.functional.cross_entropy(output, target)
    if _by_position(output, target):
        output, target = output.flatten(0, 1), target.flatten()
    counted = (target != IGNORED).sum().clamp(min=1)
    total: Tensor = nn.functional.cross_entropy(output, target, ignore_index=IGNORED, reduction="sum") / counted
    return total


def _by_position(output: Tensor, target: Tensor) -> bool:
    """Whether classes come last in an output, after positions; torch has them second."""
    if output.dim() != 3 or target.dim() != 2 or output.shape[:2] != target.shape:
        return False
    if output.shape[1] == output.shape[2]:
        raise ValueError(
            f"Expected outputs whose classes can be told from positions, got outputs {tuple(output.shape)} for labels "
            f"{tuple(target.shape)}: give `loss=`, a function of both"
        )
    return True


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


def batch_losses(model: nn.Module, batches: Iterable[Batch], objective: Objective) -> Iterator[tuple[Tensor, int]]:
    """The checked loss of every batch, with its graph, and its number of samples; refused where there is no batch."""
    count = 0
    for given in moved(batches, model):
        count += 1
        output = outputs(model, given)
        objective.see(output, given)
        value = objective(output, given)
        check_finite(value, count)
        yield value, given.size
    if count == 0:
        raise ValueError(NO_BATCHES)


def outputs(model: nn.Module, given: Given) -> Any:
    """The model's output for a batch; labels that its own loss has no place for are named with the batch."""
    try:
        return given.through(model)
    except IndexError as error:
        if given.whole and "out of bounds" in str(error):
            raise ValueError(f"Expected labels that the model has an output for on batch {given.number}: {error}") from error
        raise


def _at_rounding(objective: Objective, output: Tensor, target: Any) -> bool | None:
    """Whether the loss has no gradient in the outputs but rounding, as of the model's own outputs taken as its target.

    Such gradients are differences of nearly equal numbers: output minus target, or their probabilities. How large those numbers
    are is told by the gradient for another target, which nothing cancels; the difference is noise where it is no larger than
    their spacing. Labels are exempt, numbers 0 and 1 included: what is left of 1 − p of a network that is right with certainty is
    small, and exact. None: cannot be said.
    """
    if not isinstance(target, Tensor) or not target.is_floating_point() or target.shape != output.shape or not target.numel():
        return None
    if not output.is_floating_point() or bool(((target == 0) | (target == 1)).all()):
        return None
    leaf, target = output.detach().clone().requires_grad_(), target.detach()
    try:
        with torch.enable_grad():
            if objective.value(leaf.detach(), target).requires_grad:  # it reads the weights itself
                return None
            own, other = (torch.autograd.grad(objective.value(leaf, t).sum(), leaf)[0] for t in (target, _another(target)))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        return None
    most = float(other.abs().max())
    wide = max(torch.finfo(output.dtype).eps, torch.finfo(target.dtype).eps)
    spacing = wide * (ROUNDING if wide <= torch.finfo(torch.float32).eps else ROUNDING_OF_16_BITS)
    return float(own.abs().max()) <= spacing * most if 0 < most < float("inf") else None


def _another(target: Tensor) -> Tensor:
    """A target far from this one: of probabilities the least likely class, of other numbers their opposites."""
    if bool(((target < 0) | (target > 1)).any()):
        return -target
    if target.dim() and target.shape[-1] > 1:
        return nn.functional.one_hot(target.argmin(-1), target.shape[-1]).to(target.dtype)
    return (target < 0.5).to(target.dtype)


def flags_of(values: Iterable[Tensor], at_rounding: bool) -> tuple[str, ...]:
    """What is to be said of the values of a whole collection, matrix weights if there are any."""
    every = [v.detach() for v in values if v.numel()]
    ranked = [v for v in every if v.dim() > 1] or every
    if not ranked:
        return ()
    found = torch.tensor(numbers([f(v) for f in (torch.min, torch.max) for v in ranked]), dtype=torch.float64, device="cpu")
    low, high = found.view(2, -1)
    if float(low.min()) == 0 == float(high.max()):
        return (ZERO,)
    if at_rounding:
        return (AT_ROUNDING,)
    return (CONSTANT,) if float(low.min()) == float(high.max()) and sum(v.numel() for v in ranked) > 1 else ()


def zero_weights(values: Mapping[str, Tensor]) -> list[str]:
    """Names of matrix weights whose saliency is zero all over."""
    matrices = {name: v for name, v in values.items() if v.dim() > 1 and v.numel()}
    return [name for name, some in zip(matrices, numbers([v.any() for v in matrices.values()]), strict=True) if not some]
