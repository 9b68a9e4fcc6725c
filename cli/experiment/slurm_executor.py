"""Slurm by submitit: an `Executor` whose jobs outlive this process."""

from __future__ import annotations

import contextlib
import io
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
            with contextlib.redirect_stderr(io.StringIO()), self._inner.batch():
                yield
        except (FailedJobError, FailedSubmissionError) as error:
            raise SicsError(f"--executor slurm: the jobs are refused: {' '.join(str(error).split())[:300]}") from None

    def again(self, job_id: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SlurmFuture:
        """Find a job again that was submitted before, if need be finishing what its submission left undone."""
        import submitit

        job: Any = submitit.SlurmJob(folder=self._folder, job_id=job_id)
        if not job.paths.submitted_pickle.exists():
            submitit.core.utils.DelayedSubmission(function, *args, **kwargs).dump(job.paths.submitted_pickle)
        return SlurmFuture(job, self._queue)

    def stop(self) -> None:
        """Nothing: jobs go on without this process, and `SlurmFuture.cancel` ends one."""


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
