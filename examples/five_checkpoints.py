"""Five networks that are trained already, pruned by one command: a file is a seed, so there is no loop and nothing to merge.

The first command plays the part of your own training and leaves trained/seed0.safetensors to seed4.safetensors.

python examples/five_checkpoints.py
sics-run replicate --checkpoint 'trained/seed*.safetensors' --model examples/five_checkpoints.py:build \
    --data imagefolder:digit-images --standardise 0/1 --scorers magnitude,information
"""

from pathlib import Path

import torch
from image_folder import DIGITS, make_data, read
from safetensors.torch import save_file
from torch import nn


def build() -> nn.Module:
    """The architecture of all five, for grey images of 16 × 16: what --model names."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def train(seed: int, x: torch.Tensor, y: torch.Tensor, passes: int = 8) -> nn.Module:
    """One of them, on pixels from 0 to 1 as they are: what --standardise 0/1 says, mean 0 and deviation 1."""
    torch.manual_seed(seed)
    net = build()
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(passes):
        for index in torch.randperm(len(y)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[index]), y[index]).backward()
            optimiser.step()
    return net


if __name__ == "__main__":
    torch.set_num_threads(1)  # to networks this small a second thread is a hindrance
    make_data()
    images, labels = read(f"{DIGITS}/train")
    Path("trained").mkdir(exist_ok=True)
    for number in range(5):
        save_file(train(number, images[:, :1], labels).state_dict(), f"trained/seed{number}.safetensors")
