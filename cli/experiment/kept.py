"""A report kept as JSON: read back, to be shown again in another format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sics_cli.experiment.analysis_input import InputError
from sics_cli.experiment.errors import ConfigError

if TYPE_CHECKING:
    from sics_analysis.claims.statement import Claim
    from sics_analysis.report.document.document import ReportDocument


def is_document(path: Path) -> bool:
    """Whether the file's name ends as a report kept as JSON does."""
    return path.suffix.lower() == ".json" and path.is_file()


def read_document(path: Path, gates: Sequence[Claim] = ()) -> ReportDocument:
    """Read a kept report; its gates are replaced by `gates`, which it must know.

    Raises
    ------
    InputError
        In one line: not a report, or of another version.
    ConfigError
        A gate on a claim that was not set against the rows when the report was made.
    """
    from sics_analysis.report.document.document import ReportDocument

    try:
        document = ReportDocument.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a report as --format json writes it: {error}") from None
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
    """Refuse settings beside a kept report, which was analysed under its own.

    Raises
    ------
    ConfigError
        In one line, naming the first.
    """
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--{name}: {path.name} is a report under its own settings: give the run or CSV it was made from")
