"""What the paper, or a gate on the command line, claims: read, and named.

`sics_analysis.claims.rules` holds the logic that sets a claim against an analysis.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

from sics_analysis.results import ONE_POOL
from sics_analysis.rows.reading.names import nearest, nearest_of
from sics_analysis.rows.searched import INFORMATION, searched_name

Kind: TypeAlias = Literal["plateau", "kappa", "escape", "noninferior", "nonsuperior", "size", "below", "larger", "overfit"]
GRAMMAR = "plateau@S, escape:SCORER@S, noninferior:SCORER@S, nonsuperior:SCORER@S, kappa@S=K, or an id of paper_claims.toml"

_USER = "named on the command line"
_OF_SCORER: Mapping[Kind, str] = {
    "escape": "escapes the plateau",
    "noninferior": "is not worse than the reference by δ",
    "nonsuperior": "is not better than the reference by δ",
}
_PATTERNS = (
    re.compile(r"(?P<kind>plateau)@(?P<sparsity>[0-9.]+)"),
    re.compile(r"(?P<kind>escape|noninferior|nonsuperior):(?P<scorer>[^@\s]+)@(?P<sparsity>[0-9.]+)"),
    re.compile(r"(?P<kind>escape|noninferior|nonsuperior):(?P<scorer>[^@\s]+)"),  # of rows without a sparsity
    re.compile(r"(?P<kind>kappa)@(?P<sparsity>[0-9.]+)=(?P<kappa>[012])"),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement a run can support or contradict."""

    id: str  # of `paper_claims.toml`, or the text of the grammar
    kind: Kind
    statement: str
    where: str  # it is stated
    sparsities: tuple[float, ...]  # supported means at each of them
    scorer: str | None = None  # what it speaks of, or the class of scorers by kappa
    kappa: int | None = None
    than: str | None = None  # what it is said to lie below: a scorer, or "reference"
    points: float | None = None  # the size claimed
    reading: str = ""  # how we read what it leaves open
    named_by_user: bool = False  # in the grammar of the command line, and not from a file
    percent: float | None = None  # the size claimed, in percent of the reference's own accuracy: another reading of it
    source: str = ""  # of which kind `where` is, by its name in the file
    than_sparsity: float | None = None  # of an over-fitting gap: that at this S is said to be smaller
    gain: tuple[str, str] | None = None  # of two scorers, A over B
    than_gain: tuple[str, str] | None = None  # what that gain is said to be larger than
    pools: tuple[str, ...] = ()  # of the run that it is about; any where there is none

    @property
    def scorers(self) -> tuple[str, ...]:
        """Every scorer it speaks of by name, the reference of a run aside; without them it is not tested."""
        named = (self.scorer, self.than, *(self.gain or ()), *(self.than_gain or ()))
        return tuple(dict.fromkeys(name for name in named if name is not None and name != "reference"))

    @property
    def is_of_complexity(self) -> bool:
        """Whether it is of what a searched scorer has over the control with the same search."""
        own = None if self.scorer is None else searched_name(self.scorer)
        return own is not None and self.than == f"fusion_{INFORMATION}_{own.budget}"

    @property
    def places(self) -> tuple[float, ...]:
        """Every sparsity it takes."""
        other = () if self.than_sparsity is None else (self.than_sparsity,)
        return tuple(sorted({*self.sparsities, *other}))


_Fields: TypeAlias = tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]
_NONE: frozenset[str] = frozenset()
_SUBJECT = frozenset({"scorer", "kappa"})
#: kind -> fields needed; of which exactly one is needed; of which one at least is; which may be given
_FIELDS: Mapping[str, _Fields] = {
    "plateau": (_NONE, _NONE, _NONE, _NONE),
    "kappa": (frozenset({"kappa"}), _NONE, _NONE, _NONE),
    "escape": (frozenset({"scorer"}), _NONE, _NONE, frozenset({"than"})),
    "noninferior": (frozenset({"scorer"}), _NONE, _NONE, frozenset({"than"})),
    "nonsuperior": (frozenset({"scorer"}), _NONE, _NONE, frozenset({"than"})),
    "size": (_NONE, _SUBJECT, frozenset({"points", "percent"}), _NONE),
    "below": (frozenset({"than"}), _SUBJECT, _NONE, _NONE),
    "larger": (frozenset({"gain", "than_gain"}), _NONE, _NONE, _NONE),
    "overfit": (frozenset({"scorer"}), _NONE, _NONE, frozenset({"than", "than_sparsity"})),
}
_COMMON = frozenset({"id", "kind", "statement", "source", "sparsities"})
_FREE = frozenset({"where", "reading", "pools"})
SCHEMA = 2


def load_claims(text: str) -> tuple[Claim, ...]:
    """Read claims in the format of `paper_claims.toml`; a ValueError of one line names the claim and the field at fault.

    >>> text = '''
    ... schema = 2
    ... [source]
    ... abstract = "my paper, abstract"
    ... [[claim]]
    ... id = "mine"
    ... kind = "escape"
    ... scorer = "chaos"
    ... sparsities = [0.8]
    ... statement = "chaos escapes at 0.8"
    ... source = "abstract"
    ... where = "first sentence"
    ... '''
    >>> load_claims(text)[0].where
    'my paper, abstract: first sentence'
    """
    document = tomllib.loads(text)
    if document.get("schema") != SCHEMA:
        raise ValueError(f"Expected `schema = {SCHEMA}` in the claims file, got {document.get('schema')!r}")
    sources = document.get("source", {})
    claims = tuple(_read(entry, sources) for entry in document.get("claim", []))
    names = [claim.id for claim in claims]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Expected every claim id once, got {', '.join(repeated)} again")
    return claims


def _read(entry: Mapping[str, Any], sources: Mapping[str, str]) -> Claim:
    name = entry.get("id")
    if not isinstance(name, str) or not name:
        raise ValueError(f"Expected an `id` in every claim, got {name!r}")
    kind: Kind | None = entry.get("kind")
    if kind is None or kind not in get_args(Kind):
        raise ValueError(f"Expected `kind` of claim {name!r} among {', '.join(get_args(Kind))}, got {kind!r}")
    _check_fields(name, kind, set(entry))
    source = entry["source"]
    if source not in sources:
        raise ValueError(f"Expected `source` of claim {name!r} among {', '.join(sources) or 'those of [source]'}, got {source!r}")
    sparsities = tuple(float(S) for S in entry["sparsities"])
    if not sparsities or not all(0 < S < 1 for S in sparsities) or list(sparsities) != sorted(set(sparsities)):
        raise ValueError(f"Expected `sparsities` of claim {name!r} as increasing numbers in (0, 1), got {entry['sparsities']!r}")
    kappa = entry.get("kappa")
    if kappa is not None and kappa not in ((0, 1, 2) if kind == "kappa" else (1, 2)):
        raise ValueError(f"Expected `kappa` of claim {name!r} among {'0, ' if kind == 'kappa' else ''}1, 2, got {kappa!r}")
    if kind in ("size", "overfit") and len(sparsities) != 1:
        raise ValueError(f"Expected one sparsity in claim {name!r} of kind {kind}, got {len(sparsities)}")
    than_sparsity = _number(name, "than_sparsity", entry)
    if than_sparsity is not None and (not 0 < than_sparsity < 1 or than_sparsity in sparsities):
        raise ValueError(f"Expected `than_sparsity` of claim {name!r} in (0, 1) and another than its own, got {than_sparsity:g}")
    where = sources[source] + (f": {entry['where']}" if "where" in entry else "")
    claim = Claim(
        name,
        kind,
        str(entry["statement"]),
        where,
        sparsities,
        entry.get("scorer"),
        kappa,
        entry.get("than"),
        _number(name, "points", entry),
        str(entry.get("reading", "")),
        percent=_number(name, "percent", entry),
        source=source,
        than_sparsity=than_sparsity,
        gain=_pair(name, "gain", entry),
        than_gain=_pair(name, "than_gain", entry),
        pools=_names(name, "pools", entry),
    )
    if kind == "escape" and claim.than is not None and not claim.is_of_complexity:
        raise ValueError(
            f"Expected `than` of claim {name!r} of kind escape as the control that had the same search as its scorer, "
            f"fusion_{INFORMATION}_N to fusion_SET_N, got {claim.than!r}"
        )
    return claim


def _check_fields(name: str, kind: Kind, given: set[str]) -> None:
    """Refuse a claim that lacks a field of its kind, or has one of another."""
    needed, either, some, free = _FIELDS[kind]
    missing = sorted((needed | _COMMON) - given)
    if missing:
        raise ValueError(f"Expected the fields {', '.join(missing)} in claim {name!r} of kind {kind}")
    unknown = sorted(given - needed - either - some - free - _COMMON - _FREE)
    if unknown or (either and len(either & given) != 1):
        wanted = f", and one of {', '.join(sorted(either))}" if either else ""
        raise ValueError(f"Expected only known fields{wanted} in claim {name!r} of kind {kind}, got {', '.join(sorted(given))}")
    if some and not some & given:
        raise ValueError(f"Expected the fields {' or '.join(sorted(some, reverse=True))} in claim {name!r} of kind {kind}")


def _number(name: str, field: str, entry: Mapping[str, Any]) -> float | None:
    value = entry.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"Expected `{field}` of claim {name!r} as a number, got {value!r}")
    return float(value)


def _names(name: str, field: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    value = entry.get(field, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"Expected `{field}` of claim {name!r} as a list of names, got {value!r}")
    return tuple(value)


def _pair(name: str, field: str, entry: Mapping[str, Any]) -> tuple[str, str] | None:
    value = entry.get(field)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(one, str) and one for one in value):
        raise ValueError(
            f"Expected `{field}` of claim {name!r} as two scorers, of which the first gains over the second, got {value!r}"
        )
    return value[0], value[1]


@lru_cache(maxsize=1)
def paper_claims() -> tuple[Claim, ...]:
    """Return the claims of arXiv 2605.09345 from `paper_claims.toml`.

    >>> paper_claims()[0].id
    'plateau'
    """
    from sics_data import paper_claims_text

    return load_claims(paper_claims_text())


def nearest_claim(text: str, more: Iterable[str] = ()) -> str:
    """What a mistyped claim may have meant: its kind, or an id of the paper's, or one of `more`; empty where nothing is near.

    >>> nearest_claim("escap:chaos@0.7"), nearest_claim("kapa1-at-0.7"), nearest_claim("escape:caos@0.7")
    (' (did you mean escape:chaos@0.7?)', ' (did you mean kappa1-at-0.7?)', '')
    """
    kind = re.split("[:@]", text)[0]
    kinds = ("plateau", "kappa", *_OF_SCORER)
    if rest := text.removeprefix(kind):
        meant = None if kind in kinds else nearest_of(kind, kinds)
        return "" if meant is None else f" (did you mean {meant}{rest}?)"
    return nearest(text, [*(claim.id for claim in paper_claims()), *more])


def parse_claim(text: str) -> Claim:
    """Read a claim as `--fail-on` takes it: in its grammar, or as an id of `paper_claims.toml`.

    >>> claim = parse_claim("kappa@0.7=1")
    >>> claim.kind, claim.sparsities, claim.kappa
    ('kappa', (0.7,), 1)
    >>> parse_claim("plateau").sparsities
    (0.5, 0.6, 0.7, 0.8)
    """
    stripped = text.strip()
    for claim in paper_claims():
        if claim.id == stripped:
            return claim
    for pattern in _PATTERNS:
        match = pattern.fullmatch(stripped)
        if match is not None:
            return _parsed(stripped, match.groupdict())
    raise ValueError(f"Expected a claim as {GRAMMAR} ({', '.join(claim.id for claim in paper_claims())}), got {text!r}")


def _parsed(text: str, parts: Mapping[str, str]) -> Claim:
    if "sparsity" not in parts:
        return Claim(
            text, "escape", f"{parts['scorer']} escapes.", _USER, (ONE_POOL,), scorer=parts["scorer"], named_by_user=True
        )
    try:
        sparsity = float(parts["sparsity"])
    except ValueError:
        sparsity = -1.0
    if not 0 < sparsity < 1:
        raise ValueError(f"Expected a sparsity in (0, 1) in claim {text!r}, got {parts['sparsity']!r}")
    if parts["kind"] == "plateau":
        statement = f"All rank-monotone scorers sit on one plateau at S = {sparsity:g}."
        return Claim(text, "plateau", statement, _USER, (sparsity,), named_by_user=True)
    for kind, said in _OF_SCORER.items():
        if parts["kind"] == kind:
            statement = f"{parts['scorer']} {said} at S = {sparsity:g}."
            return Claim(text, kind, statement, _USER, (sparsity,), scorer=parts["scorer"], named_by_user=True)
    kappa = int(parts["kappa"])
    return Claim(text, "kappa", f"κ({sparsity:g}) = {kappa}.", _USER, (sparsity,), kappa=kappa, named_by_user=True)
