"""One epoch at a time: AdamW under a one-cycle schedule, on the module itself or on its compact form.

Both keep all that the next epoch depends on in `state`, so that training may stop after any epoch and go on elsewhere,
bit for bit.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import nn

from sics_cli.experiment.compact import CompactVit
from sics_cli.experiment.config import TrainingConfig
from sics_cli.experiment.datasets import Part
from sics_cli.experiment.evaluation import part_on
from sics_cli.experiment.streams import Indices
from sics_cli.experiment.vit_layout import NotCompactError, Shape, patches

State = dict[str, torch.Tensor]
#: Logits of the compact form may differ from the module's by rounding only.
SAME_LOGITS = 1e-3
_CHECKED_EXAMPLES = 8


def one_cycle(step: int, total: int, peak: float) -> tuple[float, float]:
    """Learning rate and first AdamW moment of step `step` (from 0) of `total`, as torch's OneCycleLR sets them.

    Cosine from peak/25 up over 30 % of the steps, down to peak/250 000 over the rest; the moment from 0.95 to 0.85 and back.
    A function of the step alone, so that training can go on in another process.

    Examples
    --------
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


class Trainer(Protocol):
    """Trains one network, epoch by epoch."""

    def epoch(self, number: int, order: Indices) -> float:
        """Train epoch `number` (from 0) in this order of examples; return the last batch's loss."""

    def state(self) -> State:
        """All that the next epoch depends on; tensors that the trainer goes on changing."""

    def load(self, state: State) -> None:
        """Go on from what `state` gave, which a trainer of the same configuration made."""

    def finish(self) -> None:
        """Leave the weights in the model."""


class PlainTrainer:
    """Trains the module itself, through autograd."""

    def __init__(self, model: nn.Module, config: TrainingConfig, train: Part, device: torch.device) -> None:
        self._model = model.to(device)
        self._images, self._labels = part_on(train, device)
        self._clock = _Clock(config, len(train))
        self._names = [name for name, _ in model.named_parameters()]
        self._optimiser = _adamw(list(model.parameters()), config)

    def epoch(self, number: int, order: Indices) -> float:
        """Train one epoch; dropout and the like draw from torch's generator, which the caller seeds for each epoch."""
        self._model.train()
        shuffled = torch.from_numpy(order).to(self._images.device)
        loss = torch.zeros(())
        for step, batch in enumerate(shuffled.split(self._clock.batch_size), start=number * self._clock.steps):
            self._clock.set(self._optimiser, step)
            self._optimiser.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(self._model(self._images[batch]), self._labels[batch])
            loss.backward()
            self._optimiser.step()
        return float(loss.item())

    def state(self) -> State:
        """Module state, and the optimiser's by parameter name."""
        moments = {
            f"{key}/{name}": value
            for name, parameter in self._model.named_parameters()
            for key, value in self._optimiser.state[parameter].items()
        }
        return {f"model/{name}": value for name, value in self._model.state_dict().items()} | moments

    def load(self, state: State) -> None:
        """Put everything back."""
        self._model.load_state_dict({key.removeprefix("model/"): v for key, v in state.items() if key.startswith("model/")})
        for name, parameter in self._model.named_parameters():
            keys = [key for key in state if key.endswith(f"/{name}") and not key.startswith("model/")]
            self._optimiser.state[parameter] = {key.partition("/")[0]: state[key].to(parameter.device, copy=True) for key in keys}

    def finish(self) -> None:
        """The weights are there already."""


class CompactTrainer:
    """Trains the compact form of a plain vision transformer on the CPU; all parameters are one vector to the optimiser."""

    def __init__(self, model: nn.Module, config: TrainingConfig, train: Part) -> None:
        images, self._labels = part_on(train, torch.device("cpu"))
        self._model = model
        self._net = compact_form(model, images)
        self._cut = patches(images, self._net.shape)
        self._clock = _Clock(config, len(train))
        self._parameter = nn.Parameter(self._net.parameters.flat)
        self._parameter.grad = self._net.gradients.flat
        self._optimiser = _adamw([self._parameter], config)

    @torch.no_grad()
    def epoch(self, number: int, order: Indices) -> float:
        """Train one epoch. Nothing in it is random but the order."""
        loss = torch.zeros(())
        for step, batch in enumerate(torch.from_numpy(order).split(self._clock.batch_size), start=number * self._clock.steps):
            self._clock.set(self._optimiser, step)
            loss = self._net.gradient(self._cut[:, batch], self._labels[batch])
            self._optimiser.step()
        return float(loss.item())

    def state(self) -> State:
        """The vector of parameters and the optimiser's moments."""
        return {"parameters": self._net.parameters.flat, **self._optimiser.state[self._parameter]}

    def load(self, state: State) -> None:
        """Put everything back."""
        self._net.parameters.flat.copy_(state["parameters"])
        self._optimiser.state[self._parameter] = {k: v.clone() for k, v in state.items() if k != "parameters"}

    def finish(self) -> None:
        """Copy the weights into the module."""
        self._net.parameters.store(self._model)


@torch.no_grad()
def compact_form(model: nn.Module, images: torch.Tensor) -> CompactVit:
    """Make the compact form of `model`, holding its weights, and check on some `images` that it computes the same.

    Raises
    ------
    NotCompactError
        The module is not of this form, or computes something else.
    """
    net = CompactVit(Shape.of(model))
    net.parameters.load(model)
    was_training, some = model.training, images[:_CHECKED_EXAMPLES]
    model.eval()
    expected = model(some)
    model.train(was_training)
    worst = float((net.logits(patches(some, net.shape)) - expected).abs().max())
    if not worst <= SAME_LOGITS * max(1.0, float(expected.abs().max())):
        raise NotCompactError(f"its logits differ from the module's by {worst:.2g}: this version of timm computes it otherwise")
    return net


class _Clock:
    """Where in the schedule a step is."""

    def __init__(self, config: TrainingConfig, examples: int) -> None:
        self.batch_size = config.batch_size
        self.steps = math.ceil(examples / config.batch_size)
        self._total = self.steps * config.epochs
        self._peak = config.learning_rate

    def set(self, optimiser: torch.optim.AdamW, step: int) -> None:
        for group in optimiser.param_groups:
            group["lr"], moment = one_cycle(step, self._total, self._peak)
            group["betas"] = moment, group["betas"][1]


def _adamw(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
