"""Callbacks that read options: a value that is not accepted is answered with what is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

#: Above any real design: a mistyped number of seeds is refused, not laid out cell by cell.
MAX_COUNT = 10_000


def count(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a whole number from 1 to `MAX_COUNT`."""
    if value is None:
        return None
    try:
        number = int(value)
        if not 1 <= number <= MAX_COUNT:
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{value!r} is not accepted: give a whole number from 1 to {MAX_COUNT}") from None
    return number


def comma_list(item: Callable[[str], Any], name: str) -> Callable[..., list[Any] | None]:
    """Make a callback that splits at commas and converts each item; `name` says what the items are.

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


def margin(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a number of accuracy points above 0 and below 100."""
    return _number(value, lambda x: 0 < x < 100, "accuracy points above 0 and below 100")


def level(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a level above 0 and below 0.5."""
    return _number(value, lambda x: 0 < x < 0.5, "a level above 0 and below 0.5")


def probability(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a probability strictly between 0 and 1."""
    return _number(value, lambda x: 0 < x < 1, "a probability above 0 and below 1")


def fraction(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a fraction strictly between 0 and 1."""
    return _number(value, lambda x: 0 < x < 1, "a fraction above 0 and below 1")


def points(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a difference in accuracy points, of either sign."""
    return _number(value, lambda x: -100 <= x <= 100, "accuracy points from -100 to 100")


def _number(value: str | None, accepts: Callable[[float], bool], what: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
        if not accepts(number):
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{value!r} is not accepted: give {what}") from None
    return number
