r"""The LaTeX report: ASCII, everything escaped, and it compiles: by itself and under \input."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.report import render
from sics_analysis.report.layouts.latex import escaped, latex_tables, render_latex

TABLES = (
    "next", "overview", "plateau", "equivalence", "escapes", "intervals", "winners", "kappa", "attribution", "scorecard",
    "deviations", "mcnemar", "cells", "provenance",
)  # fmt: skip
PACKAGES = ("booktabs.sty", "longtable.sty", "array.sty", "amssymb.sty", "lmodern.sty", "geometry.sty")
HOST = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,longtable,array,amssymb}
%s
\begin{document}
%s
\end{document}
"""


def has_tex() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    found = subprocess.run(["kpsewhich", *PACKAGES], capture_output=True, text=True, check=False)
    return len(found.stdout.split()) == len(PACKAGES)


needs_tex = pytest.mark.skipif(not has_tex(), reason="no pdflatex with booktabs, longtable, amssymb and lmodern is installed")


def compiled(folder: Path, text: str, runs: int = 1) -> str:
    """The log of the last run; an error of any kind fails."""
    (folder / "main.tex").write_text(text, encoding="ascii")
    for _ in range(runs):
        done = subprocess.run(
            ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "main.tex"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
    log = (folder / "main.log").read_text(encoding="latin-1")
    assert "Missing character" not in log
    return log


def test_the_format_is_known_ascii_and_pure(document):
    text = render(document, "latex")
    assert text == render_latex(document)
    assert text.isascii()


def test_every_table_is_a_command_and_a_fragment(document):
    text = render_latex(document)
    for name in TABLES:
        assert rf"\def\sics{name.capitalize()}{{%" in text
    tables = latex_tables(document)
    assert tuple(tables) == TABLES
    for name in ("equivalence", "escapes", "attribution"):
        assert all(rule in tables[name] for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\addlinespace"))


def test_the_tables_have_the_documents_rows(document):
    tables = latex_tables(document)

    def rows(name):
        return [line for line in tables[name].splitlines() if line.endswith(r" \\") and r"\toprule" not in line]

    assert len(rows("equivalence")) == len(document.lines)
    assert len(rows("escapes")) == len(document.lines), "those outside the family too, since they have verdicts"
    assert len(rows("cells")) == len({(cell.scorer, cell.sparsity) for cell in document.cells})
    assert len(rows("mcnemar")) == len({(row.scorer, row.sparsity) for row in document.mcnemar})
    assert len(rows("scorecard")) == len(document.claims)
    for row, line in zip(rows("equivalence"), document.lines, strict=True):
        assert row.split(" & ")[1] == escaped(line.scorer)
        assert row.endswith(rf"{line.verdict} \\")


def test_what_is_not_available_is_said(poor):
    tables = latex_tables(poor["no kappa"])
    assert "no column kappa" in tables["kappa"]
    assert "Not available" in tables["attribution"]
    assert "longtable" not in tables["attribution"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("50 %", r"50~\%"),
        ("\\", r"\textbackslash{}"),
        ("[x]*", "{[}x{]}{*}"),
        ("--", "-{}-"),
        ("<<", "<{}<"),
        ("−0.5 ± κ", r"$-$0.5 $\pm$ $\kappa$"),
        ("ü", r"\"{u}"),
        ("a\nb", r"a\textbackslash{}nb"),
        ("中", r"\texttt{U+4E2D}"),
    ],
)
def test_escapes(text, expected):
    assert escaped(text) == expected


@given(st.text(max_size=30))
def test_any_text_becomes_ascii_with_balanced_braces(text):
    found = escaped(text)
    assert found.isascii()
    assert "\n" not in found
    bare = re.sub(r"\\[\\{}]", "", found)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[#&%_]", found)


def test_long_words_may_break():
    assert escaped("f" * 64).count(r"\allowbreak{}") == 7
    assert r"\allowbreak" not in escaped("smooth_chaos")


@needs_tex
def test_it_compiles_by_itself_and_fits_the_page(document, tmp_path):
    log = compiled(tmp_path, render_latex(document), runs=2)
    assert "Overfull" not in log
    assert (tmp_path / "main.pdf").stat().st_size > 20_000


@needs_tex
def test_hostile_names_compile(hostile, tmp_path):
    log = compiled(tmp_path, render_latex(hostile), runs=2)
    assert "in alignment" not in log


@needs_tex
@pytest.mark.parametrize("where", ["preamble", "body"])
def test_under_input_it_gives_commands_and_prints_nothing(tiny, tmp_path, where):
    (tmp_path / "report.tex").write_text(render_latex(tiny), encoding="ascii")
    take, use = r"\input{report.tex}", r"Text. \sicsEquivalence More. \sicsKappa \sicsScorecard"
    compiled(tmp_path, HOST % ((take, use) if where == "preamble" else ("", take + use)))
    for name, body in (("nothing", "Text."), ("with", rf"{take}Text.")):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(tmp_path / "report.tex", folder)
        compiled(folder, HOST % ("", body))
    sizes = [(tmp_path / name / "main.pdf").stat().st_size for name in ("nothing", "with")]
    assert abs(sizes[0] - sizes[1]) < 200


@needs_tex
def test_single_tables_compile_under_input(tiny, tmp_path):
    for name, text in latex_tables(tiny).items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="ascii")
    compiled(tmp_path, HOST % ("", "\n".join(rf"\input{{{name}.tex}}" for name in latex_tables(tiny))))


@needs_tex
def test_any_character_compiles(tmp_path):
    blocks = [range(0x20, 0x180), range(0x370, 0x400), range(0x2000, 0x2040), range(0x2190, 0x2200), range(0x4E00, 0x4E04)]
    lines = [escaped("".join(map(chr, block[i : i + 12]))) for block in blocks for i in range(0, len(block), 12)]
    printable = [chr(c) for c in range(0x21, 0x7F) if not chr(c).isalnum()]
    lines += [escaped("".join(f"{a}{b} " for b in printable)) for a in printable]
    compiled(tmp_path, HOST % ("", "\n\n".join(line for line in lines if line.strip())))
