"""The image tasks as the driver has them: their part of every key, found without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sics_cli.base.hashing import digest
from sics_cli.settings.images import DataConfig, ImageConfig, TrainingConfig, data_name
from sics_cli.settings.seeding import calibration_batches, data_order, indices_hash
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, data_facts, key_name, split_digest, split_indices
from sics_cli.tasks.images.standardise import in_words
from sics_cli.tasks.networks.models import check_model, model_code, model_name
from sics_cli.tasks.networks.size import BACKWARD, UNKNOWN_COMPILED, VisionTransformer, machine_of
from sics_cli.tasks.networks.start import Start, start_at, starts_of
from sics_cli.tasks.recipe import GIVEN, SYNFLOW, SYNFLOW_ROUNDS, Pace, Passes, SeedStreams
from sics_cli.tasks.task import ACCURACY, Metric

if TYPE_CHECKING:
    import torch

    from sics_cli.tasks.image_task import ImageTask

#: Raised by hand when code that trains changes.
TRAINING_VERSION = 2
#: CPU threads of a worker, always: sums over more threads add up in another order.
THREADS = 1
#: Images of one batch of an evaluation (sics_cli.tasks.networks.evaluation, which brings torch along).
EVALUATED_TOGETHER = 256
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
    "width": (0,),
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

    @property
    def width(self) -> int:
        """How many seeds' networks are trained as one."""
        return 1 if self.given else max(1, self.config.training.width)

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

    def pace(self, device_class: str, gpu: str | None = None, at_once: int = 1) -> Pace | None:
        """A guess from the size of a vision transformer; None for another network."""
        network = VisionTransformer.of(self.config.model)
        if network is None:
            return None
        machine, config, part = machine_of(device_class, gpu), self.config, self.config.calibration
        epochs, steps = self.epochs, self.epochs * -(-config.data.train // config.training.batch_size)
        passed = self.width * epochs * config.data.train  # of a stack, empty places too
        compiles = config.training.path == "compile" and epochs > 0
        adds = network.multiply_adds

        def evaluated(images: int) -> float:
            operations = network.mask_operations + -(-images // EVALUATED_TOGETHER) * network.pass_operations
            seconds = machine.seconds(operations, images * adds, network.moved(images), at_once=at_once)
            return machine.masking * seconds + machine.cell

        return Pace(
            training=machine.seconds(
                steps * network.step_operations(config.training),
                BACKWARD * passed * adds,
                network.moved_in_training(passed, self.width * steps),
                config.training.precision,
                at_once,
                steps * network.step_launches(config.training),
            ),
            collecting=machine.seconds(
                part.batches * network.collecting_operations,
                BACKWARD * part.batches * part.batch_size * adds,
                network.moved_in_training(part.batches * part.batch_size, part.batches),
                at_once=at_once,
            ),
            cell=evaluated(config.data.test),
            point=evaluated(config.data.validation),
            synflow=machine.seconds(SYNFLOW_ROUNDS * network.collecting_operations, SYNFLOW * adds, 0, at_once=at_once),
            source=machine.source + UNKNOWN_COMPILED * compiles,
        )

    @property
    def memory(self) -> int | None:
        """A guess from the size of a vision transformer and of its images; None for another network."""
        network, data = VisionTransformer.of(self.config.model), self.config.data
        if network is None:
            return None
        pixels = (data.train + data.validation + data.test) * math.prod(self.facts.shape[1:])
        return network.memory(self.config.training, EVALUATED_TOGETHER, pixels, trains=not self.given)

    @property
    def called(self) -> str:
        """What a reader knows the data as."""
        return data_name(self.config.data.name, self.facts.digest)

    @property
    def summary(self) -> str:
        """Which data, of which sizes."""
        data, shape = self.config.data, "×".join(map(str, self.facts.shape[1:]))
        parts = f"{data.train} train, {data.validation} validation, {data.test} test"
        by = f", standardised by {in_words(word)}" if (word := data.standardise or "data") != "data" else ""
        kind = "" if key_name(data.name) == data.name else f", an {key_name(data.name)}"
        return f"{self.called}{kind} ({parts}, {shape}{by})"

    def open(self, device: torch.device) -> ImageTask:
        """The task itself, in a worker."""
        from sics_cli.tasks.image_task import ImageTask

        return ImageTask(self.config, self.facts, self.access, self.starts, device)


def _settings(section: DataConfig | TrainingConfig) -> dict[str, Any]:
    """The section's settings, without those that are as if they did not exist."""
    return {name: value for name, value in asdict(section).items() if value not in _LATER.get(name, ())}
