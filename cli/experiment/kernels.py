"""What the compact form does between its matrix products, each as one pass over memory.

Norms, GELU and AdamW are here; attention is in `kernel_attention`, what comes after the last block in `kernel_head`.

Compiled by numba for the processor at hand, once: the machine code is kept beside these files, or in the user's cache. One
thread, a fixed order of additions: the same numbers at every call.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from sics_cli.experiment.kernel_attention import attentions
from sics_cli.experiment.kernel_head import losses, pools
from sics_cli.experiment.kernel_math import Kernel, bell, compiled


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
    between = *_norms(dtype), *_gelus(), *attentions(dtype, tokens, heads, width)
    return Kernels(*between, *pools(dtype), losses(dtype), _adamw())


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
