"""Which layers make and which read the same channels, followed through a graph of calls; what is not understood ends a group.

Every value in a graph either holds the channels of one layer, one beside the other in an order that is known, or is not looked
at. A step that treats each of them by itself hands them on; a layer that reads them is a reader; anything else (a sum with
another layer's channels, a softmax, a reshape, the model's output) rules the layer out as a producer.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from sics_plugin.channels.groups import ChannelGroup, Slice, between, own_bias
from sics_plugin.channels.tracing import Flow, flows
from sics_plugin.network.layouts import CONVOLUTIONS, ROWS_FIRST, is_depthwise, layout_of
from sics_plugin.network.names import is_a, plain_paths

_ACTIVATIONS = (
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "selu_", "celu", "celu_", "gelu", "silu",
    "mish", "hardswish", "hardsigmoid", "hardtanh", "hardtanh_", "softplus", "softsign", "logsigmoid", "tanhshrink",
    "softshrink", "hardshrink", "threshold", "rrelu", "sigmoid", "sigmoid_", "tanh", "tanh_", "exp", "abs", "square", "sqrt",
    "neg", "erf", "clamp", "clamp_", "clamp_min", "clamp_max",
)  # fmt: skip
_UNCHANGED = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach",
    "float", "half", "double", "bfloat16",
)  # fmt: skip
_POOLS = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool")


def _functions(names: tuple[str, ...]) -> set[Any]:
    return {getattr(place, name) for name in names for place in (torch, functional) if hasattr(place, name)}


_ELEMENTWISE, _SAME = _functions(_ACTIVATIONS) | {operator.neg}, _functions(_UNCHANGED)
_POOLING = {getattr(functional, f"{name}{k}d"): k for name in _POOLS for k in (1, 2, 3) if hasattr(functional, f"{name}{k}d")}
_SUMS = {operator.add, operator.iadd, operator.sub, operator.isub, torch.add, torch.sub, "add", "add_", "sub", "sub_"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_QUOTIENTS = {operator.truediv, operator.itruediv, torch.div, "div", "div_", operator.pow, torch.pow, "pow", torch.true_divide}
_BINARY = _SUMS | _PRODUCTS | _QUOTIENTS
_ACTIVATION_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold, nn.RReLU,
    nn.Sigmoid, nn.Tanh,
)  # fmt: skip
_SAME_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_SPATIAL_MODULES: dict[type[nn.Module], int] = {
    getattr(nn, f"{name}{k}d"): k
    for name in ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "LPPool", "ZeroPad", "ConstantPad", "ReflectionPad",
                 "ReplicationPad", "CircularPad")
    for k in (1, 2, 3)
    if hasattr(nn, f"{name}{k}d")
}  # fmt: skip
#: Subclasses whose own forward is their base's and something that treats channels one by one.
_KNOWN_SUBCLASSES = (
    ("timm.layers", "Conv2dSame"),
    ("timm.layers", "BatchNormAct2d"),
    ("timm.layers", "Linear"),
    ("transformers.pytorch_utils", "Conv1D"),
)


@dataclass(slots=True, eq=False)
class _Channels:
    """The channels of one layer, or of several whose channels are multiplied with each other one by one."""

    size: int
    producers: list[tuple[str, nn.Module]]
    followers: list[Slice]
    companions: list[Slice] = field(default_factory=list)
    sized: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    ruled_out: bool = False
    merged: _Channels | None = None

    def root(self) -> _Channels:
        return self if self.merged is None else self.merged.root()


@dataclass(frozen=True, slots=True)
class _Value:
    """A value that holds channels: ``width`` places for each, in dimension 1 before ``spatial`` others, or in the last (None).

    ``flat``: maps laid out in one dimension, channel by channel. ``linear``: nothing but the layer and scaling made them.
    """

    channels: _Channels
    width: int
    spatial: int | None
    flat: bool = False
    linear: bool = True


@dataclass(frozen=True, slots=True)
class Passage:
    """What the channels of a layer meet: modules that differ between them, readers, and the group they make, if any."""

    producer: str
    passed: tuple[str, ...]
    readers: tuple[str, ...]
    group: ChannelGroup | None


def passages(model: nn.Module, whole: Collection[int] = ()) -> Iterator[Passage]:
    """What becomes of the channels of every layer whose use can be followed; modules whose id is in ``whole`` are left out."""
    names = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    tied = {parameter for parameter, times in names.items() if times > 1}
    paths = plain_paths(model)
    for flow in flows(model, whole):
        yield from _Walk(flow, paths, tied).run()


def unproven(model: nn.Module, groups: Iterable[ChannelGroup]) -> list[str]:
    """Names of groups made by hand whose channels were not seen to reach just what the groups name."""
    by_hand = [group for group in groups if group.unit == "channel" and group.producer.width == 1]
    if not by_hand:
        return []
    seen = [(set(p.group.masked), {f"{path}.weight" for path in p.readers}) for p in passages(model) if p.group is not None]

    def proven(group: ChannelGroup) -> bool:
        own = set(group.masked)
        return any(own <= whole and {part for part in whole if part.name in readers} <= own for whole, readers in seen)

    return [group.name for group in by_hand if not proven(group)]


class _Walk:
    """One graph, gone through in the order of its calls."""

    def __init__(self, flow: Flow, paths: dict[int, str], tied: set[int]) -> None:
        self.flow, self.paths, self.tied = flow, paths, tied
        self.values: dict[fx.Node, _Value] = {}
        self.calls = Counter(str(node.target) for node in flow.graph.nodes if node.op == "call_module")
        self.found: list[_Channels] = []
        #: Layers whose tensors the code reads by itself, beside or instead of calling them.
        self.read = {str(n.target).rpartition(".")[0] for n in flow.graph.nodes if n.op == "get_attr" and n.users}

    def run(self) -> Iterator[Passage]:
        for node in self.flow.graph.nodes:
            holding = [self.values[n] for n in node.all_input_nodes if n in self.values]
            result = self._step(node, holding)
            if result is None:
                for value in holding:
                    value.channels.root().ruled_out = True
            elif isinstance(result, _Value):
                self.values[node] = result
        for channels in self.found:
            if channels.merged is None:
                yield self._passage(channels)

    def _passage(self, channels: _Channels) -> Passage:
        (path, layer), *others = channels.producers
        usable = channels.readers and not channels.ruled_out
        gates = [part for name, gate in others for part in (_rows(name, gate), *own_bias(name, gate))]
        group = ChannelGroup(
            path,
            channels.size,
            _rows(path, layer),
            (*own_bias(path, layer), *gates, *channels.followers),
            tuple(channels.companions),
            sized=tuple(channels.sized),
        )
        return Passage(path, tuple(channels.passed), tuple(channels.readers), group if usable else None)

    def _step(self, node: fx.Node, holding: list[_Value]) -> _Value | bool | None:
        """The channels that a call hands on; True if it reads them and makes nothing of the kind; None if that is not known."""
        if node.op == "call_module":
            return self._module(node, self.flow.modules[str(node.target)], holding)
        if not holding:
            return True
        if node.op in ("call_function", "call_method"):
            return self._function(node, holding)
        return None

    # --- modules -----------------------------------------------------------------------------------------------------------

    def _module(self, node: fx.Node, module: nn.Module, holding: list[_Value]) -> _Value | bool | None:
        name = str(node.target)
        path = self.paths[id(module)]
        one = len(holding) == 1 and len(node.args) == 1 and node.args[0] in self.values and not node.kwargs
        value = holding[0] if one else None
        if holding and value is None:
            return None
        alike = type(module) in (*_SAME_MODULES, *_ACTIVATION_MODULES, *_SPATIAL_MODULES, nn.Flatten)
        layer = layout_of(module, "weight") is not None and not is_depthwise(module)
        if value is not None and not alike and not layer:
            value.channels.root().passed.append(path)
        if not alike and (not self._ordinary(module) or self.calls[name] > 1 or name in self.read):
            return None if holding else True
        if layer:
            return self._layer(path, module, value)
        if value is None:
            return True
        return self._alike(module, value) if alike else self._between(path, module, value)

    def _alike(self, module: nn.Module, value: _Value) -> _Value | None:
        """Through a module without tensors of its own, the same for all channels."""
        if type(module) in _ACTIVATION_MODULES:
            return replace(value, linear=False)
        if isinstance(module, nn.Flatten):
            return _flattened(value, module.start_dim, module.end_dim)
        if type(module) in _SPATIAL_MODULES:
            return value if value.spatial == _SPATIAL_MODULES[type(module)] and not value.flat else None
        return value

    def _ordinary(self, module: nn.Module) -> bool:
        """A module of a known class that does nothing but what its class does, with parameters of its own."""
        held, buffers = module._parameters, module._buffers
        own = [name for name in ("weight", "bias") if getattr(module, name, None) is not None]
        computed = any(name not in held and f"{name}_mask" not in buffers for name in own)
        if computed or "forward" in vars(module) or any(id(p) in self.tied for p in module.parameters()):
            return False
        of = type(module).__name__
        subclass = any(name == of and is_a(module, place, name) for place, name in _KNOWN_SUBCLASSES)
        if is_a(module, "timm.layers", "BatchNormAct2d"):
            inner = (getattr(module, "drop", None), getattr(module, "act", None))
            return subclass and all(type(m) in (*_SAME_MODULES, *_ACTIVATION_MODULES) for m in inner)
        return subclass or type(module).__module__.startswith("torch.nn.modules.")

    def _layer(self, path: str, layer: Any, value: _Value | None) -> _Value | bool | None:
        layout = layout_of(layer, "weight") or ROWS_FIRST
        makes, reads = layout.outputs, layout.inputs
        convolution = None if layer.weight.dim() == 2 else layer.weight.dim() - 2
        if value is not None and not self._reads(path, layer.weight.shape[reads], reads, convolution, value):
            return None
        if getattr(layer, "groups", 1) != 1:
            return None if value is not None else True
        channels = _Channels(layer.weight.shape[makes], [(path, layer)], [])
        self.found.append(channels)
        return _Value(channels, 1, convolution)

    def _reads(self, path: str, inputs: int, dim: int, convolution: int | None, value: _Value) -> bool:
        channels = value.channels.root()
        if value.flat:
            fits = convolution is None and inputs % channels.size == 0
        else:
            fits = value.spatial == convolution and inputs == channels.size * value.width
        if fits:
            channels.followers.append(Slice(f"{path}.weight", dim, width=inputs // channels.size))
            channels.readers.append(path)
        return fits

    def _between(self, path: str, module: nn.Module, value: _Value) -> _Value | None:
        channels = value.channels.root()
        if isinstance(module, CONVOLUTIONS) and (value.flat or value.spatial != module.weight.dim() - 2):
            return None
        if isinstance(module, nn.modules.instancenorm._InstanceNorm | nn.GroupNorm) and (value.flat or value.spatial is None):
            return None
        width = value.width
        if value.flat:
            wide = getattr(module, "num_features", getattr(module, "num_parameters", 0))
            width = max(wide // channels.size, 1) if wide > 1 else width
        try:
            passed = between(path, module, channels.size, width, channels.producers[0][0])
        except (TypeError, ValueError):
            return None
        channels.followers += passed.followers
        channels.companions += passed.companions
        channels.sized += passed.sized
        activated = isinstance(module, nn.PReLU) or is_a(module, "timm.layers", "BatchNormAct2d")
        return replace(value, width=value.width if value.flat else passed.width, linear=value.linear and not activated)

    # --- functions ---------------------------------------------------------------------------------------------------------

    def _function(self, node: fx.Node, holding: list[_Value]) -> _Value | bool | None:
        target = node.target
        first = self.values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
        if target in _BINARY:
            return self._binary(node, holding)
        if first is None or len(holding) > 1:
            return None
        method = target if isinstance(target, str) else ""
        alone = len(node.all_input_nodes) == 1  # a bound or slope that is a tensor may differ between channels
        if alone and (target in _SAME or method in _UNCHANGED):
            return first
        if alone and (target in _ELEMENTWISE or method in _ACTIVATIONS):
            return replace(first, linear=False)
        if target in _POOLING:
            return first if first.spatial == _POOLING[target] and not first.flat else None
        arguments = node.args[1:]
        if target is torch.flatten or method == "flatten":
            return _flattened(first, *_bound(("start_dim", "end_dim"), (0, -1), arguments, node.kwargs))
        if method in ("view", "reshape") and len(arguments) == 2 and arguments[1] == -1 and _is_batch_size(arguments[0]):
            return _flattened(first, 1, -1)
        if target is torch.mean or method == "mean":
            return _mean(first, *_bound(("dim", "keepdim"), (None, False), arguments, node.kwargs))
        if method == "to" and all(isinstance(a, torch.dtype | torch.device | str) for a in arguments):
            return first
        return True if _asks_no_channels(node) else None

    def _binary(self, node: fx.Node, holding: list[_Value]) -> _Value | None:
        """Channels with a number, with themselves, or times those of another layer."""
        operands = node.args[:2]
        if len(operands) != 2 or any(isinstance(o, fx.Node) and o not in self.values for o in operands):
            return None
        if any(key not in ("alpha", "rounding_mode") or isinstance(v, fx.Node) for key, v in node.kwargs.items()):
            return None
        values = [self.values[o] for o in operands if isinstance(o, fx.Node)]
        if len(values) == 1:
            scaling = node.target in _PRODUCTS | _SUMS or node.target in (operator.truediv, torch.div, "div")
            return replace(values[0], linear=values[0].linear and scaling and isinstance(operands[0], fx.Node))
        one, other = values
        a, b = one.channels.root(), other.channels.root()
        if (one.spatial, one.flat, one.width) != (other.spatial, other.flat, other.width):
            return None
        if a is not b:
            if node.target not in _PRODUCTS or a.size != b.size or one.flat:
                return None
            first = sorted((one, other), key=lambda v: (not v.linear, self.found.index(v.channels.root())))
            _merge(*(v.channels.root() for v in first))
        return replace(one, linear=False)


def _merge(kept: _Channels, gate: _Channels) -> None:
    """Two layers' channels multiplied one by one go together; the first layer is their producer, the other one's rows follow."""
    kept.producers += gate.producers
    kept.followers += gate.followers
    kept.companions += gate.companions
    kept.sized += gate.sized
    kept.passed += gate.passed
    kept.readers += gate.readers
    kept.ruled_out |= gate.ruled_out
    gate.merged = kept


def _rows(path: str, layer: nn.Module) -> Slice:
    return Slice(f"{path}.weight", (layout_of(layer, "weight") or ROWS_FIRST).outputs)


def _bound(names: tuple[str, str], defaults: tuple[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    given = dict(zip(names, defaults, strict=True)) | dict(zip(names, args, strict=False)) | kwargs
    return given[names[0]], given[names[1]]


def _flattened(value: _Value, start: Any, end: Any) -> _Value | None:
    if (start, end) != (1, -1):
        return None
    # Rows of features have nothing to flatten; where there are positions before them, what reads them has other sizes.
    return value if value.spatial is None or value.flat else replace(value, spatial=None, flat=True)


def _mean(value: _Value, dims: Any, keep: Any) -> _Value | None:
    if value.spatial is None or value.flat or not isinstance(dims, int | list | tuple) or not isinstance(keep, bool):
        return None
    rank = value.spatial + 2
    over = {d % rank for d in ([dims] if isinstance(dims, int) else dims) if isinstance(d, int)}
    if over != set(range(2, rank)):
        return None
    return value if keep else replace(value, spatial=None, flat=True)


def _is_batch_size(node: Any) -> bool:
    """``x.size(0)`` or ``x.shape[0]``."""
    if not isinstance(node, fx.Node):
        return False
    if node.op == "call_method" and node.target == "size":
        return bool(node.args[1:] == (0,))
    of = node.args[0] if node.target is operator.getitem else None
    return isinstance(of, fx.Node) and bool(node.args[1] == 0) and _is_shape(of)


def _is_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return bool(node.target == "size" and len(node.args) == 1)
    return bool(node.target is getattr and node.args[1] == "shape")


def _asks_no_channels(node: fx.Node) -> bool:
    """Whether a call asks a value for its type, place or batch size, which stay when channels go."""
    if node.target is getattr:
        asked = node.args[1]
        return bool(asked in ("dtype", "device", "ndim") or (asked == "shape" and all(map(_is_batch_size, node.users))))
    if node.op == "call_method" and node.target == "dim":
        return True
    return _is_batch_size(node) or (_is_shape(node) and all(_is_batch_size(user) for user in node.users))
