"""What a search for the weights of a fusion takes and finds on the network of `digits`: held-out images only, no test image.

python bench/fusion.py [--budget 200] [--sets orbit,magnitude] [--pool layer-rank] [--unit channel] [--sparsity 0.7] [--seed 0]
"""

from __future__ import annotations

import argparse
import time

import torch

from sics_cli.settings.config import UNITS, experiment_from_mapping
from sics_cli.settings.presets import PRESETS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.datasets import load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import train
from sics_plugin import Saliency, held_out_accuracy, held_out_loss, search_fusion
from sics_plugin.scorers.fusion import FEATURE_SETS

CURVE = (1, 10, 50, 200)
#: Images at a time: what fits a processor's cache.
BATCH = 100
SCORES = {"loss": held_out_loss, "accuracy": held_out_accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--sets", default=",".join(FEATURE_SETS))
    parser.add_argument("--pool", choices=("global", "layer", "layer-rank", "erk"), default="layer-rank")
    parser.add_argument("--unit", choices=UNITS, default="weight")
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--score", choices=tuple(SCORES), default="loss")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = experiment_from_mapping(PRESETS["digits"]).images
    split = load_split(images.data)
    model = build_model(images.model, args.seed)
    train(model, images.training, split, args.seed, torch.device("cpu"))
    examples, held_out = Examples(split.train, torch.device("cpu")), Examples(split.validation, torch.device("cpu"))
    batches = [examples.at(torch.from_numpy(batch)) for batch in calibration_batches(args.seed, len(examples), 40, 64)]
    saliency = Saliency(model.eval(), batches)
    evaluate = SCORES[args.score]([held_out.at(part) for part in torch.arange(len(held_out)).split(BATCH)])
    print(f"digits, seed {args.seed}: {len(held_out)} held-out images, {args.unit}s, S = {args.sparsity:g}, pool {args.pool}")
    at = [n for n in CURVE if n < args.budget] + [args.budget]
    columns = ["features", "seconds", "of a processor", *(f"{args.score} at {n}" for n in at), "masks", "weights"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in args.sets.split(","):
        started, begun = time.perf_counter(), time.process_time()
        found = search_fusion(
            model, args.sparsity, evaluate=evaluate, budget=args.budget, features=name, seed=args.seed, unit=args.unit,
            saliency=saliency, pool=args.pool,
        )  # fmt: skip
        seconds, processor = time.perf_counter() - started, time.process_time() - begun
        curve = " | ".join(f"{found.curve[n - 1]:.4f}" for n in at)
        weights = ", ".join(f"{weight:+.2f}" for weight in found.weights)
        print(f"| {name} | {seconds:.1f} | {processor:.1f} | {curve} | {found.masks} | {weights} |", flush=True)


if __name__ == "__main__":
    main()
