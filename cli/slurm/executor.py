"""Slurm by submitit: jobs that outlive this process."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError, SicsError, did_you_mean
from sics_cli.slurm.queue import ClusterFacts, Queue, cluster_facts

_NAME = re.compile(r"[\w.:@/+&|*()\[\],-]+")
#: What Slurm takes lists of names for, with commas.
_LISTS = frozenset(["partition", "constraint", "exclude"])
#: Days, in minutes: a mistyped limit is refused, not sent.
_LONGEST = 60 * 24 * 30


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What is asked of Slurm for each job, and how the queue is used.

    `minutes_per_job` is the length jobs are given by putting short seeds together: shorter jobs keep a scheduler busy with
    starting and ending them, longer ones wait longer for a free node. `poll_seconds` is how often the queue is asked at most.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    mem_gb: float | None = None
    timeout_min: int = 60
    minutes_per_job: float = 10.0
    poll_seconds: float = 15.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "partition=gpu,gpus_per_node=1,timeout_min=60"; a name may be several: "partition=gpu,long,timeout_min=60".

        >>> SlurmOptions.parse("partition=gpu,timeout_min=90").timeout_min
        90
        """
        given: dict[str, Any] = {}
        for item in _items(text):
            key, equals, value = (part.strip() for part in item.partition("="))
            if not equals or not value:
                raise ConfigError(f"--slurm {item}: is not accepted: give KEY=VALUE,KEY=VALUE")
            if key not in _READERS:
                raise ConfigError(f"--slurm {item}: unknown key {key!r}{did_you_mean(key, _READERS)}: give {', '.join(_READERS)}")
            if key in given:
                raise ConfigError(f"--slurm {item}: {key} is given twice")
            given[key] = _read(key, value)
        return cls(**given)

    @property
    def job_minutes(self) -> float:
        """The length to give jobs: where a guess is half of the truth, the time limit must not cut them off.

        >>> SlurmOptions(timeout_min=6).job_minutes, SlurmOptions().job_minutes
        (3.0, 10.0)
        """
        return min(self.minutes_per_job, self.timeout_min / 2)

    def parameters(self) -> dict[str, Any]:
        """The same in submitit's words."""
        plain = {"gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min"}
        asked = {key: value for key, value in asdict(self).items() if value is not None and key not in _OURS}
        if not self.gpus_per_node:
            del asked["gpus_per_node"]
        return {key if key in plain else f"slurm_{key}": value for key, value in asked.items()}

    def gpus(self, device: str) -> tuple[int, ...]:
        """GPUs inside a job, for the option `--device`: (0,) or none. This machine's own GPUs do not matter."""
        if device.startswith("cuda") and not self.gpus_per_node:
            raise ConfigError(f"--device {device}: jobs get no GPU: give --slurm gpus_per_node=1")
        if device not in ("auto", "cuda", "cuda:0") and self.gpus_per_node:
            raise ConfigError(f"--device {device}: a job has one GPU and it is cuda:0: give auto, or --slurm gpus_per_node=0")
        return (0,) if self.gpus_per_node else ()


def _items(text: str) -> list[str]:
    """Cut at commas, but not within what Slurm takes a list for: "partition=a,b", "exclude=node[1,3],node7"."""
    items: list[str] = []
    for item in filter(None, map(str.strip, text.split(","))):
        if items and "=" not in item and items[-1].partition("=")[0].strip() in _LISTS:
            items[-1] += f",{item}"
        else:
            items.append(item)
    return items


def _read(key: str, value: str) -> Any:
    kind, accepts, good = _READERS[key]
    try:
        read = kind(value)
        if not good(read):
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(f"--slurm {key}={value}: is not accepted: give {accepts}") from None
    return read


_TEXT = (str, "a name without spaces or quotes", lambda text: _NAME.fullmatch(text) is not None)
_READERS: dict[str, tuple[Any, str, Any]] = {
    "partition": _TEXT,
    "account": _TEXT,
    "qos": _TEXT,
    "constraint": _TEXT,
    "exclude": _TEXT,
    "gpus_per_node": (int, "0 or 1: a seed takes one GPU, more GPUs take more seeds at a time", lambda count: count in (0, 1)),
    "cpus_per_task": (int, "a count from 1 to 1024", lambda count: 1 <= count <= 1024),
    "mem_gb": (float, "gigabytes above 0, at most 65536", lambda size: 0 < size <= 65536),
    "timeout_min": (int, f"whole minutes from 1 to {_LONGEST}", lambda minutes: 1 <= minutes <= _LONGEST),
    "minutes_per_job": (float, f"minutes from 0 to {_LONGEST} (0: a job for every seed)", lambda m: 0 <= m <= _LONGEST),
    "poll_seconds": (float, "seconds from 1 to 3600", lambda seconds: 1 <= seconds <= 3600),
}
_OURS = {"minutes_per_job", "poll_seconds"}
assert set(_READERS) == {field.name for field in fields(SlurmOptions)}


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
    """Import submitit, which is an extra."""
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(f"--executor slurm: needs submitit ({error}): pip install 'sics[slurm]'") from None
    return submitit


class SlurmCluster:
    """Where jobs of one command go; no more than `at_once` of one array run at a time, None leaves that to the scheduler."""

    def __init__(self, options: SlurmOptions, at_once: int | None) -> None:
        self.options, self.at_once = options, at_once
        self.queue = Queue(options.poll_seconds)
        self._facts: ClusterFacts | None = None

    def facts(self) -> ClusterFacts:
        """What the controller says of itself, asked once."""
        if self._facts is None:
            self._facts = cluster_facts()
        return self._facts

    def name(self) -> str:
        """Name of the cluster."""
        return self.facts().name

    def check(self) -> None:
        """Refuse early where nothing can be submitted: submitit or Slurm is missing, or its controller does not answer."""
        import_submitit()
        self.name()
        try:
            import_submitit().AutoExecutor(folder="unused", cluster="slurm")
        except RuntimeError as error:
            raise ConfigError(f"--executor slurm: {error}") from None

    def describe(self) -> str:
        """Where jobs go and what each gets, in a few words."""
        options = self.options
        gpu = "one GPU" if options.gpus_per_node else plural(options.cpus_per_task, "core")
        partition = f", partition {options.partition}" if options.partition else ""
        return f"Slurm cluster {self.name()}{partition} ({gpu}, at most {options.timeout_min} min each)"

    def gpus(self, device: str, ask: Callable[[], Sequence[object]]) -> tuple[int, ...]:
        """GPUs that a job has; what torch sees on this machine does not matter."""
        return self.options.gpus(device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Jobs go on."""
