"""The dense network of one seed: trained once, in one go or in parts, and kept as a checkpoint."""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Callable
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
from sics_cli.tasks.training import CurveLog, Epoch, HalfTrained, TrainingRecord, run, strictly, warned

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
        if isinstance(result, HalfTrained):
            save_half_trained(self._half, self._key, result)
        else:
            save_checkpoint(self._path, self._key, trainer.network.state_dict(), result)
            self._half.unlink(missing_ok=True)

    def _trained(self, until: int, relaxed: bool) -> tuple[Any, HalfTrained | TrainingRecord]:
        """Go on from what is kept, with a trainer of its own."""
        begun = self._begun()
        self._kept = time.monotonic()
        curve = CurveLog(self._curve, begun.epochs if begun else 0)

        def log(epoch: Epoch) -> None:
            curve.add(epoch)
            self._tell(epoch)

        trainer = self.trainer()
        return trainer, run(
            trainer, self._epochs, self._seed, begin=begun, until=until, log=log, keep=self._keep, relaxed=relaxed
        )

    def _keep(self, now: Callable[[], HalfTrained]) -> None:
        """Keep what is trained so far, unless that was done a moment ago."""
        if time.monotonic() - self._kept < self._keep_after:
            return
        begun = time.monotonic()
        save_half_trained(self._half, self._key, now())
        self._kept = time.monotonic()
        self._keep_after = (self._kept - begun) / _KEPT_SHARE

    def _begun(self) -> HalfTrained | None:
        try:
            return load_half_trained(self._half, self._key)
        except FileNotFoundError:
            return None
        except DamagedCheckpointError as error:
            self._inbox.note(f"seed {self._seed}: {self._half.name} {error}: trained from the beginning")
            return None
