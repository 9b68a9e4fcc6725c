"""What a prune did: :class:`PruningReport`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any, Self

from torch import Tensor, nn

from sics_plugin.channels.groups import BoundGroup
from sics_plugin.network.masks import Masks
from sics_plugin.network.names import plain_paths
from sics_plugin.network.prunable import Coverage, prunable_parameters
from sics_plugin.network.targets import Target
from sics_plugin.pruning.choose import Choice
from sics_plugin.scorers.base import AdaptiveChoice
from sics_plugin.selection.fetch import counts


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """One parameter after pruning: how many of its units are gone."""

    name: str
    shape: tuple[int, ...]
    total: int
    pruned: int

    @property
    def sparsity(self) -> float:
        """Fraction of the units that are gone."""
        return self.pruned / self.total if self.total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the fraction that is gone."""
        return asdict(self) | {"sparsity": self.sparsity, "shape": list(self.shape)}

    @classmethod
    def of_masks(cls, masks: Masks) -> tuple[LayerSparsity, ...]:
        """One a mask: how many of its entries it leaves."""
        kept = counts([mask.detach() for mask in masks.values()])
        return tuple(
            cls(name, tuple(m.shape), m.numel(), m.numel() - k) for (name, m), k in zip(masks.items(), kept, strict=True)
        )


@dataclass(frozen=True, slots=True)
class PruningReport:
    """What was pruned, how, and by which mask.

    ``sparsity`` counts earlier prunes too; ``threshold`` is the highest score that was removed (None where several pools had
    their own, or nothing was removed); ``scorer`` is the class that really ran, which differs from ``method`` for the
    adaptive one, whose ``choice`` says why. ``coverage`` says what share of the model's matrix weights was ranked at all; a list
    of pairs has no model, and None. ``zeros`` counts the weights that are zero afterwards, whether a mask made them so or they
    were before (None where units are not weights).
    """

    method: str
    scorer: str
    kappa: int | None
    amount: float | int
    alpha: float | None
    saliency_kind: str | None
    unit: str
    pool: str
    form: str
    total: int
    pruned: int
    threshold: float | None
    mask_hash: str
    layers: tuple[LayerSparsity, ...]
    flags: tuple[str, ...] = ()
    choice: AdaptiveChoice | None = None
    coverage: Coverage | None = None
    zeros: int | None = None

    @classmethod
    def of(
        cls,
        choices: Sequence[Choice],
        layers: Sequence[LayerSparsity],
        *,
        amount: float | int,
        flags: Sequence[str] = (),
        **facts: Any,
    ) -> Self:
        """What the choices in one or several pools did to layers."""
        last, forms = choices[-1], {choice.form for choice in choices}
        every = [flag for choice in choices for flag in choice.flags]
        return cls(
            scorer=last.scorer.name,
            kappa=last.scorer.kappa,
            amount=int(amount) if isinstance(amount, Integral) else float(amount),
            alpha=last.alpha,
            saliency_kind=last.saliency_kind,
            form=forms.pop() if len(forms) == 1 else "mixed",
            total=sum(layer.total for layer in layers),
            pruned=sum(layer.pruned for layer in layers),
            threshold=last.threshold if len(choices) == 1 else None,
            layers=tuple(layers),
            flags=tuple(dict.fromkeys((*every, *flags))),
            choice=last.scorer.choice,
            **facts,
        )

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Values in the order of the fields; pickles of earlier versions lack the later ones."""
        names = [f.name for f in fields(self)]
        if len(state) < len(names):
            for later in ("coverage", "zeros"):
                names.remove(later)
                object.__setattr__(self, later, None)
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    @property
    def sparsity(self) -> float:
        """Realised overall sparsity: what masks take."""
        return self.pruned / self.total

    @property
    def zero_fraction(self) -> float | None:
        """Fraction of the weights that are zero, masked or not."""
        return None if self.zeros is None else self.zeros / self.total

    @property
    def zeros_note(self) -> tuple[str, ...]:
        """A line where more is zero than masks say; else none."""
        if self.zeros is None or self.zeros <= self.pruned:
            return ()
        more = f"{self.zeros - self.pruned:,} were before, without a mask; `mask_zeros` makes masks of them"
        return (f"{self.zero_fraction:.4g} of the {self.unit}s are zero: {more}",)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the realised sparsities; a trial whose mask broke the model has the score None."""
        facts = asdict(self)
        facts["sparsity"] = self.sparsity
        facts["zero_fraction"] = self.zero_fraction
        facts["layers"] = [layer.to_dict() for layer in self.layers]
        facts["flags"] = list(self.flags)
        facts["coverage"] = None if self.coverage is None else self.coverage.to_dict()
        if self.choice is not None:
            facts["choice"]["trials"] = [
                {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in trial.items()}
                for trial in facts["choice"]["trials"]
            ]
        return facts

    def __str__(self) -> str:
        rows = [
            f"{self.method}: {self.pruned:,} of {self.total:,} {self.unit}s pruned ({100 * self.sparsity:.2f} %), "
            f"pool {self.pool}, saliency {self.saliency_kind or 'none'}, mask {self.mask_hash[:12]}"
        ]
        if self.choice is not None:
            rows.append(f"  chose {self.choice}")
        if self.coverage is not None:
            rows.append(f"  {self.coverage}")
        width = max(len(layer.name) for layer in self.layers)
        rows += [f"  {layer.name:<{width}}  {100 * layer.sparsity:6.2f} %  of {layer.total:,}" for layer in self.layers]
        rows += [f"  note: {note}" for note in (*self.flags, *self.zeros_note)]
        return "\n".join(rows)


def unit_sparsities(bound: Sequence[BoundGroup], present: Sequence[Tensor], removed: Mapping[int, Tensor]) -> list[LayerSparsity]:
    """How many units of every group are gone, earlier prunes included."""
    layers = []
    for position, group in enumerate(bound):
        size = group.group.size
        gone = size - int(present[position].sum()) + (int(removed[position].sum()) if position in removed else 0)
        layers.append(LayerSparsity(group.group.name, (size,), size, gone))
    return layers


def count_weights(model: nn.Module, bound: Sequence[BoundGroup], masks: Mapping[str, Tensor]) -> tuple[int, int]:
    """Entries of all prunable weights, and those that are masked; a weight matrix touched here is one of them."""
    paths = plain_paths(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of projections that nobody asked to prune
        try:
            prunable = prunable_parameters(model)
        except ValueError:  # a block by itself may have nothing but what would be a head
            prunable = []
    weights = {f"{paths[id(m)]}.{n}" if paths[id(m)] else n: Target(m, n, n) for m, n in prunable}
    weights |= {t.path: t for group in bound for t in group.targets if t.parameter.dim() > 1}
    distinct = {id(target.parameter): (name, target) for name, target in weights.items()}.values()
    total = pruned = 0
    for name, target in distinct:
        mask = masks.get(name, target.mask)
        total += target.parameter.numel()
        pruned += 0 if mask is None else int((mask == 0).sum())
    return total, pruned


@dataclass(frozen=True, slots=True)
class ChannelReport(PruningReport):
    """A :class:`~sics_plugin.PruningReport` whose units are channels or heads, with the weights that went with them.

    ``total``, ``pruned``, ``sparsity`` and ``layers`` count units: one :class:`~sics_plugin.LayerSparsity` a group, of shape
    (units,). ``parameters`` has one a masked parameter, biases and norms included. ``weight_pruned`` of ``weight_total``
    counts the entries of all weight matrices and filters that ``unit="weight"`` would rank, touched here or not, so that
    :attr:`weight_sparsity` stands beside the sparsity of an unstructured prune. The q and k rows of a removed head are not
    masked and not counted; :func:`~sics_plugin.shrink` takes them out as well.
    """

    parameters: tuple[LayerSparsity, ...] = ()
    weight_total: int = 0
    weight_pruned: int = 0

    @property
    def weight_sparsity(self) -> float:
        """Fraction of the model's prunable weights that are masked."""
        return self.weight_pruned / self.weight_total if self.weight_total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the realised sparsities of units, weights and parameters."""
        facts = PruningReport.to_dict(self)
        facts["parameters"] = [parameter.to_dict() for parameter in self.parameters]
        facts["weight_sparsity"] = self.weight_sparsity
        return facts

    def __str__(self) -> str:
        head, *rows = PruningReport.__str__(self).split("\n")
        weights = f"  {self.weight_pruned:,} of {self.weight_total:,} weights went with them ({100 * self.weight_sparsity:.2f} %)"
        return "\n".join([head, weights, *rows])
