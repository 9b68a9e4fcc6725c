"""Choosing inside small groups of one weight: its output rows, or every M consecutive inputs of a row (N:M).

A scorer sees the whole layer, because ranks and the coordinate z need more units than a row or a group of four has; what is
ranked against each other is the group's own. For scores that are functions of one unit alone it makes no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sics_plugin.network.layouts import ROWS_FIRST, Layout
from sics_plugin.pruning.choose import Choice
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.units import SaliencyVector, units_of
from sics_plugin.selection.parts import Part


def choose_in_groups(
    scorer: Scorer,
    part: Part,
    amount: float,
    *,
    name: str,
    layout: Layout = ROWS_FIRST,
    pattern: tuple[int, int] | None = None,
    saliency_kind: str | None = None,
    sparsity: float | None = None,
    floor: int = 0,
) -> Choice:
    """Rank the units of each group of one weight, called ``name`` in errors, against each other and choose those that stay.

    ``amount`` is the fraction of every row's units still there that goes, round(amount·n). With a ``pattern`` (N, M) groups are M
    consecutive inputs (for a convolution input channels, at one place of the kernel), of which N are kept. ``floor`` units of the
    tensor stay at least. ``layout`` says what a row is.

    >>> from sics_plugin import build_scorer
    >>> weight = torch.tensor([[0.1, 0.2, 0.3, 0.4], [5.0, 7.0, 6.0, 8.0]])
    >>> choice = choose_in_groups(build_scorer("magnitude"), Part(weight), 0.5, name="weight")
    >>> next(choice.kept).view(2, 4).int().tolist()
    [[0, 0, 1, 1], [0, 1, 0, 1]]
    """
    shape = part.values.shape
    if len(shape) < 2:
        raise ValueError(f"Expected {name} to have rows, a weight of two dimensions or more, got shape {tuple(shape)}")
    flat, gone = part.flat(), part.gone()
    here = torch.ones_like(flat, dtype=torch.bool) if gone is None else ~gone
    there = _grouped(layout.rows(here.view(shape)), pattern, name).sum(1)
    if pattern is None:
        count = torch.tensor([round(amount * n) for n in there.tolist()], device=there.device)
    else:
        count = there - pattern[0]
        if bool((count < 0).any()):
            raise ValueError(
                f"{name} has groups of {pattern[1]} inputs with fewer than {pattern[0]} left: an earlier prune took them"
            )
    n, k = int(there.sum()), int(count.sum())
    if n - k < min(floor, n):
        raise ValueError(f"`min_keep` wants {floor} of {name} kept, but {n - k} stay: lower it, or `amount`")
    target = k / n if sparsity is None else sparsity
    vector = None if part.saliency is None else part.saliency()
    if vector is not None and saliency_kind is not None:
        vector = SaliencyVector(vector.as_subclass(Tensor), kind=saliency_kind)
    units = units_of(flat[here], vector)
    running = scorer.resolve(target, units.saliency_kind)
    score = running.score(units, target)
    if score.shape != units.magnitude.shape or not bool(torch.isfinite(score).all()):
        raise ValueError(
            f"Expected finite scores of shape {tuple(units.magnitude.shape)}, got {tuple(score.shape)}, or NaN or infinite"
        )
    removed = _lowest_of_each(
        _grouped(layout.rows(_spread(score.double(), here).view(shape)), pattern, name),
        _grouped(layout.rows(_spread(units.magnitude.double(), here).view(shape)), pattern, name),
        count,
    )
    rows = _ungrouped(removed, layout.shape_of_rows(shape), pattern)
    kept = here & ~layout.back(rows, shape).reshape(-1)
    return Choice.by(running, (kept,), n, units.saliency_kind)


def _spread(values: Tensor, here: Tensor) -> Tensor:
    """Back to all positions; what is gone comes last in every order."""
    full = torch.full(here.shape, torch.inf, dtype=values.dtype, device=here.device)
    full[here] = values.to(here.device)
    return full


def _lowest_of_each(score: Tensor, magnitude: Tensor, count: Tensor) -> Tensor:
    """True at the ``count`` lowest of every row; ties by lower magnitude, then the earlier position. All of one shape."""
    order = torch.argsort(magnitude, dim=1, stable=True)
    order = order.gather(1, torch.argsort(score.gather(1, order), dim=1, stable=True))
    place = torch.arange(score.shape[1], device=score.device).expand_as(order)
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, place < count.unsqueeze(1))


def _grouped(values: Tensor, pattern: tuple[int, int] | None, name: str) -> Tensor:
    """One row a group."""
    if pattern is None:
        return values.reshape(values.shape[0], -1)
    if values.shape[1] % pattern[1]:
        raise ValueError(
            f"{name} has rows of {values.shape[1]} inputs, which {pattern[1]} does not divide: leave it out, or take another M"
        )
    return values.movedim(1, -1).reshape(-1, pattern[1])


def _ungrouped(groups: Tensor, shape: tuple[int, ...], pattern: tuple[int, int] | None) -> Tensor:
    """In the shape of the rows again."""
    if pattern is None:
        return groups.reshape(shape)
    return groups.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
