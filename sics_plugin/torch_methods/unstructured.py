"""The scorers as ``torch.nn.utils.prune`` methods, all over :class:`SICSMethod`.

Every class works through the four ways torch asks for a mask: ``prune.global_unstructured(..., pruning_method=SICSChaos,
amount=0.7)``, ``SICSChaos.apply(module, "weight", amount=0.7)``, ``SICSChaos(0.7).prune(tensor)``, and again on what is left
after an earlier prune.

>>> import torch
>>> from torch.nn.utils import prune
>>> layer = torch.nn.Linear(64, 32)
>>> prune.global_unstructured([(layer, "weight")], pruning_method=SICSChaos, amount=0.7)
>>> int((layer.weight_mask == 0).sum())    # round(0.7 · 2048)
1434
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.network.masks import masked_copy
from sics_plugin.pruning.choose import choose
from sics_plugin.scorers import adaptive, indicators, peers, sics
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.sics import ScaledMagnitudeScorer
from sics_plugin.scorers.units import SaliencyVector, units_of
from sics_plugin.selection.parts import Part, count_kept
from sics_plugin.torch_methods.base import AdaptiveMethod, ScorerMethod, find_method

#: The public names, all of which the package hands on.
__all__ = [
    "SICSRIA", "SICSAdaptive", "SICSBump", "SICSChaos", "SICSFake", "SICSFisher", "SICSGradient", "SICSGrasp",
    "SICSInformation", "SICSLamp", "SICSLog", "SICSMagnitude", "SICSMagnitudePower", "SICSMethod", "SICSOrbitMean",
    "SICSOrbitPeak", "SICSOrbitRange", "SICSOrbitVariance", "SICSPower", "SICSRandom", "SICSRankIndicator",
    "SICSRelativeImportance", "SICSSensitivity", "SICSSine", "SICSSmoothChaos", "SICSSmoothMouse", "SICSSmoothOrbitMean",
    "SICSSmoothOrbitPeak", "SICSSmoothOrbitRange", "SICSSmoothOrbitVariance", "SICSSnip", "SICSSpline", "SICSSynFlow",
    "SICSTaylor", "SICSWanda", "SICSWeierstrass", "SICSWiggle", "method_for",
]  # fmt: skip


class SICSMethod(ScorerMethod):
    """A registered scorer as torch's pruning method. Subclasses name their ``scorer_class`` and nothing else.

    Parameters
    ----------
    amount : float or int
        Fraction of the units that are still there (round(amount·n) go, ties by lower magnitude, then position), or their number.
    saliency : Tensor, optional
        One value per unit in the order torch hands them over: ``Saliency.vector(params)``. Released once the mask is made,
        because torch keeps the instance on the module as a hook and pickles it with the model. Rank-monotone classes check
        it and do not need it.
    sparsity : float, optional
        Absolute sparsity aimed at, for features that depend on it, when this prune is a later step towards it;
        default: the fraction this prune removes.
    **parameters
        The scorer's own: ``alpha`` for those built on ρ + α·φ, ``seed`` for the random one.

    Raises
    ------
    TypeError, ValueError
        For an ``amount`` or ``sparsity`` out of range, NaN or infinite values, a saliency of the wrong length or kind, an
        empty tensor.

    Notes
    -----
    ``importance_scores`` given to torch stand for the weights: their absolute value is the magnitude.

    Examples
    --------
    >>> t = torch.tensor([0.1, -0.4, 0.3, -0.2])
    >>> SICSMagnitude(amount=0.5).prune(t).tolist()
    [0.0, -0.4000000059604645, 0.30000001192092896, -0.0]
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """``default_mask`` with zeros at the units that go; ``t``: weights of any shape, or scores that stand for them.

        Only units that are still there, with a 1 in ``default_mask``, are ranked.
        """
        self._check_call(t, default_mask)
        values, saliency = t.detach().reshape(-1), self.saliency
        if saliency is None and isinstance(self.scorer, ScaledMagnitudeScorer):
            return self._streamed(values, default_mask.detach())
        mask = default_mask.detach().clone(memory_format=torch.contiguous_format)
        present = (default_mask != 0).reshape(-1)
        if bool(present.all()):
            removed = self._removed(units_of(values, saliency))
            mask.view(-1).masked_fill_(removed, 0)
        else:
            if saliency is not None and saliency.numel() == values.numel():
                saliency = select(saliency, present)
            removed = self._removed(units_of(values[present], saliency))
            mask.view(-1)[present.nonzero().squeeze(1)[removed]] = 0
        self._release()
        return mask

    def _streamed(self, values: Tensor, default_mask: Tensor) -> Tensor:
        """The magnitude family, without a vector of its own: the mask with zeros at the lowest of the entries still there."""
        part = Part(values, None if count_kept(default_mask) == default_mask.numel() else default_mask)
        choice = choose(self.scorer, [part], self.amount, sparsity=self.sparsity)
        self.choice = choice.scorer.choice
        return masked_copy(default_mask, next(choice.kept).view(default_mask.shape))

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        amount: float | int,
        importance_scores: Tensor | None = None,
        *,
        saliency: Tensor | None = None,
        **parameters: Any,
    ) -> BasePruningMethod:
        """Prune one tensor in place in torch's own manner: ``name_orig``, ``name_mask`` and a forward pre-hook.

        Examples
        --------
        >>> layer = torch.nn.Linear(32, 16)
        >>> _ = SICSMagnitude.apply(layer, "weight", amount=0.25)
        >>> int(layer.weight_mask.sum())
        384
        """
        return cls._apply(module, name, amount, saliency=saliency, importance_scores=importance_scores, **parameters)


def select(saliency: Tensor, present: Tensor) -> Tensor:
    """The entries of a saliency that are left, a vector, keeping the kind of a :class:`SaliencyVector`."""
    left = saliency.detach().as_subclass(Tensor).reshape(-1)[present.to(saliency.device)]
    return SaliencyVector(left, kind=saliency.kind) if isinstance(saliency, SaliencyVector) else left


def _method(scorer: type[Scorer], formula: str, more: str = "", *, name: str = "") -> type[SICSMethod]:
    """The method of a scorer: a public class like any written out, whose docstring is the formula and the scorer's facts."""
    kappa = "" if scorer.kappa is None else f"; κ = {scorer.kappa}"
    needs = f'; needs ``saliency=`` of kind "{scorer.requires}"' if scorer.requires else ""
    role = f" A {scorer.role} without κ." if scorer.role in ("control", "baseline") else ""
    facts = {"scorer_class": scorer, "__doc__": f"s {formula}{kappa}{needs}.{role}{more}", "__module__": "sics_plugin"}
    return type(name or f"SICS{scorer.__name__}", (SICSMethod,), facts)


SICSMagnitude = _method(sics.Magnitude, "= m", " The mask of torch's ``L1Unstructured`` wherever magnitudes are distinct.")
SICSPower = _method(sics.Power, "= m²")
SICSLog = _method(sics.Log, "= log(1 + m/σ), σ the root mean square of m")
SICSBump = _method(sics.Bump, "= ρ + α·φ(z), φ a Gaussian of width 0.15 centred at S, standardised")
SICSSmoothChaos = _method(sics.SmoothChaos, "= ρ + α·φ(z), φ the smoothed Lyapunov spectrum of the logistic map, r = 3.5 + 0.5z")
SICSSmoothMouse = _method(sics.SmoothMouse, "= ρ + α·φ(z), φ the smoothed Lyapunov spectrum of the Gauss map, β = −1 + 2z")
SICSChaos = _method(sics.Chaos, "= ρ + α·φ(z), φ the raw Lyapunov spectrum of the logistic map, r = 3.5 + 0.5z")
SICSWiggle = _method(sics.Wiggle, "= ρ + α·φ(z), φ the smoothed logistic spectrum + 0.5·sin(2π·40z), standardised")
SICSFake = _method(sics.Fake, "= ρ + α·φ(ρ), φ the bump: non-monotone in magnitude and nothing else")
SICSInformation = _method(sics.Information, "= ρ + α·√12·(z − ½): what the saliency says, without shape")
SICSGradient = _method(sics.Gradient, "= m·c, c the gradient RMS")
SICSRandom = _method(sics.Random, "uniform on (0, 1) from ``seed``: the floor")
SICSSnip = _method(peers.Snip, "= |w·g|")
SICSSensitivity = _method(peers.Sensitivity, "= E|w·g|, over samples")
SICSTaylor = _method(peers.Taylor, "= E(w·g)², over batches")
SICSFisher = _method(peers.Fisher, "= w²·E[g²]/2, over samples")
SICSGrasp = _method(peers.Grasp, "= w·(Hg)")
SICSSynFlow = _method(peers.SynFlow, "= |w|·∂R/∂|w|, in rounds")
SICSLamp = _method(peers.Lamp, "= w²/Σv² over what is not smaller in the layer")
SICSRelativeImportance = _method(peers.RelativeImportance, "= m/Σrow + m/Σcolumn")
SICSWanda = _method(peers.Wanda, "= m·‖x‖")
SICSRIA = _method(peers.RelativeImportanceActivation, "= RI·√‖x‖", name="SICSRIA")
SICSOrbitPeak = _method(indicators.OrbitPeak, "= ρ + α·φ(z), φ the largest value of the logistic map's orbit, r = 3.5 + 0.5z")
SICSOrbitVariance = _method(indicators.OrbitVariance, "= ρ + α·φ(z), φ the variance of the logistic map's orbit, r = 3.5 + 0.5z")
SICSOrbitRange = _method(indicators.OrbitRange, "= ρ + α·φ(z), φ the range of the logistic map's orbit, r = 3.5 + 0.5z")
SICSOrbitMean = _method(indicators.OrbitMean, "= ρ + α·φ(z), φ the mean of the logistic map's orbit, r = 3.5 + 0.5z")
SICSSmoothOrbitPeak = _method(indicators.SmoothOrbitPeak, "= ρ + α·φ(z), φ that of ``SICSOrbitPeak`` smoothed")
SICSSmoothOrbitVariance = _method(indicators.SmoothOrbitVariance, "= ρ + α·φ(z), φ that of ``SICSOrbitVariance`` smoothed")
SICSSmoothOrbitRange = _method(indicators.SmoothOrbitRange, "= ρ + α·φ(z), φ that of ``SICSOrbitRange`` smoothed")
SICSSmoothOrbitMean = _method(indicators.SmoothOrbitMean, "= ρ + α·φ(z), φ that of ``SICSOrbitMean`` smoothed")
SICSSine = _method(indicators.Sine, "= ρ + α·√2·sin(2πz)")
SICSWeierstrass = _method(indicators.Weierstrass, "= ρ + α·φ(z), φ Weierstrass's function, standardised")
SICSSpline = _method(indicators.Spline, "= ρ + α·φ(z), φ a random cubic spline from the seed ``curve``")
SICSMagnitudePower = _method(indicators.MagnitudePower, "= mᵖ, p the ``exponent``")
SICSRankIndicator = _method(indicators.RankIndicator, "= ρ + α·φ(ρ), φ the feature of the class ``of``")


class SICSAdaptive(AdaptiveMethod, SICSMethod):
    """Magnitude below S = 0.65, ``smooth_chaos`` to 0.75, ``chaos`` above; magnitude without a supplied saliency.

    ``table=`` replaces that by what the user's own runs say: :meth:`from_report`, :meth:`calibrate`. After a prune its ``choice``
    says what ran and why.
    """

    scorer_class, _unit = adaptive.Adaptive, "weight"


adaptive.AdaptiveTable.method = SICSAdaptive


def method_for(scorer: str) -> type[SICSMethod]:
    """The pruning method of a scorer's name, among all subclasses of :class:`SICSMethod` defined so far.

    Examples
    --------
    >>> method_for("chaos").__name__
    'SICSChaos'
    """
    return find_method(SICSMethod, scorer)
