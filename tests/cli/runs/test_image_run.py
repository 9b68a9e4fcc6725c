"""The main job on images: units of every kind, augmentation, curves, kills, and folders that move."""

import csv
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sics_cli.main import main
from sics_cli.settings.config import Experiment, experiment_from_mapping, merged
from sics_cli.settings.presets import PRESETS
from sics_cli.store.run_folder import kept_epochs
from sics_cli.store.store import Store
from sics_cli.tasks.checkpoints import load_checkpoint
from sics_cli.tasks.image_setup import with_data
from sics_cli.tasks.images.datasets import DataAccess, load_split
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import ImageTrainer, train
from sics_cli.tasks.training import TrainingRecord

CPU = torch.device("cpu")
CURVE = ("epoch", "loss", "train_accuracy", "validation_accuracy", "learning_rate", "seconds")
#: 16×16 pixels, three classes, and a network of two blocks with 2 heads and 64 hidden channels each.
CONFIG = """\
preset = "cifar10-vit-micro"
seeds = 1
sparsities = [0.5, 0.8]
[data]
train = 90
validation = 30
test = 60
[model]
embed_dim = 16
depth = 2
num_heads = 2
patch_size = 4
[training]
epochs = 6
batch_size = 16
flip = true
crop_padding = 2
randaugment = 1
mixup = 0.8
cutmix = 1.0
label_smoothing = 0.1
schedule = "cosine"
warmup = 1
[calibration]
batches = 3
batch_size = 30
"""
HIDDEN, HEADS = 2 * 64, 2 * 2


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise around a colour for each class, in train/ and test/."""
    root = tmp_path_factory.mktemp("photos") / "photos"
    dice = np.random.default_rng(0)
    for part, count in (("train", 41), ("test", 20)):
        for place, name in enumerate(("blue", "green", "red")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = dice.integers(0, 180, (16, 16, 3))
                pixels[..., 2 - place] += 75
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of decoded images of these tests' own."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield Path(os.environ["XDG_CACHE_HOME"])
    del os.environ["XDG_CACHE_HOME"]
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


def arguments(photos: Path, *more: str) -> list[str]:
    data = f"imagefolder:{photos}"
    return ["replicate", "--config", "images.toml", "--data", data, "--out", "run", "--workers", "1", "--no-report", *more]


@pytest.fixture(scope="session")
def channels(tmp_path_factory: pytest.TempPathFactory, photos: Path, cache: Path, make_cli: Any) -> Any:
    """A finished run of channels. Read it, do not change it."""
    made = make_cli(tmp_path_factory.mktemp("channels"))
    (made.folder / "images.toml").write_text(CONFIG)
    done = made.here(*arguments(photos, "--unit", "channel"))
    assert done.returncode == 0, done.stderr
    (made.folder / "stdout").write_text(done.stdout)
    (made.folder / "stderr").write_text(done.stderr)
    return made


def small(photos: Path, **settings: Any) -> Experiment:
    import tomllib

    changes = merged(tomllib.loads(CONFIG), settings)
    preset = PRESETS[changes.pop("preset")]
    return experiment_from_mapping(merged(merged(preset, changes), {"data": {"name": f"imagefolder:{photos}"}}))


# -- a run of channels ------------------------------------------------------------------------------------------------


def test_channels_are_the_unit_of_every_number(channels: Any) -> None:
    with Store.open(channels.store, read_only=True) as store:
        cells = store.cells()
    pruned = [row for row in cells if row.scorer != "dense"]
    assert len(pruned) == 2 * 12
    for row in pruned:
        assert (row.unit, row.pool) == ("channel", "global")
        assert [(name, total) for name, total, _ in row.layers] == [("blocks.0.mlp.fc1", 64), ("blocks.1.mlp.fc1", 64)]
        gone = sum(layer[2] for layer in row.layers)
        assert gone == round(row.sparsity * HIDDEN)
        assert row.realised_sparsity == gone / HIDDEN
        # qkv, proj, fc1 and fc2 have 3 + 1 + 4 + 4 times 16² weights a block; a channel has 16 in fc1 and 16 in fc2
        assert row.weight_sparsity == pytest.approx(gone * 32 / (2 * 12 * 256))
    by_name = {(row.scorer, row.sparsity): row for row in pruned}
    for sparsity in (0.5, 0.8):
        same = {by_name[name, sparsity].mask_hash for name in ("magnitude", "power", "log")}
        assert len(same) == 1, "strictly increasing functions of the magnitude choose the same channels"
        kept = HIDDEN - round(sparsity * HIDDEN)
        overlap = by_name["random", sparsity].jaccard
        assert overlap is not None
        both = overlap * 2 * kept / (1 + overlap)
        assert both == pytest.approx(round(both), abs=1e-9), "a Jaccard index of channels, not of weights"
    (dense,) = [row for row in cells if row.scorer == "dense"]
    assert (dense.realised_sparsity, dense.weight_sparsity) == (0.0, 0.0)


def test_the_unit_is_said_wherever_the_run_is_shown(channels: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = (channels.folder / "stdout").read_text(), (channels.folder / "stderr").read_text()
    for text in (out, err):
        said = " ".join(text.split())
        assert ", an imagefolder (90 train, 30 validation, 60 test, 3×16×16)" in said
    assert main(["status", str(channels.run)]) == 0
    assert "unit channel, pool global" in " ".join(capsys.readouterr().out.split())
    target = channels.folder / "rows.csv"
    assert main(["export", str(channels.run), "-o", str(target)]) == 0
    with target.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["scorer"] == "chaos"]
    assert [row["unit"] for row in rows] == ["channel"] * 2
    assert [float(row["realised_sparsity"]) for row in rows] == [0.5, 102 / 128]
    assert [float(row["weight_sparsity"]) for row in rows] == pytest.approx([64 * 32 / 6144, 102 * 32 / 6144])
    capsys.readouterr()
    assert main(["report", str(channels.run), "--format", "md"]) == 0
    shown = capsys.readouterr().out
    assert "channel" in shown
    assert "its data order, augmentation, mixing of images, calibration batches" in " ".join(shown.split())


def test_a_recipe_knows_the_content_and_not_the_place(channels: Any, photos: Path) -> None:
    with Store.open(channels.store, read_only=True) as store:
        recipe = store.meta("recipe")
    assert recipe["data"]["name"] == "imagefolder"
    assert str(photos) not in str(recipe)
    assert recipe["training"]["randaugment"] == 1
    assert (recipe["training"]["mixup"], recipe["training"]["schedule"]) == (0.8, "cosine")
    assert (recipe["model"]["in_chans"], recipe["model"]["img_size"], recipe["model"]["num_classes"]) == (3, 16, 3)
    assert recipe["seed_varies"][:3] == ["initialisation", "data order", "augmentation"]
    assert recipe["seed_varies"][3] == "mixing of images"


def test_a_folder_that_moved_is_the_same_run(
    channels: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere" / "pictures"
    shutil.copytree(photos, moved)
    monkeypatch.chdir(channels.folder)
    asked = [*arguments(moved, "--unit", "channel"), "--dry-run"]
    assert main(asked) == 0
    assert "27 cells, 27 there, 0 to compute" in capsys.readouterr().out
    (moved / "train" / "red" / "0.png").unlink()
    assert main(asked) == 2
    assert "holds a run of another recipe (data.digest" in capsys.readouterr().err


def test_the_curve_has_a_line_for_every_epoch(channels: Any) -> None:
    with (channels.run / "curves" / "seed-0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CURVE
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= float(row["train_accuracy"]) <= 1 and float(row["loss"]) > 0 for row in rows)
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    with Store.open(channels.store, read_only=True) as store:
        (checkpoint,) = store.checkpoints()
    assert float(rows[-1]["validation_accuracy"]) == pytest.approx(checkpoint.validation_correct / 30, abs=1e-5)
    assert float(rows[-1]["learning_rate"]) < float(rows[1]["learning_rate"])


# -- kills ------------------------------------------------------------------------------------------------------------


def test_training_that_was_killed_goes_on_where_it_was(cli: Any, photos: Path, cache: Path, until: Any) -> None:
    """kill -9 once a part of the training is kept: the same network as without, and every epoch once in the curve."""
    epochs = 80
    (cli.folder / "images.toml").write_text(CONFIG.replace("epochs = 6", f"epochs = {epochs}"))
    asked = arguments(photos, "--scorers", "magnitude", "--sparsities", "0.5")
    process = cli.start(*asked)
    checkpoints = cli.run / "checkpoints"
    kept = lambda: [kept_epochs(path) for path in checkpoints.glob("training-0-*")]  # noqa: E731
    try:
        assert until(lambda: any(kept()) or process.poll() is not None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    (begun,) = kept()
    assert 0 < begun < epochs
    assert not list(checkpoints.glob("seed-0-*")), "killed too late: the test shows nothing"
    done = cli.here(*asked)
    assert done.returncode == 0, done.stderr
    with (cli.run / "curves" / "seed-0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    assert sum(bool(row["validation_accuracy"]) for row in rows) == 10
    (path,) = checkpoints.iterdir()
    with Store.open(cli.store, read_only=True) as store:
        (row,) = store.checkpoints()
    config, facts = with_data(small(photos, training={"epochs": epochs}).images, DataAccess())
    whole = build_model(config.model, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logged: list[int] = []
    split = load_split(config.data, facts, DataAccess())
    train(whole, config.training, split, 0, CPU, log=lambda epoch: logged.append(epoch.epoch))
    torch.set_num_threads(before)
    found = load_checkpoint(path, row.dense_key).state
    assert all(torch.equal(found[name], value) for name, value in whole.state_dict().items())
    assert len(logged) == epochs


# -- what does not fit is refused before any training -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--preset", "digits"], ["model.img_size = 8", "imagefolder", "16 pixels a side"]),
        (["--data-dir", "x"], ["--data-dir", "not for it"]),
        (["--config", "classes.toml"], ["model.num_classes = 9", "3 classes"]),
        (["--config", "patch.toml"], ["model.patch_size = 5", "16 pixels"]),
        (["--config", "test.toml"], ["data.test = 61", "60 examples in test/"]),
    ],
)
def test_settings_that_do_not_fit_the_images(
    photos: Path, cache: Path, tmp_path: Path, settings: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("classes.toml").write_text(CONFIG.replace("depth = 2", "depth = 2\nnum_classes = 9"))
    Path("patch.toml").write_text(CONFIG.replace("patch_size = 4", "patch_size = 5"))
    Path("test.toml").write_text(CONFIG.replace("test = 60", "test = 61"))
    assert main(["replicate", "--data", f"imagefolder:{photos}", "--out", "run", *settings]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(word in lines[-1] for word in words), lines
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--data-dir", "x"], ["--data-dir", "not for digits"]),
        (["--download"], ["--download", "not for digits"]),
        (["--data", "mnist"], ["--data 'mnist'", "digits | cifar10 | cifar100 | fashion-mnist | imagefolder:PATH"]),
        (["--data", "imagefolder:"], ["--data 'imagefolder:'", "imagefolder:PATH"]),
        (["--data", "cifar10", "--data-dir", "nowhere"], ["nowhere has no cifar-10-batches-py/data_batch_1", "--download"]),
        (["--config", "flip.toml"], ["training.flip = True", "digits does not have"]),
        (["--config", "size.toml"], ["data.image_size = 8", "not for digits"]),
        (["--config", "graph.toml", "--device", "cpu"], ["training.path = 'graph'", "| stacked here: only a GPU has"]),
    ],
)
def test_options_that_do_not_go_with_the_data(
    tmp_path: Path, settings: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flip.toml").write_text("[training]\nflip = true\n")
    Path("size.toml").write_text("[data]\nimage_size = 8\n")
    Path("graph.toml").write_text('[training]\npath = "graph"\n')
    assert main(["replicate", "--out", "run", *settings]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words), line
    assert not Path("run").exists()


@pytest.mark.usefixtures("inline")
def test_a_network_without_such_units_is_refused_before_training(
    cli: Any, photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cli.folder)
    (cli.folder / "images.toml").write_text(CONFIG.replace("depth = 2", "depth = 2\nscale_mlp_norm = true"))
    assert main(arguments(photos, "--unit", "channel")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "--unit channel: model.name = 'vit' as set cannot be pruned so: " in last
    assert "LayerNorm" in last
    assert not cli.run.exists()


# -- training of the larger preset ------------------------------------------------------------------------------------


def vit_small(photos: Path, preset: str = "cifar10-vit-small", **training: Any) -> Experiment:
    """The preset's training, on a smaller network and few images."""
    changes = {
        "data": {"name": f"imagefolder:{photos}", "train": 60, "validation": 20, "test": 30},
        "training": {"epochs": 2, "batch_size": 20, **training},
    }
    experiment = experiment_from_mapping(merged(PRESETS[preset], changes))
    return replace(experiment, task=with_data(experiment.images, DataAccess())[0])


@pytest.mark.parametrize(
    ("preset", "precision", "changes"),
    [
        ("cifar10-vit-small", "bf16", {}),
        ("cifar10-vit-small", "fp32", {}),
        ("cifar10-vit-small-100", "bf16", {"warmup": 1}),
    ],
)
def test_the_larger_preset_trains_as_it_is_set(
    photos: Path, cache: Path, preset: str, precision: str, changes: dict[str, Any]
) -> None:
    experiment = vit_small(photos, preset, precision=precision, **changes)
    assert experiment.images.training.augments
    assert experiment.images.training.mixes == (preset == "cifar10-vit-small-100")
    options = {**dict(experiment.images.model.options), "embed_dim": 48, "depth": 2, "num_heads": 3}
    model_config = replace(experiment.images.model, options=tuple(options.items()))
    model = build_model(model_config, 0)
    met: list[torch.dtype] = []
    model.blocks[0].attn.qkv.register_forward_hook(lambda module, inputs, output: met.append(output.dtype))  # type: ignore[union-attr, operator]
    result = train(model, experiment.images.training, load_split(experiment.images.data), 0, CPU)
    assert isinstance(result, TrainingRecord)
    assert result.validation_n == 20
    wanted = torch.bfloat16 if precision == "bf16" else torch.float32
    assert met[0] == wanted
    assert met[-1] == torch.float32, "validated in float32"
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


@pytest.mark.slow
def test_two_steps_of_the_whole_larger_network(photos: Path, cache: Path) -> None:
    experiment = vit_small(photos, epochs=1, batch_size=30)
    model = build_model(experiment.images.model, 0)
    assert sum(p.numel() for p in model.parameters()) > 21_000_000
    before = model.blocks[11].mlp.fc1.weight.detach().clone()  # type: ignore[union-attr, operator]
    result = train(model, experiment.images.training, load_split(experiment.images.data), 0, CPU)
    assert isinstance(result, TrainingRecord)
    assert not torch.equal(before, model.blocks[11].mlp.fc1.weight)  # type: ignore[union-attr, operator]


def test_augmentation_belongs_to_seed_epoch_and_batch(photos: Path, cache: Path) -> None:
    experiment = small(photos)
    split = load_split(experiment.images.data)
    assert split.train.images.dtype == np.uint8, "a quarter of the memory of float32"
    order = np.arange(90)
    model = build_model(with_data(experiment.images, DataAccess())[0].model, 0)

    def met(seed: int, epoch: int, **changes: Any) -> torch.Tensor:
        trainer = ImageTrainer(model, replace(experiment.images.training, **changes), split, CPU, seed)
        return torch.cat([images for images, _ in trainer._batches(epoch, order)])

    assert torch.equal(met(0, 1), met(0, 1))
    assert not torch.equal(met(0, 1), met(0, 2))
    assert not torch.equal(met(0, 1), met(1, 1))
    plain = met(0, 1, flip=False, crop_padding=0, randaugment=0)
    assert torch.equal(plain, met(5, 7, flip=False, crop_padding=0, randaugment=0))
    assert plain.mean(dim=(0, 2, 3)).numpy() == pytest.approx([0, 0, 0], abs=1e-4)
    assert plain.std(dim=(0, 2, 3)).numpy() == pytest.approx([1, 1, 1], abs=1e-3)
