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

from sics_cli.base.bits import no_better_than_chance
from sics_cli.base.errors import ConfigError, MismatchError, SicsError
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.seeds.job import SeedJob
from sics_cli.settings.config import Experiment, ModelConfig
from sics_cli.store.run_folder import LOG_NAME
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, key_name

if TYPE_CHECKING:
    import torch
    from torch import nn


#: So many training images tell whether a network that is given knows them.
_CHECKED = 128
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
    specs: Sequence[str],
    saliency: str,
    experiment: Experiment | None = None,
    facts: ImageFacts | None = None,
    access: DataAccess | None = None,
    allow_chance: bool = False,
) -> Description:
    """Job: facts for the driver, which does not import torch.

    Refuses a scorer that is unknown, and a network of `experiment` that has none of the units to prune, does not go with the
    images of `facts`, is not that of the weights given or, with them, knows nothing of the images (unless `allow_chance`).
    """
    import torch

    if experiment is not None:
        check_unit(experiment)
        check_network(experiment, facts, access, allow_chance)

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


def check_network(
    experiment: Experiment, facts: ImageFacts | None, access: DataAccess | None = None, allow_chance: bool = False
) -> None:
    """Refuse, before anything is trained, a network that does not go with the images, or the weights given with it."""
    from sics_cli.tasks.networks.models import VIT, build_model
    from sics_cli.tasks.networks.start import begin_with, start_of

    start = start_of(experiment)
    if start is None and experiment.model.name == VIT:
        return
    model = build_model(experiment.model, 0).eval()
    if facts is not None:
        _check_shapes(model, experiment, facts)
    if start is not None:
        begin_with(model, start)
    if facts is not None and start is not None and start.is_whole and not allow_chance:
        _check_knowledge(model, experiment, facts, access)


def _check_shapes(model: nn.Module, experiment: Experiment, facts: ImageFacts) -> None:
    """Refuse a network that does not take the images, or has another number of outputs than there are classes."""
    import torch

    from sics_cli.tasks.images.datasets import outputs_of
    from sics_cli.tasks.networks.models import GIVE_CLASSES

    called, shape = f"model.name = {experiment.model.name!r}", facts.shape[1:]
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *shape)).shape[1]
    except SicsError:
        raise
    except Exception as error:  # whatever a network raises on images that it is not made for
        reason = str(error).split("\n")[0]
        raise ConfigError(f"{called} does not take images of {'×'.join(map(str, shape))}: {reason}") from None
    if outputs != (wanted := outputs_of(experiment.data, facts)):
        there = "names in --classes" if experiment.data.classes else f"classes of {key_name(experiment.data.name)}"
        raise ConfigError(f"{called} has {outputs} outputs for {wanted} {there}: {GIVE_CLASSES}")


def _check_knowledge(model: nn.Module, experiment: Experiment, facts: ImageFacts, access: DataAccess | None) -> None:
    """Refuse a network that was trained already and tells these images apart no better than by chance."""
    import torch

    from sics_cli.tasks.images.datasets import first_of_training
    from sics_cli.tasks.images.examples import Examples

    data, known = experiment.data, Examples(first_of_training(experiment.data, facts, access, _CHECKED))
    correct, n = 0, len(known)
    with torch.no_grad():
        for index in torch.arange(n).split(_CHECKED // 4):
            images, labels = known.at(index)
            correct += int((model(images).argmax(dim=1) == labels).sum())
    if no_better_than_chance(correct, n, len(facts.classes)):
        order = "by --classes" if data.classes else "by name"
        raise MismatchError(
            f"--checkpoint {experiment.checkpoint}: gets {correct} of {n} training images right, no better than chance: are "
            f"--standardise ({data.standardise or 'data'}), the size {'×'.join(map(str, facts.shape[1:]))} and the order of the "
            f"classes ({order}; --classes FILE) those it was trained with? --allow-chance goes on all the same"
        )


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
