"""What is run: one frozen `Experiment`, built from a preset, a TOML file and command-line options, in that order."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError, RefusedSettingError, did_you_mean, near_file, require
from sics_cli.settings.images import (
    WIDEST,
    WIDTH,
    CalibrationConfig,
    DataConfig,
    ImageConfig,
    ModelConfig,
    Scalar,
    TrainingConfig,
    checkpoint_files,
)
from sics_cli.settings.until import seeds_of, targets_of

NEIGHBOURHOOD = "neighbourhood"
SALIENCIES = ("gradient", "activation", NEIGHBOURHOOD)
#: What `replicate` can prune, and how; the store and the keys know more words than these.
UNITS = ("weight", "channel", "head")
#: "native": each peer in the pool of its source, all others in the global one.
POOLS = ("global", "layer", "layer-rank", "row", "erk", "2:4", "4:8", "native")
#: Pools of single weights; of them those that fix the sparsity.
WEIGHT_POOLS = ("row", "2:4", "4:8")
PATTERNS = {"2:4": 0.5, "4:8": 0.5}
FORMS = ("exact",)
#: Equivalence margin of an accuracy, in points.
DELTA = 0.5
#: Error rate of the tests, and what the others are compared to.
ALPHA, REFERENCE = 0.05, "magnitude"
#: What runs where a task of the user's own says nothing else.
OWN_DEFAULTS: dict[str, Any] = {"seeds": 5, "sparsities": (0.5, 0.6, 0.7, 0.8)}
#: Settings of the image tasks, which no other task has.
IMAGE_SETTINGS = ("data", "model", "training", "calibration", "checkpoint", "pretrained")
#: Settings that say which seeds there are, beside a list of them.
COUNTED = ("max_seeds", "first_seed")
_IN_WORDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
#: What `device` takes, in words and as a pattern.
DEVICES = "auto | cpu | cuda | cuda:INDEX"
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_Section = TypeVar("_Section")


@dataclass(frozen=True, slots=True)
class OwnTask:
    """A task of the user's own: `name` is FILE.py:CLASS or MODULE:CLASS, `options` are what the class is called with, by name.

    `pickled` is an instance that Python handed over; `code` then says what it is made of, for keys, where no file does.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    pickled: bytes | None = None
    code: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", user_code.absolute(self.name))
        object.__setattr__(self, "options", tuple(sorted(self.options)))


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything `replicate` was asked for.

    `scorers=None` means the default list, which needs the plugin to be spelled out. `delta` is in the unit of the task's metric;
    None is what the task says, which `replicate` asks for. `until` are the targets of a run that looks and may stop before its
    last seed, none for every line of κ ≥ 1; `until=None` is a fixed number of seeds.
    """

    name: str
    task: ImageConfig | OwnTask
    seeds: tuple[int, ...]
    sparsities: tuple[float, ...]
    scorers: tuple[str, ...] | None = None
    saliency: str = "gradient"
    unit: str = "weight"
    pool: str = "global"
    form: str = "exact"
    device: str = "auto"
    delta: float | None = None
    alpha: float = ALPHA
    reference: str = REFERENCE
    until: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[\w.+-]+", self.name) is not None, "name", self.name, "letters, digits and . _ + -")
        require(len(self.seeds) > 0, "seeds", self.seeds, "at least one seed")
        require(all(0 <= seed < 2**32 for seed in self.seeds), "seeds", self.seeds, "integers from 0 to 2³²-1")
        require(len(self.sparsities) > 0, "sparsities", self.sparsities, "at least one sparsity")
        for sparsity in self.sparsities:
            require(0 < sparsity < 1, "sparsities", sparsity, "numbers above 0 and below 1")
        require(self.scorers is None or len(self.scorers) > 0, "scorers", self.scorers, "at least one scorer")
        for field, accepted in (("unit", UNITS), ("pool", POOLS), ("form", FORMS)):
            value = getattr(self, field)
            require(value in accepted, field, value, " | ".join(accepted), known=accepted)
        if self.pool in WEIGHT_POOLS:
            require(self.unit == "weight", "unit", self.unit, f"weight, with pool {self.pool}")
        if self.pool in PATTERNS:
            only = PATTERNS[self.pool]
            require(tuple(self.sparsities) == (only,), "sparsities", self.sparsities, f"{only:g}, which pool {self.pool} is")
        require(self.saliency in SALIENCIES, "saliency", self.saliency, " | ".join(SALIENCIES))
        require(_DEVICE.fullmatch(self.device) is not None, "device", self.device, DEVICES)
        self._check_delta()
        require(0 < self.alpha < 0.5, "alpha", self.alpha, "a level above 0 and below 0.5")
        self._check_start()
        object.__setattr__(self, "seeds", tuple(sorted(set(self.seeds))))
        object.__setattr__(self, "sparsities", tuple(sorted(set(self.sparsities))))

    def _check_delta(self) -> None:
        if isinstance(self.task, ImageConfig):
            if self.delta is None:
                object.__setattr__(self, "delta", DELTA)
            delta = self.delta or 0.0
            require(math.isfinite(delta) and 0 < delta < 100, "delta", delta, "points above 0, below 100")
        elif self.delta is not None:
            require(math.isfinite(self.delta) and self.delta > 0, "delta", self.delta, "a number above 0, in the metric's unit")

    def _check_start(self) -> None:
        if not isinstance(self.task, ImageConfig) or len(self.task.checkpoints) != 1:
            return
        if self.saliency == "neighbourhood" and len(self.seeds) > 1:
            raise ConfigError(
                "--checkpoint with --saliency neighbourhood: every seed would measure the same numbers: give --seeds 1, or a "
                "saliency that is measured on calibration batches"
            )

    @property
    def images(self) -> ImageConfig:
        """The settings of an image task; a TypeError for a task of the user's own."""
        if not isinstance(self.task, ImageConfig):
            raise TypeError(f"{self.name} is no image task")
        return self.task

    def with_images(self, **changes: Any) -> Experiment:
        """The same with other settings of its image task."""
        return replace(self, task=replace(self.images, **changes))

    @property
    def margin(self) -> float:
        """δ, once it is known."""
        if self.delta is None:
            raise ValueError("delta is not known yet")
        return self.delta


def read_toml(path: Path) -> dict[str, Any]:
    """Read a configuration file; a file that is missing or not TOML is a ConfigError naming it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: cannot be read ({error}){near_file(path)}") from None
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

    `seeds` is a count N (seeds 0 to N-1, or from `first_seed` on) or a list; with `until` it is `max_seeds`. Every unknown
    key, missing key and wrong type is a ConfigError that names it, those of `typed` as options (`--sparsities 70`) and others
    as settings (`sparsities = 70.0`).
    """
    try:
        return _experiment(settings)
    except RefusedSettingError as error:
        if error.setting in typed:
            raise error.typed() from None
        raise


def _experiment(settings: Mapping[str, Any]) -> Experiment:
    plain = dict(settings)
    task = _own_task(plain) if "task" in plain else _image_task(plain)
    until = plain.pop("until", None)
    seeds = seeds_of(plain.pop("seeds", None), until, plain.pop("max_seeds", None), plain.pop("first_seed", 0))
    if seeds is not None:
        plain["seeds"] = seeds
    if until is not None:
        plain["until"] = targets_of(until)
    if isinstance(task, ImageConfig) and (files := len(task.checkpoints)) > 1:
        seeds = plain.setdefault("seeds", tuple(range(files)))
        if tuple(seeds) != tuple(range(files)):
            option, instead = ("--seeds", "leave --seeds out") if until is None else ("--max-seeds", f"give --max-seeds {files}")
            raise ConfigError(f"{option}: {files} files of --checkpoint are seeds 0 to {files - 1}: {instead}")
    return _section(Experiment, plain, "", built={"task": task})


def _image_task(plain: dict[str, Any]) -> ImageConfig:
    """Take the settings of an image task out of `plain`."""
    model, data = _table(plain, "model"), _table(plain, "data")
    for size in ("train", "validation", "test"):
        require(data.get(size) != 0, f"data.{size}", 0, "a count of at least 1, or leave it out")
    if (training := _table(plain, "training")).get("path") == "stacked":
        require(training.get("width") != 0, "training.width", 0, f"an integer from 2 to {WIDEST}, or leave it out for {WIDTH}")
    given = plain.pop("checkpoint", None)
    pretrained = _typed(plain.pop("pretrained", False), bool, "pretrained")
    sections: dict[str, Any] = {
        "data": _section(DataConfig, data, "data."),
        "model": ModelConfig(_typed(model.pop("name", None), str, "model.name"), _options(model)),
        "training": _section(TrainingConfig, _table(plain, "training"), "training."),
        "calibration": _section(CalibrationConfig, _table(plain, "calibration"), "calibration."),
    }
    for name in sections:
        plain.pop(name, None)
    given = [] if given is None else [given] if isinstance(given, str) else _typed(given, tuple[str, ...], "checkpoint")
    return ImageConfig(**sections, checkpoints=checkpoint_files(given), pretrained=pretrained)


def _own_task(plain: dict[str, Any]) -> OwnTask:
    """Take the task out of `plain`: a table with its name and options, or the task itself."""
    for name in IMAGE_SETTINGS:
        if name in plain:
            raise ConfigError(f"{name}: is for the image tasks; a task of your own brings its network and its data")
    if isinstance(plain["task"], OwnTask):
        return plain.pop("task")  # type: ignore[no-any-return]
    table = _table(plain, "task")
    del plain["task"]
    name = _typed(table.pop("name", None), str, "task.name")
    require(bool(re.fullmatch(r".+:\w+", name)), "task", name, "FILE.py:CLASS or MODULE:CLASS")
    for key, value in table.items():
        items = value if isinstance(value, list) else [value]
        good = all(isinstance(item, bool | int | float | str) for item in items)
        require(good, f"task.{key}", value, "a number, a string, a boolean, or a list of them")
    return OwnTask(name, tuple(table.items()))


def _table(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = settings.get(name, {})
    require(isinstance(table, Mapping), name, table, f"a table [{name}]")
    return dict(table)


def _options(model: Mapping[str, Any]) -> tuple[tuple[str, Scalar], ...]:
    for key, value in model.items():
        require(isinstance(value, bool | int | float | str), f"model.{key}", value, "a number, a string or a boolean")
    return tuple(model.items())


def _section(kind: type[_Section], values: Mapping[str, Any], prefix: str, built: Mapping[str, Any] | None = None) -> _Section:
    ready = dict(built or {})
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    accepted = sorted(set(fields) - set(ready))
    for key in values:
        if key not in accepted:
            tables = IMAGE_SETTINGS if isinstance(ready.get("task"), ImageConfig) else ()
            known = accepted if prefix else sorted([*accepted, *COUNTED, *tables])
            near = did_you_mean(key, known)
            raise ConfigError(f"unknown setting {prefix}{key}{near}: the settings here are {', '.join(known)}")
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
        require(isinstance(value, Sequence) and not isinstance(value, str), where, value, "a list")
        return tuple(_typed(element, get_args(hint)[0], where) for element in value)
    good = isinstance(value, (int, float) if hint is float else hint) and isinstance(value, bool) == (hint is bool)
    require(good, where, value, _IN_WORDS[hint])
    return hint(value)
