"""Structured units: which rows, columns and statistics of a model make up one channel or one attention head.

A :class:`ChannelGroup` is plain data, names and dimensions only, so it survives ``copy.deepcopy``, fits every copy of a
model, and can be written by hand for an architecture this module does not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sics_plugin.network.layouts import CONVOLUTIONS, is_depthwise, layout_of
from sics_plugin.network.names import plain_modules
from sics_plugin.network.permanent import REMEMBERED
from sics_plugin.network.targets import Target, all_targets, check_target

Unit = Literal["channel", "head"]


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of one tensor that belongs to the units of a group.

    Unit i owns the ``width`` indices from ``start + i·width`` along dimension ``dim`` of the parameter or buffer ``name``
    (its full name in the model, ``"blocks.0.mlp.fc1.weight"``).

    Examples
    --------
    >>> Slice("fc2.weight", dim=1).rows(torch.tensor([[1, 2], [3, 4]]), size=2).tolist()
    [[1, 3], [2, 4]]
    """

    name: str
    dim: int = 0
    start: int = 0
    width: int = 1

    def rows(self, tensor: Tensor, size: int) -> Tensor:
        """What each of ``size`` units owns of the tensor, shape (size, entries per unit)."""
        part = tensor.movedim(self.dim, 0).narrow(0, self.start, size * self.width)
        return part.reshape(size, part.numel() // size)

    def indices(self, units: Tensor) -> Tensor:
        """Indices along ``dim`` that the units marked in a bool vector own."""
        first = units.nonzero() * self.width + self.start
        return (first + torch.arange(self.width, device=units.device)).reshape(-1)


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels of one layer, or heads of one attention, with all that goes when one of them goes.

    Parameters
    ----------
    name : str
        What reports call it; for heads the path of the attention module.
    size : int
        Number of units.
    producer : Slice
        The incoming weights: a unit's magnitude and saliency are taken over these and nothing else.
    followers : tuple of Slice
        Parameters masked together with the producer: its bias, the norm behind it, what reads the unit.
    companions : tuple of Slice
        Tensors without effect once the producer and followers are masked, taken out by :func:`~sics_plugin.shrink` only:
        running statistics, the q and k rows of a head.
    unit : {"channel", "head"}
    sized : tuple of str
        Modules between the layers that hold no tensor of the units but know their number, such as an InstanceNorm without
        weights; :func:`~sics_plugin.shrink` tells them the new one.
    """

    name: str
    size: int
    producer: Slice
    followers: tuple[Slice, ...]
    companions: tuple[Slice, ...] = ()
    unit: Unit = "channel"
    sized: tuple[str, ...] = ()

    @property
    def masked(self) -> tuple[Slice, ...]:
        """The producer and the followers."""
        return (self.producer, *self.followers)


@dataclass(frozen=True, slots=True, eq=False)
class BoundGroup:
    """A group and the parameters of one model it stands for; ``targets`` in the order of ``group.masked``."""

    group: ChannelGroup
    targets: tuple[Target, ...]

    def present(self) -> Tensor:
        """True for every unit that still has an unmasked entry anywhere; shape (size,), on the CPU."""
        size = self.group.size
        alive = torch.zeros(size, dtype=torch.bool)
        for part, target in zip(self.group.masked, self.targets, strict=True):
            if target.mask is None:
                return torch.ones_like(alive)
            alive |= part.rows(target.present(), size).any(1).cpu()
        return alive


@dataclass(frozen=True, slots=True)
class Between:
    """What units own of one module that treats every channel by itself, and how many channels each unit is behind it."""

    followers: tuple[Slice, ...]
    companions: tuple[Slice, ...]
    sized: tuple[str, ...]
    width: int


def channel_group(model: nn.Module, producer: str, consumer: str, *, norm: str | Sequence[str] | None = None) -> ChannelGroup:
    """The output channels of one layer that one other layer reads, for architectures that are not found by themselves.

    Correct where nothing between the two mixes channels or changes their order, all with parameters is named in ``norm``, and
    nothing else reads them. That cannot be seen here: ``example=`` of :func:`~sics_plugin.prune_channels` and
    :func:`~sics_plugin.shrink` checks it.

    Parameters
    ----------
    model : nn.Module
    producer, consumer : str
        Paths of an ``nn.Linear``, an ungrouped convolution, transposed or not, or a transformers ``Conv1D``. A consumer with a
        multiple of the producer's outputs reads feature maps flattened channel by channel (as ``nn.Flatten`` does): each channel
        owns consecutive columns.
    norm : str or sequence of str, optional
        Paths of what lies between them, in the order in which it is called: batch norms, instance norms, PReLU, depthwise
        convolutions, and GroupNorm, whose groups of channels then go as wholes and are the units.

    Raises
    ------
    ValueError, TypeError
        If a path is not in the model, a module is of another kind, or the sizes do not fit.

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
    >>> group = channel_group(mlp, "0", "2")
    >>> group.size, group.producer.name, [(s.name, s.dim) for s in group.followers]
    (16, '0.weight', [('0.bias', 0), ('2.weight', 1)])
    """
    modules = modules_by_name(model)
    (first, (makes, _)), (last, (_, reads)) = _layer(modules, producer), _layer(modules, consumer)
    channels, inputs = first.weight.shape[makes], last.weight.shape[reads]
    if channels == 0 or inputs % channels:
        raise ValueError(f"Expected {consumer} to read a multiple of the {channels} outputs of {producer}, got {inputs} inputs")
    given: list[Any] = [] if norm is None else list(norm) if isinstance(norm, Sequence) and not isinstance(norm, str) else [norm]
    paths = [path for path in given if isinstance(path, str)]
    if len(set(paths)) < len(given):
        raise ValueError(f"Expected `norm` to be the path of a layer or a list of distinct ones, got {norm!r:.60}")
    group_norms = [m for m in (_module(modules, path) for path in paths) if isinstance(m, nn.GroupNorm)]
    together = math.lcm(*(m.num_channels // m.num_groups for m in group_norms))
    if channels % together:
        raise ValueError(f"Expected {producer} to make whole groups of {together} channels, got {channels} outputs")
    size, width = channels // together, together
    followers = own_bias(producer, first, width)
    companions: list[Slice] = []
    sized: list[str] = []
    for path in paths:
        passed = between(path, _module(modules, path), size, width, producer)
        followers += passed.followers
        companions += passed.companions
        sized += passed.sized
        width = passed.width
    if inputs % (made := size * width):
        raise ValueError(f"Expected {consumer} to read a multiple of the {made} outputs of {paths[-1]}, got {inputs} inputs")
    followers.append(Slice(f"{consumer}.weight", dim=reads, width=inputs // size))
    produced = Slice(f"{producer}.weight", dim=makes, width=together)
    return ChannelGroup(producer, size, produced, tuple(followers), tuple(companions), sized=tuple(sized))


def own_bias(path: str, layer: nn.Module, width: int = 1) -> list[Slice]:
    """The bias of a layer's outputs, where it has one."""
    return [] if getattr(layer, "bias", None) is None else [Slice(f"{path}.bias", width=width)]


def between(path: str, module: nn.Module, size: int, width: int, producer: str) -> Between:
    """What ``size`` units of ``width`` channels each own of a module that they pass one by one; refused where they do not."""
    channels = size * width
    if isinstance(module, CONVOLUTIONS):
        if not is_depthwise(module):
            raise ValueError(f"Expected {path} to be a depthwise convolution, got {module.groups} groups: it mixes channels")
        _check_channels(path, module.in_channels, channels, producer)
        wide = width * (module.out_channels // module.in_channels)
        return Between((Slice(f"{path}.weight", width=wide), *own_bias(path, module, wide)), (), (), wide)
    if isinstance(module, nn.PReLU):
        if module.num_parameters == 1:
            return Between((), (), (), width)
        _check_channels(path, module.num_parameters, channels, producer)
        return Between((Slice(f"{path}.weight", width=width),), (), (), width)
    if isinstance(module, nn.GroupNorm):
        _check_channels(path, module.num_channels, channels, producer)
        if width % (together := module.num_channels // module.num_groups):
            raise ValueError(
                f"{path} normalises {together} channels of {producer} together: they cannot go one by one; channel_group takes "
                "them as wholes where it is named in `norm`"
            )
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        _check_channels(path, module.num_features, channels, producer)
    else:
        raise TypeError(
            f"Expected {path} to be a batch norm, instance norm, GroupNorm, PReLU or depthwise convolution, "
            f"got {type(module).__name__}: it may mix channels"
        )
    weights = [Slice(f"{path}.{name}", width=width) for name in ("weight", "bias") if getattr(module, name) is not None]
    known = [name for name in ("running_mean", "running_var") if getattr(module, name, None) is not None]
    statistics = tuple(Slice(f"{path}.{name}", width=width) for name in known)
    return Between(tuple(weights), statistics, () if weights or statistics else (path,), width)


def _check_channels(path: str, found: int, expected: int, producer: str) -> None:
    if found != expected:
        raise ValueError(f"Expected {path} to have the {expected} channels of {producer}, got {found}")


def remember_groups(model: nn.Module, groups: Iterable[ChannelGroup]) -> None:
    """Keep on the model the groups it was pruned with; one of the same unit and name takes the place of an earlier one."""
    inner = modules_by_name(model)[""]
    known = {(group.unit, group.name): group for group in (*remembered_groups(model), *groups)}
    inner.__dict__[REMEMBERED] = tuple(known.values())


def remembered_groups(model: nn.Module) -> tuple[ChannelGroup, ...]:
    """The groups handed in when the model was pruned, in that order."""
    kept: tuple[ChannelGroup, ...] = modules_by_name(model)[""].__dict__.get(REMEMBERED, ())
    return kept


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Every module under its name without wrappers."""
    return dict(plain_modules(model))  # the last of equal names is what is wrapped


def _module(modules: Mapping[str, nn.Module], path: str) -> nn.Module:
    if path not in modules:
        raise ValueError(f"the model has no module {path!r}")
    return modules[path]


def _layer(modules: Mapping[str, nn.Module], path: str) -> tuple[Any, tuple[int, int]]:
    """A layer and its dimensions of outputs and inputs."""
    module = _module(modules, path)
    layout = layout_of(module, "weight")
    if layout is None:
        raise TypeError(f"Expected {path} to be an nn.Linear or a convolution, got {type(module).__name__}")
    if getattr(module, "groups", 1) != 1:
        raise ValueError(f"{path} is a convolution in {module.groups} groups: its channels cannot go one by one")
    return module, (layout.outputs, layout.inputs)


def bind_groups(model: nn.Module, groups: Iterable[ChannelGroup]) -> list[BoundGroup]:
    """Find the parameters of groups in a model and check that they can be masked."""
    listed = list(groups)
    if not listed:
        raise ValueError("Expected at least one ChannelGroup in `groups`, got none")
    for position, group in enumerate(listed):
        if not isinstance(group, ChannelGroup):
            raise TypeError(f"Expected `groups` to hold ChannelGroup, got {type(group).__name__} at position {position}")
        if group.unit not in get_args(Unit):
            raise ValueError(f"Expected the `unit` of {group.name} to be one of {', '.join(get_args(Unit))}, got {group.unit!r}")
    if len(kinds := {group.unit for group in listed}) > 1:
        raise ValueError(f"Expected `groups` of one unit, got {' and '.join(sorted(kinds))}")
    names = [group.name for group in listed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"Expected `groups` of distinct names, got {twice[0]!r} twice")
    _check_overlap(listed)
    shared: dict[int, list[str]] = {}
    for target, parameter in all_targets(model, remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(target.path)
    modules = modules_by_name(model)
    bound = []
    for group in listed:
        for path in group.sized:
            _module(modules, path)
        for part in (*group.masked, *group.companions):
            tensor = _tensor(modules, group, part)
            _check_fit(group, part, tensor)
            if len(ties := shared.get(id(tensor), ())) > 1:
                others = ", ".join(name for name in ties if name != part.name)
                raise ValueError(f"{part.name} is tied to {others}: cannot prune its units; pass `groups=` without {group.name}")
        targets = tuple(_target(modules, part.name) for part in group.masked)
        for target in targets:
            check_target(target)
        bound.append(BoundGroup(group, targets))
    return bound


def _target(modules: Mapping[str, nn.Module], name: str) -> Target:
    path, _, own = name.rpartition(".")
    return Target(_module(modules, path), own, name)


def _tensor(modules: Mapping[str, nn.Module], group: ChannelGroup, part: Slice) -> Tensor:
    target = _target(modules, part.name)
    buffer = target.module._buffers.get(target.name) if part in group.companions else None
    return target.parameter if buffer is None else buffer


def _check_fit(group: ChannelGroup, part: Slice, tensor: Tensor) -> None:
    shape = tuple(tensor.shape)
    if not 0 <= part.dim < len(shape):
        raise ValueError(f"Expected a `dim` of {part.name} in [0, {len(shape) - 1}], its shape is {shape}; got {part.dim}")
    if group.size < 1 or part.start < 0 or part.width < 1:
        raise ValueError(
            f"Expected {group.name} to have units, each of at least one index of {part.name}; got {group.size}, {part}"
        )
    if (end := part.start + group.size * part.width) > shape[part.dim]:
        raise ValueError(
            f"{group.name} has {group.size} units of width {part.width} from index {part.start}, which needs {end} entries "
            f"along dimension {part.dim} of {part.name}; its shape is {shape}"
        )


def _check_overlap(groups: list[ChannelGroup]) -> None:
    """Two groups may meet in one tensor (conv2 reads conv1's channels and makes its own), never in the same indices."""
    taken: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for group in groups:
        for part in (*group.masked, *group.companions):
            span = (part.start, part.start + group.size * part.width, group.name)
            taken.setdefault((part.name, part.dim), []).append(span)
    for (name, dim), spans in taken.items():
        spans.sort()
        for (_, end, first), (start, _, second) in pairwise(spans):
            if start < end:
                raise ValueError(f"{first} and {second} both own index {start} of dimension {dim} of {name}")
