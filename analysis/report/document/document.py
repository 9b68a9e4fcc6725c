"""One document of everything a report says; the terminal, HTML, Markdown, LaTeX, JSON and the figures render from it alone.

Differences, intervals, margins and noise floors are in accuracy points (percent), or in the unit of another metric and its own
direction; accuracies are fractions, and `accuracy` holds the values of another metric as they came. What is
undefined is None, never nan. The same rows give the same document, and the same document the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sics_analysis.report.document.codec import decode, encode
from sics_analysis.report.document.joint import ClaimInfo, Conclusion, PlateauInfo, SpectrumInfo
from sics_analysis.report.document.lines import AttributionInfo, LineInfo, McNemarInfo
from sics_analysis.report.document.looks import LooksInfo
from sics_analysis.report.document.rows import (
    Cell,
    Deviation,
    Fact,
    ScorerInfo,
    SettingsInfo,
    SourceInfo,
    SparsityInfo,
    accuracies,
)
from sics_analysis.report.document.searched import SearchedInfo
from sics_analysis.results import (
    IMAGE_ACCURACY,
    ONE_POOL,
    UNSAID,
    DataCheck,
    DeltaVerdict,
    HowFar,
    Level,
    Metric,
    NextStep,
    PowerCurve,
    Seed,
    Winner,
)

SCHEMA = 3
READ = (2, SCHEMA)  # a report of schema 2 lacks the halves of a TOST and what is adjusted over the whole run
KIND = "sics-report"
T = TypeVar("T")


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
    metric
        What was measured. Differences, intervals and δ are in its unit and direction.
    checks
        What to know of the rows before any verdict: while one is open, no headline rests on them.
    next_steps
        For every line without a strong verdict, what would settle it.
    how_far
        With the dense network as reference, up to which S each scorer is shown not worse.
    looks
        Where seeds are looked at more than once: what each look showed. Every p of the document is then a sequential one and
        every interval of a difference a repeated one; `next_steps` and the points of `power`, which are of a fixed number of
        seeds, are empty, and so are the bootstrap intervals. Not written where there are no looks.
    searched
        Of scorers whose weights were searched, and of scorers in another pool. Not written where there are none.
    conclusion
        The three sentences that it all comes to, in its reader's unit and direction; None in a report that was kept before there
        were any.
    """

    source: SourceInfo
    settings: SettingsInfo
    unit: str | None
    pool: str | None
    has_kappa: bool
    seeds: tuple[Seed, ...]
    scorers: tuple[ScorerInfo, ...]
    sparsities: tuple[SparsityInfo, ...]
    cells: Sequence[Cell]
    lines: tuple[LineInfo, ...]
    plateaus: tuple[PlateauInfo, ...]
    spectrum: SpectrumInfo
    attribution: tuple[AttributionInfo, ...]
    winners: tuple[Winner, ...]
    mcnemar: tuple[McNemarInfo, ...]
    deltas: tuple[DeltaVerdict, ...]
    power: PowerCurve
    claims: tuple[ClaimInfo, ...]
    gates: tuple[ClaimInfo, ...]
    deviations: tuple[Deviation, ...]
    provenance: tuple[Fact, ...]
    notes: tuple[str, ...]
    metric: Metric = IMAGE_ACCURACY
    checks: tuple[DataCheck, ...] = ()
    next_steps: tuple[NextStep, ...] = ()
    how_far: tuple[HowFar, ...] = ()
    looks: LooksInfo | None = field(default=None, metadata={UNSAID: None})
    searched: SearchedInfo | None = field(default=None, metadata={UNSAID: None})
    conclusion: Conclusion | None = field(default=None, metadata={UNSAID: None})

    @property
    def largest(self) -> ReportDocument:
        """What tables, figures and sentences show: of every search the largest budget alone. The rows of a report have all."""
        less = set() if self.searched is None else set(self.searched.smaller)
        if not less:
            return self

        def kept(parts: Iterable[T]) -> tuple[T, ...]:
            return tuple(part for part in parts if getattr(part, "scorer", None) not in less)

        return replace(
            self,
            scorers=tuple(scorer for scorer in self.scorers if scorer.name not in less),
            cells=kept(self.cells),
            lines=kept(self.lines),
            mcnemar=kept(self.mcnemar),
            deltas=kept(self.deltas),
            next_steps=kept(self.next_steps),
            how_far=kept(self.how_far),
            deviations=kept(self.deviations),
            looks=self.looks and replace(self.looks, lines=kept(self.looks.lines)),
        )

    @property
    def one_pool(self) -> bool:
        """Whether the rows have no sparsity, so that none is shown."""
        return [info.sparsity for info in self.sparsities] == [ONE_POOL]

    @property
    def open_checks(self) -> tuple[DataCheck, ...]:
        """The checks that no headline may rest on."""
        return tuple(check for check in self.checks if check.level is Level.OPEN)

    def flagged(self, scorer: str, sparsity: float) -> bool:
        """Whether an open check touches a line, whose verdict then carries a flag."""
        return any(check.touches(scorer, sparsity) for check in self.checks)

    @property
    def compared(self) -> tuple[ScorerInfo, ...]:
        """The scorers but the reference."""
        return tuple(scorer for scorer in self.scorers if scorer.name != self.settings.reference)

    @property
    def tripped(self) -> tuple[ClaimInfo, ...]:
        """The gates whose claim is not supported, or by rows alone of which a data check is open."""
        return tuple(gate for gate in self.gates if gate.tripped or self.unsettled(gate) is not None)

    def unsettled(self, claim: ClaimInfo) -> DataCheck | None:
        """The first open check that a claim's lines rest on: of its scorer where it names one, at its sparsities."""
        named = claim.id.removeprefix(f"{claim.kind}:")
        named = named if self.one_pool else named.rpartition("@")[0]
        scorers = [scorer.name for scorer in self.scorers if scorer.name == named] or [scorer.name for scorer in self.scorers]
        places = {finding.sparsity for finding in claim.findings}
        return next((c for c in self.open_checks if any(c.touches(name, S) for name in scorers for S in places)), None)

    def why_tripped(self, gate: ClaimInfo) -> str:
        """What a tripped gate is, and the finding or the open data check that makes it so."""
        check = self.unsettled(gate)
        if check is not None and not gate.tripped:
            return f"{gate.status}, but a data check is open: {check.text}"
        at = "" if self.one_pool else f", S = {gate.sparsity:g}"
        found = next((finding.text for finding in gate.findings if finding.sparsity == gate.sparsity), "")
        return f"{gate.status}{at}: {found}"

    def lines_at(self, sparsity: float) -> tuple[LineInfo, ...]:
        """The lines of one S, in the order of `scorers`."""
        return tuple(line for line in self.lines if line.sparsity == sparsity)

    def line(self, scorer: str, sparsity: float) -> LineInfo | None:
        """One line; None where there is none."""
        return next((line for line in self.lines if line.scorer == scorer and line.sparsity == sparsity), None)

    def accuracies(self, scorer: str, sparsity: float) -> tuple[float, ...]:
        """The accuracies (fractions) of a scorer at one S, by seed; "dense" at 0 for the unpruned networks."""
        return accuracies(self.cells, (scorer,), sparsity)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested data, ready for `json.dumps(..., allow_nan=False)`."""
        return {"schema": SCHEMA, "kind": KIND, **encode(self)}

    def to_json(self) -> str:
        """Return the document as JSON with sorted keys; the same rows give the same bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReportDocument:
        """Read what `to_dict` returned, today or when a report had the schema before.

        Raises
        ------
        ValueError
            In one line: no report, another schema, or a field that is missing or of another type.
        """
        if not isinstance(data, Mapping) or data.get("kind") != KIND:
            raise ValueError(
                f"Expected a report (kind {KIND!r}), got {'no object' if not isinstance(data, Mapping) else data.get('kind')!r}"
            )
        if data.get("schema") not in READ:
            known = " or ".join(map(str, READ))
            raise ValueError(f"Expected a report of schema {known}, got {data.get('schema')!r}: make it again from the run")
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
