"""`--executor`: where a command's jobs run; the workers of a Ray cluster."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from sics_cli.base.errors import ConfigError, SicsError
from sics_cli.runs.devices import usable_gpus
from sics_cli.runs.workers import Executor, Workers
from sics_cli.seeds import worker
from sics_cli.slurm.executor import SlurmCluster, SlurmOptions

P = ParamSpec("P")
T = TypeVar("T")
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class RayExecutor:
    """Tasks of one core, or of one GPU, each in a process of its own; the driver, not Ray, tries again what dies."""

    def __init__(self, ray: Any, device: str) -> None:
        self._ray, self._device = ray, device
        self._references: list[Any] = []
        env = {**_THREADS, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # what cuBLAS needs to be deterministic
        gpus = 1 if device != "cpu" else 0
        self._run = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, runtime_env={"env_vars": env})(on_device)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Queue a call."""
        self._references.append(self._run.remote(self._device, function, args, kwargs))
        future: concurrent.futures.Future[T] = self._references[-1].future()
        return future

    def stop(self) -> None:
        """Kill what runs and drop what waits."""
        for reference in self._references:
            with contextlib.suppress(Exception):  # what has ended cannot be cancelled
                self._ray.cancel(reference, force=True)
        self._references.clear()


def on_device(device: str, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    """In a worker: fix the device of the process, then call."""
    worker.set_device(device)
    return function(*args, **kwargs)


class RayWorkers(Workers):
    """Connects to the cluster that RAY_ADDRESS names, or starts Ray on this machine, when it is first needed."""

    _ray: Any = None

    def _connected(self) -> Any:
        if self._ray is None:
            ray = import_ray()
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                ray.init(include_dashboard=False, configure_logging=False, logging_level="ERROR", log_to_driver=False)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise SicsError(f"--executor ray: cannot connect ({' '.join(str(error).split())[:200]})") from None
            self._ray = ray
        return self._ray

    def gpus(self, device: str, ask: Callable[[], Sequence[object]]) -> tuple[int, ...]:
        """As many as the cluster has, each task sees one; `--device cpu` uses none."""
        if not os.environ.get("RAY_ADDRESS") or device == "cpu":
            return usable_gpus(device, ask)
        count = int(self._connected().cluster_resources().get("GPU", 0))
        if device.startswith("cuda:"):
            raise ConfigError(f"--device {device}: Ray hands out the GPUs: give auto, cuda or cpu")
        if device == "cuda" and not count:
            raise ConfigError(f"--device {device}: the Ray cluster has no GPU; give auto or cpu")
        return tuple(range(count))

    def number(self, gpus: tuple[int, ...]) -> int:
        """As many tasks at a time as there are GPUs or cores, no more than asked for."""
        resources = self._connected().cluster_resources()
        room = int(resources.get("GPU" if gpus else "CPU", 1))
        return max(1, min(self._count or room, room, self._jobs))

    def devices(self, gpus: tuple[int, ...]) -> list[str]:
        """What each task sees: one core, or one GPU that is its own."""
        return ["cuda:0" if gpus else "cpu"] * self.number(gpus)

    def executor(self, gpus: tuple[int, ...]) -> Executor:
        """The executor, connected if need be."""
        if self._executor is None:
            self._executor = RayExecutor(self._connected(), "cuda:0" if gpus else "cpu")
        return self._executor

    def stop(self) -> None:
        """End what runs, and Ray itself if it was started here."""
        super().stop()
        if self._ray is not None:
            self._ray.shutdown()
        self._ray = None


def import_ray() -> Any:
    """Import Ray, which is an extra."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"--executor ray: needs ray ({error}): pip install 'sics[ray]'") from None
    return ray


EXECUTORS = ("local", "slurm", "ray")


def make_place(executor: str, slurm: str | None, workers: int | None, jobs: int) -> Workers | SlurmCluster:
    """The workers, or the queue, that `--executor`, `--slurm` and `--workers` ask for; nothing is started or submitted yet.

    `workers` are processes, Ray tasks, or jobs of one array that run at a time; no more than `jobs` have something to do.
    """
    if slurm is not None and executor != "slurm":
        raise ConfigError(f"--slurm {slurm}: is for --executor slurm, this is --executor {executor}")
    if executor == "slurm":
        cluster = SlurmCluster(SlurmOptions.parse(slurm or ""), workers)
        cluster.check()
        return cluster
    if executor == "ray":
        import_ray()
        return RayWorkers(workers, jobs)
    return Workers(workers, jobs)
