"""Which units are ranked against each other, and how much goes from each layer.

The words of ``pool=``: "global" (all units of the model), "layer" (those of a layer, the same fraction from each: uniform
allocation), "layer-rank" (ranks of a layer's units among themselves, one cut through all of them), "erk" (those of a layer,
fractions by Erdős-Rényi-Kernel), "row" (those of one output row of a weight), "N:M" (every M consecutive inputs of a row, of
which N are kept).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from numbers import Integral

from sics_plugin.selection.lowest import count_to_prune

POOLS = ("global", "layer", "layer-rank", "row", "erk")
#: Pools in which one cut goes through all units of the model, and how much each layer loses is what falls.
ONE_CUT = ("global", "layer-rank")
#: Pools that can give a number of units of the whole: the others lose a fraction of each layer, row or group.
BY_NUMBER = (*ONE_CUT, "erk")
_ACCEPTED = "'global', 'layer', 'layer-rank', 'row', 'erk' or 'N:M' such as '2:4'"
_N_OF_M = re.compile(r"(\d+):(\d+)")


def n_of_m(pool: str) -> tuple[int, int] | None:
    """(N, M) of a pool called "N:M", else None.

    >>> n_of_m("2:4"), n_of_m("layer")
    ((2, 4), None)
    """
    found = _N_OF_M.fullmatch(pool) if isinstance(pool, str) else None
    return None if found is None else check_n_m(int(found[1]), int(found[2]))


def check_n_m(n: int, m: int) -> tuple[int, int]:
    """Refuse a pattern that is not two whole numbers with 0 < n < m.

    >>> check_n_m(4, 4)
    Traceback (most recent call last):
    ...
    ValueError: Expected 0 < n < m for an n:m mask, got 4:4
    """
    for name, value in (("n", n), ("m", m)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"Expected `{name}` to be a whole number, got {value!r}")
    if not 0 < n < m:
        raise ValueError(f"Expected 0 < n < m for an n:m mask, got {n}:{m}")
    return int(n), int(m)


def pools_of(count: int, pool: str) -> list[list[int]]:
    """Which of ``count`` layers share a cut, as positions.

    >>> pools_of(2, "global"), pools_of(2, "row")
    ([[0, 1]], [[0], [1]])
    """
    if pool in ONE_CUT:
        return [list(range(count))]
    if pool in POOLS or n_of_m(pool) is not None:
        return [[i] for i in range(count)]
    raise ValueError(f"Expected `pool` to be {_ACCEPTED}, got {pool!r}")


def check_amount_for(pool: str, amount: float | int) -> None:
    """Refuse an ``amount`` that a pool cannot give: numbers of units for what goes by fractions, another fraction than N:M's."""
    if pool in ("layer", "row") and isinstance(amount, Integral):
        raise ValueError(f"Expected `amount` to be a fraction for pool={pool!r}, got {amount!r}")
    if (pattern := n_of_m(pool)) is not None:
        n, m = pattern
        if isinstance(amount, Integral) or not math.isclose(float(amount), 1 - n / m, abs_tol=1e-9):
            raise ValueError(f"Expected `amount` to be {1 - n / m:g}, what pool={pool!r} removes, got {amount!r}")


def erk_removals(
    shapes: Sequence[tuple[int, ...]],
    amount: float | int,
    *,
    sizes: Sequence[int] | None = None,
    present: Sequence[int] | None = None,
) -> list[int]:
    """How many units go from each layer under Erdős-Rényi-Kernel densities (Evci et al. 2020); exactly ``amount`` in all.

    ``shapes`` of the weights are (out, in, *kernel). A layer's density is ε·(out + in + kernel sizes)/(out·in·kernel sizes) for
    one ε, and 1 where that is above what the layer has left. A layer has ``sizes`` units (default: one a weight), of which
    ``present`` are still there (default: all).

    >>> erk_removals([(100, 100), (10, 10)], 0.5)    # densities 0.5 and 1, to the nearest whole numbers
    [5050, 0]
    """
    if flat := [shape for shape in shapes if len(shape) < 2]:
        raise ValueError(f"Expected weights of two dimensions or more for pool='erk', got shape {flat[0]}")
    sizes = [math.prod(shape) for shape in shapes] if sizes is None else sizes
    left = list(sizes if present is None else present)
    kept = sum(left) - count_to_prune(amount, sum(left))
    # Exact fractions: the same whole numbers on every machine.
    wish = [size * Fraction(sum(shape), max(1, math.prod(shape))) for shape, size in zip(shapes, sizes, strict=True)]
    full = [n == 0 for n in left]
    while True:
        rest = kept - sum(n for n, f in zip(left, full, strict=True) if f)
        weight = sum(w for w, f in zip(wish, full, strict=True) if not f)
        epsilon = Fraction(rest) / weight if weight else Fraction(0)
        over = [not f and epsilon * w > n for n, w, f in zip(left, wish, full, strict=True)]
        if not any(over):
            break
        full = [f or o for f, o in zip(full, over, strict=True)]
    exact = [Fraction(n) if f else epsilon * w for n, w, f in zip(left, wish, full, strict=True)]
    keeps = [math.floor(x) for x in exact]
    # The whole numbers below, then one more for the largest remainders, the earlier layer first.
    order = sorted(range(len(exact)), key=lambda i: (keeps[i] - exact[i], i))
    for i in [i for i in order if keeps[i] < left[i]][: kept - sum(keeps)]:
        keeps[i] += 1
    return [n - k for n, k in zip(left, keeps, strict=True)]
