"""What a report of a large table says on a terminal while it works."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

NOTE = "x" * 70_000  # few rows, yet a large file


@pytest.mark.parametrize("note", [NOTE, "x"], ids=["large", "small"])
def test_a_large_file_is_told_of_and_the_line_is_gone_at_the_end(tmp_path: Path, note: str) -> None:
    rows = [
        f"{seed},{name},{S},{0.8 + 0.01 * seed % 0.05},{note}"
        for seed in range(10)
        for name in ("magnitude", "mine")
        for S in (0.5, 0.7, 0.9)
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["seed,scorer,sparsity,accuracy,note", *rows]) + "\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sics_cli", "report", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        told = b""
        try:
            while part := os.read(ours, 4096):
                told += part
        except OSError:  # Linux's end of a terminal
            pass
    os.close(ours)
    assert process.returncode == 0
    said = [part.removeprefix("\x1b[K") for part in told.decode().split("\r")]
    if note != NOTE:
        assert said == [""]
    else:
        steps = [f"analysing S {i} of 3" for i in (1, 2, 3)]
        assert said == ["", "reading rows.csv", "", *steps, "collecting what the report says", ""]
