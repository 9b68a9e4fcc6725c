"""Collecting a saliency: an auxiliary signal per weight from a model and calibration data."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from numbers import Integral
from typing import Any, get_args

import torch
from torch import Tensor, nn

from sics_plugin.channels.discovery import find_groups
from sics_plugin.channels.groups import ChannelGroup, Unit
from sics_plugin.network.names import joined, listed, plain_modules
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import Parameter, Target, all_targets, dense_parameters
from sics_plugin.saliency.batches import Batch, Loss, check_iterable
from sics_plugin.saliency.kinds import SIGNALS, Kind, Request, Signal
from sics_plugin.saliency.objective import AT_ROUNDING, Objective, flags_of, zero_weights
from sics_plugin.saliency.signals.contributions import rms_of
from sics_plugin.saliency.signals.input_squares import expand_to_weight, observed
from sics_plugin.saliency.signals.relative import of_target
from sics_plugin.saliency.unchanged import Unchanged
from sics_plugin.scorers.coordinate import neighbourhood
from sics_plugin.scorers.units import SaliencyVector
from sics_plugin.selection.fetch import bytes_of
from sics_plugin.warn import warn_caller


class Saliency:
    """A saliency per weight of a model, collected when constructed.

    Parameters
    ----------
    model : nn.Module
        Run in eval mode; its mode, gradients and ``requires_grad`` flags are as before afterwards.
    batches : iterable
        Calibration batches in one of the forms below, or a loader of them; whatever is in them is moved to the model's device.
        Not needed for what reads the weights alone ("neighbourhood", "lamp", "relative"); "synflow" takes the shape of the
        first input from them and nothing else.
    loss : callable(output, target) -> scalar Tensor, optional
        For the kinds that take gradients; see the forms of a batch.
    kind : str
        "gradient": root of the mean over batches of the squared batch gradient. "activation": L2 norm of the input feature a
        weight reads, per sample as in Wanda (Sun et al. 2023); for linear layers, convolutions, recurrent layers and attention
        projections. "neighbourhood": mean magnitude of the 65 weights around, free of data: what a method without ``saliency=``
        uses. The others are what published scorers need, each its own (:mod:`sics_plugin.scorers.peers`): "snip", "grasp",
        "synflow", "taylor", "fisher", "sensitivity", "lamp", "relative", "relative_activation".
    max_batches : int, optional
        Stop after this many; for a loader without an end.
    unit : {"weight", "channel", "head"}
        What will be ranked. It matters to the kinds that square or take absolute values of a unit's sum batch by batch ("taylor",
        "sensitivity"), and to "synflow"; all others serve every unit.
    groups : iterable of ChannelGroup, optional
        The units, instead of those that :func:`~sics_plugin.find_groups` finds.
    rounds : int, optional
        For "synflow": rounds of its schedule, default 100; 1 for the scores of the network as it is.

    Attributes
    ----------
    kind : str
    samples : int
        How many were in the batches.
    flags : tuple of str
        Reasons to mistrust it, which a pruning report repeats: zero everywhere, constant, at rounding level.
    read_elsewhere : frozenset of str
        Parameters that the loss depends on although no module that holds them was called. Of the kinds that take gradients.

    Raises
    ------
    ValueError, TypeError
        No batches, batches of another form, labels that the model has no output for, a loss that is not a finite scalar,
        gradients that are not finite.

    Notes
    -----
    What a batch may be, and what is made of it:

    ==================================  ======================  =====================================================
    batch                               model                   loss
    ==================================  ======================  =====================================================
    ``(input, target)``                 ``model(input)``        ``loss(output, target)``; cross-entropy by default
    ``((input, mask, …), target)``      ``model(*inputs)``      the same
    ``({"input_ids": …}, target)``      ``model(**inputs)``     the same
    ``{"input_ids": …, "labels": …}``   ``model(**batch)``      the output's ``loss``, or ``loss(output, batch)``
    ==================================  ======================  =====================================================

    Of an output with ``logits`` a loss of a pair gets these. Inputs that ``forward`` has no arguments for go in as one. The
    default cross-entropy also takes outputs (samples, positions, classes) for labels (samples, positions): each label belongs
    to its own position, nothing is shifted, and −100 does not count. The kinds that look at single samples ("fisher",
    "sensitivity") split every tensor whose first dimension is the number of samples.

    Examples
    --------
    >>> from torch.nn.utils import prune
    >>> from sics_plugin import SICSChaos
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> batches = [(torch.randn(32, 16), torch.randint(4, (32,))) for _ in range(4)]
    >>> saliency = Saliency(model, batches, nn.functional.cross_entropy)
    >>> params = [(model[0], "weight"), (model[2], "weight")]
    >>> prune.global_unstructured(params, pruning_method=SICSChaos, amount=0.7, saliency=saliency.vector(params))
    >>> saliency.vector(params)    # of what is left: ready for a second prune
    SaliencyVector(n=384, kind='gradient')
    """

    flags: tuple[str, ...] = ()
    read_elsewhere: frozenset[str] = frozenset()

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Batch] | None = None,
        loss: Loss | None = None,
        *,
        kind: Kind = "gradient",
        max_batches: int | None = None,
        unit: str = "weight",
        groups: Iterable[ChannelGroup] | None = None,
        rounds: int | None = None,
    ) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"Expected `kind` to be one of {', '.join(get_args(Kind))}, got {kind!r}")
        if unit not in ("weight", *get_args(Unit)):
            raise ValueError(f"Expected `unit` to be one of weight, {', '.join(get_args(Unit))}, got {unit!r}")
        if rounds is not None and kind != "synflow":
            raise ValueError(f"Expected no `rounds` for kind {kind!r}: only 'synflow' is collected in rounds")
        if not isinstance(model, nn.Module):
            raise TypeError(f"Expected `model` to be an nn.Module, got {type(model).__name__}")
        if max_batches is not None and (not isinstance(max_batches, Integral) or max_batches < 1):
            raise ValueError(f"Expected `max_batches` to be a whole number above 0, or None for all, got {max_batches!r}")
        collect = SIGNALS[kind].collect
        if collect is None:
            if batches is not None:
                raise ValueError(f"Expected no `batches` for kind {kind!r}: it reads the weights alone")
        else:
            check_iterable(batches)
        self.kind = kind
        self.unit = "weight"
        self._values: dict[str, Tensor] = {}
        self.samples = 0
        self._bind(model)
        if collect is not None:
            assert batches is not None
            own: list[ChannelGroup] | None = None
            if self.signal.per_unit == "own" and (groups is not None or unit != "weight"):
                own = list(find_groups(model, unit) if groups is None else groups)  # type: ignore[arg-type]
                self.unit = own[0].unit if own else unit
            with Unchanged(model) as unchanged:
                if self.signal.of_loss and self.unit == "weight":
                    unchanged.watch_calls()
                request = Request(unchanged.of(islice(batches, max_batches)), Objective(loss), own, rounds)
                self._values, self.samples = collect(model, request)
            self._remark(model, request.loss, unchanged.uncalled)

    def _remark(self, model: nn.Module, objective: Objective, uncalled: frozenset[str]) -> None:
        """Say where the values say nothing."""
        self.flags = flags_of(self._values.values(), objective.at_rounding is True)
        hint = "give the labels of the data, not the model's own outputs" if self.signal.of_loss else "look at the batches"
        if self.flags:
            why = ": the gradients are what rounding leaves" if AT_ROUNDING in self.flags else ""
            warn_caller(f"{self.flags[0]} (kind {self.kind!r}){why}; a scorer learns nothing from it, {hint}")
        if not self.signal.of_loss or self.unit != "weight":
            return
        zero = zero_weights(self._values)
        gone = {t.path for t, p in all_targets(model) if t.mask is not None and not bool(t.mask.any())}
        if (unreached := [name for name in zero if name not in gone]) and not self.flags:
            warn_caller(
                f"{self.kind} saliency is zero in every entry of {listed(unreached)}: no batch reached them, or the loss does "
                "not depend on them"
            )
        self.read_elsewhere = frozenset(name for name in uncalled if bool(self._values[name].any()))

    @property
    def signal(self) -> Signal:
        """How this kind is made."""
        return SIGNALS[self.kind]

    @classmethod
    def from_gradients(cls, model: nn.Module, gradients: Iterable[Mapping[str, Tensor]], *, samples: int = 0) -> Saliency:
        """The gradient saliency from batch gradients that were computed elsewhere.

        Parameters
        ----------
        model : nn.Module
            Its parameters give names and shapes; nothing is run.
        gradients : iterable of mapping of parameter name to Tensor
            One item a batch, used before the next is asked for, so that all may lie in the same memory. A name that is missing
            counts as zero.
        samples : int, optional
            How many examples were behind them, for the record.

        Raises
        ------
        ValueError
            No batch, a name that the model does not have, another shape than the parameter's, a value that is not finite.

        Examples
        --------
        >>> model = nn.Linear(2, 1, bias=False)
        >>> steps = ({"weight": torch.tensor([[3.0, 0.0]])}, {"weight": torch.tensor([[4.0, 2.0]])})
        >>> Saliency.from_gradients(model, steps).tensor(model, "weight")
        tensor([[3.5355, 1.4142]])
        """
        parameters = {name: p for name, p in dense_parameters(model) if p.is_floating_point()}
        made = cls(model, kind="neighbourhood")
        made.kind, made.samples = "gradient", samples
        made._values = rms_of(parameters, _checked(gradients, parameters))
        return made

    def _bind(self, model: nn.Module) -> None:
        # remove_duplicate=False: a tied parameter is found under its first name, the one it was collected under.
        self._names: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        for name, parameter in dense_parameters(model, remove_duplicate=False):
            self._names.setdefault(id(parameter), (weakref.ref(parameter), name))
        # Tied parameters share a gradient, but every module has an input of its own.
        self._paths = {id(module): (weakref.ref(module), path) for path, module in plain_modules(model)}

    def bind(self, model: nn.Module) -> Saliency:
        """The same saliency for a copy of the model, matched by parameter names."""
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._bind(model)
        for name, parameter in dense_parameters(model):
            value = bound._values.get(name)
            if value is not None and not self.signal.of_inputs and value.shape != parameter.shape:
                raise ValueError(f"{name} has shape {tuple(parameter.shape)}, its saliency {tuple(value.shape)}: another model")
        return bound

    def knows(self, target: Target) -> bool:
        """Whether the target is a parameter of the very model this was collected on (not of a copy)."""
        reference, _ = self._names.get(id(target.parameter), (None, ""))
        return self.signal.collect is None or (reference is not None and reference() is target.parameter)

    def tensor(self, module: nn.Module, name: str) -> Tensor:
        """The saliency of one parameter in its full shape, pruned entries included."""
        return self._tensor(Target(module, name, name))

    def remaining(self, target: Target) -> Tensor:
        """The saliency of a target's units that are still there, a vector."""
        return target.remaining(self._tensor(target))

    def _tensor(self, target: Target) -> Tensor:
        parameter = target.parameter
        if self.kind == "neighbourhood":
            return neighbourhood(_magnitude(parameter)).view_as(parameter)
        made = None
        if self.signal.from_weights is not None:
            made = of_target(self.signal.from_weights, target)
            if self.signal.collect is None:
                return made
        name = self.check(target)
        value = self._values[name]
        if self.signal.of_inputs:
            value = expand_to_weight(value, target.module, parameter, name, target.name)
        value = value.to(parameter.device).contiguous()
        return value if made is None else made * value.double() ** self.signal.exponent

    def of_group(self, group: ChannelGroup) -> Tensor:
        """The values collected for the units of a group, shape (size,)."""
        value = self._values.get(group.name)
        if value is None or value.shape != (group.size,):
            raise ValueError(
                f"there is no {self.kind} saliency of the {group.unit}s of {group.name}: this one was collected for "
                f"{self.unit}s; collect it with unit={group.unit!r}, or with the same groups="
            )
        return value

    def check(self, target: Target) -> str:
        """The name under which a target's saliency was collected; refused where it was not."""
        if self.signal.collect is None:
            return target.path
        if not self.knows(target):
            raise ValueError(
                f"{target.path} is not a parameter of the model this saliency was collected on; for a copy of it, use "
                "saliency.bind(copy)"
            )
        name = self._name_of(target)
        if name not in self._values:
            raise ValueError(f"there is no {self.kind} saliency of {name}: " + self._why_missing(target))
        return name

    def shows_elsewhere(self, target: Target) -> bool:
        """Whether the batches showed that the target is read without a call of its layer, where a pruning hook would not run."""
        return (self._name_of(target) if self.knows(target) else target.path) in self.read_elsewhere

    def _name_of(self, target: Target) -> str:
        reference, path = self._paths.get(id(target.module), (None, ""))
        if self.signal.of_inputs and reference is not None and reference() is target.module:
            return joined(path, target.name)
        return self._names[id(target.parameter)][1]

    def _why_missing(self, target: Target) -> str:
        if self.unit != "weight":
            return f"it was collected for {self.unit}s"
        if self.signal.of_inputs and target.name not in observed(target.module):
            return (
                "it exists for the matrix weights of layers whose inputs are seen when they are called (linear, convolutions, "
                "recurrent, attention projections); leave it out (params=), or take another kind"
            )
        return "the module was not called on the calibration batches, or had another name then"

    def vector(self, parameters: nn.Module | Iterable[Parameter]) -> SaliencyVector:
        """One value per unit that is still there, in exactly the order and length torch's prune hands units over.

        Parameters
        ----------
        parameters : iterable of (module, name), or a model
            The same list, in the same order, as given to ``prune.global_unstructured``; a model stands for its
            ``prunable_parameters``.

        Returns
        -------
        SaliencyVector, shape (n,)

        Warns
        -----
        UserWarning
            Of parameters that the batches showed to be read without a call of their layer: torch's pruning hook would not run.
        """
        targets = resolve_targets(parameters)
        if elsewhere := [t.path for t in targets if self.shows_elsewhere(t)]:
            warn_caller(
                f"read without calling its layer: {listed(elsewhere)}; torch's pruning hook there would not run: leave it out, "
                "or name it in prune_model(model, ..., params=...)"
            )
        return self._vector(targets)

    def _vector(self, targets: Sequence[Target]) -> SaliencyVector:
        if self.kind == "neighbourhood":  # of the units handed over, across layer borders, as the method itself would
            magnitude = torch.cat([_magnitude(t.remaining(t.parameter)) for t in targets])
            return SaliencyVector(neighbourhood(magnitude), kind=self.kind)
        return SaliencyVector(torch.cat([t.remaining(self._tensor(t)) for t in targets]), kind=self.kind)

    @cached_property
    def digest(self) -> str:
        """The sha256 over the kind, names and values: equal for equal calibration on an equal model."""
        sha = hashlib.sha256(self.kind.encode())
        ordered = sorted(self._values.items())
        for (name, value), own in zip(ordered, bytes_of(value for _, value in ordered), strict=True):
            sha.update(f"\0{name}{tuple(value.shape)}".encode())
            sha.update(own.data)
        return sha.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_names", "_paths")} | {
            "_names": {},
            "_paths": {},
        }

    def __repr__(self) -> str:
        return f"Saliency(kind={self.kind!r}, samples={self.samples}, tensors={len(self._values)})"


def saliency_for(requires: str | None, saliency: Saliency | Tensor | None) -> Saliency | Tensor | None:
    """The saliency given, or the one a scorer needs where that reads the weights alone."""
    if saliency is None and requires is not None and (signal := SIGNALS.get(requires)) is not None and signal.collect is None:
        return Saliency(nn.Module(), kind=requires)  # type: ignore[arg-type]
    return saliency


def _checked(gradients: Iterable[Mapping[str, Tensor]], parameters: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    for found in gradients:
        for name, grad in found.items():
            if name not in parameters:
                raise ValueError(f"Expected gradients of the model's parameters, got one of {name!r}")
            if grad.shape != parameters[name].shape:
                raise ValueError(
                    f"Expected the gradient of {name} in its shape {tuple(parameters[name].shape)}, got {tuple(grad.shape)}"
                )
        yield {name: grad.detach().to(parameters[name].device) for name, grad in found.items()}


def _magnitude(values: Tensor) -> Tensor:
    flat = values.detach().reshape(-1)
    return (flat if flat.dtype == torch.float64 else flat.float()).abs()
