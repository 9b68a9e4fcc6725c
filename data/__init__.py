"""Data that ship with the project: the paper's claims, and small reference runs.

Read them through `importlib.resources`, so that they are found in a wheel as well as in a checkout.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def paper_claims_text() -> str:
    """Text of `paper_claims.toml`.

    Examples
    --------
    >>> paper_claims_text().splitlines()[0][:27]
    '# What arXiv 2605.09345 (Li'
    """
    return resources.files(__name__).joinpath("paper_claims.toml").read_text(encoding="utf-8")


def reference_runs() -> dict[str, Path]:
    """Give the stores of the reference runs by name, in the order in which they are told of.

    Raises
    ------
    FileNotFoundError
        The package was installed without them.

    Examples
    --------
    >>> [name.rpartition("-")[2] for name in reference_runs() if name.startswith("cifar10-vit-micro")]
    ['weight', 'channel']
    """
    folder = Path(str(resources.files(__name__).joinpath("reference")))
    found = {path.parent.name: path for path in folder.glob("*/run.sqlite")}
    if not found:
        raise FileNotFoundError(f"{folder}: the reference runs are not there")
    order = sorted(found, key=lambda name: (not name.startswith("digits"), "-weight" not in name, name))
    return {name: found[name] for name in order}
