"""What a saliency says of itself where it says nothing: zero, constant, at rounding level, of weights no batch reached."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

ZERO = "saliency zero everywhere"
CONSTANT = "saliency constant"
AT_ROUNDING = "saliency at rounding level"


def listed(names: Collection[str], most: int = 4) -> str:
    """A few names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    shown = list(names)[:most]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def flags_of(values: Iterable[Tensor], at_rounding: bool) -> tuple[str, ...]:
    """What is to be said of the values of a whole collection, matrix weights if there are any."""
    every = [v.detach() for v in values if v.numel()]
    ranked = [v for v in every if v.dim() > 1] or every
    if not ranked:
        return ()
    low, high = (torch.stack([f(v).double().cpu() for v in ranked]) for f in (torch.min, torch.max))
    if float(low.min()) == 0 == float(high.max()):
        return (ZERO,)
    if at_rounding:
        return (AT_ROUNDING,)
    return (CONSTANT,) if float(low.min()) == float(high.max()) and sum(v.numel() for v in ranked) > 1 else ()


def zero_weights(values: Mapping[str, Tensor]) -> list[str]:
    """Names of matrix weights whose saliency is zero all over."""
    return [name for name, v in values.items() if v.dim() > 1 and v.numel() and not bool(v.any())]
