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
from sics_plugin.histogram.walk import stretches
from sics_plugin.scorers.sics import CoordinateScorer
from sics_plugin.scorers.units import check_saliency
from sics_plugin.selection.lowest import lowest
from sics_plugin.selection.parts import Part, infinite, infinity, magnitude_of_code
from sics_plugin.selection.threads import in_threads

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


# --- the first look -----------------------------------------------------------------------------------------------------


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


# --- scores -------------------------------------------------------------------------------------------------------------


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
