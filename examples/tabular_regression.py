"""A regression with RMSE: a metric where lower is better, made of squared errors, and a loss of one's own.

sics-run replicate --task examples/tabular_regression.py:Diabetes --seeds 5
"""

import math

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from sics_cli import Metric


class Diabetes:
    """Progression of diabetes from ten measurements, by a network of two hidden layers."""

    # 78 is what always saying the mean reaches; half a unit is no difference.
    metric = Metric("RMSE", unit="units", higher_is_better=False, delta=0.5, of=lambda squares: math.sqrt(squares.mean()))
    device = torch.device("cpu")  # a run sets it: a GPU where there is one

    def __init__(self, hidden: int = 64, epochs: int = 150) -> None:
        self.hidden, self.epochs = hidden, epochs
        data = load_diabetes()
        x, y = torch.tensor(data.data, dtype=torch.float32) * 20, torch.tensor(data.target, dtype=torch.float32)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        train, test = order[:300], order[300:]
        self.train, self.test = (x[train], y[train]), (x[test], y[test])

    def network(self, seed: int) -> nn.Module:
        """Trained here; the seed's draws are set already."""
        hidden = self.hidden
        net = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        net.to(self.device)
        x, y = self.train
        batch = x.to(self.device), y.to(self.device)
        optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.1)
        for _ in range(self.epochs):
            optimiser.zero_grad()
            self.loss(net, batch).backward()
            optimiser.step()
        return net

    def calibration(self, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Ten draws of 32 from the training part."""
        x, y = self.train
        return [(x[index], y[index]) for index in (torch.randperm(len(x))[:32] for _ in range(10))]

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Mean squared error, in thousands."""
        x, y = batch
        return nn.functional.mse_loss(100 * network(x)[:, 0] + 150, y) / 1000

    def evaluate(self, network: nn.Module, seed: int) -> torch.Tensor:
        """The squared error of each test patient."""
        x, y = self.test
        return (100 * network(x.to(self.device))[:, 0].cpu() + 150 - y) ** 2
