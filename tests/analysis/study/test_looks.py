"""A whole analysis under a plan of looks."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis import LookPlan, Verdict, analyse, nominal_levels
from sics_analysis.looks.outcome import SETTLED
from sics_analysis.report import build_document, render
from sics_analysis.rows.contrasts import differences
from sics_analysis.rows.looked import looked_contrast
from sics_analysis.study.looks import Margins, chance_of_verdict
from sics_analysis.study.sensitivity import delta_verdicts

PATTERN = np.array([((7 * i) % 11) - 5 for i in range(40)], dtype=float)
GOLDEN = {"even": 0.1 * PATTERN, "high": 1 + 0.2 * PATTERN, "between": 0.4 + 0.2 * PATTERN}
FORTY = LookPlan(40, seeds=tuple(range(40)))
KAPPA = {"magnitude": 0, "power": 0, "even": 1, "high": 2, "between": 1}


def table(columns, seeds, sparsities=(0.7,), kappa=None, failed=()):
    """Rows with these differences to magnitude, in points."""
    known = KAPPA if kappa is None else kappa
    rows = [
        (seed, name, S, 0.8 + 0.01 * np.sin(seed) + d[seed] / 100, known.get(name))
        for S in sparsities
        for name, d in {"magnitude": np.zeros(len(PATTERN)), **columns}.items()
        for seed in seeds
        if (seed, name) not in failed
    ]
    return pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "kappa"]).sample(frac=1, random_state=1)


def looked(columns, seeds, plan=FORTY, **options):
    known = {name: options.pop(name) for name in ("sparsities", "kappa", "failed") if name in options}
    return analyse(table(columns, seeds, **known), looks=plan, draws=2_000, **options)


def alone(name):
    return {"magnitude": 0, name: 2}


@pytest.mark.filterwarnings("ignore::sics_analysis.DataCheckWarning")
@pytest.mark.parametrize(
    ("name", "verdict", "look", "n"), [("even", "EQUIVALENT", 2, 8), ("high", "ESCAPES", 4, 18), ("between", "NONINFERIOR", 2, 8)]
)
def test_the_golden_lines(name, verdict, look, n):
    found = looked({name: GOLDEN[name]}, range(40), kappa=alone(name))
    line, looks = found.line(name, 0.7), found.looks.line(name, 0.7)
    assert (str(line.verdict), str(looks.verdict), looks.decided, looks.deciding.n) == (verdict, verdict, look, n)
    assert line.reason.startswith(f"at look {look} of 6, n = {n}: ")
    assert line.n == 40, "the headline is of all seeds run"
    assert line.ci90.method == line.ci95.method == "repeated student-t"
    if name == "between":  # not worse, and open above: neither EQUIVALENT nor ESCAPES
        assert not looks.settled
        assert (line.ci90.low, line.ci90.high) == pytest.approx((0.2057, 0.6143), abs=6e-5)
        assert looks.looks[-1].repeated_equivalence == pytest.approx(0.2651, abs=6e-5)
    if name == "high":
        deciding = looks.deciding
        assert (deciding.p_escape, deciding.repeated_escape) == pytest.approx((0.00220, 0.0115), abs=6e-5)
        assert (deciding.ci95.low, deciding.ci95.high) == pytest.approx((0.5622, 1.4823), abs=6e-5)
    if name == "even":
        deciding = looks.deciding
        assert deciding.repeated_equivalence == pytest.approx(0.0311, abs=6e-5)
        assert (deciding.ci90.low, deciding.ci90.high) == pytest.approx((-0.4020, 0.4520), abs=6e-5)
        assert looks.looks[0].p_equivalence == pytest.approx(0.02442, abs=6e-6)


def random_columns(seed):
    rng = np.random.default_rng(seed)
    means = {"power": 0.1, "even": 0.5, "high": 1.0, "between": 0.4, "control": -0.6}
    return {name: mean + rng.normal(0, 0.6, 40) for name, mean in means.items()}


@settings(max_examples=6)
@given(st.integers(0, 1_000))
def test_a_verdict_is_kept_and_a_look_once_made_stays_as_it_was(seed):
    columns, plan = random_columns(seed), LookPlan(20, seeds=tuple(range(20)))
    whole = looked(columns, range(20), plan)
    for made, n in enumerate(plan.looks[:3], 1):
        part = looked(columns, range(n), plan)
        assert part.looks.made == made
        for line in part.looks.lines:
            later = whole.looks.line(line.scorer, line.sparsity)
            assert line.looks == later.looks[:made]
            if line.settled:
                assert (later.verdict, later.decided) == (line.verdict, line.decided)


@settings(max_examples=6)
@given(st.integers(0, 1_000))
def test_one_planned_look_is_the_fixed_design(seed):
    frame = table({name: d[:5] for name, d in random_columns(seed).items()}, range(5))
    fixed, once = analyse(frame, draws=2_000), analyse(frame, looks=LookPlan(5), draws=2_000)
    ours = once.to_dict()
    assert ours.pop("looks")["made"] == 1
    assert ours == fixed.to_dict()
    assert [line.verdict for line in once.looks.lines] == [line.verdict for line in fixed.lines]


def test_the_order_of_rows_changes_nothing_and_the_same_seed_gives_the_same():
    columns = random_columns(3)
    one = looked(columns, range(12))
    frame = table(dict(reversed(columns.items())), range(12)).iloc[::-1]
    assert analyse(frame, looks=FORTY, draws=2_000).to_dict() == one.to_dict()
    json.dumps(one.to_dict(), allow_nan=False)


def test_between_two_looks_nothing_is_tested():
    columns = random_columns(4)
    at, between = looked(columns, range(8)), looked(columns, range(11))
    assert [line.to_row() for line in between.lines] == [line.to_row() for line in at.lines]
    assert (between.looks.made, between.looks.next_look, between.looks.run) == (2, 12, 11)
    assert between.looks.waiting == (8, 9, 10)
    line = between.looks.line("high", 0.7)
    assert (line.n_run, between.line("high", 0.7).n) == (11, 8)
    assert line.mean_run == pytest.approx(columns["high"][:11].mean())
    assert "3 more seeds run since look 2: counted at the next look, 12 seeds" in between.looks.stamps()
    assert "stopped at look 2 of 6: 0.01 of α = 0.05 spent" in between.looks.stamps()


def test_a_look_waits_for_all_its_seeds_in_the_order_of_the_plan():
    columns = random_columns(4)
    plan = LookPlan(40, seeds=tuple(reversed(range(40))))
    found = looked(columns, [39, 38, 37, 36, 35, 34, 33, 31, 30], plan)
    assert (found.looks.made, found.looks.n, found.looks.run) == (1, 5, 7)
    assert found.line("high", 0.7).seeds == (35, 36, 37, 38, 39)
    assert set(found.looks.waiting) == {30, 31, 33, 34}


def test_before_the_first_look_there_is_no_p_and_no_verdict():
    found = looked(random_columns(1), range(4))
    assert found.looks.made == 0
    for line in found.lines:
        assert line.verdict is Verdict.INCONCLUSIVE
        assert line.ci90 is line.p_equivalence is line.p_escape_adjusted is None
        assert line.mean is not None
    assert "before the first look: 4 of 5 seeds, nothing is tested" in found.looks.stamps()


@pytest.mark.filterwarnings("ignore::sics_analysis.DataCheckWarning")
def test_past_the_maximum_there_is_no_verdict_and_a_stamp():
    columns, plan = random_columns(2), LookPlan(20, seeds=tuple(range(20)))
    at, past = looked(columns, range(20), plan), looked(columns, range(30), plan)
    assert [line.to_row() for line in past.lines] == [line.to_row() for line in at.lines]
    assert past.looks.extra == tuple(range(20, 30))
    assert past.looks.line("high", 0.7).n_run == 30
    assert past.looks.stamps() == ("10 seeds past the plan's 20: no α is left for them, no verdict rests on them",)


@pytest.mark.filterwarnings("ignore::sics_analysis.DataCheckWarning")
def test_failed_seeds_are_not_replaced_and_a_line_spends_by_its_own():
    columns = random_columns(5)
    frame = table(columns, [seed for seed in range(8) if seed != 3], failed={(6, "high")})
    assert analyse(frame, looks=FORTY, draws=500).looks.made == 0, "seed 3 may be yet to come"
    found = analyse(frame, looks=FORTY, ended=range(8), draws=500)
    assert (found.looks.made, found.looks.failed) == (2, (3,))
    assert [look.n for look in found.looks.line("even", 0.7).looks] == [4, 7]
    high = found.looks.line("high", 0.7)
    assert [look.n for look in high.looks] == [4, 6]
    assert high.spent == pytest.approx(0.05 * 6 / 40)
    assert high.looks[1].level == pytest.approx(nominal_levels((4, 6), 40, complete=False)[-1])


@pytest.mark.filterwarnings("ignore::sics_analysis.DataCheckWarning")
def test_what_equal_differences_show_is_said_anew():
    d = np.full(40, 0.2)
    d[8:] += np.resize([4.0, -4.0], 32)
    kappa = {"magnitude": 0, "even": 0}
    assert str(looked({"even": d}, range(8), kappa=kappa).line("even", 0.7).verdict) == "EQUIVALENT"
    later = looked({"even": d}, range(12), kappa=kappa).looks.line("even", 0.7)
    assert later.verdict is Verdict.INCONCLUSIVE
    assert [str(look.verdict) for look in later.looks] == ["INCONCLUSIVE", "EQUIVALENT", "INCONCLUSIVE"]


def test_a_kept_verdict_survives_what_later_looks_say():
    d = 0.02 * PATTERN
    d[12:] += 4.0
    found = looked({"even": d}, range(40), kappa=alone("even"))
    line = found.line("even", 0.7)
    assert (str(line.verdict), found.looks.line("even", 0.7).decided) == ("EQUIVALENT", 1)
    assert line.mean > 2, "while the headline is of all seeds"


def test_a_gain_over_information_keeps_its_verdict_and_names_the_look():
    """The golden lines as gains over the control, which itself gains what no line does."""
    gained = 3 + 0.3 * np.roll(PATTERN, 3)
    columns = {name: d + gained for name, d in GOLDEN.items()}
    d = 0.02 * PATTERN
    d[12:] += 4.0
    found = looked({"information": gained, **columns, "later": d + gained}, range(40), kappa=KAPPA | {"later": 1})
    told = {line.scorer: (str(line.verdict), line.reason.partition(":")[0]) for line in found.attribution}
    assert told["even"] == ("EQUIVALENT", "at look 2 of 6, n = 8")
    assert told["later"] == ("EQUIVALENT", "at look 1 of 6, n = 5")
    assert told["between"][0] == "NONINFERIOR"
    assert told["high"][0] == "ESCAPES"
    once = looked({"information": gained, **columns}, range(5), plan=LookPlan(5, seeds=tuple(range(5))))
    assert not any("look" in line.reason for line in once.attribution)


def test_halves_of_an_equivalence_may_be_shown_at_two_looks():
    """Not worse by look 1, not better by look 2: both are shown, so that the line is equivalent (intersection-union)."""
    rng = np.random.default_rng(0)
    plan, found = LookPlan(20, seeds=tuple(range(20))), 0
    for _ in range(60):
        d = rng.normal(0, 1.0, 40)
        analysis = looked({"even": d}, range(20), plan, kappa=alone("even"))
        looks, line = analysis.looks.line("even", 0.7), analysis.line("even", 0.7)
        if looks.verdict is not Verdict.EQUIVALENT:
            continue
        inside = looks.deciding.ci90.inside(0.5)
        low = max(look.ci90.low for look in looks.looks[: looks.decided])
        high = min(look.ci90.high for look in looks.looks[: looks.decided])
        assert low >= -0.5
        assert high <= 0.5
        assert ("90 % interval inside ±0.5" in line.reason) == inside
        assert ("shown above −0.5 at look" in line.reason) != inside
        found += not inside
    assert found > 0


def test_hopeless_lines_are_named_and_stay_counted():
    d = 0.5 + 0.02 * PATTERN
    found = looked({"even": d, "high": 1 + 0.2 * PATTERN, "between": d[::-1].copy()}, range(27))
    line = found.looks.line("even", 0.7)
    assert line.hopeless
    assert line.looks[-1].chance < 0.05
    assert line in found.looks.hopeless
    assert found.family(0.7).escape["high"].looks[-1].left == 3
    assert "hopeless" in line.describe()


@pytest.mark.parametrize("mean", [0.0, 0.3, 0.6, 1.0])
def test_the_chance_of_a_verdict_is_that_of_the_predicted_mean(mean):
    rng = np.random.default_rng(1)
    d = mean + rng.normal(0, 0.8, 12)
    look = looked_contrast(differences(d), FORTY, range(40), 3).looks[-1]
    chance = chance_of_verdict(look, FORTY, Margins(0.5, 0.05, None), 3, Verdict.INCONCLUSIVE)
    sd = d.std(ddof=1)
    future = d.mean() + sd * np.sqrt(1 / 12 - 1 / 40) * rng.standard_t(11, 200_000)
    levels = [nominal_levels(FORTY.looks, 40, 0.05, m)[-1] for m in (1, 3)]
    own, adjusted = (stats.t.isf(level, 39) * sd / np.sqrt(40) for level in levels)
    shown = (np.abs(future) <= 0.5 - own) | (np.abs(future) >= 0.5 + adjusted)
    assert chance == pytest.approx(shown.mean(), abs=0.006)


def test_a_report_is_made_of_it_in_every_format():
    found = looked(random_columns(7), range(12), sparsities=(0.7, 0.8))
    document = build_document(found, found.rows)
    for form in ("html", "md", "latex", "json", "csv", "terminal"):
        assert render(document, form)
    assert "at look" in found.describe()
    own = {(d.scorer, d.verdict) for d in delta_verdicts(found) if d.delta == 0.5 and d.sparsity == 0.7}
    assert own == {(line.scorer, line.verdict) for line in found.lines if line.sparsity == 0.7}


def test_settled_lines_are_those_with_a_two_sided_verdict():
    found = looked(random_columns(8), range(20), LookPlan(20))
    for line in found.looks.lines:
        assert line.settled == (line.verdict in SETTLED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 0.1}, "Expected `alpha` to be that of the plan of looks, 0.05, got 0.1"),
        ({"unpaired": True}, "Expected paired seeds with `looks`"),
        ({"looks": LookPlan(5, seeds=(90, 91, 92, 93, 94))}, "Expected rows of the planned seeds"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, said):
    with pytest.raises(ValueError, match=said):
        analyse(table(random_columns(0), range(5)), **{"looks": FORTY, **options})


def told(d, plan, delta=0.5, alpha=0.05):
    """The verdict after each look, of one line, from Student's t at the nominal levels alone."""
    lower = upper = False
    kept, found = "INCONCLUSIVE", []
    for n, level in zip(plan.looks, nominal_levels(plan.looks, plan.n_max, alpha), strict=True):
        p = {
            side: stats.ttest_1samp(d[:n], bound, alternative=side).pvalue
            for side, bound in (("greater", -delta), ("less", delta))
        }
        lower, upper = lower or p["greater"] <= level, upper or p["less"] <= level
        if kept not in SETTLED:
            escapes = stats.ttest_1samp(d[:n], delta, alternative="greater").pvalue <= level
            degrades = stats.ttest_1samp(d[:n], -delta, alternative="less").pvalue <= level
            which = {
                "EQUIVALENT": lower and upper,
                "ESCAPES": escapes,
                "DEGRADES": degrades,
                "NONINFERIOR": lower,
                "NONSUPERIOR": upper,
            }
            kept = next((name for name, shown in which.items() if shown), "INCONCLUSIVE")
        found.append(kept)
    return found


@pytest.mark.filterwarnings("ignore::sics_analysis.DataCheckWarning")
def test_verdicts_are_those_of_t_at_the_nominal_levels():
    """On both sides, and of a metric where lower is better just so."""
    rng, wide = np.random.default_rng(11), LookPlan(20, seeds=tuple(range(20)))
    mirror = {"ESCAPES": "DEGRADES", "NONINFERIOR": "NONSUPERIOR"}
    mirror |= {b: a for a, b in mirror.items()}
    seen = set()
    for mean in (-1.3, -0.9, -0.5, 0.0, 0.5, 0.9, 1.3) * 3:
        d = np.concatenate([mean + rng.choice([0.3, 0.8]) * rng.standard_normal(20), np.zeros(20)])
        for sign in (1, -1):
            found = looked({"chaos": sign * d}, range(20), plan=wide, kappa=alone("chaos")).looks.line("chaos", 0.7)
            expected = told(d, wide)
            if sign < 0:
                expected = [mirror.get(one, one) for one in expected]
            assert [str(look.verdict) for look in found.looks] == expected
            seen |= set(expected)
    assert seen >= {"EQUIVALENT", "ESCAPES", "DEGRADES", "NONINFERIOR", "NONSUPERIOR", "INCONCLUSIVE"}
