"""Weights that are read without calling their layer: found in the code, and masked where they are read."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    Saliency,
    clone_pruned,
    current_masks,
    export_masks,
    finalize,
    load_masks,
    prunable_parameters,
    prune_model,
)
from sics_plugin.network.callers import RefreshedMask, readers

pytestmark = pytest.mark.filterwarnings("ignore:left out", "ignore:covers ")


class Reader(nn.Module):
    """Reads ``inner.qkv`` by itself, from a method that ``forward`` calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"qkv": nn.Linear(8, 8)})
        self.attend = nn.Module()
        self.attend.qkv = nn.Linear(8, 8)
        self.called, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != self.called.weight.dtype or self.called.weight is None:
            x = x.to(self.called.weight.dtype)
        return self.head(torch.relu(self.called(self._project(x))))

    def _project(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.attend.qkv.weight, self.attend.qkv.bias)


def attention_net() -> nn.Module:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.fc = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.attention(x, x, x)[0].mean(1))

    return Net()


def reader_net() -> nn.Module:
    torch.manual_seed(0)
    return Reader()


NETS = {"attention": (attention_net, "attention.out_proj.weight", (4, 5, 8)), "reader": (reader_net, "attend.qkv.weight", (4, 8))}


def found(model: nn.Module) -> list[str]:
    names = {id(module): path for path, module in model.named_modules()}
    return [f"{names[id(reader.module)]}.{reader.name}" for reader in readers(model)]


def test_reads_are_found_below_any_module_and_facts_are_none() -> None:
    assert found(Reader()) == ["attend.qkv.bias", "attend.qkv.weight"]  # a dtype or None is asked of `called`, not its values
    assert found(attention_net()) == ["attention.out_proj.bias", "attention.out_proj.weight"]
    assert found(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) == []


def test_torchvisions_swin_and_timms_beit_read_their_attention_themselves() -> None:
    torchvision, timm = pytest.importorskip("torchvision"), pytest.importorskip("timm")
    swin = torchvision.models.swin_transformer.ShiftedWindowAttention(8, [2, 2], [0, 0], 2)
    assert set(found(swin)) == {f"{layer}.{own}" for layer in ("qkv", "proj") for own in ("weight", "bias")}
    beit = timm.models.beit.Attention(8, 2, qkv_bias=True)
    assert found(beit) == ["qkv.weight"]
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    dense = t5.T5DenseActDense(pytest.importorskip("transformers").T5Config(d_model=8, d_ff=16))
    assert found(dense) == []  # it asks `wo.weight` for its type only, and calls it


@pytest.mark.parametrize("name", NETS)
def test_what_is_read_elsewhere_is_left_out_with_a_line_and_refused_to_nobody_who_names_it(name: str) -> None:
    make, path, _ = NETS[name]
    model = make()
    with pytest.warns(UserWarning, match=f"left out, read without calling its layer: {path}; a pruning hook there would not run"):
        default = prunable_parameters(model)
    listed = prunable_parameters(model, uncalled=True)
    assert len(listed) == len(default) + 1
    report = prune_model(model, "magnitude", amount=0.5, params=listed)
    assert path in current_masks(model)
    assert [layer.name for layer in report.layers].count(path) == 1


@pytest.mark.parametrize("name", NETS)
def test_the_mask_holds_where_the_weight_is_read_and_the_weight_trains(name: str) -> None:
    make, path, shape = NETS[name]
    model = make()
    prune_model(model, "magnitude", amount=0.5, params=[path])
    module = model.get_submodule(path.removesuffix(".weight"))
    mask, before = module.weight_mask.clone(), module.weight_orig.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    for step in range(3):
        optimizer.zero_grad()
        model(torch.randn(shape, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        assert bool((module.weight_orig.grad[mask] != 0).any())
        assert bool((module.weight_orig.grad[~mask] == 0).all())
        optimizer.step()
    assert bool((module.weight_orig[mask] != before[mask]).any())
    with torch.no_grad():
        module.weight_orig[~mask] = 9.0  # whatever an optimiser with weight decay makes of them
        x = torch.randn(shape)
        hooked = model(x)
        plain = finalize(clone_pruned(model))
        assert torch.equal(plain(x), hooked)
    assert bool((plain.get_submodule(path.removesuffix(".weight")).weight[~mask] == 0).all())


@pytest.mark.parametrize("name", NETS)
def test_hooks_of_reading_are_one_a_weight_travel_with_the_model_and_go_with_the_mask(name: str, tmp_path: Path) -> None:
    make, path, shape = NETS[name]
    model = make()
    for amount in (0.3, 0.5):
        prune_model(model, "magnitude", amount=amount, params=[path])
    refreshes = [hook for m in model.modules() for hook in m._forward_pre_hooks.values() if isinstance(hook, RefreshedMask)]
    assert len(refreshes) == 1
    x = torch.randn(shape)
    with torch.no_grad():
        expected = model(x)
    if name == "attention":
        return  # a class of a function is not pickled
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        with torch.no_grad():
            assert torch.equal(twin(x), expected)
    export_masks(model, tmp_path / "masks")
    fresh = make()
    load_masks(fresh, tmp_path / "masks")
    with torch.no_grad():
        assert torch.equal(fresh(x), expected)
    prune.remove(model.get_submodule("attend.qkv"), "weight")  # torch's own: the hook that reads finds nothing to do
    with torch.no_grad():
        assert torch.equal(model(x), expected)
    finalize(model)
    assert not any(m._forward_pre_hooks for m in model.modules())


class Two(nn.Module):
    """Calls ``called`` and reads ``read``, or the layers in ``more``, in one of many ways."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.called, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.more = nn.ModuleList([nn.Linear(8, 8)])

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.head(torch.tanh(self.called(self.project(x, bias))))

    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return x


class Transposed(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return x @ self.read.weight.t()


class Converted(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, self.read.weight.to(x.dtype))


class BesideNone(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, self.read.weight, bias if bias is not None else None)


class Alias(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        layer = self.read
        own = layer
        return nn.functional.linear(x, own.weight)


class Closure(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        layer = self.read

        def run(y: Tensor) -> Tensor:
            return nn.functional.linear(y, layer.weight)

        return run(x)


class Property(Two):
    @property
    def weight_of_it(self) -> Tensor:
        return self.read.weight

    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, self.weight_of_it)


class Subscript(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, self.more[0].weight)


class Loop(Two):
    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        for layer in self.more:
            x = nn.functional.linear(x, layer.weight)
        return x


class Base(Alias):
    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return super().forward(x, bias)


class NamedBase(Alias):
    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return Alias.forward(self, x, bias)


class Inner(nn.Module):
    """Its own ``forward`` calls the layer; a method that others call reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)

    def apply_weight(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.read.weight)


class Method(Two):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return self.inner.apply_weight(x)


WAYS = {
    "read.weight": (Transposed, Converted, BesideNone, Alias, Closure, Property, Base, NamedBase),
    "more.0.weight": (Subscript, Loop),
    "inner.read.weight": (Method,),
}


@pytest.mark.parametrize(("path", "way"), [(path, way) for path, ways in WAYS.items() for way in ways])
def test_every_way_of_reading_a_weight_is_found_and_masked_there(path: str, way: type[Two]) -> None:
    torch.manual_seed(0)
    model = way()
    assert found(model) == [path]
    prune_model(model, "magnitude", amount=0.5, params=[path])
    module = model.get_submodule(path.removesuffix(".weight"))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    before = module.weight_orig.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()
    assert torch.equal(module.weight_orig[~module.weight_mask], before[~module.weight_mask])
    assert bool((module.weight_orig[module.weight_mask] != before[module.weight_mask]).any())


def test_subclasses_of_torchs_attention_read_its_projection_and_those_of_its_layers_call_theirs() -> None:
    class Attention(nn.MultiheadAttention):
        def forward(self, *args: Tensor, **kwargs: bool) -> tuple[Tensor, Tensor | None]:
            return super().forward(*args, **kwargs)

    class Layer(nn.TransformerEncoderLayer):
        pass

    assert found(Attention(8, 2)) == ["out_proj.bias", "out_proj.weight"]
    stack = nn.TransformerEncoder(Layer(8, 2, 16), 1, enable_nested_tensor=False)  # their fast paths need no hook
    assert found(stack) == [f"layers.0.self_attn.out_proj.{own}" for own in ("bias", "weight")]


def test_what_is_asked_of_a_weight_by_another_name_is_no_read() -> None:
    class Asks(Two):
        def project(self, x: Tensor, bias: Tensor | None) -> Tensor:
            layer = self.called
            zeros = self.called.weight.new_zeros(8)
            return self.read(x.to(layer.weight.device.type)) + zeros + layer.weight.shape[0]

    assert found(Asks()) == []


class Hidden(nn.Module):
    """Reads a weight in a way that its code does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:1]:
            x = torch.tanh(nn.functional.linear(x, layer.weight))
        return self.head(self.layers[1](x))


def test_what_only_batches_show_is_refused_where_a_hook_would_not_run() -> None:
    torch.manual_seed(0)
    model = Hidden()
    saliency = Saliency(model, [(torch.randn(16, 8), torch.randint(3, (16,)))])
    assert saliency.read_elsewhere == {"layers.0.weight"}
    before = {name: p.clone() for name, p in model.state_dict().items()}
    for what in (model, prunable_parameters(model)):
        with pytest.raises(ValueError, match=r"weight: read without calling its layer, as the saliency's batches showed, so a"):
            prune_model(what, "chaos", amount=0.5, saliency=saliency)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    with pytest.warns(
        UserWarning, match=r"read without calling its layer: \[0\]\.weight; torch's pruning hook there would not run"
    ):
        saliency.vector(prunable_parameters(model))
    report = prune_model(model, "chaos", amount=0.5, saliency=saliency, params=["layers.1.weight"])
    assert report.pruned == 32
    prune_model(model, "chaos", amount=0.5, saliency=saliency, params=["layers.0.weight"], finalize=True)
    assert int((model.layers[0].weight == 0).sum()) == 32
