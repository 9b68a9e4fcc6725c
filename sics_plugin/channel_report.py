"""What a structured prune did: :class:`ChannelReport`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sics_plugin.report import LayerSparsity, PruningReport


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
        facts["parameters"] = [asdict(p) | {"sparsity": p.sparsity, "shape": list(p.shape)} for p in self.parameters]
        facts["weight_sparsity"] = self.weight_sparsity
        return facts

    def __str__(self) -> str:
        head, *rows = PruningReport.__str__(self).split("\n")
        weights = f"  {self.weight_pruned:,} of {self.weight_total:,} weights went with them ({self.weight_sparsity:.2%})"
        return "\n".join([head, weights, *rows])
