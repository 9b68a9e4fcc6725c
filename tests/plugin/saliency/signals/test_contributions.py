"""Collecting w·g leaves no trace on the model, and fails in one line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import Saliency, channel_group, clone_pruned, prune_model
from sics_plugin.saliency.kinds import SIGNALS

COLLECTED = [kind for kind, signal in SIGNALS.items() if signal.collect is not None]
Batches = list[tuple[Tensor, Tensor]]


def batches_of(size: int = 16, dtype: torch.dtype = torch.float32) -> Batches:
    return [(torch.randn(6, size).to(dtype), torch.randint(4, (6,))) for _ in range(2)]


class Delicate(nn.Module):
    """What is easily disturbed: batch norm statistics, dropout, a frozen weight, gradients, a pruned weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 12)
        self.norm = nn.BatchNorm1d(12)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


@pytest.mark.parametrize("kind", COLLECTED)
def test_the_model_is_as_before(kind: str) -> None:
    model = Delicate()
    prune_model(model, "magnitude", amount=0.3)
    model.last.weight.requires_grad_(False)
    model.drop.eval()
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.full_like(p, 7.0)
    model(torch.randn(6, 16))
    state = copy.deepcopy({k: v.detach() for k, v in model.state_dict().items()})
    hooks = {
        name: (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for name, m in model.named_modules()
    }
    modes = {name: m.training for name, m in model.named_modules()}
    flags, live = [p.requires_grad for p in model.parameters()], model.first.weight.detach().clone()
    batches = batches_of()
    random, enabled = torch.get_rng_state(), torch.is_grad_enabled()
    Saliency(model, batches, kind=kind)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert state.keys() == model.state_dict().keys()
    assert hooks == {
        name: (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for name, m in model.named_modules()
    }
    assert modes == {name: m.training for name, m in model.named_modules()}
    assert flags == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is not None and bool((p.grad == 7).all()) for p in model.parameters() if p.requires_grad)
    assert torch.equal(model.first.weight.detach(), live)
    assert model.first.weight.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled() is enabled
    with torch.no_grad():  # and it still works
        clone_pruned(model).eval()(torch.randn(2, 16))


@pytest.mark.parametrize("kind", COLLECTED)
def test_under_no_grad_and_when_it_fails(kind: str, mlp: nn.Sequential) -> None:
    mlp.train()
    with torch.no_grad():
        assert bool((Saliency(mlp, batches_of(), kind=kind).vector(mlp) != 0).any())
        assert not torch.is_grad_enabled()
    if SIGNALS[kind].data:
        with pytest.raises((RuntimeError, ValueError)):
            Saliency(mlp, [*batches_of(), (torch.randn(6, 5), torch.zeros(6).long())], kind=kind)
    assert mlp.training
    assert not any(m._forward_pre_hooks for m in mlp.modules())
    assert all(p.grad is None and p.requires_grad for p in mlp.parameters())


@pytest.mark.parametrize("kind", [k for k in COLLECTED if SIGNALS[k].data and k != "grasp"])
def test_masked_weights_are_read_as_zeros(kind: str) -> None:
    """A pruned model gives what the same model with plain zeros gives, and nothing for what is gone.

    Not so GraSP: what flows into a plain zero is part of its gradient, and none flows into a masked weight.
    """
    model = Delicate().eval()
    prune_model(model, "magnitude", amount=0.5)
    plain = copy.deepcopy(clone_pruned(model))
    from sics_plugin import finalize

    finalize(plain)
    batches = batches_of()
    ours, other = (Saliency(m, batches, kind=kind).tensor(m.first, "weight") for m in (model, plain))
    kept = model.first.weight_mask != 0
    torch.testing.assert_close(ours[kept], other[kept])
    if kind != "activation":
        assert float(ours[~kept].abs().sum()) == 0


@pytest.mark.parametrize("kind", [k for k in COLLECTED if k not in ("gradient", "activation")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(kind: str, dtype: torch.dtype, mlp: nn.Sequential) -> None:
    batches = batches_of()
    full = Saliency(mlp, batches, kind=kind).vector(mlp).double()
    model = copy.deepcopy(mlp).to(dtype)
    found = Saliency(model, [(x.to(dtype), y) for x, y in batches], kind=kind).vector(model)
    assert found.dtype in (torch.float32, torch.float64)
    loose = dtype == torch.bfloat16
    correlation = torch.corrcoef(torch.stack([full, found.double()]))[0, 1]
    assert float(correlation) > (0.9 if loose else 0.999999)
    if not loose and kind != "synflow":
        torch.testing.assert_close(found.double(), full, rtol=2e-3, atol=1e-7)


def test_what_cannot_be_batched_is_taken_one_by_one(mlp: nn.Sequential) -> None:
    class Stubborn(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * (2.0 if x.sum().item() > -1e9 else 1.0)  # control flow that vmap refuses

    class Scaled(Stubborn):
        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * 2.0

    batches = batches_of()
    for kind in ("fisher", "sensitivity"):
        one, other = (Saliency(m, batches, kind=kind) for m in (Stubborn(mlp), Scaled(mlp)))
        for name, value in one._values.items():
            torch.testing.assert_close(value, other._values[name], rtol=1e-4, atol=1e-9)


def test_results_do_not_depend_on_how_samples_are_held(mlp: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    from sics_plugin.saliency.signals import layer_gradients, per_sample

    batches = batches_of()
    whole = Saliency(mlp, batches, kind="fisher").vector(mlp)
    monkeypatch.setattr(per_sample, "HELD", 1)
    monkeypatch.setattr(per_sample, "TOGETHER", 3)
    monkeypatch.setattr(layer_gradients, "HELD_OF_A_LAYER", 1)
    torch.testing.assert_close(Saliency(mlp, batches, kind="fisher").vector(mlp).as_subclass(Tensor), whole.as_subclass(Tensor))


def test_attention_has_second_and_per_sample_derivatives(model_of: Callable[[str], nn.Module]) -> None:
    from timm.models.vision_transformer import VisionTransformer

    timms = VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=4, num_classes=3)
    for model in (timms, model_of("mha_vit")):
        batches = [(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))]
        for kind in ("grasp", "fisher", "synflow"):
            options: dict[str, Any] = {"rounds": 2} if kind == "synflow" else {}
            assert any(float(v.abs().sum()) > 0 for v in Saliency(model, batches, kind=kind, **options)._values.values())


def test_tied_weights_are_collected_once(tied: nn.Module) -> None:
    batches = [(torch.randint(40, (3, 5)), torch.randint(40, (3, 40, 5)).float())]

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return (out.movedim(-1, 1) - target).square().mean()

    for kind in ("snip", "grasp", "taylor", "fisher", "sensitivity"):
        vector = Saliency(tied, batches, loss, kind=kind).vector([(tied.first, "weight"), (tied.second, "weight")])
        assert torch.equal(*vector.as_subclass(Tensor).split(256))
    with pytest.raises(TypeError, match=r"floating point tensor as input for kind 'synflow'.*got a tensor of torch.int64"):
        Saliency(tied, batches, kind="synflow")


def test_bad_input_gets_one_line(mlp: nn.Sequential) -> None:
    batches = batches_of()
    for kind in COLLECTED:
        with pytest.raises(ValueError, match="at least one batch"):
            Saliency(mlp, [], kind=kind)
        if SIGNALS[kind].data and not SIGNALS[kind].of_inputs:
            with pytest.raises(TypeError, match="to return a scalar tensor"):
                Saliency(mlp, batches, lambda out, target: out, kind=kind)
            with pytest.raises(ValueError, match=r"finite loss.*got nan on batch 1"):
                Saliency(mlp, batches, lambda out, target: out.sum() * float("nan"), kind=kind)
    with pytest.raises(ValueError, match="no `rounds` for kind 'snip'"):
        Saliency(mlp, batches, kind="snip", rounds=3)
    with pytest.raises(ValueError, match="`rounds` to be a whole number of at least 1, got 0"):
        Saliency(mlp, batches, kind="synflow", rounds=0)
    with pytest.raises(ValueError, match="no `batches` for kind 'lamp'"):
        Saliency(mlp, batches, kind="lamp")
    with pytest.raises(ValueError, match="`unit` to be one of weight, channel, head, got 'row'"):
        Saliency(mlp, batches, kind="taylor", unit="row")
    with pytest.raises(TypeError, match="tensors of several samples"):
        Saliency(mlp, [(torch.randn(2, 16), torch.tensor(1))], kind="fisher")


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature(mlp: nn.Sequential) -> None:
    model = mlp[:1]
    values = Saliency(model, batches_of(), lambda out, target: out.sum(), kind="grasp")._values
    assert all(float(v.abs().sum()) == 0 for v in values.values())


def test_groups_written_by_hand(mlp: nn.Sequential) -> None:
    groups = [channel_group(mlp, "0", "2")]
    saliency = Saliency(mlp, batches_of(), kind="sensitivity", groups=groups)
    assert (saliency.unit, saliency.of_group(groups[0]).shape) == ("channel", (64,))
