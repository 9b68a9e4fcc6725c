"""Dense checkpoints on disk: safetensors under their own key, verified whenever they are read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from sics_cli.base.files import atomic_path, write_atomically
from sics_cli.tasks.training import HalfTrained, State, TrainingRecord


class DamagedCheckpointError(Exception):
    """The file is not the checkpoint its name and header say."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights on the CPU, their hash, and the record of the training that made them."""

    state: State
    hash: str
    record: TrainingRecord


def state_hash(state: State) -> str:
    """Sha256 of names, dtypes, shapes and bytes, in order of name."""
    result = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        result.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        result.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return result.hexdigest()


def save_checkpoint(path: Path, dense_key: str, state: State, record: TrainingRecord) -> None:
    """Write the checkpoint atomically, its key, hash and training record in the header."""
    _save(path, dense_key, state, json.dumps(asdict(record)))


def save_half_trained(path: Path, dense_key: str, half: HalfTrained) -> None:
    """Write a network in training, in the same form."""
    rest = {"epochs": half.epochs, "seconds": half.seconds, "nondeterministic": half.nondeterministic}
    _save(path, dense_key, half.state, json.dumps(rest))


def _save(path: Path, dense_key: str, state: State, record: str) -> None:
    plain = _unshared({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    header = {"dense_key": dense_key, "hash": state_hash(plain), "record": record}
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, save(plain, metadata=header))


def _unshared(state: State) -> State:
    """The same with tied weights as copies: the format takes no tensors that share memory."""
    places = Counter(tensor.untyped_storage().data_ptr() for tensor in state.values())
    return {name: x.clone() if places[x.untyped_storage().data_ptr()] > 1 else x for name, x in state.items()}


def save_module(path: Path, module: nn.Module) -> None:
    """Write a whole module of the user's own, which nothing but its own code could build again."""
    import cloudpickle

    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as partial:
        torch.save(module, partial, pickle_module=cloudpickle)


def load_module(path: Path, checkpoint: Checkpoint) -> nn.Module | None:
    """Read it back, on the CPU; None where there is none, it cannot be read, or it is not the network of this checkpoint."""
    try:
        module = torch.load(path, map_location="cpu", weights_only=False)
    except FileNotFoundError:
        return None
    except Exception:  # what it was made of may be gone
        return None
    return module if isinstance(module, nn.Module) and state_hash(module.state_dict()) == checkpoint.hash else None


def load_checkpoint(path: Path, dense_key: str) -> Checkpoint:
    """Read and verify: DamagedCheckpointError if it is unreadable, of another key, or without the hash in its header."""
    state, stored_hash, record = _load(path, dense_key)
    try:
        return Checkpoint(state, stored_hash, TrainingRecord(**record))
    except TypeError as error:
        raise DamagedCheckpointError(f"cannot be read ({error})") from error


def load_half_trained(path: Path, dense_key: str) -> HalfTrained:
    """Read and verify what `save_half_trained` wrote; raises as `load_checkpoint` does."""
    state, _, record = _load(path, dense_key)
    try:
        return HalfTrained(state=state, **record)
    except TypeError as error:
        raise DamagedCheckpointError(f"cannot be read ({error})") from error


def _load(path: Path, dense_key: str) -> tuple[State, str, dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        record = dict(json.loads(header["record"]))
        stored_key, stored_hash = header["dense_key"], header["hash"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError(f"cannot be read ({error})") from error
    if stored_key != dense_key:
        raise DamagedCheckpointError("was made for another recipe")
    if state_hash(state) != stored_hash:
        raise DamagedCheckpointError("its weights do not have the hash in its header")
    return state, stored_hash, record
