"""Where the k-th lowest score is, as far as a sample tells, and which bins' units can be on either side of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sics_plugin.bins import RHO_BITS, Bins
from sics_plugin.cells import Features
from sics_plugin.pieces import Array
from sics_plugin.stream import infinity

#: How far, in standard errors of the sample, the k-th lowest score may be from its quantile before a step is repeated.
ERRORS = 3


@dataclass(frozen=True, slots=True)
class Bracket:
    """Scores, as whole numbers, between which the k-th lowest very probably is."""

    low: int
    high: int

    @classmethod
    def of(cls, sample: Array, share: float, slack: int = 0) -> Bracket:
        """Quantiles of a sample of scores around the one sought, ``slack`` farther."""
        ordered = np.sort(sample)
        reach = ERRORS * (share * (1 - share) * len(ordered)) ** 0.5 + 3
        low, high = (round(share * len(ordered) + side * reach) for side in (-1, 1))
        return cls(
            (int(ordered[low]) if low >= 0 else int(ordered[0]) - 1) - slack,
            (int(ordered[high]) if high < len(ordered) else int(ordered[-1]) + 1) + slack,
        )

    def wider(self, *, lower: bool) -> Bracket:
        """The bracket to try where the k-th lowest turned out to be lower, or higher."""
        reach = max(self.high - self.low, 1 << 13) * 8
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
