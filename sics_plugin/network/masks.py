"""Masks on a model: putting them on in torch's own form, taking them off, hashing, saving and loading them.

Masks travel as ``dict[str, Tensor]``: parameter name → bool tensor in the parameter's shape, True where the weight is kept.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin.network.groups import forget_groups
from sics_plugin.network.targets import Target, all_targets, check_target, plain_name
from sics_plugin.selection.parts import Part
from sics_plugin.selection.threads import over

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
    parameter = target.parameter
    if mask.shape != parameter.shape:
        raise ValueError(f"Expected a mask of shape {tuple(parameter.shape)} for {name}, got {tuple(mask.shape)}")
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
    return hash_of_bits((name, masks[name].shape, packed_bits(masks[name])) for name in sorted(masks))


def packed_bits(mask: Tensor) -> np.ndarray:
    """A mask as bits, first unit in the highest, zeros at the end; shape (⌈n/8⌉,), uint8."""
    mask = mask.detach() if mask.dtype == torch.bool else mask.detach() != 0
    return np.packbits(mask.cpu().numpy().reshape(-1))


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

    For evaluating many masks of one dense model. For a pruned model to keep, use ``prune_model``.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> with masked(layer, {"weight": torch.tensor([[True, False]])}):
    ...     print(layer.weight[0, 1].item())
    0.0
    """
    parameters = {plain_name(name): p for name, p in model.named_parameters(remove_duplicate=False)}
    _check_fit(masks, parameters)
    saved = {name: parameters[name].detach().clone() for name in masks}
    try:
        with torch.no_grad():
            for name, mask in masks.items():
                parameters[name].masked_fill_(mask.to(parameters[name].device) == 0, 0)
        yield model
    finally:
        with torch.no_grad():
            for name, dense in saved.items():
                parameters[name].copy_(dense)


def finalize(model: M, targets: Sequence[Target] | None = None) -> M:
    """Make masks permanent: plain parameters with zeros, no hooks, no buffers. Returns the same model.

    Parameters
    ----------
    model : nn.Module
    targets : sequence of Target, optional
        Only these; default: every parameter that carries a mask.

    Notes
    -----
    A tied parameter of which only one name is pruned is untied: the other module keeps its dense weights.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> _ = prune.l1_unstructured(layer, "weight", amount=1)
    >>> finalize(layer) is layer, sorted(layer.state_dict())
    (True, ['bias', 'weight'])
    """
    with torch.no_grad():
        chosen = pruned_targets(model) if targets is None else list(targets)
        _untie(model, chosen)
        for target in chosen:
            prune.remove(target.module, target.name)
    if targets is None:
        forget_groups(model)
    return model


def put_zeros(model: nn.Module, targets: Sequence[Target], kept: Sequence[Callable[[], Tensor]]) -> None:
    """Make masks permanent without ever putting them on: as ``put_mask`` and ``finalize``, one tensor at a time."""
    _untie(model, targets)
    done: set[int] = set()
    with torch.no_grad():
        for target, mask in zip(targets, kept, strict=True):
            if target.mask is not None:
                put_mask(target, mask())
                prune.remove(target.module, target.name)
            elif id(target.parameter) not in done:  # tied weights are one parameter
                done.add(id(target.parameter))
                target.parameter.data = masked_copy(target.parameter, mask())


def _untie(model: nn.Module, targets: Sequence[Target]) -> None:
    """Give pruned names a parameter of their own where a name without a mask holds the same one.

    Zeros written into a shared parameter would prune the other module too, and change what the model computes.
    """
    pruned = {(id(t.module), t.stored) for t in targets}
    dense = {
        id(parameter)
        for module in model.modules()
        for stored, parameter in module._parameters.items()
        if parameter is not None and (id(module), stored) not in pruned
    }
    own: dict[int, nn.Parameter] = {}
    for t in targets:
        shared = t.parameter
        if id(shared) in dense:
            fresh = own.setdefault(id(shared), nn.Parameter(shared.detach().clone(), requires_grad=shared.requires_grad))
            t.module._parameters[t.stored] = fresh


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


def export_masks(model: nn.Module, path: str | Path) -> None:
    """Write the masks on a model to a safetensors file, one bool tensor a parameter.

    Raises
    ------
    ValueError
        If the model carries no mask.
    """
    from safetensors.torch import save_file

    masks = {name: mask.cpu().contiguous() for name, mask in current_masks(model).items()}
    if not masks:
        raise ValueError("there is no mask to export: the model is not pruned, or was finalized")
    save_file(masks, str(path), metadata={"format": "sics-masks", "mask_hash": mask_hash(masks)})


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, by name, and its metadata."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a mapping)
        return tensors, stored.metadata() or {}


def load_masks(model: nn.Module, path: str | Path) -> str:
    """Put masks from a file written by :func:`export_masks` onto a model, on top of any it has; returns the file's mask hash.

    Raises
    ------
    ValueError
        If the file is damaged, names parameters the model does not have, or shapes differ; the model is then unchanged.
    """
    masks, metadata = read_safetensors(path)
    promised = metadata.get("mask_hash")
    if promised is not None and promised != mask_hash(masks):
        raise ValueError(f"{path} is damaged: its masks are not those it was written with")
    by_path = {target.path: target for target, _ in all_targets(model)}
    _check_fit(masks, {name: target.parameter for name, target in by_path.items() if name in masks})
    for name in masks:
        check_target(by_path[name])
    for name, mask in masks.items():
        install_mask(by_path[name].module, by_path[name].name, mask)
    return mask_hash(masks)


def _check_fit(masks: Masks, parameters: Mapping[str, Tensor]) -> None:
    if unknown := [name for name in masks if name not in parameters]:
        raise ValueError(f"the model has no parameter {', '.join(unknown[:3])}" + (" …" if len(unknown) > 3 else ""))
    for name, mask in masks.items():
        if mask.shape != parameters[name].shape:
            raise ValueError(f"Expected a mask of shape {tuple(parameters[name].shape)} for {name}, got {tuple(mask.shape)}")
