"""Inside a worker process: its set-up, and the tasks it can do."""

from __future__ import annotations

import contextlib
import gc
import io
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.cards import Card, lets_in_one
from sics_cli.base.errors import ConfigError, DeviceLostError
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.seeds.findings import GOOD, Finding, Findings, Times
from sics_cli.seeds.job import SeedJob
from sics_cli.settings.config import OwnTask
from sics_cli.store.run_folder import LOG_NAME

if TYPE_CHECKING:
    import torch

    from sics_cli.tasks.own_task import OwnFacts

_device_name, _sharing = "cpu", 1


@dataclass(frozen=True, slots=True)
class Description:
    """What only torch can tell: facts about the scorers, and the usable GPUs."""

    scorers: tuple[ScorerInfo, ...]
    gpus: tuple[Card, ...]


def set_device(name: str, sharing: int = 1) -> None:
    """Fix the device of this process, and how many processes of the run have the same."""
    global _device_name, _sharing
    _device_name, _sharing = name, sharing


def watch_driver(alive: Any) -> None:
    """End this process as soon as the driver is gone or closes its end of the pipe `alive`."""
    parent = multiprocessing.parent_process()
    watched = [alive] if parent is None else [alive, parent.sentinel]

    def watch() -> None:
        wait(watched)
        os._exit(1)

    threading.Thread(target=watch, name="watch-driver", daemon=True).start()


def describe(specs: Sequence[str], saliency: str, check: Callable[[], None] | None = None) -> Description:
    """Job: facts for the driver, which does not import torch; a scorer that is unknown is refused, and what `check` refuses."""
    import torch

    if check is not None:
        check()
    gpus = [
        Card(torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory, lets_in_one(index))
        for index in range(torch.cuda.device_count())
    ]
    return Description(describe_scorers(specs, saliency), tuple(gpus))


def run_seed(job: SeedJob) -> int:
    """Job: compute the cells of one seed into the inbox; return how many failed."""
    _log_to(job.folder / LOG_NAME)
    with _ends_with_the_card():
        failed = compute_seed(job)
    _leave_room()
    return failed


def compute_seed(job: SeedJob) -> int:
    """Do what `run_seed` does where the process has a log of its own."""
    device = _prepare_torch(job)
    from sics_cli.seeds.seed_run import SeedRun

    return SeedRun(job, device, _sharing).run()


def train_seed(job: SeedJob, until: int) -> int:
    """Job: train the seed's dense network until this epoch; return how many of its cells failed by that (all or none)."""
    _log_to(job.folder / LOG_NAME)
    device = _prepare_torch(job)
    from sics_cli.seeds.seed_run import SeedRun

    with _ends_with_the_card():
        failed = SeedRun(job, device, _sharing).advance(until)
    _leave_room()
    return failed


def train_seeds(jobs: tuple[SeedJob, ...]) -> tuple[int, ...]:
    """Job: train the seeds' dense networks to the end, as one stack; return how many cells of each failed by that."""
    _log_to(jobs[0].folder / LOG_NAME)
    device = _prepare_torch(jobs[0])
    from sics_cli.seeds.seed_run import SeedRun

    with _ends_with_the_card():
        first = SeedRun(jobs[0], device, _sharing)
        failed = SeedRun.advance_together([first, *(SeedRun(job, device, _sharing, first.task) for job in jobs[1:])])
    _leave_room()
    return failed


def import_task(config: OwnTask) -> tuple[list[Finding], OwnFacts | None]:
    """Job: what importing a task of the user's own tells, and its facts; None where it cannot be opened."""
    from sics_cli.seeds.trial import failure
    from sics_cli.tasks.own_task import facts_of, methods_of, opened

    try:
        task, facts = opened(config), facts_of(config)
    except ConfigError as error:
        return [failure("import", error)], None
    return [Finding(GOOD, "import", methods_of(task, config))], facts


def try_task(job: SeedJob, epochs: int, kinds: tuple[str, ...], thorough: bool) -> Times | None:
    """Job: a trial of the job's task; what it finds is left in the job's folder as it is found."""
    _log_to(job.folder / LOG_NAME)
    device = _prepare_torch(job)
    if isinstance(job.experiment.task, OwnTask) or device.type == "cuda":
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)  # its steps go on, and say what they met
    from sics_cli.seeds.trial import Trial

    found, trial = Findings(job.folder), Trial(job, device, epochs, kinds, thorough)
    for finding in trial.findings():
        found.add(finding)
    return trial.times


def warm_up() -> None:
    """Job: import what every seed needs, while another worker answers the driver."""
    from sics_cli.seeds import seed_run  # noqa: F401


@contextlib.contextmanager
def _ends_with_the_card() -> Iterator[None]:
    """End this process where its GPU is lost: every later seed would fail in it, and in a new process none need to."""
    try:
        yield
    except DeviceLostError as error:
        print(f"this worker ends: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _leave_room() -> None:
    """Free what the seed had on the card, and where it is shared give back what torch keeps of it: others may need it now."""
    if _device_name == "cpu":
        return
    gc.collect()  # the seed's parts know each other: counting references frees none of them
    if _sharing > 1:
        import torch

        torch.cuda.empty_cache()


def _log_to(path: Path) -> None:
    """Send what libraries print to the run's log, away from the user's terminal."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    for written in (sys.stdout, sys.stderr):
        if isinstance(written, io.TextIOWrapper):
            written.reconfigure(line_buffering=True)  # what is printed stands there before a crash, and can be followed


def _prepare_torch(job: SeedJob) -> torch.device:
    """One thread and deterministic kernels in full precision, so that results do not depend on the number of workers."""
    import torch

    from sics_cli.seeds.seed_run import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device(_device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # its context, and no other card's
    torch.use_deterministic_algorithms(True)  # what has no such form is done without, and its rows carry a flag
    torch.set_float32_matmul_precision("highest")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow, for debugging
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    return device
