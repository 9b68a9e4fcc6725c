"""What the paper, or a gate on the command line, claims: read, and named.

`sics_analysis.claims.rules` holds the logic that sets a claim against an analysis.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

from sics_analysis.results import ONE_POOL

Kind: TypeAlias = Literal["plateau", "kappa", "escape", "noninferior", "nonsuperior", "size", "below"]
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


_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {  # kind -> fields needed, fields of which exactly one is needed
    "plateau": (set(), set()),
    "kappa": ({"kappa"}, set()),
    "escape": ({"scorer"}, set()),
    "noninferior": ({"scorer"}, set()),
    "nonsuperior": ({"scorer"}, set()),
    "size": ({"points"}, {"scorer", "kappa"}),
    "below": ({"than"}, {"scorer", "kappa"}),
}
_COMMON = {"id", "kind", "statement", "where", "sparsities"}


def load_claims(text: str) -> tuple[Claim, ...]:
    """Read claims in the format of `paper_claims.toml`; a ValueError of one line names the claim and the field at fault.

    >>> text = '''
    ... schema = 1
    ... [[claim]]
    ... id = "mine"
    ... kind = "escape"
    ... scorer = "chaos"
    ... sparsities = [0.8]
    ... statement = "chaos escapes at 0.8"
    ... where = "here"
    ... '''
    >>> load_claims(text)[0].scorer
    'chaos'
    """
    document = tomllib.loads(text)
    if document.get("schema") != 1:
        raise ValueError(f"Expected `schema = 1` in the claims file, got {document.get('schema')!r}")
    claims = tuple(_read(entry) for entry in document.get("claim", []))
    names = [claim.id for claim in claims]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Expected every claim id once, got {', '.join(repeated)} again")
    return claims


def _read(entry: Mapping[str, Any]) -> Claim:
    name = entry.get("id")
    if not isinstance(name, str) or not name:
        raise ValueError(f"Expected an `id` in every claim, got {name!r}")
    kind: Kind | None = entry.get("kind")
    if kind is None or kind not in get_args(Kind):
        raise ValueError(f"Expected `kind` of claim {name!r} among {', '.join(get_args(Kind))}, got {kind!r}")
    needed, either = _FIELDS[kind]
    missing = sorted((needed | _COMMON) - set(entry))
    if missing:
        raise ValueError(f"Expected the fields {', '.join(missing)} in claim {name!r} of kind {kind}")
    unknown = sorted(set(entry) - needed - either - _COMMON - {"reading"})
    if unknown or (either and len(either & set(entry)) != 1):
        wanted = f", and one of {', '.join(sorted(either))}" if either else ""
        raise ValueError(f"Expected only known fields{wanted} in claim {name!r} of kind {kind}, got {', '.join(sorted(entry))}")
    sparsities = tuple(float(S) for S in entry["sparsities"])
    if not sparsities or not all(0 < S < 1 for S in sparsities) or list(sparsities) != sorted(set(sparsities)):
        raise ValueError(f"Expected `sparsities` of claim {name!r} as increasing numbers in (0, 1), got {entry['sparsities']!r}")
    kappa = entry.get("kappa")
    if kappa is not None and kappa not in ((0, 1, 2) if kind == "kappa" else (1, 2)):
        raise ValueError(f"Expected `kappa` of claim {name!r} among {'0, ' if kind == 'kappa' else ''}1, 2, got {kappa!r}")
    points = entry.get("points")
    if kind == "size" and len(sparsities) != 1:
        raise ValueError(f"Expected one sparsity in claim {name!r} of kind size, got {len(sparsities)}")
    return Claim(
        name,
        kind,
        str(entry["statement"]),
        str(entry["where"]),
        sparsities,
        entry.get("scorer"),
        kappa,
        entry.get("than"),
        None if points is None else float(points),
        str(entry.get("reading", "")),
    )


@lru_cache(maxsize=1)
def paper_claims() -> tuple[Claim, ...]:
    """Return the claims of arXiv 2605.09345 from `paper_claims.toml`.

    >>> paper_claims()[0].id
    'plateau'
    """
    from sics_data import paper_claims_text

    return load_claims(paper_claims_text())


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
