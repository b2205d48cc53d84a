"""`tune run` and `tune worker`: parse, one service call, say how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from search.cli import completion
from search.cli.data import print_set
from search.cli.options import (
    JSONOption,
    SkipDamagedOption,
    StorageOption,
    data_path,
    print_json,
    storage_url,
)
from search.cli.phrases import follow_up, gained, measured, natural, settings, task_of
from search.cli.printing import print_facts, say
from search.cli.worker_flags import with_worker_options
from search.errors import UsageError
from search.records import Failure, NetworkSpec
from search.report.words import better, duration, foreign_in_words, scored
from search.worker.options import WorkerOptions

if TYPE_CHECKING:
    from data.ingest.add import Added
    from search.analysis.pace import Snapshot
    from search.cli.progress import Status
    from search.service.create import RunRequest
    from search.service.watched import RunResult


Precision = Literal["auto", "float32", "bfloat16"]
"""What the trials of a study compute in."""

TaskOption = Annotated[
    str | None,
    typer.Option(
        help="twodigit or sum; a study that exists knows its own.",
        autocompletion=completion.tasks,
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        parser=data_path,
        metavar="<path>",
        help="Your own images in place of a task: a folder with a folder for each class, a folder with "
        "labels.csv, an .npz file or a folder of IDX files.",
        show_default=False,
    ),
]
ScoreOption = Annotated[
    str | None,
    typer.Option(
        help="What is optimized: accuracy (default), balanced_accuracy, macro_f1 or log_loss.",
        show_default=False,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option(help="Your own training code in place of a task: train.py:train.", show_default=False),
]
PythonOption = Annotated[
    str | None,  # a Path would drop the `./` that tells a file from a program on the PATH
    typer.Option(
        "--python",
        metavar="PATH",
        help="Interpreter for --objective; default: the study's, else tune's.",
        show_default=False,
    ),
]
CommandOption = Annotated[
    str | None,
    typer.Option(
        "--command",
        help='Your own program in any language, as a shell reads it: "./program --flag".',
        show_default=False,
    ),
]
TrialsOption = Annotated[
    int | None, typer.Option(help="Trials that shall be finished in all; 100 in a new study.")
]
StudyOption = Annotated[
    str | None,
    typer.Option(
        help="Name of the study; default: that of the task, the folder or the file of the code.",
        autocompletion=completion.studies,
    ),
]
ModelOption = Annotated[
    str | None, typer.Option(help="mlp, conv or all (default).", autocompletion=completion.models)
]
WorkersOption = Annotated[int | None, typer.Option(help="Processes; default: one a core, four on a GPU.")]
EpochsOption = Annotated[float | None, typer.Option(help="Budget of one trial; default by task.")]
SeedOption = Annotated[
    int | None,
    typer.Option(
        help="Root of all random numbers; default 0. One worker repeats a search with it; with several, "
        "what a trial is proposed after depends on which results come first."
    ),
]
SamplerOption = Annotated[
    str | None,
    typer.Option(help="tpe (default), gp, random or qmc.", autocompletion=completion.samplers),
]
PrunerOption = Annotated[
    str | None,
    typer.Option(
        help="asha, halving, median, percentile, hyperband or none; default: asha, percentile for code "
        "without checkpoints.",
        autocompletion=completion.pruners,
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        help="End after this many seconds; towards the end no trials begin, so that the best are finished."
    ),
]
TargetOption = Annotated[
    float | None,
    typer.Option(
        help="Begin no more trials once one has this accuracy on every head, e.g. 0.985; end when such a "
        "one is trained to its end. Where no networks are trained: once one has this value."
    ),
]
SpaceChangedOption = Annotated[
    bool,
    typer.Option(
        "--space-changed",
        help="Continue a study in another space, that of --space, --model or your code; trials that do not "
        "fit it are set aside.",
    ),
]
SpaceOption = Annotated[Path | None, typer.Option(help="TOML file that changes the search space.")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="Of all trials. auto (default): bfloat16 where it is faster, measured once for each kind of "
        "processor and recorded in the study.",
        show_default=False,
    ),
]
DetachOption = Annotated[bool, typer.Option(help="Only create the study; workers do the rest.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("run")(with_worker_options(run))
    app.command("worker")(with_worker_options(worker))


def run(
    options: WorkerOptions,
    task: TaskOption = None,
    data: DataOption = None,
    skip_damaged: SkipDamagedOption = False,
    objective: ObjectiveOption = None,
    python: PythonOption = None,
    command: CommandOption = None,
    trials: TrialsOption = None,
    study: StudyOption = None,
    model: ModelOption = None,
    workers: WorkersOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    sampler: SamplerOption = None,
    pruner: PrunerOption = None,
    timeout: TimeoutOption = None,
    target: TargetOption = None,
    space: SpaceOption = None,
    space_changed: SpaceChangedOption = False,
    precision: PrecisionOption = None,
    score: ScoreOption = None,
    detach: DetachOption = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Searches: makes or resumes a study and works on it.

    It ends when as many trials are finished as --trials asks for. The same command continues with a study.
    """
    from search.cli.progress import starting

    with starting() as status:
        from search.service.create import RunRequest

        request = RunRequest(
            task=task,
            data=data,
            skip_damaged=skip_damaged,
            score=score,
            objective=objective,
            python=python,
            command=command,
            trials=trials,
            study=study,
            model=model,
            epochs=epochs,
            seed=seed,
            sampler=sampler,
            pruner=pruner,
            space=space,
            space_changed=space_changed,
            precision=precision,
            options=replace(options, workers=workers, timeout_s=timeout, target=target),
        )
        result = _search(request, storage_url(storage), status, detach=detach)
    _tell(result, json=json, storage=storage)


def _search(request: RunRequest, url: str, status: Status, *, detach: bool) -> RunResult:
    """The service, with what it tells on the way shown."""
    from search.cli.progress import fetching, watching
    from search.service.run import run as service

    estimate = request.options.timeout_s is None  # else the user knows
    with fetching(status) as progress, watching(status, estimate=estimate) as watch:
        return service(
            request,
            url,
            watch=watch,
            detach=detach,
            tell=beside(status),
            found=partial(_tell_of_set, status, request.epochs),
            progress=progress,
            stage=status.say,
        )


def worker(
    options: WorkerOptions,
    study: Annotated[
        str | None, typer.Argument(help="Name of the study.", autocompletion=completion.studies)
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Every open study, now and later.")] = False,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    data: Annotated[
        Path | None,
        typer.Option(
            parser=data_path,
            metavar="<path>",
            help="Where the study's images lie, on a machine that has not stored them yet.",
        ),
    ] = None,
    skip_damaged: SkipDamagedOption = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Works on a study from any machine that reaches its storage.

    It ends when all trials of the study are finished. With --forever it waits for trials to do instead.
    """
    from search.cli.progress import fetching, starting, watching

    _refuse_worker(study, forever=forever, json=json, data=data, skip_damaged=skip_damaged)
    url, options = storage_url(storage), replace(options, workers=workers)
    with starting() as status:
        from search.service.run import join, serve

        tell = beside(status)
        with fetching(status) as progress:
            if study is None or forever:
                serve(
                    url,
                    options,
                    only=study,
                    watching=partial(watching, status),
                    tell=tell,
                    progress=progress,
                    stage=status.say,
                )
            with watching(status) as watch:
                result = join(
                    study,
                    url,
                    options,
                    data=data,
                    skip_damaged=skip_damaged,
                    watch=watch,
                    tell=tell,
                    progress=progress,
                    stage=status.say,
                )
    _tell(result, json=json, storage=storage, joined=True)


def _refuse_worker(
    study: str | None, *, forever: bool, json: bool, data: Path | None, skip_damaged: bool
) -> None:
    """Raises UsageError for flags of `tune worker` that do not go together."""
    if study is None and not forever:
        raise UsageError("Name the study to work on, or say --forever for all of them.")
    if forever and json:
        raise UsageError("--forever has no end at which to print JSON: leave one of the two out.")
    if data is not None and (study is None or forever):
        raise UsageError("--data is of one study: name it, and leave out --forever.")
    if skip_damaged and data is None:
        raise UsageError("--skip-damaged is for the images of --data: add that, or leave it out.")


def beside(status: Status) -> Callable[[str], None]:
    """Prints a sentence on stderr while there may be a status line."""

    def tell(words: str) -> None:
        status.clear()
        say(words, err=True)

    return tell


def _tell_of_set(status: Status, epochs: float | None, added: Added) -> None:
    """What was found at the path of --data, and what a trial does with it. epochs: as --epochs was given."""
    from data.tasks.classification import Classification

    status.clear()
    print_set(added.image_set, new=added.new, err=True)
    task = Classification(added.image_set)
    say(
        f"Each trial trains for up to {epochs or task.epochs:g} epochs of {task.epoch_examples:,} images. "
        f"`tune run --task {task.name}` searches with this set again; the test images are for `tune confirm` "
        "alone.",
        err=True,
    )


def _tell(result: RunResult, *, json: bool, storage: str | None = None, joined: bool = False) -> None:
    """The end of a run: for programs as JSON, for people as a few lines and the next commands.

    storage: as `--storage` was given. joined: it is a worker that joined the study.
    """
    seen, best, reference = result.snapshot, result.trial, result.better_reference
    metric = seen.spec.metric
    for note in result.notes:
        say(note, err=True)
    if json:
        print_json(
            {
                "study": seen.study,
                "reason": result.reason,
                "target_trials": seen.target_trials,
                "complete": seen.counts.complete,
                "pruned": seen.counts.pruned,
                "failed": seen.counts.failed,
                "foreign": seen.counts.foreign,
                "interrupted": seen.counts.interrupted,
                "outside_space": seen.counts.outside_space,
                "best_trial": best.number if best else None,
                "best_value": natural(best.score, metric) if best else None,
                "better_reference": reference.reference if reference else None,
                "better_reference_value": natural(reference.score, metric) if reference else None,
                "seconds": seen.elapsed_s,
            }
        )
        return
    say(_ending_of_idle(result, storage) if joined and result.reason == "nothing to do" else _ending(result))
    if result.reason == "detached":
        typer.echo(f"Next: {follow_up('worker', seen.study, storage=storage)}")
    elif result.based_on is not None:
        typer.echo(f"Next: {follow_up(*result.based_on, storage=storage)}")
    else:
        _tell_best(result)
        if best is not None:
            typer.echo(f"\nNext: {follow_up('report', seen.study, storage=storage)}")
            typer.echo(f"      {follow_up('confirm', seen.study, storage=storage)}")


def _tell_best(result: RunResult) -> None:
    """A better reference first, then the best searched trial."""
    seen, best, reference = result.snapshot, result.trial, result.better_reference
    spec, metric = seen.spec, seen.spec.metric
    if best is None:
        of_whom = "searched trial" if reference else "trial"
        words = [f"No {of_whom} is complete yet."]
        if seen.best is not None:
            words.append(f"Trial {seen.best.number} leads with {scored(seen.best.score, metric)}.")
        if reference is not None:
            words.append(f"The reference {reference.reference} has {scored(reference.score, metric)}.")
        say(" ".join(words))
        return
    of_networks = isinstance(spec, NetworkSpec)
    if reference is not None:
        say(f"\n{better(reference, metric)}")
    where = " on validation" if spec.scored_by_answers else ""
    say(f"\nBest of the search is trial {best.number} with {scored(best.score, metric)}{where}:")
    others = measured(result.report, spec)
    rows = [("accuracy" if of_networks else "metrics", others)] if others else []
    rows.append(("settings", settings(best.settings, task_of(spec))))
    if best.parameters is not None:
        rows.append(("network" if of_networks else "model", f"{best.parameters:,} parameters"))
    rows += [("gain", gained(gain, metric)) for gain in result.gains]
    print_facts(rows, indent="  ")


def _ending_of_idle(result: RunResult, storage: str | None) -> str:
    """Of a worker whose study had all its trials when it joined."""
    seen = result.snapshot
    if result.based_on:
        more = f"`{follow_up(*result.based_on, storage=storage)}` with more --seeds"
    else:
        trials = str(seen.counts.finished + 50)
        more = f"`{follow_up('run', '--study', seen.study, '--trials', trials, storage=storage)}`"
    finished = f"{seen.counts.finished} of {seen.target_trials} trials are finished ({_tally(seen)})"
    return (
        f"{seen.study}: this worker found nothing to do, {finished}. {more} asks for more, and `tune worker` "
        "with --forever waits for them."
    )


def _tally(seen: Snapshot) -> str:
    """12 complete, 3 pruned, 1 interrupted and queued again."""
    from search.analysis.ranking import origin

    counts = seen.counts
    tally = f"{counts.complete} complete, {counts.pruned} pruned"
    repeats = {trial.number: trial.retry_of for trial in seen.trials}
    outside = [trial.number for trial in seen.trials if trial.failure is Failure.OUTSIDE_SPACE]
    given_up = {origin(number, repeats) for number in outside}
    stopped = [trial for trial in seen.trials if trial.failure is Failure.INTERRUPTED]
    ended = [trial for trial in stopped if origin(trial.number, repeats) in given_up]
    paused = sum(trial.was_paused for trial in stopped if trial not in ended)
    interrupted = counts.interrupted - len(ended) - paused
    if interrupted > 0:
        tally += f", {interrupted} interrupted and queued again"
    if paused:
        tally += f", {paused} paused and queued again"
    if counts.outside_space:
        tally += f", {counts.outside_space} not continued in the changed search space"
    if counts.failed_otherwise:
        tally += f", {counts.failed_otherwise} failed besides"
    if counts.foreign:
        tally += f"; besides {foreign_in_words(counts.foreign).rstrip('.')}"
    return tally


def _ending(result: RunResult) -> str:
    seen = result.snapshot
    counts = seen.counts
    tally = _tally(seen)
    match result.reason:
        case "finished":
            return (
                f"{seen.study}: {counts.finished} of {seen.target_trials} trials finished ({tally}) "
                f"in {duration(seen.elapsed_s)}."
            )
        case "nothing to do":
            more = f"`tune run` with --trials {counts.finished + 50} would continue."
            if result.based_on:
                command, searched = result.based_on
                more = f"`tune {command} {shlex.quote(searched)}` with more --seeds would continue."
            if counts.finished > seen.target_trials:
                asked = f"more than the {seen.target_trials} asked for"
                return f"{seen.study}: {counts.finished} trials are finished ({tally}), {asked}. {more}"
            return (
                f"{seen.study}: nothing is left to do, {counts.finished} of {seen.target_trials} trials are "
                f"finished ({tally}). {more}"
            )
        case "exhausted":
            return (
                f"{seen.study}: exhausted, {counts.finished} of {seen.target_trials} trials are finished "
                f"({tally}): every configuration of the search space has been tried. In a larger space "
                "--space-changed continues it."
            )
        case "timeout":
            return (
                f"{seen.study}: time is up after {counts.finished} of {seen.target_trials} trials ({tally}); "
                "the same command continues."
            )
        case "target":
            what = "accuracy" if seen.spec.scored_by_answers else seen.spec.metric.title
            return (
                f"{seen.study}: a trial has the {what} asked for, so no more were begun; {counts.finished} "
                f"are finished ({tally}) after {duration(seen.elapsed_s)}. Without --target the same command "
                "continues."
            )
        case "detached":
            return f"{seen.study}: the study is open for {seen.target_trials} trials; no worker was started."
