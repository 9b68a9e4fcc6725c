"""Pruning a whole model: masks for all of its weights at once, put on in torch's own form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.network.masks import Masks, check_hooks, hash_of_bits, install_mask, mask_hash, packed_bits, put_mask, put_zeros
from sics_plugin.network.masks import finalize as finalize_model
from sics_plugin.network.targets import Parameter, Target, resolve_targets, without_ties
from sics_plugin.pruning.calibration import adaptive_options
from sics_plugin.pruning.choose import Choice, choose
from sics_plugin.pruning.inputs import Scores, floors_of, lazy_saliencies, parts_of
from sics_plugin.pruning.report import LayerSparsity, PruningReport
from sics_plugin.pruning.row_groups import choose_in_groups
from sics_plugin.saliency.collection import Saliency, saliency_for
from sics_plugin.scorers.adaptive import Adaptive, AdaptiveTable
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.registry import build_scorer
from sics_plugin.selection.lowest import check_amount, check_sparsity
from sics_plugin.selection.parts import count_kept
from sics_plugin.selection.pools import check_amount_for, check_n_m, erk_removals, n_of_m, pools_of
from sics_plugin.warn import warn_caller

#: A scorer's name, a scorer, the torch method of one (a class with a ``scorer_class``), or a table for the adaptive one.
Method = str | Scorer | type[BasePruningMethod] | AdaptiveTable
#: "global", "layer", "row", "erk" or "N:M": see :mod:`sics_plugin.selection.pools`.
Pool = str
T = TypeVar("T", bound=type)


class VanishedLayerWarning(UserWarning):
    """A prune left a layer without a single weight."""


def _trial(model: nn.Module, scorer: Method, amount: float | int, **options: Any) -> PruningReport:
    return prune_model(model, scorer, amount=amount, **options)


@adaptive_options(_trial)
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
    **parameters: Any,
) -> tuple[dict[str, Tensor], PruningReport]:
    """Masks for a model without touching it.

    Parameters
    ----------
    model : nn.Module or iterable of (module, name)
        A model stands for its :func:`~sics_plugin.prunable_parameters`. Tied weights count once and get one mask.
    method : str, Scorer, SICSMethod subclass or AdaptiveTable
        A registered scorer's name, an instance, the pruning method of one, or a table for the adaptive one.
    amount : float or int
        Fraction of the weights still there that goes (in every layer for ``pool="layer"``), or their number.
    saliency : Saliency or Tensor, optional
        Collected for this model (or, matched by names, for one it was copied from), or a vector as ``Saliency.vector`` builds it.
    pool : {"global", "layer", "row", "erk", "N:M"}
        What is ranked against each other: all weights; those of one layer, the same fraction from each; those of one output row;
        of one layer, fractions by Erdős-Rényi-Kernel (Evci et al. 2020) that keep the total; M consecutive inputs of a row, N of
        which are kept. For rows and N:M a scorer sees the layer, see :mod:`sics_plugin.pruning.row_groups`.
    min_keep : float or int
        Fraction or number of its weights every layer keeps, whatever their scores.
    sparsity : float, optional
        Absolute target, for features that depend on it, when this is a later step towards it.
    importance_scores : mapping (module, name) -> Tensor, optional
        Stand for the weights: their absolute value is the magnitude. One for every parameter, in its shape.
    exact : bool, optional
        True: exact ranks. False: the histogram form of ρ and z, for scorers built on them and weights narrower than float64.
        None: that form above 2²² units of a pool. ``report.form`` says which one ran; the magnitude family is always exact.
    **parameters
        The scorer's own (``alpha``, ``seed``; for "adaptive" ``table``, or ``calibrate``, a :class:`~sics_plugin.Calibration`).

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
    plan = _plan(model, method, amount, saliency, pool, min_keep, sparsity, importance_scores, exact, parameters)
    masks = {t.path: kept.view(t.parameter.shape) for t, kept in plan.kept()}
    named = plan.by_name(masks)
    layers = layer_sparsities(plan.targets, masks)
    return named, plan.report(layers, mask_hash(named))


@adaptive_options(_trial)
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
    **parameters: Any,
) -> PruningReport:
    """Prune a model in place; all masks are made before the first is put on.

    Parameters are those of :func:`compute_masks`, but ``exact`` is None by default; ``finalize=True`` leaves plain weights with
    zeros instead of torch's hooks and buffers, and needs less memory: a bit a weight instead of a byte and a copy.

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
    # Hooks and buffers will take more memory than long steps do; where everything is in place, that would be the peak.
    roomy = not finalize
    plan = _plan(pairs, method, amount, saliency, pool, min_keep, sparsity, importance_scores, exact, parameters, roomy)
    if finalize:
        return _finalized(plan, pairs if isinstance(pairs, nn.Module) else plan.listed[0].module)
    check_hooks(plan.listed)
    masks = {t.path: kept.view(t.parameter.shape) for t, kept in plan.kept()}
    named = plan.by_name(masks)
    report = plan.report(layer_sparsities(plan.targets, masks), mask_hash(named))
    held: set[int] = set()
    for target in plan.listed:
        mask = named[target.path]
        put_mask(target, mask if id(mask) not in held else mask.clone())  # tied names: a buffer each
        held.add(id(mask))
    return report


def _finalized(plan: _Plan, model: nn.Module) -> PruningReport:
    """Prune for good; between choosing and writing, the masks are held as bits."""
    bits: dict[str, np.ndarray] = {}
    layers = []
    for target, kept in plan.kept():
        bits[target.path] = packed_bits(kept)
        gone = kept.numel() - count_kept(kept)
        layers.append(LayerSparsity(target.path, tuple(target.parameter.shape), kept.numel(), gone))
    named = plan.by_name(bits)
    shapes = {t.path: tuple(t.parameter.shape) for t in plan.listed}
    report = plan.report(layers, hash_of_bits({name: (shapes[name], partial(_itself, named[name])) for name in named}))
    put_zeros(model, plan.listed, [partial(_unpacked, named[t.path], t) for t in plan.listed])
    return report


def _itself(bits: np.ndarray) -> np.ndarray:
    return bits


def _unpacked(bits: np.ndarray, target: Target) -> Tensor:
    flat = np.unpackbits(bits, count=target.parameter.numel()).view(np.bool_)
    return torch.from_numpy(flat).to(target.parameter.device).view(target.parameter.shape)


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
    if missing == 0 and not present:  # nothing is left to rank
        return _nothing_left(pairs, method, saliency, sparsity, finalize, parameters)
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


# --- steps ---------------------------------------------------------------------------------------------------------------

V = TypeVar("V")


@dataclass(eq=False)
class _Plan:
    """What is asked, resolved and checked; the choice is made while :meth:`kept` is consumed, and reported afterwards."""

    listed: list[Target]
    targets: list[Target]
    method: str
    amount: float | int
    pool: str
    choose: Callable[[Sequence[int], int], Choice]
    choices: list[Choice] = field(default_factory=list)

    def kept(self) -> Iterator[tuple[Target, Tensor]]:
        """Yield every distinct target with its mask, a bool vector, in order."""
        for indices in pools_of(len(self.targets), self.pool):
            pool = [self.targets[i] for i in indices]
            if self.pool != "global" and not bool(pool[0].present().any()):
                yield pool[0], pool[0].present().reshape(-1)
                continue
            choice = self.choose(indices, len(self.choices))
            self.choices.append(choice)
            yield from zip(pool, choice.kept, strict=True)
        if not self.choices:
            raise ValueError("Expected at least one unit to rank, got none: everything is pruned already")

    def by_name(self, of_target: Mapping[str, V]) -> dict[str, V]:
        """Every name of a tied parameter is in the masks and their hash; it counts once."""
        by_parameter = {id(t.parameter): of_target[t.path] for t in self.targets}
        return {t.path: by_parameter[id(t.parameter)] for t in self.listed}

    def report(self, layers: Sequence[LayerSparsity], found_hash: str) -> PruningReport:
        """What was done, with a warning for every layer that vanished."""
        flags = [*dict.fromkeys(flag for choice in self.choices for flag in choice.flags), *warn_vanished(layers)]
        last = self.choices[-1]
        forms = {choice.form for choice in self.choices}
        return PruningReport(
            method=self.method,
            scorer=last.scorer.name,
            kappa=last.scorer.kappa,
            amount=int(self.amount) if isinstance(self.amount, Integral) else float(self.amount),
            alpha=last.alpha,
            saliency_kind=last.saliency_kind,
            unit="weight",
            pool=self.pool,
            form=forms.pop() if len(forms) == 1 else "mixed",
            total=sum(layer.total for layer in layers),
            pruned=sum(layer.pruned for layer in layers),
            threshold=last.threshold if len(self.choices) == 1 else None,
            mask_hash=found_hash,
            layers=tuple(layers),
            flags=tuple(flags),
            choice=last.scorer.choice,
        )


def _plan(
    model: nn.Module | Iterable[Parameter],
    method: Method,
    amount: float | int,
    saliency: Saliency | Tensor | None,
    pool: str,
    min_keep: float | int,
    sparsity: float | None,
    scores: Scores | None,
    exact: bool | None,
    parameters: Mapping[str, Any],
    roomy: bool = False,
) -> _Plan:
    listed = resolve_targets(model)
    targets = without_ties(listed)
    method_name, scorer = scorer_of(method, parameters)
    check_amount(amount)
    check_sparsity(sparsity)
    if exact not in (True, False, None):
        raise ValueError(f"Expected `exact` to be True, False or None, got {exact!r}")
    pools_of(len(targets), pool)
    check_amount_for(pool, amount)
    if scores is not None and scorer.role == "peer":
        raise ValueError(
            f"Expected no `importance_scores` for {scorer.name!r}, which scores by a signal of the weights themselves"
        )
    saliency = saliency_for(scorer.requires, saliency)
    vectors, kind = lazy_saliencies(saliency, listed, targets, model if isinstance(model, nn.Module) else None)
    parts = parts_of(targets, scores, listed, vectors)
    floors = floors_of([t.parameter.numel() for t in targets], min_keep)

    shares: Sequence[float | int] = [amount] * len(parts)
    if pool == "erk":
        shares = erk_removals([tuple(t.parameter.shape) for t in targets], amount, present=[p.present for p in parts])
    pattern = n_of_m(pool)

    def choose_pool(indices: Sequence[int], number: int) -> Choice:
        if pool == "row" or pattern is not None:
            (i,) = indices
            return choose_in_groups(
                for_pool(scorer, number),
                parts[i],
                float(amount),
                name=targets[i].path,
                pattern=pattern,
                saliency_kind=kind,
                sparsity=sparsity,
                floor=floors[i],
            )
        return choose(
            for_pool(scorer, number),
            [parts[i] for i in indices],
            shares[indices[0]],
            saliency_kind=kind,
            sparsity=sparsity,
            floors=[floors[i] for i in indices],
            exact=exact,
            roomy=roomy,
        )

    return _Plan(listed, targets, method_name, amount, pool, choose_pool)


def _nothing_left(
    pairs: nn.Module | list[Parameter],
    method: Method,
    saliency: Saliency | Tensor | None,
    sparsity: float,
    finalize: bool,
    parameters: Mapping[str, Any],
) -> PruningReport:
    """The report of a prune to 1.0 that finds everything gone; the masks stay as they are, or are made permanent."""
    plan = _plan(pairs, method, 0, saliency, "global", 0, sparsity, None, True, parameters)
    _, scorer = scorer_of(method, parameters)
    plan.choices.append(Choice(iter(()), "exact", None, scorer.resolve(sparsity, None), None, None, ()))
    masks = {t.path: t.present() for t in plan.targets}
    report = plan.report(layer_sparsities(plan.targets, masks), mask_hash(plan.by_name(masks)))
    if finalize:
        finalize_model(pairs if isinstance(pairs, nn.Module) else plan.listed[0].module, plan.listed)
    return report


def scorer_of(method: Method, parameters: Mapping[str, Any], types: Sequence[str] = ("unstructured",)) -> tuple[str, Scorer]:
    """The name of a method as reports give it, and its scorer. ``types`` are the pruning types whose methods stand for one.

    Raises
    ------
    TypeError
        For what is neither a scorer's name, a Scorer nor a SICSMethod subclass, or parameters beside an instance.

    Examples
    --------
    >>> scorer_of("chaos", {"alpha": 0.2})
    ('chaos', Chaos(alpha=0.2))
    """
    if isinstance(method, str):
        return method, build_scorer(method, **parameters)
    if isinstance(method, type) and getattr(method, "PRUNING_TYPE", None) in types and hasattr(method, "scorer_class"):
        return method.__name__, method.scorer_class(**parameters)
    if isinstance(method, AdaptiveTable):
        return "adaptive", Adaptive(table=method, **parameters)
    if isinstance(method, Scorer):
        if parameters:
            raise TypeError(f"Expected no parameters beside a scorer instance, got {', '.join(parameters)}")
        return method.name, method
    raise TypeError(f"Expected `method` to be a scorer's name, a Scorer or a SICSMethod subclass, got {method!r}")


def for_pool(scorer: Scorer, index: int) -> Scorer:
    """The scorer for the index-th pool: one that draws must not draw the same for every layer.

    Examples
    --------
    >>> for_pool(build_scorer("random"), 0), for_pool(build_scorer("random"), 1)
    (Random(seed=0), Random(seed=1))
    """
    seed = getattr(scorer, "seed", None)
    return scorer if index == 0 or seed is None else replace(scorer, seed=(seed * 1_000_003 + index) % 2**63)  # type: ignore[call-arg]


def layer_sparsities(targets: Sequence[Target], masks: Masks) -> list[LayerSparsity]:
    """How many units of every target a set of masks leaves."""
    layers = []
    for target in targets:
        mask = masks[target.path]
        total = mask.numel()
        layers.append(LayerSparsity(target.path, tuple(mask.shape), total, total - count_kept(mask.detach())))
    return layers


def warn_vanished(layers: Sequence[LayerSparsity], unit: str = "weight") -> tuple[str, ...]:
    """Warn of layers without a unit left; the same as flags for a report."""
    vanished = [layer.name for layer in layers if layer.total and layer.pruned == layer.total]
    if not vanished:
        return ()
    flag = f"no {unit} left in {', '.join(vanished)}"
    warn_caller(f"{flag}; `min_keep` prevents this", VanishedLayerWarning)
    return (flag,)


def install_masks(listed: Sequence[Target], masks: Masks) -> None:
    """Put masks on all names of their parameters; ``masks`` need only name the first of tied ones."""
    by_parameter = {id(t.parameter): masks[t.path] for t in without_ties(listed)}
    for target in listed:
        install_mask(target.module, target.name, by_parameter[id(target.parameter)])
