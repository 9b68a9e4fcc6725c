"""Mixing of training images with each other, a batch at a time: mixup and CutMix. On the batch's device, and repeatable.

What happens to a batch depends on (seed, epoch) and its place in the epoch, and on nothing that ran before; the draws are
numpy's, so they are the same on every device. Each image meets the one at its place from the end of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sics_cli.settings.seeding import Stream


@dataclass(frozen=True, slots=True)
class Mixing:
    """The share of itself that an image keeps is drawn from Beta(α, α) once a batch; two ways, at even odds where both have an α.

    `mixup` (Zhang et al. 2018) blends two images. `cutmix` (Yun et al. 2019) pastes a box of the other's area in, centred at a
    random pixel and cut at the border; the share is then that of the area which is left.
    """

    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True, slots=True)
class Mix:
    """What is done to one batch: images keep `share` of themselves; where there is a `box`, the rest lies in it.

    A box is (top, bottom, left, right).
    """

    share: float
    box: tuple[int, int, int, int] | None = None


def draw_mixes(mixing: Mixing, batches: int, size: tuple[int, int], *, seed: int, epoch: int) -> list[Mix]:
    """Draw for all batches of epoch number `epoch`, of images of this (height, width).

    Which batches are blended, and where boxes have their centres, does not change with an α.

    >>> [mix.box is not None for mix in draw_mixes(Mixing(0.8, 1.0), 6, (32, 32), seed=0, epoch=0)]
    [True, False, False, True, False, False]
    """
    source = np.random.default_rng(np.random.SeedSequence([seed, int(Stream.MIXING), epoch]))
    ways, rows, columns = source.random((3, batches))
    blends, pastes = (source.beta(alpha, alpha, batches).tolist() if alpha else [] for alpha in (mixing.mixup, mixing.cutmix))
    height, width = size
    found = []
    for batch in range(batches):
        if pastes and (not blends or ways[batch] < 0.5):
            found.append(pasted(pastes[batch], size, (int(rows[batch] * height), int(columns[batch] * width))))
        else:
            found.append(Mix(blends[batch]))
    return found


def pasted(share: float, size: tuple[int, int], centre: tuple[int, int]) -> Mix:
    """CutMix of images of this (height, width): a box of 1 - `share` of the area about a pixel, as far as it lies inside.

    >>> pasted(0.75, (8, 8), (4, 4)), pasted(0.75, (8, 8), (0, 7))
    (Mix(share=0.75, box=(2, 6, 2, 6)), Mix(share=0.90625, box=(0, 2, 5, 8)))
    """
    edges = []
    for length, middle in zip(size, centre, strict=True):
        side = int(length * math.sqrt(1 - share))
        begin = middle - side // 2
        edges += [max(0, begin), min(length, begin + side)]
    top, bottom, left, right = edges
    return Mix(1 - (bottom - top) * (right - left) / (size[0] * size[1]), (top, bottom, left, right))


def mixed(images: Tensor, mix: Mix) -> Tensor:
    """Mix a batch (n, channels, height, width), which is left as it is, with itself from the end.

    >>> mixed(torch.tensor([0.0, 4.0]).reshape(2, 1, 1, 1), Mix(0.75)).flatten().tolist()
    [1.0, 3.0]
    """
    others = images.flip(0)
    if mix.box is None:
        return torch.lerp(others, images, mix.share)
    top, bottom, left, right = mix.box
    result = images.clone()
    result[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return result
