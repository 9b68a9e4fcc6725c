"""What a run until decided waits for, set against the scorers and sparsities that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.cells import complex_names
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.settings.config import Experiment, OwnTask
from sics_cli.settings.until import CLAIMS, SHARE, check_target

if TYPE_CHECKING:
    from sics_analysis.claims.statement import Claim

#: Why a run without a target is long: said before it begins.
NO_TARGET = (
    "--until decided without a target waits for every line of κ ≥ 1: some true mean lies near δ, and such a run usually goes to "
    "its last look; decided:share:0.8 or decided:escape:SCORER@S asks for less"
)


def check_targets(experiment: Experiment, scorers: Sequence[ScorerInfo]) -> None:
    """Refuse a target that no number of seeds could decide: it speaks of what is not in the run."""
    complex_ones = [name for name in complex_names(scorers) if name != experiment.reference]
    for text in experiment.until or ():
        target = check_target(text)
        if text == CLAIMS and not isinstance(target, float):
            _check_claims(text, target, experiment, scorers)
        elif not isinstance(target, float):
            _check_claim(text, target[0], experiment, scorers)
    asked = experiment.until is not None and (not experiment.until or any(text.startswith(SHARE) for text in experiment.until))
    if asked and not complex_ones:
        raise ConfigError("--until decided: asks for the lines of κ ≥ 1, and none is among the scorers: name a target")


def _check_claims(text: str, claims: Sequence[Claim], experiment: Experiment, scorers: Sequence[ScorerInfo]) -> None:
    """Refuse all of the paper's claims together where the run tests none of them."""
    if isinstance(experiment.task, OwnTask):
        raise ConfigError(f"--until {text}: the paper's claims are about images, and are not asked of a task of your own")
    for claim in claims:
        try:
            _check_claim(claim.id, claim, experiment, scorers)
        except ConfigError:
            continue
        return
    raise ConfigError(f"--until {text}: the run has the scorers and sparsities of no claim of the paper: name another target")


def _check_claim(text: str, claim: Claim, experiment: Experiment, scorers: Sequence[ScorerInfo]) -> None:
    there = tuple(round(S, 9) for S in experiment.sparsities)
    missing = [S for S in claim.places if round(S, 9) not in there]
    if missing:
        raise ConfigError(f"--until {text}: S = {missing[0]:g} is not in the run: give {' | '.join(f'{S:g}' for S in there)}")
    names = [info.name for info in scorers]
    others = [name for name in names if name != experiment.reference]
    for name in claim.scorers:
        own = name == claim.scorer and name == experiment.reference
        if own or name not in names:
            raise ConfigError(
                f"--until {text}: {name} is {'the reference' if own else 'not in the run'}: give {' | '.join(others)}"
            )
    classes = {info.kappa for info in scorers if info.name != experiment.reference and info.own_pool is None}
    needed = {"plateau": {0}, "kappa": {1, 2}}.get(claim.kind, set() if claim.kappa is None else {claim.kappa})
    for kappa in sorted(needed - classes):
        raise ConfigError(f"--until {text}: needs scorers of κ = {kappa}, and none is in the run beside the reference")
