"""What Optuna's side deletes leaves nothing on tune's that a new study could take for its own."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, func, insert, select, update

from search.heads import head_report
from search.optuna_db import optuna_tables
from search.optuna_db.deletion import delete_study
from search.optuna_db.orphans import delete_orphaned_rows, free_slots
from search.optuna_db.storage import Storage, open_storage
from search.optuna_db.trial_facts import Change
from search.records import (
    ACCURACY,
    Answers,
    CheckpointRecord,
    ExportRecord,
    Failure,
    HeadScore,
    NetworkSpec,
    Scores,
    State,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
    Worker,
)
from search.store import tables
from search.store.base import LeaseLost
from search.study.study import Study

SCORES = Scores(heads={"digit": HeadScore(loss=0.1, accuracy=0.9)}, joint=0.9)
REPORT = head_report(step=1000, seconds=1.0, learning_rate=0.1, train=SCORES, validation=SCORES)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def storage(empty_database: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[Storage]:
    with open_storage(empty_database(request.param)) as opened:
        yield opened


def counted(storage: Storage) -> dict[str, int]:
    """Rows of each of tune's tables."""
    with storage.trials.database.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in tables.metadata.sorted_tables
            if table not in (tables.schema, tables.deleted_test_evaluations)
        }


def optunas_counted(storage: Storage) -> dict[str, int]:
    """Rows of each of Optuna's tables that tune knows."""
    with storage.trials.database.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in optuna_tables.metadata.sorted_tables
        }


def full(storage: Storage, name: str, spec: NetworkSpec) -> Study:
    """A study with a row of every kind."""
    study, store = Study.create(storage, name, spec, 3), storage.store
    assert study is not None
    worker = Worker(
        worker_id=f"w-{name}", host="h", pid=1, device="cpu", threads=1, environment={"torch": "2"}
    )
    store.add_worker(study.study_id, worker)
    store.decide_precisions(study.study_id, "a processor", {"mlp": "float32"})
    claim = store.claim(study.study_id, worker.worker_id, lease_s=30)
    assert claim is not None
    trial_id = optuna.load_study(study_name=name, storage=storage.optuna).ask()._trial_id
    store.offer(store.attach(claim, trial_id))
    store.add_report(trial_id, REPORT)
    store.add_checkpoint(
        study.study_id,
        CheckpointRecord(trial_id=trial_id, path="p", sha256="0" * 64, score=0.9, step=1000, bytes=1),
        content=b"w",
        answers=Answers(split="validation", examples=3, heads={"digit": bytes([0b10100000])}),
    )
    ids = {"study_id": study.study_id, "trial_id": trial_id, "moment": datetime.datetime.now(datetime.UTC)}
    store.add_test_evaluation_once(
        TestEvaluation(**ids, reason="a test", pictures=10, heads={"digit": 0.9}, joint=0.9)
    )
    store.add_export(ExportRecord(**ids, folder="f", manifest_sha256="0" * 64))
    return study


def test_a_deleted_study_leaves_nothing_and_takes_nothing_along(
    storage: Storage, plain_spec: NetworkSpec
) -> None:
    full(storage, "kept", plain_spec)
    before = counted(storage)
    assert all(before.values()), "a row of every kind"
    lost = full(storage, "lost", plain_spec)
    assert all(counted(storage)[name] == 2 * rows for name, rows in before.items())
    assert delete_orphaned_rows(storage.trials.database) == []
    storage.optuna.delete_study(lost.study_id)
    assert delete_orphaned_rows(storage.trials.database) == [lost.study_id]
    assert counted(storage) == before
    assert delete_orphaned_rows(storage.trials.database) == []


def test_tune_deletes_a_study_on_both_sides_in_one_transaction(
    storage: Storage, plain_spec: NetworkSpec
) -> None:
    full(storage, "kept", plain_spec)
    before = {**counted(storage), **optunas_counted(storage)}
    lost = full(storage, "lost", plain_spec)
    assert delete_study(storage.trials.database, lost.study_id)
    assert {**counted(storage), **optunas_counted(storage)} == before
    assert not lost.exists()
    assert not delete_study(storage.trials.database, lost.study_id), "there is none any more"


def test_a_test_evaluation_outlives_its_study(storage: Storage, plain_spec: NetworkSpec) -> None:
    """The test set was seen, in whatever way the study is deleted."""
    store = storage.store
    mine, optunas, kept = (full(storage, name, plain_spec) for name in ("mine", "optuna's", "kept"))
    full(storage, "other task", replace(plain_spec, task="sum"))
    assert store.count_test_evaluations("twodigit") == TestEvaluationCounts(total=3, of_deleted_studies=0)
    assert delete_study(storage.trials.database, mine.study_id)
    assert store.count_test_evaluations("twodigit") == TestEvaluationCounts(total=3, of_deleted_studies=1)
    storage.optuna.delete_study(optunas.study_id)
    delete_orphaned_rows(storage.trials.database)
    assert store.count_test_evaluations("twodigit") == TestEvaluationCounts(total=3, of_deleted_studies=2)
    assert store.count_test_evaluations("sum").total == 1
    assert [each.study_id for each in store.test_evaluations([mine.study_id, kept.study_id])] == [
        kept.study_id
    ]
    with storage.trials.database.read() as connection:
        rows = connection.execute(select(tables.deleted_test_evaluations)).mappings().all()
    assert [(row["study"], row["task"], row["accuracy"]) for row in rows] == [
        ("mine", "twodigit", 0.9),
        (None, "twodigit", 0.9),
    ]


def test_a_test_evaluation_without_a_result_outlives_its_study(
    storage: Storage, plain_spec: NetworkSpec
) -> None:
    mine = full(storage, "mine", plain_spec)
    [done] = storage.store.test_evaluations([mine.study_id])
    storage.store.put_test_attempt(
        TestAttempt(
            study_id=mine.study_id,
            trial_id=done.trial_id,
            moment=done.moment + datetime.timedelta(minutes=1),
            reason="a test",
            failure="It failed.",
        )
    )
    assert delete_study(storage.trials.database, mine.study_id)
    assert storage.store.test_attempts([mine.study_id]) == []
    assert storage.store.count_test_evaluations("twodigit") == TestEvaluationCounts(
        total=2, of_deleted_studies=2, without_result=1
    )
    with storage.trials.database.read() as connection:
        rows = connection.execute(select(tables.deleted_test_evaluations)).mappings().all()
    assert sorted((row["reason"], row["accuracy"]) for row in rows) == [
        ("a test", 0.9),
        ("a test\nIt failed.", None),
    ]


def test_a_study_is_deleted_while_a_worker_writes(
    request: pytest.FixtureRequest, storage: Storage, plain_spec: NetworkSpec
) -> None:
    """Optuna's own deletion does nothing then on a server, and says that all went well."""
    study = full(storage, "worked on", plain_spec)
    [claim] = storage.store.claims(study.study_id)
    step = {"trial_id": claim.trial_id, "step": 1, "intermediate_value": 0.5}
    worker = create_engine(storage.url)
    with worker.connect() as connection, ThreadPoolExecutor() as pool:
        if storage.trials.database.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(insert(optuna_tables.steps).values(**step, intermediate_value_type="FINITE"))
        deletion = pool.submit(delete_study, storage.trials.database, study.study_id)
        time.sleep(0.3)
        assert not deletion.done(), "it waits for the worker's transaction, or this test shows nothing"
        connection.commit()
        assert deletion.result(timeout=30)
    worker.dispose()
    assert storage.trials.names() == {}
    assert set(optunas_counted(storage).values()) == {0}


def test_a_new_study_is_not_taken_for_one_that_was_deleted(storage: Storage, plain_spec: NetworkSpec) -> None:
    """SQLite gives its number to the next one."""
    old = full(storage, "old", plain_spec)
    storage.optuna.delete_study(old.study_id)
    new = Study.create(storage, "new", replace(plain_spec, task="sum"), 7)
    assert new is not None
    record = storage.store.study(new.study_id)
    assert record is not None
    assert (record.spec.task, record.target_trials) == ("sum", 7)
    assert storage.store.claims(new.study_id) == []


def test_a_slot_is_freed_where_its_trial_is_finished_no_more(
    storage: Storage, plain_spec: NetworkSpec
) -> None:
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


def test_a_new_trial_has_no_past(tmp_path: Path, plain_spec: NetworkSpec) -> None:
    """SQLite gives its number to the next one too, and nothing deletes the orphans in between."""
    with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
        continues, deleted = full(storage, "continues", plain_spec), full(storage, "deleted", plain_spec)
        store = storage.store
        [old] = store.claims(deleted.study_id)
        storage.optuna.delete_study(deleted.study_id)
        claim = store.claim(continues.study_id, "w", lease_s=30)
        assert claim is not None
        asked = continues.ask(claim)
        assert asked.trial_id == old.trial_id, "the number is given again, or this test shows nothing"
        assert store.curve(asked.trial_id, ACCURACY) == []
        [first, _] = store.claims(continues.study_id)
        assert [each.trial_id for each in store.checkpoints(continues.study_id)] == [first.trial_id]
        assert store.checkpoints(deleted.study_id) == []
        [kept] = store.checkpoints(continues.study_id)
        assert store.weights_chunk(kept, 0) == b"w"
        assert store.weights_chunk(replace(kept, trial_id=asked.trial_id), 0) is None
        assert [each.trial_id for each in store.test_evaluations([continues.study_id])] == [first.trial_id]
        assert store.test_evaluations([deleted.study_id]) == []
        assert store.exports(deleted.study_id) == []
        assert store.answers([old.trial_id], "validation") == {}
        assert store.count_test_evaluations("twodigit").total == 2, "also before the orphans are deleted"


def test_orphans_of_optunas_deletion_are_not_taken_over(tmp_path: Path, plain_spec: NetworkSpec) -> None:
    """What a worker writes while Optuna deletes its study stays in an SQLite file, under ids given again."""
    with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
        old = full(storage, "old", plain_spec)
        [claim] = storage.store.claims(old.study_id)
        storage.optuna.delete_study(old.study_id)
        with storage.trials.database.write() as connection:
            connection.execute(
                insert(optuna_tables.trials).values(
                    trial_id=claim.trial_id, number=5, study_id=old.study_id, state="COMPLETE"
                )
            )
            step = {"trial_id": claim.trial_id + 1, "step": 1, "intermediate_value": 0.5}
            connection.execute(insert(optuna_tables.steps).values(**step, intermediate_value_type="FINITE"))
        new = Study.create(storage, "new", plain_spec, 3)
        assert new is not None
        assert new.study_id == old.study_id, "the id is given again, or this test shows nothing"
        assert optuna.load_study(study_name="new", storage=storage.optuna).trials == []
        trials = [new.ask() for _ in range(2)]
        assert trials[1].trial_id == step["trial_id"], "the id is given again, or this test shows nothing"
        assert [trial.steps for trial in storage.trials.facts_of([each.trial_id for each in trials])] == [
            {},
            {},
        ]


def test_orphans_of_optunas_deletion_are_swept(tmp_path: Path, plain_spec: NetworkSpec) -> None:
    """Another program's next trial gets the id, and would have what they say of it."""
    with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
        old = full(storage, "old", plain_spec)
        storage.optuna.delete_study(old.study_id)
        with storage.trials.database.write() as connection:
            orphan = {"trial_id": 7, "number": 5, "study_id": old.study_id, "state": "FAIL"}
            connection.execute(insert(optuna_tables.trials).values(**orphan))
            for trial_id in (7, 8):
                said = {"trial_id": trial_id, "key": "failure", "value_json": '"interrupted"'}
                connection.execute(insert(optuna_tables.user_attributes).values(**said))
        assert delete_orphaned_rows(storage.trials.database) == [old.study_id]
        assert set(optunas_counted(storage).values()) == {0}


def test_a_study_that_was_made_again_under_the_same_id_is_not_deleted(
    storage: Storage, plain_spec: NetworkSpec
) -> None:
    study = full(storage, "made again", plain_spec)
    record = storage.store.study(study.study_id)
    assert record is not None
    earlier = record.created - datetime.timedelta(seconds=1)
    assert not delete_study(storage.trials.database, study.study_id, created=earlier)
    assert study.exists()
    assert delete_study(storage.trials.database, study.study_id, created=record.created)


def test_a_worker_without_its_claim_writes_nothing(storage: Storage, plain_spec: NetworkSpec) -> None:
    """Neither a report that repeats an earlier one, nor that the trial failed."""
    study = Study.create(storage, "s", plain_spec, 3)
    assert study is not None
    claim = storage.store.claim(study.study_id, "w", lease_s=30)
    assert claim is not None
    asked = study.ask(claim)
    asked.guard(lambda transaction: storage.store.require_held(claim, within=transaction))
    asked.report(1000, 0.5, REPORT)
    assert storage.store.take_over(storage.store.claims(study.study_id)[0], "taker", lease_s=30) is not None
    with pytest.raises(LeaseLost):
        asked.report(1000, 0.5, replace(REPORT, step=2000))
    assert [report.step for report in storage.store.curve(asked.trial_id, ACCURACY)] == [1000]
    with pytest.raises(LeaseLost):
        study.fail(asked.trial_id, Failure.INTERRUPTED, "", claim=claim)
    assert study.running() == {asked.trial_id}
