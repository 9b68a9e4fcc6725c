"""By which mean and standard deviation images are standardised: their own, or those that a network was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.errors import ConfigError
from sics_cli.settings.images import TIMM, moments
from sics_cli.settings.seeding import Indices
from sics_cli.tasks.images.cache import Pixels

#: What torchvision's and most of timm's published weights were trained with.
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Mean and standard deviation (ddof 0) of each channel, shape (channels,), float32, in pixel values 0 to 255."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


def own_statistics(images: Pixels, indices: Indices) -> ChannelStatistics:
    """Statistics of the images at `indices`: the training part, and nothing of the others.

    The sums are of integers, so they are exact and do not depend on any order. A constant channel has scale 1.

    >>> found = own_statistics(np.array([0, 2, 9], np.uint8).reshape(3, 1, 1, 1), np.array([0, 1]))
    >>> found.mean.tolist(), found.scale.tolist()
    ([1.0], [1.0])
    """
    count = len(indices) * images.shape[2] * images.shape[3]
    total = np.zeros(images.shape[1], dtype=np.int64)
    squares = np.zeros(images.shape[1], dtype=np.int64)
    weights = np.arange(256, dtype=np.int64)
    ordered = np.sort(indices)  # a map of a file is read front to back
    for begin in range(0, len(ordered), _CHUNK):
        chunk = images[ordered[begin : begin + _CHUNK]]
        for channel in range(images.shape[1]):
            histogram = np.bincount(chunk[:, channel].reshape(-1), minlength=256)
            total[channel] += histogram @ weights
            squares[channel] += histogram @ weights**2
    # n·Σx² − (Σx)² in whole numbers of any size: no cancellation, also for a thousand million pixels
    spread = [(count * int(s) - int(t) ** 2) / count**2 for t, s in zip(total, squares, strict=True)]
    scale = np.sqrt(np.array(spread))
    return ChannelStatistics((total / count).astype(np.float32), np.where(scale > 0, scale, 1.0).astype(np.float32))


def resolved(word: str | None, known: str, channels: int, data: str, *, pixels: bool) -> str:
    """The word of `STANDARDISE` that holds for these images; one that cannot is refused.

    `known` is what the network was trained with ("data": nothing is known), which colour images of pixels get where no word is
    given, and "timm" stands for.

    >>> resolved(None, "timm:resnet18", 3, "cifar10", pixels=True), resolved(None, "imagenet", 1, "mine", pixels=True)
    ('timm:resnet18', 'data')
    """
    if word == "data" or (word is None and not (pixels and channels == len(IMAGENET[0]))):
        return "data"
    if not pixels:
        raise ConfigError(f"--standardise {word}: is for images of pixels, not for {data}; give data")
    if word == "timm" and not known.startswith(TIMM):
        raise ConfigError(
            f"--standardise timm: this network is none of timm's by name; give {TIMM}NAME, imagenet, data, or numbers"
        )
    word = known if word in (None, "timm") else word
    if not word.startswith(TIMM) and word != "data":
        named_statistics(word, channels, data)
    return word


def in_words(word: str) -> str:
    """A resolved word, as the end of a sentence.

    >>> in_words("data"), in_words("timm:resnet18"), in_words("0.5/0.25")
    ('their own mean and deviation', "timm's numbers of resnet18", 'mean 0.5, deviation 0.25')
    """
    if word == "data":
        return "their own mean and deviation"
    if word.startswith(TIMM):
        return f"timm's numbers of {word.removeprefix(TIMM)}"
    return "ImageNet's numbers" if word == "imagenet" else "mean {}, deviation {}".format(*word.split("/"))


def named_statistics(word: str, channels: int, data: str) -> ChannelStatistics:
    """The statistics that a word of `STANDARDISE` but "data" stands for, in pixel values 0 to 255.

    >>> named_statistics("0.5/0.25", 2, "cifar10").scale.tolist()
    [63.75, 63.75]
    """
    if word == "imagenet":
        means, deviations = IMAGENET
    elif word.startswith(TIMM):
        means, deviations = _noted_by_timm(word.removeprefix(TIMM))
    else:
        means, deviations = moments(word)
    if len(means) == 1 and "/" in word:
        means, deviations = means * channels, deviations * channels
    if len(means) != channels:
        are = "are grey" if channels == 1 else f"have {channels} channels"
        fit = "one of each, such as 0.5/0.25" if channels == 1 else f"{channels} of each, or one for all"
        raise ConfigError(
            f"--standardise {word}: has a mean and a deviation for {len(means)} channels, and the images of {data} {are}: give "
            f"{fit}, or data"
        )
    return ChannelStatistics(*(np.array([255 * value for value in numbers], np.float32) for numbers in (means, deviations)))


def _noted_by_timm(name: str) -> tuple[list[float], list[float]]:
    import timm

    noted = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if noted is None:
        raise ConfigError(f"--standardise {TIMM}{name}: timm notes no mean and deviation for it; give data, imagenet, or numbers")
    return list(noted.mean), list(noted.std)
