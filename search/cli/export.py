"""`tune export`: a trained network as a folder that other programs load."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.printing import say
from search.report.words import percent

if TYPE_CHECKING:
    from search.service.export import Exported


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(export)


def export(
    study: StudyArgument,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    trial: Annotated[
        int | None,
        typer.Option(help="Number of the trial. Else the confirmed winner's, else the best.", min=0),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Add an int8 file, and say what it costs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that is there.")] = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Writes a network as ONNX, torch.export and safetensors.

    Each file is loaded again and checked against the network. Of your own training code: the files that it
    kept (trial.keep).
    """
    from search.cli.progress import fetching
    from search.service.export import export as service

    with fetching() as progress:
        done = service(
            storage_url(storage),
            study,
            trial=trial,
            out=out,
            force=force,
            int8=int8,
            tell=lambda words: say(words, err=True),
            progress=progress,
        )
    if json:
        print_json(_export(done))
        return
    typer.echo(f"{done.folder} has trial {done.trial} of {done.study}:")
    if done.files:
        for name, size in done.files.items():
            typer.echo(f"  {name:<18} {size:,} bytes")
        return
    for name, difference in done.differences.items():
        words = f"differs from the network by {difference:.1e} at most" if difference else "is exact"
        typer.echo(f"  {name:<18} {words}")
    if done.int8 is not None:
        for name, scores in (("model.onnx", done.int8.before), ("model-int8.onnx", done.int8.after)):
            heads = ", ".join(f"{head} {percent(score.accuracy)}" for head, score in scores.heads.items())
            typer.echo(f"  {name:<18} {percent(scores.accuracy)} on validation ({heads})")
    folder = quote(str(done.folder))
    typer.echo(f"\nNext: tune demo {folder}   tune predict {folder} image.png", err=True)


def _export(done: Exported) -> dict[str, object]:
    if done.files:
        return {
            "folder": str(done.folder),
            "study": done.study,
            "trial": done.trial,
            "files": dict(done.files),
            "manifest_sha256": done.manifest_sha256,
        }
    return {
        "folder": str(done.folder),
        "study": done.study,
        "trial": done.trial,
        "differences": dict(done.differences),
        "int8": None if done.int8 is None else done.int8.facts,
        "manifest_sha256": done.manifest_sha256,
    }
