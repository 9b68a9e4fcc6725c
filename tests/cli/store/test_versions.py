"""Rows of two versions of one user's scorer are not pooled."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sics_cli.base.hashing import digest
from sics_cli.store.export import export_rows
from sics_cli.store.rows import CellRow, scorer_versions, stale_remark
from sics_cli.store.store import Store

MakeCell = Callable[..., CellRow]
OLD, NEW = digest({"name": "mine", "source": "old"}), digest({"name": "mine", "source": "new"})
FACTS = {"infos": [{"name": "mine", "fingerprint": {"name": "mine", "source": "new"}}]}


@pytest.fixture
def rows(cell_row: MakeCell) -> list[CellRow]:
    def make(seed: int, scorer: str, fingerprint: str | None, minute: int) -> CellRow:
        finished = f"2026-01-01T00:{minute:02}:00+00:00"
        return cell_row(cell_key=f"{seed}{scorer}", seed=seed, scorer=scorer, fingerprint=fingerprint, finished=finished)

    return [
        make(0, "mine", NEW, 5), make(1, "mine", OLD, 1), make(2, "mine", OLD, 1), make(0, "chaos", "f", 1),
        make(1, "chaos", "f", 5), make(0, "old", None, 1), make(1, "old", None, 2),
    ]  # fmt: skip


def test_the_version_of_the_last_command_counts(rows: list[CellRow]) -> None:
    good, stale = scorer_versions(rows, FACTS)
    assert [(row.seed, row.scorer) for row in stale] == [(1, "mine"), (2, "mine")]
    assert good == [row for row in rows if row not in stale]


def test_going_back_to_an_old_version_counts_it_again(rows: list[CellRow]) -> None:
    facts = {"infos": [{"name": "mine", "fingerprint": {"name": "mine", "source": "old"}}]}
    assert [(row.seed, row.scorer) for row in scorer_versions(rows, facts)[1]] == [(0, "mine")]


@pytest.mark.parametrize("facts", [None, {"infos": []}, {"infos": [{"name": "mine", "fingerprint": {"name": "third"}}]}])
def test_without_knowledge_the_version_computed_last_counts(rows: list[CellRow], facts: dict[str, object] | None) -> None:
    assert {row.seed for row in scorer_versions(rows, facts)[1]} == {1, 2}


def test_export_and_report_see_one_version_and_say_what_is_left_out(rows: list[CellRow], tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.sqlite", {"scorers": FACTS}) as store:
        for row in rows:
            store.put(row)
        assert [row["seed"] for row in export_rows(store) if row["scorer"] == "mine"] == [0]
        assert stale_remark(store.stale_cells()) == [
            "Left out: 2 rows of an earlier version of mine (seed 1, 2); replicate with those seeds computes them again."
        ]
    assert stale_remark([]) == []
