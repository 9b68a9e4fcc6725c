"""``global_unstructured`` with torch's signature and none of its traps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin.network.masks import Masks, install_mask
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import Parameter, Target, check_hooked, without_ties
from sics_plugin.pruning.inputs import Scores, remaining_values
from sics_plugin.pruning.plan import layer_sparsities, warn_vanished
from sics_plugin.pruning.report import PruningReport
from sics_plugin.pruning.weights import prune_model
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers.adaptive import AdaptiveTable
from sics_plugin.selection.lowest import warn_of_percent
from sics_plugin.torch_methods.unstructured import SICSAdaptive, SICSMethod


def global_unstructured(
    parameters: nn.Module | Iterable[Parameter],
    pruning_method: type[prune.BasePruningMethod] | AdaptiveTable,
    importance_scores: Scores | None = None,
    *,
    amount: float | int | None = None,
    saliency: Saliency | Tensor | None = None,
    min_keep: float | int = 0,
    **kwargs: Any,
) -> PruningReport | None:
    """As ``torch.nn.utils.prune.global_unstructured``, checked.

    What it does better than torch's: takes any iterable of parameters, or a model; refuses ``importance_scores`` of another
    shape or with a parameter missing (torch falls back to weights); counts tied weights once and masks them alike; refuses
    the output projection of ``nn.MultiheadAttention``, whose hook never runs; keeps ``copy.deepcopy`` working; can keep a
    layer alive (``min_keep``) and warns when one vanishes. ``saliency`` may be the :class:`~sics_plugin.Saliency` itself.

    Parameters
    ----------
    parameters : iterable of (module, name), or nn.Module
    pruning_method : type or AdaptiveTable
        Any unstructured ``BasePruningMethod``, torch's own included; a table stands for ``SICSAdaptive`` with it.
    importance_scores : mapping (module, name) -> Tensor, optional
    amount : float or int
        Required by this project's methods; passed to others when given.
    saliency, min_keep
        For this project's methods only.
    **kwargs
        Passed to the method's constructor. For this project's methods also the options of :func:`~sics_plugin.prune_model`,
        such as ``pool="layer-rank"``: torch's function hands over one vector without layers and cannot do that.

    Returns
    -------
    PruningReport or None
        None for a foreign method.

    Examples
    --------
    >>> layer = nn.Linear(64, 32)
    >>> report = global_unstructured(((m, "weight") for m in [layer]), prune.L1Unstructured, amount=0.5)
    >>> int(layer.weight_mask.sum())
    1024
    """
    if isinstance(pruning_method, AdaptiveTable):
        pruning_method, kwargs["table"] = SICSAdaptive, pruning_method
    if not (isinstance(pruning_method, type) and issubclass(pruning_method, prune.BasePruningMethod)):
        raise TypeError(f"Expected `pruning_method` to be a BasePruningMethod subclass, got {pruning_method!r}")
    if issubclass(pruning_method, SICSMethod):
        if amount is None:
            raise TypeError(f"Expected an `amount` for {pruning_method.__name__}, got none")
        return prune_model(
            parameters,
            pruning_method,
            amount=amount,
            saliency=saliency,
            min_keep=min_keep,
            importance_scores=importance_scores,
            **kwargs,
        )
    if saliency is not None or min_keep:
        raise TypeError(f"`saliency` and `min_keep` go with this project's methods, not with {pruning_method.__name__}")
    if amount is not None:
        kwargs["amount"] = amount
    _foreign(parameters, pruning_method, importance_scores, **kwargs)
    return None


def _foreign(
    parameters: nn.Module | Iterable[Parameter],
    pruning_method: type[prune.BasePruningMethod],
    scores: Scores | None,
    **kwargs: Any,
) -> None:
    """Ask somebody else's method for a mask over the distinct parameters, and put it on all of their names."""
    kind = getattr(pruning_method, "PRUNING_TYPE", None)
    if kind != "unstructured":
        raise TypeError(f"Expected an unstructured `pruning_method`, got {pruning_method.__name__} ({kind})")
    listed = resolve_targets(parameters)
    check_hooked(listed)
    targets = without_ties(listed)
    values = remaining_values(targets, scores, listed)
    together = torch.cat(values)
    if "amount" in kwargs:
        warn_of_percent(kwargs["amount"], together.numel())
    kept = pruning_method(**kwargs).compute_mask(together, torch.ones_like(together)) != 0
    masks: dict[str, Tensor] = {}
    for target, part in zip(targets, kept.split([v.numel() for v in values]), strict=True):
        present = target.present()
        flat = present.reshape(-1).clone()
        flat[flat.clone()] = part
        masks[target.path] = flat.view(present.shape)
    warn_vanished(layer_sparsities(targets, masks))
    _install_masks(listed, masks)


def _install_masks(listed: Sequence[Target], masks: Masks) -> None:
    """Put masks on all names of their parameters; ``masks`` need only name the first of tied ones."""
    by_parameter = {id(t.parameter): masks[t.path] for t in without_ties(listed)}
    for target in listed:
        install_mask(target.module, target.name, by_parameter[id(target.parameter)])
