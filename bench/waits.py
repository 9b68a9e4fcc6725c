"""Operations and waits on ViT-Small, counted on a pretend GPU: no GPU needed, and no time measured.

    python bench/waits.py [--network small|narrow|vit-small]

An operation is a call that a GPU gets as a kernel or more, some microseconds each to launch; a wait is where the host stands
still until the card is done (tests/pretend_device.py). Of two calls the second counts, where tables are brought there once.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from gpu_checks import SMALL, VIT_MICRO, VIT_SMALL, network, stacking

import sics_plugin as sics
from sics_cli.settings.images import WIDTH

ROOT = Path(__file__).resolve().parents[1]

#: "narrow" has ViT-Small's layers at an eighth of their width: the counts are the same, but for the histogram form, which walks
#: in pieces of so many units.
NETWORKS = {"small": SMALL, "narrow": {**VIT_SMALL, "embed_dim": 48}, "vit-small": VIT_SMALL}


def pretend_device() -> ModuleType:
    """tests/pretend_device.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("pretend_device", ROOT / "tests" / "pretend_device.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretend_device"] = module
    spec.loader.exec_module(module)
    return module


def augmented(device: torch.device, batches: int, size: int) -> int:
    """An epoch of augmented batches; how many came."""
    from sics_cli.settings.images import TrainingConfig
    from sics_cli.tasks.images.datasets import Part, Split
    from sics_cli.tasks.images.standardise import ChannelStatistics
    from sics_cli.tasks.networks.training import ImageTrainer

    dice = np.random.default_rng(0)
    statistics = ChannelStatistics(np.full(3, 120.0, np.float32), np.full(3, 60.0, np.float32))
    n = batches * size
    part = Part(dice.integers(0, 256, (n, 3, 32, 32)).astype(np.uint8), dice.integers(0, 10, n), statistics)
    config = TrainingConfig(1, size, 1e-3, 0.05, crop_padding=4, flip=True, randaugment=2)
    trainer = ImageTrainer(torch.nn.Linear(1, 1), config, Split(part, part, part), device)
    return sum(1 for _ in trainer._batches(0, np.arange(n)))


def stepping(device: torch.device, dense: torch.nn.Module, batch: Any, path: str) -> Callable[[], object]:
    """A step of training by a path, the optimiser's part included."""
    from sics_cli.settings.images import TrainingConfig
    from sics_cli.tasks.networks.paths import TrainingBatch, step_of

    model = copy.deepcopy(dense).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    gradients = step_of(model, TrainingConfig(1, len(batch[1]), 1e-4, 0.05, path=path), device)
    return lambda: (gradients(TrainingBatch(*batch)), optimiser.step())


def evaluated(model: torch.nn.Module, masks: dict[str, torch.Tensor], examples: Any) -> None:
    """What a cell does with its mask: into the network, evaluated, taken out again."""
    from sics_cli.seeds.unchanged import left_as_it_was
    from sics_cli.tasks.networks.evaluation import hits_and_loss

    with sics.masked(model, masks), left_as_it_was(model, "it was evaluated"):
        hits_and_loss(model, examples)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), default="narrow")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    pretend = pretend_device()
    options = NETWORKS[asked.network]
    side, classes = options["img_size"], options["num_classes"]
    dense, micro = network(**options), network(**VIT_MICRO)
    from sics_cli.tasks.images.datasets import Part
    from sics_cli.tasks.images.examples import Examples
    from sics_cli.tasks.networks.evaluation import hits_and_loss
    from sics_cli.tasks.networks.paths import TrainingBatch

    dice = np.random.default_rng(0)
    images = dice.normal(size=(8, 3, side, side)).astype(np.float32)
    part = Part(images, dice.integers(0, classes, 8))
    batch = torch.from_numpy(part.images[:2]), torch.from_numpy(part.labels[:2])
    with pretend.PretendDevice() as device:
        model = dense.to(pretend.DEVICE)
        there = [tuple(tensor.to(pretend.DEVICE) for tensor in batch)]
        examples = Examples(part, pretend.DEVICE)
        pictures = torch.randn(2, 3, 32, 32).to(pretend.DEVICE), there[0][1]
        saliency = sics.Saliency(model, there, kind="gradient")
        masks, _ = sics.compute_masks(model, "magnitude", amount=0.7)
        count, size = (3, 16) if asked.network == "small" else (18, 16)
        calls: dict[str, Any] = {
            "magnitude": lambda: sics.compute_masks(model, "magnitude", amount=0.7),
            "chaos, exact": lambda: sics.compute_masks(model, "chaos", amount=0.7, saliency=saliency),
            "chaos, histogram form": lambda: sics.compute_masks(model, "chaos", amount=0.7, saliency=saliency, exact=False),
            "gradient saliency of one batch": lambda: sics.Saliency(model, there, kind="gradient").digest,
            "evaluation of one batch": lambda: hits_and_loss(model, examples),
            "evaluation of a mask": lambda: evaluated(model, masks, examples),
            f"augmentation of {count} batches": lambda: augmented(pretend.DEVICE, count, size),
            "step of training": stepping(pretend.DEVICE, dense, there[0], "eager"),
            "step of training, graph": stepping(pretend.DEVICE, dense, there[0], "graph"),
            "step of training, vit-micro": stepping(pretend.DEVICE, micro, pictures, "eager"),
            f"step of training, vit-micro, {WIDTH} seeds stacked": stacking(pretend.DEVICE, micro, TrainingBatch(*pictures)),
        }
        total = sum(getattr(module, name).numel() for module, name in sics.prunable_parameters(model))
        print(f"{total:,} weights\n\n| | operations | waits |\n|---|---|---|")
        for name, call in calls.items():
            for _ in range(2 if name.startswith(("chaos, exact", "evaluation", "step")) else 1):
                device.forget()
                call()
            print(f"| {name} | {device.operations:,} | {device.waited:,} |", flush=True)


if __name__ == "__main__":
    main()
