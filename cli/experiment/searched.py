"""Scorers whose weights a run searches on held-out examples: their names, and what a search depends on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from sics_cli.base.errors import ConfigError, did_you_mean
from sics_cli.base.versions import full_version, minor_version
from sics_cli.experiment.trials import TRIALS

#: Their role, and the word of --scorers for every set of features at each of these budgets.
SEARCHED = "searched"
BUDGETS = (1, 10, 50, 200)
#: The plugin's sets of features (`FEATURE_SETS`, in its order), by name: a command is written and read without torch.
SETS = ("orbit", "smooth_orbit", "rank_orbit", "both_orbit", "magnitude", "information", "spline", "shuffled")
#: What a search serves: the fusion itself, or the adaptive choice between it and magnitude.
FUSION, ADAPTIVE = "fusion", "adaptive"
#: Raised by hand when code changes that a search depends on and the plugin's digest does not cover.
SEARCH_VERSION = 1
OBJECTIVE = "minus the held-out loss; the metric where no loss is measured"
_FORM = re.compile(rf"({FUSION}|{ADAPTIVE})_(\w+?)(?:_(-?\d+))?")


@dataclass(frozen=True, slots=True)
class Searched:
    """A searched scorer by its name: `kind`_`features`_`budget`, such as fusion_orbit_200.

    >>> Searched.read("adaptive_smooth_orbit_50")
    Searched(kind='adaptive', features='smooth_orbit', budget=50)
    """

    kind: str
    features: str
    budget: int

    @classmethod
    def read(cls, spec: str) -> Self:
        """Refuse a name that says no budget, or one that is none; whether there is such a set is told where it is looked up."""
        found = _FORM.fullmatch(spec)
        kind, features, number = found.groups() if found else (FUSION, "orbit", None)
        least = 2 if kind == ADAPTIVE else 1
        if number is None or str(int(number)) != number or int(number) < least:
            also = ", of which magnitude takes one" if kind == ADAPTIVE else ""
            raise ConfigError(
                f"--scorers {spec}: is not accepted: give {kind}_{features}_N with N the evaluations of its search, at least "
                f"{least}{also}, such as {kind}_{features}_200"
            )
        return cls(kind, features, int(number))

    @property
    def name(self) -> str:
        """As --scorers and every file have it."""
        return f"{self.kind}_{self.features}_{self.budget}"

    @property
    def points(self) -> int:
        """How many points of a search it takes."""
        return self.budget - (self.kind == ADAPTIVE)


def is_searched(spec: str) -> bool:
    """Whether a name is that of a searched scorer, or is meant to be.

    >>> [is_searched(spec) for spec in ("fusion_orbit_50", "fusion_orbit", "fusion", "mine.py:fusion_x", "adaptive_trials")]
    [True, True, False, False, False]
    """
    return ":" not in spec and spec != TRIALS and spec.startswith((f"{FUSION}_", f"{ADAPTIVE}_"))


def reads_as_searched(name: str) -> bool:
    """Whether rows under this name are read as those of a searched scorer.

    >>> reads_as_searched("fusion_mine_10"), reads_as_searched("adaptive_measured")
    (True, False)
    """
    found = _FORM.fullmatch(name)
    return found is not None and found[3] is not None


def in_word(spec: str) -> bool:
    """Whether the word stands for it."""
    return is_searched(spec) and (asked := Searched.read(spec)).kind == FUSION and asked.budget in BUDGETS


def of_word() -> list[str]:
    """Every set of features at each of the budgets."""
    return [Searched(FUSION, features, budget).name for features in SETS for budget in BUDGETS]


def forms() -> tuple[str, ...]:
    """What a name of such a scorer is made of: its kinds, and the sets of features."""
    return (f"{FUSION}_SET_N", f"{ADAPTIVE}_SET_N", *SETS)


def in_order(specs: list[str]) -> list[str]:
    """Each once: by kind, by set of features in the plugin's order, by budget."""

    def place(spec: str) -> tuple[bool, int, int]:
        asked = known(spec)
        return asked.kind == ADAPTIVE, SETS.index(asked.features), asked.budget

    return sorted(dict.fromkeys(specs), key=place)


def known(spec: str) -> Searched:
    """The scorer of a name, refused where there is no such set of features."""
    asked = Searched.read(spec)
    if asked.features not in SETS:
        raise ConfigError(
            f"--scorers {spec}: there is no set of features {asked.features!r}{did_you_mean(asked.features, SETS)}: give "
            f"{asked.kind}_SET_{asked.budget} with SET {' | '.join(SETS)}"
        )
    return asked


def features_of(spec: str) -> tuple[str, ...]:
    """The features whose weights are searched."""
    from sics_plugin.scorers.fusion import FEATURE_SETS

    return FEATURE_SETS[known(spec).features].features


def fingerprint(spec: str, saliency: str) -> dict[str, Any]:
    """What its number depends on beside network, pool, S and seed.

    `search` is what the points of its search depend on, whatever of them it takes, so that all budgets share them.
    """
    from sics_plugin import Fusion
    from sics_plugin.scorers.fusion import FEATURE_SETS

    asked = known(spec)
    chosen = FEATURE_SETS[asked.features]
    facts = Fusion(chosen.features).fingerprint(saliency)
    # The start of a search is drawn by numpy, its steps by scipy.
    optimiser = {
        "name": "differential evolution", "scipy": full_version("scipy"), "numpy": minor_version("numpy"),
        "version": SEARCH_VERSION,
    }  # fmt: skip
    features = {"features": list(chosen.features), "bounds": [list(pair) for pair in chosen.bounds()]}
    return {
        "search": {**facts, "parameters": features, "optimiser": optimiser, "objective": OBJECTIVE},
        "kind": asked.kind,
        "budget": asked.budget,
    }
