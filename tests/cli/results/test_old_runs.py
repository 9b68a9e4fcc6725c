"""Runs of earlier versions are shown: this one was computed by the version before the packages were laid out in rooms."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from sics_cli.main import cli

STORE = Path(__file__).parent / "data" / "before-the-rooms.sqlite"
#: Sums over three seeds of 600 images, in images, of how many more a scorer has right than magnitude.
DIFFERENCES = {
    ("power", 0.5): 0, ("smooth_chaos", 0.5): 3, ("chaos", 0.5): -4, ("fake", 0.5): -3, ("gradient", 0.5): 2,
    ("information", 0.5): 3, ("power", 0.8): 0, ("smooth_chaos", 0.8): -20, ("chaos", 0.8): -24, ("fake", 0.8): -20,
    ("gradient", 0.8): -38, ("information", 0.8): -19,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copy(STORE, tmp_path / "run.sqlite")
    return tmp_path


def test_its_report_says_what_it_said(run: Path) -> None:
    done = CliRunner().invoke(cli, ["report", str(run), "--format", "json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    found = {(line["scorer"], line["sparsity"]): round(line["mean"] * 18) for line in document["lines"]}
    assert found == DIFFERENCES
    verdicts = {line["scorer"]: line["verdict"] for line in document["lines"]}
    assert verdicts.pop("power") == "IDENTICAL"
    assert set(verdicts.values()) == {"INCONCLUSIVE"}
    assert len(document["cells"]) == 3 * (1 + 7 * 2)


def test_its_status_says_what_it_said(run: Path) -> None:
    done = CliRunner().invoke(cli, ["status", str(run)])
    assert done.exit_code == 0, done.output
    assert "digits, vit, " in " ".join(done.stdout.split()), "no code of anybody's, and the data's own mean and deviation"
