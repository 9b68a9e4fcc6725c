"""A Lightning module, trained by lightning.Trainer, whose own training loss is what the saliency is measured by.

`loss` hands a batch to the module's `training_step`: its labels are smoothed for the saliency as they were in training.

sics-run replicate --task examples/lightning_module.py:Lightning --seeds 5
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sics_cli import Metric

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
Batch = list[torch.Tensor]


class Module(lightning.LightningModule):
    """A perceptron for digits, and how it is trained; nothing here knows of pruning."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of ten classes."""
        return self.net(x)

    def training_step(self, batch: Batch, index: int = 0) -> torch.Tensor:
        """The loss of a batch."""
        x, y = batch
        return nn.functional.cross_entropy(self(x), y, label_smoothing=0.1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), 3e-3)


class Lightning:
    """The module as a task."""

    metric = Metric("accuracy")
    device = torch.device("cpu")  # a run sets it: a GPU where there is one

    def __init__(self, width: int = 64, passes: int = 10) -> None:
        self.width, self.passes = width, passes
        data = load_digits()
        x, y = torch.tensor(data.data / 16).float(), torch.tensor(data.target)
        self.train, self.test = TensorDataset(x[:1200], y[:1200]), (x[1200:], y[1200:])

    def network(self, seed: int) -> Module:
        """Trained by Lightning's own trainer; the seed's draws are set already."""
        module, accelerator = Module(self.width), "gpu" if self.device.type == "cuda" else "cpu"
        lightning.Trainer(max_epochs=self.passes, accelerator=accelerator, devices=1, **QUIET).fit(module, self.calibration(seed))
        return module

    def calibration(self, seed: int) -> DataLoader[Batch]:
        """The training part, shuffled."""
        return DataLoader(self.train, batch_size=64, shuffle=True)

    def loss(self, network: Module, batch: Batch) -> torch.Tensor:
        """The module's own."""
        return network.training_step(batch)

    def evaluate(self, network: Module, seed: int) -> torch.Tensor:
        """Right or wrong on each test image."""
        x, y = self.test
        return network(x.to(self.device)).argmax(1).cpu() == y
