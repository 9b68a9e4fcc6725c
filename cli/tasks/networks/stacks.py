"""Networks of several seeds trained as one: their parameters stacked, one pass through `torch.func.vmap` for all of them.

A stack has a fixed number of places, and a seed's place is its own (`sics_cli.tasks.recipe.place_of`). Places that nobody has are
computed all the same, of zeros: every seed goes through the same operations, of the same shapes, at the same place of memory,
whoever is beside it. So its numbers are the same to the bit whether it trains with others or alone.
"""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from sics_cli.base.errors import ConfigError, SicsError, is_device_lost, is_out_of_memory
from sics_cli.settings.images import TrainingConfig
from sics_cli.tasks.networks.paths import Eager, Host, TrainingBatch, refusal

_DONE, _INSTEAD = "stacked with those of other seeds", "eager | compile"
#: What torch says of a network that cannot be stacked, and what that means, of which the first that fits is told.
_MEANT = (
    ("called random operation", "it draws random numbers as it trains: dropout, stochastic depth or the like"),
    ("calling .item()", "its forward pass asks the device for a number, with .item() or the like"),
    ("data-dependent control flow", "its forward pass branches by the values of a tensor"),
    ("dynamic shape", "its forward pass makes a tensor whose size depends on the values of another"),
    ("inplace", "it writes each seed's numbers into a tensor that all seeds share"),
    ("in-place", "it writes each seed's numbers into a tensor that all seeds share"),
    ("doesn't match the broadcast shape", "it writes each seed's numbers into a tensor that all seeds share"),
    ("uninitialized parameter", "its parameters have no shape before the first pass, as of a lazy layer"),
    ("deepcopy protocol", "it keeps a tensor that was computed from its parameters, and so cannot be copied"),
)
#: What torch has no form of for several seeds at once, by its name.
_WANTING = re.compile(r"(?:[Bb]atching rule not implemented for|could not generate fallback.*?for|vmap: )\s*(aten::\w+)")
#: How far a network's passes in a stack may lie from those alone, in parts of the largest gradient, loss or buffer.
_NEAR = 1e-2
Moments = dict[str, Tensor]


class Stack:
    """The places, their optimiser, and the step that all of them take together."""

    def __init__(self, network: nn.Module, config: TrainingConfig, device: torch.device) -> None:
        self._network = copy.deepcopy(network).train()  # what is called: its own numbers count for nothing
        self._width, self._smoothing, self._half = config.width, config.label_smoothing, config.precision == "bf16"
        self._type, self._tried = device.type, False
        self._parameters = {name: self._places(one).requires_grad_(one.requires_grad) for name, one in network.named_parameters()}
        self._buffers = {name: self._places(one) for name, one in network.named_buffers()}
        parameters = list(self._parameters.values())
        self.optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        for one in parameters:
            moments = {name: torch.zeros_like(one, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
            self.optimiser.state[one] = {"step": torch.zeros((), device=one.device), **moments}

    def _places(self, one: Tensor) -> Tensor:
        return torch.zeros(self._width, *one.shape, dtype=one.dtype, device=one.device)

    def seat(self, place: int, network: nn.Module, moments: Mapping[Tensor, Moments]) -> None:
        """Bring a network and its optimiser's state to a place: from now on its tensors are those of the place.

        `moments` are by parameter; one that has none begins at zero. All networks of a stack have taken as many steps.
        """
        for name, one in network.named_parameters():
            stacked, given = self._parameters[name], moments[one]
            _lay(one, stacked.detach()[place])
            own = self.optimiser.state[stacked]
            for key, whole in own.items():
                there = whole if key == "step" else whole[place]
                there.copy_(given[key]) if key in given else there.zero_()
                given[key] = there
        for name, buffer in network.named_buffers():
            _lay(buffer, self._buffers[name][place])

    def of(self, place: int) -> dict[str, Tensor]:
        """Parameters and buffers of a place by name, and gradients as NAME/grad."""
        found = {name: one[place] for name, one in (*self._parameters.items(), *self._buffers.items())}
        grads = {name: one.grad for name, one in self._parameters.items()}
        return found | {f"{name}/grad": grad[place] for name, grad in grads.items() if grad is not None}

    def gradients(self, batches: Mapping[int, TrainingBatch]) -> tuple[Tensor, Tensor]:
        """Mean losses and right answers of the batches by place, both of shape (width,); the gradients are in the stack."""
        if self._tried:
            return self._pass(batches)
        try:
            found = self._pass(batches)
        except Exception as error:
            if isinstance(error, SicsError) or is_full(error) or is_device_lost(error):
                raise
            raise ConfigError(refusal("stacked", _DONE, meant(error), _INSTEAD)) from error
        self._tried = True
        return found

    def _pass(self, batches: Mapping[int, TrainingBatch]) -> tuple[Tensor, Tensor]:
        batch = self._stacked(batches)
        for parameter in self._parameters.values():
            parameter.grad = None
        with torch.autocast(self._type, torch.bfloat16, enabled=self._half):
            logits = vmap(self._forward)(self._parameters, self._buffers, batch.images)
        logits, found = logits.float(), logits.detach().argmax(dim=2)
        losses, right = self._losses(logits, batch.labels), (found == batch.labels).sum(dim=1)
        if batch.others is not None and batch.share is not None:
            losses = batch.share * losses + (1 - batch.share) * self._losses(logits, batch.others)
            right = batch.share * right + (1 - batch.share) * (found == batch.others).sum(dim=1)
        losses.sum().backward()  # no loss has a part in another's gradient
        return losses.detach(), right

    def _forward(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._network, (parameters, buffers), (images,))
        return logits

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of each place: `paths.loss_of` for all, as operations that have a deterministic form."""
        flat = logits.flatten(0, 1), labels.flatten()
        each = nn.functional.cross_entropy(*flat, reduction="none", label_smoothing=self._smoothing)
        losses: Tensor = each.unflatten(0, labels.shape).mean(dim=1)
        return losses

    def _stacked(self, batches: Mapping[int, TrainingBatch]) -> TrainingBatch:
        blank = [torch.zeros_like(one) for one in next(iter(batches.values())).tensors]
        places = [batches[place].tensors if place in batches else blank for place in range(self._width)]
        return TrainingBatch(*map(torch.stack, zip(*places, strict=True)))


@contextlib.contextmanager
def place_by_place() -> Iterator[None]:
    """Let vmap do what it has no form for, attention on a processor, place by place, and say nothing of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def meant(error: Exception) -> str:
    """Why a network cannot be stacked, in words of its author; an error of the network's own is told as it is.

    >>> meant(RuntimeError("vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over ..."))
    'its forward pass asks the device for a number, with .item() or the like'
    >>> meant(RuntimeError("Batching rule not implemented for aten::foo. We could not generate a fallback."))
    'torch has no form of aten::foo for several seeds at once'
    >>> meant(ValueError("not these images"))
    'not these images'
    """
    said = " ".join(str(error).split())
    for words, meaning in _MEANT:
        if isinstance(error, RuntimeError) and words in said:
            return meaning
    if wanting := _WANTING.search(said):
        return f"torch has no form of {wanting[1]} for several seeds at once"
    if "vmap" in said:
        return "torch has no form of one of its operations for several seeds at once"
    return said or type(error).__name__


def is_full(error: BaseException) -> bool:
    """Whether an error says that memory is wanting, a GPU's or the machine's."""
    return is_out_of_memory(error) or "DefaultCPUAllocator" in str(error)


def _lay(one: Tensor, place: Tensor) -> None:
    """Have a tensor live in a place of a stack, with the numbers it has."""
    place.copy_(one.detach())
    one.data = place


def refuse_unstackable(build: Callable[[int], nn.Module], config: TrainingConfig, shape: tuple[int, ...], classes: int) -> None:
    """Refuse a network that cannot be stacked, or whose passes would then compute something else.

    Two seeds' networks take two passes each way on random images (`shape`: channels, height, width). What a network keeps beside
    parameters and buffers, binds anew, or draws on the host, is not a seed's own in a stack.
    """
    dice = torch.Generator().manual_seed(0)
    plain, two = replace(config, precision="fp32"), replace(config, precision="fp32", width=2)
    networks = [build(seed) for seed in range(2)]
    held = [_beside(network) for network in networks]
    if other := _differing(*held):
        raise ConfigError(refusal("stacked", _DONE, f"{other} is each seed's own, and neither parameter nor buffer", _INSTEAD))
    try:
        alone = [copy.deepcopy(network).train() for network in networks]
        stack = Stack(networks[0], two, torch.device("cpu"))
        for place, network in enumerate(networks):
            stack.seat(place, network, {parameter: {} for parameter in network.parameters()})
    except RuntimeError as error:  # of a network that cannot be copied, or whose parameters have no shape yet
        raise ConfigError(refusal("stacked", _DONE, meant(error), _INSTEAD)) from error
    for _ in range(2):
        images, labels = torch.randn(2, 8, *shape, generator=dice), torch.randint(0, classes, (2, 8), generator=dice)
        batches = {place: TrainingBatch(images[place], labels[place]) for place in range(2)}
        with place_by_place():
            losses, _ = stack.gradients(batches)
        for place, network in enumerate(alone):
            host = Host.of(network)
            try:
                loss, _ = Eager(network, plain)(batches[place])
            except Exception as error:  # whatever a network raises on images that it is not made for
                raise ConfigError(refusal("stacked", _DONE, meant(error), _INSTEAD)) from error
            host.refuse_changes(network, "stacked", _DONE, _INSTEAD)
            if other := _differing(held[place], _beside(network)):
                reason = f"each pass changes {other}, which is neither parameter nor buffer"
                raise ConfigError(refusal("stacked", _DONE, reason, _INSTEAD))
            stacked = stack.of(place)
            pairs = {"loss": (loss, losses[place])}
            pairs |= {name: (buffer, stacked[name]) for name, buffer in network.named_buffers()}
            far = [_apart(one, other) for one, other in pairs.values()]
            trained = [(p.grad, stacked[f"{name}/grad"]) for name, p in network.named_parameters() if p.grad is not None]
            far.append(_apart(*(torch.cat([pair[k].flatten() for pair in trained]) for k in range(2))))
            if not all(one <= _NEAR for one in far):
                reason = "what it keeps beside parameters and buffers, or binds anew, would be other seeds' too"
                raise ConfigError(refusal("stacked", _DONE, reason, _INSTEAD))


def _beside(network: nn.Module) -> dict[str, object]:
    """What a network holds beside parameters, buffers and modules, where it is numbers, by name."""
    internal = vars(nn.Module()).keys()
    return {
        f"{path}.{name}".lstrip("."): value.detach().clone() if isinstance(value, Tensor) else copy.copy(value)
        for path, module in network.named_modules()
        for name, value in vars(module).items()
        if name not in internal and isinstance(value, Tensor | np.ndarray | int | float | complex | str)
        if not isinstance(value, nn.Parameter)
    }


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    """The first name whose values are not the same; empty if there is none."""
    for name in sorted({*one, *other}):
        a, b = one.get(name), other.get(name)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            same = a.shape == b.shape and a.dtype == b.dtype and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        elif isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
            same = bool(np.array_equal(np.asarray(a), np.asarray(b)))
        else:
            same = type(a) is type(b) and (a == b or a != a)
        if not same:
            return name
    return ""


def _apart(one: Tensor, other: Tensor) -> float:
    """How far tensors lie apart, in parts of the largest number of the first."""
    a, b = one.detach().double(), other.detach().double()
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-6)) if a.numel() else 0.0
