"""What a trial costs besides its training: storage, sampling, judging, book-keeping. Prints Markdown tables.

A trial here is everything that a worker does for one, with nothing trained. Studies are filled with made-up
trials (made_up.py). On each, whole trials then run through the same calls
as in a worker: claim, ask, attach, draw, parameters noted, five points of the curve with their judgments,
the end, the slot settled. Milliseconds of CPU are this process's own; wall time has the disk, the server and
neighbors on the machine in it. Databases of servers are made for the occasion and dropped.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --storage sqlite --trials 100 --samplers tpe --pruners asha
    python benchmarks/overhead.py --storage sqlite --tables storages   # creating and opening a storage
"""

import argparse
import contextlib
import gc
import json
import os
import random
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from apart import TUNE, apart
from made_up import EVALUATIONS, HEADS, curve, make
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from search.heads import head_report
from search.optuna_db.storage import Storage, open_storage
from search.records import CheckpointRecord, HeadScore, Scores
from search.study.study import Study
from search.worker.artifacts import Artifacts
from search.worker.best_weights import BestWeights

SERVERS = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432/postgres",
    "mysql": "mysql+pymysql://root@127.0.0.1:3306/test",
}
"""Where databases may be made and dropped, unless TUNE_TEST_POSTGRESQL and the like say otherwise."""


# Whole trials


class Clock:
    """Milliseconds of wall and CPU time by part of a trial, one entry for each trial."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, list[float]] = defaultdict(list)
        self.cpu: defaultdict[str, list[float]] = defaultdict(list)
        self._sums: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        was = self._sums[name]
        self._sums[name] = (
            was[0] + 1000 * (time.perf_counter() - wall),
            was[1] + 1000 * (time.process_time() - cpu),
        )

    def end_of_trial(self) -> None:
        self._sums["all"] = tuple(map(sum, zip(*self._sums.values(), strict=True)))  # type: ignore[assignment]
        for name, (wall, cpu) in self._sums.items():
            self.wall[name].append(wall)
            self.cpu[name].append(cpu)
        self._sums.clear()


def one_life(storage: Storage, study: Study, weights: BestWeights, clock: Clock, index: int) -> None:
    """Everything that search.worker.worker_loop does for a trial but for training and writing weights."""
    store, draw = storage.store, random.Random(index)
    with clock.part("claims"):
        claim = store.claim(study.study_id, "host:1:0123abcd", lease_s=30)
    assert claim is not None
    with clock.part("ask and draw"):
        asked = study.ask(claim)
        asked.suggest()
    with clock.part("report and judge"):
        asked.note_parameters(123_456)
    last = 0.0
    for images, score in curve(draw, draw.betavariate(8, 1), EVALUATIONS.rungs[:5]):
        scores = Scores(heads={h: HeadScore(loss=1 - score, accuracy=score) for h in HEADS}, joint=score**2)
        report = head_report(
            step=images, seconds=images / 3000, learning_rate=0.001, train=scores, validation=scores
        )
        with clock.part("report and judge"):
            asked.report(images, score, report)
            study.scores_at(images)  # what a promoting scheduler asks at each of its rungs
        last = score
    with clock.part("end"):
        if index % 5:
            asked.prune()
        else:
            if weights.worth_keeping(last):
                store.add_checkpoint(
                    study.study_id,
                    CheckpointRecord(
                        trial_id=asked.trial_id,
                        path=f"x/{asked.number}",
                        sha256="0" * 64,
                        score=last,
                        step=images,
                        bytes=1,
                    ),
                )
            asked.complete(last)
    with clock.part("claims"):
        store.settle(claim)
    with clock.part("end"):
        weights.keep_best()
    clock.end_of_trial()


def lives(storage: Storage, study: Study, n: int, folder: Path) -> Clock:
    """`count` trials, after three that warm up: caches, prepared statements, imports."""
    record = storage.store.study(study.study_id)
    assert record is not None
    weights = BestWeights(artifacts=Artifacts.of(folder, record), store=storage.store, new_in="folder")
    clock = Clock()
    for index in range(3):
        one_life(storage, study, weights, Clock(), index)
    gc.collect()
    for index in range(n):
        one_life(storage, study, weights, clock, 100 + index)
    return clock


def spread(values: Sequence[float]) -> str:
    """Median (first–third quartile)."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


# Fresh processes

CHILD = """
import json, resource, sys, time
began = float(sys.argv[1]); kind, url, name = sys.argv[2:5]
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
from search.optuna_db.storage import open_storage
from search.study.study import Study
if kind == "storage":
    before, wall, cpu = memory(), time.perf_counter(), time.process_time()
    open_storage(url).close()
    seconds = time.perf_counter() - wall
    out = {"seconds": seconds, "cpu": time.process_time() - cpu, "mb": memory() - before}
elif kind == "worker":
    import torch
    from pathlib import Path
    from data.datasets.mnist import load
    from models.device import prepare_process
    from search.worker.artifacts import Artifacts
    from search.worker.context import prepare
    prepare_process(1)
    with open_storage(url, create=False) as storage:
        study = Study.find(storage, name)
        mnist = load()
        context = prepare(storage, name, mnist, Path("/nonexistent"), device="cpu", threads=1)
        claim = storage.store.claim(study.study_id, context.worker.worker_id, lease_s=30)
        out = {"seconds": time.time() - began, "cpu": time.process_time(), "mb": memory()}
        storage.store.release(claim)
else:
    from search.study.evaluation_schedule import EvaluationSchedule
    with open_storage(url, create=False) as storage:
        study = Study.find(storage, name)
        spec = storage.store.study(study.study_id).spec
        evaluations = EvaluationSchedule.of(spec)
        study.prepare(sampler=spec.sampler, pruner=spec.pruner, seed=spec.seed, evaluations=evaluations)
        before, wall, cpu = memory(), time.perf_counter(), time.process_time()
        asked = study.ask()
        asked.suggest()
        asked.report(evaluations.rungs[2], 0.9)
        study.scores_at(evaluations.rungs[2])
        asked.complete(0.9)
        seconds = time.perf_counter() - wall
        out = {"seconds": seconds, "cpu": time.process_time() - cpu, "mb": memory() - before}
print(json.dumps(out))
"""


def child(kind: str, url: str, name: str) -> dict[str, float]:
    """What a fresh process measured of itself."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(time.time()), kind, url, name],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def command(arguments: Sequence[str], url: str) -> tuple[float, float]:
    """Wall and CPU seconds of a whole `tune` command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*TUNE, *arguments], check=True, capture_output=True, env=apart(url))
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# Storages


@contextlib.contextmanager
def database(kind: str) -> Iterator[str | None]:
    """The URL of a new, empty database; None where no server answers."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(dir=".") as folder:
            yield f"sqlite:///{Path(folder).absolute() / 'studies.db'}"
        return
    server = make_url(os.environ.get(f"TUNE_TEST_{kind.upper()}", SERVERS[kind]))
    name = f"tune_overhead_{secrets.token_hex(4)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        except OperationalError:
            yield None
            return
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                force = " WITH (FORCE)" if kind == "postgresql" else ""
                connection.execute(text(f"DROP DATABASE {name}{force}"))
    finally:
        engine.dispose()


FIRST_STORAGES, LATER_STORAGES = 5, 20
"""Storages that fresh processes create and open, and that this process does."""

PARTS = ("all", "ask and draw", "report and judge", "claims", "end")


def per_trial(storage: Storage, kind: str, arguments: argparse.Namespace, folder: Path) -> None:
    """The table of whole trials."""
    print(f"\n**Per trial, {kind}**, milliseconds, median (middle half) of n = {arguments.lives}\n")
    print(f"| sampler, pruner | trials before | wall all | CPU {' | CPU '.join(PARTS)} |")
    print("|---|--:|" + "--:|" * (1 + len(PARTS)))
    for sampler in arguments.samplers:
        for pruner in arguments.pruners:
            for n in arguments.trials:
                study = make(storage, f"{sampler}-{pruner}-{n}", n, sampler, pruner)
                clock = lives(storage, study, arguments.lives, folder)
                cells = [spread(clock.wall["all"]), spread(clock.cpu["all"])]
                cells += [f"{statistics.median(clock.cpu[part]):.1f}" for part in PARTS[1:]]
                print(f"| {sampler}, {pruner} | {n:,} | {' | '.join(cells)} |", flush=True)


def fresh(url: str, names: Mapping[int, str], kind: str) -> None:
    """The table of fresh processes."""
    print(f"\n**Fresh processes, {kind}**, medians of n = 3\n")
    print("| what | trials before | wall s | CPU s | MB |\n|---|--:|--:|--:|--:|")
    for n, name in names.items():
        for what, label in (
            ("trial", "first trial of a process (MB: added)"),
            ("worker", "worker to first claim"),
        ):
            runs = [child(what, url, name) for _ in range(3)]
            cells = [statistics.median(run[key] for run in runs) for key in ("seconds", "cpu", "mb")]
            print(f"| {label} | {n:,} | {cells[0]:.2f} | {cells[1]:.2f} | {cells[2]:.0f} |", flush=True)


def storages(kind: str) -> None:
    """The table of creating a storage in an empty database and of opening one that is there."""
    first: dict[str, list[float]] = {"created": [], "opened": []}
    later: dict[str, list[float]] = {"created": [], "opened": []}
    for index in range(FIRST_STORAGES + LATER_STORAGES + 1):
        with database(kind) as url:
            if url is None:
                return
            for what in ("created", "opened"):  # the second time it is there
                if index < FIRST_STORAGES:
                    first[what].append(1000 * child("storage", url, "")["cpu"])
                    continue
                cpu = time.process_time()
                open_storage(url).close()
                if index > FIRST_STORAGES:  # the one before reads Optuna's migrations for this process
                    later[what].append(1000 * (time.process_time() - cpu))
    print(f"\n**Storages, {kind}**, milliseconds of CPU, median (middle half)\n")
    print(f"| storage | first of a process, n = {FIRST_STORAGES} | later ones, n = {LATER_STORAGES} |")
    print("|---|--:|--:|")
    for what in first:
        print(f"| {what} | {spread(first[what])} | {spread(later[what])} |", flush=True)


def commands(url: str, names: Mapping[int, str], kind: str) -> None:
    """The table of commands, on the two largest studies."""
    print(f"\n**Commands, {kind}**, whole processes, median of n = 5, seconds\n")
    print("| command | trials | wall | CPU | wall, --json |\n|---|--:|--:|--:|--:|")
    (_, other), (n, name) = sorted(names.items())[-2:]
    for line in (("studies",), ("trials", name), ("best", name), ("compare", name, other)):
        plain = [command(line, url) for _ in range(5)]
        as_json = [command([*line, "--json"], url) for _ in range(5)]
        wall, cpu, wall_json = (
            statistics.median(each) for each in (*zip(*plain, strict=True), [w for w, _ in as_json])
        )
        print(f"| tune {line[0]} | {n:,} | {wall:.2f} | {cpu:.2f} | {wall_json:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--storage", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", *SERVERS]
    )
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 1_000, 10_000])
    parser.add_argument("--samplers", nargs="+", default=["tpe"])
    parser.add_argument("--pruners", nargs="+", default=["asha"])
    parser.add_argument("--lives", type=int, default=30, help="trials measured on each study")
    parser.add_argument("--tables", nargs="+", default=["storages", "trial", "fresh", "commands"])
    arguments = parser.parse_args()
    for kind in arguments.storage:
        with database(kind) as url, tempfile.TemporaryDirectory() as folder:
            if url is None:
                print(f"\n{kind}: no server answers; skipped")
                continue
            if "storages" in arguments.tables:
                storages(kind)
            names = {n: f"filled-{n}" for n in arguments.trials}
            with open_storage(url) as storage:
                if "trial" in arguments.tables:
                    per_trial(storage, kind, arguments, Path(folder))
                if {"fresh", "commands"} & set(arguments.tables):
                    for n, name in names.items():
                        make(storage, name, n)
            if "fresh" in arguments.tables:
                fresh(url, names, kind)
            if "commands" in arguments.tables and len(names) > 1:
                commands(url, names, kind)


if __name__ == "__main__":
    main()
