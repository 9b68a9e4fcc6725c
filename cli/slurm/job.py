"""Inside a job of a queue: the seeds of one part, one after another, each computing what is not there yet."""

from __future__ import annotations

import pickle
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from sics_cli.base.errors import ConfigError, MismatchError, SicsError, StorageError, is_storage_failure
from sics_cli.base.files import write_atomically
from sics_cli.seeds import worker
from sics_cli.seeds.job import SeedJob
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import CellRow
from sics_cli.store.run_folder import forget_saliencies


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended: the seeds it went through, and what stopped it, if that is nothing a cell can be blamed for."""

    seeds: tuple[int, ...]
    fatal: SicsError | None = None


@dataclass(frozen=True, slots=True)
class JobFile:
    """What a job reads: the device it uses, and its seeds' work."""

    device: str
    jobs: tuple[SeedJob, ...]

    def write(self, path: Path) -> None:
        """Put it at `path`, whole or not at all; lost in a crash of the machine, it only makes its job find nothing to do."""
        write_atomically(path, pickle.dumps(self), durable=False)  # a thousand at a time: each flush would cost as much as all


def run_part(path: Path) -> JobResult:
    """Job: compute what the `JobFile` at `path` says, and is not in the run's inbox or taken out of it yet.

    A job that is run again, because its node went or something more important came, so goes on where it was. If the file is
    gone, the run has given this job up, and nothing is done.
    """
    signal.signal(signal.SIGTERM, _leave)  # what cannot be finished now is found again from the files
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    done: list[int] = []
    try:
        for job in _read(path):
            if not path.exists():
                break
            run_rest(job)
            done.append(job.seed)
    except Exception as error:
        fatal = _portable(error)
        if fatal is None:
            raise
        return JobResult(tuple(done), fatal)
    return JobResult(tuple(done))


def _read(path: Path) -> tuple[SeedJob, ...]:
    try:
        file = pickle.loads(path.read_bytes())
    except FileNotFoundError:
        return ()
    worker.set_device(file.device)
    return tuple(file.jobs)


def run_rest(job: SeedJob) -> int:
    """Compute those cells of a seed that have no letter yet; the others' rows count as known. Return how many failed."""
    left = unfinished(job)
    failed = worker.compute_seed(left) if left.cells else 0
    if job.environment.device_class == "cpu":  # elsewhere one that is collected again may differ in a bit
        forget_saliencies(job.folder, job.seed)
    return failed


def unfinished(job: SeedJob) -> SeedJob:
    """The job without the cells that it, or another, finished since it was made."""
    posted = Inbox(job.folder, job.run_id).posted({cell.key for cell in job.cells})
    if not posted:
        return job
    rows = tuple(row for row in posted.values() if isinstance(row, CellRow))
    cells = tuple(cell for cell in job.cells if cell.key not in posted)
    # Rows made by this very job are shared with the rest, as if it had never been cut off.
    return replace(job, cells=cells, known=(*(job.known if job.share else ()), *rows), share=True)


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _portable(error: Exception) -> SicsError | None:
    """What stops a whole run, in a form that survives pickling; None for anything else."""
    for kind in (ConfigError, MismatchError):
        if isinstance(error, kind):
            return kind(str(error))
    if is_storage_failure(error):
        what = getattr(error, "filename", None)
        return StorageError(f"{what}: cannot be written ({error})" if what else str(error))
    return None
