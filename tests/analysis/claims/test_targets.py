import numpy as np
import pandas as pd
import pytest

from sics_analysis import LookPlan, analyse
from sics_analysis.claims.targets import all_settled, parse_target, target_states
from sics_analysis.results import IMAGE_ACCURACY

PLAN = LookPlan(20, seeds=tuple(range(20)))


def analysis(columns, n=20, plan=PLAN, kappa=True):
    classes = {"magnitude": 0, "power": 0, "chaos": 2, "bump": 1}
    d = {"magnitude": np.zeros(n), **columns}
    rows = [(i, name, 0.7, 0.8 + 0.01 * np.sin(i) + d[name][i] / 100) for name in d for i in range(n)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    if kappa:
        frame["kappa"] = frame["scorer"].map(classes)
    return analyse(frame, looks=plan, draws=2_000)


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    columns = {"power": rng.normal(0, 0.1, 20), "chaos": rng.normal(2, 0.3, 20), "bump": rng.normal(0.5, 0.3, 20)}
    return {n: analysis(columns, n) for n in (4, 5, 20)}


@pytest.mark.parametrize(
    ("target", "settled", "said"),
    [
        ("escape:chaos@0.7", True, "supported"),
        ("escape:power@0.7", True, "contradicted"),
        ("nonsuperior:chaos@0.7", True, "contradicted"),
        ("plateau@0.7", True, "supported"),
        ("escape:bump@0.7", False, "undecided"),
        ("share:0.5", True, "1 of 2 lines is settled"),
        ("share:0.6", False, "1 of 2 lines is settled"),
    ],
)
def test_a_target_is_settled_when_it_is_answered_either_way(run, target, settled, said):
    (state,) = target_states([parse_target(target)], run[20])
    assert (state.settled, state.target) == (settled, target)
    assert said in state.text
    assert state.describe().startswith(f"{target}: {'settled' if settled else 'open'}, ")


def test_nothing_is_settled_before_the_first_look(run):
    targets = [parse_target(text) for text in ("escape:chaos@0.7", "plateau@0.7", "share:0.1", "kappa@0.7=2")]
    assert not any(state.settled for state in target_states(targets, run[4]))


def test_a_run_stops_when_all_is_settled_and_never_without_a_target(run):
    asked = [parse_target("escape:chaos@0.7"), parse_target("plateau@0.7")]
    assert all_settled(asked, run[20])
    assert not all_settled([*asked, parse_target("escape:bump@0.7")], run[20])
    assert not all_settled([], run[20])


def test_what_a_fixed_design_would_show_settles_nothing_at_a_look():
    """At five seeds p = .011 is below .05, and above .00625."""
    d = 1.0 + 0.22 * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    looked = analysis({"chaos": d}, 5, LookPlan(40, seeds=tuple(range(40))), kappa=False)
    fixed = analysis({"chaos": d}, 5, LookPlan(5), kappa=False)
    for text in ("escape:chaos@0.7", "nonsuperior:chaos@0.7"):
        assert not target_states([parse_target(text)], looked)[0].settled
        assert target_states([parse_target(text)], fixed)[0].settled


def test_without_kappa_the_share_is_of_the_escape_families():
    rng = np.random.default_rng(0)
    found = analysis({"chaos": rng.normal(2, 0.3, 20), "other": rng.normal(0, 0.1, 20)}, kappa=False)
    assert "2 of 2" in target_states([parse_target("share:1")], found)[0].text


def test_a_hopeless_line_is_open_and_named():
    rng = np.random.default_rng(2)
    plan = LookPlan(40, seeds=tuple(range(40)))
    found = analysis({"chaos": 0.5 + np.resize([0.02, -0.02, 0.0], 27), "bump": rng.normal(0, 0.05, 27)}, 27, plan)
    assert found.looks.line("chaos", 0.7).hopeless
    state = target_states([parse_target("share:0.8")], found)[0]
    assert not state.settled
    assert "not expected to be: chaos at S = 0.7" in state.text


def images(columns, n=20, sparsity=0.7):
    """A run on images with κ, of which the paper speaks: one S, and these scorers."""
    classes = {"magnitude": 0, "power": 0, "smooth_chaos": 1, "bump": 1, "chaos": 2}
    d = {"magnitude": np.zeros(n), **columns}
    rows = [(i, name, sparsity, 0.6 + 0.01 * np.sin(i) + d[name][i] / 100) for name in d for i in range(n)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]).assign(
        kappa=lambda f: f["scorer"].map(classes)
    )
    return analyse(frame, looks=PLAN, draws=2_000, metric=IMAGE_ACCURACY)


def test_the_claims_of_the_paper_keep_no_run_open_that_it_does_not_test_or_cannot_decide():
    rng = np.random.default_rng(4)
    columns = {"power": 0.05 * rng.normal(size=20), "smooth_chaos": 4.0 + 0.1 * rng.normal(size=20)}
    columns |= {"bump": 0.3 + 0.1 * rng.normal(size=20), "chaos": 0.05 * rng.normal(size=20)}
    (state,) = target_states([parse_target("claims")], images(columns))
    # plateau and fake-below-gradient are of sparsities or scorers that are not there; κ(0.7), three sizes and the bump below are.
    assert state.settled
    assert state.text == "5 of 6 claims of the paper are decided; no further seed of this run could decide: plateau"
    noisy = {name: 3.0 * rng.normal(size=20) for name in columns}
    (state,) = target_states([parse_target("claims")], images(noisy))
    assert not state.settled
    assert "; open: plateau, kappa1-at-0.7, smooth-size-0.7, bump-size" in state.text


def test_rows_that_the_paper_does_not_speak_of_settle_none_of_its_claims(run):
    (state,) = target_states([parse_target("claims")], run[20])
    assert (state.settled, state.text) == (False, "0 of 0 claims of the paper are decided")


@pytest.mark.parametrize("text", ["share:0", "share:1.5", "share:", "share:x", "share@0.7", "share:1.2.3", "nothing"])
def test_no_target_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=f"Expected a .*got '{text}'") as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)


def test_targets_take_an_analysis_with_looks(run):
    rows = [(i, name, 0.7, a) for name, a in (("magnitude", 0.8), ("chaos", 0.9)) for i in range(5)]
    fixed = analyse(pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]), draws=500)
    with pytest.raises(ValueError, match="`looks`"):
        target_states([parse_target("share:0.5")], fixed)
