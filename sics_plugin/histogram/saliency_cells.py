"""α·φ(z) of a unit from the cell its saliency falls into among those of its magnitude bin.

A saliency's cell is one look-up by the upper bits of its code, in a table that evens 32 768 cells out over a sample of the pool:
equal saliencies share a cell, and cells are in the order of saliencies. Counted by bin and cell, z is the midrank of the cell in
its bin. α·φ(z) is looked up by one of 65 520 steps of z; 16 of them are one entry of the shipped spectra: nothing is lost there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sics_plugin.histogram.magnitude_bins import RHO_BITS
from sics_plugin.histogram.walk import Array
from sics_plugin.scorers.spectra import GRID
from sics_plugin.selection.buffers import look_up, pages

CELL_BITS = 15
SALIENCY_CELLS = 1 << CELL_BITS
#: Entries of the table from the upper bits of a saliency's code to its cell: as many as tell this share of the cells apart.
SIZES, RESOLVED = (1 << 19, 1 << 20, 1 << 21), 0.95
#: How many times as often as in even cells neighbours in a bin's sample may share one.
CROWDED = 1
FACTOR_BITS = 20
#: Steps of z: a multiple of the 4095 of a spectrum.
STEPS = 16 * (GRID - 1)
#: Codes of saliencies that are finite are strictly between these.
INFINITE = (-0x7F800001, 0x7F800000)


def saliency_codes(saliency: Array) -> Array:
    """Finite float32 as int32 in the same order; −0 is 0. May share the memory of its argument.

    >>> saliency_codes(np.array([-1.0, -0.0, 0.5], np.float32)).tolist()
    [-1065353217, 0, 1056964608]
    """
    bits = saliency.view(np.int32)
    if not is_plain(bits) and bits.min() < 0:
        bits = (saliency + np.float32(0)).view(np.int32)
        bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return bits


def is_plain(code: Array) -> bool:
    """Whether all are codes of finite numbers that are not negative: one look, where a negative one is a large whole number."""
    return bool(code.view(np.uint32).max(initial=0) < INFINITE[1])


def is_finite(code: Array) -> bool:
    """Whether all are codes of finite numbers."""
    return is_plain(code) or bool(code.min() > INFINITE[0] and code.max() < INFINITE[1])


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """Where the saliencies of every magnitude bin are, among a sample: codes relative to them are much the same in all bins."""

    origin: Array
    width: Array
    factor: Array

    @classmethod
    def of(cls, code: Array, bin_of: Array, bins: int) -> Ranges:
        """From a sample's codes and bins."""
        lowest, highest = np.full(bins, INFINITE[1], np.int64), np.full(bins, INFINITE[0], np.int64)
        np.minimum.at(lowest, bin_of, code)
        np.maximum.at(highest, bin_of, code)
        width = np.maximum(highest - lowest, 0) + 1
        return cls(lowest, width, (SIZES[0] << FACTOR_BITS) // width)

    def relative(self, code: Array, bin_of: Array) -> Array:
        """Codes as multiples of 2**−19 of their bin's range, from its start; no farther than a range away from it."""
        width = np.take(self.width, bin_of)
        found = np.clip(code - np.take(self.origin, bin_of), -width, 2 * width)
        found *= np.take(self.factor, bin_of)
        found >>= FACTOR_BITS
        narrow: Array = found.astype(np.int32)
        return narrow


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The cell of a saliency's code: ``table[(code >> shift) − low]``, the ends standing for what is beyond them.

    Where the saliency follows the magnitude so closely that a bin's units share few cells, codes are relative to ``ranges``.
    """

    shift: int
    low: int
    table: Array
    ranges: Ranges | None = None

    @classmethod
    def of(cls, code: Array, place: Array, bins: int) -> Spread:
        """From a sample of codes, with their units' places: cells that tell the sample's units of the same bin apart."""
        plain = cls._evened(np.sort(code))
        bin_of = place >> RHO_BITS
        order = np.argsort((bin_of.astype(np.int64) << 32) + code)
        code, place, bin_of = code[order], place[order], bin_of[order]
        differs = (bin_of[1:] == bin_of[:-1]) & (code[1:] != code[:-1])

        def merged(spread: Spread) -> int:
            cell = spread.cells(code, place, np.empty_like(code), np.empty(len(code), np.int16))
            return int(np.count_nonzero(differs & (cell[1:] == cell[:-1])))

        expected = np.count_nonzero(differs) ** 2 / (bins * SALIENCY_CELLS)
        if (found := merged(plain)) <= CROWDED * expected + len(code) / SALIENCY_CELLS:
            return plain
        ranges = Ranges.of(code, bin_of, bins)
        within = cls._evened(np.sort(ranges.relative(code, bin_of)), ranges)
        return within if merged(within) < found else plain

    @classmethod
    def _evened(cls, sample: Array, ranges: Ranges | None = None) -> Spread:
        """From a sorted sample of codes; a table that tells nearly all cells of the sample apart, or the largest."""
        # The first of every cell but the lowest, and with it the border to the cell before.
        firsts = sample[np.arange(1, SALIENCY_CELLS) * len(sample) // SALIENCY_CELLS]
        # Few saliencies may be very small, or zero: what is below the second cell needs no place in the table.
        least, most = int(firsts[min(np.searchsorted(firsts, firsts[0], side="right"), len(firsts) - 1)]), int(firsts[-1])
        apart = len(np.unique(firsts)) * RESOLVED
        for size in SIZES:
            shift = 0
            while (most >> shift) - (least >> shift) >= size - 2:
                shift += 1
            low = (least >> shift) - 1
            borders = np.clip((firsts >> shift) - low, 0, size)
            if len(np.unique(borders)) >= apart:
                break
        table = pages(size, np.int16)
        np.add.at(table, borders[borders < size], 1)
        np.cumsum(table, dtype=np.int16, out=table)
        return cls(shift, low, table, ranges)

    def cells(self, code: Array, place: Array, index: Array, out: Array) -> Array:
        """Cells of saliencies' codes in bins that ``place`` tells, int16, in ``out``; ``index``, int32, is overwritten."""
        if self.ranges is not None:
            code = self.ranges.relative(code, place >> RHO_BITS)
        end = min((self.low + len(self.table) << self.shift) - 1, INFINITE[1])
        np.clip(code, max(self.low << self.shift, INFINITE[0]), end, out=index)
        np.right_shift(index, self.shift, out=index)
        np.subtract(index, self.low, out=index)
        return look_up(self.table, index, out)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """α·φ by step of z: ``entry``, int16, times 2**``shift`` in units of 2**−(23 − ``coarser``), the last bit of a score."""

    entry: Array
    shift: int
    coarser: int

    @classmethod
    def of(cls, scaled: Callable[[Tensor], Tensor]) -> Features:
        """``scaled`` gives α·φ of z, float64."""
        value = scaled((torch.arange(STEPS, dtype=torch.float64) + 0.5) / STEPS).double().numpy()
        if not np.isfinite(value).all():
            raise ValueError(f"Expected finite scores, got {int((~np.isfinite(value)).sum())} NaN or infinite of {STEPS}")
        largest, shift = float(np.abs(value).max()), 0
        while largest * 2.0 ** (RHO_BITS - shift) > 32766:
            shift += 1
        # A score has 32 bits: where α is so large that it would not fit, ρ gives up its last ones.
        coarser = max(0, shift - 14)
        return cls(np.rint(value * 2.0 ** (RHO_BITS - shift)).astype(np.int16), shift - coarser, coarser)

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest, in units of a score."""
        return int(self.entry.min()) << self.shift, int(self.entry.max()) << self.shift

    def score(self, number: float) -> float:
        """A score from its units."""
        return number * 2.0 ** (self.coarser - RHO_BITS)


def become_entries(counts: Array, features: Features) -> int:
    """Turn counts of a bin's cells, shape (32 768,), int16 or int32 read as unsigned, into α·φ of their midranks, in place.

    Returns how many units were counted.
    """
    if not counts.any():
        return 0
    number: Array = counts.view(np.uint16 if counts.itemsize == 2 else np.uint32)
    below = np.cumsum(number, dtype=np.float64)
    total = below[-1]
    # (below + half of the cell)/total, in steps
    np.subtract(below, np.multiply(number, 0.5), out=below)
    np.multiply(below, STEPS / total, out=below)
    counts[:] = np.take(features.entry, below.astype(np.int64), mode="clip")
    return int(total)
