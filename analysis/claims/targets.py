"""What a run under a plan of looks goes on for: targets, and whether they are settled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sics_analysis.claims.scorecard import evaluate, evaluate_all, tested
from sics_analysis.claims.statement import GRAMMAR, Claim, parse_claim
from sics_analysis.looks.outcome import LineLooks
from sics_analysis.results import Row, Status, columns, plural
from sics_analysis.study.outcome import Analysis

#: The target of all claims of the paper that a run tests.
CLAIMS = "claims"
TARGETS = f"share:FRACTION, {GRAMMAR}, or {CLAIMS} for all of these that the run tests"
_SHARE = re.compile(r"share:(?P<share>[0-9.]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """What a run goes on for: a claim to be answered either way, or a share of the lines of κ ≥ 1 to be settled.

    Where a table knows no κ, the lines of the share are those of the escape families. Without a claim and a share it is every
    claim of the paper that the run tests.
    """

    text: str
    claim: Claim | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class TargetState:
    """Whether a target is settled, and by what."""

    target: str
    settled: bool
    text: str

    def describe(self) -> str:
        """One sentence a reader can quote."""
        return f"{self.target}: {'settled' if self.settled else 'open'}, {self.text}."

    def to_row(self) -> Row:
        """The state as one table row."""
        return columns(self, "target settled text")


def parse_target(text: str) -> Target:
    """Read a target: a claim as `--fail-on` takes it, ``share:0.8``, or ``claims`` for all of the paper's.

    Raises
    ------
    ValueError
        In one line, for anything else.

    Examples
    --------
    >>> parse_target("share:0.8").share, parse_target("escape:chaos@0.7").claim.kind
    (0.8, 'escape')
    """
    stripped = text.strip()
    if stripped == CLAIMS:
        return Target(stripped)
    match = _SHARE.fullmatch(stripped)
    if match is None:
        if stripped.startswith("share"):
            raise ValueError(f"Expected a target as share:FRACTION with a fraction in (0, 1], got {text!r}")
        return Target(stripped, claim=parse_claim(stripped))
    try:
        share = float(match["share"])
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ValueError(f"Expected a target as share:FRACTION with a fraction in (0, 1], got {text!r}")
    return Target(stripped, share=share)


def target_states(targets: Iterable[Target], analysis: Analysis) -> tuple[TargetState, ...]:
    """Whether each target is settled at the looks made so far.

    A claim is settled when it is supported or contradicted; a share when so many lines are IDENTICAL, EQUIVALENT, ESCAPES or
    DEGRADES. A hopeless line is none of these: it counts as open, and is named. The claims of the paper are settled together when
    none is open: one that is not tested here, or that no further seed of the run could decide, keeps no run open, and is named.

    Raises
    ------
    ValueError
        If the analysis has no looks.

    Examples
    --------
    >>> import pandas as pd
    >>> from sics_analysis import LookPlan, analyse
    >>> accuracy = {"magnitude": [0.9, 0.905, 0.898, 0.901, 0.9], "chaos": [0.93, 0.937, 0.929, 0.931, 0.93]}
    >>> rows = [(i, name, 0.7, a) for name, values in accuracy.items() for i, a in enumerate(values)]
    >>> frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    >>> result = analyse(frame, looks=LookPlan(20, seeds=tuple(range(20))), draws=2_000)
    >>> for state in target_states([parse_target("escape:chaos@0.7"), parse_target("share:0.5")], result):
    ...     print(state.target, state.settled)
    escape:chaos@0.7 True
    share:0.5 True
    """
    if analysis.looks is None:
        raise ValueError("Expected an analysis with `looks` for targets, got one of a fixed design")
    return tuple(_state(target, analysis) for target in targets)


def all_settled(targets: Iterable[Target], analysis: Analysis) -> bool:
    """Whether no target is open, so that the run may stop; without any target it may not."""
    states = target_states(targets, analysis)
    return bool(states) and all(state.settled for state in states)


def _state(target: Target, analysis: Analysis) -> TargetState:
    if target.claim is not None:
        found = evaluate(target.claim, analysis)
        return TargetState(target.text, found.status is not Status.UNDECIDED, f"{found.status}: {found.explanation}")
    if target.share is None:
        return _claims_state(target, analysis)
    lines = _counted(analysis)
    settled = sum(line.settled for line in lines)
    hopeless = [f"{line.scorer} at S = {line.sparsity:g}" for line in lines if line.hopeless]
    said = f"{settled} of {plural(len(lines), 'line')} {'is' if settled == 1 else 'are'} settled"
    if hopeless:
        said += f"; not expected to be: {', '.join(hopeless)}"
    return TargetState(target.text, bool(lines) and settled >= target.share * len(lines) - 1e-9, said)


def _claims_state(target: Target, analysis: Analysis) -> TargetState:
    """The claims of the paper that these rows test, together."""
    results = evaluate_all(analysis, tested(analysis))
    undecided = [found for found in results if found.status is Status.UNDECIDED]
    waiting = [found.claim.id for found in undecided if not found.out_of_reach]
    given_up = [found.claim.id for found in undecided if found.out_of_reach]
    said = (
        f"{len(results) - len(undecided)} of {plural(len(results), 'claim')} of the paper "
        f"{'is' if len(results) - len(undecided) == 1 else 'are'} decided"
    )
    said += f"; open: {', '.join(waiting)}" if waiting else ""
    said += f"; no further seed of this run could decide: {', '.join(given_up)}" if given_up else ""
    return TargetState(target.text, bool(results) and not waiting, said)


def _counted(analysis: Analysis) -> list[LineLooks]:
    """The lines of κ ≥ 1; those of the escape families where the table knows no κ."""
    assert analysis.looks is not None
    return [
        found
        for line, found in zip(analysis.lines, analysis.looks.lines, strict=True)
        if ((line.kappa or 0) >= 1 if analysis.has_kappa else line.in_family)
    ]
