"""Versions of what is installed, read from its metadata: nothing is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "not installed"


def minor_version(distribution: str) -> str:
    """Give "2.15" for an installed 2.15.1+cpu, read from its metadata: nothing is imported."""
    return ".".join(full_version(distribution).split("+")[0].split(".")[:2])


def full_version(distribution: str) -> str:
    """Version of an installed distribution, or `NOT_INSTALLED`."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED
