"""The training of the image tasks: AdamW under a schedule of its learning rate, validated as it goes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sics_cli.base.errors import is_device_lost
from sics_cli.settings.images import TrainingConfig
from sics_cli.settings.seeding import Indices, data_order, epoch_seed
from sics_cli.tasks.images.datasets import Split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.images.mixing import Mixing, draw_mixes, mixed
from sics_cli.tasks.networks.evaluation import hits_and_loss
from sics_cli.tasks.networks.paths import Step, TrainingBatch, step_of
from sics_cli.tasks.networks.stacks import Stack, is_full, place_by_place
from sics_cli.tasks.recipe import place_of
from sics_cli.tasks.training import Epoch, HalfTrained, State, TrainingRecord, run

#: Validations in a whole training, besides the last epoch's: enough for a curve, a small part of the time.
VALIDATIONS = 10


def validated(epoch: int, epochs: int) -> bool:
    """Whether the network is validated after this epoch (from 1).

    >>> [epoch for epoch in range(1, 26) if validated(epoch, 25)]
    [3, 6, 9, 12, 15, 18, 21, 24, 25]
    """
    return epoch == epochs or epoch % -(-epochs // VALIDATIONS) == 0


def one_cycle(step: int, total: int, peak: float) -> tuple[float, float]:
    """Learning rate and first AdamW moment of step `step` (from 0) of `total`, as torch's OneCycleLR sets them.

    Cosine from peak/25 up over 30 % of the steps, down to peak/250 000 over the rest; the moment from 0.95 to 0.85 and back.
    A function of the step alone, so that training can go on in another process.

    >>> one_cycle(29, 100, 3e-3)
    (0.003, 0.85)
    """
    low, lowest, rise = peak / 25, peak / 25 / 1e4, 0.3 * total - 1
    if step <= rise:
        return _cosine(low, peak, step / rise), _cosine(0.95, 0.85, step / rise)
    down = (step - rise) / (total - 1 - rise)
    return _cosine(peak, lowest, down), _cosine(0.85, 0.95, down)


def warmed_cosine(step: int, total: int, warm: int, peak: float) -> tuple[float, float]:
    """Learning rate and first AdamW moment of step `step` (from 0) of `total`: a straight rise over `warm` steps, a cosine to 0.

    >>> [round(warmed_cosine(step, 8, 4, 1.0)[0], 3) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warm:
        return peak * (step + 1) / warm, 0.9
    return _cosine(peak, 0.0, (step - warm) / (total - warm)), 0.9


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1)


@dataclass(frozen=True, slots=True)
class Pass:
    """One epoch over the training examples: mean loss (nats) and share of right answers, as met while the weights moved."""

    loss: float
    accuracy: float
    learning_rate: float


class ImageTrainer:
    """Trains one network in place, epoch by epoch: AdamW under a schedule, the gradients by the path that is asked for.

    All that the next epoch depends on is in `state`, so that training may stop after any epoch and go on elsewhere, bit for bit.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, split: Split, device: torch.device, seed: int = 0) -> None:
        self.network = self._model = model.to(device)
        self._config, self._device, self._seed = config, device, seed
        self._examples, self._validation = Examples(split.train, device), Examples(split.validation, device)
        self._steps = math.ceil(len(split.train) / config.batch_size)
        self._orders: Iterator[Indices] = iter(())
        self._drawn = 0
        self._checked: tuple[int, int] | None = None
        parameters = list(model.parameters())
        self._optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)

    def epoch(self, number: int) -> dict[str, float | None]:
        """Train one epoch, and validate after every so many; dropout and the like draw from torch's generator.

        Accuracies are fractions. `train_accuracy` is met while the weights move, on augmented images: an estimate, and below that
        of the epoch's end; an answer about mixed images is right by the share of its label. `validation_accuracy` is None
        between validations. `learning_rate` is that of the last step.
        """
        return self._told(number, self.train(number, self._order(number)))

    def _told(self, number: int, met: Pass) -> dict[str, float | None]:
        """What goes into the curve, after the validation that is due."""
        self._checked = None
        if math.isfinite(met.loss) and validated(number + 1, self._config.epochs):
            self._checked = self._validate()
        share = self._checked[0] / self._checked[1] if self._checked else None
        return {
            "loss": met.loss, "train_accuracy": met.accuracy, "validation_accuracy": share, "learning_rate": met.learning_rate,
        }  # fmt: skip

    @functools.cached_property
    def _step(self) -> Step:
        """Made for the first step: a network that comes trained takes none, and its device need not have the path."""
        return step_of(self._model, self._config, self._device)

    def _order(self, number: int) -> Indices:
        """The order of the training images in an epoch: orders are drawn one after another, also those of earlier processes."""
        if number < self._drawn or not self._drawn:
            self._orders, self._drawn = data_order(self._seed, len(self._examples), self._config.epochs), 0
        while True:
            order = next(self._orders)
            self._drawn += 1
            if self._drawn == number + 1:
                return order

    def finish(self) -> dict[str, int]:
        """Count the validation images that the trained network gets right."""
        correct, n = self._checked or self._validate()
        return {"validation_correct": correct, "validation_n": n}

    def _validate(self) -> tuple[int, int]:
        hits, _ = hits_and_loss(self._model, self._validation)
        return int(hits.sum()), len(hits)

    def train(self, number: int, order: Indices) -> Pass:
        """Pass once over the training images in this order."""
        self._model.train()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        right = torch.zeros_like(total)
        rate = 0.0
        for step, batch in enumerate(self._mixed(number, order), start=number * self._steps):
            rate, moment = self._rate(step)
            for group in self._optimiser.param_groups:
                group["lr"], group["betas"] = rate, (moment, group["betas"][1])
            loss, hits = self._step(batch)
            self._optimiser.step()
            total += loss * len(batch.labels)  # stays on the device: asking for it would wait for every step
            right += hits
        return Pass(float(total.item()) / len(order), float(right.item()) / len(order), rate)

    def _rate(self, step: int) -> tuple[float, float]:
        """Learning rate and first moment of a step, counted from the beginning of training."""
        config, total = self._config, self._steps * self._config.epochs
        if config.schedule == "cosine":
            return warmed_cosine(step, total, self._steps * config.warmup, config.learning_rate)
        return one_cycle(step, total, config.learning_rate)

    def _mixed(self, number: int, order: Indices) -> Iterator[TrainingBatch]:
        """The batches of epoch `number` as steps take them: mixed where the settings say so."""
        batches = itertools.starmap(TrainingBatch, self._batches(number, order))
        if not self._config.mixes:
            yield from batches
            return
        height, width = self._examples.pixels.shape[-2:]
        asked = Mixing(self._config.mixup, self._config.cutmix)
        mixes = draw_mixes(asked, self._steps, (height, width), seed=self._seed, epoch=number)
        # Brought over once an epoch.
        shares = torch.tensor([mix.share for mix in mixes], dtype=torch.float32, device=self._device)
        for batch, mix, share in zip(batches, mixes, shares, strict=True):
            yield TrainingBatch(mixed(batch.images, mix), batch.labels, batch.labels.flip(0), share)

    def _batches(self, number: int, order: Indices) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (n, channels, height, width), float32, and labels (n,) of each batch of epoch `number`, as the settings say."""
        batches = torch.from_numpy(order).to(self._device).split(self._config.batch_size)
        if not self._config.augments:
            yield from map(self._examples.at, batches)
            return
        from sics_cli.tasks.images.augment import PIXELS, Augmentation, augment_all  # only now: it brings torchvision along

        config = self._config
        asked = Augmentation(config.crop_padding, config.flip, config.randaugment, config.magnitude)
        height, width = self._examples.pixels.shape[-2:]
        # A GPU takes many at once; a processor's cache is full with one batch.
        together = 1 if self._device.type == "cpu" else max(1, PIXELS // (height * width * config.batch_size))
        for first in range(0, len(batches), together):
            some = batches[first : first + together]
            pixels, sizes = self._examples.pixels[torch.cat(some)], [len(batch) for batch in some]
            changed = augment_all(pixels, asked, sizes, seed=self._seed, epoch=number, first=first)
            for images, batch in zip(changed, some, strict=True):
                yield self._examples.standard(images), self._examples.labels[batch]

    def state(self) -> State:
        """Module state, and the optimiser's by parameter name; tensors that training goes on changing."""
        moments = {
            f"{key}/{name}": value
            for name, parameter in self._model.named_parameters()
            for key, value in self._optimiser.state[parameter].items()
        }
        return {f"model/{name}": value for name, value in self._model.state_dict().items()} | moments

    def load(self, state: State) -> None:
        """Go on from what `state` gave, of a trainer of the same configuration."""
        self._model.load_state_dict({key.removeprefix("model/"): v for key, v in state.items() if key.startswith("model/")})
        for name, parameter in self._model.named_parameters():
            keys = [key for key in state if key.endswith(f"/{name}") and not key.startswith("model/")]
            self._optimiser.state[parameter] = {key.partition("/")[0]: state[key].to(parameter.device, copy=True) for key in keys}


class StackedTrainer(ImageTrainer):
    """Trains a network in a stack (`sics_cli.tasks.networks.stacks`): with those of other seeds, or alone among empty places.

    The seed's batches are its own, drawn as on any path.
    """

    _stack: Stack | None = None

    def epoch(self, number: int) -> dict[str, float | None]:
        """Train one epoch alone: the same numbers, at the price of all places."""
        (met,) = self.together(number, (self,))
        if isinstance(met, Exception):
            raise met
        return met

    def together(self, number: int, trainers: Sequence[StackedTrainer]) -> list[dict[str, float | None] | Exception]:
        """Train one epoch of all these seeds at once: what each has for its curve, or the error that was its own.

        What befalls all is raised: a lost card, or memory that does not do for so many.
        """
        try:
            with place_by_place():
                there = next((one._stack for one in trainers if one._stack is not None), None)
                stack = there or Stack(self._model, self._config, self._device)
                for trainer in trainers:
                    trainer._sit(stack)
                return self._together(stack, number, trainers)
        except Exception as error:
            if not is_full(error):
                raise
            width, size = self._config.width, self._config.batch_size
            raise torch.OutOfMemoryError(
                f"training.width = {width}: out of memory with {width} seeds' networks and batches of {size} at once: a smaller "
                f"width fits, as trainings of their own; so do other paths ({' '.join(str(error).split())[:200]})"
            ) from error

    def _together(
        self, stack: Stack, number: int, trainers: Sequence[StackedTrainer]
    ) -> list[dict[str, float | None] | Exception]:
        own: dict[int, Exception] = {}
        epochs = {place: trainer._mixed(number, trainer._order(number)) for place, trainer in _by_place(trainers).items()}
        n, rate = len(self._examples), 0.0
        total = torch.zeros(self._config.width, dtype=torch.float64, device=self._device)
        right = torch.zeros_like(total)
        for step in range(number * self._steps, (number + 1) * self._steps):
            batches = {}
            for place in list(epochs):
                try:
                    batches[place] = next(epochs[place])
                except Exception as error:
                    _raise_if_shared(error)
                    own[place] = error
                    del epochs[place]
            if not batches:
                break
            rate, moment = self._rate(step)
            for group in stack.optimiser.param_groups:
                group["lr"], group["betas"] = rate, (moment, group["betas"][1])
            losses, hits = stack.gradients(batches)
            stack.optimiser.step()
            total += losses * len(next(iter(batches.values())).labels)
            right += hits
        sums = torch.stack([total, right]).tolist()
        met: list[dict[str, float | None] | Exception] = []
        for place, trainer in _by_place(trainers).items():
            try:
                if place in own:
                    raise own[place]
                met.append(trainer._told(number, Pass(sums[0][place] / n, sums[1][place] / n, rate)))
            except Exception as error:
                _raise_if_shared(error)
                met.append(error)
        return met

    def _told(self, number: int, met: Pass) -> dict[str, float | None]:
        """As on other paths; what a network draws when it is evaluated is the seed's own, whoever is beside it."""
        torch.manual_seed(epoch_seed(self._seed, number))
        return super()._told(number, met)

    def finish(self) -> dict[str, int]:
        """As on other paths, with draws of its own."""
        torch.manual_seed(epoch_seed(self._seed, self._config.epochs))
        return super().finish()

    def state(self) -> State:
        """As on other paths, in memory of its own: a place goes on with those beside it, whether its seed does or not."""
        return {name: value.detach().clone() for name, value in super().state().items()}

    def load(self, state: State) -> None:
        """Go on from what `state` gave; the place is taken anew."""
        super().load(state)
        self._stack = None

    def _sit(self, stack: Stack) -> None:
        if self._stack is not stack:
            stack.seat(place_of(self._seed, self._config.width), self._model, self._optimiser.state)
            self._stack = stack


def _by_place(trainers: Sequence[StackedTrainer]) -> dict[int, StackedTrainer]:
    places = {place_of(one._seed, one._config.width): one for one in trainers}
    if len(places) < len(trainers):
        raise ValueError(f"seeds {[one._seed for one in trainers]} do not have places of their own in a stack")
    return places


def _raise_if_shared(error: Exception) -> None:
    """Raise what is no seed's own."""
    if is_full(error) or is_device_lost(error):
        raise error


def trainer_of(model: nn.Module, config: TrainingConfig, split: Split, device: torch.device, seed: int = 0) -> ImageTrainer:
    """The trainer of a network by its path."""
    kind = StackedTrainer if config.path == "stacked" else ImageTrainer
    return kind(model, config, split, device, seed)


def train(
    model: nn.Module,
    config: TrainingConfig,
    split: Split,
    seed: int,
    device: torch.device,
    progress: Callable[[int], None] = lambda epoch: None,
    *,
    begin: HalfTrained | None = None,
    until: int | None = None,
    log: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainingRecord | HalfTrained:
    """Train `model` in place and leave it in eval mode; `progress` is told the number of finished epochs.

    See `sics_cli.tasks.training.run` for the rest.
    """

    def tell(epoch: Epoch) -> None:
        log(epoch)
        progress(epoch.epoch)

    return run(trainer_of(model, config, split, device, seed), config.epochs, seed, begin=begin, until=until, log=tell)
