"""Targets of a run until decided, set against its scorers and sparsities."""

from dataclasses import replace

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.experiment.targets import check_targets
from sics_cli.settings.config import Experiment

KAPPA = {"magnitude": 0, "power": 0, "smooth_chaos": 1, "bump": 1, "chaos": 2, "magnitude/global": None, "fusion_orbit_200": None}
INFOS = [ScorerInfo(name, name, kappa, "feature", "formula", None, {"name": name}) for name, kappa in KAPPA.items()]


def asked(experiment: Experiment, target: str, infos: list[ScorerInfo], *sparsities: float) -> None:
    check_targets(replace(experiment, until=(target,), sparsities=sparsities), infos)


@pytest.mark.parametrize(
    "target", ["claims", "normalisation-dominates", "search-overfits-more-at-0.5", "bump-below-chaos-derived"]
)
def test_claims_of_what_the_run_has_are_taken(experiment: Experiment, target: str) -> None:
    asked(experiment, target, INFOS, 0.5, 0.6, 0.7, 0.8)


@pytest.mark.parametrize(
    ("target", "without", "sparsities", "said"),
    [
        ("normalisation-dominates", "magnitude/global", (0.5, 0.6, 0.7, 0.8), "magnitude/global is not in the run: give "),
        ("equal-below-searched-0.7", "", (0.7,), "fusion_orbit_1 is not in the run: give "),
        ("search-overfits-more-at-0.5", "", (0.5, 0.7), "S = 0.8 is not in the run: give 0.5 | 0.7"),
        ("claims", "", (0.55,), "the run has the scorers and sparsities of no claim of the paper: name another target"),
    ],
)
def test_a_claim_that_the_run_cannot_test_is_one_line(
    experiment: Experiment, target: str, without: str, sparsities: tuple[float, ...], said: str
) -> None:
    infos = [info for info in INFOS if info.name != without]
    with pytest.raises(ConfigError, match=f"^--until {target}: ") as caught:
        asked(experiment, target, infos, *sparsities)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_claims_take_one_that_is_there(experiment: Experiment) -> None:
    asked(experiment, "claims", INFOS[:3], 0.7)  # κ(0.7) and the sizes of the smooth ones
