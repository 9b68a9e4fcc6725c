"""Networks to measure scorers on: the dense checkpoints of a run, or one that is trained in a moment."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.experiment.scorers import DEFAULT_ROLES, PEER, make_scorer, scorer_class
from sics_cli.experiment.user_scorers import check_own, is_own
from sics_cli.seeds.saliency import saliency_of
from sics_cli.settings.config import Experiment, experiment_from_mapping
from sics_cli.settings.images import CalibrationConfig, DataConfig, TrainingConfig
from sics_cli.settings.presets import DEFAULT_PRESET, PRESETS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.store.run_folder import checkpoint_path
from sics_cli.store.store import Store, find_store
from sics_cli.tasks.checkpoints import DamagedCheckpointError, load_checkpoint
from sics_cli.tasks.images.datasets import DataAccess, Split, data_facts, key_name, load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import train
from sics_plugin import Saliency, Scorer, list_scorers
from sics_plugin.complexity.meter import DRAWS, SPARSITIES, measure
from sics_plugin.complexity.result import Complexity
from sics_plugin.saliency.kinds import SIGNALS, uses_data

#: Epochs of the network that is trained where no run is given: enough that magnitude and saliency are those of a trained one.
QUICK_EPOCHS = 10
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredNetwork:
    """A dense network, its saliency of one kind (None: data-free) and batches for others, with the words that say which it is.

    `validation` is the part of the run's images that neither trained it nor tests it; None where the run is data-free.
    """

    experiment: str
    seed: int
    model: nn.Module
    kind: str
    saliency: Saliency | None
    batches: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    validation: Examples | None = None

    def saliency_of(self, kind: str) -> Saliency:
        """A saliency of another kind, of the same batches."""
        any_kind: Any = kind
        if kind in SIGNALS and not uses_data(kind):
            return Saliency(self.model, kind=any_kind)
        if not self.batches:
            raise ConfigError(f"--saliency {self.kind}: has no data for a {kind} saliency, which is needed here")
        return Saliency(self.model, self.batches, nn.functional.cross_entropy, kind=any_kind)


def quick_network(seed: int, saliency: str) -> MeasuredNetwork:
    """The default experiment's network after few epochs on its training data; seconds."""
    experiment = replace(experiment_from_mapping(PRESETS[DEFAULT_PRESET]), saliency=saliency)
    task = replace(experiment.images, training=replace(experiment.images.training, epochs=QUICK_EPOCHS))
    split = load_split(task.data)
    model = build_model(task.model, seed)
    train(model, task.training, split, seed, _CPU)
    name = f"{experiment.name} network after {QUICK_EPOCHS} epochs"
    return _network(name, seed, model.eval(), replace(experiment, task=task), split)


def run_networks(
    run: Path, seeds: Sequence[int] | None, *, data: str | None = None, data_dir: Path | None = None, saliency: str | None = None
) -> Iterator[MeasuredNetwork]:
    """The dense networks of a run, with its saliency measured again on its own calibration batches; nothing is written.

    Without `seeds`: the first. `data` is where the images are, as `replicate --data` takes it: a store does
    not keep the path of a folder. `saliency` is another kind than the run's.
    """
    path = find_store(run)
    with Store.open(path, read_only=True) as store:
        recipe, kept = store.meta("recipe"), {row.seed: row.dense_key for row in store.checkpoints()}
    if unknown := sorted(set(seeds or ()) - set(kept)):
        there = ", ".join(map(str, kept)) or "none"
        raise ConfigError(f"--seeds {','.join(map(str, unknown))}: {run} has no dense network of it; there is {there}")
    if not kept:
        raise ConfigError(f"--run {run}: holds no dense network yet")
    if "task" in recipe:
        raise ConfigError(
            f"--run {run}: is of the task {recipe['task']['name']}; scorers are measured on networks of image tasks"
        )
    experiment = _experiment(recipe, saliency, data, run)
    config, split = experiment.images, None
    if experiment.saliency != "neighbourhood":
        access = DataAccess(data_dir.expanduser().absolute() if data_dir else None)
        facts = data_facts(config.data, access)
        if facts.digest != recipe["data"]["digest"]:
            raise ConfigError(f"--data {data or config.data.name}: is not the data that {run} was made on")
        split = load_split(config.data, facts, access)
    for seed in seeds or [min(kept)]:
        file = checkpoint_path(path.parent, seed, kept[seed])
        try:
            checkpoint = load_checkpoint(file, kept[seed])
        except FileNotFoundError:
            raise MismatchError(f"{file}: is gone, and with it the dense network of seed {seed}") from None
        except DamagedCheckpointError as error:
            raise MismatchError(f"{file}: {error}") from None
        model = build_model(config.model, seed)
        model.load_state_dict(checkpoint.state)
        yield _network(run.name or str(run), seed, model.eval(), experiment, split)


def _experiment(recipe: dict[str, Any], saliency: str | None, data: str | None, run: Path) -> Experiment:
    """What of the recipe makes network and saliency, as an experiment again."""
    settings = {name: _known(recipe[name], kind) for name, kind in (("data", DataConfig), ("training", TrainingConfig))}
    kind = saliency or recipe["saliency"]["kind"]
    calibration = recipe["saliency"]["calibration"]
    if recipe.get("start", {}).get("kind") in (
        "checkpoint",
        "checkpoints",
    ):  # nothing was trained, so the recipe has no settings for it
        settings["training"] = _known(PRESETS[DEFAULT_PRESET]["training"], TrainingConfig)
    if calibration is None:  # a data-free run that is to be measured with data
        preset = PRESETS[DEFAULT_PRESET]["calibration"]
        calibration = _known(preset, CalibrationConfig)
    name = recipe["data"]["name"]
    if data is not None and key_name(data) != name:
        raise ConfigError(f"--data {data}: {run} was made on {name}")
    if data is None and name == "imagefolder" and kind != "neighbourhood":
        raise ConfigError(f"--run {run}: was made on a folder of images: say where it is, --data imagefolder:PATH")
    settings["data"] |= {"name": data or name}
    return experiment_from_mapping(
        {
            "name": run.name or "run",
            "seeds": 1,
            "sparsities": [0.5],
            **settings,
            "model": recipe["model"],
            "calibration": calibration,
            "saliency": kind,
        }
    )


def _known(section: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in section.items() if name in names}


def _network(name: str, seed: int, model: nn.Module, experiment: Experiment, split: Split | None) -> MeasuredNetwork:
    kind = experiment.saliency
    if split is None or kind == "neighbourhood":
        return MeasuredNetwork(name, seed, model, kind, None)
    part = experiment.images.calibration
    examples = Examples(split.train, _CPU)
    indices = list(calibration_batches(seed, len(examples), part.batches, part.batch_size))
    batches = tuple(examples.at(torch.from_numpy(batch)) for batch in indices)
    saliency = saliency_of(model, kind, batches)
    return MeasuredNetwork(name, seed, model, kind, saliency, batches, Examples(split.validation, _CPU))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One scorer on one network."""

    network: MeasuredNetwork
    found: Complexity

    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each sparsity, with what holds at all of them beside it."""
        whole = {
            "network": self.network.experiment, "seed": self.network.seed, "declared_kappa": self.found.declared,
            "measured_kind": self.found.kind, "measured_kappa": self.found.kappa, "measured_confidence": self.found.confidence,
            "flags": "; ".join(self.found.flags),
        }  # fmt: skip
        return [whole | row for row in self.found.rows()]


def measure_all(
    network: MeasuredNetwork,
    specs: Sequence[str] | None,
    *,
    sparsities: Sequence[float] | None = None,
    draws: int | None = None,
) -> Iterator[Measured]:
    """Measure scorers on one network, in the order given; default: all that run by default and can use its saliency.

    A scorer that requires a saliency of another kind is given that, and measured against the network's.
    """
    for spec in specs if specs is not None else _usable(network):
        cls = scorer_class(spec)
        if is_own(spec):
            check_own(spec, network.kind)
        other = cls.requires is not None and cls.requires != network.kind
        try:
            own = network.saliency_of(cls.requires) if other and cls.requires is not None else network.saliency
            found = measure(
                make_scorer(spec, 0),
                network.model,
                own,
                against=network.saliency if other else None,
                sparsities=SPARSITIES if sparsities is None else sparsities,
                draws=DRAWS if draws is None else draws,
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{spec}: cannot be measured: {error}") from None
        yield Measured(network, found)


def _usable(network: MeasuredNetwork) -> list[str]:
    names = [(name, scorer_class(name)) for name in list_scorers()]
    roles = (*DEFAULT_ROLES, "adaptive", PEER)

    def usable(cls: type[Scorer]) -> bool:
        own = cls.role == PEER and (bool(network.batches) or not uses_data(cls.requires or network.kind))
        return cls.role in roles and (own or cls.requires in (None, network.kind))

    return [name for name, cls in names if usable(cls)]


def as_text(measured: Sequence[Measured], ending: str) -> str:
    """All rows as CSV or JSON lines, by the ending of a file's name."""
    rows = [row for one in measured for row in one.rows()]
    if ending == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
