"""The page: well-formed, whole without a network or a script, every name escaped."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest

from sics_analysis.report import ReportDocument, render, report_table
from sics_analysis.report.figures import FIGURES
from sics_analysis.report.layouts import html
from sics_analysis.report.layouts.html import report_tables
from sics_analysis.report.tables import joint
from sics_analysis.report.words.glossary import SCORERS, terms
from sics_analysis.report.words.phrases import GLYPHS, PAPER_LINK, number, plain

VOID = {"meta", "br", "wbr", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Elements with their attributes, the text in them, and whether tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def having(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag and wanted.items() <= attrs.items()]


@pytest.fixture(scope="module")
def page(document: ReportDocument) -> Page:
    return Page(render(document, "html"))


@pytest.fixture(scope="module")
def hostile_page(hostile: ReportDocument) -> Page:
    return Page(render(hostile, "html"))


def test_nothing_is_loaded_from_anywhere(page: Page, hostile_page: Page) -> None:
    for made in (page, hostile_page):
        for tag, attrs in made.elements:
            assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
            assert not {"src", "srcset", "action", "formaction", "background"} & set(attrs), (tag, attrs)
            for name, value in attrs.items():
                assert not name.startswith("on"), (tag, name)
                if name in ("href", "xlink:href"):
                    assert value is not None
                    assert value.startswith("#") or (tag, value) == ("a", PAPER_LINK), value
                if name == "style":
                    assert "url(" not in str(value).replace("url(#", "")


def test_the_policy_allows_our_script_and_no_other(page: Page, hostile_page: Page) -> None:
    for made in (page, hostile_page):
        (script,) = made.scripts
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        (policy,) = [a["content"] for a in made.having("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy is not None
        assert f"script-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy


def test_hostile_names_stay_text(hostile_page: Page, hostile: ReportDocument, hostile_names: tuple[str, ...]) -> None:
    tags = [tag for tag, _ in hostile_page.elements]
    assert (tags.count("script"), tags.count("style"), tags.count("img")) == (1, 1, 0)
    assert "textbf" not in tags
    squeezed = re.sub(r"\s+", "", hostile_page.words)
    for name in hostile_names:
        assert re.sub(r"\s+", "", plain(name)) in squeezed, name
    assert "49" not in [text.strip() for text in hostile_page.text]
    assert "\x1b" not in hostile_page.words
    assert "\u202e" not in hostile_page.words, "a name must not turn the line around"


def test_three_sentences_then_verdicts_then_words_then_questions(page: Page) -> None:
    wanted = ["conclusion", "verdicts", "figure-decides", "glossary", "questions", "claims", "deviations", "provenance", "notes"]
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id") in wanted]
    assert ids == wanted
    everything = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(everything) == len(set(everything)), "ids are unique, those inside the figures included"


def test_links_inside_the_page_lead_somewhere(page: Page, hostile_page: Page) -> None:
    for made in (page, hostile_page):
        ids = {attrs.get("id") for _, attrs in made.elements}
        for attrs in made.having("a"):
            assert attrs["href"] == PAPER_LINK or str(attrs["href"])[1:] in ids


def test_every_verdict_stands_with_glyph_and_number(page: Page, document: ReportDocument) -> None:
    for line in document.lines:
        assert f"{GLYPHS[line.verdict]} {number(line.mean)} {str(line.verdict).lower()}" in page.words
        (title,) = {a["title"] for a in page.having("td") if a.get("title") == plain(line.sentence)}
        assert title


#: The id of every figure: two forests stand in one, between which a reader switches.
SHOWN = [f"figure-{name}" for name in FIGURES]


def figures_of(page: Page) -> list[str]:
    return [str(attrs["id"]) for _, attrs in page.elements if attrs.get("id") in SHOWN]


def test_every_figure_is_drawn_or_says_why(page: Page, document: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    assert sorted(figures_of(page)) == sorted(SHOWN)
    drawings = page.having("svg", role="img")
    assert len(drawings) == len(FIGURES) + 1, "that of the S that decides for a phone, too"
    for name in FIGURES:
        assert page.having("title", id=f"fig-{name}-title")
        assert page.having("desc", id=f"fig-{name}-desc")
    bare = Page(render(poor["one seed"], "html"))
    of_kappa = {"attribution", "kappa", "paper"}
    asked = [f"figure-{name}" for name in FIGURES if name not in of_kappa]
    assert sorted(figures_of(bare)) == sorted(asked), "rows without κ are not asked for it"
    assert len(bare.having("svg", role="img")) + bare.words.count("No figure: ") == len(asked)
    assert bare.words.count("No figure: ") >= 3


def test_two_forests_are_one_with_a_switch_that_takes_no_script(page: Page, document: ReportDocument) -> None:
    inputs = page.having("input", type="radio", name="forest")
    assert [attrs["id"] for attrs in inputs] == ["forest-1", "forest-2"]
    assert ["checked" in attrs for attrs in inputs] == [True, False]
    assert [attrs["for"] for attrs in page.having("label")] == [attrs["id"] for attrs in inputs]
    choices = [attrs["id"] for tag, attrs in page.elements if tag == "div" and "choice" in str(attrs.get("class"))]
    assert choices == ["figure-equivalence", "figure-escape"]
    style = render(document, "html").split("<style>")[1].split("</style>")[0]
    for i in (1, 2):
        assert f"#forest-{i}:checked ~ .choice-{i}" in style


def test_footnotes_never_go_missing(page: Page, document: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    for made, words in ((document, page.words), *((d, Page(render(d, "html")).words) for d in poor.values())):
        for note in made.notes:
            assert " ".join(note.split()) in words.replace("\xa0", " "), note
    for part in ("A seed varied", "n = 5 complete seeds", "Smallest attainable p", "cover about 83.6 %", "Noise floor"):
        assert part in page.words.replace("\xa0", " "), part


def test_headings_go_down_one_level_at_a_time_and_tables_have_names(page: Page, hostile_page: Page) -> None:
    for made in (page, hostile_page):
        levels = [int(tag[1]) for tag, _ in made.elements if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        ids = {attrs.get("id") for _, attrs in made.elements}
        for attrs in made.having("table"):
            assert attrs.get("aria-label") or attrs.get("aria-labelledby") in ids


def test_the_outcome_of_one_pair_of_networks_is_no_verdict(document: ReportDocument) -> None:
    table = next(table for table in report_tables(document) if table.id == "mcnemar")
    words = {cell.word for row in table.rows for cell in row if cell.word}
    assert words == {"won", "lost"}


def test_provenance_holds_what_the_other_formats_hold(page: Page, document: ReportDocument) -> None:
    assert "random draws 20000 rotations, root 0" in " ".join(page.words.split()).replace("draws20000", "draws 20000")
    assert len(page.having("dt")) == len(joint.provenance(document).rows) + len(terms(document))


def test_a_pooled_reference_has_its_row(frame: pd.DataFrame) -> None:
    made = report_table(frame, reference="plateau", draws=1_000)
    name, kappa, *cells = joint.overview(made).rows[0]
    assert (name.text, kappa.text) == ("plateau", "0")
    assert 'class="reference"><th scope="row" class="name">plateau <small>reference</small>' in render(made, "html")
    pooled = frame[(frame["kappa"] == 0) & (frame["sparsity"] == 0.5)]["accuracy"].mean()
    assert cells[0].sort == pytest.approx(pooled)


def test_all_claims_have_a_row_and_a_paragraph(page: Page, document: ReportDocument) -> None:
    for i, claim in enumerate(document.claims, start=1):
        assert page.having("article", id=f"claim-{i}")
        assert " ".join(claim.paragraph.split()) in page.words.replace("\xa0", " ")


def test_tables_are_whole_without_a_script(page: Page, document: ReportDocument) -> None:
    assert not page.having("button"), "the script makes them"
    assert not [attrs for _, attrs in page.elements if "hidden" in attrs or "display:none" in str(attrs.get("style"))]
    for id_ in ("plateau", "equivalence", "escapes", "intervals", "kappa", "attribution", "winners", "mcnemar", "cells"):
        (found,) = page.having("details", id=f"table-{id_}")
        assert "open" not in found, "folded, and there"
    for cell in document.cells:
        assert f"{100 * cell.accuracy:.2f} %" in page.words


def test_names_lead_to_what_they_mean(page: Page, document: ReportDocument) -> None:
    anchors = {str(attrs["href"]) for attrs in page.having("a")}
    for i, scorer in enumerate(document.scorers, start=1):
        assert f"#term-{i}" in anchors, scorer.name
        assert page.having("div", id=f"term-{i}")
    said = {term.name: term.text for term in terms(document)}
    assert said["wiggle" if "wiggle" in said else "chaos"]
    assert said["δ"].startswith("the margin, 0.5 points")
    assert {"κ", "α", "ρ, z", "S"} <= set(said)


def test_every_scorer_of_the_project_has_its_line() -> None:
    from sics_plugin import list_scorers

    assert set(list_scorers()) <= set(SCORERS)


def test_colour_schemes_print_and_phones_are_provided_for(document: ReportDocument) -> None:
    text = render(document, "html")
    for part in ("prefers-color-scheme: dark", "@media print", "@media (max-width: 40rem)", 'name="viewport"', 'lang="en"'):
        assert part in text


def test_a_tripped_gate_and_a_stamp_stand_at_the_top(frame: pd.DataFrame) -> None:
    made = report_table(frame, gates=["escape:chaos@0.5", "escape:chaos@0.8"], draws=1_000)
    made = replace(made, settings=replace(made.settings, stamps=("plan changed after data",)))
    head = Page(render(made, "html").split("<main")[0] + "</body></html>").words
    assert "Stamped: plan changed after data" in head
    assert head.count("Gate tripped") == 1
    assert "Gate tripped: escape:chaos@0.5 is undecided" in head


def test_a_page_too_large_goes_without_what_no_verdict_hangs_on(
    document: ReportDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(render(document, "html").encode())
    assert whole <= html.BUDGET
    monkeypatch.setattr(html, "BUDGET", whole - 1)
    text = render(document, "html")
    assert len(text.encode()) < whole
    less = Page(text)
    assert less.words.count("Not here: with it the page would be larger than") == 1, "the table of McNemar alone: that is enough"
    assert less.having("details", id="table-mcnemar")
    for line in document.lines:
        assert f"{GLYPHS[line.verdict]} {number(line.mean)}" in less.words


def test_nothing_undecided_is_not_called_undecided() -> None:
    rows = [(s, n, 0.7, 0.9 + g + s / 1000) for s in range(6) for n, g in (("magnitude", 0.0), ("mine", 0.03))]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    assert "undecided, which is not agreement" not in render(report_table(frame), "html")
    assert "1 of 1 line is undecided, which is not agreement" in render(report_table(frame[frame["seed"] < 2]), "html")
