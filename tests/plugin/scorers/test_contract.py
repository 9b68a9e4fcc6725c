"""A scorer that breaks the contract is told how, in one line; all built-in ones keep it."""

import random
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sics_plugin import Scorer, Units, check_scorer, list_scorers
from sics_plugin.scorers.contract import ContractError


def made(score: Any, **facts: Any) -> type[Scorer]:
    body = {"name": "mine", "kappa": 0, "summary": "", **facts, "score": lambda self, units, sparsity: score(units)}
    return type("Mine", (Scorer,), body)


@pytest.mark.parametrize("kind", ["gradient", "activation", None])
def test_built_in_scorers_keep_it(kind: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in list_scorers():
            assert check_scorer(name, saliency_kind=kind) == (), name


def forgetful(units: Units) -> Tensor:
    forgetful.calls += 1  # type: ignore[attr-defined]
    return units.magnitude + forgetful.calls  # type: ignore[attr-defined]


forgetful.calls = 0  # type: ignore[attr-defined]


BROKEN = {
    "shape": (lambda u: u.magnitude[:, None], r"scores have shape \(1024, 1\): expected \(1024,\)"),
    "scalar": (lambda u: u.magnitude.mean(), r"scores have shape \(\): expected"),
    "dtype": (lambda u: u.magnitude.argsort(), "scores are of type int64: expected a floating point"),
    "bool": (lambda u: u.magnitude > 0.5, "scores are of type bool"),
    "nan": (lambda u: u.magnitude / u.saliency, "its score is NaN for a unit of magnitude 0 and saliency 0"),
    "infinite": (lambda u: u.magnitude.log(), "its score is infinite for a unit of magnitude 0"),
    "forgets": (forgetful, "two calls with the same units give other scores"),
    "torch": (lambda u: torch.rand(u.magnitude.numel()), "draws from the global generator of torch"),
    "numpy": (lambda u: u.magnitude + np.random.rand(), "global generator of numpy"),  # noqa: NPY002
    "random": (lambda u: u.magnitude + random.random(), "global generator of random"),
    "weights": (lambda u: u.magnitude.mul_(2), "changes the magnitude it is given"),
    "saliency": (lambda u: u.magnitude * u.saliency.add_(1), "changes the saliency it is given"),
    "raises": (lambda u: u.nothing, "raises on 1024 units at S = 0.5: AttributeError"),
    "few": (lambda u: u.magnitude + 0 * u.magnitude.std(), "its score is NaN"),
    "list": (lambda u: u.magnitude.tolist(), "gives a list: expected a torch.Tensor"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_ones_are_told_how(case: str) -> None:
    score, words = BROKEN[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about the standard deviation of one value
        with pytest.raises(ContractError, match=words) as caught:
            check_scorer(made(score))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("scorer 'mine': ")


def test_global_generators_are_as_before() -> None:
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.raises(ContractError):
        check_scorer(made(lambda u: torch.rand(u.magnitude.numel()) + random.random() + np.random.rand()))  # noqa: NPY002
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == random.getstate()
    assert np.array_equal(state[2], np.random.get_state()[1])  # noqa: NPY002


def test_constant_and_half_precision_scores_are_remarked() -> None:
    with pytest.warns(UserWarning, match="all scores are equal"):
        (remark,) = check_scorer(made(lambda u: torch.ones(u.magnitude.numel())))
    assert "its mask is magnitude's" in remark
    with pytest.warns(UserWarning, match="float16 make many ties"):
        check_scorer(made(lambda u: u.magnitude.half()))


def test_a_seeded_one_and_one_that_requires_a_kind_are_fine() -> None:
    @dataclass(frozen=True)
    class Drawn(Scorer):
        seed: int = 0
        name, role, summary, requires = "drawn", "baseline", "", "activation"

        def score(self, units: Units, sparsity: float) -> Tensor:
            assert units.saliency_kind == "activation"
            return torch.rand(units.magnitude.numel(), generator=torch.Generator().manual_seed(self.seed))

    assert check_scorer(Drawn) == ()
    assert check_scorer(Drawn(seed=3)) == ()


def test_what_cannot_be_built_or_stored() -> None:
    @dataclass(frozen=True)
    class Needs(Scorer):
        width: int
        name, kappa, summary = "needs", 0, ""

        def score(self, units: Units, sparsity: float) -> Tensor:
            return units.magnitude

    @dataclass(frozen=True)
    class Holds(Scorer):
        table: Any = object
        name, kappa, summary = "holds", 0, ""

        def score(self, units: Units, sparsity: float) -> Tensor:
            return units.magnitude

    with pytest.raises(ContractError, match="Needs: cannot be built without arguments"):
        check_scorer(Needs)
    with pytest.raises(ContractError, match="'holds': its fingerprint is no JSON"):
        check_scorer(Holds())
    with pytest.raises(TypeError, match="Expected a scorer's name"):
        check_scorer(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Expected a scorer among"):
        check_scorer("nosuch")
