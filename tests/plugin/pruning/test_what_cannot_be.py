"""What cannot be pruned is refused in one line that says what to do instead, at every entry, and nothing is changed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin as sics


def state(model: nn.Module) -> dict[str, Any]:
    """All that a prune may change: objects, bits, order, hooks."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        for kind in ("_parameters", "_buffers", "_forward_pre_hooks"):
            found[f"{path}:{kind}"] = [(key, id(value)) for key, value in getattr(module, kind).items()]
        found[f"{path}:attributes"] = sorted(module.__dict__)
        for name, tensor in module._parameters.items():
            if tensor is not None and not tensor.is_meta and type(tensor) is nn.Parameter and tensor.layout == torch.strided:
                found[f"{path}.{name}"] = tensor.detach().contiguous().view(torch.uint8).clone()
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(a, other[key]) if isinstance(a, Tensor) else a == other[key] for key, a in one.items()
    )


class Attention(nn.Module):
    """Two layers of which the second is the odd one."""

    def __init__(self, odd: nn.Module) -> None:
        super().__init__()
        self.plain, self.odd = nn.Linear(8, 8), odd


def parameter(values: Tensor) -> nn.Module:
    module = nn.Linear(8, 8)
    module.weight = nn.Parameter(values, requires_grad=False)
    return module


def old(norm: Callable[..., nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return norm(nn.Linear(8, 8))


def sparse() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of a form in beta
        return parameter(torch.eye(8).to_sparse_csr())


KINDS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "meta": (
        lambda: nn.Linear(8, 8, device="meta"),
        r"Expected parameters with values to prune, got \S+ on the meta device: load its weights first",
    ),
    "lazy": (lambda: nn.LazyLinear(8), r"\S+ has no shape yet, its module is lazy: run one batch through the model first"),
    "sparse": (sparse, r"\S+ is sparse \(torch\.sparse_csr\), and .*: make it dense first, \.to_dense\(\)"),
    "int8": (
        lambda: parameter(torch.ones(8, 8, dtype=torch.int8)),
        r"Expected \S+ to be of a floating point type, got torch\.int8: prune before quantising",
    ),
    "complex": (lambda: parameter(torch.ones(8, 8, dtype=torch.complex64)), r"floating point type, got torch\.complex64"),
    "shard": (
        lambda: parameter(torch.ones(17)),
        r"\S+ of a Linear has shape \(17,\), as shards have: prune the whole model and shard it afterwards, or gather",
    ),
    "parametrization": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
        r"it is computed by a parametrization \(_WeightNorm\): torch\.nn\.utils\.parametrize\.remove_parametrizations\(",
    ),
    "spectral": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
        r"it is computed by a parametrization \(_SpectralNorm\)",
    ),
    "old weight_norm": (
        lambda: old(nn.utils.weight_norm),
        r"it is computed by a WeightNorm hook: torch\.nn\.utils\.remove_weight_norm\(module, 'weight'\)",
    ),
    "old spectral_norm": (
        lambda: old(nn.utils.spectral_norm),
        r"it is computed by a SpectralNorm hook: torch\.nn\.utils\.remove_spectral_norm\(module, 'weight'\)",
    ),
}

Pairs = list[tuple[nn.Module, str]]
ENTRIES: dict[str, Callable[[Pairs], object]] = {
    "global": lambda pairs: sics.prune_model(pairs, "magnitude", amount=0.5),
    "chaos": lambda pairs: sics.prune_model(pairs, "chaos", amount=0.5),
    "finalize": lambda pairs: sics.prune_model(pairs, "magnitude", amount=0.5, finalize=True),
    "layer": lambda pairs: sics.prune_model(pairs, "magnitude", amount=0.5, pool="layer"),
    "row": lambda pairs: sics.prune_model(pairs, "magnitude", amount=0.5, pool="row"),
    "erk": lambda pairs: sics.prune_model(pairs, "magnitude", amount=0.5, pool="erk"),
    "N:M": lambda pairs: sics.prune_n_m(pairs, "magnitude", 2, 4),
    "compute_masks": lambda pairs: sics.compute_masks(pairs, "magnitude", amount=0.5),
    "prune_to_sparsity": lambda pairs: sics.prune_to_sparsity(pairs, "magnitude", 0.5),
    "mask_zeros": sics.mask_zeros,
    "checked": lambda pairs: sics.global_unstructured(pairs, sics.SICSChaos, amount=0.5),
    "checked, torch's": lambda pairs: sics.global_unstructured(pairs, prune.L1Unstructured, amount=0.5),
    "apply": lambda pairs: sics.SICSMagnitude.apply(*pairs[1], amount=0.5),
    "apply, structured": lambda pairs: sics.SICSStructuredMagnitude.apply(*pairs[1], amount=0.5),
    "apply, N:M": lambda pairs: sics.SICSNofM.apply(*pairs[1], 2, 4),
    "install_mask": lambda pairs: sics.install_mask(*pairs[1], torch.ones(8, 8, dtype=torch.bool)),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_pruned_is_refused_and_nothing_changes(kind: str, entry: str) -> None:
    make, message = KINDS[kind]
    model = Attention(make())
    before = state(model)
    with pytest.raises((TypeError, ValueError), match=message) as raised:
        ENTRIES[entry]([(model.plain, "weight"), (model.odd, "weight")])
    assert "\n" not in str(raised.value)
    assert same(state(model), before)


@pytest.mark.parametrize("kind", ["meta", "lazy", "int8", "shard"])
def test_a_whole_model_is_refused_too(kind: str) -> None:
    make, message = KINDS[kind]
    model = nn.Sequential(nn.Linear(8, 8), make(), nn.Linear(8, 4))
    before = state(model)
    for call in (sics.prune_model, sics.compute_masks):
        with pytest.raises((TypeError, ValueError), match=message):
            call(model, "magnitude", amount=0.5)
    assert same(state(model), before)


def test_a_distributed_tensor_is_refused(tmp_path: Path) -> None:
    from torch import distributed
    from torch.distributed.tensor import DeviceMesh, Replicate, distribute_tensor

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = Attention(nn.Linear(8, 8))
        mesh = DeviceMesh("cpu", [0])
        model.odd.weight = nn.Parameter(distribute_tensor(torch.randn(8, 8), mesh, [Replicate()]))
        before = state(model)
        for entry in ENTRIES.values():
            with pytest.raises(
                TypeError, match=r"is a DTensor, a shard of a distributed weight: prune the whole model and shard"
            ):
                entry([(model.plain, "weight"), (model.odd, "weight")])
        assert same(state(model), before)
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("kind", ["parametrization", "spectral", "old weight_norm", "old spectral_norm"])
def test_a_computed_weight_is_left_out_of_a_list_made_for_the_user(kind: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), KINDS[kind][0](), nn.Linear(8, 2))
    with pytest.warns(UserWarning, match=r"left out, parametrised: 1\.\S+; a mask would not reach the parameter itself"):
        assert sics.prunable_parameters(model) == [(model[0], "weight")]


# --- eight bits -----------------------------------------------------------------------------------------------------------

FP8 = [torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", FP8)
def test_eight_bit_floats_are_pruned_for_good_and_refused_elsewhere(dtype: torch.dtype) -> None:
    def make() -> nn.Module:
        return Attention(parameter(torch.linspace(-2, 2, 64).reshape(8, 8).to(dtype)))

    for name, entry in ENTRIES.items():
        model = make()
        before = state(model)
        if name in ("finalize", "compute_masks"):
            entry([(model.plain, "weight"), (model.odd, "weight")])
            continue
        with pytest.raises(TypeError, match=r"cannot multiply \S+ of torch\.float8_\w+ by a mask: use finalize=True"):
            entry([(model.plain, "weight"), (model.odd, "weight")])
        assert same(state(model), before)
    model = make()
    with torch.no_grad():
        model.odd.weight.view(torch.uint8)[0, :4] = torch.tensor([0, 0x80, 0, 0], dtype=torch.uint8)  # 0.0 and -0.0
    report = sics.prune_to_sparsity([(model.odd, "weight")], "magnitude", 0.5, finalize=True)
    assert (report.zeros, report.pruned) == (32, 32)
    assert int((model.odd.weight.float() == 0).sum()) == 32
    assert not bool((model.odd.weight.view(torch.uint8) == 0x80).any())


def test_types_without_a_zero_are_refused() -> None:
    for name in ("float8_e8m0fnu", "float4_e2m1fn_x2"):
        if (dtype := getattr(torch, name, None)) is not None:
            layer = parameter(torch.empty(8, 8, dtype=dtype))
            with pytest.raises(TypeError, match=f"floating point type, got torch.{name}"):
                sics.prune_model([(layer, "weight")], "magnitude", amount=0.5, finalize=True)


# --- lists ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda m: m.parameters, r"got the method parameters: hand over the model, or prunable_parameters\(model\)"),
        (lambda m: m.parameters(), r"got a Parameter at position 0, as model\.parameters\(\) gives: hand over the model"),
        (lambda m: list(m.parameters()), r"got a Parameter at position 0, as model\.parameters\(\) gives"),
        (lambda m: m.named_parameters(), r"got '0.weight' and a Parameter at position 0, as model\.named_parameters\(\) gives"),
        (lambda m: m.named_modules(), r"got '' and a Sequential at position 0, as model\.named_modules\(\) gives"),
        (lambda m: m[0].weight, r"\(module, name\) pairs, got Parameter"),
        (lambda m: "0.weight", r"\(module, name\) pairs, got str"),
        (lambda m: m.state_dict(), r"\(module, name\) pairs, got '0\.weight' at position 0"),
        (lambda m: None, r"\(module, name\) pairs, got NoneType"),
    ],
)
@pytest.mark.parametrize(
    "entry", ["global", "finalize", "N:M", "compute_masks", "prune_to_sparsity", "mask_zeros", "checked", "checked, torch's"]
)
def test_what_is_no_list_of_pairs(entry: str, given: Callable[[Any], Any], message: str, mlp: nn.Sequential) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        ENTRIES[entry](given(mlp))
    assert "\n" not in str(raised.value)
    assert not prune.is_pruned(mlp)


# --- per cent -------------------------------------------------------------------------------------------------------------


def wide() -> nn.Linear:
    return nn.Linear(400, 200)


PER_CENT = {
    "prune_model": lambda m, a: sics.prune_model(m, "magnitude", amount=a),
    "compute_masks": lambda m, a: sics.compute_masks(m, "magnitude", amount=a),
    "checked": lambda m, a: sics.global_unstructured(m, sics.SICSMagnitude, amount=a),
    "checked, torch's": lambda m, a: sics.global_unstructured(m, prune.L1Unstructured, amount=a),
    "torch's own call": lambda m, a: prune.global_unstructured([(m, "weight")], sics.SICSMagnitude, amount=a),
    "apply": lambda m, a: sics.SICSMagnitude.apply(m, "weight", amount=a),
}


@pytest.mark.parametrize("entry", PER_CENT)
def test_a_whole_number_that_looks_like_per_cent_is_said(entry: str) -> None:
    with pytest.warns(UserWarning, match=r"^`amount` 80 is 80 weights of 80,000; 0\.8 is 80 %$") as said:
        PER_CENT[entry](wide(), 80)
    assert len(said) == 1
    assert said[0].filename == __file__


@pytest.mark.parametrize("amount", [0, 101, 800, 0.01, 40_000])
@pytest.mark.parametrize("entry", PER_CENT)
def test_other_amounts_are_not(entry: str, amount: float | int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PER_CENT[entry](wide(), amount)


def test_small_pools_and_steps_towards_a_sparsity_are_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sics.prune_model(nn.Linear(33, 30), "magnitude", amount=1)
        sics.prune_to_sparsity(wide(), "magnitude", 0.001)


def test_a_number_of_channels_that_looks_like_per_cent() -> None:
    mlp = nn.Sequential(nn.Linear(2, 2000), nn.ReLU(), nn.Linear(2000, 2))
    with pytest.warns(UserWarning, match=r"`amount` 1 is 1 channel of 2,000; 0\.01 is 1 %"):
        sics.prune_channels(mlp, "magnitude", 1, groups=[sics.channel_group(mlp, "0", "2")])


# --- mask files -----------------------------------------------------------------------------------------------------------


def _saved(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    from safetensors.torch import save_file

    save_file(tensors, str(path), metadata=metadata)
    return path


def test_files_that_hold_no_masks_are_refused(mlp: nn.Sequential, tmp_path: Path) -> None:
    before = state(mlp)
    weights = {name: p.detach().clone() for name, p in mlp.named_parameters()}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    (tmp_path / "weights.pt").write_bytes(buffer.getvalue())
    (tmp_path / "empty").write_bytes(b"")
    claims = {"format": "sics-masks"}
    cases: list[tuple[Path, type[Exception], str]] = [
        (_saved(tmp_path / "dense", weights), ValueError, r"holds no masks: 0\.\w+ has other values than 0 and 1\. export_masks"),
        (_saved(tmp_path / "claims", weights, claims), ValueError, r"holds no masks"),
        (_saved(tmp_path / "none", {}), ValueError, "holds no mask$"),
        (tmp_path / "weights.pt", ValueError, r"Expected a safetensors file, \S+weights\.pt is none, or is cut short"),
        (tmp_path / "empty", ValueError, r"Expected a safetensors file, \S+empty is none"),
        (tmp_path / "missing", FileNotFoundError, r"Expected a safetensors file, there is none at \S+missing"),
        (tmp_path, IsADirectoryError, "Expected a safetensors file, got the folder"),
    ]
    for path, error, message in cases:
        with pytest.raises(error, match=message) as raised:
            sics.load_masks(mlp, path)
        assert "\n" not in str(raised.value)
        assert same(state(mlp), before)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.bfloat16])
def test_masks_of_zeros_and_ones_load_from_anybody(dtype: torch.dtype, tmp_path: Path) -> None:
    mask = torch.rand(8, 8) > 0.5
    layer = nn.Linear(8, 8)
    sics.load_masks(layer, _saved(tmp_path / "m", {"weight": mask.to(dtype)}))
    assert torch.equal(sics.current_masks(layer)["weight"], mask)


@pytest.mark.parametrize("values", [torch.full((8, 8), 0.5), torch.full((8, 8), float("nan")), torch.full((8, 8), 2)])
def test_masks_of_other_values_are_refused(values: Tensor) -> None:
    layer = nn.Linear(8, 8)
    before = state(layer)
    with pytest.raises(ValueError, match="Expected a mask of zeros and ones for weight, got other values"):
        sics.install_mask(layer, "weight", values)
    with pytest.raises(ValueError, match="zeros and ones"), sics.masked(layer, {"weight": values}):
        pass
    assert same(state(layer), before)


@pytest.mark.parametrize("method", [sics.SICSMagnitude, sics.SICSChaos, sics.SICSStructuredMagnitude, sics.SICSNofM])
def test_a_method_asked_for_a_mask_of_what_has_no_values(method: Any) -> None:
    made = method(2, 4) if method is sics.SICSNofM else method(0.5)
    for t, error in ((torch.empty(8, 8, device="meta"), ValueError), (torch.ones(8, 8, dtype=torch.int64), TypeError)):
        with pytest.raises(error, match="the tensor to prune"):
            made.compute_mask(t, torch.ones_like(t))


@pytest.mark.parametrize("form", ["FSDP", "FSDP, original parameters", "fully_shard", "DDP"])
def test_models_that_are_distributed(form: str, tmp_path: Path) -> None:
    """One process: whole weights have the bare model's names, pieces are refused."""
    from torch import distributed
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.tensor import DeviceMesh
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
        if form == "fully_shard":
            model = fully_shard(model, mesh=DeviceMesh("cpu", [0]))
        elif form == "DDP":
            model = DistributedDataParallel(model)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                own = form == "FSDP, original parameters"
                model = FullyShardedDataParallel(model, use_orig_params=own, device_id=torch.device("cpu"))
        if form in ("DDP", "FSDP, original parameters"):
            assert list(sics.compute_masks(model, "magnitude", amount=0.5)[0]) == ["0.weight"]
            return
        with pytest.raises((TypeError, ValueError), match="prune the whole model and shard it afterwards, or gather its weights"):
            sics.prune_model(model, "magnitude", amount=0.5)
    finally:
        distributed.destroy_process_group()
