"""The fusion of rank features inside torch, and the search for its weights on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast, get_args

from torch import nn

from sics_plugin.channels.discovery import find_groups
from sics_plugin.channels.groups import Unit
from sics_plugin.network.masks import Masks
from sics_plugin.pruning.calibrating.calibration import (
    Make,
    check_model,
    kind_or_none,
    on_copies,
    search,
    target_sparsity,
)
from sics_plugin.pruning.calibrating.evaluate import Evaluate
from sics_plugin.pruning.calibrating.weight_search import Evaluated, FusionSearch
from sics_plugin.pruning.channels import compute_channel_masks, prune_channels
from sics_plugin.pruning.plan import Plan
from sics_plugin.pruning.weights import prune_model
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.fusion import FeatureSet, Fusion, feature_set
from sics_plugin.torch_methods.unstructured import SICSMethod

#: What a plan is asked for where a search says nothing else.
_OF_A_PLAN: dict[str, Any] = {
    "saliency": None, "pool": "global", "min_keep": 0, "sparsity": None, "scores": None, "exact": True, "parameters": {},
}  # fmt: skip


def search_fusion(
    model: nn.Module,
    amount: float | int,
    *,
    evaluate: Evaluate,
    budget: int,
    features: str | FeatureSet | Sequence[str] = "orbit",
    seed: int = 0,
    unit: str = "weight",
    known: Sequence[Evaluated] = (),
    after: Callable[[Evaluated], None] | None = None,
    **options: Any,
) -> FusionSearch:
    """Search the weights of a :class:`~sics_plugin.Fusion` on held-out data: differential evolution of ``budget`` evaluations.

    Controls are the same call with other ``features``: the same optimiser, budget, images and number of weights.

    Parameters
    ----------
    model : nn.Module
        Unchanged: every point prunes a copy.
    amount : float or int
        As for the prune that follows.
    evaluate : callable (nn.Module) -> float
        Higher is better: :func:`~sics_plugin.held_out_loss` or :func:`~sics_plugin.held_out_accuracy`, of images in no test.
    budget : int
        Evaluations: exactly so many points, the first of equal weights. A mask that was scored before counts again and is not
        scored again, so that every search of one budget asks for as many points.
    features : str, FeatureSet or sequence of str
        A set by name: "orbit", "smooth_orbit", "rank_orbit", "both_orbit", or the controls "magnitude" (powers of ρ with
        Taylor and the gradient), "information" (powers of z, no weight below 0), "spline", "shuffled"; or features, ρ among
        them, see :mod:`sics_plugin.scorers.fusion`.
    seed : int
        Of the search, and of what is shuffled.
    unit : {"weight", "channel", "head"}
    known : sequence of Evaluated
        Points of an earlier search of the same seed and features, which are not evaluated again: its ``points``.
    after : callable (Evaluated) -> None, optional
        Called with every new point, for keeping it.
    **options
        Those of the prune that follows: ``saliency``, ``pool``, ``min_keep``, ``sparsity``; ``params`` or, for channels,
        ``groups``.

    Returns
    -------
    FusionSearch
        Its ``scorer`` prunes with the best weights; ``curve`` is the best score after each evaluation.

    Raises
    ------
    TypeError, ValueError
        Unknown features or units, a budget below 1, an ``evaluate`` that gives no finite number, ``known`` points of another
        search.

    Examples
    --------
    >>> import torch
    >>> from sics_plugin import Saliency, held_out_loss, prune_model
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> batches = [(torch.randn(16, 64), torch.randint(4, (16,))) for _ in range(3)]
    >>> saliency = Saliency(mlp, batches[:2])
    >>> found = search_fusion(mlp, 0.7, evaluate=held_out_loss(batches[2:]), budget=12, saliency=saliency)
    >>> found.budget, found.points[0].weights, found.curve[-1] >= found.curve[0]
    (12, (0.5, 0.5, 0.5, 0.5, 0.5), True)
    >>> report = prune_model(mlp, found.scorer, amount=0.7, saliency=saliency)
    >>> report.mask_hash == found.best.mask_hash
    True
    """
    check_model(model)
    wanted = feature_set(features if isinstance(features, str | FeatureSet) else tuple(features))
    make: Make
    if unit == "weight":
        plan = Plan(model, Fusion(wanted.features), amount=amount, **{**_OF_A_PLAN, **options})
        make, prune = plan.masks_by, prune_model
    elif unit in get_args(Unit):
        of = cast(Unit, unit)
        given = {**options, "unit": of, "groups": list(options.get("groups") or find_groups(model, of))}

        def make(scorer: Scorer) -> tuple[Masks, str]:
            masks, report = compute_channel_masks(model, scorer, amount, **given)
            return masks, report.mask_hash

        prune = partial(prune_channels, unit=of)
    else:
        raise ValueError(f"Expected `unit` to be weight, {' or '.join(get_args(Unit))}, got {unit!r}")
    _, of_copy = on_copies(model, prune, "weight", options)
    facts = {
        "sparsity": target_sparsity(model, amount, unit, prune, of_copy),
        "unit": unit,
        "pool": options.get("pool", "global"),
    }
    return search(
        model,
        make,
        evaluate=evaluate,
        budget=budget,
        features=wanted,
        seed=seed,
        known=known,
        after=after,
        saliency=kind_or_none(options.get("saliency")),
        **facts,
    )


class SICSFusion(SICSMethod):
    """s = Σ w·(standardised rank feature), ρ among them; ``features`` and ``weights`` as :class:`~sics_plugin.Fusion` takes them.

    ``SICSFusion(amount, saliency, features=found.features, weights=found.weights)`` prunes with what a search ``found``.
    """

    scorer_class = Fusion
    calibrate = staticmethod(search_fusion)
