"""From an analysis to the document that every format renders."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sics_analysis.analysis import analyse
from sics_analysis.arms import Seed, seed_label
from sics_analysis.attribution import AttributionLine
from sics_analysis.claim_text import Claim
from sics_analysis.claims import ClaimResult, evaluate, evaluate_all, parse_claim
from sics_analysis.lines import Line
from sics_analysis.outcome import Analysis, Families
from sics_analysis.planning import plan
from sics_analysis.report.document import (
    AttributionInfo,
    Cell,
    ClaimFinding,
    ClaimInfo,
    Deviation,
    Fact,
    KappaInfo,
    LineInfo,
    McNemarInfo,
    Planned,
    PlateauInfo,
    PowerInfo,
    PowerPoint,
    ReportDocument,
    ScorerInfo,
    SettingsInfo,
    SourceInfo,
    SparsityInfo,
    SpectrumInfo,
    WinnerInfo,
)
from sics_analysis.report.notes import footnotes
from sics_analysis.report.sensitivity import delta_verdicts
from sics_analysis.results import Verdict

DENSE = "dense"
_ROLES = {0: "rank-monotone", 1: "smooth", 2: "raw"}
_NAMED = {"fake": "control", "information": "control", "gradient": "baseline", "random": "baseline"}
_MAX_CURVE = 40


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


def paper_kappa(sparsity: float) -> int:
    """κ(S) as the paper states it: 0 below S = 0.65, 1 to 0.75, 2 above.

    Examples
    --------
    >>> [paper_kappa(S) for S in (0.5, 0.7, 0.8)]
    [0, 1, 2]
    """
    return 0 if sparsity < 0.65 else 1 if sparsity <= 0.75 else 2


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
    spectrum, trend = _spectrum(analysis), analysis.spectrum.monotonicity if analysis.spectrum else None
    claims = tuple(_claim(found) for found in evaluate_all(analysis))
    lines = tuple(_line(line, analysis.family(line.sparsity)) for line in analysis.lines)
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
        scorers=_scorers(analysis, frame),
        sparsities=tuple(SparsityInfo(S, analysis.noise_floor.get(S), analysis.below_noise(S)) for S in analysis.sparsities),
        cells=_cells(analysis, frame),
        lines=lines,
        plateaus=_plateaus(analysis),
        spectrum=SpectrumInfo(
            spectrum,
            "" if trend is None else str(trend.trend),
            "" if trend is None else trend.describe(),
            analysis.spectrum_reason,
        ),
        attribution=tuple(_attribution(line) for line in analysis.attribution),
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
        power=_power(analysis, lines),
        claims=claims,
        gates=tuple(_claim(evaluate(claim, analysis), gate=True) for claim in gates),
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


def _scorers(analysis: Analysis, frame: pd.DataFrame) -> tuple[ScorerInfo, ...]:
    roles = _first(frame, "role")
    flags: dict[str, set[str]] = {}
    if "flags" in frame.columns:
        for name, text in zip(frame["scorer"].astype(str), frame["flags"], strict=True):
            if isinstance(text, str) and text:
                flags.setdefault(name, set()).update(text.split("; "))
    members = {name for family in analysis.families for name in family.members}
    found = []
    for name in analysis.scorers:
        kappa = analysis.kappa[name]
        role = _ROLES[kappa] if kappa is not None else roles.get(name) or (_NAMED.get(name) if analysis.has_kappa else None)
        found.append(ScorerInfo(name, kappa, role or "unknown", name in members, tuple(sorted(flags.get(name, ())))))
    return tuple(found)


def _first(frame: pd.DataFrame, column: str) -> Mapping[str, str]:
    if column not in frame.columns:
        return {}
    known = frame[~frame[column].isna()]
    return {str(name): str(value) for name, value in zip(known["scorer"], known[column], strict=True)}


def _cells(analysis: Analysis, frame: pd.DataFrame) -> tuple[Cell, ...]:
    overlap = _jaccard(frame)
    cells = _dense(frame)
    for sparsity in analysis.sparsities:
        for name in analysis.scorers:
            arm = analysis.table.arm(name, sparsity)
            for i, seed in enumerate(arm.seeds):
                cells.append(
                    Cell(
                        seed,
                        name,
                        sparsity,
                        arm.accuracy[i],
                        None if arm.correct is None else arm.correct[i],
                        None if arm.total is None else arm.total[i],
                        None if arm.mask_hash is None else arm.mask_hash[i],
                        overlap.get((seed, name, sparsity)),
                    )
                )
    return tuple(cells)


def _jaccard(frame: pd.DataFrame) -> dict[tuple[Seed, str, float], float]:
    if "jaccard" not in frame.columns:
        return {}
    rows = frame[~frame["jaccard"].isna()]
    keys = zip(rows["seed"], rows["scorer"], rows["sparsity"], rows["jaccard"], strict=True)
    return {(seed_label(seed), str(name), round(float(S), 9)): float(value) for seed, name, S, value in keys}


def _dense(frame: pd.DataFrame) -> list[Cell]:
    """The unpruned networks: rows at S = 0, one a seed, whatever scorer they are written under."""
    rows = frame[(frame["sparsity"].astype(float) == 0.0) & ~frame["accuracy"].isna()]
    found: dict[Seed, Cell] = {}
    for row in sorted(rows.to_dict("records"), key=lambda row: (row["scorer"] != DENSE, str(row["scorer"]))):
        seed = seed_label(row["seed"])
        correct, total = (_whole(row.get(name)) for name in ("correct", "n"))
        found.setdefault(seed, Cell(seed, DENSE, 0.0, float(row["accuracy"]), correct, total))
    return sorted(found.values(), key=lambda cell: (isinstance(cell.seed, str), cell.seed))


def _whole(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)


def _line(line: Line, family: Families) -> LineInfo:
    escape = next((found for found in family.escape.lines if found.name == line.scorer), None)
    equivalence = line.equivalence
    return LineInfo(
        scorer=line.scorer,
        kappa=line.kappa,
        in_family=line.in_family,
        sparsity=line.sparsity,
        n=line.n,
        seeds=line.contrast.seeds,
        differences=line.contrast.differences,
        mean=line.contrast.mean,
        sd=line.contrast.sd,
        ci90=line.confidence_interval(0.90),
        ci95=line.confidence_interval(0.95),
        ci_equivalence=line.confidence_interval(1 - 2 * equivalence.alpha),
        simultaneous=line.simultaneous,
        crossed=line.crossed,
        bca=line.bootstrap.confidence_interval(0.95, "bca"),
        studentized=line.bootstrap.confidence_interval(0.95, "studentized"),
        p_equivalence=equivalence.p,
        p_equivalence_holm=line.p_equivalence_holm,
        p_equivalence_signflip=equivalence.p_signflip,
        p_equivalence_bootstrap=line.p_bootstrap,
        p_superior=line.p_superior,
        p_escape=line.p_escape,
        p_escape_adjusted=line.p_escape_adjusted,
        p_escape_holm=None if escape is None else escape.p_holm,
        p_escape_signflip_joint=None if escape is None else escape.p_signflip_joint,
        p_degrade_adjusted=line.p_degrade_adjusted,
        p_min_attainable=line.p_min_attainable,
        smallest_delta=equivalence.smallest_delta(),
        g_z=line.effect.g_z,
        g_z_ci=line.effect.confidence_interval(0.95),
        degenerate=equivalence.degenerate,
        verdict=line.verdict,
        reason=line.reason,
        sentence=line.describe(),
    )


def _plateaus(analysis: Analysis) -> tuple[PlateauInfo, ...]:
    return tuple(
        PlateauInfo(
            float(claim.sparsity or 0.0), claim.lines, claim.failing, claim.reference, claim.n, claim.p, claim.p_signflip,
            claim.largest, claim.holds, claim.verdict, claim.reason, claim.describe(),
        )
        for claim in analysis.plateaus
    )  # fmt: skip


def _spectrum(analysis: Analysis) -> tuple[KappaInfo, ...]:
    return tuple(
        KappaInfo(
            point.sparsity, point.n, point.kappa, point.not_rejected, point.p_values, point.p_claim_adjusted, point.level,
            paper_kappa(point.sparsity), point.reason, point.describe(),
        )
        for point in (analysis.spectrum.points if analysis.spectrum else ())
    )  # fmt: skip


def _attribution(line: AttributionLine) -> AttributionInfo:
    return AttributionInfo(
        line.scorer, line.kappa, line.sparsity, line.n, line.gain.mean, line.information.mean, line.complexity.mean,
        line.confidence_interval(), line.simultaneous, line.p_superior_adjusted, line.p_escape_adjusted, line.equivalence.p,
        line.verdict, line.reason, line.describe(),
    )  # fmt: skip


def _claim(found: ClaimResult, *, gate: bool = False) -> ClaimInfo:
    claim = found.claim
    return ClaimInfo(
        id=claim.id,
        kind=claim.kind,
        statement=claim.statement,
        where=claim.where,
        reading=claim.reading,
        claimed=found.claimed,
        points=claim.points,
        status=found.status,
        sparsity=found.decisive.sparsity,
        estimate=found.estimate,
        interval=found.interval,
        p=found.p,
        n=found.n,
        findings=tuple(ClaimFinding(f.sparsity, f.status, f.text) for f in found.findings),
        paragraph=found.paragraph,
        gate=gate,
    )


def _power(analysis: Analysis, lines: Sequence[LineInfo]) -> PowerInfo:
    """The power of so many seeds when differences spread as here: the median sd over the lines of the family."""
    here = max((line.n for line in lines), default=0)
    family = max((len(found.escape.tested) for found in analysis.families), default=0) or 1
    spread = [line.sd for line in lines if line.in_family and not line.degenerate and line.sd]
    spread = spread or [line.sd for line in lines if not line.degenerate and line.sd]
    effect = 2 * analysis.delta
    if not spread:
        return PowerInfo(None, effect, family, here, None, None, (), "no line has a spread between seeds to plan with")
    sd = statistics.median(spread)
    made = plan(max(here, 3), sd, delta=analysis.delta, alpha=analysis.alpha, family=family, max_n=_MAX_CURVE)
    points = tuple(PowerPoint(n, equivalence, escape) for n, equivalence, escape in made.curve)
    return PowerInfo(sd, effect, family, here, made.equivalence_seeds.n, made.escape_seeds.n, points, "")


def _deviations(origin: Origin, lines: Sequence[LineInfo]) -> tuple[Deviation, ...]:
    found = [Deviation("stamp", stamp) for stamp in origin.stamps]
    found += origin.deviations
    found += [
        Deviation("degenerate", line.reason, line.scorer, line.sparsity)
        for line in lines
        if line.degenerate and line.verdict is not Verdict.IDENTICAL
    ]
    return tuple(found)
