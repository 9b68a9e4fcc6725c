"""The hashes that name things: run_id, dense_key, cell_key. Each covers all that its number depends on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sics_cli.base.hashing import digest
from sics_cli.experiment.scorers import ScorerInfo, plugin_digest
from sics_cli.settings.config import NEIGHBOURHOOD, Experiment
from sics_cli.settings.seeding import Stream, torch_seed
from sics_cli.tasks.recipe import SeedStreams, TaskRecipe
from sics_cli.tasks.sources import task_recipe

#: Raised by hand when code that makes the numbers changes: saliency, masks, evaluation.
EVALUATION_VERSION = 2
#: Stands for the dense network where a scorer's name is expected.
DENSE = "dense"
_DIGEST = re.compile(r"[0-9a-f]{32,}")
#: What a store keeps of a recipe for its readers alone.
TOLD = ("called", "seed_varies", "summary")


@dataclass(frozen=True, slots=True)
class Environment:
    """What of the machine the numbers depend on: "cpu" or "cuda", the minor version of torch, and timm's version.

    timm initialises the networks, and did so differently between releases of one minor version. `gpu` is the model of the card,
    or of several, where the driver can know it: not that of a cluster's nodes.
    """

    device_class: str
    torch: str
    timm: str
    gpu: str | None = None

    @property
    def content(self) -> dict[str, str]:
        """Its part of every key; on the CPU as it was before there was a model of a GPU."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Recipe:
    """The part of an experiment that all its cells share, and the keys derived from it.

    Two commands with one recipe belong to one run; seeds, scorers and sparsities may grow. `task` is made from the experiment
    where it is not given.
    """

    def __init__(self, experiment: Experiment, environment: Environment, task: TaskRecipe | None = None) -> None:
        self.experiment = experiment
        self.environment = environment
        self.task = task_recipe(experiment.task) if task is None else task
        calibration = self.task.calibration if self.calibrated else None
        self.content: dict[str, Any] = {
            **self.task.content,
            "saliency": {"kind": experiment.saliency, "calibration": calibration},
            # An edit of the code that makes the masks is another run, never a mixture.
            "evaluation": {"version": EVALUATION_VERSION, "plugin": plugin_digest("")},
            "unit": experiment.unit,
            "pool": experiment.pool,
            "form": experiment.form,
            "environment": environment.content,
        }
        self.run_id = digest(self.content)

    @property
    def calibrated(self) -> bool:
        """Whether the run's saliency is measured on calibration batches."""
        return self.experiment.saliency != NEIGHBOURHOOD

    @property
    def described(self) -> dict[str, Any]:
        """The content, and what a reader is told of it: what a store keeps."""
        told = {"seed_varies": list(self.seed_varies), "summary": self.task.summary, "called": self.task.called}
        return {**self.content, **told}

    @property
    def seed_varies(self) -> tuple[str, ...]:
        """What another seed changes; all else is the same for every seed."""
        batches = ("calibration batches",) if self.calibrated else ()
        return (*self.task.varies, *batches, "draws of random scorers")

    def streams(self, seed: int) -> SeedStreams:
        """Hashes of data order and calibration batches of `seed` (no batches for a data-free saliency)."""
        found = self.task.streams(seed)
        return found if self.calibrated else replace(found, calibration_hash=None)

    def dense_key(self, seed: int) -> str:
        """Key of the dense checkpoint: all that the task says it depends on, environment, seed."""
        shared = {**self.task.content, "environment": self.content["environment"], **self.task.seed_content(seed)}
        return digest({**shared, "seed": seed, "data_order_hash": self.task.streams(seed).data_order_hash})

    def dense_cell_key(self, seed: int) -> str:
        """Key of the dense row."""
        return digest({"kind": DENSE, "dense_key": self.dense_key(seed), **self._evaluation(seed)})

    def cell_key(self, seed: int, scorer: ScorerInfo, sparsity: float) -> str:
        """Key of one (seed, scorer, sparsity)."""
        # The row of a searched scorer also says what the reference's mask does on the held-out examples.
        search = {"search_seed": search_seed(seed), "reference": self.experiment.reference} if scorer.searched else {}
        search |= {"against": scorer.against} if scorer.against else {}
        return digest(
            {
                "kind": "cell",
                "dense_key": self.dense_key(seed),
                "scorer": scorer.fingerprint,
                "scorer_seed": scorer_seed(seed),
                "sparsity": sparsity,
                **search,
                **self._evaluation(seed, scorer),
            }
        )

    def search_key(self, seed: int, scorer: ScorerInfo, sparsity: float) -> str:
        """Key of the points that a searched scorer takes the first of: the same for every budget."""
        return digest(
            {
                "kind": "search",
                "dense_key": self.dense_key(seed),
                "search": scorer.fingerprint["search"],
                "search_seed": search_seed(seed),
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
            calibration = self.task.calibration if scorer.calibrated else None
            shared["saliency"] = {"kind": scorer.signal, "calibration": calibration}
        return {**shared, "calibration_hash": self.calibration_hash(seed, scorer)}

    def calibration_hash(self, seed: int, scorer: ScorerInfo | None = None) -> str | None:
        """Hash of the calibration batches that a scorer's saliency is measured on; None where it needs none."""
        if scorer is None or scorer.signal is None:
            return self.streams(seed).calibration_hash
        return self.task.streams(seed).calibration_hash if scorer.calibrated else None


def scorer_seed(seed: int) -> int:
    """The seed handed to scorers that draw random numbers: another draw in every replicate."""
    return torch_seed(seed, Stream.SCORER)


def search_seed(seed: int) -> int:
    """The seed of every search of a replicate, and of what is shuffled in it: another in every replicate."""
    return torch_seed(seed, Stream.SEARCH)


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name the settings in which two recipes differ, as "training.epochs 40 → 30".

    >>> differences({"training": {"epochs": 40}}, {"training": {"epochs": 30}})
    ['training.epochs 40 → 30']
    >>> differences({"start": {"kind": "pretrained"}}, {})
    ['start.kind pretrained → None']
    >>> differences({"data": {"digest": "0123456789abcdef" * 4}}, {"data": {"digest": "fedcba9876543210" * 4}})
    ['data.digest 0123456789ab → fedcba987654']
    """
    found: list[str] = []
    for key in sorted(set(stored) | set(wanted)):
        before, after = stored.get(key), wanted.get(key)
        both = [{} if one is None else one for one in (before, after)]
        if before != after and all(isinstance(one, Mapping) for one in both):
            found += differences(both[0], both[1], f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} {_short(before)} → {_short(after)}")
    return found


def _short(value: Any) -> Any:
    """A digest by its beginning."""
    return value[:12] if isinstance(value, str) and _DIGEST.fullmatch(value) else value
