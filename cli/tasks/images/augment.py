"""Augmentation of uint8 batches: random crop, horizontal flip, RandAugment. On the batch's device, and repeatable.

What happens to an image depends on (seed, epoch, batch) and its place in the batch, and on nothing that ran before:
training that resumes in the middle meets the same images. The draws are numpy's, so they are the same on every device.

RandAugment is per image, as in the paper, yet costs no loop over images: its magnitude is one constant, so images
that drew the same operation and sign get the same call, and a batch of any size takes at most 24 calls a round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from sics_cli.base.errors import ConfigError
from sics_cli.settings.seeding import Stream

#: Magnitudes are steps of torchvision's scale, 0 to BINS - 1.
BINS = 31


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training images, in this order.

    Cut the old size out at random of the image with `crop_padding` black pixels around it; mirror left and right with
    probability 1/2 (`flip`); `randaugment` operations per image (Cubuk et al. 2020, N) of strength `magnitude` (M, 0 to 30).
    """

    crop_padding: int = 4
    flip: bool = True
    randaugment: int = 0
    magnitude: int = 9

    def __post_init__(self) -> None:
        for field, most in (("crop_padding", 1024), ("randaugment", 16), ("magnitude", BINS - 1)):
            value = getattr(self, field)
            if not 0 <= value <= most:
                raise ConfigError(f"augmentation.{field} = {value!r} is not accepted: give an integer from 0 to {most}")


#: Pixels of a plane that are augmented in one call on a GPU, which is launch-bound: a whole epoch of CIFAR-10.
PIXELS = 1 << 26


@dataclass(frozen=True, slots=True)
class Draws:
    """The chances of a batch of n images: flips (n,), corners (2, n) of the crops (down, right), operations and signs (N, n)."""

    flips: NDArray[np.bool_]
    corners: NDArray[np.int64]
    operations: NDArray[np.int64]
    negative: NDArray[np.bool_]


def draw(augmentation: Augmentation, n: int, seed: int, epoch: int, batch: int) -> Draws:
    """Draw for batch number `batch` of epoch number `epoch`, both counted as the caller likes but always alike.

    Flips and corners do not change when RandAugment is switched on.
    """
    source = np.random.default_rng(np.random.SeedSequence([seed, int(Stream.AUGMENTATION), epoch, batch]))
    flips = source.random(n) < 0.5
    corners = (source.random((2, n)) * (2 * augmentation.crop_padding + 1)).astype(np.int64)
    rounds = (augmentation.randaugment, n)
    operations = source.integers(0, len(OPERATIONS), rounds)
    return Draws(flips & augmentation.flip, corners, operations, source.random(rounds) < 0.5)


def augment(images: Tensor, augmentation: Augmentation, *, seed: int, epoch: int, batch: int) -> Tensor:
    """Augment a batch (n, 1 or 3, height, width) of uint8, which is left as it is; (seed, epoch, batch) is where in training.

    >>> images = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    >>> again = [augment(images, Augmentation(randaugment=2), seed=0, epoch=1, batch=7) for _ in range(2)]
    >>> again[0].shape, torch.equal(*again)
    (torch.Size([2, 3, 8, 8]), True)
    """
    (found,) = augment_all(images, augmentation, [len(images)], seed=seed, epoch=epoch, first=batch)
    return found


def augment_all(
    images: Tensor, augmentation: Augmentation, sizes: Sequence[int], *, seed: int, epoch: int, first: int
) -> tuple[Tensor, ...]:
    """Augment batches of these sizes that lie one after another, from number `first` on: the same as one by one, in fewer calls.

    >>> images = torch.arange(4 * 1 * 8 * 8, dtype=torch.uint8).reshape(4, 1, 8, 8)
    >>> two = augment_all(images, Augmentation(randaugment=2), [3, 1], seed=0, epoch=1, first=7)
    >>> torch.equal(two[1], augment(images[3:], Augmentation(randaugment=2), seed=0, epoch=1, batch=8))
    True
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected images (n, 1 or 3, height, width) of uint8, got {tuple(images.shape)} of {images.dtype}")
    drawn = [draw(augmentation, n, seed, epoch, batch) for batch, n in enumerate(sizes, start=first)]
    draws = Draws(*(np.concatenate([getattr(one, name) for one in drawn], axis=-1) for name in Draws.__slots__))
    result = crop_and_flip(images, augmentation.crop_padding, draws)
    for operations, negative in zip(draws.operations, draws.negative, strict=True):
        result = _one_round(result, operations, negative, augmentation.magnitude)
    return torch.split(result, list(sizes))


def crop_and_flip(images: Tensor, padding: int, draws: Draws) -> Tensor:
    """Cut each image out of its padded self at its corner, mirrored where it was drawn so: one gather for the batch."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, [padding] * 4) if padding else images
    down, right, flips = (torch.from_numpy(part).to(images.device) for part in (*draws.corners, draws.flips))
    rows = down[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), width)
    columns = right[:, None] + torch.where(flips[:, None], width - 1 - columns, columns)
    pixels = (rows[:, :, None] * padded.shape[-1] + columns[:, None, :]).flatten(1)
    cut = padded.flatten(2).gather(2, pixels[:, None].expand(-1, images.shape[1], -1))
    return cut.reshape(images.shape)


@dataclass(frozen=True, slots=True)
class Operation:
    """One of RandAugment's: `apply(images, strength)`, strength growing from `weakest` to `strongest` over the magnitudes."""

    name: str
    apply: Callable[[Tensor, float], Tensor]
    weakest: float = 0.0
    strongest: float = 0.0
    signed: bool = False

    def strength(self, magnitude: int, size: tuple[int, int], *, negative: bool) -> float:
        """Strength at `magnitude` for images of this (height, width), negated if the operation has a sign."""
        side = {"TranslateX": size[1], "TranslateY": size[0]}.get(self.name, 1)
        found = float(torch.linspace(self.weakest, self.strongest * side, BINS)[magnitude])
        return -found if negative and self.signed else found


def _affine(images: Tensor, *, shift: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    degrees = [math.degrees(math.atan(part)) for part in shear]
    corner = [0.0, 0.0] if any(shear) else None  # shearing holds the corner still, as the first implementations did
    moved = functional.affine(images, angle=0.0, translate=list(shift), scale=1.0, shear=degrees, center=corner)
    return cast(Tensor, moved)  # torchvision has no types


def _posterize(images: Tensor, lost: float) -> Tensor:
    return cast(Tensor, functional.posterize(images, bits=8 - round(lost)))


#: Of the image's width or height.
_SHIFT = 150.0 / 331.0
#: Torchvision's list and ranges for RandAugment; the order enters stored numbers.
OPERATIONS = (
    Operation("Identity", lambda images, s: images),
    Operation("ShearX", lambda images, s: _affine(images, shear=(s, 0.0)), 0.0, 0.3, signed=True),
    Operation("ShearY", lambda images, s: _affine(images, shear=(0.0, s)), 0.0, 0.3, signed=True),
    Operation("TranslateX", lambda images, s: _affine(images, shift=(int(s), 0)), 0.0, _SHIFT, signed=True),
    Operation("TranslateY", lambda images, s: _affine(images, shift=(0, int(s))), 0.0, _SHIFT, signed=True),
    Operation("Rotate", lambda images, s: functional.rotate(images, angle=s), 0.0, 30.0, signed=True),
    Operation("Brightness", lambda images, s: functional.adjust_brightness(images, 1.0 + s), 0.0, 0.9, signed=True),
    Operation("Color", lambda images, s: functional.adjust_saturation(images, 1.0 + s), 0.0, 0.9, signed=True),
    Operation("Contrast", lambda images, s: functional.adjust_contrast(images, 1.0 + s), 0.0, 0.9, signed=True),
    Operation("Sharpness", lambda images, s: functional.adjust_sharpness(images, 1.0 + s), 0.0, 0.9, signed=True),
    Operation("Posterize", _posterize, 0.0, 4.0),
    Operation("Solarize", lambda images, s: functional.solarize(images, threshold=255.0 * s), 1.0, 0.0),
    Operation("AutoContrast", lambda images, s: functional.autocontrast(images)),
    Operation("Equalize", lambda images, s: functional.equalize(images)),
)


def _one_round(images: Tensor, operations: NDArray[np.int64], negative: NDArray[np.bool_], magnitude: int) -> Tensor:
    """Sort the images by what they drew, apply each operation to its run of them, sort back: gathers only."""
    signed = np.array([operation.signed for operation in OPERATIONS])
    codes = 2 * operations + (negative & signed[operations])
    order = np.argsort(codes, kind="stable")
    drawn, counts = np.unique(codes, return_counts=True)
    runs = images[torch.from_numpy(order).to(images.device)].split(counts.tolist())
    changed = []
    for code, run in zip(drawn.tolist(), runs, strict=True):
        operation = OPERATIONS[code // 2]
        size = (images.shape[-2], images.shape[-1])
        strength = operation.strength(magnitude, size, negative=bool(code % 2))
        changed.append(operation.apply(run, strength))
    return torch.cat(changed)[torch.from_numpy(np.argsort(order)).to(images.device)]
