"""`tune predict` and `tune demo`: an exported model on an image, or on what one draws. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import JSONOption, print_json
from search.cli.phrases import percent

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `tune export` made.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("predict")(predict)
    app.command("demo")(demo)


def predict(
    folder: FolderArgument,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="PNG or JPEG file.")],
    number: Annotated[
        int | None, typer.Option(help="The number that goes with the image (task sum).")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Asks an exported model what it sees in an image."""
    from search.service.predict import predict as service

    found = service(folder, image, number=number)
    for note in found.notes:
        typer.echo(f"{image}: {note}", err=True)
    if json:
        print_json(
            {
                "task": found.export.task,
                "picture": str(image),
                "notes": list(found.notes),
                "number": number,
                "heads": {
                    name: {
                        "answer": answer.choice,
                        "probability": answer.probability,
                        "probabilities": list(answer.probabilities),
                    }
                    for name, answer in found.heads.items()
                },
            }
        )
        return
    width = max(map(len, found.heads))
    for name, answer in found.heads.items():
        sure = ">99.99 %" if answer.probability >= 0.99995 else percent(answer.probability)
        typer.echo(f"{name:<{width}}  {answer.choice:>2}  {sure:>8}")


def demo(
    folder: FolderArgument,
    port: Annotated[int, typer.Option(help="TCP port; 0: any that is free.", min=0, max=65535)] = 8081,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anyone who reaches it can use the page.")
    ] = "127.0.0.1",
) -> None:
    """Opens a local page to draw digits for an exported model."""
    from search.service.predict import serve_demo

    def ready(url: str, warning: str | None) -> None:
        if warning is not None:
            typer.echo(warning, err=True)
        typer.echo(f"Draw at {url} (Ctrl-C ends it)", err=True)

    serve_demo(folder, host=host, port=port, ready=ready)
