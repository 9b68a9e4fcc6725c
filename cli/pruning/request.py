"""What `sics-run prune` is asked for, and whether its options go together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.trials import TRIALS
from sics_cli.settings.images import ModelConfig

if TYPE_CHECKING:
    from sics_plugin import Scorer

NEIGHBOURHOOD, ADAPTIVE = "neighbourhood", "adaptive"
DATA_FREE = (
    "no --data: the scorer sees the weights alone. Measured, that is about as good as magnitude and no better; the gain needs a "
    "saliency, so give --data with some thousand images of the kind the network was trained on"
)


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """What is pruned, and how.

    `saliency` None: the scorer's own kind, or gradient, where there are images, else none. `pool` None: global, or what trials
    choose. `from_report` is the JSON of a report that the adaptive scorer chooses by, `table` one of its tables by name; with
    `trials` it chooses by what each mask changes on the calibration images, with a `budget` by so many evaluations on held-out
    images, of the best trials where there are any. With `allow_chance` the network may know nothing of the images.
    """

    weights: Path
    model: ModelConfig
    scorer: str
    sparsity: float
    unit: str
    pool: str | None
    min_keep: float | int
    saliency: str | None
    seed: int
    device: str
    shrink: bool
    from_report: Path | None = None
    budget: int | None = None
    table: str | None = None
    trials: bool = False
    allow_chance: bool = False

    @property
    def ranked_in(self) -> str:
        """The pool where none is chosen."""
        return self.pool or "global"


def asked_scorer(request: PruneRequest) -> Scorer:
    """The scorer, with a table where one is given."""
    from sics_cli.experiment.scorers import make_scorer

    if request.from_report is not None and request.scorer == ADAPTIVE:
        from sics_plugin import SICSAdaptive, build_scorer

        try:
            return build_scorer(ADAPTIVE, table=SICSAdaptive.from_report(request.from_report))
        except ValueError as error:
            raise ConfigError(f"--from-report {error}") from None
    if request.table is not None and request.scorer == ADAPTIVE:
        from sics_plugin import build_scorer

        return build_scorer(ADAPTIVE, table=request.table)
    if request.scorer == TRIALS:
        raise ConfigError(f"--scorer {TRIALS}: is a name for runs: give --trials")
    try:
        return make_scorer(request.scorer, request.seed)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--scorers", "--scorer")) from None


def check_adaptive(request: PruneRequest, scorer: Scorer, data: bool) -> None:
    """Options of the adaptive scorer go with it, and with what they need."""
    given = {
        "--from-report": request.from_report is not None,
        "--table": request.table is not None,
        "--calibrate": request.budget is not None,
        "--trials": request.trials,
    }
    for option, there in given.items():
        if there and scorer.name != ADAPTIVE:
            raise ConfigError(f"{option}: says how --scorer {ADAPTIVE} chooses, not for {scorer.name}")
        if there and not data and _table_saliency(scorer) != NEIGHBOURHOOD:
            raise ConfigError(f"{option}: give --data; without a saliency {ADAPTIVE} is magnitude")
    both = [option for option, there in given.items() if there]
    if len(both) > 1 and both != ["--calibrate", "--trials"]:
        raise ConfigError(f"{both[0]} and {both[1]}: give one of them, both say how to choose")
    for option, value in (("--pool", request.pool), ("--saliency", request.saliency)) if request.trials else ():
        if value is not None:
            raise ConfigError(
                f"{option} {value}: --trials tries several scorers and pools, each with its own signal: leave it out"
            )
    table = getattr(scorer, "table", None)
    for option, name in (("unit", request.unit), ("pool", request.ranked_in)) if request.from_report is not None else ():
        measured = getattr(table, option)
        if measured not in (None, name):
            raise ConfigError(f"--{option} {name}: the report of --from-report is about {option} {measured}")
    if request.budget is not None and request.budget < 2:
        raise ConfigError(f"--calibrate {request.budget}: give at least 2 evaluations, one has nothing to choose from")


def saliency_kind(request: PruneRequest, scorer: Scorer, data: bool) -> str:
    """Which signal is collected; an option that could have no effect is refused."""
    asked, needs = request.saliency, scorer.requires
    if (measured := _table_saliency(scorer)) is not None:
        if asked not in (None, measured):
            raise ConfigError(f"--saliency {asked}: the report of --from-report was measured with {measured}")
        if measured == NEIGHBOURHOOD and data:
            raise ConfigError("--data: the report of --from-report was measured without data, so leave it out")
        asked = measured
    if asked is not None and needs not in (None, asked):
        raise ConfigError(f"--saliency {asked}: scorer {scorer.name} needs {needs}")
    if needs is not None and _from_weights(needs):
        if data:
            raise ConfigError(f"--data: scorer {scorer.name} reads the weights alone, so leave it out")
        return needs
    if not data:
        wanted = needs or (asked if asked != NEIGHBOURHOOD else None)
        if wanted is not None:
            what = f"--scorer {scorer.name}: needs {needs} saliency" if needs else f"--saliency {asked}"
            raise ConfigError(f"{what}: that is measured on images, so give --data")
        return NEIGHBOURHOOD
    if asked == NEIGHBOURHOOD:
        raise ConfigError(f"--saliency {NEIGHBOURHOOD}: reads the weights alone, so leave --data out")
    if needs is None and _blind(scorer):
        raise ConfigError(f"--data: scorer {scorer.name} reads no saliency, so leave it out")
    return asked or needs or "gradient"


def _table_saliency(scorer: Scorer) -> str | None:
    """The kind of saliency that the table of an adaptive scorer was measured with; None without one."""
    saliency: str | None = getattr(getattr(scorer, "table", None), "saliency", None)
    return saliency


def _from_weights(kind: str) -> bool:
    """Whether a signal is made of the weights, which is done when they are pruned."""
    from sics_plugin.saliency.kinds import SIGNALS

    return kind in SIGNALS and SIGNALS[kind].collect is None


def _blind(scorer: Scorer) -> bool:
    """Whether a saliency cannot change anything: what is rank-monotone in magnitude, and what is drawn."""
    return scorer.kappa == 0 or scorer.name == "random"


def notes_on(scorer: Scorer, data: bool) -> Iterator[str]:
    """What to say of a scorer that prunes without images."""
    if not data and _table_saliency(scorer) == NEIGHBOURHOOD:
        return
    if not data and scorer.name == ADAPTIVE:
        yield f"adaptive is magnitude here; {DATA_FREE}"
    elif not data and not _blind(scorer) and scorer.requires is None:
        yield DATA_FREE
