from dataclasses import replace
from pathlib import Path

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.settings.config import Experiment, experiment_from_mapping, merged, read_toml
from sics_cli.settings.presets import DIGITS, PRESETS


def test_the_preset_is_the_one_specified() -> None:
    experiment = experiment_from_mapping(DIGITS)
    assert (experiment.images.data.train, experiment.images.data.validation, experiment.images.data.test) == (700, 197, 900)
    assert experiment.seeds == (0, 1, 2, 3, 4)
    assert experiment.sparsities == (0.5, 0.6, 0.7, 0.8)
    assert experiment.scorers is None
    assert (experiment.images.calibration.batches, experiment.images.calibration.batch_size) == (40, 64)
    assert (experiment.images.training.batch_size, experiment.images.training.learning_rate) == (32, 8e-3)
    assert (experiment.delta, experiment.alpha, experiment.reference) == (0.5, 0.05, "magnitude")
    assert dict(experiment.images.model.options) == {
        "img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10, "embed_dim": 64, "depth": 4, "num_heads": 4,
        "global_pool": "avg", "class_token": False,
    }  # fmt: skip


def test_the_second_recipe_of_the_larger_network_is_the_one_specified() -> None:
    long, short = (experiment_from_mapping(PRESETS[name]).images for name in ("cifar10-vit-small", "cifar10-vit-small-100"))
    assert (short.data, short.model, short.calibration) == (long.data, long.model, long.calibration)
    changed = {"epochs": 100, "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "schedule": "cosine", "warmup": 10}
    assert short.training == replace(long.training, **changed)
    assert (short.training.path, short.training.precision, short.training.crop_padding) == ("eager", "bf16", 4)


def test_a_graph_is_for_a_gpu() -> None:
    asked = experiment_from_mapping(merged(DIGITS, {"training": {"path": "graph"}})).images
    asked.check_device("cuda")
    with pytest.raises(ConfigError) as caught:
        asked.check_device("cpu")
    said = "give eager | compile | stacked here: only a GPU has graphs, and this run is on the CPU"
    assert str(caught.value) == f"training.path = 'graph' is not accepted: {said}"
    replace(asked, checkpoints=("mine.pt",)).check_device("cpu")  # nothing is trained then


def test_seeds_as_count_or_list() -> None:
    assert experiment_from_mapping({**DIGITS, "seeds": 3}).seeds == (0, 1, 2)
    assert experiment_from_mapping({**DIGITS, "seeds": [101, 7]}).seeds == (7, 101)


def test_sparsities_are_sorted_and_distinct() -> None:
    assert experiment_from_mapping({**DIGITS, "sparsities": [0.8, 0.5, 0.8]}).sparsities == (0.5, 0.8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seeds": 0}, ["seeds = 0", "at least 1"]),
        ({"seeds": [-1]}, ["seeds", "integers from 0"]),
        ({"seeds": True}, ["seeds = True", "a list"]),
        ({"sparsities": [1.0]}, ["sparsities = 1.0", "below 1"]),
        ({"sparsities": []}, ["sparsities", "at least one"]),
        ({"sparsities": 0.5}, ["sparsities = 0.5", "a list"]),
        ({"scorers": []}, ["scorers", "at least one"]),
        ({"saliency": "hessian"}, ["saliency = 'hessian'", "gradient | activation | neighbourhood"]),
        ({"unit": "row"}, ["unit = 'row'", "give weight | channel | head"]),
        ({"pool": "column"}, ["pool = 'column'", "global | layer | layer-rank | row | erk | 2:4 | 4:8 | native"]),
        ({"pool": "row", "unit": "head"}, ["unit = 'head'", "weight, with pool row"]),
        ({"pool": "2:4", "sparsities": [0.5, 0.7]}, ["sparsities = (0.5, 0.7)", "0.5, which pool 2:4 is"]),
        ({"form": "histogram"}, ["form = 'histogram'", "give exact"]),
        ({"device": "tpu"}, ["device = 'tpu'", "auto | cpu | cuda"]),
        ({"delta": 0}, ["delta = 0", "above 0"]),
        ({"delta": float("nan")}, ["delta = nan", "above 0"]),
        ({"alpha": 0.5}, ["alpha = 0.5", "below 0.5"]),
        ({"name": "a/b"}, ["name = 'a/b'", "letters"]),
        ({"epochs": 3}, ["unknown setting epochs", "sparsities"]),
        ({"training": {"epoch": 3}}, ["unknown setting training.epoch", "epochs"]),
        ({"training": {"epochs": 2.5}}, ["training.epochs = 2.5", "an integer"]),
        ({"training": {"epochs": 0}}, ["training.epochs = 0", "at least 1"]),
        ({"training": 3}, ["training = 3", "table"]),
        ({"model": {"depth": [1]}}, ["model.depth", "a number"]),
        ({"data": {"test": 0}}, ["data.test = 0", "at least 1"]),
        ({"data": {"image_size": "32"}}, ["data.image_size = '32'", "an integer"]),
        ({"training": {"precision": "fp16"}}, ["training.precision = 'fp16'", "fp32 | bf16"]),
        ({"training": {"flip": 1}}, ["training.flip = 1", "true or false"]),
        ({"training": {"crop_padding": -1}}, ["training.crop_padding = -1", "from 0 to 1024"]),
        ({"training": {"randaugment": 17}}, ["training.randaugment = 17", "from 0 to 16"]),
        ({"training": {"randaugment": 1, "magnitude": 31}}, ["training.magnitude = 31", "from 0 to 30"]),
        ({"training": {"magnitude": 5}}, ["training.magnitude = 5", "training.randaugment, which is 0"]),
        ({"training": {"mixup": -0.1}}, ["training.mixup = -0.1", "a number of at least 0"]),
        ({"training": {"cutmix": float("inf")}}, ["training.cutmix = inf", "a number of at least 0"]),
        ({"training": {"label_smoothing": 1}}, ["training.label_smoothing = 1", "from 0, below 1"]),
        ({"training": {"schedule": "step"}}, ["training.schedule = 'step'", "one-cycle | cosine"]),
        ({"training": {"warmup": 3}}, ["training.warmup = 3", "training.schedule = 'cosine', which is 'one-cycle'"]),
        ({"training": {"schedule": "cosine", "warmup": 60}}, ["training.warmup = 60", "below the 60 of all"]),
        ({"training": {"path": "fast"}}, ["training.path = 'fast'", "eager | compile | graph | stacked"]),
        ({"training": {"width": 3}}, ["training.width = 3", "training.path = 'stacked', which is 'eager' here"]),
        ({"training": {"path": "stacked", "width": 0}}, ["training.width = 0", "an integer from 2 to 64, or leave it out for 5"]),
        ({"training": {"path": "stacked", "width": 1}}, ["training.width = 1", "an integer from 2 to 64"]),
    ],
)
def test_bad_settings_are_one_line_that_names_them(settings: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment_from_mapping(merged(DIGITS, settings))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model.name = None is not accepted"):
        experiment_from_mapping({key: value for key, value in DIGITS.items() if key != "model"})
    with pytest.raises(ConfigError, match=r"calibration.batches is missing"):
        experiment_from_mapping({key: value for key, value in DIGITS.items() if key != "calibration"})


@pytest.mark.parametrize("content", [b"a = = 1", b"\xff\xfe"])
def test_unreadable_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"--config .*x\.toml: (not valid TOML|cannot be read)"):
        read_toml(path)


def test_missing_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path / "none.toml")


def test_an_experiment_is_frozen_and_hashable(experiment: Experiment) -> None:
    assert len({experiment, replace(experiment)}) == 1
    with pytest.raises(AttributeError):
        experiment.delta = 1.0  # type: ignore[misc]


def test_what_was_typed_is_named_as_the_option() -> None:
    with pytest.raises(ConfigError, match=r"^--sparsities 70\.0: is not accepted: give numbers above 0 and below 1$"):
        experiment_from_mapping(merged(DIGITS, {"sparsities": [70.0]}), typed=["sparsities", "delta"])
    with pytest.raises(ConfigError, match=r"^sparsities = 70\.0 is not accepted"):
        experiment_from_mapping(merged(DIGITS, {"sparsities": [70.0]}), typed=["delta"])
