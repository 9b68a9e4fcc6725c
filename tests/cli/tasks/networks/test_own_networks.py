"""Networks of torchvision and of a user's own code: found, built, known by their sources, and refused in one line."""

import re
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import ModelConfig
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.image_setup import with_data
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, class_positions
from sics_cli.tasks.networks.models import build_model, fitted, model_code, model_name
from sics_cli.tasks.networks.start import standardised
from sics_cli.tasks.networks.weights_file import load_weights

CPU = Environment("cpu", "2.15", "1.0")
PHOTOS = ImageFacts((60, 3, 16, 16), ("blue", "green", "red"), 40, "x")
MINE = """\
from torch import nn
from help_of_my_network import ACTIVATION

def build(width=4, classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), ACTIVATION(), nn.Linear(width, classes))

class Net(nn.Module):
    def forward(self, x):
        return {output}
"""


@pytest.fixture(autouse=True)
def folder(code_folder: Path) -> Path:
    (code_folder / "help_of_my_network.py").write_text("from torch.nn import ReLU as ACTIVATION\n")
    write(code_folder / "my_network.py")
    return code_folder


def write(path: Path, output: str = "x") -> None:
    path.write_text(MINE.replace("{output}", output))


def own(experiment: Experiment, spec: str, **options: Any) -> Experiment:
    return experiment.with_images(model=ModelConfig(spec, tuple(options.items())))


def test_a_function_in_a_file_and_a_class_in_a_module_make_networks(folder: Path) -> None:
    one = build_model(ModelConfig("my_network.py:build", (("width", 5),)), 0)
    two = build_model(ModelConfig("my_network:build", (("width", 5),)), 0)
    assert [tuple(p.shape) for p in one.parameters()] == [(5, 64), (5,), (10, 5), (10,)]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    other = build_model(ModelConfig("my_network.py:build", (("width", 5),)), 1)
    assert not torch.equal(one[1].weight, other[1].weight), "a seed initialises its own"  # type: ignore[index]
    assert type(build_model(ModelConfig("my_network.py:Net"), 0)).__name__ == "Net"


def test_the_code_is_in_the_keys_and_its_place_is_not(folder: Path, experiment: Experiment) -> None:
    def recipe(spec: str = "my_network.py:build") -> Recipe:
        return Recipe(own(experiment, spec), CPU)

    one = recipe()
    assert one.content["model"] == {"name": "my_network.py:build"}
    assert set(one.content["model_code"]) == {"source_sha256", "helpers_sha256"}
    assert str(folder) not in str(one.content)
    (folder / "elsewhere").mkdir()
    for name in ("my_network.py", "help_of_my_network.py"):
        (folder / "elsewhere" / name).write_bytes((folder / name).read_bytes())
    moved = recipe("elsewhere/my_network.py:build")
    assert (moved.run_id, moved.dense_key(0)) == (one.run_id, one.dense_key(0))
    (folder / "unused.py").write_text("x = 1\n")
    assert recipe().run_id == one.run_id
    (folder / "help_of_my_network.py").write_text("from torch.nn import Tanh as ACTIVATION\n")
    edited = recipe()
    assert edited.run_id != one.run_id
    assert edited.dense_key(0) != one.dense_key(0)
    assert edited.content["model_code"]["source_sha256"] == one.content["model_code"]["source_sha256"]
    assert "my_network" not in sys.modules, "hashed without being imported"


def test_a_module_is_found_without_importing_its_package(folder: Path, experiment: Experiment) -> None:
    package = folder / "package_of_mine"
    (package / "nets").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "nets" / "__init__.py").write_text("")
    (package / "nets" / "small.py").write_text("from .. import tools\n")
    (package / "tools.py").write_text("")
    code = model_code(ModelConfig("package_of_mine.nets.small:Net"))
    assert set(code["helpers_sha256"]) == {  # type: ignore[call-overload]
        "package_of_mine/__init__.py", "package_of_mine/nets/__init__.py", "package_of_mine/tools.py",
    }  # fmt: skip


def test_installed_code_is_known_by_its_version(experiment: Experiment) -> None:
    import torchvision

    version = torchvision.__version__.split("+")[0]
    assert model_code(ModelConfig("torchvision:resnet18")) == {"torchvision": version}
    (found,) = model_code(ModelConfig("torchvision.models:resnet18")).items()
    assert found[0] == "torchvision"
    assert str(found[1]).startswith(version)
    assert model_code(ModelConfig("timm:resnet10t")) == model_code(experiment.images.model) == {}
    assert "model_code" not in Recipe(experiment, CPU).content


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("resnet18", {}, "is not accepted: give vit | timm:NAME | torchvision:NAME | FILE.py:FUNCTION | MODULE:CLASS"),
        (":build", {}, "is not accepted"),
        ("my_network.py:", {}, "is not accepted"),
        ("nosuch.py:build", {}, "there is no file"),
        ("nosuch_module:build", {}, "there is no module 'nosuch_module'"),
        ("my_network.deeper:build", {}, "there is no module 'my_network.deeper'"),
        ("sys:path", {}, "there is no module 'sys' here with a file of Python"),
        ("my_network.py:biuld", {}, "cannot be imported (module .* has no attribute 'biuld' (did you mean build?))"),
        ("wrong.py:build", {}, "cannot be imported (invalid syntax"),
        ("raises.py:build", {}, "cannot be imported (no such thing)"),
        ("odd.py:NUMBER", {}, "is int, not a function or class that makes a module"),
        ("odd.py:MODULE", {}, "is a module already: give the function or class"),
        ("odd.py:state", {}, "called with () gives dict, not a torch.nn.Module"),
        ("odd.py:nothing", {}, "called with () gives NoneType, not a torch.nn.Module"),
        ("odd.py:fails", {"n": 3}, "called with (n=3) raises ValueError: no 3"),
        ("my_network.py:build", {"depth": 3}, "unknown option model.depth: build takes "),
        ("torchvision:resnot18", {}, "torchvision has no such image classifier; near it: .*resnet18"),
        ("torchvision:fcn_resnet50", {}, "torchvision has no such image classifier"),
        ("torchvision:resnet18", {"depth": 3}, "does not make a torchvision:resnet18: .*'depth'"),
    ],
)  # fmt: skip
def test_what_makes_no_network_is_one_line(folder: Path, spec: str, options: dict[str, Any], words: str) -> None:
    (folder / "wrong.py").write_text("1 +\n")
    (folder / "raises.py").write_text("raise RuntimeError('no such thing')\n")
    (folder / "odd.py").write_text(
        "from torch import nn\nNUMBER = 3\nMODULE = nn.Linear(2, 2)\ndef state(): return {}\ndef nothing(): return None\n"
        "def fails(n): raise ValueError(f'no\\n {n}')\n"
    )
    with pytest.raises(
        ConfigError, match=words.replace("(", r"\(").replace(")", r"\)").replace("|", r"\|").replace("?", r"\?")
    ) as caught:
        build_model(ModelConfig(spec, tuple(options.items())), 0)
    assert "\n" not in str(caught.value)
    assert re.match(r"model\.name = '[^']+'|\[model\] does not make", str(caught.value))


def test_the_logits_are_found_or_refused(folder: Path) -> None:
    x = torch.randn(2, 3)
    for output, said in (
        ("x", None),
        ("__import__('types').SimpleNamespace(logits=x, loss=None)", None),
        ("(x, x)", "the forward pass of Net gives tuple: have it give the logits, a tensor .images, classes., or an object with"),
        ("{'out': x}", "the forward pass of Net gives dict"),
        ("__import__('types').SimpleNamespace(logits=None)", "gives SimpleNamespace"),
        ("x[:, :, None]", r"Net gives a tensor of shape \(2, 3, 1\): have it give"),
    ):
        write(folder / f"net_{abs(hash(output))}.py", output)
        model = build_model(ModelConfig(f"net_{abs(hash(output))}.py:Net"), 0)
        if said is None:
            assert torch.equal(model(x), x)
        else:
            with pytest.raises(ConfigError, match=said):
                model(x)


def test_a_network_in_training_that_gives_more_than_logits() -> None:
    """torchvision's inception gives (logits, aux_logits) while it is trained."""
    model = build_model(ModelConfig("torchvision:googlenet", (("init_weights", False), ("num_classes", 3))), 0).train()
    with torch.no_grad():
        assert model(torch.randn(2, 3, 64, 64)).shape == (2, 3)


# -- fitted to the data -----------------------------------------------------------------------------------------------


def recipe_of(experiment: Experiment) -> Recipe:
    return Recipe(experiment, CPU, ImageRecipe(experiment.images, PHOTOS))


def on_photos(experiment: Experiment, model: ModelConfig, **changes: Any) -> Experiment:
    data = replace(
        experiment.images.data, name="imagefolder:/photos", train=20, validation=10, test=20, **changes.pop("data", {})
    )
    return experiment.with_images(model=model, data=data, **changes)


def test_classes_reach_the_network_and_the_labels(experiment: Experiment) -> None:
    names = ("red", "grey", "blue", "green")
    asked = on_photos(experiment, ModelConfig("torchvision:resnet18"), data={"classes": names})
    assert dict(fitted(asked.images, PHOTOS).model.options) == {"num_classes": 4}
    assert class_positions(asked.images.data, PHOTOS).tolist() == [2, 3, 0]
    plain = on_photos(experiment, ModelConfig("torchvision:resnet18"))
    assert dict(fitted(plain.images, PHOTOS).model.options) == {"num_classes": 3}
    assert recipe_of(asked).dense_key(0) != recipe_of(plain).dense_key(0)
    other = on_photos(experiment, ModelConfig("torchvision:resnet18"), data={"classes": ("grey", *names[:1], *names[2:])})
    assert recipe_of(other).dense_key(0) != recipe_of(asked).dense_key(0)
    missing = on_photos(experiment, ModelConfig("torchvision:resnet18"), data={"classes": ("red", "grey")})
    with pytest.raises(ConfigError, match=r"--classes: does not name 'blue', 'green', of the classes of imagefolder: give"):
        fitted(missing.images, PHOTOS)


@pytest.mark.parametrize(
    ("model", "changes", "word", "said"),
    [
        ("timm:resnet10t", {}, "data", None),
        (
            "timm:resnet10t",
            {"checkpoints": ("w.pt",)},
            "timm:resnet10t",
            "by timm's numbers of resnet10t (--standardise takes others)",
        ),
        ("timm:resnet10t", {"pretrained": True}, "timm:resnet10t", "by timm's numbers of resnet10t"),
        ("torchvision:resnet18", {"checkpoints": ("w.pt",)}, "imagenet", "by ImageNet's numbers"),
        ("my_network.py:build", {"checkpoints": ("w.pt",)}, "data", "by their own mean and deviation, since nothing says what"),
        ("my_network.py:build", {"checkpoints": ("w.pt",), "data": {"standardise": "timm:resnet10t"}}, "timm:resnet10t", None),
        ("timm:resnet10t", {"checkpoints": ("w.pt",), "data": {"standardise": "data"}}, "data", None),
        ("timm:resnet10t", {"data": {"standardise": "timm"}}, "timm:resnet10t", None),
    ],
)
def test_images_are_standardised_as_the_network_was_trained(
    experiment: Experiment, model: str, changes: dict[str, Any], word: str, said: str | None
) -> None:
    told: list[str] = []
    found = standardised(on_photos(experiment, ModelConfig(model), **changes).images, PHOTOS, told.append)
    assert found.data.standardise == word
    lines = [line for line in told if line.startswith("images are standardised")]
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]
    order = "classes are numbered by name, 'blue' is output 0 and 'red' output 2 (--classes: others)"
    assert (order in told) is ("checkpoints" in changes)
    grey = replace(PHOTOS, shape=(60, 1, 16, 16))
    if "data" not in changes:
        assert standardised(on_photos(experiment, ModelConfig(model), **changes).images, grey).data.standardise == "data"


def test_the_standardisation_is_in_the_keys_unless_it_is_the_datas(experiment: Experiment) -> None:
    def key(word: str | None) -> str:
        return recipe_of(on_photos(experiment, ModelConfig("timm:resnet10t"), data={"standardise": word})).dense_key(0)

    assert key(None) == key("data")
    assert len({key(word) for word in ("data", "imagenet", "timm:resnet10t", "0.5/0.5", "0.5/0.25")}) == 5
    assert key(".5/.5") == key("0.50/ 0.5")


@pytest.mark.parametrize("word", ["imagnet", "0.5", "0.5/0", "2/1", "0.5,0.5/0.5", "nan/1", "0.5/inf", "timm:", ".5/.5/.5", ""])
def test_other_words_are_refused(experiment: Experiment, word: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.standardise = .* is not accepted.*: give data \| timm \| timm:NAME"):
        replace(experiment.images.data, standardise=word)


def test_published_weights_are_timms_alone(experiment: Experiment) -> None:
    asked = on_photos(experiment, ModelConfig("torchvision:resnet18"), pretrained=True)
    with pytest.raises(ConfigError, match=r"--pretrained: timm has the weights of its own networks, not of .*--checkpoint"):
        standardised(asked.images, PHOTOS)


def test_digits_are_as_they_were(experiment: Experiment) -> None:
    told: list[str] = []
    found, _ = with_data(experiment.with_images(checkpoints=("w.pt",)).images, DataAccess(), told.append)
    assert (found.data.standardise, told) == ("data", [])
    assert model_name(found.model) == "vit"
    (Path.cwd() / "w.pt").write_bytes(b"weights")
    content = Recipe(replace(experiment, task=found), CPU).content
    assert set(content["data"]) == {"name", "train", "validation", "test", "split_seed", "digest", "split_digest"}
    assert set(content) == {
        "data", "model", "start", "training", "saliency", "evaluation", "unit", "pool", "form", "environment",
    }  # fmt: skip


def test_a_name_with_dots_is_no_package(folder: Path) -> None:
    (folder / "beside").mkdir()
    (folder / "beside" / "v1.2.py").write_text("import help_of_my_network\n")
    assert set(model_code(ModelConfig("beside/v1.2.py:build"))) == {"source_sha256"}, "what lies above is not beside it"


# -- files of weights -------------------------------------------------------------------------------------------------


def test_a_module_around_the_network_is_taken_off() -> None:
    def network() -> nn.Module:
        return nn.Sequential(OrderedDict(body=nn.Linear(3, 2), norm=nn.BatchNorm1d(2)))

    model, other = network(), network()
    state = other.state_dict()
    for owner in ("model.", "backbone.", "net.", "body."):
        nn.init.zeros_(model.body.weight)  # type: ignore[arg-type]
        load_weights(model, {owner + name: value for name, value in state.items()}, "w")
        assert torch.equal(model.body.weight, other.body.weight)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"it lacks .*; the model has no head\.weight, model\.body\.bias, .* and 5 more$"):
        load_weights(model, {**{f"model.{name}": value for name, value in state.items()}, "head.weight": torch.ones(1)}, "w")
    inner = nn.Sequential(OrderedDict(body=nn.Linear(3, 2)))
    load_weights(inner, nn.Sequential(OrderedDict(body=nn.Linear(3, 2))).state_dict(), "w")
