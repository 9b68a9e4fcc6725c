from dataclasses import replace
from typing import Any

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.base.versions import minor_version
from sics_cli.experiment.recipe import Environment, Recipe, differences, scorer_seed
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.settings.config import Experiment, experiment_from_mapping
from sics_cli.settings.images import CalibrationConfig
from sics_cli.settings.presets import PRESETS
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.images.cache import ImageFacts

CPU = Environment("cpu", "2.15", "1.0")


def info(**changes: Any) -> ScorerInfo:
    valid = ScorerInfo("chaos", "chaos", 2, "feature", "λ(r)", None, {"name": "chaos", "parameters": {"alpha": 0.15}})
    return replace(valid, **changes)


def test_same_experiment_same_keys(experiment: Experiment) -> None:
    one, two = Recipe(experiment, CPU), Recipe(replace(experiment), CPU)
    assert one.run_id == two.run_id
    assert one.cell_key(0, info(), 0.5) == two.cell_key(0, info(), 0.5)


@pytest.mark.parametrize(
    "changes", [{"seeds": (7,)}, {"scorers": ("chaos",)}, {"sparsities": (0.9,)}, {"delta": 1.0}, {"name": "other"}]
)
def test_what_may_grow_or_be_analysed_again_keeps_run_and_cells(experiment: Experiment, changes: dict[str, Any]) -> None:
    one, two = Recipe(experiment, CPU), Recipe(replace(experiment, **changes), CPU)
    assert one.run_id == two.run_id
    assert one.cell_key(0, info(), 0.5) == two.cell_key(0, info(), 0.5)


def variants(experiment: Experiment) -> dict[str, Recipe]:
    training = experiment.images.training
    return {
        "epochs": Recipe(experiment.with_images(training=replace(training, epochs=3)), CPU),
        "learning rate": Recipe(experiment.with_images(training=replace(training, learning_rate=1e-3)), CPU),
        "model": Recipe(experiment.with_images(model=replace(experiment.images.model, options=(("depth", 2),))), CPU),
        "split": Recipe(experiment.with_images(data=replace(experiment.images.data, split_seed=1)), CPU),
        "train size": Recipe(experiment.with_images(data=replace(experiment.images.data, train=600)), CPU),
        "saliency": Recipe(replace(experiment, saliency="activation"), CPU),
        "calibration": Recipe(experiment.with_images(calibration=CalibrationConfig(4, 64)), CPU),
        "pool": Recipe(replace(experiment, pool="layer"), CPU),
        "unit": Recipe(replace(experiment, unit="channel"), CPU),
        "precision": Recipe(experiment.with_images(training=replace(training, precision="bf16")), CPU),
        "augmentation": Recipe(experiment.with_images(training=replace(training, flip=True)), CPU),
        "mixup": Recipe(experiment.with_images(training=replace(training, mixup=0.8)), CPU),
        "cutmix": Recipe(experiment.with_images(training=replace(training, cutmix=0.8)), CPU),
        "label smoothing": Recipe(experiment.with_images(training=replace(training, label_smoothing=0.1)), CPU),
        "schedule": Recipe(experiment.with_images(training=replace(training, schedule="cosine")), CPU),
        "warm-up": Recipe(experiment.with_images(training=replace(training, schedule="cosine", warmup=1)), CPU),
        "path": Recipe(experiment.with_images(training=replace(training, path="compile")), CPU),
        "stacked": Recipe(experiment.with_images(training=replace(training, path="stacked")), CPU),
        "width": Recipe(experiment.with_images(training=replace(training, path="stacked", width=4)), CPU),
        "device class": Recipe(experiment, replace(CPU, device_class="cuda")),
        "torch": Recipe(experiment, replace(CPU, torch="2.16")),
        "timm": Recipe(experiment, replace(CPU, timm="1.1")),
    }


def test_whatever_the_number_depends_on_changes_its_key(experiment: Experiment) -> None:
    base = Recipe(experiment, CPU)
    others = variants(experiment)
    runs = {name: recipe.run_id for name, recipe in others.items()}
    cells = {name: recipe.cell_key(0, info(), 0.5) for name, recipe in others.items()}
    assert base.run_id not in runs.values()
    assert base.cell_key(0, info(), 0.5) not in cells.values()
    assert len(set(runs.values())) == len(set(cells.values())) == len(others)


def test_cells_of_a_run_have_keys_of_their_own(experiment: Experiment) -> None:
    recipe = Recipe(experiment, CPU)
    keys = [
        recipe.cell_key(0, info(), 0.5),
        recipe.cell_key(1, info(), 0.5),
        recipe.cell_key(0, info(), 0.6),
        recipe.cell_key(0, info(fingerprint={"name": "chaos", "parameters": {"alpha": 0.2}}), 0.5),
        recipe.dense_cell_key(0),
        recipe.dense_cell_key(1),
        recipe.repeat_key(0, info(), 0.5),
        recipe.dense_key(0),
    ]
    assert len(set(keys)) == len(keys)


def test_settings_that_came_later_leave_older_keys_as_they_were(experiment: Experiment) -> None:
    plain = Recipe(experiment, Environment("cuda", "2.15", "1.0"))
    content = plain.content
    assert set(content["data"]) == {"name", "train", "validation", "test", "split_seed", "digest", "split_digest"}
    assert set(content["training"]) == {"epochs", "batch_size", "learning_rate", "weight_decay", "version", "threads"}
    assert plain.dense_key(0) == "c1fa83b7ccc3988f36025ea07431e1ebb9687c2216eab6c73f3196c5f79056be"


def test_keys_of_the_presets_are_what_they_were() -> None:
    """Of the dense networks, on images of which no more than this is known; written down before settings were added."""
    found = {}
    for name, preset in PRESETS.items():
        asked = experiment_from_mapping(preset)
        data = asked.images.data
        facts = ImageFacts((data.train + data.validation + data.test, 3, 32, 32), tuple("abcdefghij"), None, "digest")
        task = ImageRecipe(asked.images, facts)
        found[name] = Recipe(asked, Environment("cuda", "2.15", "1.0"), task).dense_key(0)
    assert found == {
        "digits": "6a9b8cb441f0b688308d68c247062d376155b7c63c8cdd4d1d7be11966879a22",
        "cifar10-vit-micro": "7e415cde59fe4d95d0e49086e39409d2df26b6e52da5e208d1219e5cf7b9d156",
        "cifar10-vit-small": "b9ebb3475e41a93f9822735296acafe2ce6fd4868ac69b96af8aac9ce13eb52f",
        "cifar10-vit-small-100": "1ac48aeecfeaad521d7ac1e0db5790d52d40176d5d362fcf56f7d7b704dcb7ff",
    }


def test_the_model_of_a_gpu_is_in_the_key_of_a_run_on_one(experiment: Experiment) -> None:
    plain, card = Environment("cuda", "2.15", "1.0"), Environment("cuda", "2.15", "1.0", "H100")
    assert Recipe(experiment, CPU).content["environment"] == {"device_class": "cpu", "torch": "2.15", "timm": "1.0"}
    assert len({Recipe(experiment, one).run_id for one in (CPU, plain, card, replace(card, gpu="H200"))}) == 4
    before, after = Recipe(experiment, card).content, Recipe(experiment, replace(card, gpu="H200")).content
    assert differences(before, after) == ["environment.gpu H100 → H200"]


def test_what_a_seed_varies_is_said_and_not_hashed(experiment: Experiment) -> None:
    recipe = Recipe(experiment, CPU)
    assert recipe.described["seed_varies"] == ["initialisation", "data order", "calibration batches", "draws of random scorers"]
    assert "seed_varies" not in recipe.content
    assert "calibration batches" not in Recipe(replace(experiment, saliency="neighbourhood"), CPU).seed_varies
    augmented = experiment.with_images(training=replace(experiment.images.training, flip=True))
    assert "augmentation" in Recipe(augmented, CPU).seed_varies
    mixed = experiment.with_images(training=replace(experiment.images.training, cutmix=1.0))
    assert "mixing of images" in Recipe(mixed, CPU).seed_varies


def test_an_image_folder_is_its_content_and_not_its_place(experiment: Experiment) -> None:
    facts = ImageFacts((2000, 3, 8, 8), ("a", "b"), None, "digest")

    def recipe(path: str, facts: ImageFacts = facts) -> Recipe:
        photos = experiment.with_images(data=replace(experiment.images.data, name=f"imagefolder:{path}"))
        return Recipe(photos, CPU, ImageRecipe(photos.images, facts))

    assert recipe("/one").run_id == recipe("two").run_id
    assert recipe("/one").dense_key(0) == recipe("two").dense_key(0)
    assert recipe("/one").content["data"]["name"] == "imagefolder"
    assert recipe("/one").run_id != recipe("/one", replace(facts, digest="other")).run_id
    with_parts = replace(facts, train=1090)
    assert recipe("/one").run_id != recipe("/one", with_parts).run_id, "another split"


def test_the_dense_key_does_not_know_what_comes_after_training(experiment: Experiment) -> None:
    one = Recipe(experiment, CPU)
    two = Recipe(replace(experiment, saliency="neighbourhood", pool="layer", unit="head"), CPU)
    assert one.dense_key(0) == two.dense_key(0)
    assert one.dense_key(0) != one.dense_key(1)
    assert two.streams(0).calibration_hash is None


def test_summaries_of_scorers_are_not_part_of_the_key(experiment: Experiment) -> None:
    recipe = Recipe(experiment, CPU)
    assert recipe.cell_key(0, info(), 0.5) == recipe.cell_key(0, info(summary="other words"), 0.5)


def test_differences_name_the_settings(experiment: Experiment) -> None:
    one, two = Recipe(experiment, CPU), variants(experiment)["epochs"]
    assert differences(one.content, two.content) == ["training.epochs 2 → 3"]
    given = {**one.content, "start": {"kind": "pretrained", "sha256": "ab"}}
    assert differences(given, one.content) == ["start.kind pretrained → None", "start.sha256 ab → None"]


def test_unknown_architecture_and_data_set(experiment: Experiment) -> None:
    with pytest.raises(ConfigError, match=r"model\.name = 'gru' is not accepted: give vit"):
        Recipe(experiment.with_images(model=replace(experiment.images.model, name="gru")), CPU)
    with pytest.raises(ConfigError, match=r"data\.name = 'mnist' is not accepted: give digits"):
        Recipe(experiment.with_images(data=replace(experiment.images.data, name="mnist")), CPU)
    with pytest.raises(ConfigError, match="has 1797 examples"):
        Recipe(experiment.with_images(data=replace(experiment.images.data, test=901)), CPU)


def test_minor_version() -> None:
    import torch

    assert minor_version("torch") == ".".join(torch.__version__.split(".")[:2])
    assert minor_version("no-such-distribution") == "not installed"


def test_scorer_seeds_differ_between_seeds() -> None:
    assert len({scorer_seed(seed) for seed in range(50)}) == 50
