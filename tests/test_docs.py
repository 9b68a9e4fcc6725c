"""The pages: each has its place, links lead somewhere, what they print runs, and the site can be built."""

import email.message
import importlib
import io
import re
import runpy
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")]
#: Pages of the site that are made for it.
MADE = {
    "guides",
    "reference",
    "background",
    "results",
    "examples",
    "examples/notebook",
    "a-report",
    "catalogue/index",
    "cli",
    "api/index",
}
#: Pages whose Python runs here, in order, in one session each; and those whose Python is run by another test, or cannot be.
RUN = ("start", "scorers", "verdicts", "traps", "channels", "writing-a-scorer", "prune")
ELSEWHERE = {
    "tasks": "tests/examples/test_examples.py",
    "recipes": "tests/plugin/pruning/test_other_libraries.py",
    "peers": "lines about any model",
    "fusion": "lines about any model",
}


@pytest.fixture(scope="module")
def site() -> Iterator[dict[str, ModuleType]]:
    """The modules of docs/site, which is in no package."""
    before = list(sys.path)
    sys.path.insert(0, str(DOCS / "site"))
    yield {name: importlib.import_module(name) for name in ("api", "catalogue", "check", "links", "navigation", "stage")}
    sys.path[:] = before


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"(?<!<!-- lightning -->\n)```{language}\n(.*?)```", text, re.DOTALL)


def test_every_page_has_its_place_in_the_menu(site: dict[str, ModuleType]) -> None:
    there = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if "site" not in page.parts}
    outside = {name.removesuffix(".md") for name in site["navigation"].OUTSIDE.values()}
    named = site["navigation"].names()
    assert len(set(named)) == len(named)
    assert set(named) == there | outside | MADE


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_anchors_lead_somewhere(page: Path, site: dict[str, ModuleType]) -> None:
    if page.parent.name == "site":
        pytest.skip("a template: the build checks it")
    assert list(site["links"].broken(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, site: dict[str, ModuleType]) -> None:
    (tmp_path / "b.md").write_text("# One *thing*\n\n## One thing\n")
    (tmp_path / "a.md").write_text(
        "[1](b.md#one-thing-1) [2](b.md#two) [3](c.md) [4](https://x.org/c.md) `[5](d.md)` [6](#here)\n```\n[7](e.md)\n```\n"
    )
    assert [line.split(": ")[1] for line in site["links"].broken(tmp_path / "a.md")] == ["b.md#two", "c.md", "#here"]


@pytest.mark.parametrize("name", RUN)
def test_the_python_of_a_page_runs_as_printed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(DOCS / f"{name}.md", "python")
    assert found
    namespace: dict[str, object] = {"__name__": name}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for block in found:
                exec(compile(block, f"docs/{name}.md", "exec"), namespace)
        finally:
            from sics_plugin import list_scorers, unregister_scorer

            if "valley" in list_scorers():
                unregister_scorer("valley")


def test_no_page_has_python_that_nothing_runs() -> None:
    assert {page.stem for page in PAGES if blocks(page, "python")} == {*RUN, *ELSEWHERE}


def commands() -> list[tuple[str, str]]:
    """Every line that begins with `sics-run` in a block of a page, with the page's name."""
    found = []
    for page in [*PAGES, *OTHERS]:
        for block in blocks(page, "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line.strip()) for line in lines if line.strip().startswith("sics-run ")]
    return found


def test_commands_of_the_pages_have_the_options_they_name() -> None:
    from sics_cli.main import COMMANDS, cli

    assert len(commands()) > 40
    for page, line in commands():
        _, command, *words = shlex.split(line, comments=True)
        if command.startswith("-"):
            continue
        assert command in COMMANDS, f"{page}: {line}"
        known = cli.get_command(None, command)  # type: ignore[arg-type]
        assert known is not None
        options = {name for parameter in known.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        asked = {word.split("=")[0] for word in words if word.startswith("-") and len(word) > 1 and not re.match(r"-[\d.]", word)}
        assert asked <= options, f"{page}: {line}: {asked - options}"


def test_table_of_scorers_is_the_registry() -> None:
    from sics_plugin import get_scorer, list_scorers, method_for

    rows = re.findall(r"^\| `(\w+)` \| `(SICS\w+)` \| (\S+) \|", (DOCS / "scorers.md").read_text(), re.MULTILINE)
    default = [name for name in list_scorers() if get_scorer(name).role != "peer" and not get_scorer(name).on_request]
    assert [name for name, _, _ in rows] == default
    for name, method, kappa in rows:
        assert method_for(name).__name__ == method
        cls = get_scorer(name)
        assert kappa == (str(cls.kappa) if cls.kappa is not None else {"adaptive": "–"}.get(cls.role, cls.role))


def test_every_verdict_is_explained_with_what_to_do(site: dict[str, ModuleType]) -> None:
    from sics_analysis import Verdict

    words = [verdict.name for verdict in Verdict]
    anchors = site["links"].anchors((DOCS / "glossary.md").read_text())
    assert {word.lower() for word in words} <= anchors
    for page in ("verdicts.md", "report.md"):
        text = (DOCS / page).read_text()
        assert [word for word in words if word not in text] == []
    assert (DOCS / "glossary.md").read_text().count("*Do*:") == len(words)


def test_the_catalogue_has_a_page_for_every_scorer(site: dict[str, ModuleType]) -> None:
    from sics_cli.experiment.scorers import describe_scorers
    from sics_cli.experiment.trials import TRIALS
    from sics_plugin import list_scorers
    from sics_plugin.complexity.kinds import Kind

    infos = list(describe_scorers([], "gradient"))
    assert [info.name for info in infos] == [*list_scorers(), TRIALS]
    assert {site["catalogue"].group(info) for info in infos} == set(site["catalogue"].ROLES)
    assert set(site["catalogue"].KINDS) == set(get_args(Kind))


def test_a_page_of_the_catalogue_says_formula_signal_and_measured_kappa(tmp_path: Path, site: dict[str, ModuleType]) -> None:
    import torch

    threads = torch.get_num_threads()
    try:
        written = site["catalogue"].write(tmp_path / "one", ["chaos", "lamp"])
        site["catalogue"].write(tmp_path / "two", ["chaos", "lamp"])
    finally:
        torch.set_num_threads(threads)
    assert written == ["chaos", "lamp"]
    chaos, lamp = ((tmp_path / "one" / f"{name}.md").read_text() for name in written)
    assert "| **κ measured** | **2**, raw: " in chaos
    assert "r = 3.5+0.5z" in chaos
    assert 'kind="lamp"' in lamp
    assert "2010.07611" in lamp
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), "made twice, the same bytes"
    index = (tmp_path / "one" / "index.md").read_text()
    assert index.count("[chaos](chaos.md)") == 1


def test_the_api_has_every_public_name_once(site: dict[str, ModuleType]) -> None:
    face = runpy.run_path(str(ROOT / "tests" / "test_public_face.py"))["FACE"]
    wanted = {(package, name) for package, names in face.items() if package != "sics_cli.main" for name in names.split()}
    shown = [pair for names in site["api"].rooms().values() for pair in names]
    assert len(set(shown)) == len(shown)
    assert wanted <= set(shown)


def test_links_out_of_docs_lead_to_a_page_of_the_site(site: dict[str, ModuleType]) -> None:
    turn = site["stage"].with_site_links
    assert turn("[a](../data/README.md#x) [b](tasks.md)", DOCS) == "[a](data.md#x) [b](tasks.md)"
    assert turn("[a](docs/tasks.md#b)", ROOT) == "[a](tasks.md#b)"
    assert turn("[a](../examples/image_folder.py)", DOCS) == "[a](examples.md#image_folderpy)"


def test_what_a_built_page_loads_from_outside_is_found(tmp_path: Path, site: dict[str, ModuleType]) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="https://cdn.org/a.css"><img src="there.png"><img src="gone.png">'
        '<a href="https://x.org">x</a><a href="a.html#here" id="here">y</a><a href="#nowhere">z</a><a href="b.html">b</a>'
    )
    (tmp_path / "there.png").write_bytes(b"")
    (tmp_path / "a.css").write_text('@import "//fonts.org/f.css"; b { background: url(data:image/png;base64,) }')
    assert [line.split(": ", 1)[1] for line in site["check"].faults(tmp_path)] == [
        "loads https://cdn.org/a.css from outside",
        "loads gone.png, which is not there",
        "#nowhere: no such anchor",
        "b.html leads nowhere",
        "loads //fonts.org/f.css from outside",
    ]


def test_links_outside_are_asked_and_a_missing_network_is_one_line(
    tmp_path: Path, site: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = site["check"]
    links = "".join(f'<a href="https://{name}.example/#part">x</a>' for name in "abcde")
    (tmp_path / "page.html").write_text(f"<html><body>{links}</body></html>")
    asked: list[str] = []

    def answer(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        asked.append(request.full_url)
        if request.full_url == "https://b.example/":
            raise urllib.error.HTTPError(request.full_url, 404, "Not Found", email.message.Message(), None)
        if request.full_url == "https://c.example/":
            raise urllib.error.URLError("no such host")
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    found = list(check.external(tmp_path))
    assert asked == [f"https://{name}.example/" for name in "abcde"]
    assert found == ["https://b.example/: HTTP Error 404: Not Found", "https://c.example/: <urlopen error no such host>"]

    def silence(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", silence)
    (line,) = check.external(tmp_path)
    assert line.startswith("--external: needs a network, and none of 3 links outside was reached (https://a.example/: ")


def test_numbers_of_the_first_page_are_those_of_the_run_it_names() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\S+) \| (\S) \w+ \|$", (DOCS / "site" / "index.md").read_text(), re.MULTILINE)
    assert len(rows) == 5
    grid = (DOCS / "reference" / "digits-weight.md").read_text()
    for name, difference, sign in rows:
        assert re.search(rf"^\| {name} \|.*\| {sign} {re.escape(difference)} \|$", grid, re.MULTILINE), name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """As `make docs` does, notebook and all."""
    for tool in ("sphinx", "pydata_sphinx_theme", "myst_nb", "numpydoc", "sphinx_design", "sphinx_click"):
        pytest.importorskip(tool)
    source, built = str(tmp_path / "source"), str(tmp_path / "built")
    sphinx = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, built]
    for command in (["docs/site/stage.py", source], sphinx, ["docs/site/check.py", built]):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
