"""Replicates, ours beside the plain loop: one process, two threads, one seed after another, on timm's module through autograd.

Both do the same work at the same settings, in turns within one run: training alone; then saliency, masks and evaluation of
every cell alone; then the whole job, where ours is the command itself with everything it writes. Medians over the rounds.
The ratio of training does not depend on the number of epochs, so few are enough for it; the whole job's does (more epochs,
more of it is training), so it runs as often as `--job` says at the preset's epochs.

    python bench/replicates.py [--rounds 3 --epochs 4 --seeds 5 --workers 2 --threads 2 --job 1]
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from sics_cli.experiment.config import Experiment, experiment_from_mapping
from sics_cli.experiment.executors import LocalExecutor
from sics_cli.experiment.installed import full_version, minor_version
from sics_cli.experiment.keys import Environment, Recipe
from sics_cli.experiment.layout import CHECKPOINTS_NAME, INBOX_NAME
from sics_cli.experiment.lineup import ScorerInfo, choose
from sics_cli.experiment.machine import cpu_model
from sics_cli.experiment.planning import plan_cells
from sics_cli.experiment.presets import DIGITS
from sics_cli.experiment.schedule import Schedule, SeedPlan, Task
from sics_cli.experiment.work import Work
from sics_cli.experiment.worker import SeedJob, describe, run_seed, train_seed, warm_up

# -- the plain loop ---------------------------------------------------------------------------------------------------

_models: dict[int, object] = {}


def set_threads(threads: int) -> None:
    import torch

    from sics_cli.experiment import seedrun  # noqa: F401  (imports are not what is timed)

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False


def plain_training(experiment: Experiment) -> float:
    import torch
    from torch import nn

    from sics_cli.experiment.datasets import load_split
    from sics_cli.experiment.evaluation import part_on
    from sics_cli.experiment.models import build_model
    from sics_cli.experiment.streams import data_order

    config, split = experiment.training, load_split(experiment.data)
    images, labels = part_on(split.train, torch.device("cpu"))
    begun = time.perf_counter()
    for seed in experiment.seeds:
        model = build_model(experiment.model, seed).train()
        steps = math.ceil(len(labels) / config.batch_size) * config.epochs
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=config.learning_rate, total_steps=steps)
        for order in data_order(seed, len(labels), config.epochs):
            for batch in torch.from_numpy(order).split(config.batch_size):
                optimiser.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimiser.step()
                schedule.step()
        _models[seed] = model.eval()
    return time.perf_counter() - begun


def plain_cells(experiment: Experiment, scorers: tuple[ScorerInfo, ...]) -> float:
    import copy

    import torch
    from torch import nn

    from sics_cli.experiment.datasets import load_split
    from sics_cli.experiment.evaluation import evaluate, part_on
    from sics_cli.experiment.lineup import make_scorer
    from sics_cli.experiment.streams import calibration_batches
    from sics_plugin import Saliency, compute_masks, masked

    split, calibration = load_split(experiment.data), experiment.calibration
    images, labels = part_on(split.train, torch.device("cpu"))
    test = part_on(split.test, torch.device("cpu"))
    begun = time.perf_counter()
    for seed in experiment.seeds:
        model = _models[seed]
        indices = calibration_batches(seed, len(labels), calibration.batches, calibration.batch_size)
        pairs = [(images[torch.from_numpy(batch)], labels[torch.from_numpy(batch)]) for batch in indices]
        saliency = Saliency(model, pairs, nn.functional.cross_entropy)
        evaluate(model, test)
        seen = set()
        for sparsity in experiment.sparsities:
            for info in scorers:
                masks, report = compute_masks(model, make_scorer(info.spec, seed), amount=sparsity, saliency=saliency)
                if report.mask_hash not in seen:
                    seen.add(report.mask_hash)
                    with masked(model, masks):
                        evaluate(model, test)
            fresh = copy.deepcopy(model)
            masks, _ = compute_masks(fresh, make_scorer("magnitude", seed), amount=sparsity)
            with masked(fresh, masks):
                evaluate(fresh, test)
    return time.perf_counter() - begun


# -- ours -------------------------------------------------------------------------------------------------------------


class Ours:
    """The command's own tasks and schedule, on workers that have imported torch already."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        (folder / INBOX_NAME).mkdir()
        self.executor = LocalExecutor(["cpu"] * workers)
        self.infos = self.executor.submit(describe, (), "gradient").result().scorers
        for future in [self.executor.submit(warm_up) for _ in range(4 * workers)]:
            future.result()

    def run(self, experiment: Experiment, scorers: tuple[ScorerInfo, ...], *, trained: bool) -> float:
        """Train (`trained` false), or compute the cells of seeds that are trained; return seconds."""
        environment = Environment("cpu", minor_version("torch"), full_version("timm").split("+")[0])
        recipe, work, epochs = Recipe(experiment, environment), Work.of(experiment), experiment.training.epochs
        cells = plan_cells(recipe, scorers)
        own = {seed: tuple(cell for cell in cells if cell.seed == seed) for seed in experiment.seeds}

        def job(task: Task) -> SeedJob:
            return SeedJob(self.folder, experiment, environment, task.seed, task.cells, (), True, {}, recipe.run_id, task.part)

        if not trained:
            for path in (self.folder / CHECKPOINTS_NAME).glob("*"):
                path.unlink()
        begun = time.perf_counter()
        done = epochs if trained else 0
        schedule = Schedule(
            {s: SeedPlan(own[s], work.training, work.saliency, work.cell, epochs, done) for s in experiment.seeds}, self.workers
        )
        pending = {}
        while True:
            while len(pending) < self.workers and (task := schedule.next()) is not None:
                if task.cells and not trained:
                    schedule.done(task)  # only the training is timed
                elif task.cells:
                    pending[self.executor.submit(run_seed, job(task))] = task
                else:
                    pending[self.executor.submit(train_seed, job(task), task.until)] = task
            if not pending:
                return time.perf_counter() - begun
            ended, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                assert future.result() == 0, "cells failed"
                schedule.done(pending.pop(future))


def whole_job(arguments: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("epochs", 4), ("seeds", 5), ("workers", 2), ("threads", 2), ("job", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--plain-job", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    full = experiment_from_mapping({**DIGITS, "seeds": args.seeds})
    short = replace(full, training=replace(full.training, epochs=args.epochs))
    if args.plain_job:
        infos = describe((), "gradient").scorers
        set_threads(args.threads)
        plain_training(full)
        plain_cells(full, choose(infos, None, "gradient", "magnitude")[0])
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=context) as plain:
        ours = Ours(Path(folder), args.workers)
        plain.submit(set_threads, args.threads).result()
        scorers = choose(ours.infos, None, "gradient", "magnitude")[0]
        timed: dict[str, list[tuple[float, float]]] = {}

        def compare(what: str, one: Callable[[], float], two: Callable[[], float]) -> None:
            timed.setdefault(what, []).append((one(), two()))
            print(f"{what}: plain {timed[what][-1][0]:.1f} s, ours {timed[what][-1][1]:.1f} s", file=sys.stderr, flush=True)

        for turn in range(args.rounds + 1):
            compare(
                f"training, {args.epochs} epochs",
                lambda: plain.submit(plain_training, short).result(),
                lambda: ours.run(short, scorers, trained=False),
            )
            compare(
                "saliency, masks, evaluation",
                lambda: plain.submit(plain_cells, short, scorers).result(),
                lambda: ours.run(short, scorers, trained=True),
            )
            if turn == 0:
                timed.clear()  # the first turn warms both up
        ours.executor.stop()
        command = ["-m", "sics_cli", "replicate", "--seeds", str(args.seeds), "--workers", str(args.workers), "--out"]
        counts = [f"--seeds={args.seeds}", f"--threads={args.threads}"]
        for turn in range(args.job):
            compare(
                f"whole job, {full.training.epochs} epochs, start to exit",
                functools.partial(whole_job, [__file__, "--plain-job", *counts]),
                functools.partial(whole_job, [*command, str(Path(folder) / f"job-{turn}")]),
            )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()}, torch {full_version('torch')}; load {load}. "
        f"{args.seeds} seeds of `digits`; plain: 1 process, {args.threads} threads; "
        f"ours: {args.workers} processes, 1 thread each.\n"
    )
    print("| | rounds | plain (s) | ours (s) | ratio (lowest to highest) |\n|---|---|---|---|---|")
    for what, pairs in timed.items():
        ratios = sorted(one / two for one, two in pairs)
        medians = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"| {what} | {len(pairs)} | {' | '.join(f'{seconds:.1f}' for seconds in medians)} "
            f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )


if __name__ == "__main__":
    main()
