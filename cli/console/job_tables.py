"""Jobs of a queue, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from sics_analysis.results import plural
from sics_cli.base.errors import SicsError
from sics_cli.console import tables
from sics_cli.console.progress_bars import clock
from sics_cli.experiment.cells import Cell, by_seed
from sics_cli.runs.session import Session
from sics_cli.slurm.executor import SlurmCluster
from sics_cli.slurm.job_plan import cost_of, forecast, run_parts
from sics_cli.slurm.ledger import DONE, Batch, JobPart, Ledger, keys_on_their_way
from sics_cli.slurm.queue import ENDED, RUNNING, JobState, Queue, cluster_facts
from sics_cli.store.store import Store

#: Longer lists of jobs are shown by their beginning and their end.
_SHOWN = 6
_LISTED = 12
UNKNOWN = "unknown"
#: What is told of first, where there are too many jobs to list.
_ORDER = ("running", "failed", UNKNOWN, "queued")


def print_jobs(out: Console, session: Session, store: Store | None, cluster: SlurmCluster, missing: Sequence[Cell]) -> None:
    """What would be submitted for these cells, and the cost model: seeds × minutes / workers."""
    coming = keys_on_their_way(Ledger(session.folder).open())
    cells = [cell for cell in missing if cell.key not in coming]
    on_their_way = f"; {plural(len(missing) - len(cells), 'cell')} on the way already" if len(cells) < len(missing) else ""
    parts = run_parts(session.recipe, session.folder, store, cells, cluster)
    arrays = -(-len(parts) // cluster.facts().array)
    what = plural(len(parts), "job")
    if len(parts) > 1:
        what += f" in {plural(arrays, 'array')}"
    tables.fact(out, "jobs", f"{what} on {cluster.describe()}{on_their_way}")
    for index, part in enumerate(parts):
        if index == _SHOWN - 1 and len(parts) > _SHOWN:
            tables.fact(out, "", f"and {len(parts) - _SHOWN} more")
        if index < _SHOWN - 1 or index == len(parts) - 1:
            tables.paragraph(out, f"{index}: {_part(part)}", 10, 12)
    cost = cost_of(session.recipe, store)
    if not parts:
        return
    if cost is None:
        tables.fact(out, "cost", "not known before the first seed has ended: a job for each seed")
        return
    seeds = by_seed(cells)
    per_seed = max(cost.of_cells(mine) for mine in seeds.values())
    limit = cluster.options.timeout_min
    remark = f"; longer than timeout_min={limit}: goes on in another job" if per_seed > 60 * limit else ""
    tables.fact(out, "cost", f"{plural(len(seeds), 'seed')} × {_minutes(per_seed)} ({cost.source}){remark}")
    expected = [part.seconds for part in parts if part.seconds is not None]
    for workers in sorted({1, min(len(parts), cluster.at_once or len(parts))}):
        told = forecast(expected, workers)
        nodes = f"{workers} at a time" if workers > 1 else "one at a time"
        tables.fact(out, "", f"{nodes}: about {clock(told.expected)} once they run ({clock(told.ideal)} if work could be cut)")


def _part(part: JobPart) -> str:
    length = "" if part.seconds is None else f", about {_minutes(part.seconds)}"
    return f"{tables.seed_text(part.seeds)}, {plural(len(part.keys), 'cell')}{length}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def print_states(out: Console, folder: Path) -> None:
    """The run's jobs by state, and those that are not done one by one with the queue's ids."""
    batches = Ledger(folder).batches()
    if not batches:
        return
    states, trouble = _queue_states(batches)
    counts: Counter[str] = Counter()
    lines = []
    for batch in batches:
        for index, part in enumerate(batch.parts):
            job, how = batch.job_id(index), batch.ended.get(index)
            found = states.get(job)
            kind = _kind(how, found)
            counts[kind] += 1
            said = how or (UNKNOWN if found is None else found.state)
            reason = f", {found.reason}" if how is None and found is not None and found.reason not in ("", "None") else ""
            if kind != "done":
                lines.append((_ORDER.index(kind), f"job {job}, {tables.seed_text(part.seeds)}: {said}{reason}"))
    kinds = ["queued", "running", "done", "failed", *([UNKNOWN] if counts[UNKNOWN] else [])]
    arrays = [f"{'array' if len(batch.parts) > 1 else 'job'} {batch.submitted or '?'}" for batch in batches[-3:]]
    before = f"{len(batches) - 3} submissions before, " if len(batches) > 3 else ""
    told = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    tables.fact(out, "jobs", f"{told} ({before}{', '.join(arrays)}){f'; {trouble}' if trouble else ''}")
    for _, line in sorted(lines, key=lambda entry: entry[0])[:_LISTED]:
        tables.fact(out, "", line)
    if len(lines) > _LISTED:
        tables.fact(out, "", f"and {len(lines) - _LISTED} more")


def _kind(how: str | None, found: JobState | None) -> str:
    if how is not None:
        return "done" if how == DONE else "failed"
    if found is None:
        return UNKNOWN
    if found.state in ENDED:
        return "done" if found.state == "COMPLETED" else "failed"
    return "running" if found.state in RUNNING else "queued"


def _queue_states(batches: Sequence[Batch]) -> tuple[Mapping[str, JobState], str]:
    """What the queue says of jobs that have not ended as far as is written down, and why not if it does not."""
    names = {batch.name for batch in batches if batch.open}
    if not names:
        return {}, ""
    try:
        here, queue = cluster_facts().name, Queue(0.0)
        elsewhere = sorted({batch.cluster for batch in batches if batch.open} - {here})
        states = {} if elsewhere else queue.look(names)
    except SicsError:
        return {}, "the queue cannot be asked from here"
    if elsewhere:
        return {}, f"their queue is that of cluster {elsewhere[0]}"
    return states, queue.trouble or ""
