"""The weights of fusions, searched on the held-out examples of one seed; every point is kept in the run's folder when found."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn

from sics_cli.base.errors import is_storage_failure
from sics_cli.base.files import write_atomically
from sics_cli.base.hashing import canonical_json, digest
from sics_cli.experiment.cells import Cell
from sics_cli.experiment.recipe import Recipe, search_seed
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.experiment.searched import ADAPTIVE
from sics_cli.seeds.masks import MaskMaker
from sics_cli.store.run_folder import search_path
from sics_cli.tasks.results import LOSS, Evaluation
from sics_cli.tasks.task import Metric
from sics_cli.tasks.training import strictly, warned
from sics_plugin import Evaluated, Fusion, Saliency, search_fusion

MAGNITUDE = "magnitude"
#: Evaluates a network on the held-out examples, and says whether something in it has no deterministic form.
HeldOut = Callable[[nn.Module], tuple[Evaluation, bool]]


class SearchError(Exception):
    """Why weights could not be searched."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a search, with what its mask does on the held-out examples: the metric's result, and the loss if measured."""

    weights: tuple[float, ...]
    score: float
    mask_hash: str
    held_out: float
    held_out_loss: float | None

    @property
    def evaluated(self) -> Evaluated:
        """As the plugin has it."""
        return Evaluated(self.weights, self.score, self.mask_hash)


@dataclass(frozen=True, slots=True)
class HeldOutFacts:
    """By what the held-out examples of a user's task are known again, as a seed's dense network meets them.

    `fed` is a digest of what it is fed, `numbers` of what it does on them; None where nothing is seen of it, or it is another
    each time. `facts` are those of the device that the numbers are from.
    """

    fed: str | None
    numbers: str | None
    facts: dict[str, Any]

    @classmethod
    def of(cls, fed: str | None, found: Evaluation | None, facts: dict[str, Any]) -> Self:
        """Of one evaluation; of none where its numbers are not to be had again."""
        if found is None:
            return cls(fed, None, facts)
        parts = (
            found.result,
            found.loss,
            found.n,
            *(None if part is None else part.hex() for part in (found.bits, found.examples)),
        )
        return cls(fed, digest(list(parts)), facts)

    @classmethod
    def read(cls, kept: dict[str, Any] | None) -> Self | None:
        """As rows and files have it; None where they say nothing."""
        return None if kept is None else cls(**kept)

    def are_others(self, kept: HeldOutFacts) -> bool:
        """Whether they are others than the kept ones.

        On another device, inputs that are computed differ in the last bit, as does what a network does on them.
        """
        return self.facts == kept.facts and (_differ(self.fed, kept.fed) or _differ(self.numbers, kept.numbers))

    def may_be_others(self, kept: HeldOutFacts) -> bool:
        """Whether what is fed is not the kept ones' on another device: others, or the same but for the last bit."""
        return self.facts != kept.facts and _differ(self.fed, kept.fed)

    def steady(self, again: HeldOutFacts) -> HeldOutFacts:
        """Without what is another when asked again."""
        fed, numbers = (one if one == two else None for one, two in ((self.fed, again.fed), (self.numbers, again.numbers)))
        return HeldOutFacts(fed, numbers, self.facts)


def _differ(one: str | None, two: str | None) -> bool:
    """Whether both say something, and not the same."""
    return None not in (one, two) and one != two


@dataclass(frozen=True, slots=True)
class Kept:
    """The points of a search as they lie on disk.

    `of` is what they were found with: the search's key, and the hashes of network and saliency. `objective` is what the score is,
    `n` how many examples are held out (None: the task gives one number). `examples` is by what those are known again; of image
    tasks, whose keys know the data, nothing. `nondeterministic` says that something in the search has no deterministic form.
    """

    of: tuple[str, ...]
    objective: str
    n: int | None
    points: tuple[Point, ...]
    examples: HeldOutFacts | None = None
    nondeterministic: bool = False

    def write(self, path: Path) -> None:
        """Put it at `path`, whole or not at all: whoever writes last has as good points as any, since all find the same."""
        path.parent.mkdir(exist_ok=True)
        body = {**asdict(self), "points": [asdict(point) for point in self.points]}
        write_atomically(path, canonical_json({"search": body, "sha256": digest(body)}).encode(), durable=False)

    @classmethod
    def read(cls, path: Path, of: tuple[str, ...]) -> Kept | None:
        """What lies there; None where nothing does, it is damaged, or it was found with another network or saliency."""
        try:
            file = json.loads(path.read_text(encoding="utf-8"))
            body = file["search"]
            if digest(body) != file["sha256"] or tuple(body["of"]) != of:
                return None
            points = tuple(Point(**{**point, "weights": tuple(point["weights"])}) for point in body["points"])
            examples, unsure = HeldOutFacts.read(body.get("examples")), body.get("nondeterministic", False)
            return cls(of, body["objective"], body["n"], points, examples, unsure)
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a budget chose: the fusion to prune with (None: magnitude), the hash of its mask, and what the row says of it.

    `nondeterministic` is that of the search."""

    fusion: Fusion | None
    mask_hash: str
    told: dict[str, Any]
    nondeterministic: bool


class Searcher:
    """Searches of one seed: one for each set of features and sparsity, with the largest budget that `cells` ask for.

    `held_out` evaluates a network; `tell` is told how many points a search has and how many it wants. `are_known` says whether
    kept points were found on the examples that are held out now; the `note` that they were not is for the user. With `fresh`,
    what is kept is not gone on from.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        folder: Path,
        masker: MaskMaker,
        held_out: HeldOut,
        *,
        cells: Iterable[Cell],
        tell: Callable[[tuple[str, float], int, int], None],
        are_known: Callable[[Kept], bool],
        note: Callable[[str], None],
        fresh: bool,
    ) -> None:
        self._recipe, self._seed, self._folder, self._masker = recipe, seed, folder, masker
        self._held_out, self._tell, self._fresh = held_out, tell, fresh
        self._are_known, self._note = are_known, note
        self._metric: Metric = recipe.task.metric
        self._wanted: dict[tuple[str, float], int] = {}
        for cell in cells:
            if cell.scorer is not None and (asked := cell.scorer.searched) is not None:
                place = asked.features, cell.sparsity
                self._wanted[place] = max(self._wanted.get(place, 0), asked.points)
        self._found: dict[tuple[str, float], Kept] = {}
        self._failed: dict[tuple[str, float], Exception] = {}

    def choice(
        self,
        model: nn.Module,
        saliency: Saliency,
        checkpoint_hash: str,
        scorer: ScorerInfo,
        sparsity: float,
        plain: Point | None,
        examples: HeldOutFacts | None,
    ) -> Choice:
        """The best of the first points of a search; `plain` is what magnitude's mask does, one of the budget where it may win.

        `examples` is by what those that are held out now are known again.
        """
        asked = scorer.searched
        assert asked is not None
        place = asked.features, sparsity
        of = self._recipe.search_key(self._seed, scorer, sparsity), checkpoint_hash, saliency.digest
        path = search_path(self._folder, self._seed, asked.features, sparsity, of[0])
        if place not in self._found:
            kept = None if self._fresh else Kept.read(path, of)
            if kept is not None and not self._are_known(kept):
                kept = None
                self._note(
                    f"seed {self._seed}: held_out gives other examples, or other numbers on them, than when {asked.features} was "
                    f"searched at S = {sparsity:g}: searched from the beginning"
                )
            self._found[place] = kept or Kept(of, "", None, (), examples)
        wanted = max(asked.points, self._wanted.get(place, 0))
        self._tell(place, min(len(self._found[place].points), wanted), wanted)
        if len(self._found[place].points) < wanted and place not in self._failed:
            try:
                self._search(model, saliency, scorer, place, path, wanted)
            except Exception as error:
                if is_storage_failure(error):
                    raise
                self._failed[place] = error  # smaller budgets take what was found before
        found = self._found[place]
        if len(found.points) < asked.points:
            raise self._failed[place]
        return self._chosen(scorer, found, found.points[: asked.points], plain)

    def _search(
        self, model: nn.Module, saliency: Saliency, scorer: ScorerInfo, place: tuple[str, float], path: Path, budget: int
    ) -> None:
        features, sparsity = place
        last: list[Evaluation] = []
        unsure = self._found[place].nondeterministic
        by_mask = {point.mask_hash: point for point in self._found[place].points}

        def evaluate(pruned: nn.Module) -> float:
            nonlocal unsure
            found, relaxed = self._held_out(pruned)
            unsure |= relaxed
            last[:] = [found]
            return self.score(found)

        def after(point: Evaluated) -> None:
            known, before = by_mask.get(point.mask_hash), self._found[place]
            objective, n = before.objective, before.n
            if known is None:
                objective, n = self._objective(last[0]), last[0].n
                if before.points and (objective, n) != (before.objective, before.n):
                    raise SearchError("the held-out examples, or what is measured on them, are others than before")
                now = Point(point.weights, point.score, point.mask_hash, last[0].result, last[0].loss)
            else:
                now = Point(point.weights, point.score, point.mask_hash, known.held_out, known.held_out_loss)
            by_mask.setdefault(now.mask_hash, now)
            loose = unsure or warned(caught)
            self._found[place] = Kept(before.of, objective, n, (*before.points, now), before.examples, loose)
            self._found[place].write(path)
            self._tell(place, len(self._found[place].points), budget)

        def search(relaxed: bool) -> None:
            nonlocal unsure
            unsure |= relaxed
            search_fusion(
                model,
                sparsity,
                evaluate=evaluate,
                budget=budget,
                features=features,
                seed=search_seed(self._seed),
                known=[point.evaluated for point in self._found[place].points],
                after=after,
                **self._masker.options(model, scorer, saliency),
            )

        with warnings.catch_warnings(record=True) as caught:  # whose row is flagged by what is kept
            warnings.simplefilter("always")
            strictly(search)  # where masks have no deterministic form it goes on, relaxed, from the points it has

    def _objective(self, found: Evaluation) -> str:
        return LOSS if found.loss is not None else self._metric.name

    def score(self, found: Evaluation) -> float:
        """What is searched for, higher is better: minus the loss, or the metric where no loss is measured."""
        if found.loss is not None:
            return -found.loss
        return found.result if self._metric.higher_is_better else -found.result

    def _chosen(self, scorer: ScorerInfo, found: Kept, points: Sequence[Point], plain: Point | None) -> Choice:
        asked, features = scorer.searched, scorer.fingerprint["search"]["parameters"]["features"]
        assert asked is not None
        tried = [*([] if plain is None else [plain]), *points]
        best = max(tried, key=lambda point: point.score)  # the first of equal ones
        told: dict[str, Any] = {
            "features": list(features),
            "weights": None if best is plain else list(best.weights),
            "budget": asked.budget,
            "masks": len({point.mask_hash for point in tried}),
            "seed": search_seed(self._seed),
            "objective": found.objective,
            "score": best.score,
            "equal": points[0].score,
            "held_out": best.held_out,
            "held_out_loss": best.held_out_loss,
            "held_out_n": found.n,
        }
        if found.examples is not None:
            told["examples"] = asdict(found.examples)
        if asked.kind == ADAPTIVE:
            told["chosen"] = MAGNITUDE if best is plain else "fusion"
        fusion = None if best is plain else Fusion(tuple(features), best.weights, search_seed(self._seed))
        return Choice(fusion, best.mask_hash, told, found.nondeterministic)
