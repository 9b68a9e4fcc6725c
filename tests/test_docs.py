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

import click
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


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_paper_is_linked_where_a_page_first_names_it(page: Path) -> None:
    if page.parent.name in ("reference", "site") or page.name == "calibration-cells.md":
        pytest.skip("made from rows, or a template")
    text = page.read_text(encoding="utf-8").partition("\n")[2]  # a title is no place for a link
    named = re.search(r"\b[Tt]he paper\b|2605\.09345", text)
    assert named is None or "(https://arxiv.org/abs/2605.09345)" in text[: named.end() + 100]


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


#: How a page says that a name in its commands is the reader's to fill in, be it RUN, FILE.toml or results.csv.
STANDS_FOR = re.compile(r"stands? for (your|one of your)")
#: Pages whose commands have names of the reader's that no sentence says so of yet.
UNSAID = {"docs/findings.md", "docs/prune.md"}


def lines_of(page: Path) -> list[str]:
    """Every line of a page's blocks for a shell, without the prompt, and with lines that go on joined."""
    text = "".join(block for language in ("sh", "console") for block in blocks(page, language))
    return [line.strip().removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines()]


def commands() -> list[tuple[str, str, bool]]:
    """Every `sics-run` of the pages: page, line, and whether it stands in a block, to be copied, or in a sentence."""
    found = []
    for page in [*PAGES, *OTHERS]:
        name = page.relative_to(ROOT).as_posix()
        if name == "CHANGELOG.md":
            continue
        found += [(name, line, True) for line in lines_of(page) if line.startswith("sics-run ")]
        sentences = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        found += [(name, " ".join(line.split()), False) for line in re.findall(r"`(sics-run [^`]+)`", sentences)]
    return found


def parsed(words: list[str]) -> click.Context | None:
    """A command line as click takes it: types, choices and callbacks too; None of one that asks for help alone."""
    from sics_cli.main import COMMANDS, cli

    name, *rest = words
    if name.startswith("-"):
        return None
    assert name in COMMANDS
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    return command.make_context(name, rest)


@pytest.mark.parametrize(("page", "line", "copied"), commands())
def test_a_command_of_the_pages_is_taken_as_it_stands(page: str, line: str, copied: bool) -> None:
    words = shlex.split(line, comments=True)[1:]
    try:
        context = parsed(words)
    except click.MissingParameter:
        assert not copied, "a sentence may name a command without what it is about; a line to be copied may not"
        return
    if context is None or not copied:
        return
    text = (ROOT / page).read_text(encoding="utf-8")
    for file in _files_read(context):
        there = file.startswith(("reference:", "runs/")) or (ROOT / file).exists()
        assert there or f"`{Path(file).name}`:" in text or page in UNSAID or STANDS_FOR.search(text), (
            f"{file}: not there, and not said to be the reader's"
        )


def _files_read(context: click.Context) -> list[str]:
    """What a command would open: its sources, settings, checkpoints and images, and files of scorers and tasks."""
    found: list[str] = []
    for parameter in context.command.params:
        if parameter.name in ("output", "out", "figures", "data_dir"):
            continue
        value = context.params.get(parameter.name or "")
        several = value if isinstance(value, tuple | list) else [value]
        if isinstance(parameter.type, click.Path):
            found += [str(one) for one in several if one is not None]
        found += [one.partition(":")[0] for one in several if isinstance(one, str) and ".py:" in one]
        found += [one for one in several if isinstance(one, str) and one.startswith("imagefolder:")]
    return found


def test_there_are_commands_on_the_pages_and_a_bad_one_is_refused() -> None:
    assert len(commands()) > 80
    for words in (["replicate", "--sede", "5"], ["report"], ["replicate", "--pool", "golbal"], ["replicate", "--seeds", "N"]):
        with pytest.raises(click.UsageError):
            parsed(words)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_scripts_and_targets_of_the_pages_are_there_with_their_options(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`((?:python|make) [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [*lines_of(page), *inline]:
        if not line.startswith(("make ", "python ")) or line.startswith("python -c"):
            continue
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            for word in words[1:]:
                name, equals, _ = word.partition("=")
                pattern = rf"\$\(?{name}\b|\b{name} \?=" if equals else rf"^{name}:"
                assert re.search(pattern, makefile, re.MULTILINE), f"{line}: {word}"
        elif words[:1] == ["python"] and words[1].endswith(".py"):
            room = (ROOT / words[1]).read_text(encoding="utf-8")
            folder = (ROOT / words[1]).with_suffix("")
            if "bench." in room or folder.is_dir():
                room += "".join(one.read_text(encoding="utf-8") for one in sorted((ROOT / "bench").rglob("*.py")))
            for word in words[2:]:
                if word.startswith("--"):
                    assert f'"{word.partition("=")[0]}"' in room, f"{line}: {word}"


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
