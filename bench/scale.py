"""Time and memory per weight of ``prune_model`` from 1 million to 1 billion weights.

Every run is a process of its own, and the table has medians: a synthetic model of equal Linear layers (4 096 × 4 096, fewer rows
where the model is smaller), pruned to 0.7 with ``finalize=True``. Extra memory is the peak resident set (VmHWM, reset first)
beyond what the dense model takes. A billion float32 weights are 4 GB.

    python bench/scale.py [--sizes 1e6,1e7,1e8,1e9 --scorer magnitude --dtype float32 --repeats 3 --markdown docs/speed.md]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from pruning import write_between
from torch import Tensor, nn

from sics_plugin import SaliencyVector, prune_model

WIDTH = 4096
BEGIN, END = "<!-- bench/scale.py: begin -->", "<!-- bench/scale.py: end -->"


def resident(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]


def model_of(n: int, dtype: torch.dtype) -> list[tuple[nn.Module, str]]:
    torch.manual_seed(0)
    pairs: list[tuple[nn.Module, str]] = []
    while n > 0:
        rows = max(1, min(WIDTH, n // WIDTH, 256 if n < 10**8 else WIDTH))
        layer = nn.Module()
        layer.weight = nn.Parameter(torch.empty(rows, WIDTH, dtype=dtype), requires_grad=False)
        layer.weight.normal_(std=0.02 * (1 + len(pairs) % 3))
        pairs.append((layer, "weight"))
        n -= rows * WIDTH
    return pairs


def measure(n: int, scorer: str, dtype: torch.dtype) -> dict[str, float]:
    warnings.simplefilter("ignore")
    pairs = model_of(n, dtype)
    total = sum(m.weight.numel() for m, _ in pairs)
    saliency: Tensor | None = None
    if scorer != "magnitude":
        saliency = SaliencyVector(torch.cat([torch.rand_like(m.weight).reshape(-1) for m, _ in pairs]), kind="gradient")
    prune_model(model_of(10**5, dtype), "magnitude", amount=0.7, finalize=True)  # code is not memory of the case
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, start = resident("VmRSS"), time.perf_counter()
    prune_model(pairs, scorer, amount=0.7, saliency=saliency, finalize=True)
    return {"weights": total, "seconds": time.perf_counter() - start, "extra": resident("VmHWM") - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1e6,1e7,1e8,1e9")
    parser.add_argument("--scorer", default="magnitude")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each size")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(int(args.one), args.scorer, getattr(torch, args.dtype))))
        return
    lines = [
        f"{args.scorer}, {args.dtype}, finalize=True, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "",
        "| weights | s, dense model | ns a weight | extra bytes a weight |",
        "|---|---|---|---|",
    ]
    print("\n".join(lines))
    for size in args.sizes.split(","):
        runs = []
        for _ in range(args.repeats):
            command = [sys.executable, __file__, "--one", size, "--scorer", args.scorer, "--dtype", args.dtype]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{size} weights: {done.stderr.strip().splitlines()[-1]}")
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        n, seconds, extra = runs[0]["weights"], *(statistics.median(run[key] for run in runs) for key in ("seconds", "extra"))
        lines.append(f"| {n:,} | {seconds:.3f} | {1e9 * seconds / n:.2f} | {extra / n:.2f} |")
        print(lines[-1], flush=True)
    if args.markdown:
        write_between(args.markdown, "\n".join(lines), BEGIN, END)


if __name__ == "__main__":
    main()
