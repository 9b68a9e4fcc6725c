"""Sizes, patches and parameters of a plain vision transformer, laid out for its compact form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sics_cli.experiment.roomy import Room

#: Parameters begin at multiples of so many elements: aligned alike in every process, whatever their sizes.
ALIGNMENT = 16


class NotCompactError(Exception):
    """The network is not of the form that the compact path computes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network, in the names of timm's constructor; `patch` counts the numbers of one patch."""

    tokens: int
    patch: int
    dim: int
    hidden: int
    heads: int
    depth: int
    classes: int
    eps: float

    @classmethod
    def of(cls, model: nn.Module) -> Shape:
        """Read the sizes off timm's `VisionTransformer`.

        Raises
        ------
        NotCompactError
            A size cannot be read, or the parameters are not those of the plain form (biases everywhere, no class token,
            average pooling before the last norm).
        """
        try:
            blocks: Sequence[nn.Module] = list(model.blocks)  # type: ignore[arg-type]
            weights = dict(model.named_parameters())
            dim, hidden = weights["patch_embed.proj.weight"].shape[0], weights["blocks.0.mlp.fc1.weight"].shape[0]
            shape = cls(
                tokens=weights["pos_embed"].shape[1],
                patch=weights["patch_embed.proj.weight"][0].numel(),
                dim=dim,
                hidden=hidden,
                heads=int(blocks[0].attn.num_heads),  # type: ignore[union-attr, arg-type]
                depth=len(blocks),
                classes=weights["head.weight"].shape[0],
                eps=float(model.fc_norm.eps),  # type: ignore[union-attr, arg-type]
            )
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise NotCompactError(f"not a plain vision transformer ({error})") from None
        expected, found = shape.parameters(), {name: tuple(weight.shape) for name, weight in weights.items()}
        if expected.keys() != found.keys():
            raise NotCompactError(f"parameters differ: {', '.join(sorted(expected.keys() ^ found.keys())[:3])}")
        return shape

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Names and sizes of all parameters, the patch projection as a matrix."""
        d, m = self.dim, self.hidden
        named: dict[str, tuple[int, ...]] = {
            "pos_embed": (self.tokens, d),
            "patch_embed.proj.weight": (d, self.patch),
            "patch_embed.proj.bias": (d,),
        }
        for block in range(self.depth):
            one = {
                "norm1.weight": (d,), "norm1.bias": (d,), "attn.qkv.weight": (3 * d, d), "attn.qkv.bias": (3 * d,),
                "attn.proj.weight": (d, d), "attn.proj.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
                "mlp.fc1.weight": (m, d), "mlp.fc1.bias": (m,), "mlp.fc2.weight": (d, m), "mlp.fc2.bias": (d,),
            }  # fmt: skip
            named |= {f"blocks.{block}.{name}": size for name, size in one.items()}
        return named | {
            "fc_norm.weight": (d,),
            "fc_norm.bias": (d,),
            "head.weight": (self.classes, d),
            "head.bias": (self.classes,),
        }


def patches(images: Tensor, shape: Shape) -> Tensor:
    """Cut images (n, channels, height, width) into patches (n, tokens, numbers), tokens row by row as timm has them."""
    n, channels, height, width = images.shape
    side = round((shape.patch // channels) ** 0.5)
    cut = images.reshape(n, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, shape.tokens, shape.patch).contiguous()


class Parameters:
    """One flat vector holding all parameters, and views of it under their names.

    Parameters
    ----------
    shape : Shape
    dtype : torch.dtype
    """

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        sizes = {name: torch.Size(size) for name, size in shape.parameters().items()}
        places, end = {}, 0
        for name, size in sizes.items():
            places[name] = end
            end += -(-size.numel() // ALIGNMENT) * ALIGNMENT
        self.flat = Room().zeros(end, dtype=dtype)
        self.named = {name: self.flat[places[name] :][: size.numel()].view(size) for name, size in sizes.items()}

    def load(self, model: nn.Module) -> None:
        """Take the values of `model`."""
        for name, parameter in model.named_parameters():
            self.named[name].copy_(parameter.detach().reshape(self.named[name].shape))

    def store(self, model: nn.Module) -> None:
        """Give the values to `model`."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.named[name].reshape(parameter.shape))
