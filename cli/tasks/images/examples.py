"""Images and labels on a device, standardised batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sics_cli.tasks.images.datasets import Part

Tensors = tuple[torch.Tensor, torch.Tensor]
CPU = torch.device("cpu")


def standardise(images: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(x - mean)/scale per channel, float32; `mean` and `scale` have shape (channels,), in pixel values 0 to 255."""
    return (images.to(torch.float32) - mean[:, None, None]).div_(scale[:, None, None])


class Examples:
    """Images and labels of a part on a device, standardised when they are asked for.

    Unpacks into all images and labels. `pixels` are the images as they are kept: float32, or uint8 with `mean` and `scale`.
    """

    def __init__(self, part: Part, device: torch.device = CPU) -> None:
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
