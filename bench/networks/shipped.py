"""What installed packages hold: their files and their modules, found without running what else a package imports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sics_cli import Metric, Task


def folder(package: str) -> Path:
    """Where an importable package lies. ModuleNotFoundError if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package} is installed", name=package)
    return Path(next(iter(spec.submodule_search_locations)))


def module(package: str, name: str) -> Any:
    """A module of a package without its ``__init__``, which often imports what no network needs (audio, video, plots)."""
    if package in sys.modules:
        return importlib.import_module(f"{package}.{name}")
    bare = types.ModuleType(package)
    bare.__path__ = [str(folder(package))]
    sys.modules[package] = bare
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        del sys.modules[package]


def weights(package: str, file: str) -> Any:
    """What a file of weights in a package holds, on the CPU; nothing but tensors and plain values is unpickled."""
    return torch.load(folder(package) / file, map_location="cpu", weights_only=True)


def installed_version(distribution: str) -> str | None:
    """The version of a distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def generator(*numbers: int) -> torch.Generator:
    """A generator of its own for each part of a task, so that no part depends on what was drawn before."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % (2**63 - 25)
    return torch.Generator().manual_seed(mixed)


#: First number of each generator: examples that are calibrated on, evaluated and held out are drawn apart.
CALIBRATION, EVALUATION, HELD_OUT = 1, 2, 3


class RealTask(Task):
    """A trained network: the same at every seed, which draws the calibration examples and nothing else.

    A result is right or wrong an example, or the share that is right where an example asks more. Subclasses give `load`,
    `examples(generator, n, part)` as inputs and targets, `right(output, target)` and, where it is not cross-entropy,
    `criterion(output, target)`.

    Parameters
    ----------
    batches : int
        Calibration batches. The batches of a smaller number are the first of a larger one.
    """

    metric = Metric("accuracy", delta=1.0)
    #: Examples in a calibration batch, examples evaluated, and how many of these at a time.
    batch, evaluated, at_a_time = 16, 256, 64

    def __init__(self, batches: int = 10) -> None:
        self.batches = batches

    def load(self) -> nn.Module:
        """The network with its weights."""
        raise NotImplementedError

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Any, Tensor]:
        """n inputs and their targets; `part` is CALIBRATION, EVALUATION or HELD_OUT.

        What is evaluated is in no other part. Where examples come from a stock, what is held out is of the calibration's.
        """
        raise NotImplementedError

    def right(self, output: Any, target: Tensor) -> Tensor:
        """1 for each right answer, 0 for each wrong one, or a share: a number an example."""
        return output.argmax(-1) == target

    def network(self, seed: int) -> nn.Module:
        """The same weights at every seed."""
        return self.load().eval().to(self.device)

    def calibration(self, seed: int) -> list[tuple[Any, Tensor]]:
        """Batches of this draw."""
        return [self.examples(generator(CALIBRATION, seed, i), self.batch, CALIBRATION) for i in range(self.batches)]

    def criterion(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, classes last."""
        return nn.functional.cross_entropy(output.flatten(0, -2), target.flatten())

    def loss(self, network: nn.Module, batch: tuple[Any, Tensor]) -> Tensor:
        """The criterion of a batch."""
        return self.criterion(network(batch[0]), batch[1])

    def evaluate(self, network: nn.Module, seed: int) -> Tensor:
        """A number for each example of the fixed evaluation set."""
        x, y = self.fixed()
        return self.right(self.outputs(network, x), y)

    def held_out(self, network: nn.Module, seed: int) -> dict[str, Any]:
        """Accuracy and loss on examples of this draw that are never evaluated, half as many."""
        if getattr(self, "_held_of", None) != seed:
            self._held = self.examples(generator(HELD_OUT, seed), self.evaluated // 2, HELD_OUT)
            self._held_of = seed
        x, y = self._held
        outputs = self.outputs(network, x)
        return {self.metric.name: self.right(outputs, y), "loss": float(self.criterion(outputs, y))}

    def outputs(self, network: nn.Module, x: Any) -> Tensor:
        """All outputs, on the CPU."""
        return torch.cat([network(part.to(self.device)).cpu() for part in x.split(self.at_a_time)])

    def fixed(self) -> tuple[Any, Tensor]:
        """The evaluation set, made once."""
        if not hasattr(self, "_fixed"):
            self._fixed = self.examples(generator(EVALUATION), self.evaluated, EVALUATION)
        return self._fixed


class Contrast(RealTask):
    """A network that makes a vector of length 1 of each thing: things that belong together are to be near.

    Subclasses give `groups(draw, n, members, part)`: n groups of things that belong together, (n, members, ...). A calibration
    example is a set of `among` pairs, whose loss is the cross-entropy of finding each second by its first (InfoNCE, at a fixed
    scale of similarities); one pair alone would have none. The result of a group is the share of its members that are nearer to
    the mean of the other members than to the mean of any other of `candidates` groups.
    """

    batch, among, at_a_time = 2, 8, 32
    evaluated, members, candidates = 64, 2, 64
    scale = 20.0

    def groups(self, draw: torch.Generator, n: int, members: int, part: int) -> Tensor:
        """n groups of things that belong together."""
        raise NotImplementedError

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        if part == CALIBRATION:
            return self.groups(draw, n * self.among, 2, part).unflatten(0, (n, self.among)), torch.zeros(n)
        return self.groups(draw, n, self.members, part), torch.arange(n)

    def criterion(self, output: Tensor, target: Tensor) -> Tensor:
        if output.ndim == 3:  # groups: the first two members of each, in sets
            output = output[:, :2].unflatten(0, (-1, self.among))
        near = self.scale * torch.einsum("sid,sjd->sij", output[:, :, 0], output[:, :, 1])
        own = torch.arange(near.shape[1], device=near.device).expand(len(near), -1)
        return nn.functional.cross_entropy(near.flatten(0, 1), own.flatten())

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.cat([found_again(part).float().mean(1) for part in output.split(self.candidates)])


def found_again(vectors: Tensor) -> Tensor:
    """Whether each member of each group, (groups, members, size), is nearest to its own, whose mean is over the others."""
    n = len(vectors)
    total = vectors.sum(1)
    near = torch.einsum("nmd,kd->nmk", vectors, nn.functional.normalize(total, dim=1))
    index = torch.arange(n, device=near.device)
    near[index, :, index] = (vectors * nn.functional.normalize(total[:, None] - vectors, dim=2)).sum(2)
    return near.argmax(2) == index[:, None]


class OfLengthOne(nn.Module):
    """A network of single things, applied to things in any arrangement; its vectors are scaled to length 1."""

    def __init__(self, net: nn.Module, dimensions: int) -> None:
        super().__init__()
        self.net, self.dimensions = net, dimensions

    def forward(self, things: Tensor) -> Tensor:
        """Things of `dimensions` dimensions each, after any others."""
        before = things.shape[: things.ndim - self.dimensions]
        return nn.functional.normalize(self.net(things.flatten(0, len(before) - 1)), dim=1).unflatten(0, before)
