"""Where a unit's magnitude stands in a large pool: its bin, to the unit, and ρ to about 4e-5; one look-up, two near an edge.

The first table has a cell for every value of the upper 19 of a code's 31 bits. Cells in which a bin starts are marked: for each
of them a second table tells all codes apart. Units of the very code at which a bin starts are told apart by their place in the
pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sics_plugin.edges import MAGNITUDE_SHIFT, WIDTH, Anchors, Marked
from sics_plugin.percentile import bin_count
from sics_plugin.pieces import Array
from sics_plugin.stream import Part, look_up, pages

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
        """Places of units of a piece, int32, in ``out``.

        Parameters
        ----------
        code : array of int32, shape (m,)
        first : int
            The place in the pool of the piece's first unit.
        which : array of int64, shape (m,), optional
            The units' positions in the piece; None: they are the piece.
        index, out : array of int32, shape (m,)
            Overwritten.
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
