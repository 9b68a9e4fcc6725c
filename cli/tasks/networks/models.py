"""Architectures by name; `build_model` makes one with a seed's own initialisation."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError
from sics_cli.settings.config import Experiment, ModelConfig
from sics_cli.settings.seeding import Stream, torch_seed
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DATASETS, key_name

if TYPE_CHECKING:
    from torch import nn


#: timm's plain VisionTransformer by its constructor's arguments: what the presets use.
VIT = "vit"
#: Any architecture of timm, such as timm:resnet18.
TIMM = "timm:"
ACCEPTED = f"{VIT} | {TIMM}NAME"


def is_timm(config: ModelConfig) -> bool:
    """Whether the architecture is one of timm's by name."""
    return config.name.startswith(TIMM)


def check_model(config: ModelConfig) -> None:
    """Refuse an unknown architecture, as far as that can be told without torch; timm is asked when the network is built."""
    if config.name != VIT and not (is_timm(config) and config.name != TIMM):
        raise ConfigError(f"model.name = {config.name!r} is not accepted: give {ACCEPTED}")


def build_model(config: ModelConfig, seed: int, **timm_arguments: Any) -> nn.Module:
    """Build the model on the CPU, initialised from (seed, INITIALISATION): the same numbers for every device.

    `timm_arguments` are handed to `timm.create_model`, for what is no setting of a network (`pretrained`).
    """
    import torch

    check_model(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, Stream.INITIALISATION))
        return _timm(config, timm_arguments) if is_timm(config) else _vit(config)


def _vit(config: ModelConfig) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    options: dict[str, Any] = dict(config.options)
    try:
        model: nn.Module = VisionTransformer(**options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"[model] does not make a {config.name}: {error}") from error
    return model


def _timm(config: ModelConfig, arguments: dict[str, Any]) -> nn.Module:
    import timm

    name = config.name.removeprefix(TIMM)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
        near = ", ".join(close) or "nothing; timm.list_models() has all"
        raise ConfigError(f"model.name = {config.name!r}: timm has no such architecture; near it: {near}")
    options: dict[str, Any] = dict(config.options)
    try:
        model: nn.Module = timm.create_model(name, **arguments, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"[model] does not make a {config.name}: {error}") from error
    return model


def fitted(experiment: Experiment, facts: ImageFacts) -> Experiment:
    """The experiment, its network's sizes filled in from the images where [model] leaves them out.

    >>> from sics_cli.settings.config import experiment_from_mapping
    >>> from sics_cli.settings.presets import PRESETS
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
