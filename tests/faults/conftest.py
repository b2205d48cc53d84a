"""A study under faults: a zygote that makes workers, a nemesis that harms them, and a checker."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from data.datasets.mnist import Mnist
from data.tasks.registry import TASKS
from search.errors import TryAgain
from search.optuna_db.orphans import delete_orphaned_rows
from search.optuna_db.storage import Storage, open_storage
from search.records import State, StudyRecord, TrialRecord
from search.service.delete import delete
from search.space.defaults import default_space
from search.store import tables
from search.study.study import Study
from search.worker.artifacts import Artifacts
from search.worker.best_weights import BestWeights
from search.worker.recovery import Reaper

LEASE_S = 1.0
MARK = "added by another program"
"""User attribute of trials that tune did not make."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
SOAK = "TUNE_SOAK" in os.environ
"""Whether `make soak` runs: with it, what takes long in the world takes as long here."""


class Zygote:
    """Starts workers. One for a test session."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def start(self, order: dict[str, Any]) -> int:
        """The process id of a new worker."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass
class Arena:
    """One study, its workers and its history."""

    url: str
    folder: Path
    zygote: Zygote
    trials: int
    options: dict[str, Any]
    """of the study, as in RunRequest"""
    study: str = "faults"
    pids: list[int] = field(default_factory=list)
    foreign: dict[str, tuple[str, float | None]] = field(default_factory=dict)
    """(state, value) of the trials that another program added, by the mark that they carry"""

    @property
    def history_file(self) -> Path:
        return self.folder / f"{self.study}.jsonl"

    @property
    def history(self) -> list[dict[str, Any]]:
        path = self.history_file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def start(self, **more: Any) -> int:
        """A worker."""
        order = {
            "url": self.url,
            "study": self.study,
            "history": str(self.history_file),
            "artifacts": str(self.folder / "artifacts"),
            "lease_s": LEASE_S,
        }
        pid = self.zygote.start({**order, **more})
        self.pids.append(pid)
        return pid

    def start_creator(self) -> int:
        """A process that makes the database and the study, or finds them made."""
        return self.start(create={"trials": self.trials, **self.options})

    def create(self) -> None:
        """Makes the database and the study."""
        self.wait(self.start_creator())
        assert any(line["event"] == "created" for line in self.history), self.history

    def refused(self) -> list[str]:
        """What processes said that were turned away for good, but not because their study was deleted."""
        said = [line for line in self.history if line["event"] == "gave up"]
        final = [line["why"] for line in said if line["code"] != TryAgain.exit_code]
        return [why for why in final if "was deleted" not in why and "There is no study" not in why]

    def alive(self) -> list[int]:
        """Workers that are not dead; frozen ones count."""
        return [pid for pid in self.pids if _exists(pid)]

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def wait(self, pid: int, *, timeout_s: float = 60) -> None:
        """Until that worker has ended."""
        deadline = time.monotonic() + timeout_s
        while _exists(pid):
            assert time.monotonic() < deadline, f"worker {pid} has not ended after {timeout_s} s"
            time.sleep(0.005)

    def bury(self) -> None:
        """What a parent does that knows all workers to be dead."""
        dead = {line["worker"] for line in self.history if line["event"] == "joined"}
        with open_storage(self.url, create=False) as storage:
            study = Study.find(storage, self.study)
            assert study is not None
            Reaper(study, storage.store, "undertaker").look(dead=dead)

    def check(
        self, *, foreign: int | None = None, artifacts: Path | None = None, refused: Sequence[str] = ()
    ) -> None:
        """Holds the database against the history: nothing lost, doubled, unexpected or left over.

        foreign: trials that another program added, and that no worker has taken from the queue; None: those
        that the nemesis added. artifacts: the folder that the workers were given, where it is another than
        the usual one. refused: what the test knows that processes were turned away with.
        """
        self._check_foreign()
        with open_storage(self.url, create=False) as storage:
            study = Study.find(storage, self.study)
            assert study is not None
            trials = {trial.number: trial for trial in study.trials()}
            claims = storage.store.claims(study.study_id)
            curves = storage.store.curves([trial.trial_id for trial in trials.values()], study.metric)
            counts = study.counts()
            record = storage.store.study(study.study_id)
            assert record is not None
            self._check_weights(storage, record, artifacts or self.folder / "artifacts")
        history = self.history
        assert [line["why"] for line in history if line["event"] == "crashed"] == []
        assert self.refused() == list(refused)
        finished = {number: trial for number, trial in trials.items() if trial.state.is_finished}
        begun = {line["trial"] for line in history if line["event"] == "begun"}
        confirmed = {line["trial"]: line for line in history if line["event"] == "confirmed"}

        assert len(finished) == counts.finished == self.trials, "exactly N"
        assert counts.foreign == (len(self.foreign) if foreign is None else foreign), (
            "nothing of unknown origin"
        )
        assert [trial.number for trial in trials.values() if trial.state is State.RUNNING] == []
        assert [trial.number for trial in trials.values() if trial.state is State.WAITING] == []
        lost = {number for number in confirmed if number not in finished}
        assert lost == set(), "confirmed to a worker, and not in the database"
        for number, line in confirmed.items():
            assert finished[number].state.value == line["state"]
            assert line["value"] in (None, finished[number].score)
        # A worker can die between asking and noting it, but what it did not begin it cannot have finished.
        assert set(finished) <= begun, "unexpected"
        assert sorted(claim.slot for claim in claims) == list(range(self.trials))
        assert all(claim.done for claim in claims)
        assert {claim.trial_id for claim in claims} == {trial.trial_id for trial in finished.values()}
        assert len({_origin(trials, trial).number for trial in finished.values()}) == self.trials, (
            "none twice"
        )
        references = sorted(trial.reference for trial in finished.values() if trial.reference)
        assert references == sorted(record.spec.references), "each once"
        for trial in finished.values():
            if trial.reference:
                given = default_space().active({}, pinned=TASKS["twodigit"].references[trial.reference])
                assert given.items() <= trial.settings.items(), "a reference is what its name says"
            drawn = _origin(trials, trial).settings
            assert drawn.items() <= trial.settings.items(), "a repetition repeats"
            steps = [report.step for report in curves.get(trial.trial_id, ())]
            assert steps, "a finished trial has a curve"
            assert steps == sorted(set(steps))
            assert steps[-1] == trial.step
            assert trial.score == max(report.score for report in curves[trial.trial_id]), (
                "the value is of its own curve"
            )

    def _check_foreign(self) -> None:
        """Holds the trials that another program added to be as it wrote them."""
        if not self.foreign:
            return
        with other_program(self.url) as storage:
            theirs = optuna.load_study(study_name=self.study, storage=storage).get_trials(deepcopy=False)
        found = {trial.user_attrs[MARK]: trial for trial in theirs if MARK in trial.user_attrs}
        assert set(found) == set(self.foreign), "a foreign trial is lost"
        for mark, (state, value) in self.foreign.items():
            assert (found[mark].state.name, found[mark].value) == (state, value), (
                "a foreign trial was changed"
            )

    def _check_weights(self, storage: Storage, record: StudyRecord, root: Path) -> None:
        """The weights of every checkpoint are whole, and the database has no others."""
        artifacts = Artifacts.of(root, replace(record, name=self.study))
        weights = BestWeights(artifacts=artifacts, store=storage.store, new_in="folder")
        kept = storage.store.checkpoints(record.study_id)
        assert {each.in_database for each in kept} <= {not self.url.startswith("sqlite")}
        for checkpoint in kept:
            assert len(weights.read(checkpoint)) == checkpoint.bytes
        with storage.trials.database.read() as connection:
            stored = connection.execute(select(tables.weights.c.trial_id, tables.weights.c.sha256).distinct())
            named = {(each.trial_id, each.sha256) for each in kept if each.in_database}
            assert {(trial_id, sha256) for trial_id, sha256 in stored} == named


def _origin(trials: dict[int, TrialRecord], trial: TrialRecord) -> TrialRecord:
    """The trial that these settings were first given to."""
    while trial.retry_of is not None:
        trial = trials[trial.retry_of]
    return trial


LOCKED = (optuna.exceptions.StorageInternalError, SQLAlchemyError)
"""What plain Optuna raises where an SQLite file stays locked: it does not retry."""


@contextlib.contextmanager
def other_program(url: str) -> Iterator[RDBStorage]:
    """The storage as a program has it that knows Optuna and not tune."""
    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


class Nemesis:
    """Harms the workers of an arena, by chance that a seed decides."""

    def __init__(self, arena: Arena, seed: int) -> None:
        self.arena = arena
        self.neighbor = replace(arena, study="neighbor", pids=[], foreign={})
        """another study in the same database, made and deleted while the first one is worked on"""
        self.generator = random.Random(seed)
        self.frozen: dict[int, float] = {}
        self.done: list[str] = []

    def create(self) -> None:
        """Makes the study, after processes were killed at any moment of making it."""
        for _ in range(self.generator.randint(0, 3)):
            creators = [self.arena.start_creator() for _ in range(self.generator.randint(1, 2))]
            time.sleep(self.generator.uniform(0.0, 0.4))
            for pid in creators:
                self.arena.kill(pid)
                self.arena.wait(pid)
            self.done.append("kill creators")
        self.arena.create()

    def strike(self) -> None:
        """One fault."""
        awake = [pid for pid in self.arena.alive() if pid not in self.frozen]
        fault = self.generator.choice(
            ["kill", "kill", "freeze", "kill all", "storage", "foreign row", "neighbor", "start over"]
        )
        if (not awake and fault in ("kill", "kill all", "freeze")) or (
            fault == "start over" and fault in self.done
        ):
            return
        self.done.append(fault)
        match fault:
            case "foreign row":
                self._add_foreign_row()
            case "neighbor":
                self._make_or_delete_neighbor()
            case "start over":
                self._start_over()
            case "kill":
                self.arena.kill(self.generator.choice(awake))
            case "kill all":
                for pid in awake:
                    self.arena.kill(pid)
            case "freeze":
                pid = self.generator.choice(awake)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    self.frozen[pid] = time.monotonic() + self.generator.uniform(0.1, 2.5 * LEASE_S)
            case "storage":
                self._harm_storage()

    def thaw(self, *, everything: bool = False) -> None:
        """Lets those continue whose time has come."""
        for pid, until in list(self.frozen.items()):
            if everything or time.monotonic() > until:
                del self.frozen[pid]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _add_foreign_row(self) -> None:
        """Another program adds a finished trial to the study."""
        self.thaw(everything=True)  # one that was frozen in a transaction has locked the row of the study
        mark, state = secrets.token_hex(4), self.generator.choice([*FINISHED])
        value = None if state is TrialState.FAIL else self.generator.uniform(0.0, 2.0)
        trial = optuna.trial.create_trial(state=state, value=value, user_attrs={MARK: mark})
        with contextlib.suppress(*LOCKED), other_program(self.arena.url) as storage:
            optuna.load_study(study_name=self.arena.study, storage=storage).add_trial(trial)
            self.arena.foreign[mark] = (state.name, value)

    def _make_or_delete_neighbor(self) -> None:
        """Makes another study and sets a worker on it; the next time it is deleted under that worker."""
        if not self.neighbor.pids:
            self.thaw(everything=True)  # one that was frozen in a transaction keeps an SQLite file locked
            self.neighbor.create()
            self.neighbor.start(pause_s=0.02)
            return
        self._delete(self.neighbor)

    def _start_over(self) -> None:
        """Deletes the study under its workers, and makes it once more."""
        self._delete(self.arena)
        self.create()

    def _delete(self, arena: Arena) -> None:
        """tune deletes the study, or Optuna does; its workers notice and end, and nothing of it is left."""
        self.thaw(everything=True)
        if self.generator.random() < 0.5:
            assert delete(arena.url, arena.study, force=True, agree=lambda _: True) is not None
        else:
            there = True
            while there:
                with contextlib.suppress(*LOCKED), other_program(arena.url) as storage:
                    # While a worker writes, Optuna deletes nothing on a server, and says nothing.
                    there = any(study.study_name == arena.study for study in storage.get_all_studies())
                    if there:
                        optuna.delete_study(study_name=arena.study, storage=storage)
        for pid in arena.pids:
            arena.wait(pid)
        assert [line["why"] for line in arena.history if line["event"] == "crashed"] == []
        assert arena.refused() == []
        with open_storage(arena.url, create=False) as storage:
            delete_orphaned_rows(storage.trials.database)
            assert arena.study not in storage.trials.names().values()
            known = set(storage.trials.names())
            assert {record.study_id for record in storage.store.studies()} <= known, "rows are left over"
        arena.history_file.unlink(missing_ok=True)
        arena.pids.clear()
        arena.foreign.clear()

    def end(self) -> None:
        """Deletes what the schedule has made beside the study."""
        if self.neighbor.pids:
            self._delete(self.neighbor)

    def _harm_storage(self) -> None:
        """Servers: every connection is cut. SQLite: another process keeps the file locked for a while."""
        url = make_url(self.arena.url)
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
            match url.get_backend_name():
                case "sqlite":
                    connection.exec_driver_sql("BEGIN EXCLUSIVE")
                    time.sleep(self.generator.uniform(0.1, 1.5))
                    connection.exec_driver_sql("COMMIT")
                case "postgresql":
                    connection.execute(
                        text(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                    )
                case _:
                    rows = connection.execute(
                        text(
                            "SELECT id FROM information_schema.processlist "
                            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
                        )
                    )
                    for (number,) in rows.all():
                        with contextlib.suppress(SQLAlchemyError):
                            connection.execute(text(f"KILL {number}"))
        engine.dispose()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def arena(zygote: Zygote, mnist: Mnist, tmp_path: Path) -> Iterator[Callable[..., Arena]]:
    """arena(url, trials=…): a new study in an empty database; with created=False, none yet."""
    made: list[Arena] = []

    def make(url: str, *, trials: int, created: bool = True, **options: Any) -> Arena:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Arena(url=url, folder=folder, zygote=zygote, trials=trials, options=options))
        if created:
            made[-1].create()
        return made[-1]

    yield make
    for each in made:
        for pid in each.alive():
            each.kill(pid)


@pytest.fixture
def nemesis() -> Callable[[Arena, int], Nemesis]:
    return Nemesis


@pytest.fixture
def stride() -> int:
    """Of the moments to die at, one in this number is tried; 1: all of them, as in `make soak`."""
    return int(os.environ.get("TUNE_MOMENTS_STRIDE", "15"))


@pytest.fixture
def wide_stride(stride: int) -> int:
    """The same where there are many moments. Odd: before and after a step take turns."""
    return 1 if stride == 1 else 2 * stride + 1


@pytest.fixture
def away_s() -> float:
    """How long a server is away."""
    return 20.0 if SOAK else 1.5


@pytest.fixture
def locked_s() -> float:
    """How long a file is kept locked."""
    return 30.0 if SOAK else 4.0
