"""Where a unit's magnitude stands in a large pool: its bin, to the unit, and ρ to about 4e-5; one look-up, two near an edge.

The first table has a cell for every value of the upper 19 of a code's 31 bits. Cells in which a bin starts are marked: for each
of them a second table tells all codes apart. Units of the very code at which a bin starts are told apart by their place in the
pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
import torch

from sics_plugin.histogram.walk import Array, offsets, pieces, stretches
from sics_plugin.scorers.coordinate import bin_count
from sics_plugin.selection.buffers import Rooms, look_up, pages, workspace
from sics_plugin.selection.parts import Part
from sics_plugin.selection.threads import in_threads

#: Lower bits of a magnitude's 31 that cells do not tell apart, and the codes that fall into one cell.
MAGNITUDE_SHIFT = 12
MAGNITUDE_CELLS, WIDTH = 1 << (31 - MAGNITUDE_SHIFT), 1 << MAGNITUDE_SHIFT
#: A unit's place in the pool is in the lowest bits of an anchor, its edge above them.
PLACE_BITS = 40
R = TypeVar("R")


class Marked:
    """The units of some cells, found by looking at all of them."""

    def __init__(self, parts: Sequence[Part], cells: Array) -> None:
        self.parts, self.count = parts, len(cells)
        self.marked = pages(MAGNITUDE_CELLS, np.bool_)
        self.marked[cells] = True
        self.slot = pages(MAGNITUDE_CELLS, np.int32)
        self.slot[cells] = np.arange(len(cells)) << MAGNITUDE_SHIFT
        self.stretches, self.starts, self.rooms = stretches(parts), offsets(parts), Rooms()

    def of(self, s: int) -> Iterator[tuple[Array, Array, int]]:
        """Codes of those in the s-th stretch, positions in their piece, and the place of the piece in the pool."""
        i, begin, end = self.stretches[s]
        both = self.rooms.mine().index, workspace(torch.int32).flags[0]
        for piece in pieces(self.parts, i, begin, end, self.starts[i], saliency=False):
            index, flags = (vector[: len(piece.code)] for vector in both)
            np.right_shift(piece.code, MAGNITUDE_SHIFT, out=index)
            near = np.flatnonzero(look_up(self.marked, index, flags))
            yield np.take(piece.code, near), near, piece.place

    def each(self, step: Callable[[int], R]) -> list[R]:
        """The results of a step for every stretch, in order."""
        return in_threads(lambda s, *_: step(s), [(s, 0, 0) for s in range(len(self.stretches))])

    def counts(self) -> Array:
        """How many units have each code; shape (cells, 4096)."""
        number = np.int32 if sum(p.numel for p in self.parts) < 2**31 else np.int64
        found, lock = torch.from_numpy(pages(self.count * WIDTH, number)), Lock()

        def step(s: int) -> None:
            for code, _, _ in self.of(s):
                index = torch.from_numpy((self.slot[code >> MAGNITUDE_SHIFT] | (code & (WIDTH - 1))).astype(np.int64))
                one = torch.ones(1, dtype=found.dtype).expand(len(index))
                with lock:  # whole numbers: the order of additions does not matter
                    found.scatter_add_(0, index, one)

        self.each(step)
        return found.view(-1, WIDTH).numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Ranks of the units that have an edge's code, from their place in the pool.

    ``anchor``, sorted: the edge and the place of its first tie, its last, and every one with which a bin starts; ``rank``: their
    ranks. Between two anchors a rank is interpolated.
    """

    anchor: Array
    rank: Array
    edges: int

    @classmethod
    def of(cls, units: Marked, edge_code: Array, below: Array, ties: Array, starts: Array) -> Anchors:
        """Find them; ``below`` units have a lower code than an edge's, ``ties`` have it, and bins start at ranks ``starts``."""
        edges = len(edge_code)

        def tied(code: Array) -> tuple[Array, Array]:
            edge = np.minimum(np.searchsorted(edge_code, code), edges - 1)
            found = np.flatnonzero(edge_code[edge] == code)
            return found, edge[found]

        def count(s: int) -> Array:
            total: Array = np.sum([np.bincount(tied(code)[1], minlength=edges) for code, _, _ in units.of(s)], axis=0)
            return total

        met = np.cumsum(units.each(count), axis=0)  # by the end of every stretch
        wanted: list[list[tuple[int, int]]] = [[] for _ in met]
        for e in range(edges):
            inside = starts[(starts > below[e]) & (starts < below[e] + ties[e] - 1)] - below[e]
            for tie in np.unique([0, *inside, ties[e] - 1]):
                wanted[int(np.searchsorted(met[:, e], tie, side="right"))].append((e, int(tie)))

        def find(s: int) -> list[tuple[int, int]]:
            if not wanted[s]:
                return []
            places, edge_of = [], []
            for code, near, first in units.of(s):
                found, edge = tied(code)
                places.append(near[found] + first)
                edge_of.append(edge.astype(np.uint8))
            place, edge = np.concatenate(places), np.concatenate(edge_of)
            before = met[s - 1] if s else np.zeros(edges, np.int64)
            return [
                ((e << PLACE_BITS) | int(place[np.flatnonzero(edge == e)[tie - before[e]]]), int(below[e]) + tie)
                for e, tie in wanted[s]
            ]

        anchor, rank = np.array(sorted(row for found in units.each(find) for row in found), np.int64).T
        return cls(np.ascontiguousarray(anchor), np.ascontiguousarray(rank), edges)

    def ranks(self, edge: Array, first: int, position: Array) -> Array:
        """Ranks of units of a piece that have an edge's code; their places in the pool are ``first`` + ``position``."""
        ends = (np.arange(self.edges) << PLACE_BITS) + np.array([[first], [first + int(position[-1])]])
        at_first, at_last = np.searchsorted(self.anchor, ends, side="right") - 1
        at, place = np.take(at_first, edge), position + first
        # Few edges have an anchor inside a piece; only their units are looked up one by one.
        changing = np.flatnonzero(np.take(at_first != at_last, edge))
        unit = (edge[changing].astype(np.int64) << PLACE_BITS) | place[changing]
        at[changing] = np.searchsorted(self.anchor, unit, side="right") - 1
        following = np.minimum(at + 1, len(self.anchor) - 1)
        begin = self.anchor & ((1 << PLACE_BITS) - 1)
        ranks, width = self.rank[following] - self.rank[at], self.anchor[following] - self.anchor[at]
        # The last anchor of an edge is its last unit, which nothing is after.
        found: Array = self.rank[at] + (place - begin[at]) * ranks // np.maximum(width, 1)
        return found


#: ρ is in the lowest 23 bits of a place, the bin in the next eight; what must be looked up further has the sign bit.
RHO_BITS = 23
RHO_MASK, MARK = (1 << RHO_BITS) - 1, -(1 << 31)
#: Rows of a table that are filled at a time: what that takes stays small.
ROWS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Places (bin and ρ) of magnitudes.

    ``cells``: the place of a cell's midpoint, int32; in a marked cell ``MARK`` and where its codes are in ``fine``, which has the
    place of every code, or ``MARK`` and the number of an edge of many ties, of which the ``anchors`` know more. ``edge_code``:
    the E distinct codes at which bins start, sorted; ``above``, shape (E + 1,): bins of the units between them.
    """

    n: int
    count: int
    cells: Array
    fine: Array
    edge_code: Array
    above: Array
    anchors: Anchors | None

    @classmethod
    def of(cls, parts: Sequence[Part], n: int, cells: Array) -> Bins:
        """Find the edges of a pool whose units are counted by cell; looks at the units of some cells again."""
        bins, rows = bin_count(n), cells.reshape(-1, WIDTH)
        starts = -(-np.arange(1, bins) * n // bins)  # the first rank of every bin but the lowest
        total = np.cumsum(cells, dtype=np.int64, out=pages(len(cells), np.int64))
        edge_cell = np.searchsorted(total, starts, side="right")
        below = total[edge_cell] - cells[edge_cell]
        below_row = np.concatenate([[0], total[WIDTH - 1 : -1 : WIDTH]])
        del total
        distinct, first_of, slot = np.unique(edge_cell, return_index=True, return_inverse=True)
        units = Marked(parts, distinct)
        counts = units.counts()
        edges = {}
        for s, start, lower in zip(slot.tolist(), starts, below, strict=True):
            inner = np.cumsum(counts[s], dtype=np.int64) + lower
            low = int(np.searchsorted(inner, start, side="right"))
            edges[s * WIDTH + low] = int(distinct[s] << MAGNITUDE_SHIFT) | low, int(inner[low]), int(counts[s, low])
        edge_code, end, ties = np.array(list(edges.values()), np.int64).reshape(-1, 3).T
        above = (np.minimum(np.concatenate([[0], end]), n - 1) * bins // n).astype(np.int32)
        fine = _places(counts, below[first_of], n, bins)
        midpoint = _places(rows, below_row, n, bins)
        midpoint[distinct] = MARK | np.arange(len(distinct), dtype=np.int32) * WIDTH
        anchors = None
        # Few ties may count as one: up to an 8 192nd of a bin, half an entry of a spectrum.
        if len(ties) and int(ties.max()) > n // bins // 8192 + 1:
            anchors = Anchors.of(units, edge_code, end - ties, ties, starts)
            fine[list(edges)] = MARK | np.arange(len(edges), dtype=np.int32)
        return cls(n, bins, midpoint, fine, edge_code.astype(np.int32), above, anchors)

    def places(self, code: Array, first: int, which: Array | None, index: Array, out: Array) -> Array:
        """Places of units of a piece, int32, in ``out``; ``index``, as long, is overwritten.

        ``first`` is the place in the pool of the piece's first unit, ``which`` the units' positions in it; None: all of it.
        """
        np.right_shift(code, MAGNITUDE_SHIFT, out=index)
        look_up(self.cells, index, out)
        near = np.flatnonzero(np.less(out, 0))
        if len(near):
            near_code = np.take(code, near)
            place = np.take(self.fine, (np.take(out, near) & ~MARK) | (near_code & (WIDTH - 1)))
            if self.anchors is not None and len(tied := np.flatnonzero(place < 0)):
                position = near[tied] if which is None else which[near[tied]]
                rank = self.anchors.ranks(place[tied] & ~MARK, first, position)
                place[tied] = (rank * self.count // self.n << RHO_BITS) | ((2 * rank + 1 << (RHO_BITS - 1)) // self.n)
            out[near] = place
        return out


def _places(counts: Array, below: Array, n: int, bins: int) -> Array:
    """The place of every cell, flat, from rows of counts and the units ``below`` each row: its first unit's bin, its mean ρ."""
    place = pages(counts.size, np.int32).reshape(counts.shape)
    for at in range(0, len(counts), ROWS):
        row = counts[at : at + ROWS]
        if not row.any():  # no unit is there to ask, and what is not written takes no memory
            continue
        end = np.cumsum(row, axis=1, dtype=np.int64) + below[at : at + ROWS, None]
        rho = np.minimum((end * 2.0 - row) * (2.0 ** (RHO_BITS - 1) / n), RHO_MASK).astype(np.int32)
        np.bitwise_or(np.minimum(end - row, n - 1) * bins // n << RHO_BITS, rho, out=place[at : at + ROWS], casting="unsafe")
    return place.reshape(-1)
