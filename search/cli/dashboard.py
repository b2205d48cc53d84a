"""`tune dashboard`: opens optuna-dashboard on the storage."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.options import StorageOption, storage_url
from search.cli.printing import say


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("dashboard")(dashboard)


def dashboard(
    port: Annotated[int, typer.Option(help="TCP port; 0: any that is free.", min=0, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen on. It has no login and can delete: keep it local.")
    ] = "127.0.0.1",
    storage: StorageOption = None,
) -> None:
    """Opens optuna-dashboard on the storage, also during a run."""
    from search.serve.sender import only_here
    from search.service.dashboard import serve

    if not only_here(host):
        say(
            f"Careful: at {host} anyone who reaches this machine can change and delete studies without a "
            "login; `--host 127.0.0.1` keeps it to yourself.",
            err=True,
        )

    def ready(url: str) -> None:
        typer.echo(f"optuna-dashboard is at {url} (Ctrl-C ends it)", err=True)

    serve(storage_url(storage), host=host, port=port, ready=ready)
