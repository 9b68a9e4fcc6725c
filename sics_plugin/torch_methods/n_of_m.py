"""N:M masks in torch's own form: of every M consecutive inputs of a row, N are kept, by any scorer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from sics_plugin.network.masks import masked_copy
from sics_plugin.pruning.plan import scorer_of
from sics_plugin.pruning.row_groups import choose_in_groups
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers import sics
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.units import kind_of
from sics_plugin.selection.parts import Part
from sics_plugin.selection.pools import check_n_m
from sics_plugin.torch_methods.base import ScorerMethod
from sics_plugin.torch_methods.unstructured import select


class SICSNofM(ScorerMethod):
    """Any scorer's N:M mask through torch's contract: of every M consecutive inputs of a row, N are kept.

    Works as ``SICSNofM.apply(module, "weight", 2, 4)`` and ``SICSNofM(2, 4).prune(tensor)``. torch's
    ``global_unstructured`` refuses it, rightly: it hands over a vector without rows. Its type is "global" in torch's words,
    which is what makes a chain of prunes hand over the whole tensor.

    Parameters
    ----------
    n, m : int
    scorer : str or Scorer
        A registered name, or an instance.
    saliency : Tensor, optional
        One value an entry still there, or in the shape of the tensor.
    **parameters
        The scorer's own.

    Examples
    --------
    >>> import torch
    >>> SICSNofM(1, 2).prune(torch.tensor([[0.3, -0.4, 0.2, 0.1]])).ne(0).int().tolist()
    [[0, 1, 1, 0]]
    """

    PRUNING_TYPE = "global"

    scorer_class = sics.Magnitude

    def __init__(
        self, n: int = 2, m: int = 4, scorer: str | Scorer = "magnitude", saliency: Tensor | None = None, **parameters: Any
    ) -> None:
        self.n, self.m = check_n_m(n, m)
        super().__init__(1 - n / m, saliency)
        self.scorer = scorer_of(scorer, parameters)[1]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The new mask, like ``default_mask`` with zeros at what goes; both of the weight's own shape."""
        self._check_call(t, default_mask)
        vector, kind = self.saliency, None
        if vector is not None:
            kind = kind_of(vector)
            vector = vector if vector.shape != t.shape else select(vector, (default_mask != 0).reshape(-1))
        part = Part(t.detach(), default_mask.detach(), None if vector is None else lambda: vector)
        pattern = self.n, self.m
        choice = choose_in_groups(self.scorer, part, 1 - self.n / self.m, name="the weight", pattern=pattern, saliency_kind=kind)
        self._release()
        return masked_copy(default_mask, next(choice.kept).view(default_mask.shape))

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        n: int = 2,
        m: int = 4,
        scorer: str | Scorer = "magnitude",
        importance_scores: Tensor | None = None,
        *,
        saliency: Saliency | Tensor | None = None,
        **parameters: Any,
    ) -> BasePruningMethod:
        """Prune one tensor in place in torch's own manner: ``name_orig``, ``name_mask`` and a forward pre-hook.

        Examples
        --------
        >>> layer = nn.Linear(8, 2)
        >>> _ = SICSNofM.apply(layer, "weight", 2, 4)
        >>> layer.weight_mask.view(-1, 4).sum(1).tolist()
        [2.0, 2.0, 2.0, 2.0]
        """
        if isinstance(saliency, Saliency):
            saliency = saliency.vector([(module, name)])
        return cls._apply(module, name, n, m, scorer, saliency=saliency, importance_scores=importance_scores, **parameters)
