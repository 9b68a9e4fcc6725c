"""Walking over the units of a pool in pieces that fit a processor's cache; tensors are never concatenated.

Magnitudes are compared as *codes*: the bits of a non-negative IEEE number, read as an integer, are in the order of the numbers.
A unit that an earlier prune took has the code ``ABSENT``, below every other, so that "lowest first" meets it first.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from threading import get_ident, local
from weakref import ReferenceType, ref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Units one step looks at: few enough for a step's vectors to stay near a core, and enough for threads to seldom meet at Python's
#: global lock, which on pieces of 80 000 cost more than the second thread gained. No result depends on it.
CHUNK = 12 << 14
#: The same where memory is not short: a step of the histogram form is a dozen calls, and longer ones let two threads run side by
#: side. Its vectors take 24 bytes a unit and thread.
LARGE = 64 << 14
_SIZE: ContextVar[int | None] = ContextVar("units of a step", default=None)
#: Units one thread takes at a time. No result depends on it.
SPAN = 5 << 18
ABSENT = -1
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
#: Memory of this process alone, where a system knows the difference: what is only read of it stays the one page of zeros.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
Codes = np.ndarray


@dataclass(frozen=True)
class Part:
    """One tensor of a pool.

    Parameters
    ----------
    values : Tensor, any shape
        Weights, or scores that stand for them; never written.
    mask : Tensor, optional
        Of the same shape; zero where an earlier prune took the unit.
    saliency : callable, optional
        Gives the saliency of the units still there, a vector in their order, when it is needed.
    """

    values: Tensor
    mask: Tensor | None = None
    saliency: Callable[[], Tensor] | None = None

    @property
    def numel(self) -> int:
        """Units, those that are gone included."""
        return self.values.numel()

    @cached_property
    def present(self) -> int:
        """Units still there."""
        return self.numel if self.mask is None else int(torch.count_nonzero(self.mask))

    def flat(self) -> Tensor:
        """The values as a vector: a view of contiguous ones, a copy of others."""
        return self.values.detach().as_subclass(Tensor).reshape(-1)

    def gone(self) -> Tensor | None:
        """True where an earlier prune took the unit, a vector on the values' device; None where nothing is gone."""
        return None if self.mask is None else (self.mask.detach().reshape(-1) == 0).to(self.values.device)


def code_type(parts: Sequence[Part]) -> torch.dtype:
    """int64 (the bits of float64) where the pool holds a float64 tensor, else int32 (those of float32)."""
    return torch.int64 if any(p.values.dtype == torch.float64 for p in parts) else torch.int32


def infinity(dtype: torch.dtype) -> int:
    """The code of infinity: those of finite numbers are below, those of NaN above."""
    return 0x7F800000 if dtype == torch.int32 else 0x7FF0000000000000


def codes_of(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Codes of a vector: the bits of its magnitudes in float32 (or float64), as integers of ``dtype``; on any device.

    Examples
    --------
    >>> codes_of(torch.tensor([-1.0, 0.5, -0.0]), torch.int32).tolist()
    [1065353216, 1056964608, 0]
    """
    number = torch.float32 if dtype == torch.int32 else torch.float64
    return values.to(number).view(dtype) & torch.iinfo(dtype).max


def magnitude_of_code(code: Tensor) -> Tensor:
    """The magnitudes again, float32 or float64.

    Examples
    --------
    >>> magnitude_of_code(torch.tensor([1065353216], dtype=torch.int32)).item()
    1.0
    """
    return code.view(torch.float32 if code.dtype == torch.int32 else torch.float64)


def device_chunks(part: Part, dtype: torch.dtype, size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first position, codes) of every piece of a part, on its own device."""
    flat, gone = part.flat(), part.gone()
    for start in range(0, flat.numel(), size):
        code = codes_of(flat[start : start + size], dtype)
        if gone is not None:
            code.masked_fill_(gone[start : start + size], ABSENT)
        yield start, code


def pages(count: int, dtype: npt.DTypeLike) -> np.ndarray:
    """Zeros that take memory where they are written, and give it back to the system when they are freed.

    What a heap gets back it may keep, and then a table that lived for a moment counts until the end.

    Examples
    --------
    >>> pages(3, np.int16).tolist()
    [0, 0, 0]
    """
    return np.frombuffer(mmap.mmap(-1, max(1, count * np.dtype(dtype).itemsize), **PRIVATE), dtype, count)


def look_up(table: np.ndarray, index: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``table[index]`` for an int32 index that is surely inside; NumPy would make a wider copy of it first."""
    torch.index_select(torch.from_numpy(table), 0, torch.from_numpy(index), out=torch.from_numpy(out))
    return out


class Workspace:
    """The vectors one thread reuses from step to step: fresh memory costs more than the work.

    ``code`` is what :meth:`chunks` yields; the two ``flags`` are for whoever walks. Only what is used takes memory.
    """

    def __init__(self, dtype: torch.dtype, size: int) -> None:
        self.size = size
        self.code = pages(self.size, np.int32 if dtype == torch.int32 else np.int64)
        self.number = self.code.view(np.float32 if dtype == torch.int32 else np.float64)
        self.largest = self.code.dtype.type(torch.iinfo(dtype).max)
        self.flags = pages(self.size, np.bool_), pages(self.size, np.bool_)

    def chunks(self, part: Part, begin: int, end: int) -> Iterator[tuple[int, Codes]]:
        """Yield (first position, codes) of every piece of a span on the CPU; the next step overwrites the codes."""
        flat, gone = part.flat(), part.gone() if part.mask is not None else None
        bits = flat.view(_BITS[flat.dtype]).numpy() if flat.element_size() == self.code.itemsize else None
        for start in range(begin, end, self.size):
            stop = min(end, start + self.size)
            code = self.code[: stop - start]
            if bits is None:
                self._widen(flat[start:stop], code)
            np.bitwise_and(code if bits is None else bits[start:stop], self.largest, out=code)
            if gone is not None:
                np.copyto(code, self.code.dtype.type(ABSENT), where=gone[start:stop].numpy())
            yield start, code

    def _widen(self, values: Tensor, code: Codes) -> None:
        """Fill `code` with the bits of narrower numbers."""
        number = code.view(self.number.dtype)
        if values.dtype == torch.bfloat16 and code.itemsize == 4:  # the upper half of a float32
            np.left_shift(values.view(torch.int16).numpy(), 16, out=code, dtype=code.dtype)
        elif values.dtype in (torch.float16, torch.float32):
            number[:] = values.numpy()
        else:
            torch.from_numpy(number).copy_(values)


def step_size() -> int:
    """Units one step of the walk that is going on looks at."""
    return _SIZE.get() or CHUNK


@contextmanager
def long_steps() -> Iterator[None]:
    """Walk in steps of ``LARGE`` units, in this call and the threads it starts (:func:`~sics_plugin.threads.in_threads`)."""
    token = _SIZE.set(max(LARGE, CHUNK))
    try:
        yield
    finally:
        _SIZE.reset(token)


_MINE = local()
_HELD: dict[tuple[int, torch.dtype], Workspace] = {}


def workspace(dtype: torch.dtype) -> Workspace:
    """The calling thread's own :class:`Workspace`."""
    known: ReferenceType[Workspace] | None = getattr(_MINE, str(dtype), None)
    mine = None if known is None else known()
    if mine is None or mine.size != step_size():
        mine = _HELD[get_ident(), dtype] = Workspace(dtype, step_size())
        setattr(_MINE, str(dtype), ref(mine))
    return mine


def give_back() -> None:
    """Let go of the workspaces of all threads; one that is in use lives until its walk is over."""
    _HELD.clear()


class Room:
    """More vectors for a walk: ``index`` and ``value`` of int32, ``short`` of int16, ``wide`` of int64 and its two ``halves``."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.index, self.value, self.short = pages(size, np.int32), pages(size, np.int32), pages(size, np.int16)
        self.wide = pages(size, np.int64)
        self.halves = self.wide.view(np.int32)[:size], self.wide.view(np.int32)[size:]


class Rooms:
    """A :class:`Room` for every thread of some walks. Their memory goes with them, though threads and workspaces stay."""

    def __init__(self) -> None:
        self._rooms: dict[int, Room] = {}

    def mine(self) -> Room:
        """The calling thread's own."""
        room = self._rooms.get(get_ident())
        if room is None or room.size != step_size():
            room = self._rooms[get_ident()] = Room(step_size())
        return room


def spans(parts: Sequence[Part], size: int | None = None) -> list[tuple[int, int, int]]:
    """(part, first position, end) of the stretches that threads take, in order.

    A copy that flattening needs is made once; what is less than half a stretch is not worth a second thread.
    """
    size = size or SPAN
    found = []
    for i, part in enumerate(parts):
        step = size if part.numel >= 2 * size else -(-part.numel // 16) * 8 if part.numel >= size // 2 else part.numel
        step = max(1, step if part.values.is_contiguous() and part.mask is None else part.numel)
        found += [(i, start, min(part.numel, start + step)) for start in range(0, part.numel, step)]
    return found


def on_cpu(parts: Sequence[Part]) -> bool:
    """Whether every tensor of the pool is in the machine's own memory."""
    return all(p.values.device.type == "cpu" for p in parts)


def count_kept(mask: Tensor) -> int:
    """How many entries of a mask are not zero; on the CPU without waking torch's threads.

    Examples
    --------
    >>> count_kept(torch.tensor([True, False]))
    1
    """
    plain = mask.device.type == "cpu" and mask.dtype in (torch.bool, torch.float32, torch.float64)
    return int(np.count_nonzero(mask.numpy()) if plain else torch.count_nonzero(mask))


def check_parts(parts: Sequence[Part]) -> None:
    """Refuse what has no order: integers, tensors without data, an empty pool. NaN and infinities are met while streaming."""
    for p in parts:
        if not p.values.is_floating_point():
            raise TypeError(f"Expected a floating point tensor to prune, got {p.values.dtype}")
        if p.values.is_meta:
            raise ValueError("Expected parameters with values to prune, got one on the meta device: load its weights first")
    if not any(p.present for p in parts):
        raise ValueError("Expected at least one unit to rank, got none: the tensor is empty or already pruned away")


def infinite(parts: Sequence[Part], dtype: torch.dtype) -> ValueError:
    """The error for a pool in which something is not finite, with the count."""
    found = sum(int((code >= infinity(dtype)).sum()) for p in parts for _, code in device_chunks(p, dtype, SPAN))
    total = sum(p.present for p in parts)
    return ValueError(f"Expected finite values to prune, got {found} NaN or infinite of {total}")
