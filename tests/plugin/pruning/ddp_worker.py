"""One rank of a data-parallel job (run by test_ddp.py): trains, calibrates, prunes, and writes what it got.

python ddp_worker.py RANK WORLD_SIZE RENDEZVOUS_FILE RESULT_FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import prune

from sics_plugin import Saliency, SICSChaos, compute_masks, current_masks, mask_hash, prune_model


def main(rank: int, world: int, rendezvous: str, result: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    fresh = {name: compute_masks(model, name, amount=0.7)[1].mask_hash for name in ("magnitude", "chaos", "random")}

    def train(steps: int) -> None:
        parallel = DistributedDataParallel(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        generator = torch.Generator().manual_seed(100 + rank)  # every rank has its own shard
        for _ in range(steps):
            optimizer.zero_grad()
            x, y = torch.randn(8, 16, generator=generator), torch.randint(4, (8,), generator=generator)
            nn.functional.cross_entropy(parallel(x), y).backward()
            optimizer.step()

    train(3)
    shared = torch.Generator().manual_seed(7)
    batches = [(torch.randn(8, 16, generator=shared), torch.randint(4, (8,), generator=shared)) for _ in range(4)]
    saliency = Saliency(model, batches)
    hashes = [prune_model(model, "smooth_chaos", amount=0.5, saliency=saliency).mask_hash]
    pairs = [(model[0], "weight"), (model[2], "weight")]
    prune.global_unstructured(pairs, SICSChaos, amount=0.3, saliency=saliency.vector(pairs))
    hashes.append(mask_hash(current_masks(model)))
    for module, _ in pairs:
        prune.remove(module, "weight")
    prune_model(model, "magnitude", amount=0.8)
    train(2)  # with bool masks among the buffers that the wrapper broadcasts
    hashes.append(mask_hash(current_masks(model)))
    live = float(model[0].weight[~model[0].weight_mask].abs().max())
    result.write_text(json.dumps({"fresh": fresh, "digest": saliency.digest, "hashes": hashes, "pruned_weight": live}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
