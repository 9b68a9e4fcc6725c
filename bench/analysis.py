"""The whole analysis of a run of the usual size: 5 seeds, 12 scorers, 4 sparsities, 10 000 test images each; and of large tables.

python bench/analysis.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from sics_analysis import analyse
from sics_analysis.claims.scorecard import evaluate_all

KAPPA = {
    "magnitude": 0,
    "power": 0,
    "log": 0,
    "bump": 1,
    "smooth_chaos": 1,
    "smooth_mouse": 1,
    "chaos": 2,
    "wiggle": 2,
    "fake": None,
    "information": None,
    "gradient": None,
    "random": None,
}
IMAGES = 10_000


def simulate(rng: np.random.Generator) -> tuple[pd.DataFrame, dict[tuple[int, str, float], np.ndarray]]:
    rows, bits = [], {}
    image = rng.normal(0, 1, IMAGES)
    for seed in range(5):
        for S in (0.5, 0.6, 0.7, 0.8):
            base = image + 0.9 - S + rng.normal(0, 0.05) + rng.normal(0, 0.5, IMAGES)
            for name, kappa in KAPPA.items():
                shift = 0.0 if kappa == 0 else {"fake": -0.6, "random": -2.0}.get(name, 0.4 * (S - 0.5))
                noise = 0.0 if kappa == 0 else rng.normal(0, 0.02) + rng.normal(0, 0.2, IMAGES)
                right = base + shift + noise > 0
                bits[seed, name, S] = right
                mask = f"{'plateau' if kappa == 0 else name}-{seed}-{S}"
                rows.append((seed, name, kappa, S, right.mean(), int(right.sum()), IMAGES, mask))
    columns = ["seed", "scorer", "kappa", "sparsity", "accuracy", "correct", "n", "mask_hash"]
    return pd.DataFrame(rows, columns=columns), bits


def large(rng: np.random.Generator, seeds: int, scorers: int, sparsities: int) -> pd.DataFrame:
    """Accuracies alone, of many seeds."""
    index = pd.MultiIndex.from_product([range(seeds), range(scorers), range(1, sparsities + 1)])
    seed, scorer, S = (index.get_level_values(i).to_numpy() for i in range(3))
    accuracy = 0.8 + 0.02 * rng.standard_normal(seeds)[seed] + 0.005 * rng.standard_normal(len(index)) + 0.0005 * scorer
    names = np.array(["magnitude", *(f"scorer{i:02d}" for i in range(1, scorers))])
    columns = {"seed": seed, "scorer": names[scorer], "sparsity": S / (sparsities + 1), "accuracy": accuracy.round(4)}
    return pd.DataFrame(columns)


def processor_of_report(rows: pd.DataFrame) -> float:
    """Seconds of processor of `sics-run report` of these rows as a CSV, all of it: start, reading, analysis, terminal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        rows.to_csv(path, index=False)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "sics_cli", "report", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    frame, bits = simulate(np.random.default_rng(0))
    print("| what | seconds, best of repeats |\n|---|---|")
    for name, given in (("accuracies only", None), ("with 10 000 examples a cell", bits)):
        times = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            result = analyse(frame, bits=given)
            evaluate_all(result)
            json.dumps(result.to_dict(), allow_nan=False)
            times.append(time.perf_counter() - start)
        print(f"| {name} | {min(times):.2f} |")
    for seeds, scorers, sparsities in ((20, 20, 6), (100, 20, 6), (1_000, 50, 20)):
        wide = large(np.random.default_rng(0), seeds, scorers, sparsities)
        begun, used = time.perf_counter(), time.process_time()
        analyse(wide)
        seconds, busy = time.perf_counter() - begun, time.process_time() - used
        what = f"{len(wide)} rows: {seeds} seeds, {scorers} scorers, {sparsities} sparsities"
        print(f"| {what}, once ({busy:.1f} s of processor) | {seconds:.2f} |")
    used = statistics.median(processor_of_report(wide) for _ in range(args.repeats))
    print(f"| `sics-run report` of these {len(wide)} rows as a CSV, processor, median of repeats | {used:.2f} |")


if __name__ == "__main__":
    main()
