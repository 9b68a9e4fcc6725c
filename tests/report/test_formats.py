"""Every format renders from the document alone, however poor it is, and twice the same."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pandas as pd
import pytest

from sics_analysis import analyse
from sics_analysis.report import FORMATS, ReportDocument, render, report_table
from sics_analysis.report.layouts.formats import ENDINGS
from sics_analysis.results import Verdict


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


def halves(make_table: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """One line of every verdict but identity, at two S."""
    added = {
        "magnitude": [0.0] * 5,
        "above": [3.1, 2.9, 3.3, 2.8, 3.0],
        "below": [-3.1, -2.9, -3.3, -2.8, -3.0],
        "flat": [0.1, -0.1, 0.05, 0.0, -0.05],
        "notworse": [0.5, 0.4, 0.7, 0.2, 0.4],
        "notbetter": [-0.5, -0.4, -0.7, -0.2, -0.4],
        "wide": [-0.9, 1.4, 0.2, 2.0, -0.3],
    }
    return make_table(added, (0.7, 0.8))


WORDS = {"above": "ESCAPES", "below": "DEGRADES", "flat": "EQUIVALENT", "notworse": "NONINFERIOR", "notbetter": "NONSUPERIOR"}


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "csv"])  # which has words and no glyph
def test_every_format_shows_what_one_half_of_the_test_shows(kind: str, make_table: Callable[..., pd.DataFrame]) -> None:
    document = report_table(halves(make_table), draws=1_000)
    assert {line.scorer: str(line.verdict) for line in document.lines} == WORDS | {"wide": "INCONCLUSIVE"}
    text = render(document, kind)
    for name, (glyph, word, meaning) in {
        "notworse": ("≥", "NONINFERIOR", "not worse by"),
        "notbetter": ("≤", "NONSUPERIOR", "not better by"),
    }.items():
        shown = {
            "html": rf'<td class="(?:[a-z]+ )*v v-{word}"[^>]*>\s*<span class="glyph" aria-hidden="true">{glyph}</span>',
            "latex": rf"{name} &.*\$\\[gl]eq\$ {word}",
            "json": rf'"verdict": "{word}"',
            "csv": rf"(?m)^{name},.*,{word},",
        }.get(kind, rf"{name}\b.*{glyph} +{word}")
        assert re.search(shown, text), (kind, name)
        assert kind == "csv" or meaning in " ".join(text.split()), kind  # a table of numbers has no legend
    if kind == "html":
        figures = "\n".join(re.findall(r"<svg\b.*?</svg>", text, re.DOTALL))
        assert "≥ noninferior" in figures
        assert "≤ nonsuperior" in figures
        assert ".v-NONINFERIOR {" in text
        assert ".v-NONSUPERIOR {" in text
    if kind == "json":
        line = json.loads(text)["lines"][0]
        assert {"p_noninferior", "p_nonsuperior", "p_escape_adjusted_run", "p_degrade_adjusted_run"} <= set(line)


def test_the_frame_has_the_halves_and_the_run(make_table: Callable[..., pd.DataFrame]) -> None:
    frame = analyse(halves(make_table), draws=1_000).to_frame()
    assert dict(zip(frame["scorer"], frame["verdict"], strict=True)) == WORDS | {"wide": "INCONCLUSIVE"}
    assert (frame[["p_noninferior", "p_nonsuperior"]].max(axis=1) == frame["p_equivalence"]).all()
    assert (frame["p_escape_adjusted_run"] >= frame["p_escape_adjusted"]).all()
    assert (frame["p_degrade_adjusted_run"] >= frame["p_degrade_adjusted"]).all()


def test_every_verdict_has_its_glyph_colour_and_marker_everywhere() -> None:
    from sics_analysis.report.figures.drawing.style import VERDICTS
    from sics_analysis.report.layouts.terminal_tables import STYLES
    from sics_analysis.report.words.phrases import GLYPHS
    from sics_analysis.study.plateau_map import STANDING

    assert set(VERDICTS) == set(Verdict) == set(STANDING)
    assert set(GLYPHS) == set(Verdict) <= set(STYLES)
    assert {verdict: mark.glyph for verdict, mark in VERDICTS.items()} == GLYPHS
    marks = VERDICTS.values()
    assert (
        len({mark.glyph for mark in marks}) == len({mark.marker for mark in marks}) == len({mark.colour for mark in marks}) == 7
    )
