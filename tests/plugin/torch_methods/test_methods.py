"""The torch methods: thirteen classes over four call paths, first and repeated prunes, against the reference."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin
from sics_plugin import (
    CoordinateUnresolvedWarning,
    SaliencyVector,
    SICSAdaptive,
    SICSChaos,
    SICSGradient,
    SICSInformation,
    SICSMagnitude,
    SICSMethod,
    SICSRandom,
    method_for,
)

NAMES = [
    "magnitude",
    "power",
    "log",
    "bump",
    "smooth_chaos",
    "smooth_mouse",
    "chaos",
    "wiggle",
    "fake",
    "information",
    "gradient",
    "random",
    "adaptive",
]
CLASSES = {
    "magnitude": "SICSMagnitude",
    "power": "SICSPower",
    "log": "SICSLog",
    "bump": "SICSBump",
    "smooth_chaos": "SICSSmoothChaos",
    "smooth_mouse": "SICSSmoothMouse",
    "chaos": "SICSChaos",
    "wiggle": "SICSWiggle",
    "fake": "SICSFake",
    "information": "SICSInformation",
    "gradient": "SICSGradient",
    "random": "SICSRandom",
    "adaptive": "SICSAdaptive",
}
N = 600  # two magnitude bins


class Vector:
    """One vector of N weights behind one of torch's call paths; ``prune`` may be called again and again."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.kept = torch.ones(len(weights), dtype=torch.bool)

    def prune(self, cls: type[SICSMethod], amount: float | int, saliency: Tensor | None, **kwargs: object) -> None:
        raise NotImplementedError


class Global(Vector):
    """``prune.global_unstructured`` over three parameters of two modules."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__(weights)
        self.a, self.b = nn.Module(), nn.Module()
        self.a.weight = nn.Parameter(weights[:300].reshape(15, 20).clone())
        self.a.bias = nn.Parameter(weights[300:340].clone())
        self.b.weight = nn.Parameter(weights[340:].reshape(2, 13, 10).clone())
        self.pairs = [(self.a, "weight"), (self.a, "bias"), (self.b, "weight")]

    def prune(self, cls, amount, saliency, **kwargs) -> None:
        prune.global_unstructured(self.pairs, pruning_method=cls, amount=amount, saliency=saliency, **kwargs)
        self.kept = torch.cat([getattr(m, f"{n}_mask").reshape(-1) for m, n in self.pairs]) != 0


class Apply(Vector):
    """``Cls.apply(module, name, amount=…)``: the full shape first, a 1-D slice when repeated."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__(weights)
        self.module = nn.Module()
        self.module.weight = nn.Parameter(weights.reshape(20, 30).clone())

    def prune(self, cls, amount, saliency, **kwargs) -> None:
        cls.apply(self.module, "weight", amount, saliency=saliency, **kwargs)
        self.kept = self.module.weight_mask.reshape(-1) != 0


class Instance(Vector):
    """``Cls(amount).prune(t, default_mask)``: the caller's mask holds zeros when repeated."""

    def prune(self, cls, amount, saliency, **kwargs) -> None:
        mask = None if bool(self.kept.all()) else self.kept.reshape(30, 20).float()
        self.kept = cls(amount, saliency, **kwargs).prune(self.weights.reshape(30, 20), mask).reshape(-1) != 0


class Direct(Vector):
    """``Cls(amount).compute_mask(t, default_mask)``."""

    def prune(self, cls, amount, saliency, **kwargs) -> None:
        self.kept = cls(amount, saliency, **kwargs).compute_mask(self.weights, self.kept.to(self.weights.dtype)) != 0


PATHS = [Global, Apply, Instance, Direct]


def saliency_for(name: str, values: Tensor | None) -> Tensor | None:
    return None if values is None else SaliencyVector(values, kind="gradient") if name == "gradient" else values


# --- what the classes are -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_scorer_has_a_short_class_with_its_name_kappa_and_formula(name: str) -> None:
    cls = getattr(sics_plugin, CLASSES[name])
    assert method_for(name) is cls
    assert issubclass(cls, prune.BasePruningMethod)
    assert (cls.name, cls.kappa, cls.PRUNING_TYPE) == (name, sics_plugin.get_scorer(name).kappa, "unstructured")
    own = {key for key in vars(cls) if not key.startswith("_")}
    assert own <= {"scorer_class", "name", "kappa"}
    if name != "adaptive":
        assert "=" in cls.__doc__ or "uniform" in cls.__doc__
    if cls.kappa is not None:
        assert f"κ = {cls.kappa}" in cls.__doc__
    assert CLASSES[name] in sics_plugin.__all__


def test_method_for_refuses_names_without_a_method() -> None:
    with pytest.raises(ValueError, match="got 'nobody'"):
        method_for("nobody")


# --- thirteen classes, four paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("supplied", [True, False], ids=["saliency", "default"])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "random"])
def test_three_prunes_equal_the_reference(
    name: str, supplied: bool, path: type[Vector], reference: ModuleType, distinct: Callable[..., Tensor]
) -> None:
    weights = distinct(N, seed=7)
    values = torch.rand(N, generator=torch.Generator().manual_seed(9)) + 0.01
    cls, subject = method_for(name), path(weights)
    if name == "gradient" and not supplied:
        with pytest.raises(ValueError, match="needs gradient saliency, got none"):
            subject.prune(cls, 0.5, None)
        return
    expected = torch.ones(N, dtype=torch.bool)
    for amount in (0.3, 77, 0.21):
        left = expected.nonzero().squeeze(1)
        c = values[left] if supplied else None
        keep = reference.keep(name, weights[left].abs().tolist(), amount, None if c is None else c.tolist())
        expected[left] = torch.from_numpy(keep)
        subject.prune(cls, amount, saliency_for(name, c))
        assert torch.equal(subject.kept, expected)


@pytest.mark.parametrize("sparsity", [None, 0.5, 0.9])
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.__name__)
def test_random_is_the_same_on_every_path_and_seeded(path: type[Vector], sparsity: float | None, distinct) -> None:
    weights = distinct(N)
    subject, again, other, plain = (kind(weights) for kind in (path, path, path, Direct))
    for amount in (0.4, 50, 0.5):
        for vector, seed in [(subject, 3), (again, 3), (other, 4), (plain, 3)]:
            before = int(vector.kept.sum())
            vector.prune(SICSRandom, amount, None, seed=seed, sparsity=sparsity)
            assert before - int(vector.kept.sum()) == (amount if isinstance(amount, int) else round(amount * before))
    assert torch.equal(subject.kept, again.kept)
    assert torch.equal(subject.kept, plain.kept)
    assert not torch.equal(subject.kept, other.kept)


@pytest.mark.parametrize("path", [Instance, Direct], ids=lambda p: p.__name__)
def test_a_saliency_over_everything_or_over_what_is_left(path: type[Vector], distinct) -> None:
    """With zeros in the mask both lengths have one meaning; the kind survives."""
    weights, values = distinct(N), torch.rand(N)
    for name in ("chaos", "gradient"):
        results = []
        for full in (True, False):
            subject = path(weights)
            subject.prune(SICSMagnitude, 0.4, None)
            c = values if full else values[subject.kept]
            subject.prune(method_for(name), 0.5, saliency_for(name, c))
            results.append(subject.kept)
        assert torch.equal(*results)


def test_only_survivors_are_ranked_and_counted() -> None:
    t = torch.tensor([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    mask = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    # round(0.5·5) = 2 of the five survivors
    assert SICSMagnitude(0.5).prune(t, mask).tolist() == pytest.approx([0, 0, 0, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int64, torch.bfloat16])
def test_mask_comes_back_in_the_callers_dtype(dtype: torch.dtype) -> None:
    given = torch.tensor([1, 0, 1, 1]).to(dtype)
    mask = SICSMagnitude(1).compute_mask(torch.tensor([3.0, 1.0, 1.0, 2.0]), given)
    assert (mask.dtype, mask.tolist()) == (dtype, torch.tensor([1, 0, 0, 1]).to(dtype).tolist())
    assert given.tolist() == torch.tensor([1, 0, 1, 1]).to(dtype).tolist()  # the caller's own mask is untouched


# --- importance scores and the absolute sparsity --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["magnitude", "chaos", "log", "gradient", "adaptive"])
def test_importance_scores_stand_for_the_weights(name: str, distinct) -> None:
    """Their absolute value is the magnitude, on every path that takes them."""
    weights, importance, c = distinct(N, 1), distinct(N, 2), torch.rand(N) + 0.1
    cls, saliency = method_for(name), saliency_for(name, c)
    expected = cls(0.6, saliency).compute_mask(importance, torch.ones(N)) != 0
    assert torch.equal(cls(0.6, saliency).prune(weights, importance_scores=importance) != 0, expected)
    layer = nn.Linear(30, 20)
    cls.apply(layer, "weight", 0.6, saliency=saliency, importance_scores=importance.reshape(20, 30))
    assert torch.equal(layer.weight_mask.reshape(-1) != 0, expected)
    layer = nn.Linear(30, 20)
    scores = {(layer, "weight"): importance.reshape(20, 30)}
    prune.global_unstructured([(layer, "weight")], cls, importance_scores=scores, amount=0.6, saliency=saliency)
    assert torch.equal(layer.weight_mask.reshape(-1) != 0, expected)


def test_apply_takes_positional_arguments_in_torchs_order() -> None:
    """``L1Unstructured.apply(module, name, amount, importance_scores)``; a SICS class in its place must not ignore the scores."""
    ours, torchs = nn.Linear(8, 8), nn.Linear(8, 8)
    importance = torch.rand(8, 8)
    prune.L1Unstructured.apply(torchs, "weight", 0.5, importance)
    try:
        SICSMagnitude.apply(ours, "weight", 0.5, importance)
    except TypeError:
        return  # refusing is fine, too
    assert torch.equal(ours.weight_mask, torchs.weight_mask)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.__name__)
def test_sparsity_is_what_features_are_told(path: type[Vector], reference: ModuleType, distinct) -> None:
    """A later step towards S = 0.8 has its bump at 0.8; without ``sparsity=`` it is at the fraction this step removes."""
    weights, c = distinct(N), torch.rand(N)
    told, untold = path(weights), path(weights)
    told.prune(method_for("bump"), 0.5, c, sparsity=0.8)
    untold.prune(method_for("bump"), 0.5, c)
    m = weights.abs().tolist()
    assert np.array_equal(told.kept.numpy(), reference.keep("bump", m, 0.5, c.tolist(), sparsity=0.8))
    assert np.array_equal(untold.kept.numpy(), reference.keep("bump", m, 0.5, c.tolist()))
    assert not torch.equal(told.kept, untold.kept)


def test_alpha_reaches_the_scorer_on_every_path(reference: ModuleType, distinct) -> None:
    weights, c = distinct(N), torch.rand(N)
    expected = reference.keep("chaos", weights.abs().tolist(), 0.5, c.tolist(), alpha=0.4)
    for path in PATHS:
        subject = path(weights)
        subject.prune(SICSChaos, 0.5, c, alpha=0.4)
        assert np.array_equal(subject.kept.numpy(), expected)


def test_adaptive_takes_its_class_from_the_fraction_or_the_sparsity(distinct) -> None:
    weights, c = distinct(N), torch.rand(N)
    ones = torch.ones(N)
    for amount, sparsity, name in [
        (0.64, None, "magnitude"),
        (0.65, None, "smooth_chaos"),
        (0.75, None, "smooth_chaos"),
        (0.76, None, "chaos"),
        (0.2, 0.8, "chaos"),
        (0.9, 0.6, "magnitude"),
    ]:
        found = SICSAdaptive(amount, c, sparsity=sparsity).compute_mask(weights, ones)
        assert torch.equal(found, method_for(name)(amount, c, sparsity=sparsity).compute_mask(weights, ones))
        assert torch.equal(SICSAdaptive(amount).compute_mask(weights, ones), SICSMagnitude(amount).compute_mask(weights, ones))


# --- instances, hooks and pickles -----------------------------------------------------------------------------------------


def test_saliency_is_released_once_the_mask_is_made_and_the_pickle_is_small() -> None:
    layer = nn.Linear(300, 400)
    hook = SICSChaos.apply(layer, "weight", 0.5, saliency=SaliencyVector(torch.rand(120_000), kind="gradient"))
    assert hook.saliency is None
    assert len(pickle.dumps(hook)) < 2000
    assert not [value for value in vars(hook).values() if isinstance(value, Tensor)]
    (registered,) = layer._forward_pre_hooks.values()
    assert registered is hook


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_module_pickles_with_its_hook_and_still_works(name: str) -> None:
    layer = nn.Linear(30, 20)
    saliency = saliency_for(name, torch.rand(600))
    method_for(name).apply(layer, "weight", 0.5, saliency=saliency)
    method_for(name).apply(
        layer, "weight", 0.5, saliency=None if saliency is None else SaliencyVector(torch.rand(300), "gradient")
    )
    x, buffer = torch.randn(3, 30), io.BytesIO()
    expected = layer(x)
    layer.weight = layer.weight.detach()  # torch pickles leaves only
    torch.save(layer, buffer)
    buffer.seek(0)
    twin = torch.load(buffer, weights_only=False)
    assert torch.equal(twin(x), expected)
    assert prune.is_pruned(twin)


def test_a_released_instance_refuses_to_make_another_mask() -> None:
    method = SICSChaos(0.5, torch.rand(300))
    method.compute_mask(torch.randn(300), torch.ones(300))
    with pytest.raises(RuntimeError, match="has made its mask and released its saliency"):
        method.compute_mask(torch.randn(300), torch.ones(300))


def test_an_instance_without_saliency_may_be_used_again() -> None:
    t, method = torch.randn(300), SICSChaos(0.5)
    first = method.compute_mask(t, torch.ones(300))
    assert torch.equal(method.compute_mask(t, torch.ones(300)), first)


def test_prune_keeps_the_saliency_so_an_instance_may_be_used_again() -> None:
    t, method = torch.randn(300), SICSChaos(0.5, torch.rand(300))
    first = method.prune(t)
    assert torch.equal(method.prune(t), first)
    with pytest.raises(ValueError, match="length 200"):
        method.prune(t[:200])
    assert torch.equal(method.prune(t), first)


def test_a_hook_that_released_its_saliency_never_goes_on_without_it() -> None:
    hook = SICSChaos.apply(nn.Linear(20, 20), "weight", 0.5, saliency=torch.rand(400))
    for _ in range(3):
        with pytest.raises(RuntimeError, match="released its saliency"):
            hook.prune(torch.randn(400))


def test_a_saliency_vector_pickles_copies_and_prints_its_kind() -> None:
    vector = SaliencyVector(torch.rand(5), kind="activation")
    for twin in (pickle.loads(pickle.dumps(vector)), copy.copy(vector), copy.deepcopy(vector)):
        assert (type(twin), twin.kind) == (SaliencyVector, "activation")
        assert torch.equal(twin.as_subclass(Tensor), vector.as_subclass(Tensor))
    assert repr(vector) == "SaliencyVector(n=5, kind='activation')"
    assert type(vector + 1) is Tensor


def test_a_saliency_vector_of_something_that_requires_grad_does_not() -> None:
    assert not SaliencyVector(torch.rand(3, requires_grad=True), kind="gradient").requires_grad


# --- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_and_nothing_changes(path: type[Vector], bad: float, distinct) -> None:
    weights = distinct(N)
    weights[[17, 400]] = bad
    subject = path(weights)
    with pytest.raises(ValueError, match="finite values to prune, got 2 NaN or infinite of 600"):
        subject.prune(SICSMagnitude, 0.5, None)
    for module in (getattr(subject, attribute, None) for attribute in ("a", "b", "module")):
        assert module is None or not prune.is_pruned(module)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.__name__)
@pytest.mark.parametrize(
    ("saliency", "error", "match"),
    [
        (torch.rand(599), ValueError, "`saliency` of length 600, one value per unit that is still there, got 599"),
        (torch.rand(1), ValueError, "length 600.*got 1"),
        (torch.tensor([math.nan] * 600), ValueError, "finite `saliency`, got 600 NaN or infinite of 600"),
        (torch.tensor([math.inf] * 600), ValueError, "finite `saliency`"),
        (torch.ones(600, dtype=torch.int64), TypeError, "`saliency` of a floating point type, got torch.int64"),
        ([1.0] * 600, TypeError, "`saliency` to be a tensor from Saliency.vector"),
    ],
    ids=["short", "one", "nan", "inf", "int", "list"],
)
@pytest.mark.parametrize("name", ["magnitude", "chaos"])
def test_bad_saliencies_are_refused_even_where_they_are_not_needed(name, path, saliency, error, match, distinct) -> None:
    with pytest.raises(error, match=match):
        path(distinct(N)).prune(method_for(name), 0.5, saliency)


@pytest.mark.parametrize("kind", ["activation", "neighbourhood", "supplied"])
def test_gradient_refuses_other_kinds(kind: str, distinct) -> None:
    with pytest.raises(ValueError, match=f"needs gradient saliency, got '{kind}'"):
        SICSGradient(0.5, SaliencyVector(torch.rand(N), kind=kind)).prune(distinct(N))
    with pytest.raises(ValueError, match="got 'supplied'"):
        SICSGradient(0.5, torch.rand(N)).prune(distinct(N))


@pytest.mark.parametrize("name", NAMES)
def test_empty_tensors_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least one unit to rank, got none"):
        method_for(name)(0.5).prune(torch.empty(0))
    with pytest.raises(ValueError, match="at least one unit to rank, got none"):
        method_for(name)(0.5).prune(torch.ones(3), torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64])
def test_only_floating_point_is_pruned(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match="floating point"):
        SICSMagnitude(0.5).prune(torch.ones(4).to(dtype))


@pytest.mark.parametrize(
    ("cls", "unknown"), [(SICSMagnitude, "alpha"), (SICSChaos, "seed"), (SICSRandom, "alpha"), (SICSChaos, "amonut")]
)
def test_unknown_parameters_are_refused_by_name(cls: type[SICSMethod], unknown: str) -> None:
    with pytest.raises(TypeError, match=unknown):
        cls(0.5, **{unknown: 1})


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"default mask of shape \(4,\), got \(2, 2\)"):
        SICSMagnitude(0.5).compute_mask(torch.ones(4), torch.ones(2, 2))


@pytest.mark.parametrize("second", [{"amount": 1.5}, {"amount": 0.5, "saliency": torch.rand(7)}, {"amount": 10**6}])
def test_a_second_apply_that_fails_leaves_the_module_pruned_as_it_was(second: dict) -> None:
    """torch takes the old hook away before it asks the new method: without it the weight goes stale silently."""
    layer = nn.Linear(20, 20)
    SICSMagnitude.apply(layer, "weight", 0.5)
    mask = layer.weight_mask.clone()
    with pytest.raises(ValueError, match="Expected"):
        SICSChaos.apply(layer, "weight", **second)
    assert prune.is_pruned(layer)
    assert torch.equal(layer.weight_mask, mask)
    with torch.no_grad():
        layer.weight_orig.fill_(2.0)
    layer(torch.ones(1, 20))
    assert torch.equal(layer.weight, 2.0 * mask)


def test_a_third_apply_that_fails_leaves_no_saliency_on_the_hook() -> None:
    """From the second prune on torch keeps a container, and has put the failed method into it already."""
    layer = nn.Linear(20, 20)
    for _ in range(2):
        SICSMagnitude.apply(layer, "weight", 0.5)
    before = len(pickle.dumps(next(iter(layer._forward_pre_hooks.values()))))
    with pytest.raises(ValueError, match="`saliency` of length 100"):
        SICSChaos.apply(layer, "weight", 0.5, saliency=torch.rand(100_000))
    (container,) = layer._forward_pre_hooks.values()
    assert len(container) == 2
    assert len(pickle.dumps(container)) == before
    SICSMagnitude.apply(layer, "weight", 10)
    assert int(layer.weight_mask.sum()) == 90


@pytest.mark.parametrize("kwargs", [{"amount": 1.5}, {"amount": 0.5, "saliency": torch.rand(7)}])
def test_a_first_apply_that_fails_leaves_the_module_dense(kwargs: dict) -> None:
    layer = nn.Linear(20, 20)
    weight = layer.weight
    with pytest.raises(ValueError, match="Expected"):
        SICSChaos.apply(layer, "weight", **kwargs)
    assert layer.weight is weight
    assert not prune.is_pruned(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"]


# --- odd tensors ----------------------------------------------------------------------------------------------------------


def test_a_tensor_that_requires_grad_is_ranked_without_a_graph(distinct) -> None:
    t = distinct(N).requires_grad_()
    mask = SICSChaos(0.5, torch.rand(N).requires_grad_()).compute_mask(t, torch.ones(N))
    assert not mask.requires_grad
    SICSChaos(0.5).prune(t).sum().backward()
    assert t.grad is not None
    assert set(t.grad.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("t", [torch.tensor(3.0), torch.tensor([3.0]), torch.tensor([[[3.0]]])])
@pytest.mark.parametrize("amount", [0, 0.0, 0.5, 1, 1.0])
@pytest.mark.filterwarnings("ignore::sics_plugin.CoordinateUnresolvedWarning")
def test_tensors_of_one_element(t: Tensor, amount: float | int) -> None:
    for name in NAMES:
        if name != "gradient":
            pruned = method_for(name)(amount).prune(t)
            assert pruned.shape == t.shape
            assert pruned.item() == (0.0 if amount in (1, 1.0) else 3.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::sics_plugin.CoordinateUnresolvedWarning")
def test_all_zero_weights_lose_exactly_k(name: str) -> None:
    saliency = SaliencyVector(torch.rand(100), kind="gradient")
    mask = method_for(name)(0.3, saliency).compute_mask(torch.zeros(100), torch.ones(100))
    assert int((mask == 0).sum()) == 30
    if name in ("magnitude", "power", "log", "gradient"):
        assert mask[:30].sum() == 0  # ties: the earlier position goes first


def test_ties_go_by_position() -> None:
    assert SICSMagnitude(2).compute_mask(torch.tensor([1.0, -0.5, 0.5, -0.5]), torch.ones(4)).tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("amount", [0, 0.0, 1.0, N])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "gradient"])
def test_nothing_and_everything(name: str, amount: float | int, distinct) -> None:
    mask = method_for(name)(amount).compute_mask(distinct(N), torch.ones(N))
    assert int(mask.sum()) == (0 if amount in (1.0, N) else N)


def test_weights_that_are_not_contiguous_are_ranked_in_their_logical_order(distinct) -> None:
    t = distinct(N).reshape(20, 30).t()
    for cls in (SICSMagnitude, SICSInformation, SICSChaos):
        mask = cls(0.5).compute_mask(t, torch.ones_like(t))
        assert mask.is_contiguous()
        assert torch.equal(mask, cls(0.5).compute_mask(t.contiguous(), torch.ones(30, 20)))
    every_other = distinct(2 * N)[::2]
    assert torch.equal(SICSChaos(0.5).prune(every_other), SICSChaos(0.5).prune(every_other.clone()))
    channels_last = distinct(N).reshape(5, 6, 4, 5).to(memory_format=torch.channels_last)
    assert torch.equal(SICSChaos(0.5).prune(channels_last), SICSChaos(0.5).prune(channels_last.contiguous()))


def test_float64_weights_are_ranked_in_float64() -> None:
    """Two values that float32 cannot tell apart."""
    t = torch.tensor([1.0 + 2e-12, 1.0, 1.0 + 1e-12], dtype=torch.float64)
    for name in ("magnitude", "power", "log"):
        assert method_for(name)(1).compute_mask(t, torch.ones(3)).tolist() == [1, 0, 1]
        assert method_for(name)(2).compute_mask(t, torch.ones(3)).tolist() == [1, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "random"])
def test_half_precision_weights_give_the_mask_of_their_float32_values(name: str, dtype: torch.dtype, distinct) -> None:
    t, c = distinct(N).to(dtype), SaliencyVector(torch.rand(N), kind="gradient")
    half = method_for(name)(0.5, c).compute_mask(t, torch.ones_like(t))
    assert half.dtype == dtype
    assert torch.equal(half != 0, method_for(name)(0.5, c).compute_mask(t.float(), torch.ones(N)) != 0)


# --- the warning for too few units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "information"])
def test_fewer_than_512_units_are_warned_about(name: str, distinct, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.warns(CoordinateUnresolvedWarning, match=f"coordinate unresolved: {name} on 511 units"):
        method_for(name)(0.5).prune(distinct(511))
    recwarn.clear()
    method_for(name)(0.5).prune(distinct(512))
    assert not recwarn.list


@pytest.mark.parametrize("name", ["magnitude", "power", "log", "fake", "random"])
def test_classes_without_a_coordinate_do_not_warn(name: str, distinct, no_warnings: None) -> None:
    method_for(name)(0.5).prune(distinct(20))


def test_adaptive_warns_only_where_it_uses_a_coordinate(distinct, recwarn: pytest.WarningsRecorder) -> None:
    SICSAdaptive(0.5, torch.rand(20)).prune(distinct(20))
    assert not recwarn.list
    with pytest.warns(CoordinateUnresolvedWarning):
        SICSAdaptive(0.7, torch.rand(20)).prune(distinct(20))
