"""Pruning a whole model: masks for all of its weights at once, put on in torch's own form."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sics_plugin.network.callers import refresh_where_read
from sics_plugin.network.masks import hash_of_bits, put_mask
from sics_plugin.network.permanent import put_zeros
from sics_plugin.network.targets import Parameter, Target, check_hooked, checked_pairs
from sics_plugin.pruning.calibrating.calibration import Prune
from sics_plugin.pruning.calibrating.options import adaptive_options
from sics_plugin.pruning.inputs import Scores
from sics_plugin.pruning.plan import Method, Params, Plan, Pool
from sics_plugin.pruning.report import LayerSparsity, PruningReport
from sics_plugin.saliency.collection import Saliency
from sics_plugin.selection.fetch import packed_bits
from sics_plugin.selection.parts import count_kept
from sics_plugin.selection.pools import check_n_m


def _prune() -> Prune:
    return prune_model


@adaptive_options(_prune)
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
    exact: bool | None = True,
    params: Params | None = None,
    **parameters: Any,
) -> tuple[dict[str, Tensor], PruningReport]:
    """Masks for a model without touching it.

    Parameters
    ----------
    model : nn.Module or iterable of (module, name)
        A model stands for its :func:`~sics_plugin.prunable_parameters`, or for ``params``. Tied weights count once and share
        a mask.
    method : str, Scorer, SICSMethod subclass or AdaptiveTable
        A registered scorer's name, an instance, the pruning method of one, or a table for the adaptive one.
    amount : float or int
        Fraction of the weights still there that goes (in every layer for ``pool="layer"``), or their number. As for torch, a zero
        without a mask is still there; ``report.zeros`` counts it.
    saliency : Saliency or Tensor, optional
        Collected for this model (or, matched by names, for one it was copied from), or a vector as ``Saliency.vector`` builds it.
    pool : {"global", "layer", "layer-rank", "row", "erk", "N:M"}
        What is ranked against each other: all weights; those of one layer, the same fraction from each; those of one layer, with
        one cut through the scores of all layers, see :mod:`sics_plugin.pruning.layer_ranks`; those of one output row; of one
        layer, fractions by Erdős-Rényi-Kernel (Evci et al. 2020) that keep the total; M consecutive inputs of a row, N of which
        are kept. For rows and N:M a scorer sees the layer, see :mod:`sics_plugin.pruning.row_groups`.
    min_keep : float or int
        Fraction or number of its weights every layer keeps, whatever their scores.
    sparsity : float, optional
        Absolute target, for features that depend on it, when this is a later step towards it.
    importance_scores : mapping (module, name) -> Tensor, optional
        Stand for the weights: their absolute value is the magnitude. One for every parameter, in its shape.
    exact : bool, optional
        True: exact ranks. False: the histogram form of ρ and z, for scorers built on them and weights narrower than float64.
        None: that form above 2²² units of a pool, on a GPU above what a quarter of its memory can sort. ``report.form`` says
        which one ran; the magnitude family and ``pool="layer-rank"`` are always exact.
    params : iterable of (module, name) or str, optional
        Which parameters of the model, as pairs or paths. What is read without calling its layer is masked where it is read.
    **parameters
        The scorer's own (``alpha``, ``seed``; for "adaptive" ``table``, or ``calibrate``, :class:`~sics_plugin.Trials`
        or a :class:`~sics_plugin.Calibration`).

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
    return Plan(model, method, amount, saliency, pool, min_keep, sparsity, importance_scores, exact, parameters, params).masks()


@adaptive_options(_prune)
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
    exact: bool | None = None,
    params: Params | None = None,
    **parameters: Any,
) -> PruningReport:
    """Prune a model in place; all masks are made before the first is put on.

    Parameters are those of :func:`compute_masks`, but ``exact`` is None by default; ``finalize=True`` leaves plain weights with
    zeros instead of torch's hooks and buffers, and needs less memory: a bit a weight instead of a byte and a copy. It never
    changes what a name that is not pruned reads: of a model's tied weights those that are not pruned alike are untied, with a
    warning. Who else holds the weights of pairs is not known, so that each gets a parameter of its own, which an optimizer made
    before does not have; with the model at hand parameters stay the same objects.

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
    pairs = model if isinstance(model, nn.Module) else checked_pairs(model)
    # Hooks and buffers will take more memory than long steps do; where everything is in place, that would be the peak.
    plan = Plan(
        pairs,
        method,
        amount,
        saliency,
        pool,
        min_keep,
        sparsity,
        importance_scores,
        exact,
        parameters,
        params,
        roomy=not finalize,
    )
    if finalize:
        return _finalized(plan)
    check_hooked(plan.listed)
    plan.check_read()
    named, report = plan.masks()
    held: set[int] = set()
    for target in plan.listed:
        mask = named[target.path]
        put_mask(target, mask if id(mask) not in held else mask.clone())  # tied names: a buffer each
        held.add(id(mask))
    if plan.root is not None:
        refresh_where_read(plan.root)
    return report


def _finalized(plan: Plan) -> PruningReport:
    """Prune for good; between choosing and writing, the masks are held as bits."""
    bits: dict[str, np.ndarray] = {}
    layers = []
    for target, kept in plan.kept():
        bits[target.path] = packed_bits(kept)
        gone = kept.numel() - count_kept(kept)
        layers.append(LayerSparsity(target.path, tuple(target.parameter.shape), kept.numel(), gone))
    named = plan.by_name(bits)
    by_path = sorted(plan.listed, key=lambda t: t.path)
    report = plan.report(layers, hash_of_bits((t.path, t.parameter.shape, named[t.path]) for t in by_path))
    put_zeros(plan.root, plan.listed, [partial(_unpacked, named[t.path], t) for t in plan.listed])
    return report


def _unpacked(bits: np.ndarray, target: Target) -> Tensor:
    flat = np.unpackbits(bits, count=target.parameter.numel()).view(np.bool_)
    return torch.from_numpy(flat).to(target.parameter.device).view(target.parameter.shape)


def prune_n_m(
    model: nn.Module | Iterable[Parameter],
    method: Method,
    n: int = 2,
    m: int = 4,
    *,
    saliency: Saliency | Tensor | None = None,
    finalize: bool = False,
    **parameters: Any,
) -> PruningReport:
    """Prune in place so that of every ``m`` consecutive inputs of a row exactly ``n`` stay: what sparse tensor cores multiply.

    Parameters
    ----------
    model, method, saliency, finalize, **parameters
        As in :func:`prune_model`. The scorer sees a layer at a time.
    n, m : int
        How many of how many are kept. Inputs of a convolution are its input channels, at each place of the kernel.

    Raises
    ------
    ValueError
        If ``m`` does not divide the inputs of a weight, in one line that names it; nothing is pruned then.

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> report = prune_n_m(mlp, "magnitude", 2, 4)
    >>> report.sparsity, mlp[0].weight_mask.view(64, 8, 4).sum(-1).unique().tolist()
    (0.5, [2])
    """
    n, m = check_n_m(n, m)
    return prune_model(model, method, amount=1 - n / m, saliency=saliency, pool=f"{n}:{m}", finalize=finalize, **parameters)
