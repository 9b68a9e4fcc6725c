"""The report of every run that ships, in every format, is the one it was: hashes of what no rearrangement of the code may change.

Numbers are cut to nine digits first, since libraries round the last ones differently. A page's figures are apart from the page.

``python tests/report/test_goldens.py --write`` writes the hashes again, after the change was read in a diff of the reports
themselves: ``sics-run report reference:NAME --format FORMAT`` before and after.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import mkdtemp

import pytest
from click.testing import CliRunner

from sics_analysis.report import FORMATS
from sics_cli.commands.report import report
from sics_data import reference_runs

KEPT = Path(__file__).parent / "data" / "goldens.json"
WIDTH = "80"
_LONG = re.compile(r"-?\d+\.\d{9,}(?:e[-+]?\d+)?")
_FIGURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


VOID = {"meta", "br", "img", "link", "hr", "input"}


class Seen(HTMLParser):
    """The words that are seen with everything folded and the first forest chosen, those of the drawings among them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, bool]] = []  # tag, and whether what is in it is hidden
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        classes = str(dict(attrs).get("class")).split()
        never = tag in ("title", "desc", "style", "script") or {"unseen", "choice-2", "choice-3"} & set(classes)
        self.open.append((tag, bool(never)))

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        folds = [i for i, tag in enumerate(tags) if tag == "details"]
        folded = any(tags[i + 1 : i + 2] != ["summary"] for i in folds)
        if not folded and not any(hidden for _, hidden in self.open):
            self.words += data.replace("\xa0", " ").split()


@cache
def kept_report(name: str) -> Path:
    """What ``sics-run report`` says of a run, kept as JSON: analysed once, shown in every format."""
    path = Path(mkdtemp()) / "report.json"
    path.write_text(told(f"reference:{name}", "json"), encoding="utf-8")
    return path


def told(what: str, kind: str) -> str:
    """What ``sics-run report`` prints."""
    done = CliRunner().invoke(report, [what, "--format", kind], env={"COLUMNS": WIDTH}, standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == 0
    return done.stdout


@cache
def shown(name: str, kind: str) -> str:
    """A kept report in a format."""
    return told(str(kept_report(name)), kind)


def parts(name: str, kind: str) -> dict[str, str]:
    """The hash of a report; of a page also that of its figures."""
    text = _LONG.sub(lambda found: f"{float(found[0]):.9g}", shown(name, kind))
    texts = {kind: text}
    if kind == "html":
        texts = {kind: _FIGURE.sub("", text), "html figures": "\n".join(_FIGURE.findall(text))}
    return {part: hashlib.sha256(value.encode()).hexdigest() for part, value in texts.items()}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", reference_runs())
def test_a_report_is_the_one_it_was(name: str, kind: str) -> None:
    kept, found = json.loads(KEPT.read_text(encoding="utf-8"))[name], parts(name, kind)
    other = [part for part, value in found.items() if kept[part] != value]
    assert not other, (
        f"{' and '.join(other)} of reference:{name} changed; if so meant: python tests/report/test_goldens.py --write"
    )


@pytest.mark.parametrize("name", reference_runs())
def test_a_page_is_light_and_short(name: str) -> None:
    text = shown(name, "html")
    assert len(text.encode()) < 800_000
    assert 500 < len(Seen(text).words) <= 2_500, "with everything folded"


def test_every_run_and_format_has_its_hash() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert set(kept) == set(reference_runs())
    assert all(set(hashes) == {*FORMATS, "html figures"} for hashes in kept.values())
    assert len({value for hashes in kept.values() for value in hashes.values()}) == 4 * 7, "no two are the same text"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python tests/report/test_goldens.py --write")
    hashes = {name: {part: value for kind in FORMATS for part, value in parts(name, kind).items()} for name in reference_runs()}
    KEPT.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
