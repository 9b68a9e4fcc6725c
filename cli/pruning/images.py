"""Images for `prune`: calibration batches for a saliency, and held-out ones for a choice by their loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sics_cli.base.errors import ConfigError
from sics_cli.settings.images import DataConfig
from sics_cli.settings.presets import DIGITS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DATASETS, DataAccess, data_facts, key_name, load_split
from sics_cli.tasks.images.standardise import resolved

if TYPE_CHECKING:
    from torch import Tensor

#: Images kept in memory take at most so many bytes, unless the batches asked for are more.
_KEPT_BYTES = 1 << 29
_TELL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What `prune` was asked for: a data set by name and how its images become batches.

    `standardise` is one of `sics_cli.settings.config.STANDARDISE`, or None for the one that goes with the network and the
    images. `classes` are the names of the network's outputs, in their order. `held_out` images are none of the calibration's.
    """

    name: str
    access: DataAccess
    image_size: int | None
    batches: int
    batch_size: int
    standardise: str | None
    seed: int
    held_out: int = 0
    classes: tuple[str, ...] | None = None


class CalibrationImages:
    """Batches of the training part of a data set, from the seed.

    `known` is how colour images were standardised for the network (`known_standardise`), where the request leaves it open.
    """

    def __init__(self, request: ImageRequest, say: Callable[[str], None], known: str = "data") -> None:
        self._say = say
        asked = DataConfig(request.name, image_size=request.image_size, classes=request.classes)
        self.facts = facts = data_facts(asked, request.access, say)
        train, validation, test = _counts(request, facts)
        pixels = request.name not in DATASETS
        word = resolved(request.standardise, known, facts.shape[1], key_name(request.name), pixels=pixels)
        self.config = replace(asked, train=train, validation=validation, test=test, standardise=word)
        split = load_split(self.config, facts, request.access)
        self.shape, self.pixels = facts.shape[1:], pixels
        self._train, self._held_out = split.train, split.validation
        self.request = request

    @property
    def standardise(self) -> str:
        """How they are standardised, resolved."""
        return self.config.standardise or "data"

    @property
    def count(self) -> int:
        """Images in the calibration batches."""
        return self.request.batches * self.request.batch_size

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
