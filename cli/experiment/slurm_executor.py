"""Slurm by submitit: an `Executor` whose jobs outlive this process."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sics_cli.experiment.errors import ConfigError, SicsError
from sics_cli.experiment.slurm_options import SlurmOptions
from sics_cli.experiment.slurm_queue import Queue

P = ParamSpec("P")
T = TypeVar("T")
#: Set before Python starts, so that no library brings threads of its own; the last is what cuBLAS needs to be deterministic.
SETUP = ["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 CUBLAS_WORKSPACE_CONFIG=:4096:8"]


#: How Slurm says that a user may not have so many jobs.
_TOO_MANY = re.compile(r"submit\w*limit|job submit limit", re.IGNORECASE)
#: What a driver that itself runs in a job knows of the cluster, and not of that job.
_OF_THE_CLUSTER = frozenset(["SLURM_CONF", "SLURM_CLUSTERS"])


class RefusedJobsError(SicsError):
    """The queue does not take jobs as they were asked for, or does not answer."""


class JobLostError(Exception):
    """A job ended without a result: cancelled, killed, out of time or memory, or its node went."""


class SlurmFuture:
    """A job of the queue, modelled on `concurrent.futures.Future`."""

    def __init__(self, job: Any, queue: Queue) -> None:
        self._job, self._queue = job, queue

    @property
    def job_id(self) -> str:
        """The queue's id."""
        return str(self._job.job_id)

    def done(self) -> bool:
        """Whether there is a result, or there will be none."""
        return bool(self._job.paths.result_pickle.exists()) or self._queue.ended(self.job_id) is not None

    def result(self) -> Any:
        """What the function returned; a `JobLostError` says how the job ended without that, or the end of its traceback."""
        from submitit.core.utils import pickle_load

        try:
            kind, value = pickle_load(self._job.paths.result_pickle)
        except (OSError, EOFError) as error:
            raise JobLostError(self._queue.ended(self.job_id) or f"its result cannot be read ({error})") from None
        if kind != "success":
            raise JobLostError(str(value).strip().splitlines()[-1])
        return value

    def cancel(self) -> bool:
        """Ask Slurm to end the job."""
        self._job.cancel(check=False)
        return True


class SlurmExecutor:
    """Submits to the queue; what jobs read and print lies in `folder`. Several submits within `batch()` make one array."""

    def __init__(self, folder: Path, name: str, options: SlurmOptions, queue: Queue, at_once: int) -> None:
        self._folder, self._queue = folder, queue
        self._inner = import_submitit().AutoExecutor(folder=folder, cluster="slurm")
        asked = {**options.parameters(), "slurm_setup": SETUP, "slurm_array_parallelism": at_once}
        self._inner.update_parameters(name=name, **asked)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SlurmFuture:
        """Queue a call."""
        return SlurmFuture(self._inner.submit(function, *args, **kwargs), self._queue)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Submit what is queued within as one array; a refusal becomes one line."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            with outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()), self._inner.batch():
                yield
        except (FailedJobError, FailedSubmissionError) as error:
            said = " ".join(str(error).split())[:300]
            hint = " (a larger minutes_per_job makes fewer jobs)" if _TOO_MANY.search(said) else ""
            raise RefusedJobsError(f"--executor slurm: the jobs are refused: {said}{hint}") from None

    def again(self, job_id: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SlurmFuture:
        """Find a job again that was submitted before, if need be finishing what its submission left undone."""
        import submitit

        job: Any = submitit.SlurmJob(folder=self._folder, job_id=job_id)
        if not job.paths.submitted_pickle.exists():
            submitit.core.utils.DelayedSubmission(function, *args, **kwargs).dump(job.paths.submitted_pickle)
        return SlurmFuture(job, self._queue)

    def stop(self) -> None:
        """Nothing: jobs go on without this process, and `SlurmFuture.cancel` ends one."""


@contextlib.contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Submit as from a login node, also where the driver itself runs in a job: sbatch hands the environment on, and with it
    that job's number of tasks and its memory, which others of its jobs cannot have."""
    hidden: dict[str, str] = {}
    if "SLURM_JOB_ID" in os.environ:
        of_jobs = [
            name for name in os.environ if name.startswith(("SLURM", "SRUN_", "SUBMITIT_")) and name not in _OF_THE_CLUSTER
        ]
        hidden = {name: os.environ.pop(name) for name in of_jobs}
    try:
        yield
    finally:
        os.environ.update(hidden)


def import_submitit() -> Any:
    """Import submitit, which is an extra.

    Raises
    ------
    ConfigError
        In one line, saying how to install it.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(f"--executor slurm: needs submitit ({error}): pip install 'sics[slurm]'") from None
    return submitit
