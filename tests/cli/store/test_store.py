import math
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sics_cli.base.errors import StorageError, StoreError
from sics_cli.store import database
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, LookRow, PlanRow, RepeatRow
from sics_cli.store.store import RefusedRowError, Store, find_store

MakeCell = Callable[..., CellRow]
PLAN = PlanRow("hash", "now", 0.5, 0.05, "magnitude", {"escape": ["chaos"]}, [0], ["chaos"], [0.5])
FAILURE = FailureRow("key", "cell", 0, "chaos", 0.5, "ValueError: no", "trace", "now")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.create(path, {"run_id": "r"}) as made:
        yield made


def test_rows_come_back_as_they_went_in(store: Store, cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]) -> None:
    dense = cell_row(cell_key="d", scorer="dense", sparsity=0.0, kappa=None, mask_hash=None, evaluated_as="dense")
    checkpoint = CheckpointRow(0, "dense_key", "hash", 180, 197, 1.5)
    for row in (cell_row(), dense, repeat_row(), checkpoint, replace(FAILURE, cell_key="other", seed=5)):
        store.put(row)
    store.add_plan(PLAN)
    assert store.cells() == [dense, cell_row()]
    assert store.repeats() == [repeat_row()]
    assert store.checkpoints() == [checkpoint]
    assert store.failures() == [replace(FAILURE, cell_key="other", seed=5)]
    assert store.plans() == [PLAN]
    assert store.meta("run_id") == "r"
    assert store.meta("none") is None


def test_looks_come_back_and_make_room_in_a_store_without_them(store: Store) -> None:
    store.add_plan(PLAN)
    assert store.looks("hash") == []
    looking = replace(PLAN, plan_hash="looking", looks={"n_max": 8, "looks": [5, 8]})
    store.add_plan(looking)
    store.add_plan(replace(PLAN, plan_hash="fixed again"))
    assert store.plans() == [PLAN, looking, replace(PLAN, plan_hash="fixed again")]
    first = LookRow("looking", 1, 5, "now", "rows", 0.03125, 1, 4, 2, {"chaos@0.5": "ESCAPES"}, {"share:1": ""}, stops=False)
    second = replace(first, look=2, n=8, decided=4, hopeless=0, stops=True, targets={"share:1": "4 of 4 at look 2"})
    for look in (second, first, replace(first, plan_hash="another"), replace(first, made="later")):
        store.add_look(look)
    assert store.looks("looking") == [replace(first, made="later"), second]


def test_keys_are_those_of_cells_and_repeats_and_of_what_failed(
    store: Store, cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]
) -> None:
    for row in (cell_row(), cell_row(cell_key="other", seed=1), repeat_row(), replace(FAILURE, cell_key="no", seed=5)):
        store.put(row)
    assert (store.keys(), store.failed_keys()) == ({"key", "other", "repeat"}, {"no"})


def test_a_new_row_replaces_the_one_in_its_place(store: Store, cell_row: MakeCell) -> None:
    store.put(cell_row())
    store.put(cell_row(cell_key="newer", loss=0.6))
    store.put(cell_row(cell_key="elsewhere", sparsity=0.6))
    assert [(row.cell_key, row.loss) for row in store.cells()] == [("newer", 0.6), ("elsewhere", 0.7)]


def test_success_clears_the_failure(store: Store, cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]) -> None:
    store.put(FAILURE)
    store.put(replace(FAILURE, cell_key="repeat", kind="repeat", scorer="magnitude"))
    store.put(cell_row(cell_key="another key after an upgrade"))
    assert [row.kind for row in store.failures()] == ["repeat"]
    store.put(repeat_row())
    assert store.failures() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 5, "bits": b"\xfc"},  # accuracy above 1
        {"correct": 9, "bits": b"\xff\x80"},
        {"correct": -1},
        {"correct": 5},  # not what the bits say
        {"correct": 6.5},
        {"n": 0},
        {"bits": b"\xfc\x00"},
        {"loss": math.nan},
        {"loss": math.inf},
        {"loss": -math.inf},
        {"value": math.nan, "correct": None, "bits": None},
        {"value": 1.5},  # right and wrong, and a value beside
        {"bits": None, "correct": None},  # nothing at all
        {"bits": None, "correct": None, "value": 1.5, "examples": b"\0" * 7},
        {"sparsity": 1.0},
        {"sparsity": -0.1},
        {"sparsity": 0.0},  # only a dense row may say so
        {"realised_sparsity": 1.1},
        {"realised_sparsity": math.nan},
        {"kappa": 3},
        {"unit": "neuron"},
        {"pool": "world"},
        {"seed": -1},
        {"mask_hash": None},
        {"scorer": "dense"},
        {"wall_seconds": -1.0},
        {"jaccard": 1.5},
        {"jaccard": "half"},
        {"seed": 2**80},
    ],
)
def test_what_cannot_be_true_cannot_be_stored(store: Store, cell_row: MakeCell, changes: dict[str, Any]) -> None:
    store.put(cell_row(seed=7, cell_key="good"))
    with pytest.raises(RefusedRowError):
        store.put(cell_row(**changes))
    assert store.cells() == [cell_row(seed=7, cell_key="good")]


@pytest.mark.parametrize("column", ["loss", "correct", "bits"])
def test_the_rules_hold_for_any_writer(store: Store, path: Path, cell_row: MakeCell, column: str) -> None:
    store.put(cell_row())
    other = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(f"UPDATE cells SET {column} = ?", ({"loss": math.inf, "correct": 9, "bits": b""}[column],))
    other.close()


def test_a_refused_replacement_loses_nothing(store: Store, cell_row: MakeCell) -> None:
    store.put(cell_row())
    with pytest.raises(RefusedRowError, match=r"seed 0, chaos at S = 0\.5"):
        store.put(cell_row(loss=math.nan))
    assert store.cells() == [cell_row()]


def test_each_row_is_committed_at_once(store: Store, path: Path, cell_row: MakeCell) -> None:
    store.put(cell_row())
    with Store.open(path, read_only=True) as other:
        assert other.cells() == [cell_row()]


def test_read_only_refuses_to_write(store: Store, path: Path, cell_row: MakeCell) -> None:
    with Store.open(path, read_only=True) as other, pytest.raises(StorageError, match="cannot be written"):
        other.put(cell_row())


def test_full_disk_is_one_line_and_loses_nothing(store: Store, cell_row: MakeCell) -> None:
    store.put(cell_row())
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=r"cannot be written.*full.*finished cells are kept"):
        store.put(cell_row(cell_key="big", sparsity=0.6, layers=[["x" * 100_000, 1, 1]]))
    assert store.cells() == [cell_row()]


def test_creation_leaves_all_or_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SCHEMA", database.SCHEMA + "CREATE TABLE cells (again);\n")
    with pytest.raises(StoreError, match="already exists"):
        Store.create(path, {})
    assert list(path.parent.iterdir()) == []


def test_creation_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        Store.create(tmp_path / "none" / "run.sqlite", {})


# -- files that are not what they should be ---------------------------------------------------------------------------


def test_missing(path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        Store.open(path)
    with pytest.raises(StoreError, match="holds no run"):
        find_store(path.parent)


@pytest.mark.parametrize(
    ("schema", "words"),
    [(99, r"newer sics \(schema 99, this version reads up to 7\): upgrade"), (3, "of schema 3, which no release wrote")],
)
def test_another_schema_is_left_alone(store: Store, path: Path, schema: int, words: str) -> None:
    store._connection.execute(f"PRAGMA user_version = {schema}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=words):
        Store.open(path)
    assert path.read_bytes() == before


def test_foreign_database_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a store of sics; nothing was changed"):
        Store.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.01, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_store_is_left_alone(store: Store, path: Path, cell_row: MakeCell, kept: float) -> None:
    for seed in range(200):
        store.put(cell_row(cell_key=str(seed), seed=seed))
    whole = path.read_bytes()
    cut = whole[: int(kept * len(whole))]
    path.write_bytes(cut)
    with pytest.raises(StoreError, match=r"damaged.*nothing was changed"):
        Store.open(path)
    assert path.read_bytes() == cut


def test_text_in_place_of_a_store(path: Path) -> None:
    path.write_text("not a database " * 1000)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(path)


def test_scribbled_pages(store: Store, path: Path, cell_row: MakeCell) -> None:
    for seed in range(200):
        store.put(cell_row(cell_key=str(seed), seed=seed))
    content = bytearray(path.read_bytes())
    content[4096 * 8 : 4096 * 20] = b"\xff" * (4096 * 12)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(path)


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_weight_sparsity_is_a_fraction(store: Store, cell_row: MakeCell, wrong: float) -> None:
    with pytest.raises(RefusedRowError, match="weight_sparsity"):
        store.put(cell_row(weight_sparsity=wrong))
    store.put(cell_row(weight_sparsity=0.25))
    assert [row.weight_sparsity for row in store.cells()] == [0.25]


def test_pools_are_those_that_masks_are_made_in(store: Store, cell_row: MakeCell) -> None:
    for seed, pool in enumerate(("row", "erk", "layer-rank", "native", "2:4", "4:8"), start=10):
        store.put(cell_row(cell_key=str(seed), seed=seed, pool=pool))
    for wrong in ("column", "2:", ":4"):
        with pytest.raises(RefusedRowError, match="pool"):
            store.put(cell_row(cell_key="w", seed=99, pool=wrong))
    assert {row.pool for row in store.cells()} == {"row", "erk", "layer-rank", "native", "2:4", "4:8"}
