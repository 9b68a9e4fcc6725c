"""Where jobs run. An `Executor` is a small `concurrent.futures.Executor`, here for processes of this machine.

Results travel by files (`sics_cli.store.inbox`), so an adapter to a cluster needs only a shared folder and a few
methods: `sics_cli.runs.executors`, `sics_cli.slurm.executor`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from sics_cli.runs.devices import usable_gpus, worker_devices

P = ParamSpec("P")
T = TypeVar("T")


class Executor(Protocol):
    """Runs functions elsewhere: its futures can be waited for, and its jobs end with this process."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Queue a call; if its worker dies, `result()` raises an error that `lost` recognises."""

    def stop(self) -> None:
        """End now: running jobs are killed, queued ones dropped. Files they finished stay."""


class LocalExecutor:
    """Spawned processes on this machine, one per entry of `devices` ("cpu", "cuda:0", …), started as jobs come.

    They end when the driver dies, however it dies: a thread in each waits for the driver's end of a pipe.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # before signals are blocked below: its own start unblocks them
        self._alive_reader, self._alive_writer = context.Pipe(duplex=False)
        device_queue = context.SimpleQueue()
        for device in devices:
            device_queue.put((device, devices.count(device)))
        self._pool = ProcessPoolExecutor(
            max_workers=len(devices),
            mp_context=context,
            initializer=_enter_worker,
            initargs=(self._alive_reader, device_queue),
        )

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Queue a call; a process is started if none is idle."""
        with _interrupts_kept_from_children(), _main_kept_from_children():
            return self._pool.submit(function, *args, **kwargs)

    def stop(self) -> None:
        """Kill the workers and drop what is queued."""
        self._alive_writer.close()  # every worker's watchdog sees this
        self._pool.shutdown(wait=True, cancel_futures=True)


class Workers:
    """Keeps one executor going for a command, so that a worker which has imported torch is used again.

    `count` workers are asked for (None: `a_card` a GPU, which the run sets, or one a core); no more than `jobs` are started.
    """

    a_card = 1

    def __init__(self, count: int | None, jobs: int) -> None:
        self._count = count
        self._jobs = jobs
        self._devices: list[str] = []
        self._executor: Executor | None = None

    def gpus(self, device: str, ask: Callable[[], Sequence[object]]) -> tuple[int, ...]:
        """Indices of the GPUs that the option `--device` means here."""
        return usable_gpus(device, ask)

    def devices(self, gpus: tuple[int, ...]) -> list[str]:
        """The device of each worker."""
        return worker_devices(gpus, self._count, self._jobs, self.a_card)

    def executor(self, gpus: tuple[int, ...]) -> Executor:
        """The executor on these GPUs (none: the CPU), started if need be."""
        devices = self.devices(gpus)
        if self._executor is None or devices != self._devices:
            self.stop()
            self._devices, self._executor = devices, LocalExecutor(devices)
        return self._executor

    def number(self, gpus: tuple[int, ...]) -> int:
        """How many workers `executor` has."""
        return len(self.devices(gpus))

    def stop(self) -> None:
        """End the workers now; `executor` starts new ones."""
        if self._executor is not None:
            self._executor.stop()
        self._executor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def lost(error: BaseException) -> bool:
    """Whether `error` says that a worker process died, and not that its job raised."""
    ray = sys.modules.get("ray")  # not imported: then it is none of its errors
    if ray is not None and isinstance(error, ray.exceptions.RayError):
        return not isinstance(error, ray.exceptions.RayTaskError)
    return isinstance(error, BrokenProcessPool)


@contextlib.contextmanager
def _interrupts_kept_from_children() -> Iterator[None]:
    """Start children with SIGINT blocked: Ctrl-C reaches the whole terminal group, and the driver alone answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _main_kept_from_children() -> Iterator[None]:
    """Start children without the script that runs: one without a guard would begin the experiment anew in each of them."""
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    vars(main)["__spec__"] = None
    try:
        yield
    finally:
        del vars(main)["__spec__"]
        vars(main).update(kept)


def _enter_worker(alive: Any, devices: Any) -> None:
    """Set a fresh worker process up, before it imports torch."""
    from sics_cli.seeds import worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # what a user's file prints as it is imported is no result of the command
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what cuBLAS needs to be deterministic
    worker.watch_driver(alive)
    worker.set_device(*devices.get())
