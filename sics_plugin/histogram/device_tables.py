"""Magnitude bins, ρ and α·φ(z) of a large pool on an accelerator, as tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sics_plugin.histogram.magnitude_bins import MAGNITUDE_CELLS, MAGNITUDE_SHIFT, RHO_BITS
from sics_plugin.histogram.saliency_cells import SALIENCY_CELLS, STEPS
from sics_plugin.histogram.walk import Piece, Saliencies, stretches
from sics_plugin.scorers.coordinate import MAX_BINS, bin_count
from sics_plugin.selection.parts import Part, codes_of
from sics_plugin.selection.threads import in_threads

#: Units one step looks at, a multiple of 8: so many that what a step fetches is little. No result depends on it.
PIECE = 1 << 22


def pieces(
    parts: Sequence[Part], i: int, begin: int, end: int, device: torch.device, *, saliency: bool
) -> Iterator[Piece[Tensor]]:
    """As :func:`sics_plugin.histogram.walk.pieces`, but ``place`` counts in the part."""
    flat, gone = parts[i].flat(), parts[i].gone()
    signal = Saliencies(parts, i, begin, device) if saliency else None
    taken = begin  # a part with a mask is one stretch
    for start in range(begin, end, PIECE):
        stop = min(end, start + PIECE)
        code = codes_of(flat[start:stop], torch.int32)
        position = None
        if gone is not None:
            position = (~gone[start:stop]).nonzero().squeeze(1)
            code, position = code[position], position.to(device)
        code = code.to(device)
        yield Piece(taken, start, stop - start, code, None if signal is None else signal.of(start, stop, code), position)
        taken += len(code)


#: The sign bit marks a cell in which a bin starts.
EDGE = -(1 << 31)


@dataclass(frozen=True, eq=False)
class MagnitudeBins:
    """ρ and the magnitude bin of any unit.

    ``cells`` has an int32 per cell, so that one look gives all: the percentile of its midpoint in the lowest 23 bits, the bins
    wholly below it in the next eight, and the sign where a bin starts inside it. ``edge_code`` holds the distinct codes at which
    a bin starts, sorted, ``edge_below`` how many units have a lower code, and ``ties`` how many have that one.
    """

    n: int
    count: int
    cells: Tensor
    edge_code: Tensor
    edge_below: Tensor
    ties: Tensor

    @classmethod
    def of(cls, parts: Sequence[Part], n: int, cells: Tensor, device: torch.device) -> MagnitudeBins:
        """Find the edges of a pool whose units are counted by cell."""
        total = cells.cumsum(0)
        below = total - cells
        bins = bin_count(n)
        if bins == 1:
            none = torch.empty(0, dtype=torch.int64, device=device)
            return cls(n, 1, _midpoints(below, cells, n), none.int(), none, none)
        first = (torch.arange(1, bins, device=device) * n + bins - 1) // bins  # first rank of every bin but the lowest
        edge_cell = torch.searchsorted(total, first, right=True)
        distinct, slot = torch.unique(edge_cell, return_inverse=True)
        slot_of = torch.full((MAGNITUDE_CELLS,), -1, dtype=torch.int32, device=device)
        slot_of[distinct] = torch.arange(len(distinct), dtype=torch.int32, device=device)

        width = 1 << MAGNITUDE_SHIFT
        one = torch.ones(PIECE, dtype=torch.int64, device=device)

        def step(i: int, begin: int, end: int) -> Tensor:
            counts = torch.zeros(len(distinct) * width, dtype=torch.int64, device=device)
            for piece in pieces(parts, i, begin, end, device, saliency=False):
                place = slot_of.index_select(0, piece.code >> MAGNITUDE_SHIFT)
                near = (place >= 0).nonzero().squeeze(1)
                counts.scatter_add_(0, (place[near] * width + (piece.code[near] & (width - 1))).long(), one[: len(near)])
            return counts

        fine = total_of(step, stretches(parts)).view(-1, width)
        codes, belows, equal = [], [], []
        for e in range(bins - 1):
            inner = fine[slot[e]].cumsum(0)
            offset = first[e] - below[edge_cell[e]]
            low = torch.searchsorted(inner, offset.reshape(1), right=True).reshape(())
            codes.append((edge_cell[e] << MAGNITUDE_SHIFT) | low)
            equal.append(fine[slot[e], low])
            belows.append(below[edge_cell[e]] + inner[low] - equal[-1])
        edge_code, keep = torch.unique(torch.stack(codes), return_inverse=True)
        edge_below, ties = torch.zeros_like(edge_code), torch.zeros_like(edge_code)
        edge_below[keep], ties[keep] = torch.stack(belows), torch.stack(equal)
        lower_bins = torch.searchsorted(edge_cell, torch.arange(MAGNITUDE_CELLS, device=device), out_int32=True)
        packed = _midpoints(below, cells, n) | (lower_bins << RHO_BITS)
        packed[slot_of >= 0] |= EDGE
        return cls(n, bins, packed, edge_code.int(), edge_below, ties)

    def tally(self, i: int, begin: int) -> Tensor | None:
        """A fresh tally for the stretch that begins there."""
        found = self._tallies.get((i, begin))
        return None if found is None else found.clone()

    def with_tallies(self, parts: Sequence[Part]) -> MagnitudeBins:
        """The same, knowing for every stretch how many units of every edge's code come before it.

        Not needed where ties are so few that all of an edge's may count as its first: up to a 16 384th of a bin.
        """
        found = stretches(parts)
        if not len(self.ties) or int(self.ties.max()) <= self.n // self.count // 16384 + 1:
            return self

        def step(i: int, begin: int, end: int) -> Tensor:
            counts = torch.zeros(len(self.edge_code), dtype=torch.int64, device=self.cells.device)
            for piece in pieces(parts, i, begin, end, self.cells.device, saliency=False):
                near = piece.code[self.cells.index_select(0, piece.code >> MAGNITUDE_SHIFT) < 0]
                edge = _lower_bound(self.edge_code, near).clamp(max=len(self.edge_code) - 1)
                counts += torch.bincount(edge[self.edge_code[edge] == near], minlength=len(counts))
            return counts

        counts = torch.stack(in_threads(step, found))
        before = counts.cumsum(0) - counts
        self._tallies.update({(i, begin): row for (i, begin, _), row in zip(found, before, strict=True)})
        return self

    def locate(self, code: Tensor, tally: Tensor | None) -> tuple[Tensor, Tensor]:
        """Bin (int32) and ρ (float32) of the next units of a stretch; without a tally, ties count as an edge's first."""
        found = self.cells.index_select(0, code >> MAGNITUDE_SHIFT)
        rho = (found & (2**RHO_BITS - 1)).float().mul_(2.0**-RHO_BITS)
        near = (found < 0).nonzero().squeeze(1)
        bin_of = found.bitwise_right_shift_(RHO_BITS).bitwise_and_(MAX_BINS - 1)
        if not len(near) or not len(self.edge_code):
            return bin_of, rho
        near_code = code[near]
        edge = _lower_bound(self.edge_code, near_code)
        at_most = edge.clamp(max=len(self.edge_code) - 1)
        tied = self.edge_code[at_most] == near_code
        # A code above edges of its own cell is in the bin of the last rank below it, one that is an edge has its own rank.
        previous = (edge - 1).clamp(min=0)
        bin_of[near] = torch.where(edge > 0, self._last_bin[previous], 0).int()
        ties, which = near[tied], at_most[tied]
        if len(ties):
            met = _occurrences(which, tally) if tally is not None else torch.zeros_like(which)
            rank = self.edge_below[which] + met
            bin_of[ties] = (rank * self.count // self.n).int()
            rho[ties] = ((rank.double() + 0.5) / self.n).float()
        return bin_of, rho

    _last_bin: Tensor = field(init=False)
    _tallies: dict[tuple[int, int], Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        # The bin that units just above an edge's code are in: the highest whose first rank is not above the next code's.
        starts = (torch.arange(self.count, device=self.cells.device) * self.n + self.count - 1) // self.count
        following = torch.cat([self.edge_below[1:], self.edge_below.new_full((1,), self.n)])[: len(self.edge_code)]
        # Bins that start at a rank below the next edge's own code start at this edge's code or before it.
        last = torch.searchsorted(starts, following, right=False) - 1
        object.__setattr__(self, "_last_bin", last.clamp(min=0))


def _midpoints(below: Tensor, cells: Tensor, n: int) -> Tensor:
    rho = (below.double() + cells.double() / 2) / n
    packed: Tensor = (rho * 2**RHO_BITS).int().clamp_(max=2**RHO_BITS - 1)
    return packed


def _lower_bound(ordered: Tensor, values: Tensor) -> Tensor:
    """``torch.searchsorted``, on the CPU without a team of threads for a few hundred values."""
    if ordered.device.type == "cpu":
        return torch.from_numpy(np.searchsorted(ordered.numpy(), values.numpy()))
    return torch.searchsorted(ordered, values)


def _occurrences(which: Tensor, tally: Tensor) -> Tensor:
    """For every entry how often its value came before, in this and all earlier calls; ``tally`` is brought up to date."""
    order = torch.argsort(which, stable=True)
    counts = torch.bincount(which, minlength=len(tally))
    starts = counts.cumsum(0) - counts
    place = torch.empty_like(which)
    place[order] = torch.arange(len(which), device=which.device)
    met: Tensor = place - starts[which] + tally[which]
    tally += counts
    return met


def total_of(step: Callable[[int, int, int], Tensor], found: Sequence[tuple[int, int, int]]) -> Tensor:
    """The sum of what a step counts in every stretch; a few stretches at a time, so that few counts exist at once."""
    total: Tensor | None = None
    group = torch.get_num_threads()
    for at in range(0, len(found), group):
        for counts in in_threads(step, found[at : at + group]):
            total = counts if total is None else total.add_(counts)
    assert total is not None
    return total


#: Lower bits of a saliency's code, over which its cell is interpolated.
SALIENCY_SHIFT = 15


@dataclass(eq=False)
class SaliencyTable:
    """α·φ(z) by magnitude bin and saliency cell; counts at first."""

    cells: Tensor  # by upper bits: the first cell, times 2¹⁶, and how many there are
    entries: Tensor = field(init=False)
    by_step: Tensor = field(init=False)

    @classmethod
    def of(cls, parts: Sequence[Part], bins: MagnitudeBins, coarse: Tensor, device: torch.device) -> SaliencyTable:
        """Count the units of a pool, whose saliencies are counted by their upper bits."""
        # Cells evened out over the pool: piecewise linear between the upper bits, and monotone.
        total = coarse.cumsum(0)
        end = total * (SALIENCY_CELLS - 1) // max(1, bins.n)
        start = torch.cat([end.new_zeros(1), end[:-1]])
        table = cls(((start << 16) | (end - start)).int())
        if not table._count(parts, bins, torch.int16) and not table._count(parts, bins, torch.int32):
            raise OverflowError(f"Expected fewer than 2**32 equal saliencies in a bin of {bins.n} units")
        return table

    def _count(self, parts: Sequence[Part], bins: MagnitudeBins, dtype: torch.dtype) -> bool:
        """Count units in entries of a type, read as unsigned; False where one overflowed, as the total shows."""
        device = bins.cells.device
        self.entries = torch.zeros(bins.count * SALIENCY_CELLS, dtype=dtype, device=device)
        one, lock, found = torch.ones(PIECE, dtype=dtype, device=device), Lock(), stretches(parts)

        def step(i: int, begin: int, end: int) -> None:
            tally = bins.tally(i, begin)
            for piece in pieces(parts, i, begin, end, device, saliency=True):
                assert piece.saliency is not None
                bin_of, _ = bins.locate(piece.code, tally)
                place = self.place(bin_of, piece.saliency)
                with lock:  # whole numbers: the order of additions does not matter
                    self.entries.scatter_add_(0, place, one[: len(place)])

        in_threads(step, found)
        if device.type == "cpu":
            return int(self.entries.numpy().view(np.uint16 if dtype == torch.int16 else np.uint32).sum(dtype=np.int64)) == bins.n
        return int(torch.stack([self._row(b).sum() for b in range(bins.count)]).sum()) == bins.n

    def _row(self, b: int) -> Tensor:
        row = self.entries[b * SALIENCY_CELLS : (b + 1) * SALIENCY_CELLS]
        return row.long() & (0xFFFF if row.dtype == torch.int16 else 0xFFFFFFFF)

    def place(self, bin_of: Tensor, saliency: Tensor) -> Tensor:
        """Index of the unit's entry, int64."""
        code = sortable(saliency)
        found = self.cells.index_select(0, upper_bits(code))
        within = code.bitwise_and_((1 << SALIENCY_SHIFT) - 1).mul_(found & 0xFFFF).bitwise_right_shift_(SALIENCY_SHIFT)
        return within.add_(found.bitwise_right_shift_(16)).add_(bin_of, alpha=SALIENCY_CELLS).long()

    def become_scores(self, scaled: Callable[[Tensor], Tensor]) -> None:
        """Turn counts into steps of the midrank z of every cell, in the same memory; ``scaled`` gives α·φ of a z."""
        for b in range(len(self.entries) // SALIENCY_CELLS):
            counts = self._row(b).double()
            z = (counts.cumsum(0) - counts / 2) / counts.sum().clamp(min=1)
            row = self.entries[b * SALIENCY_CELLS : (b + 1) * SALIENCY_CELLS]
            row.copy_((z * STEPS).long().clamp(max=STEPS - 1) - STEPS // 2)
        z = (torch.arange(STEPS, dtype=torch.float64, device=self.entries.device) + 0.5) / STEPS
        self.by_step = scaled(z).float()

    def scores(self, bin_of: Tensor, saliency: Tensor) -> Tensor:
        """α·φ(z) of units, float32."""
        step = self.entries.index_select(0, self.place(bin_of, saliency)).int()
        return self.by_step.index_select(0, step.add_(STEPS // 2))


def sortable(saliency: Tensor) -> Tensor:
    """Floats as int32 in the same order; −0 is 0."""
    bits = (saliency + 0.0).view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def upper_bits(code: Tensor) -> Tensor:
    """By which saliencies are counted first: what is above :data:`SALIENCY_SHIFT` bits of their code, from 0."""
    return (code >> SALIENCY_SHIFT) + (1 << (31 - SALIENCY_SHIFT))
