"""What collecting a saliency leaves as it was: everything about the model, and the random numbers that come after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from sics_plugin.network.targets import check_values, dense_parameters

B = TypeVar("B")
#: Where recurrent layers keep what their parameters were at the last call, beside the parameters.
_FLAT = ("_flat_weights", "_flat_weight_refs")


class Unchanged:
    """A context in which a model is in eval mode and may be run in any way; afterwards it is what it was.

    Parameters and buffers are the same objects, buffers have their values, every module its own mode and the tensors that it
    holds as plain attributes (as torch's pruning hook and the old ``spectral_norm`` do), every parameter its flag and its
    ``grad``. Weights that a module's own ``forward`` overwrites in place are the one thing that is not brought back: that would
    take a copy of the model. Attention runs by its modules, not by torch's fused path, which calls none of them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._random: list[tuple[torch.device, Tensor]] = []
        self._uncalled: dict[nn.Module, RemovableHandle] = {}
        #: Parameters none of whose modules was called; known at the end, where calls are watched.
        self.uncalled: frozenset[str] = frozenset()

    def __enter__(self) -> Unchanged:
        for name, p in dense_parameters(self.model):
            if is_lazy(p):
                check_values(p, name)
        modules = list(self.model.modules())
        self._modules: list[tuple[nn.Module, bool, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
            (m, m.training, dict(m._parameters), dict(m._buffers), _attributes(m)) for m in modules
        ]
        masks = {
            id(b) for m in modules for name, b in m._buffers.items() if f"{name.removesuffix('_mask')}_orig" in m._parameters
        }
        buffers = {id(b): b for m in modules for b in m._buffers.values() if b is not None and id(b) not in masks}
        self._buffers = [(b, b.detach().clone()) for b in buffers.values()]
        # A loss that calls backward() by itself adds to gradients that are somebody's: to none, while this lasts.
        self._gradients = [(p, p.requires_grad, p.grad) for p in self.model.parameters()]
        for p, _, _ in self._gradients:
            p.grad = None
        self._fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        self.model.eval()
        return self

    def watch_calls(self) -> None:
        """Notice which modules are called, by hooks that go with their first call. A compiled model calls none of its parts."""

        def called(module: nn.Module, args: object) -> None:
            if (handle := self._uncalled.pop(module, None)) is not None:
                handle.remove()

        if not any(hasattr(m, "_orig_mod") for m in self.model.modules()):
            holders = [m for m in self.model.modules() if m._parameters]
            self._uncalled = {m: m.register_forward_pre_hook(called) for m in holders}

    def __exit__(self, *error: object) -> None:
        reached = {id(p) for m, *_ in self._modules if m not in self._uncalled for p in m._parameters.values() if p is not None}
        if self._uncalled:
            self.uncalled = frozenset(
                name for name, p in dense_parameters(self.model) if id(p) not in reached and p.is_floating_point()
            )
        for handle in self._uncalled.values():
            handle.remove()
        self._uncalled = {}
        torch.backends.mha.set_fastpath_enabled(self._fused)
        for module, mode, parameters, buffers, attributes in self._modules:
            module.training = mode
            _put_back(module._parameters, parameters)
            _put_back(module._buffers, buffers)
            module.__dict__.update({name: list(v) if name in _FLAT else v for name, v in attributes.items()})
        with torch.no_grad():
            for buffer, value in self._buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
        for p, flag, gradient in self._gradients:
            p.requires_grad_(flag)
            p.grad = gradient
        self._reset()

    def of(self, batches: Iterable[B]) -> Iterator[B]:
        """The batches. What the model and the loss draw at random is drawn from a copy: whoever makes the batches draws on.

        So a loader that shuffles gives other batches the next time, as it would if nothing had been collected.
        """
        for batch in batches:
            self._mark()
            yield batch
            self._reset()
        self._mark()

    def _mark(self) -> None:
        devices = {p.device for p, _, _ in self._gradients if p.device.type == "cuda"}
        self._random = [(torch.device("cpu"), torch.get_rng_state()), *((d, torch.cuda.get_rng_state(d)) for d in devices)]

    def _reset(self) -> None:
        for device, state in self._random:
            if device.type == "cpu":
                torch.set_rng_state(state)
            else:
                torch.cuda.set_rng_state(state, device)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Tensors that are plain attributes of a module."""
    found = {name: value for name, value in module.__dict__.items() if isinstance(value, Tensor)}
    return found | {name: list(module.__dict__[name]) for name in _FLAT if isinstance(module.__dict__.get(name), list)}


def _put_back(held: dict[str, Any], before: dict[str, Any]) -> None:
    if held.keys() != before.keys() or any(held[name] is not before[name] for name in before):
        held.clear()
        held.update(before)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def requiring_grad(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Frozen parameters get a gradient inside; their flag is back afterwards."""
    flags = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p, flag in zip(parameters, flags, strict=True):
            p.requires_grad_(flag)


@contextmanager
def standing_in(model: nn.Module, parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """``values`` stand for ``parameters``, wherever in the model they are held.

    As ``torch.func.functional_call``, which puts values in by name: under two names of one module it takes the first name's
    value for what the second one has to get back, and leaves that behind instead of the parameter.
    """
    by_parameter = {id(p): value for p, value in zip(parameters, values, strict=True)}
    held = [(m, name, p) for m in model.modules() for name, p in m._parameters.items() if p is not None and id(p) in by_parameter]
    flat = [(m, {name: list(m.__dict__[name]) for name in _FLAT}) for m in {m for m, _, _ in held} if isinstance(m, nn.RNNBase)]
    try:
        for module, name, p in held:
            module._parameters[name] = by_parameter[id(p)]  # type: ignore[assignment]
        yield
    finally:
        for module, name, p in held:
            module._parameters[name] = p
        for module, lists in flat:
            module.__dict__.update(lists)
