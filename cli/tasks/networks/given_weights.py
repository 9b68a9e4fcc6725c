"""Networks that do not begin at random: the user's checkpoint, or timm's published weights under a fresh classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.base.files import atomic_path
from sics_cli.settings.config import ModelConfig
from sics_cli.tasks.networks.models import TIMM, build_model
from sics_cli.tasks.networks.start import CHECKPOINT, Start, pretrained_name, pretrained_path
from sics_cli.tasks.networks.weights_file import load_weights, read_weights, weights_digest

if TYPE_CHECKING:
    from torch import nn

#: What timm's constructors of a named architecture set themselves.
_IN_THE_NAME = ("embed_dim", "depth", "num_heads", "num_classes")


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
    load_weights(model, state, f"{option} {start.path}")


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
