"""The compact form against the module it stands for, and what must not change its results."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import nn

from sics_cli.experiment import compact
from sics_cli.experiment.checkpoints import state_hash
from sics_cli.experiment.compact import CompactVit
from sics_cli.experiment.config import Experiment, ModelConfig, experiment_from_mapping
from sics_cli.experiment.datasets import Part, Split, load_split
from sics_cli.experiment.evaluation import part_on
from sics_cli.experiment.evaluators import CompactEvaluator, PlainEvaluator
from sics_cli.experiment.models import build_model
from sics_cli.experiment.presets import DIGITS
from sics_cli.experiment.route import parameter_count, route_of
from sics_cli.experiment.trainers import compact_form, one_cycle
from sics_cli.experiment.training import HalfTrained, TrainingRecord, train
from sics_cli.experiment.vit_layout import NotCompactError, Shape, patches
from sics_plugin import compute_masks

CPU = torch.device("cpu")
ODD = {"img_size": 12, "patch_size": 4, "in_chans": 3, "num_classes": 7, "embed_dim": 24, "depth": 3, "num_heads": 3,
       "mlp_ratio": 2.5, "global_pool": "avg", "class_token": False}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def split(experiment: Experiment) -> Split:
    return load_split(experiment.data)


def stirred(model: nn.Module, seed: int = 0) -> nn.Module:
    """Biases, norms and positions away from the zeros and ones they begin with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("options", [{}, ODD])
@pytest.mark.parametrize("n", [1, 5, 64, 70])
def test_loss_and_gradients_are_those_of_autograd(options: dict[str, object], n: int) -> None:
    shape = {**{k: v for k, v in DIGITS["model"].items() if k != "name"}, **options}
    model = stirred(build_model(ModelConfig("vit", tuple(shape.items())), 0)).double()
    images = torch.randn(n, int(shape["in_chans"]), int(shape["img_size"]), int(shape["img_size"]), dtype=torch.float64)
    labels = torch.randint(int(shape["num_classes"]), (n,))
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    net = CompactVit(Shape.of(model), torch.float64)
    net.parameters.load(model)
    with torch.no_grad():
        cut = patches(images, net.shape)
        for _ in range(2):  # the second time over used memory
            found_loss, right = net.gradient(cut, labels)
            assert found_loss == pytest.approx(float(loss), rel=1e-12)
            assert right == int((model(images).argmax(dim=1) == labels).sum())
            for name, parameter in model.named_parameters():
                found = net.gradients.named[name].reshape(parameter.shape)
                torch.testing.assert_close(found, parameter.grad, rtol=1e-9, atol=1e-12, msg=name)
        torch.testing.assert_close(net.logits(cut), model(images), rtol=1e-10, atol=1e-12)


def test_networks_of_another_form_are_refused() -> None:
    plain = {k: v for k, v in DIGITS["model"].items() if k != "name"}
    for change in ({"qkv_bias": False}, {"class_token": True, "global_pool": "token"}, {"init_values": 0.1}, {"qk_norm": True}):
        with pytest.raises(NotCompactError):
            compact_form(build_model(ModelConfig("vit", tuple({**plain, **change}.items())), 0), torch.zeros(2, 1, 8, 8))
    with pytest.raises(NotCompactError, match="not a plain vision transformer"):
        Shape.of(nn.Linear(3, 3))
    other = build_model(ModelConfig("vit", tuple(plain.items())), 0)
    for block in other.blocks:  # type: ignore[union-attr]
        block.mlp.act = nn.ReLU()  # the same parameters, another function
    with pytest.raises(NotCompactError, match="logits differ"):
        compact_form(stirred(other), torch.randn(4, 1, 8, 8))


def test_the_path_is_chosen_from_the_settings() -> None:
    model = experiment_from_mapping(DIGITS).model
    assert route_of(model, "cpu").path == "compact"
    assert route_of(model, "cuda").path == "plain"
    for change in ({"embed_dim": 512}, {"qkv_bias": False}, {"class_token": True}, {"depth": "four"}, {"patch_size": 3}):
        assert route_of(replace(model, options=tuple({**dict(model.options), **change}.items())), "cpu").path == "plain"
    built = build_model(model, 0)
    assert parameter_count({**dict(model.options), "mlp_ratio": 4.0}) == sum(p.numel() for p in built.parameters())
    odd = build_model(ModelConfig("vit", tuple(ODD.items())), 0)
    assert parameter_count(dict(ODD)) == sum(p.numel() for p in odd.parameters())
    assert route_of(replace(model, options=tuple({**dict(model.options), "embed_dim": 512}.items())), "cpu").reason == (
        "12.6 M parameters, above 2 M"
    )


@pytest.mark.parametrize("total", [2, 16, 1280])
def test_the_schedule_is_torchs(total: int) -> None:
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=total)
    for step in range(total):
        group = optimiser.param_groups[0]
        assert one_cycle(step, total, 3e-3) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-12, abs=1e-18)
        optimiser.step()
        if step < total - 1:
            schedule.step()


@pytest.mark.parametrize("path", ["plain", "compact"])
def test_training_may_stop_after_any_epoch_and_go_on_elsewhere(experiment: Experiment, split: Split, path: str) -> None:
    config = replace(experiment.training, epochs=4)
    whole = build_model(experiment.model, 3)
    assert isinstance(train(whole, config, split, 3, CPU, path=path), TrainingRecord)
    begin, epochs = None, []
    for until in (1, 3, 4):
        model = build_model(experiment.model, 3)
        torch.manual_seed(until)  # another process, another state of the generators
        result = train(model, config, split, 3, CPU, epochs.append, path=path, begin=begin, until=until)
        if isinstance(result, HalfTrained):
            begin = replace(result, state={name: tensor.clone() for name, tensor in result.state.items()})
            assert (result.epochs, until) == (until, result.epochs)
    assert isinstance(result, TrainingRecord)
    assert epochs == [1, 2, 3, 4]
    assert state_hash(model.state_dict()) == state_hash(whole.state_dict())


def test_a_seed_does_not_depend_on_what_ran_before_it_in_the_process(experiment: Experiment, split: Split) -> None:
    """Buffers, other seeds, other batch sizes, and memory that is handed out again: none of it may show."""
    config = replace(experiment.training, epochs=1)
    alone = build_model(experiment.model, 3)
    train(alone, config, split, 3, CPU, path="compact")
    garbage = [torch.full((size,), float("nan")) for size in (16, 64 * 1024, 1 << 20)]
    for seed, batch_size in ((0, 64), (1, 17)):
        train(build_model(experiment.model, seed), replace(config, batch_size=batch_size), split, seed, CPU, path="compact")
    del garbage
    again = build_model(experiment.model, 3)
    train(again, config, split, 3, CPU, path="compact")
    assert state_hash(again.state_dict()) == state_hash(alone.state_dict())


def test_both_paths_train_the_same_network(experiment: Experiment, split: Split) -> None:
    one, two = build_model(experiment.model, 0), build_model(experiment.model, 0)
    config = replace(experiment.training, epochs=1)
    train(one, config, split, 0, CPU, path="plain")
    train(two, config, split, 0, CPU, path="compact")
    for (name, left), right in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-2, atol=2e-4, msg=name)  # 16 steps of rounding apart
    assert state_hash(one.state_dict()) != state_hash(build_model(experiment.model, 0).state_dict())


def test_evaluation_is_exactly_the_modules(experiment: Experiment, split: Split) -> None:
    model = build_model(experiment.model, 0)
    train(model, replace(experiment.training, epochs=6), split, 0, CPU, path="compact")
    before = state_hash(model.state_dict())
    part = part_on(split.test, CPU)
    plain, fast = PlainEvaluator(model, part), CompactEvaluator(model, part)
    for sparsity in (0.3, 0.5, 0.8, 0.95):
        for scorer in ("magnitude", "random"):
            masks, _ = compute_masks(model, scorer, amount=sparsity)
            one, two = plain.evaluate(masks), fast.evaluate(masks)
            assert (one.correct, one.n, one.bits) == (two.correct, two.n, two.bits)
            assert two.loss == pytest.approx(one.loss, rel=1e-5)
            assert fast.evaluate(masks) == two, "the same again, whatever was evaluated before"
    assert plain.evaluate({}).bits == fast.evaluate({}).bits
    assert state_hash(model.state_dict()) == before


def test_where_two_logits_are_too_close_the_module_decides(experiment: Experiment, split: Split) -> None:
    model = build_model(experiment.model, 0).eval()
    with torch.no_grad():
        for parameter in model.head.parameters():  # type: ignore[union-attr]
            parameter[1] = parameter[0]  # classes 0 and 1 are a tie for every image
            parameter[2:] = -1.0
    part = part_on(split.test, CPU)
    masks, _ = compute_masks(model, "magnitude", amount=0.5)
    expected = PlainEvaluator(model, part).evaluate(masks)
    fast = CompactEvaluator(model, part)
    asked: list[int] = []
    model.register_forward_pre_hook(lambda _, images: asked.append(len(images[0])))
    assert fast.evaluate(masks) == expected
    assert asked == [256, 256, 88]


def test_the_module_is_asked_for_no_more_than_the_batches_that_are_unsure(experiment: Experiment, split: Split) -> None:
    """What the compact form finds for one example is no number; the module finds its own."""
    model = build_model(experiment.model, 0)
    train(model, replace(experiment.training, epochs=2), split, 0, CPU, path="compact")
    part = part_on(split.test, CPU)
    fast, plain = CompactEvaluator(model, part), PlainEvaluator(model, part)
    masks, _ = compute_masks(model, "magnitude", amount=0.3)
    expected, honest = plain.evaluate(masks), fast.evaluate(masks)
    asked: list[int] = []
    model.register_forward_pre_hook(lambda _, images: asked.append(len(images[0])))
    fast._cut[4][50:51] = float("nan")  # example 450, in the module's second batch of 256
    found = fast.evaluate(masks)
    assert asked in ([256], [256, 256])  # the second alone, or another that was close anyway
    assert (found.correct, found.bits) == (honest.correct, honest.bits) == (expected.correct, expected.bits)


def test_a_network_without_numbers_has_no_evaluation(experiment: Experiment, split: Split) -> None:
    model = build_model(experiment.model, 0)
    fast = CompactEvaluator(model, part_on(split.test, CPU))
    fast._dense.fill_(float("nan"))
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(FloatingPointError, match="loss is nan"):
        fast.evaluate({})


def test_parts_of_a_batch_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stirred(build_model(experiment_from_mapping(DIGITS).model, 0)).double()
    images, labels = torch.randn(50, 1, 8, 8, dtype=torch.float64), torch.randint(10, (50,))
    found = []
    for part in (50, 7):
        monkeypatch.setattr(compact, "PART", part)
        net = CompactVit(Shape.of(model), torch.float64)
        net.parameters.load(model)
        with torch.no_grad():
            met = net.gradient(patches(images, net.shape), labels)
        found.append((met, net.gradients.flat.clone()))
    assert found[0][0] == (pytest.approx(found[1][0][0], rel=1e-12), found[1][0][1])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-9, atol=1e-13)


def test_patches_are_timms() -> None:
    model = copy.deepcopy(build_model(ModelConfig("vit", tuple(ODD.items())), 0))
    images = torch.randn(3, 3, 12, 12)
    shape = Shape.of(model)
    with torch.no_grad():
        expected = model.patch_embed(images)  # type: ignore[operator]
        weight, bias = model.patch_embed.proj.weight, model.patch_embed.proj.bias  # type: ignore[union-attr]
        found = patches(images, shape) @ weight.reshape(24, -1).t() + bias
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


def uniform_part(shape: dict[str, object], n: int) -> Part:
    rng, side = np.random.default_rng(0), int(str(shape["img_size"]))
    images = rng.standard_normal((n, int(str(shape["in_chans"])), side, side)).astype(np.float32)
    return Part(images, np.zeros(n, np.int64))


def test_a_head_whose_terms_cancel_is_left_to_the_module() -> None:
    """Every row of the head has 300 added, which the norm before it makes nothing of; roundings of 1e-3 stay."""
    shape = {k: v for k, v in DIGITS["model"].items() if k != "name"}
    model = build_model(ModelConfig("vit", tuple(shape.items())), 0)
    with torch.no_grad():
        model.head.weight[1] = model.head.weight[0] + 1e-4 * torch.randn(64, generator=torch.Generator().manual_seed(0))
        model.head.weight += 300
        model.head.bias[:2] += 3
    part = uniform_part(shape, 4000)
    examples = part_on(part, CPU)
    net = compact_form(model, examples.some())
    with torch.no_grad():
        first, second = net.logits(patches(examples.pixels, net.shape)).topk(2, dim=1).values.unbind(dim=1)
    clear = (first - second > 1e-4).numpy()
    examples = part_on(Part(part.images[clear], part.labels[clear]), CPU)
    found, expected = (kind(model, examples).evaluate({}) for kind in (CompactEvaluator, PlainEvaluator))
    assert found.bits == expected.bits


def test_a_module_in_training_mode_is_asked_as_in_evaluation() -> None:
    shape = {k: v for k, v in DIGITS["model"].items() if k != "name"}
    model = timm.models.VisionTransformer(**shape, proj_drop_rate=0.3)
    with torch.no_grad():
        model.head.weight.mul_(1e-4)  # near ties
    examples = part_on(uniform_part(shape, 300), CPU)
    model.train()
    found = CompactEvaluator(model, examples).evaluate({})
    assert found.bits == PlainEvaluator(model, examples).evaluate({}).bits


def test_one_class() -> None:
    shape = {k: v for k, v in DIGITS["model"].items() if k != "name"} | {"num_classes": 1}
    model = build_model(ModelConfig("vit", tuple(shape.items())), 0)
    assert CompactEvaluator(model, part_on(uniform_part(shape, 30), CPU)).evaluate({}).correct == 30
