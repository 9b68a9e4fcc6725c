"""How a run's throughput grows with workers: 1 and 2 measured on a real Slurm, 8 to 512 simulated from what was recorded.

    python bench/throughput.py record   runs the digits preset on a Slurm of this machine, with 1 and with 2 jobs at a time
    python bench/throughput.py          simulates from bench/throughput.json, prints the table, draws docs/throughput.svg

The simulation hands out jobs in order, each to the worker that is free first; seeds take what recorded ones took, and are put
together into jobs by the rule that `replicate` uses, with and without `--workers`. Every job starts with the recorded time until
a worker has loaded Python, torch and data; the controller starts jobs one after another; and one driver takes every row into the
store, one commit after another. Nothing is fitted.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from sics_cli.slurm.job_plan import group, minutes_for

ROOT = Path(__file__).parents[1]
RECORDED = Path(__file__).with_name("throughput.json")
FIGURE = ROOT / "docs" / "throughput.svg"
CLUSTER = ROOT / "tests" / "cli" / "slurm" / "cluster.py"
WORKERS = (1, 2, 8, 16, 32, 64, 128, 256, 512)
#: Seeds of the simulated runs: about 10 000 cells of the default experiment, and ten times that.
SIZES = (190, 1900)
#: `minutes_per_job` where `--slurm` does not say otherwise.
MINUTES = 10.0
#: How jobs are made: of about ten minutes, shorter where fewer than N would come together, or one for each seed.
SHARED, TOLD, SINGLE = "jobs of 10 min", "with --workers N", "a job a seed"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a real run took, in seconds.

    `count` seeds were run with one and with two jobs at a time; `seeds` is the time each kept a worker in both, `start` that
    from a job's start in the queue to its seed's, `dispatch` the controller's between two starts of jobs, `intake` the
    driver's for a row, `cells` the rows of a seed, `elapsed` the whole run by the number of jobs at a time.
    """

    count: int
    seeds: list[float]
    start: float
    dispatch: float
    intake: float
    cells: int
    elapsed: dict[str, float]


def simulate(lengths: list[float], workers: int, how: str, recorded: Recorded) -> float:
    """Seconds until the driver has the last row of a run of these seeds."""
    usual = sum(lengths) / len(lengths)  # what replicate knows when it groups them: the mean, not what each will take
    costs: dict[int, float | None] = dict.fromkeys(range(len(lengths)), usual)
    minutes = 0.0 if how == SINGLE else minutes_for(costs.values(), MINUTES, workers if how == TOLD else None)
    jobs = group(costs, minutes)
    free = [0.0] * workers
    rows: list[float] = []
    started = 0.0
    for job in jobs:
        started = max(started + recorded.dispatch, heapq.heappop(free))
        moment = started + recorded.start
        for seed in job:
            moment += lengths[seed]
            rows.append(moment)
        heapq.heappush(free, moment)
    taken = 0.0
    for moment in sorted(rows):  # a seed's rows come at its end here: later than in truth, for the driver the worse case
        taken = max(taken, moment) + recorded.intake * recorded.cells
    return taken


def record(seeds: int) -> Recorded:
    """Run the digits preset for real; the machine should have nothing else to do."""
    with tempfile.TemporaryDirectory(prefix="sics-queue-") as name:
        folder = Path(name)
        started = subprocess.run(
            [sys.executable, CLUSTER, "start", folder / "slurm"], capture_output=True, text=True, check=False
        )
        if started.returncode != 0:
            sys.exit(started.stderr.strip().splitlines()[-1])
        env = {**os.environ, **dict(line.split("=", 1) for line in started.stdout.splitlines())}
        elapsed: dict[str, float] = {}
        lengths: list[float] = []
        starts: list[float] = []
        try:
            for workers in (1, 2):
                out = folder / f"run{workers}"
                command = [
                    sys.executable, "-m", "sics_cli", "replicate", "--seeds", str(seeds), "--executor", "slurm", "--slurm",
                    "poll_seconds=1,minutes_per_job=0", "--workers", str(workers), "--out", str(out), "--no-report",
                ]  # fmt: skip
                begun = time.perf_counter()
                subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
                elapsed[str(workers)] = time.perf_counter() - begun
                worked, waited = seed_times(out, env)
                lengths += worked
                starts += waited
            return Recorded(
                seeds, lengths, median(starts), dispatch_time(env), intake_time(folder), rows_of_a_seed(folder), elapsed
            )
        finally:
            subprocess.run([sys.executable, str(CLUSTER), "stop", str(folder / "slurm")], check=False)


def seed_times(run: Path, env: dict[str, str]) -> tuple[list[float], list[float]]:
    """Each seed's seconds of work, and the rest of its job's time, which went by before it began."""
    lines = subprocess.run(
        ["squeue", "--noheader", "--array", "--states=COMPLETED", "--format=%i|%S|%e"],
        env=env, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    (record,) = (json.loads(path.read_text()) for path in (run / "jobs").glob("*.json"))
    jobs = {}
    for line in lines:
        job, begun, ended = line.strip().split("|")
        jobs[job] = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
    with sqlite3.connect(run / "run.sqlite") as connection:
        query = "SELECT seed, sum(wall_seconds) FROM {} GROUP BY seed"
        work: dict[int, float] = {}
        for table in ("checkpoints", "cells", "repeats"):
            for seed, seconds in connection.execute(query.format(table)):
                work[seed] = work.get(seed, 0.0) + seconds
    connection.close()
    ids = {part["seeds"][0]: f"{record['submitted']}_{index}" for index, part in enumerate(record["parts"])}
    return [work[seed] for seed in sorted(work)], [jobs[ids[seed]] - work[seed] for seed in sorted(work)]


def dispatch_time(env: dict[str, str], jobs: int = 40) -> float:
    """Seconds that the controller takes for each job of an array that does nothing, beyond what it takes for one."""

    def run(count: int) -> float:
        begun = time.perf_counter()
        command = ["sbatch", "--wait", "--output=/dev/null", f"--array=0-{count - 1}", "--wrap=true"]
        subprocess.run(command, env=env, check=True, capture_output=True)
        return time.perf_counter() - begun

    return max(0.0, run(jobs) - run(1)) / (jobs - 1)


def intake_time(folder: Path) -> float:
    """Seconds for a row on its way from a letter into the store, where the run's folder is."""
    from dataclasses import replace

    from sics_cli.store.inbox import Inbox, Intake
    from sics_cli.store.store import Store

    with Store.open(folder / "run1" / "run.sqlite", read_only=True) as store:
        row = next(row for row in store.cells() if row.mask_hash is not None)
    place = folder / "intake"
    place.mkdir()
    inbox = Inbox(place, "run")
    inbox.prepare()
    count = 200
    for index in range(count):
        inbox.post(replace(row, cell_key=f"{index:064}", seed=index))
    with Store.create(place / "run.sqlite", {}) as store:
        begun = time.perf_counter()
        Intake(inbox, store, print).empty()
        return (time.perf_counter() - begun) / count


def rows_of_a_seed(folder: Path) -> int:
    with sqlite3.connect(folder / "run1" / "run.sqlite") as connection:
        count = sum(
            connection.execute(f"SELECT count(*) FROM {name} WHERE seed = 0").fetchone()[0] for name in ("cells", "repeats")
        )
    connection.close()
    return int(count)


def curves(recorded: Recorded) -> dict[tuple[int, str], list[float]]:
    """Seeds an hour, by (seeds of the run, how jobs are made), for each of `WORKERS`."""
    found = {}
    for size in SIZES:
        dice = random.Random(0)
        lengths = [dice.choice(recorded.seeds) for _ in range(size)]
        for how in (SHARED, TOLD, SINGLE):
            found[size, how] = [3600 * size / simulate(lengths, count, how, recorded) for count in WORKERS]
    return found


def draw(recorded: Recorded, found: dict[tuple[int, str], list[float]]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullLocator

    plt.rcParams["svg.hashsalt"] = "sics"  # the same file from the same numbers
    figure, axes = plt.subplots(figsize=(7.6, 4.8))
    one = 3600 / (sum(recorded.seeds) / len(recorded.seeds))
    axes.plot(WORKERS, [one * count for count in WORKERS], color="0.55", linewidth=1)
    axes.annotate("linear: workers / minutes of a seed", (3.2, one * 4.1), rotation=37, color="0.4", fontsize=8)
    colours = {SIZES[0]: "#1f77b4", SIZES[1]: "#d95f02"}
    for size in SIZES:
        cells = f"{size:,} seeds ({size * recorded.cells:,} cells)"
        axes.plot(WORKERS, found[size, TOLD], "o-", markersize=4, color=colours[size], label=f"{cells}, --workers N")
        axes.plot(WORKERS, found[size, SHARED], "--", color=colours[size], label=f"{cells}, jobs of {MINUTES:g} min whatever N")
    jobs = len(group(dict.fromkeys(range(SIZES[0]), 3600 / one), MINUTES))
    axes.annotate(
        f"{jobs} jobs in all, one to a worker", (92, found[SIZES[0], SHARED][-1] * 1.1), color=colours[SIZES[0]], fontsize=8
    )
    text = f"each job takes {recorded.start:.0f} s to start,\nand {recorded.dispatch:.1f} s go by between two starts"
    axes.annotate(
        text, (400, found[SIZES[1], TOLD][-1] * 0.9), (16, one * 300), color=colours[SIZES[1]], fontsize=8,
        arrowprops={"arrowstyle": "-", "color": colours[SIZES[1]], "linewidth": 0.6},
    )  # fmt: skip
    measured = [3600 * recorded.count / recorded.elapsed[str(count)] for count in (1, 2)]
    axes.plot((1, 2), measured, "k*", markersize=11, label=f"measured on a real Slurm: {recorded.count} seeds, a job each")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(WORKERS, [str(count) for count in WORKERS])
    axes.set_ylim(one / 2, one * WORKERS[-1] * 1.3)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("workers N (one core or one GPU each)")
    axes.set_ylabel("seeds an hour")
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=("record", "simulate"), default="simulate")
    parser.add_argument("--seeds", type=int, default=2, help="how many to record")
    asked = parser.parse_args()
    if asked.action == "record":
        RECORDED.write_text(json.dumps(asdict(record(asked.seeds)), indent=1) + "\n")
    recorded = Recorded(**json.loads(RECORDED.read_text()))
    print(
        f"recorded: {len(recorded.seeds)} jobs of {min(recorded.seeds):.1f} to {max(recorded.seeds):.1f} s, start of a job "
        f"{recorded.start:.1f} s, dispatch {1000 * recorded.dispatch:.0f} ms a job, intake {1000 * recorded.intake:.1f} ms a row"
    )
    for count in (1, 2):
        mine = recorded.seeds[: recorded.count] if count == 1 else recorded.seeds[recorded.count :]
        simulated = simulate(mine, count, SINGLE, recorded)
        print(f"{count} at a time: measured {recorded.elapsed[str(count)]:.0f} s, simulated {simulated:.0f} s")
    found = curves(recorded)
    print(f"\n{'workers':>30}" + "".join(f"{count:>8}" for count in WORKERS))
    alone = 3600 / (sum(recorded.seeds) / len(recorded.seeds))
    for (size, how), values in found.items():
        print(f"{f'{size} seeds, {how}':>30}" + "".join(f"{value:>8.0f}" for value in values) + "  seeds an hour")
        shares = [value / alone / count for value, count in zip(values, WORKERS, strict=True)]
        print(f"{'':>30}" + "".join(f"{share:>7.0%} " for share in shares) + " of linear")
    draw(recorded, found)


if __name__ == "__main__":
    main()
