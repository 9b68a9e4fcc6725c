"""How much of one mask another mask keeps."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def jaccard(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> float:
    """Jaccard index of the kept units of two masks over the same parameters: kept by both over kept by either.

    Parameters
    ----------
    one, two : mapping of parameter name to bool Tensor
        True where a unit is kept.

    Raises
    ------
    ValueError
        The masks do not name the same parameters.

    Notes
    -----
    1.0 where neither keeps anything: two empty sets are the same set.

    Examples
    --------
    >>> jaccard({"w": torch.tensor([True, True, False, False])}, {"w": torch.tensor([True, False, True, False])})
    0.3333333333333333
    """
    if one.keys() != two.keys():
        raise ValueError(f"the masks name different parameters: {', '.join(sorted(one.keys() ^ two.keys()))}")
    both = sum(int(torch.count_nonzero(one[name] & two[name])) for name in one)
    either = sum(int(torch.count_nonzero(one[name] | two[name])) for name in one)
    return both / either if either else 1.0
