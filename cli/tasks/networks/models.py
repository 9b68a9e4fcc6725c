"""Architectures by name; `build_model` makes one with a seed's own initialisation."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_analysis.results import plural
from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError, RefusedSettingError, did_you_mean
from sics_cli.base.versions import full_version
from sics_cli.settings.images import TIMM, ImageConfig, ModelConfig
from sics_cli.settings.seeding import Stream, torch_seed
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DATASETS, class_positions, key_name, outputs_of

if TYPE_CHECKING:
    from torch import Tensor, nn


#: timm's plain VisionTransformer by its constructor's arguments: what the presets use.
VIT = "vit"
#: Any classifier of torchvision, such as torchvision:resnet18.
TORCHVISION = "torchvision:"
#: Besides these a user's own: anything that can be called with the options and gives a module.
ACCEPTED = f"{VIT} | {TIMM}NAME | {TORCHVISION}NAME | FILE.py:FUNCTION | MODULE:CLASS"


def is_timm(config: ModelConfig) -> bool:
    """Whether the architecture is one of timm's by name."""
    return config.name.startswith(TIMM)


def is_torchvision(config: ModelConfig) -> bool:
    """Whether the architecture is one of torchvision's by name."""
    return config.name.startswith(TORCHVISION)


def is_own(config: ModelConfig) -> bool:
    """Whether the architecture is made by code of the user's own."""
    return config.name != VIT and not is_timm(config) and not is_torchvision(config)


def check_model(config: ModelConfig) -> None:
    """Refuse an unknown architecture, as far as that can be told without torch; libraries are asked when it is built."""
    place, _, name = config.name.rpartition(":")
    if config.name != VIT and not (place and name):
        raise RefusedSettingError("model.name", config.name, ACCEPTED)
    if not is_own(config):
        return
    try:
        user_code.source_file(config.name, _called(config))
    except ConfigError as error:
        raise ConfigError(f"{error}{did_you_mean(f'{place}:', (TIMM, TORCHVISION))}") from None


def model_name(config: ModelConfig) -> str:
    """What stands for the architecture in keys, tables and files: a user's file that was moved makes the same network.

    >>> model_name(ModelConfig("/home/me/mine.py:build")), model_name(ModelConfig("timm:resnet18"))
    ('mine.py:build', 'timm:resnet18')
    """
    place, _, name = config.name.rpartition(":")
    return f"{Path(place).name}:{name}" if user_code.is_file(place) else config.name


def known_standardise(config: ModelConfig) -> str:
    """How colour images were standardised for the published weights of this architecture, as a word of `--standardise`.

    "data" where nothing is known. All classifiers of torchvision were trained with one mean and deviation.
    """
    return config.name if is_timm(config) else "imagenet" if is_torchvision(config) else "data"


def model_code(config: ModelConfig) -> dict[str, object]:
    """The code that makes the network, for its key; nothing where versions in every key stand for it."""
    if is_torchvision(config):
        return {"torchvision": full_version("torchvision").split("+")[0]}
    if not is_own(config):
        return {}
    return user_code.code_facts(config.name, _called(config))


#: What to give where a data set's classes are not the network's.
GIVE_CLASSES = "give --classes FILE, the names of the network's classes, one a line, in the order of its outputs"


def _called(config: ModelConfig) -> str:
    return f"model.name = {config.name!r}"


def build_model(config: ModelConfig, seed: int, **timm_arguments: Any) -> nn.Module:
    """Build the model on the CPU, initialised from (seed, INITIALISATION): the same numbers for every device.

    `timm_arguments` are handed to `timm.create_model`, for what is no setting of a network (`pretrained`). A network that is
    none of timm's gives logits, or refuses in one line to be evaluated.
    """
    import torch

    check_model(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, Stream.INITIALISATION))
        if is_timm(config):
            return _timm(config, timm_arguments)
        if config.name == VIT:
            return _vit(config)
        model = _torchvision(config) if is_torchvision(config) else _own(config)
    model.register_forward_hook(_as_logits)
    return model


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


def _torchvision(config: ModelConfig) -> nn.Module:
    from torchvision import models

    name, classifiers = config.name.removeprefix(TORCHVISION), models.list_models(module=models)
    if name not in classifiers:
        near = ", ".join(difflib.get_close_matches(name, classifiers, n=3)) or "nothing; torchvision.models.list_models() has all"
        raise ConfigError(f"{_called(config)}: torchvision has no such image classifier; near it: {near}")
    options: dict[str, Any] = dict(config.options)
    try:
        model: nn.Module = models.get_model(name, weights=None, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"[model] does not make a {config.name}: {error}") from error
    return model


def _own(config: ModelConfig) -> nn.Module:
    from torch import nn

    build = user_code.imported(config.name, _called(config))
    if isinstance(build, nn.Module):
        raise ConfigError(f"{_called(config)}: is a module already: give the function or class that makes one")
    if not callable(build):
        raise ConfigError(f"{_called(config)}: is {type(build).__name__}, not a function or class that makes a module")
    said = ", ".join(f"{name}={value!r}" for name, value in config.options)
    user_code.check_options(build, dict(config.options), "model", _called(config))
    try:
        model = build(**dict(config.options))
    except Exception as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{_called(config)}: called with ({said}) raises {type(error).__name__}: {reason}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{_called(config)}: called with ({said}) gives {type(model).__name__}, not a torch.nn.Module")
    return model


def _as_logits(module: nn.Module, inputs: object, outputs: object) -> Tensor:
    """Forward hook: the logits of what a network gives, itself or (transformers, torchvision's inception) its `.logits`."""
    import torch

    found = outputs if isinstance(outputs, torch.Tensor) else getattr(outputs, "logits", None)
    if not isinstance(found, torch.Tensor):
        raise ConfigError(
            f"model.name: the forward pass of {type(module).__name__} gives {type(outputs).__name__}: have it give the logits, a "
            "tensor (images, classes), or an object with .logits"
        )
    if found.dim() != 2:
        shape = tuple(found.shape)
        raise ConfigError(f"model.name: {type(module).__name__} gives a tensor of shape {shape}: have it give (images, classes)")
    return found


def fitted(config: ImageConfig, facts: ImageFacts) -> ImageConfig:
    """The task, its network's sizes filled in from the images where [model] leaves them out.

    >>> from sics_cli.settings.config import experiment_from_mapping
    >>> from sics_cli.settings.presets import PRESETS
    >>> micro = experiment_from_mapping(PRESETS["cifar10-vit-micro"]).images
    >>> options = dict(fitted(micro, ImageFacts((70, 1, 32, 32), ("a", "b"), None, "")).model.options)
    >>> options["img_size"], options["in_chans"], options["num_classes"]
    (32, 1, 2)
    """
    name = key_name(config.data.name)
    _check_augmentation(config, facts, name)
    _, channels, height, width = facts.shape
    class_positions(config.data, facts)
    classes = outputs_of(config.data, facts)
    # Whether they take images of this size, only building them can tell; a user's own code is called as it was asked.
    if is_timm(config.model):
        return _with_options(config, {"in_chans": channels, "num_classes": classes}, name)
    if is_torchvision(config.model):
        return _with_options(config, {"num_classes": classes}, name)
    if is_own(config.model):
        return config
    options = dict(config.model.options)
    if height != width:
        raise ConfigError(f"data.name = {name!r}: its images are {width}×{height} and the vit takes squares: set data.image_size")
    fitting = _with_options(config, {"img_size": height, "in_chans": channels, "num_classes": classes}, name)
    patch = options.get("patch_size", 16)
    if isinstance(patch, int) and patch > 0 and height % patch:
        raise ConfigError(f"model.patch_size = {patch} does not divide images of {height} pixels a side: set model.patch_size")
    return fitting


def _with_options(config: ImageConfig, there: dict[str, int], name: str) -> ImageConfig:
    """Fill in what the images say, or refuse a network that [model] makes for others."""
    options = dict(config.model.options)
    what = {"img_size": "pixels a side", "in_chans": "channels", "num_classes": "classes"}
    named = config.data.classes is not None
    for option, found in there.items():
        if options.setdefault(option, found) != found:
            given = f"model.{option} = {options[option]!r} does not fit "
            if option == "num_classes" and (named or config.checkpoints):
                there_are = (
                    f"the {plural(found, 'name')} of --classes" if named else f"data.name = {name!r}, which has {found} classes"
                )
                raise ConfigError(f"{given}{there_are}: {GIVE_CLASSES}")
            raise ConfigError(
                f"{given}data.name = {name!r}, which has {found} {what[option]}: choose another --preset, or set model.{option}"
            )
    return replace(config, model=ModelConfig(config.model.name, tuple(options.items())))


def _check_augmentation(config: ImageConfig, facts: ImageFacts, name: str) -> None:
    training = config.training
    if not training.augments:
        return
    setting = next(field for field in ("crop_padding", "flip", "randaugment") if getattr(training, field))
    if name in DATASETS:
        raise ConfigError(
            f"training.{setting} = {getattr(training, setting)!r} augments pixels from 0 to 255, which {name} does not have"
        )
    if facts.shape[1] not in (1, 3):
        raise ConfigError(f"training.{setting}: {name} has {facts.shape[1]} channels, and augmentation takes 1 or 3")
