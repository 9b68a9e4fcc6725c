"""The file that `prune` leaves: a state dict as safetensors, with what was done in its metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError
from sics_cli.base.files import atomic_path, written_for
from sics_cli.base.hashing import canonical_json

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMA = 1


def check_outputs(outputs: Mapping[str, Path | None], sources: Mapping[str, Path | None]) -> None:
    """Refuse, before any work, places that cannot be written or hold what is read; keys are the options' names."""
    read = {name: path.resolve() for name, path in sources.items() if path is not None}
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if str(path) == "-" or (path.exists() and not path.is_file()):
            raise ConfigError(f"{option} {path}: is no file to write; give a file")
        if not place.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {place.parent}")
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise ConfigError(f"{option} {path}: the folder {place.parent} cannot be written")
        for name, source in read.items():
            if place == source or (path.exists() and source.exists() and path.samefile(source)):
                raise ConfigError(f"{option} {path}: is the file of {name}; give another")
        if place in taken:
            raise ConfigError(f"{option} {path}: is the file of {taken[place]} as well; give another")
        taken[place] = option


def write_state(option: str, path: Path, model: nn.Module, like: Mapping[str, Tensor], facts: Mapping[str, Any]) -> int:
    """Write the model's state dict with `facts` as metadata; every tensor in the type it has in `like`. Return its bytes.

    If it cannot be written, what was there is still there.
    """
    from safetensors.torch import save_file

    from sics_plugin.network.rebuild import METADATA_KEY

    # A copy each: safetensors takes no two names for one memory, as tied weights have.
    state = {
        name: tensor.detach().cpu().to(like[name].dtype, copy=True).contiguous() for name, tensor in model.state_dict().items()
    }
    with written_for(option, path), atomic_path(path.resolve()) as partial:
        # One entry: safetensors writes several in an order that changes from call to call.
        save_file(state, partial, metadata={METADATA_KEY: canonical_json({"schema": SCHEMA, **facts})})
        _readable(partial)
    return path.stat().st_size


def write_masks(option: str, path: Path, model: nn.Module) -> None:
    """Write the masks on a model, for `sics_plugin.load_masks`."""
    from sics_plugin import export_masks

    with written_for(option, path), atomic_path(path.resolve()) as partial:
        export_masks(model, partial)
        _readable(partial)


def _readable(path: Path) -> None:
    """Give a file the permissions of any other that the user makes; safetensors leaves it to its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
