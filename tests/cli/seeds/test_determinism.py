"""Deterministic forms are asked for strictly; what has none is done again without, and its rows say so. And what a GPU may do.

`put_` without accumulation has no deterministic form on any device, so that torch's own refusal is met on the CPU.
"""

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from sics_cli.base.errors import DeviceLostError
from sics_cli.experiment.cells import plan_cells
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.experiment.searched import is_searched
from sics_cli.seeds import masks, worker
from sics_cli.seeds import search as search_module
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.masks import own_cards, seeded
from sics_cli.seeds.seed_run import NONDETERMINISTIC, SeedRun, device_facts
from sics_cli.settings.config import Experiment
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import CellRow, FailureRow
from sics_cli.tasks.image_task import ImageTask
from sics_cli.tasks.networks.training import ImageTrainer
from sics_cli.tasks.training import HalfTrained, run, strictly

CPU = torch.device("cpu")
ENVIRONMENT = Environment("cpu", "2.15", "1.0")
Rows = Callable[..., list[Any]]


def put() -> float:
    """An operation that has no deterministic form."""
    return float(torch.zeros(2).put_(torch.tensor([1]), torch.tensor([3.0]))[1])


@pytest.fixture(autouse=True)
def _as_in_a_worker() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def infos() -> dict[str, ScorerInfo]:
    return {info.name: info for info in describe_scorers((), "gradient")}


@pytest.fixture
def rows(tmp_path: Path, experiment: Experiment, infos: dict[str, ScorerInfo]) -> Rows:
    """Compute cells of a seed; letters in the order of the inbox."""

    def compute(*scorers: str, seed: int = 0, known: tuple[CellRow, ...] = (), device: torch.device = CPU, folder: str = "run",
                sharing: int = 1, **changes: Any) -> list[Any]:  # fmt: skip
        small = replace(experiment, seeds=(seed,), sparsities=(0.5,), **changes)
        environment = replace(ENVIRONMENT, device_class=device.type)
        recipe = Recipe(small, environment)
        place = tmp_path / folder
        (place / "inbox").mkdir(parents=True, exist_ok=True)
        searched = {info.name: info for info in describe_scorers([name for name in scorers if is_searched(name)], "gradient")}
        cells = plan_cells(recipe, [(searched | infos)[name] for name in scorers])
        job = SeedJob(
            place, small, environment, seed, cells, known, True, {}, recipe.run_id, recipe.task, reference=infos["magnitude"]
        )
        SeedRun(job, device, sharing).run()
        found = []
        for path, letter in Inbox(place, recipe.run_id).letters():
            found.append(letter)
            path.unlink()
        return found

    return compute


def flags(found: list[Any]) -> dict[str, bool]:
    assert not [row.traceback for row in found if isinstance(row, FailureRow)]
    return {row.scorer: NONDETERMINISTIC in row.flags for row in found if isinstance(row, CellRow)}


def test_what_has_no_deterministic_form_is_done_again_without() -> None:
    begun: list[bool] = []

    def work(relaxed: bool) -> float:
        begun.append(relaxed)
        return put()

    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        put()
    assert strictly(work) == (3.0, True)
    assert begun == [False, True]
    assert not torch.is_deterministic_algorithms_warn_only_enabled(), "what comes next is asked strictly again"
    assert strictly(lambda _: 5) == (5, False)


def test_another_error_is_nobodys_reason_to_do_it_again() -> None:
    begun: list[bool] = []

    def work(relaxed: bool) -> None:
        begun.append(relaxed)
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="memory"):
        strictly(work)
    assert begun == [False]
    torch.use_deterministic_algorithms(False)
    assert strictly(lambda _: put()) == (3.0, False), "nobody asked"


def test_an_error_that_was_raised_from_torchs_is_known_too() -> None:
    def work(relaxed: bool) -> float:
        try:
            return put()
        except RuntimeError as error:
            raise ValueError("the loss does not take this batch") from error

    assert strictly(work) == (3.0, True)


def test_every_seed_that_needs_it_is_flagged_and_no_other(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch warns once a process: the second seed of a worker would not be flagged."""
    real = ImageTrainer.epoch

    def epoch(self: Any, number: int) -> Any:
        assert put() == 3.0
        return real(self, number)

    good = rows("magnitude", folder="good")
    monkeypatch.setattr(ImageTrainer, "epoch", epoch)
    for seed in (0, 1):
        assert flags(rows("magnitude", seed=seed)) == {"dense": True, "magnitude": True}
    monkeypatch.setattr(ImageTrainer, "epoch", real)
    assert flags(rows("magnitude", seed=2)) == {"dense": False, "magnitude": False}
    assert flags(good) == {"dense": False, "magnitude": False}


def test_the_flag_of_a_half_trained_network_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trainer:
        network = torch.nn.Linear(1, 1)

        def epoch(self, number: int) -> dict[str, float]:
            return {"loss": put() if number == 0 else 0.0}

        def state(self) -> dict[str, torch.Tensor]:
            return {}

        def load(self, state: dict[str, torch.Tensor]) -> None:
            pass

    half, relaxed = strictly(lambda relaxed: run(Trainer(), 2, 0, until=1, relaxed=relaxed))
    assert relaxed
    assert isinstance(half, HalfTrained)
    assert half.nondeterministic
    done, relaxed = strictly(lambda relaxed: run(Trainer(), 2, 0, begin=half, relaxed=relaxed))
    assert not relaxed
    assert done.nondeterministic


def test_evaluation_and_saliency_without_a_form_flag_every_row_of_theirs(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ImageTask.evaluate
    monkeypatch.setattr(ImageTask, "evaluate", lambda self, network, seed: real(self, network, seed) | {"loss": put()})
    assert set(flags(rows("magnitude", "chaos")).values()) == {True}
    monkeypatch.setattr(ImageTask, "evaluate", real)
    calibration = ImageTask.calibration

    def batches(self: Any, seed: int) -> Any:
        put()
        return calibration(self, seed)

    monkeypatch.setattr(ImageTask, "calibration", batches)
    assert flags(rows("magnitude", "wanda", saliency="neighbourhood", folder="peers")) == {
        "dense": False, "magnitude": False, "wanda": True,
    }  # fmt: skip


def test_one_mask_without_a_form_flags_its_own_row(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    real = masks.compute_masks

    def made(model: Any, method: Any, **options: Any) -> Any:
        if getattr(method, "name", "") == "chaos":
            put()
        return real(model, method, **options)

    monkeypatch.setattr(masks, "compute_masks", made)
    assert flags(rows("magnitude", "chaos", "log")) == {"dense": False, "magnitude": False, "chaos": True, "log": False}


def test_a_search_remembers_that_a_mask_of_it_has_no_form(rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gone on from its points, by a command that met none, its rows say so; those of another search do not."""
    real = ImageTask.held_out
    monkeypatch.setattr(ImageTask, "held_out", lambda self, network, seed: real(self, network, seed) | {"loss": put()})
    assert flags(rows("magnitude", "fusion_orbit_2")) == {"dense": False, "magnitude": False, "fusion_orbit_2": True}
    monkeypatch.setattr(ImageTask, "held_out", real)
    assert flags(rows("magnitude", "fusion_orbit_3", "fusion_spline_2")) == {
        "dense": False, "magnitude": False, "fusion_orbit_3": True, "fusion_spline_2": False,
    }  # fmt: skip
    search = search_module.search_fusion

    def loose(*given: Any, **options: Any) -> Any:
        put()
        return search(*given, **options)

    monkeypatch.setattr(search_module, "search_fusion", loose)
    assert flags(rows("magnitude", "fusion_shuffled_2"))["fusion_shuffled_2"]
    monkeypatch.setattr(search_module, "search_fusion", search)
    assert flags(rows("magnitude", "fusion_shuffled_1", "adaptive_shuffled_2")) == {
        "dense": False, "magnitude": False, "fusion_shuffled_1": True, "adaptive_shuffled_2": True,
    }  # fmt: skip


# --- what a GPU may do --------------------------------------------------------------------------------------------


def test_out_of_memory_fails_its_cell_alone(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    real = masks.compute_masks

    def made(model: Any, method: Any, **options: Any) -> Any:
        if getattr(method, "name", "") == "chaos":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(model, method, **options)

    monkeypatch.setattr(masks, "compute_masks", made)
    found = rows("magnitude", "chaos", "log")
    assert [row.scorer for row in found if isinstance(row, FailureRow)] == ["chaos"]
    assert {row.scorer for row in found if isinstance(row, CellRow)} == {"dense", "magnitude", "log"}


@pytest.mark.parametrize("where", ["training", "cell"])
def test_out_of_memory_where_seeds_share_a_card_names_workers(
    rows: Rows, pretend: ModuleType, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB" + " and much more to read" * 30)

    monkeypatch.setattr(*((ImageTrainer, "epoch", fails) if where == "training" else (masks, "compute_masks", fails)))
    with pretend.PretendDevice():
        shared, alone = (rows("magnitude", device=pretend.DEVICE, folder=str(n), sharing=n) for n in (3, 1))
    for found, begin in (
        (shared, "3 seeds at a time are too many for this GPU: fewer --workers with --retry-failed (OutOfMemoryError: CUDA out"),
        (alone, "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
    ):
        failed = [row for row in found if isinstance(row, FailureRow)]
        assert {row.scorer for row in failed} == ({"dense", "magnitude"} if where == "training" else {"magnitude"})
        assert all(row.error.startswith(begin) for row in failed), failed[0].error


@pytest.mark.parametrize(("sharing", "device", "emptied"), [(2, "cuda:0", 1), (1, "cuda:0", 0), (2, "cpu", 0)])
def test_a_worker_that_shares_its_card_keeps_nothing_after_a_seed(
    monkeypatch: pytest.MonkeyPatch, sharing: int, device: str, emptied: int
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    monkeypatch.setattr(worker, "compute_seed", lambda job: 7)
    monkeypatch.setattr(worker, "_log_to", lambda path: None)
    monkeypatch.setattr(worker, "_device_name", "cpu")
    monkeypatch.setattr(worker, "_sharing", 1)
    worker.set_device(device, sharing)
    assert worker.run_seed(SimpleNamespace(folder=Path())) == 7  # type: ignore[arg-type]
    assert len(calls) == emptied


@pytest.mark.parametrize("whole", [True, False])
def test_a_finished_seed_holds_nothing_of_the_card(
    rows: Rows, pretend: ModuleType, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Network, saliencies and images go with it, whatever knows whatever, before the cache is given back."""
    asked: list[SeedJob] = []
    made: list[weakref.ref[Any]] = []
    real_run, real_init = SeedRun.run, SeedRun.__init__
    monkeypatch.setattr(SeedRun, "run", lambda self: asked.append(self.job) or real_run(self))

    def begin(self: SeedRun, *arguments: Any) -> None:
        real_init(self, *arguments)
        made.extend(map(weakref.ref, (self, self.task, self._dense_network)))

    monkeypatch.setattr(worker, "_log_to", lambda path: None)
    monkeypatch.setattr(worker, "_device_name", "cuda:0")
    monkeypatch.setattr(worker, "_sharing", 2)
    alive: list[int] = []
    with pretend.PretendDevice():
        rows("magnitude", device=pretend.DEVICE)
        monkeypatch.setattr(SeedRun, "__init__", begin)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(sum(one() is not None for one in made)))
        gc.collect()
        gc.disable()
        try:
            assert (worker.run_seed(asked[0]) if whole else worker.train_seed(asked[0], 1)) == 0
        finally:
            gc.enable()
    assert len(made) == 3
    assert alive == [0]


@pytest.mark.parametrize("where", ["training", "cell"])
def test_a_lost_card_ends_the_worker_after_what_failed_is_told(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    error = RuntimeError("CUDA error: device-side assert triggered")

    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(*((ImageTrainer, "epoch", fails) if where == "training" else (masks, "compute_masks", fails)))
    with pytest.raises(DeviceLostError, match="device-side assert"):
        rows("magnitude", "chaos")
    failed = [json.loads(path.read_text())["letter"]["body"] for path in (tmp_path / "run" / "inbox").glob("failure-*.json")]
    assert len(failed) == (4 if where == "training" else 1), "all cells of a seed without a network; else the one that met it"
    assert all("device-side assert" in row["error"] for row in failed)


def test_a_worker_without_its_card_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(worker.os, "_exit", ended.append)
    with worker._ends_with_the_card():
        raise DeviceLostError("CUDA error: unspecified launch failure")
    assert ended == [1]
    with pytest.raises(ValueError, match="other"), worker._ends_with_the_card():
        raise ValueError("other")
    assert ended == [1]


def test_a_saliency_stays_on_disk_where_it_may_not_come_again(
    pretend: Any, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("magnitude", folder="here")
    assert not list((tmp_path / "here" / "checkpoints").glob("saliency-*"))
    with pretend.PretendDevice():
        first = rows("magnitude", device=pretend.DEVICE)
        assert list((tmp_path / "run" / "checkpoints").glob("saliency-*"))
        monkeypatch.setattr(SeedRun, "_collected", lambda self, kind: pytest.fail("collected again"))
        known = tuple(row for row in first if isinstance(row, CellRow))
        more = rows("magnitude", "chaos", known=known, device=pretend.DEVICE)
    assert {row.saliency_hash for row in more if isinstance(row, CellRow)} == {known[0].saliency_hash}


def test_a_kept_saliency_remembers_that_it_has_no_form(rows: Rows, pretend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = ImageTask.calibration

    def batches(self: Any, seed: int) -> Any:
        put()
        return calibration(self, seed)

    monkeypatch.setattr(ImageTask, "calibration", batches)
    with pretend.PretendDevice():
        assert set(flags(rows("magnitude", device=pretend.DEVICE)).values()) == {True}
        monkeypatch.setattr(ImageTask, "calibration", calibration)
        assert set(flags(rows("magnitude", device=pretend.DEVICE)).values()) == {True}


def test_generators_of_other_cards_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda index: asked.append(index) or torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, index: asked.append(index))
    assert own_cards() == []
    with seeded("ff" * 32):
        pass
    assert asked == [], "a process on the CPU opens no card"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    with seeded("ff" * 32):
        pass
    assert set(asked) == {2}


def test_precision_is_set_and_told(pretend: Any, tmp_path: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(experiment, ENVIRONMENT)
    job = SeedJob(tmp_path, experiment, ENVIRONMENT, 0, (), (), True, {}, recipe.run_id, recipe.task)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pretend.PretendDevice():
        monkeypatch.setattr(worker, "_device_name", "cuda:0")
        device = worker._prepare_torch(job)
        facts = device_facts(device)
    assert device == pretend.DEVICE
    assert (facts["device"], facts["float32_matmul_precision"]) == (pretend.NAME, "highest")
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert set(device_facts(CPU)) == {"device", "cpu", "cpu_capability"}, "rows of the CPU stay what they are"
