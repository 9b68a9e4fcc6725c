"""Which parameters are pruned, under which names, and the ones that cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sics_plugin.warn import warn_caller

#: A parameter as torch's prune functions take it.
Parameter = tuple[nn.Module, str]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
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


def check_target(target: Target) -> None:
    """Refuse a parameter whose mask would have no effect.

    ``nn.MultiheadAttention`` reads ``out_proj.weight`` without calling ``out_proj``: the pruning hook never runs, and the
    mask silently goes stale with the next optimiser step or loaded checkpoint.
    """
    if isinstance(target.module, _NEVER_CALLED):
        raise ValueError(
            f"{target.path} is the output projection of nn.MultiheadAttention, which never calls it: a pruning hook there "
            "would not run. Leave it out, or use an attention module that calls its projections (timm's do)"
        )
    parameter = target.parameter
    if not parameter.is_floating_point():
        raise TypeError(f"Expected {target.path} to be of a floating point type, got {parameter.dtype}")


def _head_modules(model: nn.Module) -> list[nn.Module]:
    """The classifier: what the model says it is (timm), else its last ``nn.Linear``."""
    getter = getattr(model, "get_classifier", None)
    if callable(getter):
        found = getter()
        heads = list(found) if isinstance(found, tuple | list) else [found]
        parts = [part for head in heads if isinstance(head, nn.Module) for part in head.modules()]
        if parts:  # an Identity where the head was taken off: then there is no head
            return parts
    linears: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return linears[-1:]


def prunable_parameters(model: nn.Module) -> list[Parameter]:
    """The weights pruned by default: every ``nn.Linear`` and convolution but the head and a patch embedding.

    Norms, biases and embeddings stay. The head is ``model.get_classifier()`` where there is one (timm), else the last
    ``nn.Linear``; a model whose only weight is that one has it pruned. The patch embedding is a first convolution whose
    stride equals its kernel.

    Returns
    -------
    list of (module, "weight")
        In the order of ``model.named_modules()``, ready for ``prune.global_unstructured``.

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> prunable_parameters(mlp)
    [(Linear(in_features=8, out_features=16, bias=True), 'weight')]
    """
    kinds = (nn.Linear, *CONVOLUTIONS)
    candidates = [(path, module) for path, module in model.named_modules() if isinstance(module, kinds)]
    never_called = [f"{path}.weight" for path, module in candidates if isinstance(module, _NEVER_CALLED)]
    if never_called:
        warn_caller(
            f"left out: {', '.join(never_called)} (nn.MultiheadAttention never calls its output projection, so a pruning "
            "hook there would not run)"
        )
    convolutions = [module for _, module in candidates if isinstance(module, CONVOLUTIONS)]
    left_out = {id(module) for module in _head_modules(model)}
    left_out |= {id(conv) for conv in convolutions[:1] if conv.kernel_size == conv.stride and max(conv.kernel_size) > 1}
    usable = [module for _, module in candidates if not isinstance(module, _NEVER_CALLED)]
    chosen = [module for module in usable if id(module) not in left_out] or usable
    return [(module, "weight") for module in chosen]


def resolve_targets(parameters: nn.Module | Iterable[Parameter]) -> list[Target]:
    """Checked targets with names, in the order given; a model stands for its :func:`prunable_parameters`.

    Parameters that are one tensor under several names (tied weights) are all returned; see :func:`without_ties`. Without a
    model to name them, the first pair is called ``[0].weight``.
    """
    paths: dict[int, str] | None = None
    if isinstance(parameters, nn.Module):
        paths = {id(module): plain_name(path) for path, module in parameters.named_modules()}
        parameters = prunable_parameters(parameters)
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(f"Expected `parameters` to be (module, name) pairs, got {type(parameters).__name__}")
    targets: list[Target] = []
    seen: set[tuple[int, str]] = set()
    for position, pair in enumerate(parameters):
        ordered = isinstance(pair, Sequence) and len(pair) == 2
        if not (ordered and isinstance(pair[0], nn.Module) and isinstance(pair[1], str)):
            raise TypeError(f"Expected `parameters` to be (module, name) pairs, got {pair!r:.60} at position {position}")
        module, name = pair
        if (id(module), name) in seen:
            raise ValueError(f"{type(module).__name__}.{name} is listed twice in `parameters`, again at position {position}")
        seen.add((id(module), name))
        path = f"[{position}]" if paths is None else paths[id(module)]
        target = Target(module, name, f"{path}.{name}" if path else name)
        check_target(target)
        targets.append(target)
    if not targets:
        raise ValueError("Expected at least one (module, name) pair in `parameters`, got none")
    return targets


def without_ties(targets: Sequence[Target]) -> list[Target]:
    """The first target of every distinct parameter, so that tied weights count once."""
    found: dict[int, list[Target]] = {}
    for target in targets:
        found.setdefault(id(target.parameter), []).append(target)
    return [first if not others else replace(first, ties=tuple(others)) for first, *others in found.values()]


def divisible(parameters: Sequence[Parameter], m: int) -> tuple[list[Parameter], list[Parameter]]:
    """Those whose rows (for convolutions, input channels) ``m`` divides, so that an N:M mask exists; and the others.

    >>> stem, body = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
    >>> [[type(module).__name__ for module, _ in some] for some in divisible([(stem, "weight"), (body, "weight")], 4)]
    [['Linear'], ['Conv2d']]
    """
    fits = [getattr(module, name).dim() > 1 and getattr(module, name).shape[1] % m == 0 for module, name in parameters]
    one, other = ([pair for pair, fit in zip(parameters, fits, strict=True) if fit is wanted] for wanted in (True, False))
    return one, other
