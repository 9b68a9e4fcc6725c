"""Data that ship with the project: the paper's claims, and small reference runs.

Read them through `importlib.resources`, so that they are found in a wheel as well as in a checkout.
"""

from __future__ import annotations

from importlib import resources


def paper_claims_text() -> str:
    """Text of `paper_claims.toml`.

    Examples
    --------
    >>> paper_claims_text().splitlines()[0][:27]
    '# What arXiv 2605.09345 (Li'
    """
    return resources.files(__name__).joinpath("paper_claims.toml").read_text(encoding="utf-8")
