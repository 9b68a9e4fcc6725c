"""Evaluation of one network: one bit per test example."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sics_cli.base.bits import count_bits, pack_bits
from sics_cli.tasks.images.examples import Examples

#: Fixed, since a batch's size may move the last bits of a logit.
EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Correct count, number of examples, mean cross-entropy (nats), packed correctness bits in test order."""

    correct: int
    n: int
    loss: float
    bits: bytes

    def __post_init__(self) -> None:
        if not math.isfinite(self.loss):
            raise FloatingPointError(f"loss is {self.loss}, not a finite number")
        if count_bits(self.bits) != self.correct:
            raise ValueError(f"correct = {self.correct}, but {count_bits(self.bits)} bits are set")


@torch.inference_mode()
def evaluate(model: nn.Module, part: Examples) -> Evaluation:
    """Evaluate `model` (left in eval mode) on examples that lie on its device; a loss that is not finite may not be stored."""
    model.eval()
    right: list[NDArray[np.bool_]] = []
    total = 0.0
    for images, label in part.batches(EVALUATION_BATCH):
        logits = model(images)
        right.append((logits.argmax(dim=1) == label).cpu().numpy())
        total += float(nn.functional.cross_entropy(logits.double(), label, reduction="sum").item())
    hits = np.concatenate(right)
    return Evaluation(int(hits.sum()), len(hits), total / len(hits), pack_bits(hits))
