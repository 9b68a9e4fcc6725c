r"""The tables of a report in LaTeX, with booktabs.

One file serves two uses. Compiled by itself it is a whole document. Read by ``\input{report.tex}`` inside another
document, before or after ``\begin{document}``, it prints nothing and defines one command a table (``\sicsEquivalence``,
``\sicsEscapes``, ``\sicsKappa``, ``\sicsAttribution``, ``\sicsScorecard``, ``\sicsProvenance``, …), to be written where the
table belongs. That document needs ``\usepackage[T1]{fontenc}`` and the packages booktabs, longtable, array and amssymb. The
text is pure ASCII, so any engine takes it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.figures.drawing.labels import labels
from sics_analysis.report.tables import by_scorer, joint, plans, searched
from sics_analysis.report.tables.looks import OF_LOOKS
from sics_analysis.report.tables.table import ReportTable
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.conclusion import conclusion_of
from sics_analysis.report.words.headline import headline
from sics_analysis.report.words.phrases import PAPER, identity_line, margin_line, plain
from sics_analysis.report.words.said import checks_title, in_digits, largest_alone
from sics_analysis.report.words.searched import conclusions

_KEPT = 2  # columns before those of S or of seeds
_ACROSS = {
    "overview": 7,
    "mcnemar": 5,
    "cells": 10,
    "curve": 3,
    "gap": 3,
    "split": 7,
}  # columns of S or of seeds that fit beside each other
NAME_WIDTH = 16  # columns of a name in a table; the list of scorers has the whole
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}", '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    # A bracket or star right after the end of a row would be its argument.
    "[": "{[}", "]": "{]}", "*": "{*}",
    "κ": r"$\kappa$", "δ": r"$\delta$", "α": r"$\alpha$", "ρ": r"$\rho$", "φ": r"$\varphi$", "σ": r"$\sigma$",
    "λ": r"$\lambda$", "Π": r"$\Pi$", "θ": r"$\theta$", "μ": r"$\mu$", "−": "$-$", "–": "--", "—": "---", "±": r"$\pm$",
    "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "→": r"$\rightarrow$", "²": "$^2$", "³": "$^3$", "·": r"$\cdot$",
    "…": r"\ldots{}", "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "≡": r"$\equiv$", "✓": r"\checkmark{}",
    "✗": r"$\times$", "●": r"$\bullet$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "\u00a0": "~", "’": "'",
    "‘": r"\textquoteleft{}", "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}",
    "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}", "å": r"\aa{}", "Å": r"\AA{}", "ł": r"\l{}",
    "Ł": r"\L{}", "ı": r"\i{}", "§": r"\S{}", "°": r"\textdegree{}",
}  # fmt: skip
_ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0308": r"\"", "\u0304": r"\=", "\u0306": r"\u",
    "\u0307": r"\.", "\u030a": r"\r", "\u030b": r"\H", "\u030c": r"\v", "\u0327": r"\c", "\u0328": r"\k",
}  # fmt: skip
_LIGATURES = "-<>,"  # two of them would be drawn as one sign
_LONG = re.compile(r"[^\s]{21,}")
_STEP = 8


@in_digits
@largest_alone
def render_latex(document: ReportDocument) -> str:
    r"""Return the file: a document by itself, commands under ``\input``. The same document gives the same text."""
    return "\n".join([*_head(), *_commands(document), *_body(document), r"\ifsicsstandalone\expandafter\sicsReport\fi", ""])


@in_digits
@largest_alone
def latex_tables(document: ReportDocument) -> dict[str, str]:
    r"""Return every table by itself, a ``longtable`` with booktabs rules, by its id (``equivalence``, ``escapes``, …)."""
    return {table.id: "\n".join(_longtable(table)) + "\n" for table in _tables(document)}


def escaped(text: str) -> str:
    r"""Text that prints as itself, in ASCII: commands, mathematics and ligatures are disarmed.

    Letters with accents become accent commands; what T1 fonts lack is named by its code point. Words of more than 20
    characters may break.

    >>> print(escaped("a_b% $x$ κ é"))
    a\_b\% \$x\$ $\kappa$ \'{e}
    >>> print(escaped("中"))
    \texttt{U+4E2D}
    """
    tied = _LONG.sub(lambda word: "\u200b".join(word[0][i : i + _STEP] for i in range(0, len(word[0]), _STEP)), plain(text))
    tied = tied.replace(" %", "\u00a0%")
    parts, last = [], ""
    for c in tied:
        parts.append(("{}" if c == last and c in _LIGATURES else "") + _character(c))
        last = c
    return "".join(parts)


def _character(c: str) -> str:
    if c == "\u200b":
        return r"\allowbreak{}"
    if c in _SPECIAL:
        return _SPECIAL[c]
    if c.isascii():
        return c
    base, *marks = list(unicodedata.normalize("NFD", c))
    if len(marks) == 1 and base.isascii() and base.isalpha() and marks[0] in _ACCENTS:
        return f"{_ACCENTS[marks[0]]}{{{base}}}"
    return rf"\texttt{{U+{ord(c):04X}}}"


def spelled_out(text: str) -> str:
    """Text with the characters that T1 fonts lack named by their code points, for names that are cut to a width.

    >>> spelled_out("é中κ")
    'éU+4E2Dκ'
    """
    return "".join(f"U+{ord(c):04X}" if _character(c).startswith(r"\texttt") else c for c in text)


def _head() -> list[str]:
    return [
        r"% Compile this file, or \input it in a document with",
        r"%   \usepackage[T1]{fontenc} \usepackage{booktabs,longtable,array,amssymb}",
        r"% and write \sicsEquivalence, \sicsEscapes, ... where a table belongs.",
        r"\newif\ifsicsstandalone",
        r"\makeatletter\ifx\documentclass\@twoclasseserror\else\sicsstandalonetrue\fi\makeatother",
        r"\ifsicsstandalone",
        r"\documentclass[10pt]{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{lmodern}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{booktabs,longtable,array,amssymb}",
        r"\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}\setlength{\emergencystretch}{3em}",
        r"\fi",
    ]


def _tables(document: ReportDocument) -> list[ReportTable]:
    """Every table with the columns that a page has room for, and names cut to a width where a column is of scorers."""
    makers: tuple[Callable[[ReportDocument], ReportTable], ...] = (
        *([plans.how_far] if document.how_far else []), *(OF_LOOKS if document.looks else []), plans.next_steps,
        joint.overview, joint.plateaus, by_scorer.equivalence, by_scorer.escapes, by_scorer.intervals, joint.winners,
        joint.spectrum, by_scorer.attribution, _scorecard, joint.deviations, joint.mcnemar, joint.cells, joint.provenance,
    )  # fmt: skip
    made = [*(maker(document) for maker in makers), *searched.tables(document)]
    cut = labels([spelled_out(scorer.name) for scorer in document.scorers], NAME_WIDTH)
    names = {scorer.name: cut[spelled_out(scorer.name)] for scorer in document.scorers}
    names |= {f"{name} (reference)": f"{short} (ref.)" for name, short in names.items()}
    return [_shortened(table.narrow(), names) for table in made]


def _unasked(document: ReportDocument) -> set[str]:
    """The tables that a document alone leaves out: their commands are there, so that nobody's paper breaks."""
    without = set() if document.has_kappa else {"plateau", "kappa", "attribution"}
    without |= {"next"} if document.looks else set()
    return without | (set() if document.claims else {"scorecard"})


def _scorecard(document: ReportDocument) -> ReportTable:
    return joint.scorecard(document.claims)


def _shortened(table: ReportTable, names: Mapping[str, str]) -> ReportTable:
    rows = tuple(
        tuple(
            replace(cell, text=names.get(cell.plain, cell.plain), short="") if column.short == "scorer" else cell
            for column, cell in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    )
    return replace(table, rows=rows)


def _commands(document: ReportDocument) -> Iterator[str]:
    for table in _tables(document):
        yield rf"\def\sics{table.id.capitalize()}{{%"
        yield from _longtable(table)
        yield "}"


def _body(document: ReportDocument) -> Iterator[str]:
    yield r"\def\sicsReport{%"
    yield r"\begin{document}"
    yield rf"\section*{{SICS report: {escaped(document.source.title)}}}"
    yield rf"{escaped(identity_line(document))}\par {escaped(margin_line(document))}\par"
    for stamp in document.settings.stamps:
        yield rf"\textbf{{STAMPED: {escaped(stamp)}}}\par"
    if document.checks:
        yield rf"\textbf{{{escaped(checks_title(document))}}}\par"
    for check in document.checks:
        yield rf"{check.level}, {escaped(check.kind)}: {escaped(check.text)}\par"
    yield rf"\textbf{{{escaped(headline(document))}}}\par"
    for word, sentence in conclusion_of(document).sentences:
        yield rf"\emph{{{word}.}} {escaped(sentence)}\par"
    for answer in answers(document):
        yield rf"\textbf{{{escaped(answer.question)}}} \emph{{{escaped(answer.short)}.}} {escaped(answer.text)}\par"
    for table in _tables(document):
        if table.id in _unasked(document):
            continue
        if table.id == "split":
            yield from (rf"{escaped(text)}\par" for text in conclusions(document))
        title = f"The paper's claims ({PAPER})" if table.id == "scorecard" else table.title
        yield rf"\subsection*{{{escaped(title)}}}"
        yield rf"\sics{table.id.capitalize()}"
        if table.id == "scorecard":
            for claim in document.claims:
                yield rf"\textbf{{{escaped(claim.id)}: {claim.status}.}} {escaped(claim.paragraph)}\par"
    yield r"\subsection*{Notes}"
    yield r"\begin{enumerate}"
    for note in document.notes:
        yield rf"\item {escaped(note)}"
    long = [scorer.name for scorer in document.scorers if len(scorer.name) > NAME_WIDTH]
    if long:
        yield rf"\item Names cut in the tables, in their order: {'; '.join(map(escaped, long))}."
    yield r"\end{enumerate}"
    yield r"\end{document}}"


#: Columns of running text, by table and heading, with their share of the line.
_WIDTHS = {
    ("plateau", "scorers"): 0.2, ("plateau", "why"): 0.25, ("kappa", "κ(S)"): 0.24, ("scorecard", "claim"): 0.22,
    ("scorecard", "claimed"): 0.16, ("scorecard", "status"): 0.14, ("deviations", "what"): 0.45, ("deviations", "scorer"): 0.2,
    ("provenance", "what"): 0.2, ("provenance", "value"): 0.7,
}  # fmt: skip


def _longtable(table: ReportTable) -> Iterator[str]:
    if not table.rows:
        yield rf"{escaped(table.absent)}\par"
        return
    parts = table.across(_KEPT, _ACROSS.get(table.id, len(table.columns)))
    for part in parts:
        gap = 3 if len(part.columns) < 12 else 2
        yield rf"\begingroup\footnotesize\setlength{{\tabcolsep}}{{{gap}pt}}"
        yield r"\setlength{\LTleft}{0pt}\setlength{\LTright}{0pt plus 1fill}%"
        yield r"\setcounter{LTchunksize}{500}%"  # the columns fit at the first run
        yield rf"\begin{{longtable}}{{@{{}}{''.join(_column(part, i) for i in range(len(part.columns)))}@{{}}}}"
        heading = " & ".join(escaped(column.short) for column in part.columns)
        yield rf"\toprule {heading} \\ \midrule \endhead"
        yield r"\bottomrule \endfoot"
        for i, row in enumerate(part.rows):
            if i in part.breaks:
                yield r"\addlinespace"
            repeated = bool(part.breaks) and i > 0 and i not in part.breaks
            cells = ["" if repeated and j == 0 else escaped(cell.plain) for j, cell in enumerate(row)]
            yield rf"{' & '.join(cells)} \\"
        yield r"\end{longtable}"
        if table.note and part is parts[-1]:
            yield rf"{escaped(table.note)}\par"
        yield r"\endgroup"


def _column(table: ReportTable, i: int) -> str:
    column = table.columns[i]
    share = _WIDTHS.get((table.id, column.short))
    if share is not None:
        return rf">{{\raggedright\arraybackslash}}p{{{share}\linewidth}}"
    return "l" if column.left or i == 0 else "r"
