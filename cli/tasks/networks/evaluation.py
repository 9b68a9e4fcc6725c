"""Evaluation of one classifier: right or wrong on each example."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.results import Evaluation, evaluation_of
from sics_cli.tasks.task import ACCURACY, Metric

#: Fixed, since a batch's size may move the last bits of a logit.
EVALUATION_BATCH = 256
#: Of a search, which evaluates hundreds of times: what of small images fits a processor's cache.
HELD_OUT_BATCH = 100


@torch.inference_mode()
def hits_and_loss(model: nn.Module, part: Examples, size: int = EVALUATION_BATCH) -> tuple[Any, float]:
    """Right or wrong on examples that lie on the device of `model` (left in eval mode), and their mean cross-entropy (nats)."""
    model.eval()
    right, losses = [], []
    for images, label in part.batches(size):
        logits = model(images)
        right.append(logits.argmax(dim=1) == label)
        losses.append(nn.functional.cross_entropy(logits.double(), label, reduction="sum"))
    # Both are fetched at once, as bytes: asking for a batch's would wait for every batch.
    together = torch.cat([torch.cat(right).view(torch.uint8), torch.stack(losses).view(torch.uint8)]).cpu().numpy()
    n = len(part)
    return together[:n].view(np.bool_), sum(together[n:].copy().view(np.float64).tolist()) / n


def evaluate(model: nn.Module, part: Examples) -> Evaluation:
    """The same as it is stored; a loss that is not finite may not be."""
    hits, loss = hits_and_loss(model, part)
    return evaluation_of({ACCURACY: hits, "loss": loss}, Metric(ACCURACY))
