from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.scorers import describe_scorers
from sics_cli.runs import devices, session
from sics_cli.runs.devices import usable_gpus, worker_devices
from sics_cli.runs.session import Asker, open_session, with_task
from sics_cli.runs.workers import Workers
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
    with pytest.raises(ConfigError, match=r"--device cuda:2: torch sees 2 GPU\(s\) here, cuda:0 to cuda:1"):
        usable_gpus("cuda:2", lambda: ("A", "B"))


def test_workers_spread_over_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_devices((0, 1), 3, jobs=5) == ["cuda:0", "cuda:1", "cuda:0"]
    assert worker_devices((1,), None, jobs=5) == ["cuda:1"]
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)))
    assert worker_devices((), None, jobs=4) == ["cpu"] * 4
    assert worker_devices((), None, jobs=40) == ["cpu"] * 6


class Recorder(Workers):
    """Remembers what was handed to which devices, and answers what a worker would."""

    def __init__(self, gpus: tuple[str, ...]) -> None:
        super().__init__(3, jobs=5)
        self.names, self.asked = gpus, list[str]()

    def executor(self, gpus: tuple[int, ...]) -> Any:
        return self

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        self.asked.append(function.__name__)
        done: Future[Any] = Future()
        done.set_result(Description(describe_scorers((), "gradient"), self.names) if function is describe else None)
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
