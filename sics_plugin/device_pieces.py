"""The units of a pool on an accelerator that are still there, with codes and saliencies, a large piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sics_plugin.percentile import neighbourhood
from sics_plugin.pieces import REACH, first_magnitudes, last_magnitudes, single
from sics_plugin.stream import Part, codes_of, magnitude_of_code
from sics_plugin.units import check_length

#: Units one step looks at, a multiple of 8: so many that what a step fetches is little. No result depends on it.
PIECE = 1 << 22


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
