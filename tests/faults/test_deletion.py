"""A study is deleted under its workers and another one made at once, which SQLite gives the same numbers.

Its workers must notice before they write: what they still bring belongs to no study any more.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from data.datasets.mnist import Mnist
from search.errors import TryAgain
from search.optuna_db.deletion import delete_study
from search.optuna_db.storage import open_storage
from search.records import CheckpointRecord
from search.service.create import RunRequest, create_or_resume
from search.service.delete import delete
from search.store import sql_weights
from search.store.base import LeaseLost
from search.study.evaluation_schedule import EvaluationSchedule


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_workers_of_a_deleted_study_write_nothing_into_its_successor(
    request: pytest.FixtureRequest, arena: Callable[..., Any], database: str, after_s: float
) -> None:
    old = arena(request.getfixturevalue(database), trials=8, seed=1)
    for _ in range(2):
        old.start(pause_s=0.05)
    deadline = time.monotonic() + 60
    while not any(line["event"] == "begun" for line in old.history):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(after_s)
    assert delete(old.url, old.study, force=True, agree=lambda _: True) is not None
    new = replace(old, folder=old.folder / "new", options={"seed": 2}, pids=[])
    new.folder.mkdir()
    new.create()
    for _ in range(2):
        new.start(pause_s=0.05)
    for pid in [*old.pids, *new.pids]:
        new.wait(pid)
    assert [line for line in old.history if line["event"] == "crashed"] == []
    assert old.refused() == []
    new.check()
    begun = {json.dumps(line["trial"]) for line in new.history if line["event"] == "begun"}
    assert len(begun) >= new.trials


@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_a_deletion_succeeds_while_a_worker_writes_weights(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, mnist: Mnist, database: str
) -> None:
    """The worker writes weights and then locks its claim; the deletion takes them the other way round. MySQL
    ends one of two transactions that wait for each other."""
    url = request.getfixturevalue(database)
    written = threading.Event()
    write = sql_weights.write

    def slow_write(*arguments: Any) -> None:
        write(*arguments)
        written.set()
        time.sleep(0.5)  # for the deletion to delete the claim and to wait for the weights

    with open_storage(url) as storage, open_storage(url) as other:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=1, study="s"), mnist)
        study.prepare(sampler="random", pruner="none", seed=0, evaluations=EvaluationSchedule.of(record.spec))
        claim = storage.store.claim(study.study_id, "w", lease_s=60)
        assert claim is not None
        asked = study.ask(claim)
        claim = replace(claim, trial_id=asked.trial_id)
        weights = CheckpointRecord(
            trial_id=asked.trial_id, path="p", sha256="0" * 64, score=0.5, step=9, bytes=7
        )
        monkeypatch.setattr(sql_weights, "write", slow_write)
        with ThreadPoolExecutor(1) as worker:
            writing = worker.submit(
                storage.store.add_checkpoint, study.study_id, weights, claim=claim, content=b"weights"
            )
            assert written.wait(30)
            assert delete_study(other.trials.database, study.study_id, created=record.created)
            error = writing.exception()
        assert error is None or isinstance(error, LeaseLost | TryAgain)
        assert storage.store.study(study.study_id) is None
        assert storage.store.checkpoints(study.study_id) == []
        assert storage.store.weights_chunk(weights, 0) is None
