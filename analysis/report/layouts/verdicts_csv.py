"""The verdicts of a document as CSV: a row a line, numbers in full, in the metric's own unit and direction."""

from __future__ import annotations

import csv
import io

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.results import columns, flags_of, limits

_NUMBERS = "p_equivalence p_equivalence_holm p_escape p_escape_adjusted p_degrade_adjusted p_superior smallest_delta g_z"


def render_csv(document: ReportDocument) -> str:
    """Return a heading and a row per scorer and sparsity; what is undefined is an empty field, `flag` the open data checks."""
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
        }
        for line in document.lines
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["scorer", "verdict"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
