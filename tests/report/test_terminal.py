"""The terminal report: 80 columns, the document's numbers, names shown literally."""

import functools
import io
import re

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from sics_analysis.report import ReportDocument, render, report_table
from sics_analysis.report.layouts.terminal_tables import print_overview
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


@functools.cache
def many_sparsities(count: int) -> ReportDocument:
    names = ["magnitude", "smooth_chaos", "my_lab_fisher_information_v2", "my_lab_fisher_information_v3", "unbroken" * 4]
    rows = [
        (seed, name, round(0.3 + 0.69 * k / count, 4), 0.9 + 0.001 * ((7 * seed + k + i) % 5) + 0.01 * (i == 2), i and 1)
        for seed in range(3)
        for k in range(count)
        for i, name in enumerate(names)
    ]
    return report_table(pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "kappa"]))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("count", [4, 8, 14])
def test_the_grid_holds_every_name_and_every_sparsity_at_any_width(count: int, width: int) -> None:
    document, out = many_sparsities(count), io.StringIO()
    print_overview(Console(file=out, width=width, highlight=False, color_system=None, force_terminal=False), document)
    grid = out.getvalue()
    assert max(map(cell_len, grid.splitlines())) <= width
    assert "…" not in grid
    assert [float(S) for S in re.findall(r"S = ([0-9.]+)", grid)] == [info.sparsity for info in document.sparsities]
    blocks = re.split(r"(?m)^scorer", grid)[1:]
    for block in blocks:  # a name goes on in lines that are indented, so that none of them reads as a row
        names: list[str] = []
        for line in block.splitlines()[2:]:
            first = line[1:].split(" ")[0] if line.startswith(" ") else line.split(" ")[0]
            names = [*names[:-1], names[-1] + first] if line.startswith(" ") and names else [*names, first]
        assert {scorer.name for scorer in document.scorers} <= set(names)
    assert len(re.findall(r"(?<!S )[▲▼=≡?≥≤] +[+−]?\d+\.\d\d", grid)) == 4 * count
    if width == 200:
        assert len(blocks) == 1
