"""Pictures that are made by formula, with what is true of them: stars under cosmic rays, and lines of text."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from networks.shipped import RealTask, folder, module, weights
from sics_plugin import prunable_parameters


class CosmicRays(RealTask):
    """deepCR: which pixels of a Hubble image of the ACS camera a cosmic ray hit.

    Images of stars and of one galaxy in sky noise, with rays as straight sharp tracks, all by formula. Of each image as many
    pixels of rays are asked as of the brightest others; a result is the share of them on the right side of one half.
    """

    batch, evaluated, at_a_time, size, asked = 4, 48, 12, 64, 16

    def load(self) -> nn.Module:
        net = RayNet(module("deepCR", "parts_batchnorm"))
        kept = weights("learned_models", "mask/ACS-WFC.pth")
        net.load_state_dict({name.removeprefix("module."): value for name, value in kept.items()})
        return net

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        """Images in electrons; 1 at rays, 0 at the brightest other pixels, −1 where nothing is asked."""
        images, labels = zip(*(self._image(draw) for _ in range(n)), strict=True)
        return torch.stack(images)[:, None], torch.stack(labels)

    def _image(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        size = self.size
        row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        image = torch.full((size, size), 60.0)
        for _ in range(12):
            y, x, bright = torch.rand(3, generator=draw).tolist()
            away = (row - size * y).square() + (column - size * x).square()
            # A point source as ACS sees it: a Moffat profile about two pixels wide.
            image += 10 ** (1.8 + 2 * bright) / (1 + away / 1.6) ** 2.5
        y, x, wide, bright = torch.rand(4, generator=draw).tolist()
        away = ((row - size * y).square() + 2 * (column - size * x).square()).sqrt()
        image += 10 ** (1.5 + bright) * (-away / (3 + 6 * wide)).exp()
        image = image + image.sqrt() * torch.randn(size, size, generator=draw) + 5 * torch.randn(size, size, generator=draw)
        rays = torch.zeros(size, size)
        for _ in range(6):
            y, x, angle, length, bright = torch.rand(5, generator=draw).tolist()
            steps = torch.arange(0, 1 + 12 * length**2, 0.25)
            turned = torch.tensor(2 * torch.pi * angle)
            rows, columns = (size * y + steps * turned.sin()).long(), (size * x + steps * turned.cos()).long()
            inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
            rays[rows[inside], columns[inside]] = 10 ** (2.0 + 1.5 * bright)
        hit = rays > 0
        label = torch.full((size, size), -1.0)
        some = torch.nonzero(hit.flatten()).flatten()
        some = some[torch.randperm(len(some), generator=draw)[: self.asked]]
        bright_others = torch.where(hit, torch.zeros(()), image).flatten().topk(4 * len(some)).indices
        others = bright_others[torch.randperm(len(bright_others), generator=draw)[: len(some)]]
        label.view(-1)[some], label.view(-1)[others] = 1.0, 0.0
        return image + rays, label

    def criterion(self, output: Tensor, target: Tensor) -> Tensor:
        asked = (target >= 0).float()
        each = nn.functional.binary_cross_entropy_with_logits(output, target.clamp(min=0), reduction="none")
        return (each * asked).sum() / asked.sum()

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        asked = target >= 0
        return (((output > 0) == (target > 0.5)) & asked).sum((1, 2)) / asked.sum((1, 2))


class RayNet(nn.Module):
    """deepCR's U-Net (Zhang & Bloom 2020) of its own parts, up to the logits of each pixel."""

    def __init__(self, parts: Any) -> None:
        super().__init__()
        self.inc = parts.inconv(1, 32)
        self.down1 = parts.down(32, 64)
        self.up8 = parts.up(64, 32)
        self.outc = parts.outconv(32, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.inc(images)
        return self.outc(self.up8(self.down1(x), x))[:, 0]


class TextLines(RealTask):
    """PP-OCR's MobileNetV3: whether a line of text stands on its feet or on its head, drawn in the fonts of matplotlib."""

    batch, evaluated, at_a_time = 16, 160, 40
    fonts = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:()-"

    def load(self) -> nn.Module:
        import onnx
        from onnx2torch import convert

        model = onnx.load(folder("rapidocr_onnxruntime") / "models" / "ch_ppocr_mobile_v2.0_cls_infer.onnx")
        # Its weights are nodes that give a constant; the converter reads layers from initialisers.
        constants = [node for node in model.graph.node if node.op_type == "Constant"]
        for node in constants:
            value = model.graph.initializer.add()
            value.CopyFrom(node.attribute[0].t)
            value.name = node.output[0]
            model.graph.node.remove(node)
        return LogitsOf(convert(model))

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """All convolutions but depthwise ones; the classifier is a product with a constant, which is no layer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that they are left out is what is said above
            return prunable_parameters(network, head=())

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        """Lines of 48×192, from −1 to 1; 1 is on its head."""
        turned = torch.randint(2, (n,), generator=draw)
        lines = torch.stack([self._line(draw) for _ in range(n)])
        return torch.where(turned[:, None, None, None] == 1, lines.flip((2, 3)), lines), turned

    def _line(self, draw: torch.Generator) -> Tensor:
        import matplotlib
        import numpy as np
        from PIL import Image, ImageDraw, ImageFont

        def one_of(what: int) -> int:
            return int(torch.randint(what, (1,), generator=draw))

        words = ["".join(self.letters[one_of(len(self.letters))] for _ in range(3 + one_of(7))) for _ in range(3)]
        place = f"{matplotlib.get_data_path()}/fonts/ttf/{self.fonts[one_of(len(self.fonts))]}"
        image = Image.new("L", (192, 48), 150 + one_of(106))
        font = ImageFont.truetype(place, 18 + one_of(14))
        ImageDraw.Draw(image).text((2 + one_of(8), 4 + one_of(8)), " ".join(words), font=font, fill=one_of(100))
        drawn = torch.from_numpy(np.array(image)).float() + 12 * torch.randn(48, 192, generator=draw)
        return (drawn / 127.5 - 1).clamp(-1, 1).expand(3, -1, -1)


class LogitsOf(nn.Module):
    """A classifier that ends in probabilities, with their logarithms as its output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).clamp(min=1e-12).log()
