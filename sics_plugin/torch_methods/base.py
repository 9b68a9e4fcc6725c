"""What the unstructured and the structured pruning methods share: a scorer inside torch's contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod, PruningContainer

from sics_plugin.network.targets import Target, check_hooked, check_target, check_values
from sics_plugin.pruning.calibrating.calibration import Calibration, calibrate
from sics_plugin.pruning.channels import prune_channels
from sics_plugin.pruning.choose import decide
from sics_plugin.pruning.weights import prune_model
from sics_plugin.scorers.adaptive import AdaptiveTable
from sics_plugin.scorers.adaptive_from_report import table_from_report
from sics_plugin.scorers.base import AdaptiveChoice, Scorer
from sics_plugin.scorers.sics import COORDINATE_UNRESOLVED
from sics_plugin.scorers.units import Units
from sics_plugin.selection.lowest import check_amount, check_sparsity, warn_of_percent
from sics_plugin.warn import warn_caller


class CoordinateUnresolvedWarning(UserWarning):
    """Fewer than 512 units, two magnitude bins: the coordinate z is not independent of ρ, so a κ ≥ 1 result says little."""


class ScorerMethod(BasePruningMethod):
    """Base of both: holds amount, saliency and scorer, checks a call, and releases the saliency once the mask is made."""

    scorer_class: ClassVar[type[Scorer]]
    name: ClassVar[str]
    kappa: ClassVar[int | None]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "scorer_class" in cls.__dict__:
            cls.name, cls.kappa = cls.scorer_class.name, cls.scorer_class.kappa
            if "amount" in inspect.signature(cls.__init__).parameters:  # not of those that take any scorer
                cls.__signature__ = signature_with(cls.__init__, cls.scorer_class)

    def __init__(
        self, amount: float | int, saliency: Tensor | None = None, *, sparsity: float | None = None, **parameters: Any
    ) -> None:
        self._check_parameters(parameters)
        check_amount(amount)
        check_sparsity(sparsity)
        self.amount = amount
        self.saliency = saliency
        self.sparsity = sparsity
        self.scorer = self.scorer_class(**parameters)
        self.choice: AdaptiveChoice | None = None
        self._released = False

    def _check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Refuse what the scorer's own parameters cannot be here."""

    def _check_call(self, t: Tensor, default_mask: Tensor, unit: str = "weight") -> None:
        if self._released:
            raise RuntimeError(
                f"this {type(self).__name__} has made its mask and released its saliency: construct a new one with the "
                "saliency of what is left"
            )
        if t.shape != default_mask.shape:
            raise ValueError(f"Expected a default mask of shape {tuple(t.shape)}, got {tuple(default_mask.shape)}")
        check_amount(self.amount)
        check_values(t, "the tensor to prune")
        if self.sparsity is None and unit == "weight":
            warn_of_percent(self.amount, t.numel())

    def _removed(self, units: Units) -> Tensor:
        decision = decide(self.scorer, units, self.amount, sparsity=self.sparsity)
        self.choice = decision.scorer.choice
        if COORDINATE_UNRESOLVED in decision.flags:
            n = units.magnitude.numel()
            warn_caller(f"{COORDINATE_UNRESOLVED}: {self.name} on {n} units, fewer than 512", CoordinateUnresolvedWarning)
        return decision.removed

    @classmethod
    def _apply(cls, module: nn.Module, name: str, *arguments: Any, **parameters: Any) -> BasePruningMethod:
        """torch's ``apply``, which takes an earlier hook off before it knows the mask: all hooks are back if it fails."""
        target = Target(module, name, name)
        check_target(target)
        check_hooked([target])
        hooks = dict(module._forward_pre_hooks)
        chains = {hook: hook._pruning_methods for hook in hooks.values() if isinstance(hook, PruningContainer)}
        try:
            return cast(BasePruningMethod, super().apply(module, name, *arguments, **parameters))  # type: ignore[no-untyped-call]
        except Exception:
            module._forward_pre_hooks.clear()
            module._forward_pre_hooks.update(hooks)
            for hook, chain in chains.items():
                hook._pruning_methods = chain
            raise

    def _release(self) -> None:
        if self.saliency is not None:
            self.saliency, self._released = None, True

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """``t`` times its mask, as torch's. A fresh instance is no hook here: it keeps its saliency and may be used again."""
        before = self.saliency, self._released
        try:
            return cast(Tensor, super().prune(t, default_mask, importance_scores))  # type: ignore[no-untyped-call]
        finally:
            self.saliency, self._released = before


class AdaptiveMethod(ScorerMethod):
    """What the adaptive methods add: tables of the user's own, and a representation that says what was chosen and why."""

    _unit: ClassVar[str]

    def _check_parameters(self, parameters: Mapping[str, Any]) -> None:
        if "calibrate" in parameters:
            raise TypeError(
                "`calibrate` needs the model, which torch does not hand to a method: give prune_model(model, 'adaptive', "
                f"calibrate=...), or table={type(self).__name__}.calibrate(model, amount, ...)"
            )
        if isinstance(table := parameters.get("table"), AdaptiveTable):
            table.check_unit(self._unit)

    @staticmethod
    def from_report(path: str | Path) -> AdaptiveTable:
        """A table from the ``report.json`` of a run of one's own, for ``table=``.

        The rule is in :mod:`sics_plugin.scorers.adaptive_from_report`.

        Raises
        ------
        ValueError
            If the file cannot be read, is no report, or compares with another reference than magnitude.

        Examples
        --------
        >>> from torch.nn.utils import prune
        >>> from sics_plugin import SICSAdaptive
        >>> table = SICSAdaptive.from_report("report.json")    # doctest: +SKIP
        >>> prune.global_unstructured(params, SICSAdaptive, amount=0.7, saliency=c, table=table)    # doctest: +SKIP
        """
        return table_from_report(path)

    @classmethod
    def calibrate(
        cls, model: nn.Module, amount: float | int, *, evaluate: Callable[[nn.Module], float], budget: int, **options: Any
    ) -> AdaptiveTable:
        """A table from at most ``budget`` evaluations on held-out data, for ``table=`` at this one sparsity.

        ``options`` are those of the prune that follows (``saliency``, ``pool``, ``min_keep``, ``sparsity``) and ``candidates``,
        or ``features`` and ``seed`` of a search. See :class:`~sics_plugin.Calibration`.
        """
        own = {name: options.pop(name) for name in ("candidates", "features", "seed") if name in options}
        how = Calibration(evaluate, budget, **own)
        unit = options.pop("unit", cls._unit)
        prune = prune_model if unit == "weight" else prune_channels
        return calibrate(model, amount, how, prune=prune, unit=unit, **options)

    def __repr__(self) -> str:
        table = getattr(self.scorer, "table", None)
        what = "" if table is None else f", table={getattr(table, 'source', table)!r}"
        chose = f", chose {self.choice}" if self.choice is not None else ""
        return f"{type(self).__name__}(amount={self.amount!r}{what}{chose})"


def signature_with(constructor: Callable[..., None], scorer: type[Scorer]) -> inspect.Signature:
    """The signature of a method's class: its constructor's, with the scorer's own parameters by name instead of ``**parameters``.

    Trainers look into it for what they may pass, such as ``amount``.

    >>> from sics_plugin import SICSChaos
    >>> list(inspect.signature(SICSChaos).parameters)
    ['amount', 'saliency', 'sparsity', 'alpha']
    """
    own = list(inspect.signature(constructor).parameters.values())[1:]
    plain = [p for p in own if p.kind is not p.VAR_KEYWORD]
    if len(plain) == len(own):
        return inspect.Signature(own)
    named = {p.name for p in plain}
    scorers = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(scorer).parameters.values() if p.name not in named]
    return inspect.Signature([*plain, *scorers])


M = TypeVar("M", bound=ScorerMethod)


def find_method(root: type[M], scorer: str) -> type[M]:
    """The subclass of ``root`` for a scorer's name, among all defined so far."""
    waiting = [root]
    while waiting:
        cls = waiting.pop()
        if getattr(cls, "name", None) == scorer:
            return cls
        waiting += cls.__subclasses__()
    raise ValueError(f"Expected a scorer with a {root.__name__} subclass, got {scorer!r}")
