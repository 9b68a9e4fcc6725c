"""Peers: published scorers, each as one short class with its formula, its source and what its source ranks against each other.

Each reads a signal of its own (``requires``), collected by :class:`~sics_plugin.Saliency` of that kind; ``m`` is the magnitude
and ``c`` that signal, both float64. None of them has a κ: they are compared with, not placed on the spectrum.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.registry import register_scorer
from sics_plugin.scorers.units import Units


class PeerScorer(Scorer):
    """s as a function of magnitude and one signal, unit by unit. Subclasses override :meth:`of` where s is not the signal."""

    role = "peer"

    def of(self, m: Tensor, c: Tensor) -> Tensor:
        """Scores of shape (n,), higher is kept."""
        return c

    def score(self, units: Units, sparsity: float) -> Tensor:  # noqa: D102
        if units.saliency is None or units.saliency_kind != self.requires:
            got = "none" if units.saliency is None else f"{units.saliency_kind!r}"
            batches = "" if self.requires in ("lamp", "relative") else "batches, loss, "  # those the weights say alone
            raise ValueError(
                f"scorer {self.name!r} needs {self.requires} saliency, got {got}: pass saliency=Saliency(model, {batches}"
                f"kind={self.requires!r}), or its .vector(params) to a pruning method of torch"
            )
        return self.of(units.magnitude.double(), units.saliency.double())

    def fingerprint(self, saliency_kind: str | None = None) -> dict[str, Any]:  # noqa: D102
        return {**super().fingerprint(saliency_kind), "signal": self.requires}


@register_scorer
class Snip(PeerScorer):
    """Connection sensitivity: s = |w·g|, g the gradient of the mean loss of all batches; of a unit |Σ w·g|."""

    name, summary, requires = "snip", "|w·g|, g = gradient of the mean loss", "snip"
    source = "Lee, Ajanthan & Torr 2019, SNIP (arXiv 1810.02340)"

    def of(self, m: Tensor, c: Tensor) -> Tensor:  # noqa: D102
        return c.abs()


@register_scorer
class Sensitivity(PeerScorer):
    """Movement-free saliency: s = E|w·g|, g the gradient of one sample; of a unit E|Σ w·g|."""

    name, summary, requires = "sensitivity", "E|w·g|, g = gradient of a sample", "sensitivity"
    source = "Michel, Levy & Neubig 2019, Are Sixteen Heads Really Better than One? (arXiv 1905.10650)"


@register_scorer
class Taylor(PeerScorer):
    """First-order Taylor: s = E(w·g)², g the gradient of one batch; of a unit E(Σ w·g)²."""

    name, summary, requires = "taylor", "E(w·g)², g = gradient of a batch", "taylor"
    source = "Molchanov et al. 2019, Importance Estimation for Neural Network Pruning (arXiv 1906.10771)"

    def of(self, m: Tensor, c: Tensor) -> Tensor:  # noqa: D102
        return c.square()


@register_scorer
class Fisher(PeerScorer):
    """Optimal brain damage with the Fisher diagonal: s = w²·E[g²]/2, g the gradient of one sample; of a unit the sum."""

    name, summary, requires = "fisher", "w²·E[g²]/2, g = gradient of a sample", "fisher"
    source = "LeCun, Denker & Solla 1990, Optimal Brain Damage; Fisher diagonal: Theis et al. 2018 (arXiv 1801.05787)"

    def of(self, m: Tensor, c: Tensor) -> Tensor:  # noqa: D102
        return c.square() / 2


@register_scorer
class Grasp(PeerScorer):
    """Gradient signal preservation: s = w·(Hg), the source's −w·(Hg) with its sign turned, because there the highest go.

    Of a unit the sum. Removing what has a low s makes the gradient's norm grow.
    """

    name, summary, requires = "grasp", "w·(Hg), H = Hessian", "grasp"
    source = "Wang, Zhang & Grosse 2020, GraSP (arXiv 2002.07376)"


@register_scorer
class SynFlow(PeerScorer):
    """Synaptic flow: s = |w|·∂R/∂|w|, R what an input of ones gives in the network of all |w|; of a unit the sum.

    As published, in rounds: the signal is then the order in which they remove the weights.
    """

    name, summary, requires = "synflow", "|w|·∂R/∂|w|, R = 1ᵀ∏|W|1, in rounds", "synflow"
    source = "Tanaka et al. 2020, SynFlow (arXiv 2006.05467)"


@register_scorer
class Lamp(PeerScorer):
    """Layer-adaptive magnitude: s = w²/Σv² over the weights v of the layer that are not smaller; of units with their norms."""

    name, summary, requires = "lamp", "w²/Σv² over |v| ≥ |w| in the layer", "lamp"
    source = "Lee et al. 2021, LAMP (arXiv 2010.07611)"


@register_scorer
class RelativeImportance(PeerScorer):
    """RI: s = m/(sum of its row) + m/(sum of its column)."""

    name, summary, requires = "ri", "m/Σrow + m/Σcolumn", "relative"
    source = "Zhang et al. 2024, Plug-and-Play (ICLR 2024, OpenReview Tr0lPx9woF)"
    pool, units = "layer", ("weight",)


@register_scorer
class Wanda(PeerScorer):
    """s = m·‖x‖, x the input feature that the weight reads."""

    name, summary, requires = "wanda", "m·‖x‖, x = the input it reads", "activation"
    source = "Sun et al. 2023, Wanda (arXiv 2306.11695)"
    pool, units = "row", ("weight",)

    def of(self, m: Tensor, c: Tensor) -> Tensor:  # noqa: D102
        return m * c


@register_scorer
class RelativeImportanceActivation(PeerScorer):
    """RIA: s = RI·‖x‖^½."""

    name, summary, requires = "ria", "(m/Σrow + m/Σcolumn)·√‖x‖", "relative_activation"
    source = "Zhang et al. 2024, Plug-and-Play (ICLR 2024, OpenReview Tr0lPx9woF)"
    pool, units = "layer", ("weight",)
