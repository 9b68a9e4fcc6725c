"""The machine a worker runs on: facts for a number's provenance, and settings of its process."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from pathlib import Path
from typing import Any

import torch

#: glibc's mallopt: above which size memory is mapped anew for each block, and how much free memory is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _MAPPED_BYTES = 128 << 20, 32 << 20


def device_facts(device: torch.device) -> dict[str, Any]:
    """Name of the device, and what of the processor decides which kernels run and so the last bits of a number."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "cpu": cpu_model(), "cpu_capability": torch.backends.cpu.get_cpu_capability()}


def cpu_model(source: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name, or its architecture where nothing tells the name."""
    with contextlib.suppress(OSError):
        for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, within bounds: each step would ask the system for the same pages again.

    Returns whether the system's C library took it; elsewhere nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES))
