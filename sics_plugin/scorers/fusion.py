"""Fusion: a weighted sum of standardised rank features, and the sets of features that are compared with each other.

A feature is written as a word. ``rho`` is the percentile of the magnitude, ``z`` the coordinate, ``saliency`` the percentile of
the saliency itself, ``taylor`` that of m·c with c the gradient RMS, whose order is Taylor's for single weights. ``rho^2`` and
``z^0.5`` are powers. Any class built on z gives its φ by its name (``orbit_mean``, ``chaos``, ``sine``); ``spline:3`` is the
random spline of seed 3. ``orbit_mean(rho)`` is φ of ρ in the place of z, ``orbit_mean(shuffled)`` of z dealt out anew among the
units. Each has mean 0 and variance 1 for uniform ranks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sics_plugin.scorers import spectra
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.coordinate import SharedRanks, coordinate, is_resolved, keeper_in_force, percentile, ranks, shared
from sics_plugin.scorers.registry import build_scorer, get_scorer, register_scorer
from sics_plugin.scorers.sics import COORDINATE_UNRESOLVED, CoordinateScorer
from sics_plugin.scorers.units import Units

_FORM = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\^(?P<power>\d+(?:\.\d+)?)|:(?P<curve>\d+))?(?:\((?P<of>rho|shuffled)\))?")


#: Features that are percentiles of what is measured, and those made of ranks alone; every other one is the φ of a class.
_MEASURED = ("saliency", "taylor")
_PLAIN = ("rho", "z", *_MEASURED)


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, read from its word; called with magnitudes and a saliency it gives its values, float64 of shape (n,)."""

    name: str
    power: float
    curve: int | None
    of: str
    sparsity: float = 0.0
    seed: int = 0

    @classmethod
    def read(cls, word: str) -> Feature:
        """Refuse what is no feature.

        >>> Feature.read("rho^2").power, Feature.read("orbit_mean(shuffled)").of
        (2.0, 'shuffled')
        """
        found = _FORM.fullmatch(word) if isinstance(word, str) else None
        if found is None:
            raise ValueError(
                "Expected a feature such as 'rho', 'rho^2', 'z', 'saliency', 'taylor', 'orbit_mean', 'orbit_mean(rho)' or "
                f"'spline:3', got {word!r}"
            )
        name, power, curve = found["name"], found["power"], found["curve"]
        of = found["of"] or ("rho" if name == "rho" else "z")
        plain = name in _PLAIN
        if not plain and not issubclass(get_scorer(name), CoordinateScorer):
            raise ValueError(f"Expected a feature built on z, got {word!r}")
        if power is not None and (name not in ("rho", "z") or float(power) == 0):
            raise ValueError(f"Expected a power above 0 of rho or z, got {word!r}")
        if curve is not None and name != "spline":
            raise ValueError(f"Expected a number after 'spline' alone, got {word!r}")
        if found["of"] and plain and (name, of) != ("z", "shuffled"):
            raise ValueError(f"Expected a class built on z before '({of})', got {word!r}")
        return cls(name, 1.0 if power is None else float(power), None if curve is None else int(curve), of)

    @property
    def scorer(self) -> CoordinateScorer | None:
        """The class that φ comes from; None for powers and percentiles."""
        if self.name in _PLAIN:
            return None
        found = build_scorer(self.name, **({} if self.curve is None else {"curve": self.curve}))
        assert isinstance(found, CoordinateScorer)
        return found

    @property
    def reads_z(self) -> bool:
        """Whether the coordinate plays a part."""
        return self.of != "rho" and self.name not in _MEASURED

    def __call__(self, magnitude: Tensor, saliency: Tensor) -> Tensor:
        """Its values for one pool."""
        if self.name in _MEASURED:
            return _power(_midpercentile(magnitude.double() * saliency if self.name == "taylor" else saliency), 1.0)
        rank = ranks(magnitude)
        u = percentile(rank) if self.of == "rho" else coordinate(saliency, rank)
        if self.of == "shuffled":
            draws = torch.rand(u.numel(), generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
            u = u[torch.argsort(draws, stable=True).to(u.device)]
        scorer = self.scorer
        return _power(u, self.power) if scorer is None else scorer.feature(u, self.sparsity).double()


def _power(u: Tensor, power: float) -> Tensor:
    """uᵖ, standardised for u uniform on (0, 1)."""
    mean = 1 / (power + 1)
    return (u**power - mean) / math.sqrt(1 / (2 * power + 1) - mean**2)


def _midpercentile(values: Tensor) -> Tensor:
    """Percentiles, equal values alike.

    >>> _midpercentile(torch.tensor([5.0, 1.0, 5.0, 9.0])).tolist()
    [0.5, 0.125, 0.5, 0.875]
    """
    ordered = values.sort().values
    below, upto = (torch.searchsorted(ordered, values.contiguous(), right=right) for right in (False, True))
    return (below + upto).double() / (2 * values.numel())


class SharedFeatures(SharedRanks):
    """Keeps features besides ranks, 16 bytes a unit and feature: for a search, which asks for the same at every point."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features whose weights are searched together. ``signed`` False: no weight is below 0, so that the sum stays monotone."""

    features: tuple[str, ...]
    signed: bool = True

    def bounds(self) -> list[tuple[float, float]]:
        """Where each weight is looked for; that of ρ is never negative. Only the weights' proportions matter to a mask."""
        return [(-1.0 if self.signed and word != "rho" else 0.0, 1.0) for word in self.features]


#: Sets of five features each, but for "both_orbit". "orbit" and "smooth_orbit" are the paper's as we read it, "rank_orbit" the
#: same read off the magnitude rank, and "both_orbit" has the raw indicators and the smoothed ones, nine features with ρ: whether
#: more of them are better, and with more weights under one budget. The others are controls: the same search without complexity,
#: without a shape, of other shapes, without a signal.
FEATURE_SETS: Mapping[str, FeatureSet] = {
    "orbit": FeatureSet(("rho", "orbit_peak", "orbit_variance", "orbit_range", "orbit_mean")),
    "smooth_orbit": FeatureSet(("rho", *(f"smooth_orbit_{name}" for name in spectra.INDICATORS))),
    "rank_orbit": FeatureSet(("rho", *(f"orbit_{name}(rho)" for name in spectra.INDICATORS))),
    "both_orbit": FeatureSet(("rho", *spectra.ORBIT_ROWS)),
    "magnitude": FeatureSet(("rho", "rho^0.5", "rho^2", "taylor", "saliency")),
    "information": FeatureSet(("rho", "z", "z^0.5", "z^2", "z^3"), signed=False),
    "spline": FeatureSet(("rho", *(f"spline:{curve}" for curve in range(4)))),
    "shuffled": FeatureSet(("rho", *(f"orbit_{name}(shuffled)" for name in spectra.INDICATORS))),
}


def feature_set(features: str | FeatureSet | tuple[str, ...]) -> FeatureSet:
    """A set by its name, or one made of features; ``rho`` is among them.

    >>> feature_set("information").signed, feature_set(("rho", "chaos")).bounds()
    (False, [(0.0, 1.0), (-1.0, 1.0)])
    """
    if isinstance(features, str):
        if features not in FEATURE_SETS:
            raise ValueError(f"Expected `features` to be one of {', '.join(FEATURE_SETS)}, or features, got {features!r}")
        return FEATURE_SETS[features]
    found = features if isinstance(features, FeatureSet) else FeatureSet(tuple(features))
    Fusion(found.features)  # checks them
    return found


@register_scorer
@dataclass(frozen=True)
class Fusion(Scorer):
    """s = Σ wᵢ·(standardised rank feature)ᵢ, ρ among the features: the paper's fusion. Its weights are searched on held-out data.

    Parameters
    ----------
    features : tuple of str
        As :mod:`sics_plugin.scorers.fusion` writes them; default: ρ and the four raw indicators of orbits.
    weights : tuple of float, optional
        One a feature; None: equal ones. Only their proportions matter to a mask.
    seed : int
        Of what is shuffled.

    Notes
    -----
    It has no κ of its own, which depends on the weights: :func:`sics_plugin.complexity.measure` tells that of any one.

    Examples
    --------
    >>> units = Units(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    >>> Fusion(("rho", "rho^2"), (1.0, 0.0)).score(units, 0.5).mul(8 / 12**0.5).round().tolist()
    [-3.0, -1.0, 1.0, 3.0]
    """

    name, role, summary = "fusion", "adaptive", "Σ w·(standardised rank feature), ρ among them"
    on_request, ranked = True, True
    features: tuple[str, ...] = FEATURE_SETS["orbit"].features
    weights: tuple[float, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        for word in self.features:
            Feature.read(word)
        if "rho" not in self.features or len(set(self.features)) != len(self.features):
            raise ValueError(f"Expected `features` with 'rho' among them and each once, got {self.features!r}")
        if self.weights is None:
            return
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if len(self.weights) != len(self.features) or not all(map(math.isfinite, self.weights)) or not any(self.weights):
            raise ValueError(
                f"Expected `weights`: {len(self.features)} finite numbers, one a feature, not all 0, got {self.weights!r}"
            )

    @property
    def _in_force(self) -> tuple[float, ...]:
        """The weights, equal ones where none are given."""
        return self.weights or (1.0,) * len(self.features)

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        read = [Feature.read(word) for word in self.features]
        if any(one.name == "taylor" for one in read) and units.saliency_kind != "gradient":
            got = "none" if units.saliency is None else repr(units.saliency_kind)
            raise ValueError(f"feature 'taylor' needs gradient saliency, got {got}: pass saliency=Saliency(model, batches, loss)")
        saliency = units.coordinate_saliency()
        total = torch.zeros_like(units.magnitude, dtype=torch.float64)
        keeps = isinstance(keeper_in_force(), SharedFeatures)
        for one, weight in zip(read, self._in_force, strict=True):
            if not weight:
                continue
            own = Feature(one.name, one.power, one.curve, one.of, sparsity, self.seed if one.of == "shuffled" else 0)
            total += weight * (shared(own, units.magnitude, saliency) if keeps else own(units.magnitude, saliency))
        return total

    def flags(self, n: int) -> tuple[str, ...]:  # noqa: D102
        reads = any(Feature.read(word).reads_z for word in self.features)
        return (COORDINATE_UNRESOLVED,) if reads and not is_resolved(n) else ()

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:  # noqa: D102
        facts = super().fingerprint(saliency_kind)
        scorers = [Feature.read(word).scorer for word in self.features]
        tables = {scorer.fingerprint()["tables"] for scorer in scorers if scorer is not None}
        facts["parameters"] |= {"features": list(self.features), "weights": list(self._in_force)}
        return {**facts, "tables": ", ".join(sorted(tables - {None})) or None}
