"""A report in every format, as a whole process: the size of the default run, and the largest run it must cope with.

python bench/report.py [--repeats 1] [--only largest]

Writes a CSV as `sics-run export` does, per-example bits included, and measures wall seconds and the peak resident memory of
`sics-run report FILE.csv -o report.FORMAT`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

#: name → scorers, sparsities, seeds, test images
SIZES = {
    "default": (12, (0.5, 0.6, 0.7, 0.8), 5, 600),
    "largest": (20, (0.5, 0.6, 0.65, 0.7, 0.8, 0.9), 20, 10_000),
}
FORMATS = {"terminal": "txt", "html": "html", "md": "md", "latex": "tex", "json": "json"}


def write_table(path: Path, scorers: int, sparsities: tuple[float, ...], seeds: int, images: int) -> int:
    """Write a CSV of simulated networks: κ = 0, 1, 2 and four controls; return its bytes."""
    rng = np.random.default_rng(0)
    names = ["magnitude", "power", "log", "information", "fake", "gradient", "random"]
    names += [f"smooth_{i}" if i % 2 else f"raw_{i}" for i in range(scorers - len(names))]
    kappa = {"magnitude": 0, "power": 0, "log": 0} | {name: 1 if name[0] == "s" else 2 for name in names[7:]}
    image = rng.normal(0, 1, images)
    lines = ["seed,scorer,kappa,unit,pool,sparsity,correct,n,accuracy,mask_hash,jaccard,bits"]
    for seed in range(seeds):
        for S in sparsities:
            base = image + 1.6 - S + rng.normal(0, 0.02) + rng.normal(0, 0.4, images)
            for name in names:
                same = kappa.get(name) == 0
                shift = 0.0 if same else {"fake": -0.6, "random": -2.0}.get(name, 0.3 * (S - 0.5))
                right = base + shift + (0.0 if same else rng.normal(0, 0.02) + rng.normal(0, 0.15, images)) > 0
                correct, group = int(right.sum()), "plateau" if same else name
                overlap = 1.0 if same else 0.9 - 0.3 * S
                lines.append(
                    f"{seed},{name},{kappa.get(name, '')},weight,global,{S:g},{correct},{images},{correct / images!r},"
                    f"{group}-{seed}-{S},{overlap:.4f},{np.packbits(right).tobytes().hex()}"
                )
    return path.write_text("\n".join(lines) + "\n")


def measure(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak resident MiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", choices=SIZES)
    args = parser.parse_args()
    print("| run | CSV, MB | format | seconds, best of repeats | processor seconds | peak MiB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size, shape in SIZES.items():
            if args.only not in (None, size):
                continue
            table = Path(folder) / f"{size}.csv"
            size_bytes = write_table(table, *shape)
            for kind, ending in FORMATS.items():
                command = [sys.executable, "-m", "sics_cli", "report", str(table), "-o", str(Path(folder) / f"report.{ending}")]
                found = [measure(command) for _ in range(args.repeats)]
                seconds, busy = min(found)[:2]
                memory = max(peak for _, _, peak in found)
                print(f"| {size} | {size_bytes / 1e6:.1f} | {kind} | {seconds:.1f} | {busy:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
