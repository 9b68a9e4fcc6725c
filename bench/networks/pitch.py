"""Pitch of synthesised tones, true to the formula: right is within 50 cents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from networks import sound
from networks.shipped import RealTask, module, weights

#: Right is within half a semitone.
CENTS = 50.0


def cents_of(hertz: Tensor) -> Tensor:
    """Cents above 10 Hz."""
    return 1200 * torch.log2(hertz / 10)


class CrepeNet(nn.Module):
    """CREPE (Kim et al. 2018) with torchcrepe's names, up to the logits."""

    def __init__(self, capacity: str) -> None:
        super().__init__()
        width = {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}[capacity]
        before = (1, *width[:-1])
        for i, (inner, outer) in enumerate(zip(before, width, strict=True), 1):
            kernel, stride = (512, 4) if i == 1 else (64, 1)
            setattr(self, f"conv{i}", nn.Conv2d(inner, outer, (kernel, 1), (stride, 1)))
            setattr(self, f"conv{i}_BN", nn.BatchNorm2d(outer, eps=0.0010000000474974513, momentum=0.0))
        self.classifier = nn.Linear(4 * width[-1], 360)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = nn.functional.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = getattr(self, f"conv{i}_BN")(torch.relu(getattr(self, f"conv{i}")(x)))
            x = nn.functional.max_pool2d(x, (2, 1), (2, 1))
        return self.classifier(x.permute(0, 2, 1, 3).flatten(1))


class Pitch(RealTask):
    """Harmonic tones with noise; the network's classes are pitches, blurred by 25 cents in its loss as in training."""

    samples, low, high, noise = 1024, 60.0, 900.0, 0.5
    classes: Any

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        wave, pitch = sound.tones(draw, n, self.samples, self.low, self.high, self.noise)
        return self.prepared(wave), cents_of(pitch)

    def prepared(self, wave: Tensor) -> Tensor:
        raise NotImplementedError

    def criterion(self, output: Tensor, target: Tensor) -> Tensor:
        away = self.classes.to(target.device) - target.reshape(-1, *[1] * (output.ndim - 1))
        blurred = torch.exp(-away.square() / (2 * 25.0**2)).expand_as(output)
        return nn.functional.binary_cross_entropy_with_logits(output, blurred)

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean of nine classes around the largest, weighted by their probabilities."""
        best = output.argmax(-1, keepdim=True)
        near = (best + torch.arange(-4, 5, device=output.device)).clamp(0, output.shape[-1] - 1)
        weight = output.sigmoid().gather(-1, near) + 1e-9
        cents = (weight * self.classes.to(output.device)[near]).sum(-1) / weight.sum(-1)
        return (cents - target.reshape(-1, *[1] * (cents.ndim - 1))).abs() <= CENTS


class Crepe(Pitch):
    """torchcrepe on single frames of 64 ms."""

    classes = 20.0 * torch.arange(360) + 1997.3794084376191

    def __init__(self, capacity: str = "tiny", batches: int = 10) -> None:
        super().__init__(batches)
        self.capacity = capacity
        if capacity == "full":
            self.evaluated, self.at_a_time, self.batch = 64, 16, 8

    def load(self) -> nn.Module:
        net = CrepeNet(self.capacity)
        net.load_state_dict(weights("torchcrepe", f"assets/{self.capacity}.pth"))
        return net

    def prepared(self, wave: Tensor) -> Tensor:
        wave = wave - wave.mean(1, keepdim=True)
        return wave / wave.std(1, keepdim=True).clamp(min=1e-10)


class CrepeFull(Crepe):
    """The same at its full capacity, 22 million weights."""

    def __init__(self, batches: int = 10) -> None:
        super().__init__("full", batches)


class Fcpe(Pitch):
    """FCPE, a conformer without attention, on half seconds of a tone: the share of frames but five at both ends."""

    samples, batch, evaluated, at_a_time = 8000, 4, 32, 8
    edge = 5
    lowest, highest = 32.7, 1975.5

    def load(self) -> nn.Module:
        kept = weights("torchfcpe", "assets/fcpe_c_v001.pt")
        facts, mels = kept["config_dict"]["model"], kept["config_dict"]["mel"]
        options = {name: facts[name] for name in ("out_dims", "hidden_dims", "n_layers", "n_heads", "use_fa_norm", "conv_only")}
        net = module("torchfcpe", "models").CFNaiveMelPE(mels["num_mels"], **options, f0_min=self.lowest, f0_max=self.highest)
        net.load_state_dict(kept["model"])
        torch.nn.utils.parametrize.remove_parametrizations(net.output_proj, "weight")
        return FrameLogits(net)

    @property
    def classes(self) -> Tensor:
        """Cents of each class."""
        low, high = cents_of(torch.tensor([self.lowest, self.highest])).tolist()
        return torch.linspace(low, high, 360)

    def prepared(self, wave: Tensor) -> Tensor:
        padded = nn.functional.pad(wave[:, None], (432, 432), mode="reflect")[:, 0]
        mels = sound.mel(padded, size=1024, hop=160, bands=128, high=8000.0, power=1, centre=False)
        return mels.clamp(min=1e-5).log()

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        return super().right(output, target)[:, self.edge : -self.edge].float().mean(1)


class FrameLogits(nn.Module):
    """FCPE up to its logits, (clips, frames, classes)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, mels: Tensor) -> Tensor:
        x = self.net.input_stack(mels.transpose(1, 2)).transpose(1, 2)
        return self.net.output_proj(self.net.norm(self.net.net(x)))
