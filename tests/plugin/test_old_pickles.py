"""Whole models and results that users saved with ``torch.save`` still load: the paths inside their pickles must go on working.

Both files were written once by version 0.1.0, when the classes lived in the modules that ``PATHS`` lists, and must not be written
again: they stand for files that nobody can write again. ``pruned_whole_model.pt`` is a Sequential with a Linear(24, 24) for every
method of that version, named after it and pruned by its ``apply``; ``results.pt`` is a dict of one of each public result.
"""

from __future__ import annotations

import importlib
import pickletools
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin as sics

DATA = Path(__file__).parent / "data"
FILES = ("pruned_whole_model.pt", "results.pt")
#: Where this project's classes were when the files were written.
PATHS = """
adaptive: AdaptiveChoice AdaptiveTable Step Trial
channel_groups: ChannelGroup Slice
channel_report: ChannelReport
complexity_result: Complexity ComplexityAt Share Surface
held_out: Calibration
masks: InstalledMask
methods: SICSAdaptive SICSBump SICSChaos SICSFake SICSGradient SICSInformation SICSLog SICSMagnitude SICSPower SICSRandom
    SICSSmoothChaos SICSSmoothMouse SICSWiggle
peer_methods: SICSFisher SICSGrasp SICSLamp SICSNofM SICSRIA SICSRelativeImportance SICSSensitivity SICSSnip SICSSynFlow
    SICSTaylor SICSWanda
peers: Fisher Grasp Lamp RelativeImportance RelativeImportanceActivation Sensitivity Snip SynFlow Taylor Wanda
registry: Units
report: LayerSparsity PruningReport
saliency: Saliency
scorers: Adaptive Bump Chaos Fake Gradient Information Log Magnitude Power Random SmoothChaos SmoothMouse Wiggle
structured_methods: SICSStructuredAdaptive SICSStructuredBump SICSStructuredChaos SICSStructuredFake SICSStructuredGradient
    SICSStructuredInformation SICSStructuredLog SICSStructuredMagnitude SICSStructuredPower SICSStructuredRandom
    SICSStructuredSmoothChaos SICSStructuredSmoothMouse SICSStructuredWiggle
vectors: SaliencyVector
"""


def expected_paths() -> set[str]:
    lines = PATHS.replace("\n    ", " ").split("\n")[1:-1]
    pairs = [line.split(": ") for line in lines]
    return {f"sics_plugin.{module} {name}" for module, names in pairs for name in names.split()}


def paths_in(file: str) -> set[str]:
    with zipfile.ZipFile(DATA / file) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        found = {str(argument) for code, argument, _ in pickletools.genops(archive.read(name)) if code.name == "GLOBAL"}
    return {path for path in found if path.startswith("sics_")}


@pytest.fixture
def model() -> nn.Sequential:
    return torch.load(DATA / "pruned_whole_model.pt", weights_only=False)


@pytest.fixture(scope="module")
def results() -> dict:
    return torch.load(DATA / "results.pt", weights_only=False)


def linears(model: nn.Sequential) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_children() if isinstance(module, nn.Linear)}


def test_the_files_are_the_old_ones() -> None:
    assert set().union(*(paths_in(file) for file in FILES)) == expected_paths()


@pytest.mark.parametrize("path", sorted(expected_paths()))
def test_a_path_inside_an_old_pickle_leads_to_todays_class(path: str) -> None:
    """The very class, not a copy of it: what is loaded must be an instance of what ``isinstance`` asks for."""
    module, name = path.split()
    found = getattr(__import__(module, fromlist=[name]), name)
    assert isinstance(found, type)
    assert found.__name__ == name
    assert getattr(sics, name, found) is found


def test_a_whole_model_runs_and_has_its_masks(model: nn.Sequential) -> None:
    before = model(torch.linspace(-1, 1, 48).view(2, 24))
    assert bool(torch.isfinite(before).all())
    masks = sics.current_masks(model)
    assert sics.mask_hash(masks) == "399616b318e5cabbf37777635f84dd2503e3a613e0c28beeed2c76fc3b343da1"
    for name, layer in linears(model).items():
        assert prune.is_pruned(layer), name
        assert torch.equal(layer.weight, layer.weight_orig * masks[f"{name}.weight"]), name


def test_hooks_are_the_methods(model: nn.Sequential) -> None:
    found = linears(model)
    for name, layer in found.items():
        if name.startswith("SICS"):
            hook = next(hook for hook in layer._forward_pre_hooks.values() if getattr(hook, "_tensor_name", "") == "weight")
            assert type(hook) is getattr(sics, name), name
    wiggle = sics.get_scorer("wiggle")
    (hook,) = found["SICSWiggle"]._forward_pre_hooks.values()
    assert type(hook.scorer) is wiggle
    assert (hook.amount, hook.saliency) == (0.75, None)
    (table,) = found["table"]._forward_pre_hooks.values()
    assert table.scorer.table.source in repr(table)
    assert table.choice.trials == table.scorer.table.trials
    (chain,) = found["chain"]._forward_pre_hooks.values()
    assert [type(one).__name__ for one in chain] == ["SICSMagnitude", "L1Unstructured", "SICSChaos"]


def test_removing_the_hooks_leaves_the_same_weights(model: nn.Sequential) -> None:
    x = torch.linspace(-1, 1, 48).view(2, 24)
    before = model(x)
    for name, layer in linears(model).items():
        weight = (layer.weight_orig * layer.weight_mask).detach()
        prune.remove(layer, "weight")
        if hasattr(layer, "bias_mask"):
            prune.remove(layer, "bias")
        assert torch.equal(layer.weight, weight), name
        assert not prune.is_pruned(layer), name
    assert torch.equal(model(x), before)


def test_a_loaded_model_is_pruned_further(model: nn.Sequential) -> None:
    layer = linears(model)["SICSChaos"]
    left = int(layer.weight_mask.sum())
    sics.SICSMagnitude.apply(layer, "weight", 40)
    assert int(layer.weight_mask.sum()) == left - 40


def test_results_are_what_they_were(results: dict) -> None:
    report, channels, table, vector = (
        results[name] for name in ("PruningReport", "ChannelReport", "AdaptiveTable", "SaliencyVector")
    )
    for name in ("PruningReport", "ChannelReport", "LayerSparsity", "AdaptiveChoice", "AdaptiveTable", "Trial", "Saliency"):
        assert type(results[name]) is getattr(sics, name), name
    for name in ("SaliencyVector", "ChannelGroup", "Slice", "Units", "Calibration"):
        assert type(results[name]) is getattr(sics, name), name
    assert report.mask_hash == sics.mask_hash(results["masks"])
    assert report.mask_hash == "1d51bfb8ebc23bb2013a575cbef853f4153ef222593273202257de4afd157cd1"
    assert (report.scorer, report.choice) == ("chaos", results["AdaptiveChoice"])
    assert report.to_dict()["choice"]["reason"] == "κ = 2 above S = 0.75"
    assert (channels.unit, channels.pruned, channels.total) == ("head", 4, 8)
    assert table.choose(0.7, "gradient").trials == table.trials
    assert results["Trial"] == table.trials[0]
    assert (vector.kind, vector.numel()) == ("gradient", 16)
    assert type(vector * 1) is Tensor
    assert (results["ChannelGroup"].unit, results["ChannelGroup"].producer) == ("head", results["Slice"])


def test_a_saliency_has_its_values(results: dict) -> None:
    found = results["Saliency"]
    assert found.digest == "61d0611acf8782e0b254d21656bee8130602138e4fda739f6915427174b70e10"
    convolution = nn.Conv2d(4, 16, 3)
    model = nn.Sequential(convolution, nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 48))
    assert found.bind(model).tensor(convolution, "weight").shape == (16, 4, 3, 3)


def test_a_measurement_and_the_scorers_are_todays(results: dict) -> None:
    from sics_plugin.complexity import Complexity

    assert type(results["Complexity"]) is Complexity
    assert results["Complexity"].to_row()["scorer"] == "chaos"
    for name, scorer in results["Scorer"].items():
        assert type(scorer) is sics.get_scorer(name)
        assert scorer.fingerprint("gradient") == sics.build_scorer(name).fingerprint("gradient")


@pytest.mark.parametrize(
    ("module", "name"), [("model", "prune_model"), ("held_out_scores", "held_out_loss"), ("contract", "ContractError")]
)
def test_a_flat_module_of_then_is_reached_by_import_and_as_an_attribute(module: str, name: str) -> None:
    found = importlib.import_module(f"sics_plugin.{module}")
    assert getattr(found, name) is getattr(sics, name)
    assert getattr(sics, module) is found
