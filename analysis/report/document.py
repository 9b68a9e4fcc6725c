"""One document of everything a report says; the terminal, HTML, Markdown, LaTeX, JSON and the figures render from it alone.

Differences, intervals, margins and noise floors are in accuracy points (percent); accuracies are fractions. What is
undefined is None, never nan. The same rows give the same document, and the same document the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sics_analysis.report.codec import decode, encode
from sics_analysis.results import Interval, Status, Verdict

SCHEMA = 2
KIND = "sics-report"
Seed: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where the rows come from.

    Attributes
    ----------
    kind
        "run", "csv" or "frame".
    title
        What it is, without any path.
    identity
        Run id, or sha256 of the file; "" where there is neither.
    varied
        What another seed changed.
    """

    kind: str
    title: str
    identity: str
    varied: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan fixed before the run."""

    delta: float
    alpha: float
    reference: str


@dataclass(frozen=True, slots=True)
class SettingsInfo:
    """Under what the rows were analysed.

    Attributes
    ----------
    fixed
        When margin, level and reference were fixed, in words.
    planned
        The plan's own settings; None where nobody can know.
    stamps
        What was decided only after data had been seen.
    seed, draws
        Root of the random draws, and how many each rotation test made.
    """

    delta: float
    alpha: float
    reference: str
    fixed: str
    planned: Planned | None
    stamps: tuple[str, ...]
    seed: int
    draws: int


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """A scorer of the rows.

    Attributes
    ----------
    kappa
        0, 1, 2; None for controls, baselines and where unknown.
    role
        "rank-monotone", "smooth", "raw", "control", "baseline" or "unknown".
    in_family
        Whether it belongs to the escape family.
    flags
        Such as "coordinate unresolved".
    """

    name: str
    kappa: int | None
    role: str
    in_family: bool
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SparsityInfo:
    """A sparsity S of the rows; the noise floor in points, None where nothing was evaluated twice."""

    sparsity: float
    noise_floor: float | None
    below_noise: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One (seed, scorer, S) evaluation; scorer "dense" at S = 0 is the unpruned network.

    `accuracy` is a fraction; `jaccard` the overlap of the kept units with those of the reference mask (magnitude), in [0, 1].
    """

    seed: Seed
    scorer: str
    sparsity: float
    accuracy: float
    correct: int | None = None
    total: int | None = None
    mask_hash: str | None = None
    jaccard: float | None = None


@dataclass(frozen=True, slots=True)
class LineInfo:
    """A scorer against the reference at one S, in accuracy points.

    Attributes
    ----------
    seeds, differences
        The complete seeds and the difference at each.
    ci90, ci95
        Student t. `ci_equivalence` has level 1 − 2α and is the one that decides equivalence.
    simultaneous
        Holds jointly with the others of the family of this S; None outside it.
    crossed
        For new seeds and new test images; None without per-example results.
    bca, studentized
        Bootstrap intervals at 95 %.
    p_equivalence, p_equivalence_holm, p_equivalence_signflip, p_equivalence_bootstrap
        Paired t-TOST (decides), Holm over the lines of this S, exact sign-flip and studentized bootstrap beside it.
    p_superior
        One-sided t of "above 0", for this line alone.
    p_escape, p_escape_adjusted, p_escape_holm, p_escape_signflip_joint
        Above +δ: alone, adjusted in the family (decides), Holm on t, exact joint sign-flip.
    p_degrade_adjusted
        Below −δ, adjusted.
    p_min_attainable
        Smallest p an exact sign-flip test of n seeds can give.
    smallest_delta
        Smallest margin at which this line would have been equivalent.
    g_z, g_z_ci
        Hedges' standardised effect and its 95 % interval.
    verdict, reason, sentence
        The verdict, why, and one sentence to quote.
    """

    scorer: str
    kappa: int | None
    in_family: bool
    sparsity: float
    n: int
    seeds: tuple[Seed, ...]
    differences: tuple[float, ...]
    mean: float | None
    sd: float | None
    ci90: Interval | None
    ci95: Interval | None
    ci_equivalence: Interval | None
    simultaneous: Interval | None
    crossed: Interval | None
    bca: Interval | None
    studentized: Interval | None
    p_equivalence: float | None
    p_equivalence_holm: float | None
    p_equivalence_signflip: float | None
    p_equivalence_bootstrap: float | None
    p_superior: float | None
    p_escape: float | None
    p_escape_adjusted: float | None
    p_escape_holm: float | None
    p_escape_signflip_joint: float | None
    p_degrade_adjusted: float | None
    p_min_attainable: float | None
    smallest_delta: float | None
    g_z: float | None
    g_z_ci: Interval | None
    degenerate: bool
    verdict: Verdict
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class PlateauInfo:
    """The joint claim that the κ = 0 scorers sit on one plateau at S; `interval` holds every line's own."""

    sparsity: float
    scorers: tuple[str, ...]
    failing: tuple[str, ...]
    reference: str
    n: int
    p: float | None
    p_signflip: float | None
    interval: Interval | None
    holds: bool
    verdict: Verdict
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class KappaInfo:
    """κ(S) at one S: `kappa` where one value is claimed, `not_rejected` the values left, `paper` the paper's step."""

    sparsity: float
    n: int
    kappa: int | None
    not_rejected: tuple[int, ...]
    p_values: tuple[float, float, float] | None
    p_claim_adjusted: float | None
    level: float
    paper: int
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SpectrumInfo:
    """κ(S); `points` is empty and `reason` says why where it is not available."""

    points: tuple[KappaInfo, ...]
    trend: str
    trend_sentence: str
    reason: str


@dataclass(frozen=True, slots=True)
class AttributionInfo:
    """What a κ ≥ 1 scorer gains (mean points), split into what `information` gains and what complexity adds."""

    scorer: str
    kappa: int
    sparsity: float
    n: int
    gain: float | None
    information: float | None
    complexity: float | None
    ci95: Interval | None
    simultaneous: Interval | None
    p_superior_adjusted: float | None
    p_escape_adjusted: float | None
    p_equivalence: float | None
    verdict: Verdict
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class WinnerInfo:
    """The best of the escape family at S with its simultaneous interval; its own mean is withheld (winner's curse)."""

    scorer: str
    sparsity: float
    n: int
    family: int
    interval: Interval
    sentence: str


@dataclass(frozen=True, slots=True)
class McNemarInfo:
    """Exact McNemar at one seed: a statement about those two networks only; difference and ci95 in points."""

    scorer: str
    sparsity: float
    seed: Seed
    only_scorer: int
    only_reference: int
    total: int
    difference: float
    ci95: Interval | None
    p: float


@dataclass(frozen=True, slots=True)
class DeltaVerdict:
    """The verdict a line would have had at another margin."""

    scorer: str
    sparsity: float
    delta: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """Power with n seeds: of equivalence at a true difference of 0, of an escape at a true difference of `effect`."""

    n: int
    equivalence: float
    escape: float


@dataclass(frozen=True, slots=True)
class PowerInfo:
    """The seed-power curve.

    Attributes
    ----------
    sd
        Median standard deviation of the differences of the lines, points.
    effect
        True difference the escape power is for: 2δ.
    here
        Seeds of this run.
    needed_equivalence, needed_escape
        Fewest seeds for a power of 80 %; None where beyond the search.
    points
        Empty where `reason` says why.
    """

    sd: float | None
    effect: float
    family: int
    here: int
    needed_equivalence: int | None
    needed_escape: int | None
    points: tuple[PowerPoint, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """What was measured of a claim at one S."""

    sparsity: float
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """A claim set against the rows.

    Attributes
    ----------
    kind
        plateau, kappa, escape, size or below.
    claimed, points
        What is claimed in few words; the size claimed in points, for kind "size".
    sparsity, estimate, interval, p, n
        The finding that stands for the claim.
    gate
        Whether it was asked for by `--fail-on`.
    """

    id: str
    kind: str
    statement: str
    where: str
    reading: str
    claimed: str
    points: float | None
    status: Status
    sparsity: float
    estimate: float | None
    interval: Interval | None
    p: float | None
    n: int
    findings: tuple[ClaimFinding, ...]
    paragraph: str
    gate: bool = False

    @property
    def tripped(self) -> bool:
        """Whether this is a gate whose claim is not supported."""
        return self.gate and self.status is not Status.SUPPORTED


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something not as planned; `kind` is "stamp", "missing", "failed", "left out", "flag" or "degenerate"."""

    kind: str
    text: str
    scorer: str | None = None
    sparsity: float | None = None
    seed: Seed | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled line of the provenance."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """Everything a report says. Made by `sics_analysis.report.build.build_document`.

    Attributes
    ----------
    unit, pool
        What was pruned, and what was ranked against each other; None where the rows do not say.
    scorers
        By κ (none last) and name, the reference among them.
    cells
        By S, then in the order of `scorers`, then by seed; dense rows (S = 0) first.
    lines
        By S, then in the order of `scorers`.
    deltas
        The verdicts at a grid of margins, for the δ-sensitivity.
    claims, gates
        The paper's claims, and those asked for by `--fail-on`.
    notes
        Footnotes that never go missing: what a seed varied, n, α, δ and when fixed, resolution, caveats.
    """

    source: SourceInfo
    settings: SettingsInfo
    unit: str | None
    pool: str | None
    has_kappa: bool
    seeds: tuple[Seed, ...]
    scorers: tuple[ScorerInfo, ...]
    sparsities: tuple[SparsityInfo, ...]
    cells: tuple[Cell, ...]
    lines: tuple[LineInfo, ...]
    plateaus: tuple[PlateauInfo, ...]
    spectrum: SpectrumInfo
    attribution: tuple[AttributionInfo, ...]
    winners: tuple[WinnerInfo, ...]
    mcnemar: tuple[McNemarInfo, ...]
    deltas: tuple[DeltaVerdict, ...]
    power: PowerInfo
    claims: tuple[ClaimInfo, ...]
    gates: tuple[ClaimInfo, ...]
    deviations: tuple[Deviation, ...]
    provenance: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def compared(self) -> tuple[ScorerInfo, ...]:
        """The scorers but the reference."""
        return tuple(scorer for scorer in self.scorers if scorer.name != self.settings.reference)

    @property
    def tripped(self) -> tuple[ClaimInfo, ...]:
        """The gates whose claim is not supported."""
        return tuple(gate for gate in self.gates if gate.tripped)

    def lines_at(self, sparsity: float) -> tuple[LineInfo, ...]:
        """The lines of one S, in the order of `scorers`."""
        return tuple(line for line in self.lines if line.sparsity == sparsity)

    def line(self, scorer: str, sparsity: float) -> LineInfo | None:
        """One line; None where there is none."""
        return next((line for line in self.lines if line.scorer == scorer and line.sparsity == sparsity), None)

    def accuracies(self, scorer: str, sparsity: float) -> tuple[float, ...]:
        """The accuracies (fractions) of a scorer at one S, by seed; "dense" at 0 for the unpruned networks."""
        return tuple(cell.accuracy for cell in self.cells if cell.scorer == scorer and cell.sparsity == sparsity)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested data, ready for `json.dumps(..., allow_nan=False)`."""
        return {"schema": SCHEMA, "kind": KIND, **encode(self)}

    def to_json(self) -> str:
        """Return the document as JSON with sorted keys; the same rows give the same bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReportDocument:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            In one line: no report, another schema, or a field that is missing or of another type.
        """
        if not isinstance(data, Mapping) or data.get("kind") != KIND:
            raise ValueError(
                f"Expected a report (kind {KIND!r}), got {'no object' if not isinstance(data, Mapping) else data.get('kind')!r}"
            )
        if data.get("schema") != SCHEMA:
            raise ValueError(f"Expected a report of schema {SCHEMA}, got {data.get('schema')!r}: make it again from the run")
        found = decode(cls, {name: value for name, value in data.items() if name not in ("schema", "kind")}, "report")
        named = {line.scorer for line in found.lines} | {cell.scorer for cell in found.cells if cell.sparsity > 0}
        unknown = sorted(named - {scorer.name for scorer in found.scorers})
        if unknown:
            missing = ", ".join(unknown)[:80]
            raise ValueError(f"Expected in report.scorers every scorer of the lines and cells, missing: {missing}")
        return found

    @classmethod
    def from_json(cls, text: str) -> ReportDocument:
        """Read what `to_json` returned.

        Raises
        ------
        ValueError
            As `from_dict`, and for what is no JSON.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ValueError(f"Expected JSON, got something else ({error})") from None
        return cls.from_dict(data)
