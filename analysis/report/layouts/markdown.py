"""The whole report as GitHub-flavoured Markdown: answers, tables, claims, notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.tables import joint
from sics_analysis.report.tables.table import Grid
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.headline import headline
from sics_analysis.report.words.phrases import PAPER, STATUS_GLYPHS, identity_line, margin_line, plain
from sics_analysis.report.words.reasons import TONE_GLYPHS

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


def render_markdown(document: ReportDocument) -> str:
    """Return the report as Markdown; the same document gives the same text."""
    return "\n".join(_parts(document)).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """Text that shows as itself: no markup, no HTML, no link, no mention, one line.

    Examples
    --------
    >>> print(escaped("smooth_chaos"), escaped("a|b"), escaped("<b>"), escaped("_x_"), escaped("p < .001"))
    smooth_chaos a\\|b \\<b> \\_x\\_ p < .001
    """
    found = plain(text)
    for pattern, replacement in _ESCAPES:
        found = pattern.sub(replacement, found)
    return found


def paragraph(text: str) -> str:
    """Text that shows as itself where a block may begin: no heading, list or quotation.

    Examples
    --------
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
    yield f"**{escaped(headline(document))}**\n"
    yield "## Answers\n"
    for answer in answers(document):
        yield f"- **{escaped(answer.question)} {TONE_GLYPHS[answer.tone]} {escaped(answer.short)}**  "
        yield f"  {paragraph(answer.text)}"
    yield ""
    yield from _section(joint.overview(document))
    if document.gates:
        yield from _section(joint.scorecard(document.gates, "gates", "Gates"))
        tripped = len(document.tripped)
        yield f"{tripped} of {len(document.gates)} tripped.\n" if tripped else "None tripped.\n"
    for grid in (joint.plateaus, joint.equivalence, joint.escapes, joint.spectrum, joint.attribution):
        yield from _section(grid(document))
    for grid in (joint.intervals, joint.winners):
        yield from _section(grid(document))
    yield from _claims(document)
    yield from _section(joint.deviations(document))
    for grid in (joint.mcnemar, joint.cells):
        yield from _folded(grid(document))
    yield from _section(joint.provenance(document))
    yield "## Notes\n"
    for number, note in enumerate(document.notes, start=1):
        yield f"{number}. {paragraph(note)}"


def _claims(document: ReportDocument) -> Iterator[str]:
    yield f"## The paper's claims ({PAPER})\n"
    yield from _table(joint.scorecard(document.claims))
    for claim in document.claims:
        yield f"### {STATUS_GLYPHS[claim.status]} {escaped(claim.id)}: {claim.status}\n"
        yield f"{paragraph(claim.paragraph)}\n"


def _section(grid: Grid) -> Iterator[str]:
    yield f"## {escaped(grid.title)}\n"
    yield from _table(grid)


def _folded(grid: Grid) -> Iterator[str]:
    """A long table behind a line that opens it."""
    yield f"## {escaped(grid.title)}\n"
    if not grid.rows:
        yield f"{paragraph(grid.absent)}\n"
        return
    yield f"<details><summary>{len(grid.rows)} rows</summary>\n"
    yield from _table(grid)
    yield "</details>\n"


def _table(grid: Grid) -> Iterator[str]:
    if not grid.rows:
        yield f"{paragraph(grid.absent)}\n"
        return
    yield _row(column.heading for column in grid.columns)
    yield _row(("--:" if column.right else ":--" for column in grid.columns), raw=True)
    for row in grid.rows:
        yield _row(row)
    yield ""
    if grid.note:
        yield f"{paragraph(grid.note)}\n"


def _row(cells: Iterable[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(cell if raw else escaped(cell) for cell in cells)} |"
