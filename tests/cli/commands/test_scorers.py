"""`sics-run scorers`, and what comes before a run: a refusal names what was typed, and nothing is said before it."""

from typing import Any

import pytest

from sics_cli.main import main


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["foo"], "SCORER foo: no such scorer; give some of"),
        (["smoth_chaos", "--measure"], "SCORER smoth_chaos: no such scorer (did you mean smooth_chaos?)"),
        (["--measure", "fusion_orbit_50"], "SCORER fusion_orbit_50: has no measure by its name"),
        (["magnitude/foo"], "SCORER magnitude/foo: 'foo' is not accepted as the pool of one scorer"),
        (["fusion_foo_50"], "SCORER fusion_foo_50: there is no set of features 'foo'"),
        (["mine.py:Mine"], "SCORER "),
    ],
)
def test_a_refused_scorer_is_named_as_it_was_typed(typed: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scorers", *typed]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sics-run: {told}")
    assert "--scorers" not in said, "there is no such option here"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("--scorers", "smoth_chaos"), "--scorers smoth_chaos: no such scorer (did you mean smooth_chaos?)"),
        (("--reference", "magnitud"), "--reference magnitud: no such scorer (did you mean magnitude?)"),
        (("--task", "gone.py:Gone"), "--task "),
        (("--unit", "weight", "--scorers", "magnitude/foo"), "--scorers magnitude/foo: 'foo' is not accepted"),
        (
            ("--until", "decided:kapa1-at-0.7", "--max-seeds", "8"),
            "--until kapa1-at-0.7: is not accepted (did you mean kappa1-at-0.7?): give targets as",
        ),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_nothing_is_said_before_a_refusal(typed: tuple[str, ...], told: str, dry: bool, cli: Any) -> None:
    done = cli.here("replicate", *typed, *(["--dry-run"] if dry else []))
    assert done.returncode == 2
    assert done.stderr.startswith(f"sics-run: {told}"), done.stderr
    assert done.stderr.count("\n") == 1
