"""Differences of two adjacent counts: the error of every one-sided test, enumerated over all true means between two counts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from sics_analysis.families.how_far import how_far
from sics_analysis.families.max_t import degrade_test, escape_test
from sics_analysis.families.run_wide import run_wide
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.signflip import sign_flip_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import verdict
from sics_analysis.results import Level, Verdict
from sics_analysis.rows.contrasts import Contrast, differences
from sics_analysis.rows.degenerate import exact_bound, exact_p
from sics_analysis.study.analyse import analyse

ALPHA, EXAMPLES = 0.05, 200  # half a point an example
ONE = 100 / EXAMPLES
CHANCES = [i / 100 for i in range(1, 100)]


def counts(n: int, high: int, low: int = 1) -> Contrast:
    """n differences of `low` test examples, `high` of them of one more."""
    return differences([ONE * (low + (i < high)) for i in range(n)], examples=EXAMPLES, name="chaos", sparsity=0.7)


def false(n: int, q: float, rejects: list[bool]) -> float:
    """The chance of a rejection where each of n seeds has the higher count with chance q: the true mean is the margin."""
    return float(np.dot(stats.binom.pmf(range(n + 1), n, q), rejects))


@cache
def p_t(n: int, high: int, q: float) -> float:
    """The t p of "above q" of n values 0 and 1."""
    if high in (0, n):
        return 0.5**n if high else 1.0
    mean, se = high / n, np.sqrt(high * (n - high) / (n * (n - 1)) / n)
    return float(special.stdtr(n - 1, (q - mean) / se))


@pytest.mark.parametrize("n", range(3, 13))
def test_every_half_keeps_its_level_wherever_the_margin_lies_between_two_counts(n: int) -> None:
    """NONINFERIOR, ESCAPES and their mirror images; EQUIVALENT is no more often shown than one of its halves."""
    rows = [counts(n, high) for high in range(n + 1)]
    mirrored = [row.mirrored() for row in rows]
    for q in CHANCES:
        margin = ONE * (1 + q)
        assert false(n, q, [p_above(row, margin) <= ALPHA for row in rows]) <= ALPHA
        assert false(n, q, [p_below(row, -margin) <= ALPHA for row in mirrored]) <= ALPHA
        assert false(n, q, [p_below(row, margin) <= ALPHA for row in rows]) <= ALPHA
        shown = [equivalence_test(row, margin, alpha=ALPHA).verdict for row in rows]
        assert false(n, q, [found in (Verdict.EQUIVALENT, Verdict.NONSUPERIOR) for found in shown]) <= ALPHA
        shown = [equivalence_test(row, margin, alpha=ALPHA).verdict for row in mirrored]
        assert false(n, q, [found in (Verdict.EQUIVALENT, Verdict.NONINFERIOR) for found in shown]) <= ALPHA


@pytest.mark.parametrize("n", [7, 9, 12])
def test_neither_t_nor_the_sign_flip_beside_it_keeps_the_level(n: int) -> None:
    """Why the binomial p is there: t errs in 10 to 15 %, the larger of t and signs in 5.3 to 15 %, a constant's signs in 88 %."""

    @cache
    def flips(high: int, q: float) -> float:
        p = sign_flip_test([float(i < high) for i in range(n)], margin=q).p
        assert p is not None
        return p

    alone = max(false(n, q, [0 < high < n and p_t(n, high, q) <= ALPHA for high in range(n + 1)]) for q in CHANCES)
    beside = max(
        false(n, q, [max(p_t(n, high, q), flips(high, q)) <= ALPHA if high else False for high in range(n + 1)]) for q in CHANCES
    )
    assert alone > 0.10
    assert beside > 0.053
    assert max(false(n, q, [high == n for high in range(n + 1)]) for q in CHANCES) > 0.88


def test_the_p_is_the_largest_of_three() -> None:
    row = counts(8, 6)
    assert row.is_adjacent
    inside = ONE * 1.4
    assert exact_p(row, inside) == pytest.approx(stats.binom.sf(5, 8, 0.4))
    assert p_above(row, inside) == max(exact_p(row, inside), p_t(8, 6, 0.4))
    assert exact_p(row, 0.0) == 0.5**8, "every seed above the margin, and one example more between: signs alone"
    assert exact_p(row, ONE) == 0.5**6, "two seeds at the margin have no sign"
    assert exact_p(row, 2 * ONE) == 1.0
    assert p_above(counts(3, 2), -50.0) == 0.125, "three seeds show nothing, however far"


@pytest.mark.parametrize("n", [5, 8, 12])
def test_the_bound_is_where_the_exact_p_reaches_the_level(n: int) -> None:
    for high in range(1, n + 1):
        row = counts(n, high)
        bound = exact_bound(row, ALPHA)
        assert bound is not None
        assert exact_p(row, bound - 1e-6) <= ALPHA
        assert exact_p(row, bound + 1e-6) > ALPHA
        smallest = equivalence_test(row, 0.5, alpha=ALPHA).smallest_delta()
        assert smallest is not None
        assert equivalence_test(row, smallest + 1e-6, alpha=ALPHA).verdict is Verdict.EQUIVALENT
        assert equivalence_test(row, smallest - 1e-6, alpha=ALPHA).verdict is not Verdict.EQUIVALENT


def test_an_identity_keeps_its_margin_of_zero() -> None:
    same = replace(differences([0.0] * 5, examples=EXAMPLES), same_mask=(True,) * 5)
    line = equivalence_test(same, 0.5)
    assert (line.verdict, line.smallest_delta()) == (Verdict.IDENTICAL, 0.0)


@pytest.mark.parametrize(
    ("values", "examples", "adjacent"),
    [
        ([0.5, 1.0, 0.5, 0.5], 200, True),
        ([0.5, 1.0 + 1e-9, 0.5, 0.5], 200, True),
        ([0.5, 1.0, 1.5, 0.5], 200, False),
        ([0.5, 1.5, 0.5, 0.5], 200, False),
        ([0.5, 0.75, 1.0, 0.5], 200, False),
        ([0.5, 0.5, 0.5, 0.5], 200, False),
        ([0.5, 1.0], 200, False),
        ([0.5, 1.0, 0.5, 0.5], None, False),  # nobody knows whether there is a value between them
    ],
)
def test_two_adjacent_counts_are_told_from_other_values(values: list[float], examples: int | None, adjacent: bool) -> None:
    assert differences(values, examples=examples).is_adjacent is adjacent


def test_the_line_says_how_it_was_judged() -> None:
    line = equivalence_test(counts(8, 2, low=0), 0.9)
    assert line.reason == (
        "differences of two adjacent counts, so the larger of t's and the exact p: p = 0.00391 above −0.9, p = 0.00391 below +0.9"
    )
    risen = equivalence_test(counts(8, 6, low=3), 0.5)
    found = verdict(risen, p_escape_adjusted=p_above(risen.contrast, 0.5), p_degrade_adjusted=None)
    assert found.verdict is Verdict.ESCAPES
    assert "so the larger of t's and the exact p" in found.reason
    assert risen.t_upper is not None
    assert not risen.degenerate


def test_a_family_does_not_pass_such_a_column_by_its_t() -> None:
    """Five of six seeds at +1.0 and one at +1.5 are far above 0.4 by t; the exact p, by Holm, is not below 5 %."""
    rng = np.random.default_rng(0)
    others = [differences(rng.normal(0, 0.3, 6), name=f"null {i}", sparsity=0.7) for i in range(6)]
    clear = differences([3.0, 5.3, 1.8, 4.1, 2.7, 2.2], name="clear", sparsity=0.7)
    coarse = differences([1.0, 1.0, 1.0, 1.0, 1.0, 1.5], examples=EXAMPLES, name="coarse", sparsity=0.7)
    alone = escape_test([coarse], 0.4, rng=rng, draws=2_000)
    assert alone["coarse"].p_adjusted == alone["coarse"].p == 0.5**6
    family = escape_test([coarse, clear, *others], 0.4, rng=rng, draws=2_000)
    assert family["coarse"].t is not None
    assert family["coarse"].t > family["clear"].t > 4
    assert family.rejected == ("clear",), "nor does it stand in the way of a column below it"
    assert family["coarse"].p_adjusted == family["coarse"].p_holm == pytest.approx(7 / 64)
    other = escape_test([differences(c.values, name=c.name, sparsity=0.8) for c in others], 0.4, rng=rng, draws=2_000)
    over = run_wide([family, other], rng=rng, draws=2_000)
    assert over.get("coarse", 0.7) > 7 / 64
    assert over.get("clear", 0.7) <= ALPHA
    turned = [replace(c.mirrored(), name=c.name) for c in (coarse, clear, *others)]
    fallen = degrade_test(turned, 0.4, rng=np.random.default_rng(0), draws=2_000)
    assert fallen.rejected == ("clear",)
    assert fallen["coarse"].p_adjusted == family["coarse"].p_adjusted


def test_how_far_takes_the_exact_p_and_its_bound() -> None:
    row = differences([-0.5, -0.5, -0.5, -0.5, 0.0, -0.5], examples=EXAMPLES, sparsity=0.5)
    (found,) = how_far({"chaos": [row]}, 0.52)
    (step,) = found.steps
    assert step.p == p_above(row, -0.52) > ALPHA
    assert step.bound is not None
    assert step.bound < -0.52
    assert not step.passed


def test_an_analysis_takes_the_exact_p_where_the_table_has_counts() -> None:
    """Ten of twelve seeds gain two examples and two gain one, 0.917 ± 0.06: by t above 0.79, p = .02; exact it is not."""
    correct = {"magnitude": [180] * 12, "chaos": [182] * 10 + [181] * 2}
    rows = [(i, name, 0.7, c / 200, c, 200) for name, own in correct.items() for i, c in enumerate(own)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "correct", "n"])
    line = analyse(frame, delta=0.79, draws=1_000).line("chaos", 0.7)
    assert line.p_escape == pytest.approx(stats.binom.sf(9, 12, 0.58))
    assert line.p_escape > ALPHA
    assert line.p_escape_adjusted == line.p_escape
    assert line.verdict is Verdict.NONINFERIOR
    assert "two adjacent counts" in line.reason
    assert not any(check.kind == "two values" for check in analyse(frame, delta=0.79, draws=500).checks)
    unknown = analyse(frame.drop(columns=["correct", "n"]), delta=0.79, draws=1_000)
    assert unknown.line("chaos", 0.7).verdict is Verdict.ESCAPES, "t alone, where nobody says how many examples there are"
    (said,) = [check for check in unknown.checks if check.kind == "two values"]
    assert said.level is Level.NOTED
    assert said.text == (
        "differences of two values alone (chaos at S = 0.7) are tested by t: with columns correct and n, those one test example "
        "apart would be tested exactly"
    )
    finer = frame.assign(correct=frame["correct"] * 2, n=400)
    assert analyse(finer, delta=0.79, draws=1_000).line("chaos", 0.7).verdict is Verdict.ESCAPES, "two examples apart: by t"
