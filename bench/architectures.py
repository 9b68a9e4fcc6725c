"""Whether pruning works on the architectures people use: every cell of docs/architectures.md is something that ran.

    python bench/architectures.py [--only GPT-2 --only swin] [--jobs 2] [--out docs/architectures.md]

Each network of ``zoo.py`` is pruned of half its weights by magnitude, trained for two steps, made permanent, saved, compiled,
exported, and given a gradient saliency. A library that is not installed is a row that says so.
"""

from __future__ import annotations

import argparse
import copy
import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

sys.path.insert(0, str(Path(__file__).parent))
from zoo import ARCHITECTURES, Architecture, Inputs

from sics_plugin import (
    Saliency,
    clone_pruned,
    compute_masks,
    coverage,
    export_masks,
    finalize,
    load_masks,
    prunable_parameters,
    prune_model,
)

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
AMOUNT = 0.5
FLOOR = 0.1  # of every layer, but for the comparison with torch: behind a layer that vanished, no gradient says anything
YES, NO, NONE = "yes", "**no**", "–"


@dataclass(frozen=True)
class Cell:
    """What one check found; ``note`` is its footnote."""

    mark: str
    note: str = ""


@dataclass
class Row:
    """What was found of one architecture."""

    name: str
    library: str
    share: str = NONE
    left_out: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)
    seconds: float = 0.0


class NotApplicableError(Exception):
    """The dense model cannot do it, or it makes no sense for it."""


# --- running a network ----------------------------------------------------------------------------------------------------


def built(architecture: Architecture, seed: int = 0) -> nn.Module:
    """The network; what starts at nothing (heads, layer scales) is drawn anew, as no gradient would pass it."""
    torch.manual_seed(seed)
    model = architecture.build().eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.is_floating_point() and p.abs().max() < 1e-3:
                p.normal_(std=0.1)
    return model


def inputs_of(architecture: Architecture) -> Inputs:
    torch.manual_seed(7)
    return architecture.inputs()


def tensors(output: Any) -> Iterator[Tensor]:
    """All tensors in an output of any shape: tuples, dictionaries, dataclasses of other libraries."""
    if isinstance(output, Tensor):
        yield output
    elif hasattr(output, "values") and callable(output.values):
        for part in output.values():
            yield from tensors(part)
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors(part)
    elif hasattr(output, "__dataclass_fields__"):
        yield from tensors(list(vars(output).values()))


def evaluated(model: Any, inputs: Inputs) -> list[Tensor]:
    """What the model says in eval mode."""
    torch.manual_seed(11)
    with torch.no_grad():
        return [t.detach().clone() for t in tensors(model(*inputs.args, **(inputs.kwargs or {})))]


#: Some processors' kernels of recurrent layers round by where a weight lies in memory.
ROUNDING = 1e-6


def same(one: list[Tensor], other: list[Tensor], tolerance: float = 0.0) -> bool:
    """Equal bits, or within a tolerance where something else computed it."""
    if len(one) != len(other) or [t.shape for t in one] != [t.shape for t in other]:
        return False
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) or (tolerance and torch.allclose(a, b, rtol=tolerance, atol=tolerance)) for a, b in pairs)


def loss_of(output: Any) -> Tensor:
    """A scalar that all outputs have a part in."""
    values = [t.float() for t in tensors(output) if t.is_floating_point() and t.requires_grad]
    return torch.stack([(v - torch.linspace(-1, 1, v.numel()).view_as(v)).square().mean() for v in values]).sum()


def train_loss(model: nn.Module, inputs: Inputs) -> Tensor:
    torch.manual_seed(13)
    args = inputs.args if inputs.training is None else inputs.training
    found = model(*copy.deepcopy(args), **(inputs.kwargs or {}))
    return sum(found.values()) if inputs.training is not None else loss_of(found)  # type: ignore[return-value]


def two_steps(model: nn.Module, inputs: Inputs) -> dict[int, Tensor]:
    """Two steps of SGD in train mode; the last gradient of every parameter that got one."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        train_loss(model, inputs).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    return {id(p): p.grad for p in model.parameters() if p.grad is not None}


def pruned(architecture: Architecture, seed: int = 0) -> tuple[nn.Module, list[tuple[nn.Module, str]]]:
    """The network with half of its weights masked, hooks on; and which parameters those are."""
    model = built(architecture, seed)
    pairs = prunable_parameters(model, uncalled=True)
    prune_model(model, "magnitude", amount=AMOUNT, params=pairs, min_keep=FLOOR)
    return model, pairs


# --- the checks -----------------------------------------------------------------------------------------------------------


def torchs_masks(architecture: Architecture) -> None:
    """Our global masks are those of ``prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.5)``, entry by entry."""
    model, twin = built(architecture), built(architecture)
    pairs = prunable_parameters(model, uncalled=True)
    prune_model(model, "magnitude", amount=AMOUNT, params=pairs)
    others = prunable_parameters(twin, uncalled=True)
    prune.global_unstructured(others, prune.L1Unstructured, amount=AMOUNT)
    for (module, name), (other, _) in zip(pairs, others, strict=True):
        ours, theirs = getattr(module, f"{name}_mask"), getattr(other, f"{name}_mask")
        require(torch.equal(ours != 0, theirs != 0), f"another mask of {type(module).__name__}.{name}")


def trains(architecture: Architecture) -> str:
    """Gradients reach what is kept, what is pruned stays zero in what the model computes."""
    inputs = inputs_of(architecture)
    dense = built(architecture)
    start = {path: p.detach().clone() for path, p in dense.named_parameters()}
    two_steps(dense, inputs)
    reached = {path for path, p in dense.named_parameters() if not torch.equal(p, start[path])}
    model, pairs = pruned(architecture)
    before = [getattr(m, f"{n}_orig").detach().clone() for m, n in pairs]
    gradients = two_steps(model, inputs)
    model.eval()
    evaluated(model, inputs)
    paths = {id(module): path for path, module in model.named_modules()}
    idle = []
    for (module, name), old in zip(pairs, before, strict=True):
        path = f"{paths[id(module)]}.{name}".lstrip(".")
        stored, kept = getattr(module, f"{name}_orig"), getattr(module, f"{name}_mask") != 0
        require(not bool(getattr(module, name)[~kept].any()), f"{path} is not zero where it is masked")
        gradient = gradients.get(id(stored))
        arrived = gradient is not None and bool(gradient[kept].any())
        if path not in reached:
            idle.append(path)
        require(arrived or path not in reached, f"no gradient reaches {path}")
        require(not torch.equal(stored[kept], old[kept]) or path not in reached, f"{path} stays as it was")
    twin = clone_pruned(model)
    zeroed(twin, pairs, model)
    outputs = evaluated(model, inputs)
    require(all(bool(torch.isfinite(t).all()) for t in outputs if t.is_floating_point()), "outputs that are not finite")
    require(same(outputs, evaluated(twin, inputs), ROUNDING), "computes with weights that are masked")
    return f"too small a gradient in the dense model either: {listed(idle)}" if idle else ""


def zeroed(twin: nn.Module, pairs: list[tuple[nn.Module, str]], model: nn.Module) -> None:
    """Take every hook off a copy, by torch's own means, and write the zeros."""
    paths = {id(module): path for path, module in model.named_modules()}
    for module, name in pairs:
        other = twin.get_submodule(paths[id(module)])
        weight = (getattr(module, f"{name}_orig") * getattr(module, f"{name}_mask")).detach()
        prune.remove(other, name)
        with torch.no_grad():
            getattr(other, name).copy_(weight)


def finalised(architecture: Architecture) -> None:
    """Made permanent, after two steps of training: the same bits, and no hook or buffer left."""
    inputs = inputs_of(architecture)
    model, _ = pruned(architecture)
    two_steps(model, inputs)
    model.eval()
    hooked = evaluated(model, inputs)
    names = set(built(architecture).state_dict())
    finalize(model)
    require(same(hooked, evaluated(model, inputs), ROUNDING), "other outputs after finalize")
    require(set(model.state_dict()) == names, "other names in the state dict after finalize")
    at_once = built(architecture)
    pairs = prunable_parameters(at_once, uncalled=True)
    prune_model(at_once, "magnitude", amount=AMOUNT, params=pairs, min_keep=FLOOR, finalize=True)
    require(
        same(evaluated(at_once, inputs), evaluated(pruned(architecture)[0], inputs), ROUNDING), "other outputs with finalize=True"
    )


def saved(architecture: Architecture) -> str:
    """State dict and mask file on a fresh network, and the whole model pickled: the same bits."""
    inputs = inputs_of(architecture)
    model, _ = pruned(architecture)
    two_steps(model, inputs)
    model.eval()
    notes, whole, picklable = [], io.BytesIO(), True
    try:
        torch.save(model, whole)  # right after training, as one does
    except Exception as error:
        refused(architecture, error)
        picklable = False
        notes.append("by its state dict; the dense model is not pickled whole either")
    expected = evaluated(model, inputs)
    torch.save(model.state_dict(), state := io.BytesIO())
    state.seek(0)
    stored = torch.load(state, weights_only=True)
    fresh = built(architecture, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        export_masks(model, file := Path(folder) / "masks.safetensors")
        if set(stored) == set(fresh.state_dict()):  # its layers write what they compute with, whatever hooks they carry
            notes.append("its linear layers save `weight` as it is and not `weight_orig`: state dict first, then masks")
            fresh.load_state_dict(stored)
            load_masks(fresh, file)
        else:
            load_masks(fresh, file)
            fresh.load_state_dict(stored)
    require(same(expected, evaluated(fresh, inputs)), "other outputs after load_masks and load_state_dict")
    if picklable:
        whole.seek(0)
        again = torch.load(whole, weights_only=False)
        require(same(expected, evaluated(again, inputs)), "other outputs of the unpickled model")
    return "; ".join(notes)


def refused(architecture: Architecture, error: Exception) -> None:
    """Raise what the pruned model's pickling raised, unless the dense model cannot be pickled either."""
    try:
        torch.save(built(architecture), io.BytesIO())
    except Exception:
        return
    raise error


def compiled(architecture: Architecture) -> None:
    """``torch.compile``, traced by dynamo and run eagerly; the model itself is as before."""

    def run(model: nn.Module) -> list[Tensor]:
        torch.compiler.reset()
        return evaluated(torch.compile(model, backend="eager"), inputs_of(architecture))

    elsewhere(architecture, run, "compile")


def exported(architecture: Architecture) -> None:
    """``torch.export`` of the hooked model."""
    inputs = inputs_of(architecture)

    def run(model: nn.Module) -> list[Tensor]:
        with torch.no_grad():
            program = torch.export.export(model, inputs.args, inputs.kwargs, strict=False)
        return evaluated(program.module(), inputs)

    elsewhere(architecture, run, "export")


def elsewhere(architecture: Architecture, run: Callable[[nn.Module], list[Tensor]], what: str) -> None:
    """The pruned model run by something else says what it says itself, and still does afterwards."""
    inputs = inputs_of(architecture)
    model, _ = pruned(architecture)
    expected = evaluated(model, inputs)
    try:
        found = run(model)
    except Exception as error:
        dense_fails(architecture, run, what)
        raise error from None
    if not same(expected, found, 1e-4):
        dense = built(architecture)
        if not same(evaluated(dense, inputs), run(dense), 1e-4):
            raise NotApplicableError(f"the dense model says something else after {what}, too")
        raise AssertionError(f"other outputs after {what}")
    require(same(expected, evaluated(model, inputs)), f"another model after {what}")


def dense_fails(architecture: Architecture, run: Callable[[nn.Module], list[Tensor]], what: str) -> None:
    try:
        run(built(architecture))
    except Exception as error:
        raise NotApplicableError(f"the dense model does not {what}: {one_line(error)}") from None


def scored(architecture: Architecture) -> str:
    """A gradient saliency of every weight; parameters, buffers, flags and modes as before."""
    inputs = inputs_of(architecture)
    model = built(architecture)
    pairs = prunable_parameters(model, uncalled=True)
    state = {name: t.clone() for name, t in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    single = len(inputs.args) == 1 and not inputs.kwargs
    note = ""
    if inputs.training is not None:
        model.train()
        train_loss(model, inputs).backward()
        saliency = Saliency.from_gradients(model, [{n: p.grad for n, p in model.named_parameters() if p.grad is not None}])
        note = "by `Saliency.from_gradients`: a detector has a loss in train mode only"
        model.zero_grad()
        state = {n: t for n, t in state.items() if n in dict(model.named_parameters())}
    else:
        batches = [(inputs.args[0] if single else inputs, torch.zeros(1))]
        saliency = Saliency(model if single else Called(model), batches, lambda output, _: loss_of(output))
        model.eval()
    scores = [saliency.tensor(module, name) for module, name in pairs]
    shapes = [getattr(module, name).shape for module, name in pairs]
    require([score.shape for score in scores] == shapes, "a saliency of another shape")
    require(all(bool(torch.isfinite(score).all()) for score in scores), "a saliency that is NaN or infinite")
    require(any(bool(score.any()) for score in scores), "a saliency of zeros")
    now = model.state_dict()
    require(all(torch.equal(t, now[name]) for name, t in state.items()), "parameters or buffers changed")
    require(flags == [p.requires_grad for p in model.parameters()], "requires_grad changed")
    require(all(p.grad is None for p in model.parameters()), "gradients left behind")
    _, report = compute_masks(model, "gradient", amount=AMOUNT, saliency=saliency, params=pairs)
    require(report.pruned == round(AMOUNT * report.total), "another number of weights pruned")
    return note


class Called(nn.Module):
    """A model that takes several arguments, as one that takes a batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Inputs) -> Any:
        return self.model(*inputs.args, **(inputs.kwargs or {}))


CHECKS: dict[str, Callable[[Architecture], str | None]] = {
    "torch's mask": torchs_masks,
    "trains": trains,
    "finalize": finalised,
    "save, load": saved,
    "compile": compiled,
    "export": exported,
    "saliency": scored,
}


# --- the table ------------------------------------------------------------------------------------------------------------


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def one_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = text if isinstance(error, AssertionError) and text else f"{type(error).__name__}: {text}"
    return text.replace("|", "\\|")[:150]


def listed(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of other libraries; one thread, as the tensors are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        torch.set_num_threads(threads)


def measure(architecture: Architecture, checks: Iterable[str] = tuple(CHECKS)) -> Row:
    """All checks of one architecture."""
    row = Row(architecture.name, architecture.library)
    if find_spec(architecture.library) is None:
        row.cells = {name: Cell(NONE, f"{architecture.library} is not installed") for name in checks}
        return row
    began = time.perf_counter()
    with quiet():
        try:
            model = built(architecture)
        except Exception as error:
            row.cells = {name: Cell(NO, f"not built: {one_line(error)}") for name in checks}
            return row
        found = coverage(model, prunable_parameters(model, uncalled=True))
        row.share = f"{100 * found.share:.0f} %"
        row.left_out = ", ".join(f"{part.kind} {100 * part.weights / found.total:.1f}" for part in found.left_out)
        for name in checks:
            try:
                row.cells[name] = Cell(YES, CHECKS[name](architecture) or "")
            except NotApplicableError as error:
                row.cells[name] = Cell(NONE, one_line(error).removeprefix("NotApplicableError: "))
            except Exception as error:
                row.cells[name] = Cell(NO, one_line(error))
    row.seconds = time.perf_counter() - began
    return row


def page(rows: list[Row]) -> str:
    """The table, its footnotes and the count."""
    notes: dict[str, int] = {}

    def shown(cell: Cell) -> str:
        if not cell.note:
            return cell.mark
        return f"{cell.mark} [{notes.setdefault(cell.note, len(notes) + 1)}]"

    lines = [
        f"| {row.name} | {row.library} | {row.share} | {' | '.join(shown(row.cells[c]) for c in CHECKS)} | {row.left_out} |"
        for row in rows
    ]
    head = ["architecture", "library", "covered", *CHECKS, "left out, % of matrix weights"]
    cells = [cell for row in rows for cell in row.cells.values()]
    counts = {mark: sum(cell.mark == mark for cell in cells) for mark in (YES, NO, NONE)}
    summary = (
        f"{len(rows)} architectures, {len(cells)} cells: {counts[YES]} yes, {counts[NO]} no, {counts[NONE]} – "
        "(what the dense model cannot do, or whose library is missing)."
    )
    libraries = ("torch", "torchvision", "timm", "transformers", "diffusers", "torch_geometric")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries if find_spec(name) is not None)
    return "\n".join(
        [
            INTRODUCTION.format(versions=versions),
            "| " + " | ".join(head) + " |",
            "|" + "---|" * len(head),
            *lines,
            "",
            summary,
            "",
            *(f"{number}. {note}" for note, number in notes.items()),
            "",
        ]
    )


INTRODUCTION = """# Architectures

What works on which network. Made by `python bench/architectures.py` (`make architectures`): every cell ran, on the libraries' own
code in small widths with random weights (`bench/zoo.py`), on a CPU, with {versions}.
All but the comparison with torch keep a tenth of every layer (`min_keep=0.1`): at random weights magnitude may empty a layer,
and no gradient passes it. Parameters that start at nearly nothing (heads, layer scales) are drawn anew.

- **covered**: the share of matrix weights that `prunable_parameters(model, uncalled=True)` lists; the last column has the rest.
- **torch's mask**: `prune_model(model, "magnitude", amount=0.5)` makes the masks that `prune.global_unstructured` makes with
  `prune.L1Unstructured` on the same list, entry by entry.
- **trains**: two steps of SGD with hooks on, gradients clipped at norm 10. A gradient reaches and changes what is kept of every
  weight that the dense model trains, and the model computes what a copy with plain zeros computes, bit for bit.
- **finalize**: after training it changes no bit of the outputs, and leaves the names of the dense model; so does `finalize=True`.
- **save, load**: `export_masks` and the state dict on a fresh network, and `torch.save` of the whole model right after training,
  give the same numbers, up to the last bit.
- **compile**, **export**: `torch.compile` (dynamo, backend "eager") and `torch.export` (`strict=False`) of the model with
  hooks on say what it says to 1e-4, and leave it as it was, bit for bit.
- **saliency**: a gradient saliency covers every weight, and parameters, buffers, gradients and flags are as before.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="names of architectures; the table is printed, not written")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    known = {architecture.name: architecture for architecture in ARCHITECTURES}
    if unknown := sorted(set(args.only or ()) - set(known)):
        parser.error(f"Expected --only to name architectures of zoo.py, got {', '.join(unknown)}")
    chosen = [known[name] for name in args.only] if args.only else ARCHITECTURES
    rows = []
    for row in _measured([architecture.name for architecture in chosen], args.jobs):
        print(f"{row.name}: {', '.join(c.mark for c in row.cells.values())} ({row.seconds:.0f} s)", file=sys.stderr, flush=True)
        rows.append(row)
    if args.only:
        print(page(rows))
    else:
        args.out.write_text(page(rows), encoding="utf-8")


def _measured(names: list[str], jobs: int) -> Iterator[Row]:
    if jobs < 2:
        yield from map(_by_name, names)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_by_name, names)


def _by_name(name: str) -> Row:
    return measure(next(architecture for architecture in ARCHITECTURES if architecture.name == name))


if __name__ == "__main__":
    main()
