"""Dense checkpoints on disk: safetensors under their own key, verified whenever they are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sics_cli.experiment.atomic import write_atomically
from sics_cli.experiment.training import TrainingRecord

State = dict[str, torch.Tensor]


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
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    header = {"dense_key": dense_key, "hash": state_hash(plain), "record": json.dumps(asdict(record))}
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, save(plain, metadata=header))


def load_checkpoint(path: Path, dense_key: str) -> Checkpoint:
    """Read and verify.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedCheckpointError
        It cannot be read, was made for another key, or its weights do not have the hash in its header.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        record = TrainingRecord(**json.loads(header["record"]))
        stored_key, stored_hash = header["dense_key"], header["hash"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError(f"cannot be read ({error})") from error
    if stored_key != dense_key:
        raise DamagedCheckpointError("was made for another recipe")
    if state_hash(state) != stored_hash:
        raise DamagedCheckpointError("its weights do not have the hash in its header")
    return Checkpoint(state, stored_hash, record)
