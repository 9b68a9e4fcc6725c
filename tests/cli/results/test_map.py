"""`sics-run map`: overlap beside accuracy, several pools against the first."""

import json
import shutil
import sqlite3
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from sics_analysis.results import Verdict
from sics_cli.main import main
from sics_cli.results.plateau_map import map_runs
from sics_cli.results.report import analyse_source
from sics_cli.results.source import Settings, read_run


def words(text: str) -> str:
    return " ".join(text.split())


def changed(run: Path, place: Path, *statements: str, **recipe: str) -> Path:
    """A copy of a run, with rows changed and its recipe saying so."""
    shutil.copytree(run, place)
    with sqlite3.connect(place / "run.sqlite") as connection:
        (text,) = connection.execute("SELECT value FROM meta WHERE key = 'recipe'").fetchone()
        connection.execute("UPDATE meta SET value = ? WHERE key = 'recipe'", (json.dumps(json.loads(text) | recipe),))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'run_id'", (json.dumps(place.name * 8),))
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return place


@pytest.fixture
def layer(finished: Any, tmp_path: Path) -> Path:
    """As in another pool: magnitude and all that share its mask 4 points worse, chaos as good as ever."""
    return changed(
        finished.run, tmp_path / "by-layer",
        "UPDATE cells SET correct = correct - 36 WHERE scorer IN ('magnitude', 'power', 'log')",
        "UPDATE repeats SET correct = correct - 36",
        "UPDATE cells SET pool = 'layer'", pool="layer",
    )  # fmt: skip


def test_the_pool_and_the_feature_are_told_apart(finished: Any, layer: Path) -> None:
    found = map_runs([finished.run, layer], None, None)
    assert found.runs == ("pool global", "pool layer")
    for S in found.sparsities:
        move = found.move("pool layer", S)
        assert move is not None
        assert (move.mean, move.n) == (pytest.approx(-4), 2)
        assert found.move("pool global", S) is None
        by_run = {(p.run, p.scorer): p for p in found.at(S)}
        power = by_run["pool layer", "power"]
        assert (power.feature, power.total, power.overlap, power.standing) == (0, pytest.approx(-4), 1.0, "plateau")
        one, two = by_run["pool global", "chaos"], by_run["pool layer", "chaos"]
        assert one.feature is not None
        assert two.feature == pytest.approx(one.feature + 4)
        assert two.total == pytest.approx(one.total) == pytest.approx(one.feature)
        said = found.describe(S)
        assert len(said) == 2
        assert "the plateau by mask: log, power" in said[0]
        assert "The pool alone: magnitude −4.00 points against pool global over 2 seeds" in said[1]


@pytest.mark.usefixtures("analysed_once")
def test_verdicts_are_adjusted_over_all_that_is_shown() -> None:
    run = Path(str(files("sics_data"))) / "reference" / "digits-weight"
    found = map_runs([run], None, None)
    tested = [point for point in found.points if point.p_above is not None]
    overall = found.overall()
    assert overall.tests == len(tested) == sum(point.verdict is not Verdict.IDENTICAL for point in found.points) > 30
    source = replace(read_run(run), bits={})  # as a map takes it
    lines = {(x.scorer, x.sparsity): x for x in analyse_source(source, Settings()).lines}
    for point in tested:
        line = lines[point.scorer, point.sparsity]
        assert point.p_above == pytest.approx(line.p_escape, abs=1e-12)
        if not line.in_family:
            assert point.p_below == pytest.approx(line.p_degrade_adjusted, abs=1e-12)
    lost = {f"{p.scorer} at {p.sparsity:g}" for p in found.points if p.verdict is Verdict.DEGRADES}
    assert "random at 0.8" in overall.below
    assert set(overall.below) <= lost
    many = found.points[2:3] * 100
    for p, stands in ((0.04, ()), (0.0004, ("bump at 0.5",) * 100)):
        sure = tuple(replace(point, verdict=Verdict.ESCAPES, p_above=p) for point in many)
        assert replace(found, points=sure).overall().above == stands
        assert replace(found, points=tuple(replace(x, verdict=Verdict.INCONCLUSIVE) for x in sure)).overall().above == ()


def test_what_the_pool_seems_to_lift_is_not_said_where_the_pool_is_not_shown_to_escape(finished: Any, tmp_path: Path) -> None:
    better = changed(
        finished.run,
        tmp_path / "b",
        "UPDATE cells SET correct = correct + 36 WHERE sparsity > 0",
        "UPDATE repeats SET correct = correct + 36",
        pool="layer",
    )
    found = map_runs([finished.run, better], None, None)
    last = found.sparsities[-1]
    move = found.move("pool layer", last)
    assert move is not None
    assert (move.mean, str(move.verdict)) == (pytest.approx(4), "INCONCLUSIVE"), "two seeds show nothing"
    assert "by the pool" not in found.describe(last)[1]


def test_rows_of_another_network_are_no_part_of_a_total(finished: Any, tmp_path: Path) -> None:
    """One scorer of one seed met another network: the seed is left out of feature, total, overlap and the pool's move alike."""
    mixed = changed(
        finished.run, tmp_path / "m",
        "UPDATE cells SET checkpoint_hash = 'other', correct = correct - 99 WHERE scorer = 'chaos' AND seed = 0", pool="layer",
    )  # fmt: skip
    for runs, place in (([mixed, finished.run], 0), ([finished.run, mixed], 1)):
        found = map_runs(runs, None, None)
        for S in found.sparsities:
            (point,) = (p for p in found.at(S) if (p.run, p.scorer) == (found.runs[place], "chaos"))
            assert (point.n, point.total) == (1, pytest.approx(point.feature))
            move = found.move(found.runs[1], S)
            assert move is not None
            assert move.n == 1


def test_other_networks_are_not_paired(finished: Any, tmp_path: Path) -> None:
    other = changed(
        finished.run, tmp_path / "c", "UPDATE cells SET checkpoint_hash = checkpoint_hash || 'x'", pool="layer"
    )  # fmt: skip
    found = map_runs([finished.run, other], None, None)
    moves = [found.move("pool layer", S) for S in found.sparsities]
    assert all(move is not None and move.mean is None and "the dense checkpoints differ" in move.reason for move in moves)
    assert all(point.total is None for point in found.points if point.run == "pool layer")
    assert "The pool alone: not known (seed 0, 1: the dense checkpoints differ" in found.describe(found.sparsities[0])[1]


def test_runs_of_one_pool_are_told_apart_by_folder(finished: Any, tmp_path: Path) -> None:
    twin = changed(finished.run, tmp_path / "twin")
    assert map_runs([finished.run, twin], None, None).runs == ("pool global (run)", "pool global (twin)")


def test_through_the_command_line(finished: Any, layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "map.pdf"
    assert main(["map", str(finished.run), str(layer), "-o", str(out)]) == 0
    shown = capsys.readouterr()
    assert words(shown.out).startswith("A pool global B pool layer S = 0.5 scorer κ run overlap feature total n in its run")
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "nothing over sparsities, runs or scorers" in words(shown.out)
    assert "as one family (Holm, α = 0.05 a direction): ESCAPES none; DEGRADES none." in words(shown.out)
    assert out.read_bytes().startswith(b"%PDF")
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert main(["map", str(finished.run)]) == 0
    alone = capsys.readouterr().out
    assert "total" not in alone
    assert "The pool alone" not in alone


def test_refusals(finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["map", str(finished.run), str(finished.run)], "the same run is named twice"),
        (["map", str(finished.run), "-o", "map.svg"], "--output map.svg: give a name ending in .pdf | .png"),
        (["map"], "Missing argument 'RUN...'"),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1
    assert main(["map", str(tmp_path)]) == 1
