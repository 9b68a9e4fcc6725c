"""The pack of a run that goes on elsewhere, and the driver of `make gpu`: what they are on the CPU."""

import importlib.util
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCH = Path(__file__).resolve().parents[2] / "bench"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packing() -> ModuleType:
    return load("gpu_run")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The driver, where it finds its neighbours; torch's settings are put back after it."""
    monkeypatch.syspath_prepend(BENCH)
    threads = torch.get_num_threads()
    yield load("gpu")
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three seeds: the first is finished, the second is not, the third is trained only."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "curves").mkdir()
    with sqlite3.connect(run / "run.sqlite") as store:
        store.execute("CREATE TABLE cells (seed INTEGER)")
        store.executemany("INSERT INTO cells VALUES (?)", [(0,), (0,), (1,)])
    store.close()
    for seed in (0, 1, 2):
        (run / "checkpoints" / f"seed-{seed}-abc.safetensors").write_bytes(bytes(range(256)) * (seed + 1))
        (run / "curves" / f"seed-{seed}.csv").write_text("epoch,seconds\n")
    (run / "checkpoints" / "saliency-1-gradient-abc.pkl").write_bytes(b"s" * 99)
    return run


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pack_has_the_rows_and_what_unfinished_seeds_need(packing: ModuleType, folder: Path, tmp_path: Path) -> None:
    (written,) = packing.pack(folder, tmp_path / "pack")
    assert written.name == "run.tar.xz.0"
    assert packing.unpack(tmp_path / "pack", tmp_path / "back")
    assert names(folder) - names(tmp_path / "back") == {"checkpoints/seed-0-abc.safetensors"}
    for name in names(tmp_path / "back"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
    assert not packing.unpack(tmp_path / "nothing", tmp_path / "other")


def test_no_file_is_larger_than_comes_back_and_what_does_not_fit_stays(
    packing: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    (folder / "checkpoints" / "seed-1-abc.safetensors").write_bytes(random.Random(0).randbytes(400_000))
    (folder / "checkpoints" / "seed-2-abc.safetensors").write_bytes(random.Random(1).randbytes(300_000))
    monkeypatch.setattr(packing, "FILE_BYTES", 100_000)
    written = packing.pack(folder, tmp_path / "pack")
    assert 1 < len(written) <= packing.FILES
    assert all(path.stat().st_size <= 100_000 for path in written)
    packing.unpack(tmp_path / "pack", tmp_path / "back")
    kept = names(tmp_path / "back")
    assert "checkpoints/seed-2-abc.safetensors" in kept
    assert "checkpoints/seed-1-abc.safetensors" not in kept, "together they are more than fits"
    assert {"run.sqlite", "checkpoints/saliency-1-gradient-abc.pkl"} <= kept
    monkeypatch.setattr(packing, "FILE_BYTES", 20)
    with pytest.raises(packing.PackError, match="the store alone takes"):
        packing.pack(folder, tmp_path / "pack")
    assert packing.unpack(tmp_path / "pack", tmp_path / "again"), "the pack there was is still there"


def test_a_pack_that_lacks_a_part_is_not_believed(packing: ModuleType, folder: Path, tmp_path: Path) -> None:
    (written,) = packing.pack(folder, tmp_path / "pack")
    written.rename(written.with_suffix(".1"))
    with pytest.raises(packing.PackError, match="a part is missing"):
        packing.unpack(tmp_path / "pack", tmp_path / "back")
    written.write_bytes(b"no archive")
    written.with_suffix(".1").unlink()
    with pytest.raises(packing.PackError, match="cannot be read"):
        packing.unpack(tmp_path / "pack", tmp_path / "back")


def test_a_run_goes_on_from_its_pack(finished: Any, tmp_path: Path, rows_of: Any) -> None:
    """First one seed, packed; then both from the pack, to the rows of a run that was never away."""
    packed = tmp_path / "pack"
    for seeds in ("1", "2"):
        command = [sys.executable, str(BENCH / "gpu_run.py"), "--packed", str(packed), "--minutes", "3", "--"]
        command += ["--config", str(finished.folder / "tiny.toml"), "--seeds", seeds, "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
    assert "goes on" in done.stdout
    load("gpu_run").unpack(packed, tmp_path / "back")
    times = {"wall_seconds", "finished", "provenance_id"}

    def said(store: Path) -> list[str]:
        return sorted(repr({k: v for k, v in row.items() if k not in times}) for row in rows_of(store, "cells"))

    assert said(tmp_path / "back" / "run.sqlite") == said(finished.store)


def test_parts_end_by_themselves_and_are_told_after_each(tmp_path: Path) -> None:
    """A part of seconds on the CPU, and one that does not exist on it: the first is told, the second fails alone."""
    command = [sys.executable, str(BENCH / "gpu.py"), "--out", str(tmp_path), "--device", "cpu", "--parts", "waits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert told["waits"]["ended"] == "done"
    assert told["waits"]["evaluation"]["waits"] == 0, "nothing waits for a processor"
    bad = subprocess.run([*command[:-1], "nothing"], capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode == 2
    assert "--parts nothing: there is no nothing: give some of machine" in bad.stderr


def test_a_part_that_lacks_a_package_says_which(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(device: Any) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'timm.models'", name="timm.models")

    monkeypatch.setitem(gpu.PARTS, "waits", lacking)
    assert gpu.part("waits", "cpu") == gpu.LACKING
    assert json.loads(capsys.readouterr().out) == {"lacks": "timm.models"}


def test_steps_stand_beside_what_dry_run_guesses(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the machine's own time to launch an operation beside the guess that it rests on."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    there, here = torch.device("cuda"), torch.device("cpu")
    half, full, graph = (
        gpu.guessed_step(there, *gpu.preset("cifar10-vit-small", *of))
        for of in (("bf16", "eager"), ("fp32", "eager"), ("bf16", "graph"))
    )
    assert 5e-3 < graph <= half < full < 0.2
    model, config = gpu.preset("cifar10-vit-small", "fp32", "eager")
    assert gpu.guessed_step(here, model, config) == pytest.approx(2 * 3 * 256 * 1_360_134_144 / 4e10, rel=0.01)
    seconds, operations = gpu.launching(here)
    assert 0 < seconds < 1e-2
    assert operations > 200


def test_steps_are_those_of_the_presets(gpu: ModuleType) -> None:
    """Networks and trainings as a run has them: without a class token where the preset has none, with its stochastic depth."""
    micro, small = (gpu.preset(f"cifar10-vit-{name}", "bf16", "graph") for name in ("micro", "small"))
    assert dict(micro[0].options).items() >= {"class_token": False, "global_pool": "avg", "img_size": 32, "depth": 5}.items()
    assert dict(small[0].options).items() >= {"drop_path_rate": 0.1, "embed_dim": 384, "num_classes": 10}.items()
    assert [(config.batch_size, config.precision, config.path) for _, config in (micro, small)] == [
        (128, "bf16", "graph"), (256, "bf16", "graph"),
    ]  # fmt: skip
    assert not micro[1].augments
    assert not small[1].augments


@pytest.mark.parametrize("part", ["machine", "steps", "checks"])
def test_every_part_asks_for_the_forms_of_a_worker(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    """And where an operation has no deterministic form it is done again without, as in a worker, and says so."""
    met: list[bool] = []

    def asked(device: Any) -> dict[str, Any]:
        met.append(torch.is_deterministic_algorithms_warn_only_enabled())
        assert torch.are_deterministic_algorithms_enabled()
        torch.zeros(2).put_(torch.tensor([1]), torch.tensor([3.0]))
        return {"said": 1}

    monkeypatch.setitem(gpu.PARTS, part, asked)
    assert gpu.part(part, "cpu") == 0
    assert met == [False, True]
    assert json.loads(capsys.readouterr().out) == {"said": 1, "relaxed": True}


def test_a_part_that_takes_too_long_is_stopped_and_what_it_said_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu = load("gpu")
    slow = tmp_path / "slow.py"
    slow.write_text("import time\nprint('{\"half\": 1}', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(gpu, "__file__", str(slow))
    found = gpu.run_part("machine", "cpu", 3)
    assert found["half"] == 1
    assert found["ended"] == "stopped after 3 s"
    slow.write_text("raise SystemExit('no card')\n")
    assert gpu.run_part("machine", "cpu", 30)["ended"] == "exit 1: no card"
    slow.write_text(f"import json\nprint(json.dumps({{'lacks': 'timm'}}))\nraise SystemExit({gpu.LACKING})\n")
    assert gpu.run_part("waits", "cpu", 30)["ended"] == "cannot be done: timm is not installed here"
    assert sum(gpu.LIMITS.values()) < 9 * 60
    assert set(gpu.LIMITS) == set(gpu.PARTS)
