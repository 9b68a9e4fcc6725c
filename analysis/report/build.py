"""From an analysis to the document that every format renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sics_analysis.analysis import analyse
from sics_analysis.claim_text import Claim, parse_claim
from sics_analysis.claims import evaluate, evaluate_all
from sics_analysis.outcome import Analysis
from sics_analysis.report.build_findings import attribution_info, claim_info, kappa_infos, line_info, plateau_infos, power_info
from sics_analysis.report.build_rows import cell_infos, scorer_infos
from sics_analysis.report.document import ReportDocument
from sics_analysis.report.document_joint import SpectrumInfo
from sics_analysis.report.document_lines import LineInfo, McNemarInfo, WinnerInfo
from sics_analysis.report.document_rows import Deviation, Fact, Planned, SettingsInfo, SourceInfo, SparsityInfo
from sics_analysis.report.notes import footnotes
from sics_analysis.report.sensitivity import delta_verdicts
from sics_analysis.results import Verdict


@dataclass(frozen=True, slots=True)
class Origin:
    """What rows cannot say of themselves.

    Attributes
    ----------
    fixed, planned, stamps
        When the settings were fixed, what the plan had, what came only after data had been seen.
    deviations
        Cells missing, failed or left out, flags.
    remarks
        Further footnotes.
    """

    source: SourceInfo
    fixed: str = "unknown: a table does not say"
    planned: Planned | None = None
    stamps: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    remarks: tuple[str, ...] = ()
    provenance: tuple[Fact, ...] = ()


UNKNOWN = Origin(
    SourceInfo(
        "frame",
        "a table of results",
        "",
        "unknown: a table does not say what another seed changed, nor whether equal seeds of two scorers share a network",
    )
)


def build_document(
    analysis: Analysis, frame: pd.DataFrame, origin: Origin = UNKNOWN, gates: Sequence[Claim] = ()
) -> ReportDocument:
    """Collect everything a report says.

    Parameters
    ----------
    analysis
        Of the rows of `frame`.
    frame
        The rows; beside what `analyse` uses, `role`, `flags` (joined by "; "), `jaccard` and rows of S = 0 are shown.
    gates
        Claims asked for by `--fail-on`.
    """
    spectrum, trend = kappa_infos(analysis), analysis.spectrum.monotonicity if analysis.spectrum else None
    claims = tuple(claim_info(found) for found in evaluate_all(analysis))
    lines = tuple(line_info(line, analysis.family(line.sparsity)) for line in analysis.lines)
    return ReportDocument(
        source=origin.source,
        settings=SettingsInfo(
            analysis.delta, analysis.alpha, analysis.reference, origin.fixed, origin.planned, origin.stamps,
            analysis.seed, analysis.draws,
        ),
        unit=analysis.unit,
        pool=analysis.pool,
        has_kappa=analysis.has_kappa,
        seeds=analysis.seeds,
        scorers=scorer_infos(analysis, frame),
        sparsities=tuple(SparsityInfo(S, analysis.noise_floor.get(S), analysis.below_noise(S)) for S in analysis.sparsities),
        cells=cell_infos(analysis, frame),
        lines=lines,
        plateaus=plateau_infos(analysis),
        spectrum=SpectrumInfo(
            spectrum,
            "" if trend is None else str(trend.trend),
            "" if trend is None else trend.describe(),
            analysis.spectrum_reason,
        ),
        attribution=tuple(attribution_info(line) for line in analysis.attribution),
        winners=tuple(
            WinnerInfo(w.scorer, float(w.sparsity or 0.0), w.n, w.family, w.interval, w.describe()) for w in analysis.winners
        ),
        mcnemar=tuple(
            McNemarInfo(
                line.scorer, line.sparsity, line.seed, line.result.only_a, line.result.only_b, line.result.total,
                line.result.difference, line.confidence_interval(), line.result.p,
            )
            for line in analysis.mcnemar
        ),
        deltas=delta_verdicts(analysis),
        power=power_info(analysis, lines),
        claims=claims,
        gates=tuple(claim_info(evaluate(claim, analysis), gate=True) for claim in gates),
        deviations=_deviations(origin, lines),
        provenance=origin.provenance,
        notes=tuple(footnotes(analysis, origin.source.varied, origin.fixed, origin.planned, origin.stamps, origin.remarks)),
    )  # fmt: skip


def report_table(
    frame: pd.DataFrame,
    reference: str = "magnitude",
    delta: float = 0.5,
    alpha: float = 0.05,
    *,
    title: str = "a table of results",
    gates: Sequence[str] = (),
    **options: Any,
) -> ReportDocument:
    """Analyse a table and collect everything a report says of it.

    Parameters
    ----------
    frame, reference, delta, alpha, **options
        As `sics_analysis.analyse` takes them.
    title
        What the rows are, for the head of the report.
    gates
        Claims as `--fail-on` takes them, such as "escape:mine@0.7".

    Raises
    ------
    ValueError
        In one line, as `analyse` and `parse_claim`.

    Examples
    --------
    >>> accuracy = {"magnitude": [0.900, 0.905, 0.898], "mine": [0.930, 0.937, 0.929]}
    >>> rows = [(i, name, 0.7, a) for name, values in accuracy.items() for i, a in enumerate(values)]
    >>> table = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    >>> document = report_table(table, draws=2_000)
    >>> [(line.scorer, str(line.verdict)) for line in document.lines]
    [('mine', 'ESCAPES')]
    """
    claims = [parse_claim(gate) for gate in gates]
    analysis = analyse(frame, reference, delta, alpha, **options)
    return build_document(analysis, frame, replace(UNKNOWN, source=replace(UNKNOWN.source, title=title)), claims)


def _deviations(origin: Origin, lines: Sequence[LineInfo]) -> tuple[Deviation, ...]:
    found = [Deviation("stamp", stamp) for stamp in origin.stamps]
    found += origin.deviations
    found += [
        Deviation("degenerate", line.reason, line.scorer, line.sparsity)
        for line in lines
        if line.degenerate and line.verdict is not Verdict.IDENTICAL
    ]
    return tuple(found)
