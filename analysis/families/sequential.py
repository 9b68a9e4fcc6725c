"""A family of scorers at several looks: closed testing over scorers and looks together.

At a look, the m lines that are left are tested by rotation max-T at the nominal level of this look for m lines. A line that is
rejected leaves, and the looks are asked again about those that remain, at the higher levels of a smaller family. Every p is
turned into the overall alpha at which it rejects (`repeated_p`), so that the adjusted p that comes out is valid at every level,
wherever the run stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from sics_analysis.families.family import (
    RAGGED_LOOKS,
    ROTATION_LOOKS,
    SIGN,
    Direction,
    FamilyLine,
    FamilyLook,
    FamilyResult,
    Method,
    one_sided,
    why_degenerate,
)
from sics_analysis.families.multiplicity import holm
from sics_analysis.families.rotation import MaxAbs, Projection, sorted_rows
from sics_analysis.looks.levels import critical_value
from sics_analysis.one_scorer.student import p_above
from sics_analysis.results import Interval, Seed, plural
from sics_analysis.rows.contrasts import Contrast, FloatArray
from sics_analysis.rows.looked import Look, LookedContrast

_TIE = 1e-12  # cosines closer than this are one
BONFERRONI = "repeated Bonferroni t"
JOINT = "repeated rotation max-|T|"
Left: TypeAlias = frozenset[int]


@dataclass(slots=True)
class _LookTest:
    """One look at a family: the p of every line, given which lines are left.

    Columns that share their seeds are rotated together. A line outside `place` is tested by itself, with Bonferroni over the
    lines left: Holm's procedure with each line's exact boundary. So is one whose differences take two adjacent counts, beside
    its rotation, and the larger p counts.
    """

    looks: Mapping[int, Look]
    t_p: Mapping[int, float]  # exact one-sided p of t, of the columns that are rotated
    own_p: Mapping[int, float]  # of the others, and of two adjacent counts
    place: Mapping[int, int]  # of a line among the rotated columns
    cosines: FloatArray  # (columns, draws)
    bars: FloatArray  # (columns,)
    _known: dict[tuple[int, Left], float] = field(default_factory=dict)

    def repeated(self, line: int, left: Left) -> float | None:
        """The overall alpha at which a line is rejected here; None without a test."""
        if line not in self.looks:
            return None
        look, found = self.looks[line], 0.0
        if line in self.place:
            found = look.repeated(self._rotated(line, left), len(left))
        if line in self.own_p:
            found = max(found, min(1.0, len(left) * look.repeated(self.own_p[line])))
        return found

    def told(self, line: int, left: Left, alpha: float) -> tuple[float, float]:
        """The p that decides, and the nominal level it is compared with."""
        look, m = self.looks[line], len(left)
        alone = line in self.own_p and (
            line not in self.place or m * look.repeated(self.own_p[line]) >= look.repeated(self._rotated(line, left), m)
        )
        if alone:
            return self.own_p[line], look.level(alpha / m)
        return self._rotated(line, left), look.level(alpha, m)

    def _rotated(self, line: int, left: Left) -> float:
        """Step-down p of the rotations over the columns left, never below the exact p of the line's own t."""
        columns = left & frozenset(self.place)
        if len(columns) == 1:
            return self.t_p[line]
        if (line, columns) not in self._known:
            largest = self.cosines[sorted(self.place[other] for other in columns)].max(axis=0)
            for other in columns:
                share = float(np.mean(largest >= self.bars[self.place[other]]))
                self._known[other, columns] = max(share, self.t_p[other])
        return self._known[line, columns]


def closed_p(tests: Mapping[int, Sequence[_LookTest]]) -> dict[int, float]:
    """Adjusted p of every line that some look tests; `tests` has the looks that count for each line.

    Of the lines left, the one that a look gives the smallest repeated p is rejected, at that overall alpha and not below the one
    before; then the same among the others. A smaller family has no larger p and no lower levels, so that at any alpha this
    finds all that can be rejected (Goeman and Solari 2010, The sequential rejection principle).
    """
    left, reached = frozenset(tests), 0.0
    adjusted: dict[int, float] = {}
    while left:
        found = ((test.repeated(line, left), line) for line in sorted(left) for test in tests[line])
        offers = [(p, line) for p, line in found if p is not None]
        if not offers:
            break
        smallest, line = min(offers)
        reached = max(reached, smallest)
        adjusted[line] = reached
        left -= {line}
    return adjusted


def sequential_family(
    contrasts: Sequence[LookedContrast],
    margin: float,
    *,
    direction: Direction,
    alpha: float,
    rng: np.random.Generator,
    draws: int,
) -> FamilyResult:
    """`max_t_family` for contrasts that are looked at more than once.

    All lines count until they are rejected, those included that have no test yet, are equivalent or hopeless. Where the scorers
    of a look miss different seeds, every line of it has its own boundary, at alpha over the number of lines left. The family-wise
    error of the rotation at these levels is simulated in `bench/calibration.py`, that of the other is proved.

    Each look has random numbers of its own, so that one that was made is made again with the same result.

    >>> from sics_analysis.looks.design import LookPlan
    >>> from sics_analysis.rows.contrasts import differences
    >>> from sics_analysis.rows.looked import looked_contrast
    >>> values = {"chaos": [1.9, 2.1, 2.6, 1.7, 2.2, 2.0, 1.9, 2.3], "bump": [0.1, -0.2, 0.3, 0.0, 0.2, 0.1, 0.2, -0.1]}
    >>> family = [looked_contrast(differences(d, name=name), LookPlan(20), range(20), 2) for name, d in values.items()]
    >>> found = sequential_family(family, 0.5, direction="above", alpha=0.05, rng=np.random.default_rng(0), draws=2_000)
    >>> found.rejected, [round(look.level, 5) for look in found["chaos"].looks]
    (('chaos',), [0.0125, 0.01009])
    """
    sign, root, m = SIGN[direction], int(rng.integers(2**63)), len(contrasts)
    tests: dict[int, _LookTest] = {}
    shared, critical = True, None
    for number in sorted({look.number for c in contrasts for look in c.looks}):
        looks = {i: look for i, c in enumerate(contrasts) for look in c.looks if look.number == number}
        tests[number], joint, together = _look_test(looks, margin, sign, np.random.default_rng([root, number]), draws, alpha, m)
        shared, critical = shared and together, joint if together else None
    by_look: dict[int, list[FamilyLook]] = {i: [] for i in range(m)}
    for number in tests:
        adjusted = closed_p({i: [tests[k] for k in _counting(c, number)] for i, c in enumerate(contrasts)})
        still = frozenset(i for i in range(m) if adjusted.get(i, 1.0) > alpha)
        for i in range(m):
            left, test = still | {i}, tests[number]
            p, level = test.told(i, left, alpha) if i in test.looks else (None, None)
            by_look[i].append(FamilyLook(number, p, level, test.repeated(i, left), adjusted.get(i), len(left)))
    own = [p_above(c if sign > 0 else c.mirrored(), margin) for c in contrasts]
    last = max(tests, default=0)
    lines = [
        _line(c, margin, direction, alpha, m, critical if i in tests[last].place else None, own[i], cross, tuple(by_look[i]))
        if tests
        else FamilyLine(c, None, None, None, None, None, None, None, True, why_degenerate(c))
        for i, (c, cross) in enumerate(zip(contrasts, holm(own), strict=True))
    ]
    held = [c for c in contrasts if c.has_test] or list(contrasts)
    common = set[Seed]().union(*(c.seeds for c in held[:1])).intersection(*({*c.seeds} for c in held[1:]))
    seeds = tuple(seed for seed in held[0].seeds if seed in common) if held else ()
    method: Method = ROTATION_LOOKS if shared else RAGGED_LOOKS
    return FamilyResult(tuple(lines), margin, direction, alpha, seeds, draws, critical, None, method)


def _counting(c: LookedContrast, number: int) -> list[int]:
    """The looks up to one that count for a contrast: what equal differences show is said anew at each, and not kept."""
    made = [look for look in c.looks if look.number <= number]
    return [look.number for look in made if look is made[-1] or not look.contrast.is_constant]


def _look_test(
    looks: Mapping[int, Look], margin: float, sign: int, rng: np.random.Generator, draws: int, alpha: float, m: int
) -> tuple[_LookTest, float | None, bool]:
    """The test of one look, the critical value of its simultaneous intervals, and whether its columns share their seeds."""
    tested = {i: look for i, look in looks.items() if look.contrast.has_test}
    columns = [i for i, look in tested.items() if not look.contrast.is_constant]
    together = len({(tested[i].contrast.seeds, tested[i].counts) for i in columns}) <= 1
    rotated = columns if together else []
    own = {i: _own_p(look.contrast, margin, sign) for i, look in tested.items() if i not in rotated or look.contrast.is_adjacent}
    if not rotated:
        return _LookTest(tested, {}, own, {}, np.zeros((0, 0)), np.zeros(0)), None, together
    contrasts = [tested[i].contrast for i in rotated]
    n, place, last = contrasts[0].n, {i: j for j, i in enumerate(rotated)}, tested[rotated[0]]
    t_p = dict(zip(rotated, one_sided(contrasts, margin, sign)[1].tolist(), strict=True))
    single = critical_value(n, last.level(alpha / 2))
    if len(rotated) == 1:
        return _LookTest(tested, t_p, own, place, np.zeros((0, 0)), np.zeros(0)), single, True
    space = Projection(sorted_rows(sign * np.column_stack([c.values for c in contrasts]) - margin))
    cosines, largest, done = np.empty((len(rotated), draws)), MaxAbs(space.centred, n), 0
    unit = space.columns / np.sqrt((space.columns**2).sum(axis=0))
    for chunk in space.directions(draws, rng):
        cosines[:, done : done + len(chunk)] = unit.T @ chunk.T
        largest.add(chunk)
        done += len(chunk)
    level = last.level(alpha / 2, m)
    # A quantile beyond the draws is not known from them; Bonferroni's, which is never too small, takes its place.
    joint = largest.quantile(1 - 2 * level) if 2 * level * draws >= 1 else critical_value(n, last.level(alpha / (2 * m)))
    return _LookTest(tested, t_p, own, place, cosines, cosines[:, 0] - _TIE), max(joint, single), True


def _own_p(c: Contrast, margin: float, sign: int) -> float:
    p = p_above(c if sign > 0 else c.mirrored(), margin)
    assert p is not None  # it has a test
    return p


def _line(
    c: LookedContrast,
    margin: float,
    direction: Direction,
    alpha: float,
    m: int,
    critical: float | None,
    own: float | None,
    cross: float | None,
    looks: tuple[FamilyLook, ...],
) -> FamilyLine:
    adjusted = looks[-1].p_adjusted
    if not c.has_test or c.is_constant:
        return FamilyLine(c, None, own, adjusted, cross, None, None, None, True, why_degenerate(c), looks)
    mean, se = c.spread
    t = float(one_sided([c], margin, SIGN[direction])[0][0])
    reach = se * (critical_value(c.n, c.level(alpha / (2 * m))) if critical is None else critical)
    interval = Interval(mean - reach, mean + reach, 1 - alpha, BONFERRONI if critical is None else JOINT)
    bound = f"{'+' if direction == 'above' else '−'}{margin:g}" if margin else "0"
    reason = f"tested {direction} {bound} among {plural(m, 'scorer')} at {plural(len(c.looks), 'look')}"
    return FamilyLine(c, t, own, adjusted, cross, None, None, interval, False, reason, looks)
