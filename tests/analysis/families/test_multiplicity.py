import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from sics_analysis.families.multiplicity import benjamini_hochberg, holm

BH_1995 = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]

probabilities = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=15)


def test_worked_example_f() -> None:
    by_holm, by_bh = holm(BH_1995), benjamini_hochberg(BH_1995)
    assert sum(p <= 0.05 for p in by_holm if p is not None) == 3
    assert sum(p <= 0.05 for p in by_bh if p is not None) == 4
    assert by_holm[:6] == pytest.approx([0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278], abs=1e-12)
    assert by_bh[:6] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.063857], abs=5e-7)


@pytest.fixture(scope="module")
def _small_heap() -> Iterator[None]:
    """multipletests collects garbage on every call: let it walk over what it made itself, not over the whole session."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_small_heap")
@given(probabilities)
def test_agrees_with_statsmodels_on_the_defined(p: list[float | None]) -> None:
    defined = [value for value in p if value is not None]
    for ours, method in ((holm(p), "holm"), (benjamini_hochberg(p), "fdr_bh")):
        assert [value is None for value in ours] == [value is None for value in p]
        theirs = multipletests(defined, method=method)[1] if defined else []
        np.testing.assert_allclose([v for v in ours if v is not None], theirs, rtol=1e-12, atol=1e-300)


@given(probabilities)
def test_adjusted_is_never_below_raw_and_keeps_the_order(p: list[float | None]) -> None:
    for adjusted in (holm(p), benjamini_hochberg(p)):
        pairs = sorted((raw, adj) for raw, adj in zip(p, adjusted, strict=True) if raw is not None and adj is not None)
        assert all(adj >= raw * (1 - 1e-12) and adj <= 1 for raw, adj in pairs)
        values = [adj for _, adj in pairs]
        assert values == sorted(values)


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="p-values in \\[0, 1\\] or None, got"):
        holm([0.5, p])
