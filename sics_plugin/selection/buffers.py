"""Memory for a walk over a pool: buffers that steps and threads reuse, and how much one step looks at."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident, local
from weakref import ReferenceType, ref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sics_plugin.selection.parts import ABSENT, Part

#: Units one step looks at: few enough for a step's vectors to stay near a core, and enough for threads to seldom meet at Python's
#: global lock, which on pieces of 80 000 cost more than the second thread gained. No result depends on it.
CHUNK = 12 << 14
#: The same where memory is not short: a step of the histogram form is a dozen calls, and longer ones let two threads run side by
#: side. Its vectors take 24 bytes a unit and thread.
LARGE = 64 << 14
_SIZE: ContextVar[int | None] = ContextVar("units of a step", default=None)
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
#: Memory of this process alone, where a system knows the difference: what is only read of it stays the one page of zeros.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
Codes = np.ndarray


def pages(count: int, dtype: npt.DTypeLike) -> np.ndarray:
    """Zeros that take memory where they are written, and give it back to the system when they are freed.

    What a heap gets back it may keep, and then a table that lived for a moment counts until the end.

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
    """Walk in steps of ``LARGE`` units, in this call and the threads it starts (``threads.in_threads``)."""
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
