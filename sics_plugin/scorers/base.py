"""What a scorer is, and what an adaptive one says of its choice.

A scorer sees :class:`Units` (magnitudes and a saliency, as vectors over the pool) and the sparsity, and returns a score
vector. Which units go is decided by :mod:`sics_plugin.selection`, how torch is told by :mod:`sics_plugin.torch_methods`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from torch import Tensor

from sics_plugin.scorers import spectra
from sics_plugin.scorers.units import Units

Role = Literal["feature", "control", "baseline", "adaptive", "peer"]


@dataclass(frozen=True)
class Scorer(ABC):
    """Base of all scorers. Subclasses set the class facts and override :meth:`score`; parameters are dataclass fields."""

    name: ClassVar[str]
    summary: ClassVar[str]
    kappa: ClassVar[int | None] = None
    role: ClassVar[Role] = "feature"
    requires: ClassVar[str | None] = None  # the kind of saliency it cannot do without
    source: ClassVar[str] = ""  # where it was published
    pool: ClassVar[str] = "global"  # what its source ranks against each other
    units: ClassVar[tuple[str, ...]] = ("weight", "channel", "head")  # what it is defined for
    spectra: ClassVar[bool] = False  # whether it reads the shipped spectra
    ranked: ClassVar[bool] = False  # whether its score is made of ranks, so that scores of two pools can be compared
    on_request: ClassVar[bool] = False  # whether a run takes it only where it is named
    choice: ClassVar[AdaptiveChoice | None] = None  # on one that an adaptive scorer chose: why

    @abstractmethod
    def score(self, units: Units, sparsity: float) -> Tensor:
        """Scores of shape (n,), higher is kept. ``sparsity`` in [0, 1] is the fraction of the pool that will go."""

    def resolve(self, sparsity: float, saliency_kind: str | None) -> Scorer:
        """The scorer that will really run; differs from ``self`` only for adaptive ones."""
        return self

    def flags(self, n: int) -> tuple[str, ...]:
        """Reasons for care with n units, for reports."""
        return ()

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:
        """Everything about the scorer its result depends on, as JSON-able values; part of every cell key."""
        parameters = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            "name": self.name,
            "kappa": self.kappa,
            "parameters": parameters,
            "tables": spectra.TABLES_SHA256 if self.spectra else None,
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate that was tried. ``alpha`` None: the class has none. Higher scores are better. ``pool`` None: the prune's.

    ``change``, where it was measured: squared change of the outputs in units of their variance; ``recombined``: the same on
    inputs that no one has seen; ``loss``: on calibration batches.
    """

    scorer: str
    alpha: float | None
    score: float
    mask_hash: str
    pool: str | None = None
    change: float | None = None
    recombined: float | None = None
    loss: float | None = None

    def __setstate__(self, state: Sequence[Any]) -> None:
        known = (*state, None, None, None, None)  # one that was saved without the last four had none
        for field, value in zip(fields(self), known, strict=False):
            object.__setattr__(self, field.name, value)


@dataclass(frozen=True, slots=True)
class AdaptiveChoice:
    """The class that an adaptive prune ran at a sparsity, and why.

    Parameters
    ----------
    scorer : str
    alpha : float or None
        Strength asked for; None: the class's default.
    sparsity : float
        S that was asked for.
    reason : str
        In words.
    source : str
        What the choice rests on: "table of the hypothesis", a report, held-out data or calibration batches.
    trials : tuple of Trial
        All that was tried. The best of several is chosen by its score, so that score is too high by itself.
    """

    scorer: str
    alpha: float | None
    sparsity: float
    reason: str
    source: str
    trials: tuple[Trial, ...] = ()

    def __str__(self) -> str:
        strength = "" if self.alpha is None else f" with α = {self.alpha:g}"
        return f"{self.scorer}{strength} at S = {self.sparsity:.4g}: {self.reason} ({self.source})"
