"""What the units of a group weigh: L2 norms of their incoming weights and of a saliency over the same weights.

Vectors over units are short, so they are ranked on the CPU wherever the model is: one selection for every device, and for
models spread over several.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sics_plugin.channels.groups import BoundGroup
from sics_plugin.saliency.collection import Saliency
from sics_plugin.saliency.signals.relative import lamp
from sics_plugin.scorers.units import SaliencyVector


def row_norms(rows: Tensor, what: str = "the weights") -> Tensor:
    """L2 norm of every row, summed in float64; shape (n,), float32, or float64 for float64 rows, on the device of ``rows``.

    Rounding to float32 at the end gives every device the same norms: their sums differ in the last bits of float64 only.

    >>> row_norms(torch.tensor([[3.0, -4.0], [0.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    if not rows.is_floating_point():
        raise TypeError(f"Expected {what} to be of a floating point type, got {rows.dtype}")
    values = rows.detach()
    values = (values.cpu() if values.device.type == "mps" else values).double()  # Apple's GPUs have no float64
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        raise ValueError(f"Expected finite values in {what}, got {int((~finite).sum())} NaN or infinite of {values.numel()}")
    if rows.dtype != torch.float64:  # squares of anything narrower fit
        return values.square().sum(1).sqrt().float()
    largest = values.abs().max() if values.numel() else values.sum()
    exponent = torch.frexp(largest).exponent  # a power of two: scaling by it rounds nothing
    return torch.ldexp(torch.ldexp(values, -exponent).square().sum(1).sqrt(), exponent)


def unit_magnitudes(bound: BoundGroup) -> Tensor:
    """L2 norm of every unit's incoming weights that are still there (fc1 row, conv filter, v rows of a head); shape (size,), CPU.

    The bias and what reads the unit are not counted. Layers of different fan-in are not brought to one scale.
    """
    return _norms(bound, bound.targets[0].parameter)


def unit_saliencies(groups: Sequence[BoundGroup], saliency: Saliency, model: nn.Module) -> list[Tensor] | None:
    """What the units have of a saliency, one vector of shape (size,) a group, by the rule of its kind.

    None for the neighbourhood, which scorers take from the magnitudes of the units themselves.
    """
    if saliency.kind == "neighbourhood":
        return None
    rule = saliency.signal.per_unit
    if rule is None:
        raise ValueError(f"{saliency.kind} saliency is defined for single weights, not for {groups[0].group.unit}s")
    if rule == "own":
        return [saliency.of_group(bound.group).cpu() for bound in groups]
    if rule == "lamp":
        return [lamp(unit_magnitudes(bound), bound.present()) for bound in groups]
    # A copy of the model the saliency was collected on is matched by names.
    if not all(saliency.knows(bound.targets[0]) for bound in groups):
        saliency = saliency.bind(model)
    reduced = _norms if rule == "norm" else _sums
    return [reduced(bound, saliency._tensor(bound.targets[0])) for bound in groups]


def _rows(bound: BoundGroup, values: Tensor) -> Tensor:
    """What every unit has of values over its incoming weights, zero where they are gone; shape (size, entries)."""
    target, group = bound.targets[0], bound.group
    own = values.detach() if target.mask is None else values.detach() * target.present()
    return group.producer.rows(own, group.size)


def _sums(bound: BoundGroup, values: Tensor) -> Tensor:
    return _rows(bound, values.double()).sum(1).cpu()


def _norms(bound: BoundGroup, values: Tensor) -> Tensor:
    return row_norms(_rows(bound, values), bound.targets[0].path).cpu()


def pool_saliency(
    groups: Sequence[BoundGroup], present: Sequence[Tensor], saliency: Saliency | Tensor | None, model: nn.Module
) -> list[Tensor] | None:
    """The saliency of the units still there, one vector a group; None where the default is asked for."""
    if saliency is None:
        return None
    if isinstance(saliency, Saliency):
        vectors = unit_saliencies(groups, saliency, model)
        if vectors is None:
            return None
        return [SaliencyVector(v[p], kind=saliency.kind) for v, p in zip(vectors, present, strict=True)]
    if not isinstance(saliency, Tensor):
        raise TypeError(f"Expected `saliency` to be a Saliency or a tensor, got {type(saliency).__name__}")
    sizes = [int(p.sum()) for p in present]
    if saliency.numel() != sum(sizes):
        raise ValueError(
            f"Expected `saliency` of length {sum(sizes)}, one value per unit that is still there, got {saliency.numel()}: "
            "pass the Saliency itself, or a vector from channel_saliency"
        )
    parts = saliency.detach().as_subclass(Tensor).reshape(-1).cpu().split(sizes)
    return [SaliencyVector(p, kind=saliency.kind) if isinstance(saliency, SaliencyVector) else p for p in parts]
