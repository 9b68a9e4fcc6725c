"""Vectors over several parameters: what stands for their weights, their saliency, their floors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from sics_plugin.network.targets import Parameter, Target
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers.units import SaliencyVector, kind_of
from sics_plugin.selection.parts import Part

Scores = Mapping[Parameter, Tensor]
Vector = Callable[[], Tensor]


def parts_of(
    targets: Sequence[Target], scores: Scores | None, listed: Sequence[Target], saliencies: Sequence[Vector] | None
) -> list[Part]:
    """What stands for the weights of every target, as it is: nothing is copied or joined."""
    check_scores(targets, scores, listed)
    values = [t.parameter if scores is None else scores[(t.module, t.name)] for t in targets]
    signals = [None] * len(values) if saliencies is None else saliencies
    return [Part(v, t.shared_mask, s) for v, t, s in zip(values, targets, signals, strict=True)]


def remaining_values(targets: Sequence[Target], scores: Scores | None, listed: Sequence[Target]) -> list[Tensor]:
    """What stands for the weights still there, one vector a target.

    torch takes a score of the right size and another shape, and falls back to the weights where one is missing.
    """
    check_scores(targets, scores, listed)
    return [t.remaining(t.parameter if scores is None else scores[(t.module, t.name)]) for t in targets]


def check_scores(targets: Sequence[Target], scores: Scores | None, listed: Sequence[Target]) -> None:
    """Refuse ``importance_scores`` that are not one for every parameter, in its shape."""
    if scores is None:
        return
    known = {(id(t.module), t.name) for t in listed}
    if unknown := [name for module, name in scores if (id(module), name) not in known]:
        raise ValueError(f"`importance_scores` has an entry for a parameter that is not pruned: {unknown[0]}")
    for t in targets:
        found, shape = scores.get((t.module, t.name)), tuple(t.parameter.shape)
        if found is None:
            raise ValueError(f"Expected `importance_scores` for every parameter, got none for {t.path}")
        if found.shape != t.parameter.shape:
            raise ValueError(f"Expected `importance_scores` of shape {shape} for {t.path}, got {tuple(found.shape)}")


def lazy_saliencies(
    saliency: Saliency | Tensor | None, listed: Sequence[Target], targets: Sequence[Target], model: nn.Module | None
) -> tuple[list[Vector] | None, str | None]:
    """The saliency of what is left, a vector for every distinct target when it is asked for, and its kind; None for the default.

    ``listed`` may name tied weights twice, as torch would hand them over; ``targets`` are the distinct ones.
    """
    if saliency is None or (isinstance(saliency, Saliency) and saliency.kind == "neighbourhood"):
        return None, None
    if isinstance(saliency, Saliency):
        # A copy of the model the saliency was collected on is matched by names.
        known = model is None or all(saliency.knows(t) for t in targets)
        bound = saliency if known or model is None else saliency.bind(model)
        for t in targets:
            bound.check(t)
        return [partial(bound.remaining, t) for t in targets], saliency.kind
    if not isinstance(saliency, Tensor):
        raise TypeError(f"Expected `saliency` to be a Saliency or a tensor, got {type(saliency).__name__}")
    sizes = {(id(t.module), t.name): _left(t) for t in listed}
    distinct = [_left(t) for t in targets]
    if saliency.numel() == sum(distinct):
        vectors = _split(saliency, distinct)
    elif saliency.numel() == sum(sizes.values()):
        parts = dict(zip(sizes, _split(saliency, list(sizes.values())), strict=True))
        vectors = [_of_shared_mask(t, parts[id(t.module), t.name]) for t in targets]
    else:
        raise ValueError(
            f"Expected `saliency` of length {sum(distinct)}, one value per unit that is still there, got {saliency.numel()}: "
            "build it with Saliency.vector(params) from the same parameters in the same order"
        )
    return [lambda v=v: v for v in vectors], kind_of(saliency)  # type: ignore[misc]


def _of_shared_mask(target: Target, own: Tensor) -> Tensor:
    """A vector over the units under the target's own mask, cut down to those no tied name has lost."""
    present, alone = target.present().reshape(-1), replace(target, ties=()).present().reshape(-1)
    left = own.as_subclass(Tensor)[present[alone].to(own.device)]
    return SaliencyVector(left, kind=own.kind) if isinstance(own, SaliencyVector) else left


def _left(target: Target) -> int:
    """Units that are still there."""
    mask = target.shared_mask
    return target.parameter.numel() if mask is None else int(torch.count_nonzero(mask))


def _split(vector: Tensor, sizes: list[int]) -> list[Tensor]:
    parts = vector.detach().as_subclass(Tensor).reshape(-1).split(sizes)
    return [SaliencyVector(p, kind=vector.kind) if isinstance(vector, SaliencyVector) else p for p in parts]


def join(parts: Sequence[Tensor]) -> Tensor:
    """Vectors end to end, keeping the kind of a :class:`~sics_plugin.SaliencyVector`."""
    together = torch.cat([p.as_subclass(Tensor) for p in parts])
    first = parts[0]
    return SaliencyVector(together, kind=first.kind) if isinstance(first, SaliencyVector) else together


def floors_of(sizes: Sequence[int], min_keep: float | int) -> list[int]:
    """How many units every layer of these sizes keeps at least, from a fraction of all of its units or their number."""
    number = isinstance(min_keep, Real) and not isinstance(min_keep, bool)
    whole = isinstance(min_keep, Integral)
    if not number or not min_keep >= 0 or not (whole or min_keep <= 1):  # NaN fails every comparison
        raise ValueError(f"Expected `min_keep` to be a fraction in [0, 1] or a whole number, got {min_keep!r}")
    return [int(min_keep) if whole else math.ceil(min_keep * size - 1e-9) for size in sizes]
