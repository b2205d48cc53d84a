"""`tune dashboard`, `repeat` and `doctor`: hand a study to another program, try whether a trial can be
repeated, say what this machine offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.phrases import duration, fraction, percent
from search.cli.printing import print_facts, say

if TYPE_CHECKING:
    from search.records import Point
    from search.service.repeat import Repeated


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("dashboard")(dashboard)
    app.command("repeat")(repeat)
    app.command("doctor")(doctor)


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
            f"Careful: at {host} whoever reaches this machine can change and delete studies without a login; "
            "`--host 127.0.0.1` keeps it to yourself.",
            err=True,
        )

    def ready(url: str) -> None:
        typer.echo(f"optuna-dashboard is at {url} (Ctrl-C ends it)", err=True)

    serve(storage_url(storage), host=host, port=port, ready=ready)


def repeat(
    study: StudyArgument,
    trial: Annotated[int, typer.Option(help="Number of the trial.", min=0)],
    restore: Annotated[
        bool, typer.Option("--restore", help="Write its weights again, if its curve is the same.")
    ] = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Trains a trial again and compares its curve bit for bit.

    It is trained on the CPU, from what the database says of it alone.
    """
    from search.cli.progress import fetching
    from search.service.repeat import repeat as service

    def show(before: Point, retrained: Point) -> None:
        scores = f"{percent(before.validation.accuracy)} then, {percent(retrained.validation.accuracy)} now"
        typer.echo(f"{retrained.images:>9,} images  {scores}", err=True)

    with fetching() as progress:
        done = service(
            storage_url(storage),
            study,
            trial,
            restore=restore,
            tell=lambda words: say(words, err=True),
            watch=show,
            progress=progress,
        )
    if json:
        first = done.first_difference
        print_json(
            {
                "study": study,
                "trial": trial,
                "points": len(done.retrained),
                "equal": first is None,
                "first_difference": None if first is None else first.images,
                "largest_difference": fraction(done.largest_difference),
                "changed": {name: list(pair) for name, pair in done.changed.items()},
                "seconds": done.seconds,
                "restored": None if done.restored is None else done.restored.checkpoint.path,
                "restored_where": None if done.restored is None else done.restored.where,
            }
        )
    else:
        _print_repeated(done)
    if restore and done.restored is None:
        say("These are other weights than the study's numbers are about: none were written.", err=True)
        raise typer.Exit(1)


def _print_repeated(done: Repeated) -> None:
    first = done.first_difference
    told = f"Trial {done.trial.number} was trained again in {duration(done.seconds)}:"
    if first is None:
        say(f"{told} all {len(done.retrained)} points of its curve are the same, bit for bit.")
    else:
        largest = f"{done.largest_difference * 100:.2f} points of validation accuracy"
        say(f"{told} its curve differs from {first.images:,} images on, by {largest} at most.")
    for name, (then, now) in done.changed.items():
        typer.echo(f"  {name:<14} {'unknown' if then is None else then} then, {now} now")
    if done.restored is not None:
        say(f"Its weights are there again, {done.restored.where}.")


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
