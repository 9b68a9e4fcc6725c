"""What a prune did: :class:`PruningReport`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sics_plugin.adaptive import AdaptiveChoice


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


@dataclass(frozen=True, slots=True)
class PruningReport:
    """What was pruned, how, and by which mask.

    ``sparsity`` counts earlier prunes too; ``threshold`` is the highest score that was removed (None where several pools had
    their own, or nothing was removed); ``scorer`` is the class that really ran, which differs from ``method`` for the
    adaptive one, whose ``choice`` says why.
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

    @property
    def sparsity(self) -> float:
        """Realised overall sparsity."""
        return self.pruned / self.total

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the realised sparsities."""
        facts = asdict(self)
        facts["sparsity"] = self.sparsity
        facts["layers"] = [asdict(layer) | {"sparsity": layer.sparsity, "shape": list(layer.shape)} for layer in self.layers]
        facts["flags"] = list(self.flags)
        if self.choice is not None:
            facts["choice"]["trials"] = list(facts["choice"]["trials"])
        return facts

    def __str__(self) -> str:
        rows = [
            f"{self.method}: {self.pruned:,} of {self.total:,} {self.unit}s pruned ({self.sparsity:.2%}), pool {self.pool}, "
            f"saliency {self.saliency_kind or 'none'}, mask {self.mask_hash[:12]}"
        ]
        if self.choice is not None:
            rows.append(f"  chose {self.choice}")
        width = max(len(layer.name) for layer in self.layers)
        rows += [f"  {layer.name:<{width}}  {layer.sparsity:7.2%}  of {layer.total:,}" for layer in self.layers]
        rows += [f"  note: {flag}" for flag in self.flags]
        return "\n".join(rows)
