"""Weights that a module above reads by itself, without calling the layer that holds them.

torch's pruning hook masks a weight when its own module is called. ``F.linear(x, self.qkv.weight)`` never calls ``qkv``: the mask
goes stale with the next optimiser step, and the weight never trains, because no gradient reaches what it is made from.
``nn.MultiheadAttention`` does that to its output projection, torchvision's Swin and timm's BEiT and EVA to their attention.

They are found in the code: ``self.qkv.weight``, loaded by a method or property that ``forward`` reaches, here, in a base class
or in a child; by another name too, of one of a list, and whatever is then asked of it but its shape, type or place. What code
does not show: a layer handed to a function that reads it, ``getattr``, slices. Gradients of a batch show these.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType

from torch import nn
from torch.nn.utils.prune import BasePruningMethod

#: What may be asked of a weight without reading it.
_FACTS = frozenset(
    (
        *("dtype", "device", "shape", "size", "dim", "ndim", "numel", "nelement", "stride", "layout", "element_size", "is_cuda"),
        *("is_meta", "is_contiguous", "is_floating_point", "get_device", "requires_grad"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"),
    )
)
_LOADS = ("LOAD_ATTR", "LOAD_METHOD")
_STORES = ("STORE_FAST", "STORE_DEREF", "STORE_NAME")
_PAIR = re.compile(r"(?:LOAD|STORE)_FAST")
#: Longer chains are of a name that is assigned to itself: ``node = node.next``.
_LONGEST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """``module.name``, where ``module`` is ``path`` below ``owner``, whose own code reads it."""

    owner: nn.Module
    path: str
    module: nn.Module
    name: str


def readers(model: nn.Module) -> Iterator[Reader]:
    """Every weight of a submodule that the code of a module above it reads, with that module.

    The code may call the submodule as well, in another branch: which one runs cannot be told from here.

    >>> [(reader.path, reader.name) for reader in readers(nn.MultiheadAttention(8, 2))]
    [('out_proj', 'bias'), ('out_proj', 'weight')]
    """
    for owner in model.modules():
        seen: set[tuple[str, str]] = set()
        for reader in _reached(owner, owner, "forward", (), set()):
            if (reader.path, reader.name) not in seen:
                seen.add((reader.path, reader.name))
                yield reader


class RefreshedMask:
    """The hook on a module that reads a masked weight below it: the weight is masked anew before it is read.

    It holds names and no tensor, and does nothing once the weight is not pruned any more.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name

    def __call__(self, owner: nn.Module, inputs: object) -> None:
        """Run the pruning hook that calling the module would run."""
        module = owner.get_submodule(self.path)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, BasePruningMethod) and hook._tensor_name == self.name:
                hook(module, inputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RefreshedMask) and (self.path, self.name) == (other.path, other.name)

    __hash__ = None  # type: ignore[assignment]


def refresh_where_read(model: nn.Module) -> None:
    """Have every masked weight of the model masked anew by the modules that read it, once."""
    for reader in readers(model):
        hook = RefreshedMask(reader.path, reader.name)
        if f"{reader.name}_mask" in reader.module._buffers and hook not in reader.owner._forward_pre_hooks.values():
            reader.owner.register_forward_pre_hook(hook)


def drop_refreshes(model: nn.Module) -> None:
    """Take off the hooks of :func:`refresh_where_read` whose weight carries no mask any more."""
    for owner in model.modules():
        for key, hook in list(owner._forward_pre_hooks.items()):
            if isinstance(hook, RefreshedMask) and f"{hook.name}_mask" not in owner.get_submodule(hook.path)._buffers:
                del owner._forward_pre_hooks[key]


#: In a chain, what a subscript or a loop picks: any child.
_ANY = "*"
#: Attributes one after another, from ``self``.
Chain = tuple[str, ...]
#: Their fast path, which reads weights, is not taken where there is a hook.
_FAST_PATHS = (nn.TransformerEncoderLayer.forward, nn.TransformerEncoder.forward)


def _reached(owner: nn.Module, start: nn.Module, method: str, above: Chain, seen: set[tuple[int, str]]) -> Iterator[Reader]:
    """What a method of ``start``, which is ``above`` below ``owner``, reads below itself; methods called there included."""
    if (id(start), method) in seen:
        return
    seen.add((id(start), method))
    for chain in sorted(_chains_of(type(start), method)):  # type: ignore[arg-type]  # a class has its own hash
        for path, module, rest in _below(start, chain):
            if not path or not rest:
                continue
            name, *asked = rest
            if name in module._parameters or f"{name}_orig" in module._parameters:
                if not asked or asked[0] not in _FACTS:
                    yield Reader(owner, ".".join((*above, *path)), module, name)
            elif name != "forward" and not hasattr(nn.Module, name):
                yield from _reached(owner, module, name, (*above, *path), seen)


def _below(module: nn.Module, chain: Chain) -> Iterator[tuple[Chain, nn.Module, Chain]]:
    """Where a chain leads by modules alone, with what is left of it."""
    found: list[tuple[Chain, nn.Module]] = [((), module)]
    for position, step in enumerate(chain):
        children = [
            ((*path, name), child)
            for path, parent in found
            for name, child in parent._modules.items()
            if child is not None and step in (_ANY, name)
        ]
        if not children:
            yield from ((path, parent, chain[position:]) for path, parent in found)
            return
        found = children
    yield from ((path, parent, ()) for path, parent in found)


@lru_cache(maxsize=4096)
def _chains_of(cls: type[nn.Module], method: str) -> frozenset[Chain]:
    """Chains such as ``self.a.b.weight`` that a method of a class, or one that it reaches, loads for their values."""
    read: set[Chain] = set()
    waiting, seen = [method], {method}
    while waiting:
        for function in _definitions(cls, waiting.pop()):
            for chain, fact in _loads(list(_codes(function))):
                if fact:
                    continue
                if len(chain) > 1:
                    read.add(chain)
                if chain[0] not in seen and not hasattr(nn.Module, chain[0]):
                    seen.add(chain[0])
                    waiting.append(chain[0])
    return frozenset(read)


def _definitions(cls: type[nn.Module], name: str) -> Iterator[object]:
    """The functions that run as a method or property of a class: its own, and those of its bases that these go on to."""
    for base in cls.__mro__:
        found = base.__dict__.get(name)
        function = getattr(found, "fget", None) or getattr(found, "func", None) or found  # property, cached_property
        if not isinstance(function, FunctionType):
            continue
        if function not in _FAST_PATHS:
            yield function
        above = {"super", *(other.__name__ for other in base.__mro__[1:])}
        if not any(above.intersection(code.co_names) for code in _codes(function)):
            return


def _codes(function: object) -> Iterator[CodeType]:
    """The code of a method, of what its decorators wrap, and of functions inside it."""
    while function is not None:
        if isinstance(code := getattr(function, "__code__", None), CodeType):
            waiting = [code]
            while waiting:
                code = waiting.pop()
                yield code
                waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        function = getattr(function, "__wrapped__", None)


def _steps(code: CodeType) -> list[tuple[str, object]]:
    """Instructions by name and argument; those that load or store two names at once (3.13) as two."""
    found: list[tuple[str, object]] = []
    for step in dis.get_instructions(code):
        if isinstance(step.argval, tuple) and len(pair := _PAIR.findall(step.opname)) == len(step.argval):
            found += zip(pair, step.argval, strict=True)
        elif step.opname not in ("CACHE", "NOT_TAKEN"):
            found.append((step.opname if step.argrepr != "[]" else "BINARY_SUBSCR", step.argval))
    return found


def _loads(codes: list[CodeType]) -> list[tuple[Chain, bool]]:
    """The longest chains of attributes loaded from ``self``, and whether only a fact is asked of them: their type, None.

    A local name that holds such a chain, or runs over its children, stands for it: ``layer = self.layers[0]``.
    """
    names: dict[object, set[Chain]] = {"self": {()}}
    found: list[tuple[Chain, bool]] = []
    known = 0
    while known != (known := sum(map(len, names.values()))):  # until no name stands for more
        found = [load for code in codes for load in _loads_of(_steps(code), names)]
    return found


def _loads_of(steps: list[tuple[str, object]], names: dict[object, set[Chain]]) -> Iterator[tuple[Chain, bool]]:
    for at, (operation, argument) in enumerate(steps):
        if not operation.startswith("LOAD_") or operation in (*_LOADS, "LOAD_CONST", "LOAD_GLOBAL") or argument not in names:
            continue
        end, chain = _followed(steps, at + 1)
        of_type = at > 0 and steps[at - 1][1] == "isinstance"
        rest = [*steps[end : end + 3], *[("", None)] * 3]
        (first, stored), (second, _), (third, looped) = rest[:3]
        of_none = "NONE" in first or second == "IS_OP"
        for start in list(names[argument]):
            whole = (*start, *chain)
            if whole and len(whole) <= _LONGEST:
                if first in _STORES:
                    names.setdefault(stored, set()).add(whole)
                elif (first, second) == ("GET_ITER", "FOR_ITER") and third in _STORES:
                    names.setdefault(looped, set()).add((*whole, _ANY))
                yield whole, of_type or of_none


def _followed(steps: list[tuple[str, object]], at: int) -> tuple[int, Chain]:
    """Attributes and subscripts from a place on, and where they end."""
    chain: list[str] = []
    while at < len(steps):
        operation, argument = steps[at]
        if operation in _LOADS:
            chain.append(str(argument))
            at += 1
        elif operation.startswith("LOAD_") and [name for name, _ in steps[at + 1 : at + 2]] == ["BINARY_SUBSCR"]:
            chain.append(str(argument) if operation != "LOAD_FAST" and isinstance(argument, int | str) else _ANY)
            at += 2
        else:
            break
    return at, tuple(chain)
