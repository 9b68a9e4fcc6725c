"""What is run: one frozen `Experiment`, built from a preset, a TOML file and command-line options, in that order."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError, RefusedSettingError

Scalar = bool | int | float | str
SALIENCIES = ("gradient", "activation", "neighbourhood")
#: What `replicate` can prune, and how; the store and the keys know more words than these.
UNITS = ("weight", "channel", "head")
#: "native": each peer in the pool of its source, all others in the global one.
POOLS = ("global", "layer", "row", "erk", "2:4", "4:8", "native")
#: Pools of single weights; of them those that fix the sparsity.
WEIGHT_POOLS = ("row", "2:4", "4:8")
PATTERNS = {"2:4": 0.5, "4:8": 0.5}
FORMS = ("exact",)
PRECISIONS = ("fp32", "bf16")
#: Begins a data set's name where the rest is a path.
IMAGE_FOLDER = "imagefolder:"
#: Begins the name of an architecture of timm, and of the numbers it notes for one.
TIMM = "timm:"
#: How images may be standardised: by their own mean and standard deviation, by timm's numbers for the architecture, …
STANDARDISE = "data | timm | timm:NAME | imagenet | MEANS/DEVIATIONS of pixels from 0 to 1, such as .5,.5,.5/.25,.25,.25"
_IN_WORDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_Section = TypeVar("_Section")


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
            _require(getattr(self, size) >= 0, f"data.{size}", getattr(self, size), "a count of at least 1")
        if self.standardise is not None:
            object.__setattr__(self, "standardise", standardise_word(self.standardise))
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError("data.classes: give two names or more, each once")
        _require(self.split_seed >= 0, "data.split_seed", self.split_seed, "an integer of at least 0")


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
    """AdamW under a one-cycle schedule; `learning_rate` is its peak.

    `precision` is that of training's forward pass (bf16: autocast); saliency and evaluation are float32 always. The rest is
    what is done to training images; see `sics_cli.tasks.images.augment.Augmentation`.
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

    def __post_init__(self) -> None:
        _require_counts("training", epochs=self.epochs, batch_size=self.batch_size)
        _require(self.learning_rate > 0, "training.learning_rate", self.learning_rate, "a number above 0")
        _require(self.weight_decay >= 0, "training.weight_decay", self.weight_decay, "a number of at least 0")
        _require(self.precision in PRECISIONS, "training.precision", self.precision, " | ".join(PRECISIONS))
        for field, most in (("crop_padding", 1024), ("randaugment", 16), ("magnitude", 30)):
            value = getattr(self, field)
            _require(0 <= value <= most, f"training.{field}", value, f"an integer from 0 to {most}")
        if self.magnitude != 9 and not self.randaugment:
            raise ConfigError(f"training.magnitude = {self.magnitude} is the strength of training.randaugment, which is 0 here")

    @property
    def augments(self) -> bool:
        """Whether anything is done to training images."""
        return bool(self.crop_padding or self.flip or self.randaugment)


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """The batches a saliency is measured on: `batches` of `batch_size` training examples."""

    batches: int
    batch_size: int

    def __post_init__(self) -> None:
        _require_counts("calibration", batches=self.batches, batch_size=self.batch_size)


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything `replicate` was asked for.

    `scorers=None` means the default list, which needs the plugin to be spelled out. `delta` is in accuracy points. With a
    `checkpoint`, the path of a file of weights, nothing is trained, and that one network is pruned at every seed; with
    `pretrained`, training begins with timm's published weights.
    """

    name: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    calibration: CalibrationConfig
    seeds: tuple[int, ...]
    sparsities: tuple[float, ...]
    scorers: tuple[str, ...] | None = None
    saliency: str = "gradient"
    unit: str = "weight"
    pool: str = "global"
    form: str = "exact"
    device: str = "auto"
    delta: float = 0.5
    alpha: float = 0.05
    reference: str = "magnitude"
    checkpoint: str | None = None
    pretrained: bool = False

    def __post_init__(self) -> None:
        _require(re.fullmatch(r"[\w.+-]+", self.name) is not None, "name", self.name, "letters, digits and . _ + -")
        _require(len(self.seeds) > 0, "seeds", self.seeds, "at least one seed")
        _require(all(0 <= seed < 2**32 for seed in self.seeds), "seeds", self.seeds, "integers from 0 to 2³²-1")
        _require(len(self.sparsities) > 0, "sparsities", self.sparsities, "at least one sparsity")
        for sparsity in self.sparsities:
            _require(0 < sparsity < 1, "sparsities", sparsity, "numbers above 0 and below 1")
        _require(self.scorers is None or len(self.scorers) > 0, "scorers", self.scorers, "at least one scorer")
        for field, accepted in (("unit", UNITS), ("pool", POOLS), ("form", FORMS)):
            _require(getattr(self, field) in accepted, field, getattr(self, field), " | ".join(accepted))
        if self.pool in WEIGHT_POOLS:
            _require(self.unit == "weight", "unit", self.unit, f"weight, with pool {self.pool}")
        if self.pool in PATTERNS:
            only = PATTERNS[self.pool]
            _require(tuple(self.sparsities) == (only,), "sparsities", self.sparsities, f"{only:g}, which pool {self.pool} is")
        _require(self.saliency in SALIENCIES, "saliency", self.saliency, " | ".join(SALIENCIES))
        _require(_DEVICE.fullmatch(self.device) is not None, "device", self.device, "auto | cpu | cuda | cuda:INDEX")
        _require(math.isfinite(self.delta) and 0 < self.delta < 100, "delta", self.delta, "points above 0, below 100")
        _require(0 < self.alpha < 0.5, "alpha", self.alpha, "a level above 0 and below 0.5")
        self._check_start()
        object.__setattr__(self, "seeds", tuple(sorted(set(self.seeds))))
        object.__setattr__(self, "sparsities", tuple(sorted(set(self.sparsities))))

    def _check_start(self) -> None:
        if self.checkpoint is None:
            return
        if self.pretrained:
            raise ConfigError("--pretrained and --checkpoint: give one of them; a checkpoint is pruned as it is")
        if self.saliency == "neighbourhood" and len(self.seeds) > 1:
            raise ConfigError(
                "--checkpoint with --saliency neighbourhood: every seed would measure the same numbers: give --seeds 1, or a "
                "saliency that is measured on calibration batches"
            )
        object.__setattr__(self, "checkpoint", str(Path(self.checkpoint).expanduser().absolute()))


def _require(accepted: bool, option: str, value: object, accepts: str) -> None:
    if not accepted:
        raise RefusedSettingError(option, value, accepts)


def _require_counts(table: str, **counts: int) -> None:
    for name, value in counts.items():
        _require(value >= 1, f"{table}.{name}", value, "a count of at least 1")


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


def read_toml(path: Path) -> dict[str, Any]:
    """Read a configuration file; a file that is missing or not TOML is a ConfigError naming it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--config {path}: not valid TOML ({error})") from None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, tables merged key by key.

    >>> merged({"training": {"epochs": 40, "batch_size": 64}}, {"training": {"epochs": 2}})
    {'training': {'epochs': 2, 'batch_size': 64}}
    """
    result = dict(base)
    for key, value in over.items():
        before = result.get(key)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        result[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def experiment_from_mapping(settings: Mapping[str, Any], typed: Collection[str] = ()) -> Experiment:
    """Build the `Experiment` that `settings` (TOML's tables, or a preset) describe.

    `seeds` is a count N (seeds 0 to N-1) or a list. Every unknown key, missing key and wrong type is a ConfigError
    that names it, those of `typed` as options (`--sparsities 70`) and others as settings (`sparsities = 70.0`).
    """
    try:
        return _experiment(settings)
    except RefusedSettingError as error:
        if error.setting in typed:
            raise error.typed() from None
        raise


def _experiment(settings: Mapping[str, Any]) -> Experiment:
    plain = dict(settings)
    if isinstance(plain.get("seeds"), int) and not isinstance(plain["seeds"], bool):
        _require(plain["seeds"] >= 1, "seeds", plain["seeds"], "a count of at least 1, or a list of seeds")
        _require(plain["seeds"] <= 10_000, "seeds", plain["seeds"], "a count of at most 10000, or a list of seeds")
        plain["seeds"] = tuple(range(plain["seeds"]))
    model, data = _table(plain, "model"), _table(plain, "data")
    for size in ("train", "validation", "test"):
        _require(data.get(size) != 0, f"data.{size}", 0, "a count of at least 1, or leave it out")
    sections: dict[str, Any] = {
        "data": _section(DataConfig, data, "data."),
        "model": ModelConfig(_typed(model.pop("name", None), str, "model.name"), _options(model)),
        "training": _section(TrainingConfig, _table(plain, "training"), "training."),
        "calibration": _section(CalibrationConfig, _table(plain, "calibration"), "calibration."),
    }
    for name in sections:
        plain.pop(name, None)
    return _section(Experiment, plain, "", built=sections)


def _table(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = settings.get(name, {})
    _require(isinstance(table, Mapping), name, table, f"a table [{name}]")
    return dict(table)


def _options(model: Mapping[str, Any]) -> tuple[tuple[str, Scalar], ...]:
    for key, value in model.items():
        _require(isinstance(value, bool | int | float | str), f"model.{key}", value, "a number, a string or a boolean")
    return tuple(model.items())


def _section(kind: type[_Section], values: Mapping[str, Any], prefix: str, built: Mapping[str, Any] | None = None) -> _Section:
    ready = dict(built or {})
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    accepted = sorted(set(fields) - set(ready))
    for key in values:
        if key not in accepted:
            raise ConfigError(f"unknown setting {prefix}{key}: the settings here are {', '.join(accepted)}")
    for name, field in fields.items():
        if name in ready:
            continue
        if name in values:
            ready[name] = _typed(values[name], hints[name], prefix + name)
        elif field.default is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{name} is missing")
    return kind(**ready)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotation says, or a ConfigError: TOML's 1 is taken for a float, 1.0 not for a count."""
    if isinstance(hint, UnionType):  # of one type and None
        return None if value is None else _typed(value, get_args(hint)[0], where)
    if get_origin(hint) is tuple:
        _require(isinstance(value, Sequence) and not isinstance(value, str), where, value, "a list")
        return tuple(_typed(element, get_args(hint)[0], where) for element in value)
    good = isinstance(value, (int, float) if hint is float else hint) and isinstance(value, bool) == (hint is bool)
    _require(good, where, value, _IN_WORDS[hint])
    return hint(value)
