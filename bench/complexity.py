"""What the meter of complexity recovers where: every built-in scorer, and scorers of other shapes, on several trained networks.

The networks are a perceptron and a convolutional network trained here on the digits, the vision transformer of the default
experiment, or the dense networks of runs.

    python bench/complexity.py [--seeds 0,1] [--networks mlp,cnn,vit] [--run RUN --data DATA] [--built-in]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sics_cli.results.scorer_meter import run_networks
from sics_cli.settings.config import experiment_from_mapping
from sics_cli.settings.presets import PRESETS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.datasets import load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import train
from sics_plugin import Saliency, Scorer, Units, list_scorers
from sics_plugin.complexity.meter import measure
from sics_plugin.complexity.result import Complexity
from sics_plugin.scorers.coordinate import coordinate, percentile, ranks

KNOWN = {
    "magnitude": "plateau", "power": "plateau", "log": "plateau", "bump": "smooth", "smooth_chaos": "smooth",
    "smooth_mouse": "smooth", "chaos": "raw", "wiggle": "raw", "fake": "fake", "information": "monotone",
    "gradient": "monotone", "random": "noise", "adaptive": "varies", "orbit_peak": "monotone", "orbit_variance": "smooth",
    "orbit_range": "monotone", "orbit_mean": "raw", "smooth_orbit_peak": "monotone", "smooth_orbit_variance": "monotone",
    "smooth_orbit_range": "monotone", "smooth_orbit_mean": "smooth", "sine": "smooth", "weierstrass": "raw", "spline": "smooth",
    "magnitude_power": "plateau", "rank_indicator": "varies",
}  # fmt: skip


#: Without a saliency α is 0.05, at which the slope of ρ outweighs the bump of `fake`, and `adaptive` is magnitude (design §3).
DATA_FREE = {"fake": "plateau", "adaptive": "plateau", "rank_indicator": "plateau"}


class Invented(Scorer):
    """A scorer for this test alone, not registered."""

    summary, kappa = "", 0

    def __init__(self, name: str, score: Callable[[Tensor, Tensor, Units, float], Tensor]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_score", score)

    def score(self, units: Units, sparsity: float) -> Tensor:
        rank = ranks(units.magnitude)
        z = coordinate(units.coordinate_saliency(), rank)
        return self._score(percentile(rank), z, units, sparsity)  # type: ignore[attr-defined]


def noise(n: int) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(11), dtype=torch.float64)


def wave(x: Tensor, cycles: float) -> Tensor:
    return torch.sin(2 * torch.pi * cycles * x)


#: name, score of (ρ, z, units, S), the kind it should be called
INVENTED: tuple[tuple[str, Callable[[Tensor, Tensor, Units, float], Tensor], str], ...] = (
    ("steps of magnitude", lambda r, z, u, s: (r * 20).floor(), "plateau"),
    ("rounded magnitude", lambda r, z, u, s: u.magnitude.bfloat16().double(), "plateau"),
    ("inverse magnitude", lambda r, z, u, s: -r, "fake"),
    ("12 cycles of ρ", lambda r, z, u, s: r + 0.15 * wave(r, 12), "fake"),
    ("40 cycles of ρ", lambda r, z, u, s: r + 0.15 * wave(r, 40), "fake"),
    ("ρ and heavy noise", lambda r, z, u, s: r + 0.5 * noise(r.numel()), "noise"),
    ("ρ and little noise", lambda r, z, u, s: r + 0.05 * noise(r.numel()), "noise"),
    ("−z", lambda r, z, u, s: r - 0.5 * z, "monotone"),
    ("z alone", lambda r, z, u, s: z, "monotone"),
    ("step in z", lambda r, z, u, s: r + 0.3 * (z > 0.5).double(), "monotone"),
    ("ρ·log c", lambda r, z, u, s: r * (u.coordinate_saliency().double() + 1e-12).log().sub(-40), "monotone"),
    ("|z − ½|", lambda r, z, u, s: r + 0.5 * (z - 0.5).abs(), "smooth"),
    ("3 cycles", lambda r, z, u, s: r + 0.15 * wave(z, 3), "smooth"),
    ("8 cycles", lambda r, z, u, s: r + 0.15 * wave(z, 8), "smooth"),
    ("3 cycles, weak", lambda r, z, u, s: r + 0.02 * wave(z, 3), "smooth"),
    ("3 cycles, noise", lambda r, z, u, s: r + 0.15 * wave(z, 3) + 0.05 * noise(r.numel()), "smooth"),
    ("3 cycles along ρ", lambda r, z, u, s: r + 0.15 * torch.sin(2 * torch.pi * (3 * z + 3 * r)), "smooth"),
    ("12 cycles", lambda r, z, u, s: r + 0.15 * wave(z, 12), "raw"),
    ("100 cycles", lambda r, z, u, s: r + 0.15 * wave(z, 100), "raw"),
    ("40 cycles, weak", lambda r, z, u, s: r + 0.02 * wave(z, 40), "raw"),
    ("box in z", lambda r, z, u, s: r + 0.3 * ((z > 0.4) & (z < 0.6)).double(), "raw"),
    ("a trace of 40 cycles", lambda r, z, u, s: r + 0.0005 * wave(z, 40), "plateau"),
    ("place", lambda r, z, u, s: r + 0.5 * torch.linspace(0, 1, r.numel(), dtype=torch.float64), "other"),
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    name: str
    model: nn.Module
    saliency: Saliency | None


def _digits(seed: int) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
    experiment = experiment_from_mapping(PRESETS["digits"])
    split = load_split(experiment.images.data)
    examples = Examples(split.train, torch.device("cpu"))
    indices = calibration_batches(seed, len(examples), 40, 64)
    return (experiment, split), [examples.at(torch.from_numpy(batch)) for batch in indices]


def _fit(model: nn.Module, seed: int, epochs: int) -> Saliency:
    (_, split), batches = _digits(seed)
    examples = Examples(split.train, torch.device("cpu"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(examples), generator=generator).split(64):
            images, labels = examples.at(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return Saliency(model.eval(), batches)


def mlp(seed: int) -> Network:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    return Network(f"MLP, seed {seed}", model, _fit(model, seed, 30))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def cnn(seed: int) -> Network:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), Block(32), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), Block(64),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return Network(f"residual CNN, seed {seed}", model, _fit(model, seed, 10))


def vit(seed: int) -> Network:
    (experiment, split), batches = _digits(seed)
    model = build_model(experiment.images.model, seed)
    train(model, replace(experiment.images.training, epochs=20), split, seed, torch.device("cpu"))
    return Network(f"digits ViT, 20 epochs, seed {seed}", model, Saliency(model.eval(), batches))


def networks(args: argparse.Namespace) -> Iterator[Network]:
    for make in (make for name in args.networks.split(",") if name for make in [{"mlp": mlp, "cnn": cnn, "vit": vit}[name]]):
        for seed in args.seeds:
            yield make(seed)
    for run in args.run:
        for found in run_networks(run, args.seeds, data=args.data):
            yield Network(f"run {found.experiment}, seed {found.seed}", found.model, found.saliency)


def cases(invented: bool, data_free: bool) -> Iterator[tuple[str, str | Scorer, str]]:
    known = KNOWN | DATA_FREE if data_free else KNOWN
    for name in list_scorers():
        if name in known:
            yield name, name, known[name]
    if invented:  # their saliency may be any
        for name, score, kind in INVENTED:
            yield name, Invented(name, score), kind


def line(found: Complexity, known: str) -> str:
    row = found.to_row()

    def shown(name: str) -> str:
        return "–" if row[name] is None else f"{row[name]:.3f}"

    kinds = found.kind if found.kind != "varies" else ", ".join(f"{one.sparsity:g} {one.kind}" for one in found.at)
    wrong = "" if found.kind == known else f" (known: {known})"
    numbers = " | ".join(
        shown(n) for n in ("jaccard", "spearman", "saliency", "bent", "unexplained", "not_monotone", "above_ten_cycles")
    )
    kappa = "–" if found.kappa is None else found.kappa
    return f"| {found.name} | {kinds}{wrong} | {kappa} | {100 * found.confidence:.0f} % | {numbers} |"


HEAD = (
    "| scorer | measured | κ | draws | Jaccard | Spearman | saliency | bent | unexplained | not monotone | above 10 cycles |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--networks", default="mlp,cnn,vit")
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--data", help="what the run was made on, where it is a folder of images")
    parser.add_argument("--saliency", choices=("gradient", "activation", "neighbourhood"), default="gradient")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--built-in", action="store_true", help="leave the invented scorers out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    counts = []
    for network in networks(args):
        right, total, missed = 0, 0, []
        saliency = network.saliency if args.saliency != "neighbourhood" else None
        units = 0
        print(f"\n{network.name}\n{HEAD}", flush=True)
        for name, scorer, known in cases(not args.built_in, saliency is None):
            if name == "gradient" and saliency is None:
                continue
            found = measure(scorer, network.model, saliency, draws=args.draws)
            print(line(found, known), flush=True)
            total, right, units = total + 1, right + (found.kind == known), found.n
            missed += [] if found.kind == known else [f"{name}: {found.kind}, known {known}"]
        counts.append(f"| {network.name} | {units} | {right} of {total} | {'; '.join(missed) or '–'} |")
    table = "| network | units | as known | others |\n|---|---|---|---|\n" + "\n".join(counts)
    print("\n" + table)


if __name__ == "__main__":
    main()
