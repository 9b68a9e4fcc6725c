"""What the meter of complexity found, as plain data: no tensors, no torch needed to read it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sics_plugin.complexity.kinds import Kind

_SAID: dict[str, str] = {
    "plateau": "the plateau in disguise (κ = 0): its masks are magnitude's",
    "smooth": "a smooth non-monotone feature of the saliency (κ = 1)",
    "raw": "a feature of the saliency with high-frequency content (κ = 2)",
    "shaped": "a non-monotone feature of the saliency (κ ≥ 1; too few units to tell 1 from 2)",
    "monotone": "monotone in the saliency at a given magnitude: information without complexity",
    "fake": "a fake: not increasing in magnitude, but a function of magnitude alone",
    "other": "governed by something else than magnitude and this saliency",
    "noise": "noise, as far as magnitude, this saliency and the units' places tell",
    "mixed": "a mixture: no one part makes up half of what takes it away from magnitude",
    "unresolved": "not told: too few units, or a saliency of too few values",
    "varies": "of another kind at another sparsity",
}


_MEASURED = (
    "jaccard", "spearman", "kendall", "departure", "bent", "saliency", "unexplained", "not_monotone", "above_ten_cycles",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """A share in [0, 1] with its bootstrap percentile interval (90 %)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ComplexityAt:
    """One scorer at one sparsity.

    Attributes
    ----------
    jaccard, identical
        Overlap of the kept units with those of magnitude's mask, and whether they are the same.
    spearman, kendall
        Rank correlation of the score with the magnitude; τ-b, exact.
    departure
        All that takes the score's percentile away from an increasing function of magnitude, as a share of its variance.
    bent, saliency, unexplained
        Shares of the departure, adding up to 1: a function of magnitude alone that is not increasing; what z says at a given
        magnitude; the rest.
    structure, structure_in
        Largest share of ``unexplained`` that goes with one of: layer, row, column, place; and which.
    not_monotone, above_ten_cycles
        Shares of what z says: what no monotone curve can follow, what lies above 10 cycles over (0, 1). None where z says so
        little (less than 0.05 of the departure) that it has no form.
    kind, kappa, confidence
        The class, its κ where it has one, and the share of bootstrap draws that agree.
    """

    sparsity: float
    jaccard: float
    identical: bool
    spearman: float
    kendall: float
    departure: float
    bent: float
    saliency: float
    unexplained: float
    structure: float
    structure_in: str
    not_monotone: Share | None
    above_ten_cycles: Share | None
    kind: Kind
    kappa: int | None
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A scorer over (ρ, z) at one S, for a figure."""

    score: NDArray[np.float64]  # mean percentile of the score, shape (ρ bins, z bins); nan where there are no units
    curve: NDArray[np.float64]  # what z adds to the percentile, averaged over ρ, shape (z bins of the meter,)
    sparsity: float


@dataclass(frozen=True, slots=True, eq=False)
class Complexity:
    """What a scorer is, measured on real weights; from :func:`~sics_plugin.complexity.meter.measure`.

    Attributes
    ----------
    name, declared, role
        Of the scorer: its name, the κ its class states (None for controls and baselines), its role.
    n, saliency
        Number of units, and the kind of saliency z was made from ("neighbourhood" where none was given).
    at : tuple of ComplexityAt
        One for each sparsity.
    kind, kappa, confidence
        What holds at every sparsity, κ where that kind has one, and the share of bootstrap draws of units that agree.
    flags
        Reasons for care.
    surface : Surface
    """

    name: str
    declared: int | None
    role: str
    n: int
    saliency: str
    at: tuple[ComplexityAt, ...]
    kind: Kind
    kappa: int | None
    confidence: float
    flags: tuple[str, ...]
    surface: Surface

    def to_row(self) -> dict[str, Any]:
        """One flat row: the whole, then means over the sparsities of what was measured at each."""
        row: dict[str, Any] = {
            "scorer": self.name,
            "declared": self.declared,
            "kind": self.kind,
            "kappa": self.kappa,
            "confidence": self.confidence,
            "n": self.n,
            "saliency_kind": self.saliency,
            "flags": "; ".join(self.flags),
        }
        values = {name: _values(self, name) for name in _MEASURED}
        return row | {name: float(np.mean(found)) if found else None for name, found in values.items()}

    def rows(self) -> list[dict[str, Any]]:
        """One flat row for each sparsity."""
        return [{"scorer": self.name, "n": self.n, "saliency_kind": self.saliency} | _flat(one) for one in self.at]

    def describe(self) -> str:
        """One paragraph a reviewer can quote."""
        values = "S = " + ", ".join(f"{one.sparsity:g}" for one in self.at)
        if self.kind == "varies":
            said = _SAID["varies"] + " (" + ", ".join(f"{one.sparsity:g}: {one.kind}" for one in self.at) + ")"
        else:
            said = _SAID[self.kind]
        text = (
            f"{self.name} is {said}. On {self.n} units, {values}, saliency {self.saliency}: "
            f"{100 * self.confidence:.0f} % of bootstrap "
            f"draws agree; Jaccard overlap with magnitude's masks {_span(self, 'jaccard')}; Spearman's rank correlation with "
            f"magnitude {_span(self, 'spearman')}"
        )
        if all(one.identical for one in self.at):
            return f"{text}. The masks are identical."
        text += (
            f". Of its departure from magnitude's order, {_span(self, 'saliency')} is the saliency's, {_span(self, 'bent')} bent "
            f"in magnitude alone, {_span(self, 'unexplained')} unexplained"
        )
        if _values(self, "not_monotone"):
            text += (
                f"; of the curve over z, {_span(self, 'not_monotone')} is not monotone and {_span(self, 'above_ten_cycles')} "
                "lies above 10 cycles"
            )
        if self.kind == "other":
            most = max(self.at, key=lambda one: one.structure)
            text += f"; of the unexplained, {most.structure:.2f} goes with the {most.structure_in}"
        return f"{text}." + "".join(f" Flag: {flag}." for flag in self.flags)


def _span(found: Complexity, name: str) -> str:
    values = _values(found, name)
    if not values:
        return "nothing"
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def _values(found: Complexity, name: str) -> list[float]:
    """What was measured at each sparsity, where it was."""
    values = [getattr(one, name) for one in found.at]
    return [value.value if isinstance(value, Share) else float(value) for value in values if value is not None]


def _flat(one: ComplexityAt) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in fields(one):
        value = getattr(one, field.name)
        row[field.name] = value.value if isinstance(value, Share) else value
        if field.name in ("not_monotone", "above_ten_cycles"):
            row |= {f"{field.name}_{end}": None if value is None else getattr(value, end) for end in ("low", "high")}
    return row
