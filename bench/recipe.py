"""Recipes for the `digits` preset by what they reach on the validation images: the test images are never looked at.

    python bench/recipe.py [EPOCHS:BATCH:RATE ... --seeds 6 --train 700 --validation 197 --workers 2]

Each candidate trains seeds 100, 101, …, which no default run uses, in processes of one thread as `replicate` has them. The table
gives the mean validation accuracy with its standard error over those seeds, the lowest of them, and processor seconds a seed.
The candidates to begin with are those among which the preset's recipe was chosen.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from sics_cli.settings.config import Experiment, experiment_from_mapping
from sics_cli.settings.presets import DIGITS

FIRST_SEED = 100
CANDIDATES = (
    *("80:64:0.003", "80:64:0.005", "60:64:0.005", "60:64:0.008", "40:16:0.004", "40:32:0.005", "40:32:0.008"),
    *("50:32:0.008", "50:32:0.012", "60:32:0.003", "60:32:0.005", "60:32:0.008", "60:32:0.012"),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What may move; all else is the preset's."""

    epochs: int
    batch: int
    rate: float

    @classmethod
    def of(cls, text: str) -> Recipe:
        epochs, batch, rate = text.split(":")
        return cls(int(epochs), int(batch), float(rate))


def train_one(experiment: Experiment, recipe: Recipe, seed: int) -> tuple[float, float]:
    """Percent of the validation images that one seed's network gets right, and processor seconds of its training."""
    import torch

    from sics_cli.tasks.images.datasets import load_split
    from sics_cli.tasks.networks.models import build_model
    from sics_cli.tasks.networks.training import TrainingRecord, train

    torch.set_num_threads(1)
    config = replace(experiment.images.training, epochs=recipe.epochs, batch_size=recipe.batch, learning_rate=recipe.rate)
    split = load_split(experiment.images.data)
    begun = time.process_time()
    record = train(build_model(experiment.images.model, seed), config, split, seed, torch.device("cpu"))
    assert isinstance(record, TrainingRecord)
    return 100 * record.validation_correct / record.validation_n, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="EPOCHS:BATCH:RATE", default=CANDIDATES)
    data = experiment_from_mapping(DIGITS).images.data
    for name, default in (("seeds", 6), ("train", data.train), ("validation", data.validation), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    split = {**DIGITS["data"], "train": args.train, "validation": args.validation, "test": 1}
    experiment = experiment_from_mapping({**DIGITS, "data": split})
    seeds = range(FIRST_SEED, FIRST_SEED + args.seeds)
    print(f"{args.train} training and {args.validation} validation images, seeds {seeds[0]} to {seeds[-1]}\n")
    print("| epochs | batch | peak rate | steps | validation accuracy (%) | lowest seed | seconds a seed |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = [Recipe.of(text) for text in args.recipes]
        pending = {one: [pool.submit(train_one, experiment, one, seed) for seed in seeds] for one in asked}
        for recipe, futures in pending.items():
            accuracies, seconds = zip(*(future.result() for future in futures), strict=True)
            error = statistics.stdev(accuracies) / len(seeds) ** 0.5 if len(seeds) > 1 else float("nan")
            steps = -(-args.train // recipe.batch) * recipe.epochs
            reached = f"{statistics.mean(accuracies):.2f} ± {error:.2f} | {min(accuracies):.1f} | {statistics.mean(seconds):.1f}"
            print(f"| {recipe.epochs} | {recipe.batch} | {recipe.rate:g} | {steps} | {reached} |", flush=True)


if __name__ == "__main__":
    main()
