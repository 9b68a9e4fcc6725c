"""The histogram form of ρ and z: scores of κ ≥ 1 for pools too large to sort, in memory that does not grow with them.

Nothing is kept per unit but one bit. The steps, each a pass over the tensors:

1. *Magnitudes* are counted by cell, and every so many-th unit is kept as a sample. Another look at the units of the cells in
   which a magnitude bin starts finds those to the unit (:class:`~sics_plugin.bins.Bins`): bins are those of the exact form.
2. *Saliencies* are counted by bin and cell (:mod:`~sics_plugin.cells`), which gives z, and α·φ of it. The sample tells which bins
   are so low, or so high, that no z can change what becomes of their units; those are left out.
3. *Scores* s = ρ + α·φ are whole numbers. The sample brackets the k-th lowest; one pass decides all units outside the bracket and
   collects those inside, one or two percent, which :func:`~sics_plugin.selection.lowest` then decides exactly.

Where the sample misled, a step is done again with a wider bracket. Where this form can differ from the exact one is a unit whose
z is near the border of two entries of a spectrum, or whose score is within 1e-4 of the cut. Counts and scores are whole numbers,
and the score of a unit depends on itself and the tables alone: neither pieces nor threads change anything, nor does the grouping
of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock, local

import numpy as np
import torch
from torch import Tensor

from sics_plugin.bins import MAGNITUDE_CELLS, MAGNITUDE_SHIFT, RHO_BITS, RHO_MASK, Bins
from sics_plugin.cells import CELL_BITS, INFINITE, SALIENCY_CELLS, STEPS, Features, Spread, become_entries, saliency_codes
from sics_plugin.histogram_device import device_cut
from sics_plugin.pieces import Array, Piece, offsets, pieces, stretches
from sics_plugin.radix import magnitude_cut
from sics_plugin.registry import Scorer
from sics_plugin.scorers import CoordinateScorer
from sics_plugin.selection import lowest
from sics_plugin.stream import Part, in_threads, infinite, infinity, magnitude_of_code, on_cpu, workspace
from sics_plugin.units import check_saliency

SAMPLE = 1 << 17
#: How far, in standard errors of the sample, the k-th lowest score may be from its quantile before a step is repeated; and how
#: much farther, as a score, when z is not known yet but among the sample.
ERRORS, SLACK = 4, 0.01


class NotFiniteError(ValueError):
    """A saliency that is NaN or infinite was met; who looks at all of them can say how many."""


def histogram_form_of(scorer: Scorer, parts: Sequence[Part]) -> CoordinateScorer | None:
    """The scorer, if this form can stand for its ``score``: it is s = ρ + α·φ(z), with only the feature its own."""
    plain = isinstance(scorer, CoordinateScorer) and type(scorer).score is CoordinateScorer.score
    narrow = all(p.values.dtype != torch.float64 for p in parts)  # codes are those of float32
    return scorer if isinstance(scorer, CoordinateScorer) and plain and narrow else None


def histogram_cut(
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
    sparsity, alpha : float

    Returns
    -------
    kept : iterator of Tensor
        A bool vector a part, in order.
    threshold : float or None
        The highest score that goes.
    """
    n = sum(p.present for p in parts)
    if k in (0, n):
        magnitude_cut(parts, 0)  # for its check of the values
        return (torch.zeros_like(p.flat(), dtype=torch.bool) if k else _present(p) for p in parts), None
    if not on_cpu(parts):
        return device_cut(scorer, parts, k, sparsity=sparsity, alpha=alpha)
    cells, first = FirstLook.at(parts, n)
    bins = Bins.of(parts, n, cells)
    del cells
    features = Features.of(lambda z: alpha * scorer.feature(z, sparsity))
    return choose_by_scores(parts, k, bins, features, first)


def _present(part: Part) -> Tensor:
    gone = part.gone()
    return torch.ones(part.numel, dtype=torch.bool, device=part.values.device) if gone is None else ~gone


@dataclass(frozen=True, slots=True, eq=False)
class FirstLook:
    """A strided sample of the units: codes of magnitude and saliency, places in the pool."""

    code: Array
    saliency: Array
    place: Array

    @classmethod
    def at(cls, parts: Sequence[Part], n: int) -> tuple[Array, FirstLook]:
        """Look at a pool once: how many units are in every magnitude cell, and the sample. Refuse weights that are not finite."""
        starts, lock = offsets(parts), Lock()
        stride = max(1, n // SAMPLE)
        cells = np.zeros(MAGNITUDE_CELLS, np.int32 if n < 2**31 else np.int64)
        counter, one = torch.from_numpy(cells), torch.ones(workspace(torch.int32).size, dtype=torch.from_numpy(cells).dtype)

        def step(i: int, begin: int, end: int) -> list[tuple[Array, Array, Array]]:
            mine = []
            for piece in pieces(parts, i, begin, end, starts[i], saliency=True):
                assert piece.saliency is not None
                index = torch.from_numpy(np.right_shift(piece.code, MAGNITUDE_SHIFT, dtype=np.int64))
                with lock:  # whole numbers: the order of additions does not matter
                    counter.scatter_add_(0, index, one[: len(index)])
                skipped = -piece.place % stride
                place = np.arange(piece.place + skipped, piece.place + len(piece.code), stride)
                mine.append((piece.code[skipped::stride].copy(), saliency_codes(piece.saliency[skipped::stride].copy()), place))
            return mine

        sample = [row for rows in in_threads(step, stretches(parts)) for row in rows]
        if cells[infinity(torch.int32) >> MAGNITUDE_SHIFT :].any():
            raise infinite(parts, torch.int32)
        code, saliency, place = (np.concatenate(column) for column in zip(*sample, strict=True))
        return cells, cls(code, saliency, place)


@dataclass(frozen=True, slots=True)
class Bracket:
    """Scores, as whole numbers, between which the k-th lowest very probably is."""

    low: int
    high: int

    @classmethod
    def of(cls, sample: Array, share: float, slack: int = 0) -> Bracket:
        """Quantiles of a sample of scores around the one sought."""
        ordered = np.sort(sample)
        reach = ERRORS * (share * (1 - share) * len(ordered)) ** 0.5 + 3
        low, high = (round(share * len(ordered) + side * reach) for side in (-1, 1))
        return cls(
            (int(ordered[low]) if low >= 0 else int(ordered[0]) - 1) - slack,
            (int(ordered[high]) if high < len(ordered) else int(ordered[-1]) + 1) + slack,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Active:
    """Bins whose units a score may keep or remove, and the codes that are surely in none below and none above."""

    first: int
    stop: int
    lowest: int
    highest: int

    @classmethod
    def of(cls, bins: Bins, features: Features, bracket: Bracket | None) -> Active:
        """Those that can reach a bracket; all of them without one."""
        if bracket is None or not len(bins.edge_code):
            return cls(0, bins.count, 0, infinity(torch.int32))
        least, most = features.span
        width = (1 << RHO_BITS >> features.coarser) / bins.count
        first = min(max(0, int((bracket.low - most) / width) - 1), bins.count - 1)
        stop = max(min(bins.count, int((bracket.high - least) / width) + 2), first + 1)
        # Codes from that at which the first bin starts to that at which the one after the last does; one that is both has ties.
        starts = bins.above >> RHO_BITS  # the bin above every edge
        lower = int(bins.edge_code[np.searchsorted(starts[1:], first)]) if first else 0
        upper = int(bins.edge_code[np.searchsorted(starts[1:], stop)]) if stop < bins.count else infinity(torch.int32)
        return cls(first, stop, lower, upper)


class Room:
    """What one thread reuses from piece to piece."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.index, self.place, self.score, self.code, self.saliency = (np.empty(size, np.int32) for _ in range(5))
        self.cell, self.entry, self.key = np.empty(size, np.uint16), np.empty(size, np.int16), np.empty(size, np.int64)


_MINE = local()


def _room() -> Room:
    mine: Room | None = getattr(_MINE, "room", None)
    if mine is None or mine.size != workspace(torch.int32).size:
        mine = _MINE.room = Room(workspace(torch.int32).size)
    return mine


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """Bits of the units at or above a bracket, how many are below it, and those inside, in order."""

    bits: list[Array]
    below: int
    score: Array
    code: Array
    place: Array


class Scores:
    """Scores of the units of a pool, as whole numbers, once α·φ is known by bin and cell."""

    def __init__(self, bins: Bins, spread: Spread, features: Features, active: Active) -> None:
        self.bins, self.spread, self.features, self.active = bins, spread, features, active
        self.entries = np.empty(0, np.int16)

    # The rows of the entries are the active bins and one more at either end, for units of a code at which an active bin starts.

    def _located(self, code: Array, saliency: Array, which: Array | None, first: int) -> tuple[Array, Array]:
        """Places (bin and ρ) and indices of entries of some units, in the thread's own room."""
        room, n = _room(), len(code)
        place, key, index = room.place[:n], room.key[:n], room.index[:n]
        np.right_shift(code, MAGNITUDE_SHIFT, out=index)
        np.take(self.bins.cells, index, out=place, mode="clip")
        near = np.flatnonzero(place < 0)
        if len(near):
            at = (near if which is None else which[near]) + first
            place[near] = self.bins.of_codes(code[near], at)
        np.right_shift(saliency, self.spread.shift, out=index)
        np.subtract(index, self.spread.low, out=index)
        cell = np.take(self.spread.table, index, out=room.cell[:n], mode="clip")
        np.right_shift(place, RHO_BITS - CELL_BITS, out=index)
        np.bitwise_and(index, -SALIENCY_CELLS, out=index)
        offset = (self.active.first - 1) * SALIENCY_CELLS
        if len(near):
            outside = (self.active.first - 1) * SALIENCY_CELLS, self.active.stop * SALIENCY_CELLS
            index[near] = np.clip(index[near], *outside)
        np.subtract(index, offset, out=index)
        np.bitwise_or(index, cell, out=key)
        return place, key

    def active_units(self, piece: Piece, *, check: bool = False) -> tuple[Array, Array, Array | None]:
        """Codes of magnitude and saliency of the units a score may decide, and their index; None: all of them."""
        assert piece.saliency is not None
        saliency = saliency_codes(piece.saliency)
        if check and len(saliency) and not (INFINITE[0] < saliency.min() and saliency.max() < INFINITE[1]):
            raise NotFiniteError
        if self.active.lowest == 0 and self.active.highest == infinity(torch.int32):
            return piece.code, saliency, None
        inside: Array = piece.code >= self.active.lowest
        if self.active.highest < infinity(torch.int32):
            inside &= piece.code <= self.active.highest
        which, room = np.flatnonzero(inside), _room()
        n = len(which)
        code = np.take(piece.code, which, out=room.code[:n], mode="clip")
        return code, np.take(saliency, which, out=room.saliency[:n], mode="clip"), which

    def fill(self, parts: Sequence[Part]) -> Scores:
        """Count the pool's units by bin and cell, and turn counts to scores. Refuse saliencies that are not finite."""
        try:
            if not self._count(parts, np.int16) and not self._count(parts, np.int32):
                raise OverflowError(f"Expected fewer than 2**32 equal saliencies in a bin of {self.bins.n} units")
        except NotFiniteError:
            for part in parts:
                if part.saliency is not None:
                    check_saliency(part.saliency(), part.present)
            raise
        for row in self.entries.reshape(-1, SALIENCY_CELLS):
            become_entries(row, self.features)
        return self

    def _count(self, parts: Sequence[Part], dtype: type[np.signedinteger]) -> bool:
        """Count units in entries of a type, read as unsigned; False where one overflowed, as the total shows."""
        rows = self.active.stop - self.active.first + 2
        self.entries = np.zeros(rows * SALIENCY_CELLS, dtype)
        counter, lock, starts = torch.from_numpy(self.entries), Lock(), offsets(parts)
        one = torch.ones(_room().size, dtype=counter.dtype)

        def step(i: int, begin: int, end: int) -> int:
            total = 0
            for piece in pieces(parts, i, begin, end, starts[i], saliency=True):
                code, saliency, which = self.active_units(piece, check=True)
                _, key = self._located(code, saliency, which, piece.place)
                with lock:  # whole numbers: the order of additions does not matter
                    counter.scatter_add_(0, torch.from_numpy(key), one[: len(key)])
                total += len(key)
            return total

        total = sum(in_threads(step, stretches(parts)))
        return int(self.entries.view(np.uint16 if self.entries.itemsize == 2 else np.uint32).sum(dtype=np.int64)) == total

    def of(self, code: Array, saliency: Array, which: Array | None, first: int) -> Array:
        """Scores of units; the next call overwrites them."""
        place, key = self._located(code, saliency, which, first)
        room, n = _room(), len(code)
        score = np.bitwise_and(place, RHO_MASK, out=room.score[:n])
        if self.features.coarser:
            np.right_shift(score, self.features.coarser, out=score)
        if self.entries.dtype == np.int16:
            entry: Array = np.take(self.entries, key, out=room.entry[:n], mode="clip")
        else:
            entry = np.take(self.entries, key, mode="clip")
        higher = np.left_shift(entry, self.features.shift, out=room.index[:n], dtype=np.int32)
        np.add(score, higher, out=score)
        return np.asarray(score)

    def decide(self, parts: Sequence[Part], bracket: Bracket) -> Decided:
        """Decide every unit outside a bracket."""
        starts, found = offsets(parts), stretches(parts)

        def step(i: int, begin: int, end: int) -> tuple[Array, int, list[tuple[Array, Array, Array]]]:
            bits, inside, below = [], [], 0
            for piece in pieces(parts, i, begin, end, starts[i], saliency=True):
                code, saliency, which = self.active_units(piece)
                score = self.of(code, saliency, which, piece.place)
                stays = score >= bracket.low
                close = np.flatnonzero(stays & (score <= bracket.high))
                at = close if which is None else which[close]
                inside.append((score[close], code[close], piece.place + at))
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

        results = in_threads(step, found)
        packed: list[list[Array]] = [[] for _ in parts]
        for (i, _, _), (bits, _, _) in zip(found, results, strict=True):
            packed[i].append(bits)
        score, code, place = (np.concatenate(c) for c in zip(*[row for *_, rows in results for row in rows], strict=True))
        joined = [np.concatenate(p) if p else np.empty(0, np.uint8) for p in packed]
        return Decided(joined, sum(below for _, below, _ in results), score, code, place)


# --- choosing ------------------------------------------------------------------------------------------------------------


def choose_by_scores(
    parts: Sequence[Part], k: int, bins: Bins, features: Features, first: FirstLook
) -> tuple[Iterator[Tensor], float | None]:
    """Decide every unit; a step is done again with a wider bracket should the sample have misled."""
    spread = Spread.of(np.sort(first.saliency))
    share = k / bins.n
    guess: Bracket | None = Bracket.of(_sampled(bins, features, first), share, int(SLACK * 2.0 ** (RHO_BITS - features.coarser)))
    while True:
        scores = Scores(bins, spread, features, Active.of(bins, features, guess)).fill(parts)
        bracket = Bracket.of(_scored(scores, first), share)
        while guess is None or (guess.low <= bracket.low and bracket.high <= guess.high):
            decided = scores.decide(parts, bracket)
            removed = k - decided.below
            if 0 < removed <= len(decided.score):
                scores.entries = np.empty(0, np.int16)  # a third of what is held here
                gone = _lowest_inside(decided, removed)
                return _kept(parts, decided, gone), features.score(int(decided.score[gone].max()))
            reach = max(bracket.high - bracket.low, 1 << 13) * 8
            low, high = (reach, 0) if removed <= 0 else (0, reach)
            bracket = Bracket(bracket.low - low, bracket.high + high)
        guess = None


def _sampled(bins: Bins, features: Features, first: FirstLook) -> Array:
    """Scores of the sample, with z from the sample alone."""
    place = np.take(bins.cells, first.code >> MAGNITUDE_SHIFT, mode="clip")
    near = np.flatnonzero(place < 0)
    place[near] = bins.of_codes(first.code[near], first.place[near])
    unit = ((place >> RHO_BITS).astype(np.int64) << 32) + first.saliency
    ordered = np.sort(unit)
    starts = np.searchsorted(ordered, (np.arange(bins.count + 1, dtype=np.int64) << 32) - (1 << 31))
    midrank = (np.searchsorted(ordered, unit) + np.searchsorted(ordered, unit, side="right")) / 2
    bin_of = place >> RHO_BITS
    z = (midrank - starts[bin_of]) / (starts[bin_of + 1] - starts[bin_of])
    entry = features.entry[np.minimum((z * STEPS).astype(np.int64), STEPS - 1)].astype(np.int32)
    score: Array = ((place & RHO_MASK) >> features.coarser) + (entry << features.shift)
    return score


def _scored(scores: Scores, first: FirstLook) -> Array:
    size = _room().size
    return np.concatenate(
        [
            scores.of(first.code[at : at + size], first.saliency[at : at + size], first.place[at : at + size], 0).copy()
            for at in range(0, len(first.code), size)
        ]
    )


def _lowest_inside(decided: Decided, removed: int) -> Array:
    score, magnitude = torch.from_numpy(decided.score).double(), magnitude_of_code(torch.from_numpy(decided.code))
    gone: Array = lowest(score, magnitude, removed).numpy()
    return gone


def _kept(parts: Sequence[Part], decided: Decided, gone: Array) -> Iterator[Tensor]:
    starts = offsets(parts)
    place = decided.place[gone]
    bounds = np.searchsorted(place, starts)
    for i, part in enumerate(parts):
        kept = np.unpackbits(decided.bits[i], count=part.numel).view(np.bool_)
        decided.bits[i] = np.empty(0, np.uint8)
        removed = place[bounds[i] : bounds[i + 1]] - starts[i]
        before = part.gone()
        kept[removed if before is None else np.flatnonzero(~before.cpu().numpy())[removed]] = False
        yield torch.from_numpy(kept).to(part.values.device)
