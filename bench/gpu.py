"""All that is to be proven on a GPU, in one command of less than nine minutes: `make gpu`.

    python bench/gpu.py [--out build/gpu] [--parts checks,pruning] [--device cuda]

Nothing is installed: a plain tree on PYTHONPATH will do, where torch, NumPy and what a run imports are there. Parts run one
after another, each in a process of its own with its own time limit: machine, waits, pruning, steps, masks, checks. `gpu.json` is
written again after every part, with what the part said, or how it ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Seconds a part may take; together less than nine minutes.
LIMITS = {"machine": 40, "waits": 60, "pruning": 80, "steps": 110, "masks": 60, "checks": 180}
#: The exit code of a part that lacks a package.
LACKING = 3
#: Waits that a call may take on ViT-Small, as torch's own sync debug mode counts them.
WAITS = {"prune_model magnitude": 3, "prune_model chaos": 8, "evaluation": 1}


def timed(work: Callable[[], Any], rounds: int = 3) -> float:
    """Seconds of the quickest of some rounds after one to warm up; where there is no GPU those that the processor was at it."""
    import torch

    def settle() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    work()
    found = []
    for _ in range(rounds):
        settle()
        begun = clock()
        work()
        settle()
        found.append(clock() - begun)
    return min(found)


def machine(device: Any) -> dict[str, Any]:
    """Versions, the card, and what a pass over memory and a matrix product take."""
    import torch

    cuda = device.type == "cuda"
    n = 1 << (28 if cuda else 22)
    source = torch.ones(n, device=device)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source))
    side = 8192 if cuda else 512
    one = torch.randn(side, side, device=device)
    products = {}
    for name, precision, dtype in (
        ("fp32", "highest", torch.float32),
        ("tf32", "high", torch.float32),
        ("bf16", "highest", torch.bfloat16),
    ):
        torch.set_float32_matmul_precision(precision)
        own = one.to(dtype)
        products[name] = round(2 * side**3 / timed(lambda own=own: own @ own) / 1e12, 3)
    torch.set_float32_matmul_precision("highest")
    launched, operations = launching(device)
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "memory_gb": round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1) if cuda else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "copy_gb_s": round(8 * n / seconds / 1e9, 1),
        "matmul_tflop_s": products,
        "microseconds an operation": round(1e6 * launched, 1),
        "operations of that step": operations,
    }


def launching(device: Any) -> tuple[float, int]:
    """Seconds that an operation of a training step takes at least, and how many the step has: of a network with next to nothing
    to compute, whose time is Python's, torch's and the launches'.
    """
    import torch
    from torch import nn
    from torch.utils._python_dispatch import TorchDispatchMode

    views = {"detach", "view", "_unsafe_view", "t", "transpose", "expand", "select", "slice", "unbind", "permute", "unsqueeze"}

    class Counting(TorchDispatchMode):
        """How many operations there are that are no views."""

        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += func._schema.name.partition("::")[2] not in views
            return func(*args, **(kwargs or {}))

    layers = [nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()) for _ in range(24)]
    model = nn.Sequential(*layers).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, y = torch.randn(2, 16, device=device), torch.tensor([1, 2], device=device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()

    step()
    with Counting() as counted:
        step()
    return timed(lambda: [step() for _ in range(5)]) / 5 / counted.count, counted.count


def _vit(device: Any) -> Any:
    from gpu_checks import SMALL, VIT_SMALL, network

    return network(**(VIT_SMALL if device.type == "cuda" else SMALL)).to(device)


def _examples(device: Any, n: int, side: int, classes: int) -> Any:
    import numpy as np

    from sics_cli.tasks.images.datasets import Part
    from sics_cli.tasks.images.examples import Examples
    from sics_cli.tasks.images.standardise import ChannelStatistics

    dice = np.random.default_rng(0)
    statistics = ChannelStatistics(np.full(3, 120.0, np.float32), np.full(3, 60.0, np.float32))
    return Examples(
        Part(dice.integers(0, 256, (n, 3, side, side)).astype(np.uint8), dice.integers(0, classes, n), statistics), device
    )


def waits(device: Any) -> dict[str, Any]:
    """How often the host waits for the card, as torch's own debug mode counts; more than allowed is an error."""
    import torch

    import sics_plugin as sics
    from sics_cli.tasks.networks.evaluation import hits_and_loss

    model = _vit(device)
    examples = _examples(device, 512, *((32, 10) if device.type == "cuda" else (8, 5)))
    calls = {
        "prune_model magnitude": lambda: sics.compute_masks(model, "magnitude", amount=0.7),
        "prune_model chaos": lambda: sics.compute_masks(model, "chaos", amount=0.7, exact=True),
        "prune_model histogram": lambda: sics.compute_masks(model, "chaos", amount=0.7, exact=False),
        "evaluation": lambda: hits_and_loss(model, examples),
    }
    found: dict[str, Any] = {}
    for name, call in calls.items():
        call()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("warn")
            call()
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
        found[name] = {"waits": len(places), "allowed": WAITS.get(name), "places": sorted(set(places))[:12]}
    over = [name for name, one in found.items() if one["allowed"] is not None and one["waits"] > one["allowed"]]
    return {**found, "good": not over, "over": over}


def pruning(device: Any) -> dict[str, Any]:
    """Seconds to choose masks of ViT-Small, beside one pass over its weights."""
    import torch

    import sics_plugin as sics

    model = _vit(device)
    weights = [getattr(module, name).detach() for module, name in sics.prunable_parameters(model)]
    scratch = [torch.empty_like(w) for w in weights]
    rows: dict[str, Any] = {"weights": sum(w.numel() for w in weights)}
    rows["one pass"] = round(1e3 * timed(lambda: [torch.abs(w, out=s) for w, s in zip(weights, scratch, strict=True)]), 3)
    for name, exact in (
        ("magnitude", None),
        ("log", None),
        ("chaos", True),
        ("chaos", False),
        ("information", True),
        ("random", True),
    ):
        form = {None: "", True: " exact", False: " histogram"}[exact]
        rows[name + form] = round(
            1e3 * timed(lambda name=name, exact=exact: sics.compute_masks(model, name, amount=0.7, exact=exact)), 2
        )
    return {"milliseconds": rows}


def steps(device: Any) -> dict[str, Any]:
    """Milliseconds of a training step of the presets' networks, by path, as `[training] path` takes it.

    "graph, whole" has the optimiser in the graph too, which no path of a run has: what there would be to gain. A step of
    "stacked" is one of all its seeds, the optimiser's part included as on every path. "guessed" is what
    `--dry-run` takes for a step as it is; "relaxed" are those that have no deterministic form.
    """
    import torch
    from gpu_checks import stacking

    from sics_cli.tasks.networks.models import build_model
    from sics_cli.tasks.networks.paths import TrainingBatch, step_of
    from sics_cli.tasks.training import strictly

    cuda = device.type == "cuda"
    nets = {"vit-micro": "cifar10-vit-micro", "vit-small": "cifar10-vit-small"}
    found: dict[str, Any] = {}
    relaxed: list[str] = []
    rows = [
        (name, precision, path)
        for path in (("eager", "graph", "graph, whole", "stacked", "compile") if cuda else ("eager", "stacked"))  # compiles last
        for name in list(nets)[: 2 if cuda and path != "stacked" else 1]  # the larger one draws as it trains
        for precision in (("fp32", "bf16") if cuda else ("fp32",))
    ]
    for name, precision, path in rows:
        model, config = preset(nets[name], precision, path="eager" if path == "graph, whole" else path)
        if not cuda:
            config = dataclasses.replace(config, batch_size=4)
        size, whole = config.batch_size, path == "graph, whole"
        batch = TrainingBatch(torch.randn(size, 3, 32, 32, device=device), torch.randint(0, 10, (size,), device=device))
        if path in ("eager", "graph"):
            found[f"{name}, {size}, {precision}, {path}, guessed"] = round(1e3 * guessed_step(device, model, config), 2)

        def work(_: bool, model: Any = model, config: Any = config, batch: Any = batch, whole: bool = whole) -> float:
            network = build_model(model, 0).to(device).train()
            if config.path == "stacked":
                call = stacking(device, network, batch, config.precision)
                return timed(lambda: [call() for _ in range(5)]) / 5
            optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True, capturable=whole)
            gradients = step_of(network, config, device)

            def step() -> None:
                gradients(batch)
                optimiser.step()

            call = captured(step) if whole else step
            return timed(lambda: [call() for _ in range(5)]) / 5

        row = f"{name}, {size}, {precision}, {path}" + (f", {config.width} seeds" if path == "stacked" else "")
        try:
            seconds, unsure = strictly(work)
            found[row] = round(1e3 * seconds, 2)
            relaxed += [row] * unsure
        except Exception as error:
            found[row] = f"{type(error).__name__}: {error}"[:200]
        print(json.dumps({"milliseconds a step": found, "relaxed": relaxed}), flush=True)
    return {"milliseconds a step": found, "relaxed": relaxed}


def preset(name: str, precision: str, path: str) -> tuple[Any, Any]:
    """The network of a preset on CIFAR-10, and its training without augmentation, as a run has them."""
    from gpu_checks import CIFAR

    from sics_cli.settings.config import experiment_from_mapping, merged
    from sics_cli.settings.presets import PRESETS

    plain = {"crop_padding": 0, "flip": False, "randaugment": 0}
    asked = {"model": CIFAR, "training": {**plain, "precision": precision, "path": path}}
    images = experiment_from_mapping(merged(PRESETS[name], asked)).images
    return images.model, images.training


def guessed_step(device: Any, model: Any, config: Any) -> float:
    """Seconds of a step of this training as `--dry-run` guesses it."""
    import torch

    from sics_cli.tasks.networks.size import BACKWARD, VisionTransformer, machine_of

    sizes = VisionTransformer.of(model)
    assert sizes is not None
    size = config.batch_size
    guess = machine_of(device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else None)
    work = sizes.step_operations(config), BACKWARD * size * sizes.multiply_adds, sizes.moved_in_training(size, 1)
    return guess.seconds(*work, config.precision, launches=sizes.step_launches(config))


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """A whole step as a CUDA graph; what replays it."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        step()
    replay: Callable[[], None] = graph.replay
    return replay


def masks(device: Any) -> dict[str, Any]:
    """Milliseconds of what a cell consists of: an evaluation of 10 000 images, and an epoch's augmentation."""
    import torch

    from sics_cli.seeds.unchanged import left_as_it_was
    from sics_cli.tasks.images.augment import Augmentation, augment_all
    from sics_cli.tasks.networks.evaluation import hits_and_loss

    cuda = device.type == "cuda"
    model, n = _vit(device), 10_000 if cuda else 64
    examples = _examples(device, n, *((32, 10) if cuda else (8, 5)))

    def look() -> None:
        with left_as_it_was(model, "it was looked at"):
            pass

    asked, count, size = Augmentation(randaugment=2), (176 if cuda else 2), 256
    pixels = torch.randint(0, 256, (count * size, 3, 32, 32), dtype=torch.uint8, device=device)
    return {
        "milliseconds": {
            f"evaluation of {n} images": round(1e3 * timed(lambda: hits_and_loss(model, examples)), 1),
            "seeing that the network is as it was": round(1e3 * timed(look), 2),
            f"augmentation of {count} batches together": round(
                1e3 * timed(lambda: augment_all(pixels, asked, [size] * count, seed=0, epoch=0, first=0)), 1
            ),
            "augmentation of one batch": round(
                1e3 * timed(lambda: augment_all(pixels[:size], asked, [size], seed=0, epoch=0, first=0)), 2
            ),
        }
    }


def checks(device: Any) -> dict[str, Any]:
    """The checks of `gpu_checks`, which tests marked `cuda` run too where there is pytest; here it is not needed."""
    import gpu_checks

    done = []
    for name in gpu_checks.CHECKS:
        done.append(gpu_checks.outcome(name, device))
        print(json.dumps({"checks": done}), flush=True)
    return {"checks": done, "good": all(one["good"] for one in done), "source": gpu_checks.source_digest()}


PARTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "machine": machine, "waits": waits, "pruning": pruning, "steps": steps, "masks": masks, "checks": checks,
}  # fmt: skip


def part(name: str, device: str) -> int:
    """In a process of its own: what a part says, as one line of JSON; what it says before it ends counts if it does not.

    Forms are those of a worker: deterministic, and where something has none the part is done again without, and says so.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import gpu_checks

            from sics_cli.tasks.training import strictly

            gpu_checks.prepared()
            found, relaxed = strictly(lambda _: PARTS[name](torch.device(device)))
            print(json.dumps({**found, "relaxed": True} if relaxed else found), flush=True)
        except ModuleNotFoundError as error:
            print(json.dumps({"lacks": error.name}), flush=True)
            return LACKING
    return 0


def run_part(name: str, device: str, limit: float) -> dict[str, Any]:
    """What a part came to: its last line of JSON, how it ended, and how long it took."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", name, "--device", device]
    begun = time.monotonic()
    ended = "done"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, cwd=ROOT)
        out, err = done.stdout, done.stderr
        if done.returncode == LACKING:
            ended = "lacks a package"
        elif done.returncode:
            ended = f"exit {done.returncode}: {' '.join(err.split())[-600:]}"
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"stopped after {limit:.0f} s"
    said: dict[str, Any] = {}
    for line in out.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
    if ended == "lacks a package":
        ended = f"cannot be done: {said['lacks']} is not installed here"
    return {"ended": ended, "seconds": round(time.monotonic() - begun, 1), **said}


def main() -> int:
    """Run the parts, and write what they said after each; 1 if one did not end well or a check does not hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        return part(asked.part, asked.device)
    names = asked.parts.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"--parts {asked.parts}: there is no {', '.join(sorted(unknown))}: give some of {', '.join(PARTS)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    target, found = asked.out / "gpu.json", dict[str, Any]()
    for name in names:
        limit = LIMITS[name] * (1 if asked.device.startswith("cuda") else 5)  # a processor only tries the parts out
        found[name] = run_part(name, asked.device, limit)
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        partial.replace(target)
        print(f"{name}: {found[name]['ended']} in {found[name]['seconds']} s", flush=True)
    print(target.read_text(encoding="utf-8"))
    good = all(one["ended"] == "done" and one.get("good", True) for one in found.values())
    print(f"{'all of it holds' if good else 'NOT all of it holds'}: {target}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
