"""`tune report`: a study on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.printing import say


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("report")(report)


def report(
    study: StudyArgument,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Writes what a study found as one HTML page.

    The page needs no network.
    """
    from search.service.report import report as service

    written = service(storage_url(storage), study, out, force=force)
    for note in written.notes:
        say(note, err=True)
    if json:
        print_json({"study": study, "path": str(written.path), "bytes": written.bytes})
    else:
        say(f"{written.path}: the study {study} on one page, {written.bytes / 1e6:.1f} MB")
