"""The Markdown report: complete, the same text every time, and every name shown as itself by a real parser."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sics_analysis.report import render
from sics_analysis.report.layouts.markdown import escaped, paragraph, render_markdown
from sics_analysis.report.tables import by_scorer
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.phrases import plain
from sics_analysis.results import Interval, Verdict

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Page(HTMLParser):
    """Tags met, and the text outside of them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.text += "\n" if tag in ("p", "td", "th", "li", "h1", "h2", "h3", "br", "summary") else ""

    def handle_data(self, data):
        self.text += data


def page(markdown: str) -> Page:
    return Page(PARSER.render(markdown))


def test_snapshot(tiny, snapshot):
    snapshot("tiny.md", render_markdown(tiny))


def test_the_format_is_known_and_pure(document):
    assert render(document, "md") == render_markdown(document)


def test_every_part_is_there(document):
    found = page(render_markdown(document))
    assert found.tags <= {
        "h1",
        "h2",
        "h3",
        "p",
        "strong",
        "ul",
        "ol",
        "li",
        "br",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
    }
    for answer in answers(document):
        assert answer.question in found.text
        assert plain(answer.text) in found.text
    for claim in document.claims:
        assert claim.paragraph in found.text
    for note in document.notes:
        assert note in found.text
    headings = re.findall(r"^## (.*)$", render_markdown(document), re.MULTILINE)
    wanted = ["Answers", "In short", "Plateau", "Equivalence", "Escapes", "κ(S)", "Attribution", "Provenance", "Notes"]
    assert [heading for heading in headings if heading in wanted] == wanted
    assert {"McNemar, seed by seed", "Accuracies", "Deviations from the plan"} <= set(headings)


def test_every_row_of_a_table_has_its_columns(document, hostile):
    for which in (document, hostile):
        width = None
        for line in render_markdown(which).splitlines():
            cells = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) if line.startswith("|") else None
            assert cells is None or width is None or cells == width, line
            width = cells


def test_the_equivalence_table_has_the_documents_numbers(document):
    text = render_markdown(document)
    section = text.split("## Equivalence\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| 0")]
    assert len(rows) == len(document.lines)
    for row, line in zip(rows, document.lines, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert cells[:2] == [f"{line.sparsity:g}", line.scorer]
        assert cells[-1].endswith(line.verdict)
        assert cells[4] == f"{line.mean:+.2f}".replace("-", "−").replace("+0.00", "0.00").replace("−0.00", "0.00")


def test_hostile_names_show_as_themselves(hostile, hostile_names):
    found = page(render_markdown(hostile))
    assert not found.tags & {"script", "img", "style", "svg", "code", "em", "del", "a", "b"}
    # What HTML would make one space is compared as one.
    text = " ".join(found.text.split())
    for name in hostile_names:
        assert " ".join(plain(name).split()) in text, name


@pytest.mark.parametrize("kind", ["one seed", "two seeds", "identical", "reference alone", "no kappa"])
def test_poor_tables_have_words_in_place_of_numbers(poor, kind):
    text = render_markdown(poor[kind])
    assert "nan" not in re.findall(r"[a-z]+", text)
    assert "None" not in text.replace("None known: nothing", "").replace("None of", "")
    assert "## Notes" in text


def test_a_table_is_not_said_to_be_as_planned(document):
    assert "nothing decided after the data" not in render_markdown(document), "nobody can know, of a table"
    of_run = replace(document, source=replace(document.source, kind="run"))
    assert "nothing decided after the data" in render_markdown(of_run)


def test_every_verdict_above_or_below_has_its_test_beside_it(document):
    texts = [[cell.plain for cell in row] for row in by_scorer.escapes(document).narrow().rows]
    rows = {(row[0], row[1]): row for row in texts}
    for line in document.lines:
        row = rows[f"{line.sparsity:g}", line.scorer]
        assert (row[2] == "alone") == (not line.in_family)
        if line.verdict is Verdict.ESCAPES:
            assert float(row[6]) <= document.settings.alpha
        if line.verdict is Verdict.DEGRADES:
            assert float(row[10].lstrip("<")) <= document.settings.alpha


def test_intervals_beyond_what_is_possible_are_explained(document):
    assert "beyond ±100" not in by_scorer.intervals(document).note
    line = replace(document.lines[-1], studentized=Interval(-700.0, 1.0, 0.95, "studentized"))
    assert "beyond ±100" in by_scorer.intervals(replace(document, lines=(line,))).note


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(TEXT)
def test_any_text_in_a_cell_shows_as_itself(text):
    found = page(f"| a | b |\n| :-- | :-- |\n| x{escaped(text)}x | y |\n")
    assert found.tags <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert f"\nx{plain(text)}x\n" in found.text


@given(TEXT.filter(str.strip))
def test_any_text_in_a_paragraph_shows_as_itself(text):
    found = page(paragraph(text))
    assert found.tags <= {"p"}
    assert found.text.split() == plain(text).split()


@pytest.mark.parametrize("text", ["# x", "> x", "- x", "+ x", "1. x", "12) x", "=== x", "* x", "--- x", "~~~", "```x"])
def test_no_block_begins(text):
    found = page(f"before\n\n{paragraph(text)}\n\nafter")
    assert found.tags == {"p"}
    assert f"\n{text}\n" in f"{found.text}\n".replace("\n\n", "\n")


def test_nobody_is_mentioned_and_no_issue_linked():
    assert "@octocat" not in escaped("by @octocat in #12")
    assert page(f"x {escaped('by @octocat in #12')}").text.strip() == "x by @octocat in #12"
