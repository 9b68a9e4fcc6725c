"""Saliencies against hand-worked numbers and loops; the order and length torch hands over; nothing about the model changes."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import pickle
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

from sics_plugin import (
    Saliency,
    SaliencyVector,
    SICSChaos,
    SICSGradient,
    compute_masks,
    mask_hash,
    prune_model,
    prune_to_sparsity,
)
from sics_plugin.scorers.coordinate import neighbourhood


def total(output: Tensor, target: object) -> Tensor:
    return output.sum()


def batches_of(n: int = 3, size: int = 8, width: int = 16, classes: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, width, generator=generator), torch.randint(classes, (size,), generator=generator)) for _ in range(n)
    ]


class Spy(prune.BasePruningMethod):
    """Prunes nothing and remembers what torch handed over."""

    PRUNING_TYPE = "unstructured"
    seen: list[Tensor]

    def __init__(self, seen: list[Tensor]) -> None:
        self.seen = seen

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        self.seen.append(t.detach().clone())
        return default_mask


class Mixed(nn.Module):
    """Two convolutions, a Linear with bias and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 4, 3, groups=2)
        self.fc = nn.Linear(16, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.fc(torch.tanh(self.grouped(torch.tanh(self.conv(x)))).flatten(1))))


@pytest.fixture
def mixed() -> Mixed:
    return Mixed()


@pytest.fixture
def mixed_batches() -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(5, 3, 4, 4), torch.randint(4, (5,))) for _ in range(2)]


# --- gradient -------------------------------------------------------------------------------------------------------------


def test_gradient_by_hand() -> None:
    """d(Σ w·x)/dw = x: batches (1, 2) and (3, 4) → √((1+9)/2), √((4+16)/2)."""
    layer = nn.Linear(2, 1, bias=False)
    saliency = Saliency(layer, [(torch.tensor([[1.0, 2.0]]), None), (torch.tensor([[3.0, 4.0]]), None)], total)
    assert saliency.vector([(layer, "weight")]).tolist() == pytest.approx([math.sqrt(5), math.sqrt(10)])


def test_the_batch_gradient_is_squared_not_the_samples() -> None:
    """One batch of +1 and −1: the batch gradient is 0."""
    layer = nn.Linear(1, 1, bias=False)
    saliency = Saliency(layer, [(torch.tensor([[1.0], [-1.0]]), None)], total)
    assert saliency.vector([(layer, "weight")]).tolist() == [0.0]


@pytest.mark.parametrize("prepruned", [False, True])
def test_gradient_equals_a_loop_of_backward_passes(mixed: Mixed, mixed_batches, prepruned: bool) -> None:
    if prepruned:
        prune.l1_unstructured(mixed.fc, "weight", 0.5)
    saliency = Saliency(mixed, mixed_batches, nn.functional.cross_entropy)
    mixed.eval()
    squares: dict[str, Tensor] = {}
    for x, y in mixed_batches:
        mixed.zero_grad()
        nn.functional.cross_entropy(mixed(x), y).backward()
        for name, p in mixed.named_parameters():
            squares[name] = squares.get(name, 0) + p.grad.double() ** 2
    for module, name in [(mixed.conv, "weight"), (mixed.grouped, "weight"), (mixed.fc, "weight"), (mixed.head, "bias")]:
        path = next(k for k, p in mixed.named_parameters() if p is getattr(module, f"{name}_orig", getattr(module, name)))
        expected = (squares[path] / len(mixed_batches)).sqrt()
        assert torch.allclose(saliency.tensor(module, name).double(), expected, rtol=1e-5, atol=1e-9)
        assert saliency.tensor(module, name).shape == expected.shape
    if prepruned:
        assert saliency.tensor(mixed.fc, "weight")[mixed.fc.weight_mask == 0].abs().max() == 0


def test_cross_entropy_is_the_default_loss(mlp: nn.Sequential) -> None:
    batches = batches_of()
    assert Saliency(mlp, batches).digest == Saliency(mlp, batches, nn.functional.cross_entropy).digest


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_gradient_in_other_precisions(mlp: nn.Sequential, dtype: torch.dtype) -> None:
    batches = batches_of()
    full = Saliency(copy.deepcopy(mlp), batches)
    mlp.to(dtype)
    other = Saliency(mlp, [(x.to(dtype), y) for x, y in batches])
    assert other.vector(mlp).dtype == torch.float32
    for name, value in full._values.items():
        assert (other._values[name] - value).norm() < 0.03 * value.norm()


def test_squares_of_small_fp16_gradients_do_not_underflow() -> None:
    layer = nn.Linear(1, 1, bias=False).half()
    saliency = Saliency(layer, [(torch.tensor([[1e-4]], dtype=torch.float16), None)], total)
    assert saliency.vector([(layer, "weight")]).item() == pytest.approx(1e-4, rel=1e-2)


def test_parameters_the_loss_does_not_reach_have_gradient_zero(mlp: nn.Sequential) -> None:
    mlp.add_module("unused", nn.Linear(3, 3))
    mlp.forward = lambda x: mlp[2](mlp[1](mlp[0](x)))  # type: ignore[method-assign]
    saliency = Saliency(mlp, [(torch.randn(4, 16), None)], total)
    assert saliency.tensor(mlp.unused, "weight").abs().max() == 0


# --- activation -----------------------------------------------------------------------------------------------------------


def test_activation_by_hand() -> None:
    """Inputs (1, 2), (3, 4): norms √10, √20; per sample /√2."""
    layer = nn.Linear(2, 3)
    saliency = Saliency(layer, [(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2))], kind="activation")
    assert saliency.tensor(layer, "weight").tolist() == pytest.approx(np.full((3, 2), [math.sqrt(5), math.sqrt(10)]))
    assert saliency.samples == 2


def test_activation_of_hidden_layers_and_sequences_adds_batches_and_positions() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    batches = [(torch.randn(3, 5, 4), torch.zeros(3)), (torch.randn(2, 5, 4), torch.zeros(2))]
    saliency = Saliency(model, batches, kind="activation")
    with torch.no_grad():
        hidden = torch.cat([model[1](model[0](x)).reshape(-1, 6) for x, _ in batches])
    expected = (hidden.double() ** 2).sum(0).div(5).sqrt()
    assert torch.allclose(saliency.tensor(model[2], "weight").double(), expected.expand(2, 6), rtol=1e-6)


def conv_norms_by_loops(conv: nn.Conv2d, x: np.ndarray) -> np.ndarray:
    """√(Σ over samples and positions of the squared input each weight multiplies, / samples), one weight at a time."""
    (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
    if conv.padding == "same":
        (th, tw) = (dh * (kh - 1), dw * (kw - 1))
        pad = ((0, 0), (0, 0), (th // 2, th - th // 2), (tw // 2, tw - tw // 2))
    elif conv.padding == "valid":
        pad = ((0, 0),) * 4
    else:
        pad = ((0, 0), (0, 0), (conv.padding[0],) * 2, (conv.padding[1],) * 2)
    mode = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}[conv.padding_mode]
    x = np.pad(x, pad, mode=mode)  # type: ignore[call-overload]
    rows, columns = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1, (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    per_group, out_per_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    norms = np.empty(tuple(conv.weight.shape))
    for o, c, i, j in itertools.product(*map(range, conv.weight.shape)):
        channel = o // out_per_group * per_group + c
        read = [x[:, channel, r * sh + i * dh, q * sw + j * dw] for r in range(rows) for q in range(columns)]
        norms[o, c, i, j] = math.sqrt((np.stack(read) ** 2).sum() / len(x))
    return norms


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"padding": 1},
        {"stride": (2, 1), "padding": (0, 2)},
        {"dilation": 2, "padding": 2},
        {"groups": 2},
        {"groups": 4, "out_channels": 8},
        {"padding": "same"},
        {"padding": "same", "kernel_size": (2, 4)},
        {"padding": "same", "dilation": 2},
        {"padding": "valid"},
        {"padding": (1, 2), "padding_mode": "circular"},
        {"padding": 2, "padding_mode": "reflect", "stride": 2},
        {"padding": 1, "padding_mode": "replicate", "groups": 2},
        {"padding": "same", "padding_mode": "circular"},
    ],
    ids=str,
)
def test_activation_of_convolutions_equals_the_loop(kwargs: dict) -> None:
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, **kwargs})
    x = torch.randn(3, 4, 7, 6)
    saliency = Saliency(conv, [(x[:2], torch.zeros(2)), (x[2:], torch.zeros(1))], kind="activation")
    expected = conv_norms_by_loops(conv, x.double().numpy())
    assert np.allclose(saliency.tensor(conv, "weight").numpy(), expected, rtol=1e-5, atol=1e-7)


def test_activation_is_the_input_gradient_of_the_squared_weights(mixed: Mixed, mixed_batches) -> None:
    """Another way to the same sum: d/dw² Σ conv(x², w²) for the grouped layer."""
    saliency = Saliency(mixed, mixed_batches, kind="activation")
    with torch.no_grad():
        x = torch.tanh(mixed.conv(torch.cat([b for b, _ in mixed_batches]))).double() ** 2
    squared = torch.zeros_like(mixed.grouped.weight, dtype=torch.float64).requires_grad_()
    nn.functional.conv2d(x, squared, groups=2).sum().backward()
    assert torch.allclose(saliency.tensor(mixed.grouped, "weight").double(), (squared.grad / 10).sqrt(), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_activation_in_half_precision(mlp: nn.Sequential, dtype: torch.dtype) -> None:
    batches = batches_of()
    expected = Saliency(mlp, batches, kind="activation")._values
    mlp.to(dtype)
    found = Saliency(mlp, [(x.to(dtype), y) for x, y in batches], kind="activation")
    for name, value in expected.items():
        assert torch.allclose(found._values[name], value, rtol=0.05, atol=1e-3)


def test_activation_of_large_fp16_inputs_does_not_overflow() -> None:
    layer = nn.Linear(2, 1).half()
    saliency = Saliency(layer, [(torch.full((4, 2), 6e4, dtype=torch.float16), torch.zeros(4))], kind="activation")
    assert saliency.tensor(layer, "weight")[0, 0].item() == pytest.approx(6e4, rel=1e-2)


def test_activation_of_a_layer_called_by_keyword() -> None:
    class ByKeyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(input=x)

    model = ByKeyword()
    saliency = Saliency(model, [(torch.tensor([[3.0, 4.0]]), torch.zeros(1))], kind="activation")
    assert saliency.tensor(model.fc, "weight").tolist() == [[3.0, 4.0], [3.0, 4.0]]


def test_activation_leaves_no_hook_behind_even_after_an_error(mlp: nn.Sequential) -> None:
    Saliency(mlp, batches_of(), kind="activation")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Saliency(mlp, [(torch.randn(2, 5), torch.zeros(2))], kind="activation")
    assert not any(m._forward_pre_hooks for m in mlp.modules())


def test_activation_exists_for_matrix_weights_only() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    saliency = Saliency(model, [(torch.tensor([1, 2]), torch.zeros(2))], kind="activation")
    for module, name in ((model[0], "0.weight"), (model[1], "1.weight")):
        with pytest.raises(
            ValueError, match=rf"no activation saliency of {re.escape(name)}: it exists for the matrix weights of layers"
        ):
            saliency.vector([(module, "weight")])
    with pytest.raises(ValueError, match=r"no activation saliency of 2\.bias"):
        saliency.vector([(model[2], "bias")])


@pytest.mark.parametrize("kind", ["activation", "relative_activation"])
def test_a_module_that_no_batch_reached_reads_zero_and_is_named(mlp: nn.Sequential, kind: str) -> None:
    mlp.extra = nn.Linear(4, 4)
    mlp.forward = lambda input: mlp[2](mlp[1](mlp[0](input)))  # type: ignore[method-assign]
    with pytest.warns(
        UserWarning, match=r"no calibration batch reached 4\.weight, extra\.weight: what they read counts as zero"
    ) as said:
        saliency = Saliency(mlp, batches_of(), kind=kind)  # type: ignore[arg-type]
    assert len(said) == 1
    assert float(saliency.tensor(mlp.extra, "weight").abs().max()) == 0
    assert float(saliency.tensor(mlp[2], "weight").max()) > 0


# --- neighbourhood --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["global", "layer"])
@pytest.mark.parametrize("name", ["chaos", "information"])
def test_neighbourhood_asked_for_is_what_a_method_without_saliency_uses(make_mlp, pool: str, name: str) -> None:
    model = make_mlp((32, 40, 40, 4))
    with torch.no_grad():
        model[2].weight.mul_(2)  # the layers' border is visible in a window that crosses it
    saliency = Saliency(model, kind="neighbourhood")
    asked, report = compute_masks(model, name, amount=0.7, saliency=saliency, pool=pool)
    default, plain = compute_masks(model, name, amount=0.7, pool=pool)
    assert mask_hash(asked) == mask_hash(default)
    assert report.alpha == plain.alpha == 0.05
    if pool == "global":
        vector, _ = compute_masks(model, name, amount=0.7, saliency=saliency.vector(model))
        assert mask_hash(vector) == mask_hash(default)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_neighbourhood_vector_is_that_of_the_vector_handed_over(make_mlp, dtype: torch.dtype) -> None:
    model = make_mlp((32, 40, 40, 4)).to(dtype)
    if dtype == torch.float64:
        nn.init.normal_(model[0].weight)
    pairs = [(model[2], "weight"), (model[0], "weight")]
    saliency = Saliency(model, kind="neighbourhood")
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for _ in range(2):
        seen: list[Tensor] = []
        prune.global_unstructured(pairs, Spy, seen=seen)
        assert torch.equal(saliency.vector(pairs).as_subclass(Tensor), neighbourhood(seen[0].to(wide).abs()))
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.4)


def test_neighbourhood_takes_no_batches(mlp: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="no `batches` for kind 'neighbourhood'"):
        Saliency(mlp, batches_of(), kind="neighbourhood")


# --- order and length -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gradient", "activation"])
def test_vector_is_in_the_order_and_length_torch_hands_over(mixed: Mixed, mixed_batches, kind: str) -> None:
    """torch itself gathers the saliency as importance scores; before, between and after two prunes, one of a part only."""
    saliency = Saliency(mixed, mixed_batches, kind=kind)
    pairs = [(mixed.fc, "weight"), (mixed.conv, "weight"), (mixed.head, "weight"), (mixed.grouped, "weight")]
    lengths = []
    for step in range(3):
        seen: list[Tensor] = []
        full = {(m, n): saliency.tensor(m, n).contiguous() for m, n in pairs}
        twin = copy.deepcopy(mixed) if step == 0 else None  # torch's own prune leaves non-leaf weights afterwards
        prune.global_unstructured(pairs, Spy, importance_scores=full, seen=seen)
        vector = saliency.vector(pairs)
        assert (type(vector), vector.kind, vector.dim()) == (SaliencyVector, kind, 1)
        assert torch.equal(vector.as_subclass(Tensor), seen[0])
        lengths.append(vector.numel())
        if step == 0:
            assert twin is not None
            prune.l1_unstructured(mixed.conv, "weight", 0.5)
        if step == 1:
            prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.3)
    n = sum(m.weight.numel() for m, _ in pairs)
    assert lengths == [n, n - 108, round(0.7 * (n - 108))]


@pytest.mark.parametrize("kind", ["gradient", "activation"])
def test_tensors_serve_as_torchs_importance_scores(mixed: Mixed, mixed_batches, kind: str) -> None:
    saliency = Saliency(mixed, mixed_batches, kind=kind)
    pairs = [(mixed.fc, "weight"), (mixed.conv, "weight")]
    scores = {(m, n): saliency.tensor(m, n) for m, n in pairs}
    prune.global_unstructured(pairs, prune.L1Unstructured, importance_scores=scores, amount=0.5)
    assert int(mixed.fc.weight_mask.sum() + mixed.conv.weight_mask.sum()) == (192 + 216) // 2


@pytest.mark.parametrize("how", ["torch", "model"])
def test_vector_grows_shorter_with_every_prune_and_fits_the_next(mlp: nn.Sequential, how: str) -> None:
    saliency = Saliency(mlp, batches_of())
    pairs = [(mlp[2], "weight"), (mlp[0], "weight")]
    left = 16 * 64 + 64 * 32
    for amount in (0.5, 0.3, 100):
        assert saliency.vector(pairs).numel() == left
        if how == "torch":
            prune.global_unstructured(pairs, SICSChaos, amount=amount, saliency=saliency.vector(pairs))
        else:
            prune_model(pairs, "chaos", amount=amount, saliency=saliency)
        left -= amount if isinstance(amount, int) else round(amount * left)
    assert int(mlp[0].weight_mask.sum() + mlp[2].weight_mask.sum()) == left


def test_vector_of_a_model_is_that_of_its_prunable_parameters(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    pairs = [(mlp[0], "weight"), (mlp[2], "weight")]  # the head is left out
    assert torch.equal(saliency.vector(mlp).as_subclass(Tensor), saliency.vector(pairs).as_subclass(Tensor))


def test_vector_takes_a_generator(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    assert saliency.vector((m, "weight") for m in (mlp[0], mlp[2])).numel() == 16 * 64 + 64 * 32


def test_a_prune_by_the_vector_equals_one_by_the_whole_model_function(mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    saliency, pairs = Saliency(mlp, batches_of()), [(mlp[0], "weight"), (mlp[2], "weight")]
    prune.global_unstructured(pairs, SICSGradient, amount=0.6, saliency=saliency.vector(pairs))
    masks, report = compute_masks(twin, "gradient", amount=0.6, saliency=saliency)
    assert torch.equal(masks["0.weight"], mlp[0].weight_mask != 0)
    assert torch.equal(masks["2.weight"], mlp[2].weight_mask != 0)
    assert report.saliency_kind == "gradient"


# --- nothing about the model changes --------------------------------------------------------------------------------------


@pytest.fixture
def delicate() -> nn.Sequential:
    """Batch norm, dropout, a frozen layer, mixed modes and gradients that are somebody's."""
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, 4))
    model.train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.full_like(p, 7.0)
    return model


@pytest.mark.parametrize("kind", ["gradient", "activation", "neighbourhood"])
@pytest.mark.parametrize("failing", [False, True])
def test_the_model_is_as_before(delicate: nn.Sequential, kind: str, failing: bool) -> None:
    before = copy.deepcopy(delicate.state_dict())
    modes = [m.training for m in delicate.modules()]
    batches: object = None if kind == "neighbourhood" else batches_of()
    if failing and kind != "neighbourhood":

        def failing_batches() -> Iterator[tuple[Tensor, Tensor]]:
            yield batches_of()[0]
            raise OSError("disk gone")

        with pytest.raises(OSError, match="disk gone"):
            Saliency(delicate, failing_batches(), kind=kind)
    else:
        Saliency(delicate, batches, kind=kind)
    assert [m.training for m in delicate.modules()] == modes
    assert [p.requires_grad for p in delicate.parameters()] == [False, True, True, True, True, True]
    assert delicate[0].weight.grad is None
    assert all(p.grad is not None and bool((p.grad == 7).all()) for p in delicate.parameters() if p.requires_grad)
    for name, value in delicate.state_dict().items():  # batch norm's running statistics, too
        assert torch.equal(value, before[name])
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in delicate.modules())


def test_the_model_runs_in_eval_mode(delicate: nn.Sequential) -> None:
    digests = {Saliency(delicate, batches_of()).digest for _ in range(3)}  # dropout would make them differ
    assert digests == {Saliency(copy.deepcopy(delicate).eval(), batches_of()).digest}


def test_frozen_parameters_get_a_gradient_saliency(delicate: nn.Sequential) -> None:
    assert Saliency(delicate, batches_of()).tensor(delicate[0], "weight").max() > 0


def test_collecting_works_where_autograd_is_off(mlp: nn.Sequential) -> None:
    expected = Saliency(mlp, batches_of()).digest
    with torch.no_grad():
        assert Saliency(mlp, batches_of()).digest == expected
        assert not torch.is_grad_enabled()


def test_the_vector_carries_no_graph_and_is_a_copy_of_nothing_that_changes(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    vector = saliency.vector(mlp)
    before = vector.as_subclass(Tensor).clone()
    with torch.no_grad():
        mlp[0].weight.zero_()
    assert not vector.requires_grad
    assert torch.equal(saliency.vector(mlp).as_subclass(Tensor), before)


# --- batches --------------------------------------------------------------------------------------------------------------


def test_lists_generators_and_loaders_give_the_same(mlp: nn.Sequential) -> None:
    batches = batches_of()
    loader = DataLoader(TensorDataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])), batch_size=8)
    saliencies = [Saliency(mlp, source) for source in (batches, (b for b in batches), loader, [list(b) for b in batches])]
    assert len({s.digest for s in saliencies}) == 1
    assert {s.samples for s in saliencies} == {24}


@pytest.mark.parametrize("kind", ["gradient", "activation"])
def test_max_batches_stops_a_stream_without_an_end(mlp: nn.Sequential, kind: str) -> None:
    drawn = 0

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal drawn
        for batch in itertools.cycle(batches_of()):
            drawn += 1
            yield batch

    saliency = Saliency(mlp, endless(), kind=kind, max_batches=2)
    assert drawn == 2
    assert saliency.samples == 16
    assert saliency.digest == Saliency(mlp, batches_of()[:2], kind=kind).digest


@pytest.mark.parametrize("kind", ["gradient", "activation"])
@pytest.mark.parametrize(
    ("batches", "error", "match"),
    [
        ([], ValueError, "at least one batch"),
        (iter(()), ValueError, "at least one batch"),
        (None, TypeError, r"`batches` to be an iterable of \(input, target\) pairs or of mappings, got NoneType"),
        (7, TypeError, "got int"),
        (torch.rand(3, 16), TypeError, "got Tensor"),
        (
            [torch.rand(8, 16)],
            TypeError,
            "every batch to be an .input, target. pair or a mapping of the model's arguments, got Tensor",
        ),
        ([(torch.rand(8, 16),)], TypeError, "got tuple of 1; .* a target that nothing reads may be None"),
        ([{"x": 1, "y": 2}], TypeError, "arguments of Sequential.forward, which takes input, got 'x', 'y'"),
    ],
    ids=["empty", "exhausted", "none", "number", "tensor", "no-target", "one", "dict"],
)
def test_bad_batches_are_refused(mlp: nn.Sequential, kind: str, batches, error, match: str) -> None:
    with pytest.raises(error, match=match):
        Saliency(mlp, batches, kind=kind)


def test_max_batches_zero_is_refused(mlp: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="Expected `max_batches` to be a whole number above 0, or None for all, got 0"):
        Saliency(mlp, batches_of(), max_batches=0)


@pytest.mark.parametrize(
    ("loss", "error", "match"),
    [
        (lambda o, t: o, TypeError, "scalar tensor"),
        (lambda o, t: 3.0, TypeError, "scalar tensor"),
        (lambda o, t: o.sum() * math.nan, ValueError, "NaN or infinite|finite loss .*got nan"),
        (lambda o, t: (o.sum() * 0).sqrt(), ValueError, "NaN or infinite"),
        (lambda o, t: o.sum() + math.inf, ValueError, "infinite|finite"),
    ],
    ids=["vector", "float", "nan", "nan-gradient", "infinite"],
)
def test_bad_losses_are_refused(mlp: nn.Sequential, loss, error, match: str) -> None:
    with pytest.raises(error, match=match):
        Saliency(mlp, batches_of(), loss)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_inputs_that_are_not_finite_are_refused(mlp: nn.Sequential, bad: float) -> None:
    with pytest.raises(ValueError, match=r"the input of 0 is NaN or infinite"):
        Saliency(mlp, [(torch.full((2, 16), bad), torch.zeros(2))], kind="activation")


def test_unknown_kinds_are_refused(mlp: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"`kind` to be one of gradient, activation, neighbourhood, .*, got 'magic'"):
        Saliency(mlp, batches_of(), kind="magic")  # type: ignore[arg-type]


# --- copies, digests, ties ------------------------------------------------------------------------------------------------


def test_bind_to_a_copy(mlp: nn.Sequential) -> None:
    saliency, twin = Saliency(mlp, batches_of()), copy.deepcopy(mlp)
    pairs = [(twin[0], "weight"), (twin[2], "weight")]
    with pytest.raises(ValueError, match=r"use saliency\.bind\(copy\)"):
        saliency.vector(pairs)
    bound = saliency.bind(twin)
    assert torch.equal(bound.vector(pairs).as_subclass(Tensor), saliency.vector(mlp).as_subclass(Tensor))
    assert bound.digest == saliency.digest
    with pytest.raises(ValueError, match="not a parameter of the model"):
        bound.vector([(mlp[0], "weight")])
    saliency.vector(mlp)  # the first one still knows its own model


def test_bind_to_a_pruned_copy(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    prune_model(mlp, "magnitude", amount=0.5)
    twin = copy.deepcopy(mlp)
    assert torch.equal(saliency.bind(twin).vector(twin).as_subclass(Tensor), saliency.vector(mlp).as_subclass(Tensor))


def test_prune_model_matches_a_copy_by_names(mlp: nn.Sequential) -> None:
    saliency, twin = Saliency(mlp, batches_of()), copy.deepcopy(mlp)
    hashes = {compute_masks(m, "chaos", amount=0.7, saliency=saliency)[1].mask_hash for m in (mlp, twin)}
    assert len(hashes) == 1


def test_bind_refuses_another_model(mlp: nn.Sequential, make_mlp) -> None:
    with pytest.raises(ValueError, match=r"0\.weight has shape \(64, 15\), its saliency \(64, 16\): another model"):
        Saliency(mlp, batches_of()).bind(make_mlp((15, 64, 32, 4)))


def test_activation_of_another_model_is_refused_in_words(mlp: nn.Sequential, make_mlp) -> None:
    saliency = Saliency(mlp, batches_of(), kind="activation")
    with pytest.raises(ValueError, match=r"0\.weight"):
        compute_masks(make_mlp((15, 64, 32, 4)), "chaos", amount=0.5, saliency=saliency)


def test_a_module_of_another_model_is_refused_even_if_its_memory_is_reused(mlp: nn.Sequential, make_mlp) -> None:
    """Identities are reused by Python once an object is gone; the saliency must not fall for it."""
    saliency = Saliency(mlp, batches_of())
    del mlp
    gc.collect()
    for _ in range(20):
        other = make_mlp()
        with pytest.raises(ValueError, match="not a parameter of the model"):
            saliency.vector(other)


def test_digest_tells_values_and_kinds_apart(mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    one = Saliency(mlp, batches_of())
    assert one.digest == Saliency(twin, batches_of()).digest
    assert len(one.digest) == 64
    others = [Saliency(mlp, batches_of(2)), Saliency(mlp, batches_of(), total), Saliency(mlp, batches_of(), kind="activation")]
    with torch.no_grad():
        twin[0].weight[0, 0] += 0.5
    others.append(Saliency(twin, batches_of()))
    assert len({one.digest, *(s.digest for s in others)}) == 5


def test_digest_does_not_change_when_the_model_is_pruned_afterwards(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    prune_model(mlp, "magnitude", amount=0.5)
    assert saliency.digest == Saliency.bind(saliency, mlp).digest
    masked = Saliency(mlp, batches_of())
    assert sorted(masked._values) == sorted(saliency._values)  # dense names, though torch renamed the parameters
    assert masked.digest != saliency.digest


@pytest.mark.parametrize("make", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy])
def test_a_saliency_pickles_without_its_model_and_is_bound_again(mlp: nn.Sequential, make: Callable) -> None:
    saliency = Saliency(mlp, batches_of())
    thawed = make(saliency)
    assert thawed.digest == saliency.digest
    with pytest.raises(ValueError, match=r"saliency\.bind"):
        thawed.vector(mlp)
    assert torch.equal(thawed.bind(mlp).vector(mlp).as_subclass(Tensor), saliency.vector(mlp).as_subclass(Tensor))
    assert repr(thawed) == repr(saliency) == "Saliency(kind='gradient', samples=24, tensors=6)"


def token_batches(n: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    return [(torch.randint(40, (6,), generator=generator), torch.randint(40, (6,), generator=generator)) for _ in range(n)]


def test_gradient_of_tied_weights_is_that_of_the_one_tensor(tied: nn.Module) -> None:
    saliency = Saliency(tied, token_batches())
    first, second = saliency.tensor(tied.first, "weight"), saliency.tensor(tied.second, "weight")
    assert torch.equal(first, second)
    assert torch.equal(saliency.tensor(tied.embedding, "weight"), saliency.tensor(tied.decoder, "weight"))
    assert first.max() > 0
    # torch hands a tied parameter over as often as it is listed
    assert saliency.vector([(tied.first, "weight"), (tied.second, "weight")]).numel() == 2 * 256


def test_activation_of_a_decoder_tied_to_an_embedding(tied: nn.Module) -> None:
    batches = token_batches()
    saliency = Saliency(tied, batches, kind="activation")
    with torch.no_grad():
        x = torch.cat([torch.tanh(tied.second(torch.tanh(tied.first(tied.embedding(t))))) for t, _ in batches])
    expected = (x.double() ** 2).sum(0).div(len(x)).sqrt().expand(40, 16)
    assert torch.allclose(saliency.tensor(tied.decoder, "weight").double(), expected, rtol=1e-5)


def test_activation_of_two_linears_sharing_a_weight_counts_both_inputs(tied: nn.Module) -> None:
    """One tensor, one saliency: whichever name is asked for. Either each module's own norm or the two together is fine."""
    batches = token_batches()
    saliency = Saliency(tied, batches, kind="activation")
    with torch.no_grad():
        first = torch.cat([tied.embedding(t) for t, _ in batches]).double()
        second = torch.cat([torch.tanh(tied.first(tied.embedding(t))) for t, _ in batches]).double()
    a, b = ((x**2).sum(0).div(len(x)) for x in (first, second))
    found = [saliency.tensor(m, "weight")[0].double() for m in (tied.first, tied.second)]
    own = torch.allclose(found[0], a.sqrt(), rtol=1e-5) and torch.allclose(found[1], b.sqrt(), rtol=1e-5)
    together = all(torch.allclose(f, (a + b).sqrt(), rtol=1e-5) for f in found)
    assert own or together


def test_saliency_survives_a_change_of_precision_of_its_model(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    before = saliency.vector(mlp).as_subclass(Tensor).clone()
    mlp.bfloat16()
    assert torch.equal(saliency.vector(mlp).as_subclass(Tensor), before)


def test_reaching_a_sparsity_with_one_saliency_in_steps(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, batches_of())
    n = 16 * 64 + 64 * 32
    for s in (0.3, 0.6, 0.8):
        report = prune_to_sparsity(mlp, "chaos", s, saliency=saliency)
        assert report.pruned == round(s * n)
        assert saliency.vector(mlp).numel() == n - report.pruned


def test_gradients_computed_elsewhere_give_the_same_saliency() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    batches = batches_of()
    memory = {name: torch.empty_like(parameter) for name, parameter in model.named_parameters()}

    def gradients() -> Iterator[dict[str, Tensor]]:
        for inputs, targets in batches:
            model.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                memory[name].copy_(parameter.grad)
            yield memory

    given = Saliency.from_gradients(model, gradients(), samples=24)
    own = Saliency(model, batches)
    assert (given.kind, given.samples, given.digest) == ("gradient", 24, own.digest)
    parameters = [(model[0], "weight"), (model[2], "weight")]
    assert torch.equal(given.vector(parameters), own.vector(parameters))
    assert torch.equal(given.bind(copy.deepcopy(model))._values["0.weight"], own.tensor(model[0], "weight"))
    partial = Saliency.from_gradients(model, [{"0.weight": torch.ones(32, 16)}])
    assert float(partial.tensor(model[2], "weight").abs().max()) == 0.0


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        ([], "at least one batch"),
        ([{"1.weight": torch.ones(2, 2)}], "got one of '1.weight'"),
        ([{"weight": torch.ones(2)}], r"in its shape \(1, 2\), got \(2,\)"),
        ([{"weight": torch.tensor([[1.0, float("nan")]])}], "gradient of weight is NaN or infinite"),
    ],
)
def test_gradients_that_are_not_the_models(gradients: list[dict[str, Tensor]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Saliency.from_gradients(nn.Linear(2, 1), gradients)
