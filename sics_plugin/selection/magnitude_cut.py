"""The exact magnitude cut of a pool, found while streaming: which code is the k-th lowest, and how many of its ties go.

On the CPU a sample brackets the cut, one pass counts what is below the bracket and collects the one or two percent inside it,
and sorting those gives the code. Where the bracket fails, or ties fill it, and on other devices, a radix histogram finds it
in two passes (four for float64) whatever the data are. Both are exact; no result depends on sample, chunk or thread count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sics_plugin.selection import buffers
from sics_plugin.selection.buffers import workspace
from sics_plugin.selection.parts import (
    ABSENT,
    Part,
    check_parts,
    code_type,
    codes_of,
    device_chunks,
    infinite,
    infinity,
    magnitude_of_code,
    on_cpu,
    spans,
)
from sics_plugin.selection.threads import alone, in_threads, over

#: Units of a sample, and the stride of that of a smaller pool: sorting it must not cost more than walking over the pool.
SAMPLE, STRIDE = 1 << 16, 64
#: Bits a level of the radix histogram resolves; the copies its counters have on an accelerator, where equal codes collide; and
#: the places over which the units without the prefix are spread, for the same reason.
DIGIT, COPIES, SPILL = 16, 8, 1024
DEVICE_SPAN = 1 << 23


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Units with a lower code than ``code`` go, and the first ``ties`` of those that have it.

    ``all_ties`` says that all of them go, where that is known.
    """

    dtype: torch.dtype
    code: int
    ties: int
    all_ties: bool

    def magnitude(self) -> float:
        """The highest magnitude that goes."""
        code = torch.as_tensor(self.code, dtype=self.dtype)
        return float(magnitude_of_code(code.reshape(1)))


def magnitude_cut(parts: Sequence[Part], k: int) -> Cut:
    """The cut that removes exactly the k lowest magnitudes of what is left in a pool, ties by position; 0 ≤ k ≤ what is left.

    >>> cut = magnitude_cut([Part(torch.tensor([0.5, -0.25])), Part(torch.tensor([0.25, 1.0]))], k=1)
    >>> cut.magnitude(), [kept.tolist() for kept in kept_masks([Part(torch.tensor([0.5, -0.25]))], cut)]
    (0.25, [[True, False]])
    """
    check_parts(parts)
    present = sum(p.present for p in parts)
    if not 0 <= k <= present:
        raise ValueError(f"Expected 0 <= k <= {present}, got {k}")
    dtype = code_type(parts)
    found = _by_bracket(parts, dtype, k) if on_cpu(parts) else None
    return _by_radix(parts, dtype, k) if found is None else found


def _by_bracket(parts: Sequence[Part], dtype: torch.dtype, k: int) -> Cut | None:
    """None where the sample misled, or where too many units lie between its quantiles."""
    n = sum(p.numel for p in parts)
    rank = k + n - sum(p.present for p in parts)  # those already gone have the lowest codes of all
    with alone():
        low, high = _bracket(parts, dtype, rank, n)
    limit = max(SAMPLE, n // 32)

    def step(i: int, begin: int, end: int) -> tuple[int, int, int, list[np.ndarray]]:
        room, below, collected, largest = workspace(dtype), 0, 0, ABSENT
        inside: list[np.ndarray] = []
        for _, code in room.chunks(parts[i], begin, end):
            lower, between = (flags[: len(code)] for flags in room.flags)
            below += int(np.count_nonzero(np.less(code, low, out=lower)))
            np.not_equal(np.less_equal(code, high, out=between), lower, out=between)
            largest = max(largest, int(code.max()))
            if low < high and collected <= limit:
                inside.append(code[np.flatnonzero(between)])
                collected += len(inside[-1])
            else:
                collected += int(np.count_nonzero(between))
        return below, collected, largest, inside

    stretches = spans(parts)  # on many small tensors threads would meet at Python's lock more than they gain
    results = in_threads(step, stretches, at_most=1 if n < buffers.CHUNK * len(stretches) else None)
    if max(largest for _, _, largest, _ in results) >= infinity(dtype):
        raise infinite(parts, dtype)
    if k == 0:
        return Cut(dtype, ABSENT, 0, True)
    below, collected = sum(r[0] for r in results), sum(r[1] for r in results)
    if not below < rank <= below + collected:
        return None
    if low == high:  # a code that so many have that the sample saw nothing else there
        return Cut(dtype, low, rank - below, collected == rank - below)
    if collected > limit:
        return None
    codes = np.sort(np.concatenate([piece for *_, inside in results for piece in inside]))
    code = codes[rank - below - 1]
    first, end = (int(np.searchsorted(codes, code, side=side)) for side in ("left", "right"))
    return Cut(dtype, int(code), rank - below - first, end == rank - below)


def _bracket(parts: Sequence[Part], dtype: torch.dtype, rank: int, n: int) -> tuple[int, int]:
    """Codes between which the rank-th lowest very probably is: quantiles of a strided sample, three standard errors each way.

    More would miss it less often (one pool in 400, which costs two more passes) and collect more of every pool.
    """
    step = max(1, n // SAMPLE, min(STRIDE, n // STRIDE**2))
    pieces, offset = [], 0
    for part in parts:
        if part.numel > offset:
            pieces.append(_strided_codes(part, offset, step, dtype))
        offset = (offset - part.numel) % step
    sample = np.sort(np.concatenate(pieces))
    if step == 1:
        exact = int(sample[max(rank, 1) - 1])
        return exact, exact
    low, high = quantiles_around(rank / n, len(sample))
    # Beyond the sample's own ends anything may be.
    return int(sample[low]) if low >= 0 else ABSENT, int(sample[high]) if high < len(sample) else infinity(dtype) - 1


def quantiles_around(share: float, count: int, errors: int = 3) -> tuple[int, int]:
    """Positions in a sorted sample so many standard errors below and above a quantile of the pool; they may be outside it."""
    reach = errors * (share * (1 - share) * count) ** 0.5 + 3
    return round(share * count - reach), round(share * count + reach)


def _strided_codes(part: Part, offset: int, step: int, dtype: torch.dtype) -> np.ndarray:
    flat, gone = part.flat(), part.gone()
    if flat.element_size() == dtype.itemsize:  # as below, in a fraction of the time of torch's calls: small layers are many
        code = flat.view(dtype).numpy()[offset::step] & torch.iinfo(dtype).max
    else:
        code = codes_of(flat[offset::step], dtype).numpy()
    if gone is not None:
        code[gone.numpy()[offset::step]] = ABSENT
    return code


def _by_radix(parts: Sequence[Part], dtype: torch.dtype, k: int) -> Cut:
    """Digit by digit from the top. What was found is fetched from the device once, at the end."""
    device = parts[0].values.device
    shift = 31 if dtype == torch.int32 else 63
    prefix, equal = torch.zeros(2, dtype=torch.int64, device=device)
    left = torch.full((), k, dtype=torch.int64, device=device)
    unusable, count = None, _digit_counts_on_cpu if on_cpu(parts) else _digit_counts_on_device
    while shift > 0:
        width = min(DIGIT, shift)
        by_digit = count(parts, dtype, prefix, shift, width)
        shift -= width
        if unusable is None:
            unusable = by_digit[infinity(dtype) >> shift :].sum() > 0
        total = by_digit.cumsum(0)
        digit = torch.searchsorted(total, left.reshape(1)).reshape(()).clamp(max=2**width - 1)
        equal, reached = (t.gather(0, digit.reshape(1)).reshape(()) for t in (by_digit, total))  # an index would be fetched
        left = left - (reached - equal)
        prefix = (prefix << width) | digit
    assert unusable is not None
    infinities, code, ties, tied = torch.stack([unusable.to(torch.int64), prefix, left, equal]).tolist()
    if infinities:
        raise infinite(parts, dtype)
    return Cut(dtype, code, ties, ties == tied)


def _digit_counts_on_cpu(parts: Sequence[Part], dtype: torch.dtype, prefix: Tensor, shift: int, width: int) -> Tensor:
    """How often each value of the next digit follows the prefix, shape (2**width,), int64; whole numbers, so in no order."""
    bins, wanted = 2**width, int(prefix)

    def step(i: int, begin: int, end: int) -> np.ndarray:
        counts = np.zeros(bins, np.int64)
        for _, code in workspace(dtype).chunks(parts[i], begin, end):
            matching = code[np.flatnonzero((code >> shift) == wanted)]
            counts += np.bincount((matching >> (shift - width)) & (bins - 1), minlength=bins)
        return counts

    return torch.from_numpy(np.sum(in_threads(step, spans(parts)), axis=0))


def _digit_counts_on_device(parts: Sequence[Part], dtype: torch.dtype, prefix: Tensor, shift: int, width: int) -> Tensor:
    device, bins = prefix.device, 2**width
    row = bins + SPILL  # what does not match is counted, too, in places nobody reads
    counts = torch.zeros(COPIES * row, dtype=torch.int64, device=device)
    place = torch.arange(min(DEVICE_SPAN, max(p.numel for p in parts)), device=device)
    spill, copy = bins + place % SPILL, (place % COPIES) * row
    one = torch.ones_like(place)
    for part in parts:
        for _, code in device_chunks(part, dtype, DEVICE_SPAN):
            wide = code.to(device).long()
            digit = (wide >> (shift - width)) & (bins - 1)
            index = torch.where((wide >> shift) == prefix, digit, spill[: len(wide)]) + copy[: len(wide)]
            counts.scatter_add_(0, index, one[: len(wide)])
    return counts.view(COPIES, row)[:, :bins].sum(0)


def kept_masks(parts: Sequence[Part], cut: Cut) -> Iterator[Tensor]:
    """Yield for every part, in order, which units stay: bool vectors of its length, False where a unit was gone before."""
    if on_cpu(parts):
        yield from _kept_on_cpu(parts, cut)
        return
    seen = torch.zeros((), dtype=torch.int64, device=parts[0].values.device)
    for part in parts:
        code = torch.cat([code for _, code in device_chunks(part, cut.dtype, DEVICE_SPAN)] or [part.flat().to(cut.dtype)])
        if cut.all_ties:
            yield code > cut.code
            continue
        tied = code == cut.code
        place = tied.cumsum(0) + seen.to(code.device)
        seen = place[-1].to(seen.device) if place.numel() else seen
        yield (code > cut.code) | (tied & (place > cut.ties))


def _kept_on_cpu(parts: Sequence[Part], cut: Cut) -> Iterator[Tensor]:
    threshold, left = int(cut.code), 0 if cut.all_ties else int(cut.ties)
    compare = np.greater if cut.all_ties else np.greater_equal
    for part in parts:
        kept = torch.empty(part.numel, dtype=torch.bool)
        out = kept.numpy()

        def step(_: int, begin: int, end: int, part: Part = part, out: np.ndarray = out) -> None:
            for start, code in workspace(cut.dtype).chunks(part, begin, end):
                compare(code, threshold, out=out[start : start + len(code)])

        over(part, step)
        if left:  # of equal ones the earlier go, until enough have
            for start, code in workspace(cut.dtype).chunks(part, 0, part.numel):
                tied = np.flatnonzero(code == threshold)[:left]
                out[start + tied] = False
                left -= len(tied)
                if not left:
                    break
        yield kept
