"""Which dimensions of a weight its outputs and its inputs lie along, for every kind of layer this project prunes.

Rows, N:M groups, input norms and channels all ask the same question: what does one output read? A ``nn.Linear`` stores
(out, in), ``transformers``' Conv1D (in, out), a transposed convolution (in, out / groups, *kernel), experts a matrix each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sics_plugin.network.names import is_a

Order = Literal["oi", "io", "eoi", "eio"]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_RECURRENT = re.compile(r"weight_(ih|hh|hr)_l\d+(_reverse)?")
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
#: Linear layers of other libraries, which are none of torch's: place, class, how their ``weight`` is stored.
_FOREIGN: tuple[tuple[str, str, Order], ...] = (
    ("transformers.pytorch_utils", "Conv1D", "io"),
    ("torch_geometric.nn.dense.linear", "Linear", "oi"),
)
#: Experts that store (expert, in, out) and do not say so in an ``is_transposed`` of their own.
_EXPERTS_IN_OUT = ("GptOssExperts", "Llama4TextExperts")

Kind = Literal["linear", "convolution", "transposed convolution", "recurrent", "attention projection", "experts"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a weight is stored: ``order`` names its leading dimensions (e expert, o output, i input).

    ``groups`` are those of a transposed convolution, which stores the outputs of one group only; what reads in groups with its
    outputs first needs none.

    Examples
    --------
    >>> Layout("io").rows(torch.tensor([[1, 2, 3], [4, 5, 6]])).tolist()    # two inputs, three outputs
    [[1, 4], [2, 5], [3, 6]]
    """

    order: Order
    groups: int = 1

    @property
    def outputs(self) -> int:
        """The dimension outputs lie along."""
        return self.order.index("o")

    @property
    def inputs(self) -> int:
        """The dimension inputs lie along."""
        return self.order.index("i")

    def rows(self, weight: Tensor) -> Tensor:
        """The weight as (outputs, inputs that one output reads, *kernel); experts one after another. A view where it can be."""
        if self.order == "oi":
            return weight
        if self.order == "eoi":
            return weight.flatten(0, 1)
        if self.order == "eio":
            return weight.transpose(1, 2).flatten(0, 1)
        grouped: Tensor = weight.unflatten(0, (self.groups, -1))
        return grouped.transpose(1, 2).flatten(0, 1)

    def back(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of :meth:`rows`: a tensor in the weight's own shape."""
        if self.order in ("oi", "eoi"):
            return rows.reshape(shape)
        if self.order == "eio":
            return rows.reshape(shape[0], shape[2], shape[1]).transpose(1, 2)
        inputs, outputs = shape[:2]
        grouped = rows.reshape(self.groups, outputs, inputs // self.groups, *shape[2:])
        return grouped.transpose(1, 2).reshape(shape)

    def shape_of_rows(self, shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
        """What :meth:`rows` makes of this shape.

        >>> Layout("io", groups=2).shape_of_rows((8, 3, 5, 5))
        (6, 4, 5, 5)
        """
        first, second, *rest = shape
        if self.order == "oi":
            return tuple(shape)
        if self.order == "io":
            return (second * self.groups, first // self.groups, *rest)
        outputs, inputs = rest[0] if self.order == "eio" else second, second if self.order == "eio" else rest[0]
        return (first * outputs, inputs)

    def shape_of_layer(self, shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
        """Rows of one layer of it: of experts, which are layers side by side, one expert."""
        rows, *rest = self.shape_of_rows(shape)
        return (rows // shape[0], *rest) if self.order.startswith("e") else (rows, *rest)


#: What is handed over without a module: as torch stores nearly everything.
ROWS_FIRST = Layout("oi")


def kind_of_weight(module: nn.Module, name: str, dim: int) -> Kind | None:
    """What kind of matrix weight ``module.name``, of ``dim`` dimensions, is; None for what is none of the known."""
    if name == "weight":
        if isinstance(module, nn.Linear) or _foreign(module) is not None:
            return "linear"
        if isinstance(module, CONVOLUTIONS):
            return "convolution"
        if isinstance(module, TRANSPOSED):
            return "transposed convolution"
    if isinstance(module, nn.RNNBase) and _RECURRENT.fullmatch(name):
        return "recurrent"
    if isinstance(module, nn.MultiheadAttention) and name in _PROJECTIONS:
        return "attention projection"
    if dim == 3 and "Experts" in type(module).__name__ and "bias" not in name:
        return "experts"
    return None


def layout_of(module: nn.Module, name: str) -> Layout | None:
    """How ``module.name`` is stored, whether or not it is pruned; None where that is not known.

    Examples
    --------
    >>> layout_of(nn.ConvTranspose2d(4, 6, 3, groups=2), "weight")
    Layout(order='io', groups=2)
    >>> layout_of(nn.LayerNorm(4), "weight") is None
    True
    """
    parameter = module._parameters.get(name)
    parameter = module._parameters.get(f"{name}_orig") if parameter is None else parameter
    kind = kind_of_weight(module, name, 0 if parameter is None else parameter.dim())
    if kind is None:
        return None
    if kind == "transposed convolution":
        groups: Any = module.groups
        return Layout("io", groups)
    if kind == "experts":
        return _of_experts(module)
    foreign = _foreign(module) if name == "weight" else None
    return Layout(foreign or "oi")


def is_depthwise(module: nn.Module) -> bool:
    """Whether a convolution gives every channel filters of its own, which read nothing else.

    >>> is_depthwise(nn.Conv2d(8, 16, 3, groups=8)), is_depthwise(nn.Conv2d(1, 16, 3))
    (True, False)
    """
    return isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)) and module.groups == module.in_channels > 1


def _foreign(module: nn.Module) -> Order | None:
    """The order of a linear layer of another library."""
    for place, name, order in _FOREIGN:
        if is_a(module, place, name):
            return order
    return None


def _of_experts(module: nn.Module) -> Layout | None:
    said = getattr(module, "is_transposed", None)
    if isinstance(said, bool):
        return Layout("eio" if said else "eoi")
    return Layout("eio") if type(module).__name__ in _EXPERTS_IN_OUT else None
