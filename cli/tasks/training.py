"""Dense training: one seed, one checkpoint, whole epochs at a time, each with a line in the seed's curve."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from sics_cli.base.errors import origins
from sics_cli.base.files import write_atomically
from sics_cli.settings.seeding import epoch_seed

State = dict[str, torch.Tensor]
T = TypeVar("T")
#: What torch says of an operation without a deterministic form where it is asked for one.
_NO_FORM = ("does not have a deterministic implementation", "this operation is not deterministic because it uses CuBLAS")


class Trainer(Protocol):
    """A network that is trained in parts, of which each may be another process.

    `network` is as the seed initialises it, or as it was given, until `epoch` changes it in place. `epoch(number)` trains the
    epoch of that number, from 0, and gives what goes into the curve, by name (`loss` must stay finite). `state` is all that the
    next epoch depends on beside the number, the network's own included, as tensors by name; `load` goes on from there.
    """

    network: nn.Module

    def epoch(self, number: int) -> Mapping[str, float | None]:
        """Train one epoch in place."""

    def state(self) -> State:
        """All that the next epoch depends on."""

    def load(self, state: State) -> None:
        """Go on from what `state` gave."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch, counted from 1: what its trainer gave; `seconds` count from the beginning, parts in other processes included."""

    epoch: int
    values: Mapping[str, float | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training left behind, beside the weights: validation count where there is one, wall seconds, and whether an
    operation of it has no deterministic form."""

    validation_correct: int | None
    validation_n: int | None
    seconds: float
    nondeterministic: bool = False


@dataclass(frozen=True, slots=True)
class HalfTrained:
    """A network after some epochs: all that the next epoch depends on."""

    epochs: int
    state: State
    seconds: float
    nondeterministic: bool


class CurveLog:
    """The file of one seed. What an interrupted training wrote after the `begun` epochs it goes on from is dropped."""

    def __init__(self, path: Path, begun: int) -> None:
        self._path = path
        self._rows = [row for row in _read(path) if int(row["epoch"]) <= begun]

    def add(self, epoch: Epoch) -> None:
        """Append an epoch; the file is whole at every moment."""
        values = {"epoch": epoch.epoch, **epoch.values, "seconds": epoch.seconds}
        self._rows.append({name: "" if value is None else f"{value:.6g}" for name, value in values.items()})
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self._rows for name in row if name != "seconds"))
        writer = csv.DictWriter(text, [*names, "seconds"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        self._path.parent.mkdir(exist_ok=True)
        write_atomically(self._path, text.getvalue().encode(), durable=False)


def _read(path: Path) -> list[dict[str, str]]:
    """Rows of a curve; none of a file that is not there or is not one."""
    with contextlib.suppress(OSError, UnicodeDecodeError, csv.Error), path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = reader.fieldnames or [""]
        ours = (names[0], names[-1]) == ("epoch", "seconds")
        if ours and all(None not in row and None not in row.values() and row["epoch"].isdigit() for row in rows):
            return rows
    return []


def _ignore(_: object) -> None:
    """What is told to nobody."""


#: One seed's way through its training: it asks for epochs by number, from 0, and is sent what each gave and how many seconds of
#: the time meanwhile were its own.
Course = Generator[int, tuple[Mapping[str, float | None], float], TrainingRecord | HalfTrained]


def course(
    trainer: Trainer,
    epochs: int,
    *,
    begin: HalfTrained | None = None,
    until: int | None = None,
    log: Callable[[Epoch], None] = _ignore,
    keep: Callable[[Callable[[], HalfTrained]], None] = _ignore,
    unsure: Callable[[], bool] = lambda: False,
) -> Course:
    """What is to do around the epochs of a training, which another trains: see `run`.

    `unsure` says whether an operation so far had no deterministic form.
    """
    begun = time.perf_counter() - (begin.seconds if begin else 0.0)
    first = begin.epochs if begin else 0
    last = max(first, min(until or epochs, epochs))
    before = begin is not None and begin.nondeterministic
    if begin is not None:
        trainer.load(begin.state)

    def now(done: int) -> HalfTrained:
        return HalfTrained(done, trainer.state(), time.perf_counter() - begun, before or unsure())

    for number in range(first, last):
        left = time.perf_counter()
        met, seconds = yield number
        begun += time.perf_counter() - left - seconds
        if not math.isfinite(met.get("loss") or 0.0):
            raise FloatingPointError(f"training diverged: loss is {met['loss']} after epoch {number + 1}")
        log(Epoch(number + 1, met, time.perf_counter() - begun))
        if number + 1 < last:
            keep(lambda done=number + 1: now(done))  # type: ignore[misc]
    if last < epochs:
        return now(last)
    finish = getattr(trainer, "finish", None)
    counts = dict(finish()) if finish is not None else {}
    nondeterministic = before or unsure()
    trainer.network.eval()
    seconds = time.perf_counter() - begun
    return TrainingRecord(counts.get("validation_correct"), counts.get("validation_n"), seconds, nondeterministic)


def run(
    trainer: Trainer,
    epochs: int,
    seed: int,
    *,
    begin: HalfTrained | None = None,
    until: int | None = None,
    log: Callable[[Epoch], None] = _ignore,
    keep: Callable[[Callable[[], HalfTrained]], None] = _ignore,
    relaxed: bool = False,
) -> TrainingRecord | HalfTrained:
    """Train to the last of `epochs`, and leave the network in eval mode.

    `log` is told of every epoch. `begin` goes on from there, `until` stops after so many epochs of the whole; the weights are
    the same however often it stopped. `keep` is called between epochs with what gives all that the next epoch depends on. A
    trainer with a method `finish` is asked for the validation counts of the record, which says of a `relaxed` training (see
    `strictly`) that it is nondeterministic.
    """
    with listening() as caught:
        way = course(trainer, epochs, begin=begin, until=until, log=log, keep=keep, unsure=lambda: relaxed or warned(caught))
        met: tuple[Mapping[str, float | None], float] | None = None
        while True:
            try:
                number = way.send(met)  # type: ignore[arg-type]
            except StopIteration as end:
                found: TrainingRecord | HalfTrained = end.value
                return found
            torch.manual_seed(epoch_seed(seed, number))  # an epoch does not depend on what was drawn in those before
            began = time.perf_counter()
            met = trainer.epoch(number), time.perf_counter() - began


def run_together(ways: Sequence[tuple[Any, Course]]) -> list[TrainingRecord | HalfTrained | BaseException]:
    """Train several seeds at once, by trainers with a method `together(number, trainers)`; each has what its course ends with.

    One that is some epochs ahead waits until the others are there. An error that is one seed's own ends its course, and is what
    it has; others are raised. A seed's time is its share of what its epochs took.
    """
    found: dict[int, TrainingRecord | HalfTrained | BaseException] = {}
    wanted: dict[int, int] = {}

    def go_on(one: int, met: tuple[Mapping[str, float | None], float] | None) -> None:
        try:
            wanted[one] = ways[one][1].send(met)  # type: ignore[arg-type]
        except StopIteration as end:
            found[one] = end.value
        except (Exception, SystemExit) as error:
            found[one] = error
        if one in found:
            wanted.pop(one, None)

    for one in range(len(ways)):
        go_on(one, None)
    while wanted:
        number = min(wanted.values())
        now = [one for one, next_ in wanted.items() if next_ == number]
        began = time.perf_counter()
        met = ways[now[0]][0].together(number, [ways[one][0] for one in now])
        share = (time.perf_counter() - began) / len(now)
        for one, values in zip(now, met, strict=True):
            if isinstance(values, Exception):
                found[one] = values
                del wanted[one]
            else:
                go_on(one, (values, share))
    return [found[one] for one in range(len(ways))]


@contextlib.contextmanager
def listening() -> Iterator[list[warnings.WarningMessage]]:
    """Collect every warning of the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def strictly(work: Callable[[bool], T]) -> tuple[T, bool]:
    """What `work` gives, and whether something in it has no deterministic form, where deterministic forms are asked for.

    They are asked for strictly: where torch is to warn only, it leaves out some that it has (the backward pass of attention on a
    GPU), and warns once a process. Work that cannot be done so is done again, relaxed, and is told so by its argument.

    >>> strictly(lambda relaxed: relaxed)
    (False, False)
    """
    if not torch.are_deterministic_algorithms_enabled() or torch.is_deterministic_algorithms_warn_only_enabled():
        return work(False), False
    try:
        return work(False), False
    except Exception as error:
        if not says_no_form(error):
            raise
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        return work(True), True
    finally:
        torch.use_deterministic_algorithms(True)


def says_no_form(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is torch's that an operation has no deterministic form."""
    return any(isinstance(one, RuntimeError) and any(words in str(one) for words in _NO_FORM) for one in origins(error))


def warned(caught: list[warnings.WarningMessage]) -> bool:
    """Whether torch said that something it did has no deterministic form."""
    return any("deterministic" in str(warning.message) for warning in caught)
