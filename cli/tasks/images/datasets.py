"""Data sets by name: what is known of them before they are loaded, their split, and the loaded parts.

Keys are made from a digest of the content, which is checked whenever the data are loaded: a changed copy of the data is an
error and not a silent change of every number. Where the data lie on this machine is `DataAccess`, and in no key.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.errors import ConfigError, MismatchError, RefusedSettingError
from sics_cli.settings.images import IMAGE_FOLDER, DataConfig
from sics_cli.settings.seeding import Indices, indices_hash, split_permutation
from sics_cli.tasks.images.cache import ImageFacts, ImageSource, Labels, Pixels, image_facts, load_images
from sics_cli.tasks.images.standardise import ChannelStatistics, named_statistics, own_statistics

Images = NDArray[np.float32]


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
    """The three parts; all are standardised alike, by the training part's own mean and deviation unless told otherwise."""

    train: Part
    validation: Part
    test: Part


def _load_digits() -> tuple[Images, Labels]:
    """The file that scikit-learn ships, read without it: importing it takes a worker longer than a small network's training."""
    kept = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    with gzip.open(str(kept), "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # a line an image: its 64 pixels and its label
    return table[:, :-1].astype(np.float32).reshape(-1, 1, 8, 8), table[:, -1]


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


def sized(config: DataConfig, facts: ImageFacts) -> DataConfig:
    """The configuration with the sizes that it leaves open: all that the source has, a tenth of the training images to validate.

    A source without parts of its own gives a fifth to test.

    >>> asked, facts = DataConfig("x", validation=2), ImageFacts((50, 1, 2, 2), ("a", "b"), None, "")
    >>> [sized(asked, facts), sized(DataConfig("x"), replace(facts, train=40))]  # doctest: +ELLIPSIS
    [DataConfig(name='x', train=38, validation=2, test=10, ...), DataConfig(name='x', train=36, validation=4, test=10, ...)]
    """
    test = config.test or (max(1, facts.size // 5) if facts.train is None else facts.size - facts.train)
    there = facts.size - test if facts.train is None else facts.train
    free = there - config.train
    validation = config.validation or max(1, min(there // 10, free if config.train else there))
    return replace(config, train=config.train or max(1, there - validation), validation=validation, test=test)


def class_positions(config: DataConfig, facts: ImageFacts) -> Labels:
    """The output of the network that each class of the data set is, by `config.classes` or else by the order of their names.

    >>> facts = ImageFacts((50, 1, 2, 2), ("a", "b"), None, "")
    >>> class_positions(DataConfig("x", classes=("b", "c", "a")), facts).tolist()
    [2, 0]
    """
    if config.classes is None:
        return np.arange(len(facts.classes), dtype=np.int64)
    number = {name: position for position, name in enumerate(config.classes)}
    if unknown := [name for name in facts.classes if name not in number]:
        rest = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise ConfigError(
            f"--classes: does not name {', '.join(map(repr, unknown[:3]))}{rest}, of the classes of {key_name(config.name)}: "
            "give the names of its classes among those of the network, one a line, in the order of the network's outputs"
        )
    return np.array([number[name] for name in facts.classes], dtype=np.int64)


def outputs_of(config: DataConfig, facts: ImageFacts) -> int:
    """How many outputs a network for these classes has."""
    return len(facts.classes if config.classes is None else config.classes)


def check_access(config: DataConfig, access: DataAccess) -> None:
    """Refuse to be told where the images are, or to fetch them, for data that are elsewhere."""
    for option, given in (("--data-dir", access.data_dir is not None), ("--download", access.download)):
        if given and config.name in DATASETS:
            raise ConfigError(f"{option}: is for cifar10 | cifar100 | fashion-mnist, not for {config.name}")
    if config.name.startswith(IMAGE_FOLDER) and (access.data_dir is not None or access.download):
        raise ConfigError(f"data.name = {config.name!r} says where the images are: --data-dir and --download are not for it")


def data_facts(
    config: DataConfig, access: DataAccess | None = None, say: Callable[[str], None] = lambda line: None
) -> ImageFacts:
    """What keys and checks need of a data set; images are decoded into the user's cache the first time."""
    access = access or DataAccess()
    check_access(config, access)
    if config.name in DATASETS:
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
        check_access(config, access)
        return ImageFolder(Path(path), config.image_size)
    if name not in TORCHVISION:
        accepted = " | ".join([*DATASETS, *TORCHVISION, f"{IMAGE_FOLDER}PATH"])
        raise RefusedSettingError("data.name", name, accepted)
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

    Labels are the positions of the classes among `config.classes`, where those are given. A MismatchError if the data are not
    those that the digest in `facts` stands for.
    """
    expected = facts or data_facts(config, access)
    parts = split_indices(config, expected)
    return Split(*_load(config, expected, access or DataAccess(), parts, parts[0]))


def first_of_training(config: DataConfig, facts: ImageFacts, access: DataAccess | None, count: int) -> Part:
    """The first examples of the training part, as `load_split` has them, without the memory that all of them take."""
    train = split_indices(config, facts)[0]
    return _load(config, facts, access or DataAccess(), (train[:count],), train)[0]


def _load(config: DataConfig, expected: ImageFacts, access: DataAccess, parts: tuple[Indices, ...], train: Indices) -> list[Part]:
    positions = class_positions(config, expected)
    if config.name not in DATASETS:
        return _load_images(config, expected, access, parts, train, positions)
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
    return [Part(standard[part], positions[labels[part]]) for part in parts]


def _load_images(
    config: DataConfig, expected: ImageFacts, access: DataAccess, parts: tuple[Indices, ...], train: Indices, positions: Labels
) -> list[Part]:
    loaded = load_images(image_source(config, access))
    if loaded.facts.digest != expected.digest:
        raise MismatchError(
            f"the images of {config.name} changed while the run was going on "
            f"(sha256 {loaded.facts.digest[:12]}…, expected {expected.digest[:12]}…): run the command again"
        )
    if config.standardise in (None, "data"):
        statistics = own_statistics(loaded.images, train)
    else:
        statistics = named_statistics(config.standardise, expected.shape[1], key_name(config.name))
    # Indexed first: what is kept is a copy of this part in memory, and not the whole file.
    return [Part(np.asarray(loaded.images[part]), positions[loaded.labels[part]], statistics) for part in parts]
