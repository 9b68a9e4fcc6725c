"""`replicate` ends with the page to open and the three sentences of it, and a page that cannot be made costs nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sics_cli.main import main


def test_replicate_ends_by_naming_the_page(finished: Any) -> None:
    out = (finished.folder / "stdout").read_text()
    page, *sentences = out[out.index("open      run/report.html") :].splitlines()
    assert page == "open      run/report.html"
    starts = [words for words in ("Shown:", "Explained by:", "Open:") if any(line.startswith(words) for line in sentences)]
    assert starts == ["Shown:", "Explained by:", "Open:"]
    assert (finished.run / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_page_is_the_one_report_makes(
    finished: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.folder)  # a command names the run's folder from where it is typed
    for name, kind in (("report.html", "html"), ("report.json", "json")):
        assert main(["report", str(finished.run), "--format", kind]) == 0
        assert (finished.run / name).read_text(encoding="utf-8") == capsys.readouterr().out, name


def test_the_page_is_of_the_whole_store_and_made_anew(copy: Any) -> None:
    page = copy.run / "report.html"
    page.write_text("old")
    done = copy.here(*copy.tiny, "--report", "--scorers", "magnitude,chaos")
    assert done.returncode == 0, done.stderr
    assert "open      run/report.html" in done.stdout.splitlines()
    assert "smooth_mouse" in page.read_text(encoding="utf-8"), "also what other commands computed"


def test_a_page_that_cannot_be_made_is_said_and_costs_nothing(copy: Any, snapshot: Callable[[Path], Any]) -> None:
    before = snapshot(copy.store)
    (copy.run / "report.html").unlink()
    (copy.run / "report.html").mkdir()
    done = copy.here(*copy.tiny, "--report")
    assert done.returncode == 0, "the run itself is finished"
    assert "no report was written" in done.stdout
    assert "sics-run report run -o run/report.html tries again" in " ".join(done.stdout.split())
    assert "S = 0.7" in done.stdout
    assert snapshot(copy.store) == before
    assert not list(copy.run.glob("*.tmp*"))
