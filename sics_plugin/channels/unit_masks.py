"""Between units and parameters: the masks that removed units leave, and what a set of masks leaves of the units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from sics_plugin.channels.groups import BoundGroup, ChannelGroup
from sics_plugin.network.masks import install_mask


def unit_masks(masks: Mapping[str, Tensor], groups: Iterable[ChannelGroup]) -> dict[str, Tensor]:
    """Which units of every group a set of parameter masks keeps: group name → bool, shape (size,), CPU.

    A unit counts as kept while any of its entries is, as :func:`~sics_plugin.shrink` sees it.

    Examples
    --------
    >>> from torch import nn
    >>> from sics_plugin import channel_group, compute_channel_masks
    >>> mlp = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    >>> group = channel_group(mlp, "0", "2")
    >>> masks, _ = compute_channel_masks(mlp, "magnitude", 1, groups=[group])
    >>> int(unit_masks(masks, [group])["0"].sum())
    1
    """
    kept = {}
    for group in groups:
        alive = [part.rows(masks[part.name] != 0, group.size).any(1).cpu() for part in group.masked if part.name in masks]
        full = len(alive) < len(group.masked)  # a parameter without a mask is all there
        kept[group.name] = torch.ones(group.size, dtype=torch.bool) if full else torch.stack(alive).any(0)
    return kept


def masks_of(bound: Sequence[BoundGroup], present: Sequence[Tensor], removed: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """Earlier masks with every share of the removed units gone."""
    masks: dict[str, Tensor] = {}
    for position, group in enumerate(bound):
        gone = ~present[position]
        if position in removed:
            gone[present[position].nonzero().squeeze(1)[removed[position]]] = True
        for part, target in zip(group.group.masked, group.targets, strict=True):
            mask = masks.setdefault(target.path, target.present().clone())
            mask.index_fill_(part.dim, part.indices(gone.to(mask.device)), False)
    return masks


def install_units(bound: Sequence[BoundGroup], masks: Mapping[str, Tensor]) -> None:
    """Put masks of :func:`masks_of` on the parameters of the groups."""
    targets = {target.path: target for group in bound for target in group.targets}
    for name, mask in masks.items():
        install_mask(targets[name].module, targets[name].name, mask)
