"""The command in a folder of its own, and photos of three colours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from sics_cli.main import main


class Pruner:
    """Runs the command in a folder with a checkpoint of each kind; keeps what it said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path) -> int:
        code = main(["prune", *map(str, arguments)])
        shown = self._capsys.readouterr()
        self.out, self.err = shown.out, shown.err
        return code

    def state(self, name: str = "out.safetensors") -> dict[str, Tensor]:
        return load_file(self.folder / name)

    def facts(self, name: str = "out.safetensors") -> dict[str, Any]:
        with safe_open(self.folder / name, framework="pt") as file:
            return dict(json.loads(file.metadata()["sics"]))


@pytest.fixture
def prune(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pruner:
    monkeypatch.chdir(tmp_path)
    return Pruner(tmp_path, capsys)


@pytest.fixture(scope="module")
def photos(photos_of: Callable[[int], Path]) -> Path:
    return photos_of(16)
