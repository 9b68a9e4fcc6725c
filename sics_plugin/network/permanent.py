"""Masks made permanent: plain parameters with zeros, and who shares them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from sics_plugin.network.callers import drop_refreshes
from sics_plugin.network.masks import masked_copy, pruned_targets, take_off
from sics_plugin.network.targets import Target, all_targets
from sics_plugin.warn import warn_caller

M = TypeVar("M", bound=nn.Module)
#: Under this name a model keeps the groups of channels that it was pruned with.
REMEMBERED = "_sics_groups"


def finalize(model: M, targets: Sequence[Target] | None = None) -> M:
    """Make masks permanent: plain parameters with zeros, no hooks, no buffers. Returns the same model.

    Parameters
    ----------
    model : nn.Module
        The whole of it: a tie with something outside is not seen.
    targets : sequence of Target, optional
        Only these; default: every parameter that carries a mask.

    Notes
    -----
    Parameters stay the same objects, so an optimizer still has them, but for one that is tied: names that do not carry the
    same mask are untied, with a warning that names them. A name without a mask keeps its dense weights. What is pruned is 0.0,
    never the -0.0 of torch's ``prune.remove``.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> _ = nn.utils.prune.l1_unstructured(layer, "weight", amount=1)
    >>> finalize(layer) is layer, sorted(layer.state_dict())
    (True, ['bias', 'weight'])
    """
    chosen = pruned_targets(model) if targets is None else list(targets)
    put_zeros(model, chosen, [target.own for target in chosen])
    drop_refreshes(model)
    if targets is None:
        forget_groups(model)
    return model


def forget_groups(model: nn.Module) -> None:
    """Once masks are permanent the model is plain again, and its file needs no class of this project."""
    for module in model.modules():
        module.__dict__.pop(REMEMBERED, None)


def put_zeros(model: nn.Module | None, targets: Sequence[Target], kept: Sequence[Callable[[], Tensor]]) -> None:
    """Write zeros for good where ``kept``, one mask a target, is False; one tensor at a time, masks that are on come off.

    Zeros written into a shared parameter would prune the other module too, and change what the model computes: names that are
    not pruned alike get a parameter of their own. Without a ``model`` nobody knows who else holds one, and every pruned name
    gets its own.
    """
    pruned = {(id(t.module), t.stored) for t in targets}
    dense: dict[int, str] = {}
    for t, parameter in all_targets(model, remove_duplicate=False) if model is not None else ():
        if (id(t.module), t.stored) not in pruned:
            dense.setdefault(id(parameter), t.path)
    names: dict[int, list[int]] = {}
    for position, t in enumerate(targets):
        names.setdefault(id(t.parameter), []).append(position)
    untied: list[str] = []
    with torch.no_grad():
        for positions in names.values():
            original = targets[positions[0]].parameter
            values, other = original.detach(), dense.get(id(original))
            for alike in _alike(positions, kept):
                zeroed = masked_copy(values, kept[alike[0]]())
                if model is not None and other is None:
                    original.data = zeroed
                    own, other = original, targets[alike[0]].path
                else:
                    own = nn.Parameter(zeroed, requires_grad=original.requires_grad)
                    own.__dict__.update(original.__dict__)
                    untied += [f"{targets[i].path} from {other}" for i in alike if other is not None]
                for i in alike:
                    _settle(targets[i], own)
            del values
    if untied:
        warn_caller(f"untied: {', '.join(untied)}; they are not pruned alike, and zeros in one would be zeros in the other")


def _alike(positions: Sequence[int], kept: Sequence[Callable[[], Tensor]]) -> list[list[int]]:
    """The names of one parameter, those of equal masks together."""
    groups: list[list[int]] = []
    for i in positions:
        same = next((g for g in groups if torch.equal(kept[g[0]](), kept[i]())), None)
        if same is None:
            groups.append([i])
        else:
            same.append(i)
    return groups


def _settle(target: Target, parameter: nn.Parameter) -> None:
    if target.mask is not None:
        take_off(target, parameter)
    else:
        target.module._parameters[target.name] = parameter
