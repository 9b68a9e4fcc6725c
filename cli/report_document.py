"""What a report says, apart from how it looks: the analysis, the claims set against it, and the notes that never go missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sics_cli.experiment.analysis_input import Settings, Source, analyse_source

if TYPE_CHECKING:
    from sics_analysis.claims import Claim, ClaimResult
    from sics_analysis.outcome import Analysis

SCHEMA = 1
_SUPPORTED = "supported"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows.

    Attributes
    ----------
    claims
        The paper's, in the order of `paper_claims.toml`.
    gates
        Those asked for by `--fail-on`.
    notes
        What a seed varied, n, delta and when it was fixed, resolution, caveats, missing rows.
    """

    source: Source
    settings: Settings
    analysis: Analysis
    claims: tuple[ClaimResult, ...]
    gates: tuple[ClaimResult, ...]
    notes: tuple[str, ...]

    @property
    def stamps(self) -> tuple[str, ...]:
        """What was decided only after data had been seen."""
        return self.source.stamps_under(self.settings)

    @property
    def tripped(self) -> tuple[ClaimResult, ...]:
        """The gates whose claim is not supported."""
        return tuple(gate for gate in self.gates if gate.status != _SUPPORTED)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested data; undefined numbers are None."""
        planned = self.source.planned
        return {
            "schema": SCHEMA,
            "kind": "sics-report",
            "source": {"kind": self.source.kind, "title": self.source.title, "identity": self.source.identity},
            "settings": {
                "delta": self.settings.delta,
                "alpha": self.settings.alpha,
                "reference": self.settings.reference,
                "fixed": self.source.fixed,
                "planned": planned and {"delta": planned.delta, "alpha": planned.alpha, "reference": planned.reference},
                "stamps": list(self.stamps),
            },
            "analysis": self.analysis.to_dict(),
            "claims": [claim.to_row() for claim in self.claims],
            "gates": [{**gate.to_row(), "tripped": gate.status != _SUPPORTED} for gate in self.gates],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return the report as JSON with sorted keys; the same rows give the same bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def make_report(source: Source, settings: Settings, gates: Sequence[Claim] = ()) -> Report:
    """Analyse and set the claims against the result.

    Raises
    ------
    ConfigError, InputError
        As `analyse_source`.
    """
    from sics_analysis.claims import evaluate, evaluate_all

    analysis = analyse_source(source, settings)
    return Report(
        source,
        settings,
        analysis,
        evaluate_all(analysis),
        tuple(evaluate(claim, analysis) for claim in gates),
        tuple(notes(source, settings, analysis)),
    )


def notes(source: Source, settings: Settings, analysis: Analysis) -> list[str]:
    """Return the footnotes of a report, one sentence or two each."""
    from sics_analysis.bootstrap import coverage_caveat

    counts = sorted({line.n for line in analysis.lines}) or [len(analysis.seeds)]
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    found = [
        f"A seed varied: {source.varied}. The seed is the unit of every test.",
        f"n = {n} complete seeds a line, α = {settings.alpha:g}, δ = {settings.delta:g} accuracy points, reference "
        f"{settings.reference}. When they were fixed: {_fixed(source, settings)}.",
    ]
    if len(counts) > 1:
        found.append("A line counts the seeds complete in scorer and reference; a family the seeds common to all its scorers.")
    found.append(_resolution(counts))
    caveat = coverage_caveat(counts[0])
    found += [caveat] if caveat else []
    found.append(_noise(analysis))
    found.append(
        "Escape and degradation: adjusted within the family of an S (the κ ≥ 1 scorers, rotation max-T); κ = 0, controls and "
        "baselines are tested in lines of their own."
        if analysis.has_kappa
        else "Without a column kappa the family of an S is every scorer but the reference (rotation max-T)."
    )
    found += source.remarks
    return found


def _fixed(source: Source, settings: Settings) -> str:
    stamps = source.stamps_under(settings)
    stamped = f" STAMPED: {'; '.join(stamps)}" if stamps else ""
    if source.planned is not None and settings != source.planned:
        plan = source.planned
        was = f"δ = {plan.delta:g}, α = {plan.alpha:g}, reference {plan.reference}"
        return f"now, for this report; the plan had {was} ({source.fixed}).{stamped}"
    return f"{source.fixed}.{stamped}" if stamped else source.fixed


def _resolution(counts: Sequence[int]) -> str:
    from sics_analysis.planning import resolution

    parts = [f"{float(resolution(n).sign_flip_one_sided):.3g} with {n} seeds" for n in counts if n]
    return (
        f"Smallest attainable p of an exact sign-flip test: {', '.join(parts) or 'none without complete seeds'}. "
        "The t and rotation tests reach lower by taking the differences as Normal."
    )


def _noise(analysis: Analysis) -> str:
    if not analysis.noise_floor:
        return "Noise floor (a second evaluation of the same mask): not measured."
    floors = ", ".join(f"{floor:.2f} at S = {S:g}" for S, floor in sorted(analysis.noise_floor.items()))
    below = [S for S in sorted(analysis.noise_floor) if analysis.below_noise(S)]
    what = f"Noise floor (a second evaluation of the same mask), points: {floors}."
    if below:
        what += f" δ lies below it at S = {', '.join(f'{S:g}' for S in below)}: nothing is concluded there."
    return what
