"""Whether groups are right: with units masked, a model must compute what it computes with them taken out.

Compared on one input, on a copy in double precision whose weights and statistics are slightly moved, so that no zero of an
initialisation (a bias, the last norm of a residual branch) hides that a group forgets or confuses something.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from sics_plugin.channels.groups import ChannelGroup
from sics_plugin.network.masks import Masks, clone_pruned, masked
from sics_plugin.network.permanent import finalize

Cut = Callable[[nn.Module, Sequence[ChannelGroup], Mapping[str, Tensor]], None]
#: Of what taking the units out changes, so much may differ by rounding: networks that compute in float32 whatever they are given.
_ROUNDING = 1e-3
_SMALLEST = 1e-6


def check_removal(
    model: nn.Module, groups: Sequence[ChannelGroup], kept: Mapping[str, Tensor], masks: Masks, example: object, cut: Cut
) -> None:
    """Refuse groups whose masked units are not what is taken out; the model is unchanged.

    Parameters
    ----------
    model : nn.Module
        Masked or not.
    groups : sequence of ChannelGroup
        Those that lose units.
    kept : mapping of str to Tensor
        Group name → bool over its units.
    masks : mapping of str to Tensor
        Every mask the model has, or is about to have.
    example : Tensor, tuple or mapping
        An input as the model takes it.
    cut : callable(model, groups, kept)
        Takes units out of a model in place.
    """
    twin = _moved(finalize(clone_pruned(model)).eval())
    given = _as_inputs(example, twin)
    try:
        dense = _run(twin, *given)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError, KeyError, AttributeError) as error:
        raise ValueError(f"`example` does not run through the {type(model).__name__}: {_line(error)}") from None
    _check_comparable(dense, model)
    with masked(twin, masks):
        fault = _difference(twin, groups, kept, given, dense, cut)
    if fault is None:
        return
    for group in groups if len(groups) > 1 else ():
        alone = {part.name: _without(group, kept[group.name], part.name, masks[part.name]) for part in group.masked}
        with masked(twin, alone):
            found = _difference(twin, [group], kept, given, dense, cut)
        if found is not None:
            raise ValueError(_told(group.name, found))
    raise ValueError(_told(", ".join(group.name for group in groups), fault))


def _check_comparable(outputs: list[Tensor], model: nn.Module) -> None:
    """Outputs that would let any group through, or none, are the example's fault and not the groups'."""
    kind = type(model).__name__
    if not any(t.numel() for t in outputs):
        raise ValueError(f"Expected the {kind} to give tensors with numbers to compare on `example`, got none")
    if not all(bool(t.isfinite().all()) for t in outputs):
        raise ValueError(f"Expected the {kind} to give finite outputs to compare on `example`, got inf or nan")


def _told(name: str, fault: str) -> str:
    return (
        f"the group {name} is wrong for this model: {fault}. Something between its layers mixes or reorders channels or is not "
        "named in the group, or something else reads them"
    )


def _without(group: ChannelGroup, kept: Tensor, name: str, mask: Tensor) -> Tensor:
    """The mask of one parameter if no other group loses units."""
    alone = torch.ones_like(mask, dtype=torch.bool)
    for part in group.masked:
        if part.name == name:
            alone.index_fill_(part.dim, part.indices(~kept.to(mask.device)), False)
    return alone


def _difference(
    twin: nn.Module,
    groups: Sequence[ChannelGroup],
    kept: Mapping[str, Tensor],
    given: tuple[tuple[object, ...], dict[str, object]],
    dense: list[Tensor],
    cut: Cut,
) -> str | None:
    """In which way the model with the units taken out departs from the masked one, or None."""
    expected = _run(twin, *given)
    _check_comparable(expected, twin)
    small = copy.deepcopy(twin)
    cut(small, groups, kept)
    try:
        found = _run(small, *given)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
        return f"without the removed {groups[0].unit}s it does not run ({_line(error)})"
    shapes = [tuple(t.shape) for t in expected], [tuple(t.shape) for t in found]
    if shapes[0] != shapes[1]:
        return f"without the removed {groups[0].unit}s its outputs have other shapes, {shapes[1]} instead of {shapes[0]}"
    for was, masks_it, cut_it in zip(dense, expected, found, strict=True):
        if not masks_it.numel():
            continue
        effect, size = float((masks_it - was).abs().max()), float(masks_it.abs().max())
        away = float((cut_it - masks_it).abs().max())
        if not away <= _ROUNDING * effect + _SMALLEST * size:
            return f"with the removed {groups[0].unit}s taken out its outputs are off by {away:.3g}, of up to {size:.3g}"
    return None


def _moved(model: nn.Module) -> nn.Module:
    """The model in double precision, everything in it a little elsewhere; variances stay positive."""
    if all(t.device.type != "mps" for t in model.parameters()):
        model.double()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not tensor.is_meta and tensor.numel():
            generator = torch.Generator().manual_seed(tensor.numel())
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
            with torch.no_grad():
                if name.endswith("running_var"):
                    tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=generator).to(tensor))
                elif isinstance(tensor, nn.Parameter) or name.endswith("running_mean"):
                    scale = float(tensor.float().square().mean().sqrt()) or 0.1
                    tensor.add_(noise, alpha=0.1 * scale)
    return model


def _as_inputs(example: object, model: nn.Module) -> tuple[tuple[object, ...], dict[str, object]]:
    """Positional and named arguments, where the model is and in its precision."""
    like = next((p for p in model.parameters()), None)

    def fitting(value: object) -> object:
        if isinstance(value, Tensor) and like is not None:
            return value.detach().to(like) if value.is_floating_point() else value.detach().to(like.device)
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return type(value)(fitting(v) for v in value)
        return {k: fitting(v) for k, v in value.items()} if isinstance(value, dict) else value

    if isinstance(example, Mapping):
        return (), {str(name): fitting(value) for name, value in example.items()}
    if isinstance(example, tuple):
        return tuple(fitting(value) for value in example), {}
    if not isinstance(example, Tensor):
        raise TypeError(f"Expected `example` to be a tensor, a tuple or a mapping of arguments, got {type(example).__name__}")
    return (fitting(example),), {}


def _run(model: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> list[Tensor]:
    """The floating-point tensors that a model gives, the same random numbers at hand each time."""
    cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # else forking would begin to use them
    with torch.no_grad(), torch.random.fork_rng(devices=cards):
        torch.manual_seed(0)
        return list(_tensors(model(*args, **kwargs)))


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)


def _line(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:160]
