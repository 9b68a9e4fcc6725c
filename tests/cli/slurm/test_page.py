"""What docs/cluster.md says that commands print is what they print."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "cluster.md"
#: A cluster's name is its own, and so is where the store would lie.
OWN = re.compile(r"cluster \w+|runs/\S+")


def examples() -> list[tuple[str, list[str]]]:
    """Commands of the page's console blocks, and the lines below each; "…" stands for lines that are left out."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip() and line.strip() != "…":
                found[-1][1].append(line.rstrip())
    return [(command, lines) for command, lines in found if lines]


@pytest.mark.parametrize("number", range(len(examples())))
def test_the_page_shows_what_commands_print(grid: Any, number: int) -> None:
    command, lines = examples()[number]
    name, *arguments = shlex.split(command.replace(",partition=gpu", "").replace("partition=gpu,", ""))
    assert name == "sics-run"
    done = grid(*arguments)
    assert done.returncode == 0, done.stderr
    printed = [OWN.sub("", line.rstrip()) for line in done.stdout.splitlines()]
    for line in lines:
        assert OWN.sub("", line) in printed, done.stdout
