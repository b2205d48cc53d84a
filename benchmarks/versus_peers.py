"""One training function under four searches: tune, plain Optuna, Ray Tune and NePS. Two Markdown tables.

What is trained is the course's CNN on twodigit in plain PyTorch (peers/course_cnn.py), up to eight epochs a
trial, with learning rate, channels and dropout to be found. Each side is the script that a user of that
library would write (peers/by_*.py): Optuna with TPE and the median pruner on one SQLite file, Ray Tune with
OptunaSearch and ASHA, NePS with its ASHA, tune as it comes. Two workers of one thread each, one machine, in
turns, a fresh folder each. A side whose library is missing is named with its error.

- Over time: each side searches for --minutes with every seed. Reported is the best accuracy on validation
  (mean of both digits, after any epoch of any trial) at a quarter, a half and the end of the time, from the
  start of the command, imports included. The test split is not touched.
- Under kills: each side is asked for --asked trials, and the process that trains is killed (SIGKILL) every
  --kill-every seconds. Workers of Optuna and NePS are then started again, as a shell loop or an init system
  would; tune (its worker process is killed, and the user's process dies with it) and Ray Tune start theirs
  themselves. Reported is how many trials the side itself counts as finished when it says that it is done, and
  how many it has left open. NePS counts an evaluation at each fidelity.

    pip install 'ray[tune]' neural-pipeline-search
    tune data export --task twodigit --out twodigit.npz
    python benchmarks/versus_peers.py twodigit.npz --minutes 10 --seeds 0 1 2 --json peers.json
"""

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from apart import TUNE, apart
from versus_plain import spread

PEERS = Path(__file__).resolve().parent / "peers"
WORKERS = 2
MANY = 100_000
"""Trials that no side finishes in the time."""
MARGIN_S = 60
"""How long a side may take to end after its time is up."""
POLL_S = 0.5


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
    command: Callable[[Job], list[str]]
    """of one worker, or of the whole where `alone`"""
    count: Callable[[Job], list[str]] | None
    """prints what is finished and open, as JSON; None: the command itself does in its last line"""
    alone: bool
    """one command starts its workers and replaces them"""


def _script(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(PEERS / name), *map(str, arguments)]


def _tune(job: Job) -> list[str]:
    words = ["run", "--objective", f"{PEERS / 'by_tune.py'}:train", "--study", "peers"]
    words += ["--trials", str(job.trials), "--seed", str(job.seed), "--workers", str(WORKERS)]
    return [*TUNE, *words, "--timeout", str(job.seconds)]


SIDES = {
    "tune": Side("search", _tune, lambda _: [*TUNE, "studies", "--json"], alone=True),
    "optuna": Side(
        "optuna",
        lambda job: _script("by_optuna.py", "work", job.folder, job.trials, job.seed),
        lambda job: _script("by_optuna.py", "count", job.folder),
        alone=False,
    ),
    "ray": Side(
        "ray.tune.search.optuna",
        lambda job: _script("by_ray.py", job.folder, job.trials, job.seed, job.seconds),
        None,
        alone=True,
    ),
    "neps": Side(
        "neps",
        lambda job: _script("by_neps.py", "work", job.folder, job.trials),
        lambda job: _script("by_neps.py", "count", job.folder),
        alone=False,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one side did in one run."""

    side: str
    seed: int
    asked: int
    kills: int
    seconds: float
    ended: bool
    """it said itself that it is done"""
    finished: int
    open: int
    epochs: int
    """that were trained, whatever became of them"""
    best: list[list[float]]
    """[seconds, accuracy], whenever there was a better one"""

    def best_after(self, seconds: float) -> float:
        """The best accuracy known by then, NaN where there was none."""
        return max((accuracy for moment, accuracy in self.best if moment <= seconds), default=math.nan)


class Workers:
    """The processes of one side, started again where it does not do that itself."""

    def __init__(self, side: Side, job: Job, environment: dict[str, str]) -> None:
        self._side, self._job, self._environment = side, job, environment
        self.output = job.folder / "output.txt"
        seeds = [job.seed] if side.alone else [WORKERS * job.seed + worker for worker in range(WORKERS)]
        self._running = [self._start(seed) for seed in seeds]

    def _start(self, seed: int) -> tuple[int, subprocess.Popen[bytes]]:
        job = replace(self._job, seed=seed)
        with self.output.open("ab") as file:
            return seed, subprocess.Popen(
                self._side.command(job),
                cwd=job.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def are_done(self) -> bool:
        """Whether every process has ended by itself; those that were killed are started again."""
        killed = [seed for seed, process in self._running if process.poll() not in (None, 0)]
        if killed and self._side.alone:
            raise SystemExit(f"{self.output.read_text()}\nthis side ended with an error")
        self._running = [each for each in self._running if each[1].poll() in (None, 0)]
        self._running += [self._start(seed) for seed in killed]
        return all(process.poll() == 0 for _, process in self._running)

    def end(self) -> None:
        """Ends what still runs, with everything that it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _, process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            time.sleep(2)
        for _, process in self._running:
            process.wait()


def events_of(file: Path) -> list[dict[str, Any]]:
    """The epochs that were trained, the first one first."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def victim(name: str, events: list[dict[str, Any]]) -> int | None:
    """The process to kill: that of the epoch which ended last and is still there; of tune its parent, which
    is the worker."""
    for event in reversed(events):
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"/proc/{event['pid']}/status").read_text()
            if name != "tune":
                return int(event["pid"])
            return int(status.partition("PPid:")[2].split(maxsplit=1)[0])
    return None


def measure(name: str, job: Job, environment: dict[str, str], *, kill_every: float | None) -> Run:
    """One run. kill_every: seconds between two kills; None: nothing is killed."""
    side, events = SIDES[name], job.folder / "events.jsonl"
    environment = {**environment, "EVENTS": str(events)}
    began, kills, ended = time.time(), 0, False
    workers = Workers(side, job, environment)
    try:
        while (seconds := time.time() - began) < job.seconds + (MARGIN_S if side.alone else 0):
            if ended := workers.are_done():
                break
            if kill_every is not None and seconds > (kills + 1) * kill_every:
                pid = victim(name, events_of(events))
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            time.sleep(POLL_S)
    finally:
        workers.end()
    finished, left = counted(name, job, workers.output, environment)
    best: list[list[float]] = []
    trained = events_of(events)
    for event in trained:
        if event["accuracy"] > (best[-1][1] if best else 0):
            best.append([event["t"] - began, event["accuracy"]])
    return Run(
        side=name,
        seed=job.seed,
        asked=job.trials,
        kills=kills,
        seconds=seconds,
        ended=ended,
        finished=finished,
        open=left,
        epochs=len(trained),
        best=best,
    )


def counted(name: str, job: Job, output: Path, environment: dict[str, str]) -> tuple[int, int]:
    """How many trials a side itself counts as finished, and how many it has left open."""
    asking = SIDES[name].count
    if asking is None:
        told = output.read_text().strip().rpartition("\n")[2]
    else:
        done = subprocess.run(
            asking(job), cwd=job.folder, env=environment, check=True, capture_output=True, text=True
        )
        told = done.stdout.strip() if name == "tune" else done.stdout.strip().rpartition("\n")[2]
    read = json.loads(told)
    if name == "tune":
        (study,) = read
        return study["complete"] + study["pruned"], study["running"]
    return read["finished"], read["open"]


def over_time(runs: list[Run], seconds: float) -> str:
    """The table of the searches that ran for as long."""
    moments = [seconds / 4, seconds / 2, seconds]
    lines = ["| side | runs | " + " | ".join(f"best after {moment / 60:g} min" for moment in moments)]
    lines[0] += " | trials | epochs |"
    lines.append("|---" * 2 + "|--:" * 5 + "|")
    for side in SIDES:
        own = [run for run in runs if run.side == side]
        if own:
            cells = [spread([run.best_after(moment) for run in own], "{:.2%}") for moment in moments]
            cells += [spread([float(count_of(run)) for run in own], "{:.0f}") for count_of in COUNTS]
            lines.append(f"| {side} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


COUNTS: tuple[Callable[[Run], int], ...] = (lambda run: run.finished, lambda run: run.epochs)


def under_kills(runs: list[Run]) -> str:
    """The table of the searches whose workers were killed."""
    lines = ["| side | asked | finished, by its own count | left open | kills | said that it is done |"]
    lines.append("|---" + "|--:" * 4 + "|---|")
    for run in runs:
        done = f"after {run.seconds / 60:.1f} min" if run.ended else f"not in {run.seconds / 60:.0f} min"
        cells = [run.side, run.asked, run.finished, run.open, run.kills, done]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


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


def main() -> None:
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
    arguments = parser.parse_args()
    environment = {**apart(), "TWODIGIT": str(arguments.twodigit.resolve()), "OMP_NUM_THREADS": "1"}
    if arguments.examples is not None:
        environment["EXAMPLES"] = str(arguments.examples)
    sides, runs = usable(arguments.sides), kept(arguments.json)
    wanted = [(seed, MANY, arguments.minutes, None) for seed in arguments.seeds]
    if arguments.asked:
        wanted.append((0, arguments.asked, 3 * arguments.minutes, arguments.kill_every))
    for seed, asked, minutes, kill_every in wanted:
        for name in sides:
            if any((run.side, run.seed, run.asked) == (name, seed, asked) for run in runs):
                continue
            with tempfile.TemporaryDirectory(prefix="peers-") as folder:
                job = Job(folder=Path(folder), trials=asked, seed=seed, seconds=60 * minutes)
                run = measure(name, job, environment, kill_every=kill_every)
            runs.append(run)
            print(f"{name}, seed {seed}: {run.finished} finished, {run.kills} kills", file=sys.stderr)
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(each) for each in runs]))
    print(over_time([run for run in runs if run.asked == MANY], 60 * arguments.minutes))
    print()
    print(under_kills([run for run in runs if run.asked != MANY]))


def kept(file: Path | None) -> list[Run]:
    """The runs of an earlier call: all of them take hours."""
    if file is None or not file.exists():
        return []
    return [Run(**each) for each in json.loads(file.read_text())]


if __name__ == "__main__":
    main()
