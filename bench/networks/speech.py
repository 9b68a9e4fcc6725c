"""Whether somebody speaks, and who: voices made by formula, so that timing and speaker are true by construction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from networks import sound
from networks.shipped import Contrast, OfLengthOne, RealTask, folder, weights


class SileroNet(nn.Module):
    """Silero VAD at 16 kHz, version 6: logits of shape (clips, frames) of waves of whole frames of 512.

    Its names, but that its LSTM cell, which is called frame by frame, is an LSTM over all frames of a clip.
    """

    frame, context = 512, 64

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, 128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, 1, 1)
        self.conv2 = nn.Conv1d(128, 64, 3, 2, 1)
        self.conv3 = nn.Conv1d(64, 64, 3, 2, 1)
        self.conv4 = nn.Conv1d(64, 128, 3, 1, 1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, wave: Tensor) -> Tensor:
        padded = nn.functional.pad(wave, (self.context, 0))
        frames = padded.unfold(1, self.context + self.frame, self.frame)
        clips, number, size = frames.shape
        x = nn.functional.pad(frames.reshape(-1, size), (0, 64), "reflect")
        real, imaginary = self.stft_conv(x[:, None]).split(129, 1)
        x = (real.square() + imaginary.square() + 1e-20).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = torch.relu(layer(x))
        hidden, _ = self.lstm(x.reshape(clips, number, 128))
        return self.final_conv(torch.relu(hidden).transpose(1, 2))[:, 0]


class Silero(RealTask):
    """Speech or not: the share of a clip's frames of 32 ms, of voices with pauses, in noise between 5 and 25 dB below them."""

    frames = 94
    batch, evaluated, at_a_time = 4, 48, 48

    def load(self) -> nn.Module:
        from safetensors.torch import load_file

        net = SileroNet()
        kept = load_file(folder("silero_vad") / "data" / "silero_vad_16k.safetensors")
        cell = "lstm_cell."
        net.load_state_dict(
            {f"lstm.{name.removeprefix(cell)}_l0" if name.startswith(cell) else name: value for name, value in kept.items()}
        )
        return net

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """All but the fixed Fourier transform in front and the head."""
        kept = ("conv1", "conv2", "conv3", "conv4")
        return [
            *((getattr(network, name), "weight") for name in kept),
            *((network.lstm, f"weight_{of}_l0") for of in ("ih", "hh")),
        ]

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        waves, spoken = [], []
        length = self.frames * SileroNet.frame
        for _ in range(n):
            wave, active = sound.voice(draw, length / sound.RATE, sound.Speaker.drawn(draw), pauses=True)
            loud = 0.1 * 10 ** (-float(sound.uniform(draw, 5.0, 25.0, 1)) / 20)
            waves.append(wave + loud * _coloured(draw, len(wave)))
            # A frame is speech where most of it is.
            spoken.append(active.reshape(self.frames, -1).mean(1) > 0.5)
        return torch.stack(waves), torch.stack(spoken).float()

    def criterion(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(output, target)

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output > 0) == (target > 0.5)).float().mean(1)


def _coloured(draw: torch.Generator, n: int) -> Tensor:
    """Noise of standard deviation 1 whose spectrum falls as a random power of the frequency, from white to 1/f."""
    spectrum = torch.fft.rfft(torch.randn(n, generator=draw))
    frequency = torch.arange(1, len(spectrum) + 1.0)
    noise = torch.fft.irfft(spectrum * frequency ** -float(torch.rand(1, generator=draw)), n)
    return noise / noise.std()


class VoiceNet(nn.Module):
    """The speaker encoder of Resemblyzer (Wan et al. 2018, GE2E) with its names, before its vectors are scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        return torch.relu(self.linear(self.lstm(mels)[1][0][-1]))


class Resemblyzer(Contrast):
    """Who speaks: the share of five utterances of 1.6 s of each of 48 speakers that find their speaker by the others."""

    evaluated, members, candidates = 48, 5, 48
    scale = 10.0

    def load(self) -> nn.Module:
        net, state = VoiceNet(), weights("resemblyzer", "pretrained.pt")["model_state"]
        net.load_state_dict({name: value for name, value in state.items() if not name.startswith("similarity")})
        return OfLengthOne(net, 2)

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        """The LSTM, and the projection after it, which is no head: it is trained with the rest and stays."""
        names = [f"weight_{kind}_l{i}" for i in range(3) for kind in ("ih", "hh")]
        return [*((network.net.lstm, name) for name in names), (network.net.linear, "weight")]

    def groups(self, draw: torch.Generator, n: int, members: int, part: int) -> Tensor:
        """Mel frames of utterances of each speaker: (n, members, 160, 40)."""
        mels = []
        for _ in range(n):
            who = sound.Speaker.drawn(draw)
            waves = torch.stack([sound.voice(draw, 1.62, who)[0] for _ in range(members)])
            waves = waves * 10 ** (-30 / 20) / waves.square().mean(1, keepdim=True).sqrt()
            mels.append(sound.mel(waves, size=400, hop=160, bands=40, high=8000.0, power=2, centre=True)[:, :160])
        return torch.stack(mels)
