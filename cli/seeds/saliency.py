"""The saliency of one seed's dense network, from its calibration batches."""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sics_cli.base.files import write_atomically
from sics_cli.seeds.unchanged import left_as_it_was
from sics_cli.store.run_folder import CHECKPOINTS_NAME
from sics_cli.tasks.results import ResultError
from sics_plugin import Saliency, find_groups
from sics_plugin.saliency.kinds import SIGNALS
from sics_plugin.saliency.objective import Objective, batch_losses, cross_entropy

Loss = Callable[[nn.Module, Any], torch.Tensor]


DEFAULT_LOSS = "the default loss, cross-entropy on (input, target) or the output's own .loss of a mapping,"
ANOTHER_LOSS = "loss(self, network, batch) gives another"
_IN_DEFAULT_LOSS = {one.__code__ for one in (Objective.__call__, Objective.value, Objective.see, cross_entropy)}
#: Begins what the plugin advises its callers, who give a loss otherwise.
_ADVICE = re.compile(r": (?:give `loss=|put the labels)")


class _Lost(nn.Module):
    """Stands for a network: the same modules and parameters under the same names, but what comes out is a task's own loss."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self._modules = network._modules
        self._parameters, self._buffers = network._parameters, network._buffers
        self.__dict__["_of"] = network, loss  # past torch, which would count the network as a part

    def __deepcopy__(self, memo: dict[int, Any]) -> _Lost:
        network, loss = self.__dict__["_of"]
        return _Lost(copy.deepcopy(network, memo), loss)  # a method holds its task, with all its data

    def forward(self, batch: Any) -> dict[str, Any]:
        network, loss = self.__dict__["_of"]
        said: list[Any] = []
        watched = network.register_forward_hook(lambda module, inputs, output: said.append(output))
        try:
            found = loss(network, batch)
        finally:
            watched.remove()
        if not isinstance(found, torch.Tensor) or found.ndim:
            gave = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
            raise ResultError(f"loss gave {gave}: expected a tensor of one number, such as a mean")
        return {"loss": found, **({"logits": said[0]} if said else {})}  # of a loss that asks a part of the network, none


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
    with left_as_it_was(network, "its saliency was measured: loss() and forward() must", whole=False):
        return _collected(network, wanted, batches, unit, loss)


def _collected(network: nn.Module, kind: Any, batches: Iterable[Any], unit: str, loss: Loss | None) -> Saliency:
    if loss is None:
        given = _with_classes(batches) if SIGNALS[kind].of_loss else batches
        with _default_loss():
            return Saliency(network, given, kind=kind, unit=unit)
    groups = None if unit == "weight" else find_groups(network, unit)  # type: ignore[arg-type]
    standing, lost = _lost(network, batches, loss)
    return Saliency(standing, lost, kind=kind, unit=unit, groups=groups).bind(network)


def read_for_trials(network: nn.Module, batches: Sequence[Any], loss: Loss | None) -> tuple[nn.Module, Iterable[Any]]:
    """The network and batches by which `sics_plugin.Trials` meets the loss that `saliency_of` takes gradients of.

    With a task's own loss it is one that stands for the network, under the same names.
    """
    return (network, _with_classes(batches)) if loss is None else _lost(network, batches, loss)


def loss_of_batch(network: nn.Module, batch: Any, loss: Loss | None = None) -> float:
    """The loss that `saliency_of` takes gradients of, on one batch; refused where it is no finite scalar."""
    if loss is None:
        with _default_loss():
            value, _ = next(batch_losses(network, _with_classes([batch]), Objective()))
    else:
        value, _ = next(batch_losses(*_lost(network, [batch], loss), Objective()))
    return float(value.detach())


@contextlib.contextmanager
def _default_loss() -> Iterator[None]:
    """Say of whatever fails inside the default loss that it is the default, and what gives another."""
    try:
        yield
    except Exception as error:
        if not _IN_DEFAULT_LOSS & {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}:
            raise
        said = _ADVICE.split(" ".join(str(error).split()))[0]
        raise ResultError(f"{DEFAULT_LOSS} does not take this batch ({said}): {ANOTHER_LOSS}") from error


def _with_classes(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches; targets of floats that are no probabilities are refused, of which cross-entropy would give some number."""
    for batch in batches:
        target = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
        if isinstance(target, torch.Tensor) and target.is_floating_point() and target.numel() and target.dim() > 1:
            sums = target.sum(dim=1)
            if target.shape[1] == 1 or bool((target < 0).any()) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
                shape = "×".join(map(str, target.shape))
                raise ResultError(
                    f"{DEFAULT_LOSS} takes classes, or a probability for each class, not targets of other floats ({shape}): "
                    f"{ANOTHER_LOSS}"
                )
        yield batch


def _lost(network: nn.Module, batches: Iterable[Any], loss: Loss) -> tuple[nn.Module, Iterable[Any]]:
    return _Lost(network, loss), ({"batch": batch} for batch in batches)


def kept_path(folder: Path, seed: int, kind: str, checkpoint_hash: str) -> Path:
    """Where a saliency of the dense network with this hash lies."""
    return folder / CHECKPOINTS_NAME / f"saliency-{seed}-{kind}-{checkpoint_hash[:16]}.pkl"


def keep(path: Path, saliency: Saliency, nondeterministic: bool = False) -> None:
    """Write it, whole or not at all; lost in a crash of the machine, it is collected again."""
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, pickle.dumps((saliency.digest, saliency, nondeterministic)), durable=False)


def kept(path: Path) -> tuple[Saliency, bool] | None:
    """Read it back, of no model yet, and whether it is nondeterministic; None where there is none, or it is damaged."""
    with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError, ValueError, AttributeError, TypeError, RuntimeError):
        digest, saliency, nondeterministic = pickle.loads(path.read_bytes())
        saliency.__dict__.pop("digest", None)  # not what it remembers, what it is
        if isinstance(saliency, Saliency) and saliency.digest == digest:
            return saliency, bool(nondeterministic)
    return None
