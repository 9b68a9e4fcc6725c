"""What rows of trained networks come to: by network and sparsity, and over networks by a random-effects meta-analysis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from networks.measure import DEFAULT, MEASURED, unpacked
from networks.registry import NETWORKS, Network
from sics_analysis.one_scorer.crossed import variance_components
from sics_plugin import get_scorer
from sics_plugin.pruning.calibrating.trials import POOLS as TRIED_POOLS
from sics_plugin.pruning.calibrating.trials import SCORERS, SCORERS_WITHOUT_LABELS, SHORT, Seen, judged

#: No difference is one below it, in points.
DELTA = 1.0
REFERENCE, GLOBAL = "magnitude", "global"
Examples = NDArray[np.float64]
#: Scorers of the literature, and those of this project; neither the reference nor random.
PUBLISHED, OURS = "published", "ours"
#: `sics_plugin.Trials` with labels and without.
TRIED, UNLABELLED = "tried", "tried without labels"


@dataclass(frozen=True, slots=True)
class Choice:
    """What an arm is beside its sparsity."""

    scorer: str
    pool: str = GLOBAL
    targets: str = DEFAULT
    batches: int | None = None  # None: as many as most rows have
    strength: float | None = None


#: The numbers of each example, by draw.
Results = Mapping[int, Examples]


@dataclass(frozen=True, slots=True)
class Block:
    """One network at one sparsity."""

    network: Network
    sparsity: float
    dense: float
    arms: Mapping[Choice, Results]
    #: What the calibration examples show of each arm and draw.
    shown: Mapping[Choice, Mapping[int, Seen]] = field(default_factory=dict)

    def mean(self, choice: Choice) -> float | None:
        """Accuracy over draws, a fraction; None where the arm was not measured."""
        found = self.arms.get(choice)
        return None if not found else float(np.mean([values.mean() for values in found.values()]))

    @property
    def lost(self) -> bool:
        """Whether no arm is above halfway from chance to the dense result."""
        best = max(float(np.mean([values.mean() for values in found.values()])) for found in self.arms.values())
        return best < (self.network.chance + self.dense) / 2

    def tried(self, by: str) -> tuple[Results, str] | None:
        """What `Trials` choose at each draw, by the rows of what they try; and what that is, most often first."""
        names = SCORERS if by == TRIED else SCORERS_WITHOUT_LABELS
        choices = [
            Choice(MEASURED if scorer == "information" else scorer, pool)  # at the strength of the measured table
            for pool in TRIED_POOLS
            for scorer in names
        ]
        if any(choice not in self.arms for choice in choices):
            return None
        seeds = sorted(set.intersection(*(set(self.arms[choice]) for choice in choices)))
        chosen = {}
        for seed in seeds:
            ranked = [choice for choice in choices if seed in self.shown.get(choice, {})]
            seen = [self.shown[choice][seed] for choice in ranked]
            scores = judged([replace(one, loss=None) for one in seen] if by == UNLABELLED else seen)
            chosen[seed] = ranked[scores.index(min(scores))]  # of equal ones the first
        if not chosen:
            return None
        return {seed: self.arms[choice][seed] for seed, choice in chosen.items()}, _most_often(chosen.values())

    def best(self, family: str) -> tuple[Results, str] | None:
        """The best of a family in its best pool, chosen for each draw on the others; and what was chosen, most often first.

        With one draw it is chosen on that draw, and so is too good.
        """
        arms = {
            choice: found
            for choice, found in self.arms.items()
            if family_of(choice.scorer) == family and (choice.targets, choice.batches, choice.strength) == (DEFAULT, None, None)
        }
        seeds = sorted(set.intersection(*(set(found) for found in arms.values()))) if arms else []
        if not seeds:
            return None
        means = {choice: {seed: float(found[seed].mean()) for seed in seeds} for choice, found in arms.items()}
        chosen = {}
        for seed in seeds:
            others = [other for other in seeds if other != seed] or [seed]
            chosen[seed] = max(
                arms, key=lambda choice: (np.mean([means[choice][other] for other in others]), choice.scorer, choice.pool)
            )
        return {seed: arms[choice][seed] for seed, choice in chosen.items()}, _most_often(chosen.values())


def _most_often(chosen: Iterable[Choice]) -> str:
    """The arm that was chosen at most draws."""
    name, _ = Counter(f"{choice.scorer}, {choice.pool}" for choice in chosen).most_common(1)[0]
    return name.replace(MEASURED, "measured")


def family_of(scorer: str) -> str | None:
    """Whether a scorer is the literature's or this project's; None of the reference, its twins, controls and random."""
    if scorer == MEASURED:
        return OURS
    cls: Any = get_scorer(scorer)
    if cls.role == "peer" or scorer == "gradient":
        return PUBLISHED
    return OURS if cls.role == "adaptive" or (cls.role == "feature" and cls.kappa) or scorer == "information" else None


def blocks_of(frame: pd.DataFrame) -> list[Block]:
    """The rows by network, in the registry's order, and sparsity."""
    known = {network.name: network for network in NETWORKS}
    if unknown := sorted(set(frame["network"]) - set(known)):
        raise SystemExit(f"the rows are of {unknown[0]}, which is no network of the registry: {', '.join(known)}")
    counts = frame.loc[frame["scorer"] != "dense", "batches"].value_counts().to_dict()
    usual = max(counts, key=lambda batches: (counts[batches], batches))
    dense = {}
    for name, values in frame[frame["scorer"] == "dense"].groupby("network")["examples"]:
        if values.nunique() > 1:
            raise SystemExit(f"the files have different dense results of {name}: report them one by one")
        dense[name] = float(unpacked(values.iloc[0]).mean())
    found = []
    for name in (one for one in known if one in set(frame["network"])):
        rows = frame[(frame["network"] == name) & (frame["scorer"] != "dense")]
        for sparsity, part in rows.groupby("sparsity"):
            arms: dict[Choice, dict[int, Examples]] = {}
            shown: dict[Choice, dict[int, Seen]] = {}
            for row in part.to_dict("records"):
                strength = row["strength"]
                choice = Choice(
                    row["scorer"], row["pool"], row["targets"], None if row["batches"] == usual else int(row["batches"]),
                    None if strength is None or math.isnan(strength) else float(strength),
                )  # fmt: skip
                arms.setdefault(choice, {})[int(row["seed"])] = unpacked(row["examples"])
                if row["sparsity"] - row["realised_sparsity"] <= SHORT:  # by whole weights of short rows less may go
                    told = [math.inf if math.isnan(row[name]) else float(row[name]) for name in ("loss", "change", "recombined")]
                    shown.setdefault(choice, {})[int(row["seed"])] = Seen(*told)
            found.append(Block(known[name], float(sparsity), dense[name], arms, shown))
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference on one network at one sparsity, in points.

    `low` and `high` are Student's t interval over draws, None where every draw gives the same or there are fewer than three; it
    covers the choice of calibration examples, on these evaluation examples. `variance` is that of the mean over new draws and
    new examples, and at least that of one example that differs.
    """

    mean: float
    low: float | None
    high: float | None
    draws: int
    variance: float

    def __str__(self) -> str:
        inside = "" if self.low is None or self.high is None else f" ({signed(self.low)} to {signed(self.high)})"
        return f"{signed(self.mean)}{inside}"


def signed(value: float) -> str:
    """Points with a sign."""
    return f"{value:+.1f}".replace("-", "−")


def difference(one: Results | None, other: Results | None) -> Difference | None:
    """One minus the other, at the draws they share; None where there are none."""
    if not one or not other or not (seeds := sorted(set(one) & set(other))):
        return None
    table = np.array([one[seed] - other[seed] for seed in seeds])
    means = 100 * table.mean(1)
    found = variance_components(table)
    variance = found.variance if found.variance is not None else 100**2 * float(table.var(ddof=1)) / table.size
    least = (100 / table.shape[1]) ** 2
    low = high = None
    if len(seeds) >= 3 and np.ptp(means) > 1e-9:
        reach = float(stats.t.ppf(0.975, len(seeds) - 1)) * float(means.std(ddof=1)) / math.sqrt(len(seeds))
        low, high = float(means.mean()) - reach, float(means.mean()) + reach
    return Difference(float(means.mean()), low, high, len(seeds), max(variance, least))


@dataclass(frozen=True, slots=True)
class Meta:
    """A random-effects meta-analysis over networks, in points.

    The variance between networks by Paule and Mandel (1982); the interval of the mean by Hartung and Knapp (2001) and Sidik and
    Jonkman (2002), with k − 1 degrees of freedom and never narrower than without their factor; `next_low` and `next_high`,
    where a further network like these is to be expected, by Higgins, Thompson and Spiegelhalter (2009), with k − 2.
    """

    networks: int
    mean: float
    low: float
    high: float
    sd_between: float
    next_low: float | None
    next_high: float | None
    better: int
    worse: int


def combined(differences: Sequence[Difference]) -> Meta | None:
    """Combine networks; None for fewer than two.

    >>> found = combined([Difference(mean, None, None, 3, 1.0) for mean in (2.0, 4.0, 9.0)])
    >>> round(found.mean, 2), round(found.low, 2), round(found.high, 2), found.better
    (5.0, -3.96, 13.96, 3)
    """
    from statsmodels.stats.meta_analysis import combine_effects

    if len(differences) < 2:
        return None
    effects = np.array([one.mean for one in differences])
    found = combine_effects(effects, np.array([one.variance for one in differences]), method_re="pm", use_t=True)
    k, mean, between = len(effects), float(found.mean_effect_re), max(float(found.tau2), 0.0)
    se = max(float(found.sd_eff_w_re_hksj), float(found.sd_eff_w_re))
    reach = float(stats.t.ppf(0.975, k - 1)) * se
    beyond = float(stats.t.ppf(0.975, k - 2)) * math.sqrt(between + se**2) if k > 2 else None
    return Meta(
        k, mean, mean - reach, mean + reach, math.sqrt(between),
        None if beyond is None else mean - beyond, None if beyond is None else mean + beyond,
        int((effects > DELTA).sum()), int((effects < -DELTA).sum()),
    )  # fmt: skip


Asked = Callable[[Block], Difference | None]


def contrasts(blocks: Sequence[Block]) -> Iterator[tuple[str, str, Asked]]:
    """Heading, name and question of each contrast for which there may be rows."""
    choices = {choice for block in blocks for choice in block.arms}
    pools = sorted({choice.pool for choice in choices} - {GLOBAL})
    scorers = sorted({choice.scorer for choice in choices})
    usual = [c for c in choices if (c.targets, c.batches, c.strength) == (DEFAULT, None, None)]

    def of(one: Choice, other: Choice) -> Asked:
        return lambda block: difference(block.arms.get(one), block.arms.get(other))

    def of_best(family: str, other: Choice) -> Asked:
        return lambda block: None if (best := block.best(family)) is None else difference(best[0], block.arms.get(other))

    plain = Choice(REFERENCE)
    for scorer in scorers:
        if scorer != REFERENCE and Choice(scorer) in usual:
            yield "Scorers in the global pool, over magnitude there", scorer, of(Choice(scorer), plain)

    def of_tried(by: str, other: Choice | str) -> Asked:
        def asked(block: Block) -> Difference | None:
            found, best = block.tried(by), block.best(other) if isinstance(other, str) else None
            beside = block.arms.get(other) if isinstance(other, Choice) else best and best[0]
            return None if found is None else difference(found[0], beside)

        return asked

    for by in (TRIED, UNLABELLED):
        yield "What Trials choose", f"{by}, over global magnitude", of_tried(by, plain)
        yield "What Trials choose", f"{by}, over the best published in its best pool", of_tried(by, PUBLISHED)
        yield "What Trials choose", f"{by}, over measured in the global pool", of_tried(by, Choice(MEASURED))
    yield "The best in its best pool", "published, over global magnitude", of_best(PUBLISHED, plain)
    yield "The best in its best pool", "ours, over global magnitude", of_best(OURS, plain)
    yield "The best in its best pool", "published, over measured in the global pool", of_best(PUBLISHED, Choice(MEASURED))
    for scorer in scorers:
        for pool in pools:
            if Choice(scorer, pool) in usual and Choice(scorer) in usual:
                yield (
                    "Pools, over the global one with the same scorer",
                    f"{scorer}, {pool}",
                    of(Choice(scorer, pool), Choice(scorer)),
                )
    for choice in sorted((c for c in choices if c.targets != DEFAULT), key=str):
        base = Choice(choice.scorer, choice.pool, DEFAULT, choice.batches, choice.strength)
        yield "What is pooled, over the default", f"{choice.targets}: {choice.scorer}, {choice.pool}", of(choice, base)
    for choice in sorted(
        (c for c in choices if c.strength not in (None, 1.0)), key=lambda c: (c.scorer, c.pool, c.strength or 0)
    ):
        base = Choice(choice.scorer, choice.pool, choice.targets, choice.batches, 1.0)
        name = f"{choice.strength:g} times: {choice.scorer}, {choice.pool}"
        yield "Strength, over that of the measured table", name, of(choice, base)
    for choice in sorted((c for c in choices if c.batches is not None), key=lambda c: (c.scorer, c.pool, c.batches or 0)):
        base = Choice(choice.scorer, choice.pool, choice.targets, None, choice.strength)
        name = f"{choice.batches} batches: {choice.scorer}, {choice.pool}"
        yield "Breadth of calibration, over the usual number of batches", name, of(choice, base)


def by_network(blocks: Sequence[Block]) -> str:
    """A row a network and sparsity."""
    head = (
        "network", "S", "dense", "magnitude", "measured", TRIED, UNLABELLED, "best published",
        "tried over magnitude", "tried over best published",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for block in blocks:
        tried, best = block.tried(TRIED), block.best(PUBLISHED)
        results = None if tried is None else tried[0]
        over = difference(results, block.arms.get(Choice(REFERENCE)))
        behind = None if best is None else difference(results, best[0])
        cells = [
            block.network.name,
            f"{block.sparsity:g}{' lost' if block.lost else ''}",
            percent(block.dense),
            percent(block.mean(Choice(REFERENCE))),
            percent(block.mean(Choice(MEASURED))),
            *(
                "" if one is None else f"{percent(float(np.mean([v.mean() for v in one[0].values()])))} {one[1]}"
                for one in (tried, block.tried(UNLABELLED), best)
            ),
            *("" if one is None else str(one) for one in (over, behind)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_pool(blocks: Sequence[Block]) -> str:
    """What magnitude and the measured table give in each pool: a row a network and sparsity."""
    usual = {c for block in blocks for c in block.arms if (c.targets, c.batches, c.strength) == (DEFAULT, None, None)}
    choices = [
        Choice(scorer, pool)
        for scorer in (REFERENCE, MEASURED)
        for pool in sorted({c.pool for c in usual}, key=lambda pool: (pool != GLOBAL, pool))
    ]
    if len({choice.pool for choice in choices}) < 2:
        return ""
    names = [f"{'measured' if choice.scorer == MEASURED else choice.scorer}, {choice.pool}" for choice in choices]
    lines = [f"| network | S | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for block in blocks:
        cells = (block.network.name, f"{block.sparsity:g}", *(percent(block.mean(choice)) for choice in choices))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(value: float | None) -> str:
    """A fraction in percent, one digit."""
    return "" if value is None else f"{100 * value:.1f}"


def over_networks(blocks: Sequence[Block]) -> str:
    """The meta-analyses: a table a group of contrasts, a row a contrast and sparsity."""
    groups: dict[str, list[str]] = {}
    for heading, name, asked in contrasts(blocks):
        for sparsity in sorted({block.sparsity for block in blocks}):
            part = [block for block in blocks if block.sparsity == sparsity and not block.lost]
            found = combined([one for block in part if (one := asked(block)) is not None])
            if found is None:
                continue
            further = "" if found.next_low is None else f"{signed(found.next_low)} to {signed(found.next_high or 0.0)}"
            interval = f"{signed(found.low)} to {signed(found.high)}"
            cells = (
                name, f"{sparsity:g}", str(found.networks), signed(found.mean), interval, f"{found.sd_between:.1f}", further,
                f"{found.better} / {found.worse}",
            )  # fmt: skip
            groups.setdefault(heading, []).append(f"| {' | '.join(cells)} |")
    head = "| contrast | S | networks | mean | 95 % interval | sd between | a further network | better / worse by more than 1 |"
    return "\n\n".join("\n".join([f"### {heading}", "", head, "|---" * 8 + "|", *rows]) for heading, rows in groups.items())


def listed(blocks: Sequence[Block]) -> str:
    """The networks that rows are of."""
    lines = ["| network | kind | split | what is right | by | dense | draws |", "|---|---|---|---|---|---|---|"]
    for network in dict.fromkeys(block.network for block in blocks):
        part = [block for block in blocks if block.network == network]
        draws = max(len(found) for block in part for found in block.arms.values())
        by = "label" if network.truth == "label" else "the dense network"
        cells = (network.name, network.kind, network.split, network.signal, by, percent(part[0].dense), str(draws))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def markdown(frame: pd.DataFrame) -> str:
    """All tables of a page: each split of its own, then both together where there are both."""
    blocks = blocks_of(frame)
    texts = [listed(blocks)]
    splits = list(dict.fromkeys(block.network.split for block in blocks))
    for split in splits:
        part = [block for block in blocks if block.network.split == split]
        texts += [
            f"## Networks for {'development' if split == 'development' else 'the test'}",
            by_network(part),
            by_pool(part),
            over_networks(part),
        ]
    if len(splits) > 1:
        texts += ["## All of these networks", over_networks(blocks)]
    return "\n\n".join(text for text in texts if text)
