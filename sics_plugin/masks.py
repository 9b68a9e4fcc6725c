"""Masks on a model: putting them on in torch's own form, taking them off, hashing, saving and loading them.

Masks travel as ``dict[str, Tensor]``: parameter name → bool tensor in the parameter's shape, True where the weight is kept.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin.targets import Target, check_target

Masks = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)


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
    mask = (mask.to(parameter.device) != 0) & target.present()
    with torch.no_grad():
        if target.mask is None:
            InstalledMask.apply(module, name)  # type: ignore[no-untyped-call]
        module._buffers[f"{name}_mask"] = mask
        setattr(module, name, parameter.detach() * mask.to(parameter.dtype))


def pruned_targets(model: nn.Module) -> list[Target]:
    """Every parameter of the model that carries a mask."""
    return [
        Target(module, name.removesuffix("_orig"), f"{path}.{name.removesuffix('_orig')}" if path else name.removesuffix("_orig"))
        for path, module in model.named_modules()
        for name in list(module._parameters)
        if name.endswith("_orig") and f"{name.removesuffix('_orig')}_mask" in module._buffers
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
    sha = hashlib.sha256()
    for name in sorted(masks):
        mask = masks[name]
        sha.update(f"{name}\0{tuple(mask.shape)}\0".encode())
        sha.update(np.packbits((mask.detach() != 0).cpu().numpy().reshape(-1)).tobytes())
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
    parameters = dict(model.named_parameters(remove_duplicate=False))
    _check_names(masks, parameters)
    _check_shapes(masks, parameters)
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
    return model


def _untie(model: nn.Module, targets: Sequence[Target]) -> None:
    """Give pruned names a parameter of their own where a name without a mask holds the same one.

    Zeros written into a shared parameter would prune the other module too, and change what the model computes.
    """
    pruned = {(id(t.module), f"{t.name}_orig") for t in targets}
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
            t.module._parameters[f"{t.name}_orig"] = fresh


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


def load_masks(model: nn.Module, path: str | Path) -> str:
    """Put masks from a file written by :func:`export_masks` onto a model, on top of any it has; returns the file's mask hash.

    Raises
    ------
    ValueError
        If the file is damaged, names parameters the model does not have, or shapes differ; the model is then unchanged.
    """
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as stored:
        masks = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a mapping)
        promised = (stored.metadata() or {}).get("mask_hash")
    if promised is not None and promised != mask_hash(masks):
        raise ValueError(f"{path} is damaged: its masks are not those it was written with")
    by_path = _targets_by_path(model)
    _check_names(masks, by_path)
    for name in masks:
        check_target(by_path[name])
    _check_shapes(masks, {name: by_path[name].parameter for name in masks})
    for name, mask in masks.items():
        install_mask(by_path[name].module, by_path[name].name, mask)
    return mask_hash(masks)


def _targets_by_path(model: nn.Module) -> dict[str, Target]:
    found = {}
    for path, module in model.named_modules():
        for stored in module._parameters:
            name = stored.removesuffix("_orig") if f"{stored.removesuffix('_orig')}_mask" in module._buffers else stored
            full = f"{path}.{name}" if path else name
            found[full] = Target(module, name, full)
    return found


def _check_names(masks: Masks, known: Mapping[str, object]) -> None:
    if unknown := [name for name in masks if name not in known]:
        raise ValueError(f"the model has no parameter {', '.join(unknown[:3])}" + (" …" if len(unknown) > 3 else ""))


def _check_shapes(masks: Masks, parameters: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        if mask.shape != parameters[name].shape:
            raise ValueError(f"Expected a mask of shape {tuple(parameters[name].shape)} for {name}, got {tuple(mask.shape)}")
