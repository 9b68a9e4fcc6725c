import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.base.files import atomic_path, remove_partials, write_atomically
from sics_cli.store.inbox import Inbox, Intake, Note, Progress
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, RepeatRow
from sics_cli.store.store import Store

MakeCell = Callable[..., CellRow]
FAILURE = FailureRow("key", "cell", 0, "chaos", 0.5, "ValueError: no", "trace", "now")


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    made = Inbox(tmp_path, "run")
    made.prepare()
    return made


@pytest.fixture
def said() -> list[str]:
    return []


def test_rows_travel_unchanged_checkpoints_first(inbox: Inbox, cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]) -> None:
    checkpoint = CheckpointRow(0, "dense", "hash", 180, 197, 1.5)
    rows = [checkpoint, cell_row(loss=1 / 3), repeat_row(), replace(FAILURE, cell_key="other")]
    for row in reversed(rows):
        inbox.post(row)
    inbox.note("hello")
    assert [letter for _, letter in inbox.letters()] == [*rows, Note("hello")]
    assert inbox.keys() == {"key", "repeat"}


@given(st.binary(min_size=1, max_size=20), st.floats(0, 100), st.text(max_size=10))
def test_any_row_survives_json(cell_row: MakeCell, bits: bytes, loss: float, text: str) -> None:
    row = cell_row(bits=bits, loss=loss, flags=[text])
    assert CellRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "foreign", "unknown field"])
def test_damaged_and_foreign_files_are_recognised(inbox: Inbox, cell_row: MakeCell, damage: str) -> None:
    Inbox(inbox.folder.parent, "other run" if damage == "foreign" else "run").post(cell_row())
    (path,) = inbox.folder.iterdir()
    text = path.read_text()
    changed = {"cut": text[:-20], "empty": "", "changed": text.replace('"correct":6', '"correct":7')}
    path.write_text(changed.get(damage, text.replace('"loss"', '"lost"') if damage == "unknown field" else text))
    assert [letter for _, letter in inbox.letters()] == [None]


def test_unfinished_files_are_not_read_and_go_away(inbox: Inbox, cell_row: MakeCell) -> None:
    inbox.post(cell_row())
    (inbox.folder / ".partial-1-cell-x.json").write_text("{")
    assert len(list(inbox.letters())) == 1
    inbox.prepare()
    assert len(list(inbox.folder.iterdir())) == 1


def test_progress_is_replaced_and_forgotten(inbox: Inbox) -> None:
    inbox.tell(Progress(3, "training 1/9", 10.0))
    inbox.tell(Progress(3, "training 2/9", 20.0))
    (inbox.folder / "progress-4.json").write_text("{")
    assert inbox.progress() == {(3, 0): Progress(3, "training 2/9", 20.0)}
    inbox.forget_progress()
    assert inbox.progress() == {}


def test_intake_commits_then_deletes(inbox: Inbox, tmp_path: Path, cell_row: MakeCell, said: list[str]) -> None:
    with Store.create(tmp_path / "run.sqlite", {}) as store:
        intake = Intake(inbox, store, said.append)
        inbox.post(cell_row())
        inbox.post(replace(FAILURE, cell_key="other", seed=1))
        inbox.note("hello")
        assert sorted(intake.empty()) == ["key", "other"]
        assert (intake.computed, intake.failed) == (1, 1)
        assert store.cells() == [cell_row()]
        assert list(inbox.folder.iterdir()) == []
        assert intake.empty() == []
        assert said == ["seed 1, chaos at S = 0.5 failed: ValueError: no", "hello"]


def test_a_row_taken_in_twice_is_there_once(
    inbox: Inbox, tmp_path: Path, cell_row: MakeCell, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver killed between commit and deletion leaves the file to the next one."""
    with Store.create(tmp_path / "run.sqlite", {}) as store:
        inbox.post(cell_row())
        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                Intake(inbox, store, said.append).empty()
        assert store.cells() == [cell_row()]
        Intake(inbox, store, said.append).empty()
        assert store.cells() == [cell_row()]
        assert list(inbox.folder.iterdir()) == []


def test_a_row_that_breaks_a_rule_becomes_a_failure(inbox: Inbox, tmp_path: Path, cell_row: MakeCell, said: list[str]) -> None:
    with Store.create(tmp_path / "run.sqlite", {}) as store:
        inbox.post(cell_row(correct=5))
        intake = Intake(inbox, store, said.append)
        assert intake.empty() == ["key"]
        assert (intake.computed, intake.failed) == (0, 1)
        assert store.cells() == []
        assert "6 bits are set" in store.failures()[0].error


def test_nan_cannot_even_be_posted(inbox: Inbox, cell_row: MakeCell) -> None:
    with pytest.raises(ValueError, match="JSON"):
        inbox.post(cell_row(loss=math.nan))
    assert list(inbox.folder.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def fail() -> None:
        with atomic_path(path) as partial:
            partial.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert remove_partials(tmp_path / "none") == 0
