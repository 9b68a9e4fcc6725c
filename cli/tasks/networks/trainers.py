"""One epoch at a time: AdamW under a one-cycle schedule, through autograd."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from sics_cli.settings.config import TrainingConfig
from sics_cli.settings.seeding import Indices
from sics_cli.tasks.images.datasets import Part
from sics_cli.tasks.images.examples import Examples, part_on

if TYPE_CHECKING:
    from sics_cli.tasks.images.augment import Augmentation

State = dict[str, torch.Tensor]


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
    """Trains one network in place, epoch by epoch.

    All that the next epoch depends on is in `state`, so that training may stop after any epoch and go on elsewhere, bit for bit.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, train: Part, device: torch.device, seed: int = 0) -> None:
        self._model = model.to(device)
        self._batches = Batches(part_on(train, device), config, seed)
        self._clock = Clock(config, len(train))
        self._optimiser = _adamw(list(model.parameters()), config)
        self._device, self._half = device, config.precision == "bf16"

    def epoch(self, number: int, order: Indices) -> Pass:
        """Train one epoch; dropout and the like draw from torch's generator, which the caller seeds for each epoch."""
        self._model.train()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        for step, (images, labels) in enumerate(self._batches.epoch(number, order), start=number * self._clock.steps):
            self._clock.set(self._optimiser, step)
            self._optimiser.zero_grad(set_to_none=True)
            with self._precision():
                logits = self._model(images)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()
            self._optimiser.step()
            total += loss.detach() * len(labels)  # stays on the device: asking for it would wait for every step
            right += (logits.detach().argmax(dim=1) == labels).sum()
        return Pass(float(total.item()) / len(order), int(right.item()) / len(order), self._clock.rate)

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._half else contextlib.nullcontext()

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


class Batches:
    """The batches of an epoch, augmented and standardised as the configuration says.

    What happens to an image depends on the replicate's seed, the epoch, the batch and the place in the batch.
    """

    def __init__(self, examples: Examples, config: TrainingConfig, seed: int) -> None:
        self._examples, self._size, self._seed = examples, config.batch_size, seed
        self._augmentation = _augmentation(config)

    def epoch(self, number: int, order: Indices) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (n, channels, height, width), float32, and labels (n,) of each batch of epoch `number`."""
        index = torch.from_numpy(order).to(self._examples.labels.device)
        for place, batch in enumerate(index.split(self._size)):
            if self._augmentation is None:
                yield self._examples.at(batch)
                continue
            from sics_cli.tasks.images.augment import augment

            pixels = self._examples.pixels[batch]
            changed = augment(pixels, self._augmentation, seed=self._seed, epoch=number, batch=place)
            yield self._examples.standard(changed), self._examples.labels[batch]


def _augmentation(config: TrainingConfig) -> Augmentation | None:
    if not config.augments:
        return None
    from sics_cli.tasks.images.augment import Augmentation  # only now: it brings torchvision along

    return Augmentation(config.crop_padding, config.flip, config.randaugment, config.magnitude)


class Clock:
    """Sets the optimiser to where in the schedule a step is; `rate` is the learning rate then."""

    def __init__(self, config: TrainingConfig, examples: int) -> None:
        self.steps = math.ceil(examples / config.batch_size)
        self._total = self.steps * config.epochs
        self._peak = config.learning_rate
        self.rate = 0.0

    def set(self, optimiser: torch.optim.AdamW, step: int) -> None:
        """Go to this step of the whole training, from 0."""
        self.rate, moment = one_cycle(step, self._total, self._peak)
        for group in optimiser.param_groups:
            group["lr"], group["betas"] = self.rate, (moment, group["betas"][1])


def _adamw(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
