"""A task: what is trained, pruned and measured, as a class that a user writes in a file of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError

if TYPE_CHECKING:
    from sics_analysis.results import Metric as Measured

ACCURACY, POINTS = "accuracy", "points"
#: Equivalence margin of an accuracy, in points.
ACCURACY_DELTA = 0.5


@dataclass(frozen=True, slots=True)
class Metric:
    """What a task measures, in which unit, and which way is better.

    Parameters
    ----------
    name : str
        As a sentence calls it: "accuracy", "perplexity", "F1".
    unit : str, optional
        Of differences and of δ. "points": results are fractions from 0 to 1, their differences are shown times 100; the default
        of an accuracy. Any other unit: results are numbers in that unit. Default: the name.
    higher_is_better : bool, optional
        True where it is not given; of a name that speaks of an error or a loss it must be.
    delta : float, optional
        Equivalence margin where none is asked for, in the unit; 0.5 points for an accuracy.
    of : callable(array of shape (n,)) -> float, optional
        The result of n numbers, one an example, where it is not their mean; such as ``lambda nll: math.exp(nll.mean())``.

    Examples
    --------
    >>> Metric("accuracy").unit, Metric("accuracy").delta
    ('points', 0.5)
    >>> Metric("perplexity", higher_is_better=False, delta=0.5).statistics()
    Metric(name='perplexity', unit='perplexity', scale=1.0, lower_is_better=True, paired=True, example='example')
    """

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    delta: float | None = None
    of: Callable[[Any], float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ConfigError(f"Metric: name = {self.name!r} is not accepted: give what a sentence calls it")
        if not self.unit:
            object.__setattr__(self, "unit", POINTS if self.name == ACCURACY else self.name)
        if self.higher_is_better is None:
            object.__setattr__(self, "higher_is_better", _higher_is_better(self.name))
        if self.delta is None and self.name == ACCURACY and self.unit == POINTS:
            object.__setattr__(self, "delta", ACCURACY_DELTA)
        if self.delta is not None and not self.delta > 0:
            raise ConfigError(f"Metric({self.name!r}): delta = {self.delta!r} is not accepted: give a number above 0")
        if self.of is not None and not callable(self.of):
            raise ConfigError(f"Metric({self.name!r}): of = {self.of!r} is not accepted: give a function of an array")

    @property
    def in_points(self) -> bool:
        """Whether results are fractions from 0 to 1."""
        return self.unit == POINTS

    def to_dict(self) -> dict[str, Any]:
        """What keys and stores keep of it; `of` is in the task's source."""
        return {
            "name": self.name, "unit": self.unit, "higher_is_better": self.higher_is_better, "delta": self.delta,
            "mean": self.of is None,
        }  # fmt: skip

    def statistics(self) -> Measured:
        """The same for `sics_analysis`."""
        return statistics_of(self.to_dict())


def _higher_is_better(name: str) -> bool:
    """True; refused where the name speaks of what is better low, and nobody said which way it is meant."""
    from sics_analysis.rows.reading.names import is_lower_better_name, is_turned_name

    if is_lower_better_name(name) or is_turned_name(name):
        raise ConfigError(f"Metric({name!r}): higher_is_better is not given: say which way is better, False where less is")
    return True


def statistics_of(kept: dict[str, Any]) -> Measured:
    """What a store keeps of a metric, for `sics_analysis`."""
    from sics_analysis.results import metric_named

    return metric_named(kept["name"], kept["unit"], lower_is_better=not kept["higher_is_better"])


def shown(value: float, metric: Metric) -> str:
    """A result as a line tells it: a fraction in percent, anything else in the metric's unit.

    >>> shown(0.9467, Metric("accuracy")), shown(-23.4567, Metric("return"))
    ('94.67 %', '−23.46 return')
    """
    return f"{100 * value:.2f} %" if metric.in_points else f"{value:.4g} {metric.unit}".replace("-", "−", value < 0)


def margin_doubt(metric: Metric, delta: float, dense: Sequence[float]) -> str | None:
    """What to ask of a δ beside which not even a result of 0 is another than the dense networks'; None where δ is less.

    >>> margin_doubt(Metric("F1"), 0.05, [0.81])
    >>> margin_doubt(Metric("perplexity", higher_is_better=False), 30, [23.4, 23.9])
    'δ = 30 perplexity is no less than the dense result itself (23.9 perplexity): even 0 would be no difference'
    >>> print(margin_doubt(Metric("F1"), 1, [0.81]).partition("; ")[2])
    of fractions from 0 to 1, a δ in points goes with Metric('F1', unit='points')
    """
    largest = max(map(abs, dense), default=0.0)
    scale = 100 if metric.in_points else 1
    if not dense or min(dense) < 0 < max(dense) or delta < scale * largest:
        return None
    points = ""
    if not metric.in_points and min(dense) >= 0 and largest <= 1 <= delta:
        points = f"; of fractions from 0 to 1, a δ in points goes with Metric({metric.name!r}, unit={POINTS!r})"
    value = shown(max(dense, key=abs), metric)
    return f"δ = {delta:g} {metric.unit} is no less than the dense result itself ({value}): even 0 would be no difference{points}"


class Task:
    """A task of your own; every method is called in a worker, with the seed's randomness set (torch, numpy, random).

    A class needs `metric`, `calibration`, `evaluate`, and `network` or `trainer`. It may inherit from this one, which holds no
    code, or from nothing.

    Attributes
    ----------
    metric : Metric
    device : torch.device
        Where networks are evaluated and saliencies measured, set before anything is called: a GPU where there is one. Networks
        are moved there, and so are calibration batches; what `evaluate` feeds the network is the task's to move.
    epochs : int
        How many `trainer` trains; of no other use.

    Notes
    -----
    ======================================  ====================================================================================
    method
    ======================================  ====================================================================================
    ``network(seed)``                       The dense network of a seed, a ``torch.nn.Module``: trained here, or loaded. Kept in
                                            the run's folder, so that it is made once a seed.
    ``trainer(seed)``                       Instead of `network`: an object with ``network``, ``epoch(number)``, ``state()`` and
                                            ``load(state)`` (`sics_cli.Trainer`). Training then goes on where it was stopped, is
                                            shared among workers, and leaves a curve.
    ``calibration(seed)``                   Batches for the saliency, in any form that ``sics_plugin.Saliency`` takes:
                                            (input, target), or a mapping of the network's arguments. The same each time it is
                                            asked for the same seed.
    ``loss(network, batch)``                Optional: a scalar. Default: cross-entropy of (input, target), the output's own
                                            ``loss`` of a mapping.
    ``evaluate(network, seed)``             One number an example, shape (n,), in an order that is the same for every network:
                                            right or wrong, or any float. Or one number. Or these by name, with "loss" beside the
                                            metric's. Called in eval mode, without gradients.
    ``held_out(network, seed)``             Optional: as `evaluate`, on examples that `evaluate` never uses. Searched scorers go
                                            by its "loss" where that is given, else by the metric; without it none runs.
    ``targets(network)``                    Optional: what may be pruned, a list of (module, "weight") pairs. Default:
                                            ``sics_plugin.prunable_parameters``.
    ======================================  ====================================================================================

    Examples
    --------
    >>> import torch
    >>> class Parity(Task):
    ...     metric = Metric("accuracy")
    ...     def network(self, seed):
    ...         return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    ...     def calibration(self, seed):
    ...         bits = torch.randint(2, (32, 8)).float()
    ...         return [(bits, bits.sum(1).long() % 2)]
    ...     def evaluate(self, network, seed):
    ...         bits = torch.arange(256)[:, None] >> torch.arange(8) & 1
    ...         return network(bits.float()).argmax(1) == bits.sum(1) % 2
    >>> Parity().evaluate(Parity().network(0), 0).shape
    torch.Size([256])
    """

    metric: Metric
    epochs: int = 1
    device: Any = "cpu"
