"""The saliency of a seed's dense network, from its calibration batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sics_cli.seeds.saliency import saliency_of
from sics_cli.settings.config import Experiment
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.datasets import load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import train
from sics_plugin import Saliency, prunable_parameters

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["gradient", "activation"])
def test_the_saliency_is_that_of_the_calibration_batches(experiment: Experiment, kind: str) -> None:
    split, model = load_split(experiment.images.data), build_model(experiment.images.model, 0)
    train(model, replace(experiment.images.training, epochs=2), split, 0, CPU)
    examples = Examples(split.train, CPU)
    batches = calibration_batches(0, len(examples), 5, 48)
    pairs = [examples.at(torch.from_numpy(batch)) for batch in batches]
    found = saliency_of(model, kind, pairs)
    assert (found.kind, found.samples) == (kind, 240)
    expected = Saliency(model, pairs, nn.functional.cross_entropy, kind=kind)  # type: ignore[arg-type]
    for module, name in prunable_parameters(model):
        assert torch.equal(found.tensor(module, name), expected.tensor(module, name))
    assert saliency_of(model, kind, pairs).digest == found.digest
    assert saliency_of(model, kind, pairs[:4]).digest != found.digest


def test_the_neighbourhood_needs_no_batches(experiment: Experiment) -> None:
    model = build_model(experiment.images.model, 0)
    assert saliency_of(model, "neighbourhood", []).kind == "neighbourhood"


def test_a_network_without_numbers_has_no_saliency(experiment: Experiment) -> None:
    split, model = load_split(experiment.images.data), build_model(experiment.images.model, 0)
    examples = Examples(split.train, CPU)
    batches = calibration_batches(0, len(examples), 2, 16)
    with torch.no_grad():
        model.head.weight.fill_(1e38)  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match=r"finite loss on the calibration batches, got (nan|inf) on batch \d"):
        saliency_of(model, "gradient", [examples.at(torch.from_numpy(batch)) for batch in batches])
