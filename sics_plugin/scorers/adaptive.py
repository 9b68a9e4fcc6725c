"""Which class an adaptive prune runs, and why: :class:`AdaptiveChoice`, and the tables that give one for a sparsity.

Two tables go by name, for ``table=`` of the adaptive scorer and methods: ``"hypothesis"``, the default, and ``"measured"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.scorers.base import AdaptiveChoice, Scorer, Trial
from sics_plugin.scorers.fusion import Fusion
from sics_plugin.scorers.registry import build_scorer, get_scorer, register_scorer
from sics_plugin.scorers.sics import RankScorer
from sics_plugin.scorers.units import Units

#: (upper end of S, scorer): the hypothesis of Li & Li 2026. The first end is exclusive (κ = 0 suffices for S < 0.65).
KAPPA_TABLE: tuple[tuple[float, str], ...] = ((0.65, "magnitude"), (0.75, "smooth_chaos"), (1.0, "chaos"))
PLATEAU, HYPOTHESIS = "magnitude", "hypothesis"
#: What ``table="measured"`` runs, and how strongly: half of the fraction that is kept, and no more than the default strength.
MEASURED_CLASS, MEASURED_SHARE, MEASURED_MOST = "information", 0.5, 0.15
_ROUNDING = 1e-9


def by_hypothesis(sparsity: float, saliency_kind: str | None, alpha: float | None = None) -> AdaptiveChoice:
    """The choice without a table of the user's own.

    >>> print(by_hypothesis(0.7, "gradient"))
    smooth_chaos at S = 0.7: κ = 1 from S = 0.65 to 0.75 (table of the hypothesis)
    >>> by_hypothesis(0.7, None).scorer
    'magnitude'
    """
    source = "table of the hypothesis"
    if no_saliency(saliency_kind):
        return AdaptiveChoice(PLATEAU, None, sparsity, "no saliency was given", source)
    (low, _), (middle, _), _ = KAPPA_TABLE
    if sparsity < low:
        return AdaptiveChoice(PLATEAU, None, sparsity, f"κ = 0 suffices below S = {low:g}", source)
    name = next((name for end, name in KAPPA_TABLE[1:] if sparsity <= end), KAPPA_TABLE[-1][1])
    where = f"κ = 1 from S = {low:g} to {middle:g}" if sparsity <= middle else f"κ = 2 above S = {middle:g}"
    return AdaptiveChoice(name, alpha, sparsity, where, source)


def strength_at(sparsity: float) -> float:
    """The strength α that ``table="measured"`` uses at S, with a supplied saliency."""
    return min(MEASURED_MOST, MEASURED_SHARE * (1 - sparsity))


def by_measurement(sparsity: float, saliency_kind: str | None, alpha: float | None = None) -> AdaptiveChoice:
    """The choice that did best for weights on validation images of ``digits`` (docs/strength.md), at seeds no report uses.

    One class, monotone in the saliency, whose strength falls with what is kept. A feature of variance 1 moves percentiles by
    about α, and what is kept is the top 1 − S of them: an α as large as that trades the largest weights for middling ones.
    For weights no shape of the feature did better than none from S = 0.7 on; below, and for channels, none is told apart from it.

    >>> [by_measurement(s, "gradient").alpha for s in (0.5, 0.7, 0.75)]
    [0.15, 0.15, 0.125]
    >>> print(by_measurement(0.875, "gradient"))
    information with α = 0.0625 at S = 0.875: half of what is kept, at most 0.15 (measured on validation images)
    """
    source = "measured on validation images"
    if no_saliency(saliency_kind):
        return AdaptiveChoice(PLATEAU, None, sparsity, "no saliency was given", source)
    strength, reason = strength_at(sparsity), f"half of what is kept, at most {MEASURED_MOST:g}"
    if alpha is not None:
        strength, reason = alpha, "the class for every S, its strength was given"
    if saliency_kind not in ("gradient", "supplied"):
        reason += f"; measured with gradient saliency, this one is {saliency_kind}"
    return AdaptiveChoice(MEASURED_CLASS, strength, sparsity, reason, source)


def no_saliency(kind: str | None) -> bool:
    """Whether a kind of saliency stands for none that was supplied."""
    return kind in (None, "neighbourhood")


@dataclass(frozen=True, slots=True)
class Step:
    """What a table says at one sparsity."""

    sparsity: float
    scorer: str
    alpha: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class FusionStep(Step):
    """A step whose scorer is a fusion with weights of its own."""

    fusion: Fusion


@dataclass(frozen=True, slots=True)
class AdaptiveTable:
    """Which class to run at which sparsity, for ``table=`` of the adaptive scorer and methods.

    Made by ``SICSAdaptive.from_report`` or ``SICSAdaptive.calibrate``. May also stand where torch wants a pruning method:
    called with its arguments, it is a :class:`~sics_plugin.SICSAdaptive` with this table.

    Parameters
    ----------
    steps : tuple of Step
        By sparsity, at least one.
    source : str
        What the table rests on.
    reach : float
        How far from a step's sparsity the table speaks. Further away it is magnitude, or, after trials, an error.
    unit, pool : str, optional
        What was pruned when it was measured, and what was ranked against each other; another unit or pool is refused where a
        whole model is pruned. torch's own functions hand a method one vector: what is in it cannot be checked.
    supplied : bool
        Whether it was measured with a saliency; then it is magnitude where none is given.
    saliency : str, optional
        The kind it was measured with: another kind is refused. None where that is not known.
    trials : tuple of Trial
        Those of a calibration.

    Examples
    --------
    >>> from sics_plugin.scorers.adaptive import Step
    >>> table = AdaptiveTable((Step(0.7, "chaos", 0.3, "it escapes there"),), "an example", 0.1)
    >>> print(table.choose(0.75, "gradient"))
    chaos with α = 0.3 at S = 0.75: it escapes there (an example)
    >>> table.choose(0.5, "gradient").reason
    'S is further than 0.1 from every sparsity that was measured (0.7)'
    """

    #: The adaptive method of :mod:`sics_plugin.torch_methods.unstructured`, which sets it: scorers know nothing of torch's prune.
    method: ClassVar[Callable[..., BasePruningMethod]]

    steps: tuple[Step, ...]
    source: str
    reach: float
    unit: str | None = None
    pool: str | None = None
    supplied: bool = True
    saliency: str | None = None
    trials: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("Expected at least one step in a table, got none")
        for step in self.steps:
            try:
                built(step.scorer, step.alpha)
            except ValueError as error:
                raise ValueError(f"{self.source}: {error}; a scorer of your own has to be imported first") from None

    def choose(self, sparsity: float, saliency_kind: str | None) -> AdaptiveChoice:
        """The choice at S: of the nearest step, the lower one where two are as near.

        Raises
        ------
        ValueError
            If the table was calibrated, and not for this sparsity; or measured with another kind of saliency.
        """
        self._check_saliency(saliency_kind)
        near = self._near(sparsity)
        reason, name, alpha = near.reason, near.scorer, near.alpha
        if abs(near.sparsity - sparsity) > self.reach + _ROUNDING:
            if self.trials:
                raise ValueError(
                    f"Expected a sparsity near {near.sparsity:.4g}, for which this table was calibrated, got {sparsity:.4g}"
                )
            measured = ", ".join(f"{step.sparsity:g}" for step in self.steps)
            reason = f"S is further than {self.reach:g} from every sparsity that was measured ({measured})"
            name, alpha = PLATEAU, None
        elif self.supplied and no_saliency(saliency_kind):
            reason, name, alpha = "no saliency was given", PLATEAU, None
        elif self.saliency is not None and saliency_kind == "supplied":
            reason += f"; measured with {self.saliency} saliency, and what kind this one is its vector does not say"
        return AdaptiveChoice(name, alpha, sparsity, reason, self.source, self.trials)

    def _near(self, sparsity: float) -> Step:
        return min(self.steps, key=lambda step: (round(abs(step.sparsity - sparsity), 9), step.sparsity))

    def running(self, choice: AdaptiveChoice) -> Scorer:
        """The scorer of a choice: that of its name and strength, or a fusion with the weights of its step."""
        near = self._near(choice.sparsity)
        if isinstance(near, FusionStep) and choice.scorer == near.scorer:
            return replace(near.fusion)
        return built(choice.scorer, choice.alpha)

    def _check_saliency(self, kind: str | None) -> None:
        if self.saliency is None or kind in (self.saliency, "supplied") or no_saliency(kind):
            return
        measured = "without one" if no_saliency(self.saliency) else f"with {self.saliency} saliency"
        raise ValueError(f"Expected a saliency as this table was measured, {measured}, got {kind} ({self.source})")

    def check_pool(self, pool: str) -> None:
        """Refuse to choose for another pool than was measured."""
        if self.pool not in (None, pool):
            raise ValueError(f"Expected a table for pool {pool!r}, got one for {self.pool!r} ({self.source})")

    def check_unit(self, unit: str) -> None:
        """Refuse to choose for another unit than was measured."""
        if self.unit not in (None, unit):
            raise ValueError(f"Expected a table for unit {unit!r}, got one for {self.unit!r} ({self.source})")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        facts = asdict(self)
        facts["steps"], facts["trials"] = list(facts["steps"]), list(facts["trials"])
        return facts

    def __call__(self, amount: float | int, **parameters: Any) -> BasePruningMethod:
        """A pruning method with this table, as torch builds one."""
        return self.method(amount, table=self, **parameters)


#: Tables that go by name.
NAMED: Mapping[str, Callable[[float, str | None, float | None], AdaptiveChoice]] = {
    HYPOTHESIS: by_hypothesis,
    "measured": by_measurement,
}


def built(name: str, alpha: float | None) -> Scorer:
    """A scorer by name, with a strength where it has one."""
    return build_scorer(name, alpha=alpha) if has_strength(name) else build_scorer(name)


def has_strength(name: str) -> bool:
    """Whether a scorer by this name takes a strength."""
    return any(field.name == "alpha" for field in fields(get_scorer(name)))


@register_scorer
@dataclass(frozen=True)
class Adaptive(RankScorer):
    """Magnitude below S = 0.65, ``smooth_chaos`` to 0.75, ``chaos`` above; magnitude without a supplied saliency.

    That is ``table="hypothesis"``. ``"measured"`` is what did best on this project's validation images
    (:func:`~sics_plugin.scorers.adaptive.by_measurement`), an :class:`~sics_plugin.AdaptiveTable` what the user's own runs say.
    The scorer that runs carries the reason as its ``choice``. An ``alpha`` given here is the strength of whatever class runs.
    """

    name, role, summary, spectra = "adaptive", "adaptive", "magnitude | smooth_chaos | chaos, by S", True
    table: AdaptiveTable | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.table, str) and self.table not in NAMED:
            raise ValueError(
                f"Expected `table` to be an AdaptiveTable (SICSAdaptive.from_report makes one) or one of {', '.join(NAMED)}, "
                f"got {self.table!r}"
            )
        if not isinstance(self.table, AdaptiveTable | str | None):
            got = type(self.table).__name__
            raise TypeError(f"Expected `table` to be an AdaptiveTable, got {got}: SICSAdaptive.from_report makes one")

    def resolve(self, sparsity: float, saliency_kind: str | None) -> Scorer:  # noqa: D102
        if isinstance(self.table, AdaptiveTable):
            choice = self.table.choose(sparsity, saliency_kind)
            if self.alpha is not None and has_strength(choice.scorer):
                choice = replace(choice, alpha=self.alpha, reason=f"{choice.reason}; its strength was given, not measured")
            running = self.table.running(choice)
        else:
            choice = NAMED[self.table or HYPOTHESIS](sparsity, saliency_kind, self.alpha)
            running = built(choice.scorer, choice.alpha)
        object.__setattr__(running, "choice", choice)  # no field of it: what it computes does not depend on who chose it
        return running

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        return self.resolve(sparsity, units.saliency_kind).score(units, sparsity)

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:  # noqa: D102
        facts = super().fingerprint(saliency_kind)
        if self.table in (None, HYPOTHESIS):
            del facts["parameters"]["table"]  # as before there were tables: stored rows go by it
        elif isinstance(self.table, AdaptiveTable):
            facts["parameters"]["table"] = self.table.to_dict()
        elif self.alpha is None:
            facts["parameters"]["alpha"] = {"class": MEASURED_CLASS, "share": MEASURED_SHARE, "most": MEASURED_MOST}
        return facts
