"""Walking over tensors with a few threads, each of which works alone: torch's own teams sleep meanwhile."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

import torch

from sics_plugin.selection import parts
from sics_plugin.selection.parts import Part, spans

#: Most threads that share Python's global lock.
LOCKED = 4
R = TypeVar("R")


def workers() -> int:
    """Threads that walk over a pool: torch's number; at most four where Python has its global lock.

    Every NumPy call gives the lock away and takes it back, and waking a thread that waits for it takes tens of microseconds. In
    pieces of 200 000 units a call takes longer than that; in pieces of 80 000 two threads took more time than one.
    """
    threads = torch.get_num_threads()
    return min(threads, LOCKED) if getattr(sys, "_is_gil_enabled", lambda: True)() else threads


@contextmanager
def alone() -> Iterator[None]:
    """Keep torch on the calling thread: its own teams wait for each other after every one of many small steps."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(
    step: Callable[[int, int, int], R], stretches: Sequence[tuple[int, int, int]], *, at_most: int | None = None
) -> list[R]:
    """The results of ``step(part, begin, end)`` in the order of the stretches, from :func:`workers` threads, this one too."""
    threads = min(workers(), len(stretches), at_most or len(stretches)) if len(stretches) > 1 else 1
    if threads <= 1:
        with alone():
            return [step(*stretch) for stretch in stretches]
    left, found = deque(enumerate(stretches)), dict[int, R]()

    def work() -> None:
        while True:
            try:
                at, stretch = left.popleft()
            except IndexError:
                return
            try:
                found[at] = step(*stretch)
            except BaseException:
                left.clear()  # nobody goes on
                raise

    with alone():
        others = [_helpers().submit(copy_context().run, work) for _ in range(threads - 1)]
        try:
            work()
        finally:  # those that did not begin need not
            running = [other for other in others if not other.cancel()]
            wait(running)
        for other in running:
            other.result()
    return [found[at] for at in range(len(stretches))]


def over(part: Part, step: Callable[[int, int, int], None]) -> None:
    """Do ``step(0, begin, end)`` for all of one tensor; a small one at once, without asking for every layer how many threads."""
    if part.numel < parts.SPAN // 2:
        step(0, 0, part.numel)
    else:
        in_threads(step, spans([part]))


_HELPERS: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _helpers() -> ThreadPoolExecutor:
    """Threads that stay, with their workspaces: starting some for every walk takes as long as a million units do."""
    which = os.getpid(), workers()  # a forked process has none of its parent's threads
    if which not in _HELPERS:
        # OpenMP keeps the number per thread, so that the caller's own is not changed; torch's default for new threads is.
        _HELPERS[which] = ThreadPoolExecutor(
            max(1, which[1] - 1), "sics-walker", initializer=torch.set_num_threads, initargs=(1,)
        )
    return _HELPERS[which]
