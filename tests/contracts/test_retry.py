"""A database that goes away: what may be done twice is done again, what was written already counts once."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from search.errors import TryAgain
from search.heads import head_report
from search.optuna_db.deletion import delete_study
from search.optuna_db.opening import open_tables
from search.optuna_db.optuna_trials import Exhausted, TrialEnded
from search.optuna_db.storage import Storage, open_storage
from search.optuna_db.trial_facts import Change
from search.records import (
    ACCURACY,
    CheckpointRecord,
    Confirming,
    ExportRecord,
    HeadScore,
    NetworkSpec,
    Scores,
    State,
    TestAttempt,
    TestEvaluation,
    Worker,
)
from search.store.base import LeaseLost, Store
from search.store.database import Database, Transaction, retried
from search.store.engine import parse_url
from search.store.sql import SQLStore
from search.study.study import Study

SCORES = Scores(heads={"a": HeadScore(loss=0.5, accuracy=0.5)}, joint=0.5)
REPORT = head_report(step=10, seconds=1.0, learning_rate=0.1, train=SCORES, validation=SCORES)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def storage(
    request: pytest.FixtureRequest, empty_database: Callable[[str], str], plain_spec: NetworkSpec
) -> Iterator[Storage]:
    with open_storage(empty_database(request.param), retry_s=20) as opened:
        Study.create(opened, "s", plain_spec, 2)
        yield opened


class Fault:
    """Makes the next write fail, before it is committed or after; `struck` counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
        self.armed = False
        self.struck = 0
        ordinary = Database.write

        @contextmanager
        def write(database: Database, within: Transaction | None = None) -> Iterator[Connection]:
            with ordinary(database, within) as connection:
                yield connection
                if self.armed and within is None and not after:
                    self._strike()
            if self.armed and within is None:
                self._strike()

        monkeypatch.setattr(Database, "write", write)

    def _strike(self) -> None:
        self.armed = False
        self.struck += 1
        raise TryAgain("The storage does not answer.")


@pytest.fixture(params=["before", "after"])
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch, after=request.param == "after")


def test_a_claim_takes_one_slot(storage: Storage, fault: Fault) -> None:
    fault.armed = True
    claim = storage.store.claim(1, "w", lease_s=60)
    assert claim is not None
    assert fault.struck == 1
    assert [(each.slot, each.token) for each in storage.store.claims(1)] == [(0, claim.token)]


def test_a_free_slot_of_a_confirmation_gets_no_invented_settings(
    storage: Storage, fault: Fault, plain_spec: NetworkSpec
) -> None:
    """A run that began although the worker never heard of it has no claim until a reaper queues it again."""
    Study.create(storage, "c", replace(plain_spec, confirms="s"), 2)
    study = Study.find(storage, "c")
    assert study is not None
    for seed in range(2):
        study.queue_confirming(Confirming(candidate=0, seed=seed), {}, reference=None)
    first, second = (storage.store.claim(study.study_id, "w", lease_s=60) for _ in range(2))
    fault.armed = True
    study.ask(first)
    with contextlib.suppress(Exhausted):
        study.ask(second)
    assert fault.struck == 1
    assert [trial.confirming is not None for trial in study.trials()] == [True, True]


def test_settling_is_done_once(storage: Storage, fault: Fault) -> None:
    claim = storage.store.claim(1, "w", lease_s=60)
    assert claim is not None
    fault.armed = True
    storage.store.settle(claim)
    assert fault.struck == 1
    assert [each.done for each in storage.store.claims(1)] == [True]


def test_releasing_frees_the_slot(storage: Storage, fault: Fault) -> None:
    claim = storage.store.claim(1, "w", lease_s=60)
    assert claim is not None
    fault.armed = True
    storage.store.release(claim)
    assert fault.struck == 1
    assert storage.store.claims(1) == []


def test_a_repeated_takeover_succeeds_for_its_worker(storage: Storage, fault: Fault) -> None:
    claim = storage.store.claim(1, "w", lease_s=60)
    assert claim is not None
    [seen] = storage.store.open_claims(1)
    fault.armed = True
    taken = storage.store.take_over(seen, "thief", lease_s=60)
    assert fault.struck == 1
    assert taken is not None
    assert [each.token for each in storage.store.claims(1)] == [taken.token]
    with pytest.raises(LeaseLost):
        storage.store.settle(claim)


def test_an_end_that_is_written_twice_succeeds_once(storage: Storage, fault: Fault) -> None:
    trial = storage.trials.add(1)
    fault.armed = True
    storage.trials.change(trial.trial_id, Change(state=State.COMPLETE, value=0.5))
    assert fault.struck == 1
    assert storage.trials.state(trial.trial_id) is State.COMPLETE
    with pytest.raises(TrialEnded):
        storage.trials.change(trial.trial_id, Change(state=State.COMPLETE, value=0.6))


def test_a_value_and_its_report_are_written_together(storage: Storage, fault: Fault) -> None:
    study = Study.find(storage, "s")
    assert study is not None
    with study._adapter.together(
        trial_id := study._study.ask()._trial_id,
        also=lambda transaction: storage.store.add_report(trial_id, REPORT, within=transaction),
    ):
        study._adapter.set_trial_intermediate_value(trial_id, 10, 0.5)
        study._adapter.note(trial_id, "parameters", 7)
        fault.armed = True
    assert fault.struck == 1
    [facts] = storage.trials.facts_of([trial_id])
    assert (facts.steps, facts.user["parameters"]) == ({10: 0.5}, 7)
    assert storage.store.curve(trial_id, ACCURACY) == [REPORT]


WORKER = Worker(worker_id="w", host="h", pid=1, device="cpu", threads=1, environment={"torch": "2"})
MOMENT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CHECKPOINT = CheckpointRecord(trial_id=1, path="s/1", sha256="0" * 64, score=0.5, step=10, bytes=3)
EVALUATION = TestEvaluation(
    study_id=1, trial_id=1, moment=MOMENT, reason="r", pictures=5, heads={"a": 0.5}, joint=0.5
)
ATTEMPT = TestAttempt(study_id=1, trial_id=1, moment=MOMENT, reason="r", failure="f")
EXPORT = ExportRecord(study_id=1, trial_id=1, moment=MOMENT, folder="f", manifest_sha256="0" * 64)

WRITES: dict[str, tuple[Callable[[Store], object], Callable[[Store], object], object]] = {
    "set_target": (lambda s: s.set_target(1, 7), lambda s: getattr(s.study(1), "target_trials", None), 7),
    "add_worker": (lambda s: s.add_worker(1, WORKER), lambda s: s.workers(1), {"w": WORKER}),
    "decide_precisions": (
        lambda s: s.decide_precisions(1, "epyc", {"mlp": "float32"}),
        lambda s: s.precisions(1, "epyc"),
        {"mlp": "float32"},
    ),
    "add_report": (lambda s: s.add_report(1, REPORT), lambda s: s.curve(1, ACCURACY), [REPORT]),
    "add_checkpoint": (
        lambda s: s.add_checkpoint(1, CHECKPOINT, content=b"abc"),
        lambda s: (s.checkpoints(1), s.weights_chunk(CHECKPOINT, 0), s.weights_chunk(CHECKPOINT, 1)),
        ([replace(CHECKPOINT, in_database=True)], b"abc", None),
    ),
    "put_test_attempt": (
        lambda s: s.put_test_attempt(ATTEMPT),
        lambda s: s.test_attempts([1]),
        [ATTEMPT],
    ),
    "add_test_evaluation_once": (
        lambda s: s.add_test_evaluation_once(EVALUATION),
        lambda s: s.test_evaluations([1]),
        [EVALUATION],
    ),
    "add_export": (lambda s: s.add_export(EXPORT), lambda s: s.exports(1), [EXPORT]),
}
"""Writes of the store that are repeated while the database is away, how to see what they did, and that."""


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_is_repeated_is_written_once(storage: Storage, fault: Fault, name: str) -> None:
    write, read, expected = WRITES[name]
    fault.armed = True
    write(storage.store)
    assert fault.struck == 1
    assert read(storage.store) == expected


def test_a_deletion_that_is_repeated_says_that_the_study_is_deleted(storage: Storage, fault: Fault) -> None:
    fault.armed = True
    assert delete_study(storage.trials.database, 1)
    assert fault.struck == 1
    assert storage.store.study(1) is None
    assert not delete_study(storage.trials.database, 1)


class TestRetry:
    @pytest.fixture
    def database(self, sqlite_url: str) -> Database:
        with open_storage(sqlite_url, retry_s=20) as opened:
            return opened.trials.database

    def _failing(self, times: int) -> Callable[[], str]:
        left = iter(range(times))

        def work() -> str:
            if next(left, None) is not None:
                raise TryAgain("away")
            return "done"

        return work

    def test_a_failing_call_is_retried(self, database: Database) -> None:
        assert database.retry(self._failing(3)) == "done"

    def test_ends(self, database: Database) -> None:
        database.retry_s = 0.2
        with pytest.raises(TryAgain):
            database.retry(self._failing(100))

    def test_is_short_once_the_process_is_ending(self, database: Database) -> None:
        database.ending = lambda: True
        assert database.retry(self._failing(1)) == "done", "a connection that was cut, once"
        began = time.monotonic()
        with pytest.raises(TryAgain):
            database.retry(self._failing(10_000))
        assert time.monotonic() - began < 15, "of 20 that it would have"

    def test_a_stop_request_ends_the_retries(self, database: Database) -> None:
        asked = iter([False] * 3)
        database.ending = lambda: next(asked, True)
        database.retry_s = 3600
        with pytest.raises(TryAgain):
            database.retry(self._failing(10_000))

    def test_a_person_is_not_kept_waiting(self, sqlite_url: str) -> None:
        with open_storage(sqlite_url) as opened, pytest.raises(TryAgain):
            opened.trials.database.retry(self._failing(1))

    def test_a_part_of_a_transaction_is_not_repeated_alone(self, database: Database) -> None:
        class Part:
            def __init__(self) -> None:
                self.database = database
                self.tried = 0

            @retried
            def write(self, *, within: Transaction | None = None) -> None:
                with self.database.write(within):
                    self.tried += 1
                    raise TryAgain("away")

        part = Part()
        with pytest.raises(TryAgain), database.write() as transaction:
            part.write(within=transaction)
        assert part.tried == 1
        database.retry_s = 0.2
        with pytest.raises(TryAgain):
            part.write()
        assert part.tried > 2, "alone it is"


@pytest.mark.parametrize("database_url", ["postgresql_url", "mysql_url"])
def test_only_what_is_given_a_transaction_is_part_of_it(
    request: pytest.FixtureRequest, database_url: str
) -> None:
    def die() -> None:
        with opened.trials.database.write() as transaction:
            opened.store.add_report(1, REPORT, within=transaction)
            opened.store.add_report(2, REPORT)
            raise KeyboardInterrupt

    with open_storage(request.getfixturevalue(database_url)) as opened:
        with pytest.raises(KeyboardInterrupt):
            die()
        assert opened.store.curves([1, 2], ACCURACY) == {2: [REPORT]}


@pytest.mark.parametrize("database_url", ["postgresql_url", "mysql_url"])
def test_a_connection_that_is_cut_while_rows_are_fetched_is_tried_again(
    request: pytest.FixtureRequest, database_url: str
) -> None:
    """Rows that are read past SQLAlchemy raise the driver's own errors."""
    database = Database(parse_url(request.getfixturevalue(database_url)), retry_s=30)
    tries: list[int] = []

    def work() -> int:
        with database.read() as connection:
            result = connection.execute(text("SELECT 1"))
            tries.append(1)
            if len(tries) == 1:
                raise database.engine.dialect.loaded_dbapi.OperationalError("server closed the connection")
            return int(result.scalar_one())

    assert database.retry(work) == 1
    assert len(tries) == 2
    database.close()


def test_a_connection_that_is_cut_as_it_goes_back_to_the_pool_raises_no_error_of_the_driver(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening reads at another isolation level. SQLAlchemy resets it there without wrapping errors."""
    open_storage(mysql_url).close()
    store = SQLStore(parse_url(mysql_url))
    dialect = store.database.engine.dialect

    def cut(_: object) -> None:
        raise dialect.loaded_dbapi.OperationalError(2013, "Lost connection to MySQL server during query")

    monkeypatch.setattr(dialect, "reset_isolation_level", cut)
    with pytest.raises(TryAgain, match="does not answer: Lost connection to MySQL server"):
        open_tables(store, create=False)
    store.close()
