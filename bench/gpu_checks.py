"""What must hold on a GPU, each check a function of the device that raises where it does not.

    python bench/gpu_checks.py [--device cuda] [NAME ...]

`make gpu` runs them without pytest; with it, tests marked `cuda` do (`tests/test_cuda.py`). What needs no process of its own is
also run by the test-suite on a pretend device, so that no check is run for the first time where time is dear.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sics_plugin as sics
from sics_cli.settings.presets import CIFAR10_VIT_MICRO, CIFAR10_VIT_SMALL

Batches = list[tuple[Tensor, Tensor]]
#: Scorers whose masks must be the CPU's to the bit, given the CPU's saliency.
TWELVE = (
    "magnitude", "power", "log", "chaos", "smooth_chaos", "smooth_mouse", "wiggle", "bump", "fake", "information", "gradient",
    "random",
)  # fmt: skip
#: ViT-Small has 21.2 million prunable weights; the test-suite takes less.
SMALL = {"img_size": 8, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 5}
#: What CIFAR-10 asks of a network; ViT-Small is the preset's.
CIFAR = {"img_size": 32, "in_chans": 3, "num_classes": 10}
VIT_SMALL = {name: value for name, value in {**CIFAR10_VIT_SMALL["model"], **CIFAR}.items() if name != "name"}
VIT_MICRO = {name: value for name, value in {**CIFAR10_VIT_MICRO["model"], **CIFAR}.items() if name != "name"}
KINDS = ("gradient", "activation", "snip", "grasp", "synflow", "taylor", "fisher", "sensitivity", "relative_activation")


def network(**options: Any) -> nn.Module:
    """A vision transformer as its seed initialises it, on the CPU."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.1)
    return model.eval()


def batches(count: int = 3, size: int = 6, side: int = 8, classes: int = 5) -> Batches:
    """Random images and labels, on the CPU."""
    dice = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 3, side, side, generator=dice), torch.randint(0, classes, (size,), generator=dice))
        for _ in range(count)
    ]


def there(device: torch.device, model: nn.Module, data: Batches) -> tuple[nn.Module, Batches]:
    """A copy of the model and the batches on a device."""
    return copy.deepcopy(model).to(device), [(images.to(device), labels.to(device)) for images, labels in data]


def masks_are_the_cpus(device: torch.device, **options: Any) -> str:
    """Twelve scorers choose the same weights to the bit: by magnitudes alone, and given the CPU's saliency."""
    model = network(**(options or VIT_SMALL))
    named = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    dice = torch.Generator().manual_seed(2)
    total = sum(p.numel() for m, n in sics.prunable_parameters(model) for p in [getattr(m, n)])
    values = torch.rand(total, generator=dice)
    wrong = []
    for name in TWELVE:
        kind = "gradient" if name == "gradient" else "supplied"
        saliency = None if name in ("magnitude", "random") else sics.SaliencyVector(values, kind=kind)
        expected = sics.compute_masks(model, name, amount=0.7, saliency=saliency)[1].mask_hash
        found = sics.compute_masks(copy.deepcopy(model).to(device), name, amount=0.7, saliency=saliency)[1].mask_hash
        wrong += [name] if found != expected else []
    assert not wrong, f"masks differ from the CPU's: {', '.join(wrong)}"
    return f"{len(TWELVE)} scorers on {total:,} weights of {len(named)} tensors"


def forms_agree(device: torch.device) -> str:
    """The histogram form chooses what the exact one does, but for a few units beside the cut; and the same again."""
    model = network(**VIT_SMALL if device.type == "cuda" and torch.cuda.is_available() else SMALL).to(device)
    chosen = []
    for exact in (True, False, False):
        made, report = sics.compute_masks(model, "chaos", amount=0.7, exact=exact)
        assert report.form == ("exact" if exact else "histogram")
        chosen.append(torch.cat([mask.flatten() for mask in made.values()]))
    assert torch.equal(chosen[1], chosen[2]), "the histogram form is not the same again"
    share = float((chosen[0] != chosen[1]).double().mean())
    assert share < 2e-3, f"{100 * share:.2f} % of the units differ"
    return f"{100 * share:.4f} % of {len(chosen[0]):,} units differ"


def saliencies_are_near_the_cpus(device: torch.device) -> str:
    """Every kind, twice: the same bits again where forms are deterministic, and the CPU's values within rounding."""
    model, data = network(**SMALL), batches(2, 4)
    moved, brought = there(device, model, data)
    far = {}
    for kind in KINDS:
        rounds = 2 if kind == "synflow" else None
        here = sics.Saliency(model, data, kind=kind, rounds=rounds)  # type: ignore[arg-type]
        one, two = (sics.Saliency(moved, brought, kind=kind, rounds=rounds) for _ in range(2))  # type: ignore[arg-type]
        assert one.digest == two.digest, f"{kind} is not the same again"
        a, b = (s.vector(sics.prunable_parameters(m)).double() for s, m in ((here, model), (one, moved)))
        if kind == "synflow":  # of places in an order: equal but where scores tie within rounding
            share = float((a != b.cpu()).double().mean())
            assert share < 0.01, f"{100 * share:.2f} % of synflow's places differ"
            continue
        far[kind] = float((a - b.cpu()).abs().max() / a.abs().max())
        assert far[kind] < 1e-3, f"{kind} differs by {far[kind]:.2g} of its largest value"
    worst = max(far, key=lambda kind: far[kind])
    return f"{len(KINDS)} kinds, at most {far[worst]:.1g} of the largest value ({worst})"


def channels_are_the_cpus(device: torch.device) -> str:
    """Channels and heads by magnitude and chaos, and the network without them computes what the masked one does."""
    model, data = network(**SMALL), batches(1)
    for unit in ("channel", "head"):
        for name in ("magnitude", "chaos"):
            here, (moved, brought) = copy.deepcopy(model), there(device, model, data)
            expected = sics.prune_channels(here, name, amount=0.5, unit=unit).mask_hash
            assert sics.prune_channels(moved, name, amount=0.5, unit=unit).mask_hash == expected, f"{unit}s by {name} differ"
            with torch.no_grad():
                masked, small = moved(brought[0][0]), sics.shrink(moved)(brought[0][0])
            assert torch.allclose(masked, small, atol=1e-4), f"the shrunk network of {unit}s computes something else"
    return "channels and heads, masked and shrunk"


def _trainer(device: torch.device, **changes: Any) -> Any:
    """A short training on a hundred augmented images, the last batch smaller than the others; `drops` are the network's."""
    import numpy as np

    from sics_cli.settings.config import experiment_from_mapping, merged
    from sics_cli.settings.presets import DIGITS
    from sics_cli.tasks.images.datasets import Part, Split
    from sics_cli.tasks.images.standardise import ChannelStatistics
    from sics_cli.tasks.networks.models import build_model
    from sics_cli.tasks.networks.training import trainer_of

    dice = np.random.default_rng(0)
    statistics = ChannelStatistics(np.full(1, 120.0, np.float32), np.full(1, 60.0, np.float32))

    def part(n: int) -> Part:
        return Part(dice.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8), dice.integers(0, 10, n), statistics)

    drops, seed = changes.pop("drops", {}), changes.pop("seed", 0)
    experiment = experiment_from_mapping(merged(DIGITS, {"model": {"embed_dim": 16, "depth": 1, "num_heads": 2, **drops}}))
    config = replace(experiment.images.training, epochs=2, crop_padding=1, flip=True, randaugment=2, **changes)
    return trainer_of(build_model(experiment.images.model, seed), config, Split(part(100), part(20), part(20)), device, seed)


def _repeats_itself(device: torch.device, **changes: Any) -> None:
    """Two epochs give the same weights again, and in two parts."""
    from sics_cli.tasks.checkpoints import state_hash
    from sics_cli.tasks.training import HalfTrained, run

    hashes = []
    for parts in (False, False, True):
        one = _trainer(device, **changes)
        if parts:
            half = run(one, 2, 0, until=1)
            assert isinstance(half, HalfTrained)
            begun = replace(half, state={name: value.clone() for name, value in half.state.items()})
            one = _trainer(device, **changes)
            run(one, 2, 0, begin=begun)
        else:
            run(one, 2, 0)
        hashes.append(state_hash(one.network.state_dict()))
    assert hashes[0] == hashes[1], f"training with {changes} is not the same again"
    assert hashes[0] == hashes[2], f"training with {changes} in two parts is not that in one"


def stacking(device: torch.device, dense: nn.Module, batch: Any, precision: str = "fp32") -> Callable[[], object]:
    """A step of training of as many seeds as a stack has places unless told otherwise, the optimiser's part included."""
    from sics_cli.settings.images import TrainingConfig
    from sics_cli.tasks.networks.stacks import Stack, place_by_place

    config = TrainingConfig(1, len(batch.labels), 1e-4, 0.05, precision=precision, path="stacked")
    networks = [copy.deepcopy(dense).to(device).train() for _ in range(config.width)]
    stack = Stack(networks[0], config, device)
    for place, model in enumerate(networks):
        stack.seat(place, model, {parameter: {} for parameter in model.parameters()})
    batches = dict.fromkeys(range(config.width), batch)

    def step() -> None:
        with place_by_place():
            stack.gradients(batches)
        stack.optimiser.step()

    return step


def stacks_agree(device: torch.device) -> str:
    """A seed's weights are the same to the bit with others, alone, and in two parts; and near those of single operations."""
    from sics_cli.tasks.training import HalfTrained, course, run_together

    far = []
    for precision in _precisions():

        def trained(seeds: tuple[int, ...], begin: Any = None, until: int | None = None, precision: str = precision) -> Any:
            trainers = [_trainer(device, seed=seed, path="stacked", precision=precision, mixup=0.8) for seed in seeds]
            ends = run_together([(one, course(one, 2, begin=begin, until=until)) for one in trainers])
            raised = next((one for one in ends if isinstance(one, BaseException)), None)
            if raised is not None:
                raise raised
            if isinstance(ends[0], HalfTrained):
                return replace(ends[0], state={name: value.clone() for name, value in ends[0].state.items()})
            return {name: value.clone() for name, value in trainers[0].network.state_dict().items()}

        full = trained((1, 0, 2, 3, 4))
        for beside in ((1,), (1, 7, 0)):
            assert all(torch.equal(full[name], one) for name, one in trained(beside).items()), f"{beside} gives another seed 1"
        again = trained((1,), trained((1, 8), until=1))
        assert all(torch.equal(full[name], one) for name, one in again.items()), "in two parts it is another seed 1"
        stacked, eager = (_trainer(device, seed=1, path=path, precision=precision) for path in ("stacked", "eager"))
        losses = [float(one.epoch(0)["loss"]) for one in (stacked, eager)]
        far.append(abs(losses[0] - losses[1]) / losses[1])
        assert far[-1] <= NEAR[precision], f"{precision}: an epoch's loss is {losses[0]:.6g} stacked, {losses[1]:.6g} alone"
    return f"{' and '.join(_precisions())}; an epoch's loss at most {max(far):.1g} of it apart"


def _precisions() -> tuple[str, ...]:
    return ("fp32", "bf16") if torch.cuda.is_available() else ("fp32",)


def training_repeats_itself(device: torch.device) -> str:
    """Two epochs with augmentation, in float32 and in bfloat16, give the same weights again, and in two parts."""
    for precision in _precisions():
        _repeats_itself(device, precision=precision)
    return " and ".join(_precisions())


#: How far gradients of two paths may lie apart, in parts of a tensor's largest.
NEAR = {"fp32": 1e-3, "bf16": 5e-2}
#: Dropout and stochastic depth, which compiled code draws otherwise.
DROPS = {"drop_path_rate": 0.2, "proj_drop_rate": 0.1}


def _agrees(device: torch.device, path: str, precision: str, **changes: Any) -> float:
    """How far the gradients of one mixed batch by this path lie from those of single operations, at the same draws."""
    found = []
    for one in ("eager", path):
        trainer = _trainer(device, path=one, precision=precision, mixup=0.8, label_smoothing=0.1, **changes)
        trainer.network.train()
        batch = next(trainer._mixed(0, trainer._order(0)))
        torch.manual_seed(5)
        loss, right = trainer._step(batch)
        met = {"loss": loss, "right": right, **{name: p.grad for name, p in trainer.network.named_parameters()}}
        found.append({name: value.double().cpu() for name, value in met.items()})
    far = {name: float((one - found[1][name]).abs().max() / one.abs().max().clamp(min=1e-3)) for name, one in found[0].items()}
    worst = max(far, key=lambda name: far[name])
    assert far[worst] <= NEAR[precision], f"{precision} gradients by {path} differ by {far[worst]:.2g} of the largest in {worst}"
    return far[worst]


def graphs_agree(device: torch.device) -> str:
    """Gradients by a CUDA graph are those of single operations, dropout's draws too; and training by it repeats itself, mixed."""
    far = []
    for precision in _precisions():
        far.append(_agrees(device, "graph", precision, drops=DROPS))
        _repeats_itself(device, path="graph", precision=precision, mixup=0.8, cutmix=1.0, schedule="cosine", drops=DROPS)
    return f"{' and '.join(_precisions())}; gradients at most {max(far):.1g} of the largest apart"


def compiled_agrees(device: torch.device) -> str:
    """The same of compiled forward and backward passes, on a network that draws nothing where they are compared."""
    far = []
    for precision in _precisions():
        far.append(_agrees(device, "compile", precision))
        _repeats_itself(device, path="compile", precision=precision, drops=DROPS)
    return f"{' and '.join(_precisions())}; gradients at most {max(far):.1g} of the largest apart"


def replicate_goes_on(device: torch.device) -> str:
    """`sics-run replicate` on two seeds: its rows again from the beginning, and grown from fewer scorers, bit for bit."""
    tiny = 'name = "tiny"\nseeds = 2\nsparsities = [0.5, 0.8]\n[model]\nembed_dim = 16\ndepth = 1\nnum_heads = 2\n'
    tiny += "[training]\nepochs = 6\n[calibration]\nbatches = 3\n"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.toml").write_text(tiny)

        def replicate(out: str, *options: str) -> None:
            command = [sys.executable, "-m", "sics_cli", "replicate", "--config", "tiny.toml", "--out", out, "--no-report"]
            command += ["--device", str(device), *options]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
            if done.returncode and (lacks := re.search(r"No module named '(\w+)", done.stderr)):
                raise ModuleNotFoundError(done.stderr[-2000:], name=lacks[1])
            assert done.returncode == 0, done.stderr[-2000:]

        replicate("one")
        replicate("two", "--scorers", "magnitude,gradient")
        replicate("two")
        one, two = rows_of(folder / "one"), rows_of(folder / "two")
        assert one == two, f"{sum(a != b for a, b in zip(one, two, strict=False))} rows of {len(one)} differ"
        flagged = sum("nondeterministic" in str(row) for row in one)
    return f"{len(one)} rows the same, {flagged} of them flagged nondeterministic"


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    """What a run's cells say, but for times."""
    with sqlite3.connect(folder / "run.sqlite") as store:
        cursor = store.execute("SELECT * FROM cells")
        left = {"wall_seconds", "finished", "provenance_id"}
        names = [column[0] for column in cursor.description]
        return sorted(tuple(repr(v) for n, v in zip(names, row, strict=True) if n not in left) for row in cursor)


#: Those that run in this process, also on a pretend device; and those that start others.
HERE: dict[str, Callable[[torch.device], str]] = {
    "masks": masks_are_the_cpus,
    "forms": forms_agree,
    "saliencies": saliencies_are_near_the_cpus,
    "channels": channels_are_the_cpus,
    "training": training_repeats_itself,
    "graphs": graphs_agree,
    "stacks": stacks_agree,
}
#: What is compiled comes last: it takes longest, and is the first to be cut off.
CHECKS = {**HERE, "replicate": replicate_goes_on, "compiled": compiled_agrees}


def prepared() -> None:
    """As a worker is: one thread, deterministic forms, full precision."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False


def outcome(name: str, device: torch.device) -> dict[str, Any]:
    """How a check went, as plain data."""
    begun = time.perf_counter()
    told: dict[str, Any]
    try:
        with warnings.catch_warnings(action="ignore"):
            said = CHECKS[name](device)
    except ModuleNotFoundError as error:
        told = {"good": False, "lacks": error.name, "said": f"cannot be done: {error.name} is not installed here"}
    except Exception as error:
        trace = traceback.format_exc()
        told = {"good": False, "said": f"{type(error).__name__}: {error}"[:1000], "trace": trace[-3000:]}
    else:
        told = {"good": True, "said": said}
    return {"check": name, **told, "seconds": round(time.perf_counter() - begun, 1)}


def source_digest() -> str:
    """Which tree was checked: sha256 over the plugin and the command line."""
    root = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    for path in sorted([*root.glob("sics_plugin/**/*.py"), *root.glob("cli/**/*.py")]):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()


def main() -> int:
    """Run checks by name, all of them by default; a line each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], default=[])
    asked = parser.parse_args()
    prepared()
    failed = 0
    for name in asked.names or CHECKS:
        found = outcome(name, torch.device(asked.device))
        failed += not found["good"]
        print(f"{'ok' if found['good'] else 'FAILED':<7}{name:<12}{found['seconds']:>6} s  {found['said']}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
