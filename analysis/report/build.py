"""From an analysis to the document that every format renders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from sics_analysis.claims.scorecard import ClaimResult, evaluate, evaluate_all, tested, untested
from sics_analysis.claims.statement import Claim, parse_claim
from sics_analysis.families.attribution import AttributionLine
from sics_analysis.planning.outlook import next_steps, power_curve
from sics_analysis.report.document.as_read import as_read
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.footnotes import footnotes
from sics_analysis.report.document.joint import ClaimFinding, ClaimInfo, ClaimReading, KappaInfo, PlateauInfo, SpectrumInfo
from sics_analysis.report.document.lines import AttributionInfo, LineInfo, McNemarInfo
from sics_analysis.report.document.looked import looks_info, no_curve
from sics_analysis.report.document.rows import (
    CellColumns,
    Cells,
    Deviation,
    Fact,
    Planned,
    ScorerInfo,
    SettingsInfo,
    SourceInfo,
    SparsityInfo,
)
from sics_analysis.report.document.searches import searched_info
from sics_analysis.report.words.conclusion import conclude
from sics_analysis.results import Metric, Seed, Verdict, plural, written_with
from sics_analysis.rows.reading.cells import seed_label
from sics_analysis.rows.searched import CHOICE
from sics_analysis.study.analyse import analyse
from sics_analysis.study.outcome import Analysis, Line, McNemarLine
from sics_analysis.study.sensitivity import delta_verdicts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
DENSE = "dense"
_ROLES = {0: "rank-monotone", 1: "smooth", 2: "raw"}
_NAMED = {"fake": "control", "information": "control", "gradient": "baseline", "random": "baseline"}


def paper_kappa(sparsity: float) -> int:
    """κ(S) as the paper states it: 0 below S = 0.65, 1 to 0.75, 2 above.

    >>> [paper_kappa(S) for S in (0.5, 0.7, 0.8)]
    [0, 1, 2]
    """
    return 0 if sparsity < 0.65 else 1 if sparsity <= 0.75 else 2


def _row(kind: type[T], result: object, /, **given: object) -> T:
    """A row of the document: what is given, and everything else as the result has it under the same name."""
    return kind(**{field.name: getattr(result, field.name) for field in fields(kind) if field.name not in given}, **given)


def _line(line: Line) -> LineInfo:
    bca = studentized = None
    if line.contrast.fixed:  # nobody knows how a bootstrap interval fares that is made again at every look
        bca, studentized = (line.bootstrap.confidence_interval(0.95, method) for method in ("bca", "studentized"))
    return _row(LineInfo, line, bca=bca, studentized=studentized, g_z_ci=line.effect.confidence_interval(0.95))


def _attribution(line: AttributionLine) -> AttributionInfo:
    gain, information, complexity = line.gain.mean, line.information.mean, line.complexity.mean
    split = {"gain": gain, "information": information, "complexity": complexity, "ci95": line.confidence_interval()}
    return _row(AttributionInfo, line, **split, p_equivalence=line.equivalence.p, sentence=line.describe())


def _mcnemar(line: McNemarLine, metric: Metric) -> McNemarInfo:
    found = line.result
    place = {"scorer": line.scorer, "sparsity": line.sparsity, "ci95": metric.turned_interval(line.confidence_interval())}
    counts = {"only_scorer": found.only_a, "only_reference": found.only_b}
    return _row(McNemarInfo, found, **place, **counts, difference=metric.turned(found.difference))


def _claim(found: ClaimResult, *, gate: bool = False) -> ClaimInfo:
    findings = tuple(_row(ClaimFinding, finding) for finding in found.findings)
    claim = {name: getattr(found.claim, name) for name in ("id", "kind", "statement", "where", "reading", "points", "source")}
    readings = tuple(_row(ClaimReading, reading) for reading in found.readings)
    told = {"readings": readings, "outcome": found.outcome if readings else ""}
    return _row(ClaimInfo, found, **claim, **told, sparsity=found.decisive.sparsity, findings=findings, gate=gate)


def _spectrum(analysis: Analysis) -> SpectrumInfo:
    if analysis.spectrum is None:
        return SpectrumInfo((), "", "", analysis.spectrum_reason)
    stated = analysis.metric.is_image_accuracy
    points = (
        _row(KappaInfo, p, paper=paper_kappa(p.sparsity) if stated else None, sentence=p.describe())
        for p in analysis.spectrum.points
    )
    trend = analysis.spectrum.monotonicity
    return SpectrumInfo(tuple(points), str(trend.trend), trend.describe(), analysis.spectrum_reason)


def scorer_infos(analysis: Analysis, frame: pd.DataFrame) -> tuple[ScorerInfo, ...]:
    """The scorers with their κ or role, and the flags of their rows."""
    roles = _first(frame, "role")
    flags: dict[str, set[str]] = {}
    if "flags" in frame.columns:
        for name, text in zip(frame["scorer"].astype(str), frame["flags"], strict=True):
            if isinstance(text, str) and text:
                flags.setdefault(name, set()).update(text.split("; "))
    members = {name for family in analysis.families for name in family.members}
    searches = analysis.table.searches
    found = []
    for name in analysis.scorers:
        kappa = analysis.kappa[name]
        role = _ROLES[kappa] if kappa is not None else roles.get(name) or (_NAMED.get(name) if analysis.has_kappa else None)
        role = "searched" if name in searches.names else "other pool" if name in searches.other_pools else role
        found.append(ScorerInfo(name, kappa, role or "unknown", name in members, tuple(sorted(flags.get(name, ())))))
    return tuple(found)


def _first(frame: pd.DataFrame, column: str) -> Mapping[str, str]:
    if column not in frame.columns:
        return {}
    known = frame[~frame[column].isna()]
    return {str(name): str(value) for name, value in zip(known["scorer"], known[column], strict=True)}


def cell_infos(analysis: Analysis, frame: pd.DataFrame) -> Cells:
    """Every cell: dense networks first, then by S and scorer."""
    overlap, metric = _jaccard(frame), analysis.metric
    parts = _dense(frame if analysis.looks is None else _counted(frame, analysis))
    for sparsity in analysis.sparsities:
        for name in analysis.scorers:
            arm = analysis.table.arm(name, sparsity)
            values = tuple(map(metric.turned, arm.accuracy)) if metric.lower_is_better else arm.accuracy
            counts = None if arm.correct is None else tuple(map(abs, arm.correct))
            shared = tuple(overlap.get((seed, name, sparsity)) for seed in arm.seeds) if overlap else None
            parts.append(CellColumns(name, sparsity, arm.seeds, values, counts, arm.total, arm.mask_hash, shared))
    return Cells(tuple(parts))


def _counted(frame: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    """The rows of the seeds that the looks have counted."""
    counted = set(analysis.seeds)
    return frame[[seed_label(seed) in counted for seed in frame["seed"]]]


def _jaccard(frame: pd.DataFrame) -> dict[tuple[Seed, str, float], float]:
    if "jaccard" not in frame.columns:
        return {}
    rows = frame[~frame["jaccard"].isna()]
    keys = zip(rows["seed"], rows["scorer"], rows["sparsity"], rows["jaccard"], strict=True)
    return {(seed_label(seed), str(name), round(float(S), 9)): float(value) for seed, name, S, value in keys}


def _dense(frame: pd.DataFrame) -> list[CellColumns]:
    """The unpruned networks: rows at S = 0, one a seed, whatever scorer they are written under."""
    rows = frame[(frame["sparsity"].astype(float) == 0.0) & ~frame["accuracy"].isna()]
    found: dict[Seed, tuple[float, int | None, int | None]] = {}
    for row in sorted(rows.to_dict("records"), key=lambda row: (row["scorer"] != DENSE, str(row["scorer"]))):
        seed = seed_label(row["seed"])
        found.setdefault(seed, (float(row["accuracy"]), _whole(row.get("correct")), _whole(row.get("n"))))
    if not found:
        return []
    seeds = tuple(sorted(found, key=lambda seed: (isinstance(seed, str), seed)))
    accuracy, correct, total = zip(*(found[seed] for seed in seeds), strict=True)
    return [CellColumns(DENSE, 0.0, seeds, accuracy, correct, total)]


def _whole(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)


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
    targets
        What a run under a plan of looks goes on for.
    """

    source: SourceInfo
    fixed: str = "unknown: a table does not say"
    planned: Planned | None = None
    stamps: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    remarks: tuple[str, ...] = ()
    provenance: tuple[Fact, ...] = ()
    targets: tuple[str, ...] = ()


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
    with written_with(analysis.metric.digits(analysis.delta)):
        return _document(analysis, frame, origin, gates)


def _document(analysis: Analysis, frame: pd.DataFrame, origin: Origin, gates: Sequence[Claim]) -> ReportDocument:
    metric = analysis.metric
    stamps = (*origin.stamps, *([] if metric.paired else [UNPAIRED]))
    origin = replace(origin, stamps=stamps)

    def read(part: T) -> T:
        return as_read(part, metric, (*analysis.scorers, analysis.reference), analysis.sparsities)

    lines = tuple(read(_line(line)) for line in analysis.lines)
    audible = [line for line in analysis.main_lines if not analysis.below_noise(line.sparsity)]  # no seeds settle the others
    looks, searched = looks_info(analysis, origin.targets), searched_info(analysis)
    stopped = () if analysis.looks is None else analysis.looks.stamps()
    if looks is not None and looks.decided:  # it stopped as planned
        stopped = tuple(stamp for stamp in stopped if not stamp.startswith("stopped"))
    notes = footnotes(analysis, origin.source.varied, origin.fixed, origin.planned, stamps, origin.remarks, looks)
    document = ReportDocument(
        source=origin.source,
        settings=SettingsInfo(
            analysis.delta, analysis.alpha, analysis.reference, origin.fixed, origin.planned, (*stamps, *stopped), analysis.seed,
            analysis.draws,
        ),
        unit=analysis.unit,
        pool=analysis.pool,
        has_kappa=analysis.has_kappa,
        seeds=analysis.seeds,
        scorers=scorer_infos(analysis, frame),
        sparsities=tuple(SparsityInfo(S, analysis.noise_floor.get(S), analysis.below_noise(S)) for S in analysis.sparsities),
        cells=cell_infos(analysis, frame),
        lines=lines,
        plateaus=tuple(
            read(_row(PlateauInfo, claim, scorers=claim.lines, interval=claim.largest, sentence=claim.describe()))
            for claim in analysis.plateaus
        ),
        spectrum=read(_spectrum(analysis)),
        attribution=tuple(read(_attribution(line)) for line in analysis.attribution),
        winners=tuple(read(winner) for winner in analysis.winners),
        mcnemar=tuple(_mcnemar(line, metric) for line in analysis.mcnemar),
        deltas=delta_verdicts(analysis),
        power=power_curve(analysis.main_lines, analysis.delta, analysis.alpha, paired=metric.paired)
        if looks is None
        else no_curve(looks, analysis.delta),
        claims=tuple(_claim(found) for found in evaluate_all(analysis, tested(analysis))),
        gates=tuple(read(_claim(evaluate(claim, analysis), gate=True)) for claim in gates),
        deviations=_deviations(origin, lines),
        provenance=origin.provenance,
        notes=(
            *(analysis.told(text) for text in notes),
            *_unheard(analysis),
            *_chosen(frame if analysis.looks is None else _counted(frame, analysis)),
            *(f"Assumed: {text}." for text in analysis.assumed),
        ),
        metric=metric,
        checks=analysis.checks,
        next_steps=tuple(read(s) for s in next_steps(audible, analysis.delta, analysis.alpha, paired=metric.paired))
        if looks is None
        else (),
        how_far=tuple(read(found) for found in analysis.how_far),
        looks=None if looks is None else read(looks),
        searched=None if searched is None else read(searched),
    )  # fmt: skip
    return replace(document, conclusion=conclude(document))


UNPAIRED = "unpaired: seeds taken as independent samples, Welch's t and Holm's correction"


def _unheard(analysis: Analysis) -> list[str]:
    """A note of the paper's claims that these rows lack the scorers for."""
    lacking: dict[str, list[str]] = {}
    for claim, needs in untested(analysis):
        lacking.setdefault(needs, []).append(claim.id)
    told = "; ".join(f"{', '.join(ids)} ({'needs' if len(ids) == 1 else 'need'} {needs})" for needs, ids in lacking.items())
    return [f"Claims of the paper not tested on these rows: {told}."] if told else []


def _chosen(frame: pd.DataFrame) -> list[str]:
    """A note of what each scorer chose that tries several on the calibration batches: how often, at which S.

    >>> rows = [("it", 0.7, "wanda", "row"), ("it", 0.7, "fisher", "layer"), ("it", 0.7, "wanda", "row"), ("a", 0.7, None, None)]
    >>> print(*_chosen(pd.DataFrame(rows, columns=["scorer", "sparsity", *CHOICE])))
    it chose on the calibration batches: at S = 0.7 wanda/row in 2 of 3 seeds, fisher/layer in 1.
    """
    if not set(CHOICE) <= set(frame.columns):
        return []
    rows, found = frame[~frame[CHOICE[0]].isna()], []
    for name, own in rows.groupby("scorer"):
        at = []
        for S, here in own.groupby("sparsity"):
            arms = Counter(here[CHOICE[0]].astype(str) + "/" + here[CHOICE[1]].astype(str)).most_common()
            (first, many), *others = sorted(arms, key=lambda arm: (-arm[1], arm[0]))
            rest = "".join(f", {arm} in {n}" for arm, n in others)
            at.append(f"at S = {S:g} {first} in {many} of {plural(len(here), 'seed')}{rest}")
        found.append(f"{name} chose on the calibration batches: {'; '.join(at)}.")
    return found


def report_table(
    frame: pd.DataFrame,
    reference: str = "magnitude",
    delta: float | None = None,
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
    return build_document(analysis, analysis.rows, replace(UNKNOWN, source=replace(UNKNOWN.source, title=title)), claims)


def _deviations(origin: Origin, lines: Sequence[LineInfo]) -> tuple[Deviation, ...]:
    found = [Deviation("stamp", stamp) for stamp in origin.stamps]
    found += origin.deviations
    found += [
        Deviation("degenerate", line.reason, line.scorer, line.sparsity)
        for line in lines
        if line.degenerate and line.verdict is not Verdict.IDENTICAL
    ]
    return tuple(found)
