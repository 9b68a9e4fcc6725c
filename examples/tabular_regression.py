"""Regression on a table: an MLP that predicts how far diabetes has progressed, judged by its RMSE, in the target's own unit.

`evaluate` gives squared errors, one a patient; `metric.of` makes the RMSE of them, and `loss` is the mean squared error.
Run it: ``sics-run replicate --task examples/tabular_regression.py:Diabetes --seeds 3``
"""

import math

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from sics_cli import Metric

Batch = tuple[torch.Tensor, torch.Tensor]


class Diabetes:
    metric = Metric("RMSE", unit="score", higher_is_better=False, delta=2.0, of=lambda squares: math.sqrt(squares.mean()))
    device = "cpu"  # a run sets it: a GPU where there is one

    def __init__(self, width: int = 64, steps: int = 300) -> None:
        self.width, self.steps = width, steps
        data = load_diabetes()
        order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
        x, y = torch.tensor(data.data).float()[order], torch.tensor(data.target).float()[order]
        self.mean, self.sd = y[142:].mean(), y[142:].std()
        self.x, self.y = 20 * x, (y - self.mean) / self.sd  # scikit-learn's columns have a deviation of a twentieth

    def network(self, seed: int) -> nn.Module:
        layers = nn.Linear(10, self.width), nn.ReLU(), nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, 1)
        net = nn.Sequential(*layers).to(self.device)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.1)
        for _ in range(self.steps):
            optimizer.zero_grad()
            self.loss(net, self.batch(64)).backward()
            optimizer.step()
        return net

    def batch(self, size: int) -> Batch:
        some = torch.randint(142, len(self.y), (size,))
        return self.x[some].to(self.device), self.y[some].to(self.device)

    def calibration(self, seed: int) -> list[Batch]:
        return [self.batch(64) for _ in range(8)]

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        x, y = batch
        return nn.functional.mse_loss(network(x)[:, 0], y)

    def evaluate(self, network: nn.Module, seed: int) -> torch.Tensor:
        errors = network(self.x[:142].to(self.device))[:, 0].cpu() - self.y[:142]
        return (errors * self.sd) ** 2
