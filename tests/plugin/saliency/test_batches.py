"""What batches may be: pairs, several inputs, mappings, models that return objects; sizes, devices, labels."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sics_plugin import Saliency, held_out_accuracy, held_out_loss
from sics_plugin.saliency.batches import moved, over
from sics_plugin.saliency.objective import Objective, cross_entropy

ids = torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(0))
mask = (torch.arange(7) < torch.tensor([[7], [3], [5], [7], [1]])).long()
labels = torch.tensor([0, 1, 2, 0, 1])
functional = nn.functional


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


class Reader(nn.Module):
    """A classifier of tokens under a padding mask; ``returns`` says what it returns."""

    def __init__(self, returns: str = "tensor", positions: bool = False) -> None:
        super().__init__()
        self.embedding, self.fc, self.head = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.returns, self.positions = returns, positions

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None) -> Any:
        x = torch.tanh(self.fc(self.embedding(input_ids)))
        weight = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if not self.positions:
            x = (x * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True)
        logits = self.head(x)
        loss = None if labels is None else cross_entropy(logits, labels)
        if self.returns == "object":
            return Output(logits, loss)
        return {"logits": logits, "loss": loss} if self.returns == "mapping" else logits


def readers(**options: Any) -> list[Reader]:
    made = []
    for returns in ("tensor", "object", "mapping"):
        torch.manual_seed(0)
        made.append(Reader(returns, **options))
    return made


def forms(target: Tensor) -> list[tuple[str, Any]]:
    """The same batch in every form, with the returns that it works for."""
    return [
        ("tuple", ((ids, mask), target)),
        ("list", [[ids, mask], target]),
        ("names", ({"input_ids": ids, "attention_mask": mask}, target)),
        ("whole", {"input_ids": ids, "attention_mask": mask, "labels": target}),
    ]


@pytest.mark.parametrize("kind", ["gradient", "activation", "snip", "grasp", "taylor", "fisher", "sensitivity"])
@pytest.mark.parametrize("positions", [False, True])
def test_every_form_gives_the_same_saliency(kind: Any, positions: bool) -> None:
    target = torch.where(mask > 0, ids % 3, -100) if positions else labels
    plain, *others = readers(positions=positions)
    first = Saliency(plain, [((ids, mask), target)], kind=kind)
    assert first.samples == 5
    assert float(first.tensor(plain.fc, "weight").abs().sum()) > 0
    for model in (plain, *others):
        for name, batch in forms(target):
            if name == "whole" and model.returns == "tensor" and kind != "activation":
                continue
            found = Saliency(model, [batch], kind=kind)
            assert found.samples == 5, name
            for key, value in first._values.items():
                torch.testing.assert_close(found._values[key], value, rtol=1e-4, atol=1e-7, msg=f"{name} {model.returns} {key}")


@pytest.mark.parametrize("kind", ["gradient", "fisher"])
def test_a_loss_of_a_mapping_gets_the_output_and_the_batch(kind: Any) -> None:
    plain, named, _ = readers()
    batch = {"input_ids": ids, "attention_mask": mask}

    def loss(output: Output, given: dict[str, Tensor]) -> Tensor:
        return output.logits.square().sum() / len(given["input_ids"])

    found = Saliency(named, [batch], loss, kind=kind)
    wanted = Saliency(plain, [((ids, mask), labels)], lambda out, _: out.square().sum() / len(out), kind=kind)
    for key, value in wanted._values.items():
        torch.testing.assert_close(found._values[key], value, rtol=1e-4, atol=1e-8)


def test_fisher_of_positions_is_that_of_a_loop_and_what_is_all_ignored_is_zero() -> None:
    target = torch.where(mask > 0, ids % 3, -100)
    target[2] = -100
    model = readers(positions=True)[0]
    found = Saliency(model, [((ids, mask), target)], kind="fisher").tensor(model.fc, "weight")
    total = torch.zeros(6, 6)
    for i in range(5):
        if i != 2:
            value = functional.cross_entropy(model(ids[i : i + 1], mask[i : i + 1])[0], target[i])
            total += (model.fc.weight * torch.autograd.grad(value, model.fc.weight)[0]).square().detach()
    torch.testing.assert_close(found, (total / 5).sqrt(), rtol=1e-4, atol=1e-8)


def test_a_batch_without_a_label_that_counts_is_said_and_is_zero() -> None:
    model = readers(positions=True)[0]
    with pytest.warns(UserWarning, match=r"every label of batch 2 is ignored \(-100\)"):
        found = Saliency(model, [((ids, mask), ids % 3), ((ids, mask), torch.full_like(ids, -100))])
    alone = Saliency(model, [((ids, mask), ids % 3)])
    torch.testing.assert_close(found.tensor(model.fc, "weight"), alone.tensor(model.fc, "weight") / 2**0.5)


def test_cross_entropy_is_torchs_to_the_bit_where_that_is_defined() -> None:
    for shape in ((9, 5), (4, 5, 6), (4, 5, 3, 3)):
        out, target = torch.randn(shape), torch.randint(5, (shape[0], *shape[2:]))
        target.view(-1)[1] = -100
        pairs = [(f, out.clone().requires_grad_()) for f in (cross_entropy, functional.cross_entropy)]
        values = [f(x, target) for f, x in pairs]
        gradients = [torch.autograd.grad(v, x)[0] for v, (_, x) in zip(values, pairs, strict=True)]
        torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=0)
        assert torch.equal(*gradients)


def test_classes_that_cannot_be_told_from_positions_are_refused() -> None:
    out, target = torch.randn(2, 3, 3), torch.randint(3, (2, 3))
    with pytest.raises(ValueError, match=r"outputs \(2, 3, 3\) for labels \(2, 3\): give `loss=`"):
        cross_entropy(out, target)


@pytest.mark.parametrize("kind", ["gradient", "fisher", "snip"])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("bad", [10, -1])
def test_labels_out_of_range_are_named(kind: Any, where: int, bad: int) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))
    given = [(torch.randn(3, 4), torch.tensor([0, 9, -100])) for _ in range(2)]
    given[where][1][0] = bad
    words = rf"labels in \[0, 10\) on batch {where + 1}, got {bad}: the model has 10 outputs"
    for loss in (None, functional.cross_entropy, nn.CrossEntropyLoss()):
        with pytest.raises(ValueError, match=words):
            Saliency(model, given, loss, kind=kind)
    for evaluate in (held_out_loss(given), held_out_accuracy(given)):
        with pytest.raises(ValueError, match=words):
            evaluate(model)


def test_labels_out_of_range_of_a_models_own_loss_are_named() -> None:
    with pytest.raises(ValueError, match=r"labels that the model has an output for on batch 1: .*3 is out of bounds"):
        Saliency(readers()[1], [{"input_ids": ids, "labels": labels + 1}])


@pytest.mark.parametrize("kind", ["gradient", "activation", "fisher"])
def test_loaders_without_targets_are_refused_in_one_line(kind: Any) -> None:
    data = TensorDataset(torch.randn(6, 4))
    for given, got in ((DataLoader(data, 3), "got list of 1"), (DataLoader(torch.randn(6, 4), 3), "got Tensor")):
        with pytest.raises(TypeError, match=rf"\(input, target\) pair or a mapping .*{got}.*may be None") as caught:
            Saliency(nn.Linear(4, 2), given, kind=kind)
        assert "\n" not in str(caught.value)


def test_a_mapping_with_what_the_model_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"takes input_ids, attention_mask, labels, got 'index': leave out"):
        Saliency(readers()[1], [{"input_ids": ids, "labels": labels, "index": labels}])
    with pytest.raises(TypeError, match="Expected the model to return its `loss`"):
        Saliency(readers()[1], [{"input_ids": ids}])


@pytest.mark.parametrize("given", [{"input_ids": ids}, (ids, None), (({"input_ids": ids}), None), ((ids, mask), None)])
def test_synflow_refuses_tokens_and_mappings(given: Any) -> None:
    with pytest.raises(TypeError, match=r"one floating point tensor as input for kind 'synflow'.*take another kind"):
        Saliency(readers()[0], [given], kind="synflow")


def test_inputs_that_forward_takes_as_one_stay_one() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, both: Any) -> Tensor:
            a, b = (both["a"], both["b"]) if isinstance(both, dict) else both
            return self.fc(a) + self.fc(b)

    model, a, b = One(), torch.randn(4, 3), torch.randn(4, 3)
    found = [Saliency(model, [(x, labels[:4] % 2)], kind="fisher").digest for x in ((a, b), [a, b], {"a": a, "b": b})]
    assert len(set(found)) == 1


def test_samples_are_counted_whatever_a_batch_is() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.randn(n, 2) for n in (4, 3, 1)])

    class Anything(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(1, 1)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return args

    for batch, size in (
        ((packed, None), 3),
        ((torch.randn(7, 5, 2), torch.zeros(5)), 5),  # time first
        ((torch.randn(7, 5), None), 7),
        (([torch.randn(3, 2), torch.randn(3)], ["a", "b", "c"]), 3),
        (({"a": torch.randn(1, 4), "b": torch.randn(6, 4), "c": torch.randn(6)}, None), 6),
        ({"a": torch.randn(6, 4)}, 6),
        ((torch.randn(2, 3), [torch.randn(2), torch.randn(2, 5), torch.randn(2)]), 2),
        ((torch.randn(2, 3), {"labels": torch.randn(2)}), 2),
    ):
        assert [given.size for given in moved([batch], Anything())] == [size]


def test_everything_in_a_batch_is_moved_and_the_batch_is_left_alone() -> None:
    class Carrier:
        def __init__(self, device: str = "cpu") -> None:
            self.device = device

        def to(self, device: torch.device) -> Carrier:
            return Carrier(device.type)

    batch = {"a": [torch.ones(2), (torch.ones(2), {"b": torch.ones(2)})], "c": Carrier(), "d": "text"}
    there = over(batch, lambda x: x.to(torch.device("meta")))
    assert {there["a"][0].device.type, there["a"][1][0].device.type, there["a"][1][1]["b"].device.type} == {"meta"}
    assert (there["c"].device, there["d"], batch["c"].device, batch["a"][0].device.type) == ("meta", "text", "cpu", "cpu")


def test_inputs_whose_first_dimension_is_not_the_samples_have_no_gradient_of_a_sample() -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.sum(0))

    with pytest.raises(
        TypeError, match=r"first dimension the 4 samples of batch 1, got \(6, 4, 3\), \(4,\): gradients are taken sample"
    ):
        Saliency(TimeFirst(), [(torch.randn(6, 4, 3), labels[:4] % 2)], kind="fisher")


def test_held_out_scores_take_every_form() -> None:
    plain, named, mapped = readers()
    with torch.no_grad():
        right = float((plain(ids, mask).argmax(-1) == labels).float().mean())
        value = float(functional.cross_entropy(plain(ids, mask), labels))
        for model in (plain, named, mapped):
            for name, batch in forms(labels):
                assert held_out_accuracy([batch])(model) == pytest.approx(right)
                if not (name == "whole" and model is plain):
                    assert held_out_loss([batch])(model) == pytest.approx(-value)


def test_held_out_scores_of_positions_count_labels() -> None:
    model = readers(positions=True)[0]
    target = torch.where(mask > 0, ids % 3, -100)
    given = [((ids[:2], mask[:2]), target[:2]), ((ids[2:], mask[2:]), target[2:])]
    with torch.no_grad():
        out = model(ids, mask)[mask > 0]
        assert held_out_loss(given)(model) == pytest.approx(-float(functional.cross_entropy(out, target[mask > 0])), rel=1e-5)
        assert held_out_accuracy(given)(model) == pytest.approx(float((out.argmax(-1) == target[mask > 0]).float().mean()))
    with pytest.raises(TypeError, match=re.escape("mappings with one of `labels` for each sample")):
        held_out_accuracy([{"input_ids": ids, "labels": target}])(readers(positions=True)[1])


def test_language_models_of_transformers_and_what_their_tokenizers_return() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=13, n_positions=16)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    tokens = torch.randint(13, (4, 6))
    batch = transformers.BatchEncoding({"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens})
    own = Saliency(model, [batch])
    ahead = torch.cat([tokens[:, 1:], torch.full((4, 1), -100)], 1)
    pair = Saliency(model, [(tokens, ahead)])
    for name, value in own._values.items():
        torch.testing.assert_close(pair._values[name], value, rtol=1e-4, atol=1e-7, msg=name)
    one, other = (Saliency(model, [x], kind="fisher") for x in (batch, (tokens, ahead)))
    for name, value in one._values.items():
        torch.testing.assert_close(other._values[name], value, rtol=1e-3, atol=1e-7, msg=name)
    assert one.samples == 4
    assert isinstance(Objective().loss, type(None))


class InPlace(nn.Module):
    """Standardises its input in place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.in_place = nn.Linear(8, 8), nn.Linear(8, 3), in_place

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(1).mul_(2) if self.in_place else (x - 1) * 2
        return self.head(torch.tanh(self.body(x)))


@pytest.mark.parametrize("kind", ["gradient", "activation", "grasp", "fisher", "sensitivity"])
def test_a_model_that_changes_its_input_in_place_reads_the_same_batch_every_time(kind: Any) -> None:
    x, y = torch.randn(6, 8), torch.randint(3, (6,))
    before = x.clone()
    changing, other = InPlace(True), InPlace(False)
    found, expected = (Saliency(model, [(x, y)], kind=kind) for model in (changing, other))
    assert torch.equal(x, before)
    assert torch.equal(found.tensor(changing.body, "weight"), expected.tensor(other.body, "weight"))
    held_out = held_out_loss([(x, y)])
    assert held_out(changing) == held_out(changing) == held_out(other)


class Biased(nn.Module):
    """Attention with scores that a matrix over positions is added to, the same for all samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.query, self.head = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 11)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        e = self.tokens(x)
        return self.head((self.query(e) @ e.transpose(1, 2) + bias).softmax(-1) @ e)


@pytest.mark.parametrize("kind", ["fisher", "sensitivity"])
def test_samples_that_are_something_else_alone_are_said(kind: Any) -> None:
    bias = torch.triu(torch.full((6, 6), -1e9), 1)
    x, y = torch.randint(11, (7, 6)), torch.randint(11, (7, 6))
    with pytest.warns(UserWarning, match="the first sample of batch 1 gives other outputs alone than among the 6"):
        Saliency(Biased(), [((x[:6], bias), y[:6])], kind=kind)  # as many samples as positions: its rows are taken for samples
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Saliency(Biased(), [((x, bias), y)], kind=kind)


def test_a_loss_a_model_and_a_number_of_batches_that_are_none_are_named() -> None:
    model, batches = nn.Linear(3, 2), [(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))]
    for call in (lambda: Saliency(model, batches, "mse"), lambda: held_out_loss(batches, "mse")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="Expected `loss` to be a function of the output and the target, got 'mse'"):
            call()
    with pytest.raises(TypeError, match=r"Expected `model` to be an nn\.Module, got list"):
        Saliency([model], batches)  # type: ignore[arg-type]
    for most in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"Expected `max_batches` to be a whole number above 0, or None for all, got {most}"):
            Saliency(model, batches, max_batches=most)  # type: ignore[arg-type]
