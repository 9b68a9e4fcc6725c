"""What an evaluation hands over, as it is stored: right or wrong on each example, a number for each, or one number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.bits import count_bits, pack_bits, result_of
from sics_cli.tasks.task import Metric

LOSS = "loss"
_ORDERS = 1_000_000
#: Relative differences of a float32, and of means that are added up in another order.
_ROUNDING, _SAME_LOSS = 1e-7, 1e-5
_FEW = 1000
_LARGEST = float(np.finfo(np.float32).max)


class ResultError(Exception):
    """What `evaluate` gave is no result."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a network did: of right or wrong the count and packed bits in the order of the examples, else the metric's value.

    `n` counts examples (None: one number was given). `examples` are little-endian float32, one an example. `loss` is None where
    nobody measured it.
    """

    correct: int | None
    n: int | None
    loss: float | None
    bits: bytes | None
    value: float | None = None
    examples: bytes | None = None

    def __post_init__(self) -> None:
        if self.loss is not None and not math.isfinite(self.loss):
            raise FloatingPointError(f"loss is {self.loss}, not a finite number")
        if self.bits is not None and count_bits(self.bits) != self.correct:
            raise ValueError(f"correct = {self.correct}, but {count_bits(self.bits)} bits are set")

    @property
    def result(self) -> float:
        """What was measured: the share of right answers, or the metric's value."""
        return result_of(self.correct, self.n, self.value)


def are_of_one_set(one: Evaluation, two: Evaluation) -> bool:
    """Whether two evaluations of a trained network are of the same examples, because each has the same number in both.

    Numbers of which a million orders or fewer are possible, such as all but one right, say nothing, unless the loss is the same
    to the bit. Two losses that differ are of other examples.

    >>> right, wrong = evaluation_of([True] * 40, Metric("accuracy")), evaluation_of([True, False] * 20, Metric("accuracy"))
    >>> are_of_one_set(right, right), are_of_one_set(wrong, wrong), are_of_one_set(right, wrong)
    (False, True, False)
    """
    if one.n is None or (one.n, one.bits, one.examples) != (two.n, two.bits, two.examples) or _differ_in_loss(one, two):
        return False
    if one.loss and one.loss == two.loss:
        return True
    counts = np.array([one.correct, one.n - one.correct]) if one.examples is None and one.correct is not None else None
    if counts is None:
        counts = np.unique(unpacked(one.examples or b""), return_counts=True)[1]
    orders = math.lgamma(one.n + 1) - sum(math.lgamma(count + 1) for count in counts.tolist())
    return orders > math.log(_ORDERS)


def agree(one: Evaluation, two: Evaluation) -> bool:
    """Whether all examples of the smaller of two evaluations may be in the other, in whatever order and but for rounding.

    One number alone agrees where it is no fraction of few examples, which two sets may have in common by chance.

    >>> metric = Metric("accuracy")
    >>> agree(evaluation_of([True, False], metric), evaluation_of([False, True], metric))
    True
    >>> [agree(found, found) for found in (evaluation_of(0.75, metric), evaluation_of(2**-0.5, metric))]
    [False, True]
    """
    if one.n is None or two.n is None:
        same = math.isclose(one.result, two.result, rel_tol=_SAME_LOSS) and not _differ_in_loss(one, two)
        return same and (bool(one.loss and two.loss) or not _is_fraction(one.result))
    few, many = sorted((_in_order(one), _in_order(two)), key=len)
    close = _SAME_LOSS * np.abs(many).max()
    if len(few) == len(many):
        return not _differ_in_loss(one, two) and bool((np.abs(few - many) <= close).all())
    above = np.searchsorted(many, few).clip(1, len(many) - 1)
    return bool((np.minimum(np.abs(many[above] - few), np.abs(many[above - 1] - few)) <= close).all())


def _in_order(found: Evaluation) -> NDArray[np.float32]:
    """The number of each example, the least first; 1 is right."""
    if found.examples is not None:
        return np.sort(unpacked(found.examples))
    return (np.arange(found.n or 0) >= (found.n or 0) - (found.correct or 0)).astype(np.float32)


def _is_fraction(value: float) -> bool:
    """Whether a number is, to float32, one of a thousand examples or fewer."""
    times = value * np.arange(1, _FEW + 1)
    return bool((np.abs(times - np.rint(times)) <= np.abs(times) * _ROUNDING).any())


def _differ_in_loss(one: Evaluation, two: Evaluation) -> bool:
    """Whether both have a loss, and not the same but for rounding."""
    return None not in (one.loss, two.loss) and not math.isclose(one.loss, two.loss, rel_tol=_SAME_LOSS)  # type: ignore[arg-type]


def evaluation_of(handed: object, metric: Metric, by: str = "evaluate") -> Evaluation:
    """Read what `evaluate`, or another method, gave; a `ResultError` says what was expected and what came.

    >>> evaluation_of([True, False, True], Metric("accuracy"))
    Evaluation(correct=2, n=3, loss=None, bits=b'\\xa0', value=None, examples=None)
    >>> evaluation_of([0.5, 2.0], Metric("loss", "nats", higher_is_better=False)).value
    1.25
    """
    loss: float | None = None
    if isinstance(handed, Mapping):
        if unknown := sorted(map(str, set(handed) - {metric.name, LOSS})):
            raise ResultError(f"{by} gave {', '.join(unknown)}: expected {metric.name!r}, and at most {LOSS!r} beside it")
        if metric.name not in handed:
            raise ResultError(f"{by} gave {', '.join(map(repr, handed)) or 'an empty mapping'}: expected {metric.name!r}")
        if LOSS in handed and metric.name != LOSS:
            loss = handed[LOSS]
            loss = loss if isinstance(loss, float) else float(_numbers(loss, LOSS, by).mean())
        handed = handed[metric.name]
    numbers = _numbers(handed, metric.name, by)
    if metric.in_points and not ((numbers >= 0) & (numbers <= 1)).all():
        worst = float(numbers[~((numbers >= 0) & (numbers <= 1))].flat[0])
        raise ResultError(
            f"{by} gave {worst:g} for {metric.name}, whose unit is points: expected fractions from 0 to 1 (or another unit)"
        )
    if numbers.shape == (1,) and metric.of is None:
        numbers = numbers[0]  # a mean that kept its dimension: no examples are to be made of it
    if numbers.ndim == 0:
        if metric.of is not None:
            raise ResultError(f"{by} gave one number for {metric.name}: expected one an example, which its `of` is made of")
        return Evaluation(None, None, loss, None, float(numbers))
    if metric.of is None and np.isin(numbers, (0, 1)).all():
        hits = numbers.astype(np.bool_)
        return Evaluation(int(hits.sum()), len(hits), loss, pack_bits(hits))
    value = float(numbers.mean())
    if metric.of is not None:
        try:
            value = float(metric.of(numbers))
        except Exception as error:
            raise ResultError(f"the metric's `of` raises {type(error).__name__} for {len(numbers)} numbers: {error}") from error
    if not math.isfinite(value):
        raise ResultError(f"{metric.name} is {value}, not a finite number")
    return Evaluation(None, len(numbers), loss, None, value, numbers.astype("<f4").tobytes())


def unpacked(examples: bytes) -> NDArray[np.float32]:
    """The numbers of an evaluation's `examples`."""
    return np.frombuffer(examples, dtype="<f4")


def _numbers(handed: Any, name: str, by: str) -> NDArray[np.float64]:
    """Numbers of shape (n,) or (), finite; of a tensor too, wherever it lies."""
    try:
        found = np.asarray(_plain(handed))
    except ValueError:
        raise ResultError(f"{by} gave numbers of several lengths for {name}: expected one an example") from None
    if found.dtype.kind not in "biuf" or (found.dtype.kind == "b" and found.ndim == 0):
        what = type(handed).__name__ if found.dtype.kind in "OUSV" else str(found.dtype)
        raise ResultError(f"{by} gave {what} for {name}: expected numbers, one an example, or one number")
    if found.ndim > 1:
        raise ResultError(f"{by} gave shape {found.shape} for {name}: expected (examples,), or one number")
    if found.size == 0:
        raise ResultError(f"{by} gave no numbers for {name}: expected one an example")
    numbers = found.astype(np.float64)
    if not np.isfinite(numbers).all():
        place = int(np.flatnonzero(~np.isfinite(np.atleast_1d(numbers)))[0])
        where = f" for example {place}" if found.ndim else ""
        raise ResultError(f"{by} gave {np.atleast_1d(numbers)[place]} for {name}{where}: expected finite numbers")
    if found.ndim and (np.abs(numbers) > _LARGEST).any():
        place = int(np.flatnonzero(np.abs(numbers) > _LARGEST)[0])
        raise ResultError(f"{by} gave {numbers[place]:g} for {name} for example {place}: expected numbers that float32 holds")
    return numbers


def _plain(handed: Any) -> Any:
    """A tensor as an array, wherever it lies; anything else as it is."""
    if not hasattr(handed, "detach"):
        return handed
    tensor = handed.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()
