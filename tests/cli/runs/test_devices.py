from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sics_cli.base.cards import Card
from sics_cli.base.errors import ConfigError
from sics_cli.experiment.scorers import describe_scorers
from sics_cli.runs import devices, run, session
from sics_cli.runs.devices import usable_gpus, worker_devices
from sics_cli.runs.run import ready, where_text
from sics_cli.runs.session import Asker, open_session, with_task
from sics_cli.runs.workers import LocalExecutor, Workers
from sics_cli.seeds.worker import Description, describe
from sics_cli.settings.config import Experiment
from sics_cli.tasks.image_setup import ImageAccess


def nobody() -> tuple[str, ...]:
    raise AssertionError("torch was asked")


def test_cpu_never_asks_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_gpus("cpu", nobody) == ()
    monkeypatch.setattr(devices, "may_have_gpu", lambda: False)
    assert usable_gpus("auto", nobody) == ()


def test_gpus_are_used_when_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    assert usable_gpus("auto", lambda: ("A", "B")) == (0, 1)
    assert usable_gpus("auto", lambda: ()) == ()
    assert usable_gpus("cuda", lambda: ("A", "B")) == (0, 1)
    assert usable_gpus("cuda:1", lambda: ("A", "B")) == (1,)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="--device cuda: torch sees no GPU here"):
        usable_gpus("cuda", lambda: ())
    with pytest.raises(ConfigError, match=r"--device cuda:2: torch sees cuda:0, cuda:1 here"):
        usable_gpus("cuda:2", lambda: ("A", "B"))


def test_workers_spread_over_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_devices((0, 1), 3, jobs=5) == ["cuda:0", "cuda:1", "cuda:0"]
    assert worker_devices((1,), None, jobs=5) == ["cuda:1"]
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)))
    assert worker_devices((), None, jobs=4) == ["cpu"] * 4
    assert worker_devices((), None, jobs=40) == ["cpu"] * 6


class Recorder(Workers):
    """Remembers what was handed to which devices, and answers what a worker would."""

    def __init__(self, gpus: tuple[str, ...], count: int | None = 3, jobs: int = 5, memory: float = 80e9, **of: Any) -> None:
        super().__init__(count, jobs)
        self.cards, self.asked = tuple(Card(name, int(memory), **of) for name in gpus), list[str]()

    def executor(self, gpus: tuple[int, ...]) -> Any:
        return self

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        self.asked.append(function.__name__)
        done: Future[Any] = Future()
        done.set_result(Description(describe_scorers((), "gradient"), self.cards) if function is describe else None)
        return done


@pytest.mark.parametrize(
    ("gpu", "device", "warmed"), [(False, "auto", 2), (True, "auto", 0), (True, "cuda", 0), (True, "cpu", 2)]
)
def test_no_workers_of_the_cpu_are_warmed_for_a_gpu(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, gpu: bool, device: str, warmed: int
) -> None:
    monkeypatch.setattr(session, "may_have_gpu", lambda: gpu)
    workers = Recorder(("A",) if gpu else ())
    Asker(replace(experiment, device=device), workers, lambda line: None, warm=True)()
    assert workers.asked == ["warm_up"] * warmed + ["describe"]


def test_the_model_of_the_cards_in_use_is_in_the_recipe(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    monkeypatch.setattr(session, "may_have_gpu", lambda: True)

    def recipe(device: str, *cards: str) -> dict[str, Any]:
        asked = replace(experiment, device=device)
        ask = Asker(asked, Recorder(cards), lambda line: None)
        settled, task = with_task(asked, ask, ImageAccess())
        found: dict[str, Any] = open_session(settled, tmp_path / device, ask, task).recipe.content["environment"]
        return found

    assert "gpu" not in recipe("cpu", "A")
    assert recipe("auto", "A", "A")["gpu"] == "A"
    assert recipe("cuda", "B", "A")["gpu"] == "A, B"
    assert recipe("cuda:1", "B", "A")["gpu"] == "A"
    assert "gpu" not in recipe("auto")


# -- several seeds on one card -----------------------------------------------------------------------------------------


def test_each_worker_knows_its_card_and_how_many_have_it() -> None:
    executor = LocalExecutor(["cuda:0", "cuda:1", "cuda:0"])
    told = "(__import__('time').sleep(0.5), vars(__import__('sys').modules['sics_cli.seeds.worker']))[1]"
    try:
        found = [executor.submit(eval, f"({told}['_device_name'], {told}['_sharing'])") for _ in range(3)]
        assert sorted(one.result(60) for one in found) == [("cuda:0", 2), ("cuda:0", 2), ("cuda:1", 1)]
    finally:
        executor.stop()


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def opened(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[str, list[str], list[str]]]:
    """What a run on these cards says of its workers, its notes, and the devices of the workers."""
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    monkeypatch.setattr(session, "may_have_gpu", lambda: True)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))

    def open_on(*cards: str, workers: int | None = None, seeds: int = 20, **of: Any) -> tuple[str, list[str], list[str]]:
        place, told = Recorder(cards, workers, seeds, **of), Told()
        monkeypatch.setattr(run, "make_place", lambda *_: place)
        asked = replace(experiment, device="cuda", seeds=tuple(range(seeds)))
        with ready(asked, tmp_path / "run", told, workers=workers) as (made, _):  # type: ignore[arg-type]
            return where_text(made, place), told.notes, place.devices(made.gpus)

    return open_on


H100 = "NVIDIA H100 80GB HBM3"


def test_a_small_network_has_several_seeds_on_a_card_unless_told_otherwise(opened: Callable[..., Any]) -> None:
    assert opened(H100)[0] == f"4 workers on 1 GPU: {H100}, up to 4 on each"
    said, notes, places = opened(H100, H100)
    assert said == f"8 workers on 2 GPUs: {H100}, up to 4 on each"
    assert places == ["cuda:0", "cuda:1"] * 4, "in turn, so that few seeds spread too"
    assert not any("GB" in note for note in notes)
    assert opened(H100, H100, seeds=2)[2] == ["cuda:0", "cuda:1"]
    assert opened(H100, workers=1)[0] == f"1 worker on 1 GPU: {H100}"
    assert opened(H100, workers=6)[2] == ["cuda:0"] * 6, "whoever gives a number gets it"


def test_what_a_card_cannot_hold_is_said_in_a_line(opened: Callable[..., Any]) -> None:
    """A seed of this network is taken to need 0.7 GB."""
    assert opened(H100, memory=2e9)[2] == ["cuda:0"] * 2, "as many as fit"
    (line,) = [note for note in opened(H100, memory=2e9, workers=5)[1] if "GB" in note]
    assert line == f"cuda:0 ({H100}) has 2 GB, and 5 seeds may take 0.7 GB each: by this guess --workers 2 fits"
    (line,) = [note for note in opened(H100, memory=0.5e9)[1] if "GB" in note]
    assert line.endswith("and 1 seed may take 0.7 GB")


GB = 10**9


@pytest.mark.parametrize(
    ("memories", "workers", "said"),
    [
        ((24, 12), 10, "cuda:0 (0) has 24 GB, and 5 seeds may take 5.3 GB each: by this guess --workers 4 fits"),
        ((24, 12), 8, "cuda:1 (1) has 12 GB, and 4 seeds may take 5.3 GB each: by this guess --workers 4 fits"),
        ((24, 12), 4, None),
        ((24, 4), 10, "cuda:0 (0) has 24 GB, and 5 seeds may take 5.3 GB each"),
        ((4,), 2, "cuda:0 (0) has 4 GB, and 2 seeds may take 5.3 GB each"),
        ((4,), 1, "cuda:0 (0) has 4 GB, and 1 seed may take 5.3 GB"),
    ],
)
def test_advice_is_that_of_the_smallest_card_and_none_where_nothing_fits(
    memories: tuple[int, ...], workers: int, said: str | None
) -> None:
    """Whoever follows it is told nothing more."""
    there = tuple(Card(str(index), memory * GB) for index, memory in enumerate(memories))
    asked = SimpleNamespace(
        recipe=SimpleNamespace(task=SimpleNamespace(memory=int(5.3 * GB), width=1)), gpus=range(len(there)), cards=there
    )
    found = run.crowded(asked, worker_devices(range(len(there)), workers, 99))  # type: ignore[arg-type]
    assert found == (() if said is None else (said,))


def test_a_card_for_one_process_has_one(opened: Callable[..., Any]) -> None:
    assert opened(H100, exclusive=True)[2] == ["cuda:0"]
    notes = opened(H100, exclusive=True, workers=2)[1]
    assert f"cuda:0 ({H100}) lets in one process alone (its compute mode): 2 workers need CUDA's MPS there" in notes
