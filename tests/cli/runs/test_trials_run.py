"""Runs of the scorer that tries masks on the calibration batches, by the real CLI: what it chose, and that it says so."""

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sics_cli import Run
from sics_cli.base.hashing import digest
from sics_cli.seeds.masks import seeded
from sics_cli.settings.config import experiment_from_mapping, merged, read_toml
from sics_cli.settings.presets import DIGITS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.datasets import load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.models import build_model
from sics_plugin import Trials, compute_channel_masks, compute_masks

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"
OWN = """

class Trialled(Squares):
    def __init__(self, hidden=16):
        super().__init__(hidden)

    def __deepcopy__(self, memo):
        raise RuntimeError("a task is not to be copied, with all its data")


class Noised(Trialled):
    def loss(self, network, batch):
        x, y = batch
        return (network(x + 0.1 * torch.randn_like(x))[:, 0] - y).square().mean()


class Numbered(Trialled):
    def calibration(self, seed):
        return [0, 1]  # the loss finds the samples, so nobody can tell them apart

    def loss(self, network, batch):
        x, y = self.bits()
        return super().loss(network, (x[batch::2], y[batch::2]))


class Named(Trialled):
    def targets(self, network):
        return [(network[2], "weight")]
"""
Rows = Callable[[Path, str], list[dict[str, Any]]]
Snapshot = Callable[[Path], dict[str, list[str]]]


def tried(rows: list[dict[str, Any]]) -> dict[float, dict[str, Any]]:
    return {row["sparsity"]: row for row in rows if row["scorer"] == "adaptive_trials"}


def of_digits(cli: Any) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """Network and calibration batches of seed 0 of the tiny run."""
    images = experiment_from_mapping(merged(DIGITS, read_toml(cli.folder / "tiny.toml"))).images
    model = build_model(images.model, 0)
    state = load_file(next((cli.run / "checkpoints").glob("seed-0-*.safetensors")))
    model.load_state_dict({name.removeprefix("state."): value for name, value in state.items()})
    train, part = Examples(load_split(images.data).train), images.calibration
    batches = calibration_batches(0, len(train), part.batches, part.batch_size)
    return model.eval(), [train.at(torch.from_numpy(one)) for one in batches]


@pytest.mark.parametrize(("unit", "pool"), [("weight", "native"), ("channel", "layer"), ("head", "global")])
def test_what_a_run_chooses_is_what_trials_choose_in_python(cli: Any, rows_of: Rows, unit: str, pool: str) -> None:
    scorers = "magnitude,wanda,adaptive_trials" if unit == "weight" else "magnitude,adaptive_trials"
    few = ["--seeds", "1", "--sparsities", ".5,.8", "--pool", pool, "--unit", unit, "--scorers", scorers]
    done = cli.here(*cli.tiny, *few)
    assert done.returncode == 0, done.stderr
    model, batches = of_digits(cli)
    rows = rows_of(cli.store, "cells")
    assert set(tried(rows)) == {0.5, 0.8}
    for sparsity, row in tried(rows).items():
        if unit == "weight":
            report: Any = compute_masks(model, "adaptive", amount=sparsity, calibrate=Trials(batches))[1]
        else:
            report = compute_channel_masks(model, "adaptive", sparsity, unit=unit, calibrate=Trials(batches))[1]
        told, trials = json.loads(row["search"]), report.choice.trials
        assert row["mask_hash"] == report.mask_hash
        assert (told["scorer"], told["pool"], told["alpha"]) == (report.choice.scorer, report.pool, report.choice.alpha)
        assert told["score"] == pytest.approx(-trials[0].score, rel=1e-6)
        plain = next(one for one in trials if (one.scorer, one.pool) == ("magnitude", "global"))
        assert told["magnitude"] == pytest.approx(-plain.score, rel=1e-6)
        assert (told["tried"], told["masks"]) == (len(trials), len({one.mask_hash for one in trials}))
        assert row["realised_sparsity"] == report.sparsity
        assert (row["pool"], row["role"], row["saliency"]) == (pool, "adaptive", "gradient")
        assert json.loads(row["flags"]) == list(report.flags)
    hashes = {row["calibration_hash"] for row in rows}
    assert len(hashes) == 1, "all met the same batches"


@pytest.fixture
def run(cli: Any) -> Any:
    (cli.folder / "tasks.py").write_text(TASKS.read_text() + OWN)

    def done(name: str, out: str = "run", *options: str) -> Any:
        asked = ["replicate", "--task", f"tasks.py:{name}", "--seeds", "1", "--sparsities", ".5,.7", "--no-report"]
        return cli.here(*asked, "--out", out, "--scorers", "magnitude,adaptive_trials", *options)

    return done


@pytest.mark.parametrize("unit", ["weight", "channel"])
def test_a_tasks_own_loss_decides(run: Any, cli: Any, rows_of: Rows, code_folder: Path, unit: str) -> None:
    """And a run without data of its own takes the task's batches all the same."""
    done = run("Trialled", "run", "--unit", unit, "--saliency", "neighbourhood")
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(code_folder))
    import tasks

    with seeded(digest({"seed": 0, "for": "calibration"})):
        batches = tasks.Trialled().calibration(0)
    (file,) = (cli.run / "checkpoints").glob("seed-0-*.safetensors")
    state = load_file(file)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    model.load_state_dict({name.removeprefix("state."): value for name, value in state.items()})

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return (output[:, 0] - target).square().mean()

    for sparsity, row in tried(rows_of(cli.store, "cells")).items():
        told = json.loads(row["search"])
        make: Any = compute_masks if unit == "weight" else compute_channel_masks
        report = make(model.eval(), "adaptive", amount=sparsity, calibrate=Trials(batches, loss))[1]
        assert row["mask_hash"] == report.mask_hash
        assert told["score"] == pytest.approx(-report.choice.trials[0].score, rel=1e-6)
        assert row["calibration_hash"] is not None


@pytest.mark.parametrize("name", ["Noised", "Named"])
def test_a_run_that_is_resumed_makes_the_same_masks(run: Any, cli: Any, rows_of: Rows, snapshot: Snapshot, name: str) -> None:
    """Whatever the loss draws, and of the weights that the task names alone."""
    assert (done := run(name, "whole")).returncode == 0, done.stderr
    assert run(name, "run", "--sparsities", ".5").returncode == 0
    with sqlite3.connect(cli.store) as store:
        store.execute("DELETE FROM cells WHERE scorer = 'adaptive_trials'")
    store.close()
    again = run(name)
    assert again.returncode == 0, again.stderr
    rows = {out: tried(rows_of(cli.folder / out / "run.sqlite", "cells")) for out in ("run", "whole")}
    assert set(rows["run"]) == {0.5, 0.7}
    for sparsity, row in rows["whole"].items():
        assert [layer[0] for layer in json.loads(row["layers"])] == (
            ["2.weight"] if name == "Named" else ["0.weight", "2.weight"]
        )
        assert all(row[key] == rows["run"][sparsity][key] for key in ("mask_hash", "search", "cell_key", "correct", "value"))
    assert "0 to compute" in run(name, "run", "--dry-run").stdout


def test_a_signal_that_cannot_be_had_is_named_and_costs_these_cells_alone(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("Numbered")
    assert done.returncode == 3, done.stderr
    assert {row["scorer"] for row in rows_of(cli.store, "cells")} == {"dense", "magnitude"}
    errors = {row["error"] for row in rows_of(cli.store, "failures")}
    assert len(errors) == 1
    assert errors.pop().startswith("ValueError: fisher saliency, which adaptive_trials needs: Expected tensors of several")


def test_the_choice_is_exported_reported_and_read_back(run: Any, cli: Any, rows_of: Rows) -> None:
    assert run("Trialled", "run", "--seeds", "3", "--sparsities", ".7").returncode == 0
    assert cli.here("export", "run", "-o", "rows.csv").returncode == 0
    rows = sorted(rows_of(cli.store, "cells"), key=lambda row: row["seed"])
    told = [json.loads(row["search"]) for row in rows if row["search"] is not None]
    frame = Run(cli.run).frame()
    own = frame[frame["scorer"] == "adaptive_trials"].sort_values("seed")
    columns = {"chosen": "scorer", "chosen_pool": "pool", "chosen_score": "score", "magnitude_score": "magnitude"}
    for column, name in {**columns, "masks_tried": "masks"}.items():
        assert own[column].tolist() == [one[name] for one in told]
    assert frame[frame["scorer"] != "adaptive_trials"][["chosen", "chosen_score", "masks_tried"]].isna().all(axis=None)
    assert "budget" not in frame.columns
    reports = [cli.here("report", one, "--format", "json", "--delta", ".01").stdout for one in ("run", "rows.csv")]
    notes = [next(note for note in json.loads(text)["notes"] if " chose on the calibration" in note) for text in reports]
    assert notes[0] == notes[1]
    counts = [int(n) for n in re.findall(r" in (\d+)", notes[0])]
    assert sum(counts) == 3
    first = told[0]
    assert f"{first['scorer']}/{first['pool']}" in notes[0]
    assert notes[0].startswith("adaptive_trials chose on the calibration batches: at S = 0.7 ")


def test_what_it_costs_is_told_beforehand(cli: Any) -> None:
    done = cli.here(*cli.tiny, "--seeds", "2", "--sparsities", ".5", "--scorers", "adaptive_trials", "--dry-run")
    assert "trials: 36 masks, each with two passes over the calibration batches, about " in done.stdout
    shutil.copy(TASKS, cli.folder / "tasks.py")
    checked = cli.here("check-task", "tasks.py:Good", "--scorers", "adaptive_trials", "--seeds", "2", "--sparsities", ".5")
    assert re.search(r"mask tried on the batches +\d.* s +36 ", checked.stdout), checked.stdout + checked.stderr
