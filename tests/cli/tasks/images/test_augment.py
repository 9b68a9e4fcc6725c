"""Augmentation against torchvision's own operations, one image at a time; repeatable at every (seed, epoch, batch)."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from sics_cli.base.errors import ConfigError
from sics_cli.tasks.images.augment import OPERATIONS, Augmentation, augment, augment_all, crop_and_flip, draw

NAMES = [operation.name for operation in OPERATIONS]
FULL = Augmentation(randaugment=2)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth blobs under noise, so that no two operations do the same."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(16) / 3)[:, None] * np.cos(np.arange(16) / 4)[None]
    base = 120 + 60 * wave + rng.normal(0, 25, (96, 3, 16, 16)) + rng.normal(0, 15, (96, 3, 1, 1))
    return torch.from_numpy(base.clip(0, 255).astype(np.uint8))


def test_same_place_in_training_same_images_and_nothing_else_matters(images: torch.Tensor) -> None:
    before = images.clone()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - to show that it plays no part
    one = augment(images, FULL, seed=3, epoch=2, batch=5)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(augment(images, FULL, seed=3, epoch=2, batch=5), one)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "torch's generator is left alone"
    assert torch.equal(images, before), "the training set is not changed"
    for other in ({"seed": 4}, {"epoch": 3}, {"batch": 6}):
        assert not torch.equal(augment(images, FULL, **{"seed": 3, "epoch": 2, "batch": 5, **other}), one)
    assert one.dtype == torch.uint8
    assert one.shape == images.shape


@pytest.mark.parametrize("augmentation", [FULL, Augmentation(crop_padding=2), Augmentation(flip=False, randaugment=1)])
def test_batches_together_are_batches_one_by_one(images: torch.Tensor, augmentation: Augmentation) -> None:
    """To the bit, though images of several batches share a call: what happens to an image is its own."""
    together = augment_all(images, augmentation, [40, 40, 16], seed=3, epoch=2, first=5)
    alone = [augment(part, augmentation, seed=3, epoch=2, batch=5 + place) for place, part in enumerate(images.split(40))]
    assert len(together) == len(alone)
    assert all(map(torch.equal, together, alone))


def test_deterministic_kernels_are_enough_and_threads_do_not_matter(images: torch.Tensor) -> None:
    """As in a worker, where torch refuses operations without a deterministic form."""
    one = augment(images, FULL, seed=3, epoch=2, batch=5)
    threads = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        assert torch.equal(augment(images, FULL, seed=3, epoch=2, batch=5), one)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_repeats_itself_and_draws_the_same(images: torch.Tensor) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        moved = images.cuda()
        one, again = (augment(moved, FULL, seed=3, epoch=2, batch=5) for _ in range(2))
        cropped = augment(moved, replace(FULL, randaugment=0), seed=3, epoch=2, batch=5)
    finally:
        torch.use_deterministic_algorithms(False)
    assert one.device == moved.device
    assert torch.equal(one, again)
    assert torch.equal(cropped.cpu(), augment(images, replace(FULL, randaugment=0), seed=3, epoch=2, batch=5))


def test_places_do_not_share_their_draws() -> None:
    seen = {draw(FULL, 8, seed, epoch, batch).corners.tobytes() for seed in range(4) for epoch in range(4) for batch in range(4)}
    assert len(seen) == 64


def test_nothing_asked_nothing_done(images: torch.Tensor) -> None:
    nothing = Augmentation(crop_padding=0, flip=False)
    assert torch.equal(augment(images, nothing, seed=0, epoch=0, batch=0), images)


def test_crop_and_flip_by_hand(images: torch.Tensor) -> None:
    settings = Augmentation(crop_padding=3)
    draws = draw(settings, len(images), 0, 0, 0)
    found = crop_and_flip(images, 3, draws)
    for index, image in enumerate(images):
        padded = functional.pad(image, [3] * 4)
        expected = functional.crop(padded, int(draws.corners[0, index]), int(draws.corners[1, index]), 16, 16)
        expected = functional.horizontal_flip(expected) if draws.flips[index] else expected
        assert torch.equal(found[index], expected), index
    assert 0 < draws.flips.sum() < len(images)


def test_draws_are_uniform() -> None:
    draws = draw(Augmentation(crop_padding=2, randaugment=3), 20_000, 0, 0, 0)
    assert draws.flips.mean() == pytest.approx(0.5, abs=0.02)
    assert draws.negative.mean() == pytest.approx(0.5, abs=0.02)
    assert Counter(draws.corners.ravel().tolist()).keys() == set(range(5))
    assert np.bincount(draws.corners.ravel()) == pytest.approx(8000, rel=0.1)
    assert np.bincount(draws.operations.ravel(), minlength=len(NAMES)) == pytest.approx(60_000 / len(NAMES), rel=0.1)
    assert abs(np.corrcoef(draws.operations)[0, 1]) < 0.03


def test_flips_and_crops_stay_when_randaugment_is_switched_on() -> None:
    with_it, without = draw(FULL, 50, 1, 2, 3), draw(replace(FULL, randaugment=0), 50, 1, 2, 3)
    assert np.array_equal(with_it.flips, without.flips)
    assert np.array_equal(with_it.corners, without.corners)
    unflipped = draw(replace(FULL, flip=False), 50, 1, 2, 3)
    assert not unflipped.flips.any()
    assert np.array_equal(unflipped.operations, with_it.operations)


# -- against torchvision -------------------------------------------------------------------------------------------------


def reference(image: torch.Tensor, name: str, magnitude: int, *, negative: bool) -> torch.Tensor:
    """What torchvision's RandAugment does to one image once it has drawn this operation and this sign."""
    policy = v2.RandAugment(magnitude=magnitude)
    table, signed = policy._AUGMENTATION_SPACE[name]
    magnitudes = table(policy.num_magnitude_bins, *image.shape[-2:])
    strength = 0.0 if magnitudes is None else float(magnitudes[magnitude])
    strength = -strength if signed and negative else strength
    return policy._apply_image_or_video_transform(image, name, strength, policy.interpolation, policy._fill)


def test_the_list_of_operations_is_torchvisions() -> None:
    assert list(v2.RandAugment._AUGMENTATION_SPACE) == NAMES
    assert [signed for _, signed in v2.RandAugment._AUGMENTATION_SPACE.values()] == [op.signed for op in OPERATIONS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("magnitude", "height"), [(0, 16), (9, 16), (9, 11), (30, 11)])
def test_each_operation_is_torchvisions(images: torch.Tensor, name: str, magnitude: int, height: int) -> None:
    operation = OPERATIONS[NAMES.index(name)]
    few = images[:4, :, :height]
    for negative in (False, True):
        found = operation.apply(few, operation.strength(magnitude, (height, 16), negative=negative))
        expected = torch.stack([reference(image, name, magnitude, negative=negative) for image in few])
        assert torch.equal(found, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_augmented_as_its_images_one_by_one(images: torch.Tensor, channels: int) -> None:
    """The grouping changes the cost and nothing else."""
    batch = images[:, :channels].contiguous()
    settings = Augmentation(crop_padding=0, flip=False, randaugment=2)
    draws = draw(settings, len(batch), 7, 1, 2)
    found = augment(batch, settings, seed=7, epoch=1, batch=2)
    for index, expected in enumerate(batch):
        for operations, negative in zip(draws.operations, draws.negative, strict=True):
            expected = reference(expected, NAMES[operations[index]], settings.magnitude, negative=bool(negative[index]))
        assert torch.equal(found[index], expected), index
    assert len(set(draws.operations.ravel().tolist())) == len(NAMES), "every operation was met"


@pytest.mark.parametrize("n", [1, 2])
def test_small_batches(images: torch.Tensor, n: int) -> None:
    assert augment(images[:n], FULL, seed=0, epoch=0, batch=0).shape == (n, 3, 16, 16)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(2, 4, 8, 8, dtype=torch.uint8)]
)
def test_other_tensors_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected images"):
        augment(wrong, FULL, seed=0, epoch=0, batch=0)


@pytest.mark.parametrize("wrong", [{"crop_padding": -1}, {"randaugment": 17}, {"magnitude": 31}])
def test_settings_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(
        ConfigError, match=rf"augmentation.{next(iter(wrong))} = -?\d+ is not accepted: give an integer from 0 to"
    ):
        Augmentation(**wrong)  # type: ignore[arg-type]
