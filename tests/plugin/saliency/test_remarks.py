"""A saliency that says nothing says so: zero, constant, rounding; and no false alarm where a network is simply good."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import Saliency, channel_group, compute_masks, prune_channels, prune_model
from sics_plugin.saliency.objective import AT_ROUNDING, CONSTANT, ZERO

functional = nn.functional
KINDS = ["gradient", "snip", "grasp", "taylor", "fisher", "sensitivity"]


def network(outputs: int = 4, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, outputs)).to(dtype)


def inputs(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(16, 8, generator=generator).to(dtype) for _ in range(3)]


def probabilities(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        return [(x, model(x).softmax(-1)) for x in inputs()]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_as_their_own_target_say_nothing(kind: Any) -> None:
    model = network()
    with torch.no_grad():
        same = [(x, model(x)) for x in inputs()]
    if kind == "grasp":  # the curvature of a squared error is there; the gradient that it is multiplied with is not
        with pytest.warns(UserWarning, match=ZERO):
            assert Saliency(model, same, functional.mse_loss, kind=kind).flags == (ZERO,)
    else:
        with pytest.warns(UserWarning, match=rf"{ZERO} .*give the labels of the data, not the model's own outputs"):
            assert Saliency(model, same, functional.mse_loss, kind=kind).flags == (ZERO,)
    with pytest.warns(UserWarning, match=rf"{AT_ROUNDING} .*not the model's own outputs"):
        found = Saliency(model, probabilities(model), kind=kind)
    assert found.flags == (AT_ROUNDING,)
    assert 0 < float(found.tensor(model[0], "weight").abs().max()) < 1e-6


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("outputs", [2, 100])
def test_rounding_is_seen_of_flat_and_of_certain_outputs(scale: float, outputs: int) -> None:
    model = network(outputs)
    with torch.no_grad():
        model[4].weight.mul_(scale)
    with pytest.warns(UserWarning, match="a scorer learns nothing from it"):
        assert Saliency(model, probabilities(model)).flags == (AT_ROUNDING,)
    with torch.no_grad():  # by another road to the same numbers
        again = [(x, torch.cat([model(row) for row in x.split(1)])) for x in inputs()]
        again = [(x, y * (1 + 1e-7)) for x, y in again]
    with pytest.warns(UserWarning, match="a scorer learns nothing from it"):
        assert Saliency(model, again, functional.mse_loss).flags[0] in (AT_ROUNDING, ZERO)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("certainty", [1e-2, 1e-4, 1e-6])
def test_a_network_that_is_right_with_certainty_is_no_false_alarm(kind: Any, certainty: float) -> None:
    """Labels are right everywhere, and the loss is about as large as said."""
    model = network()
    batches = [(x, model(x).argmax(-1)) for x in inputs()]
    with torch.no_grad():
        model[4].weight.mul_(1 / max(certainty, 1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        def loss(output: Tensor, target: Tensor) -> Tensor:
            right = functional.one_hot(target, 4) * float(-torch.log(torch.tensor(certainty)))
            return functional.cross_entropy(output + right, target)

        assert Saliency(model, batches, loss, kind=kind).flags == ()


@pytest.mark.parametrize("hard", ["one-hot", "binary"])
def test_labels_as_numbers_0_and_1_are_no_false_alarm(hard: str) -> None:
    """A network that is right with a probability of 1 − 1e-6 and more: what is left of 1 − p is exact."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False))
    labels = torch.arange(16) % 4
    x = functional.one_hot(labels, 4).float()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4) * 32 - 16)
    loss = functional.cross_entropy if hard == "one-hot" else functional.binary_cross_entropy_with_logits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Saliency(model, [(x, x)], loss)
    assert found.flags == ()
    expected = (model(x).softmax(-1) if hard == "one-hot" else model(x).sigmoid()).detach() - x
    assert float(expected.abs().max()) < 2e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_tenth_of_an_error_in_16_bits_is_no_rounding(dtype: torch.dtype) -> None:
    model = network(1, dtype)
    with torch.no_grad():
        off = [(x, model(x) * (1 + 0.1 * torch.randn(16, 1).to(dtype))) for x in inputs(dtype)]
        last = [(x, model(x) * (1 + torch.finfo(dtype).eps / 2)) for x in inputs(dtype)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Saliency(model, off, functional.mse_loss).flags == ()
    with pytest.warns(UserWarning, match="a scorer learns nothing from it"):
        assert Saliency(model, last, functional.mse_loss).flags[0] in (AT_ROUNDING, ZERO)


@pytest.mark.parametrize("away", [1e-5, 1e-3])
def test_students_close_to_their_teacher_are_no_false_alarm(away: float) -> None:
    teacher = network()
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.randn_like(p) * away)
        outputs = [(x, teacher(x)) for x in inputs()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Saliency(student, outputs, functional.mse_loss).flags == ()
        assert Saliency(student, probabilities(teacher)).flags == ()
        assert Saliency(student, outputs, functional.l1_loss).flags == ()


def test_a_loss_in_small_units_and_one_with_weight_decay_are_no_false_alarm() -> None:
    model = network()
    batches = [(x, torch.randint(4, (16,))) for x in inputs()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Saliency(model, batches, lambda o, t: 1e-30 * functional.cross_entropy(o, t), kind="fisher").flags == ()
        decayed = Saliency(
            model,
            probabilities(model),
            lambda o, t: functional.cross_entropy(o, t) + sum(p.square().sum() for p in model.parameters()),
        )
        assert decayed.flags == ()


def test_one_batch_that_says_something_is_enough() -> None:
    model = network()
    batches = probabilities(model)
    batches[1] = (batches[1][0], batches[1][1].roll(1, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Saliency(model, batches).flags == ()


def test_reports_carry_what_a_saliency_says_of_itself() -> None:
    model = network()
    with pytest.warns(UserWarning, match="a scorer learns nothing from it"):
        saliency = Saliency(model, probabilities(model))
    for found in (saliency, pickle.loads(pickle.dumps(saliency)).bind(model)):
        assert AT_ROUNDING in compute_masks(model, "information", amount=0.5, saliency=found)[1].flags
        assert AT_ROUNDING in compute_masks(model, "information", amount=0.5, saliency=found, pool="layer")[1].flags
    groups = [channel_group(model, "0", "2")]
    assert AT_ROUNDING in prune_channels(copy.deepcopy(model), "information", 0.5, saliency=saliency, groups=groups).flags
    assert AT_ROUNDING in prune_model(model, "information", amount=0.5, saliency=saliency, finalize=True).flags


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_vectors_that_say_nothing_are_flagged_in_the_pool(value: float) -> None:
    model = network()
    n = sum(m.weight.numel() for m in (model[0], model[2]))
    report = prune_model(copy.deepcopy(model), "chaos", amount=0.5, saliency=torch.full((n,), value), exact=True)
    assert CONSTANT in report.flags
    assert CONSTANT not in prune_model(model, "chaos", amount=0.5, saliency=torch.rand(n), exact=True).flags


def test_inputs_of_one_size_are_a_constant_saliency() -> None:
    layer = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    nn.init.zeros_(layer[0].weight)
    nn.init.ones_(layer[0].bias)
    with pytest.warns(UserWarning, match=rf"{CONSTANT} \(kind 'activation'\); .*look at the batches"):
        assert Saliency(layer, [(torch.ones(4, 6), None)], kind="activation").flags == (CONSTANT,)


def test_an_older_pickle_has_nothing_to_say() -> None:
    saliency = Saliency(network(), [(inputs()[0], torch.zeros(16, dtype=torch.long))])
    saliency.__dict__.pop("flags")
    saliency.__dict__.pop("read_elsewhere")
    assert (saliency.flags, saliency.read_elsewhere) == ((), frozenset())
