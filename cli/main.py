"""`sics-run`: commands are loaded when asked for, errors are one line, exit codes mean something."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from sics_cli.base.errors import SicsError, did_you_mean
from sics_cli.base.versions import NOT_INSTALLED, full_version
from sics_cli.console.plain_text import LEGIBLE, plain

#: name → (module with a click command of that name, short help). The module is imported only when it is needed.
COMMANDS: dict[str, tuple[str, str]] = {
    "replicate": ("sics_cli.commands.replicate", "Train, prune by every scorer, evaluate; resumes when repeated."),
    "report": ("sics_cli.commands.report", "Verdicts, κ(S) and claims of a run, verdicts of any table."),
    "plan": ("sics_cli.commands.plan", "How many seeds a verdict takes."),
    "compare": ("sics_cli.commands.compare", "Test one run against another, seed by seed."),
    "map": ("sics_cli.commands.map", "Which scorers left the plateau, and what the pool did."),
    "status": ("sics_cli.commands.status", "Show what a run holds, its plans, and what is missing."),
    "export": ("sics_cli.commands.export", "Write a run's rows as CSV or JSON lines."),
    "prune": ("sics_cli.commands.prune", "Prune one checkpoint, and report what went."),
    "check-task": ("sics_cli.commands.check_task", "Try a task of your own, step by step, and time a run."),
    "scorers": ("sics_cli.commands.scorers", "List the scorers with κ and formula, or measure them."),
}
#: Functions of another name than their command, because that is a builtin's or no name.
_FUNCTIONS = {"map": "plateau_map", "check-task": "check_task"}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), _FUNCTIONS.get(cmd_name, cmd_name))
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.{cmd_name} is not a click command")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown name is answered with those there are."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"no such command {args[0]!r}{near}: give one of {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])


def _show_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Answer --version, also in a tree that nobody installed."""
    if asked and not ctx.resilient_parsing:
        found = full_version("sics")
        click.echo(f"sics-run, version {found}" if found != NOT_INSTALLED else f"sics-run, {NOT_INSTALLED}: a plain tree")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version and exit."
)
def cli() -> None:
    """Pruning scorers against the magnitude plateau: run the experiment, keep every number.

    Begin with: sics-run replicate --seeds 5
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 ok, 1 error, 2 usage, 3 finished with failed cells, 4 a `--fail-on` gate tripped, 130 interrupted. Errors are one
    line on stderr; with SICS_TRACEBACK=1 in the environment an unexpected one comes with its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=LEGIBLE)  # a terminal that cannot show κ or − still gets the table, signs and all
    try:
        result = cli.main(args=arguments, prog_name="sics-run", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        return _explain(error.format_message(), error.exit_code)
    except SicsError as error:
        return _explain(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _explain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _explain(f"{error.filename or 'output'}: {error.strerror or error}", 1)
    except Exception as error:
        if os.environ.get("SICS_TRACEBACK"):
            traceback.print_exc()
        hint = "" if os.environ.get("SICS_TRACEBACK") else " (SICS_TRACEBACK=1 shows where)"
        return _explain(f"unexpected {type(error).__name__}: {error}{hint}", 1)
    return result if isinstance(result, int) else 0


def _explain(message: str, code: int) -> int:
    print("sics-run: " + plain(" ".join(message.split())), file=sys.stderr)
    return code
