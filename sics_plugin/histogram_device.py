"""The histogram form of ρ and z on an accelerator: the steps of :mod:`~sics_plugin.histogram` as tensor operations.

ρ has cells of its own, and z is the midrank of a cell evened out over the whole pool instead of a sample, so that masks differ
from the CPU's in the same few units in which either differs from the exact form. Nothing depends on pieces or stretches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sics_plugin.chaos import GRID
from sics_plugin.percentile import MAX_BINS, bin_count, neighbourhood
from sics_plugin.pieces import REACH, first_magnitudes, last_magnitudes, single, stretches
from sics_plugin.scorers import CoordinateScorer
from sics_plugin.selection import lowest
from sics_plugin.stream import Part, codes_of, in_threads, infinite, infinity, magnitude_of_code
from sics_plugin.units import check_length, check_saliency

#: Upper bits of a magnitude's 31 that its histogram tells apart, and those below.
MAGNITUDE_SHIFT = 12
MAGNITUDE_CELLS = 1 << (31 - MAGNITUDE_SHIFT)
RHO_BITS, EDGE = 23, -(1 << 31)
#: Cells of the saliency in every bin.
SALIENCY_CELLS = 1 << 15
SALIENCY_SHIFT = 15
#: Steps of z: a multiple of the 4095 of a spectrum, in 16 bits.
STEPS = 16 * (GRID - 1)
#: Units one step looks at, a multiple of 8: so many that what a step fetches is little. No result depends on it.
PIECE = 1 << 22
SAMPLE = 1 << 17


def device_cut(
    scorer: CoordinateScorer, parts: Sequence[Part], k: int, *, sparsity: float, alpha: float
) -> tuple[Iterator[Tensor], float | None]:
    """Which units stay when the k lowest scores go.

    Parameters
    ----------
    scorer : CoordinateScorer
        Asked for its feature only.
    parts : sequence of Part
        Without a saliency: the neighbourhood magnitude, across the borders of parts.
    k : int
        Neither none nor all of the units: those need no histogram.
    sparsity, alpha : float

    Returns
    -------
    kept : iterator of Tensor
        A bool vector a part, in order.
    threshold : float or None
        The highest score that goes.
    """
    device = parts[0].values.device
    n = sum(p.present for p in parts)
    first = FirstLook.at(parts, n, device)
    bins = MagnitudeBins.of(parts, n, first.magnitudes, device).with_tallies(parts)
    table = SaliencyTable.of(parts, bins, first.saliencies, device)
    table.become_scores(lambda z: alpha * scorer.feature(z, sparsity))
    return _select(parts, bins, table, k, first)


# --- units, a piece at a time --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some units of a part that are still there: codes, saliency, positions after ``start`` (None: every one of them)."""

    part: int
    start: int
    stop: int
    code: Tensor
    saliency: Tensor | None
    position: Tensor | None


def pieces(parts: Sequence[Part], i: int, begin: int, end: int, device: torch.device, *, saliency: bool) -> Iterator[Piece]:
    """The units of a stretch that are still there, in order."""
    part = parts[i]
    flat, gone = part.flat(), part.gone()
    own = None if part.saliency is None or not saliency else check_length(part.saliency(), part.present)
    before: Tensor | None = None  # magnitudes of the last units met, for neighbourhoods across borders
    taken = begin  # a part with a mask is one stretch
    for start in range(begin, end, PIECE):
        stop = min(end, start + PIECE)
        code = codes_of(flat[start:stop], torch.int32)
        position = None
        if gone is not None:
            position = (~gone[start:stop]).nonzero().squeeze(1)
            code = code[position]
        code = code.to(device)
        values: Tensor | None = None
        if own is not None:
            values = single(own[taken : taken + len(code)].to(device))
            taken += len(code)
        elif saliency:
            magnitude = magnitude_of_code(code)
            before = last_magnitudes(parts, i, start, REACH, device) if before is None else before
            around = torch.cat([before, magnitude, first_magnitudes(parts, i, stop, REACH, device)])
            values = neighbourhood(around)[len(before) : len(before) + len(code)].float()
            before = torch.cat([before, magnitude])[-REACH:]
        yield Piece(i, start, stop, code, values, None if position is None else position.to(device))


# --- pass 1: magnitudes --------------------------------------------------------------------------------------------------


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


# --- the first look ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FirstLook:
    """Units by magnitude cell and by the upper bits of their saliency, and a strided sample of them."""

    magnitudes: Tensor
    saliencies: Tensor
    sample_code: Tensor
    sample_saliency: Tensor

    @classmethod
    def at(cls, parts: Sequence[Part], n: int, device: torch.device) -> FirstLook:
        """Look at a pool once; refuse what is not finite."""
        one = torch.ones(PIECE, dtype=torch.int64, device=device)
        cells = torch.zeros(MAGNITUDE_CELLS, dtype=torch.int64, device=device)
        upper = torch.zeros(1 << (32 - SALIENCY_SHIFT), dtype=torch.int64, device=device)
        stride = max(1, n // SAMPLE)
        sample: list[tuple[Tensor, Tensor]] = []

        def step(i: int, begin: int, end: int) -> list[tuple[Tensor, Tensor]]:
            mine: list[tuple[Tensor, Tensor]] = []
            for piece in pieces(parts, i, begin, end, device, saliency=True):
                assert piece.saliency is not None
                magnitude_index = (piece.code >> MAGNITUDE_SHIFT).long()
                saliency_index = _upper(_ordered(piece.saliency)).long()
                with lock:  # whole numbers: the order of additions does not matter
                    cells.scatter_add_(0, magnitude_index, one[: len(magnitude_index)])
                    upper.scatter_add_(0, saliency_index, one[: len(saliency_index)])
                mine.append((piece.code[::stride].clone(), piece.saliency[::stride].clone()))
            return mine

        lock = Lock()
        for taken in in_threads(step, stretches(parts)):
            sample += taken
        if bool(cells[infinity(torch.int32) >> MAGNITUDE_SHIFT :].any()):
            raise infinite(parts, torch.int32)
        finite, beyond = _upper(_ordered(torch.tensor([-torch.finfo(torch.float32).max, torch.inf]))).tolist()
        if bool(upper[:finite].any() | upper[beyond:].any()):
            for part in parts:
                if part.saliency is not None:
                    check_saliency(part.saliency(), part.present)
        return cls(cells, upper, torch.cat([code for code, _ in sample]), torch.cat([value for _, value in sample]))


# --- pass 2: saliency ----------------------------------------------------------------------------------------------------


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
        ordered = _ordered(saliency)
        found = self.cells.index_select(0, _upper(ordered))
        within = ordered.bitwise_and_((1 << SALIENCY_SHIFT) - 1).mul_(found & 0xFFFF).bitwise_right_shift_(SALIENCY_SHIFT)
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


def _ordered(saliency: Tensor) -> Tensor:
    """Floats as int32 in the same order; −0 is 0."""
    bits = (saliency + 0.0).view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _upper(ordered: Tensor) -> Tensor:
    return (ordered >> SALIENCY_SHIFT) + (1 << (31 - SALIENCY_SHIFT))


# --- pass 3: scores ------------------------------------------------------------------------------------------------------


def _select(
    parts: Sequence[Part], bins: MagnitudeBins, table: SaliencyTable, k: int, look: FirstLook
) -> tuple[Iterator[Tensor], float | None]:
    """Decide every unit; again with a wider bracket should the sample have misled."""
    low, high = _bracket(bins, table, k, look)
    while True:
        decided = _decide(parts, bins, table, low, high)
        removed = k - decided.below
        if 0 < removed <= len(decided.score):
            break
        reach = max(high - low, 1e-3) * 8
        low, high = (low - reach, high) if removed <= 0 else (low, high + reach)
    gone = lowest(decided.score, magnitude_of_code(decided.code), removed)
    part, position = decided.part[gone].cpu(), decided.position[gone].cpu()
    threshold = float(decided.score[gone].max())

    def kept() -> Iterator[Tensor]:
        bounds = torch.searchsorted(part, torch.arange(len(parts) + 1)).tolist()
        for i, p in enumerate(parts):
            bits = np.unpackbits(decided.packed[i], count=p.numel).view(np.bool_)
            bits[position[bounds[i] : bounds[i + 1]].numpy()] = False
            decided.packed[i] = np.empty(0, np.uint8)
            yield torch.from_numpy(bits).to(p.values.device)

    return kept(), threshold


@dataclass(frozen=True, slots=True, eq=False)
class _Decided:
    """Bits of the units at or above a bracket, how many are below it, and those inside, in order."""

    packed: list[np.ndarray]
    below: int
    score: Tensor
    code: Tensor
    part: Tensor
    position: Tensor


def _decide(parts: Sequence[Part], bins: MagnitudeBins, table: SaliencyTable, low: float, high: float) -> _Decided:
    device, found = bins.cells.device, stretches(parts)

    def step(i: int, begin: int, end: int) -> tuple[np.ndarray, Tensor, list[tuple[Tensor, Tensor, Tensor, Tensor]]]:
        bits, inside, tally = [], [], bins.tally(i, begin)
        below = torch.zeros((), dtype=torch.int64, device=device)
        for piece in pieces(parts, i, begin, end, device, saliency=True):
            assert piece.saliency is not None
            bin_of, rho = bins.locate(piece.code, tally)
            score = rho.add_(table.scores(bin_of, piece.saliency))
            stays = score >= low
            below += len(score) - torch.count_nonzero(stays)
            close = (stays & (score <= high)).nonzero().squeeze(1)
            where = close if piece.position is None else piece.position[close]
            owner = torch.full_like(close, piece.part, dtype=torch.int32)
            inside.append((score[close], piece.code[close], owner, where + piece.start))
            if piece.position is not None:
                everywhere = torch.zeros(piece.stop - piece.start, dtype=torch.bool, device=device)
                everywhere[piece.position] = stays
                stays = everywhere
            bits.append(np.packbits(stays.cpu().numpy()))
        return np.concatenate(bits), below, inside

    results = in_threads(step, found)
    packed: list[list[np.ndarray]] = [[] for _ in parts]
    for (i, _, _), (bits, _, _) in zip(found, results, strict=True):
        packed[i].append(bits)
    score, code, part, position = (
        torch.cat(column) for column in zip(*[row for _, _, inside in results for row in inside], strict=True)
    )
    joined = [np.concatenate(p) if p else np.empty(0, np.uint8) for p in packed]
    below = int(torch.stack([count for _, count, _ in results]).sum())
    return _Decided(joined, below, score, code, part, position)


def _bracket(bins: MagnitudeBins, table: SaliencyTable, k: int, look: FirstLook) -> tuple[float, float]:
    """Scores between which the k-th lowest very probably is: quantiles of the sample's."""
    bin_of, rho = bins.locate(look.sample_code, None)
    sample = rho.add_(table.scores(bin_of, look.sample_saliency)).sort().values
    share = k / bins.n
    reach = 5 * (share * (1 - share) * len(sample)) ** 0.5 + 3
    low, high = (round(share * len(sample) + side * reach) for side in (-1, 1))
    return (
        float(sample[low]) if low >= 0 else float(sample[0]) - 1.0,
        float(sample[high]) if high < len(sample) else float(sample[-1]) + 1.0,
    )
