import pytest
import torch

from sics_cli.seeds.masks import jaccard


def mask(*kept: int, size: int = 4) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([place in kept for place in range(size)])}


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (mask(0, 1), mask(0, 1), 1.0),
        (mask(0, 1), mask(1, 2), 1 / 3),  # keeps 1 in common, of 0, 1 and 2
        (mask(0, 1), mask(2, 3), 0.0),
        (mask(0, 1, 2), mask(0), 1 / 3),
        (mask(), mask(), 1.0),
    ],
)
def test_four_units_by_hand(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], expected: float) -> None:
    assert jaccard(one, two) == jaccard(two, one) == expected


def test_units_are_counted_over_all_parameters_and_not_averaged_over_them() -> None:
    one = {**mask(0), "v": torch.tensor([[True, True, True]])}
    two = {**mask(1), "v": torch.tensor([[True, True, False]])}
    assert jaccard(one, two) == 2 / 5


def test_masks_of_different_networks() -> None:
    with pytest.raises(ValueError, match="different parameters: v, w"):
        jaccard(mask(0), {"v": torch.tensor([True])})
