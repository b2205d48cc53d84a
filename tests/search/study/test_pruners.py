"""The rungs at which ASHA decides are steps at which trials report, however many images an epoch has."""

from __future__ import annotations

import pytest

from search.study.evaluation_schedule import EvaluationSchedule, early_evaluations_of
from search.study.pruners import PRUNERS, make_pruning


def test_of_an_epoch_that_halves_evenly() -> None:
    schedule = EvaluationSchedule.doubling(epoch_images=36_000, epochs=8, early_evaluations=3)
    rungs = (4_500, 9_000, 18_000, 36_000, 72_000, 144_000, 288_000)
    assert make_pruning("asha", schedule).rungs == rungs


def test_of_an_odd_epoch() -> None:
    """A user's 60,000 images leave 54,001 for training; twice the half of that is no step of any report, and
    all eleven trials that came to it were trained to the end."""
    schedule = EvaluationSchedule.doubling(epoch_images=54_001, epochs=4, early_evaluations=2)
    found = make_pruning("asha", schedule)
    assert found.rungs == (13_500, 27_000, 54_001, 108_002, 216_004)
    assert set(found.rungs) <= set(schedule.rungs)


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("epochs", [0.05, 0.3, 0.7, 1, 1.5, 2, 4.3, 8, 44])
@pytest.mark.parametrize("early", [0, 2, 3])
@pytest.mark.parametrize("every", [1, 3])
def test_every_rung_is_a_step_of_a_report(pruner: str, epochs: float, early: int, every: int) -> None:
    for images in (1, 2, 7, 63, 1_458, 36_000, 54_001, 54_003, 99_991):
        if round(images * epochs) < 1:
            continue
        schedule = EvaluationSchedule.doubling(
            epoch_images=images,
            epochs=epochs,
            early_evaluations=early_evaluations_of(early, epochs),
            every=every,
        )
        rungs = make_pruning(pruner, schedule).rungs
        assert set(rungs) <= set(schedule.rungs), images
        assert schedule.asha_from >= schedule.first, "no rung comes before the first report"
        assert rungs[-1] == schedule.total
