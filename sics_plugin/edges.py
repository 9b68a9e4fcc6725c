"""The units near the edges of magnitude bins: how many have each code, and the ranks of those that have an edge's very own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
import torch

from sics_plugin.pieces import Array, offsets, pieces, stretches
from sics_plugin.stream import Part, Rooms, look_up, pages, workspace
from sics_plugin.threads import in_threads

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
