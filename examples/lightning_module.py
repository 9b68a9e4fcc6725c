"""A Lightning module, trained by ``lightning.Trainer``, whose own training loss is also what the saliency is measured by.

`loss` hands a batch to the module's `training_step`, so labels are smoothed there as in training.
Run it: ``sics-run replicate --task examples/lightning_module.py:Lightning --seeds 3``
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sics_cli import Metric

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Module(lightning.LightningModule):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: list[torch.Tensor], index: int = 0) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-3)


class Lightning:
    metric = Metric("accuracy")
    device = torch.device("cpu")  # a run sets it: a GPU where there is one

    def __init__(self, width: int = 64, passes: int = 10) -> None:
        self.width, self.passes = width, passes
        digits = load_digits()
        x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
        self.train, self.test = TensorDataset(x[:1200], y[:1200]), (x[1200:], y[1200:])

    def network(self, seed: int) -> nn.Module:
        module, accelerator = Module(self.width), "gpu" if self.device.type == "cuda" else "cpu"
        trainer = lightning.Trainer(max_epochs=self.passes, accelerator=accelerator, devices=1, **QUIET)
        trainer.fit(module, DataLoader(self.train, batch_size=64, shuffle=True))
        return module

    def calibration(self, seed: int) -> DataLoader:
        return DataLoader(self.train, batch_size=64, shuffle=True)

    def loss(self, network: Module, batch: list[torch.Tensor]) -> torch.Tensor:
        return network.training_step(batch)

    def evaluate(self, network: nn.Module, seed: int) -> torch.Tensor:
        x, y = self.test
        return network(x.to(self.device)).argmax(1).cpu() == y
