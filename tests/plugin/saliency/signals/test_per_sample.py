"""Gradients of single samples, layer by layer, against one sample after another; and what must not be taken so."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import Saliency
from sics_plugin.saliency.objective import Objective
from sics_plugin.saliency.signals.per_sample import per_sample

Batches = list[tuple[Tensor, Tensor]]


def by_loop(model: nn.Module, batches: Batches, loss: Callable[..., Tensor] = nn.functional.cross_entropy) -> list[Tensor]:
    """Root of the mean of squared w·g of every parameter, float64, sample after sample."""
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    totals, count = [torch.zeros_like(p, dtype=torch.float64) for p in parameters], 0
    for x, y in batches:
        for i in range(len(x)):
            value = loss(model(x[i : i + 1]), y[i : i + 1])
            for total, p, g in zip(totals, parameters, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
                total += 0 if g is None else (p.detach().double() * g.double()).square()
            count += 1
    return [(total / count).sqrt() for total in totals]


def layers_used(model: nn.Module, batches: Batches) -> set[str]:
    """Names of the parameters that were taken layer by layer, seen by what the general way was not asked for."""
    from sics_plugin.saliency.signals import per_sample as module

    asked: set[int] = set()
    original = module._General.rows

    def rows(self: Any, indices: Any, *rest: Any) -> Any:
        asked.update(indices)
        return original(self, indices, *rest)

    names = [name for name, _ in model.named_parameters()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._General, "rows", rows)
        for _, found in per_sample(model, batches, Objective(), list(model.parameters())):
            for some in found:
                list(some.chunks)
    return {name for i, name in enumerate(names) if i not in asked}


class Embedded(nn.Module):
    """A position embedding that all samples share, a token, and a scale that is zero at first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.token = nn.Parameter(torch.randn(1, 7, 12)), nn.Parameter(torch.randn(1, 1, 12))
        self.gamma = nn.Parameter(torch.zeros(12))
        self.norm, self.first, self.head = nn.LayerNorm(12), nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.embedding
        return self.head((x + self.gamma * self.first(self.norm(x)).relu()).mean(1))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding="same", dilation=2, groups=4, padding_mode="circular"), nn.GroupNorm(2, 8), nn.ReLU(True),
        nn.Conv2d(8, 8, 1, groups=8), nn.Flatten(), nn.Linear(8 * 16, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 4),
    )  # fmt: skip


def data(*shape: int, sizes: tuple[int, ...] = (5, 3)) -> Batches:
    return [(torch.randn(n, *shape), torch.randint(4, (n,))) for n in sizes]


NONE: set[str] = set()
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], set[str]]] = {
    "convolutions": (convolutions, (3, 8, 8), NONE),
    "embedded": (Embedded, (6, 12), {"gamma"}),
    "sequence": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 9), nn.Flatten(), nn.Linear(45, 4)),
        (5, 6),
        set(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_by_layer_equals_the_loop(case: str) -> None:
    make, shape, general = CASES[case]
    torch.manual_seed(3)
    model, batches = make().eval(), data(*shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(8), torch.rand(8) + 0.5
    found, expected = Saliency(model, batches, kind="fisher")._values, by_loop(model, batches)
    for (name, value), wanted in zip(found.items(), expected, strict=True):
        assert float((value.double() - wanted).abs().max()) <= 1e-5 * float(wanted.max()), name
    assert layers_used(model, batches) == {name for name, _ in model.named_parameters()} - general
    double = model.double()
    exact = [(x.double(), y) for x, y in batches]
    for value, wanted in zip(Saliency(double, exact, kind="fisher")._values.values(), by_loop(double, exact), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-14)


class Twice(nn.Module):
    """One layer called twice, and one whose weight is read without calling it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.aside, self.plain = nn.Linear(6, 6), nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(torch.tanh(self.again(x)))
        return self.aside(x) + nn.functional.linear(x.square(), self.aside.weight) + self.plain(x)


class Neighbours(nn.Module):
    """Samples of a batch see each other, so none has a gradient of its own in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x - x.mean(0))


class PlacesFirst(nn.Module):
    """Positions in front of samples, and as many of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x.transpose(0, 1))).mean(0))


class Routed(nn.Module):
    """Samples go different ways, which one of the first batch does not tell of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        out, up = torch.zeros(len(x), 4), x[:, 0] > 0
        out[up], out[~up] = self.one(x[up]), self.other(x[~up])
        return out


class PadsItself(nn.Conv2d):
    """As timm's ``Conv2dSame``."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1)), self.weight, self.bias)


class Clips(nn.Linear):
    """What the first and the last sample do not reach."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-10, 10)


class PadsAndClips(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.clips, self.last = PadsItself(1, 2, 3), Clips(32, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.where(x[:, :1, :1, :1] > 0, 1.0, 1000.0)
        return self.last(torch.tanh(self.clips(torch.tanh(self.conv(x) / 100).flatten(1) * 100)))


@pytest.mark.parametrize(
    ("make", "shape", "used"),
    [
        (Routed, (6,), set()),
        (PadsAndClips, (1, 4, 4), {"last.weight", "last.bias"}),
        (Twice, (6,), {"aside.bias", "plain.weight", "plain.bias"}),
        (Neighbours, (6,), set()),
        (PlacesFirst, (5, 6), {"last.weight", "last.bias"}),
    ],
)
def test_what_no_layer_owns_alone_goes_the_general_way(
    make: Callable[[], nn.Module], shape: tuple[int, ...], used: set[str]
) -> None:
    torch.manual_seed(0)
    model, batches = make().eval(), data(*shape, sizes=(5, 5))
    assert layers_used(model, batches) == used
    found = Saliency(model, batches, kind="fisher")._values
    for (name, value), wanted in zip(found.items(), by_loop(model, batches), strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-7 * float(wanted.max()), msg=name)


class Tokens(nn.Module):
    """Tokens of all samples in one row, of which one layer gets those above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        out, up = torch.zeros_like(rows), rows[:, 0] > 0
        out[up] = self.one(rows[up])
        return self.last(torch.tanh(out).unflatten(0, x.shape[:2]).sum(1))


def test_rows_that_are_picked_belong_to_no_sample_by_their_number() -> None:
    torch.manual_seed(0)
    first, later = (torch.randn(2, 4, 6) for _ in range(2))
    first[..., 0] = 1.0
    later[..., 0] = torch.tensor([[1.0, 1.0, 1.0, -1.0], [1.0, -1.0, -1.0, -1.0]])  # four of eight, three of them one sample's
    model, batches = Tokens().eval(), [(first, torch.tensor([0, 1])), (later, torch.tensor([2, 3]))]
    found = Saliency(model, batches, kind="fisher")._values
    for value, wanted in zip(found.values(), by_loop(model, batches), strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("make", "shape"), [(Neighbours, (6,)), (PlacesFirst, (4, 6))])
def test_a_first_batch_of_one_sample_does_not_tell_whether_samples_meet(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model, batches = make().eval(), data(*shape, sizes=(1, 4, 4))
    found = Saliency(model, batches, kind="fisher")._values
    for (name, value), wanted in zip(found.items(), by_loop(model, batches), strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-7 * float(wanted.max()), msg=name)


def test_a_pruned_layer_has_no_gradient_where_weights_went() -> None:
    torch.manual_seed(0)
    model, batches = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), data(6)
    prune.l1_unstructured(model[0], "weight", 0.5)
    assert "0.weight_orig" in layers_used(model, batches)
    value = Saliency(model, batches, kind="fisher").tensor(model[0], "weight")
    wanted = dict(zip(dict(model.named_parameters()), by_loop(model, batches), strict=True))["0.weight_orig"]
    torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-9)
    assert bool((value[model[0].weight_mask == 0] == 0).all())


def test_samples_that_leave_no_gradient_and_tiny_ones_are_measured_alike() -> None:
    """Squares of gradients of 1e-30 are zero in float32; a network that is right with certainty has only such."""
    torch.manual_seed(0)
    model, batches = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), data(6)

    def faint(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) * 1e-30

    plain = Saliency(model, batches, kind="fisher").vector(model)
    tiny = Saliency(model, batches, faint, kind="fisher").vector(model)
    torch.testing.assert_close(tiny.as_subclass(Tensor) * 1e30, plain.as_subclass(Tensor), rtol=1e-4, atol=1e-9)
    nothing = Saliency(model, batches, lambda out, target: out.sum() * 0, kind="fisher").vector(model)
    assert float(nothing.sum()) == 0


def test_a_loss_that_reads_the_weights_itself_is_taken_at_its_word() -> None:
    torch.manual_seed(0)
    model, batches = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), data(6)

    def decayed(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) + model[0].weight.square().sum()

    found = Saliency(model, batches, decayed, kind="fisher")._values
    for value, wanted in zip(found.values(), by_loop(model, batches, decayed), strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-9)


def test_outputs_that_are_no_tensor_and_hooks_of_the_user_are_respected() -> None:
    class Named(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"scores": self.inner(x)}

    torch.manual_seed(0)
    inner, batches = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), data(6)
    plain = Saliency(inner, batches, kind="fisher")
    named = Saliency(Named(inner), batches, lambda out, y: nn.functional.cross_entropy(out["scores"], y), kind="fisher")
    for one, other in zip(plain._values.values(), named._values.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)
    handle = inner[0].register_forward_hook(lambda module, args, output: 2 * output)
    hooked = Saliency(inner, batches, kind="fisher")._values
    for value, wanted in zip(hooked.values(), by_loop(inner, batches), strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-9)
    handle.remove()
    assert not inner[0]._forward_hooks
    assert all(p.grad is None for p in inner.parameters())
