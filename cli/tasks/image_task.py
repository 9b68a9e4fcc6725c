"""The image tasks themselves: a task as any other, made from settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from sics_cli.settings.images import ImageConfig
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, load_split
from sics_cli.tasks.images.examples import Examples, Tensors
from sics_cli.tasks.networks.evaluation import HELD_OUT_BATCH, hits_and_loss
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.start import Start, begin_with, start_at
from sics_cli.tasks.networks.training import ImageTrainer, trainer_of
from sics_cli.tasks.task import ACCURACY, Metric, Task


class ImageTask(Task):
    """Train a network on images, count right answers."""

    metric = Metric(ACCURACY, higher_is_better=True)

    def __init__(
        self, config: ImageConfig, facts: ImageFacts, access: DataAccess, starts: Sequence[Start], device: torch.device
    ) -> None:
        self._config, self._starts, self.device = config, starts, device
        self.epochs = 0 if starts and starts[0].is_whole else config.training.epochs
        self._split = load_split(config.data, facts, access)
        self._train, self._test = Examples(self._split.train, device), Examples(self._split.test, device)
        self._validation = Examples(self._split.validation, device)

    def trainer(self, seed: int) -> ImageTrainer:
        """The training of a seed, which begins with the seed's own weights, or those that are given."""
        model = build_model(self._config.model, seed)
        if self._starts:
            begin_with(model, start_at(self._starts, seed))
        return trainer_of(model, self._config.training, self._split, self.device, seed)

    def calibration(self, seed: int) -> Iterator[Tensors]:
        """Images and labels of the training part."""
        part = self._config.calibration
        batches = calibration_batches(seed, len(self._train), part.batches, part.batch_size)
        return (self._train.at(torch.from_numpy(batch).to(self._train.labels.device)) for batch in batches)

    def evaluate(self, network: nn.Module, seed: int) -> dict[str, Sequence[bool] | float]:
        """Right or wrong on each test image, and the mean cross-entropy."""
        hits, loss = hits_and_loss(network, self._test)
        return {self.metric.name: hits, "loss": loss}

    def held_out(self, network: nn.Module, seed: int) -> dict[str, Sequence[bool] | float]:
        """The same of each validation image."""
        hits, loss = hits_and_loss(network, self._validation, HELD_OUT_BATCH)
        return {self.metric.name: hits, "loss": loss}
