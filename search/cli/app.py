"""The command `tune`: gathers the commands, turns refusals into words and exit codes.
Knows nothing of what a command does. Heavy imports belong inside the commands: `tune --help` is instant.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from search.cli import compare, confirm, data, delete, export, hand_over, look, predict, report, run, upgrade
from search.cli.printing import say
from search.errors import ConfigError, TuneError, exit_code

ORDER = (
    *("run", "worker", "studies", "trials", "best"),
    *("report", "compare", "confirm", "export", "predict", "demo"),
    *("repeat", "dashboard", "delete", "upgrade", "data", "doctor"),
)
"""The commands in the order of a user's day: search, look, hand over, look after it."""


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="tune",
    cls=_InOrder,
    help="Searches network architectures and training settings, keeps everything in a database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

run.register(app)
look.register(app)
compare.register(app)
confirm.register(app)
hand_over.register(app)
export.register(app)
delete.register(app)
predict.register(app)
upgrade.register(app)
report.register(app)
app.add_typer(data.app, name="data", help="Fetches, checks and shows MNIST.")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tune {version('tune')}")
        raise typer.Exit


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks; may stand anywhere."),
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    debug = "--debug" in sys.argv
    sys.exit(run_command([argument for argument in sys.argv[1:] if argument != "--debug"], debug=debug))


def run_command(arguments: list[str], *, debug: bool) -> int:
    """Runs one command and returns its exit code (docs/design.md, section 4)."""
    try:
        return int(app(arguments, standalone_mode=False, prog_name="tune") or 0)
    except TuneError as error:
        if debug:
            traceback.print_exc()
        say(f"tune: {error}", err=True)
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # the reader of our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        if debug:
            traceback.print_exc()
        typer.echo(
            f"tune: This command needs {error.name}, which is not installed here. Without all that tune "
            "depends on only `tune predict` and `tune demo` work.",
            err=True,
        )
        return ConfigError.exit_code
    except Exception as error:
        show = getattr(error, "show", None)  # typer's own refusals: a wrong option, a missing argument
        if callable(show):
            show()
            return int(getattr(error, "exit_code", 2))
        if debug:
            traceback.print_exc()
        reason = " ".join(str(error).split()) or type(error).__name__
        typer.echo(f"tune: this should not happen: {type(error).__name__}: {reason}", err=True)
        typer.echo("The same command with --debug shows where; please report it.", err=True)
        return 1
