"""The saliency of a dense network by both paths."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sics_cli.experiment.calibrating import saliency_of
from sics_cli.experiment.config import Experiment
from sics_cli.experiment.datasets import load_split
from sics_cli.experiment.evaluation import part_on
from sics_cli.experiment.models import build_model
from sics_cli.experiment.streams import calibration_batches
from sics_cli.experiment.training import train
from sics_plugin import compute_masks, prunable_parameters

CPU = torch.device("cpu")


def test_both_paths_give_the_same_saliency(experiment: Experiment) -> None:
    split, model = load_split(experiment.data), build_model(experiment.model, 0)
    train(model, replace(experiment.training, epochs=2), split, 0, CPU, path="compact")
    examples = part_on(split.train, CPU)
    batches = calibration_batches(0, len(examples), 5, 48)
    plain, fast = (saliency_of(model, "gradient", examples, batches, path) for path in ("plain", "compact"))
    assert (fast.kind, fast.samples) == (plain.kind, plain.samples) == ("gradient", 240)
    for module, name in prunable_parameters(model):
        expected = plain.tensor(module, name)
        torch.testing.assert_close(fast.tensor(module, name), expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    masks = [compute_masks(model, "information", amount=0.5, saliency=saliency)[0] for saliency in (plain, fast)]
    differing = sum(int((masks[0][name] ^ masks[1][name]).sum()) for name in masks[0])
    assert differing <= 0.01 * sum(mask.numel() for mask in masks[0].values()), "by rounding alone"
    again = saliency_of(model, "gradient", examples, batches, "compact")
    assert again.digest == fast.digest


def test_activations_are_the_modules_own_and_the_neighbourhood_needs_no_batches(experiment: Experiment) -> None:
    split, model = load_split(experiment.data), build_model(experiment.model, 0)
    examples = part_on(split.train, CPU)
    batches = calibration_batches(0, len(examples), 2, 16)
    one, two = (saliency_of(model, "activation", examples, batches, path) for path in ("plain", "compact"))
    assert one.digest == two.digest
    assert saliency_of(model, "neighbourhood", examples, [], "compact").kind == "neighbourhood"


def test_a_network_without_numbers_has_no_saliency(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    split, model = load_split(experiment.data), build_model(experiment.model, 0)
    examples = part_on(split.train, CPU)
    batches = calibration_batches(0, len(examples), 2, 16)
    monkeypatch.setattr("sics_cli.experiment.trainers.SAME_LOGITS", float("inf"))
    with torch.no_grad():
        model.head.weight.fill_(1e38)  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match=r"finite loss on the calibration batches, got (nan|inf) on batch \d"):
        saliency_of(model, "gradient", examples, batches, "compact")
