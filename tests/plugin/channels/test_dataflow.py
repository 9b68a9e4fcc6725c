"""Channels found by following a forward: what goes together, that masked equals shrunk, and what is left alone."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from sics_plugin import ChannelGroup, find_groups, prune_channels, shrink
from sics_plugin.channels.dataflow import passages
from sics_plugin.channels.discovery import all_groups
from sics_plugin.channels.rebuild import remove_units, removed_units

pytestmark = pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and buffer random, in double precision: with zeros and ones in them, much that is wrong would pass."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            fan = p[0].numel() if p.dim() > 1 else 1
            p.copy_(torch.randn(p.shape) * (1.5 / fan**0.5) if p.dim() > 1 else torch.rand(p.shape) + 0.3)
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.normal_(0, 0.3)
            elif name.endswith("running_var"):
                b.uniform_(0.5, 2)
    return model.double().eval()


def parts(group: ChannelGroup) -> list[str]:
    """All that goes with a unit: names, with the dimension where it is not 0 and the width where it is not 1."""
    return [
        f"{s.name}{f'@{s.dim}' if s.dim else ''}{f'*{s.width}' if s.width > 1 else ''}"
        for s in (*group.masked, *group.companions)
    ]


def first(output: Any) -> Tensor:
    tensor = output if isinstance(output, Tensor) else output[0]
    assert isinstance(tensor, Tensor)
    return tensor


def assert_masked_is_shrunk(dense: nn.Module, inputs: tuple[Any, ...] | dict[str, Any], amount: float = 0.5) -> nn.Module:
    """Prunes and shrinks a copy; every group loses units, the tensors are smaller, outputs are those of the masked model."""

    def run(model: nn.Module) -> Tensor:
        with torch.no_grad():
            return first(model(**inputs) if isinstance(inputs, dict) else model(*inputs))

    model = copy.deepcopy(dense)
    report = prune_channels(model, "random", amount, pool="layer", seed=1, min_keep=1, example=inputs)
    small = shrink(model, example=inputs)
    expected = run(model)
    torch.testing.assert_close(run(small), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert float((run(dense) - expected).abs().max()) > 1e-3 * float(expected.abs().max())
    assert all(0 < layer.pruned < layer.total for layer in report.layers)
    removed = sum(p.numel() for p in dense.parameters()) - sum(p.numel() for p in small.parameters())
    # A weight whose row and column both go is counted once.
    assert removed == sum(p.pruned for p in report.parameters) > 0
    again = shrink(remove_units(copy.deepcopy(dense), removed_units(model)))
    again.load_state_dict(small.state_dict())
    assert torch.equal(run(again), run(small))
    return small


# --- image networks ------------------------------------------------------------------------------------------------------


def vgg() -> nn.Module:
    """torchvision's, with few filters and a small classifier."""
    with torch.device("meta"):
        model = torchvision.models.VGG(torchvision.models.vgg.make_layers([4, "M", 6, "M"], batch_norm=True))
        model.classifier = nn.Sequential(
            nn.Linear(6 * 49, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    return model.to_empty(device="cpu")


IMAGE_NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "torchvision vgg": (lambda: vgg(), 32, 4),
    "torchvision mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=5), 32, 18),
    "torchvision mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(width_mult=0.5, num_classes=5), 32, 23),
    "torchvision efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(num_classes=5), 32, 35),
    "torchvision densenet": (lambda: torchvision.models.DenseNet(4, (2, 2), 8, num_classes=5), 32, 4),
    "torchvision squeezenet1_1": (lambda: torchvision.models.squeezenet1_1(num_classes=5), 32, 9),
    "timm efficientnet_lite0": (lambda: timm.create_model("efficientnet_lite0", num_classes=5), 32, 19),
    "timm mobilenetv3_small_050": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=5), 32, 23),
}


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_image_networks(name: str) -> None:
    build, side, count = IMAGE_NETWORKS[name]
    dense = lively(build())
    assert len(find_groups(dense)) == count
    assert_masked_is_shrunk(dense, (torch.randn(2, 3, side, side, dtype=torch.float64),))


def test_an_inverted_residual_takes_its_depthwise_filter_and_both_norms_along() -> None:
    groups = {g.name: g for g in find_groups(torchvision.models.mobilenet_v2(width_mult=0.25))}
    assert parts(groups["features.2.conv.0.0"]) == [
        "features.2.conv.0.0.weight",
        *(f"features.2.conv.0.1.{n}" for n in ("weight", "bias")),
        "features.2.conv.1.0.weight",
        *(f"features.2.conv.1.1.{n}" for n in ("weight", "bias")),
        "features.2.conv.2.weight@1",
        *(f"features.2.conv.{i}.1.{n}" for i in (0, 1) for n in ("running_mean", "running_var")),
    ]
    assert groups["features.2.conv.0.0"].size == 48
    residual = {"features.0.0", "features.1.conv.1", "features.4.conv.2"}  # added to what comes round the block
    assert not residual & groups.keys()
    assert parts(groups["features.18.0"])[-3] == "classifier.1.weight@1"


def test_squeeze_and_excite_scales_and_reads_the_channels_that_go() -> None:
    model = timm.create_model("mobilenetv3_small_050")
    group = next(g for g in find_groups(model) if g.name == "blocks.2.0.conv_pw")
    own = [part.removeprefix("blocks.2.0.") for part in parts(group)]
    assert own[0] == "conv_pw.weight"
    assert set(own) == {
        "conv_pw.weight",
        "se.conv_expand.weight", "se.conv_expand.bias", "bn1.weight", "bn1.bias", "conv_dw.weight",
        "bn2.weight", "bn2.bias", "se.conv_reduce.weight@1", "conv_pwl.weight@1", "bn1.running_mean", "bn1.running_var",
        "bn2.running_mean", "bn2.running_var",
    }  # fmt: skip
    assert len(own) == len(set(own))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_the_groups_are_those_of_torch_pruning(name: str) -> None:
    """A differential test: what goes with the first half of a producer's channels, as (layer, how many parameters)."""
    tp = pytest.importorskip("torch_pruning")
    options = {"width_mult": 0.25} if name == "mobilenet_v2" else {}
    model = lively(getattr(torchvision.models, name)(num_classes=5, **options)).float()
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=torch.randn(1, 3, 32, 32))
    modules = dict(model.named_modules())
    for group in find_groups(model):
        layer = modules[group.name]
        theirs = graph.get_pruning_group(layer, tp.prune_conv_out_channels, idxs=[0, group.size - 1])
        named = {id(m): path for path, m in modules.items()}
        touched = {named[id(dep.target.module)] for dep, _ in theirs if id(dep.target.module) in named}
        assert touched == {s.name.rpartition(".")[0] for s in (*group.masked, *group.companions)}, group.name


# --- transformers --------------------------------------------------------------------------------------------------------


def _transformers(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    t = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 30}
    wide = {"num_key_value_heads": 1, "pad_token_id": 0}
    image = {"image_size": 16, "patch_size": 8}
    tokens = {"input_ids": torch.arange(12).reshape(2, 6) + 3}
    five = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 30}
    both = {**tokens, "decoder_input_ids": tokens["input_ids"].flip(1)}
    built: dict[str, Callable[[], tuple[nn.Module, dict[str, Tensor]]]] = {
        "bert": lambda: (t.BertModel(t.BertConfig(**small)), tokens),
        "roberta": lambda: (t.RobertaModel(t.RobertaConfig(**small)), tokens),
        "gpt2": lambda: (t.GPT2LMHeadModel(t.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30)), tokens),
        "llama": lambda: (t.LlamaForCausalLM(t.LlamaConfig(**small, **wide)), tokens),
        "mistral": lambda: (t.MistralModel(t.MistralConfig(**small, **wide)), tokens),
        "t5": lambda: (t.T5ForConditionalGeneration(t.T5Config(**five)), both),
        "t5 gated": lambda: (t.T5ForConditionalGeneration(t.T5Config(**five, feed_forward_proj="gated-gelu")), both),
        "vit": lambda: (
            t.ViTModel(t.ViTConfig(**{k: v for k, v in small.items() if k != "vocab_size"}, **image)),
            {"pixel_values": torch.randn(2, 3, 16, 16)},
        ),
        "opt": lambda: (
            t.OPTModel(
                t.OPTConfig(
                    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24, vocab_size=30, word_embed_proj_dim=16
                )
            ),
            tokens,
        ),
    }
    model, inputs = built[name]()
    return lively(model), {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}


BERT = ("intermediate.dense.weight", "intermediate.dense.bias", "output.dense.weight@1")
TRANSFORMERS = {
    "bert": [f"encoder.layer.0.{n}" for n in BERT],
    "roberta": [f"encoder.layer.0.{n}" for n in BERT],
    "gpt2": ["transformer.h.0.mlp.c_fc.weight@1", "transformer.h.0.mlp.c_fc.bias", "transformer.h.0.mlp.c_proj.weight"],
    "llama": [f"model.layers.0.mlp.{n}" for n in ("up_proj.weight", "gate_proj.weight", "down_proj.weight@1")],
    "mistral": [f"layers.0.mlp.{n}" for n in ("up_proj.weight", "gate_proj.weight", "down_proj.weight@1")],
    "t5": [f"encoder.block.0.layer.1.DenseReluDense.{n}" for n in ("wi.weight", "wo.weight@1")],
    "t5 gated": [f"encoder.block.0.layer.1.DenseReluDense.{n}" for n in ("wi_1.weight", "wi_0.weight", "wo.weight@1")],
    "vit": [f"layers.0.mlp.{n}" for n in ("fc1.weight", "fc1.bias", "fc2.weight@1")],
    "opt": [f"decoder.layers.0.{n}" for n in ("fc1.weight", "fc1.bias", "fc2.weight@1")],
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_mlps_of_transformers(name: str) -> None:
    model, inputs = _transformers(name)
    groups = find_groups(model)
    assert len(groups) == (4 if name.startswith("t5") else 2)
    assert [part.replace("encoder.layers", "layers") for part in parts(groups[0])] == TRANSFORMERS[name]
    small = assert_masked_is_shrunk(model, inputs)
    if name == "gpt2":
        assert (small.transformer.h[0].mlp.c_fc.nf, small.transformer.h[0].mlp.c_proj.nx) == (32, 32)


# --- written out by users ------------------------------------------------------------------------------------------------


def conv_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(8), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, groups=8), nn.InstanceNorm2d(16, affine=True, track_running_stats=True), nn.ReLU6(),
        nn.Conv2d(16, 6, 1), nn.InstanceNorm2d(6), nn.SiLU(),
        nn.ConvTranspose2d(6, 4, 2, stride=2), nn.GroupNorm(4, 4), nn.Tanh(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 10), nn.BatchNorm1d(10), nn.PReLU(10), nn.Dropout(), nn.Linear(10, 3),
    )  # fmt: skip


def test_a_chain_of_every_layer_and_norm() -> None:
    dense = lively(conv_net())
    groups = find_groups(dense)
    assert [(g.name, g.size) for g in groups] == [("0", 8), ("7", 6), ("10", 4), ("16", 10)]
    assert parts(groups[0]) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "4.weight*2", "4.bias*2", "5.weight*2", "5.bias*2",
        "7.weight@1*2", "1.running_mean", "1.running_var", "5.running_mean*2", "5.running_var*2",
    ]  # fmt: skip
    assert groups[1].sized == ("8",)
    assert parts(groups[1]) == ["7.weight", "7.bias", "10.weight"]
    assert parts(groups[2]) == [
        "10.weight@1", "10.bias", "11.weight", "11.bias", "15.weight*4", "15.bias*4", "16.weight@1*4", "15.running_mean*4",
        "15.running_var*4",
    ]  # fmt: skip
    small = assert_masked_is_shrunk(dense, (torch.randn(4, 3, 12, 12, dtype=torch.float64),))
    assert isinstance(small, nn.Sequential)
    assert (small[2].num_parameters, small[4].groups, small[4].in_channels, small[4].out_channels) == (4, 4, 4, 8)
    assert (small[5].num_features, small[8].num_features, small[11].num_groups, small[11].num_channels) == (8, 3, 2, 2)
    assert (small[10].in_channels, small[10].out_channels, small[15].num_features, small[18].num_parameters) == (3, 2, 8, 5)


def test_a_chain_over_sequences_and_an_own_forward() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c1, self.c2 = nn.Conv1d(2, 6, 3), nn.Conv1d(6, 4, 1)
            self.fc1, self.fc2 = nn.Linear(4 * 5, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.avg_pool1d(functional.relu(self.c1(x)), 2)
            x = 0.5 * functional.gelu(self.c2(x)) + 1
            out: Tensor = self.fc2(torch.sigmoid(self.fc1(x.view(x.size(0), -1))))
            return out

    dense = lively(Own())
    assert [(g.name, parts(g)[-1]) for g in find_groups(dense)] == [
        ("c1", "c2.weight@1"),
        ("c2", "fc1.weight@1*5"),
        ("fc1", "fc2.weight@1"),
    ]
    assert_masked_is_shrunk(dense, (torch.randn(3, 2, 12, dtype=torch.float64),))


def test_tied_shared_and_reparametrized_layers_are_left_out() -> None:
    shared = nn.Linear(6, 6)
    twice = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(6, 2))
    assert all_groups(twice) == []
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2))
    tied[2].weight = tied[0].weight
    assert [g.name for g in all_groups(tied)] == ["4"]
    normed = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    assert [g.name for g in all_groups(normed)] == ["2"]


class Follows(nn.Module):
    """fc1, something, fc2."""

    def __init__(self, between: Callable[[Tensor], Any], first: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.fc1, self.fc2 = first or nn.Linear(4, 4), last or nn.Linear(4, 4)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.between(self.fc1(x)))
        return out


def conv_of(between: Callable[[Tensor], Any], reads: int) -> Follows:
    return Follows(between, nn.Conv2d(3, 4, 1), nn.Linear(reads, 2))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("softmax", lambda: Follows(lambda h: h.softmax(-1))),
        ("sum over channels", lambda: Follows(lambda h: h + h.mean(-1, keepdim=True))),
        ("residual", lambda: Follows(lambda h: h + torch.ones(4))),
        ("clamp by a tensor", lambda: Follows(lambda h: torch.clamp(h, min=torch.zeros(4)))),
        ("written into", lambda: Follows(lambda h: h.sub_(h.mean(-1, keepdim=True)))),
        ("joined", lambda: Follows(lambda h: torch.cat([h, h], -1)[..., ::2])),
        ("cumulative", lambda: Follows(lambda h: h.cumsum(-1))),
        ("layer norm", lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))),
        ("plain layer norm", lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 4))),
        ("pool over features", lambda: nn.Sequential(nn.Linear(4, 8), nn.MaxPool1d(2), nn.Linear(4, 4))),
        ("group norm", lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))),
        ("shuffle", lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ChannelShuffle(2), nn.Conv2d(4, 2, 1))),
        ("pixel shuffle", lambda: nn.Sequential(nn.Conv2d(3, 16, 1), nn.PixelShuffle(2), nn.Conv2d(4, 2, 1))),
        ("gate of halves", lambda: nn.Sequential(nn.Linear(4, 8), nn.GLU(), nn.Linear(4, 4))),
        ("channels last", lambda: conv_of(lambda h: h.permute(0, 2, 3, 1).flatten(1), 16)),
        ("over positions", lambda: conv_of(lambda h: h, 4)),
        ("mean over channels", lambda: conv_of(lambda h: h.mean((1, 2)), 4)),
        ("weight read elsewhere", lambda: Follows(lambda h: h, last=_ReadsAnothersWeight())),
        ("number of channels", lambda: Follows(lambda h: h / h.shape[-1])),
        ("broadcast", lambda: conv_of(lambda h: (h * h.mean((2, 3))).flatten(1), 16)),
    ],
)
def test_what_mixes_or_reorders_channels_is_left_alone(name: str, model: Callable[[], nn.Module]) -> None:
    assert [g.name for g in all_groups(model()) if g.name in ("0", "fc1")] == [], name


class _ReadsAnothersWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.layer(x), self.layer.weight)


def test_a_sequential_that_is_walked_through_is_not_taken_for_a_chain() -> None:
    class Walks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
            self.whole = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))

        def forward(self, x: Tensor) -> Tensor:
            if x.sum() > 0:  # nothing that can be followed
                x = self.whole(x)
            for layer in self.layers:
                x = x + layer(x)
            return x

    assert [g.name for g in find_groups(Walks())] == ["whole.0"]


def test_following_leaves_the_model_as_it_was() -> None:
    class Notes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 2))
            self.register_buffer("calls", torch.zeros(()))
            self.last: Tensor | None = None
            self.noise = 0.0

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            self.last = self.net(x)
            self.noise = float(torch.rand(()))
            return self.last

    model = Notes().train()
    seen: list[object] = []
    model.net.register_forward_hook(lambda *a: seen.append(a))
    state, random = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    assert [g.name for g in find_groups(model)] == ["net.0"]
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert (model.last, model.noise, seen) == (None, 0.0, [])
    assert model.training
    assert model.net.training
    assert torch.equal(torch.random.get_rng_state(), random)


def test_gated_mlps_count_the_rows_without_an_activation() -> None:
    """Of `act(gate) * up` the `up` rows are the producer, in whichever order they are written; of two alike the first."""

    class Gated(nn.Module):
        def __init__(self, gate_first: bool, act: nn.Module) -> None:
            super().__init__()
            self.gate, self.up, self.down = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)
            self.act, self.gate_first = act, gate_first

        def forward(self, x: Tensor) -> Tensor:
            gate, up = self.act(self.gate(x)), self.up(x)
            out: Tensor = self.down(gate * up if self.gate_first else up * gate)
            return out

    for gate_first in (True, False):
        dense = lively(Gated(gate_first, nn.SiLU()))
        (group,) = find_groups(dense)
        assert parts(group) == ["up.weight", "up.bias", "gate.weight", "gate.bias", "down.weight@1"]
        assert_masked_is_shrunk(dense, (torch.randn(5, 4, dtype=torch.float64),))
        (group,) = find_groups(Gated(gate_first, nn.Identity()))
        assert group.name == "gate"


class Steps(nn.Module):
    """Linear layers a, b and c of one shape, and what the forward makes of them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(4, 6)
        self.last, self.other = nn.Linear(6, 2), nn.Linear(6, 2)
        self.steps = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self, x)


def _gate_read_twice(m: Steps, x: Tensor) -> Tensor:
    gate = torch.sigmoid(m.b(x))
    out: Tensor = m.last(m.a(x) * gate) + m.other(gate)
    return out


@pytest.mark.parametrize(
    ("forward", "producer", "together"),
    [
        (lambda m, x: m.last(1 - torch.sigmoid(m.a(x))), "a", {"a", "last"}),
        (lambda m, x: m.last(1 / (1 + torch.exp(-m.a(x)))), "a", {"a", "last"}),
        (lambda m, x: m.last(m.a(x).relu_()) + m.other(x[:, :1] * torch.ones(6, dtype=x.dtype)), "a", {"a", "last"}),
        (lambda m, x: m.last(torch.tanh(m.a(x)) * torch.sigmoid(m.b(x)) * m.c(x)), "c", {"a", "b", "c", "last"}),
        (lambda m, x: m.last(m.a(x) * m.b(x) * m.b(x)), None, set()),  # b is called twice
        (_gate_read_twice, "a", {"a", "b", "last", "other"}),
        (lambda m, x: m.last(m.a(x)) + m.other(m.a(x)), None, set()),
        (lambda m, x: m.last(m.a(x) + m.b(x)), None, set()),
    ],
)
def test_forwards_written_out(forward: Callable[[Any, Tensor], Tensor], producer: str | None, together: set[str]) -> None:
    dense = lively(Steps(forward))
    groups = all_groups(dense)
    assert [g.name for g in groups] == ([] if producer is None else [producer])
    if producer is not None:
        assert {s.name.partition(".")[0] for s in groups[0].masked} == together
        assert_masked_is_shrunk(dense, (torch.randn(5, 4, dtype=torch.float64),))


def test_a_passage_says_what_was_met_on_the_way() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))
    first_one, _ = passages(model)
    assert (first_one.producer, first_one.passed, first_one.readers, first_one.group) == ("0", ("1", "3"), (), None)


class Remembers(nn.Module):
    """Keeps what it met in containers of its own, as a cache of attention biases is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)
        self.cache: dict[str, Any] = {"inside": {}}
        self.met, self.both = [], ([], 1)

    def forward(self, x: Tensor) -> Tensor:
        if "scale" not in self.cache:
            self.cache["scale"] = self.cache["inside"]["scale"] = 2 * x.mean()
        self.met.append(x)
        self.both[0].append(x)
        return self.down(functional.relu(self.up(x))) * self.cache["scale"]


def test_what_a_forward_keeps_in_containers_is_not_kept_in_the_model() -> None:
    model, x = Remembers(), torch.randn(2, 4)
    assert [group.name for group in find_groups(model)] == ["up"]
    assert (model.cache, model.met, model.both) == ({"inside": {}}, [], ([], 1))
    assert type(model(x)) is Tensor
    small = shrink(prune_half(model))
    torch.testing.assert_close(small(x), model(x))


def prune_half(model: nn.Module) -> nn.Module:
    prune_channels(model, "magnitude", 0.5)
    return model


def test_networks_with_a_cache_of_attention_biases_can_still_be_saved_whole() -> None:
    model = timm.create_model(
        "tiny_vit_5m_224", num_classes=2, embed_dims=(8, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)
    )
    prune_half(model.eval())
    torch.save(model, io.BytesIO())
