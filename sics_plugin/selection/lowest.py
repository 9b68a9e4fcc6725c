"""Exactly-k selection: which units go, the same on every device and at any number of threads."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from sics_plugin.warn import warn_caller

#: Below as many units a few of them may well be meant.
SMALL = 1000


def check_amount(amount: object) -> None:
    """Refuse an ``amount`` that is not a fraction in [0, 1] or a non-negative whole number of units.

    torch's own check lets NaN and booleans through.

    >>> check_amount(1.3)
    Traceback (most recent call last):
    ...
    ValueError: Expected `amount` to be a fraction in [0, 1] or a whole number of units, got 1.3
    """
    expected = "Expected `amount` to be a fraction in [0, 1] or a whole number of units"
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise TypeError(f"{expected}, got {amount!r}")
    if isinstance(amount, Integral):
        if amount < 0:
            raise ValueError(f"{expected}, got {amount}")
    elif not 0.0 <= float(amount) <= 1.0:  # NaN fails this too
        raise ValueError(f"{expected}, got {amount}")


def warn_of_percent(amount: object, n: int, unit: str = "weight") -> None:
    """Say so where a whole number looks like per cent: 80 of 80 000 weights is 0.1 %. Pools below 1000 units are not looked at.

    >>> warn_of_percent(80, 900)
    """
    count = int(amount) if isinstance(amount, Integral) else 0
    if 1 <= count <= 100 and n >= SMALL and 100 * count < n:
        warn_caller(f"`amount` {count} is {count} {unit}{'s' * (count != 1)} of {n:,}; {count / 100} is {count} %")


def count_to_prune(amount: float | int, n: int) -> int:
    """How many of n units an ``amount`` removes: ``round(amount·n)`` (Python's round, as torch does) or the int itself.

    >>> count_to_prune(0.5, 5), count_to_prune(3, 5)
    (2, 3)
    """
    check_amount(amount)
    if not isinstance(amount, Integral):
        return round(float(amount) * n)
    if amount > n:
        raise ValueError(f"Expected `amount` to be at most the {n} units there are to prune, got {amount}")
    return int(amount)


def check_sparsity(sparsity: float | None) -> None:
    """Refuse a ``sparsity`` that is not a fraction in [0, 1].

    >>> check_sparsity(70)
    Traceback (most recent call last):
    ...
    ValueError: Expected `sparsity` to be a fraction in [0, 1], got 70
    """
    if sparsity is None:
        return
    if isinstance(sparsity, bool) or not isinstance(sparsity, Real) or not 0 <= sparsity <= 1 or math.isnan(sparsity):
        raise ValueError(f"Expected `sparsity` to be a fraction in [0, 1], got {sparsity!r}")


def lowest(score: Tensor, magnitude: Tensor, k: int) -> Tensor:
    """Mark exactly k units, bool of shape (n,): the lowest finite scores; ties by lower magnitude, then the earlier position.

    >>> lowest(torch.tensor([1.0, 0.0, 1.0, 2.0]), torch.tensor([5.0, 9.0, 4.0, 1.0]), k=2).tolist()
    [False, True, True, False]
    """
    n = score.numel()
    if score.shape != magnitude.shape or score.dim() != 1:
        raise ValueError(f"Expected one score per unit, shape ({magnitude.numel()},), got {tuple(score.shape)}")
    if not 0 <= k <= n:
        raise ValueError(f"Expected 0 <= k <= {n}, got {k}")
    if score.device.type != "cpu" and 0 < k < n:
        return _lowest_there(score, magnitude, k)
    if not bool(torch.isfinite(score).all()):
        raise _infinite(score)
    if k == 0 or k == n:
        return torch.full_like(score, k == n, dtype=torch.bool)
    kth = _kth_lowest(score, k)
    removed = score < kth
    tied = (score == kth).nonzero().squeeze(1)
    missing = k - int(removed.sum())
    if missing < tied.numel():
        tied = tied[torch.argsort(magnitude[tied], stable=True)[:missing]]
    removed[tied] = True
    return removed


def _lowest_there(score: Tensor, magnitude: Tensor, k: int) -> Tensor:
    """The same on an accelerator: one sort, since CUDA's kthvalue refuses deterministic mode, and one fetch."""
    ordered, order = torch.sort(score + 0.0, stable=True)  # -0.0 and 0.0 are one number
    kth = ordered[k - 1]
    removed = score < kth
    unusable = (~torch.isfinite(score)).any()
    infinite, below, tied = torch.stack([unusable.long(), removed.sum(), (score == kth).sum()]).tolist()
    if infinite:
        raise _infinite(score)
    place = order[below : below + tied]  # of equal scores, by position
    if below + tied > k:
        place = place[torch.argsort(magnitude[place], stable=True)[: k - below]]
    return removed.index_fill_(0, place, True)


def _infinite(score: Tensor) -> ValueError:
    return ValueError(f"Expected finite scores, got {int((~torch.isfinite(score)).sum())} NaN or infinite of {score.numel()}")


def _kth_lowest(score: Tensor, k: int) -> Tensor:
    """The k-th lowest value (from 1), the same whatever algorithm finds it."""
    if score.dtype not in (torch.float32, torch.float64):
        return torch.kthvalue(score, k).values
    return torch.from_numpy(np.partition(score.detach().numpy(), k - 1)[k - 1 : k])[0]  # a seventh of kthvalue's time


def lowest_with_floor(score: Tensor, magnitude: Tensor, k: int, sizes: list[int], floors: list[int]) -> Tensor:
    """As :func:`lowest`, but of consecutive segments (layers) of these sizes each keeps at least its floor: its best units.

    >>> s = torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> lowest_with_floor(s, s, k=2, sizes=[2, 2], floors=[1, 1]).tolist()
    [True, False, True, False]
    """
    if not any(floors):
        return lowest(score, magnitude, k)
    segments = zip(score.split(sizes), magnitude.split(sizes), floors, strict=True)
    reach = [lowest(part, own, max(0, part.numel() - floor)) for part, own, floor in segments]
    within_reach = torch.cat(reach).nonzero().squeeze(1)
    if k > within_reach.numel():
        raise ValueError(
            f"`min_keep` leaves {within_reach.numel()} of {score.numel()} units to remove, but `amount` asks for {k}: "
            "lower one of them"
        )
    removed = torch.zeros_like(score, dtype=torch.bool)
    removed[within_reach] = lowest(score[within_reach], magnitude[within_reach], k)
    return removed
