"""`tune figures`: the figures of a report, for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("figures")(figures)


OnlyOption = Annotated[str | None, typer.Option(help="Name of the one that is wanted.", show_default=False)]


def figures(
    study: StudyArgument, only: OnlyOption = None, storage: StorageOption = None, json: JSONOption = False
) -> None:
    """Prints the figures of a study's report, as Plotly has them.

    By name, each as data and layout; without --json the names alone.
    """
    from search.service.report import figures as service

    found = service(storage_url(storage), study, only=only)
    if json:
        print_json(found)
    else:
        typer.echo("\n".join(found))
