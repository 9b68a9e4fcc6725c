"""A table for the adaptive scorer from a report of ``sics-run replicate``: by what the report claims, never by the best mean.

The rule, for every sparsity S of the report:

1. κ(S) = 0 is claimed: magnitude.
2. Classes of κ ≥ 1 ESCAPE (of the claimed κ where one is claimed): the one whose simultaneous interval begins highest. These
   intervals hold jointly for all of the family, so they still hold for the one that is picked (no winner's curse).
3. None escapes: among classes whose simultaneous interval lies above −δ (not worse by δ) and reaches above +δ (better by δ is
   possible), the one whose interval begins highest.
4. Otherwise magnitude.

For an S in between, the nearest of the report's counts, the lower of two as near; further than 0.1 from all it is magnitude.
Controls and baselines have no κ, and are not among the classes. A class runs at the strength α of the report's, and the table is
for the report's unit, pool and kind of saliency: others are refused, where they can be seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sics_plugin.scorers.adaptive import PLATEAU, AdaptiveTable, Step

SCHEMAS, KIND = (2, 3), "sics-report"
REACH = 0.1
#: References that are the magnitude plateau.
REFERENCES = (PLATEAU, "plateau")
DATA_FREE = "neighbourhood"


@dataclass(frozen=True, slots=True)
class _Line:
    """One class at one S; ``low`` and ``high`` of its simultaneous interval, in accuracy points."""

    scorer: str
    kappa: int
    sparsity: float
    escapes: bool
    low: float
    high: float


def table_from_report(path: str | Path) -> AdaptiveTable:
    """Read the JSON of a report and choose a class for each of its sparsities, by the rule of this module.

    A ValueError of one line for what cannot be read, is no report of this schema, compares with another reference than magnitude,
    or claims a class that is not registered.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ValueError(f"{path}: cannot be read ({reason})") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: is not JSON; give the report.json of a run") from None
    try:
        return _table(_Object(data, "report"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _table(report: _Object) -> AdaptiveTable:
    if report.value("kind", str, missing="") != KIND:
        raise ValueError(f"Expected a report (kind {KIND!r}), got {report.data.get('kind')!r:.40}")
    if report.value("schema", int) not in SCHEMAS:
        known = " or ".join(map(str, SCHEMAS))
        raise ValueError(f"Expected a report of schema {known}, got {report.data['schema']}: make it again from the run")
    settings, source = report.object("settings"), report.object("source")
    reference, delta = settings.value("reference", str), settings.number("delta")
    if reference not in REFERENCES:
        raise ValueError(f"Expected a report against {PLATEAU}, got one against {reference!r:.40}")
    unit, pool = (report.value(name, str, type(None)) for name in ("unit", "pool"))
    saliency = source.value("saliency", str, type(None), missing=None)
    lines = [line for entry in report.objects("lines") if (line := _line(entry)) is not None]
    claimed = {
        point.number("sparsity"): point.value("kappa", int, type(None)) for point in report.object("spectrum").objects("points")
    }
    if delta <= 0:
        raise ValueError(f"Expected a margin above 0 in report.settings.delta, got {delta:g}")
    measured = sorted({entry.number("sparsity") for entry in report.objects("sparsities")} - {0.0})
    if wrong := [s for s in measured if not 0 < s < 1]:
        raise ValueError(f"Expected sparsities in [0, 1) in report.sparsities, got {wrong[0]:g}")
    if not measured:
        raise ValueError("Expected at least one sparsity in report.sparsities, got none")
    steps = [_step(s, [line for line in lines if line.sparsity == s], claimed.get(s), delta) for s in measured]
    # Reports that do not say at what strength a class ran leave it at its default.
    told = source.objects("strengths") if "strengths" in source.data else []
    strengths = {entry.value("scorer", str): entry.number("alpha") for entry in told}
    strong = tuple(replace(step, alpha=strengths.get(step.scorer)) for step in steps)
    stamps = "".join(f"; {stamp}" for stamp in settings.value("stamps", list))
    identity = source.value("identity", str)[:12]
    about = f"unit {unit}, pool {pool}, saliency {saliency or 'unknown'}, δ = {delta:g}"
    words = f"report {identity or source.value('title', str)}: {about}{stamps}"
    # A class of κ ≥ 1 is ranked in the global pool where every scorer has the pool of its source.
    return AdaptiveTable(strong, words, REACH, unit, "global" if pool == "native" else pool, saliency != DATA_FREE, saliency)


def _step(sparsity: float, lines: Sequence[_Line], kappa: int | None, delta: float) -> Step:
    where = f"at S = {sparsity:g}"
    if kappa == 0:
        return Step(sparsity, PLATEAU, None, f"κ = 0 is claimed {where}")
    escaped = _highest([line for line in lines if line.escapes and (kappa is None or line.kappa == kappa)])
    if escaped is not None:
        claim = "κ is undetermined" if kappa is None else f"κ = {kappa} is claimed"
        what = f"it ESCAPES {where} ({claim}), and its simultaneous interval begins highest, at {escaped.low:+.2f} points"
        return Step(sparsity, escaped.scorer, None, what)
    possible = _highest([line for line in lines if line.low > -delta and line.high > delta])
    if possible is not None:
        what = f"no class is shown to escape {where}, but this one is not worse by δ and may be better by it"
        interval = f"simultaneous interval {possible.low:+.2f} to {possible.high:+.2f}"
        return Step(sparsity, possible.scorer, None, f"{what} ({interval})")
    return Step(sparsity, PLATEAU, None, f"no class is shown to escape {where}, nor to be no worse by δ and perhaps better")


def _highest(lines: Sequence[_Line]) -> _Line | None:
    """The line whose interval begins highest; of equal ones the simpler, then the first."""
    return max(lines, key=lambda line: (line.low, -line.kappa), default=None)


def _line(entry: _Object) -> _Line | None:
    """A line of the escape family; None for any other, and for one without an interval."""
    kappa, interval = entry.value("kappa", int, type(None)), entry.data.get("simultaneous")
    if not entry.value("in_family", bool) or kappa not in (1, 2) or interval is None:
        return None
    limits = _Object(interval, f"{entry.where}.simultaneous")
    verdict = entry.value("verdict", str)
    low, high = limits.number("low"), limits.number("high")
    if low > high:
        raise ValueError(f"Expected low up to high in {limits.where}, got {low:g} and {high:g}")
    return _Line(entry.value("scorer", str), kappa, entry.number("sparsity"), verdict == "ESCAPES", low, high)


class _Object:
    """A JSON object whose fields are checked when they are asked for."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise ValueError(f"Expected an object in {where}, got {type(data).__name__}")
        self.data, self.where = data, where

    def value(self, name: str, *kinds: type, missing: Any = ...) -> Any:
        found = self.data.get(name, missing)
        if found is ...:
            raise ValueError(f"Expected {name} in {self.where}, missing")
        if type(found) not in kinds:
            words = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ValueError(f"Expected {words} in {self.where}.{name}, got {found!r:.40}")
        return found

    def number(self, name: str) -> float:
        given = self.value(name, int, float)
        try:
            found = float(given)
        except OverflowError:  # a whole number of hundreds of digits
            found = math.inf
        if not math.isfinite(found):
            raise ValueError(f"Expected a finite number in {self.where}.{name}, got {found}")
        return found

    def object(self, name: str) -> _Object:
        return _Object(self.value(name, dict), f"{self.where}.{name}")

    def objects(self, name: str) -> list[_Object]:
        return [_Object(item, f"{self.where}.{name}") for item in self.value(name, list)]
