"""A small vision transformer as one forward and one backward function over buffers that are made once.

A training step of a network as small as the presets' spends most of its time around the matrix products: fresh memory for every
activation, autograd's bookkeeping, a dozen passes over memory where one would do, attention made for long sequences. This
form does the same arithmetic as timm's module in torch's matrix products, and what is between two of them in one pass
(`sics_cli.experiment.kernels`). A row is one token of one example, the tokens of an example together.

`sics_cli.experiment.route` says which networks take it; larger ones would gain nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sics_cli.experiment.kernels import Kernels, make_kernels
from sics_cli.experiment.roomy import Room
from sics_cli.experiment.vit_layout import Parameters, Shape

#: Examples that go through the network together; the gradients of a batch's parts add up. Fewer stay nearer to a core's own
#: cache, more share the cost of a call.
PART = 32
_REAL = {torch.float32: np.float32, torch.float64: np.float64}


class _Matrix:
    """A matrix as torch's products take it (`all`, and `t` transposed) and as the kernels do (`rows`, or `flat`)."""

    def __init__(self, tensor: Tensor) -> None:
        self.all, self.t = tensor, tensor.t()
        self.rows = tensor.numpy()
        self.flat = self.rows.reshape(-1)


class _Block:
    """One block's parameters, or their gradients; vectors as the kernels take them."""

    def __init__(self, number: int, named: dict[str, Tensor]) -> None:
        def part(name: str) -> Tensor:
            return named[f"blocks.{number}.{name}"]

        self.qkv, self.proj, self.fc1, self.fc2 = (
            _Matrix(part(f"{name}.weight")) for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        )
        self.qkv_bias, self.proj_bias, self.fc1_bias, self.fc2_bias = (
            part(f"{name}.bias").numpy() for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        )
        self.norm1, self.norm2 = (
            (part(f"{name}.weight").numpy(), part(f"{name}.bias").numpy()) for name in ("norm1", "norm2")
        )  # fmt: skip


class _Head:
    """The last norm and the classifier, or their gradients."""

    def __init__(self, named: dict[str, Tensor]) -> None:
        self.weight = _Matrix(named["head.weight"])
        self.bias, *norm = (named[name].numpy() for name in ("head.bias", "fc_norm.weight", "fc_norm.bias"))
        self.norm = tuple(norm)


class _Kept:
    """What a block's backward pass needs of its forward pass."""

    def __init__(self, shape: Shape, n: int, dtype: torch.dtype, room: Room) -> None:
        rows = shape.tokens * n

        def matrix(columns: int) -> _Matrix:
            return _Matrix(room.zeros(rows, columns, dtype=dtype))

        self.entry, self.first, self.mixed, self.middle, self.second = (matrix(shape.dim) for _ in range(5))
        self.moments1, self.moments2 = (room.zeros(2, rows, dtype=dtype).numpy() for _ in range(2))
        self.qkv = matrix(3 * shape.dim)
        self.attention = room.zeros(rows * shape.heads * shape.tokens, dtype=dtype).numpy()
        self.slope, self.active = matrix(shape.hidden), matrix(shape.hidden)


class _Memory:
    """All buffers for parts of exactly `n` examples."""

    def __init__(self, shape: Shape, n: int, dtype: torch.dtype, keep: bool) -> None:
        rows, room, self.backward = shape.tokens * n, Room(), keep

        def matrix(columns: int, rows: int = rows) -> _Matrix:
            return _Matrix(room.zeros(rows, columns, dtype=dtype))

        # Without a backward pass one block's memory serves all of them.
        blocks = [_Kept(shape, n, dtype, room) for _ in range(shape.depth if keep else 1)]
        self.kept = blocks if keep else blocks * shape.depth
        self.product, self.places = (matrix(shape.dim) for _ in range(2))
        self.hat, self.pooled = (matrix(shape.dim, n) for _ in range(2))
        self.scales = room.zeros(n, dtype=dtype).numpy()
        self.logits = matrix(shape.classes, n)
        if keep:
            self.back, self.narrow = (matrix(shape.dim) for _ in range(2))
            self.qkv = matrix(3 * shape.dim)
            self.wide = matrix(shape.hidden)


class CompactVit:
    """Forward and backward passes of a plain vision transformer.

    Parameters
    ----------
    shape : Shape
    dtype : torch.dtype
        float32 or float64.

    Notes
    -----
    The state is `parameters.flat`; `gradient` fills `gradients.flat`, laid out alike. All results are functions of the
    arguments and the state alone: nothing is kept between calls but memory. Call it without autograd.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        self.shape = shape
        self.dtype = dtype
        self.parameters = Parameters(shape, dtype)
        self.gradients = Parameters(shape, dtype)
        self.kernels: Kernels = make_kernels(_REAL[dtype], shape.tokens, shape.heads, shape.dim // shape.heads)
        self._heads = _Head(self.parameters.named), _Head(self.gradients.named)
        self._places, self._into_places = (
            part.named["pos_embed"].view(shape.tokens, -1) for part in (self.parameters, self.gradients)
        )
        self._blocks = [_Block(i, self.parameters.named) for i in range(shape.depth)]
        self._into = [_Block(i, self.gradients.named) for i in range(shape.depth)]
        self._patch, self._into_patch = (
            _Matrix(part.named["patch_embed.proj.weight"]) for part in (self.parameters, self.gradients)
        )
        self._patch_bias, self._into_patch_bias = (
            part.named["patch_embed.proj.bias"].numpy() for part in (self.parameters, self.gradients)
        )
        self._memories: dict[tuple[int, bool], _Memory] = {}

    def _memory(self, n: int, keep: bool) -> _Memory:
        if (n, keep) not in self._memories:
            self._memories[n, keep] = _Memory(self.shape, n, self.dtype, keep)
        return self._memories[n, keep]

    # -- forward ----------------------------------------------------------------------------------------------

    def logits(self, cut: Tensor) -> Tensor:
        """Logits (n, classes) of patches (n, tokens, numbers), keeping nothing for a backward pass."""
        memory = self._memory(len(cut), keep=False)
        self._forward(cut, memory)
        return memory.logits.all + self.parameters.named["head.bias"]

    def _forward(self, cut: Tensor, memory: _Memory) -> None:
        """Fill the memory, to its logits, to which the head's bias is still to be added."""
        shape, add_norm = self.shape, self.kernels.add_norm
        n, blocks, product = len(cut), self._blocks, memory.product
        torch.mm(cut.view(n * shape.tokens, -1), self._patch.t, out=product.all)
        memory.places.all.view(n, shape.tokens, -1).copy_(self._places)
        x, y, bias = product, memory.places, self._patch_bias
        for block, kept in zip(blocks, memory.kept, strict=True):
            add_norm(x.rows, y.rows, bias, *block.norm1, shape.eps, kept.entry.rows, kept.first.rows, kept.moments1)
            torch.mm(kept.first.all, block.qkv.t, out=kept.qkv.all)
            self.kernels.attention(kept.qkv.flat, block.qkv_bias, kept.attention, kept.mixed.flat)
            torch.mm(kept.mixed.all, block.proj.t, out=product.all)
            add_norm(
                kept.entry.rows, product.rows, block.proj_bias, *block.norm2, shape.eps,
                kept.middle.rows, kept.second.rows, kept.moments2,
            )  # fmt: skip
            torch.mm(kept.second.all, block.fc1.t, out=(kept.slope if memory.backward else kept.active).all)
            if memory.backward:
                self.kernels.gelu(kept.slope.rows, block.fc1_bias, kept.active.rows)
            else:
                self.kernels.gelu_alone(kept.active.rows, block.fc1_bias)
            torch.mm(kept.active.all, block.fc2.t, out=product.all)
            x, y, bias = kept.middle, product, block.fc2_bias
        head, _ = self._heads
        self.kernels.pool(
            x.rows, y.rows, bias, *head.norm, shape.eps, memory.hat.rows, memory.scales, memory.pooled.rows
        )  # fmt: skip
        torch.mm(memory.pooled.all, head.weight.t, out=memory.logits.all)

    # -- backward ---------------------------------------------------------------------------------------------

    def gradient(self, cut: Tensor, labels: Tensor) -> tuple[float, int]:
        """Mean cross-entropy of patches under labels (n,), and how many have their highest logit at their label.

        The gradient of the first is in `gradients` afterwards.
        """
        self.gradients.flat.zero_()
        met = np.zeros(2)
        for part, label in zip(cut.split(PART), labels.split(PART), strict=True):
            self._add_gradient(part, label.numpy(), len(labels), met)
        return float(met[0]), int(met[1])

    def _add_gradient(self, cut: Tensor, labels: np.ndarray, size: int, met: np.ndarray) -> None:
        """Add the gradient of one part of a batch of `size`, and to `met` its share of the mean loss and of what is right."""
        memory, tokens, kernels, head, into = self._memory(len(cut), keep=True), self.shape.tokens, self.kernels, *self._heads
        self._forward(cut, memory)
        kernels.cross_entropy(memory.logits.rows, head.bias, labels, size, into.bias, met)
        into.weight.all.addmm_(memory.logits.t, memory.pooled.all)
        torch.mm(memory.logits.all, head.weight.all, out=memory.pooled.all)
        # What is added last in a block has its bias's gradient in the sum over the rows of what comes back.
        below = [self._into_patch_bias, *(block.fc2_bias for block in self._into)]
        kernels.pool_backward(
            memory.pooled.rows, memory.hat.rows, memory.scales, head.norm[0], memory.back.rows, *into.norm, below.pop()
        )  # fmt: skip
        for place in reversed(range(self.shape.depth)):
            self._block_backward(self._blocks[place], self._into[place], memory.kept[place], below[place], memory)
        back = memory.back
        self._into_patch.all.addmm_(back.t, cut.view(len(back.all), -1))
        self._into_places.add_(back.all.view(len(cut), tokens, -1).sum(dim=0))

    def _block_backward(self, block: _Block, into: _Block, kept: _Kept, below: np.ndarray, memory: _Memory) -> None:
        """Turn the gradient of the block's output, in `memory.back`, into that of its input."""
        kernels, back, narrow, wide, qkv = self.kernels, memory.back, memory.narrow, memory.wide, memory.qkv
        into.fc2.all.addmm_(back.t, kept.active.all)
        torch.mm(back.all, block.fc2.all, out=wide.all)
        kernels.gelu_backward(wide.rows, kept.slope.rows, into.fc1_bias)
        into.fc1.all.addmm_(wide.t, kept.second.all)
        torch.mm(wide.all, block.fc1.all, out=narrow.all)
        kernels.add_norm_backward(
            narrow.rows, kept.middle.rows, kept.moments2, block.norm2[0], back.rows, *into.norm2, into.proj_bias
        )  # fmt: skip

        into.proj.all.addmm_(back.t, kept.mixed.all)
        torch.mm(back.all, block.proj.all, out=narrow.all)
        kernels.attention_backward(kept.qkv.flat, kept.attention, narrow.flat, qkv.flat, into.qkv_bias)
        into.qkv.all.addmm_(qkv.t, kept.first.all)
        torch.mm(qkv.all, block.qkv.all, out=narrow.all)
        kernels.add_norm_backward(narrow.rows, kept.entry.rows, kept.moments1, block.norm1[0], back.rows, *into.norm1, below)
