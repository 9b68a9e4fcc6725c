"""Networks that do not begin at random: one checkpoint for all seeds, or published weights under a fresh classifier."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.main import main
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import ModelConfig
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.start import Start, begin_with, fetch_pretrained, pretrained_name, starts_of
from sics_cli.tasks.recipe import GIVEN

CPU = Environment("cpu", "2.15", "1.0")
RESNET = ModelConfig("timm:resnet10t", (("in_chans", 1), ("num_classes", 10)))


@pytest.fixture
def given(tmp_path: Path, experiment: Experiment) -> Experiment:
    """The tiny experiment on a network of the user's own."""
    path = tmp_path / "mine.safetensors"
    save_file(build_model(experiment.images.model, 77).state_dict(), path)
    return experiment.with_images(checkpoints=(str(path),))


def test_a_checkpoint_is_in_the_keys_and_training_is_not(given: Experiment, experiment: Experiment) -> None:
    one, plain = Recipe(given, CPU), Recipe(experiment, CPU)
    assert one.run_id != plain.run_id
    assert "start" not in plain.content
    longer = Recipe(given.with_images(training=replace(given.images.training, epochs=99, learning_rate=1.0)), CPU)
    assert longer.run_id == one.run_id
    path = Path(given.images.checkpoints[0])
    moved = path.rename(path.with_name("elsewhere.safetensors"))
    assert Recipe(given.with_images(checkpoints=(str(moved),)), CPU).run_id == one.run_id
    moved.write_bytes(moved.read_bytes() + b" ")
    assert Recipe(given.with_images(checkpoints=(str(moved),)), CPU).run_id != one.run_id


def test_seeds_of_a_checkpoint_vary_the_calibration_alone(given: Experiment) -> None:
    recipe = Recipe(given, CPU)
    assert recipe.seed_varies == ("calibration batches", "draws of random scorers")
    one, two = recipe.streams(0), recipe.streams(1)
    assert one.data_order_hash == two.data_order_hash == GIVEN
    assert one.calibration_hash != two.calibration_hash


def test_a_file_that_changes_under_a_run_is_noticed(given: Experiment) -> None:
    (start,) = starts_of(given.images)
    model = build_model(given.images.model, 0)
    begin_with(model, start)
    assert all(
        torch.equal(value, build_model(given.images.model, 77).state_dict()[name]) for name, value in model.state_dict().items()
    )
    start.path.write_bytes(start.path.read_bytes() + b" ")
    with pytest.raises(MismatchError, match="changed while the run was going on"):
        begin_with(model, start)


def test_what_makes_no_sense_is_refused(given: Experiment) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        given.with_images(pretrained=True)
    with pytest.raises(ConfigError, match="every seed would measure the same"):
        replace(given, saliency="neighbourhood")
    replace(given, saliency="neighbourhood", seeds=(3,))
    with pytest.raises(ConfigError, match="no published weights for this vit"):
        pretrained_name(given.images.model)


def test_published_weights_come_under_a_fresh_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(5)
    hub = timm.create_model("resnet10t", num_classes=1000)  # three channels and 1000 classes, as published
    save_file(hub.state_dict(), tmp_path / "hub.safetensors")
    path = fetch_pretrained(RESNET, file=str(tmp_path / "hub.safetensors"))
    start = Start("pretrained", path, start_of_sha(path))
    one, two = build_model(RESNET, 0), build_model(RESNET, 1)
    begin_with(one, start)
    begin_with(two, start)
    same = {name for name, value in one.state_dict().items() if torch.equal(value, two.state_dict()[name])}
    assert one.state_dict().keys() - same == {"fc.weight", "fc.bias"} - ({"fc.bias"} & same)
    assert torch.equal(one.layer1[0].conv1.weight, hub.layer1[0].conv1.weight)
    fresh = build_model(RESNET, 0)
    assert torch.equal(one.fc.weight, fresh.fc.weight)
    assert not torch.equal(one.layer1[0].conv1.weight, fresh.layer1[0].conv1.weight)


def start_of_sha(path: Path) -> str:
    from sics_cli.tasks.networks.weights_file import weights_digest

    return weights_digest(path, "--pretrained")


def test_published_weights_that_cannot_be_had_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"--pretrained: timm's weights of resnet10t cannot be had .*--checkpoint") as caught:
        fetch_pretrained(RESNET, file=str(tmp_path / "missing.safetensors"))
    assert "\n" not in str(caught.value)


def test_an_unknown_timm_name_is_told_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"timm has no such architecture; near it: .*resnet18"):
        build_model(ModelConfig("timm:resnet188"), 0)


@pytest.mark.usefixtures("inline")
def test_a_resnet_of_ones_own_is_pruned_by_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """End to end: a file of weights, no training, calibration the only thing a seed varies, and the report says so."""
    monkeypatch.chdir(tmp_path)
    save_file(build_model(RESNET, 3).state_dict(), tmp_path / "mine.safetensors")
    (tmp_path / "res.toml").write_text(
        'name = "res"\nsparsities = [0.5]\n[model]\nname = "timm:resnet10t"\n[data]\ntrain = 200\nvalidation = 64\ntest = 100\n'
        "[calibration]\nbatches = 2\nbatch_size = 32\n"
    )
    asked = ["replicate", "--config", "res.toml", "--checkpoint", "mine.safetensors", "--unit", "channel", "--seeds", "2"]
    asked += ["--scorers", "magnitude,chaos", "--out", "own", "--no-report", "--workers", "1"]
    assert main(asked) == 1
    refused = capsys.readouterr().err.splitlines()[-1]
    assert re.search(
        r"mine\.safetensors: gets \d+ of 128 training images right, no better than chance: .*--allow-chance", refused
    )
    assert not (tmp_path / "own").exists()
    assert main([*asked, "--allow-chance"]) == 0
    done = capsys.readouterr()
    assert "training" not in done.err
    assert "about as many as by chance" in " ".join(done.out.split())
    assert main(["replicate", "--config", "res.toml", "--scorers", "magnitude", "--out", "own", "--dry-run"]) == 2
    assert "start.kind checkpoint → None" in capsys.readouterr().err
    assert main(["report", "own", "--format", "md"]) == 0
    assert "one given network is pruned at every seed" in capsys.readouterr().out
    assert main(["status", "own"]) == 0
    kept = " ".join(capsys.readouterr().out.split())
    assert re.search(r"timm:resnet10t, given weights [0-9a-f]{12}, not trained; saliency", kept)
    assert "trained in" not in kept
    assert main([*asked[:4], "res.toml", "--out", "other"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("sics-run: --checkpoint ")
