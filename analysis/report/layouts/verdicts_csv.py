"""The verdicts of a document as CSV: a row a line, numbers in full, in the metric's own unit and direction."""

from __future__ import annotations

import csv
import io

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.results import Row, columns, flags_of, limits

_NUMBERS = "p_equivalence p_equivalence_holm p_escape p_escape_adjusted p_degrade_adjusted p_superior smallest_delta g_z"


def render_csv(document: ReportDocument) -> str:
    """Return a heading and a row per scorer and sparsity; what is undefined is an empty field, `flag` the open data checks.

    Under a plan of looks p are sequential and intervals repeated, and further columns say which look gave the verdict, with the
    seeds and the difference of then, the chance of a settling verdict by the last look, and whether the line is hopeless.
    """
    rows = [
        {
            **columns(line, "scorer kappa"),
            **({} if document.one_pool else {"sparsity": line.sparsity}),
            "reference": document.settings.reference,
            **columns(line, "n difference=mean"),
            "unit": document.metric.unit,
            **columns(line, "sd"),
            **limits("ci90", line.ci90),
            **limits("ci95", line.ci95),
            **limits("simultaneous", line.simultaneous),
            **columns(line, _NUMBERS),
            "delta": document.settings.delta,
            "alpha": document.settings.alpha,
            **columns(line, "verdict reason"),
            "flag": flags_of(document.checks, line.scorer, line.sparsity),
            **_looked(document, line.scorer, line.sparsity),
        }
        for line in document.lines
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["scorer", "verdict"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _looked(document: ReportDocument, scorer: str, sparsity: float) -> Row:
    """What the looks of a run showed of a line; nothing where there are none."""
    if document.looks is None:
        return {}
    line = document.looks.line(scorer, sparsity)
    then = line.deciding
    return {
        "look": line.decided,
        "n_then": None if then is None else then.n,
        "difference_then": None if then is None else then.mean,
        "chance": None if line.settled else next((look.chance for look in reversed(line.looks) if look.level is not None), None),
        "hopeless": line.hopeless,
        "looks_made": document.looks.made,
        "looks_planned": len(document.looks.plan.looks),
    }
