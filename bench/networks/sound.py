"""Sounds made by formula, with what is true of them: tones of a known pitch, and voices of a known speaker and timing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RATE = 16_000
#: Formants of cardinal vowels and a few between, in Hz (after Peterson & Barney 1952), of an adult vocal tract.
VOWELS = torch.tensor(
    [
        [270.0, 2290.0, 3010.0, 3500.0],
        [390.0, 1990.0, 2550.0, 3500.0],
        [530.0, 1840.0, 2480.0, 3500.0],
        [660.0, 1720.0, 2410.0, 3500.0],
        [730.0, 1090.0, 2440.0, 3500.0],
        [570.0, 840.0, 2410.0, 3500.0],
        [440.0, 1020.0, 2240.0, 3500.0],
        [300.0, 870.0, 2240.0, 3500.0],
        [490.0, 1350.0, 1690.0, 3300.0],
    ]
)
BANDWIDTHS = torch.tensor([80.0, 100.0, 140.0, 200.0])


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice: its pitch in Hz, a factor for each formant, breath, and how softly its glottis closes, both from 0 to 1."""

    pitch: float
    formants: Tensor
    breath: float
    soft: float

    @classmethod
    def drawn(cls, draw: torch.Generator) -> Speaker:
        """Pitch from 85 to 280 Hz, a vocal tract from 0.8 to 1.15 of an adult's, and up to 12 % of its own in each formant."""
        pitch, tract, breath, soft = torch.rand(4, generator=draw).tolist()
        own = 1 + 0.12 * (2 * torch.rand(4, generator=draw) - 1)
        return cls(85.0 * (280 / 85) ** pitch, own / (0.8 + 0.35 * tract), breath, soft)


def uniform(draw: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers of an interval."""
    return low + (high - low) * torch.rand(*shape, generator=draw)


def tones(draw: torch.Generator, n: int, samples: int, low: float, high: float, noise: float) -> tuple[Tensor, Tensor]:
    """n harmonic tones of `samples` at 16 kHz, and their pitches in Hz, log-uniform from `low` to `high`.

    Twelve harmonics below the Nyquist frequency, whose amplitudes fall as one over their number, up to 6 dB more or less, with
    random phases; and white noise of up to `noise` times the tone's power.
    """
    pitch = torch.exp2(uniform(draw, math.log2(low), math.log2(high), n))
    number = torch.arange(1, 13.0)
    amplitude = torch.exp2(uniform(draw, -1.0, 1.0, n, 12)) / number * (pitch[:, None] * number < RATE / 2)
    phase = uniform(draw, 0.0, 2 * math.pi, n, 12)
    angle = 2 * math.pi * pitch[:, None, None] * number[:, None] * torch.arange(samples) / RATE + phase[..., None]
    wave = (amplitude[..., None] * angle.sin()).sum(1)
    wave = wave / wave.std(1, keepdim=True)
    loud = uniform(draw, 0.0, noise, n, 1).sqrt()
    return 0.1 * (wave + loud * torch.randn(n, samples, generator=draw)), pitch


def voice(draw: torch.Generator, seconds: float, speaker: Speaker, *, pauses: bool = False) -> tuple[Tensor, Tensor]:
    """Speech-like sound of one speaker at 16 kHz, and for each sample whether somebody speaks.

    Syllables of 120 to 300 ms: a glottal pulse train with a moving pitch, through four formants that glide from vowel to vowel,
    every other one after a burst of noise. With `pauses`, silences of 0.4 to 1.2 s after every few syllables.
    """
    samples = round(seconds * RATE)
    wave, spoken = torch.zeros(samples), torch.zeros(samples)
    at = round(float(uniform(draw, 0.0, 0.6, 1)) * RATE) if pauses else 0
    vowel, left = int(torch.randint(len(VOWELS), (1,), generator=draw)), 0
    phase = 0.0
    while at < samples:
        if left == 0:
            left = int(torch.randint(3, 8, (1,), generator=draw))
            if pauses and at:
                at += round(float(uniform(draw, 0.4, 1.2, 1)) * RATE)
        left -= 1
        length = round(float(uniform(draw, 0.12, 0.3, 1)) * RATE)
        following = int(torch.randint(len(VOWELS), (1,), generator=draw))
        sound, phase = _syllable(draw, length, vowel, following, speaker, phase)
        vowel, end = following, min(at + length, samples)
        if at < samples:
            wave[at:end] += sound[: end - at]
            spoken[at:end] = 1
        at += length
    return 0.1 * wave / wave.square().mean().sqrt().clamp(min=1e-4), spoken


def _syllable(draw: torch.Generator, length: int, begin: int, end: int, speaker: Speaker, phase: float) -> tuple[Tensor, float]:
    """One syllable, and the phase of its glottis at the end."""
    time = torch.linspace(0, 1, length)
    bend = uniform(draw, -0.15, 0.15, 2)
    pitch = speaker.pitch * torch.exp2(bend[0] * time + bend[1] * (math.pi * time).sin())
    cycles = phase + (pitch / RATE).cumsum(0)
    fraction = cycles - cycles.floor()
    # Rosenberg's pulse, opening 40 % and closing 16 % of a cycle, differentiated.
    opening, closing = 0.4, 0.16
    pulse = torch.where(
        fraction < opening,
        0.5 * (1 - (math.pi * fraction / opening).cos()),
        torch.where(fraction < opening + closing, (math.pi / 2 * (fraction - opening) / closing).cos(), torch.zeros(())),
    )
    source = (1 - speaker.soft) * torch.diff(pulse, prepend=pulse[:1]) + 0.02 * speaker.soft * pulse
    source = source + 0.02 * speaker.breath * torch.randn(length, generator=draw)
    glide = torch.sigmoid(8 * (time - 0.4))[:, None]
    formants = (VOWELS[begin] * (1 - glide) + VOWELS[end] * glide) * speaker.formants
    sound = _filtered(source, formants)
    envelope = torch.sin(math.pi * time).clamp(min=0) ** 0.5
    sound = envelope * sound / sound.std().clamp(min=1e-6)
    if float(torch.rand(1, generator=draw)) < 0.5:
        burst = min(round(0.06 * RATE), length)
        hiss = torch.randn(burst, generator=draw)
        sound[:burst] += 0.5 * torch.hann_window(burst) * torch.diff(hiss, prepend=hiss[:1])
    return sound, float(cycles[-1] % 1)


def _filtered(source: Tensor, formants: Tensor) -> Tensor:
    """Through resonances that move: frames of 20 ms with a spectrum each, overlapping by half."""
    hop, size = 160, 512
    padded = torch.nn.functional.pad(source, (size // 2, size))
    window = torch.hann_window(2 * hop)
    frames = padded.unfold(0, 2 * hop, hop) * window
    spectrum = torch.fft.rfft(frames, 2 * size)
    frequency = torch.fft.rfftfreq(2 * size, 1 / RATE)
    at = (torch.arange(len(frames)) * hop - size // 2 + hop).clamp(0, len(source) - 1)
    centre, width = formants[at][:, :, None], BANDWIDTHS[:, None]
    s = 2j * math.pi * frequency
    poles = 2 * math.pi * torch.complex(-width / 2 * torch.ones_like(centre), centre)
    response = ((poles * poles.conj()) / ((s - poles) * (s - poles.conj()))).prod(1)
    shaped = torch.fft.irfft(spectrum * response, 2 * size)
    total = (len(shaped) - 1) * hop + 2 * size
    out = torch.nn.functional.fold(shaped.T[None], (1, total), (1, 2 * size), stride=(1, hop)).flatten()
    return out[size // 2 : size // 2 + len(source)]


def mel(wave: Tensor, *, size: int, hop: int, bands: int, high: float, power: int, centre: bool) -> Tensor:
    """Mel spectrogram (…, frames, bands) in Slaney's scale and norm, as librosa has it; of amplitudes or of their squares."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(size // 2 + 1, bands, 0.0, high, RATE, norm="slaney", mel_scale="slaney")
    padding = "constant" if centre else "reflect"
    spectrum = torch.stft(wave, size, hop, window=torch.hann_window(size), center=centre, pad_mode=padding, return_complex=True)
    return spectrum.abs().pow(power).transpose(-1, -2) @ torch.as_tensor(filters, dtype=torch.float32)
