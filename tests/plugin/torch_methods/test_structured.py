"""The structured pruning methods: torch's contract, its own method as reference, and each of its traps."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    CoordinateUnresolvedWarning,
    Saliency,
    SaliencyVector,
    SICSStructured,
    SICSStructuredAdaptive,
    SICSStructuredChaos,
    SICSStructuredFake,
    SICSStructuredGradient,
    SICSStructuredInformation,
    SICSStructuredMagnitude,
    SICSStructuredRandom,
    clone_pruned,
    finalize,
    get_scorer,
    install_mask,
    list_scorers,
    method_for,
    prune_channels,
    structured_method_for,
)

#: Every scorer with a structured method of its own; peers, and what runs on request, go through prune_channels.
OURS = [name for name in list_scorers() if get_scorer(name).role != "peer" and not get_scorer(name).on_request]

pytestmark = pytest.mark.filterwarnings("ignore::sics_plugin.CoordinateUnresolvedWarning")


def channels(module: nn.Module, dim: int = 0) -> list[bool]:
    """Which channels along ``dim`` still have an entry."""
    rows = module.weight_mask.movedim(dim, 0).flatten(1)
    alive: list[bool] = (rows != 0).any(1).tolist()
    return alive


# --- by hand and against torch -------------------------------------------------------------------------------------------


def test_the_smallest_l2_norm_goes() -> None:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0], [2.0, 2.0], [0.0, -1.0]]))  # norms 3, √8, 1; by L1 the first is second
    SICSStructuredMagnitude.apply(layer, "weight", amount=2, dim=0)
    assert layer.weight_mask.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert layer.weight.tolist() == [[3.0, 0.0], [0.0, 0.0], [0.0, -0.0]]


def test_a_removed_output_takes_its_bias_along_so_that_nothing_leaks() -> None:
    layer, act = nn.Linear(4, 6), nn.GELU()
    nn.init.constant_(layer.bias, 3.0)
    SICSStructuredMagnitude.apply(layer, "weight", amount=2)
    SICSStructuredMagnitude.apply(layer, "weight", amount=1)
    gone = ~torch.tensor(channels(layer))
    assert int(gone.sum()) == 3
    assert torch.equal(layer.bias_mask, ~gone)
    out = act(layer(torch.randn(5, 4)))
    assert not out[:, gone].any()
    assert out[:, ~gone].all()
    finalize(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert torch.equal(layer.bias == 0, gone)


def test_the_bias_stays_for_inputs_for_other_layers_and_when_told_so() -> None:
    plain, inputs, upwards, bare = nn.Linear(4, 4), nn.Linear(4, 4), nn.ConvTranspose2d(4, 4, 1), nn.Linear(4, 4, bias=False)
    SICSStructuredMagnitude.apply(plain, "weight", amount=2, bias=False)
    SICSStructuredMagnitude.apply(inputs, "weight", amount=2, dim=1)
    SICSStructuredMagnitude.apply(upwards, "weight", amount=2, dim=0)
    SICSStructuredMagnitude.apply(bare, "weight", amount=2)
    assert not any(hasattr(layer, "bias_mask") for layer in (plain, inputs, upwards, bare))
    negative = nn.Linear(4, 4)
    SICSStructuredMagnitude.apply(negative, "weight", amount=2, dim=-2)
    assert torch.equal(negative.bias_mask, torch.tensor(channels(negative)))


@pytest.mark.parametrize("layout", ["ConvTranspose1d", "ConvTranspose2d", "Conv1D of transformers"])
def test_outputs_that_lie_in_the_second_dimension_take_their_bias_along(layout: str) -> None:
    if layout.startswith("ConvT"):
        layer = getattr(nn, layout)(4, 6, 2)
        x = torch.randn(2, 4, *[3] * (layer.weight.dim() - 2))
    else:
        layer, x = pytest.importorskip("transformers.pytorch_utils").Conv1D(6, 4), torch.randn(5, 4)
    nn.init.constant_(layer.bias, 3.0)
    inputs = copy.deepcopy(layer)
    SICSStructuredMagnitude.apply(inputs, "weight", amount=2)  # dim=0: what it reads
    assert not hasattr(inputs, "bias_mask")
    SICSStructuredMagnitude.apply(layer, "weight", amount=2, dim=1)
    gone = (layer.weight == 0).movedim(1, 0).flatten(1).all(1)
    assert int(gone.sum()) == 2
    assert torch.equal(layer.bias_mask, ~gone)
    out = layer(x) if layer.weight.dim() == 2 else layer(x).movedim(1, -1)
    assert not out[..., gone].any()
    assert out[..., ~gone].all()


def test_a_row_of_a_grouped_transposed_convolution_is_an_output_of_every_group_so_the_bias_stays() -> None:
    layer = nn.ConvTranspose2d(4, 6, 1, groups=2)
    SICSStructuredMagnitude.apply(layer, "weight", amount=1, dim=1)
    assert not hasattr(layer, "bias_mask")


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    amount=st.floats(0, 1),
    again=st.floats(0, 1),
    data=st.data(),
)
def test_masks_are_those_of_ln_structured_also_when_repeated(
    shape: list[int], amount: float, again: float, data: st.DataObject
) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    ours, torchs = nn.Module(), nn.Module()
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)
    ours.weight, torchs.weight = nn.Parameter(weight), nn.Parameter(weight.clone())
    for step in (amount, again):
        prune.ln_structured(torchs, "weight", amount=step, n=2, dim=dim)
        if hasattr(ours, "weight_mask") and not any(channels(ours, dim)):  # torch prunes nothing out of nothing
            with pytest.raises(ValueError, match="at least one unit"):
                SICSStructuredMagnitude.apply(ours, "weight", amount=step, dim=dim)
        else:
            SICSStructuredMagnitude.apply(ours, "weight", amount=step, dim=dim)
        assert torch.equal(ours.weight_mask, torchs.weight_mask)
        assert torch.equal(ours.weight, torchs.weight)


def test_with_prune_channels_rows_of_one_layer_agree_for_every_scorer() -> None:
    from timm.layers import Mlp

    for name in OURS:
        mlp = Mlp(6, 40)
        saliency = Saliency(mlp, [(torch.randn(9, 6), torch.randn(9, 6))], nn.functional.mse_loss)
        whole = copy.deepcopy(mlp)
        prune_channels(whole, name, 0.7, saliency=saliency)
        method = structured_method_for(name)
        method.apply(mlp.fc1, "weight", amount=0.7, dim=0, saliency=saliency)
        assert torch.equal(mlp.fc1.weight_mask != 0, whole.fc1.weight_mask), name


def test_every_scorer_has_a_method_of_each_form() -> None:
    for name in OURS:
        cls = structured_method_for(name)
        assert (cls.name, cls.kappa, cls.PRUNING_TYPE) == (name, method_for(name).kappa, "structured")
        assert not issubclass(cls, method_for(name))
        assert method_for(name).PRUNING_TYPE == "unstructured"
    with pytest.raises(ValueError, match="got 'magic'"):
        structured_method_for("magic")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_exactly_k_channels_go_along_any_dimension(name: str, dim: int) -> None:
    conv = nn.Conv2d(20, 30, 3)
    saliency = SaliencyVector(torch.rand(conv.weight.shape), kind="gradient")
    hook = structured_method_for(name).apply(conv, "weight", amount=0.4, dim=dim, saliency=saliency)
    kept = channels(conv, dim)
    assert kept.count(False) == round(0.4 * conv.weight.shape[dim])
    mask = conv.weight_mask.movedim(dim, 0).flatten(1)
    assert bool((mask.any(1) == mask.all(1)).all())
    assert conv(torch.randn(1, 20, 5, 5)).shape == (1, 30, 3, 3)
    assert (hook.dim, hook.saliency) == (dim, None)


# --- saliency ------------------------------------------------------------------------------------------------------------


def test_full_shape_and_per_channel_saliency_agree() -> None:
    weight, full = torch.randn(30, 5), torch.rand(30, 5)
    expected = SICSStructuredInformation(0.5, full).prune(weight)
    assert torch.equal(SICSStructuredInformation(0.5, full.norm(dim=1)).prune(weight), expected)
    assert not torch.equal(SICSStructuredInformation(0.5).prune(weight), expected)


@pytest.mark.parametrize("form", ["full", "channels", "left", "object"])
def test_a_repeated_prune_takes_saliency_of_all_channels_or_of_those_left(form: str) -> None:
    layer, readout = nn.Linear(5, 30), nn.Linear(30, 2)
    model = nn.Sequential(layer, nn.ReLU(), readout)
    collected = Saliency(model, [(torch.randn(16, 5), torch.randint(2, (16,)))])
    full = collected.tensor(layer, "weight")
    SICSStructuredMagnitude.apply(layer, "weight", amount=0.4)
    alive = torch.tensor(channels(layer))
    forms = {
        "full": SaliencyVector(full, kind="gradient"),
        "channels": SaliencyVector(full.norm(dim=1), kind="gradient"),
        "left": SaliencyVector(full.norm(dim=1)[alive], kind="gradient"),
        "object": collected,
    }
    SICSStructuredGradient.apply(layer, "weight", amount=0.5, saliency=forms[form])
    score = torch.where(alive, layer.weight_orig.detach().norm(dim=1) * full.norm(dim=1), torch.inf)
    expected = alive.clone()
    expected[score.argsort()[:9]] = False
    assert channels(layer) == expected.tolist()


def test_only_survivors_of_the_callers_mask_are_ranked() -> None:
    weight = torch.tensor([[5.0, 0.0], [1.0, 0.0], [2.0, 9.0], [0.5, 0.0]])
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])  # norms left: 5, gone, 2, 0.5
    one = SICSStructuredMagnitude(amount=1).prune(weight, mask)
    assert one.tolist() == [[5.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]
    half = SICSStructuredMagnitude(amount=0.5).prune(weight, mask)  # round(0.5 · 3): two of three
    assert half.tolist() == [[5.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_importance_scores_stand_for_the_weights() -> None:
    layer = nn.Linear(2, 3)
    scores = torch.tensor([[1.0, 0.0], [-3.0, 0.0], [2.0, 0.0]], requires_grad=True)
    SICSStructuredMagnitude.apply(layer, "weight", 1, 0, scores)
    assert channels(layer) == [False, True, True]


def test_released_saliency_does_not_travel_with_the_model() -> None:
    layer = nn.Linear(50, 60)
    hook = SICSStructuredChaos.apply(layer, "weight", amount=0.5, saliency=torch.rand(60))
    assert len(pickle.dumps(hook)) < 5000
    with pytest.raises(RuntimeError, match="released its saliency"):
        hook.compute_mask(layer.weight_orig, torch.ones(60, 50))
    with pytest.raises(RuntimeError, match="released its saliency"):
        hook.prune(layer.weight_orig)
    fresh = SICSStructuredChaos(0.5, torch.rand(60))
    first = fresh.prune(layer.weight_orig)
    assert torch.equal(fresh.prune(layer.weight_orig), first)


@pytest.mark.parametrize(
    ("saliency", "error", "message"),
    [
        (torch.ones(4, 2), ValueError, r"Expected `saliency` of shape \(3, 2\), or one value for each of the 3 channels"),
        (torch.ones(2), ValueError, r"got \(2,\)"),
        (torch.ones(6), ValueError, r"got \(6,\)"),
        (torch.full((3, 2), math.nan), ValueError, "Expected finite values in `saliency`, got 6 NaN or infinite of 6"),
        (torch.tensor([1.0, math.inf, 1.0]), ValueError, "finite `saliency`"),
        (torch.ones(3, dtype=torch.int64), TypeError, "floating point"),
        (torch.ones(3, 2, dtype=torch.int64), TypeError, "floating point"),
        ([1.0, 2.0, 3.0], TypeError, "got list"),
    ],
)
def test_saliency_of_another_form_is_refused(saliency: object, error: type[Exception], message: str) -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(error, match=message):
        SICSStructuredChaos.apply(layer, "weight", amount=0.5, saliency=saliency)  # type: ignore[arg-type]
    assert not prune.is_pruned(layer)
    assert isinstance(layer.weight, nn.Parameter)


def test_the_gradient_baseline_refuses_other_saliency() -> None:
    for given_ in (None, torch.ones(3)):
        with pytest.raises(ValueError, match="needs gradient saliency"):
            SICSStructuredGradient(1, given_).prune(torch.randn(3, 2))


# --- traps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [math.nan, True, -1, 1.5, "half", None])
def test_amounts_torch_lets_through_or_crashes_on_are_refused(amount: object) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected `amount`"):
        SICSStructuredMagnitude(amount)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dim", "error"), [(2, IndexError), (-3, IndexError), (True, TypeError), (0.0, TypeError), ("0", TypeError)]
)
def test_dimensions_out_of_range_are_refused(dim: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="Expected `dim`"):
        SICSStructuredMagnitude(1, dim=dim).prune(torch.randn(3, 2))  # type: ignore[arg-type]


def test_vectors_empty_integer_and_infinite_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least two dimensions to prune channels of, got shape \(4,\)"):
        SICSStructuredMagnitude(1).prune(torch.randn(4))
    with pytest.raises(ValueError, match="at least one unit"):
        SICSStructuredMagnitude(0).prune(torch.randn(0, 4))
    with pytest.raises(TypeError, match="floating point"):
        SICSStructuredMagnitude(1).prune(torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="finite values in the weights, got 2 NaN or infinite of 6"):
        SICSStructuredMagnitude(1).prune(torch.tensor([[1.0, math.nan], [math.inf, 0.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="at most the 3 units"):
        SICSStructuredMagnitude(4).prune(torch.randn(3, 2))
    with pytest.raises(ValueError, match="default mask of shape"):
        SICSStructuredMagnitude(1).compute_mask(torch.randn(3, 2), torch.ones(2, 3))
    with pytest.raises(ValueError, match="sparsity"):
        SICSStructuredMagnitude(1, sparsity=70)
    with pytest.raises(TypeError):
        SICSStructuredMagnitude(1, alpha=0.1)


def test_masked_entries_may_be_anything() -> None:
    weight = torch.tensor([[1.0, math.nan], [3.0, 1.0]])
    mask = SICSStructuredMagnitude(1).compute_mask(weight, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert mask.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_a_failing_second_and_third_prune_leave_the_hook_on() -> None:
    layer = nn.Linear(4, 12)
    SICSStructuredMagnitude.apply(layer, "weight", amount=2)
    for _ in range(2):
        hooks, state = dict(layer._forward_pre_hooks), copy.deepcopy(layer.state_dict())
        hook = next(h for h in hooks.values() if h._tensor_name == "weight")
        length = len(hook) if isinstance(hook, prune.PruningContainer) else None
        for bad in ({"amount": 99}, {"amount": 0.5, "saliency": torch.ones(99)}, {"amount": 2.0}, {"amount": 0.5, "alpha": -1}):
            with pytest.raises((ValueError, TypeError)):
                SICSStructuredChaos.apply(layer, "weight", **bad)  # type: ignore[arg-type]
        assert dict(layer._forward_pre_hooks) == hooks
        assert all(torch.equal(state[k], v) for k, v in layer.state_dict().items())
        assert length is None or len(hook) == length
        SICSStructuredChaos.apply(layer, "weight", amount=2)
    assert channels(layer).count(False) == 6


def test_on_top_of_torchs_methods_and_of_bool_masks_and_below_them() -> None:
    layer = nn.Linear(6, 10)
    prune.l1_unstructured(layer, "weight", amount=0.3)
    left = layer.weight.detach().norm(dim=1)
    SICSStructuredMagnitude.apply(layer, "weight", amount=3, dim=0)
    assert channels(layer) == (left > left.sort().values[2]).tolist()
    install_mask(layer, "weight", torch.ones(10, 6, dtype=torch.bool))
    assert layer.weight_mask.dtype == torch.bool
    SICSStructuredFake.apply(layer, "weight", amount=2)
    prune.random_unstructured(layer, "weight", amount=0.5)
    assert channels(layer).count(True) <= 5
    assert finalize(layer).weight.count_nonzero() <= 15


def test_weights_that_require_grad_half_precision_and_other_layouts() -> None:
    layer = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    expected = copy.deepcopy(layer)
    prune.ln_structured(expected, "weight", 0.5, 2, 0)
    SICSStructuredMagnitude.apply(layer, "weight", 0.5)
    assert channels(layer) == channels(expected)
    for dtype in (torch.float16, torch.bfloat16):
        half = nn.Linear(8, 6).to(dtype)
        SICSStructuredMagnitude.apply(half, "weight", 0.5)
        assert half.weight_mask.dtype == dtype
        assert channels(half).count(False) == 3


def test_the_random_method_is_seeded_and_the_adaptive_one_takes_an_absolute_target() -> None:
    weight = torch.randn(40, 3)
    assert torch.equal(SICSStructuredRandom(0.5, seed=1).prune(weight), SICSStructuredRandom(0.5, seed=1).prune(weight))
    assert not torch.equal(SICSStructuredRandom(0.5, seed=1).prune(weight), SICSStructuredRandom(0.5, seed=2).prune(weight))
    saliency = torch.rand(40)
    chaotic = SICSStructuredChaos(0.5, saliency, sparsity=0.8).prune(weight)
    assert torch.equal(SICSStructuredAdaptive(0.5, saliency, sparsity=0.8).prune(weight), chaotic)
    assert torch.equal(SICSStructuredAdaptive(0.5, saliency).prune(weight), SICSStructuredMagnitude(0.5).prune(weight))


def test_few_channels_are_told_of() -> None:
    with pytest.warns(CoordinateUnresolvedWarning, match="chaos on 511 units") as caught:
        SICSStructuredChaos(0.5).prune(torch.randn(511, 3))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SICSStructuredChaos(0.5).prune(torch.randn(512, 3))
        SICSStructuredMagnitude(0.5).prune(torch.randn(3, 3))


def test_pruned_modules_are_cloned_pickled_and_loaded() -> None:
    layer = nn.Linear(6, 10)
    SICSStructuredChaos.apply(layer, "weight", 0.5, saliency=torch.rand(10))
    twin = clone_pruned(layer)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(2, 6)
    torch.testing.assert_close(twin(x), layer(x))
    restored: SICSStructured = pickle.loads(pickle.dumps(next(iter(layer._forward_pre_hooks.values()))))
    assert (restored.dim, restored.amount, restored.scorer.name) == (0, 0.5, "chaos")


def test_torch_refuses_structured_methods_in_a_global_prune_and_so_do_we() -> None:
    from sics_plugin import global_unstructured

    layer = nn.Linear(4, 4)
    for function in (prune.global_unstructured, global_unstructured):
        with pytest.raises(TypeError, match="unstructured"):
            function([(layer, "weight")], pruning_method=SICSStructuredMagnitude, amount=0.5)


def test_the_output_projection_of_multihead_attention_is_refused() -> None:
    attention = nn.MultiheadAttention(8, 2)
    with pytest.raises(ValueError, match="never calls it"):
        SICSStructuredMagnitude.apply(attention.out_proj, "weight", amount=0.5)


def test_ties_go_by_position() -> None:
    weight: Tensor = torch.ones(5, 3)
    assert (SICSStructuredMagnitude(2).prune(weight).sum(1) == 0).tolist() == [True, True, False, False, False]
