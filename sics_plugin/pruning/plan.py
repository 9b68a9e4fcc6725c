"""What a prune of weights is asked for, resolved and checked, and the choice and report it comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.network.callers import readers
from sics_plugin.network.masks import Masks, mask_hash
from sics_plugin.network.names import listed
from sics_plugin.network.prunable import Coverage, coverage, resolve_targets
from sics_plugin.network.targets import Parameter, Target, without_ties
from sics_plugin.pruning.choose import Choice, choose
from sics_plugin.pruning.inputs import Scores, floors_of, lazy_saliencies, parts_of
from sics_plugin.pruning.layer_ranks import for_pool
from sics_plugin.pruning.report import LayerSparsity, PruningReport
from sics_plugin.pruning.row_groups import choose_in_groups
from sics_plugin.saliency.collection import Saliency, saliency_for
from sics_plugin.scorers.adaptive import Adaptive, AdaptiveTable
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.registry import build_scorer
from sics_plugin.scorers.sics import ScaledMagnitudeScorer
from sics_plugin.selection.fetch import sum_of
from sics_plugin.selection.lowest import check_amount, check_sparsity, warn_of_percent
from sics_plugin.selection.pools import ONE_CUT, check_amount_for, erk_removals, n_of_m, pools_of
from sics_plugin.selection.zeros import count_zeros
from sics_plugin.warn import warn_caller

#: A scorer's name, a scorer, the torch method of one (a class with a ``scorer_class``), or a table for the adaptive one.
Method = str | Scorer | type[BasePruningMethod] | AdaptiveTable
#: "global", "layer", "layer-rank", "row", "erk" or "N:M": see :mod:`sics_plugin.selection.pools`.
Pool = str
#: Of a model: (module, name) pairs, or paths.
Params = Iterable[Parameter | str]
V = TypeVar("V")


class VanishedLayerWarning(UserWarning):
    """A prune left a layer without a single weight."""


@dataclass(eq=False)
class Plan:
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

    def __post_init__(self) -> None:
        self._zeros: list[int | Tensor] = []  # among what stays, a layer each; counted where the weights are
        self.listed = resolve_targets(self.model, self.params)
        self.targets = without_ties(self.listed)
        self.root = self.model if isinstance(self.model, nn.Module) else None
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
        vectors, self.saliency_kind = lazy_saliencies(saliency, self.listed, self.targets, self.root)
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
            if self.pool not in ONE_CUT and not bool(pool[0].present().any()):
                yield pool[0], pool[0].present().reshape(-1)
                continue
            choice = self._choose(indices)
            self.choices.append(choice)
            may_stay = self._zeros_may_stay(choice)
            for target, kept in zip(pool, choice.kept, strict=True):
                if may_stay:
                    self._zeros.append(count_zeros(target.parameter, kept))
                yield target, kept
        if not self.choices:
            raise ValueError("Expected at least one unit to rank, got none: everything is pruned already")

    def _zeros_may_stay(self, choice: Choice) -> bool:
        """Whether zeros of the weights must be looked for among what stays: the lowest magnitudes went, and some were above."""
        own = self.scores is None and self.pool != "layer-rank" and not any(self.floors)
        by_magnitude = own and isinstance(choice.scorer, ScaledMagnitudeScorer)
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
            layer_ranks=self.pool == "layer-rank",
        )

    def masks(self) -> tuple[dict[str, Tensor], PruningReport]:
        """All of them in memory, by name, and the report."""
        masks = {t.path: kept.view(t.parameter.shape) for t, kept in self.kept()}
        named = self.by_name(masks)
        return named, self.report(layer_sparsities(self.targets, masks), mask_hash(named))

    def masks_by(self, scorer: Scorer) -> tuple[Masks, str]:
        """The masks by another scorer that takes the same saliency, and their hash, without a report."""
        self.scorer, self.choices = scorer, []
        named = self.by_name({t.path: kept.view(t.parameter.shape) for t, kept in self.kept()})
        return named, mask_hash(named)

    def by_name(self, of_target: Mapping[str, V]) -> dict[str, V]:
        """Every name of a tied parameter is in the masks and their hash; it counts once."""
        by_parameter = {id(t.parameter): of_target[t.path] for t in self.targets}
        return {t.path: by_parameter[id(t.parameter)] for t in self.listed}

    def coverage(self) -> Coverage | None:
        """What share of the model this is; a list of pairs has no model."""
        listed = [(t.module, t.name) for t in self.listed]
        return None if self.root is None else coverage(self.root, listed)

    def report(self, layers: Sequence[LayerSparsity], found_hash: str) -> PruningReport:
        """What was done, with a warning for every layer that vanished."""
        return PruningReport.of(
            self.choices,
            layers,
            amount=self.amount,
            flags=(*self.remarks, *warn_vanished(layers)),
            zeros=sum_of(self._zeros) + sum(layer.pruned for layer in layers),
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
