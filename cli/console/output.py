"""Where a document goes: stdout, or a file that is either whole or absent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError
from sics_cli.base.files import write_atomically, written_for
from sics_cli.store.database import is_sqlite

if TYPE_CHECKING:
    from sics_analysis.report.document.document import ReportDocument
    from sics_plugin.complexity.result import Complexity


def check_output(output: Path | None, source: Path) -> None:
    """Refuse, before any work, an output that would destroy what it is made from."""
    if output is None or str(output) == "-" or is_stream(output):
        return
    if output.is_dir() or is_sqlite(output):
        raise ConfigError(f"--output {output}: is a folder or a store; give a file to write")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"--output {output}: is the file to be read; give another")


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket, such as /dev/stdout: what is written to, and never replaced."""
    return path.exists() and not (path.is_file() or path.is_dir())


def check_folder(option: str, folder: Path | None) -> None:
    """Refuse, before any work, a place where no folder can be."""
    if folder is None:
        return
    found = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not found.is_dir():
        which = "is a file" if found == folder else f"lies in {found}, which is a file"
        raise ConfigError(f"{option} {folder}: {which}; give a folder")


def write_document(output: Path, document: str | bytes) -> None:
    """Put `document` at `output`; a link keeps pointing where it does, and a device or pipe is written to."""
    data = document.encode() if isinstance(document, str) else document
    with written_for("--output", output):
        if is_stream(output):
            with output.open("wb") as stream:
                stream.write(data)
        else:
            write_atomically(output.resolve(), data)
    print(f"written to {output}", file=sys.stderr)


def write_figures(folder: Path, document: ReportDocument) -> None:
    """Write every figure of a report into `folder`, as PDF and PNG."""
    from sics_analysis.report import save_figures

    with written_for("--figures", folder):
        written = save_figures(document, folder)
    print(f"{plural(len(written), 'file')} written to {folder}", file=sys.stderr)


def write_surfaces(folder: Path, found: Sequence[tuple[Complexity, int]]) -> None:
    """Write the figure of every measured scorer, with the seed of its network, into `folder`, as PDF and PNG."""
    from sics_analysis.report.figures.surface import save_surface

    written: list[Path] = []
    with written_for("--figures", folder):
        for one, seed in found:
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in one.name)
            kappa = "" if one.kappa is None else f", κ = {one.kappa}"
            said = (
                f"Measured: {one.kind}{kappa}; {100 * one.confidence:.0f} % of bootstrap draws agree ({plural(one.n, 'unit')})."
            )
            surface = one.surface
            written += save_surface(
                folder, f"{stem}-seed-{seed}", one.name, surface.score, surface.curve, sparsity=surface.sparsity, said=said
            )
    print(f"{plural(len(written), 'file')} written to {folder}", file=sys.stderr)
