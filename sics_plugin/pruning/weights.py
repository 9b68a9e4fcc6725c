"""Pruning a whole model: masks for all of its weights at once, put on in torch's own form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.network.callers import readers, refresh_where_read
from sics_plugin.network.masks import Masks, hash_of_bits, install_mask, mask_hash, packed_bits, put_mask
from sics_plugin.network.permanent import put_zeros
from sics_plugin.network.prunable import Coverage, coverage, resolve_targets
from sics_plugin.network.targets import Parameter, Target, check_hooked, checked_pairs, without_ties
from sics_plugin.pruning.calibration import Prune, adaptive_options
from sics_plugin.pruning.choose import Choice, choose
from sics_plugin.pruning.inputs import Scores, floors_of, lazy_saliencies, parts_of
from sics_plugin.pruning.report import LayerSparsity, PruningReport
from sics_plugin.pruning.row_groups import choose_in_groups
from sics_plugin.pruning.zeros import without_zeros, zeros_masked
from sics_plugin.saliency.collection import Saliency, saliency_for
from sics_plugin.saliency.objective import listed
from sics_plugin.scorers.adaptive import Adaptive, AdaptiveTable
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.registry import build_scorer
from sics_plugin.scorers.sics import ScaledMagnitudeScorer
from sics_plugin.selection.lowest import check_amount, check_sparsity, warn_of_percent
from sics_plugin.selection.parts import count_kept
from sics_plugin.selection.pools import check_amount_for, check_n_m, erk_removals, n_of_m, pools_of
from sics_plugin.selection.zeros import count_zeros
from sics_plugin.warn import warn_caller

#: A scorer's name, a scorer, the torch method of one (a class with a ``scorer_class``), or a table for the adaptive one.
Method = str | Scorer | type[BasePruningMethod] | AdaptiveTable
#: "global", "layer", "row", "erk" or "N:M": see :mod:`sics_plugin.selection.pools`.
Pool = str
#: Of a model: (module, name) pairs, or paths.
Params = Iterable[Parameter | str]


class VanishedLayerWarning(UserWarning):
    """A prune left a layer without a single weight."""


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
    params : iterable of (module, name) or str, optional
        Which parameters of the model, as pairs or paths. What is read without calling its layer is masked where it is read.
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
    return _Plan(model, method, amount, saliency, pool, min_keep, sparsity, importance_scores, exact, parameters, params).masks()


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
    plan = _Plan(
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


def _finalized(plan: _Plan) -> PruningReport:
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
    if isinstance(params, Iterable) and not isinstance(params, str):
        params = list(params)  # gone through more than once
    pairs = model if isinstance(model, nn.Module) else checked_pairs(model)
    listed = resolve_targets(pairs, params)
    targets = without_ties(listed)
    total = sum(t.parameter.numel() for t in targets)
    left = sum(t.parameter.numel() if t.shared_mask is None else count_kept(t.present()) for t in targets)
    zeros = sum(count_zeros(t.parameter, None if t.shared_mask is None else t.present()) for t in targets)
    missing = round(sparsity * total) - (total - left + zeros)
    if missing < 0:
        unmasked = f" ({zeros:,} zeros without a mask included)" if zeros else ""
        least = 1 - (left - zeros) / total
        raise ValueError(f"Expected `sparsity` of at least {least:.4g}, what is already pruned{unmasked}, got {sparsity}")
    given: dict[str, Any] = {"min_keep": min_keep, "finalize": finalize, "params": params, **parameters}
    if not zeros:
        return _prune_the_rest(pairs, method, missing, sparsity, left == 0, saliency=saliency, **given)
    if isinstance(saliency, Tensor):
        saliency = without_zeros(saliency, listed, targets)
    with zeros_masked(listed):
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
        own = {name: value for name, value in parameters.items() if name not in ("min_keep", "exact", "pool")}
        plan = _Plan(pairs, method, 0, saliency, "global", 0, sparsity, None, True, own, params)
        plan.choices.append(Choice(iter(()), None, plan.scorer.resolve(sparsity, None), None, None, ()))
        masks = {t.path: t.present() for t in plan.targets}
        named = plan.by_name(masks)
        report = plan.report(layer_sparsities(plan.targets, masks), mask_hash(named))
        if finalize:
            put_zeros(plan.root, plan.listed, [partial(named.__getitem__, t.path) for t in plan.listed])
        return report
    given: dict[str, Any] = {"saliency": saliency, "finalize": finalize, "params": params, **parameters}
    return prune_model(pairs, method, amount=missing, sparsity=sparsity, **given)


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


V = TypeVar("V")


@dataclass(eq=False)
class _Plan:
    """What is asked, resolved and checked; the choice is made while :meth:`kept` is consumed, and reported afterwards."""

    model: nn.Module | Iterable[Parameter]
    method: Method
    amount: float | int
    saliency: Saliency | Tensor | None
    pool: str
    min_keep: float | int
    sparsity: float | None
    scores: Scores | None
    exact: bool | None
    parameters: Mapping[str, Any]
    params: Params | None = None
    roomy: bool = False
    choices: list[Choice] = field(default_factory=list)
    zeros: int = 0

    def __post_init__(self) -> None:
        self.listed = resolve_targets(self.model, self.params)
        self.targets = without_ties(self.listed)
        model = self.model if isinstance(self.model, nn.Module) else None
        self.root = model
        self.name, self.scorer = scorer_of(self.method, self.parameters)
        check_amount(self.amount)
        check_sparsity(self.sparsity)
        if self.exact not in (True, False, None):
            raise ValueError(f"Expected `exact` to be True, False or None, got {self.exact!r}")
        self.pools = pools_of(len(self.targets), self.pool)
        check_amount_for(self.pool, self.amount)
        if self.scores is not None and self.scorer.role == "peer":
            raise ValueError(
                f"Expected no `importance_scores` for {self.scorer.name!r}, which scores by a signal of the weights themselves"
            )
        saliency = saliency_for(self.scorer.requires, self.saliency)
        self.remarks = saliency.flags if isinstance(saliency, Saliency) else ()
        vectors, self.saliency_kind = lazy_saliencies(saliency, self.listed, self.targets, model)
        if self.sparsity is None:  # a step towards a sparsity is counted in weights
            warn_of_percent(self.amount, sum(t.parameter.numel() for t in self.targets))
        self.parts = parts_of(self.targets, self.scores, self.listed, vectors)
        self.floors = floors_of([t.parameter.numel() for t in self.targets], self.min_keep)
        self.shares: Sequence[float | int] = [self.amount] * len(self.parts)
        if self.pool == "erk":
            shapes = [t.layout.shape_of_layer(t.parameter.shape) for t in self.targets]
            sizes = [p.numel for p in self.parts]
            self.shares = erk_removals(shapes, self.amount, sizes=sizes, present=[p.present for p in self.parts])

    def check_read(self) -> None:
        """Refuse hooks where they would not run: on what the saliency's batches showed to be read by nobody who is known."""
        if not isinstance(self.saliency, Saliency) or not self.saliency.read_elsewhere:
            return
        known = {(id(r.module), r.name) for r in (readers(self.root) if self.root is not None else ())}
        elsewhere = [t.path for t in self.listed if self.saliency.shows_elsewhere(t) and (id(t.module), t.name) not in known]
        if elsewhere:
            raise ValueError(
                f"{listed(elsewhere)}: read without calling its layer, as the saliency's batches showed, so a pruning hook there "
                "would not run; leave it out with params=, or prune for good with finalize=True"
            )

    def kept(self) -> Iterator[tuple[Target, Tensor]]:
        """Yield every distinct target with its mask, a bool vector, in order."""
        for indices in self.pools:
            pool = [self.targets[i] for i in indices]
            if self.pool != "global" and not bool(pool[0].present().any()):
                yield pool[0], pool[0].present().reshape(-1)
                continue
            choice = self._choose(indices)
            self.choices.append(choice)
            may_stay = self._zeros_may_stay(choice)
            for target, kept in zip(pool, choice.kept, strict=True):
                if may_stay:
                    self.zeros += count_zeros(target.parameter, kept)
                yield target, kept
        if not self.choices:
            raise ValueError("Expected at least one unit to rank, got none: everything is pruned already")

    def _zeros_may_stay(self, choice: Choice) -> bool:
        """Whether zeros of the weights must be looked for among what stays: the lowest magnitudes went, and some were above."""
        by_magnitude = isinstance(choice.scorer, ScaledMagnitudeScorer) and self.scores is None and not any(self.floors)
        return not (by_magnitude and choice.threshold is not None and choice.threshold > 0)

    def _choose(self, indices: Sequence[int]) -> Choice:
        scorer, i, kind = for_pool(self.scorer, len(self.choices)), indices[0], self.saliency_kind
        pattern = n_of_m(self.pool)
        if self.pool == "row" or pattern is not None:
            name, amount, floor = self.targets[i].path, float(self.amount), self.floors[i]
            return choose_in_groups(
                scorer,
                self.parts[i],
                amount,
                name=name,
                layout=self.targets[i].layout,
                pattern=pattern,
                saliency_kind=kind,
                sparsity=self.sparsity,
                floor=floor,
            )
        return choose(
            scorer,
            [self.parts[i] for i in indices],
            self.shares[i],
            saliency_kind=kind,
            sparsity=self.sparsity,
            floors=[self.floors[i] for i in indices],
            exact=self.exact,
            roomy=self.roomy,
        )

    def masks(self) -> tuple[dict[str, Tensor], PruningReport]:
        """All of them in memory, by name, and the report."""
        masks = {t.path: kept.view(t.parameter.shape) for t, kept in self.kept()}
        named = self.by_name(masks)
        return named, self.report(layer_sparsities(self.targets, masks), mask_hash(named))

    def by_name(self, of_target: Mapping[str, V]) -> dict[str, V]:
        """Every name of a tied parameter is in the masks and their hash; it counts once."""
        by_parameter = {id(t.parameter): of_target[t.path] for t in self.targets}
        return {t.path: by_parameter[id(t.parameter)] for t in self.listed}

    def coverage(self) -> Coverage | None:
        """What share of the model this is; a list of pairs has no model."""
        listed = [(t.module, t.name) for t in self.listed]
        return coverage(self.model, listed) if isinstance(self.model, nn.Module) else None

    def report(self, layers: Sequence[LayerSparsity], found_hash: str) -> PruningReport:
        """What was done, with a warning for every layer that vanished."""
        return PruningReport.of(
            self.choices,
            layers,
            amount=self.amount,
            flags=(*self.remarks, *warn_vanished(layers)),
            zeros=self.zeros + sum(layer.pruned for layer in layers),
            method=self.name,
            unit="weight",
            pool=self.pool,
            mask_hash=found_hash,
            coverage=self.coverage(),
        )


def scorer_of(method: Method, parameters: Mapping[str, Any], structured: bool = False) -> tuple[str, Scorer]:
    """The name of a method as reports give it, and its scorer. ``structured``: its structured methods stand for it too.

    >>> scorer_of("chaos", {"alpha": 0.2})
    ('chaos', Chaos(alpha=0.2))
    """
    if isinstance(method, str):
        return method, build_scorer(method, **parameters)
    allowed = structured or getattr(method, "PRUNING_TYPE", None) != "structured"
    if isinstance(method, type) and allowed and hasattr(method, "scorer_class"):
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

    >>> for_pool(build_scorer("random"), 0), for_pool(build_scorer("random"), 1)
    (Random(seed=0), Random(seed=1))
    """
    seed = getattr(scorer, "seed", None)
    return scorer if index == 0 or seed is None else replace(scorer, seed=(seed * 1_000_003 + index) % 2**63)  # type: ignore[call-arg]


def layer_sparsities(targets: Sequence[Target], masks: Masks) -> tuple[LayerSparsity, ...]:
    """How many units of every target a set of masks leaves."""
    return LayerSparsity.of_masks({t.path: masks[t.path] for t in targets})


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
