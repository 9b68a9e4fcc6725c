"""Which scorers run: facts about them, as plain data that needs no torch once it is known."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError, did_you_mean
from sics_cli.base.hashing import digest
from sics_cli.experiment import searched, trials
from sics_cli.experiment.searched import SEARCHED, Searched, is_searched
from sics_cli.experiment.trials import TRIALS, Tried
from sics_cli.experiment.user_scorers import check_own, is_own, own_class, source_facts

if TYPE_CHECKING:
    from sics_plugin import Scorer

#: Scorers of these roles run by default; `adaptive` only chooses among the others.
DEFAULT_ROLES = ("feature", "control", "baseline")
PEER = "peer"
#: Folders of the plugin that a mask depends on. An edit elsewhere (the complexity meter, say) leaves a run what it is.
MASK_MAKERS = ("selection", "scorers", "network", "histogram", "saliency", "pruning", "tables")
#: Words of --scorers that stand for several: those that run by default, the published ones, all that are registered, and every
#: search of the weights of a fusion.
WORDS = ("all", "sics", "peers", SEARCHED)
#: Pools that one scorer may be ranked in whatever the run's is: those that leave the sparsity to the run.
OWN_POOLS = ("global", "layer", "layer-rank", "row", "erk")
_OTHERS = f"one of the words {', '.join(WORDS)}, or MODULE:CLASS or FILE.py:CLASS of your own"


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """Facts about one scorer. `spec` is how to find it: its registered name, or where it lies; `remark` is for the user.

    `pool` is what its source ranks against each other, `units` what it is defined for. `signal` is the kind of saliency that it
    brings itself, whatever the run's is (peers do), and `calibrated` whether that takes calibration data. `source` says where it
    was published. One that is `on_request` runs where it is named, or with "all". `against`, of a searched one, is the digest of
    the reference where that is the user's own: what its row says of the reference follows an edit of that file.
    """

    name: str
    spec: str
    kappa: int | None
    role: str
    summary: str
    requires: str | None
    fingerprint: dict[str, Any]
    remark: str = ""
    pool: str = "global"
    units: list[str] = field(default_factory=lambda: ["weight", "channel", "head"])
    signal: str | None = None
    calibrated: bool = False
    source: str = ""
    on_request: bool = False
    against: str = ""

    def saliency(self, run: str) -> str:
        """The kind of saliency it works with in a run of that kind."""
        return self.signal or run

    @property
    def own_pool(self) -> str | None:
        """The pool that was asked for it alone, as in magnitude/global; None for the run's."""
        return in_pool(self.spec)[1]

    def pool_in(self, run: str) -> str:
        """The pool it is ranked in, in a run of that pool."""
        return self.own_pool or (self.pool if run == "native" else run)

    @property
    def searched(self) -> Searched | None:
        """Whose weights are searched, with how many evaluations; None for all others."""
        return Searched.read(self.spec) if self.role == SEARCHED else None

    @property
    def tried(self) -> Tried | None:
        """What it tries on the calibration batches; None for all others."""
        return Tried.read(self.fingerprint) if self.spec == TRIALS else None


def in_pool(spec: str) -> tuple[str, str | None]:
    """Split NAME/POOL.

    >>> in_pool("magnitude/global"), in_pool("magnitude"), in_pool("/my/own.py:Mine")
    (('magnitude', 'global'), ('magnitude', None), ('/my/own.py:Mine', None))
    """
    name, slash, pool = spec.partition("/")
    return (name, pool) if slash and not is_own(spec) else (spec, None)


def scorer_class(spec: str) -> type[Scorer]:
    """Find a scorer class: a registered name, or the user's own, which is imported (see `sics_cli.experiment.user_scorers`)."""
    import sics_plugin

    if is_own(spec):
        return own_class(spec)
    name, pool = in_pool(spec)
    trials.refuse_pool(name, pool)
    if pool is not None and pool not in OWN_POOLS:
        near = did_you_mean(pool, OWN_POOLS)
        raise ConfigError(
            f"--scorers {spec}: {pool!r} is not accepted as the pool of one scorer{near}: give {' | '.join(OWN_POOLS)}"
        )
    if pool is not None and is_searched(name):
        raise ConfigError(f"--scorers {spec}: its weights are searched in the pool of the run: give {name}, and --pool {pool}")
    try:
        return sics_plugin.get_scorer(name)
    except ValueError:
        raise ConfigError(f"--scorers {spec}: {_unknown(name, [*sics_plugin.list_scorers(), TRIALS])}") from None


def make_scorer(spec: str, seed: int) -> Scorer:
    """Build the scorer; `seed` reaches those that draw random numbers."""
    from sics_plugin import build_scorer

    return build_scorer(scorer_class(spec).name, seed=seed)


def fingerprint_of(spec: str, saliency: str) -> dict[str, Any]:
    """The scorer's own fingerprint; for a user's class also the hashes of the files it is made of, for NAME/POOL the pool."""
    if is_searched(spec):
        return searched.fingerprint(spec, saliency)
    if spec == TRIALS:
        return trials.fingerprint()
    cls, (_, pool) = scorer_class(spec), in_pool(spec)
    facts = make_scorer(spec, 0).fingerprint(saliency) | ({} if pool is None else {"pool": pool})
    return facts | source_facts(cls) if is_own(spec) else facts


def describe_scorers(specs: Sequence[str], saliency: str) -> tuple[ScorerInfo, ...]:
    """Facts about every registered scorer, in the plugin's order, and the one that tries several of them, then about the user's
    own among `specs`, those that `specs` put in a pool of their own, and the searched ones.

    Imports torch: the driver has a worker run this, and keeps the answer in the store.
    """
    import sics_plugin

    own = [spec for spec in specs if is_own(spec)]
    built_in = sics_plugin.list_scorers()
    named = [spec for spec in specs if is_searched(spec) and in_pool(spec)[1] is None]
    for spec in specs:
        if spec not in (*WORDS, *named, TRIALS):
            scorer_class(spec)
    remarks = {spec: "; ".join(check_own(spec, saliency)) for spec in own}
    pooled = dict.fromkeys(spec for spec in specs if in_pool(spec)[1] is not None)
    found = [_info(spec, saliency) for spec in built_in]
    found += [_trials_info(), *(_info(spec, saliency, remarks.get(spec, "")) for spec in [*remarks, *pooled])]
    named += searched.of_word() if SEARCHED in specs else []
    return (*found, *(_searched_info(spec, saliency) for spec in searched.in_order(named)))


def is_described(spec: str) -> bool:
    """Whether facts about it are told only where it is asked for."""
    return is_own(spec) or is_searched(spec) or spec == SEARCHED or in_pool(spec)[1] is not None


def _searched_info(spec: str, saliency: str) -> ScorerInfo:
    asked, features = searched.known(spec), searched.features_of(spec)
    choice = "magnitude, or " if asked.kind == searched.ADAPTIVE else ""
    return ScorerInfo(
        spec,
        spec,
        None,
        SEARCHED,
        f"{choice}Σ w·({', '.join(features)}), w searched by {asked.points} held-out evaluations",
        "gradient" if "taylor" in features else None,
        fingerprint_of(spec, saliency),
        on_request=True,
    )


def _trials_info() -> ScorerInfo:
    facts, role = trials.fingerprint(), searched.ADAPTIVE
    return ScorerInfo(
        TRIALS, TRIALS, None, role, trials.SUMMARY, None, facts, signal=trials.SIGNAL, calibrated=True, on_request=True
    )


def _info(spec: str, saliency: str, remark: str = "") -> ScorerInfo:
    from sics_plugin.saliency.kinds import SIGNALS, uses_data

    cls, own_pool = scorer_class(spec), in_pool(spec)[1]
    signal = cls.requires if cls.role == PEER else None
    if signal is not None and signal not in SIGNALS:
        raise ConfigError(f"--scorers {spec}: requires = {signal!r} is no kind of saliency; there are {', '.join(SIGNALS)}")
    return ScorerInfo(
        spec if own_pool else cls.name,
        spec,
        cls.kappa,
        cls.role,
        cls.summary,
        cls.requires,
        fingerprint_of(spec, saliency),
        remark=remark,
        pool=cls.pool,
        units=list(cls.units),
        signal=signal,
        calibrated=signal is not None and uses_data(signal),
        source=cls.source,
        on_request=cls.on_request or own_pool is not None,
    )


def plugin_digest(torch_version: str) -> str:
    """Sha256 over the plugin's code that makes masks, its tables, and torch's version, found without importing either.

    While it stays the same, facts told by `describe_scorers` stay true.
    """
    found = importlib.util.find_spec("sics_plugin")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("the package sics_plugin is not installed")
    folder = Path(found.submodule_search_locations[0])
    files = [path for room in MASK_MAKERS for pattern in ("*.py", "*.npy") for path in (folder / room).rglob(pattern)]
    # By content alone: a file that is renamed, and not changed, makes the masks it made before.
    return digest({"files": sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files), "torch": torch_version})


def choose(
    infos: Iterable[ScorerInfo],
    asked: Sequence[str] | None,
    saliency: str,
    reference: str,
    unit: str = "weight",
    pool: str = "global",
) -> tuple[tuple[ScorerInfo, ...], tuple[str, ...]]:
    """Scorers to run, in the plugin's order, and notes about those left out, added, or out of their own pool.

    The reference is always among them, since every difference is against it. `asked` holds names, `module:Class`, and words for
    several: "sics" the default, "peers" the published ones, "all" every registered one, "searched" every search. One that is
    asked for by name, or as the reference, and is unknown or cannot work with this saliency or unit is refused.
    """
    known = {info.spec: info for info in infos}
    by_name = {info.name: info for info in known.values()}
    notes: list[str] = []
    if reference not in by_name:
        near = did_you_mean(reference, by_name)
        raise ConfigError(f"--reference {reference}: no such scorer{near}; give one of {', '.join(by_name)}")
    if by_name[reference].role == SEARCHED:
        raise ConfigError(f"--reference {reference}: its weights are searched, and what it gains is told against the reference")
    names = ["sics"] if asked is None else list(asked)
    for spec in names:
        if spec not in known and spec not in WORDS:
            raise ConfigError(f"--scorers {spec}: {_unknown(spec, by_name)}")
    chosen = []
    for spec, info in known.items():
        if spec not in names and not any(stands_for(word, info) for word in names):
            continue
        reason = _unfit(info, saliency, unit)
        if reason and spec not in names and info.name != reference:
            notes.append(f"{info.name} is left out: {reason}")
        else:
            chosen.append(info)
    if by_name[reference] not in chosen:
        notes.append(f"{reference} is added: it is the reference of every difference")
        chosen = [info for info in known.values() if info in chosen or info.name == reference]
    for info in chosen:
        if reason := _unfit(info, saliency, unit):
            raise ConfigError(f"--scorers {info.spec}: {reason.removeprefix('it ')}")
    away = [
        f"{info.name} ({info.pool})"
        for info in chosen
        if unit == "weight" and info.own_pool is None and info.pool_in("native") not in ("global", pool)
    ]
    if away and pool != "native":
        notes.append(f"not in the pool of their source: {', '.join(away)}; this run's is {pool} (--pool native: each in its own)")
    if is_own(by_name[reference].spec):
        against = digest(by_name[reference].fingerprint)
        chosen = [replace(info, against=against) if info.role == SEARCHED else info for info in chosen]
    return tuple(chosen), tuple(notes)


def _unknown(name: str, known: Iterable[str]) -> str:
    """Why a name is no scorer, and what may have been meant."""
    names = [*known]
    return f"no such scorer{did_you_mean(name, [*names, *WORDS])}; give some of {', '.join(names)}, {_OTHERS}"


def stands_for(word: str, info: ScorerInfo) -> bool:
    """Whether a word of --scorers means this scorer; a user's own goes by name, and so does one in a pool of its own."""
    if ":" in info.spec or info.own_pool is not None:
        return False
    if info.role == SEARCHED:
        return word == SEARCHED and searched.in_word(info.spec)
    return {"all": True, "sics": info.role in DEFAULT_ROLES and not info.on_request, "peers": info.role == PEER}.get(word, False)


def _unfit(info: ScorerInfo, saliency: str, unit: str) -> str:
    """Why a scorer cannot run, or nothing."""
    if info.own_pool == "row" and unit != "weight":
        return f"it is ranked in the rows of a weight, this run prunes {unit}s"
    if unit not in info.units:
        return f"it is defined for {', '.join(info.units)}s, not for {unit}s"
    if info.requires not in (None, info.saliency(saliency)):
        return f"it needs --saliency {info.requires}, this run uses {saliency}"
    return ""
