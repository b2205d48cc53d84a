"""`tune upgrade`: brings a storage of an older tune up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.options import StorageOption, storage_url


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("upgrade")(upgrade)


def upgrade(
    backed_up: Annotated[
        bool,
        typer.Option("--backed-up", help="The server's database was copied, and no older worker is left."),
    ] = False,
    storage: StorageOption = None,
) -> None:
    """Brings a storage of an older tune up to date.

    SQLite files are copied first, by every command.
    """
    from search.service.upgrade import upgrade as service

    service(storage_url(storage), backed_up=backed_up)
    typer.echo("The storage has the schema that this tune reads.")
