"""`tune repeat`: runs a recorded trial once more and prints whether its reports are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.phrases import fraction
from search.cli.printing import say
from search.records import DeclaredSpec, NetworkSpec
from search.report.words import amount, count, difference, duration, listed, value
from search.worker.options import DEFAULT_OPTIONS

if TYPE_CHECKING:
    from search.records import Report, StudySpec
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
    stall_timeout: Annotated[
        float, typer.Option(help="End training code of yours that reports nothing for this time, in seconds.")
    ] = DEFAULT_OPTIONS.stall_timeout_s,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Retrains a trial and compares its curve bit for bit.

    A network is trained on the CPU, from what the database says of it alone. Training code of yours runs as
    it is now, with the settings, the seed and the budget of the trial, as far as that went.
    """
    from search.cli.progress import fetching
    from search.service.check import check_options
    from search.service.repeat import repeat as service

    check_options(replace(DEFAULT_OPTIONS, stall_timeout_s=stall_timeout))
    with fetching() as progress:
        done = service(
            storage_url(storage),
            study,
            trial,
            restore=restore,
            stall_timeout_s=stall_timeout,
            tell=lambda words: say(words, err=True),
            watch=_show,
            progress=progress,
        )
    if json:
        print_json(_json(done))
    else:
        _print_repeated(done)
    if restore and done.restored is None:
        say("These are other weights than the study's numbers are about: none were written.", err=True)
        raise typer.Exit(1)


def _json(done: Repeated) -> dict[str, object]:
    curves, largest = done.curves, done.curves.largest_difference
    return {
        "study": done.study,
        "trial": done.trial.number,
        "points": len(curves.retrained),
        "equal": curves.first_difference is None,
        "first_difference": curves.first_difference,
        "largest_difference": fraction(largest) if done.spec.metric.is_fraction else largest,
        "changed": {name: list(pair) for name, pair in done.changed.items()},
        "seconds": done.seconds,
        "restored": None if done.restored is None else done.restored.checkpoint.path,
        "restored_where": None if done.restored is None else done.restored.where,
    }


def _show(spec: StudySpec, before: Report | None, retrained: Report) -> None:
    """Prints a report beside the old one."""
    now = value(retrained.score, spec.metric)
    then = "no report" if before is None else value(before.score, spec.metric)
    if isinstance(spec, NetworkSpec):
        say(f"{retrained.step:>9,} images  {then} then, {now} now", err=True)
        return
    at = amount(retrained.step, spec)
    say(f"{at}: {spec.metric.title} {then} then, {now} now{_apart(before, retrained)}", err=True)


def _apart(before: Report | None, retrained: Report) -> str:
    """How two reports differ, to follow their scores, which may look the same."""
    from search.analysis.repetition import differing

    if before is None or not (names := differing(before, retrained)):
        return ""
    if before.score != retrained.score:
        return f" ({difference(retrained.score - before.score, retrained.metric)})"
    return f" ({listed(names)} {'differs' if len(names) == 1 else 'differ'})"


def _print_repeated(done: Repeated) -> None:
    if isinstance(done.spec, DeclaredSpec):
        _say_of_code(done)
    else:
        _say_of_network(done)
    for name, (then, now) in done.changed.items():
        typer.echo(f"  {name:<14} {'unknown' if then is None else then} then, {now or 'unknown'} now")
    if done.restored is not None:
        say(f"Its weights are restored, {done.restored.where}.")


def _say_of_network(done: Repeated) -> None:
    first = done.curves.first_difference
    told = f"Trial {done.trial.number} was retrained in {duration(done.seconds)}:"
    if first is None:
        say(f"{told} all {len(done.curves.retrained)} points of its curve are the same, bit for bit.")
    else:
        largest = f"{_largest(done)} of {done.spec.metric.title}"
        say(f"{told} its curve differs from {first:,} images on, by {largest} at most.")


def _say_of_code(done: Repeated) -> None:
    curves, spec = done.curves, done.spec
    told = f"Trial {done.trial.number} was repeated in {duration(done.seconds)}:"
    if curves.first_difference is None:
        n = len(curves.retrained)
        all_of_them = "its only report is" if n == 1 else f"all {n:,} reports are"
        say(f"{told} {all_of_them} the same, bit for bit.")
    else:
        say(f"{told} its reports differ from {amount(curves.first_difference, spec)} on{_how_far(done)}.")
    if curves.unpaired:
        say(f"At {count(curves.unpaired, 'step')} only one of the two runs reported.")
    say("Training code is not promised to repeat its bits: that depends on the code and its libraries.")
    say(_of_the_code(done))


def _how_far(done: Repeated) -> str:
    """By how much at most, to follow since when."""
    if not (names := done.curves.differing):
        return ""
    if done.curves.largest_difference:
        return f", its {done.spec.metric.title} by {_largest(done)} at most"
    return f" in {listed(names)}, and not in {done.spec.metric.title}"


def _largest(done: Repeated) -> str:
    metric, largest = done.spec.metric, done.curves.largest_difference or 0.0
    return difference(largest, metric).lstrip("+−±")


def _of_the_code(done: Repeated) -> str:
    if "code" in done.changed and None not in done.changed["code"]:
        return "The code has changed since the trial ran: its SHA-256 is another one."
    if "code" in done.changed or done.code is None:
        return "Whether the code has changed since the trial ran is not known: its SHA-256 is not recorded."
    return "The code has not changed since the trial ran: its SHA-256 is the same."
