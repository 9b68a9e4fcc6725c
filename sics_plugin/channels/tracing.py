"""What the forward of a model does with its layers, as far as ``torch.fx`` can follow it: graphs of calls, without running one.

The model itself is not touched: its modules are traced as stand-ins that share tensors with it and nothing else, so that what a
forward leaves on ``self`` is lost with them.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import fx, nn

from sics_plugin.channels.groups import modules_by_name
from sics_plugin.network.layouts import layout_of
from sics_plugin.network.names import plain_modules

#: Called as wholes: what their channels do is known without looking inside.
_LEAVES = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.PReLU, nn.Embedding)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True, slots=True)
class Flow:
    """The graph of one module's forward, and the modules it may call, by their names in it."""

    graph: fx.Graph
    modules: dict[str, nn.Module]


def flows(model: nn.Module, whole: Collection[int] = ()) -> Iterator[Flow]:
    """Graphs of the largest parts of a model whose forward can be followed; modules whose id is in ``whole`` are not entered."""
    todo = [modules_by_name(model)[""]]
    while todo:
        module = todo.pop(0)
        layers = sum(layout_of(inner, "weight") is not None for inner in module.modules())
        if id(module) in whole or _is_leaf(module) or layers < 2:  # nobody to read what one layer makes
            continue
        graph, opaque = _traced(module, whole)
        inside = dict(plain_modules(module, remove_duplicate=False))  # tracing enters what torch.compile wraps
        if graph is not None:
            yield Flow(graph, inside)
        for name in [""] if graph is None else opaque:
            todo += [child for _, child in _parts(inside[name])]


def _parts(parent: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children to look into where the parent's own code cannot be followed: it may call a Sequential, or walk through it."""
    for name, child in parent.named_children():
        whole = isinstance(parent, nn.Sequential) or name in _called_whole(cast(Hashable, type(parent)))
        if (isinstance(child, nn.Sequential) and not whole) or isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from ((f"{name}.{own}", part) for own, part in _parts(child))
        else:
            yield name, child


@cache
def _called_whole(cls: Hashable) -> frozenset[str]:
    """Attributes that a class's code uses as ``self.name(...)`` and in no other way."""
    called: set[str] = set()
    otherwise: set[str] = set()
    for base in cast(type, cls).__mro__:
        if base in (nn.Module, object):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            return frozenset()
        functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load):
                (called if id(node) in functions else otherwise).add(node.attr)
    return frozenset(called - otherwise)


def _is_leaf(module: nn.Module) -> bool:
    if isinstance(module, _LEAVES) or layout_of(module, "weight") is not None or isinstance(module, torch.jit.ScriptModule):
        return True
    torchs_own = type(module).__module__.startswith(("torch.nn.", "torch.ao."))
    return torchs_own and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)


def _own(value: Any, known: dict[int, Any]) -> Any:
    """A container of its own with the same contents: what a forward keeps in one, here the proxies of a tracer, goes with it."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_own(item, known) for item in value)
    if not isinstance(value, dict | list | set | deque):
        return value
    if id(value) in known:  # one cache of several modules stays one
        return known[id(value)]
    twin = known[id(value)] = copy.copy(value)
    if isinstance(twin, dict | list):
        for key, item in list(twin.items() if isinstance(twin, dict) else enumerate(twin)):
            twin[key] = _own(item, known)
    return twin


def _stand_in(module: nn.Module, known: dict[int, Any], whole: Collection[int], stay: set[int]) -> nn.Module:
    """The same structure and tensors in other objects, in eval mode and without hooks."""
    module = module._modules.get("_orig_mod") or module  # what torch.compile wraps
    if id(module) in known:
        return cast(nn.Module, known[id(module)])
    if isinstance(module, torch.jit.ScriptModule):
        return cast(nn.Module, known.setdefault(id(module), module))
    twin = known[id(module)] = type(module).__new__(type(module))
    twin.__dict__.update({name: _own(value, known) for name, value in module.__dict__.items()})
    parameters, buffers = dict(module._parameters), dict(module._buffers)
    for dense in [own.removesuffix("_mask") for own in buffers if own.endswith("_mask")]:
        if f"{dense}_orig" in parameters:  # as if it were not pruned: what a forward asks of a parameter is then not a tensor
            parameters[dense] = parameters.pop(f"{dense}_orig")
            del buffers[f"{dense}_mask"], twin.__dict__[dense]
    children = {name: None if m is None else _stand_in(m, known, whole, stay) for name, m in module._modules.items()}
    twin.__dict__.update(training=False, _parameters=parameters, _buffers=buffers, _modules=children)
    twin.__dict__.update({name: OrderedDict() for name in _HOOKS})
    if id(module) in whole or _is_leaf(module):
        stay.add(id(twin))
    return twin


class _Tracer(fx.Tracer):
    """Follows calls as deep as it can: a module whose forward cannot be followed stays one call."""

    def __init__(self, stay: Collection[int]) -> None:
        super().__init__()
        self.proxy_buffer_attributes = True  # or a forward that counts its calls would count this one
        self.opaque: list[str] = []
        self._stay = stay

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """A stand-in for every argument with a name; ``*args`` and ``**kwargs`` are empty."""
        _, *parameters = inspect.signature(root_fn).parameters.values()
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        given = {name: self.create_proxy("placeholder", name, (), {}) for name in named}
        return lambda root: root_fn(root, **given), [self.root]

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call of a module: its own calls, or itself."""
        path = self.path_of_module(m)
        if id(m) not in self._stay:
            before = len(self.graph.nodes)
            try:
                if "forward" in m.__dict__:
                    raise TypeError("a forward of its own, set on the module")
                return forward(*args, **kwargs)
            except Exception:
                for node in list(self.graph.nodes)[: before - 1 : -1]:  # half a forward says nothing
                    self.graph.erase_node(node)
                self.opaque = [name for name in self.opaque if not name.startswith(f"{path}.")] + [path]
        return self.create_proxy("call_module", path, args, kwargs)


def _traced(module: nn.Module, whole: Collection[int]) -> tuple[fx.Graph | None, list[str]]:
    stay: set[int] = set()
    twin = _stand_in(module, {}, whole, stay)
    tracer = _Tracer(stay)
    if "forward" in twin.__dict__:
        return None, []
    try:
        with torch.random.fork_rng(devices=[]):
            return tracer.trace(twin), tracer.opaque
    except Exception:
        return None, []
