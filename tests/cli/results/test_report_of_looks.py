"""The report of a real run until decided, from its command to its page."""

import json
import shutil
from pathlib import Path
from typing import Any

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"


def test_a_run_until_decided_is_reported_with_its_looks(cli: Any) -> None:
    shutil.copy(TASKS, cli.folder / "tasks.py")
    wanted = (
        "--task",
        "tasks.py:Good",
        "--scorers",
        "magnitude,log,chaos",
        "--sparsities",
        ".5",
        "--delta",
        "0.001",
        "--out",
        "run",
    )
    asked = ("--until", "decided:plateau@.5,escape:chaos@.5", "--max-seeds", "8", "--no-report")
    done = cli.here("replicate", *wanted, *asked)
    assert done.returncode == 0, done.stderr
    shown = cli.here("report", "run", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    kept = json.loads(shown.stdout)
    looks = kept["looks"]
    assert (looks["plan"]["looks"], looks["made"], looks["waiting"], looks["extra"]) == ([5, 8], 2, [], [])
    assert {target["target"]: target["settled"] for target in looks["targets"]} == {"plateau@.5": True, "escape:chaos@.5": False}
    assert (kept["next_steps"], kept["settings"]["stamps"]) == ([], [])
    text = " ".join(cli.here("report", "run", "--format", "md").stdout.split())
    assert "**How often was it looked at? 2 of 2 looks, at 8 seeds; .05 of .05 spent**" in text
    assert "Then: The plan is at its end. The last look is made and all of α is spent" in text, (
        "a data check of so small a task comes first"
    )
    assert "Asked for and decided: plateau@.5. Asked for and open: escape:chaos@.5." in text
    assert "What is open takes a plan on fresh seeds: --until with --first-seed 8." in text
    (cli.folder / "report.json").write_text(shown.stdout, encoding="utf-8")
    again = cli.here("report", "report.json", "--format", "html")
    assert again.returncode == 0, again.stderr
    assert 'id="figure-looks"' in again.stdout
    assert again.stdout == cli.here("report", "run", "--format", "html").stdout


def test_a_run_without_a_target_is_over_when_every_line_is_decided(cli: Any) -> None:
    shutil.copy(TASKS, cli.folder / "tasks.py")
    wanted = ("--task", "tasks.py:Good", "--scorers", "magnitude,chaos", "--sparsities", ".5", "--delta", "40", "--out", "run")
    done = cli.here("replicate", *wanted, "--until", "decided", "--max-seeds", "8", "--no-report")
    assert done.returncode == 0, done.stderr
    text = " ".join(cli.here("report", "run", "--format", "md").stdout.split())
    assert "STAMPED" not in text, "it stopped as planned"
    assert "Stopped at look 1 of 2: 0.0312 of α = 0.05 spent." in text
    assert "Then: Nothing: what was asked is decided. All that was asked is decided, so that the run is over." in text
    assert "Asked for and decided: a verdict for every line of κ ≥ 1." in text
