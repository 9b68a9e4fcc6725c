"""Attention of short sequences, one example at a time: what an example needs stays in a core's first cache."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from sics_cli.experiment.kernel_math import Kernel, compiled, exp


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


def attentions(real: Any, tokens: int, heads: int, width: int) -> tuple[Kernel, Kernel]:
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
