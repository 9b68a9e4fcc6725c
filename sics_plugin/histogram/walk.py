"""The units of a pool on the CPU that are still there, with codes and saliencies, a cache-sized piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

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


A = TypeVar("A", Array, Tensor)


@dataclass(frozen=True, slots=True, eq=False)
class Piece(Generic[A]):
    """Some units of one part, in order.

    ``place`` of the first one among the units of the pool that are still there; ``start``: the first entry of the part that was
    looked at; ``size``: how many were; ``code`` int32, which the next piece may overwrite; ``saliency`` float32; ``position`` of
    each unit after ``start``, None where nothing is gone.
    """

    place: int
    start: int
    size: int
    code: A
    saliency: A | None
    position: A | None


def stretches(parts: Sequence[Part]) -> list[tuple[int, int, int]]:
    """What a thread takes at a time: a part, or some of a very large one."""
    return spans(parts, STRETCH)


def offsets(parts: Sequence[Part]) -> list[int]:
    """How many units that are still there come before every part, and how many there are."""
    return [0, *accumulate(p.present for p in parts)]


def entries(parts: Sequence[Part]) -> list[int]:
    """How many entries, those that are gone included, come before every part, and how many there are."""
    return [0, *accumulate(p.numel for p in parts)]


def pieces(parts: Sequence[Part], i: int, begin: int, end: int, first: int, *, saliency: bool) -> Iterator[Piece[Array]]:
    """The units of a stretch of the i-th part, of whose units the first one's place in the pool is ``first``."""
    signal = Saliencies(parts, i, begin, CPU) if saliency else None
    taken = begin  # a part with a mask is one stretch
    for start, stop, code, position in _codes(parts, i, begin, end):
        values = None if signal is None else signal.of(start, stop, torch.from_numpy(code)).numpy()
        yield Piece(first + taken, start, stop - start, code, values, position)
        taken += len(code)


class Saliencies:
    """Saliencies of the units of a stretch, as float32 on a device, asked for piece by piece from its beginning."""

    def __init__(self, parts: Sequence[Part], i: int, begin: int, device: torch.device) -> None:
        self.parts, self.i, self.taken, self.device = parts, i, begin, device
        own = parts[i].saliency
        self.own = None if own is None else check_length(own(), parts[i].present)
        self.before: Tensor | None = None  # magnitudes of the last units met, for neighbourhoods across borders

    def of(self, start: int, stop: int, code: Tensor) -> Tensor:
        """Of the units still there between two entries of the part, whose codes of magnitude are given."""
        if self.own is not None:
            begin, self.taken = self.taken, self.taken + len(code)
            return single(self.own[begin : self.taken].to(self.device))
        magnitude, before = magnitude_of_code(code), self.before
        if before is None:
            before = nearest_magnitudes(self.parts, self.i, start, REACH, self.device, after=False)
        around = torch.cat([before, magnitude, nearest_magnitudes(self.parts, self.i, stop, REACH, self.device, after=True)])
        self.before = torch.cat([before, magnitude])[-REACH:]
        return neighbourhood(around)[len(before) : len(before) + len(code)].float()


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


def nearest_magnitudes(parts: Sequence[Part], i: int, at: int, count: int, device: torch.device, *, after: bool) -> Tensor:
    """Magnitudes of the ``count`` units still there before or after a position of the i-th part; fewer at an end of the pool."""
    found: list[Tensor] = []
    window = 4 * count
    while count and 0 <= i < len(parts):
        flat, gone = parts[i].flat(), parts[i].gone()
        while count and (at < len(flat) if after else at > 0):
            span = slice(at, at + window) if after else slice(max(0, at - window), at)
            piece = flat[span] if gone is None else flat[span][~gone[span]]
            found.append(magnitude_of_code(codes_of(piece[:count] if after else piece[-count:], torch.int32)).to(device))
            count -= len(found[-1])
            at, window = span.stop if after else span.start, min(2 * window, CHUNK)
        i += 1 if after else -1
        at = 0 if after or i < 0 else parts[i].numel
    return torch.cat(found if after else found[::-1]) if found else torch.empty(0, device=device)
