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

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.settings.config import IMAGE_FOLDER, DataConfig
from sics_cli.settings.seeding import Indices, indices_hash, split_permutation
from sics_cli.tasks.images.cache import ImageFacts, ImageSource, Labels, Pixels, image_facts, load_images

Images = NDArray[np.float32]
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set that comes with a dependency: `load()` gives images (n, channels, height, width) and labels (n,)."""

    facts: ImageFacts
    load: Callable[[], tuple[Images, Labels]]


@dataclass(frozen=True, slots=True)
class DataAccess:
    """How this machine gets at the data: `data_dir` holds torchvision's files, which `download` may fetch. In no key."""

    data_dir: Path | None = None
    download: bool = False


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Mean and standard deviation (ddof 0) of each channel, shape (channels,), float32, in pixel values 0 to 255."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


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
DATASETS: dict[str, DatasetSpec] = {"digits": DatasetSpec(_DIGITS, _load_digits)}


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
    return image_facts(image_source(config, access), say)


def image_source(config: DataConfig, access: DataAccess) -> ImageSource:
    """The source that `data.name` means: one of torchvision's sets below `data_dir`, or an image folder or archive."""
    from sics_cli.tasks.images.folder import ImageFolder
    from sics_cli.tasks.images.torchvision_sets import TORCHVISION, TorchvisionSource, default_data_dir

    name = config.name
    if name.startswith(IMAGE_FOLDER):
        path = name.removeprefix(IMAGE_FOLDER)
        if not path:
            raise ConfigError(f"data.name = {name!r} is not accepted: give a folder or an archive, {IMAGE_FOLDER}PATH")
        if access.data_dir is not None or access.download:
            raise ConfigError(f"data.name = {name!r} says where the images are: --data-dir and --download are not for it")
        return ImageFolder(Path(path), config.image_size)
    if name not in TORCHVISION:
        accepted = " | ".join([*DATASETS, *TORCHVISION, f"{IMAGE_FOLDER}PATH"])
        raise ConfigError(f"data.name = {name!r} is not accepted: give {accepted}")
    if config.image_size is not None:
        raise ConfigError(f"data.image_size = {config.image_size} is for {IMAGE_FOLDER}PATH, not for {name}")
    return TorchvisionSource(name, (access.data_dir or default_data_dir()).expanduser(), access.download)


def split_indices(config: DataConfig, facts: ImageFacts | None = None) -> tuple[Indices, Indices, Indices]:
    """Indices of train, validation and test, disjoint; `facts` are looked up where they are not given.

    A source with parts of its own gives its test part to test alone, and its training part to train and validation;
    one without is permuted as a whole. Both permutations come from `split_seed`, not from a replicate's seed.

    >>> facts = ImageFacts((10, 1, 2, 2), ("a", "b"), 6, "")
    >>> [sorted(part.tolist()) for part in split_indices(DataConfig("x", train=5, validation=1, test=4), facts)]
    [[0, 2, 3, 4, 5], [1], [6, 7, 8, 9]]
    """
    facts = facts or data_facts(config)
    train, both = config.train, config.train + config.validation
    if facts.train is None:
        _require(both + config.test, facts.size, "data.train + validation + test", "examples")
        order = split_permutation(facts.size, config.split_seed)
        return order[:train], order[train:both], order[both : both + config.test]
    _require(both, facts.train, "data.train + validation", "examples in train/")
    _require(config.test, facts.size - facts.train, "data.test", "examples in test/")
    order = split_permutation(facts.train, config.split_seed)
    held_out = facts.train + split_permutation(facts.size - facts.train, config.split_seed)
    return order[:train], order[train:both], held_out[: config.test]


def _require(wanted: int, there: int, option: str, what: str) -> None:
    if wanted > there:
        raise ConfigError(f"{option} = {wanted}, but the data set has {there} {what}")


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
    """Load, verify, split and standardise. Images of pixels stay uint8 until a batch needs them.

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
    loaded = load_images(image_source(config, access))
    if loaded.facts.digest != expected.digest:
        raise MismatchError(
            f"the images of {config.name} changed while the run was going on "
            f"(sha256 {loaded.facts.digest[:12]}…, expected {expected.digest[:12]}…): run the command again"
        )
    statistics = channel_statistics(loaded.images, parts[0])
    # Indexed first: what is kept is a copy of this part in memory, and not the whole file.
    return Split(*(Part(np.asarray(loaded.images[part]), loaded.labels[part], statistics) for part in parts))


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
