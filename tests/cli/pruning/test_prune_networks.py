"""`sics-run prune` on networks that are none of timm's, on other classes, and on images that a network does not know."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sics_cli.settings.images import STANDARDISE, ModelConfig
from sics_cli.tasks.networks.models import GIVE_CLASSES, build_model
from sics_plugin import Saliency, load_shrunk, prune_model

#: Right on every photo, if its outputs are in the order of the names; `give` is how it hands its logits over.
COLOURS = """\
import torch
from torch import nn
from types import SimpleNamespace

class Colours(nn.Module):
    def __init__(self, order="bgr", give="logits"):
        super().__init__()
        self.give = give
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.out = nn.Linear(3, len(order), bias=False)
        self.mix.weight.data = torch.eye(3)[:, :, None, None]
        places = {"r": 0, "g": 1, "b": 2}
        self.out.weight.data = torch.stack([torch.eye(3)[places[x]] if x in places else torch.zeros(3) for x in order])

    def forward(self, x):
        logits = self.out(self.mix(x).mean(dim=(2, 3)))
        return {"tensor": logits, "logits": SimpleNamespace(loss=None, logits=logits), "tuple": (logits, x), "map": x}[self.give]

def build(order="bgr", give="tensor"):
    return Colours(order, give)
"""
VIT = """\
from transformers import ViTConfig, ViTForImageClassification

def build(hidden=16, classes=3):
    sizes = {"hidden_size": hidden, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, num_labels=classes, **sizes))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "colours.py").write_text(COLOURS)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def colours(folder: Path, order: str = "bgr") -> nn.Module:
    """The network, and its weights in colours.pt."""
    model = build_model(ModelConfig(str(folder / "colours.py") + ":build", (("order", order),)), 0)
    torch.save({"model": {f"module.{name}": value for name, value in model.state_dict().items()}}, folder / "colours.pt")
    return model.eval()


def asked(order: str = "bgr", give: str = "tensor") -> list[str]:
    model = ["--model", "colours.py:build", "--model-option", f"order={order}", "--model-option", f"give={give}"]
    return ["colours.pt", *model, "--sparsity", ".5", "-o", "out.safetensors"]


def data(photos: Path, *more: str) -> list[str]:
    return ["--data", f"imagefolder:{photos}", "--batches", "2", "--batch-size", "16", *more]


@pytest.mark.parametrize("give", ["tensor", "logits"])
def test_a_network_of_ones_own_is_calibrated_and_pruned(prune: Any, folder: Path, photos: Path, give: str) -> None:
    model = colours(folder)
    assert prune(*asked(give=give), *data(photos), "--scorer", "chaos") == 0, prune.err
    facts = prune.facts()
    assert facts["model"]["name"] == "colours.py:build"
    assert set(facts["model"]["code"]) == {"source_sha256"}
    assert (facts["calibration"]["checked"], facts["calibration"]["correct"]) == (32, 32)
    said = " ".join(prune.out.split())
    assert "note: images are standardised by their own mean and deviation, since nothing says what the network was" in said
    assert "note: classes are numbered by name, 'blue' is output 0 and 'red' output 2 (--classes: others)" in said

    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.tasks.images.datasets import DataAccess

    images = CalibrationImages(ImageRequest(f"imagefolder:{photos}", DataAccess(), None, 2, 16, None, 0), lambda line: None)
    report = prune_model(model, "chaos", amount=0.5, saliency=Saliency(model, list(images.batches())))
    assert report.mask_hash == facts["report"]["mask_hash"]


def test_a_classifier_of_transformers(prune: Any, folder: Path, photos: Path) -> None:
    pytest.importorskip("transformers")
    (folder / "hf.py").write_text(VIT)
    state = build_model(ModelConfig(str(folder / "hf.py") + ":build"), 0).state_dict()
    save_file(state, folder / "hf.safetensors")
    command = ["hf.safetensors", "--model", "hf.py:build", "--sparsity", ".5", "-o", "out.safetensors"]
    assert prune(*command, *data(photos, "--allow-chance", "--scorer", "chaos")) == 0, prune.err
    assert prune.state().keys() == state.keys()
    assert prune.facts()["report"]["saliency_kind"] == "gradient"


def test_torchvisions_network_is_cut_and_built_again(prune: Any, folder: Path, photos: Path) -> None:
    from torchvision.models import resnet18

    model = resnet18(weights=None, num_classes=3)
    torch.save({"state_dict": model.state_dict()}, folder / "resnet.pth")
    command = ["resnet.pth", "--model", "torchvision:resnet18", "--model-option", "num_classes=3", "--sparsity", ".5"]
    command += ["--unit", "channel", "-o", "out.safetensors"]
    assert prune(*command, "--scorer", "magnitude", "--shrink") == 0, prune.err
    small = load_shrunk(resnet18(weights=None, num_classes=3), folder / "out.safetensors")
    assert small(torch.randn(1, 3, 32, 32)).shape == (1, 3)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert list(prune.facts()["model"]["code"]) == ["torchvision"]
    assert prune(*command, *data(photos, "--allow-chance")) == 0, prune.err
    assert prune.facts()["calibration"]["standardise"] == "imagenet"
    assert "standardised by ImageNet's numbers" in " ".join(prune.out.split())


@pytest.mark.parametrize(("order", "names"), [("rgb", "red green blue"), ("gxrxb", "green violet red yellow blue")])
def test_names_in_the_networks_order_say_which_output_is_which(
    prune: Any, folder: Path, photos: Path, order: str, names: str
) -> None:
    colours(folder, order)
    (folder / "names.txt").write_text("\n".join(names.split()) + "\n")
    assert prune(*asked(order), *data(photos, "--classes", "names.txt")) == 0, prune.err
    assert prune.facts()["calibration"]["correct"] == 32
    assert "classes are numbered by name" not in prune.out


def test_no_better_than_chance_is_an_error_unless_it_is_allowed(prune: Any, folder: Path, photos: Path) -> None:
    colours(folder, "rbg")
    assert prune(*asked("rbg"), *data(photos)) == 1
    (line,) = [line for line in prune.err.splitlines() if line.startswith("sics-run: ")]
    assert line == (
        f"sics-run: --data imagefolder:{photos}: the dense network gets 0 of 32 calibration images right, no better than chance: "
        "are --standardise (data), --image-size and the order of the classes (by name) those it was trained with? --allow-chance "
        "goes on all the same"
    )
    assert prune.out == ""
    assert not (folder / "out.safetensors").exists()
    assert prune(*asked("rbg"), *data(photos, "--allow-chance")) == 0
    assert "A saliency on the wrong images says little" in " ".join(prune.out.split())


MODEL = "--model '{here}/colours.py:build'"
BAD: list[tuple[list[str], str]] = [
    ([*asked("bgrx"), "--data"], "--data imagefolder:{photos}: has 3 classes, the network 4 outputs: " + GIVE_CLASSES),
    ([*asked("bg"), "--data"], "--data imagefolder:{photos}: has 3 classes, the network 2 outputs: " + GIVE_CLASSES),
    ([*asked(), "--classes", "four.txt", "--data"], "--classes: names 4 classes, the network has 3 outputs"),
    ([*asked(), "--classes", "none.txt", "--data"], "--classes none.txt: cannot be read (No such file or directory)"),
    (
        [*asked(), "--classes", "others.txt", "--data"],
        "--classes: does not name 'blue', 'green', of the classes of imagefolder: give the names of its classes among those of "
        "the network, one a line, in the order of the network's outputs",
    ),
    ([*asked(), "--classes", "four.txt"], "--classes: says how --data is read; give --data, or leave it out"),
    ([*asked(), "--allow-chance"], "--allow-chance: says how --data is read; give --data, or leave it out"),
    ([*asked(), "--standardise", "data"], "--standardise: says how --data is read; give --data, or leave it out"),
    (
        [*asked(), "--standardise", "timm", "--data"],
        "--standardise timm: this network is none of timm's by name; give timm:NAME, imagenet, data, or numbers",
    ),
    (
        [*asked(), "--standardise", "1/2", "--data"],
        f"Invalid value for '--standardise': '1/2' is not accepted: give {STANDARDISE}",
    ),
    (
        [*asked(give="tuple"), "--data"],
        "--model: the forward pass of Colours gives tuple: have it give the logits, a tensor (images, classes), or an object "
        "with .logits",
    ),
    ([*asked(give="map"), "--data"], "--model: Colours gives a tensor of shape (16, 3, 16, 16): have it give (images, classes)"),
    (["--model", "colours.py:biuld"], "--model '{here}/colours.py:biuld': cannot be imported (module"),
    (["--model", "nosuch.py:build"], "--model '{here}/nosuch.py:build': there is no file {here}/nosuch.py"),
    (
        ["--model", "resnet18"],
        "--model 'resnet18' is not accepted: give vit | timm:NAME | torchvision:NAME | FILE.py:FUNCTION | ",
    ),
    (["--model", "torchvision:resnot18"], "--model 'torchvision:resnot18': torchvision has no such image classifier; near it: "),
    (
        ["--model", "colours.py:Colours", "--model-option", "depth=1"],
        "--model '{here}/colours.py:Colours': unknown --model-option depth: Colours takes order, give",
    ),
    (
        ["--model", "torchvision:resnet18"],
        "WEIGHTS colours.pt: does not fit the model: it lacks bn1.bias, bn1.running_mean, bn1.running_var and 99 more; the model "
        "has no mix.weight, out.weight",
    ),
    (["--model", "colours.py:build", "-o", "colours.py"], "--output colours.py: is the file of --model; give another"),
]


@pytest.mark.parametrize(("arguments", "line"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    prune: Any, folder: Path, photos: Path, arguments: list[str], line: str
) -> None:
    order = next((word.removeprefix("order=") for word in arguments if word.startswith("order=")), "bgr")
    colours(folder, order)
    (folder / "four.txt").write_text("blue\ngreen\nred\nviolet\n")
    (folder / "others.txt").write_text("a\nb\nred\n")
    if arguments[-1] == "--data":
        arguments = [*arguments[:-1], *data(photos)]
    if arguments[0] == "--model":
        arguments = ["colours.pt", *arguments, "--sparsity", ".5", *([] if "-o" in arguments else ["-o", "out.safetensors"])]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert prune(*arguments) == 2, prune.err
    said = [found for found in prune.err.splitlines() if found.startswith("sics-run: ")]
    expected = "sics-run: " + line.replace("{here}", str(folder)).replace("{photos}", str(photos))
    assert len(said) == 1
    assert said[0].startswith(expected)
    assert prune.out == ""
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_same_numbers_for_prune_and_replicate(photos: Path) -> None:
    """One mechanism: the images of a word are those of the same word in the main job."""
    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.settings.images import DataConfig
    from sics_cli.tasks.images.datasets import DataAccess, load_split
    from sics_cli.tasks.images.examples import Examples

    name = f"imagefolder:{photos}"
    for word in ("imagenet", "timm:vit_small_patch16_224", "0.1,0.2,0.3/0.4,0.5,0.6"):
        images = CalibrationImages(ImageRequest(name, DataAccess(), None, 1, 58, word, 0), lambda line: None)
        found, labels = next(images.batches())
        expected, names = Examples(load_split(DataConfig(name, train=58, validation=1, test=1, standardise=word)).train)
        order, other = (pixels.flatten(1).sum(1).argsort() for pixels in (found, expected))
        assert torch.equal(found[order], expected[other])
        assert torch.equal(labels[order], names[other])
