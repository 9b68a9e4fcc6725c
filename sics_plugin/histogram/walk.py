"""The units of a pool on the CPU that are still there, with codes and saliencies, a cache-sized piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from sics_plugin.scorers.coordinate import NEIGHBOURHOOD, neighbourhood
from sics_plugin.scorers.units import check_length
from sics_plugin.selection.buffers import CHUNK, workspace
from sics_plugin.selection.parts import Part, codes_of, magnitude_of_code, spans

REACH = NEIGHBOURHOOD // 2
CPU = torch.device("cpu")
#: Units a thread takes at a time. No result depends on it.
STRETCH = 1 << 23
Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some units of one part, in order.

    ``code`` int32, which the next piece overwrites; ``saliency`` float32; ``place`` of the first one among the units of the pool
    that are still there; ``position`` of each after the first entry looked at, None where nothing is gone; ``size``: entries.
    """

    place: int
    size: int
    code: Array
    saliency: Array | None
    position: Array | None


def stretches(parts: Sequence[Part]) -> list[tuple[int, int, int]]:
    """What a thread takes at a time: a part, or some of a very large one."""
    return spans(parts, STRETCH)


def offsets(parts: Sequence[Part]) -> list[int]:
    """How many units that are still there come before every part, and how many there are."""
    return [0, *accumulate(p.present for p in parts)]


def pieces(parts: Sequence[Part], i: int, begin: int, end: int, first: int, *, saliency: bool) -> Iterator[Piece]:
    """The units of a stretch of the i-th part, of whose units the first one's place in the pool is ``first``."""
    part = parts[i]
    own = check_length(part.saliency(), part.present) if saliency and part.saliency is not None else None
    before: Tensor | None = None  # magnitudes of the last units met, for neighbourhoods across borders
    taken = begin  # a part with a mask is one stretch
    for start, stop, code, position in _codes(parts, i, begin, end):
        values: Tensor | None = None
        if own is not None:
            values = single(own[taken : taken + len(code)].cpu())
        elif saliency:
            magnitude = magnitude_of_code(torch.from_numpy(code))
            before = last_magnitudes(parts, i, start, REACH, CPU) if before is None else before
            around = torch.cat([before, magnitude, first_magnitudes(parts, i, stop, REACH, CPU)])
            values = neighbourhood(around)[len(before) : len(before) + len(code)].float()
            before = torch.cat([before, magnitude])[-REACH:]
        yield Piece(first + taken, stop - start, code, None if values is None else values.numpy(), position)
        taken += len(code)


def _codes(parts: Sequence[Part], i: int, begin: int, end: int) -> Iterator[tuple[int, int, Array, Array | None]]:
    part = parts[i]
    for start, code in workspace(torch.int32).chunks(part, begin, end):
        stop = start + len(code)
        if part.mask is None:
            yield start, stop, code, None
        else:
            position = np.flatnonzero(code >= 0)
            yield start, stop, code[position], position


def single(saliency: Tensor) -> Tensor:
    """As float32; a float64 beyond its range becomes its end, so that only what was infinite still is."""
    if saliency.dtype == torch.float64:
        end = torch.finfo(torch.float32).max
        saliency = torch.where(saliency.isfinite(), saliency.clamp(-end, end), saliency)
    return saliency.float()


def last_magnitudes(parts: Sequence[Part], i: int, stop: int, count: int, device: torch.device) -> Tensor:
    """Magnitudes of the last ``count`` units still there before a position of the i-th part; fewer at the start of the pool."""
    found: list[Tensor] = []
    window = 4 * count
    while count and i >= 0:
        flat, gone = parts[i].flat(), parts[i].gone()
        while count and stop > 0:
            start = max(0, stop - window)
            piece = flat[start:stop]
            piece = piece if gone is None else piece[~gone[start:stop]]
            found.append(magnitude_of_code(codes_of(piece[-count:], torch.int32)).to(device))
            count -= len(found[-1])
            stop, window = start, min(2 * window, CHUNK)
        i -= 1
        stop = parts[i].numel if i >= 0 else 0
    return torch.cat(found[::-1]) if found else torch.empty(0, device=device)


def first_magnitudes(parts: Sequence[Part], i: int, start: int, count: int, device: torch.device) -> Tensor:
    """Magnitudes of the next units still there, at or after a position of the i-th part; fewer at the end of the pool."""
    found: list[Tensor] = []
    window = 4 * count
    while count and i < len(parts):
        flat, gone = parts[i].flat(), parts[i].gone()
        while count and start < len(flat):
            piece = flat[start : start + window]
            piece = piece if gone is None else piece[~gone[start : start + window]]
            found.append(magnitude_of_code(codes_of(piece[:count], torch.int32)).to(device))
            count -= len(found[-1])
            start += window
            window = min(2 * window, CHUNK)
        i, start = i + 1, 0
    return torch.cat(found) if found else torch.empty(0, device=device)
