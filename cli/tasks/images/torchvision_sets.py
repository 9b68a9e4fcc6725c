"""`cifar10`, `cifar100`, `fashion-mnist`: what torchvision reads below --data-dir, as arrays.

Keys are made from the files' names, sizes and times, so torchvision (and with it torch) is imported only to decode
them, once. Nothing is downloaded unless asked for. torchvision checks the md5 of CIFAR's files before it unpickles them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sics_cli.base.errors import ConfigError, DataError, StorageError
from sics_cli.base.files import cache_folder
from sics_cli.base.hashing import digest
from sics_cli.tasks.images.cache import Contents, Pixels

_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, slots=True)
class TorchvisionSet:
    """A class of `torchvision.datasets`, the files it reads below its root, and what it must give."""

    class_name: str
    folder: str
    files: tuple[str, ...]
    image_shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    megabytes: int


#: Sources and licences are in data/README.md.
TORCHVISION: dict[str, TorchvisionSet] = {
    "cifar10": TorchvisionSet(
        "CIFAR10",
        "cifar-10-batches-py",
        (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
        (3, 32, 32), 10, 50_000, 10_000, 170,
    ),
    "cifar100": TorchvisionSet("CIFAR100", "cifar-100-python", ("train", "test", "meta"), (3, 32, 32), 100, 50_000, 10_000, 169),
    "fashion-mnist": TorchvisionSet("FashionMNIST", "FashionMNIST/raw", _IDX, (1, 28, 28), 10, 60_000, 10_000, 31),
}  # fmt: skip


def default_data_dir() -> Path:
    """Where torchvision's files are looked for without --data-dir: beside the decoded images."""
    return cache_folder().with_name("torchvision")


@dataclass(frozen=True, slots=True)
class TorchvisionSource:
    """One of `TORCHVISION` below `data_dir`, the `root` of torchvision's classes."""

    name: str
    data_dir: Path
    download: bool = False

    def __post_init__(self) -> None:
        if self.name not in TORCHVISION:
            raise ConfigError(f"data.name = {self.name!r} is not accepted: give {' | '.join(TORCHVISION)}")

    def key(self) -> str:
        """Sha256 of names, sizes and times of the files; they are downloaded before if that was asked for."""
        spec = TORCHVISION[self.name]
        if self.download and self._missing():
            with _readable_errors(self.name, f"downloading to --data-dir {self.data_dir}", StorageError):
                self.data_dir.mkdir(parents=True, exist_ok=True)
                self._dataset(train=True, download=True)
        missing = self._missing()
        if missing:
            raise ConfigError(
                f"data.name = {self.name!r}: {self.data_dir} has no {spec.folder}/{missing[0]}: give --data-dir the folder "
                f"that holds {spec.folder}, or --download to fetch it there ({spec.megabytes} MB)"
            )
        facts = [(self.data_dir / spec.folder / name).stat() for name in spec.files]
        stamps = [[name, fact.st_size, fact.st_mtime_ns] for name, fact in zip(spec.files, facts, strict=True)]
        return digest({"source": self.name, "holds": stamps})

    def contents(self, scratch: Path) -> Contents:
        """Read both parts through torchvision; examples keep its order, train first."""
        spec = TORCHVISION[self.name]
        where = f"reading {self.data_dir / spec.folder}"
        with _readable_errors(self.name, where, DataError):
            parts = [self._dataset(train=train, download=False) for train in (True, False)]
            images = [_channels_first(np.asarray(part.data)) for part in parts]
            labels = np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts])
            classes = tuple(str(name) for name in parts[0].classes)
        for part, expected in zip(images, (spec.train, spec.test), strict=True):
            if part.shape != (expected, *spec.image_shape) or part.dtype != np.uint8:
                raise DataError(f"{self.name}: {where}: found images {part.shape}, expected {(expected, *spec.image_shape)}")
        if (
            len(classes) != spec.classes
            or labels.shape != (spec.train + spec.test,)
            or {*labels.tolist()} != {*range(spec.classes)}
        ):
            raise DataError(f"{self.name}: {where}: the labels are not those of {spec.classes} classes, one per image")

        def pixels() -> Iterator[tuple[int, Pixels]]:
            for part, first in zip(images, (0, spec.train), strict=True):
                for offset, image in enumerate(part):
                    yield first + offset, image

        return Contents((len(labels), *spec.image_shape), labels, classes, spec.train, pixels)

    def _missing(self) -> list[str]:
        spec = TORCHVISION[self.name]
        return [name for name in spec.files if not (self.data_dir / spec.folder / name).is_file()]

    def _dataset(self, *, train: bool, download: bool) -> Any:
        from torchvision import datasets

        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            return getattr(datasets, TORCHVISION[self.name].class_name)(self.data_dir, train=train, download=download)


def _channels_first(images: Pixels) -> Pixels:
    """Images (n, channels, height, width) from torchvision's (n, height, width) or (n, height, width, channels)."""
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


@contextlib.contextmanager
def _readable_errors(name: str, doing: str, kind: type[DataError] | type[StorageError]) -> Iterator[None]:
    """One line instead of what torchvision, pickle or the network raise, which can be anything."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise kind(f"{name}: {doing} failed ({reason})") from None
