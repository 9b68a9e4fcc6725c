"""Callbacks that read options: a value that is not accepted is answered with what is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def count(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a whole number of at least 1."""
    if value is None:
        return None
    try:
        number = int(value)
        if number < 1:
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{value!r} is not accepted: give a whole number of at least 1") from None
    return number


def comma_list(item: Callable[[str], Any], name: str) -> Callable[..., list[Any] | None]:
    """Make a callback that splits at commas and converts each item; `name` says what the items are.

    Examples
    --------
    >>> comma_list(float, "numbers")(None, None, ".5, .6")
    [0.5, 0.6]
    """

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> list[Any] | None:
        if value is None:
            return None
        items = []
        for text in value.split(","):
            try:
                if not text.strip():
                    raise ValueError
                items.append(item(text.strip()))
            except ValueError:
                raise click.BadParameter(
                    f"{text.strip()!r} in {value!r} is not accepted: give {name} separated by commas"
                ) from None
        return items

    return convert
