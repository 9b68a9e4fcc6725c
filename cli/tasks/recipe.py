"""What the engine knows of a task without running it: its part of every key, and what a seed of it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sics_cli.tasks.task import Metric

if TYPE_CHECKING:
    import torch

#: Stands for the hash of a data order where nothing is trained here, or the task draws its own.
GIVEN, OWN = "given", "own"
#: On a processor making a mask costs about as much as half an evaluation (measured on digits; smaller beside larger networks).
MASKING = 1.5
#: SynFlow's hundred rounds, whatever the calibration: in passes, most of it sorting as many scores as a pass has weights.
SYNFLOW, SYNFLOW_ROUNDS = 19_000.0, 100


def place_of(seed: int, width: int) -> int:
    """The place of a seed in a stack of `width` networks that are trained as one: always the same."""
    return seed % width


def stacks_of(seeds: Iterable[int], width: int) -> int:
    """How many stacks seeds fill, one after another, each seed at its place.

    >>> stacks_of(range(5), 4), stacks_of([3, 4, 9], 4), stacks_of([0, 4, 8], 4), stacks_of(range(5), 1)
    (2, 1, 3, 5)
    """
    return max(Counter(place_of(seed, width) for seed in seeds).values(), default=0)


@dataclass(frozen=True, slots=True)
class Passes:
    """What a seed takes, in passes of one example through the network: all of training, one calibration, one evaluation, and one
    on the held-out examples.
    """

    training: float
    calibration: float
    evaluation: float
    held_out: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A guess before anything was measured, in seconds: all of a seed's training, one collection of gradients over the
    calibration batches, an evaluation with its mask, a point of a search, SynFlow.

    `source` says what it rests on.
    """

    training: float
    collecting: float
    cell: float
    point: float
    synflow: float
    source: str


@dataclass(frozen=True, slots=True)
class SeedStreams:
    """Hashes of the randomness of one seed, as far as they are known before anything is trained."""

    data_order_hash: str
    calibration_hash: str | None


class TaskRecipe(Protocol):
    """A task as the driver has it, and sends it to workers: plain data, no torch.

    `epochs` is how many parts training can be stopped between; 0 where nothing is trained, 1 where it cannot be stopped.
    """

    @property
    def metric(self) -> Metric:
        """What is measured."""

    @property
    def holds_out(self) -> bool:
        """Whether it evaluates on held-out examples too, which no test sees: what a search of weights needs."""

    @property
    def epochs(self) -> int:
        """Epochs of training."""

    @property
    def content(self) -> dict[str, Any]:
        """All that the dense networks depend on, as a store keeps it."""

    @property
    def width(self) -> int:
        """How many seeds' networks are trained as one; 1 where each is by itself."""

    def seed_content(self, seed: int) -> Mapping[str, Any]:
        """What the network of one seed depends on beside it."""

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What calibration batches depend on beside that; None where only the task knows."""

    def streams(self, seed: int) -> SeedStreams:
        """Hashes of a seed's data order and calibration batches."""

    @property
    def varies(self) -> tuple[str, ...]:
        """What another seed changes, before calibration and scorers."""

    @property
    def passes(self) -> Passes:
        """What a seed takes."""

    def pace(self, device_class: str, gpu: str | None = None, at_once: int = 1) -> Pace | None:
        """A guess of what a seed takes on a processor's core, or on the GPU of this name where so many seeds share it; None where
        nothing can be guessed."""

    @property
    def memory(self) -> int | None:
        """A guess of the bytes that a seed takes on a GPU; None where nothing can be guessed."""

    @property
    def called(self) -> str:
        """What a reader knows its data as, or the task itself where it brings its own."""

    @property
    def summary(self) -> str:
        """What it is, in a few words."""

    def open(self, device: torch.device) -> Any:
        """The task itself, in a worker."""
