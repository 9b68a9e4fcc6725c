"""A saliency never changes a model: every kind on models that hold their parts in odd ways, also when something raises midway."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import Saliency
from sics_plugin.saliency.kinds import SIGNALS, Kind
from sics_plugin.saliency.unchanged import standing_in

KINDS = [kind for kind in get_args(Kind) if SIGNALS[kind].collect is not None]


class Aliased(nn.Module):
    """One norm under two names, whose bias is zero, as the values that stand in for it must not stay."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 4))
        self.norm = self.net[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Repeated(nn.Module):
    """A ModuleList of one layer three times, and a head that two names share."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(6, 6)
        nn.init.zeros_(layer.bias)
        self.layers, self.head = nn.ModuleList([layer] * 3), nn.Linear(6, 4)
        self.other_head = self.head

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


class Tied(nn.Module):
    """Two layers with one weight and biases that are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.two.weight = self.one.weight
        nn.init.zeros_(self.one.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.two(torch.tanh(self.one(x)))))


class Counts(nn.Module):
    """Writes its buffers and draws random numbers at every call, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 4))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.detach().mean().reshape(1)
        return self.fc(x) + 1e-3 * torch.rand(1)


def with_norms() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 4)).train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    return model


def spectral() -> nn.Module:
    old = nn.utils.spectral_norm(nn.Linear(8, 8))
    return nn.Sequential(nn.Linear(6, 8), old, nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), nn.Linear(8, 4))


def pruned() -> nn.Module:
    model = Aliased()
    prune.l1_unstructured(model.net[0], "weight", 0.5)
    return model


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.unflatten(1, (2, 3)))[0][:, -1])


MODELS: dict[str, Callable[[], nn.Module]] = {
    "aliased": Aliased,
    "repeated": Repeated,
    "tied": Tied,
    "counts": Counts,
    "norms": with_norms,
    "spectral": spectral,
    "pruned": pruned,
    "recurrent": Recurrent,
}


def bits(x: Tensor) -> bytes:
    return x.detach().clone().contiguous().view(torch.uint8).numpy().tobytes() if x.dim() else repr(x.item()).encode()


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything, objects by identity and values by their bits."""
    found: dict[str, Any] = {"random": bits(torch.get_rng_state())}
    for path, m in model.named_modules(remove_duplicate=False):
        found[path] = (id(m), m.training)
        for name, p in m._parameters.items():
            if p is not None:
                grad = None if p.grad is None else (id(p.grad), bits(p.grad))
                found[f"{path}.{name}"] = (id(p), type(p), p.requires_grad, grad, bits(p))
        for name, b in m._buffers.items():
            if b is not None:
                found[f"{path}.{name}"] = (id(b), bits(b))
        for name, value in m.__dict__.items():
            if isinstance(value, Tensor):
                found[f"{path}.{name}"] = (id(value), bits(value))
            elif name.endswith("_hooks"):
                found[f"{path}.{name}"] = list(value)
            elif name == "_flat_weights":
                found[f"{path}.{name}"] = [id(v) for v in value]
    return found


def batches(*, end: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        yield torch.randn(4, 6, generator=generator), torch.randint(4, (4,), generator=generator)
    if not end:
        raise OSError("disk gone")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("failing", ["", "batches", "loss"])
def test_everything_about_a_model_is_as_before(name: str, kind: Any, failing: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.full_like(p, 7.0)
    calls = 0

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if failing == "loss" and calls > 2:
            raise ArithmeticError("in the middle")
        value = nn.functional.cross_entropy(output, target)
        if calls == 1 and value.requires_grad and kind != "grasp":
            value.backward(retain_graph=True)  # adds to gradients that are not its own
        return value

    before = snapshot(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Saliency(model, batches(end=failing != "batches"), loss, kind=kind)
            raised = False
        except (OSError, ArithmeticError):
            raised = True
    assert raised == (failing == "batches" and kind != "synflow") or failing == "loss"
    after = snapshot(model)
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == set()


def test_other_values_leave_a_module_of_two_names_as_it_was() -> None:
    """torch's own functional_call leaves a plain tensor behind; should it be mended, this one may be replaced by it."""
    model = Aliased()
    bias = model.norm.bias
    with standing_in(model, [bias], [torch.full((8,), 2.0)]):
        assert model.net[1].bias.tolist() == [2.0] * 8
    assert model.norm.bias is bias
    assert model.net[1].bias is bias


def test_a_loader_that_shuffles_draws_on_and_the_model_does_not() -> None:
    """Batches drawn at random differ from one collection to the next; what the model draws is nobody's."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.arange(32.0).view(32, 1)), 4, shuffle=True)
    seen: list[list[float]] = []

    def drawn() -> Iterator[tuple[Tensor, Tensor]]:
        for (x,) in loader:
            seen[-1] += x.flatten().tolist()
            yield x.expand(4, 6), torch.zeros(4, dtype=torch.long)

    states = []
    for model in (Counts(), nn.Linear(6, 4)):
        torch.manual_seed(3)
        for _ in range(2):
            seen.append([])
            Saliency(model, drawn())
        states.append(bits(torch.get_rng_state()))
    assert seen[0] != seen[1]
    assert seen[:2] == seen[2:]
    assert states[0] == states[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lazy_module_is_refused_before_anything_is_changed(kind: Any) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LazyLinear(3))
    with pytest.raises(ValueError, match=r"1\.weight has no shape yet, its module is lazy: run one batch through"):
        Saliency(model, [(torch.randn(4, 8), torch.randint(3, (4,)))], kind=kind)
    assert model.training
    assert not any(m._forward_pre_hooks for m in model[:1])


def test_synaptic_flow_of_a_weight_that_the_model_also_holds_by_another_name() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    x = [(torch.randn(4, 8), None)]
    expected = Saliency(model, x, kind="synflow").tensor(model[0], "weight")
    model.first = model[0].weight
    assert torch.equal(Saliency(model, x, kind="synflow").tensor(model[0], "weight"), expected)
