"""Types of options: a value that is not accepted is answered with what is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sics_cli.base.errors import ConfigError, DataError, RefusedSettingError, did_you_mean
from sics_cli.settings.images import standardise_word

if TYPE_CHECKING:
    from sics_cli.results.source import Source
    from sics_cli.results.tables import Reading

#: Above any real design: a mistyped number of seeds is refused, not laid out cell by cell.
MAX_COUNT = 10_000


class Number(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.1
    """A number of `kind` that `accepts` says yes to; `what` is what an error asks for."""

    name = "number"

    def __init__(self, what: str, accepts: Callable[[Any], bool], kind: type[int] | type[float] = float) -> None:
        self.what, self.accepts, self.kind = what, accepts, kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | int:
        """Read the number from an option's text."""
        try:
            number = self.kind(value)
            if self.accepts(number):
                return number
        except ValueError:
            pass
        self.fail(f"{value!r} is not accepted: give {self.what}", param, ctx)


class Word(click.Choice):  # type: ignore[type-arg]  # not generic in click 8.1
    """One of a few words; another is answered with them, and with the one that may have been meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the word."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            words = [str(choice) for choice in self.choices]
            near = did_you_mean(value, words)
            self.fail(f"{value!r} is not accepted{near}: give {' | '.join(words)}", param, ctx)


@contextmanager
def named_as_options(names: Mapping[str, str]) -> Iterator[None]:
    """Have a refusal name the option that was typed, and not the setting of a file that it stands for."""
    try:
        yield
    except (ConfigError, DataError) as error:
        text = str(error)
        for setting, option in names.items():
            text = text.replace(setting, option)
        if text == str(error):
            raise
        raise (DataError if isinstance(error, DataError) else ConfigError)(text) from None


COUNT = Number(f"a whole number from 1 to {MAX_COUNT}", lambda n: 1 <= n <= MAX_COUNT, int)
MARGIN = Number("accuracy points above 0 and below 100", lambda x: 0 < x < 100)
ANY_MARGIN = Number("accuracy points above 0 and below 100, or a number above 0 in another metric's unit", lambda x: 0 < x <= 1e9)
KAPPA = Number("0, 1 or 2", lambda k: k in (0, 1, 2), int)
SEED = Number(f"a whole number from 0 to {2**32 - 2}", lambda n: 0 <= n < 2**32 - 1, int)
FIRST_SEED = Number(f"a whole number from 0 to {2**32 - 1 - MAX_COUNT}", lambda n: 0 <= n < 2**32 - MAX_COUNT, int)
LEVEL = Number("a level above 0 and below 0.5", lambda x: 0 < x < 0.5)
PROBABILITY = Number("a probability above 0 and below 1", lambda x: 0 < x < 1)
FRACTION = Number("a fraction above 0 and below 1", lambda x: 0 < x < 1)
POINTS = Number("accuracy points from -100 to 100", lambda x: -100 <= x <= 100)
ANY_POINTS = Number("accuracy points from -100 to 100, or a number in another metric's unit", lambda x: abs(x) <= 1e9)


def standardise_option(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Read `--standardise`: a word, or numbers."""
    try:
        return None if value is None else standardise_word(value)
    except RefusedSettingError as error:
        raise click.BadParameter(f"{value!r} is not accepted{error.near}: give {error.accepts}") from None


#: How both commands that take a network somebody trained have its images read.
STANDARDISE_OPTION = click.option(
    "--standardise",
    callback=standardise_option,
    metavar="data|timm|imagenet|M/S",
    help="By mean and deviation of the images, timm's (also timm:NAME), ImageNet's, or numbers.  [default: what the network was "
    "trained with, if known]",
)
CLASSES_OPTION = click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the network's classes, one a line, in the order of its outputs.  [default: the data's, by name]",
)
CHANCE_OPTION = click.option(
    "--allow-chance", is_flag=True, help="Go on with a trained network that does no better than chance on the images."
)


def comma_list(
    item: Callable[[str], Any], name: str, accepts: Callable[[Any], bool] = lambda value: True
) -> Callable[..., list[Any] | None]:
    """Make a callback that splits at commas and converts each item; `name` says what the items are.

    >>> comma_list(float, "numbers")(None, None, ".5, .6")
    [0.5, 0.6]
    """

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> list[Any] | None:
        if value is None:
            return None
        items = []
        for text in map(str.strip, value.split(",")):
            try:
                if not text or not accepts(item(text)):
                    raise ValueError
                items.append(item(text))
            except ValueError:
                raise click.BadParameter(f"{text!r} in {value!r} is not accepted: give {name} separated by commas") from None
        return items

    return convert


_TABLE_OPTIONS = (
    click.option(
        "--columns", metavar="ROLE=COLUMN,...", help="Which columns of a table are seed, scorer, sparsity, metric, n, ..."
    ),
    click.option("--metric", metavar="COLUMN", help="What was measured.  [default: the accuracy; of a run also loss]"),
    click.option(
        "--lower-is-better/--higher-is-better",
        "lower_is_better",
        default=None,
        help="Direction of the metric.  [default: by its name]",
    ),
    click.option("--unit", metavar="UNIT", help="Of differences and --delta, as MSE; points, percent or fraction for a share."),
    click.option("--repeats", metavar="COLUMN,...", help="Average over these within a seed first, such as episode."),
    click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only these rows of a table; may be repeated."),
    click.option(
        "--round-sparsity", type=FRACTION, metavar="STEP", help="Round achieved sparsities to multiples of STEP, such as .01."
    ),
    click.option("--unpaired", is_flag=True, help="Seeds of two scorers are no pairs: Welch's form of every test."),
)


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a table is read; `read_options` takes them together."""
    for option in reversed(_TABLE_OPTIONS):
        command = option(command)
    return command


def given_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the table options that were typed, under their names on the command line."""
    return {
        name.replace("_", "-"): value
        for name, value in table.items()
        if value not in (None, ()) and not (name == "unpaired" and value is False)
    }


def read_options(
    delta: float | None,
    *,
    columns: str | None,
    metric: str | None,
    lower_is_better: bool | None,
    unit: str | None,
    repeats: str | None,
    where: Sequence[str],
    round_sparsity: float | None,
    unpaired: bool,
) -> Reading:
    """How a table is to be read, from what was typed; `delta` is the margin in the unit said."""
    from sics_cli.results.tables import Reading

    roles: Mapping[str, str | tuple[str, ...]] = {}
    if columns is not None:
        from sics_analysis.rows.reading.names import parse_columns

        try:
            roles = parse_columns(columns)
        except ValueError:
            raise ConfigError(
                f"--columns {columns!r}: is not accepted: give ROLE=COLUMN, separated by commas, each role once"
            ) from None
    chosen: dict[str, str] = {}
    for text in where:
        column, equals, value = text.partition("=")
        if not equals or not column or column in chosen:
            raise ConfigError(f"--where {text!r}: is not accepted: give COLUMN=VALUE, each column once")
        chosen[column.strip()] = value.strip()
    over = tuple(part.strip() for part in repeats.split(",") if part.strip()) if repeats is not None else ()
    if repeats is not None and not over:
        raise ConfigError(f"--repeats {repeats!r}: is not accepted: give columns separated by commas")
    if metric is not None and "metric" in roles:
        raise ConfigError("--metric and --columns metric=...: give one of them, both say what was measured")
    return Reading(roles, metric, lower_is_better, unit, over, chosen, unpaired, delta, round_sparsity)


def tell_assumed(source: Source) -> None:
    """Say on stderr how a table was read."""
    from sics_cli.console.plain_text import plain

    for text in source.assumed:
        print(plain(f"sics-run: assumed: {text}"), file=sys.stderr)


def ending(output: Path, endings: Collection[str]) -> str:
    """What to say of an output whose ending asks for no format.

    >>> ending(Path("rows.cvs"), (".csv", ".jsonl"))
    'give a name ending in .csv | .jsonl (did you mean .csv?)'
    """
    return f"give a name ending in {' | '.join(endings)}{did_you_mean(output.suffix, endings)}"


def format_of(output: Path | None, endings: Mapping[str, str], default: str) -> str:
    """The format that the name of the output asks for, by its ending; `default` without one."""
    if output is None or not output.suffix:
        return default
    found = endings.get(output.suffix.lower())
    if found is None:
        formats = " | ".join(dict.fromkeys([default, *endings.values()]))
        raise ConfigError(f"--output {output}: {ending(output, endings)}, or say --format {formats}")
    return found
