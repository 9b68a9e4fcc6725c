"""What every command prints keeps to the width of the terminal, and breaks no word and no number."""

import re
from typing import Any

import pytest
from rich.cells import cell_len

from sics_cli.main import COMMANDS

WIDTHS = (60, 80)  # running text takes 100 columns at most
WEIGHT, IMAGES = "reference:digits-weight", "reference:cifar10-vit-micro-weight"
REPORTS = (
    ("report", "reference:"),
    ("report", IMAGES),
    ("plan", "--sd", "0.5", "--max-seeds", "40"),
    ("plan", "--from", WEIGHT),
    ("compare", IMAGES, "reference:cifar10-vit-micro-channel"),
    ("map", IMAGES),
    ("status", WEIGHT),
    ("scorers", "--long"),
    *((name, "--help") for name in COMMANDS),
)
#: What is copied stays in one line: a command, behind its label or an indent, and a path.
COPIED = re.compile(r"^\s*(?:\S+ )?\s*(?:sics-run \S.*|\S*/\S+)$")


def said(cli: Any, monkeypatch: pytest.MonkeyPatch, width: int, *arguments: str) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    done = cli.here(*arguments)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def check(cli: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    whole = set(said(cli, monkeypatch, 400, *arguments).split())
    for width in WIDTHS:
        shown = said(cli, monkeypatch, width, *arguments)
        for line in shown.splitlines():
            assert cell_len(line) <= width or COPIED.match(line), f"{width}: {line}"
        broken = {word for word in shown.split() if word not in whole and not set(word) <= {"─"}}
        assert not {word for word in broken if not folded(word, whole)}, f"{width}: {broken}"


def folded(word: str, whole: set[str]) -> bool:
    """Whether it is the part of a name that a narrow column breaks behind an underscore, a slash, a hyphen or a space."""
    return any((part.startswith(word) and word[-1] in "_/-") or re.search(rf"[_/-]{re.escape(word)}$", part) for part in whole)


@pytest.mark.usefixtures("analysed_once")
@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_nothing_is_cut_or_broken_at_any_width(cli: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    check(cli, monkeypatch, *arguments)


def test_a_run_keeps_to_the_width_before_and_after(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run, with looks too, its end, and what it holds."""
    small = [*cli.tiny, "--scorers", "magnitude,smooth_chaos,random", "--sparsities", ".5,.7"]
    check(cli, monkeypatch, *small, "--dry-run")
    looked = ["--config", "tiny.toml", "--until", "decided", "--max-seeds", "12", "--dry-run"]
    (cli.folder / "tiny.toml").write_text((cli.folder / "tiny.toml").read_text().replace("seeds = 2\n", ""))
    check(cli, monkeypatch, "replicate", *looked)
    said(cli, monkeypatch, 80, *small, "--seeds", "3")
    check(cli, monkeypatch, *small, "--seeds", "3")
    check(cli, monkeypatch, "status", "run")
