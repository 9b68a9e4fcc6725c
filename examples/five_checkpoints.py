"""Five networks that were trained elsewhere, pruned by one command: a seed a file, no loop around it, nothing to merge.

``python examples/five_checkpoints.py`` plays the part of "elsewhere": images, and ``trained/seed0.safetensors`` to ``seed4``.
Then run ``sics-run replicate --checkpoint 'trained/*.safetensors' --model examples/five_checkpoints.py:build
--data imagefolder:digit-images --standardise 0/1``: one line, and no --seeds, since they are as many as the files.
"""

from pathlib import Path

import torch
from image_folder import DIGITS, make_data, read
from safetensors.torch import save_file
from torch import nn


def build() -> nn.Module:
    """The architecture of all five, for grey images of 16 × 16."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def trained(seed: int, x: torch.Tensor, y: torch.Tensor, passes: int = 8) -> nn.Module:
    """A network of this seed, on pixels from 0 to 1: what --standardise says."""
    torch.manual_seed(seed)
    net = build()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(passes):
        for some in torch.randperm(len(y)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[some]), y[some]).backward()
            optimizer.step()
    return net


if __name__ == "__main__":
    make_data()
    images, labels = read(f"{DIGITS}/train")
    grey = images[:, :1]
    Path("trained").mkdir(exist_ok=True)
    for seed in range(5):
        save_file(trained(seed, grey, labels).state_dict(), f"trained/seed{seed}.safetensors")
