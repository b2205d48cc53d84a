"""`tune doctor`: checks what tune needs on this machine."""

from __future__ import annotations

import typer

from search.cli.options import JSONOption, StorageOption, print_json, storage_url
from search.cli.printing import print_facts


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("doctor")(doctor)


def doctor(storage: StorageOption = None, json: JSONOption = False) -> None:
    """Checks this machine: versions, processor, data, storage. Exit code 1 if something is wrong."""
    from search.service.doctor import examine

    findings = examine(storage_url(storage))
    if json:
        print_json([{"check": f.check, "ok": f.ok, "finding": f.finding} for f in findings])
    else:
        width = max(len(finding.check) for finding in findings)
        print_facts([(f"{'ok ' if f.ok else 'BAD'}  {f.check:<{width}}", f.finding) for f in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
