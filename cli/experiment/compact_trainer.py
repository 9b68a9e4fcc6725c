"""Training the compact form of a plain vision transformer on the CPU, with an AdamW of one pass over one vector."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from sics_cli.experiment.config import TrainingConfig
from sics_cli.experiment.datasets import Part
from sics_cli.experiment.evaluation import part_on
from sics_cli.experiment.kernels import Kernel
from sics_cli.experiment.streams import Indices
from sics_cli.experiment.trainers import Batches, Clock, Pass, State, compact_form
from sics_cli.experiment.vit_layout import patches

#: torch's defaults.
BETA2, EPS = 0.999, 1e-8


class AdamW:
    """torch's AdamW (decoupled weight decay) on one vector.

    Parameters
    ----------
    parameters, gradients : Tensor, shape (n,)
        On the CPU, contiguous; `step` changes the first in place.
    weight_decay : float
    kernel : callable
        `Kernels.adamw` of their type.
    """

    def __init__(self, parameters: torch.Tensor, gradients: torch.Tensor, weight_decay: float, kernel: Kernel) -> None:
        self._parameters, self._gradients = parameters.numpy(), gradients.numpy()
        self._decay, self._kernel = weight_decay, kernel
        self.steps = 0
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)

    def step(self, rate: float, beta1: float) -> None:
        """Change the parameters at this learning rate and decay of the first moment."""
        self.steps += 1
        size, root = rate / (1 - beta1**self.steps), math.sqrt(1 - BETA2**self.steps)
        # The decays' complements as well: 1 − 0.999 in float32 is off by 1e-5 of itself.
        facts = np.array((1 - beta1, BETA2, 1 - BETA2, 1 - rate * self._decay, size, root, EPS), self._parameters.dtype)
        self._kernel(self._parameters, self._gradients, self.first.numpy(), self.second.numpy(), facts)

    def state(self) -> State:
        """Moments and steps under torch's names."""
        return {"step": torch.tensor(float(self.steps)), "exp_avg": self.first, "exp_avg_sq": self.second}

    def load(self, state: State) -> None:
        """Put them back."""
        self.steps = int(state["step"].item())
        self.first.copy_(state["exp_avg"])
        self.second.copy_(state["exp_avg_sq"])


class CompactTrainer:
    """Trains the compact form, epoch by epoch; see `sics_cli.experiment.trainers.Trainer`."""

    def __init__(self, model: nn.Module, config: TrainingConfig, train: Part, seed: int = 0) -> None:
        examples = part_on(train, torch.device("cpu"))
        self._model = model
        self._net = compact_form(model, examples.some())
        self._labels = examples.labels
        self._batches = Batches(examples, config, seed)
        # Cut once where the images are small and stay as they are; pixels are cut batch by batch, in a fraction of the memory.
        self._cut = None if examples.kept_as_pixels else patches(examples.pixels, self._net.shape)
        self._clock = Clock(config, len(train))
        self._size = config.batch_size
        vectors = self._net.parameters.flat, self._net.gradients.flat
        self._optimiser = AdamW(*vectors, config.weight_decay, self._net.kernels.adamw)

    @torch.no_grad()
    def epoch(self, number: int, order: Indices) -> Pass:
        """Train one epoch. Nothing in it is random but the order and the augmentation."""
        total, right = 0.0, 0
        for step, (cut, labels) in enumerate(self._patches(number, order), start=number * self._clock.steps):
            self._clock.tick(step)
            loss, hits = self._net.gradient(cut, labels)
            self._optimiser.step(self._clock.rate, self._clock.moment)
            total += loss * len(labels)
            right += hits
        return Pass(total / len(order), right / len(order), self._clock.rate)

    def _patches(self, number: int, order: Indices) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if self._cut is None:
            for images, labels in self._batches.epoch(number, order):
                yield patches(images, self._net.shape), labels
        else:
            for batch in torch.from_numpy(order).split(self._size):
                yield self._cut[batch], self._labels[batch]

    def state(self) -> State:
        """The vector of parameters and the optimiser's moments."""
        return {"parameters": self._net.parameters.flat, **self._optimiser.state()}

    def load(self, state: State) -> None:
        """Put everything back."""
        self._net.parameters.flat.copy_(state["parameters"])
        self._optimiser.load(state)

    def hand_over(self) -> None:
        """Copy the weights into the module."""
        self._net.parameters.store(self._model)
