"""Choosing class and strength of an adaptive prune, or weights of a fusion, on held-out data within a budget of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, cast

from torch import Tensor, nn

from sics_plugin.channels.discovery import find_groups
from sics_plugin.channels.groups import bind_groups
from sics_plugin.network.masks import Masks, clone_pruned, current_masks, masked
from sics_plugin.network.permanent import finalize
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import without_ties
from sics_plugin.pruning.calibrating.evaluate import Evaluate, score_of
from sics_plugin.pruning.calibrating.weight_search import Evaluated, FusionSearch, search_weights
from sics_plugin.pruning.report import PruningReport
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers.adaptive import PLATEAU, AdaptiveTable, FusionStep, Step, built, no_saliency, strength_at
from sics_plugin.scorers.base import Scorer, Trial
from sics_plugin.scorers.fusion import FeatureSet, Fusion, SharedFeatures, feature_set
from sics_plugin.scorers.sics import ALPHA_DEFAULT
from sics_plugin.scorers.units import kind_of

#: `prune_model` or `prune_channels`, which are defined above this module: (model, scorer, amount=, **options) -> report.
Prune = Callable[..., PruningReport]

#: The masks of a scorer, and their hash.
Make = Callable[[Scorer], tuple[Masks, str]]
#: Ranks, coordinates and features that a search keeps: of layers apart as well, several hundred.
SEARCH_KEEPS = 4096


Candidate = str | tuple[str, float | None]

#: Tried in this order, so that a small budget still meets what matters: magnitude first, which wins ties; then what
#: ``table="measured"`` runs, and the classes by complexity, at its strength for this S; then each at twice and at half of it.
CLASSES = ("magnitude", "information", "smooth_chaos", "chaos", "wiggle", "smooth_mouse")
STRENGTHS = (1.0, 2.0, 0.5)
#: A table calibrated at one S is asked for k/n, which rounding moves a little from it.
REACH = 0.05


@dataclass(frozen=True, slots=True)
class Calibration:
    """How to choose on held-out data, for ``calibrate=`` of ``prune_model``, ``compute_masks``, ``prune_channels`` and the like.

    Parameters
    ----------
    evaluate : callable(model) -> float
        Higher is better, on data that neither trained the model, nor gave its saliency, nor will measure the result. Called
        with a pruned copy of the model in eval mode. :func:`held_out_loss` and :func:`held_out_accuracy` make one from batches.
    budget : int
        Most calls of ``evaluate``; a mask that was met before costs none.
    candidates : sequence of str or (str, float), optional
        Scorers by name, with a strength or with their default one, in the order in which they are tried. Default: magnitude, then
        ``information`` and the classes, at the strength of ``table="measured"``, at twice and at half of it.
    features : str, FeatureSet or sequence of str, optional
        Instead of candidates: magnitude takes one evaluation, and a search of the weights of these features the rest, as
        :func:`~sics_plugin.search_fusion` does it. The budget is then a number of points, masks that were met before included.
    seed : int
        Of that search.

    Examples
    --------
    >>> Calibration(lambda model: 0.0, budget=1)
    Traceback (most recent call last):
    ...
    ValueError: Expected `budget` to be at least 2 evaluations, one has nothing to choose from, got 1
    """

    evaluate: Evaluate
    budget: int
    candidates: tuple[Candidate, ...] | None = None
    features: str | FeatureSet | tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not callable(self.evaluate):
            raise TypeError(f"Expected `evaluate` to be callable, got {type(self.evaluate).__name__}")
        if isinstance(self.budget, bool) or not isinstance(self.budget, Integral):
            raise TypeError(f"Expected `budget` to be a whole number, got {self.budget!r}")
        if self.budget < 2:
            raise ValueError(f"Expected `budget` to be at least 2 evaluations, one has nothing to choose from, got {self.budget}")
        if self.features is not None:
            if self.candidates is not None:
                raise TypeError("Expected `candidates` or `features`, got both: the one is a list to try, the other a search")
            wanted = self.features if isinstance(self.features, str | FeatureSet) else tuple(self.features)
            object.__setattr__(self, "features", feature_set(wanted))
        if self.candidates is not None:
            object.__setattr__(self, "candidates", tuple(self.candidates))
            if len({_split(candidate) for candidate in self.candidates or ()}) < 2:
                raise ValueError(f"Expected at least two different `candidates`, got {self.candidates!r:.80}")
            for candidate in self.candidates or ():
                built(*_split(candidate))

    def listed(self, saliency_kind: str | None, sparsity: float) -> list[tuple[str, float | None]]:
        """The candidates with their strengths at S, in order."""
        if self.candidates is not None:
            return [_split(candidate) for candidate in self.candidates]
        plain, *classes = CLASSES
        default = ALPHA_DEFAULT if no_saliency(saliency_kind) else strength_at(sparsity)
        return [(plain, None), *((name, default * times) for times in STRENGTHS for name in classes)]


def _split(candidate: Candidate) -> tuple[str, float | None]:
    if isinstance(candidate, str):
        return candidate, None
    name, alpha = candidate
    return name, alpha


def calibrate(
    model: nn.Module, amount: float | int, how: Calibration, *, prune: Prune, unit: str = "weight", **options: Any
) -> AdaptiveTable:
    """Try candidates on held-out data and make a table of the best at this one sparsity; ties go to the one tried first.

    ``model`` is unchanged: every candidate prunes a copy, by the ``prune`` that follows, of ``unit``s, with its ``options``
    (``saliency``, ``pool``, ``min_keep``, ``sparsity``; ``params`` or, of channels, ``groups``). The table has every trial and
    its score. The winner's own score is the largest of several, so it is too high: measure the result on other data.

    >>> import torch
    >>> from sics_plugin import held_out_loss, prune_model
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> batches = [(torch.randn(16, 64), torch.randint(4, (16,))) for _ in range(2)]
    >>> how = Calibration(held_out_loss(batches), budget=3)
    >>> table = calibrate(mlp, 0.7, how, prune=prune_model, saliency=Saliency(mlp, batches))
    >>> [trial.scorer for trial in table.trials]
    ['magnitude', 'information', 'smooth_chaos']
    """
    check_model(model)
    prune, options = on_copies(model, prune, unit, options)
    kind = kind_or_none(options.get("saliency"))
    trials: list[Trial] = []
    known: dict[str, float] = {}
    target = target_sparsity(model, amount, unit, prune, options)
    searched = how.features is not None
    for name, alpha in [(PLATEAU, None)] if searched else how.listed(kind, target):
        twin = clone_pruned(model)
        report = prune(twin, built(name, alpha), amount=amount, **options)
        if report.mask_hash not in known:
            if len(known) == how.budget:
                break
            known[report.mask_hash] = score_of(how.evaluate, twin.eval(), name)
        trials.append(Trial(name, report.alpha, known[report.mask_hash], report.mask_hash))
    if searched:
        found = _searched(model, amount, how, prune, options, sparsity=float(target), unit=unit, saliency=kind)
        trials += [Trial("fusion", None, point.score, point.mask_hash) for point in found.points]
    best = max(trials, key=lambda trial: trial.score)  # the first of equal ones
    evaluations = len(trials) if searched else len(known)
    tried = f"best of {len(trials)} tried on held-out data by {evaluations} evaluations, score {best.score:.6g}"
    step = Step(float(target), best.scorer, best.alpha, tried)
    if searched and best.scorer == "fusion":
        step = FusionStep(float(target), best.scorer, None, f"{tried}; {found}", found.scorer)
    source = f"held-out data, budget {how.budget}"
    pool, known_kind = str(options.get("pool", "global")), None if kind == "supplied" else kind or "neighbourhood"
    return AdaptiveTable((step,), source, REACH, unit, pool, not no_saliency(kind), known_kind, tuple(trials))


def _searched(
    model: nn.Module, amount: float | int, how: Calibration, prune: Prune, options: dict[str, Any], **facts: Any
) -> FusionSearch:
    """The weights of a fusion by what of the budget magnitude leaves."""

    def make(scorer: Scorer) -> tuple[Masks, str]:
        twin = clone_pruned(model)
        report = prune(twin, scorer, amount=amount, **options)
        return current_masks(twin), report.mask_hash

    pool, features = options.get("pool", "global"), how.features or ""
    return search(model, make, evaluate=how.evaluate, budget=how.budget - 1, features=features, seed=how.seed, pool=pool, **facts)


def search(
    model: nn.Module,
    make: Make,
    *,
    evaluate: Evaluate,
    budget: int,
    features: str | FeatureSet | tuple[str, ...],
    seed: int = 0,
    known: Sequence[Evaluated] = (),
    after: Callable[[Evaluated], None] | None = None,
    **facts: Any,
) -> FusionSearch:
    """Search weights of a fusion whose masks ``make`` makes: parameters as of :func:`~sics_plugin.search_fusion`.

    ``facts`` are what the result says besides: S, unit, pool, saliency.
    """
    if not callable(evaluate):
        raise TypeError(f"Expected `evaluate` to be callable, got {type(evaluate).__name__}")
    wanted = feature_set(features)
    scores: dict[str, float] = {point.mask_hash: point.score for point in known}
    dense = finalize(clone_pruned(model)).eval()  # what every mask is put on, and taken off again

    def score(weights: tuple[float, ...]) -> Evaluated:
        masks, found = make(Fusion(wanted.features, weights, seed))
        if found not in scores:
            with masked(dense, masks):
                scores[found] = score_of(evaluate, dense, f"fusion with weights {weights}")
        return Evaluated(weights, scores[found], found)

    with SharedFeatures(limit=SEARCH_KEEPS):
        first = known[0] if known else None
        fits = first is not None and len(first.weights) == len(wanted.features)
        if first is not None and fits and make(Fusion(wanted.features, first.weights, seed))[1] != first.mask_hash:
            raise ValueError("Expected `known` points of this search, got those of another model, saliency, pool or amount")
        points = search_weights(wanted, score, budget, seed=seed, known=known, after=after)
    return FusionSearch(wanted.features, points, seed=int(seed), **facts)


def check_model(model: object) -> None:
    """Refuse parameters without their model."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"Expected a model to calibrate on, got {type(model).__name__}: parameters alone cannot be evaluated; "
            "give the model, and name them in `params`"
        )


def on_copies(model: nn.Module, prune: Prune, unit: str, options: dict[str, Any]) -> tuple[Prune, dict[str, Any]]:
    """A prune and its options, for copies of the model."""
    if unit != "weight":
        prune = partial(prune, unit=unit)
    if options.get("params") is not None:  # by their paths, which a copy of the model has as well
        options = {**options, "params": [target.path for target in resolve_targets(model, options["params"])]}
    return prune, options


def kind_or_none(saliency: Saliency | Tensor | None) -> str | None:
    """The kind that a saliency says it is."""
    return saliency.kind if isinstance(saliency, Saliency) else kind_of(saliency) if isinstance(saliency, Tensor) else None


def present_units(model: nn.Module, unit: str, options: dict[str, Any]) -> int:
    """How many units are there before."""
    if unit == "weight":
        targets = without_ties(resolve_targets(model, options.get("params")))
        return sum(int(target.present().sum()) for target in targets)
    groups = options.get("groups")
    bound = bind_groups(model, find_groups(model, cast(Any, unit)) if groups is None else groups)
    return sum(int(group.present().sum()) for group in bound)


def target_sparsity(model: nn.Module, amount: float | int, unit: str, prune: Prune, options: dict[str, Any]) -> float:
    """The S that scorers are told: what was asked for, or the fraction that a prune removes of the units that are there."""
    if options.get("sparsity") is not None:
        return float(options["sparsity"])
    twin = clone_pruned(model)
    before = present_units(twin, unit, options)
    report = prune(twin, PLATEAU, amount=amount, **{name: value for name, value in options.items() if name != "saliency"})
    return (report.pruned - (report.total - before)) / before
