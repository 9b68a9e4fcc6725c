"""What would settle a line, and that all who say so say the same."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.planning.outlook import family_spread, family_spreads, next_steps, power_curve, shrunk
from sics_analysis.report import FORMATS, ReportDocument, render, report_table
from sics_analysis.results import NextStep
from sics_analysis.study.analyse import analyse
from sics_analysis.study.outcome import Line
from sics_cli.main import main

#: Mean 0 and sd 1 in three seeds, so that scaled by an sd they have that sd.
UNIT = np.array([-1.0, 0.0, 1.0])


def lines(delta: float = 0.5, **columns: list[float]) -> tuple[Line, ...]:
    """Lines of scorers of κ 1 with these differences in points."""
    rows = [(i, "magnitude", 0, 0.7, 0.5) for i in range(9)]
    rows += [(i, name, 1, 0.7, 0.5 + d / 100) for name, values in columns.items() for i, d in enumerate(values)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "kappa", "sparsity", "accuracy"])
    return analyse(frame, delta=delta, draws=500).lines


def step(values: list[float] | np.ndarray, delta: float = 0.5) -> NextStep:
    (found,) = next_steps(lines(delta, a=list(values)), delta, 0.05)
    return found


@pytest.mark.parametrize(("ratio", "seeds"), [(0.5, 36), (0.75, 17), (1.0, 11)])
def test_no_difference_points_to_equivalence_by_the_published_seeds(ratio: float, seeds: int) -> None:
    # Paired TOST, true difference 0, α .05: 36, 17 and 11 seeds for 80 % at δ/sd of .5, .75 and 1.
    found = step(UNIT * 0.5 / ratio)
    assert (found.goal, found.goal_seeds) == ("EQUIVALENT", seeds)
    assert found.planned == 0.0
    # The half of it, a one-sided t at the same distance, takes fewer: for δ/sd = .5, (1.645 + .842)²/.25 = 24.7 and a few.
    assert found.verdict == "NONINFERIOR"
    assert found.seeds is not None
    assert found.seeds < seeds
    if ratio == 0.5:
        assert found.seeds == 27


def test_an_estimate_is_drawn_towards_zero() -> None:
    assert shrunk(0.4, 0.2) == pytest.approx(0.3)  # t = 2: 0.4·(1 − 1/4)
    assert shrunk(-0.4, 0.2) == pytest.approx(-0.3)
    assert shrunk(0.2, 0.2) == shrunk(0.1, 0.2) == shrunk(0.0, 0.2) == 0.0
    # Mean 2, sd 1 in 3 seeds: se² = 1/3, planned 2·(1 − 1/12) = 11/6, and the interval 2 ± 1.69 crosses +.5 alone.
    found = step(UNIT + 2.0)
    assert found.planned == pytest.approx(11 / 6)
    assert (found.verdict, found.goal, found.open) == ("ESCAPES", "ESCAPES", False)
    # Shift 4/3 of an sd: the least n with a noncentral t power of 80 % is 6 (5 gives 76 %).
    assert found.seeds == 6


def test_a_line_below_points_the_other_way() -> None:
    up, down = step(UNIT + 2.0), step(-UNIT - 2.0)
    assert (down.verdict, down.seeds, down.planned) == ("DEGRADES", up.seeds, -up.planned)
    assert step(-2 * UNIT - 0.3).verdict == "NONSUPERIOR"


def test_the_range_of_seeds_is_that_of_the_sd() -> None:
    found = step(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / np.sqrt(2.5) * 0.5 / 0.75)
    assert found.goal_seeds == 17
    assert found.seeds_low is not None
    assert found.seeds is not None
    assert found.seeds_high is not None
    assert found.seeds_low < found.seeds < found.seeds_high
    assert found.seeds_high / found.seeds == pytest.approx(2.87**2, rel=0.2)


@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=4, max_size=7, unique=True))
def test_a_settled_line_asks_for_nothing_and_a_step_is_in_order(values: list[float]) -> None:
    (line,) = lines(a=values)
    found = next_steps((line,), 0.5, 0.05)
    assert bool(found) == (str(line.verdict) in ("INCONCLUSIVE", "NONINFERIOR", "NONSUPERIOR"))
    for one in found:
        assert abs(one.planned) <= abs(one.mean)
        assert one.planned * one.mean >= 0
        if one.seeds is not None and one.seeds_low is not None:
            assert one.seeds_low <= one.seeds
        if one.open and one.seeds is not None and one.goal_seeds is not None and one.goal == "EQUIVALENT":
            assert one.seeds <= one.goal_seeds, "the half of a test takes no more than the whole"


def with_images(sd_images: float) -> tuple[Line, ...]:
    rng = np.random.default_rng(3)
    n, m = 5, 400
    lean = rng.permutation(np.linspace(-sd_images, sd_images, m))
    rows, bits = [], {}
    for i in range(n):
        base = rng.random(m) < 0.5
        other = np.where(rng.random(m) < 0.12, rng.random(m) < 0.5 + lean, base)
        for name, kappa, right in (("magnitude", 0, base), ("a", 1, other)):
            rows.append((i, name, kappa, 0.7, right.mean(), int(right.sum()), m))
            bits[i, name, 0.7] = right
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "kappa", "sparsity", "accuracy", "correct", "n"])
    return analyse(frame, bits=bits, draws=500).lines


def test_new_images_take_as_many_seeds_or_more_images() -> None:
    (line,) = with_images(0.3)
    (found,) = next_steps((line,), 0.5, 0.05)
    assert line.split is not None
    assert found.image_share == line.split.image_share
    assert found.seeds is not None
    if found.both_seeds is not None and found.both_images is not None:
        assert found.both_seeds >= found.seeds
        assert found.both_images >= 400


def test_one_wild_scorer_does_not_plan_for_the_others() -> None:
    wild = lines(a=list(UNIT), b=list(2 * UNIT), c=list(900 * UNIT / 20))
    spread = family_spread(wild)
    assert spread is not None
    assert (spread.sd, spread.family, spread.n) == (pytest.approx(2.0), 3, 3)
    assert family_spread(()) is None
    assert family_spreads(()) == ()
    assert power_curve((), 0.5, 0.05).reason


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    rows = [
        (i, name, kappa, S, round(0.8 + rng.normal(0, 0.001 * (1 + j)), 6))
        for i in range(5)
        for S in (0.5, 0.7)
        for j, (name, kappa) in enumerate({"magnitude": 0, "a": 1, "b": 2, "mine": None, "random": None}.items())
    ]
    path = tmp_path_factory.mktemp("pilot") / "pilot.csv"
    pd.DataFrame(rows, columns=["seed", "scorer", "kappa", "sparsity", "accuracy"]).to_csv(path, index=False)
    return path


def test_plan_and_report_give_the_same_numbers_and_families(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(pilot), "--format", "json"]) == 0
    document = ReportDocument.from_dict(json.loads(capsys.readouterr().out))
    assert main(["plan", "--from", str(pilot)]) == 0
    shown = capsys.readouterr().out
    (overall,) = [line for line in shown.splitlines() if line.startswith("all S")]
    needed = [int(word) for word in overall.replace("%", " ").split() if word.isdigit()]
    assert needed == [document.power.needed_equivalence, document.power.needed_escape]
    assert document.power.family == 3, "a scorer of unknown κ counts in the family, random does not"
    assert "tested with 3 scorers" in " ".join(shown.split())
    table = shown[shown.index("What would settle") :]
    assert document.next_steps
    for one in document.next_steps:
        assert any(one.scorer in row and one.verdict in row and str(one.seeds) in row for row in table.splitlines()), one


def test_the_report_and_its_terminal_name_one_command(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--from", str(pilot)]) == 0
    assert "sics-run replicate" not in capsys.readouterr().out, "a table is no run that could be continued"


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "csv"])  # a CSV is the verdicts alone
def test_every_format_says_what_to_do_next_and_how_far(kind: str) -> None:
    rng = np.random.default_rng(1)
    rows = [(i, "dense", 0.0, 0.9 + 0.001 * i) for i in range(5)]
    rows += [
        (i, name, S, 0.9 + 0.001 * i + rng.normal(-0.003 * j * (S > 0.6), 0.003))
        for i in range(5)
        for j, name in enumerate(("magnitude", "wanda", "snip"))
        for S in (0.5, 0.7)
    ]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    document = report_table(frame, "dense", draws=500)
    text = render(document, kind)
    assert ReportDocument.from_json(document.to_json()) == document
    for words in ("next_steps", "how_far") if kind == "json" else ("What to do next", "How far can I prune?"):
        assert words in text
    plain = report_table(frame, draws=500)
    assert ("How far can I prune?" in render(plain, kind)) is False
