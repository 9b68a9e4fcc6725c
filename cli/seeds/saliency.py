"""The saliency of one seed's dense network, from its calibration batches."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sics_cli.base.files import write_atomically
from sics_cli.store.run_folder import CHECKPOINTS_NAME
from sics_cli.tasks.results import ResultError
from sics_plugin import Saliency, find_groups
from sics_plugin.saliency.kinds import SIGNALS
from sics_plugin.saliency.objective import Objective, batch_losses

Loss = Callable[[nn.Module, Any], torch.Tensor]


class _Lost(nn.Module):
    """Stands for a network: the same modules and parameters under the same names, but what comes out is a task's own loss."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self._modules = network._modules
        self._parameters, self._buffers = network._parameters, network._buffers
        self.__dict__["_of"] = network, loss  # past torch, which would count the network as a part

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        network, loss = self.__dict__["_of"]
        found = loss(network, batch)
        if not isinstance(found, torch.Tensor) or found.ndim:
            gave = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
            raise ResultError(f"loss gave {gave}: expected a tensor of one number, such as a mean")
        return {"loss": found}


def saliency_of(
    network: nn.Module, kind: str, batches: Iterable[Any], unit: str = "weight", loss: Loss | None = None
) -> Saliency:
    """Collect the saliency of `network`, in eval mode, over batches as a task hands them over.

    `kind` is one of `SIGNALS`, of which those that read the weights alone need no batches; `unit` is what will be pruned by it.
    `loss` is the task's own, of the network and a batch.
    """
    wanted: Any = kind
    if SIGNALS[kind].collect is None:
        return Saliency(network, kind=wanted)
    if loss is None:
        return Saliency(network, batches, kind=wanted, unit=unit)
    groups = None if unit == "weight" else find_groups(network, unit)  # type: ignore[arg-type]
    standing, lost = _lost(network, batches, loss)
    return Saliency(standing, lost, kind=wanted, unit=unit, groups=groups).bind(network)


def loss_of_batch(network: nn.Module, batch: Any, loss: Loss | None = None) -> float:
    """The loss that `saliency_of` takes gradients of, on one batch; refused where it is no finite scalar."""
    standing, batches = (network, [batch]) if loss is None else _lost(network, [batch], loss)
    value, _ = next(batch_losses(standing, batches, Objective()))
    return float(value.detach())


def _lost(network: nn.Module, batches: Iterable[Any], loss: Loss) -> tuple[nn.Module, Iterable[Any]]:
    return _Lost(network, loss), ({"batch": batch} for batch in batches)


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
