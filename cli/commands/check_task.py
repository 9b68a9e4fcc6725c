"""`sics-run check-task`: a task of the user's own, tried step by step before a run."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sics_analysis.results import plural
from sics_cli.commands.options import COUNT, SEED, Word, comma_list, named_as_options
from sics_cli.commands.replicate import build_experiment
from sics_cli.console import progress_bars, tables
from sics_cli.console.plain_text import plain
from sics_cli.experiment.cells import by_seed
from sics_cli.experiment.cost import Cost, points_of, signals_of, trial_of, trials_of
from sics_cli.runs.session import Asker, Session, open_session, with_task
from sics_cli.runs.workers import Workers
from sics_cli.seeds.findings import ANY_DELTA, FAILED, GOOD, REMARK, Finding, Findings, Times
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.worker import import_task, try_task
from sics_cli.settings.config import POOLS, SALIENCIES, UNITS, Experiment, OwnTask
from sics_cli.store.inbox import Inbox
from sics_cli.store.run_folder import LOG_NAME
from sics_cli.tasks.image_setup import ImageAccess
from sics_cli.tasks.own_task import OwnFacts, OwnRecipe, metric_of

CANNOT_RUN = 1
_STYLES = {GOOD: "green", REMARK: "yellow", FAILED: "red"}
_STEP_WIDTH = 11
_POLL_SECONDS = 0.1
#: Bytes of a store from which on a check says how large it will be.
_LARGE_STORE = 50_000_000


@click.command("check-task")
@click.argument("task", metavar="FILE.py:CLASS")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings of the run; [task] its options.")
@click.option("--seed", type=SEED, metavar="K", help="Which seed is tried.  [default: the run's first]")
@click.option("--thorough", is_flag=True, help="Make networks again, and a second seed's, however long that takes.")
@click.option("--seeds", type=COUNT, metavar="N", help="Of the run, for its time.  [default: 5]")
@click.option("--scorers", callback=comma_list(str, "names"), metavar="A,B", help="Of the run.  [default: sics]")
@click.option("--sparsities", callback=comma_list(float, "numbers"), metavar="S,T", help="Of the run.  [default: .5,.6,.7,.8]")
@click.option("--unit", type=Word(UNITS), help="What is kept or removed.  [default: weight]")
@click.option("--pool", type=Word(POOLS), help="What is ranked against each other.  [default: global]")
@click.option("--saliency", type=Word(SALIENCIES), help="Auxiliary signal.  [default: gradient]")
@click.option("--device", metavar="auto|cpu|cuda[:I]", help="Where networks run.  [default: auto]")
@click.option("--workers", type=COUNT, metavar="N", help="Of the run, for its time.  [default: one a core, or a GPU]")
def check_task(task: str, config: Path | None, seed: int | None, thorough: bool, workers: int | None, **options: Any) -> int:
    """Try a task of your own: one seed of each step, on the least data, by the code that will run it.

    Each step is a line: ✓ it is good, ! it runs but look at it, ✗ it cannot run, with the traceback of your own code. What your
    code prints goes to stderr. Of a `trainer` one epoch is trained. Then what the whole grid takes here. Nothing is kept. Exit
    code 1: it cannot run.
    """
    with named_as_options({f"task = {task!r}": f"FILE.py:CLASS {task!r}"}):
        experiment = build_experiment(None, config, options, task=task)
    given = _repeated(config=config, **options, workers=workers)
    assert isinstance(experiment.task, OwnTask)
    sheet, progress = _Sheet(progress_bars.results()), progress_bars.reporter()
    with tempfile.TemporaryDirectory(prefix="sics-check-") as folder, Workers(1, 1) as one:
        ask = Asker(experiment, one, progress.note)
        found, facts = ask.run(import_task, experiment.task)
        sheet.add(found)
        if facts is None:
            return sheet.end(task, given)
        sheet.add([_metric(facts, experiment)])
        if experiment.delta is None and facts.metric["delta"] is None:
            experiment, given = replace(experiment, delta=ANY_DELTA), [*given, "--delta", "D"]
        experiment, recipe = with_task(experiment, ask, ImageAccess())
        session = open_session(experiment, Path(folder), ask, recipe, one.gpus)
        times = _tried(sheet, session, one, facts, experiment.seeds[0] if seed is None else seed, thorough)
    if times is not None and not sheet.failed:
        _print_times(sheet.out, session, times, Workers(workers, len(experiment.seeds)).number(session.gpus))
    return sheet.end(task, given)


def _repeated(**options: Any) -> list[str]:
    """The options that were typed, as `replicate` takes them too."""
    words: list[str] = []
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return words


class _Sheet:
    """Prints a line a finding, and knows whether one is a failure."""

    def __init__(self, out: Console) -> None:
        self.out, self.failed, self.remarks = out, False, 0

    def add(self, findings: list[Finding]) -> None:
        """Print these, a traceback below what it is of."""
        for finding in findings:
            self.failed |= finding.mark == FAILED
            self.remarks += finding.mark == REMARK
            lead = f"{finding.mark} {finding.step:<{_STEP_WIDTH}} "
            tables.paragraph(self.out, finding.text, lead, len(lead), label_style=_STYLES[finding.mark])
            for row in finding.trace.rstrip().splitlines():
                self.out.print(Text("    " + plain(row), style="dim"), soft_wrap=True)

    def end(self, task: str, given: Sequence[str]) -> int:
        """Say what it comes to, and the command of a run with what was given; the exit code."""
        self.out.print()
        if self.failed:
            tables.fact(self.out, "cannot run", "mend what is marked ✗, and check again")
            return CANNOT_RUN
        if self.remarks:
            tables.fact(self.out, "first", f"look at what is marked ! ({self.remarks})")
        command = shlex.join(["sics-run", "replicate", "--task", task, *given])
        tables.command(self.out, "can run", command)
        return 0


class _Printed:
    """Shows on stderr what the worker's log has got since: what the task's own code prints."""

    def __init__(self, path: Path) -> None:
        self._path, self._shown = path, 0

    def show(self) -> None:
        """Show what is new."""
        if not self._path.exists():
            return
        text = self._path.read_bytes()[self._shown :]
        self._shown += len(text)
        sys.stderr.write(text.decode(errors="replace"))
        sys.stderr.flush()


def _metric(facts: OwnFacts, experiment: Experiment) -> Finding:
    metric = metric_of(facts.metric)
    delta = metric.delta if experiment.delta is None else experiment.delta
    better = "higher" if metric.higher_is_better else "lower"
    unit = "" if metric.unit == metric.name else f" in {metric.unit}"
    of = "" if facts.metric["mean"] else ", made of its examples by `of`"
    said = f"{metric.name}{unit}, {better} is better{of}"
    if delta is None:
        return Finding(REMARK, "metric", f"{said}; no δ: give replicate --delta, or the metric delta=")
    return Finding(GOOD, "metric", f"{said}; δ = {delta:g}")


def _tried(sheet: _Sheet, session: Session, one: Workers, facts: OwnFacts, seed: int, thorough: bool) -> Times | None:
    """Have a worker try the task, and print what it finds as it does."""
    task = session.experiment.task
    assert isinstance(task, OwnTask)
    Inbox(session.folder, session.recipe.run_id).prepare()
    job = SeedJob(
        folder=session.folder, experiment=session.experiment, environment=session.recipe.environment, seed=seed, cells=(),
        known=(), share=False, provenance={}, run_id=session.recipe.run_id, task=OwnRecipe(task, replace(facts, epochs=1)),
    )  # fmt: skip
    signals = sorted(signals_of(session.cells) - {session.experiment.saliency})
    kinds = (session.experiment.saliency, *signals)
    found, printed = Findings(session.folder), _Printed(session.folder / LOG_NAME)
    future = one.executor(session.gpus).submit(try_task, job, facts.epochs, kinds, thorough)
    while not wait([future], timeout=_POLL_SECONDS).done:
        printed.show()
        sheet.add(found.new())
    printed.show()
    sheet.add(found.new())
    try:
        return future.result()
    except BrokenProcessPool:
        sheet.add([Finding(FAILED, "worker", "died in the step after the last line (killed, or out of memory?)")])
        return None


def _print_times(out: Console, session: Session, times: Times, workers: int) -> None:
    """What a seed's parts and the whole grid take on so many workers."""
    trial = trial_of(times.cell, times.saliency)
    cost = Cost(times.training, times.saliency, times.cell, signals=times.signals, point=times.point, trial=trial)
    cells = by_seed(session.cells)
    total = sum(cost.of_cells(mine) for mine in cells.values())
    longest = max(cost.total(1, signals=signals_of(mine)) for mine in cells.values())
    table = tables.plain_table("part", ("each", "right"), ("times", "right"), ("together", "right"))
    for row in _rows(cost, len(cells), len(session.cells), points_of(session.cells), trials_of(session.cells)):
        table.add_row(*row)
    out.print()
    out.print(table)
    on = plural(workers, "worker")
    tables.fact(out, "whole run", f"about {progress_bars.clock(max(total / workers, longest))} on {on} here, one seed measured")
    if times.stored * len(session.cells) >= _LARGE_STORE:
        each, whole = times.stored / 1e6, times.stored * len(session.cells) / 1e6
        tables.fact(out, "store", f"about {whole:,.0f} MB: {each:.3g} MB of examples' numbers an evaluation")


def _rows(cost: Cost, seeds: int, cells: int, points: int, trials: int) -> Iterator[tuple[str, str, str, str]]:
    parts = (("dense network", cost.training, seeds), ("saliency", cost.saliency, seeds))
    signals = tuple((f"{kind} of scorers", seconds, seeds) for kind, seconds in cost.signals.items())
    searches = (("evaluation of a search", cost.point, points),) if points else ()
    tried = (("mask tried on the batches", cost.trial, trials),) if trials else ()
    for name, seconds, times in (*parts, *signals, ("mask and evaluation", cost.cell, cells), *searches, *tried):
        yield name, f"{seconds:.2f} s", f"{times:,}", progress_bars.clock(seconds * times)
