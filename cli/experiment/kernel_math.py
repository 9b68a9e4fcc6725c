"""How a kernel is compiled, and the scalar functions that loops on vectors need: eˣ and the normal distribution.

After an edit here touch the files that use it: numba keeps machine code until the file of the kernel itself changes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import codegen
from numba.extending import overload

#: Sums may be taken in vectors and products fused; NaN and infinities stay what they are, so that divergence is seen.
FAST = {"reassoc", "contract", "nsz", "arcp"}
#: For what depends on the order of its roundings.
EXACT = {"contract"}
Kernel = Callable[..., None]


def _use_whole_registers() -> None:
    """Have loops run on vectors of 512 bits where there are any: LLVM prefers half of them, for processors of another time.

    For this process only: another machine's jobs may inherit the environment. Who sets NUMBA_CPU_FEATURES is left alone.
    """
    settings: Any = numba.config
    host: Any = codegen.get_host_cpu_features
    features: str = host()
    if settings.CPU_FEATURES is None and "+avx512f" in features.split(","):
        settings.CPU_FEATURES = f"{features},-prefer-256-bit"


_use_whole_registers()


def compiled(function: Any) -> Kernel:
    """Compile for the processor when first called.

    What a function uses beside its arguments must be numbers: by them numba finds it in its cache.
    """
    options: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy", "nogil": True}
    try:
        machine_code = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in can be written to
        machine_code = numba.njit(**options)(function)

    @functools.wraps(machine_code)
    def call(*arguments: Any) -> None:
        try:
            machine_code(*arguments)
        except OSError:  # compiled, but it could not be kept: a full disk. Nothing was computed yet
            machine_code(*arguments)

    return call


# eˣ = 2ⁿ·eʳ, |r| ≤ ln 2/2, polynomials fitted by least squares with Lawson's weights. Ours, because a call of the C library for
# every number would keep the loops around it from running on vectors.

_F = np.float32
_LOWEST = _F(-87.0)
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504), _F(0.693359375), _F(-2.12194440e-4)
_SHIFT = _F(12582912.0)  # 1.5·2²³: adding it rounds to a whole number, which then stands in the lowest bits
_E2, _E3, _E4, _E5, _E6 = _F(0.5000000095), _F(0.1666651887), _F(0.04166620592), _F(0.008368885779), _F(0.001395048306)
_ONE, _HALF = _F(1.0), _F(0.5)
_ROOT_HALF, _DENSITY = _F(math.sqrt(0.5)), _F(1 / math.sqrt(2 * math.pi))
# erfc(x)·exp(x²) as a polynomial of t = 1/(1+0.33x), without constant term; 3e-9 off at most once multiplied by exp(−x²).
_P = _F(0.33)
_T1, _T2, _T3, _T4 = _F(0.16185762188), _F(0.40431074017), _F(-0.65283086169), _F(1.87131258785)
_T5, _T6, _T7 = _F(-1.92047251110), _F(1.42629969665), _F(-0.29047727096)


def _exp32(x: Any) -> Any:
    x = _LOWEST if x < _LOWEST else x  # not so what is not a number
    shifted = np.float32(x * _LOG2E + _SHIFT)
    n = shifted - _SHIFT
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    value = _ONE + r * (_ONE + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))))
    bits = np.float32(value).view(np.int32) + (np.int32(shifted.view(np.int32)) << np.int32(23))
    return np.int32(bits).view(np.float32)


def _bell32(u: Any) -> Any:
    exponential = exp(-_HALF * u * u)
    t = _ONE / (_ONE + _P * _ROOT_HALF * abs(u))
    tail = t * (_T1 + t * (_T2 + t * (_T3 + t * (_T4 + t * (_T5 + t * (_T6 + t * _T7)))))) * exponential * _HALF
    return (tail if u < 0 else _ONE - tail), _DENSITY * exponential


def _exp64(x: Any) -> Any:
    return math.exp(x)


def _bell64(u: Any) -> Any:
    return 0.5 * math.erfc(-u * math.sqrt(0.5)), math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)


def exp(x: Any) -> Any:
    """eˣ of x ≤ 0 in the type of x."""


def bell(u: Any) -> Any:
    """The normal distribution up to u, and its density there."""


@overload(exp, jit_options={"fastmath": EXACT})
def _exp_of(x: Any) -> Any:
    return _exp32 if x == types.float32 else _exp64


@overload(bell, jit_options={"fastmath": EXACT})
def _bell_of(u: Any) -> Any:
    return _bell32 if u == types.float32 else _bell64
