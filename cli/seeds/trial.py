"""A trial of a task of the user's own: each step once, by the code that runs it in earnest, and what was found."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sics_analysis.results import plural
from sics_cli.base import user_code
from sics_cli.base.errors import SicsError
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers
from sics_cli.seeds.dense import DenseNetwork
from sics_cli.seeds.findings import ANY_DELTA, FAILED, GOOD, REMARK, Finding, Times
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.masks import Masks, seeded
from sics_cli.seeds.met import Met, is_one_set
from sics_cli.seeds.saliency import ANOTHER_LOSS, loss_of_batch, saliency_of
from sics_cli.seeds.seed_run import IN_TRAINING, SeedRun
from sics_cli.settings.config import PATTERNS
from sics_cli.store.inbox import Note
from sics_cli.store.run_folder import checkpoint_path
from sics_cli.tasks.batches import Digested
from sics_cli.tasks.checkpoints import load_half_trained, save_half_trained, state_hash
from sics_cli.tasks.own_task import from_instance
from sics_cli.tasks.results import Evaluation, ResultError
from sics_cli.tasks.task import Metric, margin_doubt, shown
from sics_cli.tasks.training import HalfTrained, run
from sics_plugin import coverage, masked, prunable_parameters
from sics_plugin.saliency.kinds import SIGNALS

#: Batches that a trial's saliency is collected on.
BATCHES = 2
#: Sparsity at which another result is expected than the dense network's.
SPARSE = 0.9
#: A network that takes longer to make is made for a second seed only where that is asked for.
CHEAP_SECONDS = 10.0
Steps = Iterator[Finding]
_DRAW = "Draw from torch, numpy or random, which are seeded, or from the seed"


class Trial(SeedRun):
    """One seed of a task. `epochs` is how many its `trainer` trains in earnest: here it is one, and `thorough` trains a second
    seed too. `kinds` are the saliencies of the run: its own and its scorers'."""

    def __init__(self, job: SeedJob, device: torch.device, epochs: int, kinds: tuple[str, ...], thorough: bool) -> None:
        super().__init__(job, device)
        self._compared = True  # by a step of its own
        self._whole, self._kinds, self._thorough = epochs, kinds, thorough
        self._training = self._saliency_seconds = self._cell_seconds = 0.0
        self._signals: dict[str, float] = {}
        self._first: list[Any] = []
        self._calibrated_on = Met()
        self._batches = 0
        self._fed = Met()
        self._evaluate_seconds = self._held_out_seconds = 0.0
        self._found: Evaluation | None = None
        self._sparse: tuple[Masks, Evaluation] | None = None  # of which more is wrong, so that an order shows

    def findings(self) -> Steps:
        """Go through the steps; one that needs what another did not give is left out."""
        done: set[str] = set()
        heard: set[str] = set()
        steps: tuple[tuple[str, Callable[[], Steps], tuple[str, ...]], ...] = (
            ("trainer" if hasattr(self.task, "trainer") else "network", self._network, ()),
            ("calibration", self._calibration, ()),
            ("loss", self._loss, ("network", "calibration")),
            ("saliency", self._collect, ("network", "calibration", "loss")),
            ("evaluate", self._evaluate_twice, ("network",)),
            ("held out", self._evaluate_held_out, ("evaluate",)),
            ("pruned", self._prune, ("evaluate", "saliency")),
            ("other seed", self._other_seed, ("evaluate",)),
            ("again", self._again, ("network",)),
            ("in Python", self._python, ()),
        )
        for name, step, needs in steps:
            if set(needs) - done:
                continue
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    found = list(step())
            except (Exception, SystemExit) as error:
                yield failure(name, error)
                continue
            yield from found
            said = dict.fromkeys(_one_line(str(warning.message)) for warning in caught if _is_telling(warning))
            yield from (Finding(REMARK, name, text) for text in said if text not in heard)
            heard.update(said)
            if not any(finding.mark == FAILED for finding in found):
                done.add("network" if name == "trainer" else name)

    @property
    def times(self) -> Times | None:
        """What was measured; None before a pruned network was evaluated."""
        if not self._cell_seconds:
            return None
        stored = len(self._found.examples or b"") if self._found is not None else 0
        masking = max(0.0, self._cell_seconds - self._evaluate_seconds)
        point = masking + self._held_out_seconds if self._held_out_seconds else 0.0
        return Times(self._training, self._saliency_seconds, self._cell_seconds, self._signals, stored, point)

    def _network(self) -> Steps:
        self.checkpoint = self._dense_network.checkpoint()
        self.model = self._fresh_model()
        seconds = self.checkpoint.record.seconds
        self._training = seconds * self._whole
        name = "trainer" if hasattr(self.task, "trainer") else "network"
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        own = self.masker.params(self.model)
        pairs = prunable_parameters(self.model) if own is None else own
        took = (
            f"one of {plural(self._whole, 'epoch')} in {_seconds(seconds)}"
            if name == "trainer"
            else f"made in {_seconds(seconds)}"
        )
        said = f"{type(self.model).__name__} of {weights:,} parameters, {took}"
        layers = f"{plural(len(pairs), 'layer')} can be pruned"
        yield Finding(GOOD, name, f"{said}; {layers}{' (targets)' * (own is not None)}: {coverage(self.model, pairs)}")
        for path, letter in self.inbox.letters():
            if isinstance(letter, Note):
                yield Finding(REMARK, name, letter.text)
                self.inbox.remove(path)
        if self.checkpoint.record.nondeterministic:
            yield Finding(REMARK, name, "training uses operations without a deterministic form: rows will say so")

    def _calibration(self) -> Steps:
        wanted = [kind for kind in self._kinds if SIGNALS[kind].collect is not None and SIGNALS[kind].data]
        if not wanted:
            yield Finding(GOOD, "calibration", "not asked for: no scorer of this run reads batches")
            return
        digests: list[str] = []
        counts: list[int] = []
        begun = time.perf_counter()
        for again in (False, True):
            with seeded(self._batches_draws):
                passing, count = Digested(self.task.calibration(self.job.seed)), 0
                for batch in passing:
                    count += 1
                    if not again:
                        self._calibrated_on.add(batch)
                    if not again and count <= BATCHES:
                        self._first.append(batch)
            digests.append(passing.digest)
            counts.append(count)
        self._saliency_seconds = time.perf_counter() - begun  # a run hands batches over twice: for the digest, and to collect
        self._batches, self._calibration_hash = counts[0], digests[0]
        if counts[0] == 0:
            yield Finding(FAILED, "calibration", f"calibration({self.job.seed}) gave no batches")
        elif counts[1] == 0:
            yield Finding(
                FAILED, "calibration", "gave no batches when asked again: make a new iterator in the method, or give a list"
            )
        else:
            text = f"{counts[0]} batch{'es' * (counts[0] != 1)}, the first {form(self._first[0])}"
            same = digests[0] == digests[1]
            yield Finding(GOOD, "calibration", text + "; the same when asked again" * same)
            if not same:
                yield Finding(
                    REMARK, "calibration",
                    f"calibration({self.job.seed}) gave other batches when asked again: rows will be stamped so. {_DRAW}",
                )  # fmt: skip

    def _loss(self) -> Steps:
        if not self._first or not any(SIGNALS[kind].of_loss for kind in self._kinds):
            return
        own = getattr(self.task, "loss", None)
        value = loss_of_batch(self.model, self._first[0], own)
        found = saliency_of(self.model, "gradient", self._first[:1], "weight", own)
        pairs = self.masker.params(self.model) or prunable_parameters(self.model)
        values = [found.tensor(module, name) for module, name in pairs]
        total, none = sum(v.numel() for v in values), sum(int((v == 0).sum()) for v in values)
        whose = "the task's own" if own is not None else "cross-entropy, the default"
        reached = "every prunable weight has a gradient" if not none else f"{none:,} of {total:,} prunable weights have none"
        all_of_it = none == total
        mark = FAILED if all_of_it else GOOD
        instead = f": {ANOTHER_LOSS}" if all_of_it and own is None else ""
        yield Finding(mark, "loss", f"{value:.4g} on the first batch ({whose}); {reached}{instead}")

    def _collect(self) -> Steps:
        for kind in self._kinds:
            begun = time.perf_counter()
            unit, loss = self.job.experiment.unit, getattr(self.task, "loss", None)
            with seeded(self._batches_draws):
                found = saliency_of(self.model, kind, self._first, unit, loss)
            seconds = time.perf_counter() - begun
            scaled = SIGNALS[kind].collect is not None and SIGNALS[kind].data and len(self._first) > 0
            seconds *= self._batches / len(self._first) if scaled else 1.0
            if kind == self.job.experiment.saliency:
                self._saliencies[kind] = found
                self._saliency_seconds += seconds
                on = f"on {len(self._first)} of {plural(self._batches, 'batch', 'batches')}" if scaled else "of the weights alone"
                yield Finding(GOOD, "saliency", f"{kind} {on}; all of it takes {_seconds(seconds)}")
            else:
                self._signals[kind] = seconds
        if self._signals:
            listed = ", ".join(f"{kind} {_seconds(seconds)}" for kind, seconds in self._signals.items())
            yield Finding(GOOD, "saliency", f"of the scorers' own: {listed}")

    def _evaluate_twice(self) -> Steps:
        begun = time.perf_counter()
        first = self._evaluate(self.model)
        seconds = time.perf_counter() - begun
        fed = self._fed
        again = self._watched(fed, self._evaluate)
        self._found, self._evaluate_seconds = first, seconds
        value = shown(first.result, self.metric)
        same = first == again
        mean = "their mean " if first.n is not None and self.metric.of is None else ""
        text = f"{examples(first)}: {mean}{value} in {_seconds(seconds)}; the network is left as it was"
        yield Finding(GOOD, "evaluate", text + "; the same when asked again" * same)
        if not same:
            yield Finding(
                REMARK, "evaluate",
                f"gave other numbers when asked again ({shown(again.result, self.metric)}): the noise floor of a run will "
                f"not be 0. {_DRAW}",
            )  # fmt: skip

        if IN_TRAINING in self.flags:
            yield Finding(
                REMARK, "evaluate",
                "left the network in training mode: is dropout active in what is measured? Rows will be stamped so",
            )  # fmt: skip
        share = fed.handed_over_in(self._calibrated_on)
        if share.both:
            yield Finding(
                REMARK, "evaluate",
                f"the network is fed {share.both:,} of the {share.other:,} different examples that calibration hands over: its "
                "saliency has seen what it is evaluated on. Calibrate on others",
            )  # fmt: skip
        margin = self.job.experiment.margin
        if doubt := margin_doubt(self.metric, margin, [first.result]) or example_doubt(self.metric, margin, first):
            yield Finding(REMARK, "metric", doubt)

    def _evaluate_held_out(self) -> Steps:
        """What a search would be scored by, and whether it is what `evaluate` measures on."""
        if not self.recipe.task.holds_out:
            return
        begun = time.perf_counter()
        first, _ = self._held_out(self.model)
        self._held_out_seconds = time.perf_counter() - begun
        fed = Met()
        again, _ = self._watched(fed, self._held_out)
        by = "minus its loss" if first.loss is not None else self.metric.name
        text = f"{examples(first)}: {shown(first.result, self.metric)} in {_seconds(self._held_out_seconds)}; searches go by {by}"
        yield Finding(GOOD, "held out", text + "; the same when asked again" * (first == again))
        if first != again:
            yield Finding(REMARK, "held out", f"gave other numbers when asked again: a search follows chance. {_DRAW}")
        share = fed.met_again(self._fed)
        same = self._found is not None and is_one_set(fed, self._fed, first, self._found)
        if same or share.both:
            how = f"{share.both:,} of the {share.one:,}" if share.both else "by what the network does on each, all"
            yield Finding(
                REMARK, "held out",
                f"{how} different examples that the network is fed are those of evaluate: a search would see what it is measured "
                f"on. Hold out others: a run {'refuses' if same else 'flags'} searched scorers",
            )  # fmt: skip

    def _prune(self) -> Steps:
        asked = self.job.experiment
        free = asked.unit == "weight" and asked.pool not in PATTERNS
        sparsity = SPARSE if free else max(asked.sparsities)
        info = self._magnitude()
        begun = time.perf_counter()
        masks, report = self.masker.masks(self.model, self._saliencies[asked.saliency], info, sparsity)
        found = self._evaluation(self.model, masks)
        self._cell_seconds = time.perf_counter() - begun
        assert self._found is not None
        self._sparse = masks, found
        text = f"S = {sparsity:g} by magnitude: {shown(found.result, self.metric)}, {100 * report.sparsity:.1f} % removed"
        if found == self._found:
            yield Finding(
                REMARK, "pruned",
                f"{text}: to the bit what the dense network gives. Does evaluate() use the network that it is given, and are the "
                "pruned weights the ones that it uses?",
            )  # fmt: skip
        else:
            yield Finding(GOOD, "pruned", text)

    def _magnitude(self) -> ScorerInfo:
        return next(info for info in describe_scorers(["magnitude"], self.job.experiment.saliency) if info.name == "magnitude")

    def _other_seed(self) -> Steps:
        seed = self.job.seed + 1
        assert self._found is not None
        masks, first = self._sparse or ({}, self._found)
        with masked(self.model, masks):
            found, again = self._evaluate(self.model, seed), self._evaluate(self.model)
        if found.n != self._found.n:
            yield Finding(
                FAILED, "other seed",
                f"evaluate(network, {seed}) gave {examples(found)}, evaluate(network, {self.job.seed}) {examples(self._found)}: "
                "every seed is to be evaluated on the same examples",
            )  # fmt: skip
        elif found.n is not None and found != first and again == first:
            yield Finding(
                REMARK, "other seed",
                f"evaluate(network, {seed}) gave this network other numbers for the examples than "
                f"evaluate(network, {self.job.seed}): where they are others, in another order, or chance is in them, a run makes "
                "no test on examples",
            )  # fmt: skip
        if not self._affordable:
            if found.n == self._found.n:
                yield Finding(GOOD, "other seed", f"as many examples at seed {seed}; its network is made with --thorough")
            return
        network = DenseNetwork(self.inbox, self.recipe, self.task, seed, self.device).checkpoint()
        if network.hash == self.checkpoint.hash:
            yield Finding(
                REMARK, "other seed",
                f"seeds {self.job.seed} and {seed} have one and the same network: as replicates they differ by calibration and "
                "random scorers alone",
            )  # fmt: skip
        elif found.n == self._found.n:
            yield Finding(GOOD, "other seed", f"another network at seed {seed}, evaluated on as many examples")

    def _again(self) -> Steps:
        """Whether a checkpoint that is lost can be made again."""
        if not self._affordable:
            return
        checkpoint_path(self.job.folder, self.job.seed, self.recipe.dense_key(self.job.seed)).unlink()
        if self._dense_network.checkpoint().hash != self.checkpoint.hash:
            yield Finding(
                REMARK, "again",
                f"seed {self.job.seed} gave another network when asked again: a lost checkpoint cannot be made again. {_DRAW}",
            )  # fmt: skip
        else:
            yield Finding(GOOD, "again", f"the same network of seed {self.job.seed} when asked again")
        if hasattr(self.task, "trainer") and self._whole > 1:
            yield from self._resume()

    def _resume(self) -> Steps:
        """Two epochs in one go and in two parts, by way of the file that a part leaves, make one network."""
        seed, path = self.job.seed, self.job.folder / "half.safetensors"
        one, two, three = (self._dense_network.trainer() for _ in range(3))
        run(one, 2, seed)
        half = run(two, 2, seed, until=1)
        assert isinstance(half, HalfTrained)
        save_half_trained(path, "", half)
        run(three, 2, seed, begin=load_half_trained(path, ""))
        same = state_hash(one.network.state_dict()) == state_hash(three.network.state_dict())
        if same:
            yield Finding(GOOD, "resume", "two epochs in one go and in two parts give the same network")
        else:
            yield Finding(
                FAILED, "resume",
                "two epochs in two parts give another network than in one go: state() leaves out what the next epoch depends "
                "on, or load() does not take it (an optimiser? a schedule?)",
            )  # fmt: skip

    @property
    def _affordable(self) -> bool:
        """Whether networks are made again, and of another seed."""
        return self._thorough or self.checkpoint.record.seconds <= CHEAP_SECONDS

    def _python(self) -> Steps:
        name = type(self.task).__name__
        try:
            from_instance(self.task)
        except SicsError as error:
            yield Finding(REMARK, "in Python", f"{error} (sics-run replicate --task takes it as it is)")
        else:
            yield Finding(GOOD, "in Python", f"replicate({name}(...)) can send it to workers")


def failure(step: str, error: BaseException) -> Finding:
    """What stopped a step: in the user's own code with the traceback, else in our words."""
    trace = user_code.trimmed("".join(traceback.format_exception(error)))
    said = str(error) if isinstance(error, SicsError | ResultError) and str(error) else f"{type(error).__name__}: {error}"
    return Finding(FAILED, step, _one_line(said), trace)


def examples(found: Evaluation) -> str:
    """What an evaluation is made of.

    >>> examples(Evaluation(None, None, None, None, 1.5))
    'one number'
    """
    if found.n is None:
        return "one number"
    return f"{found.n:,} examples, {'right or wrong' if found.bits is not None else 'a float each'}"


def example_doubt(metric: Metric, delta: float, found: Evaluation) -> str | None:
    """What to ask of a δ that is less than one right answer; None where it is more, or was given by nobody.

    >>> print(example_doubt(Metric("accuracy"), 0.1, Evaluation(1, 2, None, b"\\x80")))
    one of 2 examples is 50 points, more than δ = 0.1: no network can show so little. Take more examples, or a larger δ
    >>> example_doubt(Metric("accuracy"), 50, Evaluation(1, 2, None, b"\\x80"))
    """
    if found.bits is None or found.n is None or delta <= ANY_DELTA:
        return None
    one = (100 if metric.in_points else 1) / found.n
    if one <= delta * (1 + 1e-9):
        return None
    return (
        f"one of {found.n} examples is {one:.2g} {metric.unit}, more than δ = {delta:g}: no network can show so little. Take "
        "more examples, or a larger δ"
    )


def form(batch: object) -> str:
    """What a batch is made of, in short.

    >>> form((torch.ones(8, 3), [1, 2])), form({"x": np.ones(2)})
    ('(float32 8×3, list of 2)', '{x: float64 2}')
    """
    if isinstance(batch, torch.Tensor | np.ndarray):
        shape = "×".join(map(str, batch.shape)) or "scalar"
        return f"{str(batch.dtype).removeprefix('torch.')} {shape}"
    if isinstance(batch, dict) or hasattr(batch, "items"):
        return "{" + ", ".join(f"{name}: {form(value)}" for name, value in islice(batch.items(), 8)) + "}"
    if isinstance(batch, tuple) or (isinstance(batch, list) and len(batch) <= 3 and not _plain(batch)):
        return "(" + ", ".join(map(form, batch)) + ")"
    if isinstance(batch, list):
        return f"list of {len(batch)}"
    return "None" if batch is None else type(batch).__name__


def _plain(values: list[Any]) -> bool:
    return all(isinstance(value, int | float | str | bool) for value in values)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_telling(warning: warnings.WarningMessage) -> bool:
    """Whether a warning is the plugin's or the user's own: those of other libraries are not about the task."""
    return issubclass(warning.category, UserWarning) and not user_code.is_installed(Path(warning.filename))


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 0.1 else f"{1000 * seconds:.0f} ms"
