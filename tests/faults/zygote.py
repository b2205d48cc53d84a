"""A process from which workers are forked, ready in milliseconds: they do real trials in all but training.

Claims, leases, samplers, checkpoints and the database are the real ones. What is learned is a formula of the
trial's settings, so that a trial takes a hundredth of a second and its value can be checked afterwards.

Reads orders from stdin, one JSON object a line, and answers each with the process id of the new worker.
Workers append to a history outside the database what they begin and what was confirmed to them, each line
synced before the next step: the truth that the database is held against.

    python zygote.py
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import itertools
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import one_tls_context
import torch
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect
from torch import Tensor

from data.datasets.mnist import Mnist, load
from models import device
from models.mlp import MLPConfig
from models.network import Signature, build
from search.errors import TuneError, exit_code
from search.heads import head_report
from search.objectives.network import open_network
from search.objectives.network.decoding import TrialSpec
from search.objectives.network.learning import Learning, Step
from search.optuna_db.installed import installed_revision
from search.optuna_db.storage import open_storage
from search.records import Answers, HeadScore, Scores
from search.service.create import RunRequest, create_or_resume
from search.store import sql_claims
from search.store.database import Database
from search.study import study as studies
from search.study.active_trial import ActiveTrial
from search.worker import trial_runner, worker_loop
from search.worker.context import prepare
from search.worker.migration import TrialMigration
from search.worker.recovery import Reaper

NETWORK = build(MLPConfig(width=2), Signature(image=(1, 2, 2), heads=(("a", 2),)), seed=0)


def accuracy(seed: int, images: int) -> float:
    """What a trial with that seed scores after `images` images: rising, and never the same for two seeds."""
    return (seed % 9973) / 9973 * images / (images + 5000)


def learn(
    spec: TrialSpec,
    _task: object,
    _mnist: object,
    *,
    rungs: Sequence[int],
    device: object,
    check: Callable[[], None],
    compositions: int = 0,
    evaluates_training: bool = False,
    metric: object = None,
    resume: Mapping[str, Tensor] | None = None,
) -> Learning:
    """Instead of search.objectives.network.learning.learn."""
    at = 0 if resume is None else int(resume["images"])

    def steps() -> Iterator[Step]:
        nonlocal at
        for images in rungs:
            if images <= at:
                continue
            check()
            time.sleep(PAUSE_S)
            at = images
            scores = Scores(heads={"a": HeadScore(loss=1.0, accuracy=accuracy(spec.seed, at))}, joint=0.0)
            report = head_report(
                step=at, seconds=at / 1e6, learning_rate=0.1, train=scores, validation=scores
            )
            yield Step(report=report, network=NETWORK, answers=ANSWERS)

    return Learning(steps=steps(), network=NETWORK, state=lambda: {"images": torch.tensor(at)})


ANSWERS = Answers(split="validation", examples=8, heads={"a": b"\xf0"})
PAUSE_S = 0.01


def note(history: Path, **line: Any) -> None:
    """Appends a line to the history, and waits until the disk has it. The device null forgets at once."""
    descriptor = os.open(history, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, json.dumps({"pid": os.getpid(), **line}).encode() + b"\n")
    if history != Path(os.devnull):
        os.fsync(descriptor)
    os.close(descriptor)


def die_at(moment: int) -> None:
    """Kills this process at its moment-th write: odd moments before it is committed, even ones after."""
    ordinary, seen = Database.write.__wrapped__, 0  # type: ignore[attr-defined]

    def write(self: Database, within: Any = None) -> Iterator[Any]:
        nonlocal seen
        if within is not None:
            yield from ordinary(self, within)  # a part of another write
            return
        steps = ordinary(self)
        connection = next(steps)
        try:
            yield connection
        except BaseException as error:
            steps.throw(error)
            raise
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in steps:
            raise AssertionError("a context yields once")
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    Database.write = contextmanager(write)  # type: ignore[method-assign, assignment]


def die_at_statement(moment: int) -> None:
    """Kills this process at its moment-th step in the database: before and after each statement that changes
    something, and each commit."""
    seen = 0
    commit = DefaultDialect.do_commit

    def step() -> None:
        nonlocal seen
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def executing(connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        reads = statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "SHOW", "DESCRIBE"))
        if not reads and connection.engine.url.database is not None:  # not that of a database in memory
            step()

    def committing(self: Any, connection: Any) -> None:
        step()
        commit(self, connection)
        step()

    event.listen(Engine, "before_cursor_execute", executing)
    event.listen(Engine, "after_cursor_execute", executing)
    DefaultDialect.do_commit = committing  # type: ignore[method-assign]


def let_the_clock_jump() -> None:
    """The time in the database, as this process sees it, is an hour off, now this way and now that."""
    ordinary, jumps = sql_claims.now, itertools.cycle([0, 3600, -3600, 3600, 0, -3600])

    def jumping(connection: Any) -> datetime.datetime:
        return ordinary(connection) + datetime.timedelta(seconds=next(jumps))

    sql_claims.now = jumping


def be_reaper(order: Mapping[str, Any]) -> None:
    """Looks once after workers that are known to be dead."""
    with open_storage(order["url"], create=False, retry_s=60) as storage:
        study = studies.Study.find(storage, order["study"])
        assert study is not None
        if order.get("die_at"):
            die_at(order["die_at"])
        Reaper(study, storage.store, "reaper").look(dead=order["reap"])
        note(Path(order["history"]), event="reaped")


def be_creator(order: Mapping[str, Any], mnist: Mnist) -> None:
    """Makes the database and the study where they are missing, as `tune run --detach` does."""
    if order.get("die_at"):
        die_at_statement(order["die_at"])
    request = RunRequest(task="twodigit", study=order["study"], epochs=2, sampler="random", **order["create"])
    with open_storage(order["url"]) as storage:
        create_or_resume(storage, request, mnist)
    note(Path(order["history"]), event="created")


def be_worker(order: Mapping[str, Any], mnist: Mnist) -> None:
    """Does trials of a study until it is done, or until somebody kills this process."""
    global PAUSE_S
    PAUSE_S = order.get("pause_s", PAUSE_S)
    if "largest_file_bytes" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file_bytes"],) * 2)
    history = Path(order["history"])
    open_network.learn = learn  # type: ignore[assignment]
    trial_runner.CHECKPOINT_EVERY_S = order.get("save_every_s", -1.0)
    worker_loop.IDLE_S = 0.15
    device.bfloat16_speedup = lambda: 1.0  # nothing is trained; the probe would take most of the start
    for method, state in (("complete", "complete"), ("prune", "pruned")):
        ordinary = getattr(ActiveTrial, method)

        def confirmed(self: Any, *score: float, _ordinary: Any = ordinary, _state: str = state) -> None:
            _ordinary(self, *score)
            note(history, event="confirmed", trial=self.number, state=_state, value=next(iter(score), None))

        setattr(ActiveTrial, method, confirmed)
    ask = studies.Study.ask

    def asked(self: Any, *also: Any) -> Any:
        trial = ask(self, *also)
        note(history, event="begun", trial=trial.number)
        return trial

    studies.Study.ask = asked  # type: ignore[method-assign]
    accept = TrialMigration.accept

    def accepted(self: TrialMigration, begin: Any, **more: Any) -> Any:
        runner = accept(self, begin, **more)
        if runner is not None:
            note(history, event="accepted", trial=runner.active.number)
        return runner

    TrialMigration.accept = accepted  # type: ignore[method-assign]
    with open_storage(order["url"], create=False, retry_s=60) as storage:
        context = prepare(
            storage,
            order["study"],
            mnist,
            Path(order["artifacts"]),
            device="cpu",
            threads=1,
            lease_s=order["lease_s"],
        )
        note(history, event="joined", worker=context.worker.worker_id)
        if order.get("die_at"):
            die_at(order["die_at"])
        if order.get("clock_jumps"):
            let_the_clock_jump()
        worker_loop.work(context, stop=lambda: False)
        note(history, event="study done")


AT_THE_FIRST_STORAGE = (
    "alembic.command",
    "alembic.config",
    "alembic.migration",
    "alembic.script",
    "numpy.random",
    "optuna.storages._rdb.models",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.mysql.pymysql",
    "psycopg",
    "pymysql",
)
"""What Optuna and SQLAlchemy import only then: half a second, which each worker would take for itself."""


def main() -> None:
    for module in AT_THE_FIRST_STORAGE:
        with contextlib.suppress(ImportError):  # a driver that is not installed
            importlib.import_module(module)
    one_tls_context.share()
    # What a process does once, done for all of them: Optuna's tables are mapped, its migrations read.
    RDBStorage("sqlite://").engine.dispose()
    installed_revision()
    torch.set_num_threads(1)  # nothing that a fork would lose
    mnist = load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no burial
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        code = 1
        try:
            os.setpgid(0, 0)
            if "reap" in order:
                be_reaper(order)
            elif "create" in order:
                be_creator(order, mnist)
            else:
                be_worker(order, mnist)
            code = 0
        except TuneError as error:
            note(Path(order["history"]), event="gave up", why=str(error), code=exit_code(error))
        except BaseException:
            note(Path(order["history"]), event="crashed", why=traceback.format_exc())
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
