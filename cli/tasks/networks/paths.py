"""The gradients of a training step by path: operation by operation, compiled, or as a CUDA graph.

Each path leaves the gradients in the parameters, for an optimiser that is called as ever: its learning rate and moments change at
every step, which a graph could not follow, and fused it is few kernels. Batches smaller than a whole one, the last of an epoch,
go operation by operation on every path: no second graph is kept for them, and nothing is compiled twice.
"""

from __future__ import annotations

import functools
import gc
import itertools
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sics_cli.base.errors import ConfigError, DeviceLostError, is_device_lost, is_out_of_memory, origins
from sics_cli.settings.images import TrainingConfig

#: Passes over a batch before a graph is captured: what is set up at first use (workspaces, plans) must be there by then.
WARM = 3


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Images (n, channels, height, width), float32, and labels (n,), on the device.

    Of mixed images `others` (n,) are the labels of what was mixed in, and `share`, float32 of shape (), is what the first count.
    """

    images: Tensor
    labels: Tensor
    others: Tensor | None = None
    share: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of it."""
        return tuple(one for one in (self.images, self.labels, self.others, self.share) if one is not None)


class Step(Protocol):
    """Gives a batch's mean loss and its number of right answers, both of shape () on the device, and good until the next step.

    The gradients are in the parameters.
    """

    def __call__(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Compute them."""


def step_of(model: nn.Module, config: TrainingConfig, device: torch.device) -> Step:
    """The path that the settings ask for, of a network on this device."""
    plain = Eager(model, config)
    if config.path == "compile":
        return Compiled(model, config, plain)
    if config.path == "graph":
        if device.type != "cuda":
            raise ConfigError(f"training.path = 'graph' is not accepted on {device.type}: give eager | compile")
        return Graphed(model, config, plain, device)
    return plain


def loss_of(logits: Tensor, batch: TrainingBatch, smoothing: float) -> Tensor:
    """Mean cross-entropy (nats) against the labels; of mixed images, each label's by its share: that of a soft target.

    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> soft = nn.functional.cross_entropy(logits, torch.tensor([[0.75, 0.25]]))
    >>> torch.allclose(loss_of(logits, TrainingBatch(logits, labels, 1 - labels, torch.tensor(0.75)), 0.0), soft)
    True
    """
    loss = nn.functional.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
    if batch.others is None or batch.share is None:
        return loss
    other = nn.functional.cross_entropy(logits, batch.others, label_smoothing=smoothing)
    return batch.share * loss + (1 - batch.share) * other


def right_of(logits: Tensor, batch: TrainingBatch) -> Tensor:
    """How many answers are right, shape (); of mixed images, each label's by its share."""
    found = logits.detach().argmax(dim=1)
    right = (found == batch.labels).sum()
    if batch.others is None or batch.share is None:
        return right
    return batch.share * right + (1 - batch.share) * (found == batch.others).sum()


class Eager:
    """Operation by operation."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._model, self._smoothing = model, config.label_smoothing
        self._half = config.precision == "bf16"
        self._parameters = list(model.parameters())

    def __call__(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Compute loss, right answers and gradients."""
        return self.through(self._model, batch)

    def through(self, forward: Callable[[Tensor], Tensor], batch: TrainingBatch, *, cached: bool = True) -> tuple[Tensor, Tensor]:
        """The same with another way through the network; `cached` is whether autocast keeps the weights it has converted."""
        for parameter in self._parameters:
            parameter.grad = None
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self._half, cache_enabled=cached):
            logits = forward(batch.images)
        loss = loss_of(logits.float(), batch, self._smoothing)
        loss.backward()
        return loss.detach(), right_of(logits, batch)


class Compiled:
    """Through `torch.compile`: forward and backward are generated code, the loss is as ever.

    `backend` is torch's word for who generates it. Under deterministic forms it tries no variants against the clock, so that
    another process generates the same; whether to pad products it would, before torch 2.15.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, plain: Eager, backend: str = "inductor") -> None:
        # What earlier seeds of the process compiled counts against a limit, past which torch quietly goes on without.
        torch.compiler.reset()
        options: dict[str, Any] | None = {"shape_padding": False} if backend == "inductor" else None
        self._forward: Any = torch.compile(model, backend=backend, dynamic=False, options=options)
        self._plain, self._size, self._tried = plain, config.batch_size, False

    def __call__(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Compute loss, right answers and gradients; a machine that cannot compile is refused in a line."""
        if len(batch.labels) < self._size:
            return self._plain(batch)
        if self._tried:
            return self._plain.through(self._forward, batch)
        from torch._dynamo.exc import TorchDynamoException

        try:
            found = self._plain.through(self._forward, batch)
        except TorchDynamoException as error:
            raise ConfigError(refusal("compile", "compiled", str(error), "eager")) from error
        self._tried = True
        return found


_CAPTURED = "captured as a CUDA graph"


class Graphed:
    """Forward and backward pass as one CUDA graph, which the first whole batch is captured for.

    A graph reads and writes the memory it was captured with: each batch is copied to where the first lay, and gradients come
    where the first ones came, overwritten and not added to. Nothing of the training shows that there were passes to warm up:
    weights move only with the optimiser, buffers are put back, and so is the generator. Operations that draw (dropout,
    stochastic depth) draw from it at every replay as they would one by one. What the host decides, a graph repeats: a network
    that draws on the host, or binds its buffers anew, is refused.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, plain: Eager, device: torch.device) -> None:
        self._model, self._plain, self._device, self._size = model, plain, device, config.batch_size
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: TrainingBatch | None = None
        self._gradients: Sequence[Tensor | None] = ()
        self._met: tuple[Tensor, Tensor] | None = None

    def __call__(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Compute loss, right answers and gradients."""
        if len(batch.labels) < self._size:
            return self._plain(batch)  # its gradients lie elsewhere: those of the graph keep their memory
        if self._graph is None:
            self._capture(batch)
        assert self._graph is not None
        assert self._batch is not None
        assert self._met is not None
        for static, given in zip(self._batch.tensors, batch.tensors, strict=True):
            static.copy_(given)
        self._graph.replay()
        for parameter, gradient in zip(self._model.parameters(), self._gradients, strict=True):
            parameter.grad = gradient
        return self._met

    def _capture(self, batch: TrainingBatch) -> None:
        """Warm up and capture on one stream beside the current, as torch asks for: gradients remember where they began."""
        gc.collect()  # the graph of an earlier seed must not be freed while this one is captured
        self._batch = TrainingBatch(*(one.clone() for one in batch.tensors))
        host = Host.of(self._model)
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        drawn = torch.cuda.get_rng_state(self._device)
        stream = _side(torch.cuda.Stream, self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self._pass()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        host.refuse_changes(self._model, "graph", _CAPTURED, "eager | compile")
        for parameter in self._model.parameters():
            parameter.grad = None  # the graph is to have gradients of its own, in its own memory
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                self._met = self._pass()
        except Exception as error:
            first = list(origins(error))[-1]  # ending a capture that failed raises an error of its own
            if isinstance(error, RuntimeError) and not is_out_of_memory(error) and not is_device_lost(error):
                raise ConfigError(refusal("graph", _CAPTURED, str(first), "eager | compile")) from error
            # Generator and memory may be left as within a capture: no later seed of this process can rely on them.
            raise DeviceLostError(f"a CUDA graph could not be captured ({type(first).__name__}: {_short(first)})") from error
        host.refuse_changes(self._model, "graph", _CAPTURED, "eager | compile")  # also of the pass that was captured
        self._graph = graph
        self._gradients = [parameter.grad for parameter in self._model.parameters()]
        for buffer, before in buffers:
            buffer.copy_(before)
        torch.cuda.set_rng_state(drawn, self._device)

    def _pass(self) -> tuple[Tensor, Tensor]:
        assert self._batch is not None
        return self._plain.through(self._model, self._batch, cached=False)


@functools.cache
def _side(made: Callable[[torch.device], torch.cuda.Stream], device: torch.device) -> torch.cuda.Stream:
    """The stream beside the current that all captures of a process share: each stream has libraries' workspaces of its own."""
    return made(device)


@dataclass(frozen=True, slots=True)
class Host:
    """What no replay of a graph changes: which tensors a network has, and the host's generators."""

    tensors: Mapping[str, Tensor]
    places: Mapping[str, int]
    draws: Mapping[str, object]

    @classmethod
    def of(cls, model: nn.Module) -> Host:
        """As they are now. The tensors are held, so that none is taken for another in its place."""
        draws = {
            "torch's generator of the CPU": torch.get_rng_state().numpy().tobytes(),
            "Python's generator": random.getstate(),
            "NumPy's generator": pickle.dumps(np.random.get_state(legacy=False)),  # noqa: NPY002 (a network may use the global one)
        }
        tensors = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
        return cls(tensors, {name: tensor.data_ptr() for name, tensor in tensors.items()}, draws)

    def refuse_changes(self, model: nn.Module, path: str, done: str, accepted: str) -> None:
        """Refuse a network whose passes change any of it: the path would train another network without a word."""
        now = Host.of(model)
        for name in {**self.tensors, **now.tensors}:
            if self.tensors.get(name) is not now.tensors.get(name) or self.places.get(name) != now.places.get(name):
                raise ConfigError(refusal(path, done, f"each pass binds {name} to another tensor", accepted))
        for name, state in self.draws.items():
            if state != now.draws[name]:
                raise ConfigError(refusal(path, done, f"each pass draws from {name}", accepted))


def _short(error: BaseException | str) -> str:
    return " ".join(str(error).split())[:200]


def refusal(path: str, done: str, reason: str, accepted: str) -> str:
    """Why a path cannot be taken, in a line, without torch's advice to developers, which comes last in its messages."""
    said = _short(reason.partition("Set TORCHDYNAMO_VERBOSE")[0])
    return f"training.path = {path!r} is not accepted here: the network cannot be {done} ({said}): give {accepted}"
