"""The plugin on real architectures: timm ViT-S, torchvision ResNet-18 and ViT, an MLP; three precisions; every road of a model.

``vit_s`` is timm's ``vit_small_patch16_224`` at 32 pixels with two of its twelve blocks (3.5 M weights); the whole of it has
a test of its own.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    Saliency,
    SICSChaos,
    SICSMagnitude,
    clone_pruned,
    compute_masks,
    current_masks,
    finalize,
    get_scorer,
    list_scorers,
    mask_hash,
    prunable_parameters,
    prune_model,
    prune_to_sparsity,
)

NAMES = ("vit_s", "resnet18", "mlp", "mha_vit")
#: Weights pruned by default; of ResNet-18 without its last stage, which is pruned once, below.
TOTALS = {"vit_s": 2 * 12 * 384 * 384, "resnet18": 2_778_304, "mlp": 48 * 128 + 128 * 64, "mha_vit": 2 * 7 * 32 * 32}
#: The parameters the slower tests use: up to 300 000 weights.
FEW = {"vit_s": slice(1, None, 4), "resnet18": slice(5), "mlp": slice(2), "mha_vit": slice(4)}
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

pytestmark = pytest.mark.filterwarnings("ignore:left out, .*out_proj")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_prune_model_realises_the_amount_and_the_model_runs(
    name: str, dtype: torch.dtype, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]
) -> None:
    model = model_of(name).to(dtype).eval()
    dense = {path: p.detach().clone() for path, p in model.named_parameters()}
    report = prune_model(prunable_parameters(model)[:15] if name == "resnet18" else model, "magnitude", amount=0.7)
    assert (report.total, report.pruned) == (TOTALS[name], round(0.7 * TOTALS[name]))
    masks = current_masks(model)
    assert [layer.pruned for layer in report.layers] == [int((~m).sum()) for m in masks.values()]
    if name != "resnet18":  # a list of pairs has no names to give
        assert mask_hash(masks) == report.mask_hash
        assert [layer.name for layer in report.layers] == list(masks)
    # every removed magnitude is at most every kept one
    removed = max(dense[k][~m].abs().max().item() for k, m in masks.items() if not m.all())
    kept = min(dense[k][m].abs().min().item() for k, m in masks.items() if m.any())
    assert removed <= kept
    assert report.threshold == removed
    with torch.no_grad():
        output = model(images(name, dtype))
        twin = copy.deepcopy(model)
        finalize(model)
        assert torch.equal(model(images(name, dtype)), output)
        assert torch.equal(twin(images(name, dtype)), output)
    assert output.dtype == dtype
    assert bool(torch.isfinite(output).all())
    assert set(model.state_dict()) == set(dense) | {k for k, _ in model.named_buffers()}
    assert all(torch.equal(p != 0, masks[k] & (dense[k] != 0)) for k, p in model.named_parameters() if k in masks)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_torchs_two_lines_give_the_same_mask(
    name: str, dtype: torch.dtype, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]
) -> None:
    """``prune.global_unstructured(params, pruning_method=SICSChaos, amount=0.7)``, on a few hundred thousand weights of each."""
    model = model_of(name).to(dtype).eval()
    pairs = prunable_parameters(model)[FEW[name]]
    masks, _ = compute_masks(pairs, "chaos", amount=0.7)
    prune.global_unstructured(pairs, pruning_method=SICSChaos, amount=0.7)
    for (module, own), mask in zip(pairs, masks.values(), strict=True):
        assert torch.equal(getattr(module, f"{own}_mask") != 0, mask)
        assert getattr(module, own).dtype == dtype
    assert sum(int((~m).sum()) for m in masks.values()) == round(0.7 * sum(m.numel() for m in masks.values()))
    with torch.no_grad():
        assert bool(torch.isfinite(model(images(name, dtype))).all())


@pytest.mark.parametrize(
    ("name", "kind"), [("vit_s", "gradient"), ("vit_s", "activation"), ("resnet18", "activation"), ("mha_vit", "gradient")]
)
def test_saliencies_of_real_models(
    name: str, kind: str, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]
) -> None:
    model = model_of(name)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    saliency = Saliency(model, [(images(name), torch.tensor([1, 3]))], kind=kind)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    pairs = prunable_parameters(model)[FEW[name]]
    vector = saliency.vector(pairs)
    assert vector.numel() == sum(getattr(m, own).numel() for m, own in pairs)
    assert (vector.as_subclass(Tensor) > 0).double().mean() > 0.5
    _, report = compute_masks(pairs, "smooth_chaos", amount=0.7, saliency=saliency)
    assert (report.saliency_kind, report.alpha, report.pruned) == (kind, 0.15, round(0.7 * vector.numel()))
    assert report.mask_hash != compute_masks(pairs, "magnitude", amount=0.7)[1].mask_hash


@pytest.mark.parametrize("name", ["vit_s", "mha_vit"])
def test_state_dict_into_a_fresh_pruned_model(
    name: str, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]
) -> None:
    model, fresh = model_of(name).eval(), model_of(name).eval()
    prune_model(prunable_parameters(model)[FEW[name]], "magnitude", amount=0.7)
    with torch.no_grad():
        for p in fresh.parameters():
            p.add_(0.01)
    prune_model(prunable_parameters(fresh)[FEW[name]], "random", amount=0.5)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        assert torch.equal(fresh(images(name)), model(images(name)))


@pytest.mark.parametrize("name", ["vit_s", "mha_vit"])
def test_clone_after_a_training_step(name: str, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]) -> None:
    model = model_of(name).train()
    pairs = prunable_parameters(model)[-2:]
    prune.global_unstructured(pairs, SICSMagnitude, amount=0.5)
    model(images(name)).sum().backward()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    twin = clone_pruned(model).eval()
    model.eval()
    with torch.no_grad():
        assert torch.equal(twin(images(name)), model(images(name)))


def test_masks_hold_through_training_of_a_vit(model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]) -> None:
    model = model_of("vit_s").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    prune_model(prunable_parameters(model)[3:], "magnitude", amount=0.7)
    masks = {k: m.clone() for k, m in current_masks(model).items()}
    before = model.blocks[1].mlp.fc1.weight_orig.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images("vit_s", n=4)), torch.arange(4)).backward()
        optimizer.step()
    model(images("vit_s"))
    assert not torch.equal(model.blocks[1].mlp.fc1.weight_orig, before)
    assert all(bool((model.get_submodule(k.removesuffix(".weight")).weight[~m] == 0).all()) for k, m in masks.items())


# --- compile and export ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finalized", [True, False], ids=["finalized", "hooked"])
@pytest.mark.parametrize("name", ["vit_s", "resnet18", "mlp"])
def test_torch_compile(name: str, finalized: bool, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]) -> None:
    model = model_of(name).eval()
    prune_model(prunable_parameters(model)[:2], "random", amount=0.7, finalize=finalized)
    torch.compiler.reset()
    compiled, x = torch.compile(model, backend="eager"), images(name)
    with torch.no_grad():
        assert torch.allclose(compiled(x), model(x), atol=1e-5)


def test_a_compiled_hooked_model_follows_its_weights_and_masks(mlp: nn.Sequential) -> None:
    """The hook is inside the graph, not frozen with the values of the first call."""
    prune_model(mlp, "magnitude", amount=0.5)
    torch.compiler.reset()
    compiled, x = torch.compile(mlp, backend="eager"), torch.randn(3, 16)
    compiled(x)
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.5)
    compiled(x).square().sum().backward()
    optimizer.step()
    assert torch.allclose(compiled(x), mlp(x), atol=1e-6)
    prune_to_sparsity(mlp, "magnitude", 0.9)
    assert torch.allclose(compiled(x), mlp(x), atol=1e-6)
    assert int((mlp[0].weight == 0).sum() + (mlp[2].weight == 0).sum()) == round(0.9 * 3072)


@pytest.mark.parametrize("name", ["vit_s", "mlp", "resnet18"])
def test_torch_export_of_a_finalized_model(
    name: str, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]
) -> None:
    model = model_of(name).eval()
    prune_model(prunable_parameters(model)[:2], "random", amount=0.7, finalize=True)
    exported = torch.export.export(model, (images(name),))
    with torch.no_grad():
        assert torch.allclose(exported.module()(images(name)), model(images(name)), atol=1e-5)
    assert not [k for k in exported.state_dict if k.endswith(("_mask", "_orig"))]


@pytest.mark.parametrize("name", ["vit_s", "mlp"])
def test_torch_export_of_a_hooked_model(name: str, model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]) -> None:
    """The mask stays a buffer of the exported program, and is applied to the dense weight inside its graph."""
    model = model_of(name).eval()
    pairs = prunable_parameters(model)[:2]
    prune_model(pairs, "random", amount=0.7)
    exported = torch.export.export(model, (images(name),))
    assert len([k for k, _ in exported.named_buffers() if k.endswith("weight_mask")]) == 2
    assert len([k for k, _ in exported.named_parameters() if k.endswith("weight_orig")]) == 2
    with torch.no_grad():
        assert torch.allclose(exported.module()(images(name)), model(images(name)), atol=1e-5)
    assert prune.is_pruned(model)


# --- whole models ---------------------------------------------------------------------------------------------------------


def test_the_whole_resnet18(model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]) -> None:
    model = model_of("resnet18").eval()
    report = prune_model(model, "magnitude", amount=0.7, finalize=True)
    assert (report.total, report.pruned, len(report.layers)) == (11_166_912, round(0.7 * 11_166_912), 20)
    zeros = sum(int((m.weight == 0).sum()) for m in model.modules() if isinstance(m, nn.Conv2d))
    assert zeros == report.pruned
    with torch.no_grad():
        assert model(images("resnet18")).shape == (2, 10)


def test_the_whole_vit_small(images: Callable[..., Tensor]) -> None:
    import timm

    model = timm.create_model("vit_small_patch16_224", pretrained=False, img_size=32).eval()
    report = prune_model(model, "magnitude", amount=0.7)
    stay = {"patch_embed.proj.weight", "pos_embed", "cls_token", "norm.weight", "head.weight", "blocks.0.attn.qkv.bias"}
    assert [layer.name for layer in report.layers] == [
        f"blocks.{i}.{part}.weight" for i in range(12) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    ]
    assert (report.total, report.pruned) == (21_233_664, round(0.7 * 21_233_664))
    with torch.no_grad():
        assert model(images("vit_s")).shape == (2, 1000)
    assert stay <= set(model.state_dict())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_masks_of_the_cpu(model_of: Callable[[str], nn.Module], images: Callable[..., Tensor]) -> None:
    model = model_of("mlp")
    saliency = Saliency(model, [(images("mlp"), torch.tensor([1, 3]))])
    twin = copy.deepcopy(model).cuda()
    vector = saliency.vector(model)
    for name in [n for n in list_scorers() if get_scorer(n).role != "peer"]:
        here, there = (compute_masks(m, name, amount=0.7, saliency=vector)[1].mask_hash for m in (model, twin))
        assert here == there, name
    prune.global_unstructured(prunable_parameters(twin), SICSChaos, amount=0.7)
    assert mask_hash(current_masks(twin)) == compute_masks(model, "chaos", amount=0.7)[1].mask_hash
