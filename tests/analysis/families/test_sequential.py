"""Families at several looks: the levels, closed testing, ragged seeds, and that a look once made stays as it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from sics_analysis import (
    LookPlan,
    attribute,
    degrade_test,
    escape_test,
    holm,
    kappa_spectrum,
    nominal_levels,
    repeated_p,
    run_wide,
)
from sics_analysis.families.how_far import how_far
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.rows.contrasts import differences
from sics_analysis.rows.looked import LookedContrast, looked_contrast

PLAN = LookPlan(20)
DRAWS = 2_000


def looked(d, name="a", made=4, missing=(), plan=PLAN, sparsity=0.7, reference="magnitude"):
    n = plan.looks[made - 1]
    seeds = [seed for seed in range(n) if seed not in missing]
    found = differences(np.asarray(d)[seeds], name=name, seeds=seeds, sparsity=sparsity, reference=reference)
    return looked_contrast(found, plan, range(plan.n_max), made)


def family(seed, means=(0.5, 0.5, 0.5, 0.5), made=4, missing=None, plan=PLAN, sd=0.3):
    d = np.random.default_rng(seed).normal(0, sd, (plan.n_max, len(means))) + means
    lacks = missing or [()] * len(means)
    return [looked(d[:, j], f"s{j}", made, lacks[j], plan) for j in range(len(means))]


def outcome(contrasts, delta=0.5, draws=DRAWS, test=escape_test):
    return test(contrasts, delta, rng=np.random.default_rng(1), draws=draws)


def test_a_line_by_itself_is_tested_at_the_levels_of_one_line():
    (line,) = outcome(family(3, (0.9,))).lines
    levels = nominal_levels(PLAN.looks, 20)
    for look, n, level in zip(line.looks, PLAN.looks, levels, strict=True):
        own = p_above(differences(line.contrast.differences[:n]), 0.5)
        assert (look.p, look.level) == pytest.approx((own, level))
        assert look.repeated == pytest.approx(repeated_p(own, PLAN.looks[: look.look], 20, complete=n == 20))
    assert line.p_adjusted == min(look.repeated for look in line.looks)
    assert line.p_adjusted == line.p == line.p_holm


@settings(max_examples=12)
@given(st.integers(0, 10_000))
def test_a_line_is_shown_exactly_where_its_p_was_at_most_the_level_of_the_lines_left(seed):
    found = outcome(family(seed, (0.5, 0.7, 0.9, 1.2)))
    for line in found.lines:
        assert (line.p_adjusted <= 0.05) == (line.name in found.rejected)
        adjusted = [look.p_adjusted for look in line.looks]
        assert adjusted == sorted(adjusted, reverse=True), "more looks never take a verdict back"
        now = line.looks[-1]
        if now.p <= now.level * (1 - 1e-3):
            assert now.p_adjusted <= 0.05
        first = next((look for look in line.looks if look.p_adjusted <= 0.05), None)
        assert (first is None) == (line.p_adjusted > 0.05)


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_looks_that_were_made_are_made_again_with_the_same_result(seed):
    whole = {line.name: line.looks for line in outcome(family(seed, (0.5, 0.8, 1.1))).lines}
    for made in (1, 2, 3):
        for line in outcome(family(seed, (0.5, 0.8, 1.1), made)).lines:
            assert line.looks == whole[line.name][:made]


def test_lines_that_escape_leave_and_the_others_get_the_levels_of_a_smaller_family():
    found = outcome(family(5, (3.0, 0.5, 0.5)))
    assert [look.left for look in found["s0"].looks] == [3, 3, 3, 3]
    assert [look.left for look in found["s1"].looks] == [2, 2, 2, 2]
    assert [look.level for look in found["s1"].looks] == pytest.approx(nominal_levels(PLAN.looks, 20, family=2))


def test_a_line_without_a_test_stays_counted():
    pair = family(6, (0.5, 0.5))
    lost = looked(np.zeros(20), "lost", missing=range(2, 20))
    found = outcome([*pair, lost])
    assert [look.level for look in found["s0"].looks] == pytest.approx(nominal_levels(PLAN.looks, 20, family=3))
    assert found["lost"].p_adjusted is None
    assert found["lost"].degenerate


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_ragged_families_have_holm_on_sequential_p_with_each_lines_own_levels(seed):
    lacks = [(), (1,), (6, 9), ()]
    contrasts = family(seed, (0.5, 0.8, 0.9, 1.1), missing=lacks)
    # The first look is ragged too, as the second line lacks a seed of it.
    found = outcome(contrasts)
    own = [p_above(c, 0.5) for c in contrasts]
    assert [line.p_adjusted for line in found.lines] == pytest.approx(holm(own))
    assert found.method.startswith("Holm")
    assert [line.p_holm for line in found.lines] == pytest.approx(holm(own))


def test_a_line_with_failed_seeds_spends_by_its_own():
    plan = LookPlan(40)
    c = looked(np.random.default_rng(0).normal(1, 1, 40), made=6, missing=(6, 20), plan=plan)
    assert [look.counts[-1] for look in c.looks] == [5, 7, 11, 17, 25, 38]
    assert [look.level(0.05) for look in c.looks] == pytest.approx(nominal_levels((5, 7, 11, 17, 25, 38), 40))


def test_a_look_without_a_new_seed_is_none():
    c = looked(np.random.default_rng(0).normal(1, 1, 20), missing=(5, 6, 7))
    assert [(look.number, look.counts[-1]) for look in c.looks] == [(1, 5), (3, 9), (4, 17)]


def test_equal_differences_are_said_anew_at_each_look():
    d = np.full(20, 0.2)
    d[8:] = np.random.default_rng(0).normal(0.4, 0.4, 12)
    part = looked(d, made=2)
    assert p_below(part, 0.5) == pytest.approx(repeated_p(2.0**-8, (5, 8), 20, complete=False))
    later = looked(d, made=3)
    exact = p_below(differences(d[:12]), 0.5)
    assert p_below(later, 0.5) == pytest.approx(repeated_p(exact, (5, 8, 12), 20, complete=False)), "not what was equal before"
    high = outcome([looked(2 + 0 * d, "constant"), *family(1, (0.0, 0.1))])
    assert high["constant"].p_adjusted == pytest.approx(3 * repeated_p(2.0**-20, PLAN.looks, 20))


def test_the_exact_p_of_equal_differences_never_passes_a_look_below_it():
    """2⁻⁵ = .031 is below .05 and above the level of the first look."""
    assert outcome([looked(np.full(20, 2.0), made=1)]).rejected == ()
    assert outcome([looked(np.full(20, 2.0), made=2)]).rejected == ("a",)


def test_degrading_is_escaping_mirrored():
    contrasts = family(7, (0.5, 1.0, 1.5))
    mirrored = [looked(-np.array(c.differences), c.name) for c in contrasts]
    up, down = outcome(contrasts), outcome(mirrored, test=degrade_test)
    assert [line.p_adjusted for line in down.lines] == pytest.approx([line.p_adjusted for line in up.lines])


def test_simultaneous_intervals_hold_at_the_level_of_the_look():
    found = outcome(family(8, (0.0, 0.0, 0.0), made=1), draws=20_000)
    c = found["s0"].contrast
    half = found["s0"].simultaneous.width / 2 / c.se
    single = c.t_interval(0.95).width / 2 / c.se
    wide = looked(c.differences, made=1).level(0.025 / 3)
    assert single < half < -special.stdtrit(4, wide) * 1.05


def test_run_wide_is_holm_over_the_sparsities_on_sequential_p():
    families = [outcome(family(seed, (0.5, 1.0))) for seed in (1, 2)]
    for found, S in zip(families, (0.7, 0.8), strict=True):
        for line in found.lines:
            object.__setattr__(line, "contrast", differences(line.contrast.differences, name=line.name, sparsity=S))
    wide = run_wide(families, rng=np.random.default_rng(0))
    assert wide.method == "Holm over the sparsities"
    for found in families:
        for line in found.lines:
            assert line.p_adjusted <= wide.get(line.name, line.sparsity) <= min(1, 2 * max(x.p_adjusted for x in found.lines))


def test_kappa_rests_on_the_sequential_p_of_its_own_families():
    smooth, raw = family(1, (-5.0, -5.0)), family(2, (2.0, 0.0))
    raw = [looked(c.differences, f"r{i}") for i, c in enumerate(raw)]
    found = kappa_spectrum({0.7: {1: smooth, 2: raw}}, 0.5, rng=np.random.default_rng(0), draws=DRAWS)[0.7]
    assert found.kappa == 2
    both = outcome([*smooth, *raw])
    assert found.p_values[0] == pytest.approx(min(line.p_adjusted for line in both.lines), rel=0.3)
    assert found.p_values[1] == pytest.approx(max(p_below(c, 0.5) for c in smooth))


def test_attribution_has_its_own_families_at_the_same_looks():
    rng = np.random.default_rng(4)
    info, over = rng.normal(0.2, 0.2, 20), rng.normal(1.5, 0.3, 20)
    gain = looked(info + over, "chaos")
    control = looked(info, "information")
    line = attribute(
        [gain],
        [looked(over, "chaos", reference="information")],
        control,
        {"chaos": 2},
        0.5,
        rng=np.random.default_rng(0),
        draws=DRAWS,
    )[0]
    assert isinstance(line.complexity, LookedContrast)
    assert line.p_escape_adjusted == pytest.approx(p_above(line.complexity, 0.5))
    assert line.verdict == "ESCAPES"


def test_how_far_goes_by_sequential_p():
    at = {0.5: 0.1, 0.7: 0.0, 0.9: -3.0}
    rng = np.random.default_rng(0)
    sequence = [looked(rng.normal(mean, 0.2, 20), "chaos", sparsity=S) for S, mean in at.items()]
    (found,) = how_far({"chaos": sequence}, 0.5)
    assert found.reached == 0.7
    assert [step.p for step in found.steps] == pytest.approx([p_above(c, -0.5) for c in sequence])
    assert found.steps[0].bound == pytest.approx(sequence[0].t_interval(0.90).low)


def test_contrasts_with_and_without_looks_do_not_mix():
    with pytest.raises(ValueError, match="one plan of looks"):
        outcome([*family(1, (0.5,)), differences(np.arange(5.0), name="fixed")])
