"""Speed of a shrunk model beside the masked and the dense one, in eval mode.

Channels (and, for ViTs, heads) are removed by magnitude, the same fraction in every layer, from randomly initialised models:
the speed depends on shapes alone. The three are timed in turn, round after round, so that a busy machine slows all of them;
a ratio is the median over rounds of that round's ratio. The masked model keeps torch's pruning hooks, which multiply every
weight by its mask before each forward; `finalized` is the masked model with plain weights that hold zeros. Floating point
operations are counted as well: they do not depend on the machine. On a busy one, `--clock cpu --threads 1` counts this
process's own time.

    python bench/shrink.py [--models vit_tiny,vit_small,resnet18,resnet50 --sparsities 0.5,0.7,0.8 --batch 8 --rounds 15]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sics_plugin import VanishedLayerWarning, clone_pruned, finalize, prune_channels, shrink

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
NAMES = ("dense", "masked", "finalized", "shrunk")


def build(name: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("vit"):
        model: nn.Module = timm.create_model(f"{name}_patch16_224", img_size=size)
    else:
        model = torchvision.models.get_model(name, weights=None)
    return model.eval()


def versions(dense: nn.Module, sparsity: float) -> dict[str, nn.Module]:
    masked = copy.deepcopy(dense)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VanishedLayerWarning)
        prune_channels(masked, "magnitude", sparsity, pool="layer")
        if hasattr(dense, "blocks"):
            prune_channels(masked, "magnitude", sparsity, unit="head", pool="layer", min_keep=1)
    return {"dense": dense, "masked": masked, "finalized": finalize(clone_pruned(masked)), "shrunk": shrink(masked)}


@torch.inference_mode()
def seconds(model: nn.Module, x: Tensor, clock: Callable[[], float]) -> float:
    start = clock()
    model(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock() - start


def operations(model: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops()


@torch.inference_mode()
def difference(models: dict[str, nn.Module], x: Tensor) -> float:
    return float((models["masked"](x) - models["shrunk"](x)).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="vit_tiny,vit_small,resnet18,resnet50")
    parser.add_argument("--sparsities", default="0.5,0.7,0.8")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = CLOCKS[args.clock]

    setting = f"batch {args.batch}, {args.size}x{args.size}, {args.device}, {args.threads} threads, {args.clock} clock"
    print(f"{setting}, median of {args.rounds} interleaved rounds\n")
    times = [f"{n} / dense" for n in NAMES[1:]]
    columns = ["model", "S", "parameters", "operations", "dense ms", *times, "speed-up", "logits differ by"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in args.models.split(","):
        dense = build(name, args.size).to(args.device)
        x = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
        for sparsity in (float(s) for s in args.sparsities.split(",")):
            models = versions(dense, sparsity)
            for model in models.values():
                seconds(model, x, clock)  # warm-up
            rounds = [{n: seconds(models[n], x, clock) for n in NAMES} for _ in range(args.rounds)]
            ratio = {n: statistics.median(r[n] / r["dense"] for r in rounds) for n in NAMES}
            left = sum(p.numel() for p in models["shrunk"].parameters()) / sum(p.numel() for p in dense.parameters())
            work = operations(models["shrunk"], x) / operations(dense, x)
            milliseconds = 1000 * statistics.median(r["dense"] for r in rounds)
            shares = " | ".join(f"{ratio[n]:.2f}" for n in NAMES[1:])
            print(
                f"| {name} | {sparsity} | {100 * left:.0f} % | {100 * work:.0f} % | {milliseconds:.0f} | {shares} | "
                f"{1 / ratio['shrunk']:.2f} | "
                f"{difference(models, x):.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
