"""`tune repeat`: trains a recorded trial once more and prints whether its curve is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.phrases import duration, fraction, percent
from search.cli.printing import say

if TYPE_CHECKING:
    from search.records import Report
    from search.service.repeat import Repeated


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("repeat")(repeat)


def repeat(
    study: StudyArgument,
    trial: Annotated[int, typer.Option(help="Number of the trial.", min=0)],
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore its weights, if its curve is the same.")
    ] = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Retrains a trial and compares its curve bit for bit.

    It is trained on the CPU, from what the database says of it alone.
    """
    from search.cli.progress import fetching
    from search.service.repeat import repeat as service

    def show(before: Report, retrained: Report) -> None:
        scores = f"{percent(before.score)} then, {percent(retrained.score)} now"
        typer.echo(f"{retrained.step:>9,} images  {scores}", err=True)

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
                "first_difference": None if first is None else first.step,
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
    told = f"Trial {done.trial.number} was retrained in {duration(done.seconds)}:"
    if first is None:
        say(f"{told} all {len(done.retrained)} points of its curve are the same, bit for bit.")
    else:
        largest = f"{done.largest_difference * 100:.2f} points of validation accuracy"
        say(f"{told} its curve differs from {first.step:,} images on, by {largest} at most.")
    for name, (then, now) in done.changed.items():
        typer.echo(f"  {name:<14} {'unknown' if then is None else then} then, {now} now")
    if done.restored is not None:
        say(f"Its weights are restored, {done.restored.where}.")
