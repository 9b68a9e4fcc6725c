"""Pruning to a sparsity, whatever is zero already: zeros without a mask count as pruned, and only the rest is ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from sics_plugin.network.masks import mask_hash, put_mask
from sics_plugin.network.permanent import put_zeros
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import Parameter, Target, checked_pairs, without_ties
from sics_plugin.pruning.choose import Choice
from sics_plugin.pruning.inputs import join, lazy_saliencies
from sics_plugin.pruning.plan import Method, Params, Plan, layer_sparsities
from sics_plugin.pruning.report import PruningReport
from sics_plugin.pruning.weights import prune_model
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers.units import SaliencyVector
from sics_plugin.selection.fetch import sum_of
from sics_plugin.selection.lowest import check_sparsity
from sics_plugin.selection.parts import count_kept
from sics_plugin.selection.pools import BY_NUMBER
from sics_plugin.selection.zeros import count_zeros, is_zero


def prune_to_sparsity(
    model: nn.Module | Iterable[Parameter],
    method: Method,
    sparsity: float,
    *,
    saliency: Saliency | Tensor | None = None,
    min_keep: float | int = 0,
    finalize: bool = False,
    params: Params | None = None,
    **parameters: Any,
) -> PruningReport:
    """Prune until a fraction ``sparsity`` of all weights is zero, whatever was pruned before.

    torch's fractional amounts compound: 0.7 and then 0.5 leave 15 %. This one does not. What is zero already counts as pruned,
    with a mask or without one (a model that was finalized, or pruned by somebody else): it is part of the masks, and only the
    rest is ranked.

    Raises
    ------
    ValueError
        If more than that is already zero.

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> [round(prune_to_sparsity(mlp, "magnitude", s).sparsity, 2) for s in (0.5, 0.7)]
    [0.5, 0.7]
    """
    if sparsity is None:
        raise TypeError("Expected `sparsity` to be a fraction in [0, 1], got None")
    check_sparsity(sparsity)
    if (pool := parameters.get("pool", "global")) not in BY_NUMBER:
        raise ValueError(
            f"Expected `pool` to be 'global', 'layer-rank' or 'erk' for a sparsity of the whole, got {pool!r}: prune_model takes "
            "the others, with an `amount` of each layer, row or group"
        )
    if isinstance(params, Iterable) and not isinstance(params, str):
        params = list(params)  # gone through more than once
    pairs = model if isinstance(model, nn.Module) else checked_pairs(model)
    listed = resolve_targets(pairs, params)
    targets = without_ties(listed)
    total = sum(t.parameter.numel() for t in targets)
    left = sum(t.parameter.numel() if t.shared_mask is None else count_kept(t.present()) for t in targets)
    zeros = sum_of([count_zeros(t.parameter, None if t.shared_mask is None else t.present()) for t in targets])
    missing = round(sparsity * total) - (total - left + zeros)
    if missing < 0:
        unmasked = f" ({zeros:,} zeros without a mask included)" if zeros else ""
        least = 1 - (left - zeros) / total
        raise ValueError(f"Expected `sparsity` of at least {least:.4g}, what is already pruned{unmasked}, got {sparsity}")
    given: dict[str, Any] = {"min_keep": min_keep, "finalize": finalize, "params": params, **parameters}
    if not zeros:
        return _prune_the_rest(pairs, method, missing, sparsity, left == 0, saliency=saliency, **given)
    if isinstance(saliency, Tensor):
        saliency = _without_zeros(saliency, listed, targets)
    with _zeros_masked(listed):
        report = _prune_the_rest(pairs, method, missing, sparsity, left == zeros, saliency=saliency, **given)
    return replace(report, amount=missing + zeros)  # so many were there, by the masks, before this call


def _prune_the_rest(
    pairs: nn.Module | list[Parameter],
    method: Method,
    missing: int,
    sparsity: float,
    nothing_left: bool,
    *,
    saliency: Saliency | Tensor | None,
    finalize: bool,
    params: Params | None,
    **parameters: Any,
) -> PruningReport:
    """Take ``missing`` of what masks leave, on the way to a sparsity."""
    if missing == 0 and nothing_left:  # nothing is left to rank: masks stay as they are, or are made permanent
        own = {name: value for name, value in parameters.items() if name not in ("min_keep", "exact", "pool", "calibrate")}
        plan = Plan(pairs, method, 0, saliency, "global", 0, sparsity, None, True, own, params)
        plan.choices.append(Choice(iter(()), None, plan.scorer.resolve(sparsity, None), None, None, ()))
        masks = {t.path: t.present() for t in plan.targets}
        named = plan.by_name(masks)
        report = plan.report(layer_sparsities(plan.targets, masks), mask_hash(named))
        if finalize:
            put_zeros(plan.root, plan.listed, [partial(named.__getitem__, t.path) for t in plan.listed])
        return report
    given: dict[str, Any] = {"saliency": saliency, "finalize": finalize, "params": params, **parameters}
    return prune_model(pairs, method, amount=missing, sparsity=sparsity, **given)


@contextmanager
def _zeros_masked(listed: Sequence[Target]) -> Iterator[None]:
    """Masks of the zeros that are there, on the targets; if the prune inside fails all is as it was, bits and order."""
    modules = {id(t.module): t.module for t in listed}.values()
    held: list[dict[Any, Any]] = [d for m in modules for d in (m._parameters, m._buffers, m._forward_pre_hooks, m.__dict__)]
    before = [(now, dict(now)) for now in held]
    kept = [t.present() & ~is_zero(t.parameter) for t in listed]
    try:
        for target, mask in zip(listed, kept, strict=True):
            put_mask(target, mask)
        yield
    except BaseException:
        for now, then in before:
            now.clear()
            now.update(then)
        raise


def _without_zeros(saliency: Tensor, listed: Sequence[Target], targets: Sequence[Target]) -> Tensor:
    """A saliency of what masks leave, cut down to what is not zero."""
    vectors, _ = lazy_saliencies(saliency, listed, targets, None)
    assert vectors is not None  # it is a tensor
    left = []
    for target, vector in zip(targets, vectors, strict=True):
        own = vector()
        here = ~is_zero(target.parameter).reshape(-1)[target.present().reshape(-1)].to(own.device)
        some = own.as_subclass(Tensor)[here]
        left.append(SaliencyVector(some, kind=own.kind) if isinstance(own, SaliencyVector) else some)
    return join(left)
