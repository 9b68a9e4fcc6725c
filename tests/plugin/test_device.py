"""The discipline of an accelerator, on a pretend one: nothing is mixed, masks are the CPU's, and no call waits more than it may.

Budgets are of one vision transformer with eight weights to prune and of three batches. A wait is a place where the host stands
still until the device is done: with tens of microseconds each, they are what small networks take on a GPU. Lower a budget where
you took waits out; raise one only with a reason.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin as sics
from sics_plugin.saliency.kinds import SIGNALS

Batches = list[tuple[Tensor, Tensor]]
Call = Callable[[nn.Module, Batches], Any]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(img_size=8, patch_size=4, embed_dim=32, depth=2, num_heads=4, num_classes=5)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def batches() -> Batches:
    torch.manual_seed(1)
    return [(torch.randn(6, 3, 8, 8), torch.randint(0, 5, (6,))) for _ in range(3)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(action="ignore"):
        yield


def pruned(method: str, **options: Any) -> Call:
    return lambda model, _: sics.prune_model(model, method, amount=0.7, **options).mask_hash


def pruned_by(kind: str, method: str) -> Call:
    """A prune by a saliency that was collected before."""

    def call(model: nn.Module, batches: Batches) -> str:
        return sics.prune_model(model, method, amount=0.7, saliency=collected(model, batches, kind)).mask_hash

    return call


def collected(model: nn.Module, batches: Batches, kind: Any) -> sics.Saliency:
    if SIGNALS[kind].collect is None:
        return sics.Saliency(model, kind=kind)
    return sics.Saliency(model, batches, kind=kind, rounds=5 if kind == "synflow" else None)


def natively(method: type[prune.BasePruningMethod]) -> Call:
    def call(model: nn.Module, _: Batches) -> str:
        prune.global_unstructured(sics.prunable_parameters(model), pruning_method=method, amount=0.7)
        return sics.mask_hash(sics.current_masks(model))

    return call


def one_layer(model: nn.Module, _: Batches) -> list[bool]:
    layer = model.get_submodule("blocks.0.mlp.fc1")
    sics.SICSChaos.apply(layer, "weight", amount=0.5)
    sics.SICSChaos.apply(layer, "weight", amount=0.5)
    return (layer.weight_mask != 0).flatten().tolist()


def units(unit: Any, method: str) -> Call:
    return lambda model, _: sics.prune_channels(model, method, amount=0.5, unit=unit).mask_hash


def shrunk(unit: Any) -> Call:
    def call(model: nn.Module, batches: Batches) -> Any:
        sics.prune_channels(model, "magnitude", amount=0.5, unit=unit)
        small = sics.shrink(model)
        return [tuple(p.shape) for p in small.parameters()], small(batches[0][0]).tolist()

    return call


#: What is called, and how often it may wait.
CALLS: dict[str, tuple[Call, int]] = {
    "prune_model magnitude": (pruned("magnitude"), 3),
    "prune_model log": (pruned("log"), 5),
    "prune_model power": (pruned("power"), 5),
    "prune_model chaos": (pruned("chaos"), 8),
    "prune_model bump": (pruned("bump"), 7),
    "prune_model information": (pruned("information"), 7),
    "prune_model fake": (pruned("fake"), 6),
    "prune_model random": (pruned("random"), 7),
    "prune_model fusion": (pruned("fusion"), 11),
    "prune_model adaptive": (pruned("adaptive"), 3),
    "prune_model for good": (pruned("chaos", finalize=True), 29),
    "prune_model layer": (pruned("chaos", pool="layer"), 43),
    "prune_model layer-rank": (pruned("chaos", pool="layer-rank"), 14),
    "prune_model row": (pruned("chaos", pool="row"), 91),
    "prune_model erk": (pruned("chaos", pool="erk"), 43),
    "prune_n_m": (lambda model, _: sics.prune_n_m(model, "chaos").mask_hash, 83),
    "prune_model min_keep": (pruned("magnitude", min_keep=0.25), 12),
    "global_unstructured SICSMagnitude": (natively(sics.SICSMagnitude), 6),
    "global_unstructured SICSChaos": (natively(sics.SICSChaos), 9),
    "global_unstructured L1Unstructured": (natively(prune.L1Unstructured), 4),
    "apply twice": (one_layer, 14),
    "prune_channels magnitude": (units("channel", "magnitude"), 22),
    "prune_channels chaos": (units("channel", "chaos"), 22),
    "prune_channels of heads": (units("head", "magnitude"), 22),
    "shrink channels": (shrunk("channel"), 57),
    "shrink heads": (shrunk("head"), 73),
    "by snip": (pruned_by("snip", "snip"), 22),
    "by lamp": (pruned_by("lamp", "lamp"), 15),
    "by relative importance": (pruned_by("relative", "ri"), 7),
    "by wanda": (pruned_by("activation", "wanda"), 18),
    "by ria": (pruned_by("relative_activation", "ria"), 18),
    "by gradient": (pruned_by("gradient", "gradient"), 22),
    "chaos by gradient": (pruned_by("gradient", "chaos"), 23),
}
#: Kinds of saliency, and how often collecting one and its digest may wait.
KINDS = {
    "gradient": 16,
    "activation": 12,
    "neighbourhood": 0,
    "snip": 16,
    "grasp": 28,
    "synflow": 332,
    "taylor": 16,
    "fisher": 526,
    "sensitivity": 526,
    "lamp": 0,
    "relative": 0,
    "relative_activation": 12,
}


def on_both(pretend: ModuleType, call: Call, network: nn.Module, batches: Batches) -> tuple[Any, Any, Any]:
    """What a call gives on the CPU and on the pretend device, and the device."""
    expected = call(copy.deepcopy(network), batches)
    with pretend.PretendDevice() as device:
        model = copy.deepcopy(network).to(pretend.DEVICE)
        there = [(images.to(pretend.DEVICE), labels.to(pretend.DEVICE)) for images, labels in batches]
        device.forget()
        found = call(model, there)
    return expected, found, device


@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_what_the_cpu_gives_within_its_waits(
    pretend: ModuleType, network: nn.Module, batches: Batches, name: str
) -> None:
    call, budget = CALLS[name]
    expected, found, device = on_both(pretend, call, network, batches)
    assert found == expected
    tables = sum(times for where, times in device.waits.items() if "spectra.py" in where)
    assert tables <= 1, "a spectrum is brought there once a process, by whichever test comes first"
    assert device.waited - tables <= budget, device.waits.most_common(8)


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_saliency_is_the_cpus_within_its_waits(pretend: ModuleType, network: nn.Module, batches: Batches, kind: str) -> None:
    expected, found, device = on_both(pretend, lambda m, b: collected(m, b, kind).digest, network, batches)
    assert found == expected
    assert device.waited <= KINDS[kind], device.waits.most_common(8)


def test_the_histogram_form_agrees_but_for_few_units(pretend: ModuleType, network: nn.Module, batches: Batches) -> None:
    def masks(model: nn.Module, _: Batches) -> Tensor:
        made, report = sics.compute_masks(model, "chaos", amount=0.7, exact=False)
        assert report.form == "histogram"
        return torch.cat([mask.flatten() for mask in made.values()]).cpu()

    expected, found, _ = on_both(pretend, masks, network, batches)
    assert int(found.sum()) == int(expected.sum())
    assert int((found != expected).sum()) < 0.002 * len(found)


# --- the pretend device itself ------------------------------------------------------------------------------------


def test_what_mixes_devices_is_refused(pretend: ModuleType) -> None:
    with pretend.PretendDevice():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(RuntimeError, match="same device"):
            torch.cat([there, here])
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert (there + torch.tensor(1.0)).device == pretend.DEVICE  # a number of the host may take part
        assert (there.cpu() + here).device == torch.device("cpu")
        layer = nn.Linear(3, 1)
        with pytest.raises(RuntimeError, match="same device"):
            layer(there)
        assert layer.to("cuda")(there).is_cuda
        assert copy.deepcopy(layer).weight.device == pretend.DEVICE


@pytest.mark.parametrize(
    ("waiting", "count"),
    [
        (lambda t: t.sum().item(), 1),
        (lambda t: float(t[0]) + int(t[1]), 2),
        (lambda t: bool((t > 0).all()), 1),
        (lambda t: t.tolist(), 1),
        (lambda t: t.cpu().numpy(), 1),
        (lambda t: t[t > 0], 1),
        (lambda t: t.nonzero(), 1),
        (lambda t: t.unique(), 1),
        (lambda t: torch.equal(t, t + 1), 1),
        (lambda t: t + torch.tensor([1.0, 2.0], device=t.device), 1),
        (lambda t: t[torch.tensor(1, device=t.device)], 2),  # brought there, and looked at: it is an index
        (lambda t: t.masked_fill(t > 0, 0), 0),
        (lambda t: (t * 2).cumsum(0).sort().values[1:], 0),
        (lambda t: torch.zeros(2, device=t.device) + t, 0),
    ],
)  # fmt: skip
def test_waits_are_counted_where_the_host_waits(pretend: ModuleType, waiting: Callable[[Tensor], Any], count: int) -> None:
    with pretend.PretendDevice() as device:
        there = torch.tensor([1.0, 2.0]).to("cuda")
        device.forget()
        waiting(there)
    assert device.waited == count, device.waits
    assert all("test_device.py" in place for place in device.waits)


def test_a_hidden_fetch_goes_over_the_budget(
    pretend: ModuleType, network: nn.Module, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget is tight enough to show one more wait a layer."""
    from sics_plugin.network import masks

    real = masks.masked_copy

    def looks(values: Tensor, kept: Tensor) -> Tensor:
        assert kept.any().item()
        return real(values, kept)

    monkeypatch.setattr(masks, "masked_copy", looks)
    call, budget = CALLS["prune_model magnitude"]
    _, _, device = on_both(pretend, call, network, batches)
    assert device.waited > budget
    assert any("looks" in place for place in device.waits)
