from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from sics_cli.base.errors import ConfigError
from sics_cli.settings.config import Experiment, experiment_from_mapping
from sics_cli.settings.presets import DIGITS
from sics_cli.tasks.checkpoints import DamagedCheckpointError, load_checkpoint, save_checkpoint, state_hash
from sics_cli.tasks.images.datasets import Part, load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.images.mixing import Mixing, draw_mixes, mixed
from sics_cli.tasks.networks import evaluation
from sics_cli.tasks.networks.evaluation import Evaluation, evaluate
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import ImageTrainer, one_cycle, train, warmed_cosine
from sics_cli.tasks.training import HalfTrained, TrainingRecord
from sics_plugin import compute_masks, masked

CPU = torch.device("cpu")
RECORD = TrainingRecord(180, 197, 1.5)


pytestmark = pytest.mark.usefixtures("one_thread")


def test_initialisation_belongs_to_the_seed_and_disturbs_nobody(experiment: Experiment) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = build_model(experiment.images.model, 0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert state_hash(build_model(experiment.images.model, 0).state_dict()) == state_hash(one)
    assert state_hash(build_model(experiment.images.model, 1).state_dict()) != state_hash(one)


def test_the_presets_network_is_the_one_specified() -> None:
    model = build_model(experiment_from_mapping(DIGITS).images.model, 0)
    assert sum(p.numel() for p in model.parameters()) == 202_058
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("options", [(("depth", "four"),), (("no_such_option", 1),), (("embed_dim", 10), ("num_heads", 3))])
def test_options_the_network_does_not_take(experiment: Experiment, options: tuple[tuple[str, object], ...]) -> None:
    merged = tuple((dict(experiment.images.model.options) | dict(options)).items())
    with pytest.raises(ConfigError, match=r"\[model\] does not make a vit"):
        build_model(replace(experiment.images.model, options=merged), 0)


def trained(experiment: Experiment, seed: int) -> tuple[str, list[int], TrainingRecord]:
    model = build_model(experiment.images.model, seed)
    epochs: list[int] = []
    record = train(model, experiment.images.training, load_split(experiment.images.data), seed, CPU, epochs.append)
    assert not model.training
    return state_hash(model.state_dict()), epochs, record


def test_training_learns_and_repeats_itself(experiment: Experiment) -> None:
    short = experiment.with_images(training=replace(experiment.images.training, epochs=15))
    one, epochs, record = trained(short, 0)
    assert epochs == list(range(1, 16))
    assert record.validation_n == 197
    assert record.validation_correct > 197 // 5, "twice chance after some epochs"
    torch.manual_seed(99)  # the caller's generator plays no part
    assert trained(short, 0)[0] == one
    assert trained(short, 1)[0] != one


def test_every_part_of_a_recipe_changes_the_network(experiment: Experiment) -> None:
    """And what images were mixed with belongs to the seed: the same weights at the same initialisation, others at another."""
    split = load_split(experiment.images.data)

    def weights(seed: int = 0, **changes: Any) -> str:
        model = build_model(experiment.images.model, 0)
        train(model, replace(experiment.images.training, epochs=2, **changes), split, seed, CPU)
        return state_hash(model.state_dict())

    alone = [{}, {"mixup": 0.8}, {"cutmix": 1.0}, {"label_smoothing": 0.1}, {"schedule": "cosine"}, RECIPE]
    found = [weights(**one) for one in alone]
    assert len(set(found)) == len(alone)
    assert weights(**RECIPE) == found[-1]
    assert weights(1, **RECIPE) != found[-1]


def test_an_epoch_is_mixed_as_it_was_drawn(experiment: Experiment) -> None:
    config = replace(experiment.images.training, batch_size=300, mixup=0.8, cutmix=1.0)
    split = load_split(experiment.images.data)
    trainer = ImageTrainer(build_model(experiment.images.model, 0), config, split, CPU, seed=5)
    order = np.arange(len(split.train))
    plain = list(trainer._batches(3, order))
    found = list(trainer._mixed(3, order))
    mixes = draw_mixes(Mixing(0.8, 1.0), len(plain), (8, 8), seed=5, epoch=3)
    assert [len(batch.labels) for batch in found] == [300, 300, 100], "the last, smaller one too"
    for batch, (images, labels), mix in zip(found, plain, mixes, strict=True):
        assert torch.equal(batch.images, mixed(images, mix))
        assert torch.equal(batch.labels, labels)
        assert batch.others is not None
        assert batch.share is not None
        assert torch.equal(batch.others, labels.flip(0))
        assert float(batch.share) == pytest.approx(mix.share)


def test_divergence_is_an_error(experiment: Experiment) -> None:
    wild = experiment.with_images(training=replace(experiment.images.training, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match="training diverged: loss is nan after epoch"):
        trained(wild, 0)


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


def test_a_warmed_cosine_is_torchs() -> None:
    warm, total = 5, 40
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=3e-3)
    rise = torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=1 / warm, total_iters=warm - 1)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=total - warm)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimiser, [rise, fall], milestones=[warm])
    for step in range(total):
        group = optimiser.param_groups[0]
        assert warmed_cosine(step, total, warm, 3e-3) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9)
        optimiser.step()
        schedule.step()
    assert warmed_cosine(0, 4, 0, 1.0) == (1.0, 0.9), "without a warm-up it begins at the peak"


#: All that a recipe of training can ask for, on digits, which are not pixels to augment.
RECIPE = {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "schedule": "cosine", "warmup": 1}


@pytest.mark.parametrize("settings", [{}, RECIPE])
def test_training_may_stop_after_any_epoch_and_go_on_elsewhere(experiment: Experiment, settings: dict[str, Any]) -> None:
    config, split = replace(experiment.images.training, epochs=4, **settings), load_split(experiment.images.data)
    whole = build_model(experiment.images.model, 3)
    assert isinstance(train(whole, config, split, 3, CPU), TrainingRecord)
    begin, epochs = None, []
    for until in (1, 3, 4):
        model = build_model(experiment.images.model, 3)
        torch.manual_seed(until)  # another process, another state of the generators
        result = train(model, config, split, 3, CPU, epochs.append, begin=begin, until=until)
        if isinstance(result, HalfTrained):
            begin = replace(result, state={name: tensor.clone() for name, tensor in result.state.items()})
            assert (result.epochs, until) == (until, result.epochs)
    assert isinstance(result, TrainingRecord)
    assert epochs == [1, 2, 3, 4]
    assert state_hash(model.state_dict()) == state_hash(whole.state_dict())


def test_a_seed_does_not_depend_on_what_ran_before_it_in_the_process(experiment: Experiment) -> None:
    """Other seeds, other batch sizes, and memory that is handed out again: none of it may show."""
    config, split = replace(experiment.images.training, epochs=1), load_split(experiment.images.data)
    alone = build_model(experiment.images.model, 3)
    train(alone, config, split, 3, CPU)
    garbage = [torch.full((size,), float("nan")) for size in (16, 64 * 1024, 1 << 20)]
    for seed, batch_size in ((0, 64), (1, 17)):
        train(build_model(experiment.images.model, seed), replace(config, batch_size=batch_size), split, seed, CPU)
    del garbage
    again = build_model(experiment.images.model, 3)
    train(again, config, split, 3, CPU)
    assert state_hash(again.state_dict()) == state_hash(alone.state_dict())


def test_evaluation_counts_by_hand(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    part = load_split(experiment.images.data).test

    class Fixed(nn.Module):
        """Says 3 with certainty e² : 1 against each other class."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 2.0 * nn.functional.one_hot(torch.full((len(images),), 3), 10).float()

    result = evaluate(Fixed(), Examples(part, CPU))
    right = int((part.labels == 3).sum())
    assert (result.correct, result.n) == (right, 900)
    total = np.log(np.exp(2) + 9)
    assert result.loss == pytest.approx(total - 2 * right / 900)
    from sics_cli.base.bits import unpack_bits

    assert np.array_equal(unpack_bits(result.bits, 900), part.labels == 3)
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 7)
    assert evaluate(Fixed(), Examples(part, CPU)).bits == result.bits


def test_a_mask_is_evaluated_alike_whatever_was_evaluated_before(experiment: Experiment) -> None:
    model, split = build_model(experiment.images.model, 0), load_split(experiment.images.data)
    train(model, replace(experiment.images.training, epochs=2), split, 0, CPU)
    before, part = state_hash(model.state_dict()), Examples(split.test, CPU)
    dense = evaluate(model, part)
    for sparsity in (0.3, 0.95):
        masks, _ = compute_masks(model, "magnitude", amount=sparsity)
        found = []
        for _ in range(2):
            with masked(model, masks):
                found.append(evaluate(model, part))
        assert found[0] == found[1] != dense
    assert evaluate(model, part) == dense
    assert state_hash(model.state_dict()) == before


def made_up(shape: dict[str, object], n: int) -> Part:
    rng, side = np.random.default_rng(0), int(str(shape["img_size"]))
    images = rng.standard_normal((n, int(str(shape["in_chans"])), side, side)).astype(np.float32)
    return Part(images, np.zeros(n, np.int64))


def test_a_module_in_training_mode_is_evaluated_without_dropout() -> None:
    shape = {name: value for name, value in DIGITS["model"].items() if name != "name"}
    model = timm.models.VisionTransformer(**shape, proj_drop_rate=0.3)
    part = Examples(made_up(shape, 300), CPU)
    expected = evaluate(model.eval(), part)
    assert evaluate(model.train(), part) == expected


def test_one_class() -> None:
    shape = {name: value for name, value in DIGITS["model"].items() if name != "name"} | {"num_classes": 1}
    model = timm.models.VisionTransformer(**shape)
    assert evaluate(model, Examples(made_up(shape, 30), CPU)).correct == 30


def test_a_network_without_numbers_has_no_evaluation(experiment: Experiment) -> None:
    model = build_model(experiment.images.model, 0)
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(FloatingPointError, match="loss is nan"):
        evaluate(model, Examples(load_split(experiment.images.data).test, CPU))


def test_a_loss_that_is_not_finite_is_no_result() -> None:
    with pytest.raises(FloatingPointError, match="loss is nan"):
        Evaluation(0, 8, float("nan"), b"\x00")
    with pytest.raises(ValueError, match="1 bits are set"):
        Evaluation(2, 8, 0.5, b"\x01")


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "seed-0.safetensors"
    save_checkpoint(path, "key", {"a": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(1)}, RECORD)
    return path


def test_checkpoint_round_trip(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint, "key")
    assert torch.equal(loaded.state["a"], torch.arange(12.0).reshape(3, 4))
    assert loaded.record == RECORD
    assert loaded.hash == state_hash(loaded.state)
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_every_flipped_or_missing_byte_is_noticed(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(whole), size=60, replace=False):
        changed = bytearray(whole)
        changed[position] ^= 0x40
        checkpoint.write_bytes(changed)
        try:
            loaded = load_checkpoint(checkpoint, "key")
        except DamagedCheckpointError:
            continue
        assert torch.equal(loaded.state["a"], torch.arange(12.0).reshape(3, 4)), position  # only the record moved
        assert loaded.record != RECORD, position
    for size in (0, 4, 100, len(whole) - 1):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(DamagedCheckpointError, match="cannot be read"):
            load_checkpoint(checkpoint, "key")


def test_checkpoint_of_another_recipe_and_none(checkpoint: Path) -> None:
    with pytest.raises(DamagedCheckpointError, match="another recipe"):
        load_checkpoint(checkpoint, "other")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(checkpoint.with_name("none"), "key")


def test_state_hash_sees_name_type_and_shape() -> None:
    base = {"a": torch.zeros(4)}
    others = [{"b": torch.zeros(4)}, {"a": torch.zeros(2, 2)}, {"a": torch.zeros(4, dtype=torch.int32)}, {"a": -base["a"]}]
    assert len({state_hash(state) for state in [base, *others]}) == 5
