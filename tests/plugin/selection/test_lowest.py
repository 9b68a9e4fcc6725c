"""Exactly k, the tie rule, and every way to ask for a wrong amount."""

from __future__ import annotations

import math
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.prune import _compute_nparams_toprune

from sics_plugin import SICSMagnitude, SICSMethod, build_scorer, method_for
from sics_plugin.scorers.units import Units
from sics_plugin.selection.lowest import check_amount, check_sparsity, count_to_prune, lowest, lowest_with_floor

tied_values = st.lists(st.sampled_from([0.0, 0.5, 0.5000001, 1.0, 7.0]), min_size=1, max_size=30)
coordinate_classes = st.sampled_from(["bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "information"])


def as_set(mask: Tensor) -> set[int]:
    return set(mask.nonzero().squeeze(1).tolist())


@settings(deadline=None, max_examples=75)
@given(data=st.data())
def test_lowest_equals_sorting_by_score_magnitude_position(data: st.DataObject, reference: ModuleType) -> None:
    score = data.draw(tied_values)
    magnitude = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=len(score), max_size=len(score)))
    k = data.draw(st.integers(0, len(score)))
    gone = lowest(torch.tensor(score, dtype=torch.float64), torch.tensor(magnitude), k)
    assert as_set(gone) == reference.removed(score, magnitude, k)
    assert int(gone.sum()) == k


def test_ties_by_hand() -> None:
    """All scores tie: the lower magnitudes go, and of equal ones the earlier."""
    magnitude = torch.tensor([2.0, 1.0, 2.0, 1.0, 3.0])
    assert [as_set(lowest(torch.zeros(5), magnitude, k)) for k in range(6)] == [
        set(),
        {1},
        {1, 3},
        {0, 1, 3},
        {0, 1, 2, 3},
        {0, 1, 2, 3, 4},
    ]


@pytest.mark.parametrize("n", [10, 5000, 200_000])
def test_ties_by_position_hold_at_any_size_and_number_of_threads(n: int) -> None:
    score, magnitude, threads = torch.randint(0, 3, (n,)).double(), torch.randint(0, 3, (n,)).float(), torch.get_num_threads()
    k = n // 2
    order = np.lexsort((np.arange(n), magnitude.numpy(), score.numpy()))
    expected = torch.zeros(n, dtype=torch.bool)
    expected[torch.from_numpy(order[:k].copy())] = True
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            assert torch.equal(lowest(score, magnitude, k), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="Expected finite scores, got 1 NaN or infinite of 3"):
        lowest(torch.tensor([1.0, bad, 2.0]), torch.ones(3), 1)


@pytest.mark.parametrize("k", [-1, 4])
def test_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"0 <= k <= 3, got {k}"):
        lowest(torch.ones(3), torch.ones(3), k)


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(4,\)"):
        lowest(torch.ones(4), torch.ones(3), 1)


# --- floors --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_floors_keep_the_best_of_every_layer_and_still_remove_k(data: st.DataObject, reference: ModuleType) -> None:
    sizes = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    floors = [data.draw(st.integers(0, 7)) for _ in sizes]
    n = sum(sizes)
    score = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=n, max_size=n))
    magnitude = data.draw(st.lists(st.sampled_from([1.0, 2.0]), min_size=n, max_size=n))
    reach, start = [], 0
    for size, floor in zip(sizes, floors, strict=True):
        layer = sorted(range(start, start + size), key=lambda i: (score[i], magnitude[i], i))
        reach += layer[: max(0, size - floor)]
        start += size
    k = data.draw(st.integers(0, n))
    args = torch.tensor(score, dtype=torch.float64), torch.tensor(magnitude), k, sizes, floors
    if k > len(reach):
        with pytest.raises(
            ValueError, match=rf"`min_keep` leaves {len(reach)} of {n} units to remove, but `amount` asks for {k}"
        ):
            lowest_with_floor(*args)
        return
    expected = sorted(reach, key=lambda i: (score[i], magnitude[i], i))[:k]
    assert as_set(lowest_with_floor(*args)) == set(expected)


# --- amounts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "n", "k"),
    [
        (0.5, 1, 0),
        (0.5, 3, 2),
        (0.5, 5, 2),
        (0.5, 7, 4),
        (0.25, 10, 2),
        (0.35, 10, 4),
        (0.7, 2048, 1434),
        (0.0, 9, 0),
        (1.0, 9, 9),
    ],
)
def test_fraction_is_rounded_as_python_does(amount: float, n: int, k: int) -> None:
    """0.5·5 = 2.5 and 0.25·10 = 2.5 go to the even 2; so does torch's count."""
    assert count_to_prune(amount, n) == k == _compute_nparams_toprune(amount, n)


@settings(deadline=None, max_examples=75)
@given(amount=st.floats(0, 1), n=st.integers(1, 10**7))
def test_count_is_torchs_count(amount: float, n: int) -> None:
    assert count_to_prune(amount, n) == _compute_nparams_toprune(amount, n)


@pytest.mark.parametrize(
    ("amount", "k"), [(0, 0), (1, 1), (10, 10), (np.int64(3), 3), (np.float64(0.5), 5), (np.float32(0.5), 5), (Fraction(1, 2), 5)]
)
def test_whole_numbers_and_other_number_types(amount: object, k: int) -> None:
    check_amount(amount)
    assert count_to_prune(amount, 10) == k  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [True, False, "0.5", None, [0.5], torch.tensor(0.5), 0.5j])
def test_amount_of_a_wrong_type_is_refused(amount: object) -> None:
    with pytest.raises(TypeError, match="Expected `amount` to be a fraction in"):
        SICSMagnitude(amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [math.nan, math.inf, -math.inf, -0.1, 1.3, 1.0000001, -1, -5])
def test_amount_out_of_range_is_refused_and_named(amount: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected `amount` .* got {amount}"):
        SICSMagnitude(amount)


def test_more_units_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="at most the 4 units there are to prune, got 5"):
        SICSMagnitude(5).prune(torch.ones(4))


def test_an_amount_changed_after_construction_is_checked_again() -> None:
    method = SICSMagnitude(0.5)
    method.amount = math.nan
    with pytest.raises(ValueError, match="got nan"):
        method.prune(torch.ones(4))


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, math.nan, True, "0.5", 70])
def test_sparsity_out_of_range_is_refused(sparsity: object) -> None:
    with pytest.raises(ValueError, match=r"Expected `sparsity` to be a fraction in \[0, 1\]"):
        check_sparsity(sparsity)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`sparsity`"):
        SICSMagnitude(0.5, sparsity=sparsity)  # type: ignore[arg-type]


# --- properties of masks -------------------------------------------------------------------------------------------------


def mask_of(cls: type[SICSMethod], t: Tensor, amount: float | int, **kwargs: object) -> Tensor:
    return cls(amount, **kwargs).compute_mask(t, torch.ones_like(t)) != 0  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::sics_plugin.CoordinateUnresolvedWarning")
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_masks_have_exactly_k_zeros(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["magnitude", "power", "log", "fake", "random", "adaptive"]) | coordinate_classes)
    values = data.draw(tied_values | st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=300))
    n = len(values)
    amount = data.draw(st.floats(0, 1) | st.integers(0, n))
    saliency = torch.rand(n) if data.draw(st.booleans()) else None
    mask = mask_of(method_for(name), torch.tensor(values), amount, saliency=saliency)
    assert int((~mask).sum()) == count_to_prune(amount, n)


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.floats(2.0**-10, 2.0**10, width=32), min_size=2, max_size=80),
    amount=st.floats(0, 1),
    f=st.sampled_from([lambda m: 3 * m, lambda m: m**3, lambda m: torch.exp(m / 500), lambda m: torch.log(m), lambda m: m - 500]),
)
def test_strictly_increasing_functions_of_the_magnitude_leave_the_mask_alone(values, amount, f, reference: ModuleType) -> None:
    """As scores over the same magnitudes: the plateau, whatever the function. In float64 f keeps distinct float32 distinct."""
    magnitude = torch.tensor(values)
    k = count_to_prune(amount, len(values))
    transformed = f(magnitude.double())
    assert torch.equal(lowest(transformed, magnitude, k), lowest(magnitude.double(), magnitude, k))


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=80) | tied_values,
    amount=st.floats(0, 1),
    name=st.sampled_from(["power", "log"]),
)
def test_the_magnitude_family_gives_one_mask_ties_and_extremes_included(values, amount, name: str) -> None:
    t = torch.tensor(values)
    assert torch.equal(mask_of(method_for(name), t, amount), mask_of(SICSMagnitude, t, amount))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e200])
@pytest.mark.parametrize("name", ["power", "log"])
def test_the_magnitude_family_gives_one_mask_of_float64_weights(name: str, scale: float) -> None:
    t = torch.rand(50, dtype=torch.float64) * scale
    assert torch.equal(mask_of(method_for(name), t, 0.5), mask_of(SICSMagnitude, t, 0.5))


@pytest.mark.filterwarnings("ignore::sics_plugin.CoordinateUnresolvedWarning")
@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(["magnitude", "power", "log", "fake"]) | coordinate_classes,
    n=st.sampled_from([2, 7, 100, 300, 600]),
    amount=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_permuting_units_permutes_the_mask(name: str, n: int, amount: float, seed: int) -> None:
    """Given a saliency, and distinct values of both."""
    generator = torch.Generator().manual_seed(seed)
    t = (torch.randperm(n, generator=generator) + 1).float() / n
    c = (torch.randperm(n, generator=generator) + 1).float()
    order = torch.randperm(n, generator=generator)
    cls = method_for(name)
    assert torch.equal(mask_of(cls, t[order], amount, saliency=c[order]), mask_of(cls, t, amount, saliency=c)[order])


@settings(deadline=None, max_examples=40)
@given(name=coordinate_classes, seed=st.integers(0, 2**31))
def test_only_the_order_of_magnitudes_and_saliencies_matters(name: str, seed: int) -> None:
    """κ ≥ 1 works on ranks: rescaling weights or saliency monotonically changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    t, c = torch.rand(400, generator=generator), torch.rand(400, generator=generator)
    cls = method_for(name)
    # powers of two keep distinct values distinct
    assert torch.equal(mask_of(cls, -8 * t, 0.7, saliency=c * 0.25), mask_of(cls, t, 0.7, saliency=c))


def test_the_sign_of_a_weight_does_not_matter() -> None:
    t = torch.randn(500)
    for name in ("magnitude", "chaos", "fake", "adaptive"):
        assert torch.equal(mask_of(method_for(name), t.abs(), 0.6), mask_of(method_for(name), t, 0.6))


def test_log_keeps_the_scale_of_the_definition(reference: ModuleType) -> None:
    m = torch.tensor([0.5, 2.0, 0.0, 1.0])
    found = build_scorer("log").score(Units(m), 0.5)
    assert found.tolist() == pytest.approx(reference.scores("log", m.tolist(), None, 0.5).tolist(), abs=1e-15)
    assert found.dtype == torch.float64
