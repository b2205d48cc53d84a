"""A made-up study of an objective that trains no network (valley.py): all that a report is made of."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable

from made_study import NOW
from valley import BUDGET, ENERGY, energy, valley_spec

from search.records import Failure, Metric, Report, State, StudyRecord, TrialRecord, Value, Worker
from search.report.one_study.material import Material
from search.service.report import command, drawn, searched, space_in_words

CLIFF = 3.3
"""Balls that start further right diverge."""


def made_valley(
    n: int = 60,
    *,
    pruned: bool = True,
    metric: Metric = ENERGY,
    measured: Callable[[float], float] = float,
) -> Material:
    """A finished study. measured: what the metric is of an energy."""
    draw = random.Random(3)
    spec = valley_spec(pruner="asha" if pruned else "none", metric=metric)
    trials: list[TrialRecord] = []
    curves: dict[int, list[Report]] = {}
    for number in range(n):
        settings: dict[str, Value] = {
            "start": draw.uniform(-4, 4),
            "friction": 10 ** draw.uniform(-3, 0),
            "push": draw.choice(("none", "left", "right")),
            "bounces": draw.randint(0, 3),
        }
        values = [measured(energy(settings, number, step)) for step in range(1, BUDGET + 1)]
        state, steps = State.COMPLETE, BUDGET
        if float(settings["start"]) > CLIFF:
            state, steps = State.FAILED, 1
        elif pruned and energy(settings, number, 2) > 4:
            state, steps = State.PRUNED, 2
        curve = [
            Report(
                step=place + 1,
                seconds=float(place + 1),
                metrics={metric.name: value, "height": value + 3},
                metric=metric,
            )
            for place, value in enumerate(values[:steps])
        ]
        curves[100 + number] = curve
        trials.append(
            TrialRecord(
                trial_id=100 + number,
                number=number,
                state=state,
                score=max(report.score for report in curve),
                params=settings,
                steps={report.step: report.score for report in curve},
                failure=Failure.DIVERGED if state is State.FAILED else None,
                finished=NOW + datetime.timedelta(minutes=number),
            )
        )
    finished = sum(trial.state.is_finished for trial in trials)
    study = StudyRecord(study_id=1, name="deep", spec=spec, target_trials=finished, created=NOW)
    return Material(
        study=study,
        trials=trials,
        curves=curves,
        seconds={trial_id: curve[-1].seconds for trial_id, curve in curves.items()},
        workers=(
            Worker(worker_id="w", host="h", pid=1, device="cpu", threads=1, environment={"gravity": "9.81"}),
        ),
        settings=searched(study),
        without_effect=frozenset(),
        exploration_trials=drawn(study, trials),
        budget=BUDGET,
        mistakes=None,
        confirmation=None,
        command=command(study),
        space=space_in_words(spec),
        moment=NOW,
        version="0",
    )
