"""Presents trials that came to different steps as complete ones with comparable scores.

Optuna's GPSampler models complete trials only, and under ASHA four of a hundred trials are complete. Here
each trial that has reported counts with an estimate of its score at one rung, the highest that ENOUGH trials
have reached. Those that stopped below it are extrapolated: from each rung to the next by the mean gain of the
trials that reported at both. Fractions are compared as logarithms of the error, in which learning curves of
different trials are nearly parallel, and which no bad trial dominates; other metrics as they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.ownership import PINNED
from search.records import ACCURACY, Direction, Metric

ENOUGH = 3
"""Trials that must have reached a rung before scores are compared there."""

SMALLEST_ERROR = 1e-4
"""Less cannot be told from none: validation has some thousand images."""


def merit(value: float, metric: Metric) -> float:
    """Of a fraction minus the logarithm of the error (4.6 for an accuracy of 0.99); else the score."""
    if not metric.is_fraction:
        return metric.score_of(value)
    error = 1.0 - value if metric.direction is Direction.MAXIMIZE else value
    return -math.log(max(error, SMALLEST_ERROR))


def at_one_rung(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY) -> list[FrozenTrial]:
    """Copies of the trials, in their order, that a sampler can compare.

    A trial that has reported is complete, with the merit that it is estimated to have at the common rung; so
    is a pruned one without a report (see search.study.history), with the worst merit: that of an accuracy of
    0, or where there is no least value, the worst that was estimated. Running trials without a report stay as
    they are. Trials with settings outside the search space are left out: some of their parameters are
    missing, and GPSampler models only those that every trial has.
    """
    inside = [trial for trial in trials if not trial.user_attrs.get(PINNED)]
    last = max((step for trial in inside for step in trial.intermediate_values), default=0)
    curves = {trial.number: _curve(trial, last, metric) for trial in inside}
    estimates = _estimates(curves)
    worst = 0.0 if metric.is_fraction else min(estimates.values(), default=0.0)
    shown = []
    for trial in inside:
        if trial.number in estimates or trial.state is not TrialState.RUNNING:
            trial = copy.copy(trial)
            trial.state = TrialState.COMPLETE
            trial.values = [metric.value_of(estimates.get(trial.number, worst))]
        shown.append(trial)
    return shown


def _curve(trial: FrozenTrial, last: int, metric: Metric) -> dict[int, float]:
    """Merit by step. last: where a complete trial without a report has its score."""
    if trial.state is TrialState.COMPLETE and not trial.intermediate_values and trial.value is not None:
        return {last: merit(trial.value, metric)}
    return {step: merit(value, metric) for step, value in trial.intermediate_values.items()}


def _estimates(curves: dict[int, dict[int, float]]) -> dict[int, float]:
    """Merit at the common rung, by number of the trial, of those that have reported."""
    reported = [curve for curve in curves.values() if curve]
    rungs = sorted({step for curve in reported for step in curve})
    common = [rung for rung in rungs if sum(rung in curve for curve in reported) >= ENOUGH]
    rungs = [rung for rung in rungs if rung <= max(common, default=rungs[0])] if rungs else []
    ahead = dict.fromkeys(rungs, 0.0)
    """gain from each rung to the common one"""
    for lower, upper in reversed([*pairwise(rungs)]):
        gains = [curve[upper] - curve[lower] for curve in reported if lower in curve and upper in curve]
        ahead[lower] = ahead[upper] + (sum(gains) / len(gains) if gains else 0.0)
    found = {}
    for number, curve in curves.items():
        below = [step for step in curve if step in ahead]
        if below:
            found[number] = curve[max(below)] + ahead[max(below)]
    return found
