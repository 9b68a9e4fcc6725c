"""Published scorers: their identities, four elements worked out by hand, and every road a mask can take."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    Saliency,
    SaliencyVector,
    SICSStructured,
    build_scorer,
    channel_group,
    channel_saliency,
    compute_channel_masks,
    compute_masks,
    current_masks,
    get_scorer,
    list_scorers,
    mask_hash,
    method_for,
    prune_model,
)
from sics_plugin.saliency.kinds import SIGNALS
from sics_plugin.saliency.signals.relative import lamp, relative_importance
from sics_plugin.scorers.peers import PeerScorer
from sics_plugin.scorers.units import Units

PEERS = ["snip", "sensitivity", "taylor", "fisher", "grasp", "synflow", "lamp", "ri", "wanda", "ria"]
ON_UNITS = ["snip", "sensitivity", "taylor", "fisher", "grasp", "synflow", "lamp"]
Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def batches() -> Batches:
    return [(torch.randn(8, 16), torch.randint(4, (8,))) for _ in range(3)]


def saliency_of(model: nn.Module, name: str, batches: Batches, **options: Any) -> Saliency:
    kind = get_scorer(name).requires
    data = batches if SIGNALS[kind].collect is not None else None
    return Saliency(model, data, kind=kind, **options)


def scores(name: str, saliency: Saliency, model: nn.Module) -> Tensor:
    vector = saliency.vector(model)
    weights = torch.cat([m.weight.detach().abs().reshape(-1) for m in list(model)[:-1:2]])
    return build_scorer(name).score(Units(weights, vector, saliency.kind), 0.5)


# --- the registry -------------------------------------------------------------------------------------------------------


def test_the_peers_are_registered_with_what_they_are() -> None:
    assert list_scorers(role="peer") == PEERS
    for name in PEERS:
        cls = get_scorer(name)
        assert issubclass(cls, PeerScorer)
        assert (cls.kappa, cls.role) == (None, "peer")
        assert cls.requires in SIGNALS
        assert cls.summary
        assert any(year in cls.source for year in ("1990", "2019", "2020", "2021", "2023", "2024")), "a source is dated"
        assert cls().fingerprint("gradient")["signal"] == cls.requires
    assert {name: get_scorer(name).pool for name in PEERS if get_scorer(name).pool != "global"} == {
        "wanda": "row", "ri": "layer", "ria": "layer",
    }  # fmt: skip
    assert [name for name in PEERS if get_scorer(name).units == ("weight",)] == ["ri", "wanda", "ria"]


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_refuses_any_signal_but_its_own(name: str, mlp: nn.Sequential) -> None:
    kind = get_scorer(name).requires
    with pytest.raises(ValueError, match=rf"scorer '{name}' needs {kind} saliency, got 'supplied'.*kind='{kind}'"):
        compute_masks(mlp, name, amount=0.5, saliency=torch.rand(16 * 64 + 64 * 32))
    with pytest.raises(ValueError, match=rf"scorer '{name}' needs {kind} saliency, got none"):
        method_for(name)(0.5).prune(torch.randn(10))


# --- four elements by hand ----------------------------------------------------------------------------------------------


def test_four_weights_by_hand() -> None:
    m, c = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([-0.1, 0.2, -0.3, 0.4])
    by_hand = {
        "snip": [0.1, 0.2, 0.3, 0.4],
        "sensitivity": [-0.1, 0.2, -0.3, 0.4],
        "taylor": [0.01, 0.04, 0.09, 0.16],
        "fisher": [0.005, 0.02, 0.045, 0.08],
        "grasp": [-0.1, 0.2, -0.3, 0.4],
        "synflow": [-0.1, 0.2, -0.3, 0.4],
        "lamp": [-0.1, 0.2, -0.3, 0.4],
        "ri": [-0.1, 0.2, -0.3, 0.4],
        "wanda": [-0.4, 0.6, -0.6, 0.4],
        "ria": [-0.1, 0.2, -0.3, 0.4],
    }
    assert list(by_hand) == PEERS
    for name, expected in by_hand.items():
        found = build_scorer(name).score(Units(m, c, get_scorer(name).requires), 0.5)
        assert found.tolist() == pytest.approx(expected, rel=1e-6), name


def one_layer() -> tuple[nn.Linear, Batches, Callable[[Tensor, Tensor], Tensor]]:
    """y = W x with W = [[1, -2], [3, 4]], squared error to zero, halved: g = y xᵀ, the Hessian is x xᵀ for every row."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    inputs = [torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 2.0]])]
    return layer, [(x, torch.zeros(1, 2)) for x in inputs], lambda out, _: out.square().sum() / 2


def test_signals_of_one_linear_layer_by_hand() -> None:
    layer, batches, loss = one_layer()
    # sample 1: x = (1, 0), y = (1, 3),    g = [[1, 0], [3, 0]],     w·g = [[1, 0], [9, 0]]
    # sample 2: x = (1, 2), y = (-3, 11),  g = [[-3, -6], [11, 22]], w·g = [[-3, 12], [33, 88]]
    signals = {kind: Saliency(layer, batches, loss, kind=kind).tensor(layer, "weight") for kind in SIGNALS if kind in PEERS[:5]}
    assert signals["snip"].tolist() == [[-1.0, 6.0], [21.0, 44.0]]
    assert signals["sensitivity"].tolist() == [[2.0, 6.0], [21.0, 44.0]]
    expected = torch.tensor([[5.0, 72.0], [585.0, 3872.0]])
    torch.testing.assert_close(signals["taylor"] ** 2, expected)
    torch.testing.assert_close(signals["fisher"] ** 2, expected)
    # mean g = [[-1, -3], [7, 11]]; mean x xᵀ = [[1, 1], [1, 2]]; Hg = row times that = [[-4, -7], [18, 29]]
    assert signals["grasp"].tolist() == [[-4.0, 14.0], [54.0, 116.0]]
    # the positive network sends (1, 1) through |W|
    assert Saliency(layer, batches, kind="synflow", rounds=1).tensor(layer, "weight").tolist() == [[1.0, 2.0], [3.0, 4.0]]
    # ‖x‖ per sample: (√1, √2)
    norms = Saliency(layer, batches, kind="activation").tensor(layer, "weight")
    torch.testing.assert_close(norms, torch.tensor([[1.0, 2**0.5], [1.0, 2**0.5]]))
    ri = torch.tensor([[1 / 3 + 1 / 4, 2 / 3 + 2 / 6], [3 / 7 + 3 / 4, 4 / 7 + 4 / 6]], dtype=torch.float64)
    torch.testing.assert_close(Saliency(layer, kind="relative").tensor(layer, "weight"), ri)
    ria = Saliency(layer, batches, kind="relative_activation").tensor(layer, "weight")
    torch.testing.assert_close(ria, ri * torch.tensor([1.0, 2**0.25], dtype=torch.float64))
    assert lamp(layer.weight).tolist() == [[1 / 30, 4 / 29], [9 / 25, 1.0]]


def test_units_add_what_their_weights_contribute() -> None:
    layer, batches, loss = one_layer()
    model = nn.Sequential(layer, nn.Identity(), nn.Linear(2, 2, bias=False))
    model[2].weight.data = torch.eye(2)
    groups = [channel_group(model, "0", "2")]
    options = {"unit": "channel", "groups": groups}

    def of_units(kind: str, **more: Any) -> list[float]:
        data = None if kind == "lamp" else batches
        saliency = Saliency(model, data, loss, kind=kind, **options, **more)
        return channel_saliency(model, saliency, groups=groups).tolist()

    assert of_units("snip") == [5.0, 65.0]
    assert of_units("sensitivity") == [(1 + 9) / 2, (9 + 121) / 2]
    assert of_units("taylor") == pytest.approx([((1 + 81) / 2) ** 0.5, ((81 + 121**2) / 2) ** 0.5])
    assert of_units("fisher") == pytest.approx([(5 + 72) ** 0.5, (585 + 3872) ** 0.5])
    assert of_units("synflow", rounds=1) == [3.0, 7.0]
    assert of_units("lamp") == pytest.approx([5 / 30, 1.0])
    per_weight = Saliency(model, batches, loss, kind="grasp").tensor(layer, "weight")
    assert of_units("grasp") == pytest.approx(per_weight.sum(1).tolist())


# --- identities ---------------------------------------------------------------------------------------------------------


def test_wanda_with_unit_inputs_is_magnitude_per_row(mlp: nn.Sequential) -> None:
    n = 16 * 64 + 64 * 32
    ones = SaliencyVector(torch.ones(n), kind="activation")
    for pool in ("row", "layer", "global", "2:4"):
        amount = 0.5
        wanda, magnitude = (
            compute_masks(mlp, name, amount=amount, pool=pool, saliency=ones)[1].mask_hash for name in ("wanda", "magnitude")
        )
        assert wanda == magnitude


def test_lamp_orders_as_magnitude_within_a_layer(mlp: nn.Sequential) -> None:
    for pool in ("layer", "row", "erk"):
        one, other = (compute_masks(mlp, name, amount=0.6, pool=pool)[1].mask_hash for name in ("lamp", "magnitude"))
        assert one == other
    mlp[0].weight.data *= 0.01  # a global pool of magnitudes would lose the layer
    masks, report = compute_masks(mlp, "lamp", amount=0.9)
    assert all(mask.any() for mask in masks.values())
    assert report.saliency_kind == "lamp"


@settings(deadline=None, max_examples=60)
@given(arrays("float32", (5, 4), elements=st.floats(-8, 8, width=32)), st.floats(1e-3, 1e3))
def test_lamp_is_free_of_scale_and_in_the_order_of_magnitudes(values: Any, scale: float) -> None:
    weight = torch.from_numpy(values)
    found = lamp(weight).reshape(-1)
    order = torch.argsort(weight.abs().double().square().reshape(-1), stable=True)
    assert bool((found[order].diff() >= 0).all())
    assert bool((found >= 0).all())
    assert bool((found <= 1).all())
    torch.testing.assert_close(lamp(weight.double() * scale).reshape(-1), found)


@settings(deadline=None, max_examples=60)
@given(arrays("float32", (5, 4), elements=st.floats(-8, 8, width=32)), st.floats(1e-3, 1e3))
def test_relative_importance_is_free_of_scale_and_adds_up(values: Any, scale: float) -> None:
    weight = torch.from_numpy(values).double()
    found = relative_importance(weight)
    torch.testing.assert_close(relative_importance(weight * scale), found)
    torch.testing.assert_close(relative_importance(weight.T).T, found)
    rows, columns = int(weight.ne(0).any(1).sum()), int(weight.ne(0).any(0).sum())
    assert float(found.sum()) == pytest.approx(rows + columns)


def test_relative_importance_and_lamp_see_only_what_is_left(mlp: nn.Sequential) -> None:
    prune_model(mlp, "magnitude", amount=0.5, pool="row")
    for kind, function in (("relative", relative_importance), ("lamp", lamp)):
        found = Saliency(mlp, kind=kind).tensor(mlp[0], "weight")
        torch.testing.assert_close(found, function(mlp[0].weight_orig * mlp[0].weight_mask))


def chain(*widths: int, bias: bool = False) -> nn.Sequential:
    layers = [[nn.Linear(a, b, bias=bias), nn.ReLU()] for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain.from_iterable(layers))[:-1]


def test_synflow_of_every_layer_of_a_chain_adds_up_to_the_same(batches: Batches) -> None:
    model = chain(16, 20, 12, 4)
    saliency = Saliency(model, batches, kind="synflow", rounds=1)
    sums = [saliency.tensor(layer, "weight").sum().item() for layer in model[::2]]
    flow = model[4].weight.abs().double() @ model[2].weight.abs().double() @ model[0].weight.abs().double()
    assert sums == pytest.approx([flow.sum().item()] * 3)
    hidden = saliency.tensor(model[0], "weight").sum(1), saliency.tensor(model[2], "weight").sum(0)
    torch.testing.assert_close(*hidden)  # conserved neuron by neuron


def test_synflow_in_rounds_removes_the_lowest_of_each_round(batches: Batches) -> None:
    """Against the schedule written out: prune, score again, prune."""
    model = chain(16, 20, 12, 4)
    weights = [layer.weight.detach().double().abs() for layer in model[::2]]
    sizes = [w.numel() for w in weights[:2]]  # the last Linear is the head
    rounds, total = 5, sum(sizes)
    saliency = Saliency(model, batches, kind="synflow", rounds=rounds)
    here = [torch.ones_like(w) for w in weights]
    for number in range(1, rounds):
        a, b, c = (w * h for w, h in zip(weights, here, strict=True))
        ones = torch.ones(16, dtype=torch.float64)
        first = a * ((b.T @ c.T.sum(1)).unsqueeze(1) * ones)
        second = b * (c.T.sum(1).unsqueeze(1) * (a @ ones))
        left = round(total * 0.01 ** (number / rounds))
        keep = torch.zeros(total, dtype=torch.bool)
        keep[torch.argsort(torch.cat([first.reshape(-1), second.reshape(-1)]))[total - left :]] = True
        here[:2] = [k.view(w.shape).double() for k, w in zip(keep.split(sizes), weights, strict=False)]
        masks, _ = compute_masks(model, "synflow", amount=total - left, saliency=saliency)
        assert torch.equal(masks["0.weight"], here[0] != 0)
        assert torch.equal(masks["2.weight"], here[1] != 0)


def test_snip_at_a_trained_point_ranks_as_w_times_g(trained_mlp: nn.Sequential, calibration: list[tuple[Tensor, Tensor]]) -> None:
    saliency = Saliency(trained_mlp, calibration, kind="snip")
    loss = nn.functional.cross_entropy
    sum(loss(trained_mlp(x), y) for x, y in calibration).backward()
    plain = torch.cat([(m.weight * m.weight.grad).abs().detach().reshape(-1) for m in trained_mlp[:-1:2]])
    found = scores("snip", saliency, trained_mlp)
    torch.testing.assert_close(found / found.sum(), (plain / plain.sum()).double(), rtol=1e-3, atol=1e-9)
    k = round(0.7 * plain.numel())
    masks, _ = compute_masks(trained_mlp, "snip", amount=k, saliency=saliency)
    kept = torch.cat([m.reshape(-1) for m in masks.values()])
    assert float(plain[kept].min()) >= float(plain[~kept].max()) * (1 - 1e-4)


def test_fisher_per_sample_equals_the_loop(mlp: nn.Sequential, batches: Batches) -> None:
    squares = [torch.zeros_like(m.weight, dtype=torch.float64) for m in mlp[:-1:2]]
    absolute = [torch.zeros_like(m.weight, dtype=torch.float64) for m in mlp[:-1:2]]
    for x, y in batches:
        for i in range(len(x)):
            loss = nn.functional.cross_entropy(mlp(x[i : i + 1]), y[i : i + 1])
            for s, a, m, g in zip(
                squares, absolute, mlp[:-1:2], torch.autograd.grad(loss, [m.weight for m in mlp[:-1:2]]), strict=True
            ):
                s += (m.weight.detach().double() * g.double()).square() / 24
                a += (m.weight.detach().double() * g.double()).abs() / 24
    fisher = scores("fisher", Saliency(mlp, batches, kind="fisher"), mlp)
    torch.testing.assert_close(fisher, torch.cat([s.reshape(-1) for s in squares]) / 2, rtol=1e-4, atol=1e-12)
    sensitivity = scores("sensitivity", Saliency(mlp, batches, kind="sensitivity"), mlp)
    torch.testing.assert_close(sensitivity, torch.cat([a.reshape(-1) for a in absolute]), rtol=1e-4, atol=1e-12)


def test_taylor_of_weights_ranks_as_magnitude_times_gradient(mlp: nn.Sequential, batches: Batches) -> None:
    """E(w·g)² = m²·E(g²): the square of the baseline `gradient`."""
    taylor = scores("taylor", Saliency(mlp, batches, kind="taylor"), mlp)
    gradient = scores("gradient", Saliency(mlp, batches), mlp)
    torch.testing.assert_close(taylor, gradient**2, rtol=1e-4, atol=1e-12)


def test_grasp_keeps_what_holds_up_the_gradient(mlp: nn.Sequential, batches: Batches) -> None:
    """Against finite differences of the squared norm of the gradient; and the sign: removing low scores makes it grow."""
    model = copy.deepcopy(mlp).double()
    data = [(x.double(), y) for x, y in batches]
    x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])

    def flow() -> float:
        loss = nn.functional.cross_entropy(model(x), y)
        return sum(g.square().sum().item() for g in torch.autograd.grad(loss, list(model.parameters())))

    found = Saliency(model, data, kind="grasp").tensor(model[2], "weight")
    weight, before, step = model[2].weight.data, flow(), 1e-5
    for place in [(0, 0), (3, 5), (31, 63), int(found.argmin()), int(found.argmax())]:
        at = place if isinstance(place, tuple) else (place // 64, place % 64)
        whole = weight[at].item()
        weight[at] = whole * (1 - step)
        assert (flow() - before) / step == pytest.approx(-2 * found[at].item(), rel=1e-2, abs=1e-8)
        weight[at] = whole
    grown = {}
    for name, amount in (("lowest", 1), ("highest", -1)):
        kept = torch.argsort(amount * found.reshape(-1))[20:]
        mask = torch.zeros(found.numel(), dtype=torch.float64).index_fill_(0, kept, 1).view_as(found)
        model[2].weight.data = weight * (1 - 0.01 * (1 - mask))
        grown[name] = flow() - before
        model[2].weight.data = weight
    assert grown["lowest"] > 0 > grown["highest"]


# --- every road ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEERS)
def test_whole_model_prunes_equal_torchs_global_prunes(name: str, mlp: nn.Sequential, batches: Batches) -> None:
    twin = copy.deepcopy(mlp)
    saliency = saliency_of(mlp, name, batches)
    other = saliency.bind(twin)
    pairs = [(twin[0], "weight"), (twin[2], "weight")]
    for amount in (0.4, 300):
        report = prune_model(mlp, name, amount=amount, saliency=saliency)
        prune.global_unstructured(pairs, method_for(name), amount=amount, saliency=other.vector(pairs))
        assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin)) == report.mask_hash
    assert report.saliency_kind == get_scorer(name).requires
    assert all(not any(isinstance(v, Tensor) for v in vars(h).values()) for h in twin[0]._forward_pre_hooks.values())


@pytest.mark.parametrize("unit", ["channel", "head"])
@pytest.mark.parametrize("name", PEERS)
def test_units_of_a_vit_by_every_peer(name: str, unit: str) -> None:
    from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(img_size=16, patch_size=8, embed_dim=48, depth=2, num_heads=6, num_classes=10)
    data = [(torch.randn(2, 3, 16, 16), torch.tensor([0, 1])) for _ in range(2)]
    if name not in ON_UNITS:
        saliency = Saliency(vit, kind="relative") if name == "ri" else saliency_of(vit, name, data)
        with pytest.raises(ValueError, match=rf"scorer '{name}' is defined for weights, not for {unit}s"):
            compute_channel_masks(vit, name, 0.5, unit=unit, saliency=saliency)
        return
    options = {"rounds": 3} if name == "synflow" else {}
    saliency = saliency_of(vit, name, data, unit=unit, **options)
    _, report = compute_channel_masks(vit, name, 0.5, unit=unit, saliency=saliency)
    assert (report.pruned, report.saliency_kind) == (report.total // 2, get_scorer(name).requires)
    twin = copy.deepcopy(vit)
    assert compute_channel_masks(twin, name, 0.5, unit=unit, saliency=saliency)[1].mask_hash == report.mask_hash


def test_what_was_collected_for_weights_is_refused_for_units_where_that_differs(model_of: Callable[[str], nn.Module]) -> None:
    vit = model_of("vit_s")
    data = [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))]
    for_weights, for_heads = (Saliency(vit, data, kind="taylor", unit=unit) for unit in ("weight", "head"))
    with pytest.raises(ValueError, match="collected for weights; collect it with unit='channel'"):
        compute_channel_masks(vit, "taylor", 0.5, saliency=for_weights)
    with pytest.raises(ValueError, match="collected for heads; collect it with unit='channel'"):
        compute_channel_masks(vit, "taylor", 0.5, saliency=for_heads)
    with pytest.raises(ValueError, match="it was collected for heads"):
        compute_masks(vit, "taylor", amount=0.5, saliency=for_heads)


def test_a_peer_takes_no_importance_scores(mlp: nn.Sequential) -> None:
    scores = {(m, "weight"): torch.rand_like(m.weight) for m in (mlp[0], mlp[2])}
    with pytest.raises(ValueError, match="no `importance_scores` for 'lamp'"):
        compute_masks(mlp, "lamp", amount=0.5, importance_scores=scores)


def test_peers_have_no_structured_method_of_torchs_kind() -> None:
    """A dimension of one tensor says nothing of the sums a peer is defined by: prune_channels is their road."""
    assert not {cls.name for cls in SICSStructured.__subclasses__()} & set(PEERS)
