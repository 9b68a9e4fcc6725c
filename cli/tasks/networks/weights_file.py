"""A user's weights on disk: safetensors, or a state dict that torch saved. No file can run code when it is read."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

SAFETENSORS = ".safetensors"
#: Where training scripts put the state dict in what they save; the first that is there is taken.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
#: What nn.DataParallel and torch.compile put before every name.
PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 3
_COUNTER = ".num_batches_tracked"


def weights_digest(path: Path, option: str) -> str:
    """Sha256 of the file's bytes, read without torch; `option` is named should it not be readable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be read ({error.strerror or error})") from None


def read_weights(path: Path, option: str) -> dict[str, Tensor]:
    """Read a state dict by name, on the CPU; errors begin with `option`.

    Safetensors by its ending; anything else is taken for what `torch.save` wrote, and read with `weights_only=True`.
    """
    found = _unwrapped(_safetensors(path, option) if path.suffix == SAFETENSORS else _torch_file(path, option))
    tensors = {name: value for name, value in found.items() if _is_tensor(value)}
    if not tensors or len(tensors) < len(found):
        others = (f"{name!r} is {type(value).__name__}" for name, value in found.items() if name not in tensors)
        what = next(others, "it is empty")
        raise ConfigError(f"{option} {path}: is not a state dict of tensors ({what})")
    while wrapped := [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in tensors)]:
        tensors = {name.removeprefix(wrapped[0]): value for name, value in tensors.items()}
    return tensors


def load_weights(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Put all of `state` into all of `model`; `what` begins the line that says why that cannot be.

    Counters of batch norms may be missing. One name before all others is taken off where the rest is the model's: a training
    script's module around it ("model.", "backbone.").
    """
    import torch

    own = model.state_dict()
    state = _without_owner(state, own)
    # Older files do not have the batch norms' counters, which no prediction depends on.
    state = {name: value for name, value in own.items() if name.endswith(_COUNTER)} | dict(state)
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the model's {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]
    kinds = ((missing, "it lacks"), (extra, "the model has no"), (shapes, "shapes differ:"))
    if said := [f"{words} {_some(names)}" for names, words in kinds if names]:
        raise ConfigError(f"{what}: does not fit the model: {'; '.join(said)}")
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ConfigError(f"{what}: {name} holds NaN or infinite values")
    model.load_state_dict(state)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _without_owner(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    owners = {name.partition(".")[0] for name in state}
    inner = {name.partition(".")[2]: value for name, value in state.items()}
    counted = {name for name in own if not name.endswith(_COUNTER)}
    fits = len(owners) == 1 and len(inner) == len(state) and counted <= inner.keys() <= own.keys()
    return inner if fits and not counted <= state.keys() else state


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _unwrapped(found: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in WRAPPERS:
        if isinstance(inner := found.get(name), Mapping) and inner:
            return inner
    inside = [value for value in found.values() if isinstance(value, Mapping) and value and all(map(_is_tensor, value.values()))]
    return inside[0] if len(inside) == 1 else found


def _safetensors(path: Path, option: str) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{option} {path}: cannot be read ({_reason(error)})") from None


def _torch_file(path: Path, option: str) -> Mapping[str, Any]:
    import torch

    try:
        with warnings.catch_warnings():  # of pickle protocols, which the line below says better
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ConfigError(
            f"{option} {path}: holds more than tensors, or is no file of torch.save; only a state dict is read, since "
            "loading anything else could run code: save model.state_dict()"
        ) from None
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be read ({_reason(error)})") from None
    except Exception as error:  # torch's reader trips over foreign bytes in many ways
        raise ConfigError(f"{option} {path}: is no file of torch.save ({type(error).__name__}: {_reason(error)})") from None
    if not isinstance(found, Mapping):
        raise ConfigError(f"{option} {path}: is not a state dict of tensors (it is {type(found).__name__})")
    return found


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n")[0]
