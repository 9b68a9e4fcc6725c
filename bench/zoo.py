"""Some fifty small networks of torch, torchvision, timm, transformers, diffusers and torch_geometric, with random weights.

The layers and the code are the libraries' own; widths and depths are small, so that all of them run on a laptop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Inputs:
    """What a model is called with; ``training`` is what it wants instead in train mode (detectors: images and boxes)."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    training: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Architecture:
    """A network to build, and what it reads."""

    name: str
    library: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]


def image(side: int = 32, n: int = 2, channels: int = 3) -> Callable[[], Inputs]:
    return lambda: Inputs((torch.randn(n, channels, side, side),))


def tokens(words: int = 50, length: int = 8) -> Callable[[], Inputs]:
    return lambda: Inputs((torch.randint(words, (2, length)),))


def graph() -> Inputs:
    return Inputs((torch.randn(12, 8), torch.randint(12, (2, 40))))


# --- torch ----------------------------------------------------------------------------------------------------------------


class LSTMLanguageModel(nn.Module):
    """Embedding, two layers of LSTM, decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 24)
        self.lstm = nn.LSTM(24, 32, num_layers=2, batch_first=True)
        self.decoder = nn.Linear(32, 50)

    def forward(self, words: Tensor) -> Tensor:
        return self.decoder(self.lstm(self.embedding(words))[0])


class GRUClassifier(nn.Module):
    """A bidirectional GRU over a series, and a class for it."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(12, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, 5)

    def forward(self, series: Tensor) -> Tensor:
        return self.fc(self.gru(series)[0][:, -1])


class Seq2Seq(nn.Module):
    """``nn.Transformer`` between two embeddings and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(50, 32), nn.Embedding(50, 32)
        self.transformer = nn.Transformer(32, 4, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=64, batch_first=True)
        self.out = nn.Linear(32, 50)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.out(self.transformer(self.source(source), self.target(target)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def autoencoder() -> nn.Module:
    down = (nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU())
    up = (nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))
    return nn.Sequential(*down, *up)


def pairs_of_words() -> Inputs:
    return Inputs((torch.randint(50, (2, 7)), torch.randint(50, (2, 6))))


TORCH = [
    Architecture("MLP", "torch", mlp, lambda: Inputs((torch.randn(4, 24),))),
    Architecture("convolutional autoencoder", "torch", autoencoder, image()),
    Architecture("LSTM language model", "torch", LSTMLanguageModel, tokens()),
    Architecture("GRU classifier", "torch", GRUClassifier, lambda: Inputs((torch.randn(3, 9, 12),))),
    Architecture("Transformer seq2seq", "torch", Seq2Seq, pairs_of_words),
]


# --- torchvision ----------------------------------------------------------------------------------------------------------


def vision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, **options)

    return build


def resnext() -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, groups=8, width_per_group=4)


def vgg() -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    with torch.device("meta"):  # its classifier would be of 100 million weights
        model = VGG(make_layers([8, "M", 16, "M", 32, "M", 32, "M"], batch_norm=True), num_classes=10, init_weights=False)
        model.avgpool = nn.AdaptiveAvgPool2d(2)
        model.classifier = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))
    model.to_empty(device="cpu")
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            layer.reset_parameters()
    return model


def efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    stages = [
        FusedMBConvConfig(2, 3, 1, 16, 16, 1),
        MBConvConfig(4, 3, 2, 16, 24, 2, 1.0, 1.0),
        MBConvConfig(4, 5, 2, 24, 32, 2, 1.0, 1.0),
    ]
    return EfficientNet(stages, dropout=0.1, num_classes=10, last_channel=64)


def convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 1)], num_classes=10)


def densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(growth_rate=8, block_config=(2, 2, 2), num_init_features=16, num_classes=10)


def vision_transformer() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10)


def swin(second: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision.models import swin_transformer as library

        extra: dict[str, Any] = {}
        if second:
            extra = {"block": library.SwinTransformerBlockV2, "downsample_layer": library.PatchMergingV2}
        return library.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=10, **extra)

    return build


def maxvit() -> nn.Module:
    from torchvision.models.maxvit import MaxVit

    return MaxVit((32, 32), 16, 2, [16, 32], [1, 1], 8, 0.0, num_classes=10)


def boxes(side: int = 64) -> Callable[[], Inputs]:
    def make() -> Inputs:
        images = [torch.rand(3, side, side) for _ in range(2)]
        targets = [{"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1])} for _ in images]
        return Inputs((images,), None, (images, targets))

    return make


def fasterrcnn() -> nn.Module:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4, min_size=64, max_size=64, rpn_pre_nms_top_n_test=50
    )


def ssdlite() -> nn.Module:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)


VISION = [
    Architecture("resnet18", "torchvision", vision("resnet18", num_classes=10), image()),
    Architecture("resnext (8 groups)", "torchvision", resnext, image()),
    Architecture("vgg", "torchvision", vgg, image()),
    Architecture("squeezenet1_1", "torchvision", vision("squeezenet1_1", num_classes=10), image(64)),
    Architecture("densenet", "torchvision", densenet, image()),
    Architecture("mobilenet_v2", "torchvision", vision("mobilenet_v2", width_mult=0.25, num_classes=10), image()),
    Architecture("mobilenet_v3_small", "torchvision", vision("mobilenet_v3_small", num_classes=10), image()),
    Architecture("efficientnet", "torchvision", efficientnet, image()),
    Architecture("convnext", "torchvision", convnext, image(64)),
    Architecture("vit", "torchvision", vision_transformer, image()),
    Architecture("swin", "torchvision", swin(False), image()),
    Architecture("swin_v2", "torchvision", swin(True), image()),
    Architecture("maxvit", "torchvision", maxvit, image()),
    Architecture("fasterrcnn_mobilenet_v3", "torchvision", fasterrcnn, boxes()),
    Architecture("ssdlite320", "torchvision", ssdlite, boxes()),
    Architecture(
        "lraspp_mobilenet_v3",
        "torchvision",
        vision("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=5),
        image(64),
    ),
    Architecture(
        "deeplabv3_mobilenet_v3",
        "torchvision",
        vision("deeplabv3_mobilenet_v3_large", weights_backbone=None, num_classes=5, aux_loss=True),
        image(64),
    ),
]


# --- timm -----------------------------------------------------------------------------------------------------------------


def timm_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=10, **options)

    return build


def mixer() -> nn.Module:
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(num_classes=10, img_size=32, patch_size=8, num_blocks=2, embed_dim=32)


def poolformer() -> nn.Module:
    from timm.models.metaformer import MetaFormer

    return MetaFormer(num_classes=10, depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


_SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
TIMM = [
    Architecture("vit_tiny_patch16", "timm", timm_model("vit_tiny_patch16_224", **_SMALL), image()),
    Architecture("deit_tiny_distilled", "timm", timm_model("deit_tiny_distilled_patch16_224", **_SMALL), image()),
    Architecture("beit_base", "timm", timm_model("beit_base_patch16_224", **_SMALL), image()),
    Architecture("eva02_tiny", "timm", timm_model("eva02_tiny_patch14_224", **_SMALL), image()),
    Architecture("cait_xxs24", "timm", timm_model("cait_xxs24_224", **_SMALL), image()),
    Architecture("mlp_mixer", "timm", mixer, image()),
    Architecture("convnext_atto", "timm", timm_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), image(64)),
    Architecture("efficientnet_lite0", "timm", timm_model("efficientnet_lite0"), image()),
    Architecture("resnetv2 (weight standardisation)", "timm", timm_model("resnetv2_50d_gn", layers=(1, 1, 1, 1)), image()),
    Architecture(
        "swin_tiny",
        "timm",
        timm_model("swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4)),
        image(),
    ),
    Architecture("poolformer", "timm", poolformer, image(64)),
]


# --- transformers ---------------------------------------------------------------------------------------------------------


def hugging(name: str, **config: Any) -> Callable[[], nn.Module]:
    """A model class of transformers from a small configuration of its own."""

    def build() -> nn.Module:
        import transformers

        cls = getattr(transformers, name)
        return cls(cls.config_class(**config))

    return build


_DECODER = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "use_cache": False,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
_ENCODER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_GPT2 = {
    "bos_token_id": None,
    "eos_token_id": None,
    "vocab_size": 50,
    "n_positions": 32,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "use_cache": False,
}
_T5 = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "use_cache": False}
_WHISPER = {
    "vocab_size": 50,
    "num_mel_bins": 8,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_source_positions": 16,
    "max_target_positions": 16,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_SPEECH = {
    **_ENCODER,
    "vocab_size": 12,
    "conv_dim": (16, 16),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
}


def two_texts() -> Inputs:
    return Inputs((), {"input_ids": torch.randint(50, (2, 7)), "decoder_input_ids": torch.randint(50, (2, 6))})


def spoken() -> Inputs:
    return Inputs((), {"input_features": torch.randn(2, 8, 32), "decoder_input_ids": torch.randint(50, (2, 6))})


TRANSFORMERS = [
    Architecture("GPT-2", "transformers", hugging("GPT2LMHeadModel", **_GPT2), tokens()),
    Architecture("Llama", "transformers", hugging("LlamaForCausalLM", **_DECODER), tokens()),
    Architecture(
        "Mistral, tied head", "transformers", hugging("MistralForCausalLM", **_DECODER, tie_word_embeddings=True), tokens()
    ),
    Architecture("Mixtral", "transformers", hugging("MixtralForCausalLM", **_DECODER, **_EXPERTS), tokens()),
    Architecture(
        "Qwen3-MoE",
        "transformers",
        hugging("Qwen3MoeForCausalLM", **_DECODER, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24),
        tokens(),
    ),
    Architecture("GPT-OSS", "transformers", hugging("GptOssForCausalLM", **_DECODER, **_EXPERTS), tokens()),
    Architecture(
        "Mamba",
        "transformers",
        hugging("MambaForCausalLM", vocab_size=50, hidden_size=32, num_hidden_layers=2, state_size=8, use_cache=False),
        tokens(),
    ),
    Architecture("BERT", "transformers", hugging("BertForSequenceClassification", vocab_size=50, **_ENCODER), tokens()),
    Architecture(
        "ALBERT (one layer for all)",
        "transformers",
        hugging("AlbertForSequenceClassification", vocab_size=50, embedding_size=16, **_ENCODER),
        tokens(),
    ),
    Architecture("T5", "transformers", hugging("T5ForConditionalGeneration", **_T5, pad_token_id=0), two_texts),
    Architecture("ViT", "transformers", hugging("ViTForImageClassification", image_size=32, patch_size=8, **_ENCODER), image()),
    Architecture("Whisper", "transformers", hugging("WhisperForConditionalGeneration", **_WHISPER), spoken),
    Architecture("wav2vec 2.0", "transformers", hugging("Wav2Vec2ForCTC", **_SPEECH), lambda: Inputs((torch.randn(2, 1600),))),
]


# --- diffusers and torch_geometric ----------------------------------------------------------------------------------------


def unet() -> nn.Module:
    from diffusers import UNet2DModel

    kinds = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    return UNet2DModel(
        16, 3, 3, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=8, **kinds
    )


def conditioned_unet() -> nn.Module:
    from diffusers import UNet2DConditionModel

    kinds = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}
    shape = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8}
    return UNet2DConditionModel(16, cross_attention_dim=24, attention_head_dim=8, **shape, **kinds)


def of_graphs(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torch_geometric.nn as library

        return getattr(library, name)(8, 32, 3, 5, **options)

    return build


OTHERS = [
    Architecture("UNet2D", "diffusers", unet, lambda: Inputs((torch.randn(2, 3, 16, 16), torch.tensor([3, 7])))),
    Architecture(
        "UNet2D, conditioned",
        "diffusers",
        conditioned_unet,
        lambda: Inputs((torch.randn(2, 4, 16, 16), torch.tensor([3, 7]), torch.randn(2, 5, 24))),
    ),
    Architecture("GCN", "torch_geometric", of_graphs("GCN"), graph),
    Architecture("GAT", "torch_geometric", of_graphs("GAT", heads=4), graph),
    Architecture("GraphSAGE", "torch_geometric", of_graphs("GraphSAGE"), graph),
]

ARCHITECTURES = [*TORCH, *VISION, *TIMM, *TRANSFORMERS, *OTHERS]
