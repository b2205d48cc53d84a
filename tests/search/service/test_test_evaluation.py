"""With which limits the test function of training code is called. No code is started."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from spoken import program, spoken_spec

from search.analysis.confirmation import SeedRun
from search.analysis.standing import Stand
from search.objectives.external import test_function
from search.optuna_db.storage import Storage, open_storage
from search.records import Report, State, TestAttempt, TrialRecord
from search.service import test_evaluation
from search.study.study import Study
from search.worker.options import WorkerOptions


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


@pytest.mark.parametrize(("stall_timeout_s", "limit_s"), [(30.0, 90.0), (600.0, 600.0)])
def test_it_may_take_as_long_as_training_and_has_the_threads_of_a_worker(
    stall_timeout_s: float,
    limit_s: float,
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The best report, of which the test function says more, came after ten seconds of ninety."""
    asked: dict[str, Any] = {}

    def call(*_: object, **given: Any) -> dict[str, float]:
        asked.update(given)
        return {"loss": 0.5, "accuracy": 0.75}

    monkeypatch.setattr(test_function, "call_test_function", call)
    Study.create(storage, "s.confirm", spoken_spec(program(tmp_path), confirms="s"), 1)
    [record] = storage.store.studies()
    metric = record.spec.metric
    curve = [
        Report(step=step, seconds=seconds, metrics={"loss": loss}, metric=metric)
        for step, seconds, loss in ((1, 10.0, 0.25), (9, 90.0, 0.5))
    ]
    trial = TrialRecord(trial_id=7, number=0, state=State.COMPLETE, score=-0.25, params={"x": 0.5, "y": "a"})
    found = Stand(
        searched=record,
        trials=[],
        confirming=record,
        runs=[trial],
        curves={7: curve},
        test_evaluations=[],
        yardstick=frozenset(),
    )
    moment = datetime.datetime.now(datetime.UTC)
    attempt = test_evaluation._Attempt(
        store=storage.store,
        record=TestAttempt(study_id=record.study_id, trial_id=7, moment=moment, reason="chosen"),
    )
    run = SeedRun(seed=0, trial=0, trial_id=7, report=curve[0])
    options = WorkerOptions(threads=3, stall_timeout_s=stall_timeout_s)
    tested = test_evaluation._of_code(storage, b"", found, run, attempt, options)
    assert (asked["limit_s"], asked["threads"]) == (limit_s, 3)
    assert (tested.joint, tested.heads) == (0.5, {"loss": 0.5, "accuracy": 0.75})
