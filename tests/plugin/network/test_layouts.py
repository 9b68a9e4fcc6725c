"""What a row is: checked by what each layer computes, not by what it is said to store."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sics_plugin import current_masks, prunable_parameters, prune_model, prune_n_m
from sics_plugin.network.layouts import ROWS_FIRST, Layout, is_depthwise, layout_of

Case = tuple[Callable[[], nn.Module], tuple[int, ...], int]

LAYERS: dict[str, Case] = {  # how it is made, the input's shape, the dimension of the output that outputs lie along
    "linear": (lambda: nn.Linear(6, 4), (2, 6), 1),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3), (2, 6, 9), 1),
    "conv2d": (lambda: nn.Conv2d(6, 4, 3, groups=2), (2, 6, 5, 5), 1),
    "conv3d": (lambda: nn.Conv3d(2, 4, 2), (1, 2, 3, 3, 3), 1),
    "depthwise": (lambda: nn.Conv2d(6, 12, 3, groups=6), (2, 6, 5, 5), 1),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3), (2, 6, 5, 5), 1),
    "transposed in groups": (lambda: nn.ConvTranspose1d(6, 4, 3, groups=2), (2, 6, 5), 1),
    "transposed 3-D": (lambda: nn.ConvTranspose3d(2, 3, 2, groups=1), (1, 2, 2, 2, 2), 1),
}


def rows_of(module: nn.Module, name: str = "weight") -> tuple[Layout, Tensor]:
    layout = layout_of(module, name)
    assert layout is not None
    weight = getattr(module, name).detach().clone()
    rows = layout.rows(weight)
    assert tuple(rows.shape) == layout.shape_of_rows(weight.shape)
    assert torch.equal(layout.back(rows, weight.shape), weight)
    return layout, rows


@pytest.mark.parametrize("name", LAYERS)
def test_a_row_is_what_one_output_reads(name: str) -> None:
    make, shape, dim = LAYERS[name]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    layout, rows = rows_of(layer)
    before = layer(x)
    assert len(rows) == before.shape[dim]
    for row in range(len(rows)):
        changed = rows.clone()
        changed[row] += 1.0
        with torch.no_grad():
            layer.weight.copy_(layout.back(changed, layer.weight.shape))
            differs = (layer(x) != before).movedim(dim, 0).flatten(1).any(1)
            layer.weight.copy_(layout.back(rows, layer.weight.shape))
        assert differs.nonzero().flatten().tolist() == [row]


@pytest.mark.parametrize("name", LAYERS)
def test_inputs_of_a_row_are_the_inputs_of_the_layer_in_their_order(name: str) -> None:
    """An input that is zero leaves what its column holds without effect; in groups every output has its group's inputs."""
    make, shape, _ = LAYERS[name]
    layer = make()
    layout, rows = rows_of(layer)
    groups = getattr(layer, "groups", 1)
    size, inputs = rows.shape[1], shape[1]
    assert size * groups == inputs
    for index in range(inputs):
        x = torch.zeros(shape)
        x[:, index] = torch.randn(shape[2:])
        before, group = layer(x), index // size
        changed = torch.full_like(rows, 7.0)
        per = len(rows) // groups
        changed[group * per : (group + 1) * per, index % size] = rows[group * per : (group + 1) * per, index % size]
        with torch.no_grad():
            dense = layer.weight.clone()
            layer.weight.copy_(layout.back(changed, layer.weight.shape))
            assert torch.allclose(layer(x), before, atol=1e-6)
            layer.weight.copy_(dense)


def test_conv1d_of_transformers_has_inputs_first() -> None:
    conv = pytest.importorskip("transformers.pytorch_utils").Conv1D(4, 6)
    layout, rows = rows_of(conv)
    assert layout == Layout("io")
    assert torch.allclose(conv(torch.eye(6)) - conv.bias, rows.T)


MODULES = {"Mixtral": "mixtral.modeling_mixtral", "GptOss": "gpt_oss.modeling_gpt_oss"}


@pytest.mark.parametrize("kind", MODULES)
def test_experts_are_matrices_side_by_side(kind: str) -> None:
    """One row of one expert moves one of its outputs: by a module of one expert that sees every token."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 6, "intermediate_size": 4, "num_local_experts": 3, "num_experts_per_tok": 1}
    place = importlib.import_module(f"transformers.models.{MODULES[kind]}")
    experts = getattr(place, f"{kind}Experts")(getattr(transformers, f"{kind}Config")(**sizes))
    for parameter in experts.parameters():
        nn.init.normal_(parameter)
    layout, rows = rows_of(experts, "down_proj")
    assert layout.order == ("eoi" if kind == "Mixtral" else "eio")
    assert rows.shape == (3 * 6, 4)
    x, weights = torch.randn(2, 6), torch.ones(2, 1)

    def output(expert: int) -> Tensor:
        with torch.no_grad():
            found: Tensor = experts(x, torch.full((2, 1), expert), weights)
        return found

    before = [output(expert) for expert in range(3)]
    rows = rows.clone()
    rows[6 + 2] += 1.0  # the third output of the second expert
    with torch.no_grad():
        experts.down_proj.copy_(layout.back(rows, experts.down_proj.shape))
    differs = [(output(expert) != before[expert]).any(0).nonzero().flatten().tolist() for expert in range(3)]
    assert differs == [[], [2], []]
    assert layout.shape_of_layer(experts.down_proj.shape) == (6, 4)


def test_recurrent_and_attention_weights_have_outputs_first() -> None:
    lstm, attention = nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2), nn.MultiheadAttention(6, 2, kdim=4, vdim=4)
    for name in ("weight_ih_l0", "weight_hh_l1_reverse", "weight_hr_l0"):
        assert layout_of(lstm, name) == ROWS_FIRST
    for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
        assert layout_of(attention, name) == ROWS_FIRST
    assert layout_of(nn.MultiheadAttention(6, 2), "in_proj_weight") == ROWS_FIRST
    assert layout_of(lstm, "bias_ih_l0") is None
    assert layout_of(attention, "bias_k") is None


def test_what_is_not_known_has_no_layout_and_is_refused_by_name() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(4, 8))

    own = Own()
    assert layout_of(own, "matrix") is None
    for pool in ("row", "2:4", "erk"):
        with pytest.raises(
            ValueError, match=r"which dimension of \[0\]\.matrix are its outputs is not known for a Own: leave it out"
        ):
            prune_model([(own, "matrix")], "magnitude", amount=0.5, pool=pool)
    assert prune_model([(own, "matrix")], "magnitude", amount=0.5, pool="layer").pruned == 16


def test_two_of_four_of_a_conv1d_keeps_two_of_four_inputs() -> None:
    conv = pytest.importorskip("transformers.pytorch_utils").Conv1D(32, 16)
    report = prune_n_m([(conv, "weight")], "magnitude", 2, 4)
    kept = conv.weight_mask.T.reshape(32, 4, 4).sum(-1)
    assert report.sparsity == 0.5
    assert bool((kept == 2).all())
    twin = nn.Linear(16, 32)
    with torch.no_grad():
        twin.weight.copy_(conv.weight_orig.T)
    prune_n_m([(twin, "weight")], "magnitude", 2, 4)
    assert torch.equal(twin.weight_mask.T, conv.weight_mask)


@pytest.mark.parametrize("pool", ["row", "2:4", "erk"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_pruned_as_the_convolution_of_its_rows(pool: str, groups: int) -> None:
    layer = nn.ConvTranspose2d(16, 8, 3, groups=groups)
    layout, rows = rows_of(layer)
    plain = nn.Conv2d(16, 8, 3, groups=groups)
    assert plain.weight.shape == rows.shape
    with torch.no_grad():
        plain.weight.copy_(rows)
    for one in (layer, plain):
        prune_model(one, "magnitude", amount=0.5, pool=pool)
    assert torch.equal(layout.rows(current_masks(layer)["weight"]), current_masks(plain)["weight"])


def test_depthwise_is_a_filter_a_channel() -> None:
    assert is_depthwise(nn.Conv1d(4, 4, 3, groups=4))
    assert is_depthwise(nn.ConvTranspose2d(4, 8, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(8, 8, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(1, 8, 3, groups=1))
    assert not is_depthwise(nn.Linear(1, 8))


@given(
    order=st.sampled_from(["oi", "io", "eoi", "eio"]),
    sizes=st.lists(st.integers(1, 4), min_size=3, max_size=5),
    groups=st.integers(1, 3),
)
def test_rows_and_back_are_inverses(order: str, sizes: list[int], groups: int) -> None:
    shape = (sizes[0] * groups, *sizes[1:]) if order == "io" else tuple(sizes[:3]) if order.startswith("e") else tuple(sizes)
    layout = Layout(order, groups if order == "io" else 1)  # type: ignore[arg-type]
    weight = torch.arange(torch.Size(shape).numel()).view(shape)
    rows = layout.rows(weight)
    assert tuple(rows.shape) == layout.shape_of_rows(shape)
    assert torch.equal(layout.back(rows, weight.shape), weight)


def test_a_bias_of_experts_is_no_matrix() -> None:
    class OwnExperts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(4, 8, 16)), nn.Parameter(torch.randn(4, 1, 16))

    assert [name for _, name in prunable_parameters(nn.Sequential(OwnExperts(), nn.Linear(16, 2)))] == ["weight"]
