"""Training that goes on where it was stopped: a `trainer` in place of `network`, and a metric that no single example has, F1.

A killed run goes on from the last epoch that was kept, Slurm and Ray share one training among jobs, and ``curves/seed-N.csv``
holds what `epoch` gave. Run it: ``sics-run replicate --task examples/training_in_parts.py:InParts --seeds 3``
"""

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from torch import nn

from sics_cli import Metric

State = dict[str, torch.Tensor]


class Momentum:
    """What a `trainer` is: `network`, `epoch`, `state` and `load`."""

    def __init__(self, network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        self.network, self.x, self.y = network, x, y
        self.optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)

    def epoch(self, number: int) -> dict[str, float]:
        losses = []
        for some in torch.randperm(len(self.y)).split(32):
            loss = nn.functional.cross_entropy(self.network(self.x[some]), self.y[some])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return {"loss": sum(losses) / len(losses)}

    def state(self) -> State:
        """The weights, and all else that the next epoch depends on, as tensors by name."""
        kept = self.optimizer.state_dict()["state"]
        return self.network.state_dict() | {f"momentum.{i}": one["momentum_buffer"] for i, one in kept.items()}

    def load(self, state: State) -> None:
        self.network.load_state_dict({name: state[name] for name in self.network.state_dict()})
        for i, weight in enumerate(self.network.parameters()):
            self.optimizer.state[weight]["momentum_buffer"] = state[f"momentum.{i}"].to(weight.device)


class InParts:
    metric = Metric("macro F1", unit="points", delta=1.0)  # a fraction from 0 to 1, told in points
    device = "cpu"  # a run sets it: a GPU where there is one

    def __init__(self, width: int = 64, epochs: int = 8) -> None:
        self.width, self.epochs = width, epochs
        digits = load_digits()
        self.x, self.y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)

    def trainer(self, seed: int) -> Momentum:
        layers = nn.Linear(64, self.width), nn.ReLU(), nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, 10)
        return Momentum(nn.Sequential(*layers).to(self.device), self.x[:1200].to(self.device), self.y[:1200].to(self.device))

    def calibration(self, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self.x[some], self.y[some]) for some in torch.randperm(1200).split(64)]

    def evaluate(self, network: nn.Module, seed: int) -> float:
        guesses = network(self.x[1200:].to(self.device)).argmax(1).cpu()
        return f1_score(self.y[1200:], guesses, average="macro")
