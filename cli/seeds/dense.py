"""The dense network of one seed: trained once, in one go or in parts, and kept as a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from sics_cli.experiment.recipe import Recipe
from sics_cli.settings.config import Experiment
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import CheckpointRow
from sics_cli.store.run_folder import checkpoint_path, curve_path, half_trained_path
from sics_cli.tasks.images.datasets import Split
from sics_cli.tasks.networks.checkpoints import (
    Checkpoint,
    DamagedCheckpointError,
    load_checkpoint,
    load_half_trained,
    save_checkpoint,
    save_half_trained,
)
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.start import begin_with
from sics_cli.tasks.networks.training import CurveLog, Epoch, HalfTrained, train, validated_only

#: A network in training is kept as often as takes this share of the time at most: so much is lost to a kill, and no more.
_KEPT_SHARE = 0.01
_FIRST_KEPT_AFTER = 1.0


class DenseNetwork:
    """Makes and finds the checkpoint of one seed; the inbox hears of it and of files made again, `tell` of epochs."""

    def __init__(
        self,
        inbox: Inbox,
        recipe: Recipe,
        split: Split,
        seed: int,
        device: torch.device,
        tell: Callable[[Epoch], None] = lambda epoch: None,
    ) -> None:
        self._inbox, self._recipe, self._split, self._seed = inbox, recipe, split, seed
        self._device, self._tell = device, tell
        self._key = recipe.dense_key(seed)
        self._path = checkpoint_path(inbox.folder.parent, seed, self._key)
        self._half = half_trained_path(inbox.folder.parent, seed, self._key)
        self._curve = curve_path(inbox.folder.parent, seed)
        self._keep_after = _FIRST_KEPT_AFTER
        self._kept = time.monotonic()

    @property
    def _experiment(self) -> Experiment:
        return self._recipe.experiment

    def checkpoint(self) -> Checkpoint:
        """Load the checkpoint, after training what is left of it."""
        found = self._load()
        if found is None:
            self._train(self._experiment.training.epochs)
            found = load_checkpoint(self._path, self._key)
        record = found.record
        self._inbox.post(
            CheckpointRow(self._seed, self._key, found.hash, record.validation_correct, record.validation_n, record.seconds)
        )
        return found

    def advance(self, until: int) -> None:
        """Train to `until` finished epochs, of which the last makes the checkpoint."""
        if self._load() is None:
            self._train(until)

    def _load(self) -> Checkpoint | None:
        try:
            return load_checkpoint(self._path, self._key)
        except FileNotFoundError:
            return None
        except DamagedCheckpointError as error:
            self._inbox.note(f"seed {self._seed}: the dense checkpoint {self._path.name} {error}: trained again")
            self._path.unlink()
            return None

    def _train(self, until: int) -> None:
        experiment, begun = self._experiment, self._begun()
        if begun is not None and until <= begun.epochs < experiment.training.epochs:
            return
        model = build_model(experiment.model, self._seed)
        if begun is None and self._recipe.start is not None:
            begin_with(model, self._recipe.start)
            if self._recipe.start.is_whole:
                save_checkpoint(self._path, self._key, model.state_dict(), validated_only(model, self._split, self._device))
                return
        self._kept = time.monotonic()
        curve = CurveLog(self._curve, begun.epochs if begun else 0)

        def log(epoch: Epoch) -> None:
            curve.add(epoch)
            self._tell(epoch)

        result = train(
            model,
            experiment.training,
            self._split,
            self._seed,
            self._device,
            begin=begun,
            until=until,
            log=log,
            keep=self._keep,
        )
        if isinstance(result, HalfTrained):
            save_half_trained(self._half, self._key, result)
        else:
            save_checkpoint(self._path, self._key, model.state_dict(), result)
            self._half.unlink(missing_ok=True)

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
