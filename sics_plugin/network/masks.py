"""Masks on a model: putting them on in torch's own form, taking them off, hashing them.

Masks travel as ``dict[str, Tensor]``: parameter name → bool tensor in the parameter's shape, True where the weight is kept.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin.network.callers import refresh_where_read
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import Parameter, Target, all_targets, check_hooked, check_target, check_values
from sics_plugin.selection.fetch import bits_of
from sics_plugin.selection.parts import Part
from sics_plugin.selection.threads import over
from sics_plugin.selection.zeros import is_zero

Masks = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class InstalledMask(prune.BasePruningMethod):
    """The hook left on a module by this project's whole-model functions; it holds no tensor, the mask is the module's buffer."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Keep the mask as it is."""
        return default_mask


def install_mask(module: nn.Module, name: str, mask: Tensor) -> None:
    """Prune ``module.name`` with a bool mask (True = kept), on top of any mask it already has.

    Leaves what torch's prune leaves: ``name_orig``, ``name_mask`` (as bool, an eighth of torch's size or less) and a forward
    pre-hook. Works with ``prune.is_pruned``, ``prune.remove`` and later torch prunes. Runs without autograd, so that
    ``copy.deepcopy`` works afterwards.

    Examples
    --------
    >>> layer = nn.Linear(2, 2, bias=False)
    >>> install_mask(layer, "weight", torch.tensor([[True, False], [True, True]]))
    >>> prune.is_pruned(layer), abs(layer.weight[0, 1].item())
    (True, 0.0)
    """
    target = Target(module, name, name)
    check_target(target)
    install(target, mask)


def install(target: Target, mask: Tensor) -> None:
    """As :func:`install_mask`, of a target that was checked."""
    check_hooked([target])
    parameter = target.parameter
    check_fit({target.path: mask}, {target.path: parameter})
    # A copy, so that the buffer neither shares memory with nor keeps alive a vector over the whole model.
    put_mask(target, (mask.to(parameter.device) != 0) & target.present())


def put_mask(target: Target, kept: Tensor) -> None:
    """Make a bool tensor the mask of a target, as it is: earlier masks must be part of it, and nobody else may hold it.

    The same marks as torch's own ``apply`` makes, which takes three temporary copies of the weight to do so.
    """
    module, name, parameter = target.module, target.name, target.parameter
    with torch.no_grad():
        weight = masked_copy(parameter, kept)
        if target.mask is None:
            hook = InstalledMask()
            hook._tensor_name = name
            module.register_parameter(f"{name}_orig", parameter)
            del module._parameters[name]
            module.register_buffer(f"{name}_mask", kept)
            module.register_forward_pre_hook(hook)
        else:
            module._buffers[f"{name}_mask"] = kept
        setattr(module, name, weight)


def masked_copy(values: Tensor, kept: Tensor) -> Tensor:
    """The values with zeros where ``kept``, bool of the same shape, is False.

    >>> masked_copy(torch.tensor([1.0, -2.0]), torch.tensor([True, False])).tolist()
    [1.0, 0.0]
    """
    values = values.detach()
    if not (values.device.type == "cpu" and values.is_contiguous() and kept.is_contiguous() and values.element_size() in _WHOLE):
        return torch.where(kept, values, torch.zeros((), dtype=values.dtype, device=values.device))
    # The bits as whole numbers, times 0 or 1: one step for every type, the narrow ones included.
    result = torch.empty_like(values, memory_format=torch.contiguous_format)
    whole = _WHOLE[values.element_size()]
    bits, out, stays = (tensor.numpy().reshape(-1) for tensor in (values.view(whole), result.view(whole), kept))

    def step(_: int, begin: int, end: int) -> None:
        np.multiply(bits[begin:end], stays[begin:end], out=out[begin:end])

    over(Part(values), step)
    return result


def pruned_targets(model: nn.Module) -> list[Target]:
    """Every parameter of the model that carries a mask."""
    return [
        target
        for target, _ in all_targets(model)
        if f"{target.name}_orig" in target.module._parameters and f"{target.name}_mask" in target.module._buffers
    ]


def current_masks(model: nn.Module) -> dict[str, Tensor]:
    """The masks on a model, bool, by parameter name. Empty if it is not pruned."""
    return {target.path: target.present() for target in pruned_targets(model)}


def mask_hash(masks: Masks) -> str:
    """The sha256 over names, shapes and packed bits; equal exactly when the same weights of the same tensors are kept.

    Examples
    --------
    >>> a = {"w": torch.tensor([True, False])}
    >>> mask_hash(a) == mask_hash({"w": torch.tensor([1.0, 0.0])}), mask_hash(a) == mask_hash({"v": a["w"]})
    (True, False)
    """
    names = sorted(masks)
    packed = bits_of(masks[name] for name in names)
    return hash_of_bits((name, masks[name].shape, bits) for name, bits in zip(names, packed, strict=True))


def hash_of_bits(masks: Iterable[tuple[str, Sequence[int], np.ndarray]]) -> str:
    """As :func:`mask_hash`, from name, shape and packed bits of every mask, in the order of names."""
    sha = hashlib.sha256()
    for name, shape, bits in masks:
        sha.update(f"{name}\0{tuple(shape)}\0".encode())
        sha.update(bits.tobytes())
    return sha.hexdigest()


@contextmanager
def masked(model: M, masks: Masks) -> Iterator[M]:
    """The model with its weights masked in place, and back to the same bits afterwards.

    For evaluating many masks of one dense model. For a pruned model to keep, use ``prune_model``. A tied parameter is masked
    under the names in ``masks`` alone, as there.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> with masked(layer, {"weight": torch.tensor([[True, False]])}):
    ...     print(layer.weight[0, 1].item())
    0.0
    """
    named = {target.path: target for target, _ in all_targets(model, remove_duplicate=False)}
    check_fit(masks, {name: target.parameter for name, target in named.items() if name in masks})
    chosen = {name: named[name] for name in masks}
    for name, target in chosen.items():
        check_values(target.parameter, name)
        if target.mask is not None:
            raise ValueError(f"{name} carries a mask already: `masked` is for a dense model, take clone_pruned and install_mask")
    names: dict[int, list[str]] = {}
    for name, target in named.items():
        names.setdefault(id(target.parameter), []).append(name)
    saved: dict[int, tuple[nn.Parameter, Tensor]] = {}
    untied: list[tuple[Target, nn.Parameter]] = []
    try:
        with torch.no_grad():
            for name, target in chosen.items():
                parameter, kept = target.parameter, masks[name].to(target.parameter.device) != 0
                ties = names[id(parameter)]
                if all(tie == name or (tie in masks and torch.equal(masks[tie] != 0, masks[name] != 0)) for tie in ties):
                    if id(parameter) not in saved:
                        saved[id(parameter)] = parameter, parameter.detach().clone()
                        parameter.masked_fill_(~kept, 0)
                else:  # what a tied name without this mask reads stays as it is
                    untied.append((target, parameter))
                    own = nn.Parameter(masked_copy(parameter, kept), requires_grad=parameter.requires_grad)
                    target.module._parameters[target.name] = own
        yield model
    finally:
        with torch.no_grad():
            for parameter, dense in saved.values():
                parameter.copy_(dense)
            for target, parameter in untied:
                target.module._parameters[target.name] = parameter


def mask_zeros(model: nn.Module | Iterable[Parameter]) -> dict[str, Tensor]:
    """Make masks from the zeros that are there, and put them on: of a model that was finalized, or that somebody else pruned.

    What is zero then stays zero in training, counts as pruned, and is not ranked again. Nothing that the model computes changes.

    Parameters
    ----------
    model : nn.Module or iterable of (module, name)
        A model stands for its :func:`~sics_plugin.prunable_parameters`.

    Returns
    -------
    dict of str to Tensor
        The masks now on these parameters, earlier ones included, bool, by name. A weight without a zero gets none.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[0.0, 3.0]])
    >>> mask_zeros(layer), layer.weight_mask
    ({'weight': tensor([[False,  True]])}, tensor([[False,  True]]))
    """
    targets = resolve_targets(model)
    check_hooked(targets)
    kept = {t.path: t.present() & ~is_zero(t.parameter) for t in targets}
    masks = {t.path: kept[t.path] for t in targets if t.mask is not None or not bool(kept[t.path].all())}
    for t in targets:
        if t.path in masks:
            put_mask(t, masks[t.path].clone())
    if isinstance(model, nn.Module):
        refresh_where_read(model)
    return masks


def take_off(target: Target, parameter: nn.Parameter) -> None:
    """Take the mask of a target off and let ``parameter`` stand in its place, as it is."""
    module, name = target.module, target.name
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == name:
            del module._forward_pre_hooks[key]
    module.__dict__.pop(name, None)  # the product with the mask
    del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
    module.register_parameter(name, parameter)


def clone_pruned(model: M) -> M:
    """A deep copy of a pruned model, masks and hooks included.

    ``copy.deepcopy`` refuses a model pruned by torch itself, or one that has run forward since: its ``weight`` is then a
    result of autograd.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> _ = prune.l1_unstructured(layer, "weight", amount=1)
    >>> twin = clone_pruned(layer)
    >>> twin.weight_orig is layer.weight_orig, prune.is_pruned(twin)
    (False, True)
    """
    targets = pruned_targets(model)
    live = [getattr(target.module, target.name) for target in targets]
    try:
        for target, weight in zip(targets, live, strict=True):
            setattr(target.module, target.name, weight.detach())
        return copy.deepcopy(model)
    finally:
        for target, weight in zip(targets, live, strict=True):
            setattr(target.module, target.name, weight)


def check_fit(masks: Masks, parameters: Mapping[str, Tensor]) -> None:
    """Refuse masks of parameters that are not there, of another shape, or of other values than zeros and ones."""
    if unknown := [name for name in masks if name not in parameters]:
        raise ValueError(f"the model has no parameter {', '.join(unknown[:3])}" + (" …" if len(unknown) > 3 else ""))
    for name, mask in masks.items():
        if not isinstance(mask, Tensor):
            raise TypeError(f"Expected a mask for {name} to be a tensor, got {type(mask).__name__}")
        if mask.shape != parameters[name].shape:
            raise ValueError(f"Expected a mask of shape {tuple(parameters[name].shape)} for {name}, got {tuple(mask.shape)}")
        if not is_mask(mask):
            raise ValueError(f"Expected a mask of zeros and ones for {name}, got other values")


def is_mask(values: Tensor) -> bool:
    """Whether a tensor holds nothing but zeros and ones.

    >>> is_mask(torch.tensor([1.0, 0.0])), is_mask(torch.tensor([0.5]))
    (True, False)
    """
    if values.dtype == torch.bool:
        return True
    wide = values.float() if values.is_floating_point() and values.element_size() == 1 else values
    return not bool(((wide != 0) & (wide != 1)).any())
