import csv
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.store.run_folder import kept_epochs
from sics_cli.tasks.checkpoints import save_checkpoint, save_half_trained
from sics_cli.tasks.networks.training import VALIDATIONS, validated
from sics_cli.tasks.training import CurveLog, Epoch, HalfTrained, TrainingRecord

COLUMNS = ("epoch", "loss", "train_accuracy", "validation_accuracy", "learning_rate", "seconds")


def epoch(number: int, loss: float = 1.5) -> Epoch:
    values = (loss, 0.25, 0.5 if number % 2 else None, 1e-3)
    return Epoch(number, dict(zip(COLUMNS[1:-1], values, strict=True)), 2.0 * number)


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@given(st.integers(1, 400))
def test_a_curve_has_some_validations_and_always_the_last(epochs: int) -> None:
    found = [number for number in range(1, epochs + 1) if validated(number, epochs)]
    assert found[-1] == epochs
    assert min(epochs, VALIDATIONS / 2) <= len(found) <= VALIDATIONS + 1
    gaps = {after - before for before, after in itertools.pairwise(found[:-1])}
    assert len(gaps) <= 1


def test_a_line_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "curves" / "seed-0.csv"
    log = CurveLog(path, 0)
    for number in (1, 2):
        log.add(epoch(number))
    assert lines(path) == [
        dict(zip(COLUMNS, ("1", "1.5", "0.25", "0.5", "0.001", "2"), strict=True)),
        dict(zip(COLUMNS, ("2", "1.5", "0.25", "", "0.001", "4"), strict=True)),
    ]
    assert [entry.name for entry in path.parent.iterdir()] == ["seed-0.csv"]


def test_going_on_drops_what_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "seed-0.csv"
    first = CurveLog(path, 0)
    for number in (1, 2, 3, 4):
        first.add(epoch(number))
    again = CurveLog(path, 2)  # killed after epoch 4, kept after epoch 2
    again.add(epoch(3, loss=9.0))
    assert [(row["epoch"], row["loss"]) for row in lines(path)] == [("1", "1.5"), ("2", "1.5"), ("3", "9")]
    CurveLog(path, 0).add(epoch(1, loss=7.0))
    assert [(row["epoch"], row["loss"]) for row in lines(path)] == [("1", "7")]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"epoch,loss\n1,2\n", b"a" * 1000, b",".join(c.encode() for c in COLUMNS) + b"\nx,1,1,1,1,1\n"],
)
def test_a_damaged_curve_costs_nothing_but_its_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seed-0.csv"
    path.write_bytes(content)
    CurveLog(path, 5).add(epoch(6))
    assert [row["epoch"] for row in lines(path)] == ["6"]


def test_how_far_a_network_in_training_is(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "training-0.safetensors"
    assert kept_epochs(path) == 0
    save_half_trained(path, "key", HalfTrained(7, {}, 1.0, nondeterministic=False))
    assert kept_epochs(path) == 7
    path.write_bytes(path.read_bytes()[:20])
    assert kept_epochs(path) == 0
    save_checkpoint(path, "key", {}, TrainingRecord(1, 2, 3.0))
    assert kept_epochs(path) == 0, "a finished one is not in training"
