"""How much work a vision transformer is, counted from its sizes: what a guess of time and memory is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sics_cli.base.cards import figures_of
from sics_cli.settings.images import ModelConfig, TrainingConfig
from sics_cli.tasks.recipe import MASKING

#: A forward and backward pass multiplies about three times as much as a forward pass.
BACKWARD = 3
#: What timm's VisionTransformer does unless told otherwise.
_VIT = {"img_size": 224, "patch_size": 16, "in_chans": 3, "embed_dim": 768, "depth": 12, "mlp_ratio": 4.0, "num_classes": 1000}
#: Bytes that what is no matrix product reads and writes, for each image, token, block and number of a token's width: in training,
#: and in a forward pass alone. In bfloat16 some are halved and some are copied besides.
_BYTES_TRAINED, _BYTES_PASSED = 310.0, 100.0
#: Bytes of the same that training keeps for the way back (by torch's saved_tensors_hooks), and what an allocator needs more.
_BYTES_HELD, _SLACK = {"fp32": 67.0, "bf16": 40.0}, 1.3
#: A CUDA graph keeps it in a pool of its own, beside that of smaller batches and evaluations; calls to launch a step by it
#: (`python bench/waits.py`): the batch is copied, the graph replayed, the optimiser takes its step.
_HELD_BY_GRAPH, _CALLS_OF_GRAPH = 2, 5
#: Operations of a stack beside those of one network: vmap takes biases and scales apart.
_OF_STACK = 2
#: AdamW reads and writes so many bytes for a weight; weight, gradient and two moments lie in so many.
_BYTES_STEPPED, _BYTES_A_WEIGHT = 28, 16
#: What sorting the units of a pool holds for each of them (sics_plugin.pruning.choose).
_BYTES_SORTED = 128
#: A process on a GPU takes so much before its first tensor: its context, and the libraries' workspaces.
_CONTEXT = 700 << 20


@dataclass(frozen=True, slots=True)
class VisionTransformer:
    """The sizes that its work depends on."""

    tokens: int
    dim: int
    depth: int
    hidden: int
    entry: int
    classes: int
    drop_path: bool

    @classmethod
    def of(cls, model: ModelConfig) -> Self | None:
        """The sizes of a network as it is set up; None of another kind."""
        if model.name != "vit":
            return None
        options = {**_VIT, **dict(model.options)}
        try:
            tokens = (_whole(options["img_size"]) // _whole(options["patch_size"])) ** 2
            dim, depth = _whole(options["embed_dim"]), _whole(options["depth"])
            entry = _whole(options["in_chans"]) * _whole(options["patch_size"]) ** 2 * dim
            hidden, classes = int(dim * float(options["mlp_ratio"])), _whole(options["num_classes"])
        except (TypeError, ValueError):
            return None
        return cls(tokens, dim, depth, hidden, entry, classes, bool(options.get("drop_path_rate")))

    @property
    def multiply_adds(self) -> int:
        """Multiplications of one example's way through; attention itself, a small part for few tokens, is not counted.

        >>> VisionTransformer(16, 64, 4, 256, 256, 10, drop_path=False).multiply_adds
        3149824
        """
        return self.tokens * (self.pruned + self.entry)

    @property
    def pruned(self) -> int:
        """Weights of the blocks, which are what is pruned."""
        return self.depth * (4 * self.dim * self.dim + 2 * self.dim * self.hidden)

    @property
    def parameters(self) -> int:
        """All of them, but for biases and norms."""
        return self.pruned + self.entry + self.dim * (self.tokens + self.classes)

    def moved(self, images: int) -> float:
        """Bytes that a forward pass of so many images moves."""
        return _BYTES_PASSED * images * self.tokens * self.dim * self.depth

    def moved_in_training(self, images: int, steps: int) -> float:
        """Bytes that so many images move on their way there and back, in so many steps."""
        return _BYTES_TRAINED * images * self.tokens * self.dim * self.depth + steps * _BYTES_STEPPED * self.parameters

    def step_operations(self, training: TrainingConfig) -> int:
        """Operations of a training step (`python bench/waits.py`), of a stack for all of its seeds, and their augmentation's."""
        blocks = {"fp32": 30, "bf16": 52}[training.precision] + 7 * self.drop_path
        return (_OF_STACK if training.width else 1) * (40 + blocks * self.depth) + 30 * max(1, training.width) * training.augments

    def step_launches(self, training: TrainingConfig) -> int:
        """Calls of the host that launch them: of a CUDA graph few, for all that it has."""
        return _CALLS_OF_GRAPH + 30 * training.augments if training.path == "graph" else self.step_operations(training)

    @property
    def collecting_operations(self) -> int:
        """Operations of the gradient of one calibration batch, and of what is kept of it."""
        return 40 + 75 * self.depth

    @property
    def pass_operations(self) -> int:
        """Operations of a forward pass of any number of examples."""
        return 16 + 10 * self.depth

    @property
    def mask_operations(self) -> int:
        """Operations of choosing a mask and laying it on the network: at most, by the scorers of κ ≥ 1 and by magnitude."""
        return 100 + 100 * self.depth

    def memory(self, training: TrainingConfig, evaluated: int, pixels: int, *, trains: bool) -> int:
        """Bytes that a seed takes on a GPU: its images, so many, and the most of what training, evaluating and sorting hold."""
        numbers = self.tokens * self.dim * self.depth
        held = _BYTES_HELD[training.precision] * (_HELD_BY_GRAPH if training.path == "graph" else 1)
        trained = max(1, training.width) * (_BYTES_A_WEIGHT * self.parameters + held * numbers * training.batch_size)
        looked = 3 * 4 * self.parameters + 40 * evaluated * self.tokens * self.hidden
        chosen = 3 * 4 * self.parameters + _BYTES_SORTED * self.pruned
        return _CONTEXT + int(_SLACK * (pixels + max(trained if trains else 0, looked, chosen)))


@dataclass(frozen=True, slots=True)
class Machine:
    """How fast work gets done: seconds that the host takes for an operation, and the device; operations and bytes a second.

    An evaluation takes `masking` times its passes, for the mask is made then too, and `cell` seconds for what is no network's.
    """

    launch: float
    kernel: float
    rates: Mapping[str, float]
    bandwidth: float
    masking: float
    cell: float
    source: str

    def seconds(
        self,
        operations: float,
        multiply_adds: float,
        moved: float,
        precision: str = "fp32",
        at_once: int = 1,
        launches: float | None = None,
    ) -> float:
        """Time of some work, where `at_once` processes do the same on this device: its own host launches it, all share the rest.

        A small network waits for its launches, one for each operation unless `launches` says how many; a large one for products
        and memory.
        """
        busy = 2 * multiply_adds / self.rates[precision] + moved / self.bandwidth
        calls = operations if launches is None else launches
        return max(calls * self.launch, at_once * max(operations * self.kernel, busy))


GUESSED = "guessed from the network's size"
#: Said of compiled training: its steps are guessed as if they were not.
UNKNOWN_COMPILED = "; what compiling takes and brings is not known"
#: A core of a processor, right within a factor of a few: small networks stay below its rate, large ones above.
_CORE = Machine(0.0, 0.0, {"fp32": 4e10, "bf16": 4e10}, float("inf"), MASKING, 0.0, GUESSED)
#: Python and torch take about so long to launch an operation of a network (`python bench/gpu.py --parts machine` measures it),
#: and a GPU so long to begin and end one, however small.
_LAUNCH, _KERNEL = 20e-6, 2.5e-6
#: Shares of published figures that the layers of a network reach.
_OF_PRODUCTS, _OF_BANDWIDTH = 0.4, 0.7
#: Hashes, the row and its letter.
_CELL = 0.03


def machine_of(device_class: str, gpu: str | None) -> Machine:
    """What a worker computes with: a core of the processor, or the GPU of this name.

    >>> machine_of("cuda", "NVIDIA H200").source
    "guessed from the network's size and the published figures of an H200; no GPU was measured"
    >>> machine_of("cuda", None).source
    "guessed from the network's size and the figures of a middling GPU; no GPU was measured"
    """
    if device_class == "cpu":
        return _CORE
    card = figures_of(gpu)
    rates = {"fp32": _OF_PRODUCTS * card.fp32, "bf16": _OF_PRODUCTS * card.bf16}
    article = "an" if card.of[:1] in "AHLMR" else "a"
    of = f"the published figures of {article} {card.of}" if card.of else "the figures of a middling GPU"
    source = f"{GUESSED} and {of}; no GPU was measured"
    return Machine(_LAUNCH, _KERNEL, rates, _OF_BANDWIDTH * card.bandwidth, 1.0, _CELL, source)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is not a count")
    return value
