"""Crossed bootstrap of all contrasts at once, beside a loop of `scipy.stats.bootstrap` over the same contrasts.

Two loops, both with the same number of resamples as ours. "seeds x images" estimates the same thing: scipy resamples
two independent samples, the seeds and the images, and the statistic looks the matrix up. "images only" is the fastest
thing scipy can do here (vectorised, one sample, the seeds averaged first); it leaves the seeds out, so its
standard error is too small, and it is shown because a reader might think of it first. A few contrasts of each loop
are timed and scaled to all of them.

    python bench/bootstrap.py [--seeds 5 --scorers 12 --sparsities 4 --images 10000 --resamples 1999]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import stats

from sics_analysis.one_scorer.crossed import crossed_bootstrap


def simulate(n_contrasts: int, n_seeds: int, n_images: int, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Correctness differences with a seed effect, an image effect and discordance of a few percent."""
    image = rng.normal(0, 1.2, n_images)
    found = {}
    for key in range(n_contrasts):
        base = 0.9 + image + rng.normal(0, 0.1, (n_seeds, 1)) + rng.normal(0, 0.4, (n_seeds, n_images))
        shift = rng.normal(0.05, 0.05, (n_seeds, 1)) + rng.normal(0, 0.15, (n_seeds, n_images))
        found[key] = (base + shift > 0).astype(np.int8) - (base > 0).astype(np.int8)
    return found


def scipy_crossed(table: np.ndarray, resamples: int, rng: np.random.Generator) -> float:
    n_seeds, n_images = table.shape

    def mean(seeds: np.ndarray, images: np.ndarray) -> float:
        return float(table[np.ix_(seeds, images)].mean())

    result = stats.bootstrap(
        (np.arange(n_seeds), np.arange(n_images)),
        mean,
        n_resamples=resamples,
        vectorized=False,
        method="percentile",
        rng=rng,
    )
    return 100 * float(result.standard_error)


def scipy_images(table: np.ndarray, resamples: int, rng: np.random.Generator) -> float:
    result = stats.bootstrap((table.mean(axis=0),), np.mean, n_resamples=resamples, batch=100, method="percentile", rng=rng)
    return 100 * float(result.standard_error)


def timed(function: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scorers", type=int, default=12)
    parser.add_argument("--sparsities", type=int, default=4)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=1_999)
    parser.add_argument("--timed-contrasts", type=int, default=3, help="contrasts of each scipy loop that are really run")
    args = parser.parse_args()
    contrasts = (args.scorers - 1) * args.sparsities
    tables = simulate(contrasts, args.seeds, args.images, np.random.default_rng(0))
    crossed_bootstrap(tables, rng=np.random.default_rng(0), n_resamples=100)  # warm the BLAS threads
    runs = []
    for _ in range(3):
        start = time.perf_counter()
        result = crossed_bootstrap(tables, rng=np.random.default_rng(1), n_resamples=args.resamples)
        runs.append(time.perf_counter() - start)
    ours = min(runs)

    some = list(tables)[: args.timed_contrasts]
    rng = np.random.default_rng(2)
    print(
        f"{contrasts} contrasts, {args.seeds} seeds x {args.images} images, {args.resamples} resamples each; "
        f"scipy timed on {len(some)} contrasts and scaled\n"
    )
    print("| method | resamples | s for all contrasts | ratio to ours | standard error of contrast 0 (points) |")
    print("|---|---|---|---|---|")
    raw = float(result.distribution[:, 0].std(ddof=1))
    print(f"| crossed_bootstrap | seeds x images | {ours:.3f} | 1 | {raw:.4f} |")
    for name, function in (("seeds x images", scipy_crossed), ("images only", scipy_images)):
        pairs = [timed(partial(function, tables[key], args.resamples, rng)) for key in some]
        seconds = sum(pair[0] for pair in pairs) / len(some) * contrasts
        print(f"| scipy.stats.bootstrap loop | {name} | {seconds:.2f} | {seconds / ours:.0f} | {pairs[0][1]:.4f} |")


if __name__ == "__main__":
    main()
