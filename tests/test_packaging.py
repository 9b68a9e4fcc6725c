"""The built wheel holds what it should, under the names it should, and works outside the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"sics_plugin", "sics_analysis", "sics_cli", "sics_data"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, so that neither the checkout's build folder nor its egg-info reaches the wheel.
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "sics_plugin", "analysis", "cli", "data"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_the_four_packages_and_no_other(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == PACKAGES
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert "sics_plugin/tables/spectra.npy" in names
    assert "sics_data/paper_claims.toml" in names
    for part in ("report.html", "report.css", "report.js"):
        assert f"sics_analysis/report/templates/{part}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_every_module_of_the_checkout_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = {"sics_plugin": "sics_plugin", "analysis": "sics_analysis", "cli": "sics_cli", "data": "sics_data"}
    for folder, package in folders.items():
        for module in (ROOT / folder).rglob("*.py"):
            assert f"{package}/{module.relative_to(ROOT / folder).as_posix()}" in names


def test_installed_wheel_imports_and_runs(wheel: Path, tmp_path: Path) -> None:
    """Into an empty venv that sees this one's dependencies, but not its editable install of the project."""
    home = tmp_path / "venv"
    venv.EnvBuilder(with_pip=False).create(home)
    python = home / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    ).stdout.strip()
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    # Folders named in a .pth are searched, their own .pth files (the editable install) are not run.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = (
        "import importlib.util as u, sics_plugin, sics_analysis, sics_cli, sics_data\n"
        "from importlib import resources\n"
        "assert resources.files('sics_data').joinpath('paper_claims.toml').read_text()\n"
        "for name in ('analysis', 'cli', 'data', 'tests'):\n"
        "    assert u.find_spec(name) is None, name\n"
        "print(sics_plugin.__file__, sics_plugin.list_scorers(kappa=2))\n"
    )
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(home)), done.stdout
    assert "['chaos', 'wiggle', 'orbit_mean', 'weierstrass']" in done.stdout
    table = "seed,scorer,sparsity,accuracy\n" + "".join(f"{i},{s},.7,.9{i}\n" for i in range(3) for s in ("magnitude", "mine"))
    (tmp_path / "results.csv").write_text(table)
    report = [home / "bin" / "sics-run", "report", "results.csv", "-o", "report.html"]
    done = subprocess.run(report, cwd=tmp_path, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    assert "<h1>" in (tmp_path / "report.html").read_text(encoding="utf-8"), "the templates travel with the wheel"
    done = subprocess.run([home / "bin" / "sics-run", "--help"], cwd=tmp_path, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    assert "replicate" in done.stdout
