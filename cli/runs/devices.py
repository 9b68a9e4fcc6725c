"""Which devices workers use, found out without torch wherever there is no GPU to ask about."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from sics_cli.base.errors import ConfigError


def may_have_gpu() -> bool:
    """False when torch cannot possibly find a GPU: no NVIDIA driver with a device, and no AMD compute node."""
    if Path("/dev/kfd").exists():
        return True
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def usable_gpus(device: str, ask_torch: Callable[[], Sequence[object]]) -> tuple[int, ...]:
    """Indices of the GPUs that the option `--device` selects; empty means the CPU.

    `ask_torch` lists the GPUs torch can use; it is only called where the answer can matter.

    >>> usable_gpus("cpu", lambda: ("A", "B")), usable_gpus("cuda:1", lambda: ("A", "B"))
    ((), (1,))
    """
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return ()
    there = ask_torch()
    if device == "auto":
        return tuple(range(len(there)))
    if not there:
        raise ConfigError(f"--device {device}: torch sees no GPU here; give auto or cpu")
    if device == "cuda":
        return tuple(range(len(there)))
    index = int(device.partition(":")[2])
    if index >= len(there):
        raise ConfigError(f"--device {device}: torch sees {', '.join(f'cuda:{i}' for i in range(len(there)))} here")
    return (index,)


def worker_devices(gpus: tuple[int, ...], workers: int | None, jobs: int, a_card: int = 1) -> list[str]:
    """Device of each worker, GPUs in turn: by default `a_card` workers a GPU, or one a core; never more workers than jobs.

    >>> worker_devices((), 3, jobs=2), worker_devices((0, 1), None, jobs=9)
    (['cpu', 'cpu'], ['cuda:0', 'cuda:1'])
    >>> worker_devices((0, 1), None, jobs=3, a_card=2)
    ['cuda:0', 'cuda:1', 'cuda:0']
    """
    if workers is None:
        workers = a_card * len(gpus) or cores()
    count = max(1, min(workers, jobs))
    return [f"cuda:{gpus[i % len(gpus)]}" if gpus else "cpu" for i in range(count)]


def cores() -> int:
    """Cores this process may use; a container or a batch system may give fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
