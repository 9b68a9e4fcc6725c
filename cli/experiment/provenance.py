"""Where a number came from: code, versions, machine."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sics_cli.base.versions import full_version

_DISTRIBUTIONS = ("sics", "torch", "timm", "numpy", "scikit-learn", "safetensors")


def provenance() -> dict[str, Any]:
    """Git commit of the code (None outside a checkout), versions and platform; the worker adds its device."""
    return {
        **_git(Path(__file__).resolve()),
        "versions": {name: full_version(name) for name in _DISTRIBUTIONS},
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
    }


def now() -> str:
    """The time, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(file: Path) -> dict[str, Any]:
    """Commit and dirtiness of the checkout that tracks `file`: an installed copy inside somebody's checkout is not it."""
    if _run_git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return {"git_sha": None, "git_dirty": None}
    changes = _run_git(file.parent, "status", "--porcelain", "--untracked-files=no")
    return {"git_sha": _run_git(file.parent, "rev-parse", "HEAD"), "git_dirty": bool(changes)}


def _run_git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
