"""Image data sets by name, their split, and the standardisation of their channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.errors import ConfigError
from sics_cli.settings.seeding import Indices, split_permutation
from sics_cli.tasks.images.cache_file import ImageFacts, Pixels

_CHUNK = 4096


def image_split(
    facts: ImageFacts, *, train: int, validation: int, test: int, split_seed: int
) -> tuple[Indices, Indices, Indices]:
    """Indices of train, validation and test, disjoint.

    A source with parts of its own gives its test part to test alone, and its training part to train and validation;
    one without is permuted as a whole. Both permutations come from `split_seed`, not from a replicate's seed.

    >>> facts = ImageFacts((10, 1, 2, 2), ("a", "b"), 6, "")
    >>> [sorted(part.tolist()) for part in image_split(facts, train=6, validation=0, test=4, split_seed=0)]
    [[0, 1, 2, 3, 4, 5], [], [6, 7, 8, 9]]
    """
    if facts.train is None:
        order = split_permutation(facts.size, split_seed)
        _require(train + validation + test, facts.size, "data.train + validation + test", "examples")
        return order[:train], order[train : train + validation], order[train + validation : train + validation + test]
    _require(train + validation, facts.train, "data.train + validation", "examples in train/")
    _require(test, facts.size - facts.train, "data.test", "examples in test/")
    order = split_permutation(facts.train, split_seed)
    held_out = facts.train + split_permutation(facts.size - facts.train, split_seed)
    return order[:train], order[train : train + validation], held_out[:test]


def _require(wanted: int, there: int, option: str, what: str) -> None:
    if wanted > there:
        raise ConfigError(f"{option} = {wanted}, but the data set has {there} {what}")


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Mean and standard deviation (ddof 0) of each channel, shape (channels,), float32, in pixel values 0 to 255."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


def channel_statistics(images: Pixels, indices: Indices) -> ChannelStatistics:
    """Statistics of the images at `indices`: the training part, and nothing of the others.

    The sums are of integers, so they are exact and do not depend on any order. A constant channel has scale 1.

    >>> found = channel_statistics(np.array([0, 2, 9], np.uint8).reshape(3, 1, 1, 1), np.array([0, 1]))
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


def standardised(images: Pixels, statistics: ChannelStatistics) -> NDArray[np.float32]:
    """(x - mean)/scale per channel, in float32: the same bits as `augment.standardise` gives for a tensor."""
    mean, scale = (values[:, None, None] for values in (statistics.mean, statistics.scale))
    result = images.astype(np.float32)
    result -= mean
    result /= scale
    return result
