"""The numbers of one seed: checkpoint, saliency, then every mask and its evaluation, each left in the inbox."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError, DeviceLostError, MismatchError, is_device_lost, is_out_of_memory, is_storage_failure
from sics_cli.base.hashing import digest
from sics_cli.experiment.cells import Cell
from sics_cli.experiment.cost import Cost
from sics_cli.experiment.provenance import now
from sics_cli.experiment.recipe import DENSE, Recipe
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.experiment.searched import ADAPTIVE
from sics_cli.experiment.trials import TRIALS, Tried
from sics_cli.seeds.dense import DenseNetwork
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.masks import ConflictError, MaskMaker, seeded
from sics_cli.seeds.met import Met, is_one_set
from sics_cli.seeds.saliency import keep, kept, kept_path, read_for_trials, saliency_of
from sics_cli.seeds.search import MAGNITUDE, HeldOutFacts, Kept, Point, Searcher, SearchError
from sics_cli.seeds.unchanged import left_as_it_was
from sics_cli.store.inbox import Inbox, Progress
from sics_cli.store.rows import OTHER_EXAMPLES, CellRow, FailureRow, RepeatRow
from sics_cli.tasks.batches import Digested
from sics_cli.tasks.results import Evaluation, evaluation_of, unpacked
from sics_cli.tasks.task import Metric, shown
from sics_cli.tasks.training import Epoch, strictly, warned
from sics_plugin import ChannelReport, PruningReport, Saliency, Scorer, Trials, masked
from sics_plugin.saliency.kinds import SIGNALS

T = TypeVar("T")
#: glibc's mallopt: above which size memory is mapped anew for each block, and how much free memory is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _MAPPED_BYTES = 128 << 20, 32 << 20


def device_facts(device: torch.device) -> dict[str, Any]:
    """Name of the device, and what decides which kernels run and so the last bits of a number."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts = {"device": name, "cpu": cpu_model(), "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    return facts if device.type == "cpu" else {**facts, "float32_matmul_precision": torch.get_float32_matmul_precision()}


def cpu_model(source: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name, or its architecture where nothing tells the name."""
    with contextlib.suppress(OSError):
        for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, within bounds: each step would ask the system for the same pages again.

    Returns whether the system's C library took it; elsewhere nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES))


NONDETERMINISTIC = "nondeterministic"
OTHER_BATCHES = "calibration batches were others when asked for again"
AS_SPARSE = "as many zeros in the dense network"
IN_TRAINING = "evaluated in training mode"
SEEN_IN_SEARCH = "some held-out examples are those of evaluate"
#: Columns of a row that say how a network did.
MEASURED = tuple(field.name for field in dataclasses.fields(Evaluation))


class SeedRun:
    """One seed's work on one device, which `sharing` processes of the run have."""

    def __init__(self, job: SeedJob, device: torch.device, sharing: int = 1, task: Any = None) -> None:
        self.job = job
        self.device = device
        self.sharing = sharing if device.type != "cpu" else 1
        self.recipe = Recipe(job.experiment, job.environment, job.task)
        if self.recipe.run_id != job.run_id:
            raise MismatchError(
                "the installed sics_plugin, a file of weights or the code of a task changed while the run was going on: "
                "run it again"
            )
        self.inbox = Inbox(job.folder, self.recipe.run_id)
        self.work = Cost.relative(self.recipe)
        self.task = self.recipe.task.open(device) if task is None else task  # one that another seed of the process has opened
        self.metric: Metric = self.task.metric
        self.evaluated: dict[tuple[float, str], tuple[Evaluation, str]] = {
            (row.sparsity, row.mask_hash): (Evaluation(*(getattr(row, name) for name in MEASURED)), row.evaluated_as)
            for row in job.known
            if row.mask_hash is not None and job.share
        }
        self.flags: set[str] = set()
        self._unsure: set[str] = set()  # kinds of saliency that were collected without deterministic forms
        self._relaxed = False  # whether the mask of the cell at hand was made so
        self.masker = MaskMaker(self.recipe, job.seed, getattr(self.task, "targets", None))
        self.searcher = Searcher(
            self.recipe,
            job.seed,
            job.folder,
            self.masker,
            self._held_out,
            cells=job.cells,
            tell=self._tell_search,
            are_known=self._are_known,
            note=self.inbox.note,
            fresh=not job.share,
        )
        self._plain: dict[tuple[str, float], tuple[Point, bool]] = {}  # and whether it has no deterministic form
        self._examples: HeldOutFacts | None = None
        self._n_held: int | None = None
        self._looked = self._doubted = False
        self._search_flags: set[str] = set()
        self._points: dict[tuple[str, float], int] = {}
        self._saliencies: dict[str, Saliency] = {}
        self._facts = device_facts(device)
        self._batches_draws = digest({"seed": job.seed, "for": "calibration"})
        self._calibration_hash: str | None = None
        self._dense_network = self._dense()
        self._spoilt = self._compared = False
        self._zeros: float | None = None
        self._before = self._done = 0.0
        self._told, self._phase = float("-inf"), ""

    def run(self) -> int:
        """Compute every cell of the job; return how many failed."""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._prepare()
        except (Exception, SystemExit) as error:  # a script of the user's may call sys.exit
            return self._fail_all(error)
        if self.checkpoint.record.nondeterministic or warned(caught):
            self.flags.add(NONDETERMINISTIC)
        return sum(not self._attempt(cell) for cell in self.job.cells)

    def advance(self, until: int) -> int:
        """Train until this epoch; return how many cells failed, which is all of them if training does."""
        self._tell("training", 0.0)
        try:
            self._dense_network.advance(until)
        except (Exception, SystemExit) as error:
            return self._fail_all(error)
        return 0

    @staticmethod
    def advance_together(runs: Sequence[SeedRun]) -> tuple[int, ...]:
        """Train the networks of these seeds to the end, as one stack; return how many cells of each failed by that."""
        for one in runs:
            one._tell("training", 0.0)
        try:
            errors = DenseNetwork.train_together([one._dense_network for one in runs])
        except (Exception, SystemExit) as error:
            errors = [error] * len(runs)
        failed, lost = [], None
        for one, ended in zip(runs, errors, strict=True):
            try:
                failed.append(0 if ended is None else one._fail_all(ended))
            except DeviceLostError as error:  # once all is written down
                lost = error
        if lost is not None:
            raise lost
        return tuple(failed)

    # -- once a seed ------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._tell("loading" if hasattr(self.task, "trainer") else "training", 0.0)
        self.checkpoint = self._dense_network.checkpoint()
        self._agree("dense checkpoint", self.checkpoint.hash, {row.checkpoint_hash for row in self.job.known})
        self.model = self._fresh_model()
        self._refuse_other_evaluation()
        self._tell("saliency", self._before)
        self._calibration_hash = self._digest_of_batches()
        self._saliency_of(None)
        self._before += self.work.saliency
        self._tell("pruning", self._before)

    def _dense(self) -> DenseNetwork:
        epochs = self.recipe.task.epochs
        share = self.work.training / max(1, epochs)
        begun: list[int] = []

        def tell(epoch: Epoch) -> None:
            begun.append(epoch.epoch - 1)
            self._before = (epoch.epoch - begun[0]) * share
            loss = epoch.values.get("loss")
            self._tell(f"training {epoch.epoch}/{epochs}" + ("" if loss is None else f", loss {loss:.2f}"), self._before)

        return DenseNetwork(self.inbox, self.recipe, self.task, self.job.seed, self.device, tell)

    def _fresh_model(self) -> nn.Module:
        return self._dense_network.fresh(self.checkpoint)

    def _digest_of_batches(self) -> str | None:
        """Hash of the calibration batches: known beforehand, or that of what the task hands over; None where nobody asks."""
        known = self.recipe.task.streams(self.job.seed).calibration_hash
        scorers = [cell.scorer for cell in self.job.cells if cell.scorer is not None]
        wanted = self.recipe.calibrated or any(info.calibrated for info in scorers)
        if known is not None or not wanted:
            return known

        def read(_: bool) -> Digested:
            with seeded(self._batches_draws):
                passing = Digested(self.task.calibration(self.job.seed))
                for _ in passing:
                    pass
                return passing

        passing, unsure = strictly(read)
        if unsure:
            self.flags.add(NONDETERMINISTIC)
        met = {row.calibration_hash for row in self.job.known if row.calibration_hash is not None}
        self._agree("calibration batches", passing.digest, met)
        return passing.digest

    def _saliency_of(self, scorer: ScorerInfo | None) -> Saliency:
        """The saliency a scorer works with: the run's, or a peer's own, collected when the first asks for it."""
        run = self.job.experiment.saliency
        for kind in () if scorer is None or scorer.tried is None else scorer.tried.kinds(self.job.experiment.unit):
            try:
                self._signal(kind)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{kind} saliency, which {TRIALS} needs: {error}") from error
        return self._signal(run if scorer is None else scorer.saliency(run))

    def _signal(self, kind: str) -> Saliency:
        """A kind of saliency of the dense network, collected once."""
        if kind not in self._saliencies:
            # Collected again on a GPU it may differ in a bit, and would not be that of the rows there are.
            lasting = self.job.keep or self.device.type != "cpu"
            made = self._kept(kind) if lasting and SIGNALS[kind].collect is not None else self._collected(kind)
            self._agree(f"{kind} saliency", made.digest, {row.saliency_hash for row in self.job.known if row.saliency == kind})
            self._saliencies[kind] = made
            self._done += self.work.collecting([kind])
        return self._saliencies[kind]

    def _kept(self, kind: str) -> Saliency:
        """What an earlier job of this seed collected, or what is collected now, for a later one."""
        path = kept_path(self.job.folder, self.job.seed, kind, self.checkpoint.hash)
        found = kept(path)
        if found is not None:
            saliency, unsure = found
            self._unsure |= {kind} if unsure else set()
            return saliency.bind(self.model)
        made = self._collected(kind)
        keep(path, made, kind in self._unsure)
        return made

    def _collected(self, kind: str) -> Saliency:
        unit, loss = self.job.experiment.unit, getattr(self.task, "loss", None)
        if SIGNALS[kind].collect is None:
            return saliency_of(self.model, kind, (), unit)

        def collect(_: bool) -> tuple[Saliency, Digested | None]:
            with seeded(self._batches_draws):
                passing = Digested(self.task.calibration(self.job.seed)) if self.recipe.task.calibration is None else None
                batches = self.task.calibration(self.job.seed) if passing is None else passing
                return saliency_of(self.model, kind, batches, unit, loss), passing

        (found, passing), unsure = strictly(collect)
        self._unsure |= {kind} if unsure else set()
        if passing is not None and passing.whole and passing.digest != self._calibration_hash:
            self.flags.add(OTHER_BATCHES)
        return found

    def _agree(self, what: str, made: str, stored: set[str]) -> None:
        if stored - {made}:
            raise ConflictError(
                f"the {what} of seed {self.job.seed} differs from that of its rows in the store: "
                "--force recomputes them, or choose another --out"
            )

    # -- once a cell ------------------------------------------------------------------------------------------

    def _attempt(self, cell: Cell) -> bool:
        try:
            if self._spoilt:
                self.model, self._spoilt = self._fresh_model(), False
            self._relaxed = False
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                row = self._repeat(cell) if cell.repeat else self._cell(cell)
            if isinstance(row, CellRow) and (self._relaxed or row.saliency in self._unsure or warned(caught)):
                row = dataclasses.replace(row, flags=sorted({*row.flags, NONDETERMINISTIC}))
        except (Exception, SystemExit) as error:
            _raise_if_fatal(error)
            self._fail(cell, error)
            _raise_if_lost(error)
            full, good = is_out_of_memory(error), False
        else:
            self.inbox.post(row)
            full, good = False, True
        if full:  # now that nothing of the cell is held: the next one begins with all that is free
            torch.cuda.empty_cache()
        self._done += self.work.cell + self.work.trial * cell.trials
        self._tell("pruning", self._work_done)
        return good

    def _measured(self, cell: Cell, evaluation: Evaluation, begun: float) -> dict[str, Any]:
        """What rows of cells and of repeats have in common."""
        return {
            "seed": cell.seed,
            "scorer": cell.scorer_name,
            "unit": self.job.experiment.unit,
            "pool": self.job.experiment.pool,
            "sparsity": cell.sparsity,
            **{name: getattr(evaluation, name) for name in MEASURED},
            "checkpoint_hash": self.checkpoint.hash,
            "wall_seconds": time.perf_counter() - begun,
            "finished": now(),
        }

    def _cell(self, cell: Cell) -> CellRow:
        saliency, scorer = self._saliency_of(cell.scorer), cell.scorer
        begun = time.perf_counter()
        if scorer is None:
            evaluation, evaluated_as = self._evaluate(self.model), DENSE
            self._compare_seeds(self.model, evaluation)
            mask: dict[str, Any] = {
                "mask_hash": None, "realised_sparsity": 0.0, "weight_sparsity": 0.0, "layers": [], "flags": [],
            }  # fmt: skip
        else:
            evaluation, evaluated_as, report, overlap, search = self._pruned(scorer, cell.sparsity)
            mask = {
                "jaccard": overlap,
                "search": search,
                "fingerprint": digest(scorer.fingerprint),
                "mask_hash": report.mask_hash,
                "realised_sparsity": report.sparsity,
                "weight_sparsity": report.weight_sparsity if isinstance(report, ChannelReport) else report.sparsity,
                "layers": [[layer.name, layer.total, layer.pruned] for layer in report.layers],
                "flags": list(report.flags),
            }
            if scorer.tried is None and self.job.experiment.pool == "native" and report.pool != "global":
                mask["flags"].append(f"pool {report.pool}")
            elif scorer.own_pool is not None:
                mask["flags"].append(f"pool {scorer.own_pool}")
            if self.job.experiment.unit == "weight" and self._zero_before(report) >= cell.sparsity:
                mask["flags"].append(AS_SPARSE)
            if scorer.searched is not None:
                mask["flags"] += self._search_flags
        mask["flags"] = sorted({*mask["flags"], *self.flags})
        return CellRow(
            cell_key=cell.key,
            kappa=scorer.kappa if scorer else None,
            role=scorer.role if scorer else DENSE,
            form=self.job.experiment.form,
            saliency=saliency.kind,
            evaluated_as=evaluated_as,
            data_order_hash=self.recipe.streams(self.job.seed).data_order_hash,
            calibration_hash=self._calibrated_by(scorer),
            saliency_hash=saliency.digest,
            provenance={**self.job.provenance, **self._facts},
            **self._measured(cell, evaluation, begun),
            **mask,
        )

    def _pruned(self, scorer: ScorerInfo, sparsity: float) -> tuple[Evaluation, str, PruningReport, float, dict[str, Any] | None]:
        """Mask and evaluate; a mask that was evaluated before at this seed is not evaluated again."""
        search: dict[str, Any] | None
        if scorer.searched is None:
            masks, report = self._masks(self.model, self._saliency_of(scorer), scorer, sparsity)
            search = None if scorer.tried is None else scorer.tried.told(report)
        else:
            masks, report, search = self._searched(scorer, sparsity)
        place = sparsity, report.mask_hash
        if place not in self.evaluated:
            self.evaluated[place] = self._evaluation(self.model, masks), scorer.name
        evaluation, evaluated_as = self.evaluated[place]
        return evaluation, evaluated_as, report, self.masker.overlap(self.model, masks, scorer, sparsity), search

    # -- once a searched cell ---------------------------------------------------------------------------------

    def _searched(self, scorer: ScorerInfo, sparsity: float) -> tuple[dict[str, torch.Tensor], PruningReport, dict[str, Any]]:
        """The mask that a search chose within the scorer's budget, and what the row says of it."""
        asked, reference, saliency = scorer.searched, self.job.reference, self._saliency_of(scorer)
        assert asked is not None
        assert reference is not None
        self._know_held_out()
        plain = self._plain_point(scorer, sparsity) if asked.kind == ADAPTIVE else None
        choice = self.searcher.choice(self.model, saliency, self.checkpoint.hash, scorer, sparsity, plain, self._examples)
        self._relaxed |= choice.nondeterministic
        masks, report = self._searched_masks(saliency, scorer, sparsity, choice.fusion or MAGNITUDE)
        if report.mask_hash != choice.mask_hash:
            raise ConflictError(f"the weights that {scorer.name} chose make another mask now than when they were searched")
        against = self._plain_point(reference, sparsity)
        beside = {"scorer": reference.name, "held_out": against.held_out, "held_out_loss": against.held_out_loss}
        return masks, report, {**choice.told, "reference": beside}

    def _plain_point(self, scorer: ScorerInfo, sparsity: float) -> Point:
        """What one mask does on the held-out examples: the reference's, or magnitude's for a searched scorer."""
        name = MAGNITUDE if scorer.searched is not None else scorer.name
        if (name, sparsity) not in self._plain:
            saliency, before, self._relaxed = self._saliency_of(scorer), self._relaxed, False
            if scorer.searched is None:
                masks, report = self._masks(self.model, saliency, scorer, sparsity)
            else:
                masks, report = self._searched_masks(saliency, scorer, sparsity, MAGNITUDE)
            with masked(self.model, masks):
                found, relaxed = self._held_out(self.model)
            point = Point((), self.searcher.score(found), report.mask_hash, found.result, found.loss)
            self._plain[name, sparsity] = point, relaxed or self._relaxed
            self._relaxed = before
        point, relaxed = self._plain[name, sparsity]
        self._relaxed |= relaxed
        return point

    def _know_held_out(self) -> None:
        """Look once, by the dense network, at the held-out examples of a user's task.

        Refused are those that `evaluate` uses, of which a search must see none, and others than rows of the seed were searched
        on. The image tasks hold out what they do not evaluate on, and have their data in their keys.
        """
        if self._looked or self.recipe.task.calibration is not None:
            return
        self._examples, held, found = self._looked_at()
        tested = Met()
        evaluated = self._watched(tested, self._evaluate)
        share = held.met_again(tested)
        if is_one_set(held, tested, found, evaluated):
            raise SearchError(
                "held_out uses the examples of evaluate: a search would see what it is measured on. Hold out others"
            )
        if share.both:
            self._search_flags.add(SEEN_IN_SEARCH)
            self.inbox.note(
                f"seed {self.job.seed}: {share.both:,} of {share.one:,} different held-out examples are those of evaluate: rows "
                "of searched scorers are flagged"
            )
        for row in self.job.known:
            stored = None if row.search is None else HeldOutFacts.read(row.search.get("examples"))
            if stored is not None and row.search is not None and self._are_others(stored, row.search["held_out_n"]):
                raise ConflictError(
                    f"held_out gives other examples, or other numbers on them, than when rows of seed {self.job.seed} were "
                    "searched: --force recomputes them, or choose another --out"
                )
        self._looked = True

    def _looked_at(self) -> tuple[HeldOutFacts, Met, Evaluation]:
        held = Met()
        found, relaxed = self._watched(held, self._held_out)
        self._n_held = found.n
        return HeldOutFacts.of(held.digest, None if relaxed else found, self._facts), held, found

    def _watched(self, met: Met, evaluate: Callable[[nn.Module], T]) -> T:
        """What `evaluate` gives of the dense network, with what that is fed added.

        Some code takes no network that is watched, such as torch's compilers. So where it raises, it is asked again of one that
        is not, before the task is to blame; of a fresh one, since nobody knows how this one was left.
        """
        with contextlib.suppress(Exception), met.watching(self.model):
            return evaluate(self.model)
        met.forget()
        self.model, self._spoilt = self._fresh_model(), False
        return evaluate(self.model)

    def _are_known(self, kept: Kept) -> bool:
        """Whether kept points were found on the examples that are held out now; image tasks have theirs in the key."""
        if kept.examples is None or self._examples is None:
            return kept.examples is self._examples
        return not self._are_others(kept.examples, kept.n)

    def _are_others(self, kept: HeldOutFacts, n: int | None) -> bool:
        """Whether the held-out examples are not the `n` kept ones; what is another each time is no sign of that."""
        assert self._examples is not None
        if self._examples.are_others(kept):
            self._examples = self._examples.steady(self._looked_at()[0])
        if self._examples.may_be_others(kept) and n == self._n_held and not self._doubted:
            self._doubted = True
            self.inbox.note(
                f"seed {self.job.seed}: held_out feeds the network other numbers than on the device of an earlier search: of "
                "other examples, or of the same but for the last bit. It goes on from there; --force searches from the beginning"
            )
        return n != self._n_held or self._examples.are_others(kept)

    def _held_out(self, model: nn.Module) -> tuple[Evaluation, bool]:
        """Have the task evaluate a network on the held-out examples, at the same draws for every network of the seed.

        Also gives whether something in it has no deterministic form.
        """
        model.eval()
        self._spoilt = model is self.model or self._spoilt
        with contextlib.ExitStack() as guards:
            if self.recipe.task.calibration is None:  # a user's code; the image tasks draw nothing and write nothing
                guards.enter_context(left_as_it_was(model, "it was evaluated on held-out examples: held_out() must"))
                guards.enter_context(seeded(digest({"seed": self.job.seed, "for": "held out"})))
            guards.enter_context(torch.no_grad())
            handed, relaxed = strictly(lambda _: self.task.held_out(model, self.job.seed))
        try:
            found = evaluation_of(handed, self.metric, "held_out")
        except FloatingPointError as error:
            raise SearchError(f"held_out gave no finite number: {error}") from None
        if model is self.model:
            self._spoilt = False
        return found, relaxed

    def _tell_search(self, place: tuple[str, float], found: int, wanted: int) -> None:
        self._points[place] = found
        if found < wanted:
            self._tell(f"searching {found}/{wanted}", self._work_done)

    @property
    def _work_done(self) -> float:
        return self._before + self._done + self.work.point * sum(self._points.values())

    def _masks(
        self, model: nn.Module, saliency: Saliency, scorer: ScorerInfo, sparsity: float
    ) -> tuple[dict[str, torch.Tensor], PruningReport]:
        def make(_: bool) -> tuple[dict[str, torch.Tensor], PruningReport]:
            if scorer.tried is None:
                return self.masker.masks(model, saliency, scorer, sparsity)
            return self._tried(model, scorer, scorer.tried, sparsity)

        found, relaxed = strictly(make)
        self._relaxed |= relaxed
        return found

    def _tried(
        self, model: nn.Module, scorer: ScorerInfo, tried: Tried, sparsity: float
    ) -> tuple[dict[str, torch.Tensor], PruningReport]:
        """The mask that trials choose on the seed's calibration batches, by the seed's own signals."""
        draws, loss = self._batches_draws, getattr(self.task, "loss", None)
        with seeded(draws):
            passing = Digested(self.task.calibration(self.job.seed))
            batches = list(passing)
        if self.recipe.task.calibration is None and passing.digest != self._calibration_hash:
            self.flags.add(OTHER_BATCHES)

        def same_draws(network: nn.Module, batch: Any) -> torch.Tensor:
            assert loss is not None
            with seeded(draws):  # for every mask, where a loss draws
                found: torch.Tensor = loss(network, batch)
                return found

        standing, given = read_for_trials(model, batches, None if loss is None else same_draws)
        unit = self.job.experiment.unit
        kinds = tried.kinds(unit)
        self._relaxed |= bool(self._unsure.intersection(kinds))
        signals = {kind: self._signal(kind).bind(standing) for kind in kinds}
        how = Trials(given, scorers=tried.of_unit(unit), pools=tried.pools, collected=signals)
        return self.masker.tried(model, standing, scorer, sparsity, how)

    def _searched_masks(
        self, saliency: Saliency, scorer: ScorerInfo, sparsity: float, by: Scorer | str
    ) -> tuple[dict[str, torch.Tensor], PruningReport]:
        found, relaxed = strictly(lambda _: self.masker.searched(self.model, saliency, scorer, sparsity, by))
        self._relaxed |= relaxed
        return found

    def _zero_before(self, report: PruningReport) -> float:
        """The share of the weights to be pruned that are 0 in the dense network: below it there is nothing to choose."""
        if self._zeros is None:
            named = dict(self.model.named_parameters())
            weights = [named[layer.name] for layer in report.layers if layer.name in named]
            total = sum(weight.numel() for weight in weights)
            counts = [torch.count_nonzero(weight.detach()) for weight in weights]  # fetched together
            self._zeros = 1 - (int(torch.stack(counts).sum()) if counts else 0) / max(1, total)
        return self._zeros

    def _calibrated_by(self, scorer: ScorerInfo | None) -> str | None:
        """Hash of the batches that a scorer's saliency was measured on; None where it was measured on none."""
        own = scorer is not None and scorer.signal is not None
        return self._calibration_hash if (scorer.calibrated if own else self.recipe.calibrated) else None  # type: ignore[union-attr]

    def _evaluation(self, model: nn.Module, masks: dict[str, torch.Tensor]) -> Evaluation:
        with masked(model, masks):
            found = self._evaluate(model)
            self._compare_seeds(model, found)
            return found

    def _evaluate(self, model: nn.Module, seed: int | None = None) -> Evaluation:
        """Have the task evaluate a network, at the same draws for every network of the seed (default: the job's)."""
        seed = self.job.seed if seed is None else seed
        self._spoilt = model is self.model  # until it is seen to be as it was

        def evaluate(_: bool) -> Evaluation:
            model.eval()
            draws = seeded(digest({"seed": seed, "for": "evaluation"}))
            with left_as_it_was(model, "it was evaluated: evaluate() must"), draws, torch.no_grad():
                return evaluation_of(self.task.evaluate(model, seed), self.metric)

        found, unsure = strictly(evaluate)
        self._spoilt = False
        if unsure:  # of every mask, then
            self.flags.add(NONDETERMINISTIC)
        if any(module.training for module in model.modules()):
            self.flags.add(IN_TRAINING)
        return found

    def _refuse_other_evaluation(self) -> None:
        """Refuse rows beside those of an evaluation on other data, of which no key knows: the dense network is evaluated again.

        Numbers that are others each time, or on another device, are no sign of other data.
        """
        stored = next((row for row in self.job.known if row.scorer == DENSE), None)
        if stored is None or self.recipe.task.calibration is not None or NONDETERMINISTIC in stored.flags:
            return
        if any(stored.provenance.get(name) != value for name, value in self._facts.items()):
            return
        before = Evaluation(*(getattr(stored, name) for name in MEASURED))
        found = self._evaluate(self.model)
        if found != before and found == self._evaluate(self.model):
            raise ConflictError(
                f"evaluate gives {shown(found.result, self.metric)} for the dense network of seed {self.job.seed}, and gave "
                f"{shown(before.result, self.metric)} when its rows were stored: --force recomputes them, or choose another --out"
            )

    def _compare_seeds(self, model: nn.Module, found: Evaluation) -> None:
        """Evaluate one network of the job as at another seed of the run, and stamp rows where its examples have other numbers.

        They are others there, then, or in another order, or chance is in them: no test may pair them across seeds. Numbers that
        are all one show no order.
        """
        other = next((seed for seed in self.job.experiment.seeds if seed != self.job.seed), None)
        one = found.correct in (0, found.n) if found.examples is None else len(set(unpacked(found.examples).tolist())) == 1
        if self._compared or one or other is None or found.n is None or self.recipe.task.calibration is not None:
            return
        self._compared = True
        try:
            again = self._evaluate(model, other)
        except (Exception, SystemExit) as error:  # that seed's own failure, which it meets itself
            _raise_if_fatal(error)
            _raise_if_lost(error)
            return
        if (again.n, again.bits, again.examples) != (found.n, found.bits, found.examples):
            self.flags.add(OTHER_EXAMPLES)

    def _repeat(self, cell: Cell) -> RepeatRow:
        """Evaluate once more, with nothing shared: the model is loaded again and its mask made again."""
        if cell.scorer is None:
            raise ValueError("the dense row is not repeated")
        begun = time.perf_counter()
        model = self._fresh_model()
        masks, report = self._masks(model, self._saliency_of(cell.scorer).bind(model), cell.scorer, cell.sparsity)
        measured = self._measured(cell, self._evaluation(model, masks), begun)
        return RepeatRow(repeat_key=cell.key, mask_hash=report.mask_hash, **measured)

    def _fail_all(self, error: BaseException) -> int:
        _raise_if_fatal(error)
        for cell in self.job.cells:
            self._fail(cell, error)
        _raise_if_lost(error)
        return len(self.job.cells)

    def _fail(self, cell: Cell, error: BaseException) -> None:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        if self.sharing > 1 and is_out_of_memory(error):
            line = f"{self.sharing} seeds at a time are too many for this GPU: fewer --workers with --retry-failed ({line[:300]})"
        trace = "".join(traceback.format_exception(error))
        kind = "repeat" if cell.repeat else "cell"
        self.inbox.post(FailureRow(cell.key, kind, cell.seed, cell.scorer_name, cell.sparsity, line[:500], trace, now()))

    def _tell(self, phase: str, work: float) -> None:
        if time.monotonic() - self._told >= self.job.tell_seconds or phase.split()[0] != self._phase:
            self._told, self._phase = time.monotonic(), phase.split()[0]
            self.inbox.tell(Progress(self.job.seed, phase, work, self.job.part))


def _raise_if_fatal(error: BaseException) -> None:
    """The disk, the data or the configuration is at fault: no cell is to blame, and going on cannot help.

    A file that the user's own code may not read says nothing of the run's folder.
    """
    if isinstance(error, ConfigError | MismatchError) or (is_storage_failure(error) and not user_code.is_raised_by(error)):
        raise error


def _raise_if_lost(error: BaseException) -> None:
    """The card is lost to this process: what it did last has failed, and what comes next is for another process."""
    if is_device_lost(error):
        raise DeviceLostError(" ".join(str(error).split())[:300]) from error
