"""Where a seed's randomness comes from, and the proof that every scorer met the same.

Each purpose has a generator of its own, derived from (seed, stream), so that one more draw for the data order
cannot move the calibration batches. All of it is numpy, so the driver hashes it without torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Stream(IntEnum):
    """Purposes of randomness; the values enter stored numbers and are never reused."""

    INITIALISATION = 0
    DATA_ORDER = 1
    CALIBRATION = 2
    SCORER = 3
    TRAINING = 4
    AUGMENTATION = 5
    SEARCH = 6
    MIXING = 7


def generator(seed: int, stream: Stream) -> np.random.Generator:
    """Give the generator of one purpose at one seed, at its beginning."""
    return np.random.default_rng(np.random.SeedSequence([seed, int(stream)]))


def torch_seed(seed: int, stream: Stream) -> int:
    """Give an integer below 2⁶³ for a torch generator, derived from (seed, stream) as `generator` is."""
    return int(np.random.SeedSequence([seed, int(stream)]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def epoch_seed(seed: int, epoch: int) -> int:
    """Give the integer that seeds torch for one epoch of training, whatever was drawn before it."""
    words = np.random.SeedSequence([seed, int(Stream.TRAINING), epoch]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def split_permutation(size: int, split_seed: int) -> Indices:
    """Permutation of `size` examples that fixes train, validation and test: the same for every seed."""
    return np.random.default_rng(split_seed).permutation(size).astype(np.int64)


def data_order(seed: int, size: int, epochs: int) -> Iterator[Indices]:
    """One permutation of the `size` training examples per epoch."""
    source = generator(seed, Stream.DATA_ORDER)
    for _ in range(epochs):
        yield source.permutation(size).astype(np.int64)


def calibration_batches(seed: int, size: int, batches: int, batch_size: int) -> list[Indices]:
    """Indices of the calibration batches: successive permutations of the training set, cut every `batch_size`.

    >>> [len(batch) for batch in calibration_batches(0, size=5, batches=3, batch_size=4)]
    [4, 4, 4]
    """
    source = generator(seed, Stream.CALIBRATION)
    needed = batches * batch_size
    rounds = [source.permutation(size) for _ in range(-(-needed // size))]
    flat = np.concatenate(rounds)[:needed].astype(np.int64)
    return [flat[start : start + batch_size] for start in range(0, needed, batch_size)]


def indices_hash(arrays: Iterator[Indices] | list[Indices]) -> str:
    """Sha256 of a sequence of index arrays, their lengths included."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(len(array).to_bytes(8, "little"))
        state.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return state.hexdigest()
