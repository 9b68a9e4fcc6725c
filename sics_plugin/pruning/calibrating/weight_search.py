"""Finding the weights of a fusion: scipy's differential evolution within a stated number of evaluations, and what it found.

The same seed asks for the same points in the same order, whatever the budget. A search of 50 evaluations is therefore the first
50 of one of 200, one that was interrupted goes on from the points it has, and one search gives the whole budget curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from numbers import Integral
from typing import Any

import numpy as np

from sics_plugin.scorers.fusion import FeatureSet, Fusion

#: Members of the population for each weight. Differential evolution keeps one point a member and moves them one by one.
MEMBERS = 2
#: Every weight at the first point: equal ones, a number that scaling to bounds and back leaves as it is.
EQUAL = 0.5


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One point of a search: its weights, the held-out score of its mask (higher is better), and the mask."""

    weights: tuple[float, ...]
    score: float
    mask_hash: str


@dataclass(frozen=True, slots=True)
class FusionSearch:
    """What a search for weights found, frozen: every point in order, the first of equal weights.

    The best of several is chosen by its score, so its own score is too high: measure the result on data the search never saw.

    Parameters
    ----------
    features : tuple of str
        As :class:`~sics_plugin.Fusion` takes them.
    points : tuple of Evaluated
        One an evaluation.
    sparsity : float
        S that the masks were made for.
    seed : int
        Of the search, and of what the fusion shuffles.
    unit, pool : str
        What was pruned, and what was ranked against each other.
    saliency : str, optional
        The kind of saliency; None for none.
    """

    features: tuple[str, ...]
    points: tuple[Evaluated, ...]
    sparsity: float
    seed: int
    unit: str
    pool: str
    saliency: str | None

    @property
    def budget(self) -> int:
        """Evaluations that were made."""
        return len(self.points)

    @property
    def best(self) -> Evaluated:
        """The point with the highest score, the first of equal ones."""
        return max(self.points, key=lambda point: point.score)

    @property
    def weights(self) -> tuple[float, ...]:
        """The best weights."""
        return self.best.weights

    @property
    def curve(self) -> tuple[float, ...]:
        """The best score so far after each evaluation."""
        return tuple(accumulate((point.score for point in self.points), max))

    @property
    def masks(self) -> int:
        """How many different masks were scored: points may share one."""
        return len({point.mask_hash for point in self.points})

    @property
    def scorer(self) -> Fusion:
        """The fusion with the best weights, to prune with."""
        return Fusion(self.features, self.weights, self.seed)

    def at(self, budget: int) -> FusionSearch:
        """The same search with a smaller budget.

        >>> points = tuple(Evaluated((0.5,), score, "mask") for score in (1.0, 3.0, 2.0))
        >>> found = FusionSearch(("rho",), points, 0.7, 0, "weight", "global", None)
        >>> found.curve, found.at(1).curve
        ((1.0, 3.0, 3.0), (1.0,))
        """
        _check_budget(budget)
        if budget > self.budget:
            raise ValueError(f"Expected a `budget` of at most the {self.budget} evaluations that were made, got {budget}")
        return FusionSearch(
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name != "points"}, points=self.points[:budget]
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; :meth:`from_dict` reads it."""
        facts = asdict(self)
        return {**facts, "features": list(self.features), "points": [asdict(point) for point in self.points]}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> FusionSearch:
        """What :meth:`to_dict` gave."""
        points = tuple(Evaluated(tuple(p["weights"]), p["score"], p["mask_hash"]) for p in facts["points"])
        return cls(**{**facts, "features": tuple(facts["features"]), "points": points})

    def __str__(self) -> str:
        told = ", ".join(f"{word} {weight:+.3g}" for word, weight in zip(self.features, self.weights, strict=True))
        return (
            f"fusion at S = {self.sparsity:.4g}: {told}; held-out score {self.best.score:.6g}, equal weights "
            f"{self.points[0].score:.6g}; {self.budget} evaluations, {self.masks} masks, seed {self.seed}"
        )


class _Stop(Exception):  # noqa: N818  (no error where the budget is spent)
    """Out of the optimiser, which makes other errors of those it meets: the budget is spent, or why no score could be had."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


def search_weights(
    features: FeatureSet,
    score: Callable[[tuple[float, ...]], Evaluated],
    budget: int,
    *,
    seed: int = 0,
    known: Sequence[Evaluated] = (),
    after: Callable[[Evaluated], None] | None = None,
) -> tuple[Evaluated, ...]:
    """Exactly ``budget`` points, the first of equal weights; those ``known`` from an earlier search are not scored again.

    ``after`` is called with every new point, for keeping it.

    >>> def near(weights):
    ...     return Evaluated(weights, -abs(weights[1] + 0.25), repr(weights))
    >>> found = search_weights(FeatureSet(("rho", "z")), near, 60)
    >>> len(found), found[0].weights, round(max(found, key=lambda point: point.score).weights[1], 2)
    (60, (0.5, 0.5), -0.25)
    """
    from scipy.optimize import differential_evolution

    _check_budget(budget)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"Expected `seed` to be a whole number from 0 on, got {seed!r}")
    bounds, points = features.bounds(), []
    equal = (EQUAL,) * len(bounds)

    def loss(x: np.ndarray) -> float:
        if len(points) == budget:
            raise _Stop(None)
        weights = tuple(float(value) for value in x) if points else equal
        if not any(weights):
            return math.inf  # no mask is said by it: it counts for nothing
        try:
            if len(points) < len(known):
                found = _known(known, len(points), weights)
            else:
                found = score(weights)
                if after is not None:
                    after(found)
        except Exception as error:  # `evaluate` is the user's
            raise _Stop(error) from error
        points.append(found)
        return -found.score

    members = max(5, MEMBERS * len(bounds))
    rng = np.random.default_rng(seed)
    start = _latin_hypercube(rng, members, np.array(bounds))
    start[0] = equal
    try:
        # It would stop early where all scores of its members are equal, as accuracies may be: `atol` below 0 is never reached.
        differential_evolution(loss, bounds, init=start, maxiter=10**9, tol=0, atol=-1, polish=False, seed=rng)
    except _Stop as stop:
        if stop.error is not None:
            raise stop.error from None
        return tuple(points)
    raise AssertionError("differential evolution stopped by itself")


def _known(known: Sequence[Evaluated], index: int, weights: tuple[float, ...]) -> Evaluated:
    """A point that an earlier search has, seen to be the one that this search asks for."""
    found = known[index]
    if len(found.weights) != len(weights) or not np.allclose(found.weights, weights, rtol=0, atol=1e-9):
        raise ValueError(
            f"point {index + 1} of `known` has weights {found.weights}, and this search asks for {weights}: it is of another "
            "search (features, seed), or of another version of scipy"
        )
    return found


def _latin_hypercube(rng: np.random.Generator, members: int, bounds: np.ndarray) -> np.ndarray:
    """Points of which every weight has one in each of as many equal stretches; shape (members, weights)."""
    cells = np.stack([rng.permutation(members) for _ in bounds], axis=1)
    points: np.ndarray = bounds[:, 0] + (cells + rng.random(cells.shape)) / members * (bounds[:, 1] - bounds[:, 0])
    return points


def _check_budget(budget: object) -> None:
    if isinstance(budget, bool) or not isinstance(budget, Integral):
        raise TypeError(f"Expected `budget` to be a whole number, got {budget!r}")
    if budget < 1:
        raise ValueError(f"Expected `budget` to be at least 1 evaluation, got {budget}")
