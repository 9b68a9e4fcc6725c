"""Global pruning of ViT-Small's Linear weights: torch's own way, this project's methods through it, and ``prune_model``.

Every case is repeated on a fresh copy of the model, the cases in turn within a repeat, so that what else the machine does falls
on all of them; the table has medians. Peak memory is measured on whole processes: a case runs in a process of its own, which
reads its peak resident set (VmHWM of /proc/self/status) after resetting it, before and after; the growth of
RssFile, pages of program files read meanwhile, is taken off.

    python bench/pruning.py [--repeats 5 --device auto --markdown docs/speed.md]
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from memory import peak_from_now
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import SaliencyVector, SICSMagnitude, prunable_parameters, prune_model

AMOUNT = 0.7
BEGIN, END = "<!-- bench/pruning.py: begin -->", "<!-- bench/pruning.py: end -->"
#: Ratio to torch's L1 the project promises, and the most extra memory in bytes a weight.
PROMISED: Mapping[str, tuple[float | None, float | None]] = {
    "global_unstructured, SICSMagnitude": (3, None),
    "prune_model, magnitude": (15, 6),
    "prune_model, magnitude, finalize=True": (25, 2),
    "prune_model, chaos, gradient saliency": (5, 6),
    "prune_model, chaos, gradient saliency, finalize=True": (None, 2),
}


class Nothing(prune.BasePruningMethod):
    """Keeps everything: what torch's wrapper itself costs."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        pass

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


def vit_small() -> nn.Module:
    import timm

    torch.manual_seed(0)
    return timm.create_model("vit_small_patch16_224", pretrained=False)


def saliency_of(model: nn.Module) -> SaliencyVector:
    """Like gradients: log-normal, larger where weights are, another scale in every layer."""
    generator = torch.Generator().manual_seed(1)
    parts = []
    for i, (module, _) in enumerate(prunable_parameters(model)):
        m = module.weight.detach().abs().reshape(-1).cpu()
        parts.append(torch.randn(m.numel(), generator=generator).exp_() * (m + m.mean()) * 1e-4 * (1 + i % 4))
    return SaliencyVector(torch.cat(parts), kind="gradient")


Case = Callable[[nn.Module, SaliencyVector], object]


def torchs(method: type[prune.BasePruningMethod]) -> Case:
    return lambda model, _: prune.global_unstructured(prunable_parameters(model), method, amount=AMOUNT)


def ours(scorer: str, finalize: bool, model: nn.Module, saliency: SaliencyVector) -> object:
    given = None if scorer == "magnitude" else saliency
    return prune_model(model, scorer, amount=AMOUNT, saliency=given, finalize=finalize)


CASES: Mapping[str, Case] = {
    "global_unstructured, torch's L1Unstructured": torchs(prune.L1Unstructured),
    "global_unstructured, a method that does nothing": torchs(Nothing),
    "global_unstructured, SICSMagnitude": torchs(SICSMagnitude),
    "prune_model, magnitude": partial(ours, "magnitude", False),
    "prune_model, magnitude, finalize=True": partial(ours, "magnitude", True),
    "prune_model, chaos, gradient saliency": partial(ours, "chaos", False),
    "prune_model, chaos, gradient saliency, finalize=True": partial(ours, "chaos", True),
}
REFERENCE = next(iter(CASES))


def synchronised(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def one_pass(weights: list[Tensor], device: str) -> float:
    """Median seconds of a pass over the weights: abs into warm scratch on a CPU, a copy on an accelerator."""
    scratch = [torch.empty_like(w) for w in weights]
    seconds = []
    for _ in range(9):
        start = synchronised(device)
        for w, out in zip(weights, scratch, strict=True):
            out.copy_(w) if device == "cuda" else torch.abs(w, out=out)
        seconds.append(synchronised(device) - start)
    return statistics.median(seconds[1:])


def timings(device: str, repeats: int) -> tuple[dict[str, float], float, int]:
    """Median seconds by case, those of one pass, and the number of weights."""
    dense = vit_small().to(device)
    saliency = saliency_of(dense)
    saliency = SaliencyVector(saliency.as_subclass(Tensor).to(device), kind="gradient")
    weights = [m.weight.detach() for m, _ in prunable_parameters(dense)]
    found: dict[str, list[float]] = {name: [] for name in CASES}
    passes = []
    for repeat in range(repeats + 1):
        for name, case in CASES.items():
            model = copy.deepcopy(dense)
            gc.collect()
            start = synchronised(device)
            case(model, saliency)
            if repeat:  # the first warms allocator and tables
                found[name].append(synchronised(device) - start)
        passes.append(one_pass(weights, device))
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    return medians, statistics.median(passes), sum(w.numel() for w in weights)


# --- memory, on whole processes ------------------------------------------------------------------------------------------


def extra_memory(name: str) -> None:
    """In a process of its own: print how many bytes a weight a case needs beyond what was resident before it."""
    model = vit_small()
    saliency = saliency_of(model)
    warm = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 2))
    ours("magnitude", False, warm, saliency)  # code and threads are not memory of the case
    peak = peak_from_now()
    CASES[name](model, saliency)
    print(json.dumps(peak() / saliency.numel()))


def memory_of(name: str) -> float | None:
    """None where the system does not say."""
    command = [sys.executable, __file__, "--memory-of", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"memory of {name!r} not measured: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return float(json.loads(done.stdout.splitlines()[-1]))


# --- the tables ----------------------------------------------------------------------------------------------------------


def machine(device: str) -> str:
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        model = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), model)
    card = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    return f"{model}, {torch.get_num_threads()} threads{card}, torch {torch.__version__}, Python {platform.python_version()}"


def table(device: str, repeats: int, *, memory: bool) -> str:
    seconds, one, n = timings(device, repeats)
    what = "copy" if device == "cuda" else "abs(w, out=scratch)"
    lines = [
        f"{device}: {machine(device)}. {n / 1e6:.1f} M float32 weights, amount {AMOUNT}, medians of {repeats} repeats; one warm "
        f"`{what}` pass takes {1e3 * one:.1f} ms.",
        "",
        "| call | ms | times faster than torch's L1 | promised | passes | extra bytes a weight | allowed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, median in seconds.items():
        bytes_ = memory_of(name) if memory else None
        promise, most = PROMISED.get(name, (None, None))
        lines.append(
            f"| {name} | {1e3 * median:.0f} | {seconds[REFERENCE] / median:.1f} | {'' if promise is None else f'≥ {promise}'} | "
            f"{median / one:.0f} | {'' if bytes_ is None else f'{bytes_:.1f}'} | {'' if most is None else f'≤ {most}'} |"
        )
    return "\n".join(lines)


def write_between(path: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between the markers of a page."""
    page = path.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise SystemExit(f"{path}: has no place for the table (the lines {begin} and {end})")
    head, rest = page.split(begin, 1)
    path.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: CPU, and CUDA if there is one")
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that measure memory")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="write the tables into this page, between its markers")
    parser.add_argument("--memory-of", choices=list(CASES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.memory_of:
        extra_memory(args.memory_of)
        return
    devices = {"auto": ["cpu"] + ["cuda"] * torch.cuda.is_available()}.get(args.device, [args.device])
    text = "\n\n".join(table(device, args.repeats, memory=device == "cpu" and not args.no_memory) for device in devices)
    print(text)
    if args.markdown:
        write_between(args.markdown, text)


if __name__ == "__main__":
    main()
