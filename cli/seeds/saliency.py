"""The saliency of one seed's dense network, from its calibration batches."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sics_cli.base.files import write_atomically
from sics_cli.settings.seeding import Indices
from sics_cli.store.run_folder import CHECKPOINTS_NAME
from sics_cli.tasks.images.examples import Examples
from sics_plugin import Saliency
from sics_plugin.saliency.kinds import SIGNALS


def saliency_of(model: nn.Module, kind: str, examples: Examples, batches: Sequence[Indices], unit: str = "weight") -> Saliency:
    """Collect the saliency of `model`, in eval mode, over batches: positions among the examples, which are on the model's device.

    `kind` is one of `SIGNALS`, of which those that read the weights alone need no batches; `unit` is what will be pruned by it.
    """
    wanted: Any = kind
    if SIGNALS[kind].collect is None:
        return Saliency(model, kind=wanted)
    pairs = (examples.at(torch.from_numpy(batch).to(examples.labels.device)) for batch in batches)
    return Saliency(model, pairs, nn.functional.cross_entropy, kind=wanted, unit=unit)


def kept_path(folder: Path, seed: int, kind: str, checkpoint_hash: str) -> Path:
    """Where a saliency of the dense network with this hash lies."""
    return folder / CHECKPOINTS_NAME / f"saliency-{seed}-{kind}-{checkpoint_hash[:16]}.pkl"


def keep(path: Path, saliency: Saliency) -> None:
    """Write it, whole or not at all; lost in a crash of the machine, it is collected again."""
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, pickle.dumps((saliency.digest, saliency)), durable=False)


def kept(path: Path) -> Saliency | None:
    """Read it back, of no model yet; None where there is none, or it is damaged."""
    with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError, ValueError, AttributeError, TypeError, RuntimeError):
        digest, saliency = pickle.loads(path.read_bytes())
        saliency.__dict__.pop("digest", None)  # not what it remembers, what it is
        if isinstance(saliency, Saliency) and saliency.digest == digest:
            return saliency
    return None
