"""What a calibration asks of a pruned model: a number from held-out batches, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from sics_plugin.collect import NO_BATCHES, Batch, Loss, moved

Evaluate = Callable[[nn.Module], float]


def held_out_loss(batches: Iterable[Batch], loss: Loss = nn.functional.cross_entropy) -> Evaluate:
    """An ``evaluate``: minus the mean over held-out (input, target) batches of a ``loss`` with reduction "mean".

    Batches count by their size. Finer than a count of right answers, which moves in steps as large as the differences between
    masks on a few hundred examples.
    """
    kept = _kept(batches)

    def evaluate(model: nn.Module) -> float:
        total, examples = 0.0, 0
        for inputs, targets in moved(kept, model):
            total, examples = total + float(loss(model(inputs), targets)) * len(targets), examples + len(targets)
        return -total / examples

    return evaluate


def held_out_accuracy(batches: Iterable[Batch]) -> Evaluate:
    """An ``evaluate``: the fraction of held-out (input, label) examples whose largest output is the label's."""
    kept = _kept(batches)

    def evaluate(model: nn.Module) -> float:
        right, examples = 0, 0
        for inputs, targets in moved(kept, model):
            right, examples = right + int((model(inputs).argmax(-1) == targets).sum()), examples + len(targets)
        return right / examples

    return evaluate


def _kept(batches: Iterable[Batch]) -> Sequence[Batch]:
    """Something that can be gone through again: a loader as it is, what runs dry as a list."""
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        raise TypeError(f"Expected `batches` to be an iterable of (input, target) pairs, got {type(batches).__name__}")
    kept = batches if hasattr(batches, "__len__") else list(batches)
    if not len(kept):  # type: ignore[arg-type]
        raise ValueError(NO_BATCHES)
    return cast(Sequence[Batch], kept)
