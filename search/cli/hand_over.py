"""`tune dashboard` and `tune doctor`: hand a study to another program, say what this machine offers.
Knows nothing of trials.
"""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.options import JSONOption, StorageOption, print_json, storage_url


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("dashboard")(dashboard)
    app.command("doctor")(doctor)


def dashboard(
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen on. It has no login and can delete: keep it local.")
    ] = "127.0.0.1",
    storage: StorageOption = None,
) -> None:
    """Opens optuna-dashboard on the storage; a run may go on meanwhile."""
    from search.service.dashboard import serve

    def ready(url: str) -> None:
        typer.echo(f"optuna-dashboard is at {url} (Ctrl-C ends it)", err=True)

    serve(storage_url(storage), host=host, port=port, ready=ready)


def doctor(storage: StorageOption = None, json: JSONOption = False) -> None:
    """Checks this machine: versions, processor, data, storage. Exit code 1 if something is wrong."""
    from search.service.doctor import examine

    findings = examine(storage_url(storage))
    if json:
        print_json([{"check": f.check, "ok": f.ok, "finding": f.finding} for f in findings])
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            typer.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.check:<{width}}  {finding.finding}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
