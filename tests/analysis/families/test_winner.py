import numpy as np
import pytest

from sics_analysis.families.max_t import escape_test
from sics_analysis.families.winner import best_of, confirm_best
from sics_analysis.rows.contrasts import differences

pytestmark = pytest.mark.filterwarnings("error")


def test_the_best_has_the_simultaneous_interval_and_no_mean_of_its_own() -> None:
    rng = np.random.default_rng(0)
    columns = [differences(rng.normal(0, 0.3, 5), name=f"s{i}", sparsity=0.7) for i in range(9)]
    family = escape_test(columns, 0.5, rng=rng, draws=5_000)
    winner = best_of(family)
    assert winner is not None
    top = max(columns, key=lambda c: c.mean or 0.0)
    assert winner.scorer == top.name
    own = top.t_interval(0.95)
    assert own is not None
    assert winner.interval.width > own.width
    assert winner.interval == family[top.name].simultaneous
    row = winner.to_row()
    assert top.mean not in row.values()
    assert f"{top.mean:.2f}" not in winner.describe()
    with pytest.raises(ValueError, match="`level`"):
        winner.confidence_interval(0.9)


def test_the_winners_curse_and_what_fresh_seeds_do_to_it() -> None:
    """Rule 9: the best of nine null scorers averages +0.20 points at five seeds when the sd is 0.3."""
    rng = np.random.default_rng(1)
    best, confirmed = [], []
    for _ in range(400):
        columns = [differences(rng.normal(0, 0.3, 10), name=f"s{i}") for i in range(9)]
        found = confirm_best(columns, confirm_seeds=range(5, 10))
        chosen = next(c for c in columns if c.name == found.scorer)
        best.append(np.mean(chosen.differences[:5]))
        confirmed.append(found.mean)
    assert np.mean(best) == pytest.approx(0.20, abs=0.02)
    assert np.mean(confirmed) == pytest.approx(0.0, abs=0.03)


def test_selection_and_estimate_share_no_seed() -> None:
    a = differences([9.0, 9.0, 9.1, 0.0, 0.1, 0.2], name="a")
    b = differences([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], name="b")
    found = confirm_best([a, b], confirm_seeds=[3, 4, 5])
    assert found.scorer == "a"
    assert (found.n_selection, found.contrast.n) == (3, 3)
    assert found.mean == pytest.approx(0.1)
    assert "3 fresh seeds" in found.describe()
    assert found.to_row()["difference"] == pytest.approx(0.1)


def test_nothing_to_select_on() -> None:
    with pytest.raises(ValueError, match="`confirm_seeds`"):
        confirm_best([differences([1.0, 2.0, 3.0])], confirm_seeds=[0, 1, 2])
    family = escape_test([differences([0.0] * 5, name="a")], 0.5, rng=np.random.default_rng(0))
    assert best_of(family) is None
