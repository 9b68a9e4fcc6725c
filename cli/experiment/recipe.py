"""The hashes that name things: run_id, dense_key, cell_key. Each covers all that its number depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sics_cli.base.hashing import digest
from sics_cli.experiment.scorers import ScorerInfo, plugin_digest
from sics_cli.settings.config import DataConfig, Experiment, TrainingConfig
from sics_cli.settings.seeding import Stream, calibration_batches, data_order, indices_hash, torch_seed
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import data_facts, key_name, split_digest, split_indices
from sics_cli.tasks.networks.models import check_model, model_code, model_name
from sics_cli.tasks.networks.start import Start, start_of

#: Raised by hand when code that makes the numbers changes: training and checkpoints; saliency, masks, evaluation.
TRAINING_VERSION = 2
EVALUATION_VERSION = 2
#: CPU threads of a worker, always: sums over more threads add up in another order.
THREADS = 1
#: Settings that came later: at these values a recipe is what it was before there was such a setting, and so are its keys.
_LATER: dict[str, tuple[Any, ...]] = {
    "image_size": (None,),
    "precision": ("fp32",),
    "crop_padding": (0,),
    "flip": (False,),
    "randaugment": (0,),
    "magnitude": (9,),
    "classes": (None,),
    "standardise": (None, "data"),
}
#: Stands for the hash of a data order where nothing was trained.
GIVEN = "given"
#: Stands for the dense network where a scorer's name is expected.
DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Environment:
    """What of the machine the numbers depend on: "cpu" or "cuda", the minor version of torch, and timm's version.

    timm initialises the networks, and did so differently between releases of one minor version.
    """

    device_class: str
    torch: str
    timm: str


@dataclass(frozen=True, slots=True)
class SeedStreams:
    """Hashes of the randomness of one seed, known before anything is trained."""

    data_order_hash: str
    calibration_hash: str | None


class Recipe:
    """The part of an experiment that all its cells share, and the keys derived from it.

    Two commands with one recipe belong to one run; seeds, scorers and sparsities may grow. `facts` of the data are looked up
    where they are not given.
    """

    def __init__(self, experiment: Experiment, environment: Environment, facts: ImageFacts | None = None) -> None:
        self.experiment = experiment
        self.environment = environment
        self.facts = facts or data_facts(experiment.data)
        check_model(experiment.model)
        self.start: Start | None = start_of(experiment)
        calibration = asdict(experiment.calibration) if experiment.saliency != "neighbourhood" else None
        self.content: dict[str, Any] = {
            "data": {
                **_settings(experiment.data),
                "name": key_name(experiment.data.name),
                "digest": self.facts.digest,
                "split_digest": split_digest(experiment.data, self.facts),
                **({"classes": digest(experiment.data.classes)} if experiment.data.classes else {}),
            },
            "model": {"name": model_name(experiment.model), **dict(experiment.model.options)},
            **({"model_code": code} if (code := model_code(experiment.model)) else {}),
            **({"start": {"kind": self.start.kind, "sha256": self.start.sha256}} if self.start else {}),
            "training": self._training(),
            "saliency": {"kind": experiment.saliency, "calibration": calibration},
            # An edit of the code that makes the masks is another run, never a mixture.
            "evaluation": {"version": EVALUATION_VERSION, "plugin": plugin_digest("")},
            "unit": experiment.unit,
            "pool": experiment.pool,
            "form": experiment.form,
            "environment": asdict(environment),
        }
        self.run_id = digest(self.content)
        self._streams: dict[int, SeedStreams] = {}

    def _training(self) -> dict[str, Any]:
        """What training depends on; a network that is given whole depends on none of it."""
        if self.start is not None and self.start.is_whole:
            return {"epochs": 0, "version": TRAINING_VERSION, "threads": THREADS}
        settings = _settings(self.experiment.training)
        return {**settings, "version": TRAINING_VERSION, "threads": THREADS}

    @property
    def described(self) -> dict[str, Any]:
        """The content, and what another seed changes: what a store keeps for its readers."""
        return {**self.content, "seed_varies": list(self.seed_varies)}

    @property
    def seed_varies(self) -> tuple[str, ...]:
        """What another seed changes; the split, the test images and all settings are the same for every seed."""
        training, calibrated = self.experiment.training, self.experiment.saliency != "neighbourhood"
        begin = "initialisation of the classifier" if self.start is not None else "initialisation"
        trained = () if self.start is not None and self.start.is_whole else (begin, "data order")
        return (
            *trained,
            *(["augmentation"] if training.augments and trained else []),
            *(["calibration batches"] if calibrated else []),
            "draws of random scorers",
        )

    def streams(self, seed: int) -> SeedStreams:
        """Hashes of data order and calibration batches of `seed` (no batches for a data-free saliency)."""
        if seed not in self._streams:
            size = len(split_indices(self.experiment.data, self.facts)[0])
            calibration = None
            if self.experiment.saliency != "neighbourhood":
                calibration = self._batches_hash(seed)
            order = GIVEN if self.start is not None and self.start.is_whole else self._order_hash(seed, size)
            self._streams[seed] = SeedStreams(order, calibration)
        return self._streams[seed]

    def _order_hash(self, seed: int, size: int) -> str:
        return indices_hash(data_order(seed, size, self.experiment.training.epochs))

    def dense_key(self, seed: int) -> str:
        """Key of the dense checkpoint: data, model, what it begins with, training, environment, seed."""
        names = ("data", "model", "model_code", "start", "training", "environment")
        shared = {name: self.content[name] for name in names if name in self.content}
        return digest({**shared, "seed": seed, "data_order_hash": self.streams(seed).data_order_hash})

    def dense_cell_key(self, seed: int) -> str:
        """Key of the dense row."""
        return digest({"kind": DENSE, "dense_key": self.dense_key(seed), **self._evaluation(seed)})

    def cell_key(self, seed: int, scorer: ScorerInfo, sparsity: float) -> str:
        """Key of one (seed, scorer, sparsity)."""
        return digest(
            {
                "kind": "cell",
                "dense_key": self.dense_key(seed),
                "scorer": scorer.fingerprint,
                "scorer_seed": scorer_seed(seed),
                "sparsity": sparsity,
                **self._evaluation(seed, scorer),
            }
        )

    def repeat_key(self, seed: int, scorer: ScorerInfo, sparsity: float) -> str:
        """Key of the deliberate re-evaluation of one cell."""
        return digest({"kind": "repeat", "of": self.cell_key(seed, scorer, sparsity)})

    def _evaluation(self, seed: int, scorer: ScorerInfo | None = None) -> dict[str, Any]:
        shared = {name: self.content[name] for name in ("saliency", "evaluation", "unit", "pool", "form")}
        if scorer is not None and scorer.signal is not None:  # a peer's number does not depend on the run's saliency
            calibration = asdict(self.experiment.calibration) if scorer.calibrated else None
            shared["saliency"] = {"kind": scorer.signal, "calibration": calibration}
        return {**shared, "calibration_hash": self.calibration_hash(seed, scorer)}

    def calibration_hash(self, seed: int, scorer: ScorerInfo | None = None) -> str | None:
        """Hash of the calibration batches that a scorer's saliency is measured on; None where it needs none."""
        if scorer is None or scorer.signal is None:
            return self.streams(seed).calibration_hash
        return self._batches_hash(seed) if scorer.calibrated else None

    def _batches_hash(self, seed: int) -> str:
        part, size = self.experiment.calibration, len(split_indices(self.experiment.data, self.facts)[0])
        return indices_hash(calibration_batches(seed, size, part.batches, part.batch_size))


def _settings(section: DataConfig | TrainingConfig) -> dict[str, Any]:
    """The section's settings, without those that are as if they did not exist."""
    return {name: value for name, value in asdict(section).items() if value not in _LATER.get(name, ())}


def scorer_seed(seed: int) -> int:
    """The seed handed to scorers that draw random numbers: another draw in every replicate."""
    return torch_seed(seed, Stream.SCORER)


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name the settings in which two recipes differ, as "training.epochs 40 → 30".

    >>> differences({"training": {"epochs": 40}}, {"training": {"epochs": 30}})
    ['training.epochs 40 → 30']
    >>> differences({"start": {"kind": "pretrained"}}, {})
    ['start.kind pretrained → None']
    """
    found: list[str] = []
    for key in sorted(set(stored) | set(wanted)):
        before, after = stored.get(key), wanted.get(key)
        both = [{} if one is None else one for one in (before, after)]
        if before != after and all(isinstance(one, Mapping) for one in both):
            found += differences(both[0], both[1], f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} {before} → {after}")
    return found
