"""Every example runs through the real command, and its run says what was measured and which way is better."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["--seeds", "2", "--scorers", "magnitude,information", "--sparsities", ".5", "--workers", "2"]
EXAMPLES = {
    "tabular_regression.py:Diabetes": ("RMSE", False, "epochs = 20"),
    "language_model.py:Characters": ("perplexity", False, "steps = 20\nwidth = 16"),
    "digits_in_parts.py:Digits": ("accuracy", True, ""),
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sics_cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def test_all_examples_are_run_here() -> None:
    there = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert there == {name.partition(":")[0] for name in EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(tmp_path: Path, name: str) -> None:
    metric, higher, options = EXAMPLES[name]
    (tmp_path / "small.toml").write_text(f"[task]\n{options}\n")
    done = run(tmp_path, "replicate", "--task", f"{ROOT}/examples/{name}", "--config", "small.toml", "--out", "run", *SMALL)
    assert done.returncode == 0, done.stderr
    assert f"{'higher' if higher else 'lower'} is better" in done.stderr
    assert metric in (tmp_path / "run" / "report.html").read_text()
    exported = run(tmp_path, "export", "run", "--format", "jsonl")
    rows = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [(row["seed"], row["scorer"]) for row in rows] == [
        (seed, scorer) for seed in (0, 1) for scorer in ("dense", "magnitude", "information")
    ]
    values = [row["value"] if row.get("value") is not None else row["accuracy"] for row in rows]
    assert all(math.isfinite(value) for value in values)
    assert len(set(values)) > 2, "seeds and masks make a difference"
    if metric != "accuracy":
        assert {(row["metric"], row["higher_is_better"]) for row in rows} == {(metric, higher)}


def test_the_page_holds_a_task_that_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    (source,) = re.findall(r"```python\n# flowers\.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "flowers.py").write_text(source)
    checked = run(tmp_path, "check-task", "flowers.py:Flowers")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = run(tmp_path, "replicate", "--task", "flowers.py:Flowers", "--out", "run", "--no-report", *SMALL)
    assert done.returncode == 0, done.stderr
    (tmp_path / "again.py").write_text(
        "from flowers import Flowers\nfrom sics_cli import replicate\n"
        "run = replicate(Flowers(), seeds=2, scorers=['magnitude', 'information'], sparsities=[.5], out='run')\n"
        "print(len(run.frame()), run.report('page.html'))\n"
    )
    again = subprocess.run([sys.executable, "again.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == ["6", "page.html"]
    assert "0 to compute" in again.stderr, "the command's run is the call's"
