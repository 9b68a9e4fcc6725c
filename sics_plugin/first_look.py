"""The first look at a large pool: how many units there are of every magnitude, and a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import get_ident

import numpy as np
import torch
from torch import Tensor

from sics_plugin.bins import RHO_BITS, RHO_MASK, Bins
from sics_plugin.cells import STEPS, Features, saliency_codes
from sics_plugin.edges import MAGNITUDE_CELLS, MAGNITUDE_SHIFT
from sics_plugin.pieces import Array, offsets, pieces, stretches
from sics_plugin.stream import Part, Rooms, infinite, infinity, pages
from sics_plugin.threads import in_threads

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
