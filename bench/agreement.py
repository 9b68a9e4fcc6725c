"""How many mask bits the histogram form of ρ and z shares with the exact one, on data made to mislead it.

    python bench/agreement.py [--units 400000 --scorers chaos --sparsities 0.5,0.8]

The share of equal bits for every case, scorer and sparsity, and the lowest of all. Weights are normal, in eight layers.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sics_plugin import SaliencyVector, compute_masks

LAYERS = 8


def cases(n: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, weights and saliency; a case is made when it is asked for."""
    generator = torch.Generator().manual_seed(7)
    w = torch.cat([torch.randn(n // LAYERS, generator=generator) * 0.02 * (1 + i % 3) for i in range(LAYERS)])
    c = torch.randn(len(w), generator=generator).exp() * (w.abs() + w.abs().mean()) * 1e-4
    r = torch.rand(len(w), generator=generator)
    scale = torch.repeat_interleave(10.0 ** torch.linspace(-6, 3, LAYERS), n // LAYERS)
    order, huge = w.abs().argsort(), torch.tensor([3e38])
    yield "like gradients", w, c
    yield "the magnitude", w, w.abs()
    yield "nearly the magnitude", w, w.abs() * (1 + 1e-4 * r)
    yield "all equal", w, torch.ones_like(c)
    yield "nearly equal", w, 1 + c / c.max() * 1e-5
    yield "16 values", w, (r * 16).floor()
    yield "weights of bfloat16", w.bfloat16().float(), c
    yield "one huge weight", torch.cat([w[:-1], huge]), c
    yield "one huge saliency", w, torch.cat([c[:-1], huge])
    yield "sorted weights", w[order], c
    yield "both sorted", w[order], c.sort().values
    yield "by position", w, torch.arange(len(w)).float()
    yield "layers from 1e-6 to 1e3", w * scale, c * scale**1.5
    yield "the same, saliency inverse", w * scale, c / scale
    yield "two heaps 1e20 apart", w, torch.where(r < 0.5, c * 1e-10, c * 1e10)
    yield "over 70 decades", w, torch.exp((r * 2 - 1) * 80)


def agreement(weights: Tensor, saliency: Tensor, scorer: str, sparsity: float) -> float:
    pairs = []
    for values in weights.chunk(LAYERS):
        layer = nn.Module()
        layer.weight = nn.Parameter(values.reshape(1, -1).clone(), requires_grad=False)
        pairs.append((layer, "weight"))
    given = SaliencyVector(saliency, kind="gradient")
    exact, fast = (
        torch.cat([m.reshape(-1) for m in compute_masks(pairs, scorer, amount=sparsity, saliency=given, exact=form)[0].values()])
        for form in (True, False)
    )
    return float((exact == fast).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=float, default=4e5)
    parser.add_argument("--scorers", default="chaos")
    parser.add_argument("--sparsities", default="0.5,0.8")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| saliency | scorer | S | % of mask bits equal |\n|---|---|---|---|")
    worst = 1.0
    for name, weights, saliency in cases(int(args.units) // LAYERS * LAYERS):
        for scorer in args.scorers.split(","):
            for sparsity in map(float, args.sparsities.split(",")):
                found = agreement(weights, saliency, scorer, sparsity)
                worst = min(worst, found)
                print(f"| {name} | {scorer} | {sparsity:g} | {100 * found:.3f} |", flush=True)
    print(f"\nworst: {100 * worst:.3f} %")


if __name__ == "__main__":
    main()
