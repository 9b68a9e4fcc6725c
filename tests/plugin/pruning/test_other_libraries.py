"""What docs/recipes.md says of pruned models in transformers' Trainer and in peft, measured with the libraries themselves."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import current_masks, export_masks, finalize, load_masks, prunable_parameters, prune_model

RECIPES = Path(__file__).parents[3] / "docs" / "recipes.md"
SECTIONS = re.split(r"^## ", RECIPES.read_text(encoding="utf-8"), flags=re.M)[1:]
EXAMPLES = {part.splitlines()[0]: re.findall(r"```python\n(.*?)```", part, re.DOTALL) for part in SECTIONS}
OTHERS = ("transformers", "peft", "lightning", "diffusers", "torch_geometric", "torch_pruning")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Other libraries' logs and warnings of deprecation."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def make_gpt2() -> Callable[[], Any]:
    """``make_gpt2()``: a language model of two narrow blocks, the same every time."""
    transformers = pytest.importorskip("transformers")

    def make() -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": 64, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))

    return make


@pytest.fixture
def texts() -> list[dict[str, Tensor]]:
    tokens = torch.randint(64, (16, 8), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in tokens]


@pytest.fixture
def trainer(texts: list[dict[str, Tensor]], tmp_path: Path) -> Callable[..., Any]:
    """``trainer(model)``: the library's own, for three steps on the CPU."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    def make(model: nn.Module, **settings: Any) -> Any:
        given = {"max_steps": 3, "save_strategy": "no", **settings}
        quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "logging_strategy": "no"}
        arguments = transformers.TrainingArguments(str(tmp_path / "trainer"), per_device_train_batch_size=4, **quiet, **given)
        return transformers.Trainer(model, arguments, train_dataset=texts)

    return make


def sparsity(model: nn.Module) -> float:
    """Of the weights that the model computes with."""
    weights = [getattr(module, name) for module, name in prunable_parameters(model)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def said(model: nn.Module, texts: list[dict[str, Tensor]]) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.stack([t["input_ids"] for t in texts])).logits


# --- transformers.Trainer -------------------------------------------------------------------------------------------------


def test_the_trainer_keeps_the_zeros_of_a_hooked_model(make_gpt2: Callable[[], Any], trainer: Callable[..., Any]) -> None:
    model = make_gpt2()
    prune_model(model, "magnitude", amount=0.5)
    masks = current_masks(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer(model, weight_decay=0.1).train()
    model.eval()(input_ids=torch.tensor([[1, 2]]))
    assert len(masks) == 8
    for name, mask in masks.items():
        stored, path = model.get_parameter(f"{name}_orig"), name.removesuffix(".weight")
        assert not torch.equal(stored[mask], before[f"{name}_orig"][mask]), f"{name} did not train"
        assert torch.equal(model.get_submodule(path).weight == 0, ~mask), f"{name} has other zeros"


def test_a_checkpoint_of_the_trainer_resumes_into_a_model_with_masks(
    make_gpt2: Callable[[], Any], trainer: Callable[..., Any], texts: list[dict[str, Tensor]]
) -> None:
    """Two steps, a checkpoint, and two more in a fresh model that was pruned elsewhere: as four at a stretch."""
    outputs, masks = [], []
    for resumed in (False, True):
        model = make_gpt2()
        prune_model(model, "magnitude" if not resumed else "random", amount=0.5)
        run = trainer(model, max_steps=4, save_strategy="steps", save_steps=2, lr_scheduler_type="constant")
        run.train(resume_from_checkpoint=str(Path(run.args.output_dir) / "checkpoint-2") if resumed else None)
        outputs.append(said(model, texts))
        masks.append(current_masks(model))
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])
    torch.testing.assert_close(*outputs)


def test_finalised_goes_through_save_pretrained_and_hooked_does_not(
    make_gpt2: Callable[[], Any], texts: list[dict[str, Tensor]], tmp_path: Path
) -> None:
    model = make_gpt2()
    prune_model(model, "magnitude", amount=0.5)
    expected = said(model, texts)
    model.save_pretrained(tmp_path / "hooked")
    assert sparsity(type(model).from_pretrained(tmp_path / "hooked")) < 0.01  # drawn at random: the trap of the page
    finalize(model).save_pretrained(tmp_path / "finalised")
    again = type(model).from_pretrained(tmp_path / "finalised")
    assert sparsity(again) == 0.5
    assert torch.equal(said(again, texts), expected)


def test_a_finalised_model_loses_its_zeros_in_training_unless_the_masks_come_back(
    make_gpt2: Callable[[], Any], trainer: Callable[..., Any], tmp_path: Path
) -> None:
    found = []
    for masked in (False, True):
        model = make_gpt2()
        prune_model(model, "magnitude", amount=0.5)
        export_masks(model, tmp_path / "masks.safetensors")
        finalize(model)
        if masked:
            load_masks(model, tmp_path / "masks.safetensors")
        trainer(model).train()
        found.append(sparsity(finalize(model)))
    assert found == [pytest.approx(0, abs=0.01), 0.5]


# --- peft -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_lora() -> Callable[[nn.Module], Any]:
    """``with_lora(base)``: adapters on every layer, at random rather than at zero, as if trained."""
    peft = pytest.importorskip("peft")

    def make(base: nn.Module) -> Any:
        where = ["c_attn", "c_fc", "c_proj"]
        return peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=where, fan_in_fan_out=True, init_lora_weights=False))

    return make


def test_lora_on_a_finalised_base_merges_and_is_masked_again(
    make_gpt2: Callable[[], Any], with_lora: Callable[[nn.Module], Any], texts: list[dict[str, Tensor]], tmp_path: Path
) -> None:
    model = make_gpt2()
    prune_model(model, "magnitude", amount=0.5)
    masks = current_masks(model)
    export_masks(model, tmp_path / "masks.safetensors")
    steps = [sparsity(finalize(model))]
    adapted = with_lora(model)
    steps.append(sparsity(adapted))
    beside = said(adapted, texts)
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(said(merged, texts), beside, rtol=1e-3, atol=1e-4)
    steps.append(sparsity(merged))
    dense = {name: merged.get_parameter(name).detach().clone() for name in masks}
    load_masks(merged, tmp_path / "masks.safetensors")
    finalize(merged)
    steps.append(sparsity(merged))
    assert steps == [0.5, 0.5, pytest.approx(0, abs=0.001), 0.5]
    assert all(torch.equal(merged.get_parameter(name), dense[name] * mask) for name, mask in masks.items())


def test_lora_beside_a_hooked_base_trains_with_the_zeros_kept(
    make_gpt2: Callable[[], Any], with_lora: Callable[[nn.Module], Any], trainer: Callable[..., Any]
) -> None:
    model = make_gpt2()
    prune_model(model, "magnitude", amount=0.5)
    adapted = with_lora(model)
    adapters = {name: p.detach().clone() for name, p in adapted.named_parameters() if "lora_" in name}
    trainer(adapted).train()
    assert sparsity(adapted) == 0.5
    assert all(not torch.equal(adapted.get_parameter(name), p) for name, p in adapters.items())


def test_a_merge_into_a_hooked_base_is_lost_and_into_a_base_finalised_late_is_not(
    make_gpt2: Callable[[], Any], with_lora: Callable[[nn.Module], Any], texts: list[dict[str, Tensor]]
) -> None:
    """The hook makes `weight` anew from `weight_orig`: the trap of the page, and its way out."""
    alone = make_gpt2()
    prune_model(alone, "magnitude", amount=0.5)
    found = []
    for late in (False, True):
        model = make_gpt2()
        prune_model(model, "magnitude", amount=0.5)
        adapted = with_lora(model)
        beside = said(adapted, texts)
        assert (beside - said(alone, texts)).abs().max() > 0.1
        if late:
            finalize(adapted)
        merged = adapted.merge_and_unload()
        outputs = said(merged, texts)
        found.append((torch.equal(outputs, said(alone, texts)), torch.allclose(outputs, beside, rtol=1e-3, atol=1e-4)))
    assert found == [(True, False), (False, True)]


def test_masks_of_an_adapted_model_have_its_names_and_are_refused_by_the_merged_one(
    make_gpt2: Callable[[], Any], with_lora: Callable[[nn.Module], Any], tmp_path: Path
) -> None:
    adapted = with_lora(make_gpt2())
    with pytest.warns(UserWarning, match=r"left out, adapter: .*merge adapters before or mask again after"):
        prune_model(adapted, "magnitude", amount=0.5)
    export_masks(adapted, tmp_path / "masks.safetensors")
    finalize(adapted)
    with pytest.raises(ValueError, match=r"the model has no parameter .*base_layer\.weight"):
        load_masks(adapted.merge_and_unload(), tmp_path / "masks.safetensors")


# --- the page -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", [title for title, blocks in EXAMPLES.items() if blocks])
def test_the_recipe_runs_as_printed(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in OTHERS:
        if re.search(rf"^(?:from|import) {name}\b", "\n".join(EXAMPLES[title]), re.M):
            pytest.importorskip(name)
    namespace: dict[str, object] = {"__name__": "recipe"}
    for block in EXAMPLES[title]:
        exec(compile(block, f"{RECIPES.name}, {title}", "exec"), namespace)
    printed = capsys.readouterr().out
    shown = re.search(r"```text\n(.*?)```", next(part for part in SECTIONS if part.startswith(title)), re.DOTALL)
    for line in shown[1].splitlines() if shown else ():
        assert line.removesuffix("…") in printed


def test_a_linear_layer_of_torch_geometric_saves_the_weight_of_the_last_forward() -> None:
    """The trap of the page: no names of torch's prune, and a step behind until the next forward."""
    library = pytest.importorskip("torch_geometric.nn")
    torch.manual_seed(0)
    layer = library.Linear(8, 8)
    prune_model([(layer, "weight")], "magnitude", amount=0.5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    found = []
    for _ in range(2):
        state = layer.state_dict()
        assert sorted(state) == ["bias", "weight"]
        found.append(torch.equal(state["weight"], layer.weight_orig * layer.weight_mask))
        layer(torch.randn(4, 8))
    assert found == [False, True]
