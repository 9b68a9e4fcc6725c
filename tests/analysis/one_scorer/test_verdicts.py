import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sics_analysis.families.max_t import degrade_test, escape_test
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.verdict import Decision, verdict
from sics_analysis.results import Verdict
from sics_analysis.rows.contrasts import Contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

DELTA = 0.5
HIGH, FLAT, LOW = [1.9, 2.1, 2.6, 1.7, 2.2], [0.1, -0.2, 0.3, 0.0, 0.15], [-1.9, -2.1, -2.6, -1.7, -2.2]
HALF = [0.5, 0.4, 0.7, 0.2, 0.4]
WIDE = [-0.9, 1.4, 0.2, 2.0, -0.3]


def decide(contrast: Contrast, **options: float) -> Decision:
    rng = np.random.default_rng(0)
    return verdict(
        equivalence_test(contrast, DELTA),
        p_escape_adjusted=escape_test([contrast], DELTA, rng=rng, draws=50).lines[0].p_adjusted,
        p_degrade_adjusted=degrade_test([contrast], DELTA, rng=rng, draws=50).lines[0].p_adjusted,
        **options,
    )


@pytest.mark.parametrize(
    ("values", "expected", "reason"),
    [
        (HIGH, Verdict.ESCAPES, "above +0.5, adjusted p = 0.0"),
        (LOW, Verdict.DEGRADES, "below −0.5, adjusted p = 0.0"),
        (FLAT, Verdict.EQUIVALENT, "90 % interval inside ±0.5"),
        (WIDE, Verdict.INCONCLUSIVE, "90 % interval crosses both −0.5 and +0.5"),
        ([0.5, 0.4, 0.7, 0.2, 0.4], Verdict.NONINFERIOR, "90 % interval crosses +0.5; not worse by 0.5, unadjusted p"),
        ([-0.5, -0.4, -0.7, -0.2, -0.4], Verdict.NONSUPERIOR, "90 % interval crosses −0.5; not better by 0.5, unadjusted p"),
        ([0.2] * 3, Verdict.INCONCLUSIVE, "degenerate: all differences +0.20 points; too few seeds for a constant difference"),
        ([0.2] * 5, Verdict.EQUIVALENT, "degenerate: all differences +0.20 points, inside ±0.5; exact sign-flip p = 0.0312"),
        ([2.0] * 30, Verdict.ESCAPES, "above +0.5, adjusted p = 9.31e-10; degenerate: all differences +2.00 points"),
        ([-2.0] * 30, Verdict.DEGRADES, "below −0.5, adjusted p = 9.31e-10; degenerate: all differences −2.00 points"),
        ([1.0, 2.0], Verdict.INCONCLUSIVE, "too few seeds: 2, needs 3"),
    ],
)
def test_each_verdict_and_its_reason(values: list[float], expected: Verdict, reason: str) -> None:
    decision = decide(differences(values))
    assert decision.verdict is expected
    assert decision.reason.startswith(reason)


def test_adjustment_within_the_family_can_take_an_escape_away() -> None:
    line = equivalence_test(differences(HIGH), DELTA)
    decision = verdict(line, p_escape_adjusted=0.08, p_degrade_adjusted=1.0)
    assert decision.verdict is Verdict.NONINFERIOR
    assert decision.reason == (
        "90 % interval above +0.5; not worse by 0.5, unadjusted p = 3.4e-05; "
        "above +0.5 not after adjustment in the family (p = 0.08)"
    )
    assert verdict(line, p_escape_adjusted=0.08, p_degrade_adjusted=1.0, alpha=0.1).verdict is Verdict.ESCAPES


def test_the_reason_tells_adjusted_p_values_from_those_of_a_line_of_its_own() -> None:
    line = equivalence_test(differences(HIGH), DELTA)
    own = verdict(line, p_escape_adjusted=0.002, p_degrade_adjusted=1.0, in_family=False)
    assert own == Decision(Verdict.ESCAPES, "above +0.5, its own line, unadjusted p = 0.002")
    low = verdict(equivalence_test(differences(LOW), DELTA), p_escape_adjusted=1.0, p_degrade_adjusted=0.002, in_family=False)
    assert low == Decision(Verdict.DEGRADES, "below −0.5, its own line, unadjusted p = 0.002")


def test_notes_on_a_p_stand_beside_it() -> None:
    line = equivalence_test(differences(HIGH), DELTA)
    shown = verdict(line, p_escape_adjusted=0.049, p_degrade_adjusted=1.0, escape_note="near α", degrade_note="unused")
    assert shown.reason == "above +0.5, adjusted p = 0.049 (near α)"
    missed = verdict(line, p_escape_adjusted=0.051, p_degrade_adjusted=1.0, escape_note="near α")
    assert missed.reason.endswith("above +0.5 not after adjustment in the family (p = 0.051; near α)")


def test_a_line_outside_every_family_says_so() -> None:
    decision = verdict(equivalence_test(differences(LOW), DELTA), p_escape_adjusted=None, p_degrade_adjusted=None)
    reason = "90 % interval below −0.5; not better by 0.5, unadjusted p = 3.4e-05; below −0.5 not tested in a family"
    assert decision == Decision(Verdict.NONSUPERIOR, reason)


def test_the_order_of_the_verdicts_is_the_order_in_which_they_are_asked_for() -> None:
    assert " ".join(Verdict) == "IDENTICAL EQUIVALENT ESCAPES DEGRADES NONINFERIOR NONSUPERIOR INCONCLUSIVE"
    # What escapes is not worse by δ either, and what degrades not better: the stronger word stands.
    for values, expected in ((HIGH, Verdict.ESCAPES), (LOW, Verdict.DEGRADES)):
        line = equivalence_test(differences(values), DELTA)
        assert line.verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR)
        assert decide(differences(values)).verdict is expected


@pytest.mark.parametrize("values", [HIGH, LOW, FLAT, WIDE, [0.2] * 5, [2.0] * 30, HALF, [-d for d in HALF]])
def test_a_margin_below_the_noise_floor_decides_nothing(values: list[float]) -> None:
    decision = decide(differences(values), noise_floor=0.6)
    assert decision == Decision(Verdict.INCONCLUSIVE, "δ = 0.5 below the noise floor of 0.6 points")
    assert decide(differences(values), noise_floor=0.5) == decide(differences(values))


def test_identical_masks_follow_the_noise_floor_too_and_are_named() -> None:
    same = Contrast("power", "magnitude", (0, 1, 2), (0.0, 0.0, 0.0), 0.7, (True, True, True), True)
    assert decide(same, noise_floor=DELTA) == Decision(Verdict.IDENTICAL, "same mask at every seed")
    reason = "δ = 0.5 below the noise floor of 9 points; the masks are identical at every seed"
    assert decide(same, noise_floor=9.0) == Decision(Verdict.INCONCLUSIVE, reason)
    # Accuracies of one hash that only the noise explains: an identity, and below the noise all the same.
    noisy = Contrast("power", "magnitude", (0, 1, 2), (0.0, 0.7, 0.0), 0.7, (True, True, True), True)
    assert decide(noisy, noise_floor=0.8).reason.endswith("; the masks are identical at every seed")
    assert "same mask hash but different" in decide(noisy).reason


def test_a_family_on_other_seeds_that_contradicts_the_line_decides_nothing() -> None:
    line = equivalence_test(differences(FLAT), DELTA)
    decision = verdict(line, p_escape_adjusted=0.001, p_degrade_adjusted=1.0)
    assert decision == Decision(Verdict.INCONCLUSIVE, "the line and its family disagree: they rest on different seeds")


@settings(max_examples=60)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8))
def test_swapping_the_arms_mirrors_the_verdict(values: list[float]) -> None:
    c = differences(values)
    assume(c.is_degenerate or (c.sd or 0) > 1e-4)
    mirror = {Verdict.ESCAPES: Verdict.DEGRADES, Verdict.NONINFERIOR: Verdict.NONSUPERIOR}
    mirror |= {theirs: ours for ours, theirs in mirror.items()}
    ours, theirs = decide(c).verdict, decide(c.mirrored()).verdict
    assert theirs is mirror.get(ours, ours)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 500), min_size=3, max_size=8),
    st.lists(st.integers(0, 500), min_size=8, max_size=8),
    st.integers(0, 100),
)
def test_adding_to_both_arms_changes_no_verdict(a: list[int], b: list[int], constant: int) -> None:
    from sics_analysis.rows.arms import Arm
    from sics_analysis.rows.contrasts import contrast

    def decision(shift: int) -> Decision:
        seeds = range(len(a))
        ours = Arm.from_counts("a", seeds, [x + shift for x in a], 600)
        return decide(contrast(ours, Arm.from_counts("b", seeds, [y + shift for y in b[: len(a)]], 600)))

    assert decision(0) == decision(constant)


@settings(max_examples=60)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=8))
def test_equivalence_and_escape_exclude_each_other(values: list[float]) -> None:
    c = differences(values)
    assume(not c.is_degenerate and (c.sd or 0) > 1e-4)
    assert "disagree" not in decide(c).reason
