"""What comes after the last block: pooling and the last norm, and the loss; the product between them is the caller's."""

from __future__ import annotations

import math
from typing import Any

from sics_cli.experiment.kernel_math import Kernel, compiled, exp


def pools(real: Any) -> tuple[Kernel, Kernel]:
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


def losses(real: Any) -> Kernel:
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
