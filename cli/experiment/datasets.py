"""Data sets by name, each with the digest of its content, checked whenever it is loaded.

The digest stands here so that keys can be made without loading the data, and so that a changed copy of the data
is an error and not a silent change of every number.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sics_cli.experiment.config import DataConfig
from sics_cli.experiment.errors import ConfigError, MismatchError
from sics_cli.experiment.streams import Indices, indices_hash, split_permutation

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set the project can load: `load()` gives images (n, channels, height, width) and labels (n,)."""

    name: str
    size: int
    digest: str
    load: Callable[[], tuple[Images, Labels]]


@dataclass(frozen=True, slots=True)
class Part:
    """Images (n, channels, height, width), float32, and labels (n,), int64, of one part of a split."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts; images are standardised by mean and standard deviation of the training part."""

    train: Part
    validation: Part
    test: Part


def _load_digits() -> tuple[Images, Labels]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float32)[:, None], bunch.target.astype(np.int64)


DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        # E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998; scikit-learn ships it.
        DatasetSpec("digits", 1797, "a19c302514ebc49f2d0611f29a0a2f81e94ab384ccde59bce20345eb91363ef3", _load_digits),
    )
}


def dataset_spec(name: str) -> DatasetSpec:
    """Look a data set up by name; an unknown one is a ConfigError listing the known."""
    if name not in DATASETS:
        raise ConfigError(f"data.name = {name!r} is not accepted: give {' | '.join(DATASETS)}")
    return DATASETS[name]


def split_indices(config: DataConfig) -> tuple[Indices, Indices, Indices]:
    """Indices of train, validation and test, disjoint."""
    size = dataset_spec(config.name).size
    ends = np.cumsum([config.train, config.validation, config.test])
    if ends[-1] > size:
        raise ConfigError(f"data.train + validation + test = {ends[-1]}, but {config.name} has {size} examples")
    order = split_permutation(size, config.split_seed)
    return order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]]


def split_digest(config: DataConfig) -> str:
    """Sha256 of the three index lists: what makes a split the same split."""
    return indices_hash(list(split_indices(config)))


def content_digest(images: Images, labels: Labels) -> str:
    """Sha256 of shape and little-endian bytes of a data set, before any scaling."""
    state = hashlib.sha256(repr(images.shape).encode())
    state.update(np.ascontiguousarray(images, dtype="<f4").tobytes())
    state.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return state.hexdigest()


@functools.lru_cache(maxsize=2)
def load_split(config: DataConfig) -> Split:
    """Load, verify, split and standardise.

    Raises
    ------
    MismatchError
        The data are not those the digest stands for.
    """
    spec = dataset_spec(config.name)
    images, labels = spec.load()
    found = content_digest(images, labels)
    if found != spec.digest:
        raise MismatchError(
            f"the installed data set {spec.name} is not the one this version knows "
            f"(sha256 {found[:12]}…, expected {spec.digest[:12]}…)"
        )
    train, validation, test = split_indices(config)
    mean = images[train].mean(dtype=np.float64)
    scale = images[train].std(dtype=np.float64)
    standard = ((images - mean) / scale).astype(np.float32)
    return Split(*(Part(standard[part], labels[part]) for part in (train, validation, test)))
