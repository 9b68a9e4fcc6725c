"""Weights that a module above reads by itself, without calling the layer that holds them.

torch's pruning hook masks a weight when its own module is called. ``F.linear(x, self.qkv.weight)`` never calls ``qkv``: the mask
goes stale with the next optimiser step, and the weight never trains, because no gradient reaches what it is made from.
``nn.MultiheadAttention`` does that to its output projection, torchvision's Swin and timm's BEiT and EVA to their attention.

They are found in the code: ``self.qkv.weight``, loaded by a method that ``forward`` reaches.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType

from torch import nn
from torch.nn.utils.prune import BasePruningMethod

#: What may be asked of a weight without reading it.
_FACTS = frozenset(("dtype", "device", "shape", "size", "dim", "ndim", "numel", "is_cuda", "requires_grad"))
_LOADS = ("LOAD_ATTR", "LOAD_METHOD")


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
        for chain in sorted(_chains_of(type(owner))):  # type: ignore[arg-type]  # a class has its own hash
            *steps, name = chain
            module = _below(owner, steps)
            if module is not None and (name in module._parameters or f"{name}_orig" in module._parameters):
                yield Reader(owner, ".".join(steps), module, name)


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


def _below(owner: nn.Module, steps: list[str]) -> nn.Module | None:
    module: nn.Module | None = owner
    for step in steps:
        module = None if module is None else module._modules.get(step)
    return module


Chains = frozenset[tuple[str, ...]]


@lru_cache(maxsize=4096)
def _chains_of(cls: type[nn.Module]) -> Chains:
    """Chains such as ``self.a.b.weight`` that ``forward`` of a class, or a method that it reaches, loads for their values."""
    if cls is nn.TransformerEncoderLayer:  # only in a fast path that it does not take where there is a hook
        return frozenset()
    read: set[tuple[str, ...]] = set()
    waiting, seen = ["forward"], {"forward"}
    while waiting:
        for code in _codes(getattr(cls, waiting.pop(), None)):
            for chain, fact in _loads(code):
                if fact:
                    continue
                if len(chain) > 1:
                    read.add(chain)
                if len(chain) == 1 and chain[0] not in seen and isinstance(getattr(cls, chain[0], None), FunctionType):
                    seen.add(chain[0])
                    waiting.append(chain[0])
    return frozenset(read)


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


def _loads(code: CodeType) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The longest chains of attributes loaded from ``self``, and whether only a fact is asked of the last: type, None."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    for at, step in enumerate(steps):
        if not (step.opname.startswith("LOAD_") and step.argval == "self"):
            continue
        end = at + 1
        while end < len(steps) and steps[end].opname in _LOADS:
            end += 1
        chain = [str(step.argval) for step in steps[at + 1 : end]]
        fact = chain[-1:] != [] and chain[-1] in _FACTS
        of_type = at > 0 and "isinstance" in str(steps[at - 1].argval)
        follows = steps[end : end + 2]
        of_none = any("NONE" in step.opname or step.opname == "IS_OP" for step in follows)
        if chain:
            yield tuple(chain), fact or of_type or of_none
