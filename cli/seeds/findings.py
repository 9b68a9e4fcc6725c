"""What a trial of a task found, step by step: plain data that a worker leaves and the driver prints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

GOOD, REMARK, FAILED = "✓", "!", "✗"
#: Stands for a δ that nobody gave: of the time that a run takes it says nothing, and it is less than any result.
ANY_DELTA = 1e-300


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a step found: it is good, worth a remark, or a failure, with the traceback of the user's own frames."""

    mark: str
    step: str
    text: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds measured: a seed's training (of all its epochs), its calibration, a cell; `signals` by kind of saliency.

    `stored` is how many bytes the numbers of one evaluation's examples take, `point` what one evaluation of a search takes.
    """

    training: float
    saliency: float
    cell: float
    signals: dict[str, float] = field(default_factory=dict)
    stored: int = 0
    point: float = 0.0


class Findings:
    """A file that grows by a line a finding, so that each is shown as soon as it is known."""

    def __init__(self, folder: Path) -> None:
        self._path, self._read = folder / "findings.jsonl", 0

    def add(self, finding: Finding) -> None:
        """Append one."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(finding)) + "\n")

    def new(self) -> list[Finding]:
        """Those that were added since the last call."""
        if not self._path.exists():
            return []
        whole, _, _ = self._path.read_bytes()[self._read :].rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        return [Finding(**json.loads(line)) for line in whole.decode().splitlines()]
