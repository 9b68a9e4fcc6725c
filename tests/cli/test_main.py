"""What every command shares: quick help, one line per error, exit codes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from sics_cli import main as module
from sics_cli.base.errors import LockedError
from sics_cli.main import COMMANDS, main

#: Of sics_analysis the libraries are slow, which most of it imports; `sics_analysis.results` needs none.
SLOW = ("torch", "scipy", "pandas", "sklearn", "timm", "statsmodels", "matplotlib", "sics_plugin")


def imported_by(*commands: list[str]) -> set[str]:
    """Top-level modules that one process has imported when it has run these commands one after the other."""
    code = (
        f"import sys; from sics_cli.main import main; code = max(map(main, {commands!r}))\n"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stderr.split()}


def test_help_imports_next_to_nothing() -> None:
    assert not imported_by(["--help"], ["-h"], ["--version"]) & {*SLOW, "numpy", "rich", "sqlite3"}


def test_version_in_a_tree_that_nobody_installed(tmp_path: Path) -> None:
    """Packages found by PYTHONPATH alone, without the metadata that an installation leaves."""
    for name, package in {"sics_cli": "sics_cli", "sics_plugin": "sics_plugin", "sics_analysis": "sics_analysis"}.items():
        found = importlib.util.find_spec(package)
        assert found is not None and found.submodule_search_locations is not None  # noqa: PT018
        (tmp_path / name).symlink_to(found.submodule_search_locations[0])
    code = (
        "import importlib.metadata as m, sys; real = m.Distribution.from_name.__func__\n"
        "def found(cls, name):\n    if name == 'sics': raise m.PackageNotFoundError(name)\n    return real(cls, name)\n"
        "m.Distribution.from_name = classmethod(found); import runpy; sys.argv = ['sics_cli', '--version']\n"
        "runpy.run_module('sics_cli', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "sics-run, not installed: a plain tree\n", "")


def test_help_of_a_command_is_quick_too() -> None:
    assert not imported_by(*([command, "--help"] for command in COMMANDS)) & set(SLOW)


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, short) in COMMANDS.items():
        assert name in shown
        assert short in shown


def test_only_working_options_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replicate", "--help"]) == 0
    shown = capsys.readouterr().out
    import re

    assert set(re.findall(r"--[a-z-]+", shown)) == {
        "--preset", "--config", "--seeds", "--scorers", "--sparsities", "--saliency", "--device", "--workers", "--delta",
        "--alpha", "--reference", "--out", "--dry-run", "--force", "--retry-failed", "--help", "--unit", "--pool", "--data",
        "--data-dir", "--download", "--report", "--no-report", "--checkpoint", "--pretrained", "--executor", "--slurm",
        "--classes", "--standardise", "--allow-chance", "--task", "--model", "--until", "--max-seeds",
        "--first-seed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replcate"], ["no such command 'replcate'", "replicate, report"]),
        (["replicate", "--sedes", "5"], ["--sedes"]),
        (["replicate", "--seeds", "0"], ["--seeds", "'0'", "from 1 to 10000"]),
        (["replicate", "--seeds", "five"], ["--seeds", "'five'", "whole number"]),
        (["replicate", "--preset", "mnist"], ["--preset", "mnist", "digits"]),
        (["replicate", "--saliency", "hessian"], ["--saliency", "hessian", "gradient", "activation"]),
        (["replicate", "--sparsities", ".5,x"], ["--sparsities", "'x'", "numbers"]),
        (["replicate", "--sparsities", ".5,,.6"], ["--sparsities", "numbers"]),
        (["replicate", "--sparsities", "1.5"], ["sparsities", "1.5", "below 1"]),
        (["replicate", "--delta", "-1"], ["delta", "-1", "above 0"]),
        (["replicate", "--alpha", "0.7"], ["alpha", "0.7", "below 0.5"]),
        (["replicate", "--device", "tpu"], ["device", "tpu", "auto | cpu | cuda"]),
        (["replicate", "--unit", "row"], ["--unit", "row", "weight", "channel", "head"]),
        (["replicate", "--pool", "column"], ["--pool", "column", "global", "layer", "layer-rank", "row", "erk"]),
        (["replicate", "--workers", "0"], ["--workers", "'0'", "from 1 to 10000"]),
        (["replicate", "--config", "/none.toml"], ["--config", "/none.toml", "cannot be read"]),
        (["replicate", "--data", "mnist"], ["--data 'mnist'", "digits | cifar10", "imagefolder:PATH"]),
        (["replicate", "--model", "resnet"], ["--model 'resnet'", "vit | timm:NAME"]),
        (["replicate", "--task", "Mine"], ["--task 'Mine'", "FILE.py:CLASS or MODULE:CLASS"]),
        (["check-task", "Mine"], ["FILE.py:CLASS 'Mine'", "FILE.py:CLASS or MODULE:CLASS"]),
        (["replicate", "--pool", "2:4", "--sparsities", ".7"], ["--sparsities 0.7:", "give 0.5"]),
        (["replicate", "--first-seed", "x"], ["--first-seed", "'x'", "whole number from 0"]),
        (["replicate", "--delta", "x"], ["--delta", "'x'", "points above 0 and below 100"]),
        (["replicate", "--alpha", "x"], ["--alpha", "'x'", "above 0 and below 0.5"]),
        (["replicate", "--out", __file__, "--dry-run"], ["--out", "test_main.py: is a file; give a folder"]),
        (["replicate", "--download", "--dry-run"], ["--download: is for cifar10", "not for digits"]),
        (["replicate", "--allow-chance", "--dry-run"], ["--allow-chance: is for the networks of --checkpoint"]),
        (["status"], ["RUN"]),
        (["export", "x", "--format", "xls"], ["--format", "xls", "csv", "jsonl"]),
        (["scorers", "chaos", "--kappa", "1"], ["--kappa 1", "none of chaos"]),
        (
            ["prune", "w", "--model", "vit", "--sparsity", ".5", "-o", "x", "--seed", "x"],
            ["--seed", "'x'", "0 to 42949672"],
        ),
        (["scorers", "--kappa", "3"], ["--kappa", "'3'", "0, 1 or 2"]),
    ],
)
def test_usage_errors_are_one_line_with_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1, shown.err
    assert all(word in shown.err for word in words), shown.err


def test_missing_run_is_one_line_with_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in ("status", "export"):
        assert main([command, str(tmp_path)]) == 1
        err = capsys.readouterr().err
        assert err == f"sics-run: {tmp_path}: holds no run (expected a folder with run.sqlite, as `replicate` makes it)\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (LockedError("busy\nreally"), 1, "sics-run: busy really"),
        (KeyboardInterrupt(), 130, "sics-run: interrupted"),
        (OSError(28, "No space left on device", "x.csv"), 1, "sics-run: x.csv: No space left on device"),
        (ZeroDivisionError("oh"), 1, "sics-run: unexpected ZeroDivisionError: oh (SICS_TRACEBACK=1 shows where)"),
    ],
)
def test_every_error_has_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(module.cli, "main", fail)
    assert main([]) == code
    assert capsys.readouterr().err == words + "\n"


def test_traceback_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(module.cli, "main", fail)
    monkeypatch.setenv("SICS_TRACEBACK", "1")
    assert main([]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_scorers_long_says_source_pool_and_signal(capsys: pytest.CaptureFixture[str]) -> None:
    from sics_plugin import get_scorer, list_scorers

    assert main(["scorers", "--long"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    blocks = {block.split()[0]: " ".join(block.split()) for block in shown.split("\n\n")}
    assert list(blocks)[: len(list_scorers())] == list_scorers()
    for name in list_scorers(role="peer"):
        cls = get_scorer(name)
        assert f"formula {cls.summary} source {cls.source} pool {cls.pool}, its source's" in blocks[name]
        assert f"reads {cls.requires}, a signal of its own" in blocks[name]
    assert blocks["wanda"].endswith("units weight reads activation, a signal of its own, from the calibration batches")
    assert blocks["synflow"].endswith("reads synflow, a signal of its own, without data")
    assert blocks["chaos"].endswith("pool global units weight, channel, head reads magnitude and the run's saliency")
    assert blocks["random"].endswith("reads nothing")
    assert main(["scorers", "wanda", "--long"]) == 0
    assert capsys.readouterr().out.split()[0] == "wanda"
    assert main(["scorers", "--long", "--measure"]) == 2
    assert "--long: lists what is known" in capsys.readouterr().err


def test_scorers_lists_formulas_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scorers"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[2:] if line and line[0].islower()] == [
        "magnitude", "power", "log", "bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "fake", "information",
        "gradient", "random", "fusion", "adaptive", "orbit_peak", "orbit_variance",
        "orbit_range", "orbit_mean", "smooth_orbit_peak",
        "smooth_orbit_variance", "smooth_orbit_range", "smooth_orbit_mean", "sine", "weierstrass", "spline", "magnitude_power",
        "rank_indicator", "snip", "sensitivity", "taylor", "fisher", "grasp", "synflow", "lamp", "ri",
        "wanda", "ria", "adaptive_trials",
    ]  # fmt: skip
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["scorers", "--kappa", "2"]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()[2:] if line[:1].islower()] == [
        ["chaos", "2", "feature"],
        ["wiggle", "2", "feature"],
        ["orbit_mean", "2", "feature"],
        ["weierstrass", "2", "feature"],
    ]
