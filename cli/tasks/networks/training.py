"""Dense training: one seed, one checkpoint, whole epochs at a time, each with a line in the seed's curve."""

from __future__ import annotations

import functools
import itertools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sics_cli.settings.config import TrainingConfig
from sics_cli.settings.seeding import data_order, epoch_seed
from sics_cli.tasks.images.datasets import Split
from sics_cli.tasks.images.examples import part_on
from sics_cli.tasks.networks.curves import Epoch, validated
from sics_cli.tasks.networks.evaluation import evaluate
from sics_cli.tasks.networks.trainers import State, Trainer


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


def _ignore(_: object) -> None:
    """What is told to nobody."""


def train(
    model: nn.Module,
    config: TrainingConfig,
    split: Split,
    seed: int,
    device: torch.device,
    progress: Callable[[int], None] = lambda epoch: None,
    *,
    begin: HalfTrained | None = None,
    until: int | None = None,
    log: Callable[[Epoch], None] = _ignore,
    keep: Callable[[Callable[[], HalfTrained]], None] = _ignore,
) -> TrainingRecord | HalfTrained:
    """Train `model` in place (AdamW, one-cycle, cross-entropy, augmented as configured) and leave it in eval mode.

    `progress` is told the number of finished epochs, `log` of every epoch. `begin` goes on from there, `until` stops after so
    many epochs of the whole; the weights are the same however often it stopped. `keep` is called between epochs with what
    gives all that the next epoch depends on.
    """
    begun = time.perf_counter() - (begin.seconds if begin else 0.0)
    first = begin.epochs if begin else 0
    last = max(first, min(until or config.epochs, config.epochs))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = Trainer(model, config, split.train, device, seed)
        validation = part_on(split.validation, device)
        if begin is not None:
            trainer.load(begin.state)
        orders = itertools.islice(data_order(seed, len(split.train), config.epochs), first, last)
        checked = None

        def now(epochs: int) -> HalfTrained:
            unsure = (begin is not None and begin.nondeterministic) or warned(caught)
            return HalfTrained(epochs, trainer.state(), time.perf_counter() - begun, unsure)

        for epoch, order in enumerate(orders, start=first):
            torch.manual_seed(epoch_seed(seed, epoch))  # an epoch does not depend on what was drawn in those before
            met = trainer.epoch(epoch, order)
            if not math.isfinite(met.loss):
                raise FloatingPointError(f"training diverged: loss is {met.loss} after epoch {epoch + 1}")
            checked = None
            if validated(epoch + 1, config.epochs):
                checked = evaluate(model.eval(), validation)
            share = checked.correct / checked.n if checked else None
            log(Epoch(epoch + 1, met.loss, met.accuracy, share, met.learning_rate, time.perf_counter() - begun))
            progress(epoch + 1)
            if epoch + 1 < last:
                keep(functools.partial(now, epoch + 1))
        if last < config.epochs:
            return now(last)
        if checked is None:  # a network that was trained to its last epoch, and then not kept
            checked = evaluate(model.eval(), validation)
        unsure = now(last).nondeterministic
    return TrainingRecord(checked.correct, checked.n, time.perf_counter() - begun, unsure)


def validated_only(model: nn.Module, split: Split, device: torch.device) -> TrainingRecord:
    """The record of a network that is given: nothing was trained, the validation images were counted."""
    begun = time.perf_counter()
    checked = evaluate(model.to(device).eval(), part_on(split.validation, device))
    return TrainingRecord(checked.correct, checked.n, time.perf_counter() - begun)


def warned(caught: list[warnings.WarningMessage]) -> bool:
    """Whether torch said that something it did has no deterministic form."""
    return any("deterministic" in str(warning.message) for warning in caught)
