"""Does the network fit the images? Answered before anything is trained, without torch."""

from __future__ import annotations

from dataclasses import replace

from sics_cli.experiment.config import Experiment, ModelConfig
from sics_cli.experiment.datasets import DATASETS, key_name
from sics_cli.experiment.errors import ConfigError
from sics_cli.experiment.image_file import ImageFacts
from sics_cli.experiment.models import is_timm


def fitted(experiment: Experiment, facts: ImageFacts) -> Experiment:
    """The experiment, its network's sizes filled in from the images where [model] leaves them out.

    Raises
    ------
    ConfigError
        In one line: the network is made for other images, or these cannot be augmented.

    Examples
    --------
    >>> from sics_cli.experiment.config import experiment_from_mapping
    >>> from sics_cli.experiment.presets import PRESETS
    >>> micro = experiment_from_mapping(PRESETS["cifar10-vit-micro"])
    >>> options = dict(fitted(micro, ImageFacts((70, 1, 32, 32), ("a", "b"), None, "")).model.options)
    >>> options["img_size"], options["in_chans"], options["num_classes"]
    (32, 1, 2)
    """
    name = key_name(experiment.data.name)
    _check_augmentation(experiment, facts, name)
    _, channels, height, width = facts.shape
    if is_timm(experiment.model):  # whether it takes images of this size, only building it can tell
        there = {"in_chans": channels, "num_classes": len(facts.classes)}
        return _with_options(experiment, there, name)
    options = dict(experiment.model.options)
    if height != width:
        raise ConfigError(f"data.name = {name!r}: its images are {width}×{height} and the vit takes squares: set data.image_size")
    fitting = _with_options(experiment, {"img_size": height, "in_chans": channels, "num_classes": len(facts.classes)}, name)
    patch = options.get("patch_size", 16)
    if isinstance(patch, int) and patch > 0 and height % patch:
        raise ConfigError(f"model.patch_size = {patch} does not divide images of {height} pixels a side: set model.patch_size")
    return fitting


def _with_options(experiment: Experiment, there: dict[str, int], name: str) -> Experiment:
    """Fill in what the images say, or refuse a network that [model] makes for others."""
    options = dict(experiment.model.options)
    what = {"img_size": "pixels a side", "in_chans": "channels", "num_classes": "classes"}
    for option, found in there.items():
        if options.setdefault(option, found) != found:
            raise ConfigError(
                f"model.{option} = {options[option]!r} does not fit data.name = {name!r}, which has {found} {what[option]}: "
                f"choose another --preset, or set model.{option}"
            )
    return replace(experiment, model=ModelConfig(experiment.model.name, tuple(options.items())))


def _check_augmentation(experiment: Experiment, facts: ImageFacts, name: str) -> None:
    training = experiment.training
    if not training.augments:
        return
    setting = next(field for field in ("crop_padding", "flip", "randaugment") if getattr(training, field))
    if name in DATASETS:
        raise ConfigError(
            f"training.{setting} = {getattr(training, setting)!r} augments pixels from 0 to 255, which {name} does not have"
        )
    if facts.shape[1] not in (1, 3):
        raise ConfigError(f"training.{setting}: {name} has {facts.shape[1]} channels, and augmentation takes 1 or 3")
