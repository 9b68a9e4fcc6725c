"""The README is short, links to what is there, and each of its snippets of Python runs alone, as a file of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
MOST = 150


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MOST


def test_what_it_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (README.parent / link).exists()] == []


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_alone(number: int, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPETS[number], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:__main__", "snippet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    if "run.report" in SNIPPETS[number]:
        assert (tmp_path / "report.html").is_file()
    if "print(report)" in SNIPPETS[number]:
        assert "80.00 %" in done.stdout


def test_what_a_command_prints_is_what_it_printed() -> None:
    from sics_analysis.report import render
    from sics_cli.results.report import document_of
    from sics_cli.results.source import Settings, read_source
    from sics_data import reference_runs

    (shown,) = re.findall(r"```\n(scorer .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    source = read_source(reference_runs()["digits-weight"])
    printed = {line.rstrip() for line in render(document_of(source, source.planned or Settings()), "terminal").splitlines()}
    assert {line for line in shown.splitlines() if line} <= printed


def test_table_of_scorers_is_the_registry() -> None:
    from sics_plugin import get_scorer, list_scorers, method_for

    rows = re.findall(r"^\| `(\w+)` \| `(SICS\w+)` \| (\S+) \|", README.read_text(), re.MULTILINE)
    default = [name for name in list_scorers() if get_scorer(name).role != "peer" and not get_scorer(name).on_request]
    assert [name for name, _, _ in rows] == default
    for name, method, kappa in rows:
        assert method_for(name).__name__ == method
        cls = get_scorer(name)
        assert kappa == (str(cls.kappa) if cls.kappa is not None else {"adaptive": "–"}.get(cls.role, cls.role))


def test_table_of_peers_is_the_registry() -> None:
    from sics_plugin import get_scorer, list_scorers

    page = (README.parent / "docs" / "peers.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.+) \| `(\w+)`[^|]* \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert [name for name, *_ in rows] == list_scorers(role="peer")
    for name, source, signal, pool, units in rows:
        cls = get_scorer(name)
        assert (signal, pool, units == "refused") == (cls.requires, cls.pool, cls.units == ("weight",))
        assert source.split(",")[-1].split()[-1].rstrip(")") in cls.source
