"""Several seeds trained as one stack: each is what it is alone, to the bit, and what eager training gives but for rounding."""

import contextlib
import copy
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sics_cli.base.errors import ConfigError, is_out_of_memory
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import TrainingConfig
from sics_cli.tasks.checkpoints import state_hash
from sics_cli.tasks.images.datasets import ChannelStatistics, Part, Split
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.paths import Eager, TrainingBatch
from sics_cli.tasks.networks.stacks import Stack, refuse_unstackable
from sics_cli.tasks.networks.training import ImageTrainer, StackedTrainer, trainer_of
from sics_cli.tasks.training import Course, Epoch, HalfTrained, TrainingRecord, course, run, run_together

CPU = torch.device("cpu")
HARD = {
    "crop_padding": 1, "flip": True, "randaugment": 1, "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1,
    "schedule": "cosine", "warmup": 1,
}  # fmt: skip

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


class Convolving(nn.Module):
    """Convolutions and batch norm: buffers that each pass writes, a counter among them, one head's weights tied to another's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.head, self.tied, self.idle = nn.Linear(4 * 64, 10), nn.Linear(4 * 64, 10), nn.Linear(2, 2)
        self.tied.weight = self.head.weight
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        found = torch.relu(self.norm(self.conv(images))).flatten(1)
        return self.head(found) + self.fixed * self.tied(found)


def photos(n: int) -> Part:
    dice = np.random.default_rng(n)
    statistics = ChannelStatistics(np.full(1, 120.0, np.float32), np.full(1, 60.0, np.float32))
    return Part(dice.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8), dice.integers(0, 10, n), statistics)


SPLIT = Split(photos(40), photos(20), photos(20))
Build = Callable[[int], nn.Module]


@pytest.fixture(params=["vit", "convolving"])
def build(request: pytest.FixtureRequest, experiment: Experiment) -> Build:
    def convolving(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Convolving()

    vit: Build = lambda seed: build_model(experiment.images.model, seed)  # noqa: E731
    return vit if request.param == "vit" else convolving


def settings(**changes: Any) -> TrainingConfig:
    return replace(TrainingConfig(3, 16, 4e-3, 0.05, path="stacked", width=4), **changes)


def trained(
    build: Build,
    config: TrainingConfig,
    seeds: Mapping[int, HalfTrained | None],
    *,
    until: int | None = None,
    device: torch.device = CPU,
    change: Callable[[int, ImageTrainer], None] = lambda seed, trainer: None,
    log: Callable[[int, Epoch], None] = lambda seed, epoch: None,
) -> dict[int, Any]:
    """What each of these seeds, trained as one, ends with: the hash of its network, what is kept of it, or its error."""
    ways: list[tuple[ImageTrainer, Course]] = []
    for seed, begin in seeds.items():
        trainer = trainer_of(build(seed), config, SPLIT, device, seed)
        change(seed, trainer)
        told = lambda epoch, seed=seed: log(seed, epoch)  # noqa: E731
        ways.append((trainer, course(trainer, config.epochs, begin=begin, until=until, log=told)))
    found: dict[int, Any] = {}
    for seed, (trainer, _), one in zip(seeds, ways, run_together(ways), strict=True):
        found[seed] = state_hash(trainer.network.state_dict()) if isinstance(one, TrainingRecord) else one
    return found


def alone(build: Build, config: TrainingConfig, seed: int, begin: HalfTrained | None = None) -> str:
    trainer = trainer_of(build(seed), config, SPLIT, CPU, seed)
    assert isinstance(trainer, StackedTrainer)
    assert isinstance(run(trainer, config.epochs, seed, begin=begin), TrainingRecord)
    return state_hash(trainer.network.state_dict())


@pytest.mark.parametrize("changes", [{}, HARD, {"precision": "bf16"}], ids=["plain", "hard", "bf16"])
def test_a_seed_does_not_depend_on_who_is_beside_it(build: Build, changes: dict[str, Any]) -> None:
    """With others, with yet others, alone, and stopped: gone on with others, alone, and with one that is further."""
    config = settings(**changes)
    full = trained(build, config, {0: None, 1: None, 2: None, 3: None})
    assert len(set(full.values())) == 4
    other = trained(build, config, {1: None, 8: None, 6: None})
    assert other[1] == full[1]
    assert other[8] != full[0], "of one place, and another seed"
    assert alone(build, config, 1) == full[1]
    half = trained(build, config, {1: None, 2: None}, until=1)
    further = trained(build, config, {0: None, 7: None}, until=2)
    assert alone(build, config, 1, half[1]) == full[1]
    assert trained(build, config, {0: further[0], 1: half[1], 2: half[2], 3: None}) == full
    assert trained(build, config, {5: None, 0: further[0]})[0] == full[0]


@pytest.mark.parametrize("changes", [{}, HARD, {"precision": "bf16"}], ids=["plain", "hard", "bf16"])
def test_a_stack_trains_what_eager_training_does(build: Build, changes: dict[str, Any]) -> None:
    """The same batches and steps, last smaller one and learning rate included: weights, buffers, moments, curve."""
    config, far = settings(**changes, epochs=2), 5e-2 if "precision" in changes else 2e-3
    for seeds in ((0, 1, 3), (2,)):
        trainers = [trainer_of(build(seed), config, SPLIT, CPU, seed) for seed in seeds]
        assert isinstance(trainers[0], StackedTrainer)
        curves = trainers[0].together(0, trainers)  # type: ignore[arg-type]
        for seed, stacked, met in zip(seeds, trainers, curves, strict=True):
            eager = trainer_of(build(seed), settings(**changes, epochs=2, path="eager", width=0), SPLIT, CPU, seed)
            assert type(eager) is ImageTrainer
            assert eager.epoch(0) == pytest.approx(met, rel=0.1 if "precision" in changes else 1e-3, nan_ok=True)
            expected, found = eager.state(), stacked.state()
            assert expected.keys() <= found.keys()
            for name, value in expected.items():
                assert torch.allclose(value.double(), found[name].double(), rtol=far, atol=far), name
            steps = {float(value) for name, value in found.items() if name.startswith("step/")} - {0.0}
            assert steps == {3.0}
            if isinstance(stacked.network, Convolving):
                assert int(stacked.network.norm.num_batches_tracked) == 3
                assert stacked.network.tied.weight is stacked.network.head.weight
                assert torch.equal(stacked.network.idle.weight, build(seed).idle.weight)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("kind", ["data", "nan", "validation", "log"])
def test_what_befalls_one_seed_is_its_own(build: Build, kind: str) -> None:
    """Its images cannot be had, its loss is no number, or its curve cannot be written: the others are as ever."""
    config = settings()
    full = trained(build, config, {0: None, 1: None, 3: None})

    def fails(*_: Any) -> Any:
        raise OSError("gone")

    def batches(trainer: ImageTrainer) -> Iterator[Any]:
        yield from [next(real(trainer))]
        fails()

    def real(trainer: ImageTrainer) -> Iterator[Any]:
        return ImageTrainer._mixed(trainer, 0, trainer._order(0))

    def change(seed: int, trainer: ImageTrainer) -> None:
        if seed == 1 and kind == "data":
            trainer._mixed = lambda number, order: batches(trainer)  # type: ignore[method-assign]
        elif seed == 1 and kind == "nan":
            with torch.no_grad():
                next(trainer.network.parameters()).fill_(float("nan"))
        elif seed == 1 and kind == "validation":
            trainer._validate = fails  # type: ignore[method-assign]

    log = fails if kind == "log" else None
    found = trained(build, config, {0: None, 1: None, 3: None}, change=change, log=lambda s, e: log and s == 1 and log())  # type: ignore[func-returns-value]
    assert (found[0], found[3]) == (full[0], full[3])
    assert isinstance(found[1], FloatingPointError if kind == "nan" else OSError)
    if kind == "nan":
        assert str(found[1]) == "training diverged: loss is nan after epoch 1"


def test_seeds_of_one_place_are_not_stacked(experiment: Experiment) -> None:
    trainers = [trainer_of(build_model(experiment.images.model, 0), settings(), SPLIT, CPU, seed) for seed in (1, 5)]
    with pytest.raises(ValueError, match=r"seeds \[1, 5\] do not have places of their own"):
        trainers[0].together(0, trainers)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_too_little_memory_says_what_to_do(experiment: Experiment, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Stack, "_stacked", full)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        alone(lambda seed: build_model(experiment.images.model, seed), settings(width=6), 0)
    said = "training.width = 6: out of memory with 6 seeds' networks and batches of 16 at once: a smaller width fits"
    assert str(caught.value).startswith(said)
    assert is_out_of_memory(caught.value)


def test_a_step_of_a_stack_waits_for_nothing(pretend: ModuleType) -> None:
    """And on a device that is a GPU's it is fewer operations than its seeds' steps."""
    with pretend.PretendDevice() as device:
        layers = nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, 10)
        networks = [nn.Sequential(*copy.deepcopy(layers)).to(pretend.DEVICE) for _ in range(4)]
        stack = Stack(networks[0], settings(), pretend.DEVICE)
        for place, network in enumerate(networks):
            stack.seat(place, network, {parameter: {} for parameter in network.parameters()})
        images, labels = torch.randn(16, 1, 8, 8).to(pretend.DEVICE), (torch.arange(16) % 10).to(pretend.DEVICE)
        batch = TrainingBatch(images, labels)
        eager, counts = Eager(networks[0].train(), settings()), []
        for step in (lambda: stack.gradients(dict.fromkeys(range(4), batch)), lambda: eager(batch)):
            step()
            device.forget()
            step()
            counts.append(device.operations)
        assert device.waited == 0
    assert counts[0] < 4 * counts[1]


# -- what cannot be stacked -------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """A network that does something a stack cannot, or would not, do."""

    def __init__(self, what: str, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.head, self.what, self.passes = nn.Linear(64, 10), what, 0
        self.own = torch.randn(10) if what == "own" else torch.ones(10)  # neither parameter nor buffer
        self.register_buffer("mean", torch.zeros(64))
        self.drop = nn.Dropout(0.3)
        if what == "lazy":
            self.late = nn.LazyLinear(10)
        if what == "computed":
            self.kept = [self.head.weight * 2]

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        if self.what == "dropout":
            return self.head(self.drop(flat))
        if self.what == "asks":
            return self.head(flat * 2 if flat.mean().item() > 0 else flat)
        if self.what == "rebinds":
            self.mean = 0.9 * self.mean + 0.1 * flat.detach().mean(0)
            return self.head(flat - self.mean)
        if self.what == "own":
            return self.head(flat) * self.own
        if self.what == "python":
            return self.head(flat) * random.random()
        if self.what == "branches":
            return self.head(flat * 2 if flat.mean() > 0 else flat)
        if self.what == "sizes":
            return self.head(flat) + flat[flat > 0].sum()
        if self.what == "writes":
            return self.head(torch.zeros(64).add_(flat[0]) + flat)
        if self.what == "breaks":
            raise TypeError("not these images")
        return self.head(flat)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("", None),
        ("dropout", "it draws random numbers as it trains: dropout, stochastic depth or the like"),
        ("asks", "its forward pass asks the device for a number, with .item() or the like"),
        ("branches", "its forward pass branches by the values of a tensor"),
        ("sizes", "its forward pass makes a tensor whose size depends on the values of another"),
        ("writes", "it writes each seed's numbers into a tensor that all seeds share"),
        ("lazy", "its parameters have no shape before the first pass, as of a lazy layer"),
        ("computed", "it keeps a tensor that was computed from its parameters, and so cannot be copied"),
        ("rebinds", "each pass binds mean to another tensor"),
        ("own", "own is each seed's own, and neither parameter nor buffer"),
        ("python", "each pass draws from Python's generator"),
        ("breaks", "not these images"),
    ],
)
def test_what_cannot_be_stacked_is_refused_in_a_line(what: str, said: str | None) -> None:
    refused = pytest.raises(ConfigError) if said else contextlib.nullcontext()
    with refused as caught:
        refuse_unstackable(lambda seed: Odd(what, seed), settings(precision="bf16"), (1, 8, 8), 10)
    if said:
        line = str(caught.value)  # type: ignore[union-attr]
        begin = "training.path = 'stacked' is not accepted here: the network cannot be stacked with those of other seeds ("
        assert line.startswith(begin + said)
        assert line.endswith("): give eager | compile")
        assert "vmap" not in line
        assert "\n" not in line


class Beside(nn.Module):
    """Keeps something beside its parameters and buffers that hardly shows at first."""

    def __init__(self, what: str, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.what, self.first, self.out = what, nn.Linear(64, 16), nn.Linear(16, 10)
        if what == "fixed":  # behind a gate that is nearly shut
            self.mixing = torch.randn(16, 16)
            self.gate = nn.Parameter(torch.full((1,), 1e-4))
        if what == "rebound":
            self.register_buffer("scale", torch.ones(16))
        if what == "statistics":
            self.mean = torch.zeros(16)
        if what == "normed":
            self.first = torch.nn.utils.weight_norm(self.first)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images.flatten(1))
        if self.what == "fixed":
            x = x + self.gate * (x @ self.mixing)
        if self.what == "rebound" and self.training:
            self.scale = 0.999 * self.scale + 0.001 * x.detach().square().mean(0)
        if self.what == "statistics":
            if self.training:
                self.mean = 0.999 * self.mean + 0.001 * x.detach().mean(0)
            x = x - self.mean
        return self.out(torch.relu(x / self.scale if self.what == "rebound" else x))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("fixed", "mixing is each seed's own, and neither parameter nor buffer"),
        ("rebound", "each pass binds scale to another tensor"),
        ("statistics", "each pass changes mean, which is neither parameter nor buffer"),
        ("normed", "first.weight is each seed's own, and neither parameter nor buffer"),
    ],
)
def test_what_is_no_seeds_own_is_refused_however_little_it_counts(what: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_unstackable(lambda seed: Beside(what, seed), settings(), (1, 8, 8), 10)
    assert said in str(caught.value)


def test_what_a_network_draws_when_it_is_evaluated_is_its_seeds_own() -> None:
    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            x = self.out(images.flatten(1))
            return x if self.training else x + 3 * torch.randn_like(x)

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Drawing()

    def curve(*seeds: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        trained(
            build,
            settings(),
            dict.fromkeys(seeds),
            log=lambda seed, epoch: found.append(dict(epoch.values)) if seed == 1 else None,
        )
        return found

    assert curve(0, 1, 2) == curve(1) == curve(1, 6)


def test_what_can_be_stacked_is_not_refused(build: Build) -> None:
    refuse_unstackable(build, settings(**HARD), (1, 8, 8), 10)


# -- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_a_seed_does_not_depend_on_who_is_beside_it(
    build: Build, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        card, config = torch.device("cuda", 0), settings(**HARD, precision=precision)
        full = trained(build, config, {0: None, 1: None, 2: None, 3: None}, device=card)
        half = trained(build, config, {1: None, 6: None}, until=2, device=card)
        assert trained(build, config, {1: half[1], 8: None}, device=card)[1] == full[1]
        assert trained(build, config, {1: None}, device=card)[1] == full[1]
    finally:
        torch.use_deterministic_algorithms(False)
