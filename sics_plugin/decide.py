"""One decision: which units of one pool go. Shared by torch's per-vector methods and the whole-model functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sics_plugin.registry import Scorer, Units
from sics_plugin.scorers import CoordinateScorer, RankScorer
from sics_plugin.selection import count_to_prune, lowest, lowest_with_floor


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What goes from a pool of n units, and why.

    ``removed`` is bool of shape (n,); ``threshold`` the highest removed score, None if nothing went; ``scorer`` the one that ran;
    ``alpha`` and ``saliency_kind`` those in force, None where they play no part.
    """

    removed: Tensor
    threshold: float | None
    scorer: Scorer
    alpha: float | None
    saliency_kind: str | None
    flags: tuple[str, ...]


def decide(
    scorer: Scorer,
    units: Units,
    amount: float | int,
    *,
    sparsity: float | None = None,
    sizes: Sequence[int] = (),
    floors: Sequence[int] = (),
) -> Decision:
    """Score a pool and mark the lowest.

    Parameters
    ----------
    scorer, units
    amount : float or int
        Fraction of the pool, or number of its units, that goes.
    sparsity : float, optional
        What features that depend on S are told; default: the fraction that goes.
    sizes, floors : sequence of int, optional
        Lengths of the layers in the pool and what each keeps at least.

    Examples
    --------
    >>> import torch
    >>> from sics_plugin import build_scorer
    >>> decide(build_scorer("magnitude"), Units(torch.tensor([0.3, 0.1, 0.2])), 1).removed.tolist()
    [False, True, False]
    """
    n = units.magnitude.numel()
    k = count_to_prune(amount, n)
    target = k / n if sparsity is None else sparsity
    running = scorer.resolve(target, units.saliency_kind)
    score = running.score(units, target)
    if any(floors):
        removed = lowest_with_floor(score, units.magnitude, k, list(sizes), list(floors))
    else:
        removed = lowest(score, units.magnitude, k)
    default_kind = "neighbourhood" if isinstance(running, CoordinateScorer) else None
    return Decision(
        removed=removed,
        threshold=float(score.masked_fill(~removed, float("-inf")).max()) if k else None,
        scorer=running,
        alpha=running.strength(units.saliency_kind) if isinstance(running, RankScorer) else None,
        saliency_kind=units.saliency_kind or default_kind,
        flags=running.flags(n),
    )
