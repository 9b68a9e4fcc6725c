"""Which parameters are pruned, under which names, and the ones that cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, NoReturn, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.sparse import SparseSemiStructuredTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from sics_plugin.network.layouts import CONVOLUTIONS, Layout, layout_of
from sics_plugin.network.names import dense_name, joined, loaded_class, plain_modules

#: A parameter as torch's prune functions take it.
Parameter = tuple[nn.Module, str]

#: What to do with a model whose weights are in pieces.
_GATHER = (
    "prune the whole model and shard it afterwards, or gather its weights first "
    "(torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True) into a model that is not sharded"
)
_PAIRS = "hand over the model, or prunable_parameters(model)"
#: Narrow types without a zero of their own, or with two numbers a byte.
_NO_ZERO = {getattr(torch, name, None) for name in ("float8_e8m0fnu", "float4_e2m1fn_x2")}

#: What nn.MultiheadAttention makes its output projection of, whose weight it reads by itself.
NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear


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
        return self.name if self.mask is None else f"{self.name}_orig"

    @property
    def parameter(self) -> nn.Parameter:
        """The dense parameter itself, whether or not it is pruned."""
        found = self.module._parameters.get(self.stored)
        if found is None:
            flat = isinstance(self.module.__dict__.get(self.name), Tensor)
            other = f"it is a tensor of its own there, as pieces of FSDP's flat parameters are: {_GATHER}"
            reason = computed_by(self.module, self.name) or (other if flat else "it is missing or None")
            raise ValueError(f"Expected {self.path} to be a parameter of {type(self.module).__name__}; {reason}")
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

    def own(self) -> Tensor:
        """True where the target's own mask, without that of tied names, keeps a unit; shape of the parameter."""
        return torch.ones_like(self.parameter, dtype=torch.bool) if self.mask is None else self.mask != 0

    def present(self) -> Tensor:
        """True where a unit is still there, shape of the parameter."""
        mask = self.shared_mask
        return torch.ones_like(self.parameter, dtype=torch.bool) if mask is None else mask != 0

    def remaining(self, values: Tensor) -> Tensor:
        """Those of ``values`` (shape of the parameter) whose unit is still there, as a vector in torch's order."""
        flat, mask = values.detach().reshape(-1), self.shared_mask
        return flat if mask is None else flat[(mask != 0).reshape(-1).to(flat.device)]


def all_targets(model: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[Target, nn.Parameter]]:
    """Yield every parameter of every module, with the name it has when the model is neither pruned nor wrapped.

    ``weight_orig`` is the ``weight`` of a pruned module; where nothing was pruned, it is a parameter of that name.
    """
    named: dict[str, int] = {}
    for path, module in plain_modules(model, remove_duplicate=remove_duplicate):
        for stored, parameter in module._parameters.items():
            if parameter is not None:
                name = dense_name(module, stored)
                full = joined(path, name)
                if named.setdefault(full, id(module)) != id(module):
                    raise ValueError(f"two parameters are called {full}, a wrapper's own and one of what it wraps: rename one")
                yield Target(module, name, full), parameter


def dense_parameters(model: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield every parameter, or with ``remove_duplicate=False`` every name of each, by the plain name of :func:`all_targets`."""
    seen: set[int] = set()
    for target, parameter in all_targets(model, remove_duplicate=remove_duplicate):
        if not (remove_duplicate and id(parameter) in seen):
            seen.add(id(parameter))
            yield target.path, parameter


def computed_by(module: nn.Module, name: str) -> str | None:
    """What computes a weight from other parameters before every forward, and how to make it a parameter again; None if nothing.

    >>> computed_by(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "weight")[:50]
    'it is computed by a parametrization (_WeightNorm):'
    """
    if parametrize.is_parametrized(module, name):
        kinds = ", ".join(type(p).__name__ for p in cast(Any, module).parametrizations[name])
        undo = f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r})"
        return f"it is computed by a parametrization ({kinds}): {undo} makes it one"
    for hook in module._forward_pre_hooks.values():
        for kind, undo in ((WeightNorm, "remove_weight_norm"), (SpectralNorm, "remove_spectral_norm")):
            if isinstance(hook, kind) and hook.name == name:
                return f"it is computed by a {kind.__name__} hook: torch.nn.utils.{undo}(module, {name!r}) makes it one"
    return None


def check_values(values: Tensor, name: str) -> None:
    """Refuse a tensor that has no values of its own to rank and to zero, in a line that says what to do instead.

    >>> check_values(torch.empty(2, 2, device="meta"), "0.weight")
    Traceback (most recent call last):
    ...
    ValueError: Expected parameters with values to prune, got 0.weight on the meta device: load its weights first
    """
    if is_lazy(values):
        raise ValueError(f"{name} has no shape yet, its module is lazy: run one batch through the model first")
    kind = type(values).__name__
    if (sharded := loaded_class("torch.distributed.tensor", "DTensor")) is not None and isinstance(values, sharded):
        raise TypeError(f"{name} is a {kind}, a shard of a distributed weight: {_GATHER}")
    if values.layout != torch.strided or isinstance(values, SparseSemiStructuredTensor):
        form = kind if values.layout == torch.strided else str(values.layout)
        raise TypeError(f"{name} is sparse ({form}), and its zeros have no place in a mask: make it dense first, .to_dense()")
    if not values.is_floating_point() or is_traceable_wrapper_subclass(values) or values.dtype in _NO_ZERO:
        form = kind if is_traceable_wrapper_subclass(values) else str(values.dtype)
        raise TypeError(f"Expected {name} to be of a floating point type, got {form}: prune before quantising")
    if values.is_meta:
        raise ValueError(f"Expected parameters with values to prune, got {name} on the meta device: load its weights first")


def check_hooked(targets: Iterable[Target]) -> None:
    """Refuse 8-bit floats where the mask shall stay on the model: torch's hook multiplies by it."""
    for t in targets:
        if t.parameter.element_size() == 1:
            raise TypeError(
                f"torch's pruning hook cannot multiply {t.path} of {t.parameter.dtype} by a mask: use finalize=True, which "
                "prune_model, prune_n_m and prune_to_sparsity take"
            )


def check_target(target: Target, *, refreshed: bool = False) -> None:
    """Refuse a parameter that cannot be pruned, or whose mask would have no effect. ``refreshed``: what reads it masks it anew.

    ``nn.MultiheadAttention`` reads ``out_proj.weight`` without calling ``out_proj``: the pruning hook never runs, and the
    mask silently goes stale with the next optimiser step or loaded checkpoint.
    """
    if isinstance(target.module, NEVER_CALLED) and not refreshed:
        raise ValueError(
            f"{target.path} is the output projection of nn.MultiheadAttention, which never calls it: a pruning hook there "
            "would not run. Leave it out, or name it in prune_model(model, ..., params=...), which masks it where it is read"
        )
    parameter = target.parameter
    check_values(parameter, target.path)
    if target.name == "weight" and isinstance(target.module, (nn.Linear, *CONVOLUTIONS)) and parameter.dim() < 2:
        kind, shape = type(target.module).__name__, tuple(parameter.shape)
        raise ValueError(f"{target.path} of a {kind} has shape {shape}, as shards have: {_GATHER}")


def checked_pairs(parameters: Iterable[Parameter]) -> list[Parameter]:
    """A list of (module, name) pairs, whatever iterable they come in; what is none is refused.

    >>> checked_pairs(nn.Linear(2, 2).parameters())
    Traceback (most recent call last):
    ...
    TypeError: Expected `parameters` to be (module, name) pairs, got a Parameter at position 0, as model.parameters() gives: hand
    over the model, or prunable_parameters(model)
    """
    if isinstance(parameters, MethodType) and isinstance(parameters.__self__, nn.Module):
        raise TypeError(f"Expected `parameters` to be (module, name) pairs, got the method {parameters.__name__}: {_PAIRS}")
    if isinstance(parameters, Tensor | str) or not isinstance(parameters, Iterable):
        raise TypeError(f"Expected `parameters` to be (module, name) pairs, got {type(parameters).__name__}")
    found: list[Parameter] = []
    for position, pair in enumerate(parameters):
        if not is_pair(pair):
            _refuse_pair(pair, position)
        found.append((pair[0], pair[1]))
    return found


def is_pair(pair: object) -> TypeGuard[Parameter]:
    """Whether something is a module and a name in it."""
    return isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], nn.Module) and isinstance(pair[1], str)


def _refuse_pair(pair: object, position: int) -> NoReturn:
    """What a user meant by something that is no pair."""
    what, source = f"{pair!r:.60}", ""
    if isinstance(pair, Tensor):
        what, source = f"a {type(pair).__name__}", "parameters"
    elif isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], Tensor | nn.Module):
        what = f"{pair[0]!r} and a {type(pair[1]).__name__}"
        source = "named_parameters" if isinstance(pair[1], Tensor) else "named_modules"
    hint = f", as model.{source}() gives: {_PAIRS}" if source else ""
    raise TypeError(f"Expected `parameters` to be (module, name) pairs, got {what} at position {position}{hint}")


def without_ties(targets: Sequence[Target]) -> list[Target]:
    """The first target of every distinct parameter, so that tied weights count once."""
    found: dict[int, list[Target]] = {}
    for target in targets:
        found.setdefault(id(target.parameter), []).append(target)
    return [first if not others else replace(first, ties=tuple(others)) for first, *others in found.values()]
