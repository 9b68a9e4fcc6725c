"""A torchvision ResNet-18, trained by a loop of your own on a folder of images, one folder a class.

The task brings the loop, the split and the metric; nothing of them is this project's. Replace `DIGITS` by your own folder.
Run it: ``python examples/image_folder.py && sics-run replicate --task examples/image_folder.py:OwnLoop --seeds 3``
"""

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms.v2 import Compose, Grayscale, ToDtype, ToImage

from sics_cli import Metric

DIGITS = "digit-images"
Batch = tuple[torch.Tensor, torch.Tensor]


class OwnLoop:
    metric = Metric("accuracy")
    device = "cpu"  # a run sets it: a GPU where there is one

    def __init__(self, folder: str = DIGITS, passes: int = 3) -> None:
        self.folder, self.passes = folder, passes
        self.train, self.test = read(f"{folder}/train"), read(f"{folder}/test")

    def network(self, seed: int) -> torch.nn.Module:
        net = resnet18(num_classes=10).to(self.device)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
        for _ in range(self.passes):
            for x, y in self.batches(64):
                optimizer.zero_grad()
                cross_entropy(net(x.to(self.device)), y.to(self.device)).backward()
                optimizer.step()
        return net

    def batches(self, size: int) -> list[Batch]:
        x, y = self.train
        return [(x[some], y[some]) for some in torch.randperm(len(y)).split(size)]

    def calibration(self, seed: int) -> list[Batch]:
        return self.batches(64)[:4]

    def evaluate(self, network: torch.nn.Module, seed: int) -> torch.Tensor:
        x, y = self.test
        return torch.cat([network(some.to(self.device)).argmax(1).cpu() for some in x.split(256)]) == y


def read(folder: str) -> Batch:
    """All images of a folder, three channels from 0 to 1, and their classes."""
    images, labels = zip(*ImageFolder(folder, Compose([ToImage(), Grayscale(3), ToDtype(torch.float32, scale=True)])), strict=True)
    return torch.stack(images), torch.tensor(labels)


def make_data(folder: str = DIGITS, each: int = 120) -> None:
    """Scikit-learn's handwritten digits as PNG files of 16 × 16, `each` of a class, two thirds of them in ``train/``."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        for number, image in enumerate(digits.images[digits.target == label][:each]):
            place = Path(folder, "train" if number % 3 else "test", str(label), f"{number}.png")
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15.9).astype("uint8")).resize((16, 16)).save(place)


if __name__ == "__main__":
    make_data()
