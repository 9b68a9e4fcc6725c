"""mixup and CutMix by hand, against timm's, and repeatable at every (seed, epoch)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm.data.mixup as theirs
import torch

from sics_cli.settings.images import TrainingConfig
from sics_cli.tasks.images.mixing import Mix, Mixing, draw_mixes, mixed, pasted
from sics_cli.tasks.networks.paths import TrainingBatch, loss_of, right_of

BOTH = Mixing(mixup=0.8, cutmix=1.0)
SIZE = (32, 24)


def test_blended_by_hand() -> None:
    images = torch.tensor([[0.0, 1.0], [8.0, 5.0], [4.0, 3.0]]).reshape(3, 1, 1, 2)
    found = mixed(images, Mix(0.75))
    assert found.reshape(3, 2).tolist() == [[1.0, 1.5], [8.0, 5.0], [3.0, 2.5]], "the middle of three is its own partner"
    assert images.flatten().tolist() == [0, 1, 8, 5, 4, 3], "the batch is left as it was"


def test_pasted_by_hand() -> None:
    images = torch.stack([torch.zeros(2, 4, 4), torch.ones(2, 4, 4)])
    mix = pasted(0.75, (4, 4), (1, 3))  # a side of 2 about row 1, column 3: rows 0 and 1, columns 2 and 3
    assert mix == Mix(0.75, (0, 2, 2, 4))
    found = mixed(images, mix)
    box = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]).float()
    assert torch.equal(found[0], box.expand(2, 4, 4))
    assert torch.equal(found[1], 1 - box.expand(2, 4, 4))
    assert float(images.sum()) == 32, "the batch is left as it was"


@pytest.mark.parametrize(
    ("share", "centre", "box", "left"),
    [
        (1.0, (4, 4), (4, 4, 4, 4), 1.0),  # nothing
        (0.0, (4, 4), (0, 8, 0, 8), 0.0),  # everything
        (0.0, (0, 0), (0, 4, 0, 4), 0.75),  # as much, a quarter of it inside
        (0.859375, (7, 0), (6, 8, 0, 2), 0.9375),  # a side of 3 at a corner, 2 of it inside each way: 4 of 64
    ],
)
def test_shares_are_those_of_the_area_that_is_left(share: float, centre: Any, box: Any, left: float) -> None:
    assert pasted(share, (8, 8), centre) == Mix(left, box)


def test_boxes_and_shares_are_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(0)
    for share in [*source.random(200), 0.0, 1.0]:
        centre = int(source.integers(SIZE[0])), int(source.integers(SIZE[1]))
        answers = iter(centre)
        monkeypatch.setattr(theirs.np.random, "randint", lambda *a, answers=answers, **k: next(answers))
        (top, bottom, left, right), corrected = theirs.cutmix_bbox_and_lam((3, *SIZE), share)
        assert pasted(float(share), SIZE, centre) == Mix(pytest.approx(float(corrected)), (top, bottom, left, right))


@pytest.mark.parametrize("mix", [Mix(0.3), pasted(0.6, (8, 8), (2, 5))])
def test_images_targets_and_loss_are_timms(monkeypatch: pytest.MonkeyPatch, mix: Mix) -> None:
    source = torch.Generator().manual_seed(0)
    images, labels = torch.randn(6, 3, 8, 8, generator=source), torch.tensor([0, 1, 2, 3, 0, 1])
    logits = torch.randn(6, 4, generator=source)
    timms = theirs.Mixup(mixup_alpha=1.0, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=4)
    monkeypatch.setattr(timms, "_params_per_batch", lambda: (mix.share, mix.box is not None))
    monkeypatch.setattr(theirs, "cutmix_bbox_and_lam", lambda *a, **k: (mix.box, mix.share))
    expected, target = timms(images.clone(), labels)
    assert torch.allclose(mixed(images, mix), expected, atol=1e-6)
    from timm.loss import SoftTargetCrossEntropy

    batch = TrainingBatch(images, labels, labels.flip(0), torch.tensor(mix.share))
    assert float(loss_of(logits, batch, 0.1)) == pytest.approx(float(SoftTargetCrossEntropy()(logits, target)), rel=1e-6)


def test_an_answer_is_right_by_the_share_of_its_label() -> None:
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0]])
    labels, others = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 0])
    assert float(right_of(logits, TrainingBatch(logits, labels, others, torch.tensor(0.75)))) == pytest.approx(0.75 + 0.25 + 1.0)
    assert int(right_of(logits, TrainingBatch(logits, labels))) == 2


def test_draws_belong_to_seed_and_epoch_alone() -> None:
    def drawn(seed: int = 3, epoch: int = 2, mixing: Mixing = BOTH) -> list[Mix]:
        return draw_mixes(mixing, 40, SIZE, seed=seed, epoch=epoch)

    np.random.seed(1)  # noqa: NPY002 - to show that it plays no part
    one = drawn()
    assert drawn() == one
    assert drawn(seed=4) != one
    assert drawn(epoch=3) != one
    ways = [mix.box is None for mix in one]
    assert 5 < sum(ways) < 35, "both ways"
    assert [mix.box is None for mix in drawn(mixing=Mixing(0.1, 0.3))] == ways
    assert all(mix.box is None for mix in drawn(mixing=Mixing(mixup=0.8)))
    assert all(mix.box is not None for mix in drawn(mixing=Mixing(cutmix=1.0)))


def test_draws_have_the_distributions_they_say() -> None:
    blends = [mix.share for mix in draw_mixes(Mixing(mixup=0.5), 20_000, SIZE, seed=0, epoch=0)]
    assert np.mean(blends) == pytest.approx(0.5, abs=0.01)
    assert np.var(blends) == pytest.approx(1 / (4 * (2 * 0.5 + 1)), rel=0.03)  # of Beta(α, α)
    boxes = [mix.box for mix in draw_mixes(Mixing(cutmix=1000.0), 20_000, SIZE, seed=0, epoch=0)]
    middles = np.array([((box[0] + box[1]) / 2, (box[2] + box[3]) / 2) for box in boxes if box is not None])
    inside = middles[(abs(middles - np.array(SIZE) / 2) < np.array(SIZE) / 8).all(axis=1)]
    assert 7 / 32 * 5 / 24 < len(inside) / len(middles) < 1 / 16, "centres lie anywhere: pixels, or between two of them"


def test_settings_say_whether_images_are_mixed() -> None:
    plain = TrainingConfig(1, 8, 1e-3, 0.05)
    assert not plain.mixes
    assert replace(plain, mixup=0.2).mixes
    assert replace(plain, cutmix=0.2).mixes
    assert not replace(plain, label_smoothing=0.1).mixes
