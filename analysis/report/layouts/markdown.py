"""The whole report as GitHub-flavoured Markdown: answers, tables, claims, notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.tables import by_scorer, joint, plans, searched
from sics_analysis.report.tables.joint import OF_KAPPA
from sics_analysis.report.tables.looks import OF_LOOKS
from sics_analysis.report.tables.table import ReportTable
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.conclusion import conclusion_of
from sics_analysis.report.words.headline import headline
from sics_analysis.report.words.phrases import PAPER, STATUS_GLYPHS, identity_line, margin_line, plain
from sics_analysis.report.words.reasons import TONE_GLYPHS
from sics_analysis.report.words.said import checks_title, in_digits, largest_alone
from sics_analysis.report.words.searched import conclusions
from sics_analysis.results import plural

_ESCAPES: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"([\\`*|~$])", r"\\\1"),
        (r"&(?=[#A-Za-z])", r"\\&"),  # an entity
        (r"<(?=[A-Za-z/!?])", r"\\<"),  # a tag or an autolink
        (r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_"),  # inside a word it is no emphasis
        (r"\](?=[(\[:])", r"\\]"),  # a link
        (r"\[(?=\^)", r"\\["),  # a footnote
        (r"(?<=[a-z]):(?=//)", r"\\:"),  # bare addresses are linked
        (r"(?i)(?<=www)\.", r"\\."),
        # Mentions and issue numbers are found after rendering, where no backslash reaches: a comment keeps them apart.
        (r"([@#])(?=[A-Za-z0-9])", r"\1<!-- -->"),
    )
)
_BLOCK = re.compile(r"^\s*(?:[-+>=#]|\d+(?=[.)]))")


@in_digits
@largest_alone
def render_markdown(document: ReportDocument) -> str:
    """Return the report as Markdown; the same document gives the same text."""
    return "\n".join(_parts(document)).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """Text that shows as itself: no markup, no HTML, no link, no mention, one line.

    >>> print(escaped("smooth_chaos"), escaped("a|b"), escaped("<b>"), escaped("_x_"), escaped("p < .001"))
    smooth_chaos a\\|b \\<b> \\_x\\_ p < .001
    """
    found = plain(text)
    for pattern, replacement in _ESCAPES:
        found = pattern.sub(replacement, found)
    return found


def paragraph(text: str) -> str:
    """Text that shows as itself where a block may begin: no heading, list or quotation.

    >>> print(paragraph("# x"), paragraph("1. x"), paragraph("x"))
    \\# x 1\\. x x
    """
    found = escaped(text).lstrip()
    start = _BLOCK.match(found)
    if start is None:
        return found
    end = start.end()
    return f"{found[:end]}\\{found[end:]}" if found[:end].isdigit() else f"\\{found}"


def _parts(document: ReportDocument) -> Iterator[str]:
    yield f"# SICS report: {escaped(document.source.title)}\n"
    yield f"{paragraph(identity_line(document))}  "
    yield f"{paragraph(margin_line(document))}\n"
    for stamp in document.settings.stamps:
        yield f"> **STAMPED:** {escaped(stamp)}\n"
    if document.checks:
        yield f"## {escaped(checks_title(document))}\n"
        yield from (f"- **{check.level}**, {escaped(check.kind)}: {escaped(check.text)}" for check in document.checks)
        yield ""
    yield f"**{escaped(headline(document))}**\n"
    yield from (f"- **{word}.** {escaped(sentence)}" for word, sentence in conclusion_of(document).sentences)
    yield ""
    yield "## Answers\n"
    for answer in answers(document):
        said = " ".join(part for part in (TONE_GLYPHS[answer.tone], escaped(answer.short)) if part)
        yield f"- **{escaped(answer.question)} {said}**  "
        yield f"  {paragraph(answer.text)}"
    yield ""
    yield from _section(joint.overview(document))
    if document.gates:
        yield from _section(joint.scorecard(document.gates, "gate", "Gates"))
        tripped = document.tripped
        yield f"{len(tripped)} of {len(document.gates)} tripped:\n" if tripped else "None tripped.\n"
        yield from (f"- {escaped(gate.id)}: {escaped(document.why_tripped(gate))}" for gate in tripped)
        yield from [""] if tripped else []
    for make in (
        *([plans.how_far] if document.how_far else []), *(OF_LOOKS if document.looks else [plans.next_steps]),
        joint.plateaus, by_scorer.equivalence, by_scorer.escapes, joint.spectrum, by_scorer.attribution, by_scorer.intervals,
        joint.winners,
    ):  # fmt: skip
        if document.has_kappa or make not in OF_KAPPA:
            yield from _section(make(document))
    if document.searched is not None:
        yield from _searched(document)
    if document.claims:
        yield from _section(joint.scorecard(document.claims, title=f"The paper's claims ({PAPER})"))
    for claim in document.claims:
        yield f"### {STATUS_GLYPHS[claim.status]} {escaped(claim.id)}: {claim.status}\n"
        yield f"{paragraph(claim.paragraph)}\n"
    yield from _section(joint.deviations(document))
    yield from _section(joint.mcnemar(document), folded=True)
    yield from _section(joint.cells(document), folded=True)
    yield from _section(joint.provenance(document))
    yield "## Notes\n"
    for number, note in enumerate(document.notes, start=1):
        yield f"{number}. {paragraph(note)}"


def _searched(document: ReportDocument) -> Iterator[str]:
    """The section about searched scorers: what is said of them, then its tables."""
    yield "## Searched scorers\n"
    yield from (f"- {escaped(text)}" for text in conclusions(document))
    yield ""
    for table in searched.tables(document):
        yield from _section(table, "###")
    if document.searched is not None and document.searched.weights:
        yield from _section(searched.weights(document), "###", folded=True)


def _section(table: ReportTable, level: str = "##", *, folded: bool = False) -> Iterator[str]:
    """A table below its heading; a long one behind a line that opens it."""
    yield f"{level} {escaped(table.title)}\n"
    if not table.rows:
        yield f"{paragraph(table.absent)}\n"
        return
    if folded:
        yield f"<details><summary>{plural(len(table.rows), 'row')}</summary>\n"
    shown = table.narrow()
    yield _row(escaped(column.short) for column in shown.columns)
    yield _row(":--" if column.left or i == 0 else "--:" for i, column in enumerate(shown.columns))
    for row in shown.rows:
        yield _row(escaped(cell.plain) for cell in row)
    yield ""
    if table.note:
        yield f"{paragraph(table.note)}\n"
    if folded:
        yield "</details>\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
