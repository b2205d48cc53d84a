"""What several commands share: options with their shell completion, how JSON is printed, and how a command
reads large studies without the garbage collector."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from search.cli import completion
from search.errors import UsageError
from search.redaction import STORAGE_VARIABLE, masked_url

DEFAULT_STORAGE = "sqlite:///studies.db"

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help=f"Database URL. Else TUNE_STORAGE, else {DEFAULT_STORAGE}. Keep passwords in TUNE_STORAGE.",
        show_default=False,
    ),
]
StudyArgument = Annotated[
    str, typer.Argument(help="Name of the study.", autocompletion=completion.studies, show_default=False)
]
JSONOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def data_path(given: str) -> Path:
    """Where a user's images lie. Raises UsageError for an empty text, which would be the current folder."""
    if not given:
        raise UsageError("The path of the images is empty: name a folder or a file, or . for this folder.")
    return Path(given)


SkipDamagedOption = Annotated[
    bool, typer.Option("--skip-damaged", help="Leave out images that cannot be read.")
]


def storage_url(given: str | None) -> str:
    """The storage that is meant: the option, else the environment, else the file in this folder."""
    if given and masked_url(given) != given:
        typer.echo(
            f"Careful: everybody on this machine can read a password in --storage, for it is in the list of "
            f"processes; set {STORAGE_VARIABLE} instead.",
            err=True,
        )
    return given or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """For commands that read all trials: of ten thousand none is garbage before the end, and the collector
    would take 0.3 s to find that out. Afterwards the collector is as it was."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def print_json(value: Any) -> None:
    """Data for programs, on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
