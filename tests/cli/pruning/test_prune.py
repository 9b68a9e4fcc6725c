"""`sics-run prune`: one checkpoint in, pruned weights, masks and a report out."""

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm import create_model
from torch import Tensor, nn

from sics_cli.base.errors import ConfigError
from sics_cli.main import main
from sics_plugin import (
    Saliency,
    SICSAdaptive,
    Trials,
    get_scorer,
    load_masks,
    load_shrunk,
    prune_channels,
    prune_model,
    shrink,
)

VIT = {
    "img_size": 16,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "num_classes": 3,
    "global_pool": "avg",
    "class_token": False,
}
DIGITS = {**VIT, "img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10}
FEW = {**DIGITS, "num_classes": 3}
TIMM = ["--model", "timm:resnet10t", "--model-option", "num_classes=3"]


def options_of(vit: dict[str, Any]) -> list[str]:
    return ["--model", "vit", *(word for name, value in vit.items() for word in ("--model-option", f"{name}={value}"))]


def built(vit: dict[str, Any]) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(**vit).eval()


@pytest.fixture
def vit(tmp_path: Path) -> nn.Module:
    model = built(VIT)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    return model


@pytest.fixture
def resnet(tmp_path: Path) -> nn.Module:
    torch.manual_seed(0)
    model = create_model("resnet10t", num_classes=3).eval()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, tmp_path / "r.pth"
    )
    return model


def zeros(state: dict[str, Tensor], names: list[str]) -> int:
    return sum(int((state[name] == 0).sum()) for name in names)


def test_weights_have_the_zeros_of_prune_model_and_everything_else_is_as_it_was(prune: Any, vit: nn.Module) -> None:
    code = prune(
        "vit.safetensors", *options_of(VIT), "--sparsity", ".7", "--scorer", "smooth_chaos", "-o", "out.safetensors",
        "--report", "report.json", "--masks", "masks.safetensors",
    )  # fmt: skip
    assert code == 0, prune.err
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    dense = built(VIT)
    report = prune_model(vit, "smooth_chaos", amount=0.7, finalize=True)
    found = prune.state()
    assert found.keys() == before.keys()
    assert all(torch.equal(found[name], value) for name, value in vit.state_dict().items())
    assert all(torch.equal(found[name][found[name] != 0], before[name][found[name] != 0]) for name in found)
    assert zeros(found, [layer.name for layer in report.layers]) == report.pruned == round(0.7 * report.total)
    document = json.loads((prune.folder / "report.json").read_text())
    assert document["kind"] == "sics-pruning-report"
    assert document["report"] == json.loads(json.dumps(report.to_dict() | {"method": "smooth_chaos"}))
    assert prune.facts()["report"]["mask_hash"] == load_masks(dense, prune.folder / "masks.safetensors") == report.mask_hash
    assert report.mask_hash[:12] in prune.out


def test_without_data_it_says_plainly_that_there_is_no_gain(prune: Any, vit: nn.Module) -> None:
    base = ["vit.safetensors", *options_of(VIT), "--sparsity", "0.7", "-o", "out.safetensors", "--scorer"]
    for scorer, said in (("chaos", True), ("adaptive", True), ("magnitude", False), ("random", False)):
        assert prune(*base, scorer) == 0
        assert ("the gain needs a saliency" in prune.out) is said
        assert prune.facts()["report"]["saliency_kind"] == ("neighbourhood" if scorer == "chaos" else None)
    assert prune(*base[:-1]) == 0
    assert prune.facts()["report"]["scorer"] == "magnitude"
    assert "adaptive is magnitude here" in prune.out


@pytest.mark.parametrize(("unit", "total"), [("channel", 256), ("head", 8)])
def test_a_shrunk_file_is_the_masked_network_and_can_be_built_again(prune: Any, vit: nn.Module, unit: Any, total: int) -> None:
    base = ["vit.safetensors", *options_of(VIT), "--sparsity", "0.5", "--scorer", "magnitude", "--unit", unit]
    assert prune(*base, "-o", "out.safetensors") == 0, prune.err
    assert prune(*base, "--shrink", "-o", "small.safetensors") == 0, prune.err
    report = prune_channels(vit, "magnitude", 0.5, unit=unit)
    assert (report.total, report.pruned) == (total, total // 2)
    assert prune.facts("small.safetensors")["report"]["mask_hash"] == report.mask_hash
    assert prune.facts()["shrunk"] is None
    masked = built(VIT)
    masked.load_state_dict(prune.state())
    small = load_shrunk(built(VIT), prune.folder / "small.safetensors")
    images = torch.randn(4, 3, 16, 16)
    assert torch.allclose(small(images), masked(images), atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in masked.parameters())
    assert {n: v.shape for n, v in shrink(vit).state_dict().items()} == {n: v.shape for n, v in small.state_dict().items()}
    with pytest.raises(ValueError, match="was not shrunk: load_state_dict takes it as it is"):
        load_shrunk(built(VIT), prune.folder / "out.safetensors")


def test_a_resnet_from_a_training_script_with_floors(prune: Any, resnet: nn.Module, photos: Path) -> None:
    base = ["r.pth", *TIMM, "--sparsity", "0.9", "--unit", "channel", "--scorer", "magnitude", "-o", "out.safetensors"]
    assert prune(*base, "--min-keep", "0.05", "--pool", "layer", "--report", "r.json", "--shrink") == 0, prune.err
    layers = json.loads((prune.folder / "r.json").read_text())["report"]["layers"]
    assert [layer["name"] for layer in layers] == ["conv1.0", "conv1.3", *(f"layer{i}.0.conv1" for i in (1, 2, 3, 4))]
    assert all(layer["pruned"] == round(0.9 * layer["total"]) for layer in layers)
    assert load_shrunk(resnet, prune.folder / "out.safetensors")(torch.randn(1, 3, 32, 32)).shape == (1, 3)
    assert prune(*base, "--min-keep", "0.5") == 2
    assert "--min-keep" in prune.err
    assert "--sparsity" in prune.err
    assert len(prune.err.splitlines()) == 1


def test_calibration_images_give_the_saliency_of_the_plugin(prune: Any, vit: nn.Module, photos: Path) -> None:
    base = ["vit.safetensors", *options_of(VIT), "--data", f"imagefolder:{photos}", "--batches", "3", "--batch-size", "8"]
    base += ["--allow-chance"]
    assert prune(*base, "--sparsity", ".8", "-o", "out.safetensors", "--scorer", "chaos") == 0, prune.err
    facts = prune.facts()
    assert facts["report"]["saliency_kind"] == "gradient"
    assert facts["calibration"] | {"correct": 0} == {
        "data": f"imagefolder:{photos}", "images": 24, "standardise": "data", "checked": 24, "correct": 0,
    }  # fmt: skip

    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.tasks.images.datasets import DataAccess

    images = CalibrationImages(ImageRequest(f"imagefolder:{photos}", DataAccess(), None, 3, 8, None, 0), lambda line: None)
    batches = list(images.batches())
    assert [tuple(pixels.shape) for pixels, _ in batches] == [(8, 3, 16, 16)] * 3
    saliency = Saliency(vit, batches)
    assert prune_model(vit, "chaos", amount=0.8, saliency=saliency).mask_hash == facts["report"]["mask_hash"]
    assert prune(*base, "--sparsity", ".8", "-o", "other.safetensors", "--scorer", "chaos", "--seed", "1") == 0
    assert prune.facts("other.safetensors")["report"]["mask_hash"] != facts["report"]["mask_hash"]
    assert prune(*base, "--sparsity", ".8", "-o", "other.safetensors", "--saliency", "activation", "--scorer", "chaos") == 0
    assert prune.facts("other.safetensors")["report"]["saliency_kind"] == "activation"


def test_the_standardisation_is_the_one_asked_for(prune: Any, resnet: nn.Module, photos: Path) -> None:
    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.tasks.images.datasets import DataAccess

    def pixels(standardise: str | None, known: str = "data") -> tuple[str, Tensor]:
        request = ImageRequest(f"imagefolder:{photos}", DataAccess(), None, 1, 8, standardise, 0)
        images = CalibrationImages(request, lambda line: None, known)
        return images.standardise, next(images.batches())[0]

    chosen, own = pixels(None)
    assert (chosen, pixels(None, "timm:resnet10t")[0], pixels("data", "timm:resnet10t")[0]) == ("data", "timm:resnet10t", "data")
    noted = pixels("timm", "timm:resnet10t")[1]
    config = resnet.pretrained_cfg
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    raw = noted * std + mean
    assert torch.allclose(raw * 255, (raw * 255).round(), atol=1e-3)
    assert not torch.allclose(own, noted, atol=0.05)
    assert torch.equal(noted, pixels("imagenet")[1])
    assert torch.equal(noted, pixels("0.485,0.456,0.406/0.229,0.224,0.225")[1])
    halves = pixels("timm:vit_small_patch16_224")[1]
    assert torch.allclose(halves, 2 * raw - 1, atol=1e-5)
    assert torch.equal(halves, pixels("0.5/0.5")[1])
    for word, data, said in (
        ("timm", "digits", "--standardise timm: is for images of pixels, not for digits; give data"),
        ("timm", f"imagefolder:{photos}", "--standardise timm: this network is none of timm's by name; give timm:NAME, imagenet"),
        ("timm:nosuch", f"imagefolder:{photos}", "--standardise timm:nosuch: timm notes no mean and deviation for it"),
        (
            "0.5,0.5/0.1,0.1",
            f"imagefolder:{photos}",
            "for 2 channels, and the images of imagefolder have 3 channels",
        ),
    ):
        with pytest.raises(ConfigError, match=said):
            CalibrationImages(ImageRequest(data, DataAccess(), None, 1, 8, word, 0), lambda line: None)


def test_digits_are_calibrated_on_the_training_part_of_the_main_job(prune: Any) -> None:
    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.settings.images import DataConfig
    from sics_cli.tasks.images.datasets import DataAccess, load_split

    split = load_split(DataConfig("digits", train=700, validation=197, test=900))
    images = CalibrationImages(ImageRequest("digits", DataAccess(), None, 16, 64, None, 0, held_out=50), lambda line: None)
    rows = {row.tobytes() for row in split.train.images}
    met = {row.numpy().tobytes() for pixels, _ in images.batches() for row in pixels}
    assert met == rows
    held = torch.cat([pixels for pixels, _ in images.held_out()])
    assert np.array_equal(held.numpy(), split.validation.images[:50])
    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    asked = [
        "d.safetensors",
        *options_of(DIGITS),
        "--data",
        "digits",
        "--sparsity",
        ".7",
        "--batches",
        "2",
        "-o",
        "out.safetensors",
        "--allow-chance",
    ]
    assert prune(*asked) == 0, prune.err
    facts = prune.facts()
    assert (facts["report"]["method"], facts["report"]["scorer"]) == ("adaptive", "smooth_chaos")
    assert "no better than chance" in " ".join(prune.out.split())  # the network was never trained


def test_half_precision_stays_and_the_file_is_readable_like_any_other(prune: Any, vit: nn.Module) -> None:
    save_file({name: value.half() for name, value in vit.state_dict().items()}, prune.folder / "half.safetensors")
    arguments = ["half.safetensors", *options_of(VIT), "--sparsity", ".7", "-o", "é ü.safetensors"]
    assert prune(*arguments) == 0, prune.err
    found = prune.state("é ü.safetensors")
    assert {value.dtype for value in found.values()} == {torch.float16}
    plain = prune.folder / "plain"
    plain.write_text("")
    assert (prune.folder / "é ü.safetensors").stat().st_mode == plain.stat().st_mode


def test_the_same_command_gives_the_same_bytes(prune: Any, vit: nn.Module) -> None:
    texts = []
    for _ in range(2):
        assert prune("vit.safetensors", *options_of(VIT), "--sparsity", ".7", "--scorer", "random", "-o", "out.safetensors") == 0
        texts.append((prune.folder / "out.safetensors").read_bytes())
    assert texts[0] == texts[1]


def test_a_scorer_of_ones_own(prune: Any, vit: nn.Module) -> None:
    from sics_plugin import unregister_scorer

    (prune.folder / "own_prune_scorer.py").write_text(
        "from sics_plugin import Scorer, register_scorer\n"
        "@register_scorer\n"
        "class Backwards(Scorer):\n"
        '    """The largest go."""\n'
        '    name, kappa, summary = "backwards", 1, "-m"\n'
        "    def score(self, units, sparsity):\n"
        "        return -units.magnitude.double()\n"
    )
    try:
        base = ["vit.safetensors", *options_of(VIT), "--sparsity", ".5", "-o", "out.safetensors", "--scorer"]
        assert prune(*base, "own_prune_scorer:Backwards") == 0, prune.err
        assert prune.facts()["report"]["scorer"] == "backwards"
        assert bool(prune.state()["blocks.0.mlp.fc1.weight"].abs().max() < vit.blocks[0].mlp.fc1.weight.abs().max())
    finally:
        unregister_scorer("backwards")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil-ran",)


def _nan(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.full_like(value, float("nan")) if name == "head.weight" else value for name, value in state.items()}


REFUSED: list[tuple[list[str], int, list[str]]] = [
    (["none.safetensors"], 2, ["WEIGHTS none.safetensors", "no such file"]),
    (["evil.pth"], 2, ["WEIGHTS evil.pth", "more than tensors", "state_dict"]),
    (["text.safetensors"], 2, ["WEIGHTS text.safetensors", "cannot be read"]),
    (["nan.safetensors"], 2, ["WEIGHTS nan.safetensors", "head.weight", "NaN"]),
    (["vit.safetensors", "--model", "timm:resnet10t"], 2, ["WEIGHTS vit.safetensors", "does not fit the model"]),
    (["vit.safetensors", "--model", "timm:resnot18"], 2, ["--model 'timm:resnot18'", "no such architecture", "resnet18"]),
    (["vit.safetensors", "--model", "resnet18"], 2, ["--model 'resnet18'", "timm:NAME"]),
    (["vit.safetensors", "--model-option", "depth=3"], 2, ["--model-option", "depth=2", "once a name"]),
    (["vit.safetensors", "--model-option", "nonsense=7"], 2, ["--model", "nonsense"]),
    (["vit.safetensors", "--model-option", "drop_rate"], 2, ["--model-option", "'drop_rate'", "NAME=VALUE"]),
    (["vit.safetensors", "--sparsity", "0"], 2, ["--sparsity", "'0'", "above 0 and below 1"]),
    (["vit.safetensors", "--sparsity", "1"], 2, ["--sparsity", "above 0 and below 1"]),
    (["vit.safetensors", "--sparsity", "1e300"], 2, ["--sparsity", "above 0 and below 1"]),
    (["vit.safetensors", "--sparsity", "nan"], 2, ["--sparsity", "above 0 and below 1"]),
    (["vit.safetensors", "--scorer", "chaso"], 2, ["--scorer chaso", "no such scorer", "chaos"]),
    (["vit.safetensors", "--scorer", "gradient"], 2, ["gradient", "--data"]),
    (["vit.safetensors", "--saliency", "activation"], 2, ["--saliency activation", "--data"]),
    (["vit.safetensors", "--data", "digits", "--saliency", "neighbourhood"], 2, ["--saliency neighbourhood", "leave --data out"]),
    (["vit.safetensors", "--data", "digits", "--scorer", "magnitude"], 2, ["--data", "magnitude", "leave it out"]),
    (["vit.safetensors", "--data", "digits", "--scorer", "gradient", "--saliency", "activation"], 2, ["activation", "gradient"]),
    (["vit.safetensors", "--data", "mnist"], 2, ["--data 'mnist'", "digits", "imagefolder"]),
    (["vit.safetensors", "--data", "imagefolder:nowhere"], 2, ["--data 'imagefolder:", "no such folder"]),
    (["vit.safetensors", "--data", "digits"], 2, ["--data digits: images of 1×8×8", "doesn't match model"]),
    (["few.safetensors", *options_of(FEW), "--data", "digits"], 2, ["--data digits", "10 classes", "3 outputs"]),
    (["vit.safetensors", "--data", "digits", "--image-size", "16"], 2, ["--image-size 16 is for imagefolder", "digits"]),
    (["vit.safetensors", "--batches", "3"], 2, ["--batches", "--data"]),
    (["vit.safetensors", "--download"], 2, ["--download", "--data"]),
    (["vit.safetensors", "--standardise", "data"], 2, ["--standardise", "--data"]),
    (["vit.safetensors", "--min-keep", "1.5"], 2, ["--min-keep", "'1.5'", "0.0 to 1.0"]),
    (["vit.safetensors", "--min-keep", "99999999"], 2, ["--min-keep leaves 0", "--sparsity"]),
    (["vit.safetensors", "--device", "tpu"], 2, ["--device tpu", "auto | cpu | cuda"]),
    (["vit.safetensors", "--calibrate", "5"], 2, ["--calibrate", "--data"]),
    (["vit.safetensors", "--from-report", "none.json"], 2, ["--from-report", "none.json", "cannot be read"]),
    (["vit.safetensors", "--calibrate", "5", "--scorer", "chaos", "--data", "digits"], 2, ["--calibrate", "adaptive", "chaos"]),
    (["few.safetensors", *options_of(FEW), "--calibrate", "1", "--data", "digits"], 2, ["--calibrate 1", "at least 2"]),
    (["few.safetensors", "--calibrate", "3", "--held-out", "999", "--data", "digits"], 2, ["--held-out 999", "197"]),
    (["vit.safetensors", "--trials"], 2, ["--trials", "give --data"]),
    (["vit.safetensors", "--trials", "--scorer", "chaos", "--data", "digits"], 2, ["--trials", "adaptive", "chaos"]),
    (["vit.safetensors", "--trials", "--pool", "global", "--data", "digits"], 2, ["--pool global", "--trials", "leave it out"]),
    (["vit.safetensors", "--trials", "--saliency", "activation", "--data", "digits"], 2, ["--saliency activation", "--trials"]),
    (["vit.safetensors", "--trials", "--table", "measured", "--data", "digits"], 2, ["--table and --trials: give one of them"]),
    (["vit.safetensors", "--trials", "--calibrate", "1", "--data", "digits"], 2, ["--calibrate 1", "at least 2"]),
    (["vit.safetensors", "--scorer", "adaptive_trials", "--data", "digits"], 2, ["--scorer adaptive_trials", "give --trials"]),
    (["vit.safetensors", "--held-out", "9"], 2, ["--held-out", "--calibrate"]),
    (["vit.safetensors", "--shrink"], 2, ["--shrink", "--unit channel"]),
    (["vit.safetensors", "--pool", "2:4", "--sparsity", ".6"], 2, ["--sparsity 0.6: is not accepted: give 0.5, which pool 2:4"]),
    (["vit.safetensors", "--pool", "row", "--unit", "channel"], 2, ["--unit channel: is not accepted: give weight, with pool"]),
    (["vit.safetensors", "--scorer", "wanda"], 2, ["--scorer wanda: needs activation saliency", "give --data"]),
    (["vit.safetensors", "--shrink", "--unit", "head", "--sparsity", "0.01"], 2, ["--shrink", "nothing to shrink"]),
    (["r.pth", *TIMM, "--unit", "head"], 2, ["--unit head", "no head to prune", "timm Attention"]),
    (["vit.safetensors", "-o", "vit.safetensors"], 2, ["--output vit.safetensors", "the file of WEIGHTS"]),
    (["vit.safetensors", "-o", "link.safetensors"], 2, ["--output link.safetensors", "the file of WEIGHTS"]),
    (["vit.safetensors", "--report", "out.safetensors"], 2, ["--report out.safetensors", "--output"]),
    (["vit.safetensors", "-o", "."], 2, ["--output .", "is no file to write"]),
    (["vit.safetensors", "-o", "-"], 2, ["--output -", "is no file to write"]),
    (["vit.safetensors", "-o", "/dev/full"], 2, ["--output /dev/full", "is no file to write"]),
    (["vit.safetensors", "-o", "nowhere/out.safetensors"], 2, ["--output nowhere/out.safetensors", "no folder"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED, ids=[" ".join(arguments[:5]) for arguments, *_ in REFUSED])
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    prune: Any, vit: nn.Module, resnet: nn.Module, arguments: list[str], code: int, words: list[str]
) -> None:
    torch.save({"x": Evil()}, prune.folder / "evil.pth")
    (prune.folder / "text.safetensors").write_text("hello")
    save_file(_nan(vit.state_dict()), prune.folder / "nan.safetensors")
    save_file(built(FEW).state_dict(), prune.folder / "few.safetensors")
    os.link(prune.folder / "vit.safetensors", prune.folder / "link.safetensors")
    before = {path.name: path.read_bytes() for path in prune.folder.iterdir()}
    rest = [] if "--model" in arguments else options_of(VIT)
    rest += [] if "--sparsity" in arguments else ["--sparsity", "0.7"]
    rest += [] if "-o" in arguments else ["-o", "out.safetensors"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prune(*arguments, *rest) == code, prune.err
    assert prune.out == ""
    said = [line for line in prune.err.splitlines() if line.startswith("sics-run: ")]
    assert len(said) == 1, prune.err
    assert all(word in said[0] for word in words), said
    assert {path.name: path.read_bytes() for path in prune.folder.iterdir()} == before


def test_images_of_another_size_and_a_folder_that_cannot_be_written(
    prune: Any, vit: nn.Module, photos: Path, is_root: bool, tmp_path: Path
) -> None:
    base = ["vit.safetensors", *options_of(VIT), "--sparsity", ".7", "--data", f"imagefolder:{photos}", "--batches", "2"]
    assert prune(*base, "--image-size", "24", "-o", "out.safetensors") == 2
    assert f"--data imagefolder:{photos}: images of 3×24×24: " in prune.err
    for place, size in (("a", 16), ("b", 24)):
        (tmp_path / "mixed" / place).mkdir(parents=True)
        Image.new("RGB", (size, size)).save(tmp_path / "mixed" / place / "1.png")
    mixed = ["vit.safetensors", *options_of(VIT), "--sparsity", ".7", "--data", "imagefolder:mixed", "-o", "out.safetensors"]
    assert prune(*mixed) == 1
    assert prune.err.endswith("give images of one size, or --image-size to scale them\n")
    if not is_root:
        (tmp_path / "shut").mkdir(mode=0o500)
        assert prune(*base, "-o", "shut/out.safetensors") == 2
        assert "cannot be written" in prune.err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_full_disk_is_one_line_and_leaves_what_was_there(prune: Any, vit: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (prune.folder / "out.safetensors").write_text("old")
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    assert prune("vit.safetensors", *options_of(VIT), "--sparsity", ".7", "-o", "out.safetensors") == 1
    assert prune.err.splitlines()[-1] == "sics-run: --output out.safetensors: cannot be written (No space left on device)"
    assert (prune.folder / "out.safetensors").read_text() == "old"
    assert not list(prune.folder.glob(".partial-*"))


def test_a_file_of_another_kind_is_no_shrunk_model(prune: Any, vit: nn.Module, resnet: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not say which units are gone"):
        load_shrunk(vit, tmp_path / "vit.safetensors")
    base = ["vit.safetensors", *options_of(VIT), "--sparsity", ".5", "--unit", "head", "--shrink", "-o", "small.safetensors"]
    assert prune(*base) == 0
    with pytest.raises(ValueError, match="no head to prune in this ResNet"):
        load_shrunk(resnet, tmp_path / "small.safetensors")
    wider = built({**VIT, "embed_dim": 64})
    with pytest.raises(ValueError, match="does not fit a VisionTransformer without those units"):
        load_shrunk(wider, tmp_path / "small.safetensors")


def test_adaptive_chooses_by_a_report_of_ones_own_runs(prune: Any, finished: Any) -> None:
    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    report = finished.run / "report.json"
    base = [
        "d.safetensors",
        *options_of(DIGITS),
        "--data",
        "digits",
        "--batches",
        "2",
        "--from-report",
        report,
        "-o",
        "out.safetensors",
        "--allow-chance",
    ]
    assert prune(*base, "--sparsity", ".7") == 0, prune.err
    choice = prune.facts()["report"]["choice"]
    table = SICSAdaptive.from_report(report)
    assert (choice["scorer"], choice["reason"], choice["source"]) == (
        (found := table.choose(0.7, "gradient")).scorer, found.reason, table.source,
    )  # fmt: skip
    assert f"chose {choice['scorer']}" in prune.out
    assert prune(*base, "--sparsity", ".7", "--unit", "channel") == 2
    assert "--unit channel: the report of --from-report is about unit weight" in prune.err
    assert prune(*base, "--sparsity", ".7", "--pool", "layer") == 2
    assert "--pool layer: the report of --from-report is about pool global" in prune.err
    assert prune(*base, "--sparsity", ".7", "--saliency", "activation") == 2
    assert "--saliency activation: the report of --from-report was measured with gradient" in prune.err
    assert prune(*base, "--sparsity", ".7", "--calibrate", "4") == 2
    assert "--from-report and --calibrate: give one of them" in prune.err
    assert prune("d.safetensors", *options_of(DIGITS), "--sparsity", ".7", "--from-report", report, "-o", "x.safetensors") == 2
    assert "--from-report: give --data" in prune.err


def test_a_pattern_leaves_dense_what_cannot_hold_it(prune: Any, resnet: nn.Module) -> None:
    save_file(resnet.state_dict(), prune.folder / "r.safetensors")
    base = ["r.safetensors", *TIMM, "--scorer", "magnitude", "--sparsity", ".5", "--pool", "2:4", "-o", "o.safetensors"]
    assert prune(*base) == 0, prune.err
    assert "note: left dense, since 4 does not divide the inputs of its rows: conv1" in " ".join(prune.out.split())
    state = load_file(prune.folder / "o.safetensors")
    name = next(name for name, value in state.items() if value.dim() == 4 and value.shape[1] % 4 == 0)
    assert bool((state[name].movedim(1, -1).reshape(-1, 4).ne(0).sum(1) <= 2).all())


def test_a_report_without_a_saliency_prunes_without_data(prune: Any, finished: Any) -> None:
    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    report = json.loads((finished.run / "report.json").read_text())
    report["source"] |= {"saliency": "neighbourhood", "strengths": [{"scorer": "chaos", "alpha": 0.05}]}
    (prune.folder / "free.json").write_text(json.dumps(report))
    base = ["d.safetensors", *options_of(DIGITS), "--sparsity", ".7", "--from-report", "free.json", "-o", "out.safetensors"]
    assert prune(*base) == 0, prune.err
    assert "saliency neighbourhood" in prune.facts()["report"]["choice"]["source"]
    assert "adaptive is magnitude here" not in prune.out
    assert prune(*base, "--data", "digits") == 2
    assert "--data: the report of --from-report was measured without data, so leave it out" in prune.err


def test_a_table_reads_what_the_report_writes(finished: Any) -> None:
    from sics_analysis.report.document import document
    from sics_plugin.scorers import adaptive_from_report

    assert (adaptive_from_report.SCHEMAS[-1], adaptive_from_report.KIND) == (document.SCHEMA, document.KIND)
    made = document.ReportDocument.from_json((finished.run / "report.json").read_text())
    table = SICSAdaptive.from_report(finished.run / "report.json")
    assert [step.sparsity for step in table.steps] == [entry.sparsity for entry in made.sparsities]
    assert (table.unit, table.pool, table.saliency) == ("weight", "global", "gradient")
    assert {"chaos": 0.15, "bump": 0.15}.items() <= {one.scorer: one.alpha for one in made.source.strengths}.items()
    for step in table.steps:
        line = made.line(step.scorer, step.sparsity)
        assert step.scorer == "magnitude" or (line is not None and line.simultaneous is not None and line.simultaneous.low > -0.5)


def test_adaptive_chooses_on_held_out_images_within_its_budget(prune: Any) -> None:
    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    base = [
        "d.safetensors",
        *options_of(DIGITS),
        "--data",
        "digits",
        "--batches",
        "2",
        "--sparsity",
        "0.8",
        "-o",
        "out.safetensors",
        "--allow-chance",
    ]
    assert prune(*base, "--calibrate", "4", "--held-out", "64", "--report", "r.json") == 0, prune.err
    assert "choosing by at most 4 evaluations on 64 held-out images" in prune.err
    choice = json.loads((prune.folder / "r.json").read_text())["report"]["choice"]
    assert [trial["scorer"] for trial in choice["trials"]] == ["magnitude", "information", "smooth_chaos", "chaos"]
    best = max(choice["trials"], key=lambda trial: trial["score"])
    assert (choice["scorer"], best["mask_hash"]) == (best["scorer"], prune.facts()["report"]["mask_hash"])
    assert prune(*base, "--table", "measured") == 0, prune.err
    assert (prune.facts()["report"]["scorer"], prune.facts()["report"]["alpha"]) == ("information", pytest.approx(0.1, abs=1e-3))
    assert prune(*base, "--table", "measured", "--calibrate", "4") == 2
    assert "--table and --calibrate: give one of them" in prune.err
    assert prune(*base, "--table", "measured", "--scorer", "chaos") == 2
    assert "--table: says how --scorer adaptive chooses, not for chaos" in prune.err


@pytest.mark.parametrize("unit", ["weight", "channel"])
def test_trials_choose_on_the_images_as_they_do_in_python(prune: Any, unit: str) -> None:
    from sics_cli.pruning.images import CalibrationImages, ImageRequest
    from sics_cli.tasks.images.datasets import DataAccess

    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    base = ["d.safetensors", *options_of(DIGITS), "--data", "digits", "--batches", "2", "--sparsity", "0.8", "--allow-chance",
            "--trials", "--unit", unit, "-o", "out.safetensors", "--report", "r.json"]  # fmt: skip
    assert prune(*base) == 0, prune.err
    images = CalibrationImages(ImageRequest("digits", DataAccess(), None, 2, 64, "data", 0), say=print)
    make: Any = prune_model if unit == "weight" else prune_channels
    report = make(built(DIGITS), "adaptive", amount=0.8, calibrate=Trials(images.batches()))
    found = json.loads((prune.folder / "r.json").read_text())["report"]
    told = prune.facts()["report"]
    assert found["mask_hash"] == told["mask_hash"] == report.mask_hash
    assert (found["scorer"], found["pool"]) == (report.scorer, report.pool)
    assert found["choice"]["reason"] == told["choice"]["reason"] == report.choice.reason
    assert len(found["choice"]["trials"]) == len(told["choice"]["trials"]) == (18 if unit == "weight" else 10)
    assert report.choice.reason in prune.out
    best = report.choice.trials[0]
    assert f"tried, less is better: {best.scorer}/{best.pool} {-best.score:.4g}, " in prune.out
    assert "trying masks of several scorers and pools on the 128 images" in prune.err


def test_held_out_images_decide_among_the_best_trials(prune: Any) -> None:
    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    base = ["d.safetensors", *options_of(DIGITS), "--data", "digits", "--batches", "2", "--sparsity", "0.8", "--allow-chance",
            "--trials", "--calibrate", "3", "--held-out", "64", "-o", "out.safetensors"]  # fmt: skip
    assert prune(*base) == 0, prune.err
    assert "choosing by at most 3 evaluations on 64 held-out images" in prune.err
    choice = prune.facts()["report"]["choice"]
    assert re.search(r"held-out score \S+, magnitude's \S+: the best of 3;", choice["reason"])
    hashes = list(dict.fromkeys(trial["mask_hash"] for trial in choice["trials"]))
    plain = next(t["mask_hash"] for t in choice["trials"] if (t["scorer"], t["pool"]) == ("magnitude", "global"))
    first = list(dict.fromkeys([plain, *hashes]))[:3]
    assert prune.facts()["report"]["mask_hash"] in first
    assert "budget 3" in choice["source"]


@pytest.mark.usefixtures("inline")
def test_adaptive_is_a_scorer_of_its_own_in_replicate(
    copy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy.folder)
    assert main([*copy.tiny, "--scorers", "magnitude,adaptive", "--workers", "1"]) == 0
    capsys.readouterr()
    assert main(["report", "run", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (scorer,) = [entry for entry in document["scorers"] if entry["name"] == "adaptive"]
    assert (scorer["kappa"], scorer["role"], scorer["in_family"]) == (None, "adaptive", False)
    lines = {line["sparsity"]: line for line in document["lines"] if line["scorer"] == "adaptive"}
    assert lines[0.5]["verdict"] == "IDENTICAL"
    assert not any(line["in_family"] for line in lines.values())
    cells = {(cell["scorer"], cell["sparsity"], cell["seed"]): cell["mask_hash"] for cell in document["cells"]}
    for sparsity, same in ((0.5, "magnitude"), (0.7, "smooth_chaos"), (0.8, "chaos")):
        assert all(cells["adaptive", sparsity, seed] == cells[same, sparsity, seed] for seed in (0, 1))


def test_images_show_that_the_smaller_network_is_the_masked_one(prune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(built(DIGITS).state_dict(), prune.folder / "d.safetensors")
    seen: list[Any] = []

    def spied(model: nn.Module, *, example: Any = None) -> nn.Module:
        seen.append(example)
        small = shrink(model, example=example)
        if len(seen) > 1:
            raise ValueError("the group x is wrong for this model: its outputs are off")
        return small

    monkeypatch.setattr("sics_plugin.shrink", spied)
    base = [
        "d.safetensors",
        *options_of(DIGITS),
        "--sparsity",
        ".5",
        "--unit",
        "channel",
        "--shrink",
        "--batches",
        "1",
        "--allow-chance",
    ]
    assert prune(*base, "--data", "digits", "-o", "out.safetensors") == 0, prune.err
    assert seen[0].shape[0] == 8
    assert prune(*base, "--data", "digits", "-o", "other.safetensors") == 2
    assert "--shrink: the group x is wrong" in prune.err
    assert not (prune.folder / "other.safetensors").exists()


@pytest.mark.parametrize(
    ("scorer", "unit", "data"),
    [("taylor", "channel", True), ("synflow", "weight", True), ("wanda", "weight", True), ("lamp", "weight", False)],
)
def test_published_scorers_bring_the_signal_they_need(prune: Any, scorer: str, unit: Any, data: bool) -> None:
    model = built(DIGITS)
    save_file(model.state_dict(), prune.folder / "d.safetensors")
    base = ["d.safetensors", *options_of(DIGITS), "--sparsity", ".7", "--scorer", scorer, "--unit", unit, "-o", "out.safetensors"]
    images = ["--data", "digits", "--batches", "2", "--allow-chance"]
    assert prune(*base, *(images if data else [])) == 0, prune.err
    facts = prune.facts()["report"]
    assert (facts["scorer"], facts["saliency_kind"]) == (scorer, get_scorer(scorer).requires)
    assert "the gain needs a saliency" not in prune.out
    assert prune(*base, *([] if data else images)) == 2
    assert (f"--scorer {scorer}: needs" if data else f"--data: scorer {scorer} reads the weights alone") in prune.err
    if scorer == "taylor":
        from sics_cli.pruning.images import CalibrationImages, ImageRequest
        from sics_cli.tasks.images.datasets import DataAccess

        met = CalibrationImages(ImageRequest("digits", DataAccess(), None, 2, 64, None, 0), lambda line: None)
        saliency = Saliency(model, met.batches(), kind="taylor", unit=unit)
        assert prune_channels(model, "taylor", 0.7, unit=unit, saliency=saliency).mask_hash == facts["mask_hash"]
