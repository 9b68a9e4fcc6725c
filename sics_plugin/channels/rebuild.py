"""A shrunk model from its file: no architecture's constructor has arguments for what `shrink` leaves, so it is cut again.

Which units are gone stands in the file's metadata. The dense architecture is built, loses them, and takes the weights.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sics_plugin.channels.discovery import find_groups
from sics_plugin.channels.groups import ChannelGroup, Unit, bind_groups, remember_groups, remembered_groups
from sics_plugin.channels.shrink import shrink
from sics_plugin.channels.unit_masks import install_units, masks_of, unit_masks
from sics_plugin.network.callers import refresh_where_read
from sics_plugin.network.mask_files import read_safetensors
from sics_plugin.network.masks import current_masks

M = TypeVar("M", bound=nn.Module)
Removed = dict[str, list[int]]
#: Under this name a file's metadata holds, as JSON, which units of which architecture are gone.
METADATA_KEY = "sics"


def removed_units(model: nn.Module, unit: Unit = "channel", groups: Iterable[ChannelGroup] | None = None) -> Removed:
    """Which units of a model its masks remove: group name → their positions, for groups that lost some.

    Examples
    --------
    >>> from sics_plugin import channel_group, prune_channels
    >>> mlp = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    >>> mlp[0].weight.data = torch.tensor([[3.0], [-1.0]])
    >>> groups = [channel_group(mlp, "0", "2")]
    >>> _ = prune_channels(mlp, "magnitude", 1, groups=groups)
    >>> removed_units(mlp, groups=groups)
    {'0': [1]}
    """
    if groups is None:
        groups = [group for group in remembered_groups(model) if group.unit == unit] or find_groups(model, unit)
    kept = unit_masks(current_masks(model), groups)
    gone = {name: torch.nonzero(~alive).squeeze(1).tolist() for name, alive in kept.items()}
    return {name: positions for name, positions in gone.items() if positions}


def remove_units(
    model: M, removed: Mapping[str, Sequence[int]], unit: Unit = "channel", groups: Iterable[ChannelGroup] | None = None
) -> M:
    """Mask the units that `removed_units` of a model of this architecture named. Returns the same model.

    Raises
    ------
    ValueError
        If a group or one of its positions is not there; the model is then unchanged.

    Examples
    --------
    >>> from sics_plugin import channel_group
    >>> mlp = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    >>> int((remove_units(mlp, {"0": [1]}, groups=[channel_group(mlp, "0", "2")])[2].weight_mask == 0).sum())
    1
    """
    given = None if groups is None else list(groups)
    bound = bind_groups(model, find_groups(model, unit) if given is None else given)
    by_name = {group.group.name: position for position, group in enumerate(bound)}
    present = [group.present() for group in bound]
    chosen: dict[int, Tensor] = {}
    for name, positions in removed.items():
        if name not in by_name:
            raise ValueError(f"the model has no {unit}s of {name!r}: another architecture")
        size = bound[by_name[name]].group.size
        if not all(type(p) is int and 0 <= p < size for p in positions):
            raise ValueError(f"Expected positions below {size}, the {unit}s of {name!r}, got {list(positions)!r:.60}")
        gone = torch.zeros(size, dtype=torch.bool)
        gone[list(positions)] = True
        chosen[by_name[name]] = gone[present[by_name[name]]]
    install_units(bound, masks_of(bound, present, chosen))
    refresh_where_read(model)
    if given is not None:
        remember_groups(model, given)
    return model


def load_shrunk(model: M, path: str | Path) -> M:
    """The smaller model in a file of ``sics-run prune --shrink``.

    Parameters
    ----------
    model : nn.Module
        Of the dense architecture, with any weights, such as ``timm.create_model("resnet18", num_classes=10)``. Unchanged.
    path : str or Path
        Safetensors.

    Returns
    -------
    nn.Module
        In eval mode, with the file's weights.

    Raises
    ------
    ValueError
        If the file does not say which units are gone, or is of another architecture.

    Examples
    --------
    >>> from timm import create_model
    >>> load_shrunk(create_model("resnet18"), "pruned.safetensors")    # doctest: +SKIP
    """
    state, metadata = read_safetensors(path)
    unit, removed = _said(metadata.get(METADATA_KEY), path)
    small = shrink(remove_units(copy.deepcopy(model), removed, unit))
    try:
        small.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} does not fit a {type(model).__name__} without those units: {reason}") from None
    return small.eval()


def _said(text: str | None, path: str | Path) -> tuple[Unit, Removed]:
    try:
        facts: dict[str, Any] = json.loads(text or "")
        shrunk = facts["shrunk"]
        if shrunk is None:
            raise ValueError(f"{path} was not shrunk: load_state_dict takes it as it is")
        unit, removed = shrunk["unit"], shrunk["removed"]
        if unit not in ("channel", "head") or not isinstance(removed, dict):
            raise TypeError
        return unit, {str(name): list(positions) for name, positions in removed.items()}
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{path} does not say which units are gone: it is no file of sics-run prune --shrink") from None
