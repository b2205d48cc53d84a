"""A database that goes away: what may be done twice is done again, what was written already counts once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text

from search.errors import TryAgain
from search.optuna_db.optuna_trials import TrialEnded
from search.optuna_db.storage import Storage, open_storage
from search.optuna_db.trial_facts import Change
from search.records import HeadScore, Point, Scores, State, StudySpec
from search.store.base import LeaseLost
from search.store.database import Database
from search.store.engine import parse_url
from search.study.study import Study

SCORES = Scores(heads={"a": HeadScore(loss=0.5, accuracy=0.5)}, joint=0.5)
POINT = Point(images=10, seconds=1.0, learning_rate=0.1, train=SCORES, validation=SCORES)


@pytest.fixture(params=["sqlite_url", "postgresql_url", "mysql_url"])
def storage(request: pytest.FixtureRequest, plain_spec: StudySpec) -> Iterator[Storage]:
    with open_storage(request.getfixturevalue(request.param), patience_s=20) as opened:
        Study.create(opened, "s", plain_spec, 2)
        yield opened


class Fault:
    """Makes the next write fail, before it is committed or after; `struck` counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
        self.armed = False
        self.struck = 0
        ordinary = Database.write

        @contextmanager
        def write(database: Database) -> Iterator[Connection]:
            inner = getattr(database._writing, "connection", None) is not None
            with ordinary(database) as connection:
                yield connection
                if self.armed and not inner and not after:
                    self._strike()
            if self.armed and not inner:
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


def test_a_takeover_is_the_takers(storage: Storage, fault: Fault) -> None:
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


def test_an_ending_is_our_own_or_somebody_elses(storage: Storage, fault: Fault) -> None:
    trial = storage.trials.add(1)
    fault.armed = True
    storage.trials.change(trial.trial_id, Change(state=State.COMPLETE, value=0.5))
    assert fault.struck == 1
    assert storage.trials.state(trial.trial_id) is State.COMPLETE
    with pytest.raises(TrialEnded):
        storage.trials.change(trial.trial_id, Change(state=State.COMPLETE, value=0.6))


def test_a_report_and_its_point_are_written_together(storage: Storage, fault: Fault) -> None:
    study = Study.find(storage, "s")
    assert study is not None
    with study._adapter.together(
        trial_id := study._study.ask()._trial_id,
        also=lambda: storage.store.add_point(trial_id, POINT),
    ):
        study._adapter.set_trial_intermediate_value(trial_id, 10, 0.5)
        study._adapter.note(trial_id, "parameters", 7)
        fault.armed = True
    assert fault.struck == 1
    [facts] = storage.trials.facts_of([trial_id])
    assert (facts.steps, facts.user["parameters"]) == ({10: 0.5}, 7)
    assert storage.store.curve(trial_id) == [POINT]


class TestPatience:
    @pytest.fixture
    def database(self, sqlite_url: str) -> Database:
        with open_storage(sqlite_url, patience_s=20) as opened:
            return opened.trials.database

    def _failing(self, times: int) -> Callable[[], str]:
        left = iter(range(times))

        def work() -> str:
            if next(left, None) is not None:
                raise TryAgain("away")
            return "done"

        return work

    def test_tries_again(self, database: Database) -> None:
        assert database.patiently(self._failing(3)) == "done"

    def test_ends(self, database: Database) -> None:
        database.patience_s = 0.2
        with pytest.raises(TryAgain):
            database.patiently(self._failing(100))

    def test_is_short_for_whoever_was_asked_to_end(self, database: Database) -> None:
        database.hurry = lambda: True
        assert database.patiently(self._failing(1)) == "done", "a connection that was cut, once"
        began = time.monotonic()
        with pytest.raises(TryAgain):
            database.patiently(self._failing(10_000))
        assert time.monotonic() - began < 15, "of 20 that it would have"

    def test_ends_when_somebody_is_asked_to_end_meanwhile(self, database: Database) -> None:
        asked = iter([False] * 3)
        database.hurry = lambda: next(asked, True)
        database.patience_s = 3600
        with pytest.raises(TryAgain):
            database.patiently(self._failing(10_000))

    def test_a_person_is_not_kept_waiting(self, sqlite_url: str) -> None:
        with open_storage(sqlite_url) as opened, pytest.raises(TryAgain):
            opened.trials.database.patiently(self._failing(1))

    def test_a_part_of_a_transaction_is_not_repeated_alone(self, database: Database) -> None:
        tried = 0

        def work() -> Any:
            nonlocal tried
            tried += 1
            raise TryAgain("away")

        with pytest.raises(TryAgain), database.write():
            database.patiently(work)
        assert tried == 1


@pytest.mark.parametrize("database_url", ["postgresql_url", "mysql_url"])
def test_a_connection_that_is_cut_while_rows_are_fetched_is_tried_again(
    request: pytest.FixtureRequest, database_url: str
) -> None:
    """Rows that are read past SQLAlchemy raise the driver's own errors."""
    database = Database(parse_url(request.getfixturevalue(database_url)), patience_s=30)
    tries: list[int] = []

    def work() -> int:
        with database.read() as connection:
            result = connection.execute(text("SELECT 1"))
            tries.append(1)
            if len(tries) == 1:
                raise database.engine.dialect.loaded_dbapi.OperationalError("server closed the connection")
            return int(result.scalar_one())

    assert database.patiently(work) == 1
    assert len(tries) == 2
    database.close()
