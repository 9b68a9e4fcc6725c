"""What the meter of complexity found, as plain data: no tensors, no torch needed to read it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sics_plugin.complexity_kinds import KAPPA, Kind

_SAID: dict[str, str] = {
    "plateau": "the plateau in disguise (κ = 0): its masks are magnitude's",
    "smooth": "a smooth non-monotone feature of the saliency (κ = 1)",
    "raw": "a feature of the saliency with high-frequency content (κ = 2)",
    "shaped": "a non-monotone feature of the saliency (κ ≥ 1; too few units to tell 1 from 2)",
    "monotone": "monotone in the saliency at a given magnitude: information without a shape",
    "fake": "a fake: not increasing in magnitude, but a function of magnitude alone",
    "other": "governed by something else than magnitude and this saliency",
    "noise": "noise, as far as magnitude, this saliency and the units' places tell",
    "mixed": "a mixture: no one part makes up half of what takes it away from magnitude",
    "unresolved": "not told: too few units, or a saliency of too few values",
    "varies": "of another kind at another sparsity",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap percentile interval (90 %)."""

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
        Shares of what z says: what no monotone curve can follow, what lies above 10 cycles over (0, 1); each with its interval.
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
    not_monotone: float
    not_monotone_interval: Interval
    above_ten_cycles: float
    above_ten_cycles_interval: Interval
    kind: Kind
    kappa: int | None
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A scorer over (ρ, z), for a figure.

    Attributes
    ----------
    score : array, shape (ρ bins, z bins)
        Mean percentile of the score; nan where there are no units.
    curve : array, shape (z bins of the meter,)
        What z adds to the percentile, averaged over ρ.
    sparsity
        The S at which both were taken.
    """

    score: NDArray[np.float64]
    curve: NDArray[np.float64]
    sparsity: float


@dataclass(frozen=True, slots=True, eq=False)
class Complexity:
    """What a scorer is, measured on real weights; from :func:`~sics_plugin.complexity.measure`.

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
        names = ("jaccard", "spearman", "kendall", "departure", "bent", "saliency", "unexplained", "not_monotone")
        return row | {name: float(np.mean([getattr(one, name) for one in self.at])) for name in (*names, "above_ten_cycles")}

    def rows(self) -> list[dict[str, Any]]:
        """One flat row for each sparsity."""
        return [{"scorer": self.name, "n": self.n, "saliency_kind": self.saliency} | _flat(one) for one in self.at]

    def describe(self) -> str:
        """One paragraph a reviewer can quote."""
        first, last = self.at[0], self.at[-1]
        values = "S = " + ", ".join(f"{one.sparsity:g}" for one in self.at)
        if self.kind == "varies":
            said = _SAID["varies"] + " (" + ", ".join(f"{one.sparsity:g}: {one.kind}" for one in self.at) + ")"
        else:
            said = _SAID[self.kind]
        overlaps = sorted(one.jaccard for one in self.at)
        kept = f"{overlaps[0]:.3f} to {overlaps[-1]:.3f}"
        text = (
            f"{self.name} is {said}. On {self.n} units, {values}, saliency {self.saliency}: {self.confidence:.0%} of bootstrap draws "
            f"agree; Jaccard overlap with magnitude's masks {kept}; Spearman's rank correlation with magnitude {_span(self, 'spearman')}"
        )
        if all(one.identical for one in self.at):
            return f"{text}. The masks are identical."
        text += (
            f". Of its departure from magnitude's order, {_span(self, 'saliency')} is the saliency's, {_span(self, 'bent')} bent in "
            f"magnitude alone, {_span(self, 'unexplained')} unexplained"
        )
        if self.kind in ("smooth", "raw", "shaped", "monotone", "varies"):
            text += (
                f"; of the curve over z, {_span(self, 'not_monotone')} is not monotone and {_span(self, 'above_ten_cycles')} lies above "
                "10 cycles"
            )
        if self.kind == "other":
            text += f"; of the unexplained, {max(first.structure, last.structure):.2f} goes with the {first.structure_in}"
        return f"{text}." + "".join(f" Flag: {flag}." for flag in self.flags)


def _span(found: Complexity, name: str) -> str:
    values = [float(getattr(one, name)) for one in found.at]
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def _flat(one: ComplexityAt) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in fields(one):
        value = getattr(one, field.name)
        if isinstance(value, Interval):
            row |= {f"{field.name}_low": value.low, f"{field.name}_high": value.high}
        else:
            row[field.name] = value
    return row


def kappa_of(kind: Kind) -> int | None:
    """κ of a kind, None for those that have none.

    Examples
    --------
    >>> kappa_of("raw"), kappa_of("noise")
    (2, None)
    """
    return KAPPA.get(kind)
