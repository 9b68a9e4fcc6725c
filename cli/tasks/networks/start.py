"""Where a run's dense networks begin: the user's own checkpoint, timm's published weights, or the seed's initialisation.

Found out without torch: the digest of the file is part of every key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sics_cli.base.errors import ConfigError
from sics_cli.base.files import cache_folder
from sics_cli.base.hashing import digest
from sics_cli.base.versions import full_version
from sics_cli.settings.config import Experiment, ModelConfig
from sics_cli.tasks.networks.models import TIMM, is_timm
from sics_cli.tasks.networks.weights_file import weights_digest

CHECKPOINT, PRETRAINED = "checkpoint", "pretrained"
#: timm's names of the plain vision transformers that have published weights, by embed_dim, depth and num_heads.
_TWINS = {
    (192, 12, 3): "vit_tiny_patch16_224",
    (384, 12, 6): "vit_small_patch16_224",
    (768, 12, 12): "vit_base_patch16_224",
}
_SIZES = {"embed_dim": 768, "depth": 12, "num_heads": 12}


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


def start_of(experiment: Experiment) -> Start | None:
    """Find the weights that `experiment` is given, and their digest; None where every seed initialises its own."""
    if experiment.checkpoint is not None:
        path = Path(experiment.checkpoint)
        return Start(CHECKPOINT, path, weights_digest(path, "--checkpoint"))
    if experiment.pretrained:
        path = pretrained_path(experiment.model)
        return Start(PRETRAINED, path, weights_digest(path, "--pretrained"))
    return None


def pretrained_name(model: ModelConfig) -> str:
    """timm's name for the weights that fit this network.

    >>> pretrained_name(ModelConfig("vit", (("embed_dim", 384), ("depth", 12), ("num_heads", 6))))
    'vit_small_patch16_224'
    """
    if is_timm(model):
        return model.name.removeprefix(TIMM)
    options = dict(model.options)
    sizes = tuple(options.get(name, standard) for name, standard in _SIZES.items())
    for known, name in _TWINS.items():
        if known == sizes:
            return name
    said = ", ".join(f"{name} {size}" for name, size in zip(_SIZES, sizes, strict=True))
    raise ConfigError(f"--pretrained: timm has no published weights for this vit ({said}): give model.name = 'timm:NAME'")


def pretrained_path(model: ModelConfig) -> Path:
    """Where timm's weights for this network are kept, all but its classifier: they differ with the images' size and channels."""
    name = pretrained_name(model)
    told = {option: value for option, value in model.options if option != "num_classes"}
    key = digest({"name": name, "options": told, "timm": full_version("timm")})
    return cache_folder().parent / "weights" / f"{name}-{key[:16]}.safetensors"
