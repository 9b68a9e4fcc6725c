"""Which parameters are pruned, under which names, and the ones that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sics_plugin.network.layouts import Layout, layout_of

#: A parameter as torch's prune functions take it.
Parameter = tuple[nn.Module, str]

_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One parameter to prune: ``module.name``, called ``path`` in the model.

    ``ties`` are the other listed names of the same parameter: what one of them has lost is gone for all.
    """

    module: nn.Module
    name: str
    path: str
    ties: tuple[Target, ...] = ()

    @property
    def stored(self) -> str:
        """The name the module holds the dense parameter under."""
        # "_orig" alone is not torch's prune: the old spectral_norm uses it too.
        return self.name if self.mask is None else f"{self.name}_orig"

    @property
    def parameter(self) -> nn.Parameter:
        """The dense parameter itself, whether or not it is pruned."""
        found = self.module._parameters.get(self.stored)
        if found is None:
            raise ValueError(
                f"Expected {self.path} to be a parameter of {type(self.module).__name__}; it is missing, None, or computed by a "
                "parametrization"
            )
        return found

    @property
    def layout(self) -> Layout:
        """How its outputs and inputs lie; refused where that is not known."""
        if self.parameter.dim() < 2:
            raise ValueError(
                f"Expected {self.path} to have rows, a weight of two dimensions or more, got shape {tuple(self.parameter.shape)}"
            )
        found = layout_of(self.module, self.name)
        if found is None:
            raise ValueError(
                f"which dimension of {self.path} are its outputs is not known for a {type(self.module).__name__}: leave it out, "
                "or take pool='global' or 'layer'"
            )
        return found

    @property
    def mask(self) -> Tensor | None:
        """The mask an earlier prune left (non-zero where kept), or None."""
        return self.module._buffers.get(f"{self.name}_mask")

    @property
    def shared_mask(self) -> Tensor | None:
        """The mask, tied names' included."""
        masks = [m for m in (self.mask, *(t.mask for t in self.ties)) if m is not None]
        if len(masks) < 2:
            return masks[0] if masks else None
        return torch.stack([m.to(masks[0].device) != 0 for m in masks]).all(0)

    def present(self) -> Tensor:
        """True where a unit is still there, shape of the parameter."""
        mask = self.shared_mask
        return torch.ones_like(self.parameter, dtype=torch.bool) if mask is None else mask != 0

    def remaining(self, values: Tensor) -> Tensor:
        """Those of ``values`` (shape of the parameter) whose unit is still there, as a vector in torch's order."""
        flat, mask = values.detach().reshape(-1), self.shared_mask
        return flat if mask is None else flat[(mask != 0).reshape(-1).to(flat.device)]


def plain_name(path: str) -> str:
    """A module's or parameter's path without what ``torch.compile`` and (Distributed)DataParallel put before it.

    So a mask, its hash and a saliency have the same names whether or not the model is wrapped.

    >>> plain_name("module._orig_mod.blocks.0.weight"), plain_name("module"), plain_name("encoder.module.weight")
    ('blocks.0.weight', '', 'encoder.module.weight')
    """
    parts = [part for part in path.split(".") if part != "_orig_mod"]
    while parts and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


def all_targets(model: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[Target, nn.Parameter]]:
    """Yield every parameter of every module, with the name it has when the model is neither pruned nor wrapped.

    ``weight_orig`` is the ``weight`` of a pruned module; where nothing was pruned, it is a parameter of that name.
    """
    for path, module in model.named_modules(remove_duplicate=remove_duplicate):
        for stored, parameter in module._parameters.items():
            if parameter is not None:
                dense = stored.removesuffix("_orig")
                name = dense if f"{dense}_mask" in module._buffers else stored
                yield Target(module, name, plain_name(f"{path}.{name}" if path else name)), parameter


def dense_parameters(model: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield every parameter, or with ``remove_duplicate=False`` every name of each, by the plain name of :func:`all_targets`."""
    seen: set[int] = set()
    for target, parameter in all_targets(model, remove_duplicate=remove_duplicate):
        if not (remove_duplicate and id(parameter) in seen):
            seen.add(id(parameter))
            yield target.path, parameter


def check_target(target: Target, *, refreshed: bool = False) -> None:
    """Refuse a parameter whose mask would have no effect. ``refreshed``: what reads it will mask it anew.

    ``nn.MultiheadAttention`` reads ``out_proj.weight`` without calling ``out_proj``: the pruning hook never runs, and the
    mask silently goes stale with the next optimiser step or loaded checkpoint.
    """
    if isinstance(target.module, _NEVER_CALLED) and not refreshed:
        raise ValueError(
            f"{target.path} is the output projection of nn.MultiheadAttention, which never calls it: a pruning hook there "
            "would not run. Leave it out, or name it in prune_model(model, ..., params=...), which masks it where it is read"
        )
    parameter = target.parameter
    if not parameter.is_floating_point():
        raise TypeError(f"Expected {target.path} to be of a floating point type, got {parameter.dtype}")


def without_ties(targets: Sequence[Target]) -> list[Target]:
    """The first target of every distinct parameter, so that tied weights count once."""
    found: dict[int, list[Target]] = {}
    for target in targets:
        found.setdefault(id(target.parameter), []).append(target)
    return [first if not others else replace(first, ties=tuple(others)) for first, *others in found.values()]
