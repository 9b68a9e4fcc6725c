"""A seed's work on a pretend GPU: rows as the CPU's, nothing mixed, and no more waits than the work is allowed.

See tests/pretend_device.py for what a wait is, and tests/plugin/test_device.py for the calls of the plugin.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sics_cli.experiment.cells import plan_cells
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.seed_run import SeedRun
from sics_cli.settings.config import Experiment
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import CellRow, FailureRow, RepeatRow
from sics_cli.tasks.checkpoints import state_hash
from sics_cli.tasks.images.datasets import ChannelStatistics, Part, Split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.evaluation import hits_and_loss
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.size import VisionTransformer
from sics_cli.tasks.networks.training import ImageTrainer

CPU = torch.device("cpu")
#: Waits of a whole tiny seed, by what is pruned: nine scorers at one sparsity, checkpoints and saliencies included.
SEED = {"weight": 369, "channel": 420}
#: Waits of a mask that is written into the network, evaluated and taken out: the results, and whether the network is as it was.
MASKED = 2
#: Waits of an epoch of five steps, of one whose images are augmented, or mixed, and of an evaluation of two batches.
EPOCH, AUGMENTED, MIXED, EVALUATION = 3, 54, 4, 1


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def infos() -> list[ScorerInfo]:
    known = {info.name: info for info in describe_scorers((), "gradient")}
    return [known[name] for name in ("magnitude", "log", "gradient", "chaos", "fake", "random", "adaptive", "wanda", "taylor")]


def rows(folder: Path, experiment: Experiment, infos: list[ScorerInfo], device: torch.device) -> dict[Any, Any]:
    """What a seed comes to, but for times and what names the device."""
    environment = Environment(device.type, "2.15", "1.0")
    recipe = Recipe(experiment, environment)
    (folder / "inbox").mkdir(parents=True)
    chosen = [info for info in infos if experiment.unit in info.units]
    cells = plan_cells(recipe, chosen)
    SeedRun(SeedJob(folder, experiment, environment, 0, cells, (), True, {}, recipe.run_id, recipe.task), device).run()
    found: dict[Any, Any] = {}
    for _, row in Inbox(folder, recipe.run_id).letters():
        assert not isinstance(row, FailureRow), row.traceback
        if isinstance(row, CellRow | RepeatRow):
            same = {"wall_seconds": 0, "finished": "", "fingerprint": None, "provenance": None, "cell_key": "", "repeat_key": ""}
            found[type(row), row.scorer] = replace(row, **{name: same[name] for name in same if hasattr(row, name)})
    return found


@pytest.mark.parametrize("unit", ["weight", "channel"])
def test_a_seed_there_has_the_rows_of_the_cpu(
    pretend: ModuleType, tmp_path: Path, experiment: Experiment, infos: list[ScorerInfo], unit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    small = replace(experiment, seeds=(0,), sparsities=(0.5,), unit=unit)
    expected = rows(tmp_path / "here", small, infos, CPU)
    waited: list[int] = []
    evaluation = SeedRun._evaluation

    with pretend.PretendDevice() as device:

        def counted(self: SeedRun, *arguments: Any) -> Any:
            before = device.waited
            made = evaluation(self, *arguments)
            waited.append(device.waited - before)
            return made

        monkeypatch.setattr(SeedRun, "_evaluation", counted)
        found = rows(tmp_path / "there", small, infos, pretend.DEVICE)
    assert found == expected
    assert len(waited) > 4
    assert max(waited) <= MASKED, device.waits.most_common(12)
    assert device.waited <= SEED[unit], device.waits.most_common(12)


def photos(n: int) -> Part:
    """Pixels of uint8, standardised batch by batch."""
    dice = np.random.default_rng(n)
    statistics = ChannelStatistics(np.full(1, 120.0, np.float32), np.full(1, 60.0, np.float32))
    return Part(dice.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8), dice.integers(0, 10, n), statistics)


@pytest.mark.parametrize(
    ("augmentation", "budget"),
    [
        ({}, EPOCH),
        ({"crop_padding": 1, "flip": True, "randaugment": 2}, AUGMENTED),
        ({"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "schedule": "cosine"}, MIXED),
    ],
)
def test_training_there_gives_the_weights_of_the_cpu(
    pretend: ModuleType, experiment: Experiment, augmentation: dict[str, Any], budget: int
) -> None:
    config = replace(experiment.images.training, batch_size=16, **augmentation)
    split = Split(photos(70), photos(20), photos(300))
    waited: list[int] = []

    def train(device: torch.device, count: Callable[[], int] = lambda: 0) -> tuple[Any, ...]:
        trainer = ImageTrainer(build_model(experiment.images.model, 0), config, split, device)
        met, before = trainer.epoch(0), count()
        again = trainer.train(1, trainer._order(1))
        waited.append(count() - before)
        return met, again, state_hash(trainer.network.state_dict())

    expected = train(CPU)
    with pretend.PretendDevice() as device:
        found = train(pretend.DEVICE, lambda: device.waited)
    assert found == expected
    assert waited[-1] <= budget, device.waits.most_common(12)


@pytest.mark.parametrize(("depth", "drop"), [(1, 0.0), (3, 0.1)])
def test_what_a_guess_of_time_counts_is_what_is_done(
    pretend: ModuleType, experiment: Experiment, depth: int, drop: float
) -> None:
    """Operations of a training step, of a gradient for calibration and of an evaluation, to a third."""
    images = experiment.with_images(
        model=replace(
            experiment.images.model,
            options=tuple(dict(experiment.images.model.options, depth=depth, drop_path_rate=drop).items()),
        )
    ).images
    config, sizes = replace(images.training, batch_size=16, epochs=9), VisionTransformer.of(images.model)
    assert sizes is not None
    with pretend.PretendDevice() as device:
        trainer = ImageTrainer(build_model(images.model, 0), config, Split(photos(16), photos(16), photos(16)), pretend.DEVICE)
        found = []
        for call in (
            lambda: trainer.train(int(bool(found)), np.arange(16)),
            lambda: hits_and_loss(trainer.network, Examples(photos(16), pretend.DEVICE)),
        ):
            call()
            device.forget()
            call()
            found.append(device.operations)
    for count, guess in zip(found, (sizes.step_operations(config), sizes.pass_operations), strict=True):
        assert guess / 1.4 < count < guess * 1.4


def test_an_evaluation_waits_once(pretend: ModuleType, experiment: Experiment) -> None:
    network = build_model(experiment.images.model, 0)
    expected = hits_and_loss(network, Examples(photos(300)))
    with pretend.PretendDevice() as device:
        there, examples = build_model(experiment.images.model, 0).to(pretend.DEVICE), Examples(photos(300), pretend.DEVICE)
        assert examples.pixels.dtype == torch.uint8, "as they are kept there"
        device.forget()
        hits, loss = hits_and_loss(there, examples)
    assert (hits.tolist(), loss) == (expected[0].tolist(), expected[1])
    assert device.waited <= EVALUATION, device.waits
