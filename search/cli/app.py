"""The command `tune`: gathers the commands, turns refusals into words and exit codes.
Heavy imports belong inside the commands: `tune --help` is instant.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from search.cli import (
    ablate,
    compare,
    confirm,
    dashboard,
    data,
    delete,
    doctor,
    export,
    figures,
    look,
    predict,
    repeat,
    report,
    run,
    upgrade,
)
from search.cli.printing import say
from search.errors import ConfigError, TuneError, exit_code
from search.import_path import set_safe_path
from search.redaction import redact_output, redacted, traceback_text
from search.service.signals import repeat_swallowed_interrupts

ORDER = (
    *("run", "worker", "studies", "trials", "best"),
    *("report", "figures", "compare", "confirm", "ablate", "export", "predict", "demo"),
    *("repeat", "dashboard", "delete", "upgrade", "data", "doctor"),
)
"""The commands in the order of a user's day: search, inspect, export, maintain."""


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
ablate.register(app)
dashboard.register(app)
repeat.register(app)
doctor.register(app)
export.register(app)
delete.register(app)
predict.register(app)
upgrade.register(app)
report.register(app)
figures.register(app)
app.add_typer(data.app, name="data", help="Fetches MNIST; stores your own images; shows examples.")


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
    """Entry point of the console script and of `python -m search`."""
    redact_output()
    repeat_swallowed_interrupts()
    if sys.platform == "win32":
        typer.echo("tune needs Linux or macOS; on Windows use WSL2.", err=True)
        sys.exit(ConfigError.exit_code)
    set_safe_path()
    debug = "--debug" in sys.argv
    sys.exit(run_command([argument for argument in sys.argv[1:] if argument != "--debug"], debug=debug))


class _Once(logging.Handler):
    """Prints what the packages below warn of, each sentence once for a command, however often it is read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        words = redacted(record.getMessage(), ours=True)
        if words not in self._said:
            self._said.add(words)
            say(words, err=True)


@functools.cache
def _commands() -> Any:
    """What typer makes of `app`, 20 ms a time: once for a process that gives many commands."""
    return typer.main.get_command(app)


def run_command(arguments: list[str], *, debug: bool) -> int:
    """Runs one command and returns its exit code (docs/design.md, section 4)."""
    warnings, logger = _Once(), logging.getLogger("search")
    logger.addHandler(warnings)
    try:
        return _run_command(arguments, debug=debug)
    finally:
        logger.removeHandler(warnings)


def _run_command(arguments: list[str], *, debug: bool) -> int:
    try:
        _refuse_deleted_folder()
        return int(_commands()(arguments, standalone_mode=False, prog_name="tune") or 0)
    except TuneError as error:
        return _refused(error, debug=debug)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # the reader of our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        if debug:
            typer.echo(traceback_text(error), err=True, nl=False)
        typer.echo(
            f"tune: This command needs {error.name}, which is not installed here. Without all that tune "
            "depends on only `tune predict` and `tune demo` work.",
            err=True,
        )
        return ConfigError.exit_code
    except Exception as error:
        show = getattr(error, "show", None)  # typer's own refusals: a wrong option, a missing argument
        if callable(show):
            words = io.StringIO()
            show(file=words)
            typer.echo(redacted(words.getvalue()), err=True, nl=False)  # it quotes what was typed
            return int(getattr(error, "exit_code", 2))
        try:
            _refuse_deleted_folder()  # while the command ran
        except ConfigError as deleted:
            return _refused(deleted, debug=debug)
        if debug:
            typer.echo(traceback_text(error), err=True, nl=False)
        reason = redacted(" ".join(str(error).split())) or type(error).__name__
        typer.echo(f"tune: unexpected error: {type(error).__name__}: {reason}", err=True)
        typer.echo("The same command with --debug shows where; please report it.", err=True)
        return 1


def _refused(error: TuneError, *, debug: bool) -> int:
    if debug:
        typer.echo(traceback_text(error), err=True, nl=False)
    say(f"tune: {error}", err=True)
    return exit_code(error)


def _refuse_deleted_folder() -> None:
    """Raises ConfigError where the current folder was deleted: torch's libraries end the process there."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "The current folder was deleted: change to one that exists (cd ~) and give the command again."
        ) from error
