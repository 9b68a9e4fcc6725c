"""Architectures by name; `build_model` makes one with a seed's own initialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sics_cli.experiment.config import ModelConfig
from sics_cli.experiment.errors import ConfigError
from sics_cli.experiment.streams import Stream, torch_seed

if TYPE_CHECKING:
    from torch import nn


def _vit(**options: Any) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    model: nn.Module = VisionTransformer(**options)
    return model


MODELS: dict[str, Callable[..., nn.Module]] = {"vit": _vit}


def check_model(config: ModelConfig) -> None:
    """Refuse an unknown architecture, without importing torch."""
    if config.name not in MODELS:
        raise ConfigError(f"model.name = {config.name!r} is not accepted: give {' | '.join(MODELS)}")


def build_model(config: ModelConfig, seed: int) -> nn.Module:
    """Build the model on the CPU, initialised from (seed, INITIALISATION): the same numbers for every device.

    Raises
    ------
    ConfigError
        The architecture is unknown or does not take these options.
    """
    import torch

    check_model(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, Stream.INITIALISATION))
        try:
            return MODELS[config.name](**dict(config.options))
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(f"[model] does not make a {config.name}: {error}") from error
