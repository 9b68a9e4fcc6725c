"""Dense training: one seed, one checkpoint, whole epochs at a time, each with a line in the seed's curve."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sics_cli.base.files import write_atomically
from sics_cli.settings.config import TrainingConfig
from sics_cli.settings.seeding import Indices, data_order, epoch_seed
from sics_cli.tasks.images.datasets import Part, Split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.evaluation import evaluate

#: Validations in a whole training, besides the last epoch's: enough for a curve, a small part of the time.
VALIDATIONS = 10


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch. `seconds` count from the beginning of the training, parts in other processes included.

    `train_accuracy` is met while the weights move, on augmented images: an estimate, and below that of the epoch's end.
    Accuracies are fractions; `validation_accuracy` is None between validations. `learning_rate` is that of the last step.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    learning_rate: float
    seconds: float


COLUMNS = tuple(field.name for field in dataclasses.fields(Epoch))


def validated(epoch: int, epochs: int) -> bool:
    """Whether the network is validated after this epoch (from 1).

    >>> [epoch for epoch in range(1, 26) if validated(epoch, 25)]
    [3, 6, 9, 12, 15, 18, 21, 24, 25]
    """
    return epoch == epochs or epoch % -(-epochs // VALIDATIONS) == 0


class CurveLog:
    """The file of one seed. What an interrupted training wrote after the `begun` epochs it goes on from is dropped."""

    def __init__(self, path: Path, begun: int) -> None:
        self._path = path
        self._rows = [row for row in _read(path) if int(row["epoch"]) <= begun]

    def add(self, epoch: Epoch) -> None:
        """Append an epoch; the file is whole at every moment."""
        values = {name: getattr(epoch, name) for name in COLUMNS}
        self._rows.append({name: "" if value is None else f"{value:.6g}" for name, value in values.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        self._path.parent.mkdir(exist_ok=True)
        write_atomically(self._path, text.getvalue().encode(), durable=False)


def _read(path: Path) -> list[dict[str, str]]:
    """Rows of a curve; none of a file that is not there or is not one."""
    with contextlib.suppress(OSError, UnicodeDecodeError, csv.Error), path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
        if all(tuple(row) == COLUMNS and str(row["epoch"]).isdigit() for row in rows):
            return rows
    return []


State = dict[str, torch.Tensor]


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


def one_cycle(step: int, total: int, peak: float) -> tuple[float, float]:
    """Learning rate and first AdamW moment of step `step` (from 0) of `total`, as torch's OneCycleLR sets them.

    Cosine from peak/25 up over 30 % of the steps, down to peak/250 000 over the rest; the moment from 0.95 to 0.85 and back.
    A function of the step alone, so that training can go on in another process.

    >>> one_cycle(29, 100, 3e-3)
    (0.003, 0.85)
    """
    low, lowest, rise = peak / 25, peak / 25 / 1e4, 0.3 * total - 1
    if step <= rise:
        return _cosine(low, peak, step / rise), _cosine(0.95, 0.85, step / rise)
    down = (step - rise) / (total - 1 - rise)
    return _cosine(peak, lowest, down), _cosine(0.85, 0.95, down)


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1)


@dataclass(frozen=True, slots=True)
class Pass:
    """One epoch over the training examples: mean loss (nats) and share of right answers, as met while the weights moved."""

    loss: float
    accuracy: float
    learning_rate: float


class Trainer:
    """Trains one network in place, epoch by epoch: AdamW under a one-cycle schedule, through autograd.

    All that the next epoch depends on is in `state`, so that training may stop after any epoch and go on elsewhere, bit for bit.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, train: Part, device: torch.device, seed: int = 0) -> None:
        self._model = model.to(device)
        self._config, self._device, self._seed = config, device, seed
        self._examples = Examples(train, device)
        self._steps = math.ceil(len(train) / config.batch_size)
        parameters = list(model.parameters())
        self._optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)

    def epoch(self, number: int, order: Indices) -> Pass:
        """Train one epoch; dropout and the like draw from torch's generator, which the caller seeds for each epoch."""
        self._model.train()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        rate = 0.0
        for step, (images, labels) in enumerate(self._batches(number, order), start=number * self._steps):
            rate, moment = one_cycle(step, self._steps * self._config.epochs, self._config.learning_rate)
            for group in self._optimiser.param_groups:
                group["lr"], group["betas"] = rate, (moment, group["betas"][1])
            self._optimiser.zero_grad(set_to_none=True)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._config.precision == "bf16"):
                logits = self._model(images)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()
            self._optimiser.step()
            total += loss.detach() * len(labels)  # stays on the device: asking for it would wait for every step
            right += (logits.detach().argmax(dim=1) == labels).sum()
        return Pass(float(total.item()) / len(order), int(right.item()) / len(order), rate)

    def _batches(self, number: int, order: Indices) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (n, channels, height, width), float32, and labels (n,) of each batch of epoch `number`, as the settings say."""
        index = torch.from_numpy(order).to(self._device)
        for place, batch in enumerate(index.split(self._config.batch_size)):
            if not self._config.augments:
                yield self._examples.at(batch)
                continue
            from sics_cli.tasks.images.augment import Augmentation, augment  # only now: it brings torchvision along

            config = self._config
            asked = Augmentation(config.crop_padding, config.flip, config.randaugment, config.magnitude)
            changed = augment(self._examples.pixels[batch], asked, seed=self._seed, epoch=number, batch=place)
            yield self._examples.standard(changed), self._examples.labels[batch]

    def state(self) -> State:
        """Module state, and the optimiser's by parameter name; tensors that training goes on changing."""
        moments = {
            f"{key}/{name}": value
            for name, parameter in self._model.named_parameters()
            for key, value in self._optimiser.state[parameter].items()
        }
        return {f"model/{name}": value for name, value in self._model.state_dict().items()} | moments

    def load(self, state: State) -> None:
        """Go on from what `state` gave, of a trainer of the same configuration."""
        self._model.load_state_dict({key.removeprefix("model/"): v for key, v in state.items() if key.startswith("model/")})
        for name, parameter in self._model.named_parameters():
            keys = [key for key in state if key.endswith(f"/{name}") and not key.startswith("model/")]
            self._optimiser.state[parameter] = {key.partition("/")[0]: state[key].to(parameter.device, copy=True) for key in keys}


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
        validation = Examples(split.validation, device)
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
    checked = evaluate(model.to(device).eval(), Examples(split.validation, device))
    return TrainingRecord(checked.correct, checked.n, time.perf_counter() - begun)


def warned(caught: list[warnings.WarningMessage]) -> bool:
    """Whether torch said that something it did has no deterministic form."""
    return any("deterministic" in str(warning.message) for warning in caught)
