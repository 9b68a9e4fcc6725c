"""Finding the structured groups of a model: by following its forward, and by class for blocks this project knows.

A block is recognised by its class only if that class's own ``forward`` is in use: a subclass with another forward may
read its channels in other places. Everything else is followed call by call (:mod:`sics_plugin.channels.dataflow`). Libraries are
looked up among those already imported; a model of one that is not cannot exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast, get_args

from torch import nn

from sics_plugin.channels.dataflow import passages
from sics_plugin.channels.groups import ChannelGroup, Slice, Unit, channel_group, modules_by_name, remembered_groups
from sics_plugin.network.names import loaded_class, plain_modules

SUPPORTED: dict[Unit, str] = {
    "channel": (
        "layers whose outputs only layers read, where torch.fx can follow the forward from one to the other: MLPs, gated ones "
        "too (timm, torchvision, transformers), ResNet blocks, inverted residuals with squeeze-excite, nn.Sequential chains"
    ),
    "head": "timm Attention",
}


#: Norms over channels, whose result for one channel depends on the others even without weights.
_MIXING = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


class UnsupportedError(ValueError):
    """A block of a known class in a form whose units cannot be taken out."""


def find_groups(model: nn.Module, unit: Unit = "channel") -> list[ChannelGroup]:
    """The channels or attention heads of a model that can be pruned as wholes, in the order of ``model.named_modules()``.

    Channels are hidden ones, the outputs of a layer that nothing but other layers reads: MLP channels (fc1 row and bias, fc2
    column), filters of ResNet blocks whose output stays inside the block (BasicBlock conv1; Bottleneck conv1 and conv2), with
    the batch norm behind them and the columns of the convolution that reads them. The expanded channels of an inverted residual
    take the depthwise filter, both batch norms and their share of the squeeze-excite along; those of a gated MLP the gate's
    rows, and the layer without an activation (``up_proj``) is the producer. A layer is left out where its channels are added to
    those of another (residual streams), are mixed (softmax, LayerNorm, GroupNorm) or go through code that cannot be followed.
    Inputs are taken to come in batches. Heads are the v rows, v bias and proj columns of timm's Attention.

    Parameters
    ----------
    model : nn.Module
    unit : {"channel", "head"}

    Raises
    ------
    ValueError
        If the model has no such units, or a block of a known class in a form that cannot be handled. Groups for other
        architectures are built with :func:`channel_group` or by hand, and passed as ``groups=``.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> groups = find_groups(resnet18())
    >>> len(groups), groups[0].name, groups[0].size, [s.name for s in groups[0].followers]
    (8, 'layer1.0.conv1', 64, ['layer1.0.bn1.weight', 'layer1.0.bn1.bias', 'layer1.0.conv2.weight'])
    """
    if unit not in get_args(Unit):
        raise ValueError(f"Expected `unit` to be one of {', '.join(get_args(Unit))}, got {unit!r}")
    found = list(_found(model, unit, strict=True))
    if not found:
        raise ValueError(
            f"no {unit} to prune in this {type(model).__name__}: known are {SUPPORTED[unit]}; for others pass `groups=`, "
            "built with channel_group(model, producer, consumer) or as ChannelGroup"
        )
    return found


def all_groups(model: nn.Module) -> list[ChannelGroup]:
    """Every group of every unit, leaving out blocks that cannot be handled; may be empty.

    Those that a prune was given stand first, and for others that own the same weights.
    """
    given = list(remembered_groups(model))
    taken = {(group.unit, part.name, part.dim) for group in given for part in group.masked}
    found = [group for unit in get_args(Unit) for group in _found(model, unit, strict=False)]
    own = [g for g in found if not any((g.unit, part.name, part.dim) in taken for part in g.masked)]
    return [*given, *own]


@dataclass(frozen=True, slots=True)
class _Finder:
    unit: Unit
    classes: tuple[tuple[str, str], ...]
    find: Callable[[nn.Module, str, Any], Iterator[ChannelGroup]]

    def handles(self, module: nn.Module) -> bool:
        loaded = (loaded_class(place, name) for place, name in self.classes)
        return any(cls is not None and isinstance(module, cls) and type(module).forward is cls.forward for cls in loaded)


def _found(model: nn.Module, unit: Unit, *, strict: bool) -> Iterator[ChannelGroup]:
    finders = [finder for finder in _FINDERS if finder.unit == unit]
    known: list[ChannelGroup] = []
    whole: set[int] = set()
    for path, module in plain_modules(model):
        for finder in finders:
            if not finder.handles(module):
                continue
            whole.add(id(module))
            try:
                known += finder.find(model, f"{path}." if path else "", module)
            except UnsupportedError:
                if strict:
                    raise
    if unit == "channel":
        followed = (passage.group for passage in passages(model, whole))
        known += [group for group in followed if group is not None and group.size > 1]  # a last channel stays in any case
    order = {name: position for position, name in enumerate(modules_by_name(model))}
    yield from sorted(known, key=lambda group: order[group.producer.name.rpartition(".")[0]])


def _mlp(model: nn.Module, prefix: str, mlp: Any) -> Iterator[ChannelGroup]:
    _check_between(f"{prefix}fc1", mlp.act, mlp.drop1, getattr(mlp, "norm", None))
    yield _pair(model, f"{prefix}fc1", f"{prefix}fc2")


def _sequential_mlp(model: nn.Module, prefix: str, mlp: Any) -> Iterator[ChannelGroup]:
    children = list(cast(nn.Sequential, mlp).named_children())
    linears = [position for position, (_, module) in enumerate(children) if isinstance(module, nn.Linear)]
    for first, last in pairwise(linears):
        producer = f"{prefix}{children[first][0]}"
        _check_between(producer, *(module for _, module in children[first + 1 : last]))
        yield _pair(model, producer, f"{prefix}{children[last][0]}")


def _basic_block(model: nn.Module, prefix: str, block: Any) -> Iterator[ChannelGroup]:
    _check_between(f"{prefix}conv1", getattr(block, "drop_block", None), getattr(block, "aa", None))
    yield _pair(model, f"{prefix}conv1", f"{prefix}conv2", f"{prefix}bn1")


def _bottleneck(model: nn.Module, prefix: str, block: Any) -> Iterator[ChannelGroup]:
    _check_between(f"{prefix}conv2", getattr(block, "drop_block", None), getattr(block, "aa", None))
    yield _pair(model, f"{prefix}conv1", f"{prefix}conv2", f"{prefix}bn1")
    yield _pair(model, f"{prefix}conv2", f"{prefix}conv3", f"{prefix}bn2")


def _attention(model: nn.Module, prefix: str, attention: Any) -> Iterator[ChannelGroup]:
    name = prefix.removesuffix(".")
    if not isinstance(attention.norm if hasattr(attention, "norm") else None, nn.Identity | None):
        raise UnsupportedError(f"{prefix}norm mixes the heads of {name}: they cannot go one by one; pass `groups=` without it")
    heads, width = attention.num_heads, attention.head_dim
    inner = heads * width

    def rows(layer: str, start: int = 0) -> list[Slice]:
        """A head's share of the outputs of a Linear."""
        has_bias = getattr(attention, layer).bias is not None
        return [Slice(f"{prefix}{layer}.{own}", 0, start, width) for own in ("weight", *(("bias",) if has_bias else ()))]

    value, *value_bias = rows("qkv", 2 * inner)
    gate = rows("gate") if getattr(attention, "gate", None) is not None else []
    yield ChannelGroup(
        name=name,
        size=heads,
        producer=value,
        followers=(*value_bias, Slice(f"{prefix}proj.weight", dim=1, width=width)),
        companions=(*rows("qkv"), *rows("qkv", inner), *gate),
        unit="head",
    )


def _pair(model: nn.Module, producer: str, consumer: str, norm: str | None = None) -> ChannelGroup:
    try:
        group = channel_group(model, producer, consumer, norm=norm)
    except (TypeError, ValueError) as error:
        raise UnsupportedError(f"{error}; pass `groups=` without {producer}") from None
    if (together := group.producer.width) > 1:
        raise UnsupportedError(
            f"{norm} normalises {together} channels of {producer} together; pass `groups=` without {producer}, or with what "
            "channel_group makes of it: units of so many channels"
        )
    return group


def _check_between(producer: str, *modules: nn.Module | None) -> None:
    """Anything with parameters or buffers of its own between two layers may treat channels differently, or mix them."""
    for module in modules:
        if module is None:
            continue
        stateful = any(tensor.numel() > 1 for tensor in (*module.parameters(), *module.buffers()))
        if stateful or isinstance(module, _MIXING):
            raise UnsupportedError(
                f"the channels of {producer} go through a {type(module).__name__}, which treats them differently or mixes them; "
                f"pass `groups=` without {producer}"
            )


_FINDERS = (
    _Finder("channel", (("timm.layers", "Mlp"),), _mlp),
    _Finder("channel", (("torchvision.ops", "MLP"),), _sequential_mlp),
    _Finder("channel", (("timm.models.resnet", "BasicBlock"), ("torchvision.models.resnet", "BasicBlock")), _basic_block),
    _Finder("channel", (("timm.models.resnet", "Bottleneck"), ("torchvision.models.resnet", "Bottleneck")), _bottleneck),
    _Finder("head", (("timm.models.vision_transformer", "Attention"),), _attention),
)
