"""Dense training: one seed, one checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sics_cli.experiment.config import TrainingConfig
from sics_cli.experiment.datasets import Split
from sics_cli.experiment.evaluation import evaluate, part_on
from sics_cli.experiment.streams import Stream, data_order, torch_seed


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training left behind, beside the weights: validation count and wall seconds."""

    validation_correct: int
    validation_n: int
    seconds: float


def train(
    model: nn.Module,
    config: TrainingConfig,
    split: Split,
    seed: int,
    device: torch.device,
    progress: Callable[[int], None] = lambda epoch: None,
) -> TrainingRecord:
    """Train `model` in place (AdamW, one-cycle, cross-entropy, no augmentation) and leave it in eval mode.

    `progress` is called with the number of finished epochs.

    Raises
    ------
    FloatingPointError
        The loss is no longer finite.
    """
    begun = time.perf_counter()
    torch.manual_seed(torch_seed(seed, Stream.TRAINING))
    images, labels = part_on(split.train, device)
    steps = math.ceil(len(labels) / config.batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=config.learning_rate, total_steps=steps * config.epochs)
    model.to(device).train()
    for epoch, order in enumerate(data_order(seed, len(labels), config.epochs), start=1):
        shuffled = torch.from_numpy(order).to(device)
        for batch in shuffled.split(config.batch_size):
            optimiser.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimiser.step()
            schedule.step()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"training diverged: loss is {loss.item()} after epoch {epoch}")
        progress(epoch)
    model.eval()
    checked = evaluate(model, part_on(split.validation, device))
    return TrainingRecord(checked.correct, checked.n, time.perf_counter() - begun)
