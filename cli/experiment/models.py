"""Architectures by name; `build_model` makes one with a seed's own initialisation."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sics_cli.experiment.config import ModelConfig
from sics_cli.experiment.errors import ConfigError
from sics_cli.experiment.streams import Stream, torch_seed

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

    Raises
    ------
    ConfigError
        The architecture is unknown or does not take these options, or its weights cannot be had.
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
