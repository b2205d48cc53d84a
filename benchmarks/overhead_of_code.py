"""What a trial of one's own training code costs besides the training. Prints a Markdown table.

A trial here reports ten times and does nothing else: (a) in the worker's process, as tune's own networks
train there; (b) as training code, `tune run --objective`, in a process of its own; (c) under Optuna's
`optimize` with RDBStorage. All three draw the same space with the same sampler, prune nothing, and continue
a copy of one study on SQLite, which (a) has filled. They take turns. Times are those of a block of trials
after the first ten, which start processes and fill caches, divided by their number; CPU is that of the worker
and of the process of the training code together.

    python benchmarks/overhead_of_code.py
    python benchmarks/overhead_of_code.py --trials 100 1000 --samplers random --each 50 --rounds 3
"""

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from apart import TUNE, apart

from search.objectives.base import Job, OpenObjective, Work
from search.optuna_db.storage import open_storage
from search.records import Metric, Report
from search.study.active_trial import ActiveTrial
from search.worker.context import prepare
from search.worker.worker_loop import work

STUDY, REPORTS = "train", 10
TRAIN = f"""
import tune

@tune.objective(space=tune.Space(x=tune.Float(0, 1)), score="value", budget={REPORTS}, unit="step")
def train(trial):
    for step in range(1, {REPORTS} + 1):
        trial.report(step, value=trial.params["x"] * step)
"""

METRIC = Metric(name="value")
SAMPLERS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
}

Moment = tuple[float, float]
"""Wall and CPU seconds."""


class Inside(OpenObjective):
    """The same trial in the worker's process."""

    environment: Mapping[str, str | int] = MappingProxyType({})

    def begin(self, job: Job, state: Any = None) -> Work:
        return _Reporting(job)


class _Reporting(Work):
    def __init__(self, job: Job) -> None:
        self._job = job

    def reports(self) -> Iterator[Report]:
        for step in range(1, REPORTS + 1):
            self._job.check()
            value = float(self._job.settings["x"]) * step
            yield Report(step=step, seconds=0.0, metrics={"value": value}, metric=METRIC)

    def product(self) -> None:
        return None


def moment() -> Moment:
    """Now, with the CPU of this process and of those below it."""
    return time.perf_counter(), time.process_time() + sum(map(_cpu_s, _below(os.getpid())))


def _below(parent: int) -> list[int]:
    children: list[int] = []
    for file in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):
            children += map(int, file.read_text().split())
    return [each for child in children for each in (child, *_below(child))]


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def of_tune(folder: Path, n: int, sampler: str, *, inside: bool) -> list[Moment]:
    """The moments at which n trials ended."""
    ends: list[Moment] = []
    ordinary = ActiveTrial.complete

    def complete(self: ActiveTrial, *score: float) -> None:
        ordinary(self, *score)
        ends.append(moment())

    ActiveTrial.complete = complete  # type: ignore[method-assign, assignment]
    try:
        with open_storage(f"sqlite:///{folder / 'studies.db'}", create=False) as storage:
            context = prepare(storage, STUDY, None, folder / "studies.artifacts", threads=1)
            context.study.prepare(
                sampler=sampler, pruner="none", seed=0, evaluations=context.evaluations
            )  # whatever the study has been filled with
            if inside:
                context.objective.close()
                context = dataclasses.replace(context, objective=Inside())
            work(context, stop=lambda: len(ends) >= n)
    finally:
        ActiveTrial.complete = ordinary  # type: ignore[method-assign]
    return ends


def of_optuna(folder: Path, n: int, sampler: str) -> list[Moment]:
    """The same under Optuna's own loop."""
    ends: list[Moment] = []

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(1, REPORTS + 1):
            trial.report(x * step, step)
            trial.should_prune()
        return x * REPORTS

    study = optuna.load_study(
        study_name=STUDY,
        storage=f"sqlite:///{folder / 'studies.db'}",
        sampler=SAMPLERS[sampler](seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    study.optimize(objective, n_trials=n, callbacks=[lambda _study, _trial: ends.append(moment())])
    return ends


WAYS: dict[str, Callable[[Path, int, str], list[Moment]]] = {
    "in the worker's process": lambda folder, n, sampler: of_tune(folder, n, sampler, inside=True),
    "training code": lambda folder, n, sampler: of_tune(folder, n, sampler, inside=False),
    "Optuna's `optimize`": of_optuna,
}


def milliseconds(ends: list[Moment]) -> Moment:
    """Wall and CPU of a trial, on average over all but the first ten."""
    (wall, cpu), (last_wall, last_cpu) = ends[9], ends[-1]
    n = len(ends) - 10
    return 1000 * (last_wall - wall) / n, 1000 * (last_cpu - cpu) / n


def blocks(filled: Path, each: int, rounds: int, sampler: str) -> Mapping[str, list[Moment]]:
    """What each way took in each round, every time on a new copy of the study."""
    found: defaultdict[str, list[Moment]] = defaultdict(list)
    for turn in range(rounds):
        for way, measure in WAYS.items():
            copy = filled.with_name(f"{turn}")
            shutil.copytree(filled, copy)
            found[way].append(milliseconds(measure(copy, each, sampler)))
            shutil.rmtree(copy)
    return found


def spread(values: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 10_000], help="in the study before")
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"], choices=SAMPLERS)
    parser.add_argument("--each", type=int, default=60, help="trials of each way in a block")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(dir=".") as parent:
        filled = Path(parent).absolute() / "filled"
        filled.mkdir()
        (filled / "train.py").write_text(TRAIN)
        asked = ("--trials", "1000000", "--sampler", "random", "--pruner", "none", "--detach")
        command = [*TUNE, "run", "--objective", "train.py:train", *asked]
        subprocess.run(command, cwd=filled, check=True, capture_output=True, env=apart())
        n = f"n = {arguments.rounds} blocks of {arguments.each - 10} trials"
        print(f"\nMilliseconds of a trial, median (lowest to highest) of {n}.\n")
        print("| trials before, sampler | ten reports | wall | CPU | CPU, times that in the worker |")
        print("|--:|---|--:|--:|--:|")
        there = 0
        for before in sorted(arguments.trials):
            of_tune(filled, before - there, "random", inside=True)
            there = before
            for sampler in arguments.samplers:
                found = blocks(filled, arguments.each, arguments.rounds, sampler)
                inside = [cpu for _, cpu in found["in the worker's process"]]
                for way, moments in found.items():
                    wall, cpu = zip(*moments, strict=True)
                    ratio = statistics.median(each / other for each, other in zip(cpu, inside, strict=True))
                    cells = (f"{there:,}, {sampler}", way, spread(wall), spread(cpu), f"{ratio:.2f}")
                    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
