"""The terminal report: 80 columns, the document's numbers, names shown literally."""

import re

from rich.cells import cell_len

from sics_analysis.report import ReportDocument, render
from sics_analysis.report.words.phrases import GLYPHS, interval, number, p_short, plain


def test_numbers_are_the_documents(document: ReportDocument) -> None:
    text = render(document, "terminal")
    for info in document.sparsities:
        block = text.split(f"\nS = {info.sparsity:g}  noise floor")[1].split("\n\n")[0]
        for line in document.lines_at(info.sparsity):
            kappa = "–" if line.kappa is None else str(line.kappa)
            cells = [
                line.scorer,
                kappa,
                str(line.n),
                number(line.mean),
                interval(line.ci_equivalence),
                p_short(line.p_equivalence),
            ]
            cells += [p_short(line.p_escape_adjusted), p_short(line.p_degrade_adjusted), GLYPHS[line.verdict], str(line.verdict)]
            wanted = r"\s+".join(re.escape(cell) for cell in cells)
            assert re.search(rf"(?m)^{wanted} *$", block), line.scorer


def test_fits_eighty_columns(document: ReportDocument, hostile: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    for made in (document, hostile, *poor.values()):
        for line in render(made, "terminal").splitlines():
            assert cell_len(line) <= 80, line


def test_no_control_character_reaches_the_terminal(hostile: ReportDocument, hostile_names: tuple[str, ...]) -> None:
    text = render(hostile, "terminal")
    assert not set(text) & {"\x1b", "\u202e", "\r", "\x00"}
    squeezed = re.sub(r"\s+", "", text)
    for name in hostile_names:
        assert re.sub(r"\s+", "", plain(name))[:10] in squeezed, name


def test_answers_come_first_and_notes_last(document: ReportDocument) -> None:
    text = render(document, "terminal")
    places = [text.index(part) for part in ("\nsmooth_chaos and chaos escape", "\nIn short", "\nS = 0.5", "\nκ(S)", "\nNotes\n")]
    assert places == sorted(places)
    for number_, note in enumerate(document.notes, start=1):
        assert f" {number_}. {note[:20]}" in text


def test_per_example_results_are_mentioned_in_short(document: ReportDocument) -> None:
    text = " ".join(render(document, "terminal").split())
    assert "new seeds and new images: above 0" in text
    assert "McNemar, networks won:lost against magnitude:" in text
