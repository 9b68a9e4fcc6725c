"""From masked to smaller: a copy of a model without the channels and heads its masks remove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sics_plugin.network.discovery import all_groups
from sics_plugin.network.groups import ChannelGroup, Slice, bind_groups, modules_by_name
from sics_plugin.network.layouts import CONVOLUTIONS
from sics_plugin.network.masks import clone_pruned, current_masks
from sics_plugin.network.permanent import finalize

M = TypeVar("M", bound=nn.Module)


def shrink(model: M, groups: Iterable[ChannelGroup] | None = None) -> M:
    """A physically smaller copy: channels and heads whose every entry is masked are cut out of the tensors.

    Linear layers, convolutions and batch norms are sliced and their sizes adapted; a timm Attention keeps its head size and
    gets fewer heads, the q and k rows of a removed head go as well. All masks are made permanent, torch's pruning hooks are
    gone, everything else is copied as it is. In eval mode the copy computes what the masked model computes.

    Parameters
    ----------
    model : nn.Module
        Pruned by :func:`~sics_plugin.prune_channels`, once or several times, for channels, heads or both; other masks, of
        single weights, stay as zeros. Unchanged.
    groups : iterable of ChannelGroup, optional
        Those it was pruned with, where they were handed in by the user. They may be of different units.

    Returns
    -------
    nn.Module
        Of the same class. To load its ``state_dict`` later, build the dense model, load the masks
        (:func:`~sics_plugin.load_masks`) and shrink it the same way.

    Raises
    ------
    ValueError
        If no unit is entirely masked, a tensor is tied, or a module cannot be made smaller.

    Notes
    -----
    A layer that lost all of its units keeps one, all zeros: most layers cannot be empty. It contributes nothing, as masked.

    Examples
    --------
    >>> from timm.models.vision_transformer import VisionTransformer
    >>> from sics_plugin import prune_channels
    >>> vit = VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=4, num_classes=3)
    >>> _ = prune_channels(vit, "magnitude", 0.5, unit="head"), prune_channels(vit, "magnitude", 0.75)
    >>> small = shrink(vit)
    >>> small.blocks[0].attn.num_heads, small.blocks[0].mlp.fc1, sum(p.numel() for p in small.parameters())
    (2, Linear(in_features=16, out_features=16, bias=True), 2123)
    """
    listed = all_groups(model) if groups is None else list(groups)
    by_unit = {unit: [group for group in listed if group.unit == unit] for unit in ("channel", "head")}
    bound = [b for some in by_unit.values() if some for b in bind_groups(model, some)]
    kept = {group.group.name: group.present() for group in bound}
    if all(bool(alive.all()) for alive in kept.values()):
        reason = "no channel or head is entirely masked" if current_masks(model) else "the model carries no mask"
        raise ValueError(
            f"nothing to shrink: {reason}. Use prune_channels first, and pass `groups=` for an architecture that is not found "
            "by itself; a prune of one tensor alone leaves what reads its channels in place"
        )
    for alive in kept.values():
        if not bool(alive.any()):
            alive[0] = True  # all zeros in the finalized copy
    smaller = [group.group for group in bound if not bool(kept[group.group.name].all())]
    copy = finalize(clone_pruned(model))
    modules = modules_by_name(copy)
    for group in smaller:
        if group.unit == "head":
            _check_attention(modules[group.name], group.name)
    cuts: dict[str, list[tuple[Slice, Tensor]]] = {}  # tensor name → the slices to cut it by, with the units that go
    for group in smaller:
        for part in (*group.masked, *group.companions):
            cuts.setdefault(part.name, []).append((part, ~kept[group.name]))
    for name, own in cuts.items():
        _cut(modules, name, own)
    for group in smaller:
        if group.unit == "head":
            attention: Any = modules[group.name]
            attention.num_heads = int(kept[group.name].sum())
            attention.attn_dim = attention.num_heads * attention.head_dim
    for path in sorted({name.rpartition(".")[0] for name in cuts}):
        _adapt(modules[path], path)
    return copy


def _cut(modules: Mapping[str, nn.Module], name: str, cuts: Iterable[tuple[Slice, Tensor]]) -> None:
    """Replace a parameter or buffer by what is left of it."""
    path, _, own = name.rpartition(".")
    module = modules[path]
    dense = module._parameters.get(own)
    found = module._buffers[own] if dense is None else dense.detach()
    assert found is not None  # bind_groups has seen it
    tensor = found
    # Indices count in the whole tensor: mark all of a dimension before the first of it goes.
    staying = [torch.ones(length, dtype=torch.bool, device=tensor.device) for length in tensor.shape]
    for part, gone in cuts:
        staying[part.dim][part.indices(gone.to(tensor.device))] = False
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    for dim, stays in enumerate(staying):
        if not bool(stays.all()):
            tensor = tensor.index_select(dim, stays.nonzero().squeeze(1))
    tensor = tensor.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    if dense is None:
        module._buffers[own] = tensor
    else:
        module._parameters[own] = nn.Parameter(tensor, requires_grad=dense.requires_grad)


def _check_attention(attention: nn.Module, name: str) -> None:
    if missing := [own for own in ("num_heads", "head_dim", "attn_dim") if not hasattr(attention, own)]:
        raise ValueError(
            f"cannot take heads out of {name}: its {type(attention).__name__} has no {', '.join(missing)}, so it would "
            "reshape to the old size; a newer timm's Attention has them"
        )


def _adapt(module: nn.Module, path: str) -> None:
    """Tell a module the size its tensors now have."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
        _check_lengths(path, module.out_features, module.bias)
    elif isinstance(module, CONVOLUTIONS):
        outputs, inputs = module.weight.shape[:2]
        if module.groups != 1:
            if module.groups != module.in_channels or module.groups != module.out_channels:
                raise ValueError(f"cannot shrink {path}: a convolution in {module.groups} groups that is not depthwise")
            inputs = module.groups = outputs
        module.out_channels, module.in_channels = outputs, inputs
        _check_lengths(path, outputs, module.bias)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        held = [module.weight, module.bias, module.running_mean, module.running_var]
        module.num_features = min(t.numel() for t in held if t is not None)
        _check_lengths(path, module.num_features, *held)
    else:
        raise ValueError(f"cannot shrink {path}: known are Linear, convolution and batch norm, got {type(module).__name__}")


def _check_lengths(path: str, length: int, *tensors: Tensor | None) -> None:
    if any(tensor is not None and tensor.numel() != length for tensor in tensors):
        raise ValueError(f"the group names only some tensors of {path}: its weight, bias and statistics now differ in length")
