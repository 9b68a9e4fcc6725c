"""Where a unit's magnitude stands in a large pool: its bin, to the unit, and ρ to about 4e-5; one look-up in a table.

The table has a cell for every value of the upper 19 of a code's 31 bits. Cells in which a bin starts are marked; their units, one
or two percent, are told apart by their whole code, and units of the very code at which a bin starts by their place in the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np

from sics_plugin.percentile import bin_count
from sics_plugin.pieces import Array, offsets, pieces, stretches
from sics_plugin.stream import Part, in_threads

MAGNITUDE_SHIFT = 12
MAGNITUDE_CELLS = 1 << (31 - MAGNITUDE_SHIFT)
#: ρ is in the lowest 23 bits of a place, the bin in the next eight; a marked cell has the sign bit.
RHO_BITS = 23
RHO_MASK, MARK = (1 << RHO_BITS) - 1, -(1 << 31)
#: A unit's place in the pool is in the lowest bits of an anchor, its edge above them.
PLACE_BITS = 40
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Places (bin and ρ) of magnitudes.

    ``cells``: the place of a cell's midpoint, int32, marked where a bin starts inside it. ``edge_code``: the E distinct codes at
    which bins start, sorted; ``above``, shape (E + 1,): bins of units between them, shifted as in a place; ``below``, ``ties``:
    units with a lower code than an edge's, and with that one; ``cell_ranks``, shape (2, E): units below an edge's cell and below
    the next. Among ties the anchors give ranks to places in the pool: at the first, the last, and wherever a bin starts; between
    two anchors a rank is interpolated. Without anchors all of an edge's ties count as its first.
    """

    n: int
    count: int
    cells: Array
    edge_code: Array
    above: Array
    below: Array
    ties: Array
    cell_ranks: Array
    anchor: Array
    anchor_rank: Array

    @classmethod
    def of(cls, parts: Sequence[Part], n: int, cells: Array) -> Bins:
        """Find the edges of a pool whose units are counted by cell; looks at the units of some cells again."""
        total, bins, none = np.cumsum(cells, dtype=np.int64), bin_count(n), np.empty(0, np.int64)
        first = -(-np.arange(1, bins) * n // bins)  # the first rank of every bin but the lowest
        edge_cell = np.searchsorted(total, first, side="right")
        below = total[edge_cell] - cells[edge_cell]
        distinct, slot = np.unique(edge_cell, return_inverse=True)
        marked = np.zeros(MAGNITUDE_CELLS, np.bool_)
        marked[distinct] = True
        del total
        units = Marked(parts, marked, keep=int(cells[distinct].sum()) * 16 <= n)
        fine = _fine_counts(units, distinct)
        code, lower, equal = np.empty_like(first), np.empty_like(first), np.empty_like(first)
        for e, start in enumerate(first):
            inner = np.cumsum(fine[slot[e]], dtype=np.int64)
            low = np.searchsorted(inner, start - below[e], side="right")
            code[e], equal[e] = (edge_cell[e] << MAGNITUDE_SHIFT) | low, fine[slot[e], low]
            lower[e] = below[e] + inner[low] - equal[e]
        edge_code, one_of = np.unique(code, return_index=True)
        lower, equal = lower[one_of], equal[one_of]
        cell_ranks = np.stack([below, below + cells[edge_cell]])[:, one_of]
        ranks_above = np.concatenate([[0], lower + equal])
        above = (np.minimum(ranks_above, n - 1) * bins // n << RHO_BITS).astype(np.int32)
        midpoint = _midpoints(cells, n)
        starts = np.zeros(MAGNITUDE_CELLS, np.int32)
        np.add.at(starts, edge_cell[edge_cell < MAGNITUDE_CELLS - 1] + 1, 1 << RHO_BITS)
        midpoint |= np.cumsum(starts, dtype=np.int32, out=starts)
        midpoint[distinct] |= MARK
        found = cls(n, bins, midpoint, edge_code.astype(np.int32), above, lower, equal, cell_ranks, none, none)
        # Few ties may count as one: up to an 8 192nd of a bin, half an entry of a spectrum.
        if not len(equal) or int(equal.max()) <= n // bins // 8192 + 1:
            return found
        return cls(n, bins, midpoint, found.edge_code, above, lower, equal, cell_ranks, *_anchors(units, found, first))

    def of_codes(self, code: Array, places: Array | None) -> Array:
        """Places of units of marked cells, one by one, as int32; with ``places`` in the pool where there are anchors."""
        edge = np.searchsorted(self.edge_code, code, side="right")
        place = self._between(code, edge) | self.above[edge]
        tied = np.flatnonzero((edge > 0) & (self.edge_code[edge - 1] == code))
        edge = edge[tied] - 1
        if len(self.anchor):
            assert places is not None
            rank = self._interpolated((edge << PLACE_BITS) | places[tied])
        else:
            rank = self.below[edge]
        place[tied] = (rank * self.count // self.n << RHO_BITS) | ((2 * rank + 1 << (RHO_BITS - 1)) // self.n)
        return np.asarray(place)

    def _between(self, code: Array, edge: Array) -> Array:
        """ρ of units of marked cells below an edge and above the one before, interpolated between these or the cell's ends."""
        cell, last = code >> MAGNITUDE_SHIFT, len(self.edge_code) - 1
        before, following = np.maximum(edge - 1, 0), np.minimum(edge, last)
        after_edge = (edge > 0) & (self.edge_code[before] >> MAGNITUDE_SHIFT == cell)
        to_edge = (edge <= last) & (self.edge_code[following] >> MAGNITUDE_SHIFT == cell)
        low = np.where(after_edge, self.edge_code[before] + 1, cell << MAGNITUDE_SHIFT)
        high = np.where(to_edge, self.edge_code[following], (cell + 1) << MAGNITUDE_SHIFT)
        first = np.where(after_edge, self.below[before] + self.ties[before], self.cell_ranks[0, following])
        end = np.where(to_edge, self.below[following], self.cell_ranks[1, before])
        rank = first + (end - first) * (2 * (code.astype(np.int64) - low) + 1) // np.maximum(2 * (high - low), 1)
        rho: Array = (np.clip(rank, 0, self.n - 1) * (1 << RHO_BITS) // self.n).astype(np.int32)
        return rho

    def _interpolated(self, unit: Array) -> Array:
        at = np.searchsorted(self.anchor, unit, side="right") - 1
        following = np.minimum(at + 1, len(self.anchor) - 1)
        ranks, width = self.anchor_rank[following] - self.anchor_rank[at], self.anchor[following] - self.anchor[at]
        # The last anchor of an edge is its last unit, which nothing is after.
        rank: Array = self.anchor_rank[at] + (unit - self.anchor[at]) * ranks // np.maximum(width, 1)
        return rank


def _midpoints(cells: Array, n: int) -> Array:
    """ρ of every cell's midpoint, in the lowest bits of a place."""
    middle = np.cumsum(cells, dtype=np.float64)
    middle -= cells * 0.5
    middle *= 2.0**RHO_BITS / n
    return np.minimum(middle, RHO_MASK, out=middle).astype(np.int32)


class Marked:
    """The units of some cells, by stretch: kept where they are few, found again each time where they are many (equal ones)."""

    def __init__(self, parts: Sequence[Part], marked: Array, keep: bool) -> None:
        self.parts, self.marked, self.keep = parts, marked, keep
        self.stretches, self.starts = stretches(parts), offsets(parts)
        self.kept: list[tuple[Array, Array] | None] = [None] * len(self.stretches)

    def of(self, s: int) -> Iterator[tuple[Array, Array]]:
        """Codes, and places in the pool, of those in the s-th stretch."""
        if (kept := self.kept[s]) is not None:
            yield kept
            return
        found: list[tuple[Array, Array]] = []
        i, begin, end = self.stretches[s]
        for piece in pieces(self.parts, i, begin, end, self.starts[i], saliency=False):
            near = np.flatnonzero(np.take(self.marked, piece.code >> MAGNITUDE_SHIFT, mode="clip"))
            row = piece.code[near], near + piece.place
            found += [row] if self.keep else []
            yield row
        if self.keep:
            codes, places = zip(*found, strict=True)
            self.kept[s] = np.concatenate(codes), np.concatenate(places)

    def each(self, step: Callable[[int], R]) -> list[R]:
        """The results of a step for every stretch, in order."""
        return in_threads(lambda s, *_: step(s), [(s, 0, 0) for s in range(len(self.stretches))])


def _fine_counts(units: Marked, cells: Array) -> Array:
    """Units by the lower bits of their code, in some cells; shape (cells, 4096)."""
    width, lock = 1 << MAGNITUDE_SHIFT, Lock()
    slot = np.zeros(MAGNITUDE_CELLS, np.int32)
    slot[cells] = np.arange(len(cells)) << MAGNITUDE_SHIFT
    fine = np.zeros(len(cells) * width, np.int32 if sum(p.numel for p in units.parts) < 2**31 else np.int64)

    def step(s: int) -> None:
        for code, _ in units.of(s):
            index = slot[code >> MAGNITUDE_SHIFT] + (code & (width - 1))
            with lock:  # whole numbers: the order of additions does not matter
                np.add.at(fine, index, 1)

    units.each(step)
    return fine.reshape(-1, width)


def _anchors(units: Marked, bins: Bins, first: Array) -> tuple[Array, Array]:
    """Places in the pool, by edge, and the ranks there: of the first tie, the last, and those with which a bin starts."""
    edges = len(bins.edge_code)

    def ties(code: Array) -> tuple[Array, Array]:
        edge = np.minimum(np.searchsorted(bins.edge_code, code), edges - 1)
        tied = np.flatnonzero(bins.edge_code[edge] == code)
        return tied, edge[tied]

    def count(s: int) -> Array:
        total: Array = np.sum([np.bincount(ties(code)[1], minlength=edges) for code, _ in units.of(s)], axis=0)
        return total

    met = np.cumsum(units.each(count), axis=0)  # by the end of every stretch
    wanted: list[list[tuple[int, int]]] = [[] for _ in met]
    for e in range(edges):
        inside = first[(first > bins.below[e]) & (first < bins.below[e] + bins.ties[e] - 1)] - bins.below[e]
        for tie in np.unique([0, *inside, bins.ties[e] - 1]):
            wanted[int(np.searchsorted(met[:, e], tie, side="right"))].append((e, int(tie)))

    def find(s: int) -> list[tuple[int, int]]:
        if not wanted[s]:
            return []
        places, edge_of = [], []
        for code, place in units.of(s):
            tied, edge = ties(code)
            places.append(place[tied])
            edge_of.append(edge.astype(np.uint8))
        place, edge = np.concatenate(places), np.concatenate(edge_of)
        before = met[s - 1] if s else np.zeros(edges, np.int64)
        return [
            ((e << PLACE_BITS) | int(place[np.flatnonzero(edge == e)[tie - before[e]]]), int(bins.below[e]) + tie)
            for e, tie in wanted[s]
        ]

    anchor, rank = np.array(sorted(row for found in units.each(find) for row in found), np.int64).T
    return np.ascontiguousarray(anchor), np.ascontiguousarray(rank)
