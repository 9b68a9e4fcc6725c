"""Batches as they are handed over: what of them goes to the model, what to the loss, and which tensors have a row a sample."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

#: (input, target), ((input, …), target), ({name: input}, target) or {name: input}.
Batch = Any
Loss = Callable[[Any, Any], Tensor]
NO_BATCHES = "Expected at least one batch of (input, target) in `batches`, got none"
PAIR = "(input, target) pair or a mapping of the model's arguments"
NO_ITERABLE = "Expected `batches` to be an iterable of (input, target) pairs or of mappings"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """One batch on the model's device: ``model(*args, **kwargs)``, and what the loss is given beside the output.

    ``whole``: the batch is one mapping, which is also what a loss gets as its target. ``size`` counts samples.
    """

    number: int  # from 1
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Any
    whole: bool
    size: int

    @property
    def target(self) -> Any:
        """What a loss gets beside the output."""
        return self.kwargs if self.whole else self.targets

    def through(self, model: nn.Module) -> Any:
        """The model's output, for copies: a forward that changes its input in place would see it changed the next time."""
        args, kwargs = over((self.args, self.kwargs), lambda x: x.clone() if isinstance(x, Tensor) else x)
        return model(*args, **kwargs)

    def rows(self) -> list[Tensor]:
        """The tensors that have a row a sample, in a fixed order."""
        found: list[Tensor] = []

        def keep(x: Tensor) -> Tensor:
            found.append(x)
            return x

        self._over(keep)
        return found

    def having(self, rows: Iterable[Tensor], size: int) -> Given:
        """The same with others in the place of :meth:`rows`."""
        left = iter(rows)
        args, kwargs, targets = self._over(lambda _: next(left))
        return replace(self, args=args, kwargs=kwargs, targets=targets, size=size)

    def part(self, start: int, stop: int) -> Given:
        """Some of the samples."""
        return self.having([x[start:stop] for x in self.rows()], min(stop, self.size) - start)

    def parts(self, size: int) -> Iterator[Given]:
        """All of them, at most ``size`` at a time."""
        if self.size <= size:
            yield self
            return
        yield from (self.part(start, start + size) for start in range(0, self.size, size))

    def check_splits(self) -> None:
        """Refuse a batch whose samples cannot be told apart."""
        inputs, targets = replace(self, targets=None).rows(), replace(self, args=(), kwargs={}).rows()
        if not inputs or not (targets or self.whole):
            what = [f"{tuple(x.shape)}" for x in _tensors((self.args, self.kwargs, self.targets))]
            raise TypeError(
                f"Expected tensors of several samples as inputs and targets, their first dimension the {self.size} samples of "
                f"batch {self.number}, got {', '.join(what) or 'no tensors'}: gradients are taken sample by sample"
            )

    def _over(self, change: Callable[[Tensor], Tensor]) -> Any:
        def leaf(x: Any) -> Any:
            return change(x) if isinstance(x, Tensor) and x.dim() and x.shape[0] == self.size else x

        return over((self.args, self.kwargs, self.targets), leaf)


def over(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same tuples, lists and mappings around changed tensors and other things that have a ``to``.

    >>> over({"x": (torch.ones(2), [3])}, lambda x: x.sum())
    {'x': (tensor(2.), [3])}
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        changed = {name: over(item, change) for name, item in value.items()}
        if type(value) is dict or not isinstance(value, MutableMapping):
            return changed
        same = copy.copy(value)  # transformers' BatchEncoding would move itself
        for name, item in changed.items():  # transformers' outputs have no update
            same[name] = item
        return same
    if callable(getattr(value, "to", None)) and not isinstance(value, type):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(over(item, change) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(over(item, change) for item in value)
    return value


def check_iterable(batches: object) -> None:
    """Refuse what is no iterable of batches."""
    if isinstance(batches, Tensor | Mapping) or not isinstance(batches, Iterable):
        raise TypeError(f"{NO_ITERABLE}, got {type(batches).__name__}")


def moved(batches: Iterable[Batch], model: nn.Module) -> Iterator[Given]:
    """The batches, checked and read, all of each on the model's device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for number, batch in enumerate(batches, 1):
        yield _read(over(_checked(batch), lambda x: x.to(device)), model, number)


def _checked(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return batch
    if not isinstance(batch, tuple | list):
        raise TypeError(
            f"Expected every batch to be an {PAIR}, got {type(batch).__name__}; a target that nothing reads may be None"
        )
    if len(batch) != 2 or callable(getattr(batch, "to", None)):
        raise TypeError(
            f"Expected every batch to be an {PAIR}, got {type(batch).__name__} of {len(batch)}; several inputs go together, "
            "((input, mask), target), a target that nothing reads may be None"
        )
    return batch


def _read(batch: Any, model: nn.Module, number: int) -> Given:
    signature = _signature(model)
    if isinstance(batch, Mapping):
        names = dict(batch)
        if not _fits(signature, (), names):
            taken = [] if signature is None else list(signature.parameters)
            unknown = [name for name in names if name not in taken] or list(names)
            raise TypeError(
                f"Expected the names in a batch to be arguments of {type(model).__name__}.forward, which takes "
                f"{', '.join(taken) or 'none'}, got {', '.join(map(repr, unknown))}: leave out what it does not take, or give "
                "(input, target)"
            )
        return Given(number, (), names, None, True, _common(names) or 1)
    inputs, targets = batch
    args: tuple[Any, ...] = (inputs,)
    kwargs: dict[str, Any] = {}
    if isinstance(inputs, Mapping):
        if _fits(signature, (), dict(inputs)):
            args, kwargs = (), dict(inputs)
    elif isinstance(inputs, tuple | list) and not callable(getattr(inputs, "to", None)) and _fits(signature, tuple(inputs), {}):
        args = tuple(inputs)
    return Given(number, args, kwargs, targets, False, _size(targets, _common((args, kwargs))))


def _signature(model: nn.Module) -> inspect.Signature | None:
    plain = getattr(model, "_orig_mod", model)
    plain = plain.module if isinstance(plain, nn.DataParallel | nn.parallel.DistributedDataParallel) else plain
    try:
        return inspect.signature(plain.forward)
    except (TypeError, ValueError):
        return None


def _fits(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[Any, Any]) -> bool:
    """Whether a forward takes arguments; one that says nothing is taken to."""
    if not all(isinstance(name, str) for name in kwargs):
        return False
    try:
        if signature is not None:
            signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    over(value, lambda x: found.append(x) if isinstance(x, Tensor) else None)
    return found


def _common(value: Any) -> int | None:
    """The first dimension that most of the inputs have; what a packed sequence packs."""
    packed: list[int] = []
    over(value, lambda x: packed.append(int(x.batch_sizes[0])) if isinstance(x, PackedSequence) else None)
    sizes = packed or [x.shape[0] for x in _tensors(value) if x.dim()]
    return Counter(sizes).most_common(1)[0][0] if sizes else None


def _size(targets: Any, inputs: int | None) -> int:
    """How many samples a pair stands for, by its targets where they say it."""
    if isinstance(targets, Tensor) and targets.dim():
        return targets.shape[0]
    if isinstance(targets, Sequence) and not isinstance(targets, str) and len(targets) == inputs:
        return len(targets)
    within = _common(targets)
    if within is not None and (inputs is None or within == inputs):
        return within
    if isinstance(targets, Sequence) and not isinstance(targets, str):
        return len(targets)
    return inputs or 1
