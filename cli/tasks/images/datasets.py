"""Data sets by name: what is known of them before they are loaded, their split, and the loaded parts.

Keys are made from a digest of the content, which is checked whenever the data are loaded: a changed copy of the data is an
error and not a silent change of every number. Where the data lie on this machine is `DataAccess`, and in no key.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.settings.config import IMAGE_FOLDER, DataConfig
from sics_cli.settings.seeding import Indices, indices_hash
from sics_cli.tasks.images.cache_file import ImageFacts, Pixels

if TYPE_CHECKING:
    from sics_cli.tasks.images.cache import ImageSource
    from sics_cli.tasks.images.split import ChannelStatistics

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set that comes with a dependency: `load()` gives images (n, channels, height, width) and labels (n,)."""

    name: str
    facts: ImageFacts
    load: Callable[[], tuple[Images, Labels]]


@dataclass(frozen=True, slots=True)
class DataAccess:
    """How this machine gets at the data: `data_dir` holds torchvision's files, which `download` may fetch. In no key."""

    data_dir: Path | None = None
    download: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Images (n, channels, height, width) and labels (n,), int64, of one part of a split.

    The images are float32 and standardised; or, with `statistics`, pixels of uint8 that are standardised by them batch by
    batch, in a quarter of the memory.
    """

    images: Images | Pixels
    labels: Labels
    statistics: ChannelStatistics | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts; all are standardised by mean and standard deviation of the training part."""

    train: Part
    validation: Part
    test: Part


def _load_digits() -> tuple[Images, Labels]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float32)[:, None], bunch.target.astype(np.int64)


_DIGITS = ImageFacts(
    (1797, 1, 8, 8), tuple("0123456789"), None, "a19c302514ebc49f2d0611f29a0a2f81e94ab384ccde59bce20345eb91363ef3"
)
#: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998; scikit-learn ships it.
DATASETS: dict[str, DatasetSpec] = {"digits": DatasetSpec("digits", _DIGITS, _load_digits)}


def key_name(name: str) -> str:
    """What stands for a data set's name in keys: an image folder that was moved is the same data.

    >>> key_name("imagefolder:/data/photos"), key_name("cifar10")
    ('imagefolder', 'cifar10')
    """
    return IMAGE_FOLDER.rstrip(":") if name.startswith(IMAGE_FOLDER) else name


def data_facts(
    config: DataConfig, access: DataAccess | None = None, say: Callable[[str], None] = lambda line: None
) -> ImageFacts:
    """What keys and checks need of a data set; images are decoded into the user's cache the first time."""
    access = access or DataAccess()
    if config.name in DATASETS:
        for option, given in (("--data-dir", access.data_dir is not None), ("--download", access.download)):
            if given:
                raise ConfigError(f"{option}: is for cifar10 | cifar100 | fashion-mnist, not for {config.name}")
        if config.image_size is not None:
            raise ConfigError(f"data.image_size = {config.image_size} is for {IMAGE_FOLDER}PATH, not for {config.name}")
        return DATASETS[config.name].facts
    from sics_cli.tasks.images.cache import image_facts

    return image_facts(_image_source(config, access), say)


def _image_source(config: DataConfig, access: DataAccess) -> ImageSource:
    from sics_cli.tasks.images.sources import IMAGE_NAMES, image_source, is_image_data

    if not is_image_data(config.name):
        accepted = " | ".join([*DATASETS, *IMAGE_NAMES])
        raise ConfigError(f"data.name = {config.name!r} is not accepted: give {accepted}")
    return image_source(config.name, data_dir=access.data_dir, download=access.download, image_size=config.image_size)


def split_indices(config: DataConfig, facts: ImageFacts | None = None) -> tuple[Indices, Indices, Indices]:
    """Indices of train, validation and test, disjoint; `facts` are looked up where they are not given."""
    from sics_cli.tasks.images.split import image_split

    return image_split(
        facts or data_facts(config),
        train=config.train,
        validation=config.validation,
        test=config.test,
        split_seed=config.split_seed,
    )


def split_digest(config: DataConfig, facts: ImageFacts | None = None) -> str:
    """Sha256 of the three index lists: what makes a split the same split."""
    return indices_hash(list(split_indices(config, facts)))


def content_digest(images: Images, labels: Labels) -> str:
    """Sha256 of shape and little-endian bytes of a data set, before any scaling."""
    state = hashlib.sha256(repr(images.shape).encode())
    state.update(np.ascontiguousarray(images, dtype="<f4").tobytes())
    state.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return state.hexdigest()


@functools.lru_cache(maxsize=2)
def load_split(config: DataConfig, facts: ImageFacts | None = None, access: DataAccess | None = None) -> Split:
    """Load, verify, split and standardise. Images of `sics_cli.tasks.images.sources` stay uint8 until a batch needs them.

    A MismatchError if the data are not those that the digest in `facts` stands for.
    """
    expected = facts or data_facts(config, access)
    train, validation, test = split_indices(config, expected)
    if config.name not in DATASETS:
        return _load_images(config, expected, access or DataAccess(), (train, validation, test))
    images, labels = DATASETS[config.name].load()
    found = content_digest(images, labels)
    if found != expected.digest:
        raise MismatchError(
            f"the installed data set {config.name} is not the one this version knows "
            f"(sha256 {found[:12]}…, expected {expected.digest[:12]}…)"
        )
    mean = images[train].mean(dtype=np.float64)
    scale = images[train].std(dtype=np.float64)
    standard = ((images - mean) / scale).astype(np.float32)
    return Split(*(Part(standard[part], labels[part]) for part in (train, validation, test)))


def _load_images(config: DataConfig, expected: ImageFacts, access: DataAccess, parts: tuple[Indices, ...]) -> Split:
    from sics_cli.tasks.images.cache import load_images
    from sics_cli.tasks.images.split import channel_statistics

    loaded = load_images(_image_source(config, access))
    if loaded.facts.digest != expected.digest:
        raise MismatchError(
            f"the images of {config.name} changed while the run was going on "
            f"(sha256 {loaded.facts.digest[:12]}…, expected {expected.digest[:12]}…): run the command again"
        )
    statistics = channel_statistics(loaded.images, parts[0])
    # Indexed first: what is kept is a copy of this part in memory, and not the whole file.
    return Split(*(Part(np.asarray(loaded.images[part]), loaded.labels[part], statistics) for part in parts))
