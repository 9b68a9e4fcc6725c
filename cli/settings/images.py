"""What the image tasks are made of: data, network, training, calibration, and weights that are given."""

from __future__ import annotations

import glob
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError, RefusedSettingError, require, require_counts

Scalar = bool | int | float | str
PRECISIONS = ("fp32", "bf16")
SCHEDULES = ("one-cycle", "cosine")
#: How the gradients of a training step are computed. They agree within rounding, not to the bit: each is a training of its own.
PATHS = ("eager", "compile", "graph", "stacked")
#: How many seeds' networks the path "stacked" trains as one unless `width` says so, as many as a preset has; and at most.
WIDTH, WIDEST = 5, 64
#: Begins a data set's name where the rest is a path.
IMAGE_FOLDER = "imagefolder:"
#: Images that were met in a folder, by the digest of their content: the set that they are.
_MET = {"4ee70f0f6c4db308278b6368539dcd9daad1cd0aa9f79d8bf16f858d6326afd1": "cifar10"}
_ARCHIVE = re.compile(r"\.tar(\.gz|\.xz)?$|\.tgz$|\.txz$")
#: Begins the name of an architecture of timm, and of the numbers it notes for one.
TIMM = "timm:"
#: How images may be standardised: by their own mean and standard deviation, by timm's numbers for the architecture, …
STANDARDISE = "data | timm | timm:NAME | imagenet | MEANS/DEVIATIONS of pixels from 0 to 1, such as .5,.5,.5/.25,.25,.25"


def data_name(name: str, digest: str = "") -> str:
    """What a reader knows a data set as: of a folder, the set that its images are where that is known, else its own name.

    >>> data_name("imagefolder:/data/photos"), data_name("imagefolder:pets.tar.gz"), data_name("digits")
    ('photos', 'pets', 'digits')
    >>> data_name("imagefolder")  # a key, which does not say where the images are
    'a folder of images'
    """
    if digest in _MET:
        return _MET[digest]
    if not name.startswith(IMAGE_FOLDER.rstrip(":")):
        return name
    return _ARCHIVE.sub("", Path(name.removeprefix(IMAGE_FOLDER)).name) if IMAGE_FOLDER in name else "a folder of images"


@dataclass(frozen=True, slots=True)
class DataConfig:
    """A data set of `sics_cli.tasks.images.datasets` and its split, a permutation seeded by `split_seed`.

    The path of an image folder is made absolute: a worker may have another working directory. `image_size` scales the images
    of such a folder. A size of 0 is what the source has (`sics_cli.tasks.images.datasets.sized` fills it in). `classes` are the
    names of the network's outputs in their order, where that is not the order of the data set's names. `standardise` is one of
    `STANDARDISE`, or None for what goes with the network.
    """

    name: str
    train: int = 0
    validation: int = 0
    test: int = 0
    split_seed: int = 0
    image_size: int | None = None
    classes: tuple[str, ...] | None = None
    standardise: str | None = None

    def __post_init__(self) -> None:
        path = self.name.removeprefix(IMAGE_FOLDER)
        if path != self.name and path:
            object.__setattr__(self, "name", f"{IMAGE_FOLDER}{Path(path).expanduser().absolute()}")
        for size in ("train", "validation", "test"):
            require(getattr(self, size) >= 0, f"data.{size}", getattr(self, size), "a count of at least 1")
        if self.standardise is not None:
            object.__setattr__(self, "standardise", standardise_word(self.standardise))
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError("data.classes: give two names or more, each once")
        require(self.split_seed >= 0, "data.split_seed", self.split_seed, "an integer of at least 0")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """An architecture of `sics_cli.tasks.networks.models` and its constructor's arguments, sorted by name.

    The path of a user's own file is made absolute, as that of an image folder is.
    """

    name: str
    options: tuple[tuple[str, Scalar], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", user_code.absolute(self.name))
        object.__setattr__(self, "options", tuple(sorted(self.options)))


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """AdamW under a schedule whose peak is `learning_rate`: "one-cycle", or "cosine" after `warmup` epochs of a straight rise.

    `precision` is that of training's forward pass (bf16: autocast); saliency and evaluation are float32 always. `path` is how
    its steps are computed: operation by operation, compiled, or as a CUDA graph (`sics_cli.tasks.networks.paths`), or for
    `width` seeds at once (`sics_cli.tasks.networks.stacks`; 0 on other paths). What is done to training images is in
    `sics_cli.tasks.images.augment.Augmentation` and `sics_cli.tasks.images.mixing.Mixing`, of which `mixup` and `cutmix` are the
    α; 0 is without. With `label_smoothing` ε a label counts 1 - ε, and ε is spread over all classes.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    precision: str = "fp32"
    crop_padding: int = 0
    flip: bool = False
    randaugment: int = 0
    magnitude: int = 9
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    schedule: str = "one-cycle"
    warmup: int = 0
    path: str = "eager"
    width: int = 0

    def __post_init__(self) -> None:
        require_counts("training", epochs=self.epochs, batch_size=self.batch_size)
        require(self.learning_rate > 0, "training.learning_rate", self.learning_rate, "a number above 0")
        require(self.weight_decay >= 0, "training.weight_decay", self.weight_decay, "a number of at least 0")
        require(self.precision in PRECISIONS, "training.precision", self.precision, " | ".join(PRECISIONS))
        for field, most in (("crop_padding", 1024), ("randaugment", 16), ("magnitude", 30)):
            value = getattr(self, field)
            require(0 <= value <= most, f"training.{field}", value, f"an integer from 0 to {most}")
        if self.magnitude != 9 and not self.randaugment:
            raise ConfigError(f"training.magnitude = {self.magnitude} is the strength of training.randaugment, which is 0 here")
        for field in ("mixup", "cutmix"):
            alpha = getattr(self, field)
            require(0 <= alpha < math.inf, f"training.{field}", alpha, "a number of at least 0")
        require(0 <= self.label_smoothing < 1, "training.label_smoothing", self.label_smoothing, "a number from 0, below 1")
        require(self.schedule in SCHEDULES, "training.schedule", self.schedule, " | ".join(SCHEDULES))
        require(0 <= self.warmup < self.epochs, "training.warmup", self.warmup, f"epochs from 0, below the {self.epochs} of all")
        if self.warmup and self.schedule != "cosine":
            raise ConfigError(
                f"training.warmup = {self.warmup} is for training.schedule = 'cosine', which is {self.schedule!r} here"
            )
        require(self.path in PATHS, "training.path", self.path, " | ".join(PATHS))
        self._check_width()

    def _check_width(self) -> None:
        if self.path == "stacked":
            object.__setattr__(self, "width", self.width or WIDTH)
            require(2 <= self.width <= WIDEST, "training.width", self.width, f"an integer from 2 to {WIDEST}")
        elif self.width:
            raise ConfigError(f"training.width = {self.width} is for training.path = 'stacked', which is {self.path!r} here")

    @property
    def augments(self) -> bool:
        """Whether anything is done to training images."""
        return bool(self.crop_padding or self.flip or self.randaugment)

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed with each other."""
        return bool(self.mixup or self.cutmix)


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """The batches a saliency is measured on: `batches` of `batch_size` training examples."""

    batches: int
    batch_size: int

    def __post_init__(self) -> None:
        require_counts("calibration", batches=self.batches, batch_size=self.batch_size)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image classification: what is learnt, by which network, how, and on what its saliency is measured.

    With `checkpoints`, paths of files of weights, nothing is trained: one file is pruned at every seed, several are a seed
    each. With `pretrained`, training begins with timm's published weights.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    calibration: CalibrationConfig
    checkpoints: tuple[str, ...] = ()
    pretrained: bool = False

    def __post_init__(self) -> None:
        if self.checkpoints and self.pretrained:
            raise ConfigError("--pretrained and --checkpoint: give one of them; a checkpoint is pruned as it is")
        object.__setattr__(self, "checkpoints", tuple(str(Path(one).expanduser().absolute()) for one in self.checkpoints))

    def check_device(self, device_class: str) -> None:
        """Refuse a way of training that is not there on a device of this class."""
        if self.training.path == "graph" and device_class != "cuda" and not self.checkpoints:
            accepted = "eager | compile | stacked here: only a GPU has graphs, and this run is on the CPU"
            raise RefusedSettingError("training.path", self.training.path, accepted)


def standardise_word(text: str) -> str:
    """One of `STANDARDISE`, numbers in one spelling; anything else is refused.

    >>> standardise_word("timm"), standardise_word(".5/.25"), standardise_word("0.5, .50,.5/ 1,1,1")
    ('timm', '0.5/0.25', '0.5,0.5,0.5/1.0,1.0,1.0')
    """
    if text in ("data", "timm", "imagenet") or re.fullmatch(r"timm:[^\s:]+", text):
        return text
    try:
        means, deviations = moments(text)
    except ValueError:
        raise RefusedSettingError("data.standardise", text, STANDARDISE) from None
    return "/".join(",".join(map(repr, numbers)) for numbers in (means, deviations))


def moments(text: str) -> tuple[list[float], list[float]]:
    """Means and standard deviations of "MEANS/DEVIATIONS", of pixels from 0 to 1; a ValueError for anything else."""
    means, deviations = ([float(number) for number in part.split(",")] for part in text.split("/"))
    if len(means) != len(deviations) or not all(0 <= mean <= 1 for mean in means) or not all(0 < s <= 1 for s in deviations):
        raise ValueError(text)
    return means, deviations


def read_classes(path: Path) -> tuple[str, ...]:
    """The names of a network's classes in the order of its outputs: a text file with one a line."""
    try:
        names = tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--classes {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(names) < 2:
        raise ConfigError(
            f"--classes {path}: names {len(names)} classes: give the network's, one a line, in the order of its outputs"
        )
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise ConfigError(f"--classes {path}: names {twice!r} twice")
    return names


#: What a folder given as --checkpoint is searched for.
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def checkpoint_files(given: Sequence[str]) -> tuple[str, ...]:
    """The files of weights that `--checkpoint` names: files, patterns and folders, by name with numbers as numbers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("seed10.pt", "seed9.pt", "notes.txt"):
    ...         _ = (Path(folder) / name).write_text("")
    ...     [Path(one).name for one in checkpoint_files([folder])], len(checkpoint_files([f"{folder}/seed*"]))
    (['seed9.pt', 'seed10.pt'], 2)
    """
    found: list[Path] = []
    for text in given:
        path = Path(text).expanduser()
        if path.is_dir():
            inside = sorted((one for one in path.iterdir() if one.suffix in WEIGHTS and one.is_file()), key=_by_number)
            if not inside:
                raise ConfigError(f"--checkpoint {text}: the folder holds no file ending in {' | '.join(WEIGHTS)}")
            found += inside
        elif glob.has_magic(text) and not path.exists():
            named = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns too)
            inside = sorted(filter(Path.is_file, named), key=_by_number)
            if not inside:
                raise ConfigError(f"--checkpoint {text}: no file is called so")
            found += inside
        else:
            found.append(path)
    return tuple(str(path.absolute()) for path in found)


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """A name's parts, the numbers among them by their value."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(path)) if part]
