import numpy as np
import pytest

from sics_analysis.families.plateau import holm_equivalence, plateau_claim
from sics_analysis.one_scorer.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.results import Result, Verdict
from sics_analysis.rows.contrasts import differences

pytestmark = pytest.mark.filterwarnings("error")


def lines(*means: float, n: int = 6, delta: float = 0.5) -> list[EquivalenceResult]:
    noise = np.array([0.1, -0.1, 0.2, -0.2, 0.05, -0.05])[:n]
    return [
        equivalence_test(differences(noise * (i + 1) / 2 + mean, name=f"s{i}", reference="magnitude"), delta)
        for i, mean in enumerate(means)
    ]


def test_the_joint_p_is_the_largest_and_uncorrected() -> None:
    results = lines(0.0, 0.1, 0.2)
    claim = plateau_claim(results)
    assert claim.holds
    assert claim.verdict is Verdict.EQUIVALENT
    assert claim.p == max(r.p for r in results if r.p is not None)
    assert claim.p_signflip == max(r.p_signflip for r in results if r.p_signflip is not None)
    assert isinstance(claim, Result)
    assert claim.describe().startswith("s0, s1, s2 against magnitude (n = 6 seeds): all within ±0.5 points")


def test_one_line_off_the_plateau_fails_the_claim_and_is_named() -> None:
    claim = plateau_claim(lines(0.0, 0.1, 0.9))
    assert not claim.holds
    assert claim.failing == ("s2",)
    assert claim.p is not None
    assert claim.p > 0.5
    assert claim.reason == "not shown for s2"
    assert claim.to_row()["verdict"] == "INCONCLUSIVE"


def test_the_claim_holds_exactly_when_the_hull_of_intervals_is_inside() -> None:
    for means in ((0.0, 0.1), (0.0, 0.45), (-0.45, 0.1), (0.25, -0.25)):
        claim = plateau_claim(lines(*means))
        hull = claim.confidence_interval(0.90)
        assert hull is not None
        assert hull.inside(0.5) is claim.holds
    assert claim.confidence_interval(0.95) is None


def test_a_claim_about_all_pairs_names_scorers_and_failing_pairs() -> None:
    noise = np.array([0.1, -0.1, 0.05, 0.0, -0.05, 0.02])
    pairs = [("log", "power", 0.0), ("log", "magnitude", 0.9), ("power", "magnitude", 0.1)]
    results = [equivalence_test(differences(noise + d, name=a, reference=b, sparsity=0.7), 0.5) for a, b, d in pairs]
    claim = plateau_claim(results, pairwise=True)
    assert claim.lines == ("log", "power", "magnitude")
    assert claim.failing == ("log against magnitude",)
    assert (claim.reference, claim.sparsity, claim.holds) == ("one another", 0.7, False)
    shown = plateau_claim([results[0], results[2]], pairwise=True)
    assert shown.holds
    assert shown.reason == "every pair at α = 0.05"
    assert shown.describe().startswith("log, power, magnitude against one another (n = 6 seeds): all within")
    with pytest.raises(ValueError, match="one delta, alpha and reference"):
        plateau_claim(results)


def test_lines_of_different_margins_or_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        plateau_claim([])
    with pytest.raises(ValueError, match="one delta, alpha and reference"):
        plateau_claim([*lines(0.0), *lines(0.1, delta=0.7)])


def test_single_lines_are_corrected_and_untested_ones_are_not_counted() -> None:
    results = [*lines(0.0, 0.1), equivalence_test(differences([0.0] * 2, name="zero", reference="magnitude"), 0.5)]
    adjusted = holm_equivalence(results)
    assert adjusted[2] is None
    assert adjusted[0] == pytest.approx(2 * (results[0].p or 0))
    assert adjusted[1] == pytest.approx(results[1].p)
