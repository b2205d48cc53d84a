"""`tune predict` and `tune demo`: an exported model on images, or on what one draws. Needs no torch."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.options import JSONOption, print_json
from search.cli.printing import say
from search.errors import ConfigError, TuneError, UsageError
from search.report.words import count, percent
from search.serve.image_file import shown

if TYPE_CHECKING:
    from search.serve.folder import Export
    from search.service.predict import Prediction

NAMED = 3
"""Images that are named where something was done to many."""

_NUMBER = re.compile(r"\d+")

OTHERS = 2
"""Classes that are named beside the answer, where classes have names."""

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `tune export` made.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("predict")(predict)
    app.command("demo")(demo)


def predict(
    folder: FolderArgument,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...",
            help="PNG, JPEG, GIF, WebP, BMP or TIFF files, or folders of them.",
        ),
    ],
    number: Annotated[
        int | None, typer.Option(help="The number that goes with the image (task sum).")
    ] = None,
    json: JSONOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="A row for each image: answers and their probabilities.")
    ] = False,
) -> None:
    """Asks an exported model what it sees in images."""
    from search.service.predict import is_folder
    from search.service.predict import predict as service

    if json and as_csv:
        raise UsageError("--json and --csv exclude each other; give one of them.")
    single = len(images) == 1 and not is_folder(images[0])
    told: list[dict[str, Any]] = []
    noted: dict[str, list[tuple[Path, str]]] = {}
    refusals: list[TuneError] = []
    export, predictions = service(folder, images, number=number)
    if as_csv:
        typer.echo(_row(_header(export)), nl=False)
    for found in predictions:
        if found.refusal is not None:
            if single:
                raise found.refusal
            refusals.append(found.refusal)
        for note in found.notes:
            noted.setdefault(_NUMBER.sub("", note), []).append((found.image, note))
        if json:
            told.append(_json(export, found, number))
        elif as_csv:
            typer.echo(_row(_cells(export, found)), nl=False)
        elif found.refusal is None:
            for line in _lines(export, found):
                typer.echo(line if single else f"{shown(found.image)}  {line}")
    if json:
        print_json(told[0] if single else told)
    for line in map(_noted, noted.values()):
        typer.echo(line, err=True)
    for refusal in refusals:
        say(f"tune: {refusal}", err=True)
    if refusals:
        raise ConfigError(f"{len(refusals)} of the images could not be predicted: see above.")


def _noted(some: Sequence[tuple[Path, str]]) -> str:
    """What was done to these images: one note, whose numbers may differ between them."""
    names = ", ".join(shown(Path(image.name)) for image, _ in some[:NAMED])
    more = len(some) - NAMED
    whose = f"{names} and {count(more, 'more image')}" if more > 0 else names
    differ = " The numbers are those of the first." if len({note for _, note in some}) > 1 else ""
    return f"{whose}: {some[0][1]}{differ}"


def _json(export: Export, found: Prediction, number: int | None) -> dict[str, Any]:
    """What `--json` says of one image. Heads whose classes have names say them: `label`, `labels`."""
    about = {"task": export.task, "picture": _data(found.image)}
    if found.refusal is not None:
        return {**about, "error": str(found.refusal)}
    heads: dict[str, dict[str, Any]] = {
        name: {
            "answer": answer.choice,
            "probability": answer.probability,
            "probabilities": list(answer.probabilities),
        }
        for name, answer in found.heads.items()
    }
    for name, labels in export.labels.items():
        heads[name] |= {"label": labels[heads[name]["answer"]], "labels": list(labels)}
    return {**about, "notes": list(found.notes), "number": number, "heads": heads}


def _row(cells: Iterable[object]) -> str:
    """A line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _header(export: Export) -> list[str]:
    """The columns of `--csv`."""
    pairs = [(name, f"{name}_probability") for name, _ in export.heads]
    return ["file", *(column for pair in pairs for column in pair), "error"]


def _cells(export: Export, found: Prediction) -> list[object]:
    """One row under `_header`. A refused image has no answers."""
    if found.refusal is not None:
        return [_data(found.image), *([""] * (2 * len(export.heads))), str(found.refusal)]
    pairs = [(export.label(name, each.choice), each.probability) for name, each in found.heads.items()]
    return [_data(found.image), *(cell for pair in pairs for cell in pair), ""]


def _lines(export: Export, found: Prediction) -> list[str]:
    """For people: a line for each head."""
    width = max(map(len, found.heads))
    lines = []
    for name, answer in found.heads.items():
        line = f"{name:<{width}}  {export.label(name, answer.choice):>2}  {_sure(answer.probability):>8}"
        if name in export.labels:
            order = sorted(range(len(answer.probabilities)), key=lambda each: -answer.probabilities[each])
            others = [f"{export.label(name, each)} {_sure(answer.probabilities[each])}" for each in order]
            line += f"  ({', '.join(others[1 : 1 + OTHERS])})"
        lines.append(line)
    return lines


def _sure(probability: float) -> str:
    return ">99.99 %" if probability >= 0.99995 else percent(probability)


def _data(path: Path) -> str:
    """The path for JSON and CSV, which keep line breaks: bytes that are no UTF-8 escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def demo(
    folder: FolderArgument,
    port: Annotated[int, typer.Option(help="TCP port; 0: any that is free.", min=0, max=65535)] = 8081,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anyone who reaches it can use the page.")
    ] = "127.0.0.1",
) -> None:
    """Opens a page where you draw or drop an image for a model."""
    from search.service.predict import serve_demo

    def ready(export: Export, url: str, warning: str | None) -> None:
        if warning is not None:
            typer.echo(warning, err=True)
        what = "Draw at" if export.fit is None else "Drop images at"
        typer.echo(f"{what} {url} (Ctrl-C ends it)", err=True)

    serve_demo(folder, host=host, port=port, ready=ready)
