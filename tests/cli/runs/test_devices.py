import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.runs import devices
from sics_cli.runs.devices import usable_gpus, worker_devices


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
