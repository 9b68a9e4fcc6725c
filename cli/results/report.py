"""From a run, or a CSV of any framework, to what `sics_analysis.analyse` takes, with all a report must say of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sics_cli.base.errors import ConfigError, did_you_mean
from sics_cli.experiment.recipe import DENSE
from sics_cli.results.source import DEFAULT_REFERENCE, InputError, Settings, Source
from sics_cli.results.tables import Reading

if TYPE_CHECKING:
    from sics_analysis.claims.statement import Claim
    from sics_analysis.report.document.document import ReportDocument
    from sics_analysis.study.outcome import Analysis


LARGE_FILE = 4_000_000  # bytes that take so long that it is told: some 100 000 rows of text
Tell: TypeAlias = Callable[[str], None]


def settings_of(source: Source, reading: Reading, alpha: float | None, reference: str | None) -> Settings:
    """The settings of an analysis: as planned, but for what was asked for; the margin in the unit it was said in."""
    delta = reading.asked.margin_of(source.metric)
    if delta is not None and source.metric.is_accuracy and delta >= source.metric.scale:
        accepts = (
            "a fraction above 0 and below 1" if reading.asked.share == "fraction" else "accuracy points above 0 and below 100"
        )
        raise ConfigError(f"--delta {reading.delta:g}: is not accepted: give {accepts}")
    return source.settings(delta, alpha, reference)


def check_reference(source: Source, reference: str) -> None:
    """Refuse a reference that the rows do not have."""
    from sics_analysis.rows.reading.names import likely_reference

    frame = source.frame
    known = sorted(frame["scorer"][frame["sparsity"] > 0].unique())
    dense = (frame["sparsity"] == 0).any()
    rank_monotone = "kappa" in frame.columns and (frame["kappa"] == 0).any()
    if reference in known or (reference == DENSE and dense) or (reference == "plateau" and rank_monotone):
        return
    if reference == DENSE:
        raise ConfigError("--reference 'dense': needs the dense networks, rows of sparsity 0, which are not there")
    if reference == "plateau":
        raise ConfigError("--reference 'plateau': needs rows of kappa 0, which the scorers of these rows are not said to be")
    choices = [*known, *(["plateau"] if rank_monotone else []), *([DENSE] if dense else [])]
    if reference == DEFAULT_REFERENCE:
        usual = likely_reference(choices)
        likely = "" if usual is None else f" ({usual} is the likely one)"
        raise ConfigError(
            f"{reference}, the default reference, is not among the scorers: give --reference {' | '.join(choices)}{likely}"
        )
    raise ConfigError(
        f"--reference {reference!r}: is not among the scorers{did_you_mean(reference, choices)}: give {' | '.join(choices)}"
    )


def analyse_source(source: Source, settings: Settings, n_resamples: int | None = None, tell: Tell | None = None) -> Analysis:
    """Analyse under `settings`, with the looks of the plan where they hold under these; no verdict rests on `n_resamples`."""
    from sics_analysis.one_scorer.bootstrap import N_RESAMPLES
    from sics_analysis.results import DataCheckWarning
    from sics_analysis.study.analyse import analyse

    check_reference(source, settings.reference)
    looks = source.looks_under(settings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataCheckWarning)  # a report has a block of them
            return analyse(
                source.frame,
                settings.reference,
                settings.delta,
                settings.alpha,
                noise_floor=source.noise_floor or None,
                bits=source.bits,
                metric=source.metric,
                unpaired=source.unpaired,
                checks=source.checks,
                looks=looks,
                ended=None if looks is None else source.ended,
                n_resamples=N_RESAMPLES if n_resamples is None else n_resamples,
                progress=None if tell is None else lambda done, total: tell(f"analysing S {done + 1} of {total}"),
                plan={"fixed": source.origin.fixed, "stamps": list(source.stamps_under(settings))},
            )
    except ValueError as error:
        raise InputError(f"{source.title}: {error}") from None


@contextmanager
def told_on_terminal(*paths: Path) -> Iterator[Tell | None]:
    """One line on a terminal that says what takes so long, and is gone at the end; None for what takes no time."""
    size = sum(path.stat().st_size for path in paths if path.is_file())
    if size < LARGE_FILE or not sys.stderr.isatty():
        yield None
        return

    def tell(text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        tell("")


def document_of(source: Source, settings: Settings, gates: Sequence[Claim] = (), tell: Tell | None = None) -> ReportDocument:
    """Analyse under `settings` and collect everything a report says."""
    from sics_analysis.claims.scorecard import check_claim
    from sics_analysis.report.build import build_document

    analysis = analyse_source(source, settings, tell=tell)
    if tell is not None:
        tell("collecting what the report says")
    for gate in gates:
        try:
            check_claim(gate, analysis)
        except ValueError as error:
            raise ConfigError(f"--fail-on {gate.id!r}: {error}") from None
    return build_document(analysis, source.frame, source.origin_under(settings), gates)


def is_document(path: Path) -> bool:
    """Whether the file's name ends as a report kept as JSON does, and it is no table written as JSON."""
    from sics_cli.results.files import is_json_table

    return path.suffix.lower() == ".json" and path.is_file() and not is_json_table(path)


def read_document(path: Path, gates: Sequence[Claim] = ()) -> ReportDocument:
    """Read a kept report; its gates are replaced by `gates`, which must be claims that it was asked when it was made."""
    from sics_analysis.report.document.document import ReportDocument

    try:
        document = ReportDocument.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a report as --format json writes it, nor a list of rows: {error}") from None
    known = {claim.id: claim for claim in (*document.claims, *document.gates)}
    if not gates:
        return replace(document, gates=())
    unknown = [gate.id for gate in gates if gate.id not in known]
    if unknown:
        raise ConfigError(
            f"--fail-on {unknown[0]!r}: was not asked of {path.name} when it was made, which holds {', '.join(known)}: "
            "give the run or CSV it was made from"
        )
    return replace(document, gates=tuple(replace(known[gate.id], gate=True) for gate in gates))


def refuse_settings(path: Path, given: Mapping[str, object]) -> None:
    """Refuse settings beside a kept report, which was analysed under its own."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--{name}: {path.name} is a report under its own settings: give the run or CSV it was made from")
