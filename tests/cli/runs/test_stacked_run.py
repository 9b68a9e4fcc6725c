"""`replicate` with `path = "stacked"`: seeds go to one worker to be trained, and are what they are whoever they go with."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sics_cli.seeds import worker
from sics_cli.slurm.executor import SlurmCluster
from sics_cli.store.run_folder import kept_epochs
from sics_cli.tasks import training
from sics_cli.tasks.checkpoints import state_hash
from sics_cli.tasks.image_task import ImageTask
from sics_cli.tasks.networks.stacks import Stack
from sics_cli.tasks.networks.training import ImageTrainer, StackedTrainer

TINY = """\
name = "tiny"
sparsities = [0.5]
scorers = ["magnitude", "log"]
[data]
train = 80
validation = 40
test = 100
[model]
embed_dim = 16
depth = 1
num_heads = 2
[training]
epochs = 4
path = "stacked"
width = 3
[calibration]
batches = 2
"""

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def replicate(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command on this many seeds, in this process; what jobs were handed out is in `.jobs`."""
    (cli.folder / "stacked.toml").write_text(TINY)

    def command(out: str, seeds: str, *options: str) -> Any:
        command.jobs.clear()  # type: ignore[attr-defined]
        return cli.here("replicate", "--config", "stacked.toml", "--out", out, "--no-report", "--seeds", seeds, *options)

    def watched(name: str) -> None:
        real = getattr(worker, name)

        def job(jobs: Any, *rest: Any) -> Any:
            seeds = tuple(one.seed for one in jobs) if isinstance(jobs, tuple) else (jobs.seed,)
            command.jobs.append((name, seeds))  # type: ignore[attr-defined]
            return real(jobs, *rest)

        monkeypatch.setattr("sics_cli.runs.local_loop." + name, job)

    command.jobs = []  # type: ignore[attr-defined]
    for name in ("run_seed", "train_seed", "train_seeds"):
        watched(name)
    return command


def test_a_run_grows_to_the_rows_of_one_that_was_whole(cli: Any, replicate: Any, snapshot: Any) -> None:
    """Seed 1 alone; then beside it 0 and 2; of a second stack seed 3 alone. Finished seeds are not trained again."""
    whole = replicate("whole", "4", "--workers", "1")
    assert whole.returncode == 0, whole.stderr
    trained = [("train_seeds", (0, 1, 2)), ("train_seed", (3,))]
    assert [job for job in replicate.jobs if job[0] != "run_seed"] == trained
    assert "each training up to 3 seeds stacked" in whole.stderr
    assert replicate("run", "1", "--first-seed", "1", "--workers", "1").returncode == 0
    assert replicate.jobs == [("train_seed", (1,)), ("run_seed", (1,))]
    assert replicate("run", "4", "--workers", "2").returncode == 0
    assert [job for job in replicate.jobs if job[0] != "run_seed"] == [("train_seeds", (0, 2)), ("train_seed", (3,))]
    one, two = (snapshot(cli.folder / name / "run.sqlite") for name in ("whole", "run"))
    for table in ("cells", "repeats", "checkpoints"):
        assert one[table] == two[table]


def test_a_stack_that_was_stopped_goes_on(cli: Any, replicate: Any, snapshot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept after different epochs: each goes on from its own, to the same rows."""
    real, kept = training.course, {0: 1, 1: 3}

    def stops(trainer: Any, epochs: int, **options: Any) -> Any:
        return real(trainer, epochs, **options, until=kept[trainer._seed])

    def dies(*_: Any) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("sics_cli.seeds.dense.course", stops)
        patch.setattr("sics_cli.runs.local_loop.run_seed", dies)
        assert "killed" in replicate("run", "2", "--workers", "1").stderr
    halves = sorted((cli.folder / "run" / "checkpoints").glob("training-*"))
    assert [kept_epochs(half) for half in halves] == [1, 3]
    begun: list[tuple[int, ...]] = []
    together = training.run_together
    monkeypatch.setattr(
        "sics_cli.seeds.dense.run_together", lambda ways: (begun.append(tuple(one._seed for one, _ in ways)), together(ways))[1]
    )
    assert replicate("run", "2", "--workers", "1").returncode == 0
    assert begun == [(0, 1)]
    assert not list((cli.folder / "run" / "checkpoints").glob("training-*"))
    assert replicate("whole", "2", "--workers", "1").returncode == 0
    one, two = (snapshot(cli.folder / name / "run.sqlite") for name in ("whole", "run"))
    assert one["cells"] == two["cells"]


def test_what_one_seed_fails_by_is_its_own(
    cli: Any, replicate: Any, rows_of: Any, snapshot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ImageTask.trainer

    def trainer(self: ImageTask, seed: int) -> ImageTrainer:
        if seed == 1:
            raise OSError("its images are gone")
        return real(self, seed)

    monkeypatch.setattr(ImageTask, "trainer", trainer)
    assert replicate("run", "3", "--workers", "1").returncode == 3
    failures = rows_of(cli.store, "failures")
    assert {row["seed"] for row in failures} == {1}
    assert all(row["error"].startswith("OSError: its images are gone") for row in failures)
    assert {row["seed"] for row in rows_of(cli.store, "cells")} == {0, 2}
    monkeypatch.setattr(ImageTask, "trainer", real)
    assert replicate("run", "3", "--workers", "1", "--retry-failed").returncode == 0
    assert replicate.jobs == [("train_seed", (1,)), ("run_seed", (1,))]
    assert replicate("whole", "3", "--workers", "1").returncode == 0
    assert snapshot(cli.store)["cells"] == snapshot(cli.folder / "whole" / "run.sqlite")["cells"]


def test_a_stack_without_deterministic_forms_flags_all_its_seeds(
    cli: Any, replicate: Any, rows_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strictly it is refused at the first step; then it is trained from where it began, relaxed."""
    real = Stack._pass

    def strict(self: Stack, batches: Any) -> Any:
        if torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError("bmm_odd does not have a deterministic implementation, but you set it")
        return real(self, batches)

    monkeypatch.setattr(Stack, "_pass", strict)
    assert replicate("run", "2", "--workers", "1").returncode == 0
    rows = rows_of(cli.store, "cells")
    assert {row["seed"] for row in rows} == {0, 1}
    assert all("nondeterministic" in row["flags"] for row in rows)


def test_too_little_memory_fails_the_stack_and_says_what_to_do(
    cli: Any, replicate: Any, rows_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(StackedTrainer, "_together", full)
    assert replicate("run", "2", "--workers", "1").returncode == 3
    errors = {row["error"] for row in rows_of(cli.store, "failures")}
    said = "training.width = 3: out of memory with 3 seeds' networks and batches of 32 at once: a smaller width fits"
    assert all(said in error for error in errors)
    assert {row["seed"] for row in rows_of(cli.store, "failures")} == {0, 1}


def test_a_network_that_draws_is_refused_before_anything_is_trained(cli: Any, replicate: Any) -> None:
    (cli.folder / "stacked.toml").write_text(TINY.replace("[training]", "proj_drop_rate = 0.1\n[training]"))
    done = replicate("run", "2")
    assert done.returncode == 2
    assert "training.path = 'stacked' is not accepted here" in done.stderr
    assert "dropout, stochastic depth or the like" in done.stderr
    assert not cli.run.exists()


def test_a_queue_refuses_stacks_and_a_dry_run_names_them(cli: Any, replicate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dry = replicate("run", "7", "--dry-run", "--workers", "1")
    said = " ".join(dry.stdout.split())
    assert re.search(
        r"cost: 7 seeds of .* on 1 worker on the CPU, each training up to 3 seeds stacked \(guessed from the network's size\)",
        said,
    )
    monkeypatch.setattr(SlurmCluster, "check", lambda self: None)
    done = replicate("run", "7", "--executor", "slurm", "--dry-run")
    assert done.returncode == 2
    said = "training.path = 'stacked' is not accepted: give eager | compile | graph with --executor slurm"
    assert said in done.stderr
    assert not cli.run.exists()


def test_networks_that_come_trained_are_not_stacked(cli: Any, replicate: Any, tmp_path: Path) -> None:
    """The path is of training: a network that is given is pruned whatever it says."""
    from timm.models.vision_transformer import VisionTransformer

    model: nn.Module = VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=16, depth=1, num_heads=2, global_pool="avg",
        class_token=False,
    )  # fmt: skip
    torch.save(model.state_dict(), cli.folder / "given.pt")
    assert state_hash(model.state_dict())
    done = replicate("run", "2", "--checkpoint", "given.pt", "--allow-chance", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert all(name == "run_seed" for name, _ in replicate.jobs)
    assert "stacked" not in done.stderr
