"""What every kind of layer reads, against loops written out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from sics_plugin import Saliency, prune_model
from sics_plugin.network.targets import Target
from sics_plugin.saliency.signals.relative import of_target, relative_importance


def norms(module: nn.Module, given: Any, name: str = "weight") -> Tensor:
    return Saliency(module, [(given, None)], kind="activation").tensor(module, name).double()


def by_gradient(module: Any, x: Tensor) -> Tensor:
    """Σ x² under each weight as d/dw of the layer of squares with weights that are shared by nothing."""
    names = ["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"]
    twin = type(module)(**{name: getattr(module, name) for name in names}, bias=False).double()
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        twin.output_padding = module.output_padding
    out = twin(x.double().square())
    return (torch.autograd.grad(out.sum(), twin.weight)[0] / len(x)).sqrt()


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": 2},
        {"groups": 2},
        {"groups": 4},
        {"kernel_size": 4, "stride": 3},
    ],
    ids=str,
)
def test_convolutions(dims: int, transposed: bool, options: dict[str, Any]) -> None:
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")
    torch.manual_seed(0)
    module = kind(**{"in_channels": 4, "out_channels": 8, "kernel_size": 3, **options})
    x = torch.randn(3, 4, *(7, 6, 5)[:dims])
    torch.testing.assert_close(norms(module, x), by_gradient(module, x), rtol=1e-5, atol=1e-7)


def test_a_depthwise_convolution_by_hand() -> None:
    """Kernel 2, inputs (1, 2, 3) and (0, 4, 0): under the places of the kernel lie (1, 2), (2, 3) and (0, 4), (4, 0)."""
    module = nn.Conv1d(2, 2, 2, groups=2)
    found = norms(module, torch.tensor([[[1.0, 2.0, 3.0], [0.0, 4.0, 0.0]]]))
    assert found.square().flatten().tolist() == pytest.approx([5.0, 13.0, 16.0, 16.0], rel=1e-5)


def test_a_transposed_convolution_by_hand() -> None:
    """Padding 1, kernel 2: of outputs 0…3 the ends are cut, so the first place never meets input 0, the last never input 2."""
    module = nn.ConvTranspose1d(1, 1, 2, padding=1)
    found = norms(module, torch.tensor([[[1.0, 2.0, 3.0]]]))
    assert found.square().flatten().tolist() == pytest.approx([13.0, 5.0], rel=1e-5)


def test_an_output_size_asked_for_is_heeded() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose1d(1, 1, 4, stride=3, padding=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(x, output_size=[8])

    model = Asks()
    x = torch.randn(2, 1, 3)
    twin = nn.ConvTranspose1d(1, 1, 4, stride=3, padding=2, output_padding=2)
    assert torch.equal(Saliency(model, [(x, None)], kind="activation").tensor(model.up, "weight").double(), norms(twin, x))


def hidden_by_hand(rnn: Any, x: Tensor, hx: Tensor | None, length: int) -> dict[str, Tensor]:
    """Σ over steps of what every weight of one sequence reads, cell after cell."""
    kinds = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}
    ways, squares = 2 if rnn.bidirectional else 1, {}
    sequence = [x[t] for t in range(length)]
    for layer in range(rnn.num_layers):
        outputs = []
        for way in range(ways):
            suffix = f"_l{layer}{'_reverse' if way else ''}"
            cell: Any = kinds[rnn.mode](len(sequence[0]), rnn.hidden_size) if rnn.mode in kinds else nn.RNNCell(
                len(sequence[0]), rnn.hidden_size, nonlinearity=rnn.mode.removeprefix("RNN_").lower()
            )  # fmt: skip
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(cell, name).data = getattr(rnn, name + suffix).detach()
            h = torch.zeros(rnn.hidden_size) if hx is None else hx[layer * ways + way]
            c = torch.zeros_like(h)
            own, reads = [], torch.zeros(rnn.hidden_size)
            for step in reversed(sequence) if way else sequence:
                reads = reads + h.square()
                if rnn.mode == "LSTM":
                    h, c = cell(step, (h, c))
                else:
                    h = cell(step, h)
                own.append(h)
            squares["weight_hh" + suffix] = reads
            squares["weight_ih" + suffix] = torch.stack(sequence).square().sum(0)
            outputs.append(own[::-1] if way else own)
        sequence = [torch.cat(several) for several in zip(*outputs, strict=True)]
    return {name: value.detach() for name, value in squares.items()}


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("form", ["time", "batch", "packed", "one"])
@pytest.mark.parametrize("start", [False, True])
def test_recurrent_layers(kind: str, bidirectional: bool, form: str, start: bool) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"nonlinearity": "relu"} if kind == "RNN" else {}
    rnn: Any = getattr(nn, kind)(
        3, 4, num_layers=2, bidirectional=bidirectional, batch_first=form in ("batch", "packed"), **options
    )
    samples = 1 if form == "one" else 3
    x, lengths = torch.randn(5, samples, 3), [2, 5, 4] if form == "packed" else [5] * samples
    hx = torch.randn(2 * (1 + bidirectional), samples, 4) if start else None
    given: Any = {"time": x, "one": x[:, 0]}.get(form, x.transpose(0, 1))
    if form == "packed":
        given = pack_padded_sequence(given, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    begin = hx[:, 0] if form == "one" and hx is not None else hx
    state = (begin, torch.zeros_like(begin)) if kind == "LSTM" and begin is not None else begin

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = rnn

        def forward(self, inputs: Tensor | PackedSequence) -> Any:
            return self.rnn(inputs) if state is None else self.rnn(inputs, state)

    model = Around()
    found = Saliency(model, [(given, torch.zeros(samples))], kind="activation")
    totals: dict[str, Tensor] = {}
    for i, length in enumerate(lengths):
        for name, value in hidden_by_hand(rnn, x[:, i], None if hx is None else hx[:, i], length).items():
            totals[name] = totals.get(name, torch.zeros(())) + value
    assert len(totals) == 4 * (1 + bidirectional)
    for name, total in totals.items():
        weight = found.tensor(rnn, name)
        torch.testing.assert_close(weight, (total / samples).sqrt().expand_as(weight), rtol=1e-4, atol=1e-5, msg=name)


def test_a_pruned_recurrent_layer_is_read_as_it_runs() -> None:
    torch.manual_seed(0)
    rnn, x = nn.GRU(3, 4), torch.randn(5, 2, 3)
    prune.l1_unstructured(rnn, "weight_hh_l0", 0.5)
    with torch.no_grad():
        output = rnn(x)[0]
    expected = (output[:-1].square().sum((0, 1)) / 2).sqrt()
    found = Saliency(rnn, [(x, torch.zeros(2))], kind="activation").tensor(rnn, "weight_hh_l0")
    torch.testing.assert_close(found, expected.expand(12, 4), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(kind: Any) -> None:
    torch.manual_seed(0)

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = kind(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            state: Any = None
            for step in x:
                state = self.cell(step, state)
            return state[0] if isinstance(state, tuple) else state

    model, x = Loop(), torch.randn(5, 2, 3)
    found = Saliency(model, [(x, torch.zeros(2))], kind="activation")
    states, state = [], None
    with torch.no_grad():
        for step in x[:-1]:
            state = model.cell(step, state)
            states.append(state[0] if isinstance(state, tuple) else state)
    expected = (torch.stack(states).square().sum((0, 1)) / 2).sqrt()
    weight = found.tensor(model.cell, "weight_hh")
    torch.testing.assert_close(weight, expected.expand_as(weight), rtol=1e-5, atol=1e-7)
    weight = found.tensor(model.cell, "weight_ih")
    torch.testing.assert_close(weight, (x.square().sum((0, 1)) / 2).sqrt().expand_as(weight))


def test_a_projection_inside_an_lstm_is_named_at_once() -> None:
    rnn = nn.LSTM(3, 6, proj_size=2)
    x = torch.randn(5, 2, 3)
    with pytest.warns(UserWarning, match=r"no input norm of weight_hr_l0: what these weights read cannot be seen"):
        saliency = Saliency(rnn, [(x, torch.zeros(2))], kind="activation")
    output = rnn(x)[0].detach()
    expected = (output[:-1].square().sum((0, 1)) / 2).sqrt()
    torch.testing.assert_close(saliency.tensor(rnn, "weight_hh_l0"), expected.expand(24, 2), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"no activation saliency of weight_hr_l0: .*leave it out"):
        saliency.tensor(rnn, "weight_hr_l0")


@pytest.mark.parametrize("widths", [{}, {"kdim": 3, "vdim": 5}])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
def test_attention_projections(widths: dict[str, int], batch_first: bool, pruned: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, batch_first=batch_first, **widths)
    nn.init.normal_(attention.out_proj.bias)
    if pruned:
        prune.l1_unstructured(attention.out_proj, "weight", 0.5)
    q, k, v = torch.randn(3, 6, 4), torch.randn(3, 7, widths.get("kdim", 4)), torch.randn(3, 7, widths.get("vdim", 4))
    given = (q, k, v) if batch_first else tuple(x.transpose(0, 1) for x in (q, k, v))
    found = Saliency(attention, [(given, torch.zeros(3))], kind="activation")
    own = [(x.square().sum((0, 1)) / 3).sqrt() for x in (q, k, v)]
    if widths:
        weights = [found.tensor(attention, f"{name}_proj_weight") for name in "qkv"]
    else:
        weights = list(found.tensor(attention, "in_proj_weight").chunk(3))
    for weight, norm in zip(weights, own, strict=True):
        torch.testing.assert_close(weight, norm.expand_as(weight))
    read: list[Tensor] = []
    original = nn.functional.scaled_dot_product_attention

    def attended(*args: Any, **kwargs: Any) -> Tensor:
        read.append(original(*args, **kwargs))
        return read[-1]

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(nn.functional, "scaled_dot_product_attention", attended)
        attention.eval()(*given, need_weights=False)
    heads = read[0].transpose(1, 2).flatten(2).reshape(-1, 4)  # (samples · positions, heads · width)
    expected = (heads.square().sum(0) / 3).sqrt()
    torch.testing.assert_close(found._values["out_proj.weight"], expected, rtol=1e-4, atol=1e-6)


def test_the_layers_inside_torchs_encoder_are_seen() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = Saliency(layer, [(torch.randn(2, 5, 8), torch.zeros(2))], kind="activation")
    assert {"self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"} == set(found._values)
    assert all(float(v.min()) > 0 for v in found._values.values())


def test_transformers_conv1d_is_stored_inputs_first() -> None:
    utils = pytest.importorskip("transformers.pytorch_utils")
    module = utils.Conv1D(2, 3)  # two outputs, three inputs
    found = norms(module, torch.tensor([[3.0, 0.0, 1.0], [4.0, 2.0, 0.0]])) * 2**0.5
    torch.testing.assert_close(found, torch.tensor([[5.0, 5.0], [2.0, 2.0], [1.0, 1.0]], dtype=torch.float64))


def test_what_is_read_without_calling_its_layer_is_no_zero() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.spare = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(self.one(x), self.two.weight)

    model = Reads()
    batches = [(torch.randn(6, 4), torch.randint(3, (6,)))]
    with pytest.warns(UserWarning, match="no input norm|no calibration batch") as said:
        saliency = Saliency(model, batches, kind="activation")
    words = [str(w.message) for w in said]
    assert any("no input norm of two.weight: what these weights read cannot be seen" in w for w in words)
    assert any("no calibration batch reached spare.weight:" in w for w in words)
    assert set(saliency._values) == {"one.weight", "spare.weight"}
    with pytest.warns(UserWarning, match=r"gradient saliency is zero in every entry of spare\.weight"):
        assert Saliency(model, batches).read_elsewhere == {"two.weight"}


def test_relative_importance_takes_apart_what_has_inputs_of_its_own() -> None:
    grouped = nn.Conv2d(4, 6, 3, groups=2)
    found = of_target(relative_importance, Target(grouped, "weight", "weight"))
    expected = torch.cat([relative_importance(w) for w in grouped.weight.chunk(2)])
    torch.testing.assert_close(found, expected)
    up = nn.ConvTranspose2d(4, 3, 2)
    found = of_target(relative_importance, Target(up, "weight", "weight"))
    m = up.weight.detach().double().abs()
    for i, o, a, b in itertools.product(range(4), range(3), range(2), range(2)):
        share = m[i, o, a, b] / m[:, o].sum() + m[i, o, a, b] / m[i, :, a, b].sum()
        assert float(found[i, o, a, b]) == pytest.approx(float(share))


@pytest.mark.parametrize("method", ["wanda", "ria"])
def test_a_recurrent_classifier_is_pruned_by_what_its_weights_read(method: str) -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.rnn, self.head = nn.Conv1d(2, 3, 2), nn.LSTM(3, 8, 2, batch_first=True), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(self.conv(x).transpose(1, 2))[0][:, -1])

    model = Classifier()
    kind: Any = {"wanda": "activation", "ria": "relative_activation"}[method]
    saliency = Saliency(model, [(torch.randn(4, 2, 6), torch.zeros(4))], kind=kind)
    report = prune_model(model, method, amount=0.5, pool="layer", saliency=saliency)
    assert {layer.name for layer in report.layers} >= {"conv.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l1"}
    assert report.sparsity == pytest.approx(0.5, abs=0.01)
