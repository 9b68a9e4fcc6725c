"""A torchvision ResNet-18, trained by a loop of your own on a folder of images: train/CLASS/…, test/CLASS/….

The first command makes such a folder of scikit-learn's digits; give your own as `folder`. On two cores the second takes a minute.

python examples/image_folder.py
sics-run replicate --task examples/image_folder.py:OwnLoop --seeds 3 --scorers magnitude,information --sparsities .5,.8
"""

from pathlib import Path

import torch
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms.v2 import Compose, Grayscale, ToDtype, ToImage

from sics_cli import Metric

DIGITS = "digit-images"
Batch = tuple[torch.Tensor, torch.Tensor]


class OwnLoop:
    """Which of ten digits an image shows."""

    metric = Metric("accuracy")
    device = torch.device("cpu")  # a run sets it: a GPU where there is one

    def __init__(self, folder: str = DIGITS, passes: int = 3) -> None:
        self.folder, self.passes = folder, passes
        self.train, self.test = read(f"{folder}/train"), read(f"{folder}/test")

    def network(self, seed: int) -> torch.nn.Module:
        """Trained here; the seed's draws are set already."""
        net = resnet18(num_classes=10).to(self.device)
        optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
        for _ in range(self.passes):
            for x, y in self.batches():
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(net(x.to(self.device)), y.to(self.device)).backward()
                optimiser.step()
        return net

    def batches(self) -> list[Batch]:
        """All training images, in an order that is drawn."""
        x, y = self.train
        return [(x[index], y[index]) for index in torch.randperm(len(y)).split(64)]

    def calibration(self, seed: int) -> list[Batch]:
        """Four batches of the training part."""
        return self.batches()[:4]

    def evaluate(self, network: torch.nn.Module, seed: int) -> torch.Tensor:
        """Right or wrong on each test image."""
        x, y = self.test
        return torch.cat([network(part.to(self.device)).argmax(1).cpu() for part in x.split(256)]) == y


def read(folder: str) -> Batch:
    """The images of a folder, three channels from 0 to 1, and their classes."""
    as_numbers = Compose([ToImage(), Grayscale(3), ToDtype(torch.float32, scale=True)])
    images, labels = zip(*ImageFolder(folder, as_numbers), strict=True)
    return torch.stack(images), torch.tensor(labels)


def make_data(folder: str = DIGITS, each: int = 120) -> None:
    """Digits as PNG files of 16 × 16, `each` of a class, a third of them for testing."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        for number, image in enumerate(digits.images[digits.target == label][:each]):
            path = Path(folder, "train" if number % 3 else "test", str(label), f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15.9).astype("uint8")).resize((16, 16)).save(path)


if __name__ == "__main__":
    make_data()
