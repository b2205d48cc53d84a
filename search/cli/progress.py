"""Shows on stderr what a command does: a spinner while it starts, then a live panel in a terminal and plain
lines elsewhere. Stdout is for results.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.progress import Task as ProgressTask
from rich.progress_bar import ProgressBar
from rich.status import Status as Spinner
from rich.table import Table
from rich.text import Text

from search.analysis.pace import Running, Snapshot, full_length_s
from search.analysis.ranking import score_of
from search.cli.phrases import described, measured, natural
from search.cli.printing import say
from search.errors import Interrupted
from search.records import Failure, NetworkSpec, State, StudySpec, TrialRecord
from search.report.words import amount, duration, plural, roughly, scored, states, value
from tune.command import PROGRESS

READING = "reading images"
"""Said of the source `images`: the files that a set is made of (data.ingest)."""

READING_STOPPED = "Stopped by SIGINT while images were read; the same command continues where it was."

LINE_EVERY_S = 30.0
"""Seconds after which a line of plain output is due, so that a log shows that the run is alive."""

ESTIMATE_AFTER_S = 30.0
"""Seconds after which a run says how long it takes: until then a worker's start distorts the rate."""

LONG_S = 300.0
"""Of a search that takes less than this no estimate is given."""

STOPPING = "Stopping: the workers save their trials, which takes up to 5 s. Ctrl-C once more ends at once."

Watch = Callable[[Snapshot], None]


class Status:
    """A line in a terminal that says what a command is doing before it has anything else to show."""

    def __init__(self) -> None:
        self._spinner = Spinner("", console=Console(stderr=True)) if sys.stderr.isatty() else None

    def say(self, words: str) -> None:
        """Shows the words until others come, or `clear`."""
        if self._spinner is not None:
            self._spinner.update(Text(f"{words} …"))
            self._spinner.start()

    def clear(self) -> None:
        """Takes the line away: something else is about to be shown."""
        if self._spinner is not None:
            self._spinner.stop()


@contextmanager
def starting() -> Iterator[Status]:
    """A status line for as long as the block lasts. Its first words are there before the slow imports."""
    status = Status()
    status.say("loading Optuna")
    try:
        yield status
    finally:
        status.clear()


@contextmanager
def watching(status: Status, *, estimate: bool = False) -> Iterator[Watch]:
    """Shows the snapshots that it is called with while the block lasts. The first one ends the status.

    estimate: say once how long the search takes, as soon as that can be known.

    A program that started the command may ask for lines of JSON instead (`tune.command`).
    """
    if os.environ.get(PROGRESS) == "json":
        yield _tell_program
        return
    lines = Lines()
    in_a_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
    left = Estimate() if estimate else None

    def show(seen: Snapshot) -> None:
        status.clear()
        if left is not None and (sentence := left.of(seen)) is not None:
            if in_a_terminal:
                live.console.print(Text(sentence))  # above the panel
            else:
                say(sentence, err=True)
        if in_a_terminal:
            live.start()
            live.update(panel(seen))
        else:
            lines(seen)

    try:
        yield show
    finally:
        live.stop()


class Estimate:
    """The sentence on how long a search takes, which is said once."""

    def __init__(self) -> None:
        self._said = False

    def of(self, seen: Snapshot) -> str | None:
        """The sentence; None before it can be known, after it was said, and for a short search."""
        if self._said or seen.elapsed_s < ESTIMATE_AFTER_S:
            return None
        seconds = full_length_s(seen)
        if seconds is None:
            return None
        self._said = True
        if seconds < LONG_S:
            return None
        missing = seen.target_trials - seen.counts.finished
        pruning = "" if seen.spec.pruner == "none" else "; those that are pruned take less"
        return (
            f"Rough estimate: at the rate so far, the {missing} trials that are left take at most about "
            f"{roughly(seconds)}{pruning}."
        )


def _tell_program(seen: Snapshot) -> None:
    best, metric = seen.best, seen.spec.metric
    told = {
        "study": seen.study,
        "target_trials": seen.target_trials,
        "finished": seen.counts.finished,
        "failed": seen.counts.failed_otherwise,
        "metric": metric.title,
        "best_trial": None if best is None else best.number,
        "best_value": None if best is None else natural(best.score, metric),
        "left": None if seen.remaining_s is None else duration(seen.remaining_s),
        "stopping": seen.stopping,
    }
    typer.echo(json.dumps({"progress": told}, ensure_ascii=False), err=True)


def panel(seen: Snapshot) -> RenderableType:
    """The live view: how far, how fast, what each worker does, the best so far."""
    counts = seen.counts
    head = Table.grid(padding=(0, 2))
    head.add_column(no_wrap=True, overflow="ellipsis")
    head.add_column(no_wrap=True)
    head.add_column(no_wrap=True)
    head.add_row(
        Text(seen.study, style="bold"),
        ProgressBar(total=max(1, seen.target_trials), completed=counts.finished, width=30),
        f"{counts.finished} of {seen.target_trials}",
    )
    foreign = [f"{counts.foreign} foreign"] if counts.foreign else []
    tally = Text(" · ".join([*states(counts), f"{seen.waiting} waiting", *foreign]))
    pace = Text(
        f"{duration(seen.elapsed_s)} elapsed · {duration(seen.remaining_s)} left · {_rate(seen)}", style="dim"
    )
    spec, of_networks = seen.spec, isinstance(seen.spec, NetworkSpec)
    how_far = "epoch" if of_networks else spec.unit
    score = "accuracy" if spec.scored_by_answers else spec.metric.title
    workers = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for column, width in (("worker", 14), ("trial", 5), (how_far, 5), (score, 8)):
        workers.add_column(column, no_wrap=True, min_width=width)
    workers.add_column("settings", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in seen.running:
        latest = value(each.latest.score if each.latest else None, spec.metric)
        row = (str(each.trial.number), _how_far(each, spec), latest, described(each.trial, spec))
        workers.add_row(each.worker, *row)
    if not seen.running and seen.counts.finished < seen.target_trials and not seen.exhausted:
        workers = Table.grid()
        workers.add_row(Text("starting workers, a few seconds …", style="dim"))
    parts: list[RenderableType] = [head, tally, pace, Text(), workers, Text()]
    parts += _best(seen)
    if seen.stopping:
        parts.append(Text(STOPPING, style="bold yellow"))
    parts.append(Text())  # a terminal that echoes ^C at the end of a full line would shift the panel
    return Group(*parts)


def _rate(seen: Snapshot) -> str:
    """4,000 images/s, 0.0125 epochs/s."""
    rate = seen.steps_per_s
    whole = rate >= 100 or isinstance(seen.spec, NetworkSpec)
    return f"{rate:,.0f} {plural(seen.spec.unit)}/s" if whole else f"{rate:.3g} {plural(seen.spec.unit)}/s"


def _how_far(running: Running, spec: StudySpec) -> str:
    """At its latest report: a network after how many epochs."""
    step = running.latest.step if running.latest else 0
    return f"{step / spec.epoch_images:.2f}" if isinstance(spec, NetworkSpec) else f"{step:,}"


def _best(seen: Snapshot) -> list[RenderableType]:
    """The best searched trial and the best reference, the better one first."""
    found: list[tuple[float, RenderableType]] = []
    metric = seen.spec.metric
    if seen.best is not None:
        best = Text(style="none")
        best.append(f"trial {seen.best.number}  {scored(seen.best.score, metric)}", style="bold green")
        best.append(f"  {measured(seen.best_report, seen.spec)}\n")
        best.append(described(seen.best, seen.spec), style="dim")
        found.append((score_of(seen.best), _labeled("best", best)))
    if seen.reference is not None:
        words = Text(f"{seen.reference.reference}  {scored(seen.reference.score, metric)}")
        found.append((score_of(seen.reference), _labeled("reference", words)))
    return [shown for _, shown in sorted(found, key=lambda each: -each[0])]


def _labeled(label: str, words: Text) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_column(style="dim", min_width=9, no_wrap=True)
    row.add_column()
    row.add_row(label, words)
    return row


class Lines:
    """The same for logs: a line for each trial that ended, and one now and then in between."""

    def __init__(self) -> None:
        self._told: set[int] | None = None
        self._last = time.monotonic()

    def __call__(self, seen: Snapshot) -> None:
        if seen.stopping:
            self._say(STOPPING)
            return
        ended = {trial.number: trial for trial in seen.trials if trial.finished is not None}
        if self._told is None:  # what an earlier run finished is no news
            self._told = {number for number, trial in ended.items() if _age_s(trial) > seen.elapsed_s}
        for number in sorted(ended.keys() - self._told):
            self._told.add(number)
            self._say(_line(ended[number], seen))
        if time.monotonic() - self._last > LINE_EVERY_S:
            unit = "epoch" if isinstance(seen.spec, NetworkSpec) else seen.spec.unit
            at_work = ", ".join(
                f"trial {each.trial.number} at {unit} {_how_far(each, seen.spec)}" for each in seen.running
            )
            self._say(
                f"{seen.counts.finished}/{seen.target_trials}  {at_work or 'starting'}  "
                f"{_rate(seen)}  {duration(seen.remaining_s)} left"
            )

    def _say(self, line: str) -> None:
        say(line, err=True)
        self._last = time.monotonic()


def _age_s(trial: TrialRecord) -> float:
    assert trial.finished is not None
    return time.time() - trial.finished.timestamp()


def _line(trial: TrialRecord, seen: Snapshot) -> str:
    start = f"{seen.counts.finished}/{seen.target_trials}  trial {trial.number}"
    if trial.failure is Failure.INTERRUPTED:
        how = "paused" if trial.was_paused else "interrupted"
        return f"{start}  {how}, its settings are queued again"
    if trial.failure is Failure.OUTSIDE_SPACE:
        return f"{start}  not continued ({trial.failure})"
    if trial.state is State.FAILED:
        return f"{start}  failed ({trial.failure})"
    best = "  best so far" if seen.best is not None and seen.best.number == trial.number else ""
    name = described(trial, seen.spec, limit=6)
    score, spec = scored(trial.score, seen.spec.metric), seen.spec
    reached = f"{trial.step:,} images" if isinstance(spec, NetworkSpec) else amount(trial.step, spec)
    return f"{start}  {trial.state:<8}  {score}  {reached}  {name}{best}"


class _Amount(DownloadColumn):
    """How much of a download or of a user's images has come."""

    def render(self, task: ProgressTask) -> Text:
        if task.description != READING:
            return super().render(task)
        total = "?" if task.total is None else f"{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}/{total}")


@contextmanager
def fetching(
    status: Status | None = None, *, reads: bool = False
) -> Iterator[Callable[[str, int, int | None], None]]:
    """Draws a bar for each source that MNIST is fetched from, and for the images that are read into a set;
    silent when nothing needs fetching or reading.

    The first bar ends the status. reads: whether images are read from the beginning to the end. Raises
    Interrupted for Ctrl-C while they are.
    """
    console = Console(stderr=True)
    bars: dict[str, TaskID] = {}
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        _Amount(),
        console=console,
        disable=not sys.stderr.isatty(),
    )

    def tell(source: str, done: int, total: int | None) -> None:
        if source not in bars:
            if not bars:
                if status is not None:
                    status.clear()
                progress.start()
            words = READING if source == "images" else f"fetching MNIST from {source}"
            bars[source] = progress.add_task(words, total=total)
            if progress.disable:
                typer.echo(words, err=True)
        progress.update(bars[source], completed=done, total=total)
        if total is not None and done >= total and all(task.finished for task in progress.tasks):
            progress.stop()

    try:
        yield tell
    except KeyboardInterrupt as error:
        if reads or any(task.description == READING and not task.finished for task in progress.tasks):
            raise Interrupted(READING_STOPPED, signal.SIGINT) from error
        raise
    finally:
        progress.stop()
