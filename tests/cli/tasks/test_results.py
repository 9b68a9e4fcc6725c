"""What an evaluation hands over: read whatever it is made of, refused in a line where it is no result."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.base.bits import count_bits, unpack_bits
from sics_cli.base.errors import ConfigError
from sics_cli.tasks.results import Evaluation, ResultError, evaluation_of, unpacked
from sics_cli.tasks.task import Metric

ACCURACY, NATS = Metric("accuracy"), Metric("loss", "nats", higher_is_better=False)
PERPLEXITY = Metric("perplexity", higher_is_better=False, of=lambda nll: math.exp(nll.mean()))
RIGHT = [True, False, True, True]


@pytest.mark.parametrize(
    "handed",
    [
        RIGHT, tuple(RIGHT), np.array(RIGHT), torch.tensor(RIGHT), np.array(RIGHT, dtype=np.uint8), torch.tensor(RIGHT).float(),
        torch.tensor(RIGHT).bfloat16(), [1, 0, 1, 1], [1.0, 0.0, 1.0, 1.0], {"accuracy": RIGHT}, [np.bool_(x) for x in RIGHT],
        torch.tensor(RIGHT).double().requires_grad_(),
    ],
)  # fmt: skip
def test_right_or_wrong_in_any_form_is_bits(handed: Any) -> None:
    found = evaluation_of(handed, ACCURACY)
    assert (found.correct, found.n, found.value, found.examples) == (3, 4, None, None)
    assert found.bits is not None
    assert unpack_bits(found.bits, 4).tolist() == RIGHT


@pytest.mark.parametrize(
    "handed", [[0.5, 2.0, 0.0], torch.tensor([0.5, 2.0, 0.0]), np.float16([0.5, 2, 0]), {"loss": [0.5, 2, 0]}]
)
def test_floats_are_kept_one_by_one(handed: Any) -> None:
    found = evaluation_of(handed, NATS)
    assert (found.correct, found.bits, found.n) == (None, None, 3)
    assert found.value == pytest.approx(2.5 / 3)
    assert found.examples is not None
    assert unpacked(found.examples).tolist() == [0.5, 2.0, 0.0]


@pytest.mark.parametrize("handed", [0.25, torch.tensor(0.25), np.float32(0.25), {"accuracy": 0.25}])
def test_one_number(handed: Any) -> None:
    assert evaluation_of(handed, ACCURACY) == Evaluation(None, None, None, None, 0.25)


@pytest.mark.parametrize("value", [0.25, 1.0])
def test_one_number_with_a_dimension_is_one_number(value: float) -> None:
    """Not one example, which would be right or wrong where the number is 0 or 1."""
    assert evaluation_of(torch.tensor([value]), ACCURACY) == evaluation_of(value, ACCURACY)
    assert evaluation_of([value], PERPLEXITY).n == 1


def test_a_metric_made_of_all_numbers() -> None:
    found = evaluation_of([0.0, math.log(4)], PERPLEXITY)
    assert found.value == pytest.approx(2.0)  # the geometric mean of 1 and 4
    ones = evaluation_of([1, 1, 0], PERPLEXITY)  # 0 and 1 alone are no bits here
    assert (ones.bits, ones.n) == (None, 3)
    assert ones.value == pytest.approx(math.exp(2 / 3))


@pytest.mark.parametrize("name", ["loss", "RMSE", "top-1 error", "neg_loss"])
def test_which_way_is_better_must_be_said_of_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="higher_is_better is not given: say which way is better, False where less is"):
        Metric(name)
    assert not Metric(name, higher_is_better=False).higher_is_better
    assert Metric(name, higher_is_better=True).higher_is_better
    assert Metric("F1").higher_is_better is True


def test_a_loss_beside_the_metric_is_its_mean() -> None:
    assert evaluation_of({"accuracy": RIGHT, "loss": [1.0, 2.0, 3.0, 6.0]}, ACCURACY).loss == 3.0
    assert evaluation_of({"accuracy": RIGHT, "loss": torch.tensor(0.5)}, ACCURACY).loss == 0.5
    assert evaluation_of({"loss": [1.0, 3.0]}, NATS).loss is None  # it is the metric


@pytest.mark.parametrize(
    ("handed", "metric", "words"),
    [
        (None, ACCURACY, "gave NoneType for accuracy: expected numbers, one an example, or one number"),
        ("94 %", ACCURACY, "gave str for accuracy"),
        (["right", "wrong"], ACCURACY, "gave list for accuracy"),
        (True, ACCURACY, "gave bool for accuracy"),
        (1j, NATS, "gave complex128 for loss"),
        ([Fraction(1, 2)], NATS, "gave list for loss"),
        ([], ACCURACY, "gave no numbers for accuracy"),
        (torch.ones(4, 1), ACCURACY, r"gave shape \(4, 1\) for accuracy: expected \(examples,\), or one number"),
        ([[1], [0]], ACCURACY, r"gave shape \(2, 1\)"),
        ([[1, 0], [1]], ACCURACY, "gave numbers of several lengths for accuracy"),
        ([0.5, math.nan], NATS, "gave nan for loss for example 1: expected finite numbers"),
        (torch.tensor([1.0, 1.0, -math.inf]), NATS, "gave -inf for loss for example 2"),
        (math.inf, NATS, "gave inf for loss: expected finite numbers"),
        (94.5, ACCURACY, "gave 94.5 for accuracy, whose unit is points: expected fractions from 0 to 1"),
        ([0.5, -0.1], ACCURACY, "gave -0.1 for accuracy"),
        ([0.5, 1.5], ACCURACY, "gave 1.5 for accuracy"),
        ({"acc": RIGHT}, ACCURACY, "gave acc: expected 'accuracy', and at most 'loss' beside it"),
        ({"loss": 1.0}, ACCURACY, "gave 'loss': expected 'accuracy'"),
        ({}, ACCURACY, "gave an empty mapping: expected 'accuracy'"),
        ({"accuracy": RIGHT, "loss": "low"}, ACCURACY, "gave str for loss"),
        ({"accuracy": RIGHT, "loss": [1.0, math.nan]}, ACCURACY, "gave nan for loss for example 1"),
        ({"accuracy": RIGHT, "loss": None}, ACCURACY, "gave NoneType for loss"),
        (1.5, PERPLEXITY, "gave one number for perplexity: expected one an example, which its `of` is made of"),
        ([1e4, 1e4], PERPLEXITY, "the metric's `of` raises OverflowError for 2 numbers"),
        ([1.0], Metric("x", of=lambda numbers: math.nan), "x is nan, not a finite number"),
        ([1.0], Metric("x", of=lambda numbers: "much"), "the metric's `of` raises ValueError for 1 numbers"),
        ([1e39, 0.5], NATS, "gave 1e\\+39 for loss for example 0: expected numbers that float32 holds"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused_in_a_line(handed: Any, metric: Metric, words: str) -> None:
    with pytest.raises(ResultError, match=words) as caught:
        evaluation_of(handed, metric)
    assert "\n" not in str(caught.value)


@given(st.lists(st.booleans(), min_size=2, max_size=70))
def test_bits_keep_every_example_in_its_place(right: list[bool]) -> None:
    found = evaluation_of(right, ACCURACY)
    assert found.bits is not None
    assert (found.n, found.correct) == (len(right), sum(right))
    assert unpack_bits(found.bits, len(right)).tolist() == right
    assert count_bits(found.bits) == sum(right)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30).filter(lambda xs: not set(xs) <= {0.0, 1.0}))
def test_floats_keep_every_example_in_its_place(numbers: list[float]) -> None:
    found = evaluation_of(numbers, NATS)
    assert found.examples is not None
    assert unpacked(found.examples).tolist() == numbers
    assert found.value == pytest.approx(math.fsum(numbers) / len(numbers), abs=1e-6)
