"""Every peer's mask in every pool against its formula written out, sample after sample, on grouped convolutions and a Linear."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import Saliency, compute_masks, get_scorer
from sics_plugin.saliency.kinds import SIGNALS

NAMES = ["0.weight", "3.weight", "6.weight"]
loss_of = nn.functional.cross_entropy


@pytest.fixture(scope="module")
def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(72, 32), nn.ReLU(), nn.Linear(32, 5),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [(torch.randn(6, 4, 8, 8, generator=generator), torch.randint(5, (6,), generator=generator)) for _ in range(3)]


@pytest.fixture(scope="module")
def scores(net: nn.Sequential, batches: list[tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:
    layers = [net[0], net[3], net[6]]
    weights = [layer.weight.detach().double() for layer in layers]

    def products(x: Tensor, y: Tensor) -> list[Tensor]:
        found = torch.autograd.grad(loss_of(net(x), y), [layer.weight for layer in layers])
        return [w * g.double() for w, g in zip(weights, found, strict=True)]

    by_batch = [torch.stack(each) for each in zip(*(products(x, y) for x, y in batches), strict=True)]
    singles = [(x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(len(x))]
    by_sample = [torch.stack(each) for each in zip(*(products(x, y) for x, y in singles), strict=True)]
    norms = [norm.sqrt() for norm in _inputs(net, layers, batches)]
    reads = [
        norm.view(layer.groups, *w.shape[1:]).repeat_interleave(8 // layer.groups, 0) if w.dim() == 4 else norm.expand_as(w)
        for norm, layer, w in zip(norms, layers, weights, strict=True)
    ]
    # Each group of a convolution reads inputs of its own, so its columns are its own.
    ri = [torch.cat([_relative(part) for part in w.chunk(getattr(m, "groups", 1))]) for m, w in zip(layers, weights, strict=True)]
    return {
        "snip": [p.mean(0).abs() for p in by_batch],
        "taylor": [p.square().mean(0) for p in by_batch],
        "sensitivity": [p.abs().mean(0) for p in by_sample],
        "fisher": [p.square().mean(0) / 2 for p in by_sample],
        "grasp": _grasp(net, layers, batches),
        "lamp": [_lamp(w) for w in weights],
        "ri": ri,
        "wanda": [w.abs() * x for w, x in zip(weights, reads, strict=True)],
        "ria": [r * x.sqrt() for r, x in zip(ri, reads, strict=True)],
    }


def _inputs(net: nn.Sequential, layers: list[nn.Module], batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    totals: list[Tensor] = [torch.zeros(())] * len(layers)
    for x, _ in batches:
        for module in net:
            if module in layers:
                at, seen = layers.index(module), x.double()
                if isinstance(module, nn.Conv2d):
                    columns = nn.functional.unfold(seen, module.kernel_size, module.dilation, module.padding, module.stride)
                    totals[at] = totals[at] + columns.square().sum((0, 2)).view(module.in_channels, *module.kernel_size)
                else:
                    totals[at] = totals[at] + seen.square().sum(0)
            x = module(x)
    return [total.detach() for total in totals]


def _grasp(net: nn.Sequential, layers: list[nn.Module], batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    model = copy.deepcopy(net).double()
    own = list(model.parameters())
    means = [torch.zeros_like(p) for p in own]
    for x, y in batches:
        found = torch.autograd.grad(loss_of(model(x.double()), y), own)
        means = [m + g / 3 for m, g in zip(means, found, strict=True)]
    curved = [torch.zeros_like(p) for p in own]
    for x, y in batches:
        found = torch.autograd.grad(loss_of(model(x.double()), y), own, create_graph=True)
        inner = sum((g * m).sum() for g, m in zip(found, means, strict=True))
        curved = [c + h / 3 for c, h in zip(curved, torch.autograd.grad(inner, own), strict=True)]
    by_name = dict(zip((name for name, _ in model.named_parameters()), curved, strict=True))
    return [layer.weight.detach().double() * by_name[name] for layer, name in zip(layers, NAMES, strict=True)]


def _lamp(weight: Tensor) -> Tensor:
    squares, order = weight.flatten().square().sort(descending=True)
    return torch.empty_like(squares).index_copy(0, order, squares / squares.cumsum(0)).view_as(weight)


def _relative(weight: Tensor) -> Tensor:
    m = weight.abs().flatten(1)
    return (m / m.sum(0) + m / m.sum(1, keepdim=True)).view_as(weight)


def lowest_gone(scores: Tensor, magnitudes: Tensor, amount: float) -> Tensor:
    """True where a unit stays: of each row the lowest go, ties by magnitude, then position."""
    order = magnitudes.argsort(dim=1, stable=True)
    order = order.gather(1, scores.gather(1, order).argsort(dim=1, stable=True))
    gone = order[:, : round(amount * scores.shape[1])]
    return torch.ones_like(scores, dtype=torch.bool).scatter_(1, gone, False)


def in_rows(x: Tensor, pool: str) -> Tensor:
    """One row a group that is ranked for itself."""
    if pool == "2:4":
        return x.movedim(1, -1).reshape(-1, 4)
    return x.reshape(1, -1) if pool == "layer" else x.flatten(1)


@pytest.mark.parametrize("name", ["snip", "taylor", "sensitivity", "fisher", "grasp", "lamp", "ri", "wanda", "ria"])
def test_masks_are_the_formulas(
    name: str, net: nn.Sequential, batches: list[tuple[Tensor, Tensor]], scores: dict[str, list[Tensor]]
) -> None:
    kind = get_scorer(name).requires
    saliency = Saliency(net, batches if SIGNALS[kind].collect is not None else None, kind=kind)
    weights = [net[i].weight.detach().abs().double() for i in (0, 3, 6)]
    masks, _ = compute_masks(net, name, amount=0.6, saliency=saliency)
    together = [torch.cat([x.reshape(-1) for x in each]).unsqueeze(0) for each in (scores[name], weights)]
    assert torch.equal(torch.cat([masks[x].reshape(-1) for x in NAMES]), lowest_gone(*together, 0.6)[0])
    for pool, amount in (("layer", 0.6), ("row", 0.6), ("2:4", 0.5)):
        some = [1, 2] if pool == "2:4" else [0, 1, 2]  # two inputs a group are no multiple of four
        params = [(net[3 * i], "weight") for i in some]
        masks, _ = compute_masks(params, name, amount=amount, saliency=saliency, pool=pool)
        for mask, i in zip(masks.values(), some, strict=True):
            expected = lowest_gone(in_rows(scores[name][i], pool), in_rows(weights[i], pool), amount)
            assert torch.equal(in_rows(mask, pool), expected), pool


def test_synflow_is_near_a_schedule_that_ends_at_the_asked_sparsity() -> None:
    """The authors' hundred rounds end at S; one schedule for all S, as here, removes nearly the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 24), nn.ReLU(), nn.Linear(24, 5))
    batches = [(torch.randn(4, 16), torch.zeros(4, dtype=torch.long))]
    saliency, single = (Saliency(model, batches, kind="synflow", rounds=rounds) for rounds in (100, 1))
    positive = copy.deepcopy(model).double()
    for p in positive.parameters():
        p.data.abs_()
    whole = [positive[i].weight.data.clone() for i in (0, 2)]
    for sparsity in (0.5, 0.8):
        kept = torch.ones(sum(w.numel() for w in whole), dtype=torch.bool)
        for number in range(1, 101):
            for i, w, part in zip((0, 2), whole, kept.split([w.numel() for w in whole]), strict=True):
                positive[i].weight.data = w * part.view_as(w)
            weights = [positive[i].weight for i in (0, 2)]
            found = torch.autograd.grad(positive(torch.ones(1, 16, dtype=torch.float64)).sum(), weights)
            flow = torch.cat([(w * g).abs().reshape(-1) for w, g in zip(weights, found, strict=True)])
            kept = flow > flow.sort().values[math.floor((1 - (1 - sparsity) ** (number / 100)) * len(flow)) - 1]
        near = []
        for one in (saliency, single):
            mask = torch.cat([m.reshape(-1) for m in compute_masks(model, "synflow", amount=sparsity, saliency=one)[0].values()])
            near.append(float((mask & kept).sum() / (mask | kept).sum()))
        assert near[0] > 0.9 > near[1]
