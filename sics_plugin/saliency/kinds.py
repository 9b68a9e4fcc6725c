"""The kinds of saliency: how each is collected, and what a unit of several weights has of it.

A scorer names the kind it needs as its ``requires``; :class:`~sics_plugin.Saliency` collects one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sics_plugin.channels.groups import ChannelGroup
from sics_plugin.saliency.batches import Batch
from sics_plugin.saliency.objective import Objective
from sics_plugin.saliency.signals import contributions, relative
from sics_plugin.saliency.signals.activation import input_norms
from sics_plugin.saliency.signals.contributions import Collected
from sics_plugin.saliency.signals.synflow import ROUNDS, synaptic_flow

Kind = Literal[
    "gradient", "activation", "neighbourhood", "snip", "grasp", "synflow", "taylor", "fisher", "sensitivity", "lamp", "relative",
    "relative_activation",
]  # fmt: skip
#: Of a unit: the L2 norm or the sum over its incoming weights; "own": collected for units as such; "lamp": from the units'
#: magnitudes; None: there is no such thing.
PerUnit = Literal["norm", "sum", "own", "lamp"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a collector is given: calibration batches, a loss, the groups of units (None: weights), rounds of a schedule."""

    batches: Iterable[Batch]
    loss: Objective
    groups: Sequence[ChannelGroup] | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind.

    ``collect`` gives values by name and the number of samples; None: the weights say it all when they are asked. ``from_weights``
    takes a weight and which of its entries are there, float64; its result is multiplied with what was collected, if anything.
    """

    collect: Callable[[nn.Module, Request], Collected] | None = None
    from_weights: Callable[[Tensor, Tensor | None], Tensor] | None = None
    per_unit: PerUnit | None = "norm"
    of_inputs: bool = False  # values are of input features, one set a module
    exponent: float = 1.0  # of the collected values, before they are multiplied
    data: bool = True  # whether what is in the batches matters

    @property
    def of_loss(self) -> bool:
        """Whether it takes gradients of a loss."""
        return self.collect is not None and self.data and not self.of_inputs


SIGNALS: dict[str, Signal] = {
    "gradient": Signal(lambda m, r: contributions.gradient_rms(m, r.batches, r.loss)),
    "activation": Signal(lambda m, r: input_norms(m, r.batches), of_inputs=True),
    "neighbourhood": Signal(data=False),
    "snip": Signal(lambda m, r: contributions.mean_contribution(m, r.batches, r.loss), per_unit="sum"),
    "grasp": Signal(lambda m, r: contributions.gradient_flow(m, r.batches, r.loss), per_unit="sum"),
    "synflow": Signal(
        lambda m, r: synaptic_flow(m, r.batches, ROUNDS if r.rounds is None else r.rounds, r.groups), per_unit="own", data=False
    ),
    "taylor": Signal(lambda m, r: contributions.rms_over_batches(m, r.batches, r.loss, r.groups), per_unit="own"),
    "fisher": Signal(lambda m, r: contributions.rms_over_samples(m, r.batches, r.loss)),
    "sensitivity": Signal(lambda m, r: contributions.mean_absolute_over_samples(m, r.batches, r.loss, r.groups), per_unit="own"),
    "lamp": Signal(from_weights=relative.lamp, per_unit="lamp", data=False),
    "relative": Signal(from_weights=relative.relative_importance, per_unit=None, data=False),
    "relative_activation": Signal(
        lambda m, r: input_norms(m, r.batches), relative.relative_importance, per_unit=None, of_inputs=True, exponent=0.5
    ),
}


def uses_data(kind: str) -> bool:
    """Whether a kind of saliency depends on calibration data."""
    return SIGNALS[kind].data
