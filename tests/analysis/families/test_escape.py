import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis.families.family import FamilyResult
from sics_analysis.families.max_t import degrade_test, escape_test, max_t_family, superiority_test
from sics_analysis.families.multiplicity import holm
from sics_analysis.families.rotation import MaxAbs, rotation_directions, step_down_p
from sics_analysis.one_scorer.signflip import sign_flip_test
from sics_analysis.results import Result
from sics_analysis.rows.contrasts import Contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

DRAWS = 2000
matrices = st.integers(1, 5).flatmap(
    lambda m: st.integers(3, 7).flatmap(
        lambda n: st.lists(st.lists(st.floats(-3, 3), min_size=n, max_size=n), min_size=m, max_size=m)
    )
)


def family(rows: Sequence[Sequence[float]] | np.ndarray) -> list[Contrast]:
    return [differences(row, name=f"s{j}", reference="magnitude", sparsity=0.8) for j, row in enumerate(rows)]


def usable(rows: list[list[float]]) -> list[Contrast]:
    contrasts = family(rows)
    assume(all(not c.is_degenerate and (c.sd or 0) > 1e-4 for c in contrasts))
    return contrasts


def escape(contrasts: Sequence[Contrast], delta: float = 0.5, seed: int = 0) -> FamilyResult:
    return escape_test(contrasts, delta, rng=np.random.default_rng(seed), draws=DRAWS)


@settings(max_examples=40)
@given(matrices)
def test_adjusted_p_is_monotone_in_the_step_down_order_and_not_below_raw(rows: list[list[float]]) -> None:
    lines = sorted(escape(usable(rows)).lines, key=lambda line: -(line.t or 0))
    for line in lines:
        assert line.p is not None
        assert line.p_adjusted is not None
        assert line.p_holm is not None
        assert line.p <= line.p_adjusted <= 1
        assert line.p <= line.p_holm
        assert line.p_signflip is not None
        assert line.p_signflip_joint is not None
        assert line.p_signflip <= line.p_signflip_joint
    adjusted = [line.p_adjusted for line in lines]
    assert adjusted == sorted(adjusted)


@settings(max_examples=30)
@given(matrices, st.randoms())
def test_permuting_the_seeds_changes_no_number(rows: list[list[float]], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(rows[0])))
    random.shuffle(order)
    shuffled = [
        differences([row[i] for i in order], name=f"s{j}", reference="magnitude", seeds=order, sparsity=0.8)
        for j, row in enumerate(rows)
    ]
    assert escape(shuffled) == escape(family(rows))


@settings(max_examples=30)
@given(matrices)
def test_swapping_the_arms_mirrors_the_families(rows: list[list[float]]) -> None:
    contrasts = family(rows)
    # Every arm of the mirrored family is the reference: lines are told apart by position.
    mirrored = [differences(c.mirrored().differences, name=c.name) for c in contrasts]
    ours = escape(contrasts)
    theirs = degrade_test(mirrored, 0.5, rng=np.random.default_rng(0), draws=DRAWS)
    for a, b in zip(ours.lines, theirs.lines, strict=True):
        assert (a.t, a.p, a.p_adjusted, a.p_holm, a.p_signflip, a.p_signflip_joint) == (
            b.t,
            b.p,
            b.p_adjusted,
            b.p_holm,
            b.p_signflip,
            b.p_signflip_joint,
        )
    assert ours.critical == pytest.approx(theirs.critical)


def test_one_line_alone_has_the_exact_t_p_and_interval() -> None:
    d = [1.9, 2.1, 2.6, 1.7, 2.2]
    (line,) = escape(family([d])).lines
    assert line.p_adjusted == line.p == line.p_holm == pytest.approx(stats.ttest_1samp(d, 0.5, alternative="greater").pvalue)
    reference = stats.ttest_1samp(d, 0).confidence_interval(0.95)
    assert line.simultaneous is not None
    assert (line.simultaneous.low, line.simultaneous.high) == pytest.approx((reference.low, reference.high))
    assert line.p_signflip_joint == line.p_signflip == 1 / 32


@pytest.mark.parametrize("seed", range(5))
def test_raw_p_is_that_of_scipy_and_holm_that_of_the_family(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(0.3, 1, (6, 5 + seed))
    for result, alternative, margin in (
        (escape(family(rows)), "greater", 0.5),
        (degrade_test(family(rows), 0.5, rng=np.random.default_rng(0), draws=DRAWS), "less", -0.5),
        (superiority_test(family(rows), rng=np.random.default_rng(0), draws=DRAWS), "greater", 0.0),
    ):
        theirs = [stats.ttest_1samp(row, margin, alternative=alternative).pvalue for row in rows]
        assert [line.p for line in result.lines] == pytest.approx(theirs, rel=1e-9)
        assert [line.p_holm for line in result.lines] == pytest.approx(holm(theirs), rel=1e-9)
        flips = [sign_flip_test(row, margin=margin, alternative=alternative).p for row in rows]
        assert [line.p_signflip for line in result.lines] == flips


def test_far_negative_columns_ruin_the_joint_sign_flip_and_not_the_rotation() -> None:
    good = [2.0, 2.3, 2.6, 1.9, 2.2]
    fake, random_floor = [-36.0, -33.0, -39.0, -35.0, -36.0], [-70.0, -71.0, -70.5, -69.0, -70.2]
    alone, beside = escape(family([good])), escape(family([good, fake, random_floor]))
    assert alone["s0"].p_signflip_joint == 1 / 32
    assert beside["s0"].p_signflip_joint == 2 / 32
    assert beside["s0"].p_adjusted is not None
    assert alone["s0"].p is not None
    # At most a Bonferroni correction for three columns, up to the noise of the draws.
    assert beside["s0"].p_adjusted <= 3 * alone["s0"].p + 4 * math.sqrt(3 * alone["s0"].p / DRAWS) + 1 / DRAWS
    assert beside.rejected == ("s0",)
    assert beside.p_signflip_min == 1 / 32


def test_identical_columns_share_one_correction_and_one_verdict() -> None:
    d = [0.9, 1.1, 1.4, 0.6, 1.0]
    twice, once = escape(family([d, d])), escape(family([d]))
    assert twice["s0"].p_adjusted == twice["s1"].p_adjusted
    assert twice["s0"].p_adjusted == pytest.approx(once["s0"].p_adjusted, abs=4 * math.sqrt(0.05 / DRAWS))


def test_ragged_lines_keep_their_own_seeds_and_are_corrected_by_holm() -> None:
    a, b = [1.0, 2.0, 3.0, 2.5], [0.0, 0.5, 0.2, 0.9, 0.4]
    result = escape([differences(a, name="a"), differences(b, name="b", seeds=[1, 2, 3, 9, 10])])
    assert result.method == "Holm on t, ragged seeds"
    assert result.seeds == (1, 2, 3)
    assert [line.n for line in result.lines] == [4, 5]
    raw = [stats.ttest_1samp(d, 0.5, alternative="greater").pvalue for d in (a, b)]
    assert [line.p for line in result.lines] == pytest.approx(raw)
    assert [line.p_adjusted for line in result.lines] == pytest.approx(holm(raw))
    for line, d in zip(result.lines, (a, b), strict=True):
        interval = stats.ttest_1samp(d, 0).confidence_interval(1 - 0.05 / 2)
        assert line.simultaneous is not None
        assert (line.simultaneous.low, line.simultaneous.high) == pytest.approx((interval.low, interval.high))
        assert line.simultaneous.method == "Bonferroni t"
        assert line.p_signflip_joint is None
        assert "ragged seeds" in line.reason
        assert result.note(line.name) == result.method
    assert result.critical is None
    assert result.p_signflip_min is None
    assert "miss different seeds" in result.describe()


def test_a_line_does_not_move_with_the_seeds_another_misses() -> None:
    """Ten seeds whose mean lies below zero are no escape, however well the first five look."""
    line = differences([2.0, 2.1, 1.9, 2.05, 1.95, -1.5, -1.6, -1.4, -1.7, -1.0], name="chaos")
    short = differences([0.1, -0.3, 0.2, 0.0, 0.1], name="wiggle")
    result = escape([line, short])
    assert result["chaos"].n == 10
    assert result.rejected == ()
    alone = escape([line])["chaos"]
    assert result["chaos"].p == alone.p
    other = escape([line, differences([0.1, -0.3, 0.2, 0.0, 0.1], name="wiggle", seeds=[5, 6, 7, 8, 9])])
    assert other["chaos"].p_adjusted == result["chaos"].p_adjusted


def test_a_scorer_that_shares_no_seed_does_not_silence_the_family() -> None:
    near = differences([2.9, 3.1, 3.2, 2.8, 3.0], name="chaos")
    far = differences([0.1, -0.2, 0.1], name="wiggle", seeds=[5, 6, 7])
    result = escape([near, far])
    assert result.n == 0
    assert result.rejected == ("chaos",)


def test_degenerate_columns_do_not_make_a_family_ragged() -> None:
    rows = family([[0.9, 1.1, 1.4, 0.6, 1.0], [1.9, 1.1, 1.0, 1.6, 1.2]])
    short = differences([1.0, 2.0], name="short")
    assert escape([*rows, short]).lines[:2] == escape(rows).lines
    assert escape([*rows, short]).method == "rotation max-T"


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(3, 9))
def test_no_adjusted_p_of_a_ragged_frame_is_below_the_raw_one(state: int, m: int, n: int) -> None:
    rng = np.random.default_rng(state)
    contrasts = []
    for j in range(m):
        seeds = np.flatnonzero(rng.random(n) < 0.75).tolist()
        values = rng.normal(rng.choice([0.0, 0.5, 2.0]), 0.4, len(seeds))
        contrasts.append(differences(values, name=f"s{j}", seeds=seeds))
    for result in (escape(contrasts), degrade_test(contrasts, 0.5, rng=rng, draws=200)):
        ragged = len({c.seeds for c in contrasts if not c.is_degenerate}) > 1
        assert (result.method == "Holm on t, ragged seeds") is ragged
        for line, own in zip(result.lines, contrasts, strict=True):
            assert line.contrast is own
            if not line.degenerate:
                assert line.p is not None
                assert line.p_adjusted is not None
                assert line.p <= line.p_adjusted <= 1
                assert line.simultaneous is not None
                interval = own.t_interval(0.95)
                assert interval is not None
                assert line.simultaneous.low <= interval.low + 1e-9
                assert interval.high <= line.simultaneous.high + 1e-9


def test_missing_seeds_of_another_scorer_cause_no_false_escapes() -> None:
    """A line exactly at δ beside one that failed wherever the line did badly: the worst pattern of failures."""
    rng = np.random.default_rng(11)
    runs, wrong = 600, 0
    for _ in range(runs):
        values = 0.5 + 0.3 * rng.normal(size=10)
        best = np.sort(np.argsort(-values)[:6]).tolist()
        line = differences(values, name="chaos")
        wrong += "chaos" in escape_test([line, differences(rng.normal(size=6), name="w", seeds=best)], 0.5, rng=rng).rejected
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_an_adjusted_p_within_the_error_of_the_draws_says_so() -> None:
    columns = np.random.default_rng(3).normal(0.0, 0.3, (4, 5))
    low, high = 0.5, 2.0
    for _ in range(30):
        columns[0] += (middle := (low + high) / 2) - columns[0].mean()
        p = escape(family(columns))["s0"].p_adjusted
        assert p is not None
        low, high = (middle, high) if p > 0.05 else (low, middle)
    result = escape(family(columns))
    assert result.note("s0") == f"within the Monte Carlo error of α, ±0.015 at {DRAWS} draws"
    assert result.note("s1") == ""
    columns[0] += 3
    assert escape(family(columns)).note("s0") == ""


@pytest.mark.parametrize("n", [5, 8, 22])
def test_renaming_the_seeds_moves_no_p_of_the_family(n: int) -> None:
    rows = np.random.default_rng(n).normal(0.6, 0.5, (4, n))
    order = np.random.default_rng(1).permutation(n).tolist()
    renamed = [differences(row, name=f"s{j}", reference="magnitude", sparsity=0.8, seeds=order) for j, row in enumerate(rows)]
    for ours, theirs in zip(escape(family(rows)).lines, escape(renamed).lines, strict=True):
        assert ours.p_adjusted == theirs.p_adjusted
        assert ours.p_signflip_joint == theirs.p_signflip_joint
        assert ours.simultaneous == theirs.simultaneous


def test_intervals_hold_the_difference_are_wider_than_t_and_shift_with_the_data() -> None:
    rows = np.random.default_rng(1).normal(0, 0.5, (6, 5))
    plain, shifted = escape(family(rows)), escape(family(rows + 7.0))
    for line, moved in zip(plain.lines, shifted.lines, strict=True):
        own = line.contrast.t_interval(0.95)
        assert own is not None
        assert line.simultaneous is not None
        assert moved.simultaneous is not None
        assert line.simultaneous.low < own.low < line.mean < own.high < line.simultaneous.high  # type: ignore[operator]
        assert moved.simultaneous.low == pytest.approx(line.simultaneous.low + 7)
        assert line.confidence_interval(0.95) == line.simultaneous
        assert line.confidence_interval(0.90) is None
    assert plain.critical is not None
    bonferroni = stats.t.ppf(1 - 0.025 / 6, 4)
    assert stats.t.ppf(0.975, 4) < plain.critical < bonferroni * 1.1


def test_many_seeds_and_scorers_are_sampled() -> None:
    rows = np.random.default_rng(2).normal(0.6, 1, (20, 50))
    result = escape_test(family(rows), 0.5, rng=np.random.default_rng(0), draws=500)
    assert result.p_signflip_min == 1 / 500
    assert all(line.p_adjusted is not None and 1 / 500 <= line.p_adjusted <= 1 for line in result.lines)


def test_the_same_state_gives_the_same_result_and_another_nearly() -> None:
    rows = np.random.default_rng(3).normal(0.6, 0.5, (5, 5))
    first, again, other = escape(family(rows)), escape(family(rows)), escape(family(rows), seed=1)
    assert first == again
    for a, b in zip(first.lines, other.lines, strict=True):
        assert a.p_adjusted == pytest.approx(b.p_adjusted, abs=5 * math.sqrt(0.5 / DRAWS))


@pytest.mark.parametrize("truth", ["all null", "null beside far negative", "null beside just below", "null beside escaped"])
def test_family_wise_error_at_five_seeds(truth: str) -> None:
    """P(some true null rejected at 5 %), nulls correlated or not, whatever stands beside them."""
    rng = np.random.default_rng(17)
    n, m, runs = 5, 8, 1200
    means = {"all null": 0.0, "null beside far negative": -30.0, "null beside just below": -1.0, "null beside escaped": 3.0}
    directions = list(rotation_directions(n, 3000, rng))
    wrong = 0
    for run in range(runs):
        shared = rng.normal(size=(n, 1)) * (run % 2)
        columns = rng.normal(size=(n, m)) + shared
        columns[:, m // 2 :] += means[truth]
        null = slice(0, m if truth == "all null" else m // 2)
        wrong += bool((step_down_p(columns, directions)[null] <= 0.05).any())
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    if truth == "all null":  # exact, so not idle either
        assert wrong / runs >= 0.05 - 3 * math.sqrt(0.05 * 0.95 / runs)


def test_simultaneous_coverage_at_five_seeds() -> None:
    rng = np.random.default_rng(23)
    n, m, runs = 5, 8, 800
    directions = list(rotation_directions(n, 3000, rng))
    covered = 0
    for run in range(runs):
        columns = rng.normal(size=(n, m)) + rng.normal(size=(n, 1)) * (run % 2)
        collected = MaxAbs(columns - columns.mean(axis=0))
        for chunk in directions:
            collected.add(chunk)
        t = math.sqrt(n) * columns.mean(axis=0) / columns.std(axis=0, ddof=1)
        covered += bool((np.abs(t) <= collected.quantile(0.95)).all())
    assert covered / runs >= 0.94 - 3 * math.sqrt(0.95 * 0.05 / runs)


def test_results_read_and_print() -> None:
    result = escape(family([[1.9, 2.1, 2.6, 1.7, 2.2], [0.1, -0.2, 0.3, 0.0, 0.2]]))
    assert result.tested == ("s0", "s1")
    assert result.rejected == ("s0",)
    assert all(isinstance(line, Result) for line in result.lines)
    assert result.describe() == (
        "Shown above +0.5 points among 2 scorers, rotation max-T step-down at family-wise α = 0.05 (n = 5 seeds, 2000 draws): s0."
    )
    assert result["s0"].describe().startswith("s0 against magnitude: difference +2.10 points, simultaneous 95 % CI [+1.")
    assert isinstance(result, Result)
    assert result.to_row() == {
        "margin": 0.5,
        "direction": "above",
        "alpha": 0.05,
        "n": 5,
        "tested": "s0, s1",
        "rejected": "s0",
        "method": "rotation max-T",
        "draws": DRAWS,
        "critical": result.critical,
        "p_min_attainable": 1 / 32,
    }
    rows = result.to_rows()
    assert [row["scorer"] for row in rows] == ["s0", "s1"]
    assert {row["p_min_attainable"] for row in rows} == {1 / 32}
    with pytest.raises(KeyError, match="Expected one of s0, s1, got 's9'"):
        result["s9"]


def test_an_empty_family_is_no_error() -> None:
    result = escape([])
    assert (result.lines, result.n, result.critical, result.p_signflip_min) == ((), 0, None, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin": -0.1}, "`margin` of at least 0"),
        ({"margin": math.nan}, "`margin`"),
        ({"direction": "up"}, "`direction` above or below, got 'up'"),
        ({"alpha": 0.7}, "`alpha`"),
        ({"draws": 0}, "`draws`"),
        ({"draws": 1e3}, "`draws` as a whole number"),
        ({"margin": 1e300}, "`margin`"),
        ({"margin": "0.5"}, "`margin`"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        max_t_family(family([[1.0, 2.0, 3.5]]), rng=np.random.default_rng(0), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`delta`"):
        escape_test([], 0.0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("alpha", [0.001, 0.005])
def test_few_draws_make_no_simultaneous_interval_too_short(alpha: float) -> None:
    """A quantile beyond the draws is not known from them; Bonferroni's t holds without any."""
    rows = np.random.default_rng(3).normal(size=(6, 5))
    exact = escape_test(family(rows), 0.5, alpha=alpha, rng=np.random.default_rng(0), draws=400_000).critical
    assert exact is not None
    for seed in range(20):
        few = escape_test(family(rows), 0.5, alpha=alpha, rng=np.random.default_rng(seed), draws=100).critical
        assert few is not None
        assert few == pytest.approx(stats.t.ppf(1 - alpha / 12, 4))
        assert few >= 0.97 * exact
