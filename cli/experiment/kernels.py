"""What the compact form does between its matrix products, each as one pass over memory: norms, GELU, attention, the head, AdamW.

Compiled by numba for the processor at hand, once: the machine code is kept beside this file, or in the user's cache. One
thread, a fixed order of additions: the same numbers at every call. All in one file, long as it is: numba keeps machine code
until the file of the kernel changes, and would not see a change of what a kernel uses from another one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

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


class Kernels(NamedTuple):
    """The functions for one float type, number of tokens, number of heads and width of a head."""

    add_norm: Kernel
    add_norm_backward: Kernel
    gelu: Kernel
    gelu_alone: Kernel
    gelu_backward: Kernel
    attention: Kernel
    attention_backward: Kernel
    pool: Kernel
    pool_backward: Kernel
    cross_entropy: Kernel
    adamw: Kernel


@functools.cache
def make_kernels(dtype: type[np.floating[Any]], tokens: int, heads: int, width: int) -> Kernels:
    """Make the kernels for arrays of `dtype`, sequences of `tokens`, `heads` of `width`; they are compiled when first called."""
    between = *_norms(dtype), *_gelus(), *_attentions(dtype, tokens, heads, width)
    return Kernels(*between, *_pools(dtype), _losses(dtype), _adamw())


# -- scalar functions -------------------------------------------------------------------------------------------------
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


# -- norms, with the sums before them ---------------------------------------------------------------------------------
# Inner loops are short of arrays on purpose: LLVM leaves a loop scalar that would need many checks for overlapping memory.


def _norms(real: Any) -> tuple[Kernel, Kernel]:
    one, zero = real(1), real(0)

    def add_norm(x: Any, y: Any, bias: Any, gain: Any, shift: Any, eps: Any, out: Any, normed: Any, moments: Any) -> None:
        """out = x + y + bias; normed = layer norm of it; moments (2, rows): means and reciprocal deviations."""
        rows, dim = x.shape
        share = one / real(dim)
        for r in range(rows):
            total = zero
            for j in range(dim):
                value = x[r, j] + y[r, j] + bias[j]
                out[r, j] = value
                total += value
            mean = total * share
            square = zero
            for j in range(dim):
                square += (out[r, j] - mean) * (out[r, j] - mean)
            scale = one / math.sqrt(square * share + real(eps))
            for j in range(dim):
                normed[r, j] = (out[r, j] - mean) * scale * gain[j] + shift[j]
            moments[0, r], moments[1, r] = mean, scale

    def add_norm_backward(
        grad: Any, x: Any, moments: Any, gain: Any, back: Any, into_gain: Any, into_shift: Any, into_bias: Any
    ) -> None:
        """Add to `back` what comes through the norm, to `into_bias` the columns of the sum, and the norm's own gradients."""
        rows, dim = x.shape
        share = one / real(dim)
        hat = np.empty(dim, real)
        for r in range(rows):
            mean, scale = moments[0, r], moments[1, r]
            first, second = zero, zero
            for j in range(dim):
                h = (x[r, j] - mean) * scale
                g = grad[r, j] * gain[j]
                hat[j] = h
                first += g
                second += g * h
            first *= share
            second *= share
            for j in range(dim):
                back[r, j] += scale * (grad[r, j] * gain[j] - first - hat[j] * second)
            for j in range(dim):
                into_gain[j] += grad[r, j] * hat[j]
            for j in range(dim):
                into_shift[j] += grad[r, j]
            for j in range(dim):
                into_bias[j] += back[r, j]

    return compiled(add_norm), compiled(add_norm_backward)


# -- GELU -------------------------------------------------------------------------------------------------------------


def _gelus() -> tuple[Kernel, Kernel, Kernel]:
    def gelu(wide: Any, bias: Any, active: Any) -> None:
        """active = gelu(wide + bias), and wide becomes its slope there."""
        rows, dim = wide.shape
        for r in range(rows):
            for j in range(dim):
                u = wide[r, j] + bias[j]
                below, density = bell(u)
                active[r, j] = u * below
                wide[r, j] = below + u * density

    def gelu_alone(wide: Any, bias: Any) -> None:
        """wide = gelu(wide + bias)."""
        rows, dim = wide.shape
        for r in range(rows):
            for j in range(dim):
                u = wide[r, j] + bias[j]
                below, _ = bell(u)
                wide[r, j] = u * below

    def gelu_backward(grad: Any, slope: Any, into_bias: Any) -> None:
        """grad times slope; its columns are added to the bias's gradient."""
        rows, dim = grad.shape
        for r in range(rows):
            for j in range(dim):
                grad[r, j] *= slope[r, j]
            for j in range(dim):
                into_bias[j] += grad[r, j]

    return compiled(gelu), compiled(gelu_alone), compiled(gelu_backward)


# -- attention --------------------------------------------------------------------------------------------------------


def _part_of(length: int, most: int = 16) -> int:
    """Largest divisor of at most 16: so many products are unrolled."""
    return next(part for part in range(min(most, length), 0, -1) if length % part == 0)


@numba.njit(inline="always")
def _turn(rows: Any, first: Any, stride: Any, out: Any, T: Any, D: Any) -> None:
    """out (dim, tokens) = rows (tokens, dim), which begin at `first`."""
    for i in range(T):
        for c in range(D):
            out[c * T + i] = rows[first + i * stride + c]


@numba.njit(inline="always")
def _against_queries(
    rows: Any, first: Any, stride: Any, turned: Any, out: Any, zero: Any, T: Any, H: Any, W: Any, start: Any, part: Any
) -> None:
    """out (tokens, heads, tokens): every row of a head times its columns of `turned` (dim, tokens)."""
    for j in range(T):
        for h in range(H):
            for c in range(start, W, part):
                for i in range(T):
                    total = zero if c == start else out[(j * H + h) * T + i]
                    for u in range(part):
                        total += rows[first + j * stride + h * W + c + u] * turned[(h * W + c + u) * T + i]
                    out[(j * H + h) * T + i] = total


@numba.njit(inline="always")
def _over_keys(
    weights: Any, at: Any, rows: Any, first: Any, stride: Any, out: Any, place: Any, step: Any,
    zero: Any, T: Any, H: Any, W: Any, start: Any, part: Any,
) -> None:  # fmt: skip
    """Row i of a head in `out`: the sum over j of weights[j, h, i] times row j of `rows`."""
    for i in range(T):
        for h in range(H):
            for j in range(start, T, part):
                for c in range(W):
                    total = zero if j == start else out[place + i * step + h * W + c]
                    for u in range(part):
                        total += weights[at + ((j + u) * H + h) * T + i] * rows[first + (j + u) * stride + h * W + c]
                    out[place + i * step + h * W + c] = total


@numba.njit(inline="always")
def _over_queries(
    weights: Any, at: Any, rows: Any, first: Any, stride: Any, out: Any, place: Any, step: Any,
    zero: Any, T: Any, H: Any, W: Any, start: Any, part: Any,
) -> None:  # fmt: skip
    """Row j of a head in `out`: the sum over i of weights[j, h, i] times row i of `rows`."""
    for j in range(T):
        for h in range(H):
            for i in range(start, T, part):
                for c in range(W):
                    total = zero if i == start else out[place + j * step + h * W + c]
                    for u in range(part):
                        total += weights[at + (j * H + h) * T + i + u] * rows[first + (i + u) * stride + h * W + c]
                    out[place + j * step + h * W + c] = total


def _attentions(real: Any, tokens: int, heads: int, width: int) -> tuple[Kernel, Kernel]:
    """The kernels forward and backward."""
    # All sizes are constants and all arrays flat, so that LLVM sees which rows are apart; unsigned, or every index would be
    # looked at for being negative. The weights' axes are keys, heads, queries, so that the softmax runs down.
    zero, one, scale = real(0), real(1), real(width**-0.5)
    T, H, W, D, D2, D3, HT = map(
        np.uint64, (tokens, heads, width, heads * width, 2 * heads * width, 3 * heads * width, heads * tokens)
    )
    per_token, per_width, start = map(np.uint64, (_part_of(tokens), _part_of(width), 0))
    block, row, plane = tokens * heads * width, heads * tokens, tokens * heads * tokens

    def attention(qkv: Any, bias: Any, weights: Any, mixed: Any) -> None:
        """Add the bias to qkv (rows·3·dim); weights (examples·tokens·heads·tokens) and mixed (rows·dim), all flat."""
        turned, s, highest = np.empty(block, real), np.empty(plane, real), np.empty(row, real)
        examples = np.uint64(mixed.size) // (T * D)
        for e in range(examples):
            first, at = e * T * D3, e * T * HT
            for i in range(T):
                for c in range(D3):
                    qkv[first + i * D3 + c] += bias[c]
            _turn(qkv, first, D3, turned, T, D)
            _against_queries(qkv, first + D, D3, turned, s, zero, T, H, W, start, per_width)
            for i in range(HT):
                highest[i] = s[i]
            for j in range(T):
                for i in range(HT):
                    highest[i] = max(highest[i], s[j * HT + i])
            for j in range(T):
                for i in range(HT):
                    s[j * HT + i] = exp((s[j * HT + i] - highest[i]) * scale)
            for i in range(HT):
                highest[i] = zero
            for j in range(T):
                for i in range(HT):
                    highest[i] += s[j * HT + i]
            for i in range(HT):
                highest[i] = one / highest[i]
            for j in range(T):
                for i in range(HT):
                    weights[at + j * HT + i] = s[j * HT + i] * highest[i]
            _over_keys(weights, at, qkv, first + D2, D3, mixed, e * T * D, D, zero, T, H, W, start, per_token)

    def attention_backward(qkv: Any, weights: Any, grad: Any, into: Any, into_bias: Any) -> None:
        """Gradient of qkv (bias included) into `into`, from that of mixed; its columns are added to the bias's."""
        turned, s, total = np.empty(block, real), np.empty(plane, real), np.empty(row, real)
        examples = np.uint64(grad.size) // (T * D)
        for e in range(examples):
            first, at, place = e * T * D3, e * T * HT, e * T * D
            _over_queries(weights, at, grad, place, D, into, first + D2, D3, zero, T, H, W, start, per_token)
            _turn(grad, place, D, turned, T, D)
            _against_queries(qkv, first + D2, D3, turned, s, zero, T, H, W, start, per_width)
            for i in range(HT):
                total[i] = zero
            for j in range(T):
                for i in range(HT):
                    total[i] += s[j * HT + i] * weights[at + j * HT + i]
            for j in range(T):
                for i in range(HT):
                    s[j * HT + i] = (s[j * HT + i] - total[i]) * weights[at + j * HT + i] * scale
            _over_keys(s, start, qkv, first + D, D3, into, first, D3, zero, T, H, W, start, per_token)
            _over_queries(s, start, qkv, first, D3, into, first + D, D3, zero, T, H, W, start, per_token)
            for i in range(T):
                for c in range(D3):
                    into_bias[c] += into[first + i * D3 + c]

    return compiled(attention), compiled(attention_backward)


# -- what comes after the last block ----------------------------------------------------------------------------------


def _pools(real: Any) -> tuple[Kernel, Kernel]:
    """The kernels of pooling with the norm after it, forward and backward."""
    one, zero = real(1), real(0)

    def pool(x: Any, y: Any, bias: Any, gain: Any, shift: Any, eps: Any, hat: Any, scales: Any, normed: Any) -> None:
        """Mean over an example's tokens of x + y + bias; hat: standardised; normed: layer norm of it; both (examples, dim).

        x, y (examples·tokens, dim); scales (examples,): reciprocal deviations.
        """
        examples, dim = hat.shape
        tokens = len(x) // examples
        part, share = one / real(tokens), one / real(dim)
        for e in range(examples):
            for j in range(dim):
                hat[e, j] = zero
            for r in range(e * tokens, (e + 1) * tokens):
                for j in range(dim):
                    hat[e, j] += x[r, j] + y[r, j]
            total, square = zero, zero
            for j in range(dim):
                hat[e, j] = hat[e, j] * part + bias[j]
                total += hat[e, j]
            mean = total * share
            for j in range(dim):
                hat[e, j] -= mean
                square += hat[e, j] * hat[e, j]
            scale = one / math.sqrt(square * share + real(eps))
            for j in range(dim):
                hat[e, j] *= scale
                normed[e, j] = hat[e, j] * gain[j] + shift[j]
            scales[e] = scale

    def pool_backward(
        grad: Any, hat: Any, scales: Any, gain: Any, back: Any, into_gain: Any, into_shift: Any, into_bias: Any
    ) -> None:
        """From the gradient of `normed`, which is overwritten, that of every row of x and of y into `back`, the rest added."""
        examples, dim = hat.shape
        tokens = len(back) // examples
        part, share = one / real(tokens), one / real(dim)
        for e in range(examples):
            first, second = zero, zero
            for j in range(dim):
                into_gain[j] += grad[e, j] * hat[e, j]
                into_shift[j] += grad[e, j]
            for j in range(dim):
                grad[e, j] *= gain[j]
                first += grad[e, j]
                second += grad[e, j] * hat[e, j]
            first *= share
            second *= share
            for j in range(dim):
                grad[e, j] = scales[e] * (grad[e, j] - first - hat[e, j] * second)
                into_bias[j] += grad[e, j]
                grad[e, j] *= part
            for r in range(e * tokens, (e + 1) * tokens):
                for j in range(dim):
                    back[r, j] = grad[e, j]

    return compiled(pool), compiled(pool_backward)


def _losses(real: Any) -> Kernel:
    """The kernel of the loss and its gradient."""
    one, zero = real(1), real(0)

    def cross_entropy(logits: Any, bias: Any, labels: Any, size: Any, into_bias: Any, met: Any) -> None:
        """logits (examples, classes), the bias still to be added, become the gradient of their share of the mean of `size`.

        met (2,): that share is added to the first, the number of examples whose highest logit is at their label to the second.
        """
        examples, classes = logits.shape
        part = one / real(size)
        for e in range(examples):
            label = labels[e]
            for c in range(classes):
                logits[e, c] += bias[c]
            highest, place = logits[e, 0], 0
            for c in range(1, classes):
                if logits[e, c] > highest:
                    highest, place = logits[e, c], c
            own, total = logits[e, label] - highest, zero
            for c in range(classes):
                logits[e, c] = exp(logits[e, c] - highest)
                total += logits[e, c]
            met[0] += (math.log(total) - own) * part
            met[1] += one if place == label else zero
            total = part / total
            for c in range(classes):
                logits[e, c] *= total
            logits[e, label] -= part
            for c in range(classes):
                into_bias[c] += logits[e, c]

    return compiled(cross_entropy)


# -- the optimiser ----------------------------------------------------------------------------------------------------


def _adamw() -> Kernel:
    def adamw(weight: Any, grad: Any, first: Any, second: Any, facts: Any) -> None:
        """One step on vectors; facts: 1 − β₁, β₂, 1 − β₂, 1 − rate·weight decay, size of the step, root of the second moment's
        bias correction, ε."""
        part1, beta2, part2, shrink, size, root, eps = facts[0], facts[1], facts[2], facts[3], facts[4], facts[5], facts[6]
        for i in range(len(weight)):
            mean = first[i] + part1 * (grad[i] - first[i])
            square = beta2 * second[i] + part2 * grad[i] * grad[i]
            first[i], second[i] = mean, square
            weight[i] = weight[i] * shrink - size * mean / (math.sqrt(square) / root + eps)

    return compiled(adamw)
