"""A small vision transformer as one forward and one backward function over buffers that are made once.

A training step of a network as small as the presets' spends most of its time around the arithmetic: fresh memory for every
activation, autograd's bookkeeping, attention kernels made for long sequences. This form does the same arithmetic as timm's
module, in matrix products that write where the next one reads. Tokens come first, (tokens, examples, features), so that
the heads of all examples are one batch of matrices without a copy.

`sics_cli.experiment.route` says which networks take it; larger ones would gain nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sics_cli.experiment.vit_layout import Parameters, Shape

#: Examples that go through the network together; the gradients of a batch's parts add up. Fewer stay nearer to a core's own
#: cache, more share the cost of a call.
PART = 32
_aten = torch.ops.aten


class _Block:
    """Views of one block's parameters, or of their gradients."""

    def __init__(self, number: int, named: dict[str, Tensor], dim: int) -> None:
        def part(name: str) -> Tensor:
            return named[f"blocks.{number}.{name}"]

        self.norm1, self.norm2 = (part("norm1.weight"), part("norm1.bias")), (part("norm2.weight"), part("norm2.bias"))
        self.qkv = part("attn.qkv.weight").split(dim)
        self.qkv_bias = part("attn.qkv.bias").split(dim)
        self.proj, self.proj_bias = part("attn.proj.weight"), part("attn.proj.bias")
        self.fc1, self.fc1_bias = part("mlp.fc1.weight"), part("mlp.fc1.bias")
        self.fc2, self.fc2_bias = part("mlp.fc2.weight"), part("mlp.fc2.bias")
        self.qkv_t = tuple(weight.t() for weight in self.qkv)
        self.proj_t, self.fc1_t, self.fc2_t = self.proj.t(), self.fc1.t(), self.fc2.t()


class _Rows:
    """A matrix (tokens·n, dim), its transpose, and a view of it by head, (n·heads, tokens, dim/heads), with its own."""

    def __init__(self, shape: Shape, n: int, dtype: torch.dtype) -> None:
        self.all = torch.empty(shape.tokens * n, shape.dim, dtype=dtype)
        self.t = self.all.t()
        self.heads = self.all.view(shape.tokens, n * shape.heads, shape.dim // shape.heads).transpose(0, 1)
        self.heads_t = self.heads.transpose(1, 2)


class _Kept:
    """What a block's backward pass needs of its forward pass."""

    def __init__(self, shape: Shape, n: int, dtype: torch.dtype) -> None:
        rows = shape.tokens * n
        self.qkv = [_Rows(shape, n, dtype) for _ in range(3)]
        self.attention = torch.empty(n * shape.heads, shape.tokens, shape.tokens, dtype=dtype)
        self.attention_t = self.attention.transpose(1, 2)
        self.mixed, self.middle, self.out = (_Rows(shape, n, dtype) for _ in range(3))
        self.wide, self.active = (torch.empty(rows, shape.hidden, dtype=dtype) for _ in range(2))
        self.norms: list[tuple[Tensor, Tensor, Tensor]] = []


class _Memory:
    """All buffers for parts of exactly `n` examples."""

    def __init__(self, shape: Shape, n: int, dtype: torch.dtype, keep: bool) -> None:
        self.entry = _Rows(shape, n, dtype)
        if keep:
            self.kept = [_Kept(shape, n, dtype) for _ in range(shape.depth)]
        else:  # one block's memory serves all of them, and its output goes back to where its input was
            one = _Kept(shape, n, dtype)
            one.out, one.active = self.entry, one.wide
            self.kept = [one] * shape.depth
        self.entries = [self.entry, *(kept.out for kept in self.kept[:-1])]
        self.square, self.other = (torch.empty_like(self.kept[0].attention) for _ in range(2))
        self.square_t = self.square.transpose(1, 2)
        self.heads = torch.empty(n * shape.heads, shape.tokens, shape.dim // shape.heads, dtype=dtype)
        if keep:
            self.back, self.narrow = (_Rows(shape, n, dtype) for _ in range(2))
            self.back_qkv = [_Rows(shape, n, dtype) for _ in range(3)]
            self.wide = torch.empty(shape.tokens * n, shape.hidden, dtype=dtype)
            self.wide_t = self.wide.t()
            self.ones = torch.ones(shape.tokens * n, dtype=dtype)


class CompactVit:
    """Forward and backward passes of a plain vision transformer.

    Parameters
    ----------
    shape : Shape
    dtype : torch.dtype

    Notes
    -----
    The state is `parameters.flat`; `gradient` fills `gradients.flat`, laid out alike, and counts in `right`. All results are
    functions of the arguments and the state alone: nothing is kept between calls but memory. Call it without autograd.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        self.shape = shape
        self.dtype = dtype
        self.parameters = Parameters(shape, dtype)
        self.gradients = Parameters(shape, dtype)
        self.right = torch.zeros((), dtype=torch.int64)
        self._blocks = [_Block(i, self.parameters.named, shape.dim) for i in range(shape.depth)]
        self._into = [_Block(i, self.gradients.named, shape.dim) for i in range(shape.depth)]
        self._scale = float((shape.dim // shape.heads) ** -0.5)
        self._memories: dict[tuple[int, bool], _Memory] = {}

    def _memory(self, n: int, keep: bool) -> _Memory:
        if (n, keep) not in self._memories:
            self._memories[n, keep] = _Memory(self.shape, n, self.dtype, keep)
        return self._memories[n, keep]

    # -- forward ----------------------------------------------------------------------------------------------

    def logits(self, cut: Tensor) -> Tensor:
        """Logits (n, classes) of patches (tokens, n, numbers), keeping nothing for a backward pass."""
        return self._forward(cut, self._memory(cut.shape[1], keep=False))[0]

    def _forward(self, cut: Tensor, memory: _Memory) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        shape, named = self.shape, self.parameters.named
        tokens, n, _ = cut.shape
        x = memory.entry.all
        torch.mm(cut.view(tokens * n, -1), named["patch_embed.proj.weight"].t(), out=x).add_(named["patch_embed.proj.bias"])
        x.view(tokens, n, -1).add_(named["pos_embed"])
        for block, kept in zip(self._blocks, memory.kept, strict=True):
            x = self._block_forward(x, block, kept, memory)
        pooled = x.view(tokens, n, shape.dim).mean(dim=0)
        affine = named["fc_norm.weight"], named["fc_norm.bias"]
        normed, mean, rstd = torch.native_layer_norm(pooled, [shape.dim], *affine, shape.eps)
        return torch.addmm(named["head.bias"], normed, named["head.weight"].t()), (pooled, normed, mean, rstd)

    def _block_forward(self, x: Tensor, block: _Block, kept: _Kept, memory: _Memory) -> Tensor:
        dim, eps = self.shape.dim, self.shape.eps
        first = torch.native_layer_norm(x, [dim], *block.norm1, eps)
        for out, weight_t, bias in zip(kept.qkv, block.qkv_t, block.qkv_bias, strict=True):
            torch.mm(first[0], weight_t, out=out.all).add_(bias)
        q, k, v = kept.qkv
        torch.baddbmm(memory.square, q.heads, k.heads_t, beta=0, alpha=self._scale, out=memory.square)
        _aten._softmax.out(memory.square, -1, False, out=kept.attention)
        kept.mixed.heads.copy_(torch.bmm(kept.attention, v.heads, out=memory.heads))
        torch.addmm(x, kept.mixed.all, block.proj_t, out=kept.middle.all).add_(block.proj_bias)
        second = torch.native_layer_norm(kept.middle.all, [dim], *block.norm2, eps)
        torch.mm(second[0], block.fc1_t, out=kept.wide).add_(block.fc1_bias)
        _aten.gelu.out(kept.wide, out=kept.active)
        kept.norms = [first, second]
        return torch.addmm(kept.middle.all, kept.active, block.fc2_t, out=kept.out.all).add_(block.fc2_bias)

    # -- backward ---------------------------------------------------------------------------------------------

    def gradient(self, cut: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy (a scalar tensor) of patches under labels (n,); its gradient is in `gradients` afterwards.

        `right` then holds how many examples had their highest logit at their label.
        """
        self.gradients.flat.zero_()
        self.right.zero_()
        losses = [
            self._add_gradient(part.contiguous(), label, len(labels))
            for part, label in zip(cut.split(PART, dim=1), labels.split(PART), strict=True)
        ]
        return torch.stack(losses).sum()

    def _add_gradient(self, cut: Tensor, labels: Tensor, size: int) -> Tensor:
        """Add the gradient of one part of a batch of `size`; return the part's share of the mean loss."""
        memory = self._memory(cut.shape[1], keep=True)
        logits, (pooled, normed, mean, rstd) = self._forward(cut, memory)
        named, into, tokens = self.parameters.named, self.gradients.named, self.shape.tokens
        self.right.add_((logits.argmax(dim=1) == labels).sum())
        logs = torch.log_softmax(logits, dim=1)
        chosen = labels[:, None]
        loss = logs.gather(1, chosen).sum().div_(-size)
        grad = logs.exp_()
        grad.scatter_add_(1, chosen, grad.new_full(chosen.shape, -1.0)).div_(size)
        into["head.weight"].addmm_(grad.t(), normed)
        into["head.bias"].add_(grad.sum(dim=0))
        affine, into_affine = ((part["fc_norm.weight"], part["fc_norm.bias"]) for part in (named, into))
        small = _norm_backward(grad @ named["head.weight"], pooled, (mean, rstd), affine, into_affine)
        back = memory.back.all
        back.view(tokens, *small.shape).copy_(small.div_(tokens))
        for place in reversed(range(self.shape.depth)):
            self._block_backward(self._blocks[place], self._into[place], memory.kept[place], memory.entries[place].all, memory)
        into["patch_embed.proj.weight"].addmm_(memory.back.t, cut.view(len(back), -1))
        into["patch_embed.proj.bias"].addmv_(memory.back.t, memory.ones)
        into["pos_embed"].add_(back.view(tokens, *small.shape).sum(dim=1, keepdim=True))
        return loss

    def _block_backward(self, block: _Block, into: _Block, kept: _Kept, entry: Tensor, memory: _Memory) -> None:
        """Turn the gradient of the block's output, in `memory.back`, into that of its input."""
        (first, *moments1), (second, *moments2) = kept.norms
        back, back_t, narrow, ones = memory.back.all, memory.back.t, memory.narrow.all, memory.ones
        into.fc2.addmm_(back_t, kept.active)
        into.fc2_bias.addmv_(back_t, ones)
        wide = torch.mm(back, block.fc2, out=memory.wide)
        _aten.gelu_backward.grad_input(wide, kept.wide, grad_input=wide)
        into.fc1.addmm_(memory.wide_t, second)
        into.fc1_bias.addmv_(memory.wide_t, ones)
        torch.mm(wide, block.fc1, out=narrow)
        back.add_(_norm_backward(narrow, kept.middle.all, moments2, block.norm2, into.norm2))

        into.proj.addmm_(back_t, kept.mixed.all)
        into.proj_bias.addmv_(back_t, ones)
        torch.mm(back, block.proj, out=narrow)
        mixed, (q, k, v), heads = memory.narrow.heads, kept.qkv, memory.heads
        back_q, back_k, back_v = memory.back_qkv
        back_v.heads.copy_(torch.bmm(kept.attention_t, mixed, out=heads))
        torch.bmm(mixed, v.heads_t, out=memory.other)
        _aten._softmax_backward_data.out(memory.other, kept.attention, -1, self.dtype, grad_input=memory.square)
        memory.square.mul_(self._scale)
        back_q.heads.copy_(torch.bmm(memory.square, k.heads, out=heads))
        back_k.heads.copy_(torch.bmm(memory.square_t, q.heads, out=heads))
        narrow.zero_()
        for grad, weight, into_weight, into_bias in zip(memory.back_qkv, block.qkv, into.qkv, into.qkv_bias, strict=True):
            into_weight.addmm_(grad.t, first)
            into_bias.addmv_(grad.t, ones)
            narrow.addmm_(grad.all, weight)
        back.add_(_norm_backward(narrow, entry, moments1, block.norm1, into.norm1))


def _norm_backward(
    grad: Tensor, entry: Tensor, moments: Sequence[Tensor], affine: tuple[Tensor, Tensor], into: tuple[Tensor, Tensor]
) -> Tensor:
    """Gradient of a layer norm's input; those of its weight and bias are added to `into`."""
    back, weight, bias = _aten.native_layer_norm_backward(grad, entry, [entry.shape[-1]], *moments, *affine, [True] * 3)
    into[0].add_(weight)
    into[1].add_(bias)
    result: Tensor = back
    return result
