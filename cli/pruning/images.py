"""Images for `prune`: calibration batches for a saliency, and held-out ones for a choice by their loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError
from sics_cli.settings.config import DataConfig
from sics_cli.settings.presets import DIGITS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DATASETS, ChannelStatistics, DataAccess, data_facts, load_split

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Images kept in memory take at most so many bytes, unless the batches asked for are more.
_KEPT_BYTES = 1 << 29
_TELL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What `prune` was asked for: a data set by name and how its images become batches.

    `standardise` is "data" (mean and standard deviation of these images, as `replicate` trains), "timm" (those timm notes for
    the architecture), or "" for the one that goes with the images. `held_out` images are none of the calibration's.
    """

    name: str
    access: DataAccess
    image_size: int | None
    batches: int
    batch_size: int
    standardise: str
    seed: int
    held_out: int = 0


class CalibrationImages:
    """Batches of the training part of a data set, from the seed.

    `colour` is how colour images are standardised where the request leaves it open; others are by themselves.
    """

    def __init__(self, request: ImageRequest, say: Callable[[str], None], colour: str = "data") -> None:
        self._say = say
        # The counts are no more than placeholders, until it is known how many images there are.
        asked = DataConfig(request.name, train=1, validation=1, test=1, image_size=request.image_size)
        facts = data_facts(asked, request.access, say)
        train, validation, test = _counts(request, facts)
        config = replace(asked, train=train, validation=validation, test=test)
        split = load_split(config, facts, request.access)
        self.classes = len(facts.classes)
        self.shape = facts.shape[1:]
        self._train, self._held_out = split.train, split.validation
        fitting = colour if self._train.statistics is not None and self.shape[0] == 3 else "data"
        self.request = replace(request, standardise=request.standardise or fitting)

    @property
    def count(self) -> int:
        """Images in the calibration batches."""
        return self.request.batches * self.request.batch_size

    def standardise_as(self, model: nn.Module) -> None:
        """Standardise by the numbers that timm has for the model's architecture, from now on."""
        import numpy as np

        if self._train.statistics is None:
            raise ConfigError(f"--standardise timm: is for images of pixels, not for {self.request.name}; give data")
        noted: Any = getattr(model, "pretrained_cfg", {})
        mean, scale = ([255 * value for value in noted.get(name, ())] for name in ("mean", "std"))
        if len(mean) != self.shape[0]:
            what = f"timm has {len(mean)} channels for this architecture, {self.request.name} has {self.shape[0]}"
            raise ConfigError(f"--standardise timm: {what}; give data")
        own = ChannelStatistics(np.array(mean, np.float32), np.array(scale, np.float32))
        self._train, self._held_out = (replace(part, statistics=own) for part in (self._train, self._held_out))

    def batches(self, say: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels, batch by batch; the same at every call."""
        import torch

        from sics_cli.tasks.images.examples import Examples

        examples, asked = Examples(self._train), self.request
        told = time.monotonic()
        for number, index in enumerate(calibration_batches(asked.seed, len(self._train), asked.batches, asked.batch_size)):
            if say and time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                self._say(f"calibration batch {number} of {asked.batches}")
            yield examples.at(torch.from_numpy(index))

    def held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The held-out images and labels, in order."""
        from sics_cli.tasks.images.examples import Examples

        yield from Examples(self._held_out).batches(self.request.batch_size)


def _counts(request: ImageRequest, facts: ImageFacts) -> tuple[int, int, int]:
    """Sizes of the parts: the source's own test part is never touched, and digits are split as `replicate` splits them."""
    if request.name in DATASETS:
        digits = DIGITS["data"]
        _require(request.held_out, digits["validation"], request.name)
        return digits["train"], request.held_out or 1, digits["test"]
    there = facts.size - 1 if facts.train is None else facts.train
    held_out = max(1, request.held_out)
    _require(held_out, there - 1, request.name)
    pixels = facts.shape[1] * facts.shape[2] * facts.shape[3]
    return min(there - held_out, max(request.batches * request.batch_size, _KEPT_BYTES // pixels)), held_out, 1


def _require(wanted: int, there: int, name: str) -> None:
    if wanted > there:
        raise ConfigError(f"--held-out {wanted}: {name} has {there} images for that")
