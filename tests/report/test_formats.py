"""Every format renders from the document alone, however poor it is, and twice the same."""

import re
import subprocess
import sys

import pytest

from sics_analysis.report import FORMATS, ReportDocument, render
from sics_analysis.report.layouts.formats import ENDINGS


@pytest.mark.parametrize("kind", FORMATS)
def test_same_document_same_bytes(tiny: ReportDocument, kind: str) -> None:
    text = render(tiny, kind)
    assert text.endswith("\n")
    assert render(ReportDocument.from_json(tiny.to_json()), kind) == text


@pytest.mark.parametrize("kind", FORMATS)
def test_poor_tables_are_rendered_in_words(poor: dict[str, ReportDocument], kind: str) -> None:
    for name, document in poor.items():
        text = render(document, kind)
        assert not re.search(r"(?i)(?<![a-z])nan(?![a-z])|(?<![a-z])inf(?![a-z])", text), name
        assert "magnitude" in text or (kind == "csv" and not document.lines), name


def test_endings_name_formats() -> None:
    assert set(ENDINGS.values()) == set(FORMATS)


def test_another_format_is_refused(tiny: ReportDocument) -> None:
    with pytest.raises(ValueError, match="Expected a format among terminal, html, md, latex, json, csv, got 'pdf'"):
        render(tiny, "pdf")


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        ("terminal", {"torch", "matplotlib", "jinja2", "click", "scipy", "pandas"}),
        ("json", {"torch", "matplotlib", "jinja2", "rich", "click", "scipy", "pandas"}),
        ("html", {"torch", "click", "pandas", "scipy"}),
    ],
)
def test_only_what_a_format_needs_is_imported(tiny: ReportDocument, kind: str, absent: set[str]) -> None:
    code = (
        "import sys; from sics_analysis.report import ReportDocument, render; "
        "render(ReportDocument.from_json(sys.stdin.read()), sys.argv[1]); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, kind], input=tiny.to_json(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stdout.split()} & absent
