"""The histogram form of ρ and z on an accelerator: the steps of :mod:`~sics_plugin.histogram.cut` as tensor operations.

ρ has cells of its own, and z is the midrank of a cell evened out over the whole pool instead of a sample, so that masks differ
from the CPU's in the same few units in which either differs from the exact form. Nothing depends on pieces or stretches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sics_plugin.histogram import device_tables
from sics_plugin.histogram.device_tables import SALIENCY_SHIFT, MagnitudeBins, SaliencyTable, pieces, sortable, upper_bits
from sics_plugin.histogram.magnitude_bins import MAGNITUDE_CELLS, MAGNITUDE_SHIFT
from sics_plugin.histogram.scores import Bracket, Decided, Result
from sics_plugin.histogram.walk import entries, stretches
from sics_plugin.scorers.sics import CoordinateScorer
from sics_plugin.scorers.units import check_saliency
from sics_plugin.selection.parts import Part, infinite, infinity
from sics_plugin.selection.threads import in_threads

SAMPLE = 1 << 17


def device_cut(
    scorer: CoordinateScorer, parts: Sequence[Part], k: int, *, sparsity: float, alpha: float
) -> tuple[Iterator[Tensor], float | None]:
    """As :func:`sics_plugin.histogram.cut.histogram_cut`, on an accelerator, where neither none nor all of the units go."""
    device = parts[0].values.device
    n = sum(p.present for p in parts)
    first = DeviceLook.at(parts, n, device)
    bins = MagnitudeBins.of(parts, n, first.magnitudes, device).with_tallies(parts)
    table = SaliencyTable.of(parts, bins, first.saliencies, device)
    table.become_scores(lambda z: alpha * scorer.feature(z, sparsity))
    return _select(parts, bins, table, k, first)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceLook:
    """Units by magnitude cell and by the upper bits of their saliency, and a strided sample of them."""

    magnitudes: Tensor
    saliencies: Tensor
    sample_code: Tensor
    sample_saliency: Tensor

    @classmethod
    def at(cls, parts: Sequence[Part], n: int, device: torch.device) -> DeviceLook:
        """Look at a pool once; refuse what is not finite."""
        one = torch.ones(device_tables.PIECE, dtype=torch.int64, device=device)
        cells = torch.zeros(MAGNITUDE_CELLS, dtype=torch.int64, device=device)
        upper = torch.zeros(1 << (32 - SALIENCY_SHIFT), dtype=torch.int64, device=device)
        stride = max(1, n // SAMPLE)
        sample: list[tuple[Tensor, Tensor]] = []

        def step(i: int, begin: int, end: int) -> list[tuple[Tensor, Tensor]]:
            mine: list[tuple[Tensor, Tensor]] = []
            for piece in pieces(parts, i, begin, end, device, saliency=True):
                assert piece.saliency is not None
                magnitude_index = (piece.code >> MAGNITUDE_SHIFT).long()
                saliency_index = upper_bits(sortable(piece.saliency)).long()
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
        finite, beyond = upper_bits(sortable(torch.tensor([-torch.finfo(torch.float32).max, torch.inf]))).tolist()
        if bool(upper[:finite].any() | upper[beyond:].any()):
            for part in parts:
                if part.saliency is not None:
                    check_saliency(part.saliency(), part.present)
        return cls(cells, upper, torch.cat([code for code, _ in sample]), torch.cat([value for _, value in sample]))


def _select(
    parts: Sequence[Part], bins: MagnitudeBins, table: SaliencyTable, k: int, look: DeviceLook
) -> tuple[Iterator[Tensor], float]:
    """Decide every unit; again with a wider bracket should the sample have misled."""
    bin_of, rho = bins.locate(look.sample_code, None)
    sample = rho.add_(table.scores(bin_of, look.sample_saliency)).sort().values
    bracket = Bracket.of(sample, k / bins.n, errors=5)
    while True:
        decided = _decide(parts, bins, table, bracket)
        removed = k - decided.below
        if 0 < removed <= len(decided.score):
            return decided.without_lowest(parts, removed)
        bracket = bracket.wider(1e-3, lower=removed <= 0)


def _decide(parts: Sequence[Part], bins: MagnitudeBins, table: SaliencyTable, bracket: Bracket) -> Decided:
    device, first = bins.cells.device, entries(parts)

    def step(i: int, begin: int, end: int) -> Result:
        bits, inside, tally = [], [], bins.tally(i, begin)
        below = torch.zeros((), dtype=torch.int64, device=device)
        for piece in pieces(parts, i, begin, end, device, saliency=True):
            assert piece.saliency is not None
            bin_of, rho = bins.locate(piece.code, tally)
            score = rho.add_(table.scores(bin_of, piece.saliency))
            stays = score >= bracket.low
            below += len(score) - torch.count_nonzero(stays)
            close = (stays & (score <= bracket.high)).nonzero().squeeze(1)
            where = close if piece.position is None else piece.position[close]
            inside.append((score[close], piece.code[close], where + (first[i] + piece.start)))
            if piece.position is not None:
                everywhere = torch.zeros(piece.size, dtype=torch.bool, device=device)
                everywhere[piece.position] = stays
                stays = everywhere
            bits.append(np.packbits(stays.cpu().numpy()))
        return np.concatenate(bits), below, inside

    return Decided.of(parts, in_threads(step, stretches(parts)))
