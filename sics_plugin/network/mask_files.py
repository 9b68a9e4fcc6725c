"""Masks in a file of their own."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from sics_plugin.network.callers import refresh_where_read
from sics_plugin.network.masks import check_fit, current_masks, install, is_mask, mask_hash
from sics_plugin.network.targets import all_targets, check_hooked, check_target

#: What the metadata of a file of masks says it is.
FORMAT = "sics-masks"


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
    save_file(masks, str(path), metadata={"format": FORMAT, "mask_hash": mask_hash(masks)})


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, by name, and its metadata.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        If there is no such file, or one in another format.
    """
    from safetensors import SafetensorError, safe_open

    if Path(path).is_dir():
        raise IsADirectoryError(f"Expected a safetensors file, got the folder {path}")
    if not Path(path).exists():
        raise FileNotFoundError(f"Expected a safetensors file, there is none at {path}")
    try:
        with safe_open(str(path), framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a mapping)
            return tensors, stored.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"Expected a safetensors file, {path} is none, or is cut short ({error})") from None


def load_masks(model: nn.Module, path: str | Path) -> str:
    """Put masks from a file written by :func:`export_masks` onto a model, on top of any it has; returns the file's mask hash.

    Raises
    ------
    ValueError
        If the file holds no masks or is damaged, names parameters the model does not have, or shapes differ; the model is then
        unchanged.
    FileNotFoundError, IsADirectoryError
    """
    masks, metadata = read_safetensors(path)
    if not masks:
        raise ValueError(f"{path} holds no mask")
    for name, values in masks.items():
        if not is_mask(values):
            raise ValueError(
                f"{path} holds no masks: {name} has other values than 0 and 1. export_masks writes masks; weights go through "
                "load_state_dict, and mask_zeros makes masks of their zeros"
            )
    promised = metadata.get("mask_hash")
    if promised is not None and promised != mask_hash(masks):
        raise ValueError(f"{path} is damaged: its masks are not those it was written with")
    by_path = {target.path: target for target, _ in all_targets(model)}
    check_fit(masks, {name: target.parameter for name, target in by_path.items() if name in masks})
    for name in masks:
        check_target(by_path[name], refreshed=True)
    check_hooked(by_path[name] for name in masks)
    for name, mask in masks.items():
        install(by_path[name], mask)
    refresh_where_read(model)
    return mask_hash(masks)
