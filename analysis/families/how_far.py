"""How far can one prune: for each scorer the largest S at which it is shown not worse than the dense network by δ.

Along S the tests of one scorer are a fixed sequence: from the lowest S up, each at the scorer's own level, until the first that
fails (Maurer, Hothorn and Lehmacher 1995). Over m scorers each begins with α/m, and a scorer whose whole sequence passes hands
its level on to those that are left, as in Holm's procedure, which this is when there is one S. Holm on the last p of each
sequence would not do: a scorer that stops early by a tiny p has made a claim, but may still make a false one, so its level
cannot be spent twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scipy import special

from sics_analysis.one_scorer.student import p_above
from sics_analysis.results import HowFar, HowFarStep, check_alpha, check_delta
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast
from sics_analysis.rows.degenerate import exact_bound, exact_p


def how_far(sequences: Mapping[str, Sequence[Contrast]], delta: float, *, alpha: float = 0.05) -> tuple[HowFar, ...]:
    """Find the largest S up to which each scorer is shown not worse than the reference by `delta`.

    Parameters
    ----------
    sequences
        For each scorer its contrasts against the dense network, one an S. An S without any seed is a gap, which is not tested
        and not claimed: the sequence goes on behind it.
    delta
        Margin in points: a test asks whether the difference lies above −delta. Where it is below the noise floor of a contrast
        nothing is tested, and the sequence ends.
    alpha
        Chance of any false claim, over all scorers and values of S.

    Raises
    ------
    ValueError
        If an S comes twice in a sequence or a contrast has none.

    Notes
    -----
    The graph of Bretz, Maurer, Brannath and Posch (2009) with edges only from the end of one sequence to the starts of the
    others. At the first false claim no scorer with a true null has passed its whole sequence, so that those f scorers are tested
    at α/f at most each, and Bonferroni holds them. Constant differences, and those of two adjacent counts, take the exact p.

    Examples
    --------
    >>> from sics_analysis.rows.contrasts import differences
    >>> at = {0.5: [0.1, -0.1, 0.0, 0.2, 0.1], 0.7: [-0.1, 0.0, -0.2, -0.1, 0.1], 0.9: [-3.0, -2.0, -4.0, -2.5, -3.5]}
    >>> (found,) = how_far({"chaos": [differences(d, sparsity=S) for S, d in at.items()]}, 0.5)
    >>> found.reached
    0.7
    """
    check_delta(delta)
    check_alpha(alpha)
    tested = {name: _ordered(name, contrasts) for name, contrasts in sequences.items()}
    p_values = {name: [_p(c, delta) for c in contrasts] for name, contrasts in tested.items()}
    level = {name: alpha / max(1, len(tested)) for name in tested}
    left = set(tested)
    while True:
        done = {name for name in left if p_values[name] and all(p is not None and p <= level[name] for p in p_values[name])}
        if not done:
            break
        left -= done
        for name in left:
            level[name] = alpha / len(left)
    found = []
    for name, contrasts in tested.items():
        passed = _passing(p_values[name], level[name])
        alone = _passing(p_values[name], alpha)
        steps = tuple(
            HowFarStep(float(c.sparsity or 0.0), c.n, c.mean, _bound(c, level[name]), p, i < passed, i < alone)
            for i, (c, p) in enumerate(zip(contrasts, p_values[name], strict=True))
        )
        reference = contrasts[0].reference if contrasts else ""
        last = max((step.sparsity for step in steps), default=0.0)
        gaps = tuple(sorted(c.sparsity for c in sequences[name] if not c.n and c.sparsity is not None and c.sparsity < last))
        found.append(HowFar(name, reference, delta, level[name], len(tested), steps, gaps))
    return tuple(found)


def _ordered(name: str, contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with seeds, by S."""
    if any(c.sparsity is None for c in contrasts) or len({c.sparsity for c in contrasts}) < len(contrasts):
        raise ValueError(f"Expected one contrast a sparsity of {name!r}, got {', '.join(str(c.sparsity) for c in contrasts)}")
    return sorted((c for c in contrasts if c.n), key=lambda c: c.sparsity or 0.0)


def _p(c: Contrast, delta: float) -> float | None:
    """One-sided p of "above −delta"; None below three seeds, in the noise, and for unpaired seeds without a spread."""
    if c.n < MIN_SEEDS or delta < c.noise_floor:
        return None
    if c.has_test:
        return p_above(c, -delta)
    return c.repeated(exact_p(c, -delta)) if c.paired else None


def _bound(c: Contrast, level: float) -> float | None:
    """One-sided lower bound at 1 − level."""
    mean, se = c.mean, c.se
    if c.n < MIN_SEEDS or mean is None or se is None or not c.level(level):
        return None
    found = mean if se == 0.0 else mean + float(special.stdtrit(c.df, c.level(level))) * se
    exact = exact_bound(c, c.level(level)) if c.paired and (c.is_constant or c.is_adjacent) else None
    return found if exact is None else min(found, exact)


def _passing(p_values: Sequence[float | None], level: float) -> int:
    """How many of the sequence pass before the first that does not."""
    return next((i for i, p in enumerate(p_values) if p is None or p > level), len(p_values))
