"""What a run until decided waits for, set against the scorers and sparsities that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.settings.config import Experiment
from sics_cli.settings.until import SHARE, check_target

if TYPE_CHECKING:
    from sics_analysis.claims.statement import Claim

#: Why a run without a target is long: said before it begins.
NO_TARGET = (
    "--until decided without a target waits for every line of κ ≥ 1: some true mean lies near δ, and such a run usually goes to "
    "its last look; decided:share:0.8 or decided:escape:SCORER@S asks for less"
)


def check_targets(experiment: Experiment, scorers: Sequence[ScorerInfo]) -> None:
    """Refuse a target that no number of seeds could decide: it speaks of what is not in the run."""
    complex_ones = [
        info.name for info in scorers if info.kappa is not None and info.kappa >= 1 and info.name != experiment.reference
    ]
    for text in experiment.until or ():
        target = check_target(text)
        if not isinstance(target, float):
            _check_claim(text, target, experiment, scorers)
    asked = experiment.until is not None and (not experiment.until or any(text.startswith(SHARE) for text in experiment.until))
    if asked and not complex_ones:
        raise ConfigError("--until decided: asks for the lines of κ ≥ 1, and none is among the scorers: name a target")


def _check_claim(text: str, claim: Claim, experiment: Experiment, scorers: Sequence[ScorerInfo]) -> None:
    there = tuple(round(S, 9) for S in experiment.sparsities)
    missing = [S for S in claim.sparsities if round(S, 9) not in there]
    if missing:
        raise ConfigError(f"--until {text}: S = {missing[0]:g} is not in the run: give {' | '.join(f'{S:g}' for S in there)}")
    names = [info.name for info in scorers if info.name != experiment.reference]
    spoken_of = [claim.scorer, None if claim.than in (None, "reference", experiment.reference) else claim.than]
    for name in (name for name in spoken_of if name is not None and name not in names):
        what = "the reference" if name == experiment.reference else "not in the run"
        raise ConfigError(f"--until {text}: {name} is {what}: give {' | '.join(names)}")
    classes = {info.kappa for info in scorers if info.name != experiment.reference}
    needed = {"plateau": {0}, "kappa": {1, 2}}.get(claim.kind, set() if claim.kappa is None else {claim.kappa})
    for kappa in sorted(needed - classes):
        raise ConfigError(f"--until {text}: needs scorers of κ = {kappa}, and none is in the run beside the reference")
