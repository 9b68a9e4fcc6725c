"""The adaptive scorer of a run that tries masks on the calibration batches: its name, what it tries, and its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Self

from sics_cli.base.errors import ConfigError

if TYPE_CHECKING:
    from sics_plugin import PruningReport

TRIALS = "adaptive_trials"
#: Stands for all signals that it collects: it works in a run of any saliency, as scorers do that bring their own.
SIGNAL = "gradient"
SUMMARY = "scorer and pool by each mask's loss on the calibration batches and change of the outputs on recombined ones"
_ROW = "row"


@dataclass(frozen=True, slots=True)
class Tried:
    """What is tried, as the fingerprint has it: facts of each scorer with its signal and units, and the pools."""

    scorers: tuple[Mapping[str, Any], ...]
    pools: tuple[str, ...]

    @classmethod
    def read(cls, fingerprint: Mapping[str, Any]) -> Self:
        """From what a key holds."""
        return cls(tuple(fingerprint["scorers"]), tuple(fingerprint["pools"]))

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers, in the order in which they are tried."""
        return tuple(scorer["name"] for scorer in self.scorers)

    def of_unit(self, unit: str) -> tuple[str, ...]:
        """Those that are defined for units of this kind."""
        return tuple(scorer["name"] for scorer in self.scorers if unit in scorer["units"])

    def kinds(self, unit: str) -> tuple[str, ...]:
        """The kinds of signal that scorers of this unit read."""
        kinds = (scorer["signal"] for scorer in self.scorers if unit in scorer["units"])
        return tuple(dict.fromkeys(kind for kind in kinds if kind is not None))

    def masks(self, unit: str) -> int:
        """How many masks are made of each network and sparsity."""
        pools = [pool for pool in self.pools if unit == "weight" or pool != _ROW]
        return len(pools) * sum(unit in scorer["units"] for scorer in self.scorers)

    def told(self, report: PruningReport) -> dict[str, Any]:
        """What a row says of the choice: scorer, strength and pool, scores, how many masks were tried, and how many differ.

        A score is what `sics_plugin.Trials` makes small; no finite one is None.
        """
        assert report.choice is not None
        trials = report.choice.trials  # the best first
        magnitude = (one for one in trials if one.scorer == self.names[0])
        plain = min(magnitude, key=lambda one: self.pools.index(str(one.pool)))  # a pool that removes too few is left out
        scores = {"score": -trials[0].score, "magnitude": -plain.score}
        return {
            "scorer": report.choice.scorer,
            "alpha": report.choice.alpha,
            "pool": report.pool,
            **{name: score if isfinite(score) else None for name, score in scores.items()},
            "tried": len(trials),
            "masks": len({one.mask_hash for one in trials}),
        }


def fingerprint() -> dict[str, Any]:
    """What its number depends on beside network, batches, S and seed: the scorers and pools that are tried."""
    from sics_plugin import build_scorer
    from sics_plugin.pruning.calibrating import trials
    from sics_plugin.scorers.adaptive import MEASURED_MOST, MEASURED_SHARE, has_strength

    scorers = []
    for name in dict.fromkeys(trials.SCORERS):
        scorer, kind = build_scorer(name), trials.kind_for(name)
        facts = scorer.fingerprint(kind)
        if has_strength(name):
            facts["parameters"] = {**facts["parameters"], "alpha": {"share": MEASURED_SHARE, "most": MEASURED_MOST}}
        scorers.append({**facts, "signal": kind, "units": list(scorer.units)})
    return {"name": TRIALS, "kappa": None, "labels": True, "scorers": scorers, "pools": list(trials.POOLS), "rule": trials.RULE}


def refuse_pool(name: str, pool: str | None) -> None:
    """Refuse it in a pool of its own, as NAME/POOL."""
    if name == TRIALS and pool is not None:
        raise ConfigError(f"--scorers {name}/{pool}: it chooses the pool too: give {name}")
