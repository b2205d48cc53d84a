"""Another program adds trials to a study, before and while workers are at it: the total stays exact."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from search.optuna_db.storage import open_storage

TRIALS = 10
HIGH = {"value": 98.5, "params": {"x": 0.5}, "distributions": {"x": FloatDistribution(0, 1)}}
"""A result that would be the best by far, of a parameter that tune does not know."""


def plain(storage: Any) -> optuna.Study:
    """The study as another program sees it."""
    return optuna.load_study(study_name="faults", storage=storage.optuna)


def add_finished(study: optuna.Study) -> int:
    """Adds finished trials of each kind; how many."""
    study.add_trial(create_trial(state=TrialState.COMPLETE, **HIGH))
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=float("inf")))
    study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={2_250: 0.99, 4_500: 0.99}))
    study.add_trial(create_trial(state=TrialState.FAIL))
    return 4


@pytest.mark.timeout(240)
@pytest.mark.parametrize("pruner", ["asha", "median"])
@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_the_total_is_exact_and_nothing_of_tunes_is_left_over(
    request: pytest.FixtureRequest, arena: Callable[..., Any], database: str, pruner: str
) -> None:
    study = arena(request.getfixturevalue(database), trials=TRIALS, pruner=pruner)
    with open_storage(study.url) as storage:
        other = plain(storage)
        foreign = add_finished(other)
        for pid in [study.start(pause_s=0.02) for _ in range(2)]:
            while not any(line["event"] == "begun" for line in study.history):
                time.sleep(0.01)
            foreign += add_finished(other)
            storage.optuna.create_new_trial(other._study_id)  # stays at work for ever
            foreign += 1
            other.enqueue_trial({"lr": 1e9, "nonsense": "x", "depth": 2.0})
            study.kill(pid)  # its repetitions are tune's own, and go before what others queued
        for _ in range(3 * TRIALS):
            other.enqueue_trial({"dropout": 0.25})
        for pid in [study.start(pause_s=0.005) for _ in range(2)]:
            study.wait(pid, timeout_s=120)
        states = [trial.state for trial in other.get_trials(deepcopy=False)]
        queued = states.count(TrialState.WAITING)
        assert states.count(TrialState.RUNNING) == 2, "what another program runs is left to it"
        study.check(foreign=foreign + queued)
        with_dropout = [
            trial for trial in other.get_trials(deepcopy=False) if trial.params.get("dropout") == 0.25
        ]
        assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in with_dropout)
