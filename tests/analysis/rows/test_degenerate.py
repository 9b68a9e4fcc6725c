"""Every kind of degenerate data, and constant differences by their exact sign-flip p, through every function that could trip."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sics_analysis.families.attribution import attribute
from sics_analysis.families.kappa import kappa_spectrum
from sics_analysis.families.max_t import degrade_test, escape_test, superiority_test
from sics_analysis.families.plateau import holm_equivalence, plateau_claim
from sics_analysis.families.winner import best_of, confirm_best
from sics_analysis.one_scorer.bootstrap import bootstrap_mean
from sics_analysis.one_scorer.bootstrap_tost import bootstrap_tost
from sics_analysis.one_scorer.effect import hedges_g
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.signflip import sign_flip_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import Decision, verdict
from sics_analysis.results import Verdict
from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import Contrast, contrast, differences
from sics_analysis.rows.degenerate import DegenerateKind, classify

pytestmark = pytest.mark.filterwarnings("error")

DELTA = 0.5


def pair(counts: list[int], hashes: str | None = None, total: int = 600, *, fractions: bool = False) -> Contrast:
    """A contrast whose counts differ from a reference of 300 by `counts`; hashes "same" or "other"."""
    seeds = list(range(len(counts)))
    ours = None if hashes is None else ["h" if hashes == "same" else "x"] * len(seeds)
    theirs = None if hashes is None else ["h"] * len(seeds)
    if fractions:
        a = Arm.from_fractions("chaos", seeds, [(300 + c) / total for c in counts], ours)
        return contrast(a, Arm.from_fractions("magnitude", seeds, [300 / total] * len(seeds), theirs))
    a = Arm.from_counts("chaos", seeds, [300 + c for c in counts], total, ours)
    return contrast(a, Arm.from_counts("magnitude", seeds, [300] * len(seeds), total, theirs))


TABLE = {
    "all zero, hashes equal": (pair([0] * 5, "same"), Verdict.IDENTICAL, DegenerateKind.IDENTICAL_MASKS, None),
    "all zero, no hashes": (pair([0] * 5), Verdict.EQUIVALENT, DegenerateKind.ALL_ZERO, (1 / 32, 1 / 32)),
    "all zero, hashes differ": (pair([0] * 5, "other"), Verdict.EQUIVALENT, DegenerateKind.ALL_ZERO, (1 / 32, 1 / 32)),
    "all zero, fractions": (pair([0] * 5, fractions=True), Verdict.EQUIVALENT, DegenerateKind.ALL_ZERO, (1 / 32, 1 / 32)),
    "constant below": (pair([2] * 5), Verdict.EQUIVALENT, DegenerateKind.CONSTANT, (1 / 32, 1 / 32)),
    "constant below, negative": (pair([-2] * 5), Verdict.EQUIVALENT, DegenerateKind.CONSTANT, (1 / 32, 1 / 32)),
    "constant at delta": (pair([3] * 5), Verdict.NONINFERIOR, DegenerateKind.CONSTANT, (1 / 32, 1.0)),
    "constant at -delta": (pair([-3] * 5), Verdict.NONSUPERIOR, DegenerateKind.CONSTANT, (1.0, 1 / 32)),
    "constant at delta, fractions": (pair([3] * 5, fractions=True), Verdict.NONINFERIOR, DegenerateKind.CONSTANT, (1 / 32, 1.0)),
    "constant above": (pair([4] * 5), Verdict.NONINFERIOR, DegenerateKind.CONSTANT, (1 / 32, 1.0)),
    "constant above, negative": (pair([-4] * 6), Verdict.NONSUPERIOR, DegenerateKind.CONSTANT, (1.0, 1 / 64)),
    "four zeros": (pair([0] * 4), Verdict.INCONCLUSIVE, DegenerateKind.ALL_ZERO, (1 / 16, 1 / 16)),
    "three below": (pair([1] * 3), Verdict.INCONCLUSIVE, DegenerateKind.CONSTANT, (1 / 8, 1 / 8)),
    "four above": (pair([4] * 4), Verdict.INCONCLUSIVE, DegenerateKind.CONSTANT, (1 / 16, 1.0)),
    "three at delta": (pair([3] * 3), Verdict.INCONCLUSIVE, DegenerateKind.CONSTANT, (1 / 8, 1.0)),
    "two seeds": (pair([2, 5]), Verdict.INCONCLUSIVE, DegenerateKind.TOO_FEW_SEEDS, None),
    "two seeds, all zero": (pair([0, 0]), Verdict.INCONCLUSIVE, DegenerateKind.TOO_FEW_SEEDS, None),
    "one seed": (pair([40]), Verdict.INCONCLUSIVE, DegenerateKind.TOO_FEW_SEEDS, None),
    "no seed": (pair([]), Verdict.INCONCLUSIVE, DegenerateKind.TOO_FEW_SEEDS, None),
    "two seeds, hashes equal": (pair([0, 0], "same"), Verdict.IDENTICAL, DegenerateKind.IDENTICAL_MASKS, None),
}


def no_nan(row: dict[str, object]) -> bool:
    return all(not isinstance(value, float) or math.isfinite(value) for value in row.values())


#: The verdict where a constant lies beyond the margin: its family has the last word, here a family of one.
BEYOND = {"constant above": Verdict.ESCAPES, "constant above, negative": Verdict.DEGRADES}


@pytest.mark.parametrize(("data", "expected", "kind", "halves"), TABLE.values(), ids=TABLE.keys())
def test_every_row_of_the_table(
    data: Contrast, expected: Verdict, kind: DegenerateKind, halves: tuple[float, float] | None
) -> None:
    case = classify(data, DELTA)
    assert case is not None
    known = (None, None) if halves is None else halves
    assert (case.verdict, case.kind, case.p_lower, case.p_upper) == (expected, kind, *known)
    assert case.p_signflip == (None if halves is None else 0.5**data.n)
    line = equivalence_test(data, DELTA)
    assert line.verdict is expected
    assert line.degenerate
    assert (line.p_lower, line.p_upper, line.t_lower, line.t_upper) == (*known, None, None)
    assert line.p == line.p_signflip == (None if halves is None else max(halves))
    assert line.reason == case.reason
    assert no_nan(line.to_row())
    assert "nan" not in line.describe()
    decision = verdict(line, p_escape_adjusted=None, p_degrade_adjusted=None)
    assert decision.verdict is expected
    assert decision.reason.startswith(case.reason)


@pytest.mark.parametrize(("name", "row"), TABLE.items(), ids=TABLE.keys())
def test_a_constant_beyond_the_margin_escapes_or_degrades_in_its_family(name: str, row: tuple[Contrast, Verdict]) -> None:
    data, expected, *_ = row
    rng = np.random.default_rng(0)
    escape, degrade = escape_test([data], DELTA, rng=rng, draws=10), degrade_test([data], DELTA, rng=rng, draws=10)
    decision = verdict(
        equivalence_test(data, DELTA),
        p_escape_adjusted=escape.adjusted("chaos"),
        p_degrade_adjusted=degrade.adjusted("chaos"),
        escape_note=escape.note("chaos"),
    )
    assert decision.verdict is BEYOND.get(name, expected)
    if name == "constant above":
        assert decision.reason == (
            "above +0.5, adjusted p = 0.0312; degenerate: all differences +0.67 points, beyond +0.5; exact sign-flip p = 0.0312"
        )


def test_thirty_seeds_that_are_all_two_points_above_escape_and_one_example_moved_changes_nothing() -> None:
    """Rule 18's own numbers: p = 2⁻³⁰, by Holm in the family; .01 points are less than one of 600 examples."""
    rng = np.random.default_rng(0)
    noise = [differences(row, name=f"s{i}", examples=600) for i, row in enumerate(rng.normal(0, 1, (3, 30)))]
    for values in ([2.0] * 30, [2.0] * 29 + [1.99]):
        data = differences(values, name="chaos", examples=600)
        assert data.is_constant
        line = equivalence_test(data, DELTA)
        assert (line.p_lower, line.p_upper, line.verdict) == (2**-30, 1.0, Verdict.NONINFERIOR)
        alone = escape_test([data], DELTA, rng=rng, draws=10)
        assert alone["chaos"].p == alone["chaos"].p_adjusted == 2**-30
        assert alone.rejected == ("chaos",)
        found = escape_test([*noise, data], DELTA, rng=rng, draws=100)
        assert found["chaos"].p_adjusted == 4 * 2**-30
        decision = verdict(line, p_escape_adjusted=found.adjusted("chaos"), p_degrade_adjusted=1.0)
        assert decision.verdict is Verdict.ESCAPES
    assert data.mean == pytest.approx(1.999666667)
    # Where nobody knows how many examples there were, a difference of .01 is one.
    assert not differences([2.0] * 29 + [1.99]).is_constant


def test_a_spread_below_one_example_is_none_and_one_of_a_whole_example_is_one() -> None:
    assert differences([1.0, 1.0, 1.1], examples=900).is_constant
    assert not differences([1.0, 1.0, 1.0 + 100 / 900], examples=900).is_constant
    counted = pair([3, 3, 4, 3, 3])
    assert counted.resolution == pytest.approx(100 / 600)
    assert not counted.is_constant
    # A margin that lies inside the unresolved spread is not passed by it.
    near = differences([0.48, 0.5, 0.52, 0.5, 0.5], examples=600)
    assert near.is_constant
    assert (p_above(near, DELTA), p_below(near, DELTA), p_below(near, 0.7)) == (1.0, 1.0, 1 / 32)
    assert equivalence_test(near, DELTA).verdict is Verdict.NONINFERIOR


def test_constants_beyond_the_margin_share_one_family_by_holm() -> None:
    """Five seeds give 1/32 a column: one alone escapes, two do not, and six seeds let both."""
    rng = np.random.default_rng(0)
    for n, expected in ((5, ()), (6, ("a", "b"))):
        found = escape_test([differences([2.0] * n, name=name) for name in "ab"], DELTA, rng=rng, draws=10)
        assert found.rejected == expected
        assert [line.p_adjusted for line in found.lines] == [2 * 0.5**n] * 2
        assert "joint sign-flip" not in found["a"].describe()
        assert "exact p = " in found["a"].describe()
        assert "among 2 scorers of equal differences, exact p with Holm" in found.describe()


@pytest.mark.parametrize("data", [row[0] for row in TABLE.values()], ids=TABLE.keys())
def test_degenerate_columns_leave_their_family_before_any_test(data: Contrast) -> None:
    rng = np.random.default_rng(0)
    for result in (
        escape_test([data], DELTA, rng=rng, draws=100),
        degrade_test([data], DELTA, rng=rng, draws=100),
        superiority_test([data], rng=rng, draws=100),
    ):
        (line,) = result.lines
        assert line.degenerate
        assert (line.t, line.p_signflip_joint, line.simultaneous) == (None,) * 3
        known = {None} if not data.has_test else {1.0, 0.5**data.n}
        assert {line.p, line.p_adjusted, line.p_holm, line.p_signflip} <= known
        assert result.critical is None
        assert result.tested == ()
        assert all(no_nan(row) for row in result.to_rows())
        assert "nan" not in result.describe() + line.describe()


def test_the_sign_flip_p_of_a_constant_stands_on_the_side_it_is_beyond() -> None:
    rng = np.random.default_rng(0)
    above, below = pair([4] * 5), pair([-4] * 5)
    assert escape_test([above], DELTA, rng=rng, draws=10)["chaos"].p_signflip == 1 / 32
    assert degrade_test([above], DELTA, rng=rng, draws=10)["chaos"].p_signflip == 1.0
    assert escape_test([below], DELTA, rng=rng, draws=10)["chaos"].p_signflip == 1.0
    assert degrade_test([below], DELTA, rng=rng, draws=10)["chaos"].p_signflip == 1 / 32
    assert sign_flip_test(above, margin=DELTA).p == 1 / 32


def test_a_degenerate_column_changes_nothing_for_the_others() -> None:
    rows = np.random.default_rng(3).normal(1, 1, (3, 5))
    family = [differences(row, name=f"s{i}") for i, row in enumerate(rows)]
    with_constant = [*family, differences([0.7] * 5, name="constant")]
    plain = escape_test(family, DELTA, rng=np.random.default_rng(1), draws=2000)
    mixed = escape_test(with_constant, DELTA, rng=np.random.default_rng(1), draws=2000)
    assert mixed.lines[:3] == plain.lines
    assert mixed["constant"].degenerate


@pytest.mark.parametrize("data", [row[0] for row in TABLE.values()], ids=TABLE.keys())
def test_effect_and_sign_flip_stay_free_of_nan(data: Contrast) -> None:
    effect = hedges_g(data)
    assert effect.g_z is None
    assert effect.confidence_interval() is None
    assert no_nan(effect.to_row())
    assert "nan" not in effect.describe()
    for alternative in ("greater", "less", "two-sided"):
        result = sign_flip_test(data, alternative=alternative)
        assert no_nan(result.to_row())
        assert (result.p is None) == (data.n == 0)


def test_some_seeds_identical_take_the_normal_path() -> None:
    data = pair([0, 0, 3, 0, -1])
    assert classify(data, DELTA) is None
    assert equivalence_test(data, DELTA).p is not None


def test_identical_masks_with_accuracies_within_the_noise_floor_are_named_as_noise() -> None:
    data = replace(pair([0, 0, 3, 0, 0], "same"), noise_floor=0.5)
    case = classify(data, DELTA)
    assert case is not None
    assert case.verdict is Verdict.IDENTICAL
    assert data.is_identical
    assert "accuracies still differ by up to 0.50 points" in case.reason


@pytest.mark.parametrize("noise_floor", [0.0, 0.3])
def test_one_hash_beside_other_accuracies_is_no_identity(noise_floor: float) -> None:
    data = replace(pair([0, -180, 3, 0, 0], "same"), noise_floor=noise_floor)
    case = classify(data, DELTA)
    assert case is not None
    assert (case.verdict, case.kind) == (Verdict.INCONCLUSIVE, DegenerateKind.HASH_CONFLICT)
    assert case.reason == "same mask hash but different accuracies: by up to 30 points"
    assert not data.is_identical
    line = equivalence_test(data, DELTA)
    assert (line.verdict, line.p, line.reason) == (Verdict.INCONCLUSIVE, None, case.reason)
    assert not plateau_claim([line]).holds
    escape = escape_test([data], DELTA, rng=np.random.default_rng(0), draws=10)
    assert escape.tested == ()
    assert escape["chaos"].reason == "same mask hash but different accuracies"
    known = verdict(line, p_escape_adjusted=None, p_degrade_adjusted=None, noise_floor=0.4)
    assert known == Decision(Verdict.INCONCLUSIVE, case.reason)


def test_a_noise_floor_known_to_the_verdict_alone_restores_the_identity() -> None:
    line = equivalence_test(pair([0, 0, 1, 0, -1], "same"), DELTA)
    assert line.verdict is Verdict.INCONCLUSIVE
    assert verdict(line, p_escape_adjusted=None, p_degrade_adjusted=None, noise_floor=0.4).verdict is Verdict.IDENTICAL


def test_a_constant_closer_to_the_margin_than_one_example_is_judged_by_how_close() -> None:
    """+0.50 of 200 examples inside ±0.6, and beyond ±0.4: the next count may be as likely as the margin allows."""
    inside = classify(differences([0.5] * 5, examples=200), 0.6)
    assert inside is not None
    assert inside.verdict is Verdict.NONINFERIOR
    assert inside.p_upper == pytest.approx(0.8**5)
    assert (
        inside.reason == "degenerate: all differences +0.50 points, inside +0.6; exact p = 0.328, within one test example of +0.6"
    )
    beyond = classify(differences([0.5] * 5, examples=200), 0.4)
    assert beyond is not None
    assert beyond.reason.endswith("beyond +0.4; exact p = 0.328, within one test example of +0.4")
    assert escape_test([differences([0.5] * 5, examples=200)], 0.4, rng=np.random.default_rng(0), draws=10).rejected == ()
    assert escape_test([differences([0.5] * 14, examples=200)], 0.4, rng=np.random.default_rng(0), draws=10).rejected == ("A",)
    assert classify(differences([0.5] * 5, examples=10_000), 0.6).verdict is Verdict.EQUIVALENT  # type: ignore[union-attr]


@pytest.mark.parametrize(("n", "few"), [(3, True), (4, True), (5, False), (9, False)])
@pytest.mark.parametrize("counts", [0, 2])
def test_few_equal_differences_show_nothing(n: int, few: bool, counts: int) -> None:
    case = classify(pair([counts] * n), DELTA)
    assert case is not None
    assert case.verdict is (Verdict.INCONCLUSIVE if few else Verdict.EQUIVALENT)
    assert case.reason.endswith(f"; too few seeds for a constant difference: n = {n}, 2^−{n} > α") is few
    strict = equivalence_test(pair([counts] * n), DELTA, alpha=0.001)
    assert strict.verdict is Verdict.INCONCLUSIVE
    assert "too few seeds for a constant difference" in strict.reason
    loose = equivalence_test(pair([counts] * n), DELTA, alpha=0.2)
    assert loose.verdict is Verdict.EQUIVALENT


def test_one_unknown_hash_is_no_identity() -> None:
    a = Arm.from_counts("a", range(5), [5] * 5, 600, ["h", "h", "", "h", "h"])
    b = Arm.from_counts("b", range(5), [5] * 5, 600, ["h", "h", "", "h", "h"])
    case = classify(contrast(a, b), DELTA)
    assert case is not None
    assert case.verdict is Verdict.EQUIVALENT


def test_plateau_of_identical_and_degenerate_lines() -> None:
    identical = equivalence_test(pair([0] * 5, "same"), DELTA)
    zero = equivalence_test(pair([0] * 5), DELTA)
    beyond = equivalence_test(pair([4] * 5), DELTA)
    assert plateau_claim([identical, identical]).verdict is Verdict.IDENTICAL
    assert plateau_claim([identical, zero]).verdict is Verdict.EQUIVALENT
    assert plateau_claim([identical, identical]).p is None
    assert plateau_claim([identical, zero]).p == 1 / 32
    failed = plateau_claim([identical, beyond])
    assert failed.verdict is Verdict.INCONCLUSIVE
    assert failed.p == 1.0
    assert failed.failing == ("chaos",)
    assert "nan" not in failed.describe()


@pytest.mark.parametrize("data", [row[0] for row in TABLE.values()], ids=TABLE.keys())
def test_every_other_function_takes_the_same_path(data: Contrast) -> None:
    """Bootstrap, one-sided tails, Holm, joint claim, winner, confirmation, attribution, κ(S): words, and never a nan."""
    data = replace(data, sparsity=0.7)
    expected = equivalence_test(data, DELTA).verdict
    line = equivalence_test(data, DELTA)
    known = {None} if not data.has_test else {1.0, 0.5**data.n}
    assert {p_above(data, DELTA), p_below(data, DELTA)} <= known
    assert (p_above(data, -DELTA), p_below(data, DELTA)) == (line.p_lower, line.p_upper)
    resampled = bootstrap_mean(data)
    assert (resampled.means, resampled.studentized) == (None, None)
    assert no_nan(resampled.to_row())
    tost = bootstrap_tost(data, DELTA)
    assert (tost.verdict, tost.p) == (expected, None)
    assert no_nan(tost.to_row())
    normal = equivalence_test(pair([1, 0, -1, 2, 0]), DELTA)
    assert normal.p is not None
    assert holm_equivalence([line, normal])[0] == (None if line.p is None else max(line.p, min(1.0, 2 * min(line.p, normal.p))))
    joint = plateau_claim([line])
    assert (joint.holds, joint.p) == (expected in (Verdict.IDENTICAL, Verdict.EQUIVALENT), line.p)
    assert no_nan(joint.to_row())
    family = escape_test([data], DELTA, rng=np.random.default_rng(0), draws=10)
    assert best_of(family) is None
    if data.n:
        confirmed = confirm_best([data], confirm_seeds=[1])
        assert no_nan(confirmed.to_row())
        assert "nan" not in confirmed.describe()
    (split,) = attribute([data], [data], data, {"chaos": 2}, DELTA, rng=np.random.default_rng(0), draws=10)
    assert split.verdict is BEYOND.get(
        next(name for name, row in TABLE.items() if row[0] == replace(data, sparsity=None)), expected
    )
    assert {split.p_superior, split.p_superior_adjusted, split.p_escape_adjusted} <= known
    assert split.simultaneous is None
    assert no_nan(split.to_row())
    assert "nan" not in split.describe()
    spread = differences([2.0, 2.2, 1.9, 2.1, 2.3], name="wiggle")
    alone = kappa_spectrum({0.7: {1: [data], 2: [spread]}}, DELTA, rng=np.random.default_rng(0), draws=10)[0.7]
    assert (alone.p_values is None) is not data.has_test
    beside = kappa_spectrum(
        {0.7: {1: [data, replace(spread, name="bump")], 2: [spread]}}, DELTA, rng=np.random.default_rng(0), draws=10
    )
    assert no_nan(beside[0.7].to_row())
    assert "nan" not in beside.describe()


@pytest.mark.parametrize("data", [row[0] for row in TABLE.values()], ids=TABLE.keys())
@pytest.mark.parametrize("floor", [0.0, DELTA, 0.6])
def test_a_margin_below_the_noise_silences_every_row_of_the_table(data: Contrast, floor: float) -> None:
    line = equivalence_test(data, DELTA)
    decision = verdict(line, p_escape_adjusted=None, p_degrade_adjusted=None, noise_floor=floor)
    if floor > DELTA:
        assert decision.verdict is Verdict.INCONCLUSIVE
        assert decision.reason.startswith("δ = 0.5 below the noise floor of 0.6 points")
        assert decision.reason.endswith("identical at every seed") is (line.verdict is Verdict.IDENTICAL)
    else:
        assert decision.verdict is line.verdict
        assert decision.reason.startswith(line.reason)
