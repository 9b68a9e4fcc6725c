"""Seeds for lines that are judged by the exact test: constants, and two adjacent counts."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.student import p_above
from sics_analysis.planning.exact import TwoValues
from sics_analysis.results import Verdict
from sics_analysis.rows.contrasts import Contrast, differences
from sics_cli.main import main

EXAMPLES = 200  # half a point an example


def counts(n: int, high: int, low: float = 0.5) -> Contrast:
    return differences([low + 0.5 * (i < high) for i in range(n)], examples=EXAMPLES)


@pytest.mark.parametrize("n", [3, 5, 8, 13])
@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.2, 0.5, 0.6, 0.75, 0.9, 1.0, 1.2])
def test_its_p_is_that_of_the_test(n: int, margin: float) -> None:
    found = TwoValues.of(counts(n, 1), 0.7)
    assert found is not None
    assert found.p_above(n, margin) == pytest.approx([p_above(counts(n, high), margin) for high in range(n + 1)], rel=1e-12)
    for value, examples in ((0.5, EXAMPLES), (0.7, None), (0.7, EXAMPLES), (-0.3, None)):
        constant = differences([value] * n, examples=examples)
        found = TwoValues.of(constant, value)
        assert found is not None
        assert found.p_above(n, margin) == pytest.approx([p_above(constant, margin)], rel=1e-12)


def test_lines_that_a_t_fits_are_not_planned_so() -> None:
    for values in ([0.1, 0.2, 0.4], [0.1, 0.2], [0.5, 1.0, 1.0]):
        assert TwoValues.of(differences(values), 0.2) is None
    assert TwoValues.of(counts(5, 2), 0.7) is not None


@pytest.mark.parametrize(
    ("value", "examples", "verdict", "alpha", "family", "seeds"),
    [
        (0.2, None, Verdict.EQUIVALENT, 0.05, 1, 5),  # 2^-5 = .031
        (0.0, None, Verdict.EQUIVALENT, 0.01, 1, 7),  # 2^-7 = .0078
        (2.0, None, Verdict.ESCAPES, 0.05, 1, 5),
        (2.0, None, Verdict.ESCAPES, 0.05, 5, 7),  # Holm's first level .01
        (-2.0, None, Verdict.DEGRADES, 0.05, 5, 7),
        (2.0, None, Verdict.NONINFERIOR, 0.05, 5, 5),  # a half of its own, unadjusted
        (0.5, None, Verdict.ESCAPES, 0.05, 1, None),  # at the margin
        (0.5, None, Verdict.EQUIVALENT, 0.05, 1, None),
        (0.6, 200, Verdict.ESCAPES, 0.05, 1, 14),  # one example below is 0.1: q = .8, and .8^14 = .044
    ],
)
def test_seeds_for_a_constant_by_hand(
    value: float, examples: int | None, verdict: Verdict, alpha: float, family: int, seeds: int | None
) -> None:
    found = TwoValues.of(differences([value] * 3, examples=examples), value)
    assert found is not None
    assert found.seeds(verdict, 0.5, alpha, 0.8, family) == seeds


@pytest.mark.parametrize("verdict", [Verdict.EQUIVALENT, Verdict.NONINFERIOR, Verdict.NONSUPERIOR])
@pytest.mark.parametrize(("low", "chance"), [(-0.5, 0.4), (0.0, 0.25), (0.0, 0.8), (0.5, 0.1)])
def test_the_power_is_the_sum_over_all_outcomes(verdict: Verdict, low: float, chance: float) -> None:
    n = 9
    line = TwoValues.of(counts(n, 3, low), low + 0.5 * chance)
    assert line is not None
    wanted = {verdict, Verdict.EQUIVALENT}
    shown = [equivalence_test(counts(n, high, low), 0.5).verdict in wanted for high in range(n + 1)]
    assert line.power(n, verdict, 0.5, 0.05) == pytest.approx(float(np.dot(stats.binom.pmf(range(n + 1), n, chance), shown)))
    seeds = line.seeds(verdict, 0.5, 0.05, 0.8)
    if seeds is not None and seeds <= 200:
        assert line.power(seeds, verdict, 0.5, 0.05) >= 0.8
        assert all(line.power(fewer, verdict, 0.5, 0.05) < 0.8 for fewer in range(3, seeds))


@pytest.fixture
def constant(tmp_path: Path) -> Path:
    """Three seeds all at +0.20, and three all at +2.00."""
    rows = ["seed,scorer,sparsity,accuracy"]
    for i, base in enumerate((0.9, 0.91, 0.92)):
        rows += [f"{i},{name},0.7,{base + d / 100:.4f}" for name, d in (("magnitude", 0), ("near", 0.2), ("far", 2.0))]
    path = tmp_path / "constant.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_plan_report_and_terminal_have_the_same_seeds_for_a_constant(constant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(constant), "--format", "json"]) == 0
    steps = {step["scorer"]: step for step in json.loads(capsys.readouterr().out)["next_steps"]}
    found = {name: (step["verdict"], step["seeds"], step["exact"]) for name, step in steps.items()}
    # A family of two: 2^-6 = .016 is at most .025.
    assert found == {"near": ("EQUIVALENT", 5, True), "far": ("ESCAPES", 6, True)}
    for command in (["report", str(constant)], ["report", str(constant), "--format", "md"], ["plan", "--from", str(constant)]):
        assert main(command) == 0
        out = capsys.readouterr().out.replace("|", " ")
        rows = [line.split() for line in out.splitlines() if line.split()[1:2] in (["near"], ["far"]) and "–" in line]
        named = {row[1]: row for row in rows if {"EQUIVALENT", "ESCAPES"} & set(row)}
        assert named["near"][named["near"].index("EQUIVALENT") + 1] == "5", command
        assert named["far"][named["far"].index("ESCAPES") + 1] == "6", command
    assert main(["report", str(constant)]) == 0
    assert "by the exact test of equal differences or two adjacent counts" in " ".join(capsys.readouterr().out.split())
