"""The meter of complexity: what κ a scorer has on real weights, and whether it is the plateau, or a fake, in disguise.

The score is taken as its percentile u, because a mask depends on the order of the scores alone. What takes u away from an
increasing function of magnitude has three parts: a function of ρ that is not increasing, what the coordinate z says among units
of similar magnitude, and the rest. Whichever makes up half decides; of z, the share that no monotone curve can follow and the
share above 10 cycles tell κ = 1 from 2. docs/complexity.md has the method, the thresholds and what they were tried on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sics_plugin.complexity.decomposition import GROUPS, Cells, Shape, cells_of, draws, lay_out, residual_of, z_bins
from sics_plugin.complexity.kinds import BINS_FOR_RAW, KAPPA, STRUCTURE, Kind, at_every, kind_of_shape
from sics_plugin.complexity.rank_correlation import kendall, midranks, spearman
from sics_plugin.complexity.result import Complexity, ComplexityAt, Share, Surface
from sics_plugin.complexity.structure import labels_of, largest_share
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import Parameter, without_ties
from sics_plugin.pruning.inputs import join, lazy_saliencies, remaining_values
from sics_plugin.pruning.plan import Method, scorer_of
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.coordinate import coordinate, is_resolved, ranks
from sics_plugin.scorers.sics import COORDINATE_UNRESOLVED
from sics_plugin.scorers.units import SaliencyVector, Units, units_of
from sics_plugin.selection.lowest import check_sparsity, count_to_prune, lowest

Labels = Mapping[str, NDArray[np.int64]]

#: Where a scorer is measured unless told otherwise: the sparsities of the experiment.
SPARSITIES = (0.5, 0.6, 0.7, 0.8)
UNRESOLVED_CYCLES = "too few units for 40 cycles"
FEW_VALUES = "the saliency has few values among units of similar magnitude"
SHADOW = "what z says may be its shadow"
SAMPLED = "shapes measured on a sample of the units"
DRAWS = 100
#: Units the shapes are measured on at most; the masks are always those of all units.
_SAMPLE = 1 << 19
#: Shares of the bins of z that must hold units: to say nothing of the others, and to say anything.
_COVERED, _COVERED_AT_LEAST = 0.9, 0.5
#: Unexplained share of the departure from which on a reader is told of it.
_MUCH = 0.2
#: Bins of ρ in the figure at most, and units for each of its cells.
_SURFACE, _UNITS_OF_SURFACE = 64, 8


def measure(
    scorer: Method,
    model: nn.Module | Sequence[Parameter],
    saliency: Saliency | Tensor | None = None,
    *,
    against: Saliency | Tensor | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    draws: int = DRAWS,
    seed: int = 0,
    **parameters: Any,
) -> Complexity:
    """Measure a scorer on the weights of a model, as one global pool.

    Parameters
    ----------
    scorer : str, Scorer or SICSMethod subclass
    model : nn.Module or sequence of (module, name)
        A model stands for its :func:`~sics_plugin.prunable_parameters`; units that are pruned already are left out.
    saliency : Saliency or Tensor, optional
        What the scorer is given; without one, the neighbourhood magnitude.
    against : Saliency or Tensor, optional
        What z is made from, where that is not what the scorer is given: a scorer whose saliency is its score says nothing
        about itself by it.
    sparsities : sequence of float
        A feature may depend on S: it is measured at each.
    draws : int
        Bootstrap draws of units behind ``confidence`` and the intervals.
    seed : int
        Of the bootstrap and the split into halves.
    **parameters
        The scorer's own (``alpha``, ``seed``).

    Returns
    -------
    Complexity
        Below 512 units, ``kind`` is ``unresolved`` unless the masks are magnitude's.

    Raises
    ------
    ValueError, TypeError
        As pruning by the scorer would; a sparsity out of (0, 1), or none.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))
    >>> for name in ("power", "smooth_chaos", "chaos"):
    ...     found = measure(name, mlp, torch.rand(64 * 128 + 128 * 128), draws=20)
    ...     print(name, found.kind, found.kappa)
    power plateau 0
    smooth_chaos smooth 1
    chaos raw 2
    """
    listed = resolve_targets(model)
    targets = without_ties(listed)
    _, built = scorer_of(scorer, parameters)
    values = torch.cat([v.reshape(-1) for v in remaining_values(targets, None, listed)])

    def vector_of(one: Saliency | Tensor | None) -> SaliencyVector | None:
        vectors, kind = lazy_saliencies(one, listed, targets, model if isinstance(model, nn.Module) else None)
        return None if vectors is None or kind is None else SaliencyVector(join([make() for make in vectors]), kind=kind)

    return measure_units(
        built,
        units_of(values, vector_of(saliency)),
        against=None if against is None else units_of(values, vector_of(against)),
        sparsities=sparsities,
        draws=draws,
        seed=seed,
        labels=labels_of(targets),
    )


def measure_units(
    scorer: Scorer,
    units: Units,
    *,
    against: Units | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    draws: int = DRAWS,
    seed: int = 0,
    labels: Labels | None = None,
) -> Complexity:
    """As :func:`measure`, for any pool of units: channels, heads, or numbers of your own.

    Parameters
    ----------
    against : Units, optional
        The same units with the saliency z is made from; default: the one the scorer is given.
    labels : mapping of str to array of int, shape (n,), optional
        Groupings of the units (layer, row, column): what is unexplained is tried on each.

    Examples
    --------
    >>> from sics_plugin import build_scorer
    >>> units = Units(torch.rand(20_000), torch.rand(20_000), "gradient")
    >>> measure_units(build_scorer("information"), units, draws=20).kind
    'monotone'
    """
    if not sparsities:
        raise ValueError("Expected at least one of `sparsities`, got none")
    for sparsity in sparsities:
        check_sparsity(sparsity)
        if sparsity in (0, 1):
            raise ValueError(f"Expected `sparsities` between 0 and 1, where masks can differ, got {sparsity!r}")
    n = units.magnitude.numel()
    rank = ranks(units.magnitude)
    other = units if against is None else against
    z = coordinate(other.coordinate_saliency(), rank).cpu().numpy()
    sample = _Sample(n, rank.cpu().numpy(), z, labels or {}, seed)
    flags = [SAMPLED] if sample.size < n else []
    covered = sample.cells(units.magnitude)[0].covered
    resolved = is_resolved(n) and covered >= _COVERED_AT_LEAST
    if not is_resolved(n):
        flags.append(COORDINATE_UNRESOLVED)
    elif covered < _COVERED:
        flags.append(f"{FEW_VALUES}: {100 * (1 - covered):.0f} % of z is empty")
    if is_resolved(n) and sample.bins < BINS_FOR_RAW:
        flags.append(UNRESOLVED_CYCLES)
    rng = np.random.default_rng([seed, 1])
    weights = _draws(draws, rng)
    found = [_at(scorer, units, sparsity, sample, weights, resolved) for sparsity in sparsities]
    kind = at_every([one.kind for one, _ in found])
    drawn = [at_every(list(kinds)) for kinds in zip(*(kinds for _, kinds in found), strict=True)]
    flags += _shadows([one for one, _ in found])
    middle = sparsities[len(sparsities) // 2]
    return Complexity(
        name=scorer.name,
        declared=scorer.kappa,
        role=scorer.role,
        n=n,
        saliency=other.saliency_kind or "neighbourhood",
        at=tuple(one for one, _ in found),
        kind=kind,
        kappa=KAPPA.get(kind),
        confidence=float(np.mean([one == kind for one in drawn])) if drawn else 1.0,
        flags=tuple(flags),
        surface=sample.surface(_scores(scorer, units, middle), middle),
    )


_draws = draws


class _Sample:
    """The units the shapes are measured on: all of them, or as many as is worth the time."""

    def __init__(self, n: int, rank: NDArray[np.int64], z: NDArray[np.float64], labels: Labels, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 0])
        self.index = np.sort(self.rng.choice(n, _SAMPLE, replace=False)) if n > _SAMPLE else np.arange(n)
        self.size = self.index.size
        self.rank = np.argsort(np.argsort(rank[self.index], kind="stable"), kind="stable")
        self.z = z[self.index]
        self.labels = {name: label[self.index] for name, label in labels.items()}
        self.bins = z_bins(self.size)
        self.seed = seed

    def cells(self, score: Tensor) -> tuple[Cells, NDArray[np.float64]]:
        u = (midranks(score.double().cpu().numpy()[self.index]) + 0.5) / self.size
        return lay_out(u, self.rank, self.z, np.random.default_rng([self.seed, 2])), u

    def surface(self, score: Tensor, sparsity: float) -> Surface:
        cells, u = self.cells(score)
        place, across = cells_of(self.rank, self.z, self.bins, _UNITS_OF_SURFACE, _SURFACE)
        total, count = np.bincount(place, u, across * self.bins), np.bincount(place, minlength=across * self.bins)
        curve = _mean(cells.curve_sum.sum(axis=(0, 1, 2)), cells.curve_count.sum(axis=(0, 1, 2)))
        return Surface(_mean(total, count).reshape(across, self.bins), curve - np.nanmean(curve), sparsity)


def _mean(total: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float64]:
    """Means, nan where there is nothing."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _scores(scorer: Scorer, units: Units, sparsity: float) -> Tensor:
    return scorer.resolve(sparsity, units.saliency_kind).score(units, sparsity)


def _at(
    scorer: Scorer, units: Units, sparsity: float, sample: _Sample, weights: NDArray[np.float64], resolved: bool
) -> tuple[ComplexityAt, list[Kind]]:
    """The findings at one S, and the kind in every bootstrap draw."""
    score = _scores(scorer, units, sparsity)
    k = count_to_prune(float(sparsity), units.magnitude.numel())
    gone, plain = lowest(score, units.magnitude, k), lowest(units.magnitude, units.magnitude, k)
    either = int((~gone | ~plain).sum())
    jaccard = int((~gone & ~plain).sum()) / either if either else 1.0
    cells, u = sample.cells(score)
    shape = cells.shape(np.ones((2, GROUPS // 2)))
    structure, structure_in = largest_share(residual_of(u, sample.rank), sample.rank, sample.z, sample.labels, sample.rng)
    bins = cells.curve_sum.shape[-1]

    def kind_of(one: Shape) -> Kind:
        found = kind_of_shape(one, jaccard=jaccard, bins=bins, structure=structure)
        return found if resolved or found == "plateau" else "unresolved"

    kind = kind_of(shape)
    # The plateau is told by the masks of all units: no draw of units changes them.
    drawn = [cells.shape(weight) for weight in weights] if kind != "plateau" else []
    whole = shape.departure or 1.0
    return (
        ComplexityAt(
            sparsity=float(sparsity),
            jaccard=jaccard,
            identical=bool((gone == plain).all()),
            spearman=spearman(units.magnitude.double().cpu().numpy(), score.double().cpu().numpy()),
            kendall=kendall(sample.rank.astype(np.float64), u),
            departure=shape.departure,
            bent=shape.bent / whole,
            saliency=shape.saliency / whole,
            unexplained=shape.unexplained / whole,
            structure=structure,
            structure_in=structure_in,
            not_monotone=_with_interval(shape.not_monotone, [one.not_monotone for one in drawn]),
            above_ten_cycles=_with_interval(shape.above_ten_cycles, [one.above_ten_cycles for one in drawn]),
            kind=kind,
            kappa=KAPPA.get(kind),
            confidence=float(np.mean([kind_of(one) == kind for one in drawn])) if drawn else 1.0,
        ),
        [kind_of(one) for one in drawn] or [kind] * len(weights),
    )


def _shadows(found: Sequence[ComplexityAt]) -> list[str]:
    """A flag where much is unexplained and goes with where units lie: what z says may be that, seen through the saliency."""
    most = max(found, key=lambda one: one.unexplained * one.structure)
    if most.unexplained < _MUCH or most.structure < STRUCTURE or most.kind in ("plateau", "other", "unresolved"):
        return []
    return [f"{100 * most.unexplained:.0f} % of the departure is unexplained and goes with the {most.structure_in}: {SHADOW}"]


def _with_interval(value: float | None, drawn: Sequence[float | None]) -> Share | None:
    if value is None:
        return None
    known = [one for one in drawn if one is not None] or [value]
    low, high = np.quantile(known, [0.05, 0.95])
    return Share(value, float(low), float(high))
