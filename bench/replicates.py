"""Replicates, ours beside the plain loop: one process, two threads, one seed after another.

Both do the same work at the same settings on timm's module through autograd, in turns within one run: the training alone;
saliency, masks and evaluation of every cell alone, on the networks trained; and both, which for the plain loop is the sum of the
two, and for ours one schedule. Last the whole job from start to exit, where ours is the command itself with everything it writes
and the report it ends with. Medians over the rounds. Beside them the floor: the matrix products of that work and nothing else, on
all workers at once, and how much of the machine other programs took meanwhile: above a few percent a ratio means nothing, since
the plain loop's threads wait for each other.

    python bench/replicates.py [--rounds 3 --epochs 60 --seeds 5 --workers 2 --threads 2 --job 1 --markdown PAGE]

About twenty minutes; `--job 0` leaves out the whole job, fewer `--epochs` make shorter rounds (the whole job keeps the
preset's). Ours saves and validates networks, compares masks and writes rows in the seconds
that count; the plain loop does none of it.
"""

from __future__ import annotations

import argparse
import contextlib
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
from dataclasses import dataclass, replace
from pathlib import Path

from sics_cli.base.versions import full_version, minor_version
from sics_cli.experiment.cells import plan_cells
from sics_cli.experiment.cost import Cost
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo, choose
from sics_cli.runs.schedule import Schedule, SeedPart, SeedPlan
from sics_cli.runs.workers import LocalExecutor
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.seed_run import cpu_model
from sics_cli.seeds.worker import describe, run_seed, train_seed, warm_up
from sics_cli.settings.config import Experiment, experiment_from_mapping
from sics_cli.settings.presets import DIGITS
from sics_cli.store.run_folder import CHECKPOINTS_NAME, INBOX_NAME

BEGIN, END = "<!-- bench/replicates.py: begin -->", "<!-- bench/replicates.py: end -->"

# -- the plain loop ---------------------------------------------------------------------------------------------------

_models: dict[int, object] = {}


def set_threads(threads: int) -> None:
    import torch

    from sics_cli.seeds import seed_run  # noqa: F401  (imports are not what is timed)

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False


def plain_training(experiment: Experiment) -> float:
    """Train every seed; return seconds."""
    import torch
    from torch import nn

    from sics_cli.settings.seeding import data_order
    from sics_cli.tasks.images.datasets import load_split
    from sics_cli.tasks.images.examples import Examples
    from sics_cli.tasks.networks.models import build_model

    config, split = experiment.images.training, load_split(experiment.images.data)
    images, labels = Examples(split.train, torch.device("cpu"))
    begun = time.perf_counter()
    for seed in experiment.seeds:
        model = build_model(experiment.images.model, seed).train()
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

    from sics_cli.experiment.scorers import make_scorer
    from sics_cli.settings.seeding import calibration_batches
    from sics_cli.tasks.images.datasets import load_split
    from sics_cli.tasks.images.examples import Examples
    from sics_cli.tasks.networks.evaluation import evaluate
    from sics_plugin import Saliency, compute_masks, masked

    split, calibration = load_split(experiment.images.data), experiment.images.calibration
    images, labels = Examples(split.train, torch.device("cpu"))
    test = Examples(split.test, torch.device("cpu"))
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

    def run(self, experiment: Experiment, scorers: tuple[ScorerInfo, ...], *, train: bool, cells: bool) -> float:
        """Train every seed, compute the cells of those that are trained, or both; return seconds."""
        environment = Environment("cpu", minor_version("torch"), full_version("timm").split("+")[0])
        recipe = Recipe(experiment, environment)
        work, epochs = Cost.of(recipe), recipe.task.epochs
        planned = plan_cells(recipe, scorers)
        own = {seed: tuple(cell for cell in planned if cell.seed == seed) for seed in experiment.seeds}

        def job(task: SeedPart) -> SeedJob:
            return SeedJob(
                self.folder, experiment, environment, task.seed, task.cells, (), True, {}, recipe.run_id, recipe.task, task.part
            )

        if train:
            for path in (self.folder / CHECKPOINTS_NAME).glob("*"):
                path.unlink()
        done = 0 if train else epochs
        plans = {seed: SeedPlan(own[seed], work.training, work.saliency, work.cell, epochs, done) for seed in own}
        schedule = Schedule(plans, self.workers)
        begun = time.perf_counter()
        pending = {}
        while True:
            while len(pending) < self.workers and (task := schedule.next()) is not None:
                if task.cells and not cells:
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


# -- the floor --------------------------------------------------------------------------------------------------------


def products(experiment: Experiment, examples: int, backward: bool) -> float:
    """Seconds that the matrix products of one pass of so many examples take on one thread, each as large as it can be."""
    import torch

    torch.set_num_threads(1)
    options = dict(experiment.images.model.options)
    dim, depth = options["embed_dim"], options["depth"]
    rows = examples * (options["img_size"] // options["patch_size"]) ** 2
    sizes = [(dim, 3 * dim), (dim, dim), (dim, 4 * dim), (4 * dim, dim)]
    layers = [(torch.rand(rows, i), torch.rand(o, i), torch.empty(rows, o), torch.zeros(o, i)) for i, o in sizes]
    times = []
    for _ in range(60):
        begun = time.perf_counter()
        for entry, weight, out, grad in layers * depth:
            torch.mm(entry, weight.t(), out=out)
            if backward:
                torch.mm(out, weight, out=entry)
                torch.mm(out.t(), entry, out=grad)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


@dataclass(frozen=True)
class Floor:
    """Seconds of the matrix products alone, on all workers at once."""

    training: float
    cells: float

    @classmethod
    def measure(cls, experiment: Experiment, executor: LocalExecutor, workers: int, cells: int) -> Floor:
        """`cells`: how many masks of a seed are evaluated."""

        def seconds(examples: int, backward: bool) -> float:
            at_once = [executor.submit(products, experiment, examples, backward) for _ in range(workers)]
            return max(future.result() for future in at_once)

        from sics_cli.tasks.networks.evaluation import EVALUATION_BATCH

        training, calibration, seeds = experiment.images.training, experiment.images.calibration, len(experiment.seeds)
        step, saliency = seconds(training.batch_size, True), seconds(calibration.batch_size, True)
        steps = math.ceil(experiment.images.data.train / training.batch_size) * training.epochs
        evaluation = seconds(EVALUATION_BATCH, False) / EVALUATION_BATCH * experiment.images.data.test
        return cls(steps * step * seeds / workers, (calibration.batches * saliency + cells * evaluation) * seeds / workers)


# -- who else is there ------------------------------------------------------------------------------------------------


def busy_seconds() -> tuple[float, float]:
    """Processor seconds of the whole machine, and of this process with all it started; zeros where /proc does not tell."""
    try:
        tick = os.sysconf("SC_CLK_TCK")
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        every = (sum(fields[:3]) + sum(fields[5:8])) / tick
        parents, used = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                facts = path.read_text().rpartition(")")[2].split()
                parents[int(path.parent.name)], used[int(path.parent.name)] = int(facts[1]), sum(map(int, facts[11:13])) / tick
    except (OSError, ValueError):
        return 0.0, 0.0
    own, found = {os.getpid()}, 0
    while found != len(own):
        found, own = len(own), own | {one for one, parent in parents.items() if parent in own}
    ended = os.times()
    return every, sum(used[one] for one in own) + ended.children_user + ended.children_system


@dataclass(frozen=True)
class Timed:
    """One comparison: seconds of both, and the share of the machine's processors that others used meanwhile.

    Where the plain loop's seconds are a sum of earlier ones, the share is that of ours alone.
    """

    plain: float
    ours: float
    others: float


def compare(what: str, plain: Callable[[], float], ours: Callable[[], float]) -> Timed:
    every, own, begun = *busy_seconds(), time.perf_counter()
    one, two = plain(), ours()
    every, own = (after - before for after, before in zip(busy_seconds(), (every, own), strict=True))
    found = Timed(one, two, max(0.0, every - own) / (time.perf_counter() - begun) / (os.cpu_count() or 1))
    print(f"{what}: plain {one:.1f} s, ours {two:.1f} s, others {100 * found.others:.0f} %", file=sys.stderr, flush=True)
    return found


def table(timed: dict[str, list[Timed]], floors: dict[str, float]) -> list[str]:
    lines = [
        "| | rounds | plain (s) | ours (s) | **ratio** (lowest to highest) | floor (s) | others |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, rounds in timed.items():
        ratios = sorted(one.plain / one.ours for one in rounds)
        plain, ours, others = (statistics.median(getattr(one, name) for one in rounds) for name in ("plain", "ours", "others"))
        lines.append(
            f"| {what} | {len(rounds)} | {plain:.1f} | {ours:.1f} | **{statistics.median(ratios):.2f}** "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {floors[what]:.1f} | {100 * others:.0f} % |"
        )
    return lines


def write_between(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    epochs = experiment_from_mapping(DIGITS).images.training.epochs
    for name, default in (("rounds", 3), ("epochs", epochs), ("seeds", 5), ("workers", 2), ("threads", 2), ("job", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="write the table into this page, between its markers")
    parser.add_argument("--plain-job", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    full = experiment_from_mapping({**DIGITS, "seeds": args.seeds})
    if args.plain_job:
        infos = describe((), "gradient").scorers
        set_threads(args.threads)
        plain_training(full)
        plain_cells(full, choose(infos, None, "gradient", "magnitude")[0])
        return
    training, cells, both = f"training, {args.epochs} epochs", "saliency, masks, evaluation", "**both**"
    job = "whole job, start to exit"
    timed: dict[str, list[Timed]] = {training: [], cells: [], both: []}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=context) as plain:
        ours = Ours(Path(folder), args.workers)
        plain.submit(set_threads, args.threads).result()
        scorers = choose(ours.infos, None, "gradient", "magnitude")[0]
        for turn in range(args.rounds + 1):  # the first turn, a short one, warms both up
            one = replace(full, training=replace(full.training, epochs=args.epochs if turn else 1))
            ours_does = functools.partial(ours.run, one, scorers)
            first = compare(
                training, plain.submit(plain_training, one).result, functools.partial(ours_does, train=True, cells=False)
            )
            second = compare(
                cells, plain.submit(plain_cells, one, scorers).result, functools.partial(ours_does, train=False, cells=True)
            )
            third = compare(
                both, functools.partial(float, first.plain + second.plain), functools.partial(ours_does, train=True, cells=True)
            )
            if turn:
                for what, found in ((training, first), (cells, second), (both, third)):
                    timed[what].append(found)
        # The dense network, one mask for κ = 0 and one for every other scorer, and the repeat, at every sparsity.
        masks = 1 + (sum(info.kappa != 0 for info in scorers) + 2) * len(full.sparsities)
        floor = Floor.measure(full, ours.executor, args.workers, masks)
        ours.executor.stop()
        command = ["-m", "sics_cli", "replicate", "--seeds", str(args.seeds), "--workers", str(args.workers), "--out"]
        counts = [f"--seeds={args.seeds}", f"--threads={args.threads}"]
        for turn in range(args.job):
            plain_job = functools.partial(whole_job, [__file__, "--plain-job", *counts])
            our_job = functools.partial(whole_job, [*command, str(Path(folder) / f"job-{turn}")])
            timed.setdefault(job, []).append(compare(job, plain_job, our_job))
    trained = floor.training * args.epochs / full.training.epochs
    floors = {training: trained, cells: floor.cells, both: trained + floor.cells, job: floor.training + floor.cells}
    text = "\n".join(
        [
            f"{args.seeds} seeds of `digits` on {cpu_model()}, {os.cpu_count()} cores, {platform.system()}, "
            f"torch {full_version('torch')}; plain: 1 process, {args.threads} threads; ours: {args.workers} processes, "
            "1 thread each. *floor*: the matrix products alone, on all workers at once; *others*: what other programs took "
            "of the machine.",
            "",
            *table(timed, floors),
        ]
    )
    print(text)
    if args.markdown:
        write_between(args.markdown, text)


if __name__ == "__main__":
    main()
