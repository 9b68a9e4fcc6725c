from dataclasses import replace

import numpy as np
import pytest

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.settings.images import DataConfig
from sics_cli.tasks.images import datasets

DIGITS = DataConfig("digits", 1000, 197, 600)


def test_split_is_disjoint_complete_and_fixed() -> None:
    parts = datasets.split_indices(DIGITS)
    assert [len(part) for part in parts] == [1000, 197, 600]
    assert sorted(np.concatenate(parts)) == list(range(1797))
    assert datasets.split_digest(DIGITS) == datasets.split_digest(replace(DIGITS))
    assert datasets.split_digest(DIGITS) != datasets.split_digest(replace(DIGITS, split_seed=1))


def test_digits_are_the_real_ones_standardised_on_train() -> None:
    split = datasets.load_split(DIGITS)
    assert split.test.images.shape == (600, 1, 8, 8)
    assert split.train.images.dtype == np.float32
    assert split.train.images.mean() == pytest.approx(0, abs=1e-5)
    assert split.train.images.std() == pytest.approx(1, abs=1e-5)
    counts = np.bincount(np.concatenate([part.labels for part in (split.train, split.validation, split.test)]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as scikit-learn documents
    from sklearn.datasets import load_digits

    first = datasets.split_indices(DIGITS)[2][0]
    assert split.test.labels[0] == load_digits().target[first]


def test_other_data_under_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = datasets.DATASETS["digits"]

    def changed() -> tuple[datasets.Images, datasets.Labels]:
        images, labels = spec.load()
        images[5, 0, 3, 3] += 1
        return images, labels

    monkeypatch.setitem(datasets.DATASETS, "digits", replace(spec, load=changed))
    datasets.load_split.cache_clear()
    with pytest.raises(MismatchError, match="digits is not the one this version knows"):
        datasets.load_split(DIGITS)


@pytest.mark.parametrize(
    ("word", "channels", "said"),
    [
        (
            "0.0,0.0,0.0/1.0,1.0,1.0", 1,
            "for 3 channels, and the images of fashion-mnist are grey: give one of each, such as 0.5/0.25, or data",
        ),
        ("imagenet", 1, "--standardise imagenet: has a mean and a deviation for 3 channels, and the images of"),
        ("0.0,0.0/1.0,1.0", 3, "and the images of fashion-mnist have 3 channels: give 3 of each, or one for all, or data"),
    ],
)  # fmt: skip
def test_numbers_for_other_channels_are_refused(word: str, channels: int, said: str) -> None:
    from sics_cli.tasks.images.standardise import resolved

    with pytest.raises(ConfigError) as error:
        resolved(word, "data", channels, "fashion-mnist", pixels=True)
    assert said in str(error.value)
