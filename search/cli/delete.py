"""`tune delete`: says what will be lost, asks, and deletes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import StorageOption, StudyArgument, storage_url
from search.errors import UsageError
from search.report.words import count, states

if TYPE_CHECKING:
    from search.service.delete import Losses


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("delete")(delete)


def delete(
    study: StudyArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also while workers have trials of it, or a study is based on it.")
    ] = False,
    storage: StorageOption = None,
) -> None:
    """Deletes a study for good, with its trials, curves and weights.

    Resume checkpoints and the results on test go too; how many test
    evaluations there were stays on record. Exports stay.
    """
    from search.service.delete import delete as service
    from search.service.delete import remaining_in_words

    def agree(losses: Losses) -> bool:
        typer.echo(_words(losses), err=True)
        if yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError("There is no terminal to ask on: say --yes to delete it.")
        return typer.confirm("Delete it?", err=True)

    left = service(storage_url(storage), study, force=force, agree=agree)
    if left is None:
        typer.echo("Nothing was changed.")
        raise typer.Exit(1)
    typer.echo(f"{study} is deleted.")
    if elsewhere := [each for each in left if not each.failed]:
        words = remaining_in_words(elsewhere)
        typer.echo(f"Files that cannot be deleted from here; delete them there:\n{words}", err=True)
    if failed := [each for each in left if each.failed]:
        typer.echo(f"Files that could not be deleted:\n{remaining_in_words(failed)}", err=True)
        raise typer.Exit(1)


def _words(losses: Losses) -> str:
    counts = losses.counts
    lines = [
        f"{losses.record.name} and all that is known of it will be lost:",
        f"  trials   {', '.join(states(counts))}, with settings and learning curves",
        *([f"  foreign  {counts.foreign} that another program added"] if counts.foreign else []),
    ]
    if losses.test_evaluations:
        used = losses.test_evaluations
        lines.append(f"  tests    {used} on the test set: the accuracies; their number stays on record")
    if losses.exports:
        lines.append(f"  exports  the record of {losses.exports}; their folders stay where they are")
    if losses.weights:
        size = f"{losses.weights_megabytes:.1f} MB"
        lines.append(f"  weights  of {count(losses.weights, 'trial')} in the database ({size})")
    if losses.files:
        folders = ", ".join(str(folder) for folder in losses.folders)
        lines.append(f"  files    {losses.files} in {folders} ({losses.megabytes:.1f} MB)")
    return "\n".join(lines)
