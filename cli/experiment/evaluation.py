"""Evaluation of one network: one bit per test example."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sics_cli.experiment.bits import count_bits, pack_bits
from sics_cli.experiment.datasets import Part

Tensors = tuple[torch.Tensor, torch.Tensor]
#: Fixed, since a batch's size may move the last bits of a logit.
EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Correct count, number of examples, mean cross-entropy (nats), packed correctness bits in test order."""

    correct: int
    n: int
    loss: float
    bits: bytes

    def __post_init__(self) -> None:
        if not math.isfinite(self.loss):
            raise FloatingPointError(f"loss is {self.loss}, not a finite number")
        if count_bits(self.bits) != self.correct:
            raise ValueError(f"correct = {self.correct}, but {count_bits(self.bits)} bits are set")


def standardise(images: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(x - mean)/scale per channel, float32; `mean` and `scale` have shape (channels,), in pixel values 0 to 255."""
    return (images.to(torch.float32) - mean[:, None, None]).div_(scale[:, None, None])


class Examples:
    """Images and labels of a part on a device, standardised when they are asked for.

    Unpacks into all images and labels. `pixels` are the images as they are kept: float32, or uint8 with `mean` and `scale`.
    """

    def __init__(self, part: Part, device: torch.device) -> None:
        self.pixels = torch.from_numpy(part.images).to(device)
        self.labels = torch.from_numpy(part.labels).to(device)
        self._moments: Tensors | None = None
        if part.statistics is not None:
            found = part.statistics
            self._moments = torch.from_numpy(found.mean).to(device), torch.from_numpy(found.scale).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield self.standard(self.pixels)
        yield self.labels

    def standard(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give some of `pixels` as the network takes them: float32, standardised."""
        return pixels if self._moments is None else standardise(pixels, *self._moments)

    def at(self, index: torch.Tensor) -> Tensors:
        """Images and labels at `index`, on the same device."""
        return self.standard(self.pixels[index]), self.labels[index]

    def batches(self, size: int) -> Iterator[Tensors]:
        """Images and labels in order, `size` at a time."""
        for pixels, labels in zip(self.pixels.split(size), self.labels.split(size), strict=True):
            yield self.standard(pixels), labels


def part_on(part: Part, device: torch.device) -> Examples:
    """Images and labels of `part` on `device`."""
    return Examples(part, device)


@torch.inference_mode()
def evaluate(model: nn.Module, part: Examples) -> Evaluation:
    """Evaluate `model` (left in eval mode) on examples that lie on its device.

    Raises
    ------
    FloatingPointError
        The mean loss is not finite: such a number may not be stored.
    """
    model.eval()
    right: list[NDArray[np.bool_]] = []
    total = 0.0
    for images, label in part.batches(EVALUATION_BATCH):
        logits = model(images)
        right.append((logits.argmax(dim=1) == label).cpu().numpy())
        total += float(nn.functional.cross_entropy(logits.double(), label, reduction="sum").item())
    hits = np.concatenate(right)
    return Evaluation(int(hits.sum()), len(hits), total / len(hits), pack_bits(hits))
