"""The histogram form of ρ and z: scores of κ ≥ 1 for pools too large to sort, in memory that does not grow with them.

Nothing is kept per unit but one bit. The steps, each a pass over the tensors:

1. *Magnitudes* are counted by cell, and every so many-th unit is kept as a sample. Another look at the units of the cells in
   which a magnitude bin starts finds those to the unit (:mod:`~sics_plugin.histogram.magnitude_bins`): bins are those of the
   exact form.
2. *Saliencies* are counted by bin and cell (:mod:`~sics_plugin.histogram.saliency_cells`), which gives z, and α·φ of it. The
   sample tells which bins are so low, or so high, that no z can change what becomes of their units; those are left out.
3. *Scores* s = ρ + α·φ are whole numbers. The sample brackets the k-th lowest; one pass decides all units outside the bracket and
   collects those inside, one or two percent, which :func:`~sics_plugin.selection.lowest.lowest` then decides exactly.

Where the sample misled, a step is done again with a wider bracket. Where this form can differ from the exact one is a unit whose
z is near the border of two entries of a spectrum, or whose score is within 1e-4 of the cut. Counts and scores are whole numbers,
and the score of a unit depends on itself and the tables alone: neither pieces nor threads change anything, nor does the grouping
of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from threading import get_ident

import numpy as np
import torch
from torch import Tensor

from sics_plugin.histogram.device_cut import device_cut
from sics_plugin.histogram.magnitude_bins import MAGNITUDE_CELLS, MAGNITUDE_SHIFT, RHO_BITS, RHO_MASK, Bins
from sics_plugin.histogram.saliency_cells import STEPS, Features, Spread, saliency_codes
from sics_plugin.histogram.scores import Active, Bracket, Scores
from sics_plugin.histogram.walk import Array, offsets, pieces, stretches
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.sics import CoordinateScorer
from sics_plugin.selection.buffers import Rooms, give_back, long_steps, pages
from sics_plugin.selection.magnitude_cut import magnitude_cut
from sics_plugin.selection.parts import Part, infinite, infinity, on_cpu
from sics_plugin.selection.threads import alone, in_threads

SAMPLE = 1 << 17
#: Every so many-th of the sample is enough for a guess of the scores.
GUESSED = 4


@dataclass(frozen=True, slots=True, eq=False)
class FirstLook:
    """A strided sample of the units: codes of magnitude and saliency, places in the pool."""

    code: Array
    saliency: Array
    place: Array

    @classmethod
    def at(cls, parts: Sequence[Part], n: int) -> tuple[Array, FirstLook]:
        """Look at a pool once: how many units are in every magnitude cell, and the sample. Refuse weights that are not finite."""
        starts, stride = offsets(parts), max(1, n // SAMPLE)
        number = np.int32 if n < 2**31 else np.int64
        rooms = Rooms()
        one = torch.from_numpy(np.ones(rooms.mine().size, number))
        counters: dict[int, Tensor] = {}  # a thread each; whole numbers: the order of additions does not matter

        def step(i: int, begin: int, end: int) -> list[tuple[Array, Array, Array]]:
            mine, room = [], rooms.mine()
            if (counter := counters.get(get_ident())) is None:
                counter = counters[get_ident()] = torch.from_numpy(pages(MAGNITUDE_CELLS, number))
            for piece in pieces(parts, i, begin, end, starts[i], saliency=True):
                assert piece.saliency is not None
                index = room.wide[: len(piece.code)]
                np.right_shift(piece.code, MAGNITUDE_SHIFT, out=index, dtype=np.int64)
                counter.scatter_add_(0, torch.from_numpy(index), one[: len(index)])
                skipped = -piece.place % stride
                place = np.arange(piece.place + skipped, piece.place + len(piece.code), stride)
                mine.append((piece.code[skipped::stride].copy(), saliency_codes(piece.saliency[skipped::stride].copy()), place))
            return mine

        sample = [row for rows in in_threads(step, stretches(parts)) for row in rows]
        first, *others = counters.values()
        for counter in others:
            first += counter
        cells: Array = first.numpy()
        if cells[infinity(torch.int32) >> MAGNITUDE_SHIFT :].any():
            raise infinite(parts, torch.int32)
        code, saliency, place = (np.concatenate(column) for column in zip(*sample, strict=True))
        return cells, cls(code, saliency, place)

    def places(self, bins: Bins) -> Array:
        """Places (bin and ρ) of the sample."""
        return bins.places(self.code, 0, self.place, np.empty_like(self.code), np.empty_like(self.code))

    def scores(self, place: Array, bins: int, features: Features) -> Array:
        """Scores of some of the sample, whose places are given, with z from the sample alone."""
        place, saliency = place[::GUESSED], self.saliency[::GUESSED]
        bin_of = (place >> RHO_BITS).astype(np.int64)
        unit = (bin_of << 32) + saliency
        ordered = np.sort(unit)
        starts = np.searchsorted(ordered, (np.arange(bins + 1, dtype=np.int64) << 32) - (1 << 31))
        midrank = (np.searchsorted(ordered, unit) + np.searchsorted(ordered, unit, side="right")) / 2
        z = (midrank - starts[bin_of]) / (starts[bin_of + 1] - starts[bin_of])
        entry = features.entry[np.minimum((z * STEPS).astype(np.int64), STEPS - 1)].astype(np.int32)
        score: Array = ((place & RHO_MASK) >> features.coarser) + (entry << features.shift)
        return score


#: How much farther than the sample's errors, as a score, the k-th lowest may be while z is known only among the sample.
SLACK = 0.01


def histogram_form_of(scorer: Scorer, parts: Sequence[Part]) -> CoordinateScorer | None:
    """The scorer, if this form can stand for its ``score``: it is s = ρ + α·φ(z), with only the feature its own."""
    plain = isinstance(scorer, CoordinateScorer) and type(scorer).score is CoordinateScorer.score
    narrow = all(p.values.dtype != torch.float64 for p in parts)  # codes are those of float32
    return scorer if isinstance(scorer, CoordinateScorer) and plain and narrow else None


def histogram_cut(
    scorer: CoordinateScorer, parts: Sequence[Part], k: int, *, sparsity: float, alpha: float, roomy: bool = False
) -> tuple[Iterator[Tensor], float | None]:
    """Which units stay when the k lowest scores go, a bool vector a part in order, and the highest score that goes.

    The scorer is asked for its feature only. Without a saliency: the neighbourhood magnitude, across the borders of parts.
    ``roomy`` walks in longer steps on the CPU: faster with several threads, for 24 bytes a unit of a step and thread.
    """
    n = sum(p.present for p in parts)
    if k in (0, n):
        magnitude_cut(parts, 0)  # for its check of the values
        return (torch.zeros_like(p.flat(), dtype=torch.bool) if k else _present(p) for p in parts), None
    if not on_cpu(parts):
        return device_cut(scorer, parts, k, sparsity=sparsity, alpha=alpha)
    with long_steps() if roomy else nullcontext():
        cells, first = FirstLook.at(parts, n)
        bins = Bins.of(parts, n, cells)
        del cells
        with alone():
            features = Features.of(lambda z: alpha * scorer.feature(z, sparsity))
        return choose_by_scores(parts, k, bins, features, first)


def _present(part: Part) -> Tensor:
    gone = part.gone()
    return torch.ones(part.numel, dtype=torch.bool, device=part.values.device) if gone is None else ~gone


def choose_by_scores(
    parts: Sequence[Part], k: int, bins: Bins, features: Features, first: FirstLook
) -> tuple[Iterator[Tensor], float | None]:
    """Decide every unit; a step is done again with a wider bracket should the sample have misled."""
    place = first.places(bins)
    spread = Spread.of(first.saliency, place, bins.count)
    share = k / bins.n
    slack = int(SLACK * 2.0 ** (RHO_BITS - features.coarser))
    guess: Bracket | None = Bracket.of(np.sort(first.scores(place, bins.count, features)), share, slack)
    while True:
        scores = Scores(bins, spread, features, Active.of(bins, features, guess)).fill(parts)
        bracket = Bracket.of(np.sort(scores.of_many(first.code, first.saliency, first.place)), share)
        while guess is None or guess.holds(bracket):
            decided = scores.decide(parts, bracket)
            removed = k - decided.below
            if 0 < removed <= len(decided.score):
                scores.entries = np.empty(0, np.int16)  # a third of what is held here
                give_back()
                kept, highest = decided.without_lowest(parts, removed)
                return kept, features.score(highest)
            bracket = bracket.wider(1 << 13, lower=removed <= 0)
        guess = None
