"""The runs that ship with the package: whole, free of anybody's paths, and as the documentation tells them."""

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from sics_cli.main import main
from sics_cli.results.report import document_of
from sics_cli.results.source import Settings, Source, read_source
from sics_cli.store.store import Store
from sics_data import reference_runs

ROOT = Path(__file__).parents[3]
NAMES = list(reference_runs())
pytestmark = pytest.mark.usefixtures("analysed_once")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_reference", ROOT / "bench" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_whole_and_holds_nobodys_paths(name: str) -> None:
    path = reference_runs()[name]
    with Store.open(path, read_only=True) as store:
        fixed, looks = {0, 1, 2, 3, 4}, set(range(1000, 1040))  # the declared plan of looks took fresh seeds
        assert {row.seed for row in store.cells()} == (looks if store.plans()[-1].looks else fixed)
        assert not store.failures()
        assert store.repeats()
    assert path.stat().st_size < 5_000_000
    assert not re.search(rb"/(home|root|work|tmp|Users)/", path.read_bytes())


def test_the_documentation_says_what_the_rows_say(reference: ModuleType) -> None:
    """The tables of the findings, rendered again from the rows."""
    found = reference.documents()
    tables = [*reference.scorecard(found), "", *reference.kappa_table(found), "", *reference.attribution_table(found)]
    page = ROOT / "docs" / "findings.md"
    text = page.read_text(encoding="utf-8")
    assert reference.spliced(text, tables) == text, f"{page.name}: make report-reference"
    assert {path.stem for path in (ROOT / "docs" / "reference").glob("*.md")} == set(found)


def without_command(source: Source) -> Source:
    """The same without the command that goes on with it, which names the folder of a run that does not ship."""
    return replace(source, origin=replace(source.origin, source=replace(source.origin.source, command="")))


def test_a_kept_store_says_what_the_run_said(reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = reference_runs()[NAMES[0]].parent
    monkeypatch.setattr(reference, "KEPT", tmp_path)
    kept = reference.keep(run, "copy")
    one, two = (without_command(read_source(path)) for path in (run / "run.sqlite", kept))
    assert document_of(one, one.planned or Settings()) == document_of(two, two.planned or Settings())


def test_report_shows_a_run_by_name_and_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", f"reference:{NAMES[0]}", "--format", "json"]) == 0
    assert '"schema"' in capsys.readouterr().out
    assert main(["report", "reference:digit-weight"]) == 2
    told = capsys.readouterr().err
    assert all(f"reference:{name}" in told for name in NAMES)
    assert "(did you mean reference:digits-weight?)" in told


def test_report_lists_the_runs_that_ship(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", "reference:"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"(?m)^reference:digits-weight +weight +digits +40 6 of 6 +0\.5$", out)
    assert re.search(r"(?m)^reference:cifar10-vit-micro-channel +channel +cifar10-vit-micro +5 – +0\.5$", out)
    assert [line.split()[0] for line in out.splitlines() if line.startswith("reference:")] == [f"reference:{n}" for n in NAMES]


def test_other_commands_know_a_run_by_its_name_too(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"reference:{NAMES[0]}"
    assert main(["export", name, "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    with Store.open(reference_runs()[NAMES[0]], read_only=True) as store:
        assert len(rows) == 1 + len(store.cells())
    assert main(["status", name]) == 0
    assert main(["status", "reference:mine"]) == 2
    assert name in capsys.readouterr().err
