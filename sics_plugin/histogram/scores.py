"""Scores of κ ≥ 1 of the units of a large pool, as whole numbers, from a table filled in one pass and read in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sics_plugin.histogram.magnitude_bins import RHO_BITS, RHO_MASK, Bins
from sics_plugin.histogram.saliency_cells import (
    CELL_BITS,
    SALIENCY_CELLS,
    Features,
    Spread,
    become_entries,
    is_finite,
    saliency_codes,
)
from sics_plugin.histogram.walk import Array, Piece, entries, offsets, pieces, stretches
from sics_plugin.scorers.units import check_saliency
from sics_plugin.selection.buffers import Rooms, look_up, pages
from sics_plugin.selection.lowest import lowest
from sics_plugin.selection.magnitude_cut import quantiles_around
from sics_plugin.selection.parts import Part, infinity, magnitude_of_code
from sics_plugin.selection.threads import alone, in_threads

#: How far, in standard errors of the sample, the k-th lowest score may be from its quantile before a step is repeated.
ERRORS = 3


@dataclass(frozen=True, slots=True)
class Bracket:
    """Scores between which the k-th lowest very probably is: whole numbers on the CPU."""

    low: float
    high: float

    @classmethod
    def of(cls, ordered: Array | Tensor, share: float, slack: float = 0, errors: int = ERRORS) -> Bracket:
        """Quantiles of a sorted sample of scores around the one sought, ``slack`` farther."""
        low, high = quantiles_around(share, len(ordered), errors)
        return cls(
            (ordered[low].item() if low >= 0 else ordered[0].item() - 1) - slack,
            (ordered[high].item() if high < len(ordered) else ordered[-1].item() + 1) + slack,
        )

    def wider(self, least: float, *, lower: bool) -> Bracket:
        """The bracket to try where the k-th lowest turned out to be lower, or higher: 8 times its width, or ``least``, on."""
        reach = max(self.high - self.low, least) * 8
        return Bracket(self.low - reach, self.high) if lower else Bracket(self.low, self.high + reach)

    def holds(self, other: Bracket) -> bool:
        """Whether another one is inside."""
        return self.low <= other.low and other.high <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class Active:
    """Codes of magnitude, the least and the most, of the units that may go or stay by their score; what others do is known."""

    lowest: int
    highest: int

    @classmethod
    def of(cls, bins: Bins, features: Features, bracket: Bracket | None) -> Active:
        """Those that can reach a bracket; all of them without one."""
        if bracket is None or not len(bins.edge_code):
            return cls(0, infinity(torch.int32))
        least, most = features.span
        width = (1 << RHO_BITS >> features.coarser) / bins.count
        first = min(max(0, int((bracket.low - most) / width) - 1), bins.count - 1)
        stop = max(min(bins.count, int((bracket.high - least) / width) + 2), first + 1)
        # Codes from that at which the first bin starts to that at which the one after the last does; one that is both has ties.
        starts = bins.above[1:]  # the bin above every edge
        lower = int(bins.edge_code[np.searchsorted(starts, first)]) if first else 0
        upper = int(bins.edge_code[np.searchsorted(starts, stop)]) if stop < bins.count else infinity(torch.int32)
        return cls(lower, upper)

    @property
    def everything(self) -> bool:
        """Whether no unit is left out."""
        return self.lowest == 0 and self.highest == infinity(torch.int32)


#: Rows of the table that are turned from counts to scores at a time.
ROWS = 16


class NotFiniteError(ValueError):
    """A saliency that is NaN or infinite was met; who looks at all of them can say how many."""


#: What a stretch has decided: bits, units below the bracket, and those inside: scores, codes of magnitude, places.
Result = tuple[Array, int | Tensor, list[tuple[Tensor, Tensor, Tensor]]]


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """Bits of the units at or above a bracket, how many are below it, and those inside, in order.

    ``place`` is theirs among all entries of the pool, those that are gone included.
    """

    bits: list[Array]
    below: int
    score: Tensor
    code: Tensor
    place: Tensor

    @classmethod
    def of(cls, parts: Sequence[Part], results: list[Result]) -> Decided:
        """From what was decided in every stretch; ``results`` is empty afterwards."""
        packed: list[list[Array]] = [[np.empty(0, np.uint8)] for _ in parts]
        for (i, _, _), (bits, _, _) in zip(stretches(parts), results, strict=True):
            packed[i].append(bits)
        below = sum(int(count) for _, count, _ in results)
        columns = [list(column) for column in zip(*[row for *_, rows in results for row in rows], strict=True)]
        results.clear()  # joined, the columns take the memory once more: one at a time
        score, code, place = (_joined(column) for column in columns)
        return cls([p[1] if len(p) == 2 else np.concatenate(p) for p in packed], below, score, code, place)

    def without_lowest(self, parts: Sequence[Part], removed: int) -> tuple[Iterator[Tensor], float]:
        """What stays of every part when so many of those inside go, too, and the highest score that goes."""
        with alone():
            score = self.score if self.score.is_floating_point() else self.score.double()
            gone = lowest(score, magnitude_of_code(self.code), removed)
        return self._kept(parts, self.place[gone].cpu().numpy()), self.score[gone].max().item()

    def _kept(self, parts: Sequence[Part], place: Array) -> Iterator[Tensor]:
        starts = entries(parts)
        bounds = np.searchsorted(place, starts)
        for i, part in enumerate(parts):
            kept = np.unpackbits(self.bits[i], count=part.numel).view(np.bool_)
            self.bits[i] = np.empty(0, np.uint8)
            kept[place[bounds[i] : bounds[i + 1]] - starts[i]] = False
            yield torch.from_numpy(kept).to(part.values.device)


class Scores:
    """The scores of a pool, once α·φ is known by bin and cell of the saliency.

    ``entries``: a row of 32 768 for every bin, of which those of bins that are left out are never touched, and take no memory.
    """

    def __init__(self, bins: Bins, spread: Spread, features: Features, active: Active) -> None:
        self.bins, self.spread, self.features, self.active = bins, spread, features, active
        self.entries, self.rooms = np.empty(0, np.int16), Rooms()

    def _located(self, code: Array, saliency: Array, which: Array | None, first: int) -> tuple[Array, Array]:
        """Places (bin and ρ) and indices of entries of some units, in the thread's workspace."""
        room, n = self.rooms.mine(), len(code)
        index = room.index[:n]
        place = self.bins.places(code, first, which, index, room.halves[0][:n])
        cell = self.spread.cells(saliency, place, index, room.short[:n])
        np.right_shift(place, RHO_BITS - CELL_BITS, out=index)
        np.bitwise_and(index, -SALIENCY_CELLS, out=index)
        np.bitwise_or(index, cell, out=index)
        return place, index

    def active_units(self, piece: Piece[Array], *, check: bool = False) -> tuple[Array, Array, Array | None]:
        """Codes of magnitude and saliency of the units a score may decide, and their index; None: all of them."""
        assert piece.saliency is not None
        saliency = saliency_codes(piece.saliency)
        if check and not is_finite(saliency):
            raise NotFiniteError
        if self.active.everything:
            return piece.code, saliency, None
        inside: Array = piece.code >= self.active.lowest
        if self.active.highest < infinity(torch.int32):
            inside &= piece.code <= self.active.highest
        which, room = np.flatnonzero(inside), self.rooms.mine()
        n = len(which)
        code = np.take(piece.code, which, out=room.halves[1][:n], mode="clip")
        return code, np.take(saliency, which, out=room.value[:n], mode="clip"), which

    def fill(self, parts: Sequence[Part]) -> Scores:
        """Count the pool's units by bin and cell, and turn counts to scores. Refuse saliencies that are not finite."""
        try:
            if not self._filled(parts, np.int16) and not self._filled(parts, np.int32):
                raise OverflowError(f"Expected fewer than 2**32 equal saliencies in a bin of {self.bins.n} units")
        except NotFiniteError:
            for part in parts:
                if part.saliency is not None:
                    check_saliency(part.saliency(), part.present)
            raise
        return self

    def _filled(self, parts: Sequence[Part], dtype: type[np.signedinteger]) -> bool:
        """Count in entries of a type, read as unsigned; False where one overflowed, as the total shows."""
        self.entries = pages(self.bins.count * SALIENCY_CELLS, dtype)
        counter, lock, starts = torch.from_numpy(self.entries), Lock(), offsets(parts)
        one = torch.ones(self.rooms.mine().size, dtype=counter.dtype)

        def count(i: int, begin: int, end: int) -> int:
            total = 0
            for piece in pieces(parts, i, begin, end, starts[i], saliency=True):
                code, saliency, which = self.active_units(piece, check=True)
                _, index = self._located(code, saliency, which, piece.place)
                key = self.rooms.mine().wide[: len(index)]  # places and codes were read
                key[:] = index
                with lock:  # whole numbers: the order of additions does not matter
                    counter.scatter_add_(0, torch.from_numpy(key), one[: len(key)])
                total += len(key)
            return total

        def turn(_: int, begin: int, end: int) -> int:
            return sum(become_entries(row, self.features) for row in rows[begin:end])

        total = sum(in_threads(count, stretches(parts)))
        rows = self.entries.reshape(-1, SALIENCY_CELLS)
        return total == sum(in_threads(turn, [(0, at, at + ROWS) for at in range(0, len(rows), ROWS)]))

    def of(self, code: Array, saliency: Array, which: Array | None, first: int) -> Array:
        """Scores of units; the next call overwrites them."""
        place, index = self._located(code, saliency, which, first)
        room, n = self.rooms.mine(), len(code)
        score: Array = np.bitwise_and(place, RHO_MASK, out=place)
        if self.features.coarser:
            np.right_shift(score, self.features.coarser, out=score)
        entry = look_up(self.entries, index, room.short[:n] if self.entries.dtype == np.int16 else np.empty(n, np.int32))
        np.left_shift(entry, self.features.shift, out=index, dtype=np.int32)
        np.add(score, index, out=score)
        return score

    def of_many(self, code: Array, saliency: Array, place: Array) -> Array:
        """Scores of any number of units, whose places in the pool are given."""
        size = min(self.rooms.mine().size, 1 << 13)  # this thread's takes the memory of what was ever used of it
        steps = [slice(at, at + size) for at in range(0, len(code), size)]
        return np.concatenate([self.of(code[s], saliency[s], place[s], 0).copy() for s in steps])

    def decide(self, parts: Sequence[Part], bracket: Bracket) -> Decided:
        """Decide every unit outside a bracket."""
        starts, first = offsets(parts), entries(parts)
        number = np.int32 if first[-1] < 2**31 else np.int64

        def step(i: int, begin: int, end: int) -> Result:
            bits, inside, below = [], [], 0
            for piece in pieces(parts, i, begin, end, starts[i], saliency=True):
                code, saliency, which = self.active_units(piece)
                score = self.of(code, saliency, which, piece.place)
                stays = score >= bracket.low
                close = np.flatnonzero(stays & (score <= bracket.high))
                at = close if which is None else which[close]
                at = at if piece.position is None else piece.position[at]
                rows = score[close], code[close], (at + (first[i] + piece.start)).astype(number)
                inside.append((torch.from_numpy(rows[0]), torch.from_numpy(rows[1]), torch.from_numpy(rows[2])))
                if which is not None:
                    everywhere = piece.code > self.active.highest
                    everywhere[which] = stays
                    stays = everywhere
                below += len(stays) - int(np.count_nonzero(stays))
                if piece.position is not None:
                    whole = np.zeros(piece.size, np.bool_)
                    whole[piece.position] = stays
                    stays = whole
                bits.append(np.packbits(stays))
            return np.concatenate(bits), below, inside

        return Decided.of(parts, in_threads(step, stretches(parts)))


def _joined(pieces: list[Tensor]) -> Tensor:
    """One vector of several, of which nothing is left."""
    together = torch.cat(pieces)
    pieces.clear()
    return together
