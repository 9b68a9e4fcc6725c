"""What every kind of layer reads: sums of squared inputs, in the compact shape that they repeat from over a weight.

A weight of one output reads one entry of these; all outputs (of a group) read the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.network.layouts import CONVOLUTIONS, TRANSPOSED, kind_of_weight, layout_of
from sics_plugin.network.names import dense_name
from sics_plugin.saliency.unchanged import standing_in

#: Sums of squares by the name of a weight, float64.
Squares = dict[str, Tensor]
Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


def observed(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The weights of a module whose inputs are seen when it is called, with the shape of what is seen of each."""
    shapes: dict[str, tuple[int, ...]] = {}
    for stored, parameter in module._parameters.items():
        name = dense_name(module, stored)
        if parameter is not None and (shape := _compact(module, name, parameter)) is not None:
            shapes[name] = shape
    return shapes


def _compact(module: nn.Module, name: str, parameter: Tensor) -> tuple[int, ...] | None:
    known: Any = module
    shape = tuple(parameter.shape)
    if isinstance(module, nn.RNNCellBase):
        return shape[1:] if name.startswith("weight_") else None
    kind = kind_of_weight(module, name, parameter.dim())
    if kind in ("convolution", "transposed convolution"):
        return (known.in_channels, *known.kernel_size)
    if name == "in_proj_weight" and kind == "attention projection":
        return (3, shape[1])
    if kind == "recurrent":  # an LSTM's projection reads what the fused kernel keeps to itself
        return None if "_hr_" in name else shape[1:]
    layout = layout_of(module, name)
    return (shape[layout.inputs],) if kind in ("linear", "attention projection") and layout is not None else None


def expand_to_weight(norm: Tensor, module: nn.Module, weight: Tensor, name: str = "the weight", own: str = "weight") -> Tensor:
    """The input norm each weight reads, in the weight's shape. ``own`` is its name in the module.

    >>> layer = nn.Linear(3, 2)
    >>> expand_to_weight(torch.tensor([1.0, 2.0, 3.0]), layer, layer.weight).tolist()
    [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    """
    reads = _compact(module, own, weight)
    if norm.shape != torch.Size(reads or weight.shape[1:]):
        raise ValueError(
            f"{name} reads inputs of shape {tuple(reads or weight.shape[1:])}, its activation saliency has {tuple(norm.shape)}: "
            "another model"
        )
    if isinstance(module, CONVOLUTIONS):
        grouped = norm.view(module.groups, *weight.shape[1:])
        return grouped.repeat_interleave(weight.shape[0] // module.groups, dim=0)
    if own == "in_proj_weight":
        return norm.repeat_interleave(weight.shape[0] // 3, dim=0)
    layout = layout_of(module, own)
    if layout is not None and layout.inputs == 0:
        return norm.unsqueeze(1).expand_as(weight)
    return norm.expand_as(weight)


def input_squares(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Squares:
    """Of one call: over samples and positions, the squared input that each weight of one output reads."""
    if isinstance(module, nn.MultiheadAttention):
        return _of_attention(module, args, kwargs)
    inputs: Any = args[0] if args else kwargs.get("input", next(iter(kwargs.values()), None))
    if isinstance(module, nn.RNNBase):
        return _of_recurrent(module, inputs, args[1] if len(args) > 1 else kwargs.get("hx"))
    if isinstance(module, nn.RNNCellBase):
        hx = args[1] if len(args) > 1 else kwargs.get("hx")
        hidden = hx[0] if isinstance(hx, tuple | list) else hx
        width = module.weight_hh.shape[1]
        squares = inputs.new_zeros(width, dtype=torch.float64) if hidden is None else _features(hidden)
        return {"weight_ih": _features(inputs), "weight_hh": squares}
    if isinstance(module, CONVOLUTIONS):
        return {"weight": _of_convolution(module, inputs)}
    if isinstance(module, TRANSPOSED):
        return {"weight": _of_transposed(module, inputs, args[1] if len(args) > 1 else kwargs.get("output_size"))}
    return {"weight": _features(inputs)}


def _features(x: Tensor) -> Tensor:
    """Over all but the last dimension."""
    return x.detach().double().reshape(-1, x.shape[-1]).square().sum(0)


def _of_convolution(module: Any, x: Tensor) -> Tensor:
    """For every place of the kernel, what lies under it at all positions; shape (in_channels, *kernel)."""
    kernel, n = module.kernel_size, len(module.kernel_size)
    squares = _batched(x, n).square()
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    squares = nn.functional.pad(squares, module._reversed_padding_repeated_twice, mode=mode).sum(0)  # a pad of squares is squares
    spans = [module.dilation[d] * (kernel[d] - 1) for d in range(n)]
    steps = [(squares.shape[1 + d] - spans[d] - 1) // module.stride[d] + 1 for d in range(n)]

    def under(place: tuple[int, ...]) -> Tensor:
        starts = [place[d] * module.dilation[d] for d in range(n)]
        ends = [starts[d] + module.stride[d] * (steps[d] - 1) + 1 for d in range(n)]
        read = squares[(slice(None), *(slice(s, e, module.stride[d]) for d, (s, e) in enumerate(zip(starts, ends, strict=True))))]
        return read.flatten(1).sum(1)

    places = list(product(*map(range, kernel)))
    return torch.stack([under(place) for place in places], 1).view(module.in_channels, *kernel)


def _of_transposed(module: Any, x: Tensor, output_size: Any) -> Tensor:
    """For every place of the kernel, the inputs whose product with it falls inside the output; shape (in_channels, *kernel)."""
    kernel, n = module.kernel_size, len(module.kernel_size)
    batched = _batched(x, n)
    extra = module._output_padding(
        batched, output_size, list(module.stride), list(module.padding), list(kernel), n, list(module.dilation)
    )
    squares = batched.square().sum(0)
    stride, padding, dilation, sizes = module.stride, module.padding, module.dilation, squares.shape[1:]
    ends = [(sizes[d] - 1) * stride[d] - 2 * padding[d] + dilation[d] * (kernel[d] - 1) + extra[d] + 1 for d in range(n)]

    def inside(place: tuple[int, ...]) -> Tensor:
        where = []
        for d in range(n):
            offset = place[d] * dilation[d] - padding[d]
            first = max(0, -(offset // stride[d]))
            where.append(slice(first, min(sizes[d], (ends[d] - 1 - offset) // stride[d] + 1)))
        return squares[(slice(None), *where)].flatten(1).sum(1)

    places = list(product(*map(range, kernel)))
    return torch.stack([inside(place) for place in places], 1).view(module.in_channels, *kernel)


def _batched(x: Tensor, n: int) -> Tensor:
    x = x.detach().double()
    return x if x.dim() == n + 2 else x.unsqueeze(0)


def _of_attention(module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Squares:
    """Query, key and value as they come; and what the output projection reads, which an identity in its place lets through."""
    given = dict(zip(("query", "key", "value"), args, strict=False)) | {
        k: v for k, v in kwargs.items() if k in ("query", "key", "value")
    }
    own = [_features(given[name]) for name in ("query", "key", "value")]
    if module._qkv_same_embed_dim:
        squares = {"in_proj_weight": torch.stack(own)}
    else:
        squares = dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), own, strict=True))
    projection = module.out_proj
    parameters = list(projection.parameters(recurse=False))
    values = [torch.eye(len(p), dtype=p.dtype, device=p.device) if p.dim() == 2 else torch.zeros_like(p) for p in parameters]
    masked: dict[str, Any] = {name: projection.__dict__.pop(name) for name in ("weight", "bias") if name in projection.__dict__}
    try:
        with standing_in(projection, parameters, values):
            for name in masked:  # torch's pruning keeps the product here
                projection.__dict__[name] = dict(projection.named_parameters())[f"{name}_orig"]
            squares["out_proj.weight"] = _features(module.forward(*args, **kwargs)[0])
    finally:
        projection.__dict__.update(masked)
    return squares


_KERNELS: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu,
}  # fmt: skip


def _of_recurrent(module: nn.RNNBase, inputs: Any, hx: Any) -> Squares:
    """What every layer and direction reads: its input, and the hidden states of all steps but the last, with the first one given.

    Layer after layer by torch's own kernel, so that the states between are there.
    """
    packed = isinstance(inputs, nn.utils.rnn.PackedSequence)
    sizes = inputs.batch_sizes if packed else None
    x = inputs.data if packed else inputs
    if not packed and x.dim() == 2:  # a sequence without a batch
        x = x.unsqueeze(0 if module.batch_first else 1)
        hx = None if hx is None else tuple(h.unsqueeze(1) for h in hx) if isinstance(hx, tuple) else hx.unsqueeze(1)
    elif packed and hx is not None and inputs.sorted_indices is not None:
        order = inputs.sorted_indices
        hx = tuple(h.index_select(1, order) for h in hx) if isinstance(hx, tuple) else hx.index_select(1, order)
    ways, is_lstm = 2 if module.bidirectional else 1, module.mode == "LSTM"
    samples = int(sizes[0]) if sizes is not None else x.shape[0 if module.batch_first else 1]
    widths = (module.proj_size or module.hidden_size, module.hidden_size)
    states = hx if isinstance(hx, tuple) else (hx,)
    if hx is None:
        states = tuple(x.new_zeros(ways * module.num_layers, samples, w) for w in (widths if is_lstm else widths[:1]))
    squares: Squares = {}
    for layer in range(module.num_layers):
        own = slice(layer * ways, (layer + 1) * ways)
        names = module._all_weights[own]
        weights = [getattr(module, name) for some in names for name in some]
        begins = [s[own].contiguous() for s in states]
        state = begins if is_lstm else begins[0]
        kernel, options = _KERNELS[module.mode], (module.bias, 1, 0.0, False, module.bidirectional)
        if sizes is None:
            output, last, *_ = kernel(x, state, weights, *options, module.batch_first)
        else:
            output, last, *_ = kernel(x, sizes, state, weights, *options)
        for way, some in enumerate(names):
            made = _features(output.unflatten(-1, (ways, -1))[..., way, :])
            read = made - _features(last[way]) + _features(begins[0][way])  # all states but the last, and the first
            squares[some[0]], squares[some[1]] = _features(x), read.clamp(min=0)
        x = output
    return squares
