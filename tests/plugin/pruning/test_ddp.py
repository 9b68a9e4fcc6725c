"""Two DDP ranks make the same masks, and so does any other process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from sics_plugin import compute_masks


def test_two_ranks_and_this_process_make_the_same_masks(tmp_path: Path) -> None:
    """gloo over a file; each rank trains on its own shard, calibrates on shared batches, and prunes three times."""
    worker, files = Path(__file__).with_name("ddp_worker.py"), [tmp_path / f"{rank}.json" for rank in range(2)]
    ranks = [
        subprocess.Popen(
            [sys.executable, str(worker), str(rank), "2", str(tmp_path / "rendezvous"), str(file)],
            env=os.environ | {"OMP_NUM_THREADS": str(rank + 1), "PYTHONHASHSEED": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    try:
        said = [rank.communicate(timeout=150)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)
    first, second = (json.loads(file.read_text()) for file in files)
    assert first == second
    assert len(set(first["hashes"])) == 3
    assert first["pruned_weight"] == 0.0

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    here = {name: compute_masks(model, name, amount=0.7)[1].mask_hash for name in ("magnitude", "chaos", "random")}
    assert here == first["fresh"]
