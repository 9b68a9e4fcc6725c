"""The dense network of one seed: trained once, in one go or in parts, and kept as a checkpoint."""

from __future__ import annotations

import contextlib
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from sics_cli.base.hashing import digest
from sics_cli.experiment.recipe import Recipe
from sics_cli.seeds.masks import ConflictError, seeded
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import CheckpointRow
from sics_cli.store.run_folder import checkpoint_path, curve_path, half_trained_path, module_path
from sics_cli.tasks.checkpoints import (
    Checkpoint,
    DamagedCheckpointError,
    load_checkpoint,
    load_half_trained,
    load_module,
    save_checkpoint,
    save_half_trained,
    save_module,
    state_hash,
)
from sics_cli.tasks.results import ResultError
from sics_cli.tasks.training import (
    Course,
    CurveLog,
    Epoch,
    HalfTrained,
    TrainingRecord,
    course,
    listening,
    run,
    run_together,
    says_no_form,
    strictly,
    warned,
)

#: A network in training is kept as often as takes this share of the time at most: so much is lost to a kill, and no more.
_KEPT_SHARE = 0.01
_FIRST_KEPT_AFTER = 1.0
#: Networks that tasks gave in this process, and at which seed.
_given: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()


class DenseNetwork:
    """Makes and finds the network of one seed; the inbox hears of it and of files made again, `tell` of epochs."""

    def __init__(
        self,
        inbox: Inbox,
        recipe: Recipe,
        task: Any,
        seed: int,
        device: torch.device,
        tell: Callable[[Epoch], None] = lambda epoch: None,
    ) -> None:
        self._inbox, self._task, self._seed = inbox, task, seed
        self._device, self._tell, self._epochs = device, tell, recipe.task.epochs
        self._key = recipe.dense_key(seed)
        self._draws = digest({"seed": seed, "for": "network"})  # not the key: a comment in a task is no other network
        folder = inbox.folder.parent
        self._path, self._module = (place(folder, seed, self._key) for place in (checkpoint_path, module_path))
        self._half = half_trained_path(folder, seed, self._key)
        self._curve = curve_path(folder, seed)
        self._keep_after = _FIRST_KEPT_AFTER
        self._kept = time.monotonic()
        self._beside = 1  # seeds in one training, each of which is kept in its time

    def checkpoint(self) -> Checkpoint:
        """Load the checkpoint, after training what is left of it."""
        found = self._load()
        if found is None:
            self._make(self._epochs)
            found = load_checkpoint(self._path, self._key)
        record = found.record
        self._inbox.post(
            CheckpointRow(self._seed, self._key, found.hash, record.validation_correct, record.validation_n, record.seconds)
        )
        return found

    def advance(self, until: int) -> None:
        """Train to `until` finished epochs, of which the last makes the checkpoint."""
        if self._load() is None:
            self._make(until)

    def fresh(self, found: Checkpoint) -> nn.Module:
        """The dense network, which nothing else holds: built and loaded, read back, or made once more."""
        if hasattr(self._task, "trainer"):
            network: nn.Module = self.trainer().network
            network.load_state_dict(found.state)
        else:
            network = load_module(self._module, found) or strictly(lambda _: self._networked())[0]
            if state_hash(network.state_dict()) != found.hash:
                raise ConflictError(
                    f"network({self._seed}) gave another network than before, and the first could not be kept whole: have it "
                    "give the same, or a network that can be pickled"
                )
        return network.to(self._device).eval()

    def trainer(self) -> Any:
        """What a task trains with, as the seed begins it."""
        with seeded(self._draws):
            trainer = self._task.trainer(self._seed)
        for name in ("network", "epoch", "state", "load"):
            if not hasattr(trainer, name):
                raise TypeError(f"trainer({self._seed}) gave {type(trainer).__name__} without {name}: see sics_cli.Trainer")
        self._refuse_another_seeds(trainer.network, "trainer")
        return trainer

    def _networked(self) -> nn.Module:
        with seeded(self._draws):
            network = self._task.network(self._seed)
        if not isinstance(network, nn.Module):
            raise TypeError(f"network({self._seed}) gave {type(network).__name__}, expected a torch.nn.Module")
        self._refuse_another_seeds(network, "network")
        return network

    def _refuse_another_seeds(self, network: nn.Module, method: str) -> None:
        """Refuse the very module of another seed: what it learned there would count as this seed's."""
        other = _given.setdefault(network, self._seed)
        if other != self._seed:
            raise ResultError(
                f"{method}({self._seed}) gave the very module that {method}({other}) gave: trained further from there, seeds are "
                "not independent. Make a new one for each seed, or give a copy.deepcopy"
            )

    def _load(self) -> Checkpoint | None:
        try:
            return load_checkpoint(self._path, self._key)
        except FileNotFoundError:
            return None
        except DamagedCheckpointError as error:
            self._inbox.note(f"seed {self._seed}: the dense checkpoint {self._path.name} {error}: trained again")
            self._path.unlink()
            return None

    def _make(self, until: int) -> None:
        if hasattr(self._task, "trainer"):
            self._train(until)
            return
        begun = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            network, relaxed = strictly(lambda _: self._networked())
        record = TrainingRecord(None, None, time.perf_counter() - begun, relaxed or warned(caught))
        try:
            save_module(self._module, network)
        except OSError:
            raise
        except Exception as error:  # a module may hold anything
            self._inbox.note(
                f"seed {self._seed}: the network cannot be kept whole ({type(error).__name__}: {error}): network({self._seed}) "
                "is called again where it is needed"
            )
        save_checkpoint(self._path, self._key, network.state_dict(), record)

    def _train(self, until: int) -> None:
        begun = self._begun()
        if begun is not None and until <= begun.epochs < self._epochs:
            return
        (trainer, result), _ = strictly(lambda relaxed: self._trained(until, relaxed))
        self._save(trainer, result)

    def _save(self, trainer: Any, result: HalfTrained | TrainingRecord) -> None:
        if isinstance(result, HalfTrained):
            save_half_trained(self._half, self._key, result)
        else:
            save_checkpoint(self._path, self._key, trainer.network.state_dict(), result)
            self._half.unlink(missing_ok=True)

    def _trained(self, until: int, relaxed: bool) -> tuple[Any, HalfTrained | TrainingRecord]:
        """Go on from what is kept, with a trainer of its own."""
        begun, log = self._going_on()
        trainer = self.trainer()
        return trainer, run(
            trainer, self._epochs, self._seed, begin=begun, until=until, log=log, keep=self._keep, relaxed=relaxed
        )

    def _going_on(self) -> tuple[HalfTrained | None, Callable[[Epoch], None]]:
        """What is kept, and what is to be told of every epoch after it."""
        begun = self._begun()
        self._kept = time.monotonic()
        curve = CurveLog(self._curve, begun.epochs if begun else 0)

        def log(epoch: Epoch) -> None:
            curve.add(epoch)
            self._tell(epoch)

        return begun, log

    @staticmethod
    def train_together(networks: Sequence[DenseNetwork]) -> list[BaseException | None]:
        """Train to the end what is left of these seeds' networks, as one stack; give the error of each that has no checkpoint.

        An error that befalls all is raised.
        """
        ends: dict[DenseNetwork, BaseException | None] = {}
        left = []
        for network in networks:
            with _noting(ends, network):
                if network._load() is None:
                    left.append(network)
        found, _ = strictly(lambda relaxed: DenseNetwork._trained_together(left, relaxed))
        for network, (trainer, result) in found.items():
            with _noting(ends, network):
                if isinstance(result, BaseException):
                    raise result
                network._save(trainer, result)
        return [ends[network] for network in networks]

    @staticmethod
    def _trained_together(
        networks: Sequence[DenseNetwork], relaxed: bool
    ) -> dict[DenseNetwork, tuple[Any, HalfTrained | TrainingRecord | BaseException]]:
        """Each with its trainer and what its training ended with; raises what asks for the work to be done again relaxed."""
        errors: dict[DenseNetwork, BaseException | None] = {}
        ways: dict[DenseNetwork, tuple[Any, Course]] = {}
        with listening() as caught:
            for network in networks:
                with _noting(errors, network):
                    begun, log = network._going_on()
                    trainer = network.trainer()
                    ways[network] = trainer, course(
                        trainer, network._epochs, begin=begun, log=log, keep=network._keep,
                        unsure=lambda: relaxed or warned(caught),
                    )  # fmt: skip
                    network._beside = len(networks)
            ended = dict(zip(ways, run_together(list(ways.values())), strict=True))
        found = {network: (ways[network][0], result) for network, result in ended.items()}
        found |= {network: (None, error) for network, error in errors.items() if error is not None}
        for _, result in found.values():
            if isinstance(result, BaseException) and says_no_form(result) and not relaxed:
                raise result
        return found

    def _keep(self, now: Callable[[], HalfTrained]) -> None:
        """Keep what is trained so far, unless that was done a moment ago."""
        if time.monotonic() - self._kept < self._keep_after:
            return
        begun = time.monotonic()
        save_half_trained(self._half, self._key, now())
        self._kept = time.monotonic()
        self._keep_after = self._beside * (self._kept - begun) / _KEPT_SHARE

    def _begun(self) -> HalfTrained | None:
        try:
            return load_half_trained(self._half, self._key)
        except FileNotFoundError:
            return None
        except DamagedCheckpointError as error:
            self._inbox.note(f"seed {self._seed}: {self._half.name} {error}: trained from the beginning")
            return None


@contextlib.contextmanager
def _noting(errors: dict[DenseNetwork, BaseException | None], network: DenseNetwork) -> Iterator[None]:
    """Note what one seed's network fails by, and go on with the others'."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a script of the user's may call sys.exit
        errors[network] = error
    else:
        errors[network] = None
