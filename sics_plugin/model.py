"""Pruning a whole model: masks for all of its weights at once, put on in torch's own form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from sics_plugin.decide import Decision, decide
from sics_plugin.gather import Scores, floors_of, join, remaining_values, saliency_vectors
from sics_plugin.masks import Masks, install_mask, mask_hash
from sics_plugin.masks import finalize as finalize_model
from sics_plugin.methods import SICSMethod, units_of
from sics_plugin.registry import Scorer, build_scorer
from sics_plugin.report import LayerSparsity, PruningReport
from sics_plugin.saliency import Saliency
from sics_plugin.selection import check_sparsity
from sics_plugin.targets import Parameter, Target, resolve_targets, without_ties
from sics_plugin.warn import warn_caller

Method = str | Scorer | type[SICSMethod]
Pool = Literal["global", "layer"]
T = TypeVar("T", bound=type)


class VanishedLayerWarning(UserWarning):
    """A prune left a layer without a single weight."""


def compute_masks(
    model: nn.Module | Iterable[Parameter],
    method: Method,
    *,
    amount: float | int,
    saliency: Saliency | Tensor | None = None,
    pool: Pool = "global",
    min_keep: float | int = 0,
    sparsity: float | None = None,
    importance_scores: Scores | None = None,
    **parameters: Any,
) -> tuple[dict[str, Tensor], PruningReport]:
    """Masks for a model without touching it.

    Parameters
    ----------
    model : nn.Module or iterable of (module, name)
        A model stands for its :func:`~sics_plugin.prunable_parameters`. Tied weights count once and get one mask.
    method : str, Scorer or SICSMethod subclass
        A registered scorer's name, an instance, or the pruning method of one.
    amount : float or int
        Fraction of the weights still there that goes (in every layer for ``pool="layer"``), or their number.
    saliency : Saliency or Tensor, optional
        Collected for this model (or, matched by names, for one it was copied from), or a vector as ``Saliency.vector`` builds it.
    pool : {"global", "layer"}
        What is ranked against each other.
    min_keep : float or int
        Fraction or number of its weights every layer keeps, whatever their scores.
    sparsity : float, optional
        Absolute target, for features that depend on it, when this is a later step towards it.
    importance_scores : mapping (module, name) -> Tensor, optional
        Stand for the weights: their absolute value is the magnitude. One for every parameter, in its shape.
    **parameters
        The scorer's own (``alpha``, ``seed``).

    Returns
    -------
    masks : dict of str to Tensor
        Parameter name → bool, True where kept; earlier masks included.
    report : PruningReport

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> masks, report = compute_masks(mlp, "magnitude", amount=0.7)
    >>> report.pruned, report.layers[0].name, int((~masks["0.weight"]).sum())
    (1434, '0.weight', 1434)
    """
    listed = resolve_targets(model)
    targets = without_ties(listed)
    method_name, scorer = _scorer_of(method, parameters)
    check_sparsity(sparsity)
    if pool == "layer" and isinstance(amount, Integral):
        raise ValueError(f"Expected `amount` to be a fraction for pool='layer', got {amount!r}")
    pools = _pools(targets, pool)
    values = remaining_values(targets, importance_scores, listed)
    vectors = saliency_vectors(saliency, listed, targets, model if isinstance(model, nn.Module) else None)
    floors = floors_of(targets, min_keep)

    masks: dict[str, Tensor] = {}
    decisions: list[Decision] = []
    for indices in pools:
        sizes = [values[i].numel() for i in indices]
        if pool == "layer" and sizes == [0]:
            masks[targets[indices[0]].path] = targets[indices[0]].present()
            continue
        units = units_of(
            torch.cat([values[i] for i in indices]), None if vectors is None else join([vectors[i] for i in indices])
        )
        own = _for_pool(scorer, len(decisions))
        decision = decide(own, units, amount, sparsity=sparsity, sizes=sizes, floors=[floors[i] for i in indices])
        decisions.append(decision)
        for i, removed in zip(indices, decision.removed.split(sizes), strict=True):
            masks[targets[i].path] = _without(targets[i], removed)
    if not decisions:
        raise ValueError("Expected at least one unit to rank, got none: everything is pruned already")
    # Every name of a tied parameter is in the masks and their hash; it counts once.
    by_parameter = {id(t.parameter): masks[t.path] for t in targets}
    named = {t.path: by_parameter[id(t.parameter)] for t in listed}
    layers = layer_sparsities(targets, masks)
    flags = [*dict.fromkeys(flag for decision in decisions for flag in decision.flags), *warn_vanished(layers)]
    last = decisions[-1]
    report = PruningReport(
        method=method_name,
        scorer=last.scorer.name,
        kappa=last.scorer.kappa,
        amount=int(amount) if isinstance(amount, Integral) else float(amount),
        alpha=last.alpha,
        saliency_kind=last.saliency_kind,
        unit="weight",
        pool=pool,
        form="exact",
        total=sum(layer.total for layer in layers),
        pruned=sum(layer.pruned for layer in layers),
        threshold=last.threshold if len(decisions) == 1 else None,
        mask_hash=mask_hash(named),
        layers=tuple(layers),
        flags=tuple(flags),
    )
    return named, report


def prune_model(
    model: nn.Module | Iterable[Parameter],
    method: Method,
    *,
    amount: float | int,
    saliency: Saliency | Tensor | None = None,
    pool: Pool = "global",
    min_keep: float | int = 0,
    sparsity: float | None = None,
    importance_scores: Scores | None = None,
    finalize: bool = False,
    **parameters: Any,
) -> PruningReport:
    """Prune a model in place; all masks are made before the first is put on.

    Parameters are those of :func:`compute_masks`; ``finalize=True`` leaves plain weights with zeros instead of torch's hooks
    and buffers.

    Returns
    -------
    PruningReport

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> report = prune_model(mlp, "magnitude", amount=0.7)
    >>> torch.nn.utils.prune.is_pruned(mlp), round(report.sparsity, 3)
    (True, 0.7)
    """
    pairs = model if isinstance(model, nn.Module) else list(model)
    masks, report = compute_masks(
        pairs,
        method,
        amount=amount,
        saliency=saliency,
        pool=pool,
        min_keep=min_keep,
        sparsity=sparsity,
        importance_scores=importance_scores,
        **parameters,
    )
    targets = resolve_targets(pairs)
    install_masks(targets, masks)
    if finalize and isinstance(pairs, nn.Module):
        finalize_model(pairs, targets)
    elif finalize:
        finalize_model(targets[0].module, targets)
    return report


def prune_to_sparsity(
    model: nn.Module | Iterable[Parameter],
    method: Method,
    sparsity: float,
    *,
    saliency: Saliency | Tensor | None = None,
    min_keep: float | int = 0,
    finalize: bool = False,
    **parameters: Any,
) -> PruningReport:
    """Prune until a fraction ``sparsity`` of all weights is gone, whatever was pruned before.

    torch's fractional amounts compound: 0.7 and then 0.5 leave 15 %. This one does not.

    Raises
    ------
    ValueError
        If more than that is already gone.

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> [round(prune_to_sparsity(mlp, "magnitude", s).sparsity, 2) for s in (0.5, 0.7)]
    [0.5, 0.7]
    """
    if sparsity is None:
        raise TypeError("Expected `sparsity` to be a fraction in [0, 1], got None")
    check_sparsity(sparsity)
    pairs = model if isinstance(model, nn.Module) else list(model)
    targets = without_ties(resolve_targets(pairs))
    total = sum(t.parameter.numel() for t in targets)
    present = sum(int(t.present().sum()) for t in targets)
    missing = round(sparsity * total) - (total - present)
    if missing < 0:
        raise ValueError(f"Expected `sparsity` of at least {1 - present / total:.4g}, what is already pruned, got {sparsity}")
    return prune_model(
        pairs,
        method,
        amount=missing,
        saliency=saliency,
        min_keep=min_keep,
        sparsity=sparsity,
        finalize=finalize,
        **parameters,
    )


# --- steps ---------------------------------------------------------------------------------------------------------------


def _scorer_of(method: Method, parameters: Mapping[str, Any]) -> tuple[str, Scorer]:
    if isinstance(method, str):
        return method, build_scorer(method, **parameters)
    if isinstance(method, type) and issubclass(method, SICSMethod):
        return method.__name__, method.scorer_class(**parameters)
    if isinstance(method, Scorer):
        if parameters:
            raise TypeError(f"Expected no parameters beside a scorer instance, got {', '.join(parameters)}")
        return method.name, method
    raise TypeError(f"Expected `method` to be a scorer's name, a Scorer or a SICSMethod subclass, got {method!r}")


def _pools(targets: Sequence[Target], pool: str) -> list[list[int]]:
    """Which targets are ranked against each other, as positions."""
    if pool == "global":
        return [list(range(len(targets)))]
    if pool == "layer":
        return [[i] for i in range(len(targets))]
    raise ValueError(f"Expected `pool` to be 'global' or 'layer', got {pool!r}")


def _for_pool(scorer: Scorer, index: int) -> Scorer:
    """The scorer for the index-th pool: one that draws must not draw the same for every layer."""
    seed = getattr(scorer, "seed", None)
    return scorer if index == 0 or seed is None else replace(scorer, seed=(seed * 1_000_003 + index) % 2**63)  # type: ignore[call-arg]


def _without(target: Target, removed: Tensor) -> Tensor:
    """The target's mask with the removed ones of its remaining units gone."""
    present = target.present()
    flat = present.reshape(-1).clone()
    flat[flat.nonzero().squeeze(1)[removed.to(flat.device)]] = False
    return flat.view(present.shape)


def layer_sparsities(targets: Sequence[Target], masks: Masks) -> list[LayerSparsity]:
    """How many units of every target a set of masks leaves."""
    layers = []
    for target in targets:
        mask = masks[target.path]
        total = mask.numel()
        layers.append(LayerSparsity(target.path, tuple(mask.shape), total, total - int(mask.sum())))
    return layers


def warn_vanished(layers: Sequence[LayerSparsity]) -> tuple[str, ...]:
    """Warn of layers without a weight left; the same as flags for a report."""
    vanished = [layer.name for layer in layers if layer.total and layer.pruned == layer.total]
    if not vanished:
        return ()
    flag = f"no weight left in {', '.join(vanished)}"
    warn_caller(f"{flag}; `min_keep` prevents this", VanishedLayerWarning)
    return (flag,)


def install_masks(listed: Sequence[Target], masks: Masks) -> None:
    """Put masks on all names of their parameters; ``masks`` need only name the first of tied ones."""
    by_parameter = {id(t.parameter): masks[t.path] for t in without_ties(listed)}
    for target in listed:
        install_mask(target.module, target.name, by_parameter[id(target.parameter)])
