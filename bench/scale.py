"""Time and memory per weight of ``prune_model`` from 1 million to 1 billion weights.

A synthetic model of equal Linear layers, 24 or, where none may be larger than 4 096 × 4 096, more, is pruned to 0.7 with
``finalize=True``. Every run is a process of its own, in which a model of 100 000 weights was pruned before: its first call, with
the peak of its extra memory (VmHWM, reset first, beyond what the dense model takes; without the growth of RssFile, the
pages of program files read meanwhile), and further calls on fresh values, by when memory and tables are warm: `--warm` of them,
or more where all calls together take less than half a second. The table has medians. A billion float32 weights are 4 GB.

    python bench/scale.py [--sizes 1e6,1e7,1e8,1e9 --scorer magnitude --repeats 3 --warm 3 --markdown docs/speed.md]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from memory import peak_from_now
from pruning import write_between
from torch import Tensor, nn

from sics_plugin import SaliencyVector, prune_model

WIDTH, LAYERS = 4096, 24
#: Seconds that the calls of a process take together at least, unless a hundred further calls are over before.
SETTLED = 0.5
BEGIN, END = "<!-- bench/scale.py: begin -->", "<!-- bench/scale.py: end -->"


def model_of(n: int, dtype: torch.dtype) -> list[tuple[nn.Module, str]]:
    torch.manual_seed(0)
    count = max(LAYERS, -(-n // WIDTH**2))
    layers = [nn.Module() for _ in range(count)]
    for layer in layers:
        layer.weight = nn.Parameter(torch.empty(max(1, round(n / count / WIDTH)), WIDTH, dtype=dtype), requires_grad=False)
    fill(layers)
    return [(layer, "weight") for layer in layers]


def fill(layers: Sequence[nn.Module]) -> None:
    for i, layer in enumerate(layers):
        layer.weight.normal_(std=0.02 * (1 + i % 3))


def measure(n: int, scorer: str, dtype: torch.dtype, warm: int) -> dict[str, float]:
    warnings.simplefilter("ignore")
    pairs = model_of(n, dtype)
    total = sum(m.weight.numel() for m, _ in pairs)
    saliency: Tensor | None = None
    if scorer != "magnitude":
        saliency = SaliencyVector(torch.cat([torch.rand_like(m.weight).reshape(-1) for m, _ in pairs]), kind="gradient")
    prune_model(model_of(10**5, dtype), "magnitude", amount=0.7, finalize=True)  # code is not memory of the case
    peak, extra, seconds = peak_from_now(), 0, list[float]()
    while len(seconds) <= warm or (sum(seconds) < SETTLED and len(seconds) <= 100):
        if seconds:
            fill([m for m, _ in pairs])
        start = time.perf_counter()
        prune_model(pairs, scorer, amount=0.7, saliency=saliency, finalize=True)
        seconds.append(time.perf_counter() - start)
        extra = extra or peak()
    return {"weights": total, "first": seconds[0], "warm": statistics.median(seconds[1:] or seconds), "extra": extra}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1e6,1e7,1e8,1e9")
    parser.add_argument("--scorer", default="magnitude")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each size")
    parser.add_argument("--warm", type=int, default=3, help="further calls in each process, more where they are short")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(int(args.one), args.scorer, getattr(torch, args.dtype), args.warm)))
        return
    lines = [
        f"{args.scorer}, {args.dtype}, finalize=True, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "",
        "| weights | first call, s | ns a weight | warm call, s | ns a weight | extra bytes a weight |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for size in args.sizes.split(","):
        runs = []
        for _ in range(args.repeats):
            command = [sys.executable, __file__, "--one", size, "--scorer", args.scorer, "--dtype", args.dtype]
            command += ["--warm", str(args.warm)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{size} weights: {done.stderr.strip().splitlines()[-1]}")
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        n = runs[0]["weights"]
        first, warm, extra = (statistics.median(run[key] for run in runs) for key in ("first", "warm", "extra"))
        times = " | ".join(f"{s:.4f} | {1e9 * s / n:.2f}" for s in (first, warm))
        lines.append(f"| {n:,} | {times} | {extra / n:.2f} |")
        print(lines[-1], flush=True)
    if args.markdown:
        write_between(args.markdown, "\n".join(lines), BEGIN, END)


if __name__ == "__main__":
    main()
