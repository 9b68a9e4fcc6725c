"""The pool "layer-rank": units are ranked within their layer, and one cut goes through the scores of all layers.

A scorer sees each layer by itself, so that the percentile ρ and the coordinate z are those of the layer. A score built on ρ
(one that is ``ranked``) is compared between layers as it is. Any other score has a scale of its own in every layer:
its percentile in the layer stands for it. The normalisation is said to be the paper's (Li & Li 2026, by a public review of its
text); that other scores are compared by their percentiles is this project's reading.

What follows: multiplying one layer's weights by a positive number changes no mask. For magnitude alone, and for every score that
is compared by its percentile, this is the pool "layer" up to the rounding of each layer; a feature added to ρ moves the cut
between layers. Ties, which layers of one size always have, go by lower score, then lower ρ in the layer, then the earlier
position: the magnitudes of two layers are not compared. There is no histogram form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.coordinate import percentile, ranks
from sics_plugin.scorers.units import Units


def for_pool(scorer: Scorer, index: int) -> Scorer:
    """The scorer for the index-th pool: one that draws must not draw the same for every layer.

    >>> from sics_plugin import build_scorer
    >>> for_pool(build_scorer("random"), 0), for_pool(build_scorer("random"), 1)
    (Random(seed=0), Random(seed=1))
    """
    seed = getattr(scorer, "seed", None)
    return scorer if index == 0 or seed is None else replace(scorer, seed=(seed * 1_000_003 + index) % 2**63)  # type: ignore[call-arg]


def layer_scores(scorer: Scorer, units: Units, sizes: Sequence[int], sparsity: float) -> tuple[Tensor, Tensor]:
    """Scores of consecutive layers of these sizes, made for one cut, and ρ in the layer, which decides ties; each of shape (n,).

    >>> from sics_plugin import build_scorer
    >>> units = Units(torch.tensor([0.1, 0.3, 0.2, 7.0, 5.0]))
    >>> layer_scores(build_scorer("magnitude"), units, [3, 2], 0.5)[0].mul(12).round().tolist()
    [2.0, 10.0, 6.0, 9.0, 3.0]
    """
    magnitudes = units.magnitude.split(list(sizes))
    saliencies = [None] * len(sizes) if units.saliency is None else units.saliency.split(list(sizes))
    scores, within = [], []
    for index, (magnitude, saliency) in enumerate(zip(magnitudes, saliencies, strict=True)):
        if not magnitude.numel():
            continue
        rank = ranks(magnitude)
        score = for_pool(scorer, index).score(Units(magnitude, saliency, units.saliency_kind), sparsity)
        if score.shape != magnitude.shape:
            raise ValueError(f"Expected one score per unit, shape ({magnitude.numel()},), got {tuple(score.shape)}")
        scores.append(score if scorer.ranked else _percentile_of(score, rank))
        within.append(percentile(rank))
    return torch.cat(scores), torch.cat(within)


def _percentile_of(score: Tensor, rank: Tensor) -> Tensor:
    """The percentile of finite scores; ties by the rank of their magnitude, which knows of positions."""
    if not bool(torch.isfinite(score).all()):
        return score  # refused where units are chosen
    by_magnitude = torch.argsort(rank)
    order = by_magnitude[torch.argsort(score[by_magnitude], stable=True)]
    return percentile(torch.argsort(order))
