"""Training in parts: a `trainer` goes on where it was stopped, is shared among workers, and leaves a curve.

sics-run replicate --task examples/digits_in_parts.py:Digits --seeds 5
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from sics_cli import Metric


class Training:
    """One network, an epoch at a time; all that the next epoch depends on is in `state`."""

    def __init__(self, network: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.network, self.data = network, data
        self.optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)

    def epoch(self, number: int) -> dict[str, float]:
        """One pass; the draws of each epoch are set before it."""
        x, y = self.data
        total = 0.0
        for index in torch.randperm(len(x)).split(32):
            self.optimiser.zero_grad()
            loss = nn.functional.cross_entropy(self.network(x[index]), y[index])
            loss.backward()
            self.optimiser.step()
            total += float(loss) * len(index)
        return {"loss": total / len(x)}

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and momenta by name."""
        named = dict(self.network.named_parameters())
        momenta = {f"momentum/{name}": self.optimiser.state[p]["momentum_buffer"] for name, p in named.items()}
        return {f"weight/{name}": p for name, p in named.items()} | momenta

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from there."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(state[f"weight/{name}"])
                momentum = torch.empty_like(parameter).copy_(state[f"momentum/{name}"])
                self.optimiser.state[parameter] = {"momentum_buffer": momentum}


class Digits:
    """Handwritten digits by a perceptron."""

    metric = Metric("accuracy")
    epochs = 10
    device = torch.device("cpu")  # a run sets it: a GPU where there is one

    def __init__(self) -> None:
        data = load_digits()
        x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
        self.train, self.test = (x[:900], y[:900]), (x[900:], y[900:])

    def trainer(self, seed: int) -> Training:
        """The training of a seed; the seed's draws are set already."""
        x, y = self.train
        network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        return Training(network.to(self.device), (x.to(self.device), y.to(self.device)))

    def calibration(self, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Ten batches of the training part."""
        x, y = self.train
        return [(x[index], y[index]) for index in torch.randperm(len(x)).split(64)[:10]]

    def evaluate(self, network: nn.Module, seed: int) -> torch.Tensor:
        """Right or wrong on each test image."""
        x, y = self.test
        return network(x.to(self.device)).argmax(1).cpu() == y
