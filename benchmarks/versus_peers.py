"""One training function under four searches: tune, plain Optuna, Ray Tune and NePS. Two Markdown tables.

What is trained is the course's CNN on twodigit in plain PyTorch (peers/course_cnn.py), up to eight epochs a
trial, with learning rate, channels and dropout to be found. Each side is the script that a user of that
library would write (peers/by_*.py): Optuna with TPE and the median pruner on one SQLite file, Ray Tune with
OptunaSearch and ASHA, NePS with its ASHA, tune as it comes. Two workers of one thread each, one machine, in
turns, a fresh folder each. Every search is seeded, the seed of a training follows from its settings, and what
comes after the time is not counted. A side whose library is missing is named with its error; so is a run that
fails, with the end of its output, and the race continues.

- Over time: each side searches for --minutes with every seed. Reported is the best accuracy on validation
  (mean of both digits, after any epoch of any trial) at a quarter, a half and the end of the time, from the
  start of the command, imports included; the trials (different settings) that had an epoch by then, and the
  epochs. The test split is not touched.
- Under kills: each side is asked for --asked trials, and the process that trains is killed (SIGKILL) every
  --kill-every seconds; of tune it is the worker, and the user's process ends with it. Workers of Optuna and
  NePS are then started again, as a shell loop or an init system would; tune and Ray Tune start theirs
  themselves. Reported is how many trials the side itself counts as finished when it says that it is done, or
  after three times --minutes, and how many it has left open. NePS counts an evaluation at each fidelity.

    pip install -e '.[peers]'
    tune data export --task twodigit --out twodigit.npz
    python benchmarks/versus_peers.py twodigit.npz --minutes 10 --seeds 0 1 2 --json peers.json

The same command continues an interrupted race, and makes failed runs again.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apart import TUNE, apart
from versus_plain import spread
from write import git

PEERS = Path(__file__).resolve().parent / "peers"
WORKERS = 2
MANY = 100_000
"""Trials that no side finishes in the time."""
MARGIN_S = 60.0
"""How long a side may take to end after its time is up."""
POLL_S = 0.5
SHORT_S, SHORT_LIVES = 20.0, 5
"""A script that fails within this time of its start, this number of times in a row, is not started again."""
GRACE_S = 10.0
"""Time that the processes of a side have to end after SIGTERM."""
TAIL = 2000
"""Characters of the output of a failed run that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a side is asked for."""

    folder: Path
    trials: int
    seed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Side:
    """How one library is started and asked what it has."""

    needs: str
    """the package that is imported first; where it fails the side is left out"""
    command: Callable[[Job, int], list[str]]
    """of the worker of that index, or of the whole where `alone`"""
    count: Callable[[Job], list[str]] | None
    """prints what is finished and open, as JSON; None: the command itself does in its last line"""
    alone: bool
    """one command starts its workers and replaces them"""
    above: int = 0
    """the process to kill is this many generations above the one that trains"""


class RunFailed(Exception):
    """A side ended with an error, or could not say what it has; the message has the end of its output."""


def _script(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(PEERS / name), *map(str, arguments)]


def _tune(job: Job, _worker: int) -> list[str]:
    words = ["run", "--objective", f"{PEERS / 'by_tune.py'}:train", "--study", "peers"]
    words += ["--trials", str(job.trials), "--seed", str(job.seed), "--workers", str(WORKERS)]
    return [*TUNE, *words, "--timeout", str(job.seconds)]


SIDES = {
    # Of the user's process the parent is search/objectives/external/guard.py, whose parent is the worker.
    "tune": Side("search", _tune, lambda _: [*TUNE, "studies", "--json"], alone=True, above=2),
    "optuna": Side(
        "optuna",
        lambda job, worker: _script(
            "by_optuna.py", "work", job.folder, job.trials, WORKERS * job.seed + worker
        ),
        lambda job: _script("by_optuna.py", "count", job.folder),
        alone=False,
    ),
    "ray": Side(
        "ray.tune.search.optuna",
        lambda job, _: _script("by_ray.py", job.folder, job.trials, job.seed, time.time() + job.seconds),
        None,
        alone=True,
    ),
    "neps": Side(
        "neps",
        lambda job, _: _script("by_neps.py", "work", job.folder, job.trials, job.seed),
        lambda job: _script("by_neps.py", "count", job.folder),
        alone=False,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """The conditions that all runs of a race share."""

    minutes: float
    kill_every: float
    examples: int | None
    """training images; None: all"""
    data_sha256: str
    commit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one side did in one run."""

    side: str
    seed: int
    asked: int
    kills: list[float]
    """seconds at which a process was killed"""
    seconds: float
    ended: bool
    """it said itself, within its time, that it is done"""
    finished: int | None
    """by its own count; None: not asked, or it could not say"""
    open: int | None
    trials: int
    """different settings of which an epoch was trained within the time"""
    epochs: int
    """that were trained within the time, whatever became of them"""
    best: list[list[float]]
    """[seconds, accuracy], whenever there was a better one within the time"""
    failed: str | None = None
    """why the run counts for nothing, with the end of its output"""

    def best_after(self, seconds: float) -> float:
        """The best accuracy known by then, NaN where there was none."""
        return max((accuracy for moment, accuracy in self.best if moment <= seconds), default=math.nan)


class Workers:
    """The processes of one side, started again where it does not do that itself."""

    def __init__(self, side: Side, job: Job, environment: dict[str, str]) -> None:
        self._side, self._job, self._environment = side, job, environment
        self.output = job.folder / "output.txt"
        self._short_lives = 0
        """failures in a row soon after a start"""
        self._started: dict[int, float] = {}
        self._running = {worker: self._start(worker) for worker in range(1 if side.alone else WORKERS)}

    def _start(self, worker: int) -> subprocess.Popen[bytes]:
        self._started[worker] = time.monotonic()
        with self.output.open("ab") as file:
            return subprocess.Popen(
                self._side.command(self._job, worker),
                cwd=self._job.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def sessions(self) -> set[int]:
        """Ids of the sessions of the commands."""
        return {process.pid for process in self._running.values()}

    def are_done(self) -> bool:
        """Whether every process has ended by itself; those that were killed are started again.

        Raises RunFailed where one ended with an error and is not to be started again.
        """
        for worker, process in self._running.items():
            if (code := process.poll()) in (None, 0):
                continue
            if self._side.alone:
                raise RunFailed(f"the command ended with exit code {code}")
            if code != -signal.SIGKILL:
                self._note_failure(code, time.monotonic() - self._started[worker])
            self._running[worker] = self._start(worker)
        return all(process.poll() == 0 for process in self._running.values())

    def _note_failure(self, code: int | None, seconds: float) -> None:
        self._short_lives = self._short_lives + 1 if seconds < SHORT_S else 0
        if self._short_lives == SHORT_LIVES:
            raise RunFailed(
                f"the script ended with exit code {code}, {SHORT_LIVES} times in a row soon after its start"
            )

    def end(self) -> None:
        """Ends what still runs, with everything in its process groups."""
        for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 60.0)):
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
            until = time.monotonic() + patience_s
            for process in self._running.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, until - time.monotonic()))


def events_of(file: Path) -> list[dict[str, Any]]:
    """The epochs that were trained, the first one first."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


@dataclass(frozen=True, slots=True)
class Seen:
    """What Linux tells of a process."""

    pid: int
    parent: int
    session: int


def seen(pid: int) -> Seen | None:
    """None where there is no such process, or it has ended and waits for its parent."""
    try:
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state in "ZX" else Seen(pid, int(parent), int(session))


def victim(side: Side, events: list[dict[str, Any]], sessions: set[int]) -> int | None:
    """The process to kill: that of the epoch which ended last and is still there, or `side.above` it.

    An ancestor is a process of this side only in one of its `sessions`: a process whose parent has ended is
    another one's child, such as of process 1.
    """
    for event in reversed(events):
        found = seen(event["pid"])
        for _ in range(side.above):
            found = None if found is None else seen(found.parent)
        if found is not None and (not side.above or found.session in sessions):
            return found.pid
    return None


def measure(name: str, job: Job, environment: dict[str, str], *, kill_every: float | None) -> Run:
    """One run. kill_every: seconds between two kills; None: nothing is killed, and no trials are counted."""
    side, events = SIDES[name], job.folder / "events.jsonl"
    environment = {**environment, "EVENTS": str(events)}
    began, ended, failed = time.time(), False, None
    kills: list[float] = []
    workers = Workers(side, job, environment)
    try:
        while (seconds := time.time() - began) < job.seconds + (MARGIN_S if side.alone else 0):
            if workers.are_done():
                ended = seconds < job.seconds
                break
            due = kill_every is not None and seconds > kill_every + (kills[-1] if kills else 0)
            if due and seconds < job.seconds:
                pid = victim(side, events_of(events), workers.sessions)
                if pid is not None:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                        kills.append(seconds)
            time.sleep(POLL_S)
        else:
            if side.alone:
                raise RunFailed(f"the command had not ended {MARGIN_S:g} s after its time")
    except RunFailed as error:
        failed = str(error)
    finally:
        workers.end()
    finished, left = None, None
    if kill_every is not None and failed is None:
        try:
            finished, left = counted(name, job, workers.output, environment)
        except RunFailed as error:
            failed = str(error)
    trained = [event for event in events_of(events) if event["t"] <= began + job.seconds]
    return Run(
        side=name,
        seed=job.seed,
        asked=job.trials,
        kills=kills,
        seconds=seconds,
        ended=ended,
        finished=finished,
        open=left,
        trials=len({json.dumps(event["settings"]) for event in trained}),
        epochs=len(trained),
        best=rising([[event["t"] - began, event["accuracy"]] for event in trained]),
        failed=None if failed is None else f"{failed}; its output ends:\n{tail(workers.output)}",
    )


def rising(points: list[list[float]]) -> list[list[float]]:
    """Those of [seconds, accuracy] that are better than all before them."""
    best: list[list[float]] = []
    for moment, accuracy in points:
        if accuracy > (best[-1][1] if best else 0):
            best.append([moment, accuracy])
    return best


def tail(output: Path) -> str:
    """The end of what a side has printed."""
    return output.read_text(errors="replace")[-TAIL:].strip() if output.exists() else ""


def counted(name: str, job: Job, output: Path, environment: dict[str, str]) -> tuple[int, int]:
    """How many trials a side itself counts as finished, and how many it has left open. Raises RunFailed."""
    asking = SIDES[name].count
    if asking is None:
        told = output.read_text(errors="replace")
    else:
        done = subprocess.run(
            asking(job), cwd=job.folder, env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RunFailed(f"its trials cannot be counted: {done.stderr.strip()[-TAIL:]}")
        told = done.stdout
    try:
        if name == "tune":
            (study,) = json.loads(told)
            return study["complete"] + study["pruned"], study["running"]
        read = json.loads(told.strip().rpartition("\n")[2])
        return read["finished"], read["open"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"what it says of its trials cannot be read ({error}): {told[-TAIL:]}") from error


def over_time(runs: Sequence[Run], seconds: float) -> str:
    """The table of the searches that ran for as long."""
    moments = [seconds / 4, seconds / 2, seconds]
    lines = ["| side | runs | " + " | ".join(f"best after {moment / 60:g} min" for moment in moments)]
    lines[0] += " | trials | epochs |"
    lines.append("|---" * 2 + "|--:" * 5 + "|")
    for side in SIDES:
        own = [run for run in runs if run.side == side and run.failed is None]
        if own:
            cells = [spread([run.best_after(moment) for run in own], "{:.2%}") for moment in moments]
            cells += [spread([float(count_of(run)) for run in own], "{:.0f}") for count_of in COUNTS]
            lines.append(f"| {side} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


COUNTS: tuple[Callable[[Run], int], ...] = (lambda run: run.trials, lambda run: run.epochs)


def under_kills(runs: Sequence[Run]) -> str:
    """The table of the searches whose workers were killed."""
    lines = ["| side | asked | finished, by its own count | left open | kills | said that it is done |"]
    lines.append("|---" + "|--:" * 4 + "|---|")
    for run in runs:
        done = f"after {run.seconds / 60:.1f} min" if run.ended else f"not in {run.seconds / 60:.0f} min"
        cells = [run.side, run.asked, run.finished, run.open, len(run.kills), done]
        if run.failed is None:
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def failures(runs: Sequence[Run]) -> str:
    """What is to be said of the runs that failed, a paragraph each."""
    return "\n\n".join(
        f"{run.side}, seed {run.seed}, {'under kills' if run.asked != MANY else 'over time'}, failed after "
        f"{run.seconds:.0f} s and {len(run.kills)} kills: {run.failed}"
        for run in runs
        if run.failed is not None
    )


def usable(names: list[str]) -> list[str]:
    """The sides whose libraries are there; the others are named with their error."""
    there = []
    for name in names:
        done = subprocess.run(
            [sys.executable, "-c", f"import {SIDES[name].needs}"], check=False, capture_output=True, text=True
        )
        if done.returncode == 0:
            there.append(name)
        else:
            print(f"{name} is left out: {done.stderr.strip().rpartition(chr(10))[2]}", file=sys.stderr)
    return there


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("twodigit", type=Path, help="the file of tune data export")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--asked", type=int, default=20, help="trials under kills; 0: leave that table out")
    parser.add_argument("--kill-every", type=float, default=60)
    parser.add_argument("--examples", type=int, help="train on the first images only, to try the script")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keeps every run; those that it has are not made again"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = arguments_of(words)
    environment = {**apart(), "TWODIGIT": str(arguments.twodigit.resolve()), "OMP_NUM_THREADS": "1"}
    if arguments.examples is not None:
        environment["EXAMPLES"] = str(arguments.examples)
    with arguments.twodigit.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    race = Race(
        minutes=arguments.minutes,
        kill_every=arguments.kill_every,
        examples=arguments.examples,
        data_sha256=sha256,
        commit=git("describe", "--always", "--dirty", "--exclude", "*").strip(),
    )
    runs = kept(arguments.json, race)
    wanted: list[tuple[int, int, float, float | None]]
    wanted = [(seed, MANY, arguments.minutes, None) for seed in arguments.seeds]
    if arguments.asked:
        wanted.append((0, arguments.asked, 3 * arguments.minutes, arguments.kill_every))
    sides = usable(arguments.sides)
    for seed, asked, minutes, kill_every in wanted:
        for name in sides:
            if any((run.side, run.seed, run.asked) == (name, seed, asked) for run in runs):
                continue
            with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as folder:
                job = Job(folder=Path(folder), trials=asked, seed=seed, seconds=60 * minutes)
                run = measure(name, job, environment, kill_every=kill_every)
                runs.append(run)
                if arguments.json:
                    keep(arguments.json, race, runs)
            told = "failed" if run.failed else f"{run.trials} trials, {run.epochs} epochs"
            print(f"{name}, seed {seed}: {told}, {len(run.kills)} kills", file=sys.stderr)
    timed, under = [run for run in runs if run.asked == MANY], [run for run in runs if run.asked != MANY]
    parts = [over_time(timed, 60 * arguments.minutes) if timed else "", under_kills(under) if under else ""]
    print("\n\n".join(part for part in (*parts, failures(runs)) if part))


def kept(file: Path | None, race: Race) -> list[Run]:
    """The runs of an earlier call that did not fail: all of them take hours. Exits where the file has those
    of a race under other conditions."""
    if file is None or not file.exists():
        return []
    read = json.loads(file.read_text())
    others = [
        f"{key} {read['race'].get(key)}, now {value}"
        for key, value in asdict(race).items()
        if read["race"].get(key) != value
    ]
    if others:
        raise SystemExit(f"{file} has the runs of another race: {'; '.join(others)}. Name another file.")
    return [run for each in read["runs"] if (run := Run(**each)).failed is None]


def keep(file: Path, race: Race, runs: Sequence[Run]) -> None:
    """Writes the file whole, or leaves it as it was."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps({"race": asdict(race), "runs": [asdict(run) for run in runs]}))
    partial.replace(file)


if __name__ == "__main__":
    main()
