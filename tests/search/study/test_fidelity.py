"""How trials of different lengths are made comparable for a sampler."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.optuna_db.ownership import PINNED
from search.records import ACCURACY, Direction, Metric
from search.study.fidelity import at_one_rung, merit

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
    assert merit(accuracy, ACCURACY) == pytest.approx(expected)


def test_trials_count_with_their_score_at_the_highest_rung_that_enough_have_reached() -> None:
    """Errors are halved from the first rung to the second by those that got there; one trial got further."""
    trials = [
        trial(0, 0.4, 0.2, 0.01, state=COMPLETE),
        trial(1, 0.3, 0.15),
        trial(2, 0.2, 0.1),
        trial(3, 0.8),
        trial(4, 0.5),
    ]
    assert merits(trials) == pytest.approx(
        [merit(1 - error, ACCURACY) for error in (0.2, 0.15, 0.1, 0.4, 0.25)]
    )


def test_a_trial_that_waits_for_its_verdict_counts_as_far_as_it_came() -> None:
    waiting = trial(1, 0.3, state=RUNNING)
    assert merits([trial(0, 0.4), waiting]) == pytest.approx([merit(0.6, ACCURACY), merit(0.7, ACCURACY)])
    assert waiting.state is RUNNING, "what was given is not changed"


def test_a_diverged_trial_is_worse_than_one_at_chance() -> None:
    chance, diverged = merits([trial(0, 0.9), trial(1)])
    assert diverged == merit(0.0, ACCURACY) < chance


def test_without_reports_complete_trials_count_with_their_value() -> None:
    found = create_trial(state=COMPLETE, value=0.9, params={"x": 0.5}, distributions={"x": UNIT})
    assert merits([found]) == [pytest.approx(merit(0.9, ACCURACY))]


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


ENERGY = Metric(name="energy", direction=Direction.MINIMIZE)
ERROR = Metric(name="error", direction=Direction.MINIMIZE, is_fraction=True)


def reported(number: int, *values: float, state: TrialState = PRUNED) -> FrozenTrial:
    """One that reported these values at 10, 20, 40 … steps."""
    found = trial(number, state=PRUNED)
    found.state, found.values = state, [values[-1]] if state is COMPLETE else None
    found.intermediate_values = {10 * 2**rung: value for rung, value in enumerate(values)}
    return found


class TestOtherMetrics:
    @pytest.mark.parametrize("error", [0.0, 0.1, 1.0])
    def test_a_share_of_errors_has_the_merit_of_the_accuracy(self, error: float) -> None:
        assert merit(error, ERROR) == pytest.approx(merit(1 - error, ACCURACY))

    @pytest.mark.parametrize(
        ("value", "metric", "expected"), [(-3.5, ENERGY, 3.5), (2.0, Metric(name="m"), 2.0)]
    )
    def test_what_is_no_fraction_is_compared_as_it_is(
        self, value: float, metric: Metric, expected: float
    ) -> None:
        assert merit(value, metric) == expected

    def test_samplers_are_shown_values_in_the_direction_of_the_study(self) -> None:
        """The energy falls by 2 from the first rung to the second in those that got there."""
        trials = [
            reported(0, 5.0, 3.0, state=COMPLETE),
            reported(1, 4.0, 2.0),
            reported(2, -1.0, -3.0),
            reported(3, 9.0),
            reported(4),
        ]
        shown = at_one_rung(trials, ENERGY)
        assert [each.value for each in shown] == pytest.approx([3.0, 2.0, -3.0, 7.0, 7.0]), (
            "the diverged one is as bad as the worst"
        )
