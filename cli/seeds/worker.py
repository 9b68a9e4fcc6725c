"""Inside a worker process: its set-up, and the tasks it can do."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.seeds.job import SeedJob
from sics_cli.settings.config import Experiment, ModelConfig
from sics_cli.store.run_folder import LOG_NAME

if TYPE_CHECKING:
    import torch


_device_name = "cpu"


@dataclass(frozen=True, slots=True)
class Description:
    """What only torch can tell: facts about the scorers, and the names of the usable GPUs."""

    scorers: tuple[ScorerInfo, ...]
    gpus: tuple[str, ...]


def set_device(name: str) -> None:
    """Fix the device of this process."""
    global _device_name
    _device_name = name


def watch_driver(alive: Any) -> None:
    """End this process as soon as the driver is gone or closes its end of the pipe `alive`."""
    parent = multiprocessing.parent_process()
    watched = [alive] if parent is None else [alive, parent.sentinel]

    def watch() -> None:
        wait(watched)
        os._exit(1)

    threading.Thread(target=watch, name="watch-driver", daemon=True).start()


def describe(
    specs: Sequence[str], saliency: str, experiment: Experiment | None = None, shape: tuple[int, ...] = ()
) -> Description:
    """Job: facts for the driver, which does not import torch.

    Refuses a scorer that is unknown, and a network of `experiment` that has none of the units to prune, takes no images of this
    shape (channels, height, width) or is not that of the weights given.
    """
    import torch

    if experiment is not None:
        check_unit(experiment)
        check_network(experiment, shape)

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Description(describe_scorers(specs, saliency), tuple(gpus))


def check_unit(experiment: Experiment) -> None:
    """Refuse, before anything is trained, a network without channels or heads that can be taken out; weights there always are."""
    if experiment.unit == "weight":
        return
    from sics_cli.tasks.networks.models import build_model
    from sics_plugin import find_groups

    unit: Any = experiment.unit
    try:
        find_groups(build_model(experiment.model, 0), unit)
    except ValueError as error:
        reason = str(error).split("; ")[0]  # what to call in Python is of no use here
        raise ConfigError(f"--unit {unit}: model.name = {experiment.model.name!r} as set cannot be pruned so: {reason}") from None


def check_network(experiment: Experiment, shape: tuple[int, ...]) -> None:
    """Refuse a network that does not take the images, or that the given weights do not fit, before anything is trained."""
    import torch

    from sics_cli.tasks.networks.models import build_model, is_timm
    from sics_cli.tasks.networks.start import begin_with, start_of

    start = start_of(experiment)
    if start is None and not is_timm(experiment.model):
        return
    model = build_model(experiment.model, 0).eval()
    if start is not None:
        begin_with(model, start)
    if not shape or not is_timm(experiment.model):
        return
    try:
        with torch.no_grad():
            model(torch.zeros(2, *shape))
    except Exception as error:  # whatever a network raises on images that it is not made for
        reason = str(error).split("\n")[0]
        what = "×".join(map(str, shape))
        raise ConfigError(f"model.name = {experiment.model.name!r} does not take images of {what}: {reason}") from None


def fetch_weights(model: ModelConfig) -> None:
    """Job: have timm's published weights in the cache."""
    from sics_cli.tasks.networks.start import fetch_pretrained

    fetch_pretrained(model)


def run_seed(job: SeedJob) -> int:
    """Job: compute the cells of one seed into the inbox; return how many failed."""
    _log_to(job.folder / LOG_NAME)
    return compute_seed(job)


def compute_seed(job: SeedJob) -> int:
    """Do what `run_seed` does where the process has a log of its own."""
    device = _prepare_torch()
    from sics_cli.seeds.seed_run import SeedRun

    return SeedRun(job, device).run()


def train_seed(job: SeedJob, until: int) -> int:
    """Job: train the seed's dense network until this epoch; return how many of its cells failed by that (all or none)."""
    _log_to(job.folder / LOG_NAME)
    device = _prepare_torch()
    from sics_cli.seeds.seed_run import SeedRun

    return SeedRun(job, device).advance(until)


def warm_up() -> None:
    """Job: import what every seed needs, while another worker answers the driver."""
    from sics_cli.seeds import seed_run  # noqa: F401


def _log_to(path: Path) -> None:
    """Send what libraries print to the run's log, away from the user's terminal."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _prepare_torch() -> torch.device:
    """One thread and deterministic kernels, so that results do not depend on the number of workers."""
    import torch

    from sics_cli.seeds.seed_run import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device(_device_name)
    # On a GPU some operation may have no deterministic form: the run goes on, and its rows carry a flag.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow, for debugging
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    return device
