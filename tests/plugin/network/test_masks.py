"""Masks on modules: installed as torch installs them, hashed, applied for a while, made permanent, saved and loaded."""

from __future__ import annotations

import copy
import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    SICSChaos,
    SICSMagnitude,
    clone_pruned,
    compute_masks,
    current_masks,
    export_masks,
    finalize,
    install_mask,
    load_masks,
    mask_hash,
    masked,
    prune_model,
)

HALF = torch.tensor([[True, False], [False, True]])


# --- install --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [HALF, HALF.float(), HALF.to(torch.int64)], ids=["bool", "float", "int"])
def test_install_leaves_what_torch_leaves(mask: Tensor) -> None:
    ours, torchs = nn.Linear(2, 2), nn.Linear(2, 2)
    torchs.load_state_dict(ours.state_dict())
    weight = ours.weight
    install_mask(ours, "weight", mask)
    prune.custom_from_mask(torchs, "weight", HALF)
    assert sorted(ours.state_dict()) == sorted(torchs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in torchs.named_parameters()]
    assert ours.weight_orig is weight
    assert ours.weight_mask.dtype == torch.bool
    assert torch.equal(ours.weight, torchs.weight)
    assert prune.is_pruned(ours)
    (hook,) = ours._forward_pre_hooks.values()
    assert isinstance(hook, prune.BasePruningMethod)
    assert hook._tensor_name == "weight"
    assert len(pickle.dumps(hook)) < 500
    x = torch.randn(3, 2)
    assert torch.equal(ours(x), torchs(x))


def test_installed_masks_are_copies() -> None:
    """Neither the caller's tensor nor a vector over the whole model lives on in the buffer."""
    together = torch.ones(1000, dtype=torch.bool)
    layer = nn.Linear(2, 2)
    install_mask(layer, "weight", together[4:8].view(2, 2))
    assert layer.weight_mask.untyped_storage().nbytes() == 4
    together.zero_()
    assert bool(layer.weight_mask.all())


def test_a_second_mask_goes_on_top() -> None:
    layer = nn.Linear(2, 2)
    install_mask(layer, "weight", torch.tensor([[True, False], [True, True]]))
    install_mask(layer, "weight", torch.tensor([[True, True], [False, True]]))
    assert layer.weight_mask.tolist() == [[True, False], [False, True]]
    assert len(layer._forward_pre_hooks) == 1


@pytest.mark.parametrize("shape", [(4,), (2, 1), (1,), (3, 2)])
def test_masks_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"mask of shape \(2, 2\) for weight"):
        install_mask(layer, "weight", torch.ones(shape, dtype=torch.bool))
    assert not prune.is_pruned(layer)


def test_install_refuses_out_proj() -> None:
    attention = nn.MultiheadAttention(4, 2)
    with pytest.raises(ValueError, match="never calls it"):
        install_mask(attention.out_proj, "weight", torch.ones(4, 4, dtype=torch.bool))


@pytest.mark.parametrize("requires_grad", [True, False])
def test_requires_grad_and_the_optimiser_survive(requires_grad: bool) -> None:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad_(requires_grad)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    install_mask(layer, "weight", HALF)
    assert layer.weight_orig.requires_grad is requires_grad
    assert any(p is layer.weight_orig for p in optimizer.param_groups[0]["params"])
    finalize(layer)
    assert layer.weight.requires_grad is requires_grad
    assert any(p is layer.weight for p in optimizer.param_groups[0]["params"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_bool_masks_keep_the_weights_precision(dtype: torch.dtype) -> None:
    layer = nn.Linear(2, 2).to(dtype)
    install_mask(layer, "weight", HALF)
    assert (layer.weight.dtype, layer.weight_mask.dtype) == (dtype, torch.bool)
    assert layer(torch.randn(3, 2, dtype=dtype)).dtype == dtype
    layer.float()  # a bool buffer stays bool where a float one would be converted
    assert (layer.weight_orig.dtype, layer.weight_mask.dtype) == (torch.float32, torch.bool)
    assert layer(torch.randn(3, 2)).dtype == torch.float32


# --- torch's functions on our masks ---------------------------------------------------------------------------------------


def test_prune_remove_makes_it_permanent() -> None:
    layer = nn.Linear(2, 2)
    weight, dense = layer.weight, layer.weight.detach().clone()
    install_mask(layer, "weight", HALF)
    prune.remove(layer, "weight")
    assert layer.weight is weight
    assert torch.equal(layer.weight, dense * HALF)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert not prune.is_pruned(layer)


@pytest.mark.parametrize("method", [prune.L1Unstructured, SICSMagnitude, SICSChaos, prune.RandomUnstructured])
@pytest.mark.parametrize("how", ["apply", "global"])
def test_a_later_torch_prune_on_top_of_ours(method: type, how: str, mlp: nn.Sequential) -> None:
    prune_model(mlp, "magnitude", amount=0.5)
    before = current_masks(mlp)
    pairs = [(mlp[0], "weight"), (mlp[2], "weight")]
    left = sum(int(m.sum()) for m in before.values())
    if how == "global":
        prune.global_unstructured(pairs, method, amount=0.5)
        removed = round(0.5 * left)
    else:
        for layer, name in pairs:
            method.apply(layer, name, 0.5)
        removed = sum(round(0.5 * int(m.sum())) for m in before.values())
    after = current_masks(mlp)
    assert sum(int(m.sum()) for m in after.values()) == left - removed
    assert all(bool((after[name] <= before[name]).all()) for name in before)
    mlp(torch.randn(2, 16))
    assert torch.equal(mlp[0].weight != 0, after["0.weight"])
    prune.remove(mlp[0], "weight")
    assert torch.equal(mlp[0].weight != 0, after["0.weight"])


def test_torchs_mask_and_ours_in_one_global_prune(mlp: nn.Sequential) -> None:
    """One layer masked by torch (float), one by us (bool), one not at all."""
    prune.l1_unstructured(mlp[0], "weight", 0.5)
    install_mask(mlp[2], "weight", torch.rand(32, 64) > 0.5)
    left = int(mlp[0].weight_mask.sum()) + int(mlp[2].weight_mask.sum()) + 128
    prune.global_unstructured([(mlp[i], "weight") for i in (0, 2, 4)], SICSMagnitude, amount=0.5)
    assert sum(int(mlp[i].weight_mask.sum()) for i in (0, 2, 4)) == left - round(0.5 * left)


# --- hashes ---------------------------------------------------------------------------------------------------------------


def test_hash_by_its_definition() -> None:
    """sha256 over, for every name in order, name, NUL, shape, NUL and the packed bits."""
    masks = {"b": torch.tensor([True, False, True]), "a": HALF}
    sha = hashlib.sha256(b"a\0(2, 2)\0" + np.packbits([1, 0, 0, 1]).tobytes() + b"b\0(3,)\0" + np.packbits([1, 0, 1]).tobytes())
    assert mask_hash(masks) == sha.hexdigest()


def test_hash_tells_bits_names_and_shapes_apart_and_nothing_else() -> None:
    one = {"w": HALF}
    assert len({mask_hash(m) for m in [one, {"w": ~HALF}, {"v": HALF}, {"w": HALF.reshape(4)}, {"w": HALF, "v": HALF}]}) == 5
    strided = torch.zeros(2, 4, dtype=torch.bool)
    strided[:, ::2] = HALF
    same = [{"w": HALF.float()}, {"w": HALF.bfloat16() * 3}, {"w": HALF.t().contiguous().t()}, {"w": strided[:, ::2]}]
    assert {mask_hash(m) for m in same} == {mask_hash(one)}
    assert mask_hash({"a": HALF, "b": ~HALF}) == mask_hash({"b": ~HALF, "a": HALF})


def test_report_and_model_have_the_same_hash(mlp: nn.Sequential) -> None:
    masks, planned = compute_masks(mlp, "chaos", amount=0.7)
    assert current_masks(mlp) == {}
    done = prune_model(mlp, "chaos", amount=0.7)
    assert mask_hash(masks) == planned.mask_hash == done.mask_hash == mask_hash(current_masks(mlp))


def test_report_and_model_have_the_same_hash_with_tied_weights(tied: nn.Module, tmp_path: Path) -> None:
    masks, planned = compute_masks(tied, "magnitude", amount=0.5)
    done = prune_model(tied, "magnitude", amount=0.5)
    assert mask_hash(masks) == planned.mask_hash == done.mask_hash == mask_hash(current_masks(tied))
    export_masks(tied, tmp_path / "m")
    assert load_masks(type(tied)(), tmp_path / "m") == done.mask_hash


# --- masked ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_masked_restores_every_bit_also_after_an_exception(mlp: nn.Sequential, dtype: torch.dtype) -> None:
    mlp.to(dtype)
    with torch.no_grad():
        mlp[0].weight[0, :3] = torch.tensor([-0.0, 1e-40, 3e38]).to(dtype)
    masks, _ = compute_masks(copy.deepcopy(mlp).float().apply(_tame), "magnitude", amount=0.7)
    before = {
        n: p.detach().clone().view(torch.int16 if dtype != torch.float32 else torch.int32) for n, p in mlp.named_parameters()
    }
    objects = dict(mlp.named_parameters())

    def use(fail: bool) -> None:
        with masked(mlp, masks) as same:
            assert same is mlp
            for name, mask in masks.items():
                weight = dict(mlp.named_parameters())[name]
                assert bool((weight[~mask] == 0).all())
                assert torch.equal(weight[mask].view(before[name].dtype), before[name][mask])
            if fail:
                with torch.no_grad():
                    mlp[0].weight.fill_(float("nan"))
                raise KeyError("boom")

    use(fail=False)
    with pytest.raises(KeyError, match="boom"):
        use(fail=True)
    for name, p in mlp.named_parameters():
        assert p is objects[name]
        assert torch.equal(p.detach().view(before[name].dtype), before[name])


def _tame(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        with torch.no_grad():
            module.weight.nan_to_num_(0, 1e30, -1e30)


def test_masked_evaluates_as_the_pruned_model(mlp: nn.Sequential) -> None:
    masks, _ = compute_masks(mlp, "chaos", amount=0.7)
    pruned, x = copy.deepcopy(mlp), torch.randn(4, 16)
    prune_model(pruned, "chaos", amount=0.7)
    dense = mlp(x)
    with masked(mlp, masks):
        assert torch.equal(mlp(x), pruned(x))
    assert torch.equal(mlp(x), dense)


def test_masked_with_tied_weights(tied: nn.Module) -> None:
    masks, _ = compute_masks(tied, "magnitude", amount=0.5)
    before = tied.first.weight.detach().clone()
    with masked(tied, masks):
        assert int((tied.second.weight == 0).sum()) == 128
    assert torch.equal(tied.first.weight, before)
    assert tied.second.weight is tied.first.weight


def test_masked_refuses_names_the_model_does_not_have(mlp: nn.Sequential) -> None:
    before = mlp[0].weight.detach().clone()
    with (
        pytest.raises(ValueError, match=r"no parameter 9\.weight"),
        masked(mlp, {"0.weight": torch.zeros(64, 16), "9.weight": HALF}),
    ):
        pass
    assert torch.equal(mlp[0].weight, before)


@pytest.mark.parametrize("shape", [(1,), (16,), (64, 1), (1, 16), (16, 64), ()])
def test_masked_refuses_masks_of_another_shape(mlp: nn.Sequential, shape: tuple[int, ...]) -> None:
    before = mlp[0].weight.detach().clone()
    with pytest.raises((ValueError, RuntimeError)), masked(mlp, {"0.weight": torch.zeros(shape, dtype=torch.bool)}):
        pass
    assert torch.equal(mlp[0].weight, before)


# --- finalize, clones and copies ------------------------------------------------------------------------------------------


def native(model: nn.Sequential) -> None:
    prune.global_unstructured([(model[0], "weight"), (model[2], "weight")], prune.L1Unstructured, amount=0.5)


def ours(model: nn.Sequential) -> None:
    prune_model(model, "magnitude", amount=0.5)


@pytest.mark.parametrize("how", [native, ours])
def test_finalize_leaves_plain_weights_with_zeros(how: Callable[[nn.Sequential], None], mlp: nn.Sequential) -> None:
    parameters, keys, x = list(mlp.parameters()), sorted(mlp.state_dict()), torch.randn(3, 16)
    how(mlp)
    pruned = mlp(x)
    masks = current_masks(mlp)
    assert finalize(mlp) is mlp
    assert sorted(mlp.state_dict()) == keys
    assert {id(p) for p in mlp.parameters()} == {id(p) for p in parameters}
    assert not prune.is_pruned(mlp)
    assert not any(m._forward_pre_hooks for m in mlp.modules())
    assert current_masks(mlp) == {}
    assert torch.equal(mlp[0].weight != 0, masks["0.weight"])
    assert torch.equal(mlp(x), pruned)
    copy.deepcopy(mlp)
    assert finalize(mlp) is mlp  # nothing left to do


def test_finalize_at_once(mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    a, b = prune_model(mlp, "chaos", amount=0.7, finalize=True), prune_model(twin, "chaos", amount=0.7)
    assert a == b
    finalize(twin)
    ours, theirs = dict(mlp.named_parameters()), dict(twin.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_finalize_at_once_leaves_other_prunes_alone(mlp: nn.Sequential) -> None:
    prune.l1_unstructured(mlp[4], "weight", 0.5)
    prune_model([(mlp[0], "weight")], "magnitude", amount=0.5, finalize=True)
    assert "weight_mask" in mlp[4]._buffers
    assert "weight_mask" not in mlp[0]._buffers


@pytest.mark.parametrize("how", [native, ours])
@pytest.mark.parametrize("forward", [False, True])
def test_clone_pruned_is_an_independent_twin(how: Callable[[nn.Sequential], None], forward: bool, mlp: nn.Sequential) -> None:
    """Also after a forward in train mode, when ``weight`` is a result of autograd."""
    how(mlp)
    if forward:
        mlp.train()
        mlp(torch.randn(3, 16)).sum().backward()
    if how is native or forward:
        with pytest.raises(RuntimeError, match="deepcopy"):
            copy.deepcopy(mlp)
    live = mlp[0].weight
    twin = clone_pruned(mlp)
    assert mlp[0].weight is live
    assert prune.is_pruned(twin)
    assert mask_hash(current_masks(twin)) == mask_hash(current_masks(mlp))
    x = torch.randn(3, 16)
    assert torch.equal(twin(x), mlp(x))
    with torch.no_grad():
        twin[0].weight_orig.fill_(5.0)
        twin[0].weight_mask.fill_(1)
    assert not torch.equal(twin(x), mlp(x))
    copy.deepcopy(clone_pruned(mlp))
    prune.remove(twin[2], "weight")
    assert "weight_mask" in mlp[2]._buffers


def test_deepcopy_after_prune_model(mlp: nn.Sequential) -> None:
    ours(mlp)
    twin, x = copy.deepcopy(mlp), torch.randn(3, 16)
    assert torch.equal(twin(x), mlp(x))
    with torch.no_grad():
        twin[0].weight_orig.mul_(2)
    assert not torch.equal(twin(x), mlp(x))
    assert torch.equal(twin[0].weight, twin[0].weight_orig * twin[0].weight_mask)


def test_deepcopy_after_prune_model_on_top_of_torchs_prune(mlp: nn.Sequential) -> None:
    native(mlp)
    ours(mlp)
    copy.deepcopy(mlp)


def test_clone_pruned_restores_the_model_when_copying_fails(mlp: nn.Sequential) -> None:
    native(mlp)
    mlp(torch.randn(1, 16))
    live = mlp[0].weight
    mlp.lock = iter(())  # type: ignore[assignment]

    class Uncopyable:
        def __deepcopy__(self, memo: dict) -> None:
            raise TypeError("cannot copy")

    mlp.lock = Uncopyable()  # type: ignore[assignment]
    with pytest.raises(TypeError, match="cannot copy"):
        clone_pruned(mlp)
    assert mlp[0].weight is live


# --- state dicts and training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [native, ours])
@pytest.mark.parametrize("source", [native, ours])
def test_state_dict_round_trip_into_a_fresh_pruned_model(source, target, make_mlp) -> None:
    torch.manual_seed(1)
    model = make_mlp()
    source(model)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh = make_mlp()
    target(fresh)
    assert mask_hash(current_masks(fresh)) != mask_hash(current_masks(model))
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert mask_hash(current_masks(fresh)) == mask_hash(current_masks(model))
    x = torch.randn(3, 16)
    assert torch.equal(fresh(x), model(x))
    dense = make_mlp()
    dense.load_state_dict(finalize(model).state_dict())
    assert torch.equal(dense(x), fresh(x))


@pytest.mark.parametrize("method", ["magnitude", "chaos"])
def test_masks_survive_optimizer_steps(method: str, mlp: nn.Sequential) -> None:
    """Also with momentum and weight decay, from an optimiser made before the prune."""
    optimizer = torch.optim.AdamW(mlp.parameters(), lr=0.1, weight_decay=0.1)
    nn.functional.cross_entropy(mlp(torch.randn(8, 16)), torch.randint(4, (8,))).backward()
    optimizer.step()
    prune_model(mlp, method, amount=0.7)
    masks = {name: mask.clone() for name, mask in current_masks(mlp).items()}
    before = mlp[0].weight_orig.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(mlp(torch.randn(8, 16)), torch.randint(4, (8,))).backward()
        assert bool((mlp[0].weight_orig.grad[~masks["0.weight"]] == 0).all())
        optimizer.step()
    mlp(torch.randn(1, 16))
    assert not torch.equal(mlp[0].weight_orig, before)
    for i in (0, 2):
        assert bool((mlp[i].weight[~masks[f"{i}.weight"]] == 0).all())
        assert bool((mlp[i].weight[masks[f"{i}.weight"]] != 0).all())
    finalize(mlp)
    assert torch.equal(mlp[0].weight != 0, masks["0.weight"])


def test_weight_is_stale_until_the_next_forward_and_masks_are_not(mlp: nn.Sequential) -> None:
    """The documented trap: measure sparsity from masks."""
    ours(mlp)
    with torch.no_grad():
        mlp[0].weight_orig.fill_(3.0)
    assert not torch.equal(mlp[0].weight, mlp[0].weight_orig * mlp[0].weight_mask)
    mlp(torch.randn(1, 16))
    assert torch.equal(mlp[0].weight, mlp[0].weight_orig * mlp[0].weight_mask)


# --- files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [native, ours])
def test_export_and_load(how: Callable[[nn.Sequential], None], mlp: nn.Sequential, tmp_path: Path) -> None:
    from safetensors import safe_open

    fresh = copy.deepcopy(mlp)
    how(mlp)
    path = tmp_path / "masks.safetensors"
    export_masks(mlp, path)
    with safe_open(str(path), "pt") as file:
        assert sorted(file.keys()) == ["0.weight", "2.weight"]
        assert all(file.get_tensor(k).dtype == torch.bool for k in file.keys())  # noqa: SIM118  (a safetensors handle is no dict)
        assert file.metadata() == {"format": "sics-masks", "mask_hash": mask_hash(current_masks(mlp))}
    assert load_masks(fresh, str(path)) == mask_hash(current_masks(mlp)) == mask_hash(current_masks(fresh))
    x = torch.randn(3, 16)
    assert torch.equal(fresh(x), mlp(x))
    assert sorted(fresh.state_dict()) == sorted(mlp.state_dict())


def test_load_goes_on_top_of_an_earlier_mask(make_mlp, tmp_path: Path) -> None:
    a, b = make_mlp(), make_mlp()
    ours(a)
    native(b)
    first, second = current_masks(a), current_masks(b)
    export_masks(a, tmp_path / "m")
    assert load_masks(b, tmp_path / "m") == mask_hash(first)
    assert mask_hash(current_masks(b)) == mask_hash({k: first[k] & second[k] for k in first})


def test_export_of_a_dense_model_is_refused(mlp: nn.Sequential, tmp_path: Path) -> None:
    for model in (mlp, finalize(copy.deepcopy(mlp))):
        with pytest.raises(ValueError, match="no mask to export: the model is not pruned, or was finalized"):
            export_masks(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ((16, 64, 4), r"no parameter 2\.weight|shape \(4, 64\) for 2\.weight"),
        ((16, 64, 31, 4), r"mask of shape \(31, 64\) for 2\.weight, got \(32, 64\)"),
    ],
)
def test_masks_of_another_model_leave_it_unchanged(sizes, match: str, make_mlp, mlp: nn.Sequential, tmp_path: Path) -> None:
    ours(mlp)
    export_masks(mlp, tmp_path / "m")
    other = make_mlp(sizes)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=match):
        load_masks(other, tmp_path / "m")
    assert not prune.is_pruned(other)
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_load_names_missing_parameters(mlp: nn.Sequential, tmp_path: Path) -> None:
    ours(mlp)
    export_masks(mlp, tmp_path / "m")
    with pytest.raises(ValueError, match=r"the model has no parameter 0\.weight, 2\.weight"):
        load_masks(nn.Linear(3, 3), tmp_path / "m")


def test_masks_of_what_is_read_without_a_call_are_loaded_and_hold(tmp_path: Path) -> None:
    """torch prunes ``out_proj`` without a word, and its mask goes stale; one that is loaded is put on where it is read."""

    def make() -> nn.Module:
        model = nn.Module()
        model.fc, model.zz = nn.Linear(8, 8), nn.MultiheadAttention(8, 2)
        return model

    source, fresh = make(), make()
    prune.l1_unstructured(source.fc, "weight", 0.5)
    prune.l1_unstructured(source.zz.out_proj, "weight", 0.5)
    export_masks(source, tmp_path / "m")
    load_masks(fresh, tmp_path / "m")
    with torch.no_grad():
        fresh.zz.out_proj.weight_orig.fill_(1.0)  # as a step of an optimiser would
    fresh.zz(*[torch.randn(3, 1, 8)] * 3)
    assert torch.equal(fresh.zz.out_proj.weight != 0, source.zz.out_proj.weight_mask != 0)


def test_masks_of_a_single_module_and_of_a_submodule(tmp_path: Path) -> None:
    layer = nn.Linear(8, 8)
    prune_model(layer, "magnitude", amount=0.5)
    export_masks(layer, tmp_path / "m")
    fresh = nn.Linear(8, 8)
    assert load_masks(fresh, tmp_path / "m") == mask_hash({"weight": layer.weight_mask})


def test_masks_of_tied_weights_round_trip(tied: nn.Module, tmp_path: Path) -> None:
    prune_model([(m, "weight") for m in (tied.embedding, tied.first, tied.second, tied.decoder)], "magnitude", amount=0.5)
    export_masks(tied, tmp_path / "m")
    torch.manual_seed(5)
    fresh = type(tied)()
    load_masks(fresh, tmp_path / "m")
    assert fresh.first.weight_orig is fresh.second.weight_orig
    assert mask_hash(current_masks(fresh)) == mask_hash(current_masks(tied))
    tokens = torch.arange(5)
    fresh.load_state_dict(tied.state_dict())
    assert torch.equal(fresh(tokens), tied(tokens))


def test_a_damaged_mask_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = nn.Linear(16, 8)
    install_mask(model, "weight", torch.rand(8, 16) > 0.5)
    export_masks(model, tmp_path / "masks.safetensors")
    masks = load_file(tmp_path / "masks.safetensors")
    masks["weight"][0, 0] ^= True
    save_file(masks, tmp_path / "masks.safetensors", metadata={"mask_hash": mask_hash(current_masks(model))})
    fresh = nn.Linear(16, 8)
    with pytest.raises(ValueError, match="damaged"):
        load_masks(fresh, tmp_path / "masks.safetensors")
    assert not current_masks(fresh)


class Rewound(nn.Linear):
    """Keeps its first weights under the name that torch gives to a pruned one's, as lottery tickets do."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.weight_orig = nn.Parameter(self.weight.detach().clone(), requires_grad=False)


def test_a_parameter_called_as_torchs_is_no_mask() -> None:
    model = nn.Sequential(Rewound(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert current_masks(model) == {}
    assert type(clone_pruned(model)[0]) is Rewound
    finalize(model)
    assert "weight_orig" in dict(model[0].named_parameters())
