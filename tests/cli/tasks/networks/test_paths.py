"""The paths of a training step: they agree, repeat themselves, and what they are not made for is refused in a line.

Graphs are captured and replayed on a pretend GPU (tests/pretend_device.py); on a real one the marker `cuda` runs the same.
"""

import contextlib
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sics_cli.base.errors import ConfigError, DeviceLostError, is_out_of_memory
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import TrainingConfig
from sics_cli.tasks.checkpoints import state_hash
from sics_cli.tasks.images.datasets import ChannelStatistics, Part, Split
from sics_cli.tasks.networks import paths
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.paths import Compiled, Eager, Graphed, TrainingBatch, step_of
from sics_cli.tasks.networks.training import ImageTrainer
from sics_cli.tasks.training import HalfTrained, run

CPU = torch.device("cpu")
MIXED = {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "schedule": "cosine", "warmup": 1}


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


class Drawing(nn.Module):
    """Dropout, stochastic depth and batch norm: all that a graph has to draw, or to write, beside gradients."""

    def __init__(self) -> None:
        super().__init__()
        from timm.layers import DropPath

        torch.manual_seed(7)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.path, self.head = nn.Dropout(0.3), DropPath(0.4), nn.Linear(4 * 64, 10)

    def forward(self, images: Tensor) -> Tensor:
        found = torch.relu(self.norm(self.conv(images)))
        return self.head(self.drop(found + self.path(found)).flatten(1))


class Deciding(nn.Module):
    """Asks the device for a number in between."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.head(flat * 2 if flat.mean().item() > 0 else flat)


def photos(n: int) -> Part:
    dice = np.random.default_rng(n)
    statistics = ChannelStatistics(np.full(1, 120.0, np.float32), np.full(1, 60.0, np.float32))
    return Part(dice.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8), dice.integers(0, 10, n), statistics)


SPLIT = Split(photos(70), photos(20), photos(20))


def settings(**changes: Any) -> TrainingConfig:
    return replace(TrainingConfig(3, 16, 4e-3, 0.05), **changes)


def trained(model: nn.Module, config: TrainingConfig, device: torch.device, stops: tuple[int, ...] = ()) -> str:
    """Hash of the network after training in as many parts, each by a trainer of its own."""
    begin = None
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for until in (*stops, config.epochs):
        model.load_state_dict(start)
        trainer = ImageTrainer(model, config, SPLIT, device, seed=2)
        found = run(trainer, config.epochs, 2, begin=begin, until=until)
        if isinstance(found, HalfTrained):
            begin = replace(found, state={name: value.clone() for name, value in found.state.items()})
    return state_hash(model.state_dict())


@pytest.mark.parametrize("changes", [{}, MIXED])
@pytest.mark.parametrize("network", ["vit", "drawing"])
def test_a_graph_gives_the_network_that_single_operations_give(
    pretend: ModuleType, experiment: Experiment, network: str, changes: dict[str, Any]
) -> None:
    """To the bit on a pretend GPU: dropout, running means, the last smaller batch, moving learning rates, a stop in between."""

    def made() -> nn.Module:
        return build_model(experiment.images.model, 0) if network == "vit" else Drawing()

    eager, graph = settings(**changes), settings(**changes, path="graph")
    expected = trained(made(), eager, CPU)
    with pretend.PretendDevice() as device:
        found = trained(made(), graph, pretend.DEVICE)
        replays = device.by_name["replay"]
        stopped = trained(made(), graph, pretend.DEVICE, stops=(1, 2))
    assert replays == 3 * (70 // 16), "every whole batch of three epochs"
    assert found == expected
    assert stopped == expected


def test_a_step_of_a_graph_is_few_launches_and_no_wait(pretend: ModuleType) -> None:
    batch = TrainingBatch(torch.randn(16, 1, 8, 8), torch.arange(16) % 10)
    with pretend.PretendDevice() as device:
        model = Drawing().to(pretend.DEVICE).train()
        step = step_of(model, settings(path="graph"), pretend.DEVICE)
        there = TrainingBatch(*(one.to(pretend.DEVICE) for one in batch.tensors))
        step(there)
        gradients = [parameter.grad for parameter in model.parameters()]
        device.forget()
        loss, _ = step(there)
        assert device.operations == 3, "two copies and the graph"
        assert device.waited == 0
        assert all(a is b for a, b in zip(gradients, (p.grad for p in model.parameters()), strict=True)), "in the same memory"
        small = TrainingBatch(*(one[:5] for one in there.tensors))
        step(small)
        assert not any(a is b for a, b in zip(gradients, (p.grad for p in model.parameters()), strict=True))
        assert loss.requires_grad is False


def test_what_cannot_be_captured_is_refused_in_a_line(pretend: ModuleType) -> None:
    with pretend.PretendDevice(), pytest.raises(ConfigError) as caught:
        trained(Deciding(), settings(path="graph"), pretend.DEVICE)
    said = str(caught.value)
    assert said.startswith(
        "training.path = 'graph' is not accepted here: the network cannot be captured as a CUDA graph (CUDA error"
    )
    assert said.endswith("): give eager | compile")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("of the network's own"), False),
    ],
)
@pytest.mark.parametrize("where", ["pass", "end"])
def test_a_card_that_fails_while_it_captures_ends_its_worker_and_blames_no_setting(
    pretend: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception, full: bool, where: str
) -> None:
    """In the pass, whose error another one hides at the capture's end; or at the end, where the graph is made."""
    calls = iter([0] * paths.WARM)

    def through(*arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None and where == "pass":
            raise error
        return torch.zeros(()), torch.zeros(())

    @contextlib.contextmanager
    def captured(graph: Any, stream: Any) -> Iterator[None]:
        yield
        raise error

    with pretend.PretendDevice():
        model = Drawing().to(pretend.DEVICE)
        step = step_of(model, settings(path="graph"), pretend.DEVICE)
        monkeypatch.setattr(Eager, "through", through)
        if where == "end":
            monkeypatch.setattr(torch.cuda, "graph", captured)
        batch = TrainingBatch(
            torch.zeros(16, 1, 8, 8, device=pretend.DEVICE), torch.zeros(16, dtype=torch.int64, device=pretend.DEVICE)
        )
        with pytest.raises(DeviceLostError) as caught:
            step(batch)
    assert str(caught.value) == f"a CUDA graph could not be captured ({type(error).__name__}: {error})"
    assert is_out_of_memory(caught.value) is full, "a row's line names what helps"


class Rebinding(nn.Module):
    """Centres by a running mean that each pass binds anew, or that one pass in so many does."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.head, self.first, self.passes = nn.Linear(64, 10), first, 0
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, images: Tensor) -> Tensor:
        flat, self.passes = images.flatten(1), self.passes + 1
        if self.passes >= self.first:
            self.mean = 0.9 * self.mean + 0.1 * flat.detach().mean(0)
        return self.head(flat - self.mean)


class HostDrawing(nn.Module):
    """Leaves its layer out by a draw of the host's."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.head, self.draw = nn.Linear(64, 10), draw

    def forward(self, images: Tensor) -> Tensor:
        found = self.head(images.flatten(1))
        return found if self.draw() < 0.5 else 2 * found


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Rebinding(1), "each pass binds mean to another tensor"),
        (lambda: Rebinding(paths.WARM + 1), "each pass binds mean to another tensor"),
        (lambda: HostDrawing(lambda: float(np.random.default_rng(torch.initial_seed()).random())), None),
        (lambda: HostDrawing(lambda: torch.rand(()) < 0.5), "each pass draws from torch's generator of the CPU"),
        (lambda: HostDrawing(random.random), "each pass draws from Python's generator"),
        (lambda: HostDrawing(np.random.rand), "each pass draws from NumPy's generator"),
    ],
)
def test_what_a_graph_would_freeze_is_refused_in_a_line(
    pretend: ModuleType, made: Callable[[], nn.Module], said: str | None
) -> None:
    """Other than by a generator of the network's own, of which nobody knows: the page says so."""
    with pretend.PretendDevice(), contextlib.ExitStack() as refused:
        if said is not None:
            line = f"training.path = 'graph' is not accepted here: the network cannot be captured as a CUDA graph ({said}): give "
            refused.enter_context(pytest.raises(ConfigError, match=f"^{re.escape(line)}eager | compile$"))
        trained(made(), settings(path="graph"), pretend.DEVICE)


def test_all_captures_of_a_process_share_a_stream(pretend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def stream(device: torch.device) -> Any:
        made.append(device)
        return mock.Mock()

    with pretend.PretendDevice():
        monkeypatch.setattr(torch.cuda, "Stream", stream)
        for _ in range(2):
            trained(Drawing(), settings(path="graph"), pretend.DEVICE)
    assert made == [pretend.DEVICE]


def test_a_processor_has_no_graphs() -> None:
    with pytest.raises(ConfigError, match=r"^training\.path = 'graph' is not accepted on cpu: give eager \| compile$"):
        step_of(Drawing(), settings(path="graph"), CPU)


def test_a_network_that_comes_trained_needs_no_path() -> None:
    """Nothing of it is trained: a graph may be asked for on a processor, and is missed by the first step alone."""
    trainer = ImageTrainer(Drawing(), settings(path="graph"), SPLIT, CPU)
    assert trainer.finish()["validation_n"] == 20
    with pytest.raises(ConfigError, match="not accepted on cpu"):
        trainer.epoch(0)


def generated(monkeypatch: pytest.MonkeyPatch, backend: str) -> list[int]:
    """Have networks compiled by another of torch's backends, and count what goes through."""
    met: list[int] = []
    real = Compiled.__init__

    def begin(self: Compiled, *arguments: Any) -> None:
        real(self, *arguments, backend=backend)
        forward = self._forward
        self._forward = lambda images: (met.append(len(images)), forward(images))[1]

    monkeypatch.setattr(Compiled, "__init__", begin)
    return met


def test_compiled_training_repeats_itself_and_may_stop(monkeypatch: pytest.MonkeyPatch, experiment: Experiment) -> None:
    met = generated(monkeypatch, "aot_eager")
    config = settings(**MIXED, path="compile")
    model = build_model(experiment.images.model, 0)
    one = trained(build_model(experiment.images.model, 0), config, CPU)
    assert met == [16] * 3 * (70 // 16), "the last, smaller batch of an epoch is not compiled for"
    assert trained(model, config, CPU, stops=(2,)) == one


def test_every_seed_is_compiled_as_the_first(experiment: Experiment) -> None:
    """Whatever was compiled before it in the process: torch's memory of that is short, and then it goes on without."""
    made: list[int] = []

    def backend(graph: Any, examples: Any) -> Any:
        made.append(len(examples))
        return graph.forward

    batch = TrainingBatch(torch.randn(16, 1, 8, 8), torch.arange(16) % 10)
    for _ in range(2):
        model = Drawing().train()
        step = Compiled(model, settings(path="compile"), Eager(model, settings()), backend=backend)
        step(batch)
        step(batch)
    assert len(made) == 2
    assert made[0] == made[1]


def gradients(step: paths.Step, model: nn.Module, batch: TrainingBatch) -> list[Tensor]:
    torch.manual_seed(3)
    loss, right = step(batch)
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    return [loss.clone(), right.clone().to(loss.dtype), *found]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler")
def test_compiled_gradients_are_near_those_of_single_operations(experiment: Experiment) -> None:
    model = build_model(experiment.images.model, 0).train()
    batch = TrainingBatch(torch.randn(16, 1, 8, 8), torch.arange(16) % 10)
    eager = gradients(step_of(model, settings(), CPU), model, batch)
    step = step_of(model, settings(path="compile"), CPU)
    one, two = gradients(step, model, batch), gradients(step, model, batch)
    assert all(map(torch.equal, one, two))
    for a, b in zip(eager, one, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("advice", ["", ". Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace (please do this especially if"])
def test_a_machine_that_cannot_compile_is_refused_in_a_line(experiment: Experiment, advice: str) -> None:
    def refuses(graph: Any, examples: Any) -> Any:
        raise RuntimeError(f"no compiler\nof that name{advice}")

    model = build_model(experiment.images.model, 0)
    step = Compiled(model, settings(path="compile"), Eager(model, settings()), backend=refuses)
    with pytest.raises(ConfigError) as caught:
        step(TrainingBatch(torch.randn(16, 1, 8, 8), torch.arange(16) % 10))
    said = str(caught.value)
    assert said.startswith("training.path = 'compile' is not accepted here: the network cannot be compiled (")
    assert "no compiler of that name" in said
    assert "Set TORCHDYNAMO" not in said
    assert "please do this" not in said
    assert said.endswith("): give eager")


def test_inductor_chooses_nothing_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: given.append(options) or model)
    for backend in ("inductor", "aot_eager"):
        Compiled(Drawing(), settings(path="compile"), Eager(Drawing(), settings()), backend)
    assert [one["options"] for one in given] == [{"shape_padding": False}, None], "other backends know no such option"


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a worker: a convolution has other forms too, and they are not the same again."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.cuda
@pytest.mark.usefixtures("deterministic")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_a_graph_agrees_and_repeats_itself(precision: str) -> None:
    card = torch.device("cuda", 0)
    changes = {**MIXED, "precision": precision}
    model = Drawing().to(card).train()
    batch = TrainingBatch(torch.randn(16, 1, 8, 8, device=card), torch.arange(16, device=card) % 10)
    eager = gradients(step_of(model, settings(**changes), card), model, batch)
    graph = gradients(step_of(model, settings(**changes, path="graph"), card), model, batch)
    for a, b in zip(eager, graph, strict=True):
        assert torch.allclose(a, b, rtol=2e-2 if precision == "bf16" else 1e-4, atol=1e-5)
    config = settings(**changes, path="graph")
    assert trained(Drawing(), config, card) == trained(Drawing(), config, card) == trained(Drawing(), config, card, stops=(1, 2))
    assert isinstance(step_of(model, config, card), Graphed)
