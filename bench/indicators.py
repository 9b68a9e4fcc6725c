"""The features of orbits and their controls as pictures: φ over z, with κ as declared, and what the meter measures.

python bench/indicators.py [-o docs/indicators.png] [--measure]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import torch

from sics_plugin import CoordinateScorer, Units, build_scorer, get_scorer, list_scorers
from sics_plugin.complexity.meter import measure_units

BESIDE = ("smooth_chaos", "chaos")
COLUMNS, UNITS = 4, 200_000


def features() -> list[str]:
    asked = [n for n in list_scorers() if get_scorer(n).on_request and issubclass(get_scorer(n), CoordinateScorer)]
    return [*asked, *BESIDE]


def draw(path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = features()
    rows = -(-len(names) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(9, 1.7 * rows), sharex=True, sharey=True, layout="constrained")
    z = torch.linspace(0, 1, 2048, dtype=torch.float64)
    for axis, name in zip(axes.flat, names, strict=False):
        scorer = build_scorer(name)
        assert isinstance(scorer, CoordinateScorer)
        axis.plot(z.numpy(), scorer.feature(z, 0.7).numpy(), color="#1f4e79", linewidth=0.7)
        axis.set_title(f"{name}, {'monotone' if scorer.kappa is None else f'κ = {scorer.kappa}'}", fontsize=8)
        axis.set_ylim(-4, 3)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("z")
    for axis in axes[:, 0]:
        axis.set_ylabel("φ")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def measured() -> None:
    """Each on one pool of normal weights and a saliency that goes with them."""
    source = torch.Generator().manual_seed(5)
    magnitude = torch.randn(UNITS, generator=source).abs()
    units = Units(magnitude, (0.3 * magnitude + torch.rand(UNITS, generator=source)).square(), "gradient")
    print("| feature | declared κ | measured | not monotone | above 10 cycles |\n|---|---|---|---|---|")
    for name in features():
        found = measure_units(build_scorer(name), units, draws=10, sparsities=[0.7])
        shares = [found.at[0].not_monotone, found.at[0].above_ten_cycles]
        told = " | ".join("–" if share is None else f"{100 * share.value:.1f} %" for share in shares)
        print(f"| `{name}` | {'–' if found.declared is None else found.declared} | {found.kind} | {told} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/indicators.png"))
    parser.add_argument("--measure", action="store_true", help="measure their κ as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    draw(args.output)
    if args.measure:
        measured()


if __name__ == "__main__":
    main()
