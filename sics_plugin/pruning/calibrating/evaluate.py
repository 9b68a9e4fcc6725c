"""Scores of a pruned model, higher is better: by labels, or by the dense model's outputs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor, nn

from sics_plugin.saliency.batches import NO_BATCHES, Batch, Given, Loss, check_iterable, moved, over
from sics_plugin.saliency.objective import IGNORED, Objective, logits_of, outputs
from sics_plugin.saliency.unchanged import Unchanged, evaluating

Evaluate = Callable[[nn.Module], float]


def held_out_loss(batches: Iterable[Batch], loss: Loss | None = None) -> OverBatches:
    """An ``evaluate``: minus the mean over held-out batches of a ``loss`` with reduction "mean", by default cross-entropy.

    Batches are of any form that :class:`~sics_plugin.Saliency` takes, and so is the loss. They count by their size, by the
    number of their labels where each sample has several. Finer than a count of right answers, which moves in steps as large as
    the differences between masks on a few hundred examples.
    """
    objective = Objective(loss)

    def score(output: Any, given: Given) -> tuple[float, int]:
        objective.see(output, given)
        labels = None if given.whole or objective.loss is not None else _labels(given)
        count = given.size if labels is None else int((labels != IGNORED).sum())
        return -float(objective(output, given).detach()) * count, count

    return _mean(batches, score)


def held_out_accuracy(batches: Iterable[Batch]) -> OverBatches:
    """An ``evaluate``: the fraction of held-out labels that are their example's largest output; −100 does not count.

    Batches are of any form that :class:`~sics_plugin.Saliency` takes. Of a mapping, ``labels`` with one label for each sample:
    which position a label of several belongs to, only pairs ``(inputs, labels)`` say.
    """

    objective = Objective()

    def score(output: Any, given: Given) -> tuple[float, int]:
        logits, labels = logits_of(output), _labels(given)
        if labels is None or not isinstance(logits, Tensor) or (given.whole and labels.dim() > 1):
            raise TypeError(
                "Expected (inputs, labels) batches, or mappings with one of `labels` for each sample, and a tensor of outputs or "
                f"an object with `logits` for an accuracy, got {type(output).__name__} on batch {given.number}"
            )
        objective.see(logits, replace(given, whole=False, targets=labels))
        if logits.shape[:-1] != labels.shape:
            raise ValueError(
                f"Expected outputs with one dimension more than labels, which is last, got {tuple(logits.shape)} for "
                f"{tuple(labels.shape)}"
            )
        return int((logits.argmax(-1) == labels).sum()), int((labels != IGNORED).sum())

    return _mean(batches, score)


def _labels(given: Given) -> Tensor | None:
    found = given.kwargs.get("labels") if given.whole else given.targets
    return found if isinstance(found, Tensor) and found.dim() and not found.is_floating_point() else None


def _mean(batches: Iterable[Batch], score: Callable[[Any, Given], tuple[float, int]]) -> OverBatches:
    """An ``evaluate``: the sum of a score over batches for each of what it counts. What runs dry is kept as a list."""
    check_iterable(batches)
    kept = cast(Sequence[Batch], batches if hasattr(batches, "__len__") else list(batches))
    if not len(kept):
        raise ValueError(NO_BATCHES)

    return OverBatches(kept, score)


def like_dense(model: nn.Module, batches: Iterable[Batch]) -> Evaluate:
    """An ``evaluate`` that needs no labels: minus how much the outputs differ from those of ``model`` as it is now.

    The sum of squared differences over their sum of squared distances from the mean output: 0 for the outputs of ``model``, −1
    where the mean would do as well. Of several outputs the ``logits`` or the first tensor counts. A target in a batch is not
    looked at, and may be None.

    Raises
    ------
    ValueError, TypeError
        No batches, outputs that are the same for every sample, no floating point numbers among them.

    Examples
    --------
    >>> mlp, batches = nn.Linear(4, 2), [(torch.randn(8, 4), None)]
    >>> evaluate = like_dense(mlp, batches)
    >>> evaluate(mlp)
    -0.0
    """
    check_iterable(batches)
    return DenseOutputs(model, list(batches))


class DenseOutputs:
    """The outputs of a model as it is now, and how far those of another are from them; the model is left as it is.

    ``changed`` makes another batch of each: the same one at every call.
    """

    def __init__(
        self, model: nn.Module, batches: Sequence[Batch], changed: Callable[[Given], Given] = lambda given: given
    ) -> None:
        self.batches, self.changed = batches, changed
        with Unchanged(model) as unchanged, torch.no_grad():
            self.dense = [numbers_of(outputs(model, new), new) for new in map(changed, moved(unchanged.of(batches), model))]
        if not self.dense:
            raise ValueError(NO_BATCHES)
        alike, last = len({x.shape[1:] for x in self.dense}) == 1, len({x.shape[-1] for x in self.dense}) == 1
        # Of sequences of several lengths the mean is over positions too, of other shapes over all numbers.
        rows = [
            (x.flatten(1) if alike and x.dim() > 1 else x.reshape(-1, x.shape[-1] if last else 1)).double() for x in self.dense
        ]
        mean = sum(part.sum(0) for part in rows) / sum(len(part) for part in rows)
        self.spread = sum(float((part - mean).square().sum()) for part in rows)
        if not math.isfinite(self.spread):
            raise ValueError("Expected finite outputs of the model before it is pruned, got others")
        if not self.spread > 0:
            raise ValueError("Expected outputs that differ between samples, got the same for every one of them")

    def __call__(self, pruned: nn.Module) -> float:
        """Minus the change relative to the spread of the dense outputs."""
        with torch.no_grad():
            return -self._change(pruned, self.batches)

    def change(self, pruned: nn.Module) -> float:
        """The change, with the random numbers that the model itself had; the copy is left as it is."""
        with Unchanged(pruned) as unchanged, torch.no_grad():
            return self._change(pruned, unchanged.of(self.batches))

    def _change(self, pruned: nn.Module, batches: Iterable[Batch]) -> float:
        given = map(self.changed, moved(batches, pruned))
        return sum(self.away(i, outputs(pruned, one), one) for i, one in enumerate(given))

    def away(self, batch: int, output: Any, given: Given) -> float:
        """What the output of one batch adds to the change; infinite for another shape."""
        now, before = numbers_of(output, given), self.dense[batch]
        if now.shape != before.shape:
            return math.inf
        return float((now.double() - before.double()).square().sum()) / self.spread


def numbers_of(output: Any, given: Given) -> Tensor:
    """The logits or the first tensor of an output, a copy: a loss may change its own in place."""
    found: list[Tensor] = []
    over(logits_of(output), lambda x: found.append(x) if isinstance(x, Tensor) and x.is_floating_point() and x.dim() else None)
    if not found:
        raise TypeError(f"Expected floating point numbers among the outputs, got none on batch {given.number}")
    return found[0].detach().clone()


@dataclass(frozen=True, slots=True)
class OverBatches:
    """The mean of a score over the examples of batches."""

    batches: Sequence[Batch]
    score: Callable[[Any, Given], tuple[float, int]]

    def __call__(self, model: nn.Module) -> float:
        """The mean over what counts."""
        return mean_of([self.score(outputs(model, given), given) for given in moved(self.batches, model)])


def mean_of(scores: Sequence[tuple[float, int]]) -> float:
    """The mean of sums over batches, each with how many it is of."""
    if not (count := sum(n for _, n in scores)):
        raise ValueError(f"Expected batches with labels that count, got none but {IGNORED}")
    return sum(score for score, _ in scores) / count


def example_of(batches: Sequence[Batch]) -> Any:
    """A few of the inputs, as a model takes them: a tensor, a tuple, or a mapping of arguments."""
    batch = next(iter(batches))
    inputs = batch if isinstance(batch, Mapping) else batch[0]
    if isinstance(inputs, list):  # as a loader puts several together
        return tuple(inputs)
    return inputs[:_SHOWN] if isinstance(inputs, Tensor) else inputs


#: So many inputs of a batch show whether groups made by hand are right.
_SHOWN = 8


def score_of(evaluate: Evaluate, model: nn.Module, name: str) -> float:
    """The number that an ``evaluate`` gives for a pruned model; refused where it is none."""
    with evaluating(model), torch.no_grad():
        score = evaluate(model)
    number = float(score) if isinstance(score, Real | Tensor) and not isinstance(score, bool) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"Expected `evaluate` to return a finite number, got {score!r:.40} for {name}")
    return number
