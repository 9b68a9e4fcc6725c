"""From masked to smaller: a copy of a model without the channels and heads its masks remove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sics_plugin.channels.dataflow import passages
from sics_plugin.channels.discovery import all_groups
from sics_plugin.channels.groups import (
    ChannelGroup,
    Slice,
    bind_groups,
    modules_by_name,
    remembered_groups,
)
from sics_plugin.channels.removal import check_removal
from sics_plugin.network.layouts import CONVOLUTIONS, TRANSPOSED, is_depthwise
from sics_plugin.network.masks import clone_pruned, current_masks
from sics_plugin.network.permanent import finalize, forget_groups

M = TypeVar("M", bound=nn.Module)


def shrink(model: M, groups: Iterable[ChannelGroup] | None = None, *, example: object = None) -> M:
    """A physically smaller copy: channels and heads whose every entry is masked are cut out of the tensors.

    Linear layers, convolutions (transposed ones and transformers' ``Conv1D`` too), batch and instance norms, whole groups of a
    GroupNorm and PReLU are sliced and their sizes adapted; a timm Attention keeps its head size and gets fewer heads, the q and k
    rows of a removed head go as well. All masks are made permanent, torch's pruning hooks are gone, everything else is copied
    as it is. In eval mode the copy computes what the masked model computes.

    Parameters
    ----------
    model : nn.Module
        Pruned by :func:`~sics_plugin.prune_channels`, once or several times, for channels, heads or both; other masks, of
        single weights, stay as zeros. Unchanged.
    groups : iterable of ChannelGroup, optional
        Default: those that the prunes were given (the model remembers them), and all that :func:`find_groups` knows. They may
        be of different units.
    example : Tensor, tuple or mapping, optional
        An input as the model takes it: the one argument, all of them, or those with names. The smaller copy is then run on it
        beside the masked model, and one that computes something else is refused, with the group that is to blame.

    Returns
    -------
    nn.Module
        Of the same class. To load its ``state_dict`` later, build the dense model, load the masks
        (:func:`~sics_plugin.load_masks`) and shrink it the same way.

    Raises
    ------
    ValueError
        If no unit is entirely masked, a tensor is tied, a module cannot be made smaller, a group does not name a module with
        weights that its channels are seen to pass, or ``example`` shows that a group is wrong.

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
    kept = _kept(model, listed)
    if all(bool(alive.all()) for alive in kept.values()):
        reason = "no channel or head is entirely masked" if current_masks(model) else "the model carries no mask"
        raise ValueError(
            f"nothing to shrink: {reason}. Use prune_channels first, and pass `groups=` for an architecture that is not found "
            "by itself; a prune of one tensor alone leaves what reads its channels in place"
        )
    smaller = [group for group in listed if not bool(kept[group.name].all())]
    by_hand = smaller if groups is not None else [group for group in smaller if group in remembered_groups(model)]
    if by_hand:
        _check_passed(model, by_hand)
    copy = finalize(clone_pruned(model))
    cut_units(copy, smaller, kept)
    if example is not None:
        check_removal(model, smaller, kept, current_masks(model), example, cut_units)
    return copy


def _kept(model: nn.Module, groups: Sequence[ChannelGroup]) -> dict[str, Tensor]:
    """Which units of every group stay."""
    by_unit = {unit: [group for group in groups if group.unit == unit] for unit in ("channel", "head")}
    bound = [b for some in by_unit.values() if some for b in bind_groups(model, some)]
    return {group.group.name: group.present() for group in bound}


def _check_passed(model: nn.Module, groups: Sequence[ChannelGroup]) -> None:
    """Groups made by hand name every module with weights on the way of their channels, as far as that way can be followed."""
    seen = {f"{passage.producer}.weight": passage for passage in passages(model)}
    modules = modules_by_name(model)
    for group in groups:
        named = {part.name.rpartition(".")[0] for part in (*group.masked, *group.companions)} | {*group.sized}
        passage = seen.get(group.producer.name)
        for path in () if passage is None else passage.passed:
            module = modules[path]
            if path not in named and not (isinstance(module, nn.PReLU) and module.num_parameters == 1):
                raise ValueError(
                    f"cannot shrink {group.name}: its channels go through {path} ({type(module).__name__}), which the group does "
                    "not name; channel_group takes it as `norm` where it treats channels one by one"
                )
        if other := [] if passage is None else [path for path in passage.readers if path not in named]:
            raise ValueError(
                f"cannot shrink {group.name}: {', '.join(other)} reads its channels too, which the group does not name"
            )


def cut_units(model: nn.Module, groups: Sequence[ChannelGroup], kept: Mapping[str, Tensor]) -> None:
    """Cut units out of a model without masks, in place; ``kept``: group name → bool over its units."""
    kept = {name: alive.clone() for name, alive in kept.items()}
    for alive in kept.values():
        if not bool(alive.any()):
            alive[0] = True  # all zeros in the finalized copy
    modules = modules_by_name(model)
    cuts: dict[str, list[tuple[Slice, Tensor]]] = {}  # tensor name → the slices to cut it by, with the units that go
    for group in groups:
        if group.unit == "head":
            _check_attention(modules[group.name], group.name)
        for part in (*group.masked, *group.companions):
            _check_whole_groups(modules, part)
            cuts.setdefault(part.name, []).append((part, ~kept[group.name]))
    for name, own in cuts.items():
        _cut(modules, name, own)
    for group in groups:
        left = int(kept[group.name].sum())
        for path in group.sized:
            _resize(modules[path], path, left, group.size)
        if group.unit == "head":
            attention: Any = modules[group.name]
            attention.num_heads = left
            attention.attn_dim = attention.num_heads * attention.head_dim
    for path in sorted({name.rpartition(".")[0] for name in cuts}):
        _adapt(modules[path], path)
    forget_groups(model)


def _check_whole_groups(modules: Mapping[str, nn.Module], part: Slice) -> None:
    path = part.name.rpartition(".")[0]
    module = modules[path]
    if isinstance(module, nn.GroupNorm):
        together = module.num_channels // module.num_groups
        if part.width % together or part.start % together:
            raise ValueError(f"cannot shrink {path}: it normalises {together} channels together, and {part.width} go at a time")


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
            if not is_depthwise(module):
                raise ValueError(f"cannot shrink {path}: a convolution in {module.groups} groups that is not depthwise")
            inputs = module.groups = outputs // (module.out_channels // module.in_channels)
        module.out_channels, module.in_channels = outputs, inputs
        _check_lengths(path, outputs, module.bias)
    elif isinstance(module, TRANSPOSED):
        if module.groups != 1:
            raise ValueError(f"cannot shrink {path}: a transposed convolution in {module.groups} groups")
        module.in_channels, module.out_channels = module.weight.shape[:2]
        _check_lengths(path, module.out_channels, module.bias)
    elif hasattr(module, "nx"):
        layer: Any = module  # transformers' Conv1D
        layer.nx, layer.nf = layer.weight.shape
        _check_lengths(path, layer.nf, layer.bias)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.numel()
    elif isinstance(module, nn.GroupNorm | nn.modules.batchnorm._NormBase):
        held = [getattr(module, own, None) for own in ("weight", "bias", "running_mean", "running_var")]
        channels = min(t.numel() for t in held if t is not None)
        _resize(module, path, channels, _channels(module))
        _check_lengths(path, channels, *held)
    else:
        raise ValueError(
            f"cannot shrink {path}: known are linear layers, convolutions, batch, instance and group norms and PReLU, got "
            f"{type(module).__name__}"
        )


def _channels(norm: nn.GroupNorm | nn.modules.batchnorm._NormBase) -> int:
    return norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features


def _resize(norm: nn.Module, path: str, left: int, of: int) -> None:
    """Tell a norm that ``left`` in ``of`` of its channels are still there."""
    if isinstance(norm, nn.GroupNorm):
        norm.num_groups, norm.num_channels = norm.num_groups * left // of, norm.num_channels * left // of
    elif isinstance(norm, nn.modules.batchnorm._NormBase):
        norm.num_features = norm.num_features * left // of
    else:
        raise ValueError(f"cannot shrink {path}: Expected a norm among the `sized` modules of a group, got {type(norm).__name__}")


def _check_lengths(path: str, length: int, *tensors: Tensor | None) -> None:
    if any(tensor is not None and tensor.numel() != length for tensor in tensors):
        raise ValueError(f"the group names only some tensors of {path}: its weight, bias and statistics now differ in length")
