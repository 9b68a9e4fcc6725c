"""Dense training: one seed, one checkpoint, whole epochs at a time."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sics_cli.experiment.config import TrainingConfig
from sics_cli.experiment.datasets import Split
from sics_cli.experiment.evaluation import evaluate, part_on
from sics_cli.experiment.streams import data_order, epoch_seed
from sics_cli.experiment.trainers import CompactTrainer, PlainTrainer, State, Trainer


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training left behind, beside the weights: validation count, wall seconds, and whether torch warned that an
    operation has no deterministic form."""

    validation_correct: int
    validation_n: int
    seconds: float
    nondeterministic: bool = False


@dataclass(frozen=True, slots=True)
class HalfTrained:
    """A network after some epochs: all that the next epoch depends on."""

    epochs: int
    state: State
    seconds: float
    nondeterministic: bool


def train(
    model: nn.Module,
    config: TrainingConfig,
    split: Split,
    seed: int,
    device: torch.device,
    progress: Callable[[int], None] = lambda epoch: None,
    *,
    path: str = "plain",
    begin: HalfTrained | None = None,
    until: int | None = None,
) -> TrainingRecord | HalfTrained:
    """Train `model` in place (AdamW, one-cycle, cross-entropy, no augmentation) and leave it in eval mode.

    Parameters
    ----------
    model : nn.Module
        As the seed initialises it.
    progress : callable(int)
        Called with the number of finished epochs.
    path : {"plain", "compact"}
        What computes it; see `sics_cli.experiment.route`.
    begin : HalfTrained, optional
        Go on from here.
    until : int, optional
        Stop after so many epochs of the whole, if there are more.

    Returns
    -------
    TrainingRecord or HalfTrained
        The latter if training stopped at `until`; the weights are the same however often it stopped on its way.

    Raises
    ------
    FloatingPointError
        The loss is no longer finite.
    NotCompactError
        The compact path does not compute this network.
    """
    begun = time.perf_counter() - (begin.seconds if begin else 0.0)
    first, last = begin.epochs if begin else 0, min(until or config.epochs, config.epochs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer: Trainer = (
            CompactTrainer(model, config, split.train) if path == "compact" else PlainTrainer(model, config, split.train, device)
        )
        if begin is not None:
            trainer.load(begin.state)
        orders = itertools.islice(data_order(seed, len(split.train), config.epochs), first, last)
        for epoch, order in enumerate(orders, start=first):
            torch.manual_seed(epoch_seed(seed, epoch))  # an epoch does not depend on what was drawn in those before
            loss = trainer.epoch(epoch, order)
            if not math.isfinite(loss):
                raise FloatingPointError(f"training diverged: loss is {loss} after epoch {epoch + 1}")
            progress(epoch + 1)
        unsure = (begin is not None and begin.nondeterministic) or warned(caught)
        if last < config.epochs:
            return HalfTrained(last, trainer.state(), time.perf_counter() - begun, unsure)
        trainer.finish()
        checked = evaluate(model.eval(), part_on(split.validation, device))
    return TrainingRecord(checked.correct, checked.n, time.perf_counter() - begun, unsure)


def warned(caught: list[warnings.WarningMessage]) -> bool:
    """Whether torch said that something it did has no deterministic form."""
    return any("deterministic" in str(warning.message) for warning in caught)
