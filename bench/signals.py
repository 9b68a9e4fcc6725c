"""What the signals of the published scorers cost to collect, beside the gradient saliency: one thread, medians of several rounds.

Recurrent networks are not among them: torch has no batched derivatives of them, so `fisher` and `sensitivity` take a pass a
sample there.
On the network and the calibration of `digits`, untrained: what a pass costs does not depend on the weights. With `--model` a timm
network on random images instead.

    python bench/signals.py [--rounds 3 --batches 40 --model resnet18 --image-size 64 --kinds fisher,grasp]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any, get_args

import torch
from torch import nn

from sics_cli.settings.config import experiment_from_mapping
from sics_cli.settings.presets import DIGITS
from sics_cli.tasks.networks.models import build_model
from sics_plugin import Saliency
from sics_plugin.saliency.kinds import SIGNALS, Kind


def network(name: str | None) -> nn.Module:
    if name is None:
        return build_model(experiment_from_mapping(DIGITS).images.model, 0).eval()
    import timm

    torch.manual_seed(0)
    made: nn.Module = timm.create_model(name, num_classes=10)
    return made.eval()


def seconds(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], kind: str) -> float:
    """Processor seconds, which others on the machine change less than those of the clock."""
    any_kind: Any = kind
    begun = time.process_time()
    Saliency(model, batches, kind=any_kind)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--model")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--kinds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = network(given.model)
    shape = (1, 8, 8) if given.model is None else (3, given.image_size, given.image_size)
    batches = [(torch.randn(given.batch_size, *shape), torch.randint(10, (given.batch_size,))) for _ in range(given.batches)]
    kinds = [kind for kind in get_args(Kind) if SIGNALS[kind].collect is not None]
    if given.kinds:
        kinds = ["gradient", *given.kinds.split(",")]
    taken: dict[str, list[float]] = {kind: [] for kind in dict.fromkeys(kinds)}
    for _ in range(given.rounds):
        for kind, times in taken.items():
            times.append(seconds(model, batches, kind))
    plain = statistics.median(taken["gradient"])
    size = f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters"
    print(f"{given.model or 'digits'}: {size}, {given.batches} batches of {given.batch_size}, {given.rounds} rounds")
    for kind, times in taken.items():
        middle = statistics.median(times)
        print(f"  {kind:20} {middle:8.2f} s  {middle / plain:6.2f} × gradient")


if __name__ == "__main__":
    main()
