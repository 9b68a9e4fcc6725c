"""Where a run's dense networks begin: the user's own checkpoint, timm's published weights, or the seed's initialisation.

What a run begins with is found out without torch: the digest of the file is part of every key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.base.files import atomic_path, cache_folder
from sics_cli.base.hashing import digest
from sics_cli.base.versions import full_version
from sics_cli.settings.images import IMAGE_FOLDER, TIMM, ImageConfig, ModelConfig
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DATASETS, key_name
from sics_cli.tasks.images.standardise import in_words, resolved
from sics_cli.tasks.networks.models import GIVE_CLASSES, VIT, build_model, is_timm, known_standardise, model_name
from sics_cli.tasks.networks.weights_file import load_weights, read_weights, weights_digest

if TYPE_CHECKING:
    from torch import nn

CHECKPOINT, PRETRAINED = "checkpoint", "pretrained"
#: timm's names of the plain vision transformers that have published weights, by embed_dim, depth and num_heads.
_TWINS = {
    (192, 12, 3): "vit_tiny_patch16_224",
    (384, 12, 6): "vit_small_patch16_224",
    (768, 12, 12): "vit_base_patch16_224",
}
_SIZES = {"embed_dim": 768, "depth": 12, "num_heads": 12}


#: What timm's constructors of a named architecture set themselves.
_IN_THE_NAME = ("embed_dim", "depth", "num_heads", "num_classes")


@dataclass(frozen=True, slots=True)
class Start:
    """Weights that a run is given: one network for all seeds ("checkpoint"), or what training begins with ("pretrained")."""

    kind: str
    path: Path
    sha256: str

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to train."""
        return self.kind == CHECKPOINT


def starts_of(config: ImageConfig) -> tuple[Start, ...]:
    """The weights that a task is given: one for all seeds, or one a seed; none where seeds initialise theirs."""
    if config.pretrained:
        path = pretrained_path(config.model)
        return (Start(PRETRAINED, path, weights_digest(path, "--pretrained")),)
    found: dict[str, Start] = {}
    for name in config.checkpoints:
        start = Start(CHECKPOINT, Path(name), weights_digest(Path(name), "--checkpoint"))
        if (twin := found.setdefault(start.sha256, start)) is not start:
            raise ConfigError(
                f"--checkpoint {name}: is the same network as {twin.path.name}: a seed each is a network each, and copies of one "
                "are no evidence"
            )
    return tuple(found.values())


def start_at(starts: Sequence[Start], seed: int) -> Start:
    """The weights that a seed is given: its own where each has a file."""
    return starts[seed if len(starts) > 1 else 0]


def pretrained_name(model: ModelConfig) -> str:
    """timm's name for the weights that fit this network.

    >>> pretrained_name(ModelConfig("vit", (("embed_dim", 384), ("depth", 12), ("num_heads", 6))))
    'vit_small_patch16_224'
    """
    if is_timm(model):
        return model.name.removeprefix(TIMM)
    if model.name != VIT:
        what = f"--pretrained: timm has the weights of its own networks, not of model.name = {model_name(model)!r}"
        raise ConfigError(f"{what}: give a file of weights with --checkpoint")
    options = dict(model.options)
    sizes = tuple(options.get(name, standard) for name, standard in _SIZES.items())
    for known, name in _TWINS.items():
        if known == sizes:
            return name
    said = ", ".join(f"{name} {size}" for name, size in zip(_SIZES, sizes, strict=True))
    raise ConfigError(f"--pretrained: timm has no published weights for this vit ({said}): give --model timm:NAME")


def standardised(config: ImageConfig, facts: ImageFacts, say: Callable[[str], None] = lambda line: None) -> ImageConfig:
    """The task, its images standardised as its network was trained, where that is known and nothing else was asked for.

    `say` is told what a reader could take for something else: by which numbers, and in which order classes are counted.
    """
    data, name = config.data, key_name(config.data.name)
    trained = bool(config.checkpoints) or config.pretrained
    known = f"{TIMM}{pretrained_name(config.model)}" if config.pretrained else known_standardise(config.model)
    asked = data.standardise if trained or data.standardise is not None else "data"
    pixels = data.name not in DATASETS
    word = resolved(asked, known, facts.shape[1], name, pixels=pixels)
    if trained and pixels and data.standardise is None:
        why = ", since nothing says what the network was trained with" if word == "data" else ""
        say(f"images are standardised by {in_words(word)}{why} (--standardise takes others)")
    if config.checkpoints and data.name.startswith(IMAGE_FOLDER) and data.classes is None:
        say(by_name(facts))
    return replace(config, data=replace(data, standardise=word))


def by_name(facts: ImageFacts) -> str:
    """What to say where classes are numbered by name, which the network may have been trained otherwise."""
    names = facts.classes
    return f"classes are numbered by name, {names[0]!r} is output 0 and {names[-1]!r} output {len(names) - 1} (--classes: others)"


def pretrained_path(model: ModelConfig) -> Path:
    """Where timm's weights for this network are kept, all but its classifier: they differ with the images' size and channels."""
    name = pretrained_name(model)
    told = {option: value for option, value in model.options if option != "num_classes"}
    key = digest({"name": name, "options": told, "timm": full_version("timm")})
    return cache_folder().parent / "weights" / f"{name}-{key[:16]}.safetensors"


def begin_with(model: nn.Module, start: Start) -> None:
    """Put the given weights into a network that a seed has initialised: all of them, or all but the classifier."""
    option = f"--{start.kind}"
    if weights_digest(start.path, option) != start.sha256:
        raise MismatchError(f"{option} {start.path}: the file changed while the run was going on: run the command again")
    state = read_weights(start.path, option)
    if start.kind != CHECKPOINT:
        fresh = classifier(model)
        own = model.state_dict()
        state |= {name: own[name] for name in own if name.startswith(fresh) and name not in state}
    try:
        load_weights(model, state, f"{option} {start.path}")
    except ConfigError as error:
        hint = f" (other classes than the data set's? {GIVE_CLASSES})" if "shapes differ" in str(error) else ""
        raise ConfigError(f"{error}{hint}") from None


def classifier(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the classifier's parameters, as timm tells them."""
    facts: Any = getattr(model, "pretrained_cfg", None) or {}
    named = facts.get("classifier") or "head"
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))


def fetch_pretrained(model: ModelConfig, **overlay: Any) -> Path:
    """Have timm fetch its weights for this network, fitted to its image size and channels, and keep all but the classifier.

    `overlay` is handed to timm's `pretrained_cfg_overlay`: a file instead of the hub, say.
    """
    from safetensors.torch import save_file

    name, path = pretrained_name(model), pretrained_path(model)
    told = {option: value for option, value in model.options if option not in _IN_THE_NAME or model.name.startswith(TIMM)}
    told.pop("num_classes", None)
    # A mapping is no setting of a user's [model], so it is handed over past ModelConfig.
    try:
        net = build_model(
            ModelConfig(f"{TIMM}{name}", tuple(told.items())), 0, pretrained=True, pretrained_cfg_overlay=overlay or None
        )
    except ConfigError:
        raise
    except Exception as error:  # the hub's client raises many kinds
        reason = str(error).split("\n")[0][:200]
        raise ConfigError(
            f"--pretrained: timm's weights of {name} cannot be had ({type(error).__name__}: {reason}): without a network, give "
            "a file of weights with --checkpoint"
        ) from None
    fresh = classifier(net)
    state = {key: value.contiguous() for key, value in net.state_dict().items() if not key.startswith(fresh)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        save_file(state, partial)
    return path
