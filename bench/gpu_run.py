"""Go on with a run from packed results, for as long as there is, and pack it again: `make gpu-run PRESET=… SEEDS=… UNIT=…`.

    python bench/gpu_run.py --packed build/gpu-run/cifar10-vit-micro-weight --minutes 8 -- --preset cifar10-vit-micro --seeds 60

What stands after `--` goes to `sics-run replicate`. A machine that is lent for minutes keeps nothing: the pack is all that
lasts, so it is small, in a few files. It holds the store, the curves of training, and of unfinished seeds the network and its
saliencies, as far as there is room. A finished seed needs none of these unless a scorer is added; an unfinished one whose network
did not fit trains again, to the same bits where nothing is flagged nondeterministic.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import lzma
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What comes back from a lent machine: so many bytes a file, so many files.
FILE_BYTES, FILES = 16 << 20, 8
_NAME = "run.tar.xz."


class PackError(Exception):
    """A pack that cannot be made or read, in a line."""


def unfinished(folder: Path) -> set[int]:
    """Seeds that have fewer cells than the seed with the most."""
    store = folder / "run.sqlite"
    if not store.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        counts = dict(connection.execute("SELECT seed, count(*) FROM cells GROUP BY seed").fetchall())
    begun = {seed for path in (folder / "checkpoints").glob("*") if (seed := _seed(path)) is not None}
    most = max(counts.values(), default=0)
    return {seed for seed in {*counts, *begun} if counts.get(seed, 0) < most or not most}


def _seed(path: Path) -> int | None:
    """The seed that a file of networks names: `seed-3-….safetensors`, `training-3-….safetensors`, `saliency-3-gradient-….pkl`."""
    words = path.name.split("-")
    return int(words[1]) if len(words) > 2 and words[1].isdigit() else None


def contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that every pack has, and those that go along while there is room, the most useful first."""
    first = [folder / "run.sqlite", *sorted((folder / "curves").glob("*")), *sorted((folder / "inbox").glob("*.json"))]
    left = unfinished(folder)
    more = [path for path in sorted((folder / "checkpoints").glob("*")) if path.is_file() and _seed(path) in left]
    return [path for path in first if path.is_file()], sorted(more, key=lambda path: path.stat().st_size)


def pack(folder: Path, into: Path) -> list[Path]:
    """Write the pack of a run; an older one in its place goes when the new one is whole."""
    always, more = contents(folder)
    if not always:
        raise PackError(f"{folder}: holds no run to pack")
    room = FILE_BYTES * FILES
    data = _tar(folder, always)
    if len(data) > room:
        raise PackError(f"{folder}: the store alone takes {len(data):,} bytes, and {room:,} fit: take fewer seeds a run")
    took: list[Path] = []
    budget = room - len(data)
    for path in more:  # networks and saliencies are noise to a compressor: what they take is what they are
        if path.stat().st_size + 65536 <= budget:
            took.append(path)
            budget -= path.stat().st_size + 65536
    if took:
        data = _tar(folder, [*always, *took])
    fresh = into.with_name(into.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    written = []
    for number, begin in enumerate(range(0, len(data), FILE_BYTES)):
        (fresh / f"{_NAME}{number}").write_bytes(data[begin : begin + FILE_BYTES])
        written.append(into / f"{_NAME}{number}")
    shutil.rmtree(into, ignore_errors=True)
    fresh.rename(into)
    return written


def _tar(folder: Path, paths: list[Path]) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        for path in paths:
            archive.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False)
    return lzma.compress(found.getvalue(), preset=1)


def unpack(packed: Path, folder: Path) -> bool:
    """Put a pack's files into a run's folder; False where there is no pack."""
    parts = sorted(packed.glob(f"{_NAME}*"), key=lambda path: int(path.suffix[1:]))
    if not parts:
        return False
    if [int(path.suffix[1:]) for path in parts] != list(range(len(parts))):
        raise PackError(f"{packed}: a part is missing: there are {', '.join(path.name for path in parts)}")
    try:
        data = lzma.decompress(b"".join(path.read_bytes() for path in parts))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        raise PackError(f"{packed}: cannot be read ({error}): fetch it again") from None
    return True


def go_on(folder: Path, arguments: list[str], minutes: float) -> int:
    """Have `sics-run replicate` go on for so long, then stop it as Ctrl-C does: finished cells are kept. Its exit code."""
    command = [sys.executable, "-m", "sics_cli", "replicate", "--out", str(folder), "--no-report", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main() -> int:
    """Unpack, go on, pack; the exit code is that of the run, and 0 where its time was up."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--packed", type=Path, required=True, help="folder of the pack, read first and written at the end")
    parser.add_argument("--into", type=Path, help="another folder for the new pack")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long the run may take  [default: 8]")
    parser.add_argument("arguments", nargs="*", help="of sics-run replicate, after --")
    asked = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        try:
            found = unpack(asked.packed, folder)
            print(f"{asked.packed}: {'goes on' if found else 'no pack yet: begins'}", flush=True)
            code = go_on(folder, asked.arguments, asked.minutes)
            written = pack(folder, asked.into or asked.packed)
        except PackError as error:
            print(f"gpu-run: {error}", file=sys.stderr)
            return 1
    sizes = ", ".join(f"{path.name} {path.stat().st_size:,}" for path in written)
    print(f"packed after {time.monotonic() - begun:.0f} s: {sizes}")
    return 0 if code == 130 else code


if __name__ == "__main__":
    sys.exit(main())
