"""Networks to measure scorers on: the dense checkpoints of a run, or one that is trained in a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sics_cli.experiment.calibrating import saliency_of
from sics_cli.experiment.checkpoints import DamagedCheckpointError, load_checkpoint
from sics_cli.experiment.config import CalibrationConfig, DataConfig, Experiment, TrainingConfig, experiment_from_mapping
from sics_cli.experiment.datasets import DataAccess, Split, data_facts, key_name, load_split
from sics_cli.experiment.errors import ConfigError, MismatchError
from sics_cli.experiment.evaluation import Examples, part_on
from sics_cli.experiment.layout import checkpoint_path
from sics_cli.experiment.models import build_model
from sics_cli.experiment.presets import DEFAULT_PRESET, PRESETS
from sics_cli.experiment.store import Store, find_store
from sics_cli.experiment.streams import calibration_batches
from sics_cli.experiment.training import train
from sics_plugin import Saliency
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
        """A saliency of another kind, of the same batches.

        Raises
        ------
        ConfigError
            The run is data-free, and this kind needs data.
        """
        any_kind: Any = kind
        if kind in SIGNALS and not uses_data(kind):
            return Saliency(self.model, kind=any_kind)
        if not self.batches:
            raise ConfigError(f"--saliency {self.kind}: has no data for a {kind} saliency, which is needed here")
        return Saliency(self.model, self.batches, nn.functional.cross_entropy, kind=any_kind)


def quick_network(seed: int, saliency: str) -> MeasuredNetwork:
    """The default experiment's network after few epochs on its training data; seconds."""
    experiment = replace(experiment_from_mapping(PRESETS[DEFAULT_PRESET]), saliency=saliency)
    experiment = replace(experiment, training=replace(experiment.training, epochs=QUICK_EPOCHS))
    split = load_split(experiment.data)
    model = build_model(experiment.model, seed)
    train(model, experiment.training, split, seed, _CPU)
    name = f"{experiment.name} network after {QUICK_EPOCHS} epochs"
    return _network(name, seed, model.eval(), experiment, split)


def first_seed(run: Path) -> int:
    """The first seed of a run whose dense network is there.

    Raises
    ------
    ConfigError, StoreError
        There is none, or no run.
    """
    with Store.open(find_store(run), read_only=True) as store:
        seeds = [row.seed for row in store.checkpoints()]
    if not seeds:
        raise ConfigError(f"--run {run}: holds no dense network yet")
    return min(seeds)


def run_networks(
    run: Path, seeds: Sequence[int] | None, *, data: str | None = None, data_dir: Path | None = None, saliency: str | None = None
) -> Iterator[MeasuredNetwork]:
    """The dense networks of a run, with its saliency measured again on its own calibration batches; nothing is written.

    Parameters
    ----------
    run : Path
        A run's folder.
    seeds : sequence of int, optional
        Which; default: all whose checkpoint is there.
    data : str, optional
        Where the images are, as `replicate --data` takes it: a store does not keep the path of a folder.
    data_dir : Path, optional
        The folder of torchvision's files.
    saliency : str, optional
        Another kind than the run's.

    Raises
    ------
    ConfigError
        There is no such seed, or the data are not those of the run.
    StoreError
        There is no run.
    MismatchError
        A checkpoint is missing or damaged.
    """
    path = find_store(run)
    with Store.open(path, read_only=True) as store:
        recipe, kept = store.meta("recipe"), {row.seed: row.dense_key for row in store.checkpoints()}
    if unknown := sorted(set(seeds or ()) - set(kept)):
        there = ", ".join(map(str, kept)) or "none"
        raise ConfigError(f"--seeds {','.join(map(str, unknown))}: {run} has no dense network of it; there is {there}")
    if not kept:
        raise ConfigError(f"--run {run}: holds no dense network yet")
    experiment = _experiment(recipe, saliency, data, run)
    split = None
    if experiment.saliency != "neighbourhood":
        access = DataAccess(data_dir.expanduser().absolute() if data_dir else None)
        facts = data_facts(experiment.data, access)
        if facts.digest != recipe["data"]["digest"]:
            raise ConfigError(f"--data {data or experiment.data.name}: is not the data that {run} was made on")
        split = load_split(experiment.data, facts, access)
    for seed in sorted(kept) if seeds is None else seeds:
        file = checkpoint_path(path.parent, seed, kept[seed])
        try:
            checkpoint = load_checkpoint(file, kept[seed])
        except FileNotFoundError:
            raise MismatchError(f"{file}: is gone, and with it the dense network of seed {seed}") from None
        except DamagedCheckpointError as error:
            raise MismatchError(f"{file}: {error}") from None
        model = build_model(experiment.model, seed)
        model.load_state_dict(checkpoint.state)
        yield _network(run.name or str(run), seed, model.eval(), experiment, split)


def _experiment(recipe: dict[str, Any], saliency: str | None, data: str | None, run: Path) -> Experiment:
    """What of the recipe makes network and saliency, as an experiment again."""
    settings = {name: _known(recipe[name], kind) for name, kind in (("data", DataConfig), ("training", TrainingConfig))}
    kind = saliency or recipe["saliency"]["kind"]
    calibration = recipe["saliency"]["calibration"]
    if recipe.get("start", {}).get("kind") == "checkpoint":  # nothing was trained, so the recipe has no settings for it
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
    part = experiment.calibration
    examples = part_on(split.train, _CPU)
    indices = list(calibration_batches(seed, len(examples), part.batches, part.batch_size))
    batches = tuple(examples.at(torch.from_numpy(batch)) for batch in indices)
    saliency = saliency_of(model, kind, examples, indices)
    return MeasuredNetwork(name, seed, model, kind, saliency, batches, part_on(split.validation, _CPU))
