"""The scorers as structured ``torch.nn.utils.prune`` methods: whole rows, filters or columns along one dimension.

Each is used as torch's ``LnStructured`` is, and like it ranks the channels of one tensor. A removed output channel takes its
bias along, so that nothing of it leaks through the activation; the norm behind and the columns that read it stay.
:func:`~sics_plugin.prune_channels` takes those along, too.

>>> import torch
>>> layer = torch.nn.Conv2d(3, 8, 3)
>>> _ = SICSStructuredMagnitude.apply(layer, "weight", amount=0.25, dim=0)
>>> int((layer.weight_mask.sum((1, 2, 3)) == 0).sum()), int((layer.bias_mask == 0).sum())
(2, 2)
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.network.layouts import TRANSPOSED, layout_of
from sics_plugin.network.masks import install_mask
from sics_plugin.network.targets import Target, check_target
from sics_plugin.pruning.unit_norms import row_norms
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers import adaptive, sics
from sics_plugin.scorers.units import SaliencyVector, units_of
from sics_plugin.torch_methods import unstructured as plain
from sics_plugin.torch_methods.base import AdaptiveMethod, ScorerMethod, find_method

#: The public names, all of which the package hands on.
__all__ = [
    "SICSStructured", "SICSStructuredAdaptive", "SICSStructuredBump", "SICSStructuredChaos", "SICSStructuredFake",
    "SICSStructuredGradient", "SICSStructuredInformation", "SICSStructuredLog", "SICSStructuredMagnitude",
    "SICSStructuredPower", "SICSStructuredRandom", "SICSStructuredSmoothChaos", "SICSStructuredSmoothMouse",
    "SICSStructuredWiggle", "structured_method_for",
]  # fmt: skip


class SICSStructured(ScorerMethod):
    """A registered scorer as torch's structured pruning method. Subclasses name their ``scorer_class`` and nothing else.

    Parameters
    ----------
    amount : float or int
        Fraction of the channels along ``dim`` that are still there (round(amount·n) go, ties by lower norm, then position),
        or their number.
    saliency : Tensor, optional
        In the shape of the tensor (a channel's is the root of its sum of squares), or one value per channel. Released once
        the mask is made, because torch keeps the instance on the module as a hook and pickles it with the model.
    dim : int
        The dimension channels lie along; 0, the default, is the output side of Linear and convolution weights; 1 is that of
        transposed convolutions and transformers' ``Conv1D``.
    sparsity : float, optional
        Absolute sparsity aimed at, for features that depend on it, when this prune is a later step towards it.
    **parameters
        The scorer's own: ``alpha`` for those built on ρ + α·φ, ``seed`` for the random one.

    Raises
    ------
    TypeError, ValueError, IndexError
        For an ``amount``, ``sparsity`` or ``dim`` out of range, a tensor of fewer than two dimensions, NaN or infinite values, a
        saliency of another shape or kind, nothing left to prune.

    Notes
    -----
    The magnitude of a channel is the L2 norm of its entries that are still there, as ``ln_structured`` with ``n=2``.
    ``importance_scores`` given to torch stand for the weights.

    Examples
    --------
    >>> t = torch.tensor([[3.0, 4.0], [1.0, 1.0], [0.0, 2.0]])
    >>> SICSStructuredMagnitude(amount=1).prune(t).tolist()
    [[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]]
    """

    PRUNING_TYPE = "structured"

    def __init__(
        self,
        amount: float | int,
        saliency: Tensor | None = None,
        dim: int = 0,
        *,
        sparsity: float | None = None,
        **parameters: Any,
    ) -> None:
        _check_whole(dim)
        super().__init__(amount, saliency, sparsity=sparsity, **parameters)
        self.dim = int(dim)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """``default_mask`` with zeros over the channels that go; ``t``: weights of two dimensions or more, or scores for them.

        Channels without an entry that is still there, a 1 in ``default_mask``, are not ranked.
        """
        self._check_call(t, default_mask, "channel")
        dim = _dimension(t, self.dim)
        here = default_mask != 0
        alive = _rows(here, dim).any(1)
        magnitude = _norms(t, here, dim, "the weights")[alive]
        units = units_of(magnitude, None if self.saliency is None else self._unit_saliency(self.saliency, here, alive, dim))
        gone = alive.nonzero().squeeze(1)[self._removed(units)]
        mask = default_mask.detach().clone(memory_format=torch.contiguous_format).index_fill_(dim, gone, 0)
        self._release()
        return mask

    def _unit_saliency(self, saliency: Tensor, here: Tensor, alive: Tensor, dim: int) -> Tensor:
        """One value per channel that is still there, of the kind it came with."""
        if not isinstance(saliency, Tensor):
            raise TypeError(f"Expected `saliency` to be a tensor, got {type(saliency).__name__}")
        values = saliency.detach().as_subclass(Tensor).to(here.device)
        channels, left = alive.numel(), int(alive.sum())
        if values.shape == here.shape:
            per_unit = _norms(values, here, dim, "`saliency`")[alive]
        elif values.dim() == 1 and values.numel() in (channels, left):
            per_unit = values if values.numel() == left else values[alive]
        else:
            raise ValueError(
                f"Expected `saliency` of shape {tuple(here.shape)}, or one value for each of the {left} channels that are still "
                f"there, got {tuple(values.shape)}"
            )
        return SaliencyVector(per_unit, kind=saliency.kind) if isinstance(saliency, SaliencyVector) else per_unit

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        amount: float | int,
        dim: int = 0,
        importance_scores: Tensor | None = None,
        *,
        saliency: Saliency | Tensor | None = None,
        bias: bool = True,
        **parameters: Any,
    ) -> BasePruningMethod:
        """Prune channels of one tensor in place in torch's own manner: ``name_orig``, ``name_mask`` and a forward pre-hook.

        ``saliency`` may be the :class:`~sics_plugin.Saliency` itself; a tensor may cover all channels or those that are still
        there. ``bias`` says whether outputs of a Linear or convolution (``dim=0`` of its weight; ``dim=1`` of a transposed
        convolution and transformers' ``Conv1D``) take their bias along, as a mask and a hook of its own; False is what torch's
        ``ln_structured`` does.

        Examples
        --------
        >>> layer = nn.Linear(32, 16)
        >>> _ = SICSStructuredMagnitude.apply(layer, "weight", amount=0.5, dim=0)
        >>> _ = SICSStructuredMagnitude.apply(layer, "weight", amount=2)    # of the 8 rows left
        >>> int((layer.weight_mask[:, 0] == 0).sum())
        10
        """
        _check_whole(dim)
        target = Target(module, name, name)
        check_target(target)  # before its shape is looked at
        given = _of_what_is_left(target, dim, saliency)
        scores = {"saliency": given, "importance_scores": importance_scores}
        hook = cls._apply(module, name, amount, dim=dim, **scores, **parameters)
        axis = _dimension(target.parameter, dim)
        layout = layout_of(module, name) if name == "weight" else None
        grouped = isinstance(module, TRANSPOSED) and module.groups > 1  # a row is then an output of every group
        if bias and layout is not None and axis == layout.outputs and not grouped and module.bias is not None:
            install_mask(module, "bias", _rows(target.present(), axis).any(1))
        return hook


def _of_what_is_left(target: Target, dim: int, saliency: Saliency | Tensor | None) -> Tensor | None:
    """torch hands a method only the channels that are still there; so must the saliency be."""
    if isinstance(saliency, Saliency):
        if saliency.kind == "neighbourhood":
            return None
        saliency = SaliencyVector(saliency._tensor(target), kind=saliency.kind)
    shape = target.parameter.shape
    if not isinstance(saliency, Tensor) or target.mask is None:
        return saliency
    axis = _dimension(target.parameter, dim)
    alive = _rows(target.present(), axis).any(1)
    plain = saliency.detach().as_subclass(Tensor).to(alive.device)
    if plain.shape == shape:
        plain = plain.index_select(axis, alive.nonzero().squeeze(1))
    elif plain.shape == alive.shape:
        plain = plain[alive]
    return SaliencyVector(plain, kind=saliency.kind) if isinstance(saliency, SaliencyVector) else plain


def _check_whole(dim: object) -> None:
    if isinstance(dim, bool) or not isinstance(dim, Integral):
        raise TypeError(f"Expected `dim` to be a whole number, got {dim!r}")


def _dimension(t: Tensor, dim: int) -> int:
    """``dim`` counted from the front, checked."""
    if t.dim() < 2:
        raise ValueError(f"Expected a tensor of at least two dimensions to prune channels of, got shape {tuple(t.shape)}")
    if not -t.dim() <= dim < t.dim():
        raise IndexError(f"Expected `dim` in [{-t.dim()}, {t.dim() - 1}] for a tensor of shape {tuple(t.shape)}, got {dim}")
    return dim % t.dim()


def _rows(t: Tensor, dim: int) -> Tensor:
    """One row per channel, shape (channels, entries)."""
    channels = t.shape[dim]
    return t.movedim(dim, 0).reshape(channels, t.numel() // max(channels, 1))


def _norms(t: Tensor, here: Tensor, dim: int, what: str) -> Tensor:
    values = t.detach()
    return row_norms(_rows(torch.where(here, values, torch.zeros_like(values)), dim), what)


def _structured(method: type[plain.SICSMethod]) -> type[SICSStructured]:
    """The structured method of the same scorer, a public class like any written out."""
    facts = {"scorer_class": method.scorer_class, "__doc__": method.__doc__, "__module__": "sics_plugin"}
    return type(method.__name__.replace("SICS", "SICSStructured"), (SICSStructured,), facts)


class SICSStructuredMagnitude(SICSStructured):
    """s = m, the L2 norm; κ = 0. The mask of torch's ``ln_structured`` with ``n=2`` wherever norms are distinct."""

    scorer_class = sics.Magnitude


SICSStructuredPower = _structured(plain.SICSPower)
SICSStructuredLog = _structured(plain.SICSLog)
SICSStructuredBump = _structured(plain.SICSBump)
SICSStructuredSmoothChaos = _structured(plain.SICSSmoothChaos)
SICSStructuredSmoothMouse = _structured(plain.SICSSmoothMouse)
SICSStructuredChaos = _structured(plain.SICSChaos)
SICSStructuredWiggle = _structured(plain.SICSWiggle)
SICSStructuredFake = _structured(plain.SICSFake)
SICSStructuredInformation = _structured(plain.SICSInformation)
SICSStructuredGradient = _structured(plain.SICSGradient)
SICSStructuredRandom = _structured(plain.SICSRandom)


class SICSStructuredAdaptive(AdaptiveMethod, SICSStructured):  # noqa: D101
    __doc__ = plain.SICSAdaptive.__doc__
    scorer_class, _unit = adaptive.Adaptive, "channel"


def structured_method_for(scorer: str) -> type[SICSStructured]:
    """The structured pruning method of a scorer's name, among all subclasses of :class:`SICSStructured` defined so far.

    Examples
    --------
    >>> structured_method_for("chaos").__name__
    'SICSStructuredChaos'
    """
    return find_method(SICSStructured, scorer)
