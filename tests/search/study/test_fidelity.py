"""How trials of different lengths are made comparable for a sampler."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.optuna_db.ownership import PINNED
from search.study.fidelity import WORST, at_one_rung, merit

UNIT = optuna.distributions.FloatDistribution(0, 1)
COMPLETE, PRUNED, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING


def trial(number: int, *errors: float, state: TrialState = PRUNED, pinned: bool = False) -> FrozenTrial:
    """One that reported these errors at 10, 20, 40 … images."""
    found = create_trial(
        state=state,
        value=1 - errors[-1] if state is COMPLETE else None,
        params={"x": 0.5},
        distributions={"x": UNIT},
        user_attrs={PINNED: {"depth": 9}} if pinned else {},
        intermediate_values={10 * 2**rung: 1 - error for rung, error in enumerate(errors)},
    )
    found.number = number
    return found


def merits(trials: list[FrozenTrial]) -> list[float]:
    shown = at_one_rung(trials)
    assert [each.state for each in shown] == [COMPLETE] * len(trials)
    assert [each.number for each in shown] == [each.number for each in trials]
    return [each.value or 0.0 for each in shown]


@pytest.mark.parametrize(("accuracy", "expected"), [(0.0, 0.0), (0.9, math.log(10)), (1.0, math.log(1e4))])
def test_merit_is_the_logarithm_of_the_error(accuracy: float, expected: float) -> None:
    assert merit(accuracy) == pytest.approx(expected)


def test_trials_count_with_their_score_at_the_highest_rung_that_enough_have_reached() -> None:
    """Errors are halved from the first rung to the second by those that got there; one trial got further."""
    trials = [
        trial(0, 0.4, 0.2, 0.01, state=COMPLETE),
        trial(1, 0.3, 0.15),
        trial(2, 0.2, 0.1),
        trial(3, 0.8),
        trial(4, 0.5),
    ]
    assert merits(trials) == pytest.approx([merit(1 - error) for error in (0.2, 0.15, 0.1, 0.4, 0.25)])


def test_a_trial_that_waits_for_its_verdict_counts_as_far_as_it_came() -> None:
    waiting = trial(1, 0.3, state=RUNNING)
    assert merits([trial(0, 0.4), waiting]) == pytest.approx([merit(0.6), merit(0.7)])
    assert waiting.state is RUNNING, "what was given is not changed"


def test_a_diverged_trial_is_worse_than_one_at_chance() -> None:
    chance, diverged = merits([trial(0, 0.9), trial(1)])
    assert diverged == WORST < chance


def test_where_nobody_reports_complete_trials_count_with_their_value() -> None:
    found = create_trial(state=COMPLETE, value=0.9, params={"x": 0.5}, distributions={"x": UNIT})
    assert merits([found]) == [pytest.approx(merit(0.9))]


def test_a_trial_that_has_just_begun_stays_a_running_one() -> None:
    assert [each.state for each in at_one_rung([trial(0, state=RUNNING), trial(1, 0.5)])] == [
        RUNNING,
        COMPLETE,
    ]


def test_a_reference_outside_the_space_is_left_out() -> None:
    """GPSampler would drop the parameters that it lacks for all trials."""
    assert [each.number for each in at_one_rung([trial(0, 0.5, pinned=True), trial(1, 0.5)])] == [1]


def test_an_empty_study_is_shown_empty() -> None:
    assert at_one_rung([]) == []
