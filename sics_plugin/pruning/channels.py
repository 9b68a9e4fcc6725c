"""Pruning channels and attention heads: masks for all that goes with a unit, put on in torch's own form.

A hidden channel of an MLP is its fc1 row, its bias and its fc2 column; a filter of a ResNet block takes the weight and bias of
the batch norm behind it and the columns of the next convolution along; a head is its v rows, v bias and proj columns. With
all of them masked a removed unit contributes exactly nothing (no GELU of a bias, no shift of a norm), so the masked
model computes what :func:`~sics_plugin.shrink` makes of it.

>>> from sics_plugin import channel_group
>>> mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
>>> report = prune_channels(mlp, "magnitude", 0.5, groups=[channel_group(mlp, "0", "2")])
>>> report.pruned, [(p.name, p.pruned) for p in report.parameters]
(8, [('0.weight', 64), ('0.bias', 8), ('2.weight', 32)])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.channels.dataflow import unproven
from sics_plugin.channels.discovery import find_groups
from sics_plugin.channels.groups import BoundGroup, ChannelGroup, Unit, bind_groups, remember_groups
from sics_plugin.channels.removal import check_removal
from sics_plugin.channels.shrink import cut_units
from sics_plugin.channels.unit_masks import install_units, masks_of, unit_masks
from sics_plugin.network.callers import refresh_where_read
from sics_plugin.network.masks import current_masks, mask_hash
from sics_plugin.network.prunable import coverage
from sics_plugin.pruning.calibrating.calibration import Prune
from sics_plugin.pruning.calibrating.options import adaptive_options
from sics_plugin.pruning.choose import Choice, decide
from sics_plugin.pruning.inputs import floors_of, join
from sics_plugin.pruning.layer_ranks import for_pool
from sics_plugin.pruning.plan import Method, Pool, scorer_of, warn_vanished
from sics_plugin.pruning.report import ChannelReport, LayerSparsity, count_weights, unit_sparsities
from sics_plugin.pruning.unit_norms import pool_saliency, unit_magnitudes
from sics_plugin.saliency.collection import Saliency, saliency_for
from sics_plugin.scorers.units import SaliencyVector, units_of
from sics_plugin.selection.lowest import check_sparsity, warn_of_percent
from sics_plugin.selection.pools import check_amount_for, erk_removals, n_of_m, pools_of
from sics_plugin.warn import warn_caller

#: Every unit of a layer has the same saliency: a scorer can move whole layers, and nothing inside one.
SALIENCY_CONSTANT = "saliency constant within every layer"


def _prune() -> Prune:
    return prune_channels


@adaptive_options(_prune)
def compute_channel_masks(
    model: nn.Module,
    method: Method,
    amount: float | int,
    *,
    unit: Unit = "channel",
    saliency: Saliency | Tensor | None = None,
    pool: Pool = "global",
    min_keep: float | int = 0,
    sparsity: float | None = None,
    groups: Iterable[ChannelGroup] | None = None,
    example: object = None,
    **parameters: Any,
) -> tuple[dict[str, Tensor], ChannelReport]:
    """Masks that remove whole channels or heads, without touching the model.

    Parameters
    ----------
    model : nn.Module
        May carry masks already, of any kind; units with nothing left are not ranked again.
    method : str, Scorer, SICSMethod or SICSStructured subclass
        A registered scorer's name, an instance, or the pruning method of one.
    amount : float or int
        Fraction of the units still there that goes (in every layer for ``pool="layer"``), or their number; round(amount·n).
    unit : {"channel", "head"}
    saliency : Saliency or Tensor, optional
        Collected for this model (or, matched by names, for one it was copied from), or one value per unit still there, as
        :func:`channel_saliency` builds it.
    pool : {"global", "layer", "layer-rank", "erk"}
        What is ranked against each other: all units of the model, or those of one layer, the same fraction of each; for
        "layer-rank" with one cut through the scores of all layers (:mod:`sics_plugin.pruning.layer_ranks`), for "erk" with
        fractions by the shapes of their incoming weights.
    min_keep : float or int
        Fraction or number of its units every layer keeps, whatever their scores.
    sparsity : float, optional
        Absolute target, for features that depend on it, when this is a later step towards it.
    groups : iterable of ChannelGroup, optional
        Instead of :func:`find_groups`: a choice among them, or those of an architecture it does not know.
    example : Tensor, tuple or mapping, optional
        An input as the model takes it: the one argument, all of them, or those with names. A copy of the model with the removed
        units taken out is then run on it beside the masked one, and a group for which they differ is refused.
    **parameters
        The scorer's own (``alpha``, ``seed``; for "adaptive" ``table``, or ``calibrate``, :class:`~sics_plugin.Trials`
        or a :class:`~sics_plugin.Calibration`).

    Returns
    -------
    masks : dict of str to Tensor
        Parameter name → bool in its shape, True where kept, for every parameter of the groups; earlier masks included.
        Ready for :func:`~sics_plugin.masked`.
    report : ChannelReport

    Raises
    ------
    TypeError, ValueError
        Unknown architecture, tied weights, options out of range, a saliency of another length, values that are not finite, a
        group that ``example`` shows to be wrong.

    Notes
    -----
    A unit's magnitude is the L2 norm of its incoming weights (fc1 row, conv filter, v rows), its saliency the root of the sum
    of squares of the elementwise saliency over the same weights; biases and what reads the unit are not counted. In a global
    pool, norms of layers with different fan-in are compared as they are: a filter over more inputs has a larger norm
    for entries of the same size, and is kept. Under Kaiming's fan-out initialisation a filter's norm is about
    √(2·inputs/outputs), so the first convolution of a ResNet stage, where the width doubles, goes first and may go entirely:
    ``pool="layer"`` or ``min_keep`` prevent it. In a ViT all fc1 rows have the same fan-in.
    Activation saliency is the same for every unit of a layer, because all read the same input; the report flags it.

    Examples
    --------
    >>> from timm.models.vision_transformer import VisionTransformer
    >>> vit = VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=4, num_classes=3)
    >>> masks, report = compute_channel_masks(vit, "magnitude", 0.5)
    >>> report.unit, report.total, report.pruned, round(report.weight_sparsity, 3), sorted(masks)[:2]
    ('channel', 128, 64, 0.333, ['blocks.0.mlp.fc1.bias', 'blocks.0.mlp.fc1.weight'])
    """
    bound = bind_groups(model, find_groups(model, unit) if groups is None else groups)
    if (found := bound[0].group.unit) != unit:
        raise ValueError(f"Expected `groups` of unit {unit!r}, got {found!r}")
    method_name, scorer = scorer_of(method, parameters, structured=True)
    check_sparsity(sparsity)
    if pool == "row" or n_of_m(pool) is not None:
        raise ValueError(
            f"Expected `pool` to be 'global', 'layer', 'layer-rank' or 'erk' for {unit}s, got {pool!r}: a {unit} has rows of "
            "its own"
        )
    pools = pools_of(len(bound), pool)
    check_amount_for(pool, amount)
    if unit not in scorer.units:
        raise ValueError(f"scorer {scorer.name!r} is defined for {', '.join(scorer.units)}s, not for {unit}s")
    saliency = saliency_for(scorer.requires, saliency)
    floors = floors_of([group.group.size for group in bound], min_keep)
    present = [group.present() for group in bound]
    magnitudes = [unit_magnitudes(group)[alive] for group, alive in zip(bound, present, strict=True)]
    vectors = pool_saliency(bound, present, saliency, model)

    counts = [m.numel() for m in magnitudes]
    if sparsity is None:
        warn_of_percent(amount, sum(counts), unit)
    shares: Sequence[float | int] = [amount] * len(bound)
    if pool == "erk":
        shapes = [_incoming_shape(group) for group in bound]
        shares = erk_removals(shapes, amount, sizes=[group.group.size for group in bound], present=counts)
    removed: dict[int, Tensor] = {}
    choices: list[Choice] = []
    for indices in pools:
        sizes = [counts[i] for i in indices]
        if sum(sizes) == 0:
            continue
        together = None if vectors is None else join([vectors[i] for i in indices])
        units = units_of(torch.cat([magnitudes[i] for i in indices]), together)
        own, share = for_pool(scorer, len(choices)), shares[indices[0]]
        choice = decide(
            own,
            units,
            share,
            sparsity=sparsity,
            sizes=sizes,
            floors=[floors[i] for i in indices],
            layer_ranks=pool == "layer-rank",
        )
        choices.append(choice)
        removed.update(zip(indices, choice.removed.split(sizes), strict=True))
    if not choices:
        raise ValueError("Expected at least one unit to rank, got none: everything is pruned already")

    masks = masks_of(bound, present, removed)
    layers = unit_sparsities(bound, present, removed)
    if example is not None:
        _check_example(model, bound, masks, example)
    remarks = saliency.flags if isinstance(saliency, Saliency) else ()
    constant = (SALIENCY_CONSTANT,) if vectors is not None and _constant_within(vectors) else ()
    weight_total, weight_pruned = count_weights(model, bound, masks)
    return masks, ChannelReport.of(
        choices,
        layers,
        amount=amount,
        flags=(*remarks, *constant, *warn_vanished(layers, unit)),
        method=method_name,
        unit=unit,
        pool=pool,
        mask_hash=mask_hash(masks),
        parameters=LayerSparsity.of_masks(masks),
        weight_total=weight_total,
        coverage=coverage(model, [(t.module, t.name) for b in bound for t in b.targets if t.parameter.dim() > 1]),
        weight_pruned=weight_pruned,
    )


@adaptive_options(_prune)
def prune_channels(
    model: nn.Module,
    method: Method,
    amount: float | int,
    *,
    unit: Unit = "channel",
    saliency: Saliency | Tensor | None = None,
    pool: Pool = "global",
    min_keep: float | int = 0,
    sparsity: float | None = None,
    groups: Iterable[ChannelGroup] | None = None,
    example: object = None,
    **parameters: Any,
) -> ChannelReport:
    """Prune whole channels or heads of a model in place; all masks are made before the first is put on.

    Leaves torch's own hooks and buffers on every parameter of the groups. Parameters are those of
    :func:`compute_channel_masks`. Follow with :func:`~sics_plugin.shrink` for a smaller model: ``groups`` that were given are
    remembered by the model, its copies and its file (as data, beside the state dict), until its masks are made permanent.

    Examples
    --------
    >>> from timm.models.vision_transformer import VisionTransformer
    >>> vit = VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=4, num_classes=3)
    >>> report = prune_channels(vit, "magnitude", 0.25, unit="head")
    >>> report.pruned, report.total
    (2, 8)
    """
    chosen = list(find_groups(model, unit) if groups is None else groups)
    given: dict[str, Any] = {"saliency": saliency, "pool": pool, "min_keep": min_keep, "sparsity": sparsity, **parameters}
    masks, report = compute_channel_masks(model, method, amount, unit=unit, groups=chosen, example=example, **given)
    if groups is not None and example is None and (names := unproven(model, chosen)):
        some = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
        warn_caller(
            f"channels of {some} could not be followed to what reads them; "
            "pass `example=`, an input of the model, to check that the groups are right"
        )
    install_units(bind_groups(model, chosen), masks)
    refresh_where_read(model)
    if groups is not None:
        remember_groups(model, chosen)
    return report


def _check_example(model: nn.Module, bound: Sequence[BoundGroup], masks: Mapping[str, Tensor], example: object) -> None:
    groups = [group.group for group in bound]
    kept = unit_masks(masks, groups)
    smaller = [group for group in groups if not bool(kept[group.name].all())]
    if smaller:
        check_removal(model, smaller, kept, {**current_masks(model), **masks}, example, cut_units)


def channel_saliency(
    model: nn.Module, saliency: Saliency, *, unit: Unit = "channel", groups: Iterable[ChannelGroup] | None = None
) -> SaliencyVector:
    """One value per unit still there: root of the sum of squares of a saliency over the unit's incoming weights.

    In the order :func:`compute_channel_masks` ranks units in.

    Returns
    -------
    SaliencyVector, shape (n,)

    Raises
    ------
    ValueError
        For the neighbourhood, which has no values of its own: leave ``saliency`` out instead.
    """
    bound = bind_groups(model, find_groups(model, unit) if groups is None else groups)
    vectors = pool_saliency(bound, [group.present() for group in bound], saliency, model)
    if vectors is None:
        raise ValueError("Expected a saliency with values of its own, got the neighbourhood: that is what no `saliency` means")
    return SaliencyVector(join(vectors), kind=saliency.kind)


def _incoming_shape(bound: BoundGroup) -> tuple[int, ...]:
    """Shape of the incoming weights of a group's units, without those that belong to others (q and k rows)."""
    own = bound.group.producer
    outputs, inputs, *kernel = bound.targets[0].parameter.movedim(own.dim, 0).shape
    del outputs
    return (bound.group.size * own.width, inputs, *kernel)


def _constant_within(vectors: Sequence[Tensor]) -> bool:
    several = [v for v in vectors if v.numel() > 1]
    return bool(several) and all(float(v.max() - v.min()) <= 1e-6 * float(v.abs().max()) for v in several)
