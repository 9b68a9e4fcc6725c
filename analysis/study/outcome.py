"""The result of a whole analysis: every line, family and claim, as a frame, as plain data, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sics_analysis.families.attribution import AttributionLine
from sics_analysis.families.family import FamilyResult
from sics_analysis.families.kappa import Spectrum
from sics_analysis.families.plateau import PlateauClaim
from sics_analysis.families.run_wide import RunWide
from sics_analysis.families.searched import SearchedStudy
from sics_analysis.looks.outcome import Looks
from sics_analysis.one_scorer.bootstrap import Bootstrap
from sics_analysis.one_scorer.effect import EffectSize
from sics_analysis.one_scorer.equivalence import EquivalenceResult
from sics_analysis.one_scorer.mcnemar import McNemarResult
from sics_analysis.results import (
    ONE_POOL,
    DataCheck,
    HowFar,
    Interval,
    LineRow,
    Metric,
    Row,
    RowValue,
    Seed,
    Winner,
    columns,
    flags_of,
    limits,
)
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.table import Table
from sics_analysis.study.told import told

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Line(LineRow):
    """A scorer against the reference at one sparsity: its row of the report, and the tests behind it."""

    contrast: Contrast
    equivalence: EquivalenceResult
    effect: EffectSize
    bootstrap: Bootstrap

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of the difference; None below three seeds."""
        return self.contrast.t_interval(level)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        return self.sentence

    def to_row(self) -> Row:
        """Return the columns of `Analysis.to_frame` as one row; what is undefined is None."""
        return {
            **columns(self, "scorer sparsity n difference=mean"),
            **limits("ci90", self.ci90),
            **limits("ci95", self.ci95),
            **columns(self, _TESTS),
            **columns(self, "verdict reason"),
        }


SCHEMA = 2
_TESTS = (
    "p_equivalence p_equivalence_holm p_noninferior p_nonsuperior p_superior p_escape p_escape_adjusted p_degrade_adjusted "
    "p_escape_adjusted_run p_degrade_adjusted_run p_min_attainable"
)
_NUMBERS = f"sparsity difference ci90_low ci90_high ci95_low ci95_high {_TESTS}".split()
COLUMNS = ("scorer", "sparsity", "n", *_NUMBERS[1:], "verdict", "reason", "flag")


@dataclass(frozen=True, slots=True)
class Families:
    """The tests of the escape family at one sparsity."""

    sparsity: float
    members: tuple[str, ...]  # those included that left before any test because they are degenerate
    escape: FamilyResult
    degrade: FamilyResult
    superiority: FamilyResult


@dataclass(frozen=True, slots=True)
class RunTests:
    """The families of all sparsities as one: above +delta and below −delta."""

    escape: RunWide
    degrade: RunWide


@dataclass(frozen=True, slots=True)
class McNemarLine:
    """Exact McNemar of one scorer against the reference at one seed: those two networks only."""

    scorer: str
    sparsity: float
    seed: Seed
    result: McNemarResult

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Interval of the difference over new examples for these two networks; None where no example tells them apart."""
        return self.result.confidence_interval(level)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        return f"S = {self.sparsity:g}: {self.result.describe()}"

    def to_row(self) -> Row:
        """Return the numbers as one row."""
        return {**self.result.to_row(), "scorer": self.scorer, "sparsity": self.sparsity, "seed": self.seed}


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Everything said about a run. Made by `analyse`; differences, intervals and delta in accuracy points.

    Attributes
    ----------
    lines
        A line per scorer (but the reference) and sparsity, by S, then κ, then name.
    plateaus
        Per S the claim that every κ = 0 scorer sits on the plateau; see `plateau`.
    families
        Per S the escape, degradation and superiority tests of the escape family.
    over_run
        The same tests of escape and degradation adjusted over all S.
    spectrum, spectrum_reason
        κ(S), or None and why it is not available.
    attribution
        The κ ≥ 1 scorers against the `information` control.
    winners
        Per S the best of the escape family, by its simultaneous interval.
    mcnemar
        Per scorer, S and seed, where per-example results were given.
    noise_floor
        Points by S, where known.
    plan
        What the caller fixed before the run, kept as it was given.
    checks
        What to know of the rows before any verdict.
    assumed
        How the frame was read, where it did not say it itself.
    rows
        The frame under the project's names.
    how_far
        Against the dense network: up to which S each scorer is shown not worse by δ; empty with another reference.
    looks
        Under a plan of looks: those made, and the look of every verdict. Lines, families, κ(S) and attribution then have the
        seeds of the looks made, sequential p-values and repeated intervals.
    searched
        Of scorers whose weights were searched: the split of their gain by matched controls, budget curve, over-fitting gap; and
        what scorers gain by the pool of the run. None where there are none.
    """

    table: Table
    reference: str
    delta: float
    alpha: float
    seed: int
    draws: int
    lines: tuple[Line, ...]
    plateaus: tuple[PlateauClaim, ...]
    families: tuple[Families, ...]
    over_run: RunTests
    spectrum: Spectrum | None
    spectrum_reason: str
    attribution: tuple[AttributionLine, ...]
    winners: tuple[Winner, ...]
    mcnemar: tuple[McNemarLine, ...]
    noise_floor: Mapping[float, float]
    plan: Mapping[str, Any]
    checks: tuple[DataCheck, ...] = ()
    assumed: tuple[str, ...] = ()
    rows: Any = None
    how_far: tuple[HowFar, ...] = ()
    looks: Looks | None = None
    searched: SearchedStudy | None = None

    @property
    def metric(self) -> Metric:
        """What was measured; differences, intervals and delta are in its unit, with better upwards."""
        return self.table.metric

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """All seeds of the frame, sorted; a line counts only its complete ones."""
        return self.table.seeds

    @property
    def sparsities(self) -> tuple[float, ...]:
        """The sparsities of the frame above 0."""
        return self.table.sparsities

    @property
    def scorers(self) -> tuple[str, ...]:
        """The scorers, by κ (none last) and name."""
        return self.table.scorers

    @property
    def kappa(self) -> Mapping[str, int | None]:
        """Complexity of each scorer; None for controls, baselines and where unknown."""
        return self.table.kappa

    @property
    def has_kappa(self) -> bool:
        """Whether the frame says anything about κ."""
        return self.table.has_kappa

    @property
    def unit(self) -> str | None:
        """What was pruned, where the frame says so."""
        return self.table.unit

    @property
    def pool(self) -> str | None:
        """What was ranked against each other, where the frame says so."""
        return self.table.pool

    def line(self, scorer: str, sparsity: float) -> Line:
        """Return one line; KeyError where there is none."""
        for line in self.lines:
            if line.scorer == scorer and line.sparsity == round(sparsity, 9):
                return line
        raise KeyError(f"Expected a line of this analysis, got {scorer!r} at S = {sparsity:g}")

    def family(self, sparsity: float) -> Families:
        """Return the family tests at one sparsity; KeyError where there are none."""
        for family in self.families:
            if family.sparsity == round(sparsity, 9):
                return family
        raise KeyError(f"Expected a sparsity of this analysis, got {sparsity:g}")

    def plateau(self, sparsity: float) -> PlateauClaim | None:
        """Return the joint claim that the κ = 0 scorers sit on one plateau at one sparsity.

        Against a scorer, the claim is about all other κ = 0 scorers and that reference; against "plateau", about all
        pairs of κ = 0 scorers. None where there are none to compare, so no fewer than two, or delta lies below the
        noise floor.
        """
        return next((claim for claim in self.plateaus if claim.sparsity == round(sparsity, 9)), None)

    def contrast(self, scorer: str, other: str, sparsity: float) -> Contrast:
        """Pair any two scorers ("plateau" pools the κ = 0 ones) at one sparsity."""
        return self.table.contrast(scorer, other, round(sparsity, 9))

    def below_noise(self, sparsity: float) -> bool:
        """Whether delta lies below the noise floor at this sparsity, so that nothing is concluded there."""
        floor = self.noise_floor.get(round(sparsity, 9))
        return floor is not None and self.delta < floor

    def to_frame(self) -> pd.DataFrame:
        """Return a row per line with the columns of `COLUMNS`; undefined numbers are pandas' missing value.

        `flag` names the open data checks that touch a line, "" where none does.
        """
        import pandas as pd

        frame = pd.DataFrame([self._as_read(line.to_row()) for line in self.lines], columns=list(COLUMNS))
        return frame.astype({**dict.fromkeys(_NUMBERS, "float64"), "n": "int64"})

    def _as_read(self, row: Row) -> Row:
        """A row of a line in the metric's own direction, and its words in the metric's unit."""
        if self.metric.lower_is_better:
            row = {**row, "difference": self._turned(row["difference"])}
            for level in ("ci90", "ci95"):
                low, high = row[f"{level}_low"], row[f"{level}_high"]
                row |= {f"{level}_low": self._turned(high), f"{level}_high": self._turned(low)}
        flag = flags_of(self.checks, str(row["scorer"]), float(row["sparsity"] or 0.0))
        return {**row, "reason": self.told(str(row["reason"])), "flag": flag}

    def _turned(self, value: RowValue) -> RowValue:
        return self.metric.turned(value) if isinstance(value, float) else value

    def told(self, text: str) -> str:
        """A sentence of a part of this analysis in the metric's own unit and direction."""
        return told(text, self.metric, self.scorers, pooled=self.sparsities == (ONE_POOL,))

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested data, ready for `json.dumps(..., allow_nan=False)`; undefined numbers are None.

        Lines are in the metric's own direction; families, winners, attribution, McNemar, how far, looks and searched scorers have
        better upwards.
        """
        found = {
            "schema": SCHEMA,
            **columns(self, "reference delta alpha seed draws"),
            "seeds": list(self.seeds),
            "sparsities": list(self.sparsities),
            "kappa": {name: self.kappa[name] for name in self.scorers},
            **columns(self, "unit pool"),
            "metric": asdict(self.metric),
            "checks": [asdict(check) for check in self.checks],
            "assumed": list(self.assumed),
            "noise_floor": {repr(S): floor for S, floor in sorted(self.noise_floor.items())},
            "plan": dict(self.plan),
            "lines": [self._line(line) for line in self.lines],
            "plateaus": [claim.to_row() for claim in self.plateaus],
            "families": [
                {
                    "sparsity": family.sparsity,
                    "members": list(family.members),
                    **{name: getattr(family, name).to_rows() for name in ("escape", "degrade", "superiority")},
                }
                for family in self.families
            ],
            "over_run": columns(self.over_run, "escape_method=escape.method degrade_method=degrade.method"),
            "spectrum": self.spectrum
            and {"points": self.spectrum.to_rows(), "monotonicity": self.spectrum.monotonicity.to_row()},
            "spectrum_reason": self.spectrum_reason,
            "attribution": [line.to_row() for line in self.attribution],
            "winners": [winner.to_row() for winner in self.winners],
            "mcnemar": [line.to_row() for line in self.mcnemar],
            "how_far": [found.to_row() | {"steps": found.to_rows()} for found in self.how_far],
        }
        if self.looks is not None:
            found["looks"] = {
                "plan": self.looks.plan.to_dict(),
                **self.looks.to_row(),
                "lines": [line.to_row() | {"looks": [look.to_row() for look in line.looks]} for line in self.looks.lines],
            }
        if self.searched is not None:
            found["searched"] = self.searched.to_dict()
        plain: dict[str, Any] = _plain(found)
        return plain

    def _line(self, line: Line) -> dict[str, Any]:
        simultaneous, crossed = (self.metric.turned_interval(found) for found in (line.simultaneous, line.crossed))
        return {
            **self._as_read(line.to_row()),
            **columns(line, "kappa in_family"),
            "seeds": list(line.seeds),
            "differences": [self.metric.turned(value) for value in line.differences],
            **columns(line, "p_signflip=p_equivalence_signflip p_bootstrap=p_equivalence_bootstrap smallest_delta"),
            "hedges_g": line.effect.to_row(),
            "simultaneous": simultaneous and asdict(simultaneous),
            "bootstrap": line.bootstrap.to_row(),
            "crossed": crossed and asdict(crossed),
            "split": line.split and asdict(line.split),
        }

    def describe(self) -> str:
        """Return the analysis as sentences, one per line."""
        kappa = f"κ(S) is not available: {self.spectrum_reason}." if self.spectrum is None else self.spectrum.describe()
        parts: list[HowFar | PlateauClaim | Line | Winner | AttributionLine]
        parts = [*self.how_far, *self.plateaus, *self.lines, *self.winners, *self.attribution]
        said = [self.told(part.describe()) for part in parts]
        first = [f"Assumed: {text}." for text in self.assumed]
        first += [f"Data check, {check.level}: {check.text}." for check in self.checks]
        looked = [] if self.looks is None else [self.told(self.looks.describe())]
        searched = [] if self.searched is None else [self.told(self.searched.describe())]
        return "\n".join([*first, *looked, *said, kappa, *searched])


def _plain(value: Any) -> Any:
    """Copy nested data as JSON knows it: tuples become lists, numpy scalars Python's, infinite and nan None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, str):  # a numpy array or scalar
        value = value.tolist()
        if isinstance(value, list):
            return _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
