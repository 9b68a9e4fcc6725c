"""GPUs by name: what their makers publish of them, which a guess of time rests on before anything was measured."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU as torch and its driver tell of it: its memory in bytes, and whether it lets in one process alone."""

    name: str
    memory: int = 0
    exclusive: bool = False


#: CUDA's attribute that says who may use a card, and the answers that let in one process, or one thread of one.
_COMPUTE_MODE, _ONE_ALONE = 20, (1, 3)


def lets_in_one(index: int) -> bool:
    """Whether the driver lets one process alone onto this card; False where there is no driver to ask. No context is opened."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    found, card = ctypes.c_int(0), ctypes.c_int(0)
    asked = driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(card), index) == 0
    return asked and driver.cuDeviceGetAttribute(ctypes.byref(found), _COMPUTE_MODE, card) == 0 and found.value in _ONE_ALONE


@dataclass(frozen=True, slots=True)
class Figures:
    """What a GPU does at most: bytes of memory a second, and operations a second of float32 and of bfloat16 matrices (dense).

    `of` is the name that they are published under; "" where the card's name is not known, and they are a middling card's.
    """

    of: str
    bandwidth: float
    fp32: float
    bf16: float


#: Words of a card's name, the more special cards first: GB/s, TFLOP/s in float32 without tensor cores, TFLOP/s in bfloat16 with
#: them and without sparsity. NVIDIA's data sheets of these cards (V100 and T4 have no bfloat16: the float32 units do it), for the
#: GeForce cards the appendices of its Ampere GA102, Ada and Blackwell RTX white papers (sums in float32), AMD's data sheet.
_PUBLISHED: tuple[tuple[str, float, float, float], ...] = (
    ("B200", 8000, 75, 2250),
    ("GB200", 8000, 80, 2500),
    ("H200", 4800, 67, 989),
    ("GH200", 4000, 67, 989),
    ("H100 NVL", 3900, 60, 835),
    ("H100 PCIe", 2000, 51, 756),
    ("H100", 3350, 67, 989),
    ("H800 PCIe", 2000, 51, 756),
    ("H800", 3350, 67, 989),
    ("A100 80GB PCIe", 1935, 19.5, 312),
    ("A100 80GB", 2039, 19.5, 312),
    ("A100", 1555, 19.5, 312),
    ("A800 80GB PCIe", 1935, 19.5, 312),
    ("A800 80GB", 2039, 19.5, 312),
    ("A800", 1555, 19.5, 312),
    ("L40S", 864, 91.6, 362),
    ("L40", 864, 90.5, 181),
    ("L4", 300, 30.3, 121),
    ("A40", 696, 37.4, 150),
    ("A10", 600, 31.2, 125),
    ("V100", 900, 15.7, 15.7),
    ("T4", 320, 8.1, 8.1),
    ("RTX 5090", 1792, 105, 210),
    ("RTX 4090", 1008, 82.6, 165),
    ("RTX 3090", 936, 35.6, 71),
    ("MI300X", 5300, 163, 1307),
)
#: Of a card that the table does not know: about an A10's.
_UNKNOWN = Figures("", 600e9, 30e12, 120e12)


def figures_of(name: str | None) -> Figures:
    """What is published of the card of this name; of several, what the slowest does.

    >>> figures_of("NVIDIA H100 80GB HBM3").of, figures_of("NVIDIA A100-SXM4-40GB").bandwidth
    ('H100', 1555000000000.0)
    >>> figures_of("NVIDIA H100 PCIe, NVIDIA A10").of, figures_of("NVIDIA GeForce RTX 4090 Laptop GPU").of
    ('A10', '')

    A slice of a card has as many sevenths of it as its name says; part of a slice has all of its memory:

    >>> round(figures_of("NVIDIA H200 MIG 2g.35gb").fp32 / figures_of("NVIDIA H200").fp32 * 7)
    2
    >>> part, card = figures_of("NVIDIA H200 MIG 1c.3g.71gb"), figures_of("NVIDIA H200")
    >>> round(part.bandwidth / card.bandwidth * 7), round(part.bf16 / card.bf16 * 7)
    (3, 1)
    """
    return min(map(_figures, (name or "").split(", ")), key=lambda figures: figures.bandwidth)


def _figures(name: str) -> Figures:
    words = set(re.findall(r"[A-Za-z0-9]+", name))
    found = next((row for row in _PUBLISHED if words.issuperset(row[0].split())), None)
    if found is None or "Laptop" in words:
        return _UNKNOWN
    of, bandwidth, fp32, bf16 = found
    sliced = re.search(r"\bMIG (?:(\d)c\.)?(\d)g", name)
    share = int(sliced[2]) / 7 if sliced else 1.0
    computing = int(sliced[1]) / 7 if sliced and sliced[1] else share
    return Figures(of, share * bandwidth * 1e9, computing * fp32 * 1e12, computing * bf16 * 1e12)
