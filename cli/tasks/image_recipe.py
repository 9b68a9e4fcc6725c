"""The image tasks as the driver has them: their part of every key, found without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sics_cli.base.hashing import digest
from sics_cli.settings.images import DataConfig, ImageConfig, ModelConfig, TrainingConfig
from sics_cli.settings.seeding import calibration_batches, data_order, indices_hash
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, data_facts, key_name, split_digest, split_indices
from sics_cli.tasks.images.standardise import in_words
from sics_cli.tasks.networks.models import check_model, model_code, model_name
from sics_cli.tasks.networks.start import Start, start_at, starts_of
from sics_cli.tasks.recipe import GIVEN, Pace, Passes, SeedStreams
from sics_cli.tasks.task import ACCURACY, Metric

if TYPE_CHECKING:
    import torch

    from sics_cli.tasks.image_task import ImageTask

#: Raised by hand when code that trains changes.
TRAINING_VERSION = 2
#: CPU threads of a worker, always: sums over more threads add up in another order.
THREADS = 1
#: A forward and backward pass costs about three forward passes.
BACKWARD = 3
#: Settings that came later: at these values a recipe is what it was before there was such a setting, and so are its keys.
_LATER: dict[str, tuple[Any, ...]] = {
    "image_size": (None,),
    "precision": ("fp32",),
    "crop_padding": (0,),
    "flip": (False,),
    "randaugment": (0,),
    "magnitude": (9,),
    "mixup": (0.0,),
    "cutmix": (0.0,),
    "label_smoothing": (0.0,),
    "schedule": ("one-cycle",),
    "warmup": (0,),
    "path": ("eager",),
    "classes": (None,),
    "standardise": (None, "data"),
}


class ImageRecipe:
    """An image classification by its settings; `facts` of the data are looked up where they are not given."""

    metric = Metric(ACCURACY, higher_is_better=True)
    holds_out = True

    def __init__(self, config: ImageConfig, facts: ImageFacts | None = None, access: DataAccess | None = None) -> None:
        self.config, self.access = config, access or DataAccess()
        self.facts = facts or data_facts(config.data)
        check_model(config.model)
        self.starts: tuple[Start, ...] = starts_of(config)
        self.content = self._content()
        self._streams: dict[int, SeedStreams] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker looks at code and weights again: what changed meanwhile makes another recipe.
        return ImageRecipe, (self.config, self.facts, self.access)

    @property
    def given(self) -> bool:
        """Whether networks come trained."""
        return bool(self.starts) and self.starts[0].is_whole

    @property
    def epochs(self) -> int:
        """Epochs of training; 0 for networks that come trained."""
        return 0 if self.given else self.config.training.epochs

    def _content(self) -> dict[str, Any]:
        config = self.config
        start: dict[str, Any] = {}
        if len(self.starts) == 1:
            start = {"start": {"kind": self.starts[0].kind, "sha256": self.starts[0].sha256}}
        elif self.starts:
            start = {"start": {"kind": "checkpoints"}}
        return {
            "data": {
                **_settings(config.data),
                "name": key_name(config.data.name),
                "digest": self.facts.digest,
                "split_digest": split_digest(config.data, self.facts),
                **({"classes": digest(config.data.classes)} if config.data.classes else {}),
            },
            "model": {"name": model_name(config.model), **dict(config.model.options)},
            **({"model_code": code} if (code := model_code(config.model)) else {}),
            **start,
            "training": self._training(),
        }

    def _training(self) -> dict[str, Any]:
        """What training depends on; a network that is given whole depends on none of it."""
        if self.given:
            return {"epochs": 0, "version": TRAINING_VERSION, "threads": THREADS}
        return {**_settings(self.config.training), "version": TRAINING_VERSION, "threads": THREADS}

    def seed_content(self, seed: int) -> Mapping[str, Any]:
        """The file of weights that is this seed's own."""
        return {"file_sha256": start_at(self.starts, seed).sha256} if len(self.starts) > 1 else {}

    @property
    def calibration(self) -> dict[str, Any]:
        """How many batches of how many images."""
        return asdict(self.config.calibration)

    def streams(self, seed: int) -> SeedStreams:
        """Hashes of data order and calibration batches of `seed`."""
        if seed not in self._streams:
            size, part = len(split_indices(self.config.data, self.facts)[0]), self.config.calibration
            calibration = indices_hash(calibration_batches(seed, size, part.batches, part.batch_size))
            order = GIVEN if self.given else indices_hash(data_order(seed, size, self.config.training.epochs))
            self._streams[seed] = SeedStreams(order, calibration)
        return self._streams[seed]

    @property
    def varies(self) -> tuple[str, ...]:
        """What another seed changes in the dense network."""
        if self.given:
            return ("the network, one file a seed",) if len(self.starts) > 1 else ()
        begin = "initialisation of the classifier" if self.starts else "initialisation"
        training = self.config.training
        changed = ["augmentation"] * training.augments + ["mixing of images"] * training.mixes
        return (begin, "data order", *changed)

    @property
    def passes(self) -> Passes:
        """What a seed takes."""
        config, part = self.config, self.config.calibration
        training = 0 if self.config.checkpoints else BACKWARD * config.data.train * config.training.epochs
        return Passes(training, BACKWARD * part.batches * part.batch_size, config.data.test, config.data.validation)

    def pace(self, device_class: str) -> Pace | None:
        """A guess from the size of a vision transformer; None for another network."""
        operations = multiply_adds(self.config.model)
        if operations is None:
            return None
        step, cell = LAUNCHED[device_class]
        steps = self.config.training.epochs * -(-self.config.data.train // self.config.training.batch_size)
        training = 0.0 if self.given else step * steps
        return Pace(2 * operations / GUESSED_RATES[device_class], training, step * self.config.calibration.batches, cell)

    @property
    def summary(self) -> str:
        """Which data, of which sizes."""
        data, shape = self.config.data, "×".join(map(str, self.facts.shape[1:]))
        parts = f"{data.train} train, {data.validation} validation, {data.test} test"
        by = f", standardised by {in_words(word)}" if (word := data.standardise or "data") != "data" else ""
        return f"{key_name(data.name)} ({parts}, {shape}{by})"

    def open(self, device: torch.device) -> ImageTask:
        """The task itself, in a worker."""
        from sics_cli.tasks.image_task import ImageTask

        return ImageTask(self.config, self.facts, self.access, self.starts, device)


def _settings(section: DataConfig | TrainingConfig) -> dict[str, Any]:
    """The section's settings, without those that are as if they did not exist."""
    return {name: value for name, value in asdict(section).items() if value not in _LATER.get(name, ())}


#: Arithmetic a worker gets through where nothing was measured yet, in floating-point operations a second: one core, one GPU.
#: Small networks stay below it, large ones above: a guess that is right within a factor of a few.
GUESSED_RATES = {"cpu": 4e10, "cuda": 4e12}
#: A GPU is not faster than this, however small the network: seconds to launch what a training step and a cell consist of.
LAUNCHED = {"cpu": (0.0, 0.0), "cuda": (0.01, 0.1)}
#: What timm's VisionTransformer does unless told otherwise.
_VIT = {"img_size": 224, "patch_size": 16, "in_chans": 3, "embed_dim": 768, "depth": 12, "mlp_ratio": 4.0}


def multiply_adds(model: ModelConfig) -> int | None:
    """Multiplications of one example's way through a vision transformer, or None for another network.

    Attention itself, a small part for few tokens, is not counted.

    >>> multiply_adds(ModelConfig("vit", (("img_size", 8), ("patch_size", 2), ("in_chans", 1), ("embed_dim", 64), ("depth", 4))))
    3149824
    """
    if model.name != "vit":
        return None
    options = {**_VIT, **dict(model.options)}
    try:
        tokens = (_whole(options["img_size"]) // _whole(options["patch_size"])) ** 2
        dim, depth = _whole(options["embed_dim"]), _whole(options["depth"])
        hidden = int(dim * float(options["mlp_ratio"]))
        entry = _whole(options["in_chans"]) * _whole(options["patch_size"]) ** 2 * dim
    except (TypeError, ValueError):
        return None
    return tokens * (depth * (4 * dim * dim + 2 * dim * hidden) + entry)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is not a count")
    return value
