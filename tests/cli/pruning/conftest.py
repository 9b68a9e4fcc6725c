"""The command in a folder of its own, and photos of three colours."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
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
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Noise around a colour for each class; the cache of decoded images is these tests' own."""
    root = tmp_path_factory.mktemp("photos")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    dice = np.random.default_rng(0)
    for place, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir()
        for number in range(20):
            pixels = dice.integers(0, 180, (16, 16, 3))
            pixels[..., 2 - place] += 75
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    yield root
    del os.environ["XDG_CACHE_HOME"]
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before
