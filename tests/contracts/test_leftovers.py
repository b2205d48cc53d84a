"""What Optuna's side deletes leaves nothing on tune's that a new study could take for its own."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from sqlalchemy import func, select, update

from search.confirmation import Look
from search.records import (
    CheckpointRecord,
    ExportRecord,
    HeadScore,
    Point,
    Scores,
    State,
    StudySpec,
    Worker,
)
from search.store import optuna_tables, tables
from search.store.leftovers import free_slots, sweep
from search.store.trial_facts import Change
from search.study.storage import Storage, open_storage
from search.study.study import Study

SCORES = Scores(heads={"digit": HeadScore(loss=0.1, accuracy=0.9)}, joint=0.9)
POINT = Point(images=1000, seconds=1.0, learning_rate=0.1, train=SCORES, validation=SCORES)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with open_storage(request.getfixturevalue(f"{request.param}_url")) as opened:
        yield opened


def counted(storage: Storage) -> dict[str, int]:
    """Rows of each of tune's tables."""
    with storage.trials.database.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in tables.metadata.sorted_tables
            if table is not tables.schema
        }


def full(storage: Storage, name: str, spec: StudySpec) -> Study:
    """A study with a row of every kind."""
    study, store = Study.create(storage, name, spec, 3), storage.store
    assert study is not None
    worker = Worker(
        worker_id=f"w-{name}", host="h", pid=1, device="cpu", threads=1, environment={"torch": "2"}
    )
    store.add_worker(study.study_id, worker)
    claim = store.claim(study.study_id, worker.worker_id, lease_s=30)
    assert claim is not None
    trial_id = optuna.load_study(study_name=name, storage=storage.optuna).ask()._trial_id
    store.offer(store.attach(claim, trial_id))
    store.add_point(trial_id, POINT)
    store.add_checkpoint(
        study.study_id,
        CheckpointRecord(trial_id=trial_id, path="p", sha256="0" * 64, score=0.9, images=1000, bytes=1),
    )
    ids = {"study_id": study.study_id, "trial_id": trial_id, "moment": datetime.datetime.now(datetime.UTC)}
    store.add_look(Look(**ids, reason="a test", pictures=10, heads={"digit": 0.9}, joint=0.9))
    store.add_export(ExportRecord(**ids, folder="f", manifest_sha256="0" * 64))
    return study


def test_a_deleted_study_leaves_nothing_and_takes_nothing_along(
    storage: Storage, plain_spec: StudySpec
) -> None:
    full(storage, "kept", plain_spec)
    before = counted(storage)
    assert all(before.values()), "a row of every kind"
    lost = full(storage, "lost", plain_spec)
    assert all(counted(storage)[name] == 2 * rows for name, rows in before.items())
    assert sweep(storage.trials.database) == []
    storage.optuna.delete_study(lost.study_id)
    assert sweep(storage.trials.database) == [lost.study_id]
    assert counted(storage) == before
    assert sweep(storage.trials.database) == []


def test_a_new_study_is_not_taken_for_one_that_was_deleted(storage: Storage, plain_spec: StudySpec) -> None:
    """SQLite gives its number to the next one."""
    old = full(storage, "old", plain_spec)
    storage.optuna.delete_study(old.study_id)
    new = Study.create(storage, "new", replace(plain_spec, task="sum"), 7)
    assert new is not None
    record = storage.store.study(new.study_id)
    assert record is not None
    assert (record.spec.task, record.target_trials) == ("sum", 7)
    assert storage.store.claims(new.study_id) == []


def test_a_slot_is_freed_where_its_trial_is_finished_no_more(storage: Storage, plain_spec: StudySpec) -> None:
    """Only another program can have changed it: a trial is finished before its slot is filled."""
    study = full(storage, "edited", plain_spec)
    database, store = storage.trials.database, storage.store
    [claim] = store.claims(study.study_id)
    assert claim.trial_id is not None
    assert free_slots(database, study.study_id) == 0, "it is at work"
    storage.trials.change(claim.trial_id, Change(state=State.COMPLETE, value=0.5))
    store.settle(claim)
    assert free_slots(database, study.study_id) == 0
    with database.write() as connection:
        connection.execute(update(optuna_tables.trials).values(state="FAIL"))
    assert [free_slots(database, study.study_id) for _ in range(2)] == [1, 0]
    again = store.claim(study.study_id, "w", lease_s=30)
    assert again is not None
    assert again.slot == claim.slot


def test_a_new_trial_has_no_past(tmp_path: Path, plain_spec: StudySpec) -> None:
    """SQLite gives its number to the next one too, and a study that goes on is not swept in between."""
    with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
        goes_on, deleted = full(storage, "goes on", plain_spec), full(storage, "deleted", plain_spec)
        store = storage.store
        [old] = store.claims(deleted.study_id)
        storage.optuna.delete_study(deleted.study_id)
        claim = store.claim(goes_on.study_id, "w", lease_s=30)
        assert claim is not None
        asked = goes_on.ask(lambda trial_id: store.attach(claim, trial_id))
        assert asked.trial_id == old.trial_id, "the number is given again, or this test shows nothing"
        assert store.curve(asked.trial_id) == []
        [first, _] = store.claims(goes_on.study_id)
        assert [each.trial_id for each in store.checkpoints(goes_on.study_id)] == [first.trial_id]
        assert store.checkpoints(deleted.study_id) == []
        assert [each.trial_id for each in store.looks([goes_on.study_id])] == [first.trial_id]
        assert store.looks([deleted.study_id]) == []
        assert store.exports(deleted.study_id) == []
