"""How much memory a call takes, measured on a whole process."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path


def resident(field: str) -> int:
    """Bytes that a field of /proc/self/status gives."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]


def peak_from_now() -> Callable[[], int]:
    """Forget the peak so far; what is returned gives the bytes of the peak since then beyond what is resident now.

    The growth of RssFile, pages of program files read meanwhile, is taken off.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # VmHWM becomes VmRSS
    before, files = resident("VmRSS"), resident("RssFile")
    return lambda: resident("VmHWM") - before - max(0, resident("RssFile") - files)
