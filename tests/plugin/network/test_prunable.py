"""What is pruned by default, what is left out, and what share that is."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from sics_plugin import compute_masks, coverage, prunable_parameters, prune_model, prune_to_sparsity
from sics_plugin.network.prunable import resolve_targets


def names(model: nn.Module, **options: object) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = prunable_parameters(model, **options)  # type: ignore[arg-type]
    paths = {id(module): path for path, module in model.named_modules()}
    return [f"{paths[id(module)]}.{name}" for module, name in pairs]


def heads(model: nn.Module) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [name for part in coverage(model).left_out if part.kind == "head" for name in part.names]


LAST = nn.Linear(4, 2)


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(50, 8), nn.LSTM(8, 16, 2), nn.Linear(16, 50)


def test_recurrent_layers_attention_and_transposed_convolutions_are_listed() -> None:
    assert names(LanguageModel()) == [f"rnn.weight_{which}_l{layer}" for layer in range(2) for which in ("ih", "hh")]
    model = nn.Sequential(nn.ConvTranspose2d(4, 8, 3), nn.ConvTranspose2d(8, 8, 3), nn.Conv2d(8, 1, 1))
    assert names(model) == ["0.weight", "1.weight"]
    transformer = nn.TransformerEncoderLayer(8, 2, 16)
    assert names(transformer) == ["self_attn.in_proj_weight", "linear1.weight", "linear2.weight"]
    assert names(nn.GRU(4, 8)) == [".weight_ih_l0", ".weight_hh_l0"]


def test_coverage_counts_every_matrix_once_and_by_kind() -> None:
    found = coverage(LanguageModel())
    recurrent = 4 * 16 * (8 + 16) + 4 * 16 * (16 + 16)
    assert (found.covered, found.total) == (recurrent, recurrent + 50 * 8 + 16 * 50)
    assert [(part.kind, part.weights, part.names) for part in found.left_out] == [
        ("head", 800, ("out.weight",)),
        ("embedding", 400, ("embed.weight",)),
    ]
    assert found.share_of_layers == 1.0
    tied = LanguageModel()
    tied.out = nn.Linear(8, 50, bias=False)
    tied.out.weight = tied.embed.weight
    assert coverage(tied).total == recurrent + 400
    assert [(part.kind, part.weights) for part in coverage(tied).left_out] == [("embedding", 400)]


def test_a_list_of_ones_own_is_measured_as_well() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    found = coverage(model, [(model[0], "weight")])
    assert (found.covered, found.total) == (32, 112)
    assert {part.kind: part.weights for part in found.left_out} == {"not listed": 64, "head": 16}
    everything = [(layer, "weight") for layer in model]
    assert coverage(model, everything).left_out == ()


def test_a_low_share_warns_and_every_report_says_it() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.w

    model = nn.Sequential(nn.Linear(8, 4), Own(), Own(), nn.Linear(8, 2))
    with pytest.warns(
        UserWarning, match=r"covers 32 of 176 .* \(18\.2 %\); left out: parameters of Own 128, head 16 \(3\.weight\)"
    ):
        report = prune_model(model, "magnitude", amount=0.5)
    assert report.coverage is not None
    assert report.coverage.covered == 32 == report.total
    assert "covers 32 of 176 matrix weights (18.2 %)" in str(report)
    assert report.to_dict()["coverage"]["share"] == 32 / 176
    assert prune_model([(model[0], "weight")], "magnitude", amount=0.5).coverage is None


class Tasks(nn.Module):
    """Linear layers by name."""

    def __init__(self, **layers: tuple[int, int]) -> None:
        super().__init__()
        for name, (inputs, outputs) in layers.items():
            self.add_module(name, nn.Linear(inputs, outputs))


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(1)), ["2.weight"]),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)), ["2.weight"]),  # no Linear: the last convolution
        (nn.ModuleDict({"head": nn.Linear(4, 2), "body": nn.Linear(4, 4)}), ["head.weight"]),  # by its name, wherever it stands
        (nn.ModuleDict({"fc": nn.Linear(4, 4), "decoder": nn.Linear(4, 2)}), ["decoder.weight"]),  # an `fc` on the way is none
        (nn.ModuleDict({"body": nn.Linear(4, 4), "fc": nn.Identity()}), []),  # taken off
        (  # one for each task, in a list or by name
            nn.ModuleDict({"heads": nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)]), "body": nn.Linear(4, 4)}),
            ["heads.0.weight", "heads.1.weight"],
        ),
        (
            nn.ModuleDict({"body": nn.Linear(4, 4), "head": nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)})}),
            ["head.a.weight", "head.b.weight"],
        ),
        (Tasks(first=(8, 8), actor=(8, 2), critic=(8, 1)), ["actor.weight", "critic.weight"]),  # both read the last features
        (Tasks(first=(8, 2), second=(2, 8), last=(8, 2)), ["last.weight"]),  # one after another
        (Tasks(first=(8, 8), second=(8, 8), last=(8, 2)), ["last.weight"]),
        (nn.ModuleDict({"classifier": nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 2)])}), ["classifier.1.weight"]),
        (
            nn.ModuleDict({"body": nn.Linear(4, 4), "a_head": nn.Linear(4, 2), "b_head": nn.Linear(4, 3)}),
            ["a_head.weight", "b_head.weight"],
        ),
        (
            nn.ModuleDict({"body": nn.Linear(4, 4), "classifier": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))}),
            ["classifier.1.weight"],
        ),
        (nn.ModuleDict({"body": nn.Linear(4, 4), "rnn": nn.GRU(4, 4)}), []),  # features, no outputs
        (nn.TransformerEncoderLayer(8, 2, 16), []),
        (nn.Linear(4, 2), []),
    ],
    ids=range(16),
)
def test_the_head_is_found_by_what_it_is(model: nn.Module, found: list[str]) -> None:
    assert heads(model) == found


def test_heads_of_detectors_and_of_segmentation_are_all_found() -> None:
    """Several layers side by side make the outputs: boxes and classes, each scale its own, coarse and fine."""
    models = pytest.importorskip("torchvision").models
    small = {"weights": None, "weights_backbone": None}
    ssd = heads(models.detection.ssdlite320_mobilenet_v3_large(**small))
    assert len(ssd) == 2 * 6
    assert all(name.startswith("head.") and name.endswith(".1.weight") for name in ssd)
    assert len(heads(models.detection.ssd300_vgg16(**small))) == 2 * 6
    boxes = heads(models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(**small))
    assert boxes == ["roi_heads.box_predictor.cls_score.weight", "roi_heads.box_predictor.bbox_pred.weight"]
    assert heads(models.segmentation.lraspp_mobilenet_v3_large(**small)) == [
        "classifier.low_classifier.weight",
        "classifier.high_classifier.weight",
    ]


def test_heads_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(**small)
    assert heads(transformers.BertForSequenceClassification(config)) == ["classifier.weight"]
    assert heads(transformers.BertForQuestionAnswering(config)) == ["qa_outputs.weight"]
    assert heads(transformers.BertModel(config)) == []  # features
    untied = transformers.BertForMaskedLM(transformers.BertConfig(**small, tie_word_embeddings=False))
    assert heads(untied) == ["cls.predictions.decoder.weight"]
    assert "cls.predictions.transform.dense.weight" in names(untied)


def test_gpt2_is_covered_but_for_its_embeddings() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config)
    found = coverage(model)
    assert found.covered == 2 * 12 * 16 * 16
    assert [part.kind for part in found.left_out] == ["embedding"]


@pytest.mark.parametrize("kind", ["Mixtral", "Qwen3Moe", "GptOss"])
def test_experts_of_three_dimensions_are_listed(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = {"num_experts": 4} if kind == "Qwen3Moe" else {"num_local_experts": 4}
    config = getattr(transformers, f"{kind}Config")(**small, **experts, intermediate_size=24, head_dim=8)
    model = transformers.AutoModelForCausalLM.from_config(config)
    listed = names(model)
    assert {"model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"} <= set(listed)
    assert coverage(model).share_of_layers > 0.9
    assert not any("router" in name or "mlp.gate" in name for name in listed)


def test_depthwise_convolutions_come_in_by_asking() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(8, 2))
    with pytest.warns(UserWarning, match=r"^left out, depthwise convolution: 1\.weight; depthwise=True lists them$"):
        assert [module for module, _ in prunable_parameters(model)] == [model[0], model[2]]
    assert names(model, depthwise=True) == ["0.weight", "1.weight", "2.weight"]


def test_what_is_left_out_for_two_reasons_takes_both_to_come_in() -> None:
    """Mamba's depthwise convolution is read without a call where there is a kernel for it."""
    transformers = pytest.importorskip("transformers")
    config = transformers.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    model = transformers.MambaForCausalLM(config)
    convolution = "backbone.layers.0.mixer.conv1d.weight"
    assert convolution not in names(model, depthwise=True)
    assert convolution not in names(model, uncalled=True)
    assert convolution in names(model, depthwise=True, uncalled=True)


def test_adapters_and_parametrised_weights_are_left_out_and_said() -> None:
    peft, timm_layers = pytest.importorskip("peft"), pytest.importorskip("timm.layers")
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["0"], r=2))
    with pytest.warns(UserWarning, match=r"left out, adapter: base_model\.model\.0\.lora_A\.default\.weight"):
        pairs = prunable_parameters(adapted)
    assert pairs == [(adapted.base_model.model[0].base_layer, "weight"), (adapted.base_model.model[1], "weight")]
    standard = nn.Sequential(timm_layers.StdConv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    with pytest.warns(UserWarning, match=r"left out, parametrised: 0\.weight; "):
        assert prunable_parameters(standard) == [(standard[1], "weight")]
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.warns(UserWarning, match=r"left out, parametrised: 0\.parametrizations\.weight\.original1; a mask would not"):
        assert prunable_parameters(normed) == [(normed[1], "weight")]


def test_a_head_can_be_named_by_module_or_path_and_must_be_there() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    assert names(model) == ["a.weight", "b.weight"]
    assert names(model, head="a") == ["b.weight", "c.weight"]
    assert names(model, head=[model["a"], "c"]) == ["b.weight"]
    assert names(model, head=()) == ["a.weight", "b.weight", "c.weight"]
    for head, what in (("d", "'d'"), (nn.Linear(4, 4), "a Linear"), ([3], "a int")):
        with pytest.raises(ValueError, match=f"Expected `head` to be a module of this ModuleDict or the path of one, got {what}"):
            prunable_parameters(model, head=head)  # type: ignore[arg-type]


def test_lazy_layers_are_refused_before_they_have_a_shape() -> None:
    with pytest.raises(ValueError, match=r"0\.weight has no shape yet, its module is lazy: run one batch"):
        prunable_parameters(nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)))


def test_params_are_pairs_or_paths_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    assert [t.path for t in resolve_targets(model, ["2.weight", (model[0], "weight")])] == ["2.weight", "0.weight"]
    report = prune_model(model, "magnitude", amount=0.5, params=["2.weight"])
    assert (report.total, report.coverage and report.coverage.covered) == (8, 8)
    with pytest.raises(ValueError, match=r"Expected `params` to name parameters of this Sequential, got '3\.weight'"):
        prune_model(model, "magnitude", amount=0.5, params=["3.weight"])
    with pytest.raises(ValueError, match="Expected `params` of this Sequential, got 'weight' of a Linear outside it"):
        prune_model(model, "magnitude", amount=0.5, params=[(nn.Linear(2, 2), "weight")])
    with pytest.raises(TypeError, match="Expected `params` beside a model"):
        prune_model([(model[0], "weight")], "magnitude", amount=0.5, params=["0.weight"])
    with pytest.raises(TypeError, match=r"Expected `params` to be \(module, name\) pairs or paths of parameters, got str"):
        prune_model(model, "magnitude", amount=0.5, params="0.weight")
    assert prune_to_sparsity(model, "magnitude", 0.75, params=iter(["2.weight"])).pruned == 6  # 4 of them were gone


def test_what_is_no_model_no_list_and_no_head_is_named_with_what_is_accepted() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    for call in (prunable_parameters, coverage):
        with pytest.raises(TypeError, match=r"Expected `model` to be an nn\.Module, got list"):
            call([model])  # type: ignore[operator]
        with pytest.raises(TypeError, match=r"Expected `head` to be a module, its path, or a list .* got True"):
            call(model, head=True)  # type: ignore[operator]
    for given in (prunable_parameters, 3, model[0], "0.weight"):
        for prune in (prune_model, compute_masks):
            with pytest.raises(TypeError, match=r"Expected `params` to be \(module, name\) pairs or paths of parameters, got "):
                prune(model, "magnitude", amount=0.5, params=given)  # type: ignore[operator]
        with pytest.raises(TypeError, match="Expected `params` to be"):
            prune_to_sparsity(model, "magnitude", 0.5, params=given)  # type: ignore[arg-type]


def test_coverage_takes_paths_and_refuses_what_is_not_the_models() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert coverage(model, ["0.weight"]) == coverage(model, [(model[0], "weight")]) == coverage(model)
    with pytest.raises(ValueError, match="Expected `parameters` of this Sequential, got 'weight' of a Linear outside it"):
        coverage(model, [(nn.Linear(8, 8), "weight")])
    with pytest.raises(ValueError, match=r"Expected `parameters` to name parameters of this Sequential, got '1\.weight'"):
        coverage(model, ["1.weight"])
    with pytest.raises(TypeError, match=r"Expected `parameters` to be \(module, name\) pairs, got a Parameter at position 0"):
        coverage(model, model.parameters())  # type: ignore[arg-type]
