"""Where a document goes: stdout, or a file that is either whole or absent."""

from __future__ import annotations

import sys
from pathlib import Path

from sics_cli.experiment.analysis_input import is_sqlite
from sics_cli.experiment.atomic import write_atomically
from sics_cli.experiment.errors import ConfigError, StorageError


def check_output(output: Path | None, source: Path) -> None:
    """Refuse, before any work, an output that would destroy what it is made from.

    Raises
    ------
    ConfigError
        `output` is a folder, a store or the source itself.
    """
    if output is None or str(output) == "-":
        return
    if output.is_dir() or is_sqlite(output):
        raise ConfigError(f"--output {output}: is a folder or a store; give a file to write")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"--output {output}: is the file to be read; give another")


def write_document(output: Path, text: str) -> None:
    """Put `text` at `output`.

    Raises
    ------
    StorageError
        It cannot be written; what was there is still there.
    """
    try:
        write_atomically(output, text.encode())
    except OSError as error:
        raise StorageError(f"--output {output}: cannot be written ({error.strerror or error})") from None
    print(f"written to {output}", file=sys.stderr)
